"""The page about products that exist: the same as that of the run, whatever their format."""

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.units import Quantity
from test_evaluate_classes import make_chunk
from test_report import ALL, Page, make_report, with_stamps

from astrokeras import Pipeline
from astrokeras.cli import main
from astrokeras.export import product_file
from astrokeras.export.product_facts import _said
from astrokeras.export.product_file import ProductFile
from astrokeras.export.report import Report
from astrokeras.export.report_products import report_products
from astrokeras.export.tables import Fits, Parquet
from astrokeras.export.votable import VOTable
from astrokeras.fields import Field
from astrokeras.flags import Flag
from astrokeras.stage import Product

FORMATS = {"fits": Fits, "parquet": Parquet, "vot": VOTable}
REDSHIFTS = (
    Field(name="z_phot"),
    Field(name="z_spec"),
    Field(name="z_pdf", shape=(31,), meta={"z_min": 0.0, "z_max": 1.5}),
    Field(name="flux_r", unit="nJy", filter="SDSS/SDSS.r"),
)
FIELDS = (*ALL, *REDSHIFTS)
PROVENANCE = {
    "pipeline": "night",
    "pipeline_digest": "d" * 64,
    "date": "2023-11-14T22:13:20",
    "astrokeras_version": "0.1",
    "source": {"name": "catalog", "parameters": {"files": ["a file with a long name, " * 9]}},
    "models": [{"stage": "photoz", "name": "m", "digest": "e" * 64}],
    "rows": 600,
    "flags": {"NO_DATA": 9},
    "warnings": ["not like the training set"],
}


def make_rows(n=600):
    chunk = with_stamps(make_chunk(n))
    rng = np.random.default_rng(8)
    chunk["z_spec"] = rng.uniform(0.1, 1.4, n).astype("f4")
    chunk["z_phot"] = (chunk["z_spec"] + rng.normal(0, 0.05, n)).astype("f4")
    z = np.linspace(0, 1.5, 31)
    pdf = np.exp(-((z - np.asarray(chunk["z_phot"])[:, None]) ** 2) / (2 * 0.05**2))
    chunk["z_pdf"] = (pdf / (pdf.sum(axis=1, keepdims=True) * (z[1] - z[0]))).astype("f4")
    chunk["flux_r"] = Quantity(rng.lognormal(5, 1, n), "nJy", dtype="f4")
    chunk["flags"][:7] = int(Flag.OUT_OF_DOMAIN)
    chunk["flags"][5:9] |= int(Flag.NO_DATA)
    return chunk


def product(path, chunks, fields=FIELDS):
    output = FORMATS[path.suffix[1:]](path=str(path), columns=tuple(f.name for f in fields))
    fields = output.reads(fields)
    pieces = []
    for k, chunk in enumerate(chunks):
        piece = path.with_name(f"{path.name}.{k}.piece")
        pieces.append((piece, output.write(chunk[[f.name for f in fields]], fields, piece)))
    output.close(pieces, Product(path, fields, PROVENANCE))
    return str(path)


@pytest.fixture(scope="module")
def rows():
    return make_rows()


def shown(text):
    """What a page shows but for the provenance, counts of flags and what stands in its head."""
    return re.search(r'<section id="field".*?(?=<section id="flags")', text, re.DOTALL)[0]


@pytest.mark.parametrize("ending", FORMATS)
def test_the_page_is_that_of_the_run(tmp_path, rows, ending, monkeypatch):
    run = make_report(tmp_path, [rows], FIELDS, "run.html", gallery=4).read_text()
    path = product(tmp_path / f"out.{ending}", [rows[:250], rows[250:]])
    monkeypatch.setattr(product_file, "_ROWS", 100)
    out = tmp_path / "again.html"
    assert main(["report", path, "--out", str(out), "--gallery", "4"]) == 0
    text = out.read_text()
    assert shown(text) == shown(run)
    words = Page(text).words
    # The grid of the densities was read, and pictures of stamps are there.
    assert "PIT KS" in words and text.count("data:image/png") == run.count("data:image/png")
    assert any("600 objects" in word for word in words) and "night" in words
    filled = [word for word in words if word]
    flags = {word: filled[i + 1] for i, word in enumerate(filled) if word in Flag.__members__}
    assert flags == {"OUT_OF_DOMAIN": "7", "NO_DATA": "4"}
    # What the product says of itself.
    assert any("not like the training set" in word for word in words)
    assert f"out.{ending}.pipeline_digest" in words and "d" * 64 in words
    assert any("e" * 64 in word for word in words)


