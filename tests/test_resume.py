"""What is done again and what is not, and what a run does with what an earlier one left."""

import json
import shutil
import socket
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from astropy.table import QTable, Table

from astrokeras import Colors, Magnitudes, PhotoZ, Pipeline, barrier, registry
from astrokeras.cli import main
from astrokeras.errors import OutputError, RunError, SpecError
from astrokeras.fields import Field
from astrokeras.flags import Flag
from astrokeras.models.card_file import read_card
from astrokeras.plan import make_plan
from astrokeras.progress import Reporter
from astrokeras.runner import Run
from astrokeras.spec import Split
from astrokeras.stage import Stage
from astrokeras.store import Store

HEAD = "astrokeras: 1\nname: t\npartition: {rows: 1024}\n"
SOURCE = "source:\n  synthetic: {rows: 2000, seed: 2}\n"
STAGES = "stages:\n  - colors: {bands: [g, r]}\n  - magnitudes: {bands: [r]}\n"
OUTPUT = "outputs:\n  - parquet: {path: out.parquet, columns: [ids, 'color_*', mag_r, flags]}\n"
RECIPE = "{width: 8, depth: 1, members: 1, epochs: 1, n_grid: 16, threads: 1, cross_fit: 0}"
GALAXIES = "source:\n  synthetic: {rows: 600, seed: 2, classes: {galaxy: 1}}\n"
TRAIN = f"stages:\n  - photoz: {{bands: [g, r, i], save: models/first/1.0.0, train: {RECIPE}}}\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    return tmp_path


class Stamps(Stage):
    """Images of 2 by 2 pixels."""

    name: ClassVar[str] = "stamps"
    path: str = ""
    level: float = 1.0

    def reads(self):
        return (Field(name="flux_r", unit="nJy"),)

    def writes(self):
        return (Field(name="stamp", shape=(2, 2)),)

    def run(self, chunk):
        return {"stamp": np.full((len(chunk), 2, 2), self.level + len(self.path), np.float32)}


class Mean(Stage):
    """Mean of an image."""

    name: ClassVar[str] = "mean"

    def reads(self):
        return (Field(name="stamp", shape=(2, 2)),)

    def writes(self):
        return (Field(name="level"),)

    def run(self, chunk):
        return {"level": np.mean(chunk["stamp"], axis=(1, 2))}


@pytest.fixture
def images(monkeypatch):
    for name, part in (("stamps", Stamps), ("mean", Mean)):
        monkeypatch.setitem(registry.BUILTIN["stages"], name, f"{__name__}:{part.__name__}")
    for cached in (registry.names, registry.lookup):
        monkeypatch.setattr(registry, cached.__name__, lru_cache(cached.__wrapped__))


def run(text, start=None, stop=None, only=(), keep_going=False):
    Path("p.yaml").write_text(text)
    plan = make_plan(Pipeline.read("p.yaml").parsed, start, stop, only, keep_going)
    return Run(plan, Store(Path("w")), reporter=Reporter(True), start=start, stop=stop, keep_going=keep_going)()


def states(record):
    return {p["path"]: p["state"] for p in record["products"]}


def never(*args, **kwargs):
    raise AssertionError("this was done already")


def catalogs(**fluxes):
    """Catalogs of one file per field."""
    for name, flux in fluxes.items():
        n = len(flux)
        table = {"object_id": np.arange(n) + 1000 * list(fluxes).index(name), "flux_g": flux, "flux_err_g": np.ones(n)}
        Table(table).write(f"{name}.parquet")
    return f"fields: [{', '.join(fluxes)}]\nsource:\n  catalog: {{files: '{{field}}.parquet', bands: [g]}}\n"


def test_what_was_stored_on_the_way_is_where_a_run_goes_on(here, monkeypatch):
    run(HEAD + SOURCE + STAGES + OUTPUT, stop="colors")
    with monkeypatch.context() as patch:
        patch.setattr(Colors, "run", never)
        record = run(HEAD + SOURCE + STAGES + OUTPUT)
        assert [s["made"] for s in record["segments"]] == [2]
    assert record["rows_read"] == 2000
    found = Table.read("out.parquet")
    shutil.rmtree("w")
    run(HEAD + SOURCE + STAGES + OUTPUT)
    expected = Table.read("out.parquet")
    assert found.colnames == expected.colnames
    for name in found.colnames:
        np.testing.assert_array_equal(found[name], expected[name])


def test_rows_left_out_by_the_source_are_counted_however_a_part_was_made(here):
    source = "source:\n  synthetic: {rows: 2000, seed: 2, where: 'class_true == \"STAR\"'}\n"
    run(HEAD + source + STAGES + OUTPUT, stop="colors")
    record = run(HEAD + source + STAGES + OUTPUT)
    assert record["rows_read"] == 2000
    assert 0 < record["rows_selected"] < 2000


