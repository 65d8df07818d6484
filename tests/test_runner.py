"""Running: what is done is not done again, what changes is, a killed run goes on, and every row is accounted for."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io.votable import parse, parse_single_table
from astropy.table import Table

from astrokeras import Colors, Pipeline
from astrokeras.errors import AstrokerasError, RunError, SpecError, StoreError
from astrokeras.flags import Flag

HEAD = "astrokeras: 1\nname: t\n"
SOURCE = "source:\n  synthetic: {rows: 3000, seed: 2}\n"
STAGES = "stages:\n  - colors: {bands: [g, r]}\n  - magnitudes: {bands: [r]}\n"
OUTPUT = "outputs:\n  - votable: {path: out.vot, columns: [ids, 'color_*', mag_r, flags]}\n"
ROWS = "partition: {rows: 1024}\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    return tmp_path


def run(text, **options):
    Path("p.yaml").write_text(text)
    return Pipeline.read("p.yaml", options.pop("sets", ())).run(quiet=True, **options)


def made(record):
    return [segment["made"] for segment in record["segments"]]


def test_rows_go_through_in_order(here):
    record = run(HEAD + ROWS + SOURCE + STAGES + OUTPUT)
    assert made(record) == [3]
    table = parse_single_table("out.vot").to_table()
    assert list(table["object_id"]) == list(range(3000))
    whole = Pipeline.read("p.yaml").parsed.source
    chunk = whole.read(next(iter(whole.partitions(3000))), ["flux_g", "flux_r"])
    with np.errstate(all="ignore"):
        expected = -2.5 * np.log10(chunk["flux_g"].value / chunk["flux_r"].value)
    good = (chunk["flux_g"].value > 0) & (chunk["flux_r"].value > 0)
    np.testing.assert_allclose(np.ma.filled(table["color_g_r"], np.nan)[good], expected[good], atol=1e-4)


def test_what_is_done_is_not_done_again(here):
    run(HEAD + ROWS + SOURCE + STAGES + OUTPUT)
    before = Path("out.vot").stat().st_mtime_ns
    again = run(HEAD + "# a comment\n" + ROWS + SOURCE + STAGES + OUTPUT)
    assert made(again) == [0]
    assert again["products"][0]["state"] == "up to date"
    assert Path("out.vot").stat().st_mtime_ns == before


def test_a_new_output_redoes_no_stage(here):
    run(HEAD + ROWS + SOURCE + STAGES + OUTPUT)
    # mag_err_r was not asked for before, ra comes from the source.
    again = run(HEAD + ROWS + SOURCE + STAGES + OUTPUT + "  - parquet: {path: o.parquet, columns: [ra, mag_err_r]}\n")
    assert made(again) == [0]
    assert [p["state"] for p in again["products"]] == ["up to date", "written"]
    assert len(Table.read("o.parquet")) == 3000


def test_an_edit_redoes_what_it_touches(here):
    text = HEAD + ROWS + SOURCE + STAGES.replace("[g, r]}", "[g, r], checkpoint: true}") + OUTPUT
    assert made(run(text)) == [3, 3]
    assert made(run(text.replace("bands: [r]", "bands: [i]").replace("mag_r", "mag_i"))) == [0, 3]
    assert made(run(text.replace("seed: 2", "seed: 3"))) == [3, 3]


def test_a_raised_version_redoes_the_stage_and_what_follows(here, monkeypatch):
    text = HEAD + ROWS + SOURCE + STAGES.replace("[r]}", "[r], checkpoint: true}") + OUTPUT
    swapped = text.replace("  - colors: {bands: [g, r]}\n", "").replace(
        "checkpoint: true}\n", "checkpoint: true}\n  - colors: {bands: [g, r]}\n"
    )
    assert made(run(swapped)) == [3, 3]
    monkeypatch.setattr(Colors, "version", 2)
    assert made(run(swapped)) == [0, 3]


def test_a_longer_catalog_redoes_only_new_files(here):
    for name, rows in (("a", 40), ("b", 50)):
        table = Table({"object_id": np.arange(rows) + (100 if name == "b" else 0)})
        for band in "gr":
            table[f"flux_{band}"], table[f"flux_err_{band}"] = np.ones(rows), np.full(rows, 0.1)
        table.write(f"{name}.parquet")
    source = "source:\n  catalog: {files: '*.parquet', bands: [g, r]}\n"
    text = HEAD + source + STAGES + OUTPUT
    Path("b.parquet").rename("later")
    assert made(run(text)) == [1]
    Path("later").rename("b.parquet")
    again = run(text)
    assert made(again) == [1]
    assert again["rows_selected"] == 90


def test_from_and_to(here):
    from astrokeras.plan import make_plan
    from astrokeras.progress import Reporter
    from astrokeras.runner import Run
    from astrokeras.store import Store

    Path("p.yaml").write_text(HEAD + ROWS + SOURCE + STAGES + OUTPUT)

    def go(start=None, stop=None):
        plan = make_plan(Pipeline.read("p.yaml").parsed, start, stop)
        return Run(plan, Store(Path("w")), reporter=Reporter(True), start=start, stop=stop)()

    stopped = go(stop="colors")
    assert made(stopped) == [3]
    assert not Path("out.vot").exists()
    go()
    assert made(go(start="magnitudes"))[-1] == 3
    with pytest.raises(SpecError, match=r"--from:1:1: no stage 'color'; did you mean 'colors'"):
        go(start="color")


def test_repeated_identifiers_are_flagged_across_partitions(here):
    ids = np.arange(3000) % 2990
    Table({"object_id": ids, "flux_g": np.ones(3000), "flux_err_g": np.ones(3000)}).write("c.parquet")
    source = "source:\n  catalog: {files: c.parquet, bands: [g]}\n"
    stages = "stages:\n  - magnitudes: {bands: [g]}\n"
    record = run(HEAD + ROWS + source + stages + "outputs:\n  - votable: {path: out.vot, columns: [ids, flags]}\n")
    table = parse_single_table("out.vot").to_table()
    repeated = (np.asarray(table["flags"]) & Flag.DUPLICATE_ID) > 0
    assert list(np.flatnonzero(repeated)) == [*range(10), *range(2990, 3000)]
    assert record["repeated_ids"] == 10
    assert record["products"][0]["flags"]["DUPLICATE_ID"] == 20


def test_all_rows_filtered_away_names_the_line(here):
    source = "source:\n  synthetic:\n    rows: 100\n    where: ra > 400\n"
    with pytest.raises(RunError, match=r"p.yaml:6:12: `where` left none of 100 rows"):
        run(HEAD + source + STAGES + OUTPUT)
    assert not Path("out.vot").exists()


def test_fields_fan_out_and_merge(here):
    for name in ("north", "south"):
        Path(name).mkdir()
        Table({"object_id": [1, 2], "flux_g": [1.0, 2.0], "flux_err_g": [0.1, 0.1]}).write(f"{name}/c.parquet")
    text = (
        HEAD + "fields: [north, south]\nsource:\n  catalog: {files: '{field}/c.parquet', bands: [g]}\n"
        "stages:\n  - magnitudes: {bands: [g]}\noutputs:\n  - parquet: {path: 'out-{field}.parquet', columns: [ids]}\n"
        "  - fits: {path: all.fits, columns: [ids, mag_g]}\n"
    )
    run(text, fields=["south"])
    assert not Path("out-north.parquet").exists()
    run(text)
    assert len(Table.read("out-north.parquet")) == 2
    assert list(Table.read("all.fits")["field"]) == ["north", "north", "south", "south"]


def test_keep_going_leaves_other_fields_whole(here):
    Table({"object_id": [1], "flux_g": [1.0], "flux_err_g": [0.1]}).write("good.parquet")
    Path("bad.parquet").write_bytes(b"PAR1 is not enough")
    text = (
        HEAD + "fields: [good, bad]\nsource:\n  catalog: {files: '{field}.parquet', bands: [g]}\n"
        "stages:\n  - magnitudes: {bands: [g]}\noutputs:\n  - parquet: {path: 'out-{field}.parquet'}\n"
    )
    with pytest.raises(SpecError, match=r"p.yaml:5:.*bad\.parquet"):
        run(text)
    merged = text + "  - fits: {path: all.fits}\n"
    record = run(merged, keep_going=True)
    assert ["bad.parquet" in failure for failure in record["failures"]] == [True]
    assert {p["path"]: p["state"] for p in record["products"]} == {
        "out-good.parquet": "written",
        "out-bad.parquet": "incomplete",
        "all.fits": "incomplete",
    }
    assert sorted(p.name for p in Path().glob("*.*") if p.suffix in (".parquet", ".fits")) == [
        "bad.parquet",
        "good.parquet",
        "out-good.parquet",
    ]


def test_processes_give_the_same_bytes(here):
    text = HEAD + ROWS + SOURCE + STAGES + OUTPUT
    run(text)
    serial = Path("out.vot").read_bytes()
    Path("site.yaml").write_text("executor: processes\nworkers: 2\n")
    Path("out.vot").unlink()
    run(text, work="other", site="site.yaml")
    assert Path("out.vot").read_bytes() == serial


def test_an_unwritable_product_is_said_before_anything_is_run(here):
    Path("file").write_text("")
    text = HEAD + ROWS + SOURCE + STAGES + OUTPUT
    with pytest.raises(SpecError, match=r"p.yaml:\d+:\d+: file/out.vot: cannot be written"):
        run(text.replace("out.vot", "file/out.vot"))
    assert not Path(".astrokeras").exists()


def test_an_unwritable_work_directory_is_said(here):
    Path("w").write_text("")
    with pytest.raises(StoreError, match="cannot use the work directory"):
        run(HEAD + SOURCE + STAGES + OUTPUT, work="w")


def test_the_record_tells_what_was_done(here):
    run(HEAD + ROWS + SOURCE + STAGES + OUTPUT)
    record = json.loads(next(Path(".astrokeras/t/runs").glob("*.json")).read_text())
    assert record["rows_read"] == record["rows_selected"] == 3000
    assert {"astrokeras", "numpy", "astropy"} <= set(record["versions"])
    assert [s["name"] for s in record["stages"]] == ["colors", "magnitudes"]
    assert "3 partitions (3 made)" in next(Path(".astrokeras/t/logs").glob("*.log")).read_text()


def test_a_wrong_epoch_is_said(here, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(AstrokerasError, match="SOURCE_DATE_EPOCH needs whole seconds since 1970, got 'yesterday'"):
        run(HEAD + ROWS + SOURCE + STAGES + OUTPUT)


def test_the_product_tells_where_it_comes_from(here):
    Path("in").mkdir()
    Table({"object_id": [1, 2], "flux_g": [1.0, 2.0], "flux_err_g": [0.1, 0.1]}).write("in/c.parquet")
    source = f"source:\n  catalog: {{files: {here}/in/c.parquet, bands: [g], where: flux_g > 1.5}}\n"
    stages = "stages:\n  - magnitudes: {bands: [g], id: mine}\n"
    run(HEAD + source + stages + "outputs:\n  - votable: {path: out.vot, columns: [ids, mag_g]}\n")
    votable = parse_single_table("out.vot")
    assert len(votable.to_table()) == 1
    text = Path("out.vot").read_text(errors="replace")
    infos = {info.name: info.value for info in parse("out.vot").resources[0].infos}
    assert json.loads(infos["source.parameters"]) == {"files": "c.parquet", "bands": ["g"], "where": "flux_g > 1.5"}
    assert json.loads(infos["stages.mine"])["parameters"] == {"bands": ["g"]}
    assert str(here) not in text


TRAINING = """
astrokeras: 1
name: killed
partition: {rows: 512}
source:
  synthetic: {rows: 2000, seed: 2, classes: {galaxy: 1}}
