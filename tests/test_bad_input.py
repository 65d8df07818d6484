"""What users get wrong, one row each, through the command line: what is said, and that nothing half-written remains.

Exit status 2: the pipeline file or what it names cannot be used, and nothing was run. Exit status 1: a run failed.
A bad object is no mistake of the user: it is flagged and stays.
"""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io.votable import parse_single_table
from astropy.table import Table

from astrokeras.cli import main
from astrokeras.flags import Flag

BANDS = "ugriz"
ROWS = 40

HEAD = "astrokeras: 1\nname: t\n"
SYNTHETIC = "source:\n  synthetic: {rows: 300, seed: 1, classes: {galaxy: 1}}\n"
CATALOG = "source:\n  catalog: {files: c.fits, bands: [g, r]}\n"
COLORS = "stages:\n  - colors: {bands: [g, r]}\n"
TRAIN = (
    "stages:\n  - photoz:\n      bands: [g, r]\n      save: model\n"
    "      train: {width: 8, depth: 1, members: 1, epochs: 1, n_grid: 16, threads: 1, cross_fit: 0}\n"
)
APPLY = "stages:\n  - photoz: {model: m}\n"
OUTPUT = "outputs:\n  - votable: {path: out.vot}\n"
# Magnitudes with the sentinels of several surveys at once.
MAGNITUDES = """source:
  catalog:
    files: c.fits
    survey:
      object_id: id
      missing: [-9999, 99, -99]
      position: {ra: ra, dec: dec}
      bands: {u: SLOAN/SDSS.u, g: SLOAN/SDSS.g, r: SLOAN/SDSS.r, i: SLOAN/SDSS.i, z: SLOAN/SDSS.z}
      photometry:
        model: {mag: "m_{band}", error: "e_{band}", system: AB, dereddened: unverified}
"""


def catalog(rows=ROWS, bands="gr", **columns):
    """A canonical catalog; ``columns`` replaces or adds some."""
    rng = np.random.default_rng(4)
    table = Table({"object_id": np.arange(rows), "ra": np.linspace(10, 20, rows), "dec": np.linspace(-5, 5, rows)})
    for band in bands:
        table[f"flux_{band}"] = 2e4 * (1 + rng.random(rows)) * u.nJy
        table[f"flux_err_{band}"] = np.full(rows, 300.0) * u.nJy
    for name, values in columns.items():
        table[name] = values
    return table