def test_from_renews_the_product_and_a_later_run_keeps_it(here, monkeypatch):
    """As after a change of code that raised no version."""
    run(HEAD + SOURCE + STAGES + OUTPUT)
    real = Magnitudes.run
    monkeypatch.setattr(Magnitudes, "run", lambda self, chunk: {n: v + 1 for n, v in real(self, chunk).items()})
    before = np.array(Table.read("out.parquet")["mag_r"])
    assert states(run(HEAD + SOURCE + STAGES + OUTPUT, start="magnitudes")) == {"out.parquet": "written"}
    after = np.array(Table.read("out.parquet")["mag_r"])
    np.testing.assert_allclose(after, before + 1, rtol=1e-6)
    run(HEAD + SOURCE + STAGES + OUTPUT)
    np.testing.assert_array_equal(np.array(Table.read("out.parquet")["mag_r"]), after)


def test_from_a_training_trains_again(here, monkeypatch):
    text = HEAD + GALAXIES + TRAIN + "outputs:\n  - parquet: {path: out.parquet, columns: [ids, z_phot]}\n"
    run(text)
    fits = []
    real = PhotoZ.fit
    monkeypatch.setattr(PhotoZ, "fit", lambda self, *args: fits.append(1) or real(self, *args))
    run(text)
    assert fits == []
    run(text, start="photoz")
    assert fits == [1]


def test_a_model_bears_the_name_it_is_saved_under(here):
    run(HEAD + GALAXIES + TRAIN, stop="photoz")
    run(HEAD + GALAXIES + TRAIN.replace("first/1.0.0", "second/2.0.0"), stop="photoz")
    card = read_card("models/second/2.0.0")
    assert (card.name, card.version) == ("second", "2.0.0")


def test_a_damaged_saved_model_is_saved_again_and_leftovers_go(here):
    run(HEAD + GALAXIES + TRAIN, stop="photoz")
    saved = Path("models/first/1.0.0")
    whole = (saved / "model.keras").read_bytes()
    (saved / "model.keras").write_bytes(whole[:100])
    leftover = saved.parent / f".new-{socket.gethostname()}-{2**22 + 1}-x"
    leftover.mkdir()
    run(HEAD + GALAXIES + TRAIN, stop="photoz")
    assert (saved / "model.keras").read_bytes() == whole
    assert [p.name for p in saved.parent.iterdir()] == ["1.0.0"]


def test_what_a_card_decides_counts(here, small_model):
    shutil.copytree(small_model, "model")
    text = HEAD + GALAXIES.replace("rows", "missing: 0.3, rows") + "stages:\n  - photoz: {model: model, pdf: false}\n"
    text += "outputs:\n  - parquet: {path: out.parquet, columns: [ids, flags]}\n"
    run(text)
    assert not (np.asarray(Table.read("out.parquet")["flags"]) & Flag.NO_DATA).any()
    card = json.loads(Path("model/card.json").read_text())
    Path("model/card.json").write_text(json.dumps(card | {"description": "told anew"}))
    assert [s["made"] for s in run(text)["segments"]] == [0]
    Path("model/card.json").write_text(json.dumps(card | {"min_bands": 5}))
    assert [s["made"] for s in run(text)["segments"]] == [1]
    flags = np.asarray(Table.read("out.parquet")["flags"])
    np.testing.assert_array_equal((flags & Flag.NO_DATA) > 0, (flags & Flag.MISSING_BAND) > 0)
    assert (flags & Flag.NO_DATA).any()


def test_training_takes_the_rows_that_where_selects(here):
    source = "source:\n  synthetic: {rows: 1000, seed: 2, classes: {galaxy: 1, star: 1}}\n"
    stage = TRAIN.replace("bands:", "where: 'class_true == \"GALAXY\"', bands:")
    output = "outputs:\n  - parquet: {path: out.parquet, columns: [class_true, split]}\n"
    record = run(HEAD + "split: {seed: 1}\n" + source + stage + output)
    table = Table.read("out.parquet")
    galaxies = np.asarray(table["class_true"]) == "GALAXY"
    assert 300 < galaxies.sum() < 700
    assert read_card("models/first/1.0.0").training.counts["train"] == galaxies.sum()
    assert record["training"][0]["rows"]["train"] == 1000


def test_a_product_of_one_field_does_not_depend_on_the_others(here):
    text = HEAD + catalogs(north=[1.0, 2.0], south=[3.0]) + "stages:\n  - magnitudes: {bands: [g]}\n"
    text += "outputs:\n  - parquet: {path: '{field}.out', columns: [ids, mag_g]}\n"
    run(text, only=["south"])
    alone = Path("south.out").read_bytes()
    assert states(run(text)) == {"north.out": "written", "south.out": "up to date"}
    assert Path("south.out").read_bytes() == alone


TWO_MODELS = (
    f"stages:\n  - photoz: {{bands: [g, r], save: 'models/{{field}}', train: {RECIPE.replace('{', '{target: z, ')}}}\n"
)


