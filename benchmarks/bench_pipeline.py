"""The main job from end to end: synthetic rows through ``pipelines/photoz-apply.yaml``, scalars only.

``python benchmarks/bench_pipeline.py`` runs 1 and 10 million rows, each in a fresh process with one thread, and prints
rows per CPU-second, which phase takes what, and the peak resident memory of the process with its growth. The model has
the default recipe and was trained for one epoch: what it learnt does not change the time. ``--task photoz-pdf`` writes
the densities, too, and ``--task classify`` runs ``pipelines/starqso-apply.yaml``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PIPELINES = Path(__file__).resolve().parent.parent / "pipelines"
#: Rows of the run that is subtracted to tell what starting costs: Python, TensorFlow, the model.
FEW = 1_000
#: Pipelines that train and apply a task, its stage, and what is set for the second.
TASKS = {
    "photoz": ("photoz-train", "photoz-apply", "photoz", {"stages.photoz.pdf": "false"}),
    "photoz-pdf": ("photoz-train", "photoz-apply", "photoz", {}),
    "classify": ("starqso-train", "starqso-apply", "classify", {}),
}
PHASES = ("start", "read", "stages", "store", "pieces", "close", "rest")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")


@dataclass(frozen=True)
class Usage:
    """What a process and those it started took.

    Attributes
    ----------
    cpu, wall : float
        Seconds; user and system time together.
    peak : float
        MB of resident memory of the largest of the processes.
    """

    cpu: float
    wall: float
    peak: float


def run(*arguments):
    """Run ``astrokeras`` with some arguments, one thread, and wait for it."""
    command = [sys.executable, "-m", "astrokeras", *map(str, arguments)]
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(command, env=os.environ | ONE_THREAD, stdout=said, stderr=said)
        # Unlike RUSAGE_CHILDREN, this is about one child; the memory of an earlier one does not hide its peak.
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{said.read()}")
    return Usage(used.ru_utime + used.ru_stime, time.perf_counter() - begin, used.ru_maxrss / 1024)


def train_model(folder, rows=3_000, task="photoz"):
    """Train a model of the default recipe for one epoch and return its directory."""
    pipeline, _, stage, _ = TASKS[task]
    values = {"source.synthetic.rows": rows, f"stages.{stage}.train.epochs": 1, "vars.out": folder / "train"}
    run("run", PIPELINES / f"{pipeline}.yaml", "--quiet", "--work", folder / "train-work", *_sets(values))
    return folder / "train" / "model"


def apply_model(model, rows, task="photoz"):
    """Run the pipeline from scratch; return what it took and its record."""
    _, pipeline, _, settings = TASKS[task]
    with tempfile.TemporaryDirectory() as folder:
        values = {"source.synthetic.rows": rows, **settings, "vars.model": model, "vars.out": Path(folder) / "out"}
        work = Path(folder) / "work"
        used = run("run", PIPELINES / f"{pipeline}.yaml", "--quiet", "--work", work, *_sets(values))
        [record] = work.glob("*/runs/*.json")
        return used, json.loads(record.read_text())


def _sets(values):
    return [argument for address, value in values.items() for argument in ("--set", f"{address}={value}")]


def phases(record):
    """CPU-seconds of each phase in the record of a run."""
    found = {}
    for done in (*record["segments"], *record["products"]):
        for name, seconds in done["cpu_seconds"].items():
            found[name] = found.get(name, 0.0) + seconds
    return found


def breakdown(used, record, few):
    """CPU-seconds of each of `PHASES`, starting (all that the run of `FEW` rows took) told apart.

    Parameters
    ----------
    used, record : Usage, dict
        Of the run.
    few : tuple of Usage and dict
        Of the run of `FEW` rows.
    """
    start, known, fixed = few[0].cpu, phases(record), phases(few[1])
    # The first partition of every phase imports what it needs; that is a matter of starting.
    told = {name: max(seconds - fixed.get(name, 0.0), 0.0) for name, seconds in known.items()}
    return {"start": start, **told, "rest": used.cpu - start - sum(told.values())}


class Apply:
    """asv: rows per CPU-second and peak memory of a run; a million rows against a quarter of it."""

    timeout = 1200
    rows = 1_000_000

    def setup_cache(self):
        """Train a model and run the pipeline twice."""
        with tempfile.TemporaryDirectory() as folder:
            model = train_model(Path(folder))
            return apply_model(model, self.rows)[0], apply_model(model, self.rows // 4)[0]

    def track_rows_per_cpu_second(self, runs):
        """Rows per CPU-second, starting included."""
        return self.rows / runs[0].cpu

    def track_peak_mb(self, runs):
        """Peak resident memory of the largest process in MB."""
        return runs[0].peak

    def track_peak_ratio(self, runs):
        """Growth of the peak with four times the rows; 1 is what streaming promises."""
        return runs[0].peak / runs[1].peak


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--task", choices=TASKS, default="photoz")
    parser.add_argument("--model", type=Path, help="a model directory; by default one is trained")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model.resolve() if options.model else train_model(Path(folder), task=options.task)
        few = apply_model(model, FEW, options.task)
        print(f"starting: {few[0].cpu:.1f} CPU-s ({FEW} rows); CPU-seconds by phase, then rows per CPU-second")
        print(f"{'rows':>12}" + "".join(f"{name:>9}" for name in PHASES) + f"{'all':>9}{'rows/s':>10}{'peak MB':>10}")
        peaks = []
        for rows in options.rows:
            used, record = apply_model(model, rows, options.task)
            found = breakdown(used, record, few)
            line = "".join(f"{found.get(name, 0.0):9.1f}" for name in PHASES)
            print(f"{rows:12,}{line}{used.cpu:9.1f}{rows / used.cpu:10,.0f}{used.peak:10.0f}", flush=True)
            peaks.append(used.peak)
    for rows, peak in zip(options.rows[1:], peaks[1:], strict=True):
        print(f"peak of {rows:,} rows / peak of {options.rows[0]:,}: {peak / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