split: {test: 0.2, validate: 0.1, calibrate: 0.1}
stages:
  - photoz:
      bands: [g, r, i]
      train: {width: 16, depth: 1, members: 1, epochs: 3, n_grid: 32, threads: 1, cross_fit: 0}
      save: model
outputs:
  - votable: {path: out.vot}
"""


def start():
    command = [sys.executable, "-m", "astrokeras", "run", "p.yaml", "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_kill_at_ten_moments_and_go_on(here):
    """The final VOTable is byte-identical to that of an undisturbed run."""
    Path("p.yaml").write_text(TRAINING)
    clock = time.monotonic()
    process = start()
    said = process.communicate()[0]
    assert process.returncode == 0, said
    whole = time.monotonic() - clock
    undisturbed = Path("out.vot").read_bytes()
    draw = random.Random(1)
    for _ in range(10):
        # Each time from the start, so that a kill can hit any moment of a whole run.
        for path in (".astrokeras", "model"):
            subprocess.run(["rm", "-rf", path], check=True)
        Path("out.vot").unlink(missing_ok=True)
        process = start()
        time.sleep(draw.uniform(0.05, whole))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        again = start()
        said = again.communicate()[0]
        assert again.returncode == 0, said
        assert Path("out.vot").read_bytes() == undisturbed
    leftovers = list(Path(".astrokeras/killed").glob("*/.new-*"))
    assert leftovers == []