def redshifts(*tables):
    """Source of fields with redshifts: as many rows as given, up to the redshift given."""
    draw = np.random.default_rng(0)
    for name, n, z_max in tables:
        table = {"object_id": np.arange(n) + 1000 * ord(name)}
        for band in "gr":
            table |= {f"flux_{band}": draw.uniform(1, 9, n), f"flux_err_{band}": np.ones(n)}
        Table(table | {"z": draw.uniform(0, z_max, n)}).write(f"{name}.parquet")
    names = ", ".join(name for name, _, _ in tables)
    return f"fields: [{names}]\nsource:\n  catalog: {{files: '{{field}}.parquet', bands: [g, r], keep: [z]}}\n"


def test_densities_on_two_grids_are_not_merged(here):
    text = HEAD + redshifts(("a", 50, 0.5), ("b", 60, 2.0)) + TWO_MODELS
    with pytest.raises(OutputError, match=r"all.parquet: column 'z_pdf' is not the same in all fields.*z_max"):
        run(text + "outputs:\n  - parquet: {path: all.parquet}\n")
    run(text + "outputs:\n  - parquet: {path: all.parquet, columns: [ids, z_phot]}\n")
    told = Table.read("all.parquet")
    assert len(told) == 110


def test_keep_going_past_a_training_that_fails(here):
    text = HEAD + redshifts(("a", 50, 0.5), ("b", 60, 0.0)) + TWO_MODELS
    text += "outputs:\n  - parquet: {path: '{field}.out', columns: [ids, z_phot]}\n"
    with pytest.raises(RunError, match=r"p.yaml:8:5: photoz: train: 'z' is 0 in all 60 rows"):
        run(text)
    record = run(text, keep_going=True)
    assert states(record) == {"a.out": "written", "b.out": "incomplete"}
    assert len(record["failures"]) == 1


def test_a_model_is_not_trained_on_what_is_left(here):
    text = HEAD + redshifts(("a", 50, 0.5), ("b", 60, 0.5)) + TWO_MODELS.replace("{field}", "all")
    Path("b.parquet").write_bytes(b"PAR1 is not enough")
    record = run(text + "outputs:\n  - parquet: {path: out}\n", keep_going=True)
    assert "not trained, some of its rows failed" in record["failures"][-1]
    assert not Path("models").exists()


def test_images_made_in_one_segment_reach_the_next(here, images):
    text = HEAD + SOURCE + "stages:\n  - stamps: {checkpoint: true, level: 2}\n  - mean: {}\n"
    run(text + "outputs:\n  - parquet: {path: out.parquet, columns: [ids, level, stamp]}\n")
    table = Table.read("out.parquet")
    assert set(table["level"]) == {2.0}
    assert np.array(table["stamp"].tolist()).shape == (2000, 4)


def test_every_parameter_of_a_stage_counts_and_no_product_tells_a_path(here, images):
    text = HEAD + SOURCE + f"stages:\n  - stamps: {{path: {here}/kernel.fits}}\n  - mean: {{}}\n"
    text += "outputs:\n  - votable: {path: out.vot, columns: [ids, level]}\n"
    run(text)
    assert b"kernel.fits" in Path("out.vot").read_bytes()
    assert str(here).encode() not in Path("out.vot").read_bytes()
    assert [s["made"] for s in run(text.replace("kernel", "other-kernel"))["segments"]] == [2]


def test_pieces_left_by_a_killed_run_are_removed(here, monkeypatch):
    """Killed after the product was there, before its pieces were gone."""
    with monkeypatch.context() as patch:
        patch.setattr("astrokeras.outputs._remove", lambda tasks: None)
        run(HEAD + SOURCE + STAGES + OUTPUT)
    assert list(Path("w/pieces").iterdir())
    assert states(run(HEAD + SOURCE + STAGES + OUTPUT)) == {"out.parquet": "up to date"}
    assert not list(Path("w/pieces").iterdir())


def test_a_second_training_tests_on_what_the_first_one_did():
    table = QTable({"object_id": np.arange(6), "split": ["test", "", "train", "train", "validate", "train"]})
    stage = PhotoZ(bands=["g", "r"], train={})
    for name in ("flux_g", "flux_err_g", "flux_r", "flux_err_r"):
        # The first two rows, and the last two, are one object each.
        table[name] = [1.0, 1.0, 2.0, 3.0, 4.0, 4.0]
    part = barrier._assigned(stage, table, Split(test=0.5), "split").part
    assert list(part) == ["test", "", "train", "train", "validate", "train"]


def test_a_split_cannot_be_used_before_there_is_one(here):
    stages = TRAIN.replace("stages:\n", "stages:\n  - magnitudes: {bands: [r], where: split == 'train'}\n")
    with pytest.raises(SpecError, match=r"unknown column 'split'"):
        run(HEAD + "split: {test: 0.2}\n" + GALAXIES + stages)


def test_the_record_of_a_killed_run_says_so(here, capsys):
    Path("p.yaml").write_text(HEAD + SOURCE + STAGES + OUTPUT)
    script = "import os, sys; from astrokeras import runner, cli; runner.Run._go = lambda self: os._exit(9); cli.main()"
    subprocess.run([sys.executable, "-c", script, "run", "p.yaml", "--quiet"], check=False)
    assert main(["status", "p.yaml"]) == 0
    assert "killed, or still running" in capsys.readouterr().out
