"""CPU time of commands that should be instant: ``--help`` and ``check`` of every pipeline that is shipped.

``python benchmarks/bench_cli.py`` runs each in a fresh process, next to an empty Python and to the import of pydantic,
ruamel.yaml and rich; ``--verbose`` lists the imports that take longest.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PIPELINES = Path(__file__).resolve().parent.parent / "pipelines"
PEERS = {"python -c pass": ("-c", "pass"), "pydantic + ruamel + rich": ("-c", "import pydantic, ruamel.yaml, rich")}


def cpu_seconds(arguments):
    """User and system time of a Python process."""
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen([sys.executable, *map(str, arguments)], stdout=said, stderr=said)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise RuntimeError(f"{arguments} failed:\n{said.read()}")
    return used.ru_utime + used.ru_stime


def commands(model):
    """Arguments of Python for each command; pipelines that apply a model are given one."""
    found = {"--help": ("-m", "astrokeras", "--help")}
    for path in sorted(PIPELINES.glob("*.yaml")):
        check = ("-m", "astrokeras", "check", path)
        applies = "model: products/" in path.read_text()
        found[f"check {path.name}"] = (*check, "--set", f"vars.model={model}") if applies else check
    return found


def train_model(folder):
    """Train the smallest model and return its directory: `check` reads its card."""
    values = {
        "source.synthetic.rows": 1000,
        "stages.photoz.train.epochs": 1,
        "stages.photoz.train.members": 1,
        "stages.photoz.train.width": 8,
        "vars.out": f"{folder}/train",
    }
    sets = [argument for address, value in values.items() for argument in ("--set", f"{address}={value}")]
    cpu_seconds(("-m", "astrokeras", "run", PIPELINES / "photoz-train.yaml", "--work", f"{folder}/work", *sets))
    return f"{folder}/train/model"


class Commands:
    """asv: CPU-seconds, the best of some runs, alone and against pydantic + ruamel + rich."""

    params = (["--help", *(f"check {path.name}" for path in sorted(PIPELINES.glob("*.yaml")))],)
    param_names = ("command",)
    timeout = 600

    def setup_cache(self):
        """Train a model and time everything."""
        with tempfile.TemporaryDirectory() as folder:
            return {name: times[0] for name, times in measure(commands(train_model(folder)) | PEERS, 5).items()}

    def track_cpu_seconds(self, found, command):
        """CPU-seconds of a command."""
        return found[command]

    def track_over_its_libraries(self, found, command):
        """CPU time of a command over that of importing pydantic, ruamel.yaml and rich."""
        return found[command] / found["pydantic + ruamel + rich"]


def measure(named, repeats):
    """Least and median CPU-seconds of each process; they are run in turn, so that all meet the same machine."""
    times = {name: [] for name in named}
    for _ in range(repeats + 1):
        for name, arguments in named.items():
            times[name].append(cpu_seconds(arguments))
    # The first round fills the caches of files and byte code.
    return {name: (min(found[1:]), statistics.median(found[1:])) for name, found in times.items()}


def imports(arguments, most=15):
    """Modules that take longest to import: milliseconds of their own, with all they import, and the name."""
    said = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    lines = [line.removeprefix("import time:").split("|") for line in said.stderr.splitlines() if "|" in line]
    rows = [(int(own) / 1e3, int(total) / 1e3, name.strip()) for own, total, name in lines if own.strip().isdigit()]
    return sorted(rows, reverse=True)[:most], sorted(rows, key=lambda row: -row[1])[:most]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--verbose", action="store_true", help="list the imports that take longest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        named = commands(train_model(folder))
        found = measure(PEERS | named, options.repeats)
        print(f"CPU-seconds, least and median of {options.repeats} processes each")
        for name, (least, median) in found.items():
            print(f"{name:32}{least:8.3f}{median:8.3f}")
        for name, arguments in named.items() if options.verbose else ():
            own, total = imports(arguments)
            print(f"\n{name}: ms of wall time, of the module alone | with all it imports")
            for (a, _, one), (_, b, other) in zip(own, total, strict=True):
                print(f"{a:9.1f}  {one:40} | {b:9.1f}  {other}")


if __name__ == "__main__":
    main()