@pytest.mark.parametrize("ending", FORMATS)
def test_facts_come_back(tmp_path, rows, ending):
    opened = ProductFile(product(tmp_path / f"out.{ending}", [rows]))
    known = {field.name: field for field in opened.fields}
    assert (known["z_pdf"].meta["z_min"], known["z_pdf"].meta["z_max"]) == (0.0, 1.5)
    assert known["stamp"].shape == (16, 16, 3) and known["stamp"].unit == "nJy"
    assert opened.provenance["source.parameters"] == '{"files": ["' + "a file with a long name, " * 9 + '"]}'
    assert opened.provenance["pipeline"] == "night" and opened.provenance["date"] == PROVENANCE["date"]
    (chunk,) = opened.chunks(["stamp", "z_pdf", "class_label", "flags"])
    for name in chunk.colnames:
        np.testing.assert_array_equal(np.asarray(chunk[name]), np.asarray(rows[name]))


def test_products_are_put_together(tmp_path, rows):
    paths = [product(tmp_path / "a.vot", [rows[:300]]), product(tmp_path / "b.parquet", [rows[300:]])]
    whole, parts = (Report(path=str(tmp_path / f"{name}.html"), where="z_spec > 0.5") for name in ("whole", "parts"))
    n = int(np.sum(np.asarray(rows["z_spec"]) > 0.5))
    assert report_products(parts, paths) == n
    assert report_products(whole, [product(tmp_path / "c.fits", [rows])]) == n
    text = Path(parts.path).read_text()
    assert shown(text) == shown(Path(whole.path).read_text())
    assert f"{n} objects, {600 - n} more left out by where" in text


def test_a_run_and_then_a_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(
        "astrokeras: 1\nname: plain\npartition: {rows: 256}\nsource:\n  synthetic: {rows: 600, seed: 1}\nstages:\n"
        "  - colors: {bands: [g, r]}\noutputs:\n  - votable: {path: out.vot}\n  - report: {path: run.html}\n"
    )
    Pipeline.read("p.yaml").run(quiet=True)
    assert main(["report", "out.vot"]) == 0
    assert "report.html: 600 rows of 1 product(s)" in capsys.readouterr().out
    text, run = Path("report.html").read_text(), Path("run.html").read_text()
    images = re.compile(r'src="(data:image/[^"]*)"')
    assert images.findall(text) == images.findall(run) and len(images.findall(text)) == 2
    assert "<h1>plain" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.vot"], "none.vot: no such file"),
        (["plain.fits"], "has no column 'object_id' (have: number)"),
        (["a.vot", "b.vot"], "b.vot: there is no column 'z_pdf'; in a.vot column 'z_pdf' has type f4"),
        (["a.vot", "c.vot"], "shape (31,), z_min 0.0, z_max 1.4; in a.vot"),
        (["a.vot", "--stamps", "stmap"], "no column 'stmap'; did you mean 'stamp'?"),
        (["a.vot", "--truth", "class_label"], "--truth: needs ESTIMATE=COLUMN, got 'class_label'"),
        (["a.vot", "--where", "mag > 2"], "a.vot: `where`: no column 'mag'"),
        (["a.vot", "--sample", "3"], "sample: Input should be greater than or equal to 10"),
        (["a.vot", "--out", "a.vot/x.html"], "a.vot/x.html: cannot be written"),
        (["a.vot", "--out", "a.vot"], "a.vot: is a product to be shown; it is not overwritten"),
    ],
)
def test_mistakes_are_told(tmp_path, rows, monkeypatch, capsys, arguments, said):
    from astropy.table import Table

    monkeypatch.chdir(tmp_path)
    product(Path("a.vot"), [rows[:20]])
    product(Path("b.vot"), [rows[:20]], tuple(f for f in FIELDS if f.name not in ("z_phot", "z_pdf")))
    grid = FIELDS[-2].model_copy(update={"meta": {"z_min": 0.0, "z_max": 1.4}})
    product(Path("c.vot"), [rows[:20]], (*FIELDS[:-2], grid, FIELDS[-1]))
    Table({"number": [1, 2]}).write("plain.fits")
    before = Path("a.vot").read_bytes()
    assert main(["report", *arguments]) == 1
    assert said in capsys.readouterr().err
    assert Path("a.vot").read_bytes() == before


def test_history_is_put_together():
    entry = "x = " + "ab " * 60
    cards = [entry[i : i + 72].rstrip() for i in range(0, len(entry), 72)]
    assert dict(_said({"HISTORY": ["first = 1", *cards, "last.one = z"]})) == {
        "first": "1",
        "x": ("ab " * 60).rstrip(),
        "last.one": "z",
    }
