"""The command line as a user meets it: exit statuses, messages, and what it does not import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from astrokeras import Colors
from astrokeras.cli import main
from astrokeras.resources import pipelines_dir

HEAVY = ("tensorflow", "keras", "dask", "photutils", "pandas", "pyarrow", "sklearn", "scipy", "astropy.table")

GOOD = """astrokeras: 1
name: good
source:
  synthetic: {rows: 100, seed: 1}
stages:
  - colors: {bands: [g, r]}
outputs:
  - votable: {path: out.vot, columns: [ids, "color_*"]}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(GOOD)
    return tmp_path


def imported(*arguments, cwd="."):
    """Modules loaded by a command, in a process of its own."""
    code = (
        "import sys\nfrom astrokeras.cli import main\n"
        f"try:\n    main({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
        "print('\\nMODULES ' + ' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=True)
    return set(done.stdout.rsplit("MODULES ", 1)[1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments):
    loaded = imported(*arguments)
    assert "astrokeras.cli" in loaded
    assert not loaded & {*HEAVY, "numpy", "pydantic", "ruamel.yaml", "astropy"}


def test_check_loads_nothing_heavy(here, small_model):
    text = GOOD.replace("  - colors: {bands: [g, r]}\n", f"  - photoz: {{model: {small_model}}}\n").replace(
        "color_*", "z_*"
    )
    Path("m.yaml").write_text(text)
    for file in ("p.yaml", "m.yaml"):
        loaded = imported("check", file, cwd=here)
        assert "astrokeras.walk" in loaded
        assert not loaded & set(HEAVY), sorted(loaded & set(HEAVY))


def test_check_of_a_catalog_pipeline_loads_nothing_heavy(here):
    source = "source:\n  catalog: {files: absent.fits, survey: sdss-casjobs}\n"
    Path("c.yaml").write_text(GOOD.replace("source:\n  synthetic: {rows: 100, seed: 1}\n", source))
    loaded = imported("check", "c.yaml", cwd=here)
    assert "astrokeras.ingest.catalog" in loaded
    assert not loaded & set(HEAVY), sorted(loaded & set(HEAVY))


def test_check_says_fine(here, capsys):
    assert main(["check", "p.yaml"]) == 0
    assert "p.yaml: fine (1 stages" in capsys.readouterr().out


def test_all_problems_at_once_and_nothing_is_run(here, capsys):
    text = GOOD.replace("bands: [g, r]}", "bnads: [g, r]}\n  - colours: {}\n  - magnitudes: {bands: [y]}")
    Path("p.yaml").write_text(text.replace("color_*", "colour"))
    assert main(["run", "p.yaml"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("p.yaml:6:14: ") and "did you mean 'bands'?" in line for line in lines)
    assert any(line.startswith("p.yaml:7:5: ") and "did you mean 'colors'?" in line for line in lines)
    assert not Path(".astrokeras").exists()


def test_a_catalog_without_errors_is_told_what_to_say(here, capsys):
    survey = "{bands: [g, r], photometry: {m: {mag: '{band}', system: AB}}}"
    text = GOOD.replace("  synthetic: {rows: 100, seed: 1}", f"  catalog: {{files: a.csv, survey: {survey}}}")
    Path("p.yaml").write_text(text)
    assert main(["check", "p.yaml"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "colors reads 'flux_err_g', 'flux_err_r', which nothing" in said and said.endswith("or `constant_error`")
    Path("p.yaml").write_text(text.replace("system: AB", "system: AB, constant_error: 0.1"))
    assert main(["check", "p.yaml"]) == 0


def test_what_nobody_writes_is_said_at_its_line(here, capsys):
    Path("p.yaml").write_text(GOOD.replace("[g, r]", "[g, y]"))
    assert main(["check", "p.yaml"]) == 2
    said = capsys.readouterr().err
    assert "p.yaml:6:5: colors reads 'flux_y', which nothing before it writes (have: object_id" in said
    assert len(said.splitlines()) == 1
    Path("p.yaml").write_text(GOOD.replace("color_*", "colour_g_r"))
    assert main(["check", "p.yaml"]) == 2
    assert "no column 'colour_g_r'; did you mean 'color_g_r'?" in capsys.readouterr().err


def test_a_second_writer_is_refused(here, capsys):
    Path("p.yaml").write_text(GOOD.replace("outputs:", "  - colors: {bands: [g, r], id: again}\noutputs:"))
    assert main(["check", "p.yaml"]) == 2
    assert "again writes 'color_g_r', which colors has written already" in capsys.readouterr().err


def test_split_without_training_is_refused(here, capsys):
    Path("p.yaml").write_text(GOOD + "split: {test: 0.1}\n")
    assert main(["check", "p.yaml"]) == 2
    assert "nothing is trained here" in capsys.readouterr().err


def test_run_status_plan(here, capsys):
    assert main(["status", "p.yaml"]) == 0
    assert "never run" in capsys.readouterr().out
    assert main(["plan", "p.yaml"]) == 0
    assert "segment 1: colors (0 partition(s) done)" in capsys.readouterr().out
    assert not Path(".astrokeras").exists()
    assert main(["run", "p.yaml"]) == 0
    assert main(["plan", "p.yaml"]) == 0
    assert "segment 1: colors (1 partition(s) done)" in capsys.readouterr().out
    assert main(["plan", "p.yaml", "--set", "source.synthetic.seed=9"]) == 0
    assert "segment 1: colors (0 partition(s) done)" in capsys.readouterr().out
    Path("out.vot").unlink()
    assert main(["run", "p.yaml"]) == 0
    said = capsys.readouterr().err
    assert "out.vot: 100 rows" in said
    # No terminal: plain lines, no control characters.
    assert "\x1b" not in said
    assert main(["status", "p.yaml"]) == 0
    said = capsys.readouterr().out
    assert "finished" in said
    assert "out.vot: 100 rows" in said


def test_an_interrupted_run_is_not_finished(here, capsys, monkeypatch):
    def interrupted(self, chunk):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Colors, "run", interrupted)
        assert main(["run", "p.yaml"]) not in (0, 2)
    assert "run again to go on" in capsys.readouterr().err
    assert main(["status", "p.yaml"]) == 0
    assert "s: interrupted" in capsys.readouterr().out


def test_status_shows_the_newest_product_of_a_path(here, capsys):
    for rows in (100, 7, 30):
        assert main(["run", "p.yaml", "--quiet", "--set", f"source.synthetic.rows={rows}"]) == 0
    assert main(["status", "p.yaml"]) == 0
    assert [line.strip() for line in capsys.readouterr().out.splitlines() if "out.vot" in line] == ["out.vot: 30 rows"]


def test_models_list_says_where_it_looked(here, capsys):
    assert main(["models", "list"]) == 0
    found = capsys.readouterr()
    assert found.out or "no models in" in found.err


def test_a_field_of_a_pipeline_without_fields(here, capsys):
    assert main(["run", "p.yaml", "--field", "north"]) == 2
    assert "has no `fields`, so there is no 'north'" in capsys.readouterr().err


def test_set_changes_the_run(here):
    assert main(["run", "p.yaml", "--quiet", "--set", "source.synthetic.rows=7", "--set", "outputs.0.path=x.vot"]) == 0
    from astropy.table import Table

    assert len(Table.read("x.vot")) == 7
    assert main(["run", "p.yaml", "--set", "stages.color.bands=[g]"]) == 2


def test_listings(here, capsys):
    assert main(["stages"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("catalog", "photoz", "votable"))
    assert main(["stages", "photoz"]) == 0
    said = capsys.readouterr().out
    assert "override" in said and "StringConstraints" not in said
    # What stands below `train:` is shown as well.
    assert "learning_rate" in said and "'binned' | 'mixture'" in said
    # What stands in the classes that a stage is made of is told, once.
    assert main(["stages", "forced_photometry"]) == 0
    said = capsys.readouterr().out
    assert said.count("large against objects") == said.count("Place: Where a plane is") == 1
    assert main(["stages", "photz"]) == 1
    assert "did you mean 'photoz'" in capsys.readouterr().err
    assert main(["catalogs", "list"]) == 0
    assert "sdss-casjobs" in capsys.readouterr().out
    assert main(["catalogs", "show", "lsst-dp1"]) == 0
    assert "psfFlux" in capsys.readouterr().out
    assert main(["json-schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"].startswith("https://json-schema.org")


def test_models_show_and_verify(small_model, capsys):
    assert main(["models", "show", str(small_model)]) == 0
    said = capsys.readouterr().out
    assert "g (SLOAN/SDSS.g, model, dereddened: yes)" in said
    assert "epochs 6" in said
    assert main(["models", "show", str(small_model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bands"] == ["u", "g", "r", "i", "z"]
    assert main(["models", "verify", str(small_model)]) == 0
    assert "fine" in capsys.readouterr().out
    assert main(["models", "show", "nonesuch@1"]) == 1


def test_every_shipped_pipeline_checks(small_model, monkeypatch, capsys):
    monkeypatch.chdir(Path(pipelines_dir()).parent)
    # These need models that other pipelines make; tests/test_pipelines.py runs them in that order.
    folder, later = Path(pipelines_dir()), {"starqso-apply.yaml", "morphology-apply.yaml", "field.yaml"}
    for path in sorted(path for path in folder.glob("*.yaml") if path.name not in later):
        sets = ["--set", f"vars.model={small_model}"] if "apply" in path.name else []
        assert main(["check", str(path), *sets]) == 0, capsys.readouterr().err


def test_a_closed_pipe_is_no_traceback(here):
    command = f"{sys.executable} -m astrokeras json-schema | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=os.environ, check=True)
    assert "Traceback" not in done.stderr