def truncated(name, **columns):
    """Make a file and cut it in the middle."""

    def make(path):
        catalog(2000, **columns).write(path, format=name)
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[: len(whole) // 2 - 7])

    return make


def folder(path):
    Path(path).mkdir()
    Path(path, "notes.txt").write_text("mine")


def lay(files):
    """Put files where a case wants them: bytes, a table, or what a function makes."""
    for name, content in files.items():
        if callable(content):
            content(name)
        elif isinstance(content, bytes):
            Path(name).write_bytes(content)
        else:
            content.write(name, format="votable" if name.endswith(".vot") else None)


def state(top="."):
    """All files below a directory with their sizes, work directory aside."""
    paths = [p for p in Path(top).rglob("*") if ".astrokeras" not in p.parts]
    return {str(p): p.stat().st_size if p.is_file() else None for p in paths}


def half_written(top="."):
    """Temporary files and folders, wherever they are."""
    return [str(p) for p in Path(top).rglob(".*") if p.name != ".astrokeras"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fail(here, capsys):
    """Run a command that fails, look at what it leaves behind, and return what it said."""

    def run(text, status, command="run", options=()):
        Path("p.yaml").write_text(text)
        before = state()
        assert main([command, "p.yaml", *options]) == status
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert state() == before
        assert not half_written()
        if status == 2:
            assert not Path(".astrokeras").exists()
            assert all(re.match(r"(p\.yaml|--set [^:]+):\d+:\d+: ", line) for line in said.splitlines()), said
            return said
        last = said.splitlines()[-1]
        assert last.startswith("astrokeras: ")
        return last

    return run


# Found without opening any data: pipeline file, and parts of what is said.
IN_THE_FILE = {
    "unknown stage": (
        HEAD + SYNTHETIC + COLORS.replace("colors", "colurs") + OUTPUT,
        "p.yaml:6:5: no stage named 'colurs'; did you mean 'colors'?",
    ),
    "unknown source": (
        HEAD + SYNTHETIC.replace("synthetic", "sythetic") + COLORS + OUTPUT,
        "p.yaml:4:3: no source named 'sythetic'; did you mean 'synthetic'?",
    ),
    "unknown key": (
        HEAD + SYNTHETIC + COLORS.replace("[g, r]", "[g, r], wher: ra > 3") + OUTPUT,
        "p.yaml:6:29: colors.wher: unknown parameter; did you mean 'where'?",
    ),
    "unknown section": (
        HEAD + SYNTHETIC + COLORS + OUTPUT.replace("outputs", "output"),
        "p.yaml:7:1: unknown section 'output'; did you mean 'outputs'?",
    ),
    "unknown survey": (
        HEAD + CATALOG.replace("bands: [g, r]", "survey: sdss-casjob") + COLORS + OUTPUT,
        "p.yaml:4:36: catalog.survey: no survey named 'sdss-casjob'; did you mean 'sdss-casjobs'?",
    ),
    "unknown band of a survey": (
        HEAD + CATALOG.replace("bands: [g, r]", "survey: sdss-casjobs, bands: [g, y]") + COLORS + OUTPUT,
        "p.yaml:4:50: catalog.bands: no band 'y' (allowed: g, i, r, u, z)",
    ),
    "unknown photometry of a survey": (
        HEAD + CATALOG.replace("bands: [g, r]", "survey: sdss-casjobs, photometry: pfs") + COLORS + OUTPUT,
        "p.yaml:4:62: catalog.photometry: no photometry 'pfs'; did you mean 'psf'?",
    ),
    "unknown band of a stage": (
        HEAD + SYNTHETIC + COLORS.replace("[g, r]", "[g, y]") + OUTPUT,
        "p.yaml:6:5: colors reads 'flux_y', which nothing before it writes (have: object_id, ra, ",
    ),
    "unknown column of an output": (
        HEAD + SYNTHETIC + COLORS + OUTPUT.replace("}", ", columns: [ids, colour_g_r]}"),
        "p.yaml:8:30: votable.columns: no column 'colour_g_r'; did you mean 'color_g_r'?",
    ),
    "unknown column in the where of a source": (
        HEAD + SYNTHETIC.replace("seed: 1", "where: zspec > 1") + COLORS + OUTPUT,
        "p.yaml:4:33: synthetic: unknown column 'zspec'; did you mean 'z_spec'?",
    ),
    "unknown column in the where of a stage": (
        HEAD + SYNTHETIC + COLORS.replace("[g, r]", "[g, r], where: fluxg > 3") + OUTPUT,
        "p.yaml:6:36: unknown column 'fluxg'; did you mean 'flux_g'?",
    ),
    "unknown column in the where of an output": (
        HEAD + SYNTHETIC + COLORS + OUTPUT.replace("}", ", where: color_g_i > 3}"),
        "p.yaml:8:37: unknown column 'color_g_i'; did you mean 'color_g_r'?",
    ),
    "a where that would run code": (
        HEAD + SYNTHETIC + COLORS.replace("[g, r]", "[g, r], where: __import__('os').system('id')") + OUTPUT,
        "p.yaml:6:36: ",
    ),
    "unknown target": (
        HEAD + SYNTHETIC + TRAIN.replace("{width", "{target: zspec, width") + OUTPUT,
        "p.yaml:6:5: photoz reads 'zspec', which nothing before it writes",
    ),
    "target among the inputs": (
        HEAD + SYNTHETIC + TRAIN.replace("{width", "{target: flux_g, width") + OUTPUT,
        "p.yaml:6:5: photoz: the target 'flux_g' is among the inputs",
    ),
    "target among further inputs": (
        HEAD + SYNTHETIC + TRAIN.replace("save:", "extra: [z_spec]\n      save:") + OUTPUT,
        "p.yaml:6:5: photoz: the target 'z_spec' is among the inputs",
    ),
    "wrong type": (
        HEAD + SYNTHETIC.replace("300", "many") + COLORS + OUTPUT,
        "p.yaml:4:21: synthetic.rows: needs an integer, got 'many'",
    ),
    "wrong unit in a survey map": (
        HEAD
        + MAGNITUDES.replace('mag: "m_{band}"', "flux: m, unit: deg").replace(", system: AB", "")
        + COLORS
        + OUTPUT,
        "p.yaml:12:32: catalog.survey.photometry.model.unit: 'deg' is no unit of flux density (nJy, uJy, Jy, ",
    ),
    "a magnitude without a system": (
        HEAD + MAGNITUDES.replace(", system: AB", "") + COLORS + OUTPUT,
        "p.yaml:12:9: catalog.survey.photometry.model: a magnitude needs its system: AB, Vega or asinh",
    ),
    "a stage reads what comes later": (
        HEAD
        + SYNTHETIC
        + COLORS.replace("[g, r]", "[g, r], where: mag_r < 20")
        + "  - magnitudes: {bands: [r]}\n"
        + OUTPUT,
        "p.yaml:6:36: unknown column 'mag_r'",
    ),
    "duplicate key": (
        HEAD + SYNTHETIC + COLORS + OUTPUT + "source: {}\n",
        "p.yaml:9:1: key 'source' was given before, on line 3",
    ),
    "alias": (
        HEAD + "vars: {a: &x [g, r], b: *x}\n" + SYNTHETIC + COLORS + OUTPUT,
        "p.yaml:3:25: alias '*x'; write the value out, or use vars",
    ),
    "broken YAML": (
        HEAD + SYNTHETIC + COLORS.replace("]}", "}") + OUTPUT,
        "p.yaml:6:26: not valid YAML: expected ',' or ']', but got '}'",
    ),
    "a YAML of 100 MB": (
        HEAD + SYNTHETIC + COLORS + OUTPUT + "#" * 100_000_000,
        "p.yaml:1:1: the file has 100000163 bytes; a YAML file may have 1000000",
    ),
    "a tag that would run code": (
        HEAD + "vars: {a: !!python/object/apply:os.system [id]}\n" + SYNTHETIC + COLORS + OUTPUT,
        "p.yaml:3:",
    ),
    "unset environment variable": (
        HEAD + SYNTHETIC + COLORS + OUTPUT.replace("out.vot", "'${ASTROKERAS_UNSET}/out.vot'"),
        "p.yaml:8:21: environment variable 'ASTROKERAS_UNSET' is not set",
    ),
    "unset variable of the file": (
        HEAD + "vars: {out: x}\n" + SYNTHETIC + COLORS + OUTPUT.replace("out.vot", "'{outt}/out.vot'"),
        "p.yaml:9:21: no variable '{outt}'; did you mean 'out'?",
    ),
}


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("case", IN_THE_FILE)
def test_a_mistake_in_the_pipeline_file(fail, case, command):
    text, said = IN_THE_FILE[case]
    if case == "a YAML of 100 MB":
        said = said.replace("100000163", str(len(text)))
    assert said in fail(text, 2, command)


def test_an_absent_pipeline_file(here, capsys):
    assert main(["run", "absent.yaml"]) == 2
    assert "absent.yaml:1:1: cannot be read: no such file" in capsys.readouterr().err


def test_a_mistake_in_set(fail):
    said = fail(HEAD + SYNTHETIC + COLORS + OUTPUT, 2, options=["--set", "stages.colors.bands=[g, y]"])
    assert "--set stages.colors.bands=[g, y]:" in said or "p.yaml:6:5" in said
    said = fail(HEAD + SYNTHETIC + COLORS + OUTPUT, 2, options=["--set", "stages.colours.bands=[g]"])
    assert "did you mean 'colors'?" in said


# Found when the files are opened, before anything is run: files, changes to CATALOG, and what is said at its line.
IN_THE_FILES = {
    "missing": ({}, {}, "c.fits: no such file"),
    "a pattern without files": ({}, {"c.fits": "'c*.fits'"}, "c*.fits: no file matches"),
    "a folder": ({"c.fits": folder}, {}, "c.fits: is no file"),
    "empty": ({"c.fits": b""}, {}, "c.fits: the file is empty"),
    "HTML instead of FITS": (
        {"c.fits": b"<!DOCTYPE html>\n<html><body>Please log in</body></html>"},
        {},
        "c.fits: is an HTML page (an error page or a login?), not a catalog; download it again",
    ),
    "git-LFS pointer": (
        {"c.fits": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"},
        {},
        "c.fits: is a git-LFS pointer, not the file itself; run `git lfs pull`",
    ),
    "of another kind": ({"c.fits": b"\0\1\2" * 999}, {}, "c.fits: is no catalog in a format that is read (FITS, "),
    "truncated FITS": ({"c.fits": truncated("fits")}, {}, "c.fits, HDU 1: the header tells of data up to byte"),
    "truncated Parquet": ({"c.pq": truncated("parquet")}, {"c.fits": "c.pq"}, "c.pq: is a damaged Parquet file"),
    "truncated VOTable": ({"c.vot": truncated("votable")}, {"c.fits": "c.vot"}, "c.vot: is no readable VOTable"),
    "duplicate column names": (
        {"c.csv": b"object_id,flux_g,flux_err_g,flux_g\n1,2,3,4\n"},
        {"c.fits": "c.csv"},
        "c.csv: column flux_g occurs more than once; rename one",
    ),
    "a band that the file lacks": (
        {"c.fits": catalog(bands="g")},
        {},
        "c.fits, HDU 1: no column 'flux_r'",
        "nor 'flux_err_r'; if the file has no r band, say bands: [g]; of the needed columns there are object_id, ",
    ),
    "a column that the file lacks": (
        {"c.fits": catalog()},
        {"]}": "], where: petro_r > 3}"},
        "c.fits, HDU 1: no column 'petro_r'",
    ),
    "two files, one of them absent": ({"c.fits": catalog()}, {"c.fits": "[c.fits, d.fits]"}, "d.fits: no such file"),
}


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize("case", IN_THE_FILES)
def test_a_file_that_is_no_catalog(fail, case, command):
    files, changes, *said = IN_THE_FILES[case]
    lay(files)
    source = CATALOG
    for old, new in changes.items():
        source = source.replace(old, new)
    text = fail(HEAD + source + COLORS + OUTPUT, 2, command)
    assert text.startswith("p.yaml:4:3: ")
    assert all(part in text for part in said), text


# Found when rows are read: files, changes to CATALOG, and what is said.
IN_THE_ROWS = {
    "wrong unit": (
        {"c.fits": catalog(flux_g=np.ones(ROWS) * u.deg)},
        {},
        "c.fits, HDU 1, rows 0 to 40: column 'flux_g': unit 'deg' does not convert to 'nJy'",
    ),
    "magnitudes in a column of flux": (
        {"c.fits": catalog(flux_g=np.full(ROWS, 20.0) * u.mag)},
        {},
        "column 'flux_g': unit 'mag' does not convert to 'nJy'; magnitudes need a survey map that names their system",
    ),
    "AB magnitudes in a column of flux": (
        {"c.ecsv": catalog(flux_g=np.full(ROWS, 20.0) * u.ABmag)},
        {"c.fits": "c.ecsv"},
        "column 'flux_g': unit 'mag(AB)' does not convert to 'nJy'; magnitudes need a survey map",
    ),
    "text in a column of numbers": (
        {"c.fits": catalog(flux_g=["1.5"] * 7 + ["n.d."] * 33)},
        {},
        "column 'flux_g' needs numbers, found 'n.d.' in row 7",
    ),
    "text in a column of numbers of a text table": (
        {"c.csv": b"object_id,flux_g,flux_err_g,flux_r,flux_err_r\n1,2,3,4,5\n2,2,3,4,5\n3,2,x,4,5\n"},
        {"c.fits": "c.csv"},
        "c.csv",
        "'x'",
    ),
    "a row that is too short": (
        {"c.csv": b"object_id,flux_g,flux_err_g,flux_r,flux_err_r\n1,2,3,4,5\n2,2,3\n"},
        {"c.fits": "c.csv"},
        "c.csv, row 2: has 3 values for 5 columns: '2,2,3'",
    ),
    "an identifier that is missing": (
        {"c.csv": b"object_id,flux_g,flux_err_g,flux_r,flux_err_r\n1,2,3,4,5\n,2,3,4,5\n"},
        {"c.fits": "c.csv"},
        "c.csv, rows 0 to 2: column 'object_id' is missing in row 1; object_id must be known",
    ),
}


@pytest.mark.parametrize("case", IN_THE_ROWS)
def test_rows_that_cannot_be_read(fail, case):
    files, changes, *said = IN_THE_ROWS[case]
    lay(files)
    source = CATALOG
    for old, new in changes.items():
        source = source.replace(old, new)
    text = fail(HEAD + source + COLORS + OUTPUT, 1)
    assert all(part in text for part in said), text


def test_all_rows_filtered_away(fail):
    catalog().write("c.fits")
    text = HEAD + CATALOG.replace("]}", "], where: ra > 400}") + COLORS + OUTPUT
    assert fail(text, 1) == "astrokeras: p.yaml:4:50: `where` left none of 40 rows"


def test_all_rows_of_a_product_filtered_away_are_warned_of(here, capsys):
    catalog().write("c.fits")
    Path("p.yaml").write_text(HEAD + CATALOG + COLORS + OUTPUT.replace("}", ", where: ra > 400}"))
    assert main(["run", "p.yaml"]) == 0
    assert "warning: `where` left none of 40 rows for out.vot" in capsys.readouterr().err
    assert len(Table.read("out.vot")) == 0


@pytest.mark.parametrize("name", ["c.fits", "c.csv", "c.pq", "c.vot", "c.ecsv"])
def test_a_table_without_rows_flows_through(here, capsys, name):
    table = catalog(0)
    table.write(name, format={"pq": "parquet", "vot": "votable"}.get(name.rpartition(".")[2]))
    outputs = OUTPUT + "  - fits: {path: out.fits}\n  - parquet: {path: out.parquet}\n"
    Path("p.yaml").write_text(HEAD + CATALOG.replace("c.fits", name) + COLORS + outputs)
    assert main(["run", "p.yaml"]) == 0
    assert "warning: the source has no rows" in capsys.readouterr().err
    for product in ("out.vot", "out.fits", "out.parquet"):
        made = Table.read(product)
        assert len(made) == 0
        assert {"object_id", "color_g_r", "flags"} <= set(made.colnames)


# Found when a model is to be trained: columns of the catalog, further lines of the file, and what is said.
IN_THE_TRAINING = {
    "no target at all": (catalog(), "", "none of 40 rows has a usable 'z_spec'; 40 are missing"),
    "target missing everywhere": (
        catalog(z_spec=np.full(ROWS, np.nan)),
        "",
        "none of 40 rows has a usable 'z_spec'; 40 are missing",
    ),
    "target constant": (
        catalog(z_spec=np.full(ROWS, 0.3)),
        "",
        "'z_spec' is 0.3 in all 40 rows; there is nothing to learn",
    ),
    "target below zero": (
        catalog(z_spec=np.full(ROWS, -9.0)),
        "",
        "none of 40 rows has a usable 'z_spec'; 0 are missing, the others outside -0.02 to inf",
    ),
    "duplicate identifiers without a group": (
        catalog(object_id=np.arange(ROWS) // 2, z_spec=np.linspace(0.1, 1, ROWS)),
        "",
        "20 of 40 object ids repeat an earlier one; name the column that tells objects apart, "
        "`split: {group: object_id}` if equal ids are one object",
    ),
    "a band without any measurement": (
        catalog(z_spec=np.linspace(0.1, 1, ROWS), flux_g=np.full(ROWS, np.nan) * u.nJy),
        "",
        "none of 40 training rows has data in g",
    ),
    "no rows": (catalog(0, z_spec=np.zeros(0)), "", "none of 0 rows has a usable 'z_spec'"),
    "target missing in the training part only": (
        catalog(
            z_spec=np.where(np.arange(ROWS) < 20, np.nan, np.linspace(0.1, 1, ROWS)),
            split=["train"] * 20 + ["validate"] * 20,
        ),
        "split: {by: split}\n",
        "no row of the training part has a usable 'z_spec'",
    ),
    "a part of the split that is none": (
        catalog(z_spec=np.linspace(0.1, 1, ROWS), split=["train", "tset"] * 20),
        "split: {by: split}\n",
        "split: 'tset' is no part (allowed: train, validate, calibrate, test)",
    ),
    "all rows set aside": (
        catalog(z_spec=np.linspace(0.1, 1, ROWS), split=["test"] * ROWS),
        "split: {by: split}\n",
        "split: no row of 40 is left for training",
    ),
}


@pytest.mark.parametrize("case", IN_THE_TRAINING)
def test_rows_that_cannot_give_a_model(fail, case):
    table, lines, said = IN_THE_TRAINING[case]
    table.write("c.fits")
    source = CATALOG.replace("]}", "], keep: {part: {column: split, kind: str}}}") if lines else CATALOG
    lines = lines.replace("by: split", "by: part")
    text = fail(HEAD + source + lines + TRAIN + OUTPUT, 1)
    line = (HEAD + source + lines).count("\n") + 2
    assert text.startswith(f"astrokeras: p.yaml:{line}:5: photoz: ")
    assert said in text


def test_duplicate_identifiers_are_flagged_counted_and_kept(here, capsys):
    catalog(object_id=np.r_[np.arange(ROWS - 3), 0, 1, 1]).write("c.fits")
    Path("p.yaml").write_text(HEAD + CATALOG + COLORS + OUTPUT)
    assert main(["run", "p.yaml"]) == 0
    said = capsys.readouterr().err
    assert "warning: 2 object ids occur more than once; flagged DUPLICATE_ID and kept" in said
    assert "out.vot: 40 rows, 5 DUPLICATE_ID" in said
    flags = np.asarray(Table.read("out.vot")["flags"])
    assert list(np.flatnonzero(flags == Flag.DUPLICATE_ID)) == [0, 1, ROWS - 3, ROWS - 2, ROWS - 1]


def test_duplicate_identifiers_with_a_group_are_trained_on(here, capsys):
    ids = np.arange(200) // 2
    catalog(200, object_id=ids, z_spec=np.linspace(0.1, 1, 200)).write("c.fits")
    split = "split: {group: object_id, test: 0.3, validate: 0.1}\n"
    outputs = OUTPUT.replace("}", ", columns: [ids, z_phot, split, flags]}")
    Path("p.yaml").write_text(HEAD + CATALOG + split + TRAIN + outputs)
    assert main(["run", "p.yaml"]) == 0
    assert "100 repeated" in capsys.readouterr().err
    made = Table.read("out.vot")
    assert np.all(np.asarray(made["flags"]) & Flag.DUPLICATE_ID)
    parts = np.asarray(made["split"]).astype(str).reshape(-1, 2)
    assert np.all(parts[:, 0] == parts[:, 1])
    assert set(parts[:, 0]) == {"train", "validate", "test"}


def magnitudes():
    """Ten objects, each with another defect."""
    table = Table({"id": np.arange(10), "ra": np.linspace(1, 2, 10), "dec": np.linspace(-1, 1, 10)})
    for band, mean in zip(BANDS, (20.5, 19.2, 18.6, 18.3, 18.1), strict=True):
        table[f"m_{band}"], table[f"e_{band}"] = np.full(10, mean), np.full(10, 0.05)
    table["m_g"][:6] = [np.nan, np.inf, -np.inf, 99, -99, -9999]
    table["e_g"][6] = 1e4
    table["ra"][7:9], table["dec"][9] = [400.0, np.nan], -91.0
    return table


def test_bad_numbers_are_flagged_and_stay(here, small_model, capsys):
    magnitudes().write("c.fits")
    shutil.copytree(small_model, "m")
    Path("p.yaml").write_text(HEAD + MAGNITUDES + APPLY + OUTPUT)
    assert main(["run", "p.yaml"]) == 0
    assert "out.vot: 10 rows, 2 BAD_PHOTOMETRY, 3 BAD_POSITION, 6 MISSING_BAND" in capsys.readouterr().err
    made = parse_single_table("out.vot").to_table()
    assert list(made["object_id"]) == list(range(10))
    flags = np.asarray(made["flags"]) & ~Flag.OUT_OF_DOMAIN
    missing, bad = Flag.MISSING_BAND, Flag.MISSING_BAND | Flag.BAD_PHOTOMETRY
    assert list(flags) == [missing, bad, bad, missing, missing, missing, 0, *[Flag.BAD_POSITION] * 3]
    flux, error = (np.ma.filled(made[name], np.nan) for name in ("flux_g", "flux_err_g"))
    assert np.isnan(flux[:6]).all() and np.isnan(error[:6]).all()
    # 19.2 mag is 3631e9 * 10**(-0.4 * 19.2) nJy; an error of 1e4 mag stays a number.
    np.testing.assert_allclose(flux[6:], 3631e9 * 10 ** (-0.4 * 19.2), rtol=1e-5)
    assert error[6] == pytest.approx(1e4 * flux[6] * np.log(10) / 2.5, rel=1e-5)
    assert np.ma.getmaskarray(made["ra"])[7:].all() and np.ma.getmaskarray(made["dec"])[7:].all()
    z = {name: np.ma.filled(made[name], np.nan) for name in ("z_phot", "z_lo", "z_hi")}
    assert all(np.isfinite(values).all() for values in z.values())
    # A band that says nothing is as good as none: all seven give the same.
    np.testing.assert_allclose(z["z_phot"][:6], z["z_phot"][0], rtol=1e-5)
    np.testing.assert_allclose(z["z_phot"][7:], z["z_phot"][7], rtol=1e-5)
    assert abs(z["z_phot"][6] - z["z_phot"][7]) > 0


def test_infinite_fluxes_and_impossible_errors_are_flagged(here, small_model):
    table = catalog(6, BANDS)
    table["flux_r"][0], table["flux_err_r"][1:4] = np.inf, [0, -1, np.nan]
    for band in BANDS:
        table[f"flux_{band}"][4] = np.nan
    table.write("c.fits")
    shutil.copytree(small_model, "m")
    Path("p.yaml").write_text(HEAD + CATALOG.replace("[g, r]", "[u, g, r, i, z]") + APPLY + OUTPUT)
    assert main(["run", "p.yaml", "--quiet"]) == 0
    made = parse_single_table("out.vot").to_table()
    flags = np.asarray(made["flags"])
    # A flux that is missing beside an error is an upper limit; an object of limits only has no result.
    bad, nothing = Flag.BAD_PHOTOMETRY | Flag.MISSING_BAND, Flag.NO_DATA | Flag.UPPER_LIMIT
    assert list(flags & ~(Flag.OUT_OF_DOMAIN | Flag.BAD_POSITION)) == [bad, bad, bad, bad, nothing, 0]
    assert list(np.isfinite(np.ma.filled(made["z_phot"], np.nan))) == [True, True, True, True, False, True]


def card(change):
    """Change the card of a model."""

    def apply(directory):
        path = directory / "card.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return apply


def archive(change):
    """Write the archive of a model anew, with other members."""

    def apply(directory):
        path = directory / "model.keras"
        with zipfile.ZipFile(path) as old:
            members = {name: old.read(name) for name in old.namelist()}
        with zipfile.ZipFile(path, "w") as new:
            for name, data in change(members).items():
                new.writestr(name, data)

    return apply


def model_bytes(change):
    """Change the archive of a model."""

    def apply(directory):
        path = directory / "model.keras"
        path.write_bytes(change(path.read_bytes()))

    return apply


class Malice:
    """Leaves a file where it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("owned"),)


def flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


def lambda_layer(members):
    config = members["config.json"].replace(b'"class_name": "Dense"', b'"class_name": "Lambda"', 1)
    assert config != members["config.json"]
    return members | {"config.json": config}


def other_weights(members):
    import io

    import h5py

    stream = io.BytesIO(members["model.weights.h5"])
    with h5py.File(stream, "r+") as weights:
        found = []
        weights.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) and item.size else None)
        found[0][...] = found[0][...] + 1
    return members | {"model.weights.h5": stream.getvalue()}


# What happened to a model, and what is said.
MODELS = {
    "a bit flipped": (model_bytes(flipped), "m/model.keras: damaged archive (Bad CRC-32"),
    "truncated": (model_bytes(lambda data: data[: len(data) // 2]), "m/model.keras: damaged archive"),
    "empty": (model_bytes(lambda data: b""), "m/model.keras: is empty"),
    "without its archive": (lambda d: (d / "model.keras").unlink(), "m/model.keras: "),
    "without its card": (lambda d: (d / "card.json").unlink(), "m: holds no card.json; a model is a directory with"),
    "a card that is no JSON": (lambda d: (d / "card.json").write_text("{"), "m/card.json: is no JSON"),
    "a card with an unknown key": (
        card(lambda c: c | {"taks": "photoz"}),
        "m/card.json: taks: unknown key; did you mean 'task'?",
    ),
    "a card of the future": (
        card(lambda c: c | {"format": 2}),
        "m/card.json: format 2; this astrokeras reads format 1",
    ),
    "a pickle that runs code": (
        model_bytes(lambda data: pickle.dumps(Malice())),
        "m/model.keras: is a pickle, which runs code",
    ),
    "an HDF5 file": (model_bytes(lambda data: b"\x89HDF\r\n\x1a\n" + data), "m/model.keras: is an HDF5 file"),
    "a Lambda layer": (archive(lambda_layer), "m/model.keras: config.json: ", "Lambda"),
    "another member": (archive(lambda m: m | {"../owned": b"x"}), "m/model.keras: ", "owned"),
    "weights of another model": (archive(other_weights), "its card says", "not the model described"),
    "a git-LFS pointer": (model_bytes(lambda data: b"version https://git-lfs.github.com/spec/v1\n"), "git-LFS pointer"),
}


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_is_damaged_foreign_or_malicious(fail, small_model, case, command):
    damage, *said = MODELS[case]
    shutil.copytree(small_model, "m")
    damage(Path("m"))
    text = fail(HEAD + SYNTHETIC + APPLY + OUTPUT, 2, command)
    assert text.startswith("p.yaml:6:5: photoz: ")
    assert all(part in text for part in said), text
    assert not Path("owned").exists() and not Path("../owned").exists()


@pytest.mark.parametrize(
    "case", ["a bit flipped", "a Lambda layer", "weights of another model", "a card that is no JSON"]
)
def test_a_bad_model_is_not_verified_and_hides_no_other(here, small_model, monkeypatch, capsys, case):
    damage, *said = MODELS[case]
    for name in ("bad", "good"):
        shutil.copytree(small_model, Path("shelf", name, "1.0.0"))
    damage(Path("shelf/bad/1.0.0"))
    monkeypatch.setenv("ASTROKERAS_MODELS", "shelf")
    assert main(["models", "verify", "bad"]) == 1
    text = capsys.readouterr().err
    assert text.startswith("astrokeras: shelf/bad/1.0.0")
    assert all(part.removeprefix("m/") in text for part in said)
    assert main(["models", "list"]) == (1 if "card" in case else 0)
    assert "shelf/good/1.0.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("m.keras", "m.keras: is a file; a model is a directory with model.keras and card.json"),
        ("some/where", "some/where: no such model directory"),
        ("smal@1", "no model 'smal@1': neither a directory nor a known name; did you mean 'small'?"),
        ("small@2", "no model 'small@2': small has the versions 1.0.0"),
    ],
)
def test_a_model_that_is_not_there(fail, small_model, monkeypatch, model, said):
    Path("m.keras").write_bytes(b"")
    monkeypatch.setenv("ASTROKERAS_MODELS", str(small_model.parent.parent))
    assert f"p.yaml:6:5: photoz: {said}" in fail(HEAD + SYNTHETIC + APPLY.replace("m}", f"{model}}}") + OUTPUT, 2)


def test_a_band_that_the_catalog_lacks_is_masked_if_the_card_allows(here, small_model, capsys):
    table = catalog(ROWS, BANDS)
    table.write("c.fits")
    shutil.copytree(small_model, "m")
    for bands, out in (("u, g, r, i, z", "all.vot"), ("g, r, i, z", "out.vot")):
        text = HEAD + CATALOG.replace("g, r", bands) + APPLY + OUTPUT.replace("out.vot", out)
        Path("p.yaml").write_text(text)
        assert main(["run", "p.yaml"]) == 0
    assert "40 MISSING_BAND" in capsys.readouterr().err
    whole, made = (parse_single_table(name).to_table() for name in ("all.vot", "out.vot"))
    assert np.all(np.asarray(made["flags"]) & Flag.MISSING_BAND)
    assert not np.any(np.asarray(whole["flags"]) & Flag.MISSING_BAND)
    assert np.isfinite(made["z_phot"]).all()
    assert np.any(made["z_phot"] != whole["z_phot"])


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_band_that_the_catalog_lacks_is_named_if_the_card_needs_it(fail, small_model, command):
    catalog(ROWS, BANDS).write("c.fits")
    shutil.copytree(small_model, "m")
    card(lambda c: c | {"may_miss": ["u"]})(Path("m"))
    said = fail(HEAD + CATALOG.replace("g, r", "u, g, i") + APPLY + OUTPUT, 2, command)
    assert "p.yaml:6:5: photoz: model small needs the bands 'r', 'z' (flux_r and flux_err_r, ...)" in said
    assert "only 'u' may be missing" in said


def test_filters_that_differ_are_named(fail, small_model):
    shutil.copytree(small_model, "m")
    said = fail(HEAD + SYNTHETIC.replace("seed: 1", "system: lsst") + APPLY + OUTPUT, 2, "check")
    assert "band 'u': the model was trained on filter 'SLOAN/SDSS.u', the data have 'LSST/LSST.u'" in said
    assert "`override: [filter]` accepts this and flags the objects" in said


# Found before anything is run: files, stages and outputs, and what is said.
TARGETS = {
    "a folder": (
        {"out.vot": folder},
        COLORS + OUTPUT,
        ":21: out.vot: is a directory; a product needs the name of a file",
    ),
    "below a file": (
        {"d": b""},
        COLORS + OUTPUT.replace("out.vot", "d/e/out.vot"),
        ":21: d/e/out.vot: cannot be written: ",
    ),
    "the catalog itself": (
        {},
        COLORS + "outputs:\n  - fits: {path: ../{here}/c.fits}\n".replace("../{here}", "."),
        ":18: c.fits: is read by this pipeline; it is not overwritten",
    ),
    "a model where something else lies": (
        {"model": folder},
        TRAIN + OUTPUT,
        ":13: model: exists and is no model; it is not replaced",
    ),
}


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize("case", TARGETS)
def test_a_target_that_cannot_be_written(fail, case, command):
    files, parts, said = TARGETS[case]
    catalog(z_spec=np.linspace(0.1, 1, ROWS)).write("c.fits")
    lay(files)
    assert said in fail(HEAD + CATALOG + parts, 2, command)


def test_an_unwritable_work_directory(fail):
    Path("w").write_text("")
    said = fail(HEAD + SYNTHETIC + COLORS + OUTPUT, 1, options=["--work", "w"])
    assert said.startswith("astrokeras: w/t: cannot use the work directory (")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(fail):
    Path("d").mkdir(mode=0o555)
    said = fail(HEAD + SYNTHETIC + COLORS + OUTPUT.replace("out.vot", "d/a/out.vot"), 2)
    assert "p.yaml:8:21: d/a/out.vot: cannot be written: no permission to write in " in said


def test_a_damaged_work_directory(here, monkeypatch, capsys):
    """What a crash of the machine leaves: files without their content."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    Path("p.yaml").write_text(HEAD + SYNTHETIC + COLORS + OUTPUT)

    def again(pattern, command="run"):
        found = [path for path in Path(".astrokeras").rglob(pattern) if path.is_file()]
        assert found or command == "status"
        for path in found:
            path.write_bytes(b"")
        status = main([command, "p.yaml"])
        return status, capsys.readouterr()

    assert main(["run", "p.yaml"]) == 0
    product = Path("out.vot").read_bytes()
    for pattern in ("files.json", "receipt.json", "products/*.json"):
        Path("out.vot").unlink()
        assert again(pattern)[0] == 0
        assert Path("out.vot").read_bytes() == product
    status, said = again("runs/*.json", "status")
    assert status == 0 and "never run" in said.out
    assert again("products/*.json", "status")[0] == 0
    Path("out.vot").unlink()
    status, said = again("table.parquet")
    assert status == 1 and "Traceback" not in said.err
    assert re.search(r"astrokeras: p.yaml:8:5: votable .*parts/\w+: the stored part is damaged .*remove it", said.err)
    assert not Path("out.vot").exists()


@pytest.fixture
def small_disk(here):
    """A file system of 64 kB; its size can be changed."""
    disk = here / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")

    def resize(size):
        subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)

    yield resize
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_read_only_target(fail, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", "disk"], check=True)
    text = HEAD + SYNTHETIC + COLORS + OUTPUT
    said = fail(text.replace("out.vot", "disk/a/out.vot"), 2)
    assert "p.yaml:8:21: disk/a/out.vot: cannot be written: no permission to write in " in said
    assert "cannot use the work directory (Read-only file system)" in fail(text, 1, options=["--work", "disk/w"])


FULL = HEAD + SYNTHETIC.replace("300", "5000") + COLORS


@pytest.mark.parametrize("product", ["votable: {path: disk/o}", "fits: {path: disk/o}", "parquet: {path: disk/o}"])
def test_a_disk_that_fills_while_a_product_is_written(fail, small_disk, capsys, product):
    text = FULL + f"outputs:\n  - {product}\n"
    assert fail(text, 1) == "astrokeras: disk/o: cannot be written: No space left on device"
    assert not list(Path("disk").iterdir())
    small_disk("64m")
    assert main(["run", "p.yaml"]) == 0
    assert "colors: 1 partitions, 1 already done" in capsys.readouterr().err
    assert Path("disk/o").stat().st_size > 65536


@pytest.mark.parametrize("filler", [0, 65536], ids=["fills", "is full"])
def test_a_disk_that_fills_or_is_full_under_the_work_directory(fail, small_disk, capsys, filler):
    Path("disk/filler").write_bytes(b"x" * filler)
    Path("p.yaml").write_text(FULL + OUTPUT)
    assert main(["run", "p.yaml", "--work", "disk/w"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said and "Logging error" not in said
    assert said.splitlines()[-1].startswith("astrokeras: ") and "No space left on device" in said
    assert not Path("out.vot").exists()
    assert not half_written("disk")
    Path("disk/filler").unlink()
    small_disk("64m")
    assert main(["run", "p.yaml", "--work", "disk/w", "--quiet"]) == 0
    assert len(Table.read("out.vot")) == 5000


def test_a_disk_that_is_full_where_a_model_is_saved(fail, small_disk, capsys):
    Path("disk/filler").write_bytes(b"x" * 60000)
    text = HEAD + SYNTHETIC + TRAIN.replace("save: model", "save: disk/model") + OUTPUT
    Path("p.yaml").write_text(text)
    assert main(["run", "p.yaml"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith(
        "astrokeras: p.yaml:6:5: photoz: disk/model: cannot save the model ([Errno 28] No space left"
    )
    assert [p.name for p in Path("disk").iterdir()] == ["filler"]
    Path("disk/filler").unlink()
    small_disk("64m")
    # The training is not done again.
    assert main(["run", "p.yaml"]) == 0
    said = capsys.readouterr().err
    assert "epoch" not in said
    assert "warning: no rows to validate on" in said
    assert Path("disk/model/card.json").exists()


def test_a_file_that_may_not_grow(here):
    """As on a disk with a quota; needs no root."""
    Path("p.yaml").write_text(HEAD + SYNTHETIC.replace("300", "5000") + COLORS + OUTPUT)
    code = (
        "import resource, signal, sys\nfrom astrokeras.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (350_000, 350_000))\n"
        "sys.exit(main(['run', 'p.yaml']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot " in done.stderr.splitlines()[-1] and "File too large" in done.stderr
    assert state() == {"p.yaml": Path("p.yaml").stat().st_size}
    assert not half_written()
