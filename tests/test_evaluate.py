"""Evaluation: which rows count, the numbers against formulas, the file and the printed table."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable
from astropy.units import Quantity
from pydantic import ValidationError
from scipy import stats

from astrokeras import Pipeline, metrics
from astrokeras.errors import ChunkError, OutputError
from astrokeras.export.evaluate import Evaluate
from astrokeras.fields import OBJECT_ID, Field, flux_field
from astrokeras.stage import Product

GRID = np.linspace(0, 2, 401)
SPLIT = Field(name="split", kind="str")
FOLD = Field(name="fold", kind="i4")
FIELDS = (
    OBJECT_ID,
    flux_field("r"),
    Field(name="z_spec", kind="f8"),
    Field(name="z_phot"),
    Field(name="z_lo"),
    Field(name="z_hi"),
    Field(name="z_pdf", shape=(401,), meta={"z_min": 0.0, "z_max": 2.0}),
    SPLIT,
)


def make_chunk(n=400, seed=0, sigma=0.03):
    """Calibrated normal PDFs; a quarter of the rows is for training."""
    rng = np.random.default_rng(seed)
    mu = rng.uniform(0.4, 1.6, n)
    chunk = QTable({"object_id": np.arange(n)})
    chunk["flux_r"] = Quantity(10 ** rng.uniform(3, 5, n), "nJy", dtype="f4")
    chunk["z_spec"] = rng.normal(mu, sigma)
    chunk["z_phot"] = mu.astype("f4")
    chunk["z_lo"], chunk["z_hi"] = (mu - sigma).astype("f4"), (mu + sigma).astype("f4")
    chunk["z_pdf"] = stats.norm.pdf(GRID, mu[:, None], sigma).astype("f4")
    chunk["split"] = np.where(np.arange(n) % 4 == 0, "train", "test")
    return chunk


def evaluate(tmp_path, chunks, available=FIELDS, provenance=None, **parameters):
    path = tmp_path / "scores.json"
    output = Evaluate(path=str(path), **({"show": False} | parameters))
    fields = output.reads(available)
    pieces = []
    for k, chunk in enumerate(chunks):
        piece = tmp_path / "pieces" / str(k)
        facts = output.write(chunk[[f.name for f in fields]], fields, piece)
        pieces.append((piece, json.loads(json.dumps(facts))))
    output.close(pieces, Product(path, fields, provenance or {}))
    return json.loads(path.read_text())


def test_numbers_are_those_of_the_metrics(tmp_path):
    chunk = make_chunk()
    report = evaluate(tmp_path, [chunk])
    test = chunk[chunk["split"] == "test"]
    z_spec, z_phot = np.asarray(test["z_spec"]), np.asarray(test["z_phot"])
    overall = report["overall"]
    assert overall["n"] == overall["n_pdf"] == 300
    for name in ("bias", "sigma_nmad", "outlier_fraction"):
        assert overall[name]["value"] == pytest.approx(getattr(metrics, name)(z_phot, z_spec))
    for name in ("crps", "cde_loss", "log_likelihood"):
        expected = getattr(metrics, name)(test["z_pdf"], GRID, z_spec).mean()
        assert overall[name]["value"] == pytest.approx(expected)
    assert overall["pit_ks"]["value"] == pytest.approx(
        stats.kstest(stats.norm.cdf(z_spec, z_phot, 0.03), "uniform")[0], abs=1e-3
    )
    assert overall["pit_ks_95"] == pytest.approx(stats.kstwo.ppf(0.95, 300), rel=0.01)
    assert overall["coverage"]["value"] == pytest.approx(np.mean(np.abs(z_spec - z_phot) < 0.03), abs=0.004)
    assert overall["crps"]["error"] == pytest.approx(
        metrics.crps(test["z_pdf"], GRID, z_spec).std() / math.sqrt(300), rel=0.2
    )
    assert report["baseline"] == pytest.approx(metrics.trivial_baseline(z_spec))
    assert report["baseline"]["sigma_nmad"] > 5 * overall["sigma_nmad"]["value"]


def test_partitions_do_not_matter(tmp_path):
    chunk = make_chunk()
    parameters = {"bins": {"magnitude": {"band": "r", "n": 3}, "redshift": [0, 1, 2]}}
    whole = evaluate(tmp_path, [chunk], **parameters)
    assert whole == evaluate(tmp_path, [chunk[:1], chunk[1:1], chunk[1:250], chunk[250:]], **parameters)


def test_training_rows_are_not_scored(tmp_path):
    chunk = make_chunk()
    spoiled = chunk.copy()
    spoiled["z_phot"][chunk["split"] == "train"] = 9
    assert evaluate(tmp_path, [chunk]) == evaluate(tmp_path, [spoiled])
    assert evaluate(tmp_path, [chunk])["rows"]["splits"] == {"test": 300, "train": 100}


def test_out_of_fold_rows_are_scored(tmp_path):
    chunk = make_chunk()
    chunk["split"] = ""
    chunk["fold"] = MaskedColumn(np.arange(400) % 5 - 1, dtype="i4", mask=np.arange(400) % 2 == 0)
    report = evaluate(tmp_path, [chunk], (*FIELDS, FOLD))
    assert report["overall"]["n"] == np.count_nonzero((np.arange(400) % 5 > 0) & (np.arange(400) % 2 == 1))
    assert report["selection"] == "split == 'test' or fold >= 0"


def test_missing_values_are_counted(tmp_path):
    chunk = make_chunk(40)
    chunk["split"] = "test"
    chunk["z_spec"][:3] = [np.nan, np.inf, -1.0]
    chunk["z_phot"][2:6] = np.nan
    chunk["z_pdf"][6] = np.nan
    chunk["z_lo"][7] = np.nan
    report = evaluate(tmp_path, [chunk])
    rows = {k: v for k, v in report["rows"].items() if k != "splits"}
    assert rows == {"rows": 40, "selected": 40, "scored": 34, "without_target": 3, "without_estimate": 3}
    assert report["overall"]["n"] == 34 and report["overall"]["n_pdf"] == 33


def test_bins_of_magnitude_and_redshift(tmp_path):
    chunk = make_chunk()
    chunk["flux_r"][1:3] = [-5, np.nan] * chunk["flux_r"].unit
    bins = {"magnitude": {"band": "r", "edges": [19, 20.5, 23]}, "redshift": {"n": 4}}
    report = evaluate(tmp_path, [chunk], bins=bins)
    test = chunk[chunk["split"] == "test"]
    flux = np.asarray(test["flux_r"].value, float)
    magnitude = 31.4 - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
    faint = (magnitude >= 20.5) & (magnitude <= 23)
    bright, dim = report["magnitude"]["bins"]
    assert (bright["low"], bright["high"], dim["low"], dim["high"]) == (19, 20.5, 20.5, 23)
    assert dim["n"] == faint.sum()
    assert bright["n"] + dim["n"] + report["magnitude"]["n_outside"] == 298
    assert report["magnitude"]["n_missing"] == 2
    expected = metrics.sigma_nmad(np.asarray(test["z_phot"])[faint], np.asarray(test["z_spec"])[faint])
    assert dim["sigma_nmad"]["value"] == pytest.approx(expected)
    assert [b["n"] for b in report["redshift"]["bins"]] == [75] * 4
    assert report["redshift"]["n_outside"] == 0


def test_empty_bin(tmp_path):
    report = evaluate(tmp_path, [make_chunk()], bins={"redshift": [0, 2, 3]})
    full, empty = report["redshift"]["bins"]
    assert full["n"] > 290
    assert empty["n"] == 0 and empty["bias"] == {"value": None, "error": None} and empty["pit_ks_95"] is None


def test_magnitude_from_a_column(tmp_path):
    chunk = make_chunk()
    chunk["mag"] = Quantity(np.linspace(15, 20, 400), "mag")
    available = (*FIELDS, Field(name="mag", unit="mag"))
    report = evaluate(tmp_path, [chunk], available, bins={"magnitude": {"column": "mag", "edges": [15, 17.5, 20]}})
    assert [b["n"] for b in report["magnitude"]["bins"]] == [150, 150]


def test_point_estimates_alone(tmp_path):
    fields = tuple(f for f in FIELDS if f.name not in ("z_pdf", "z_lo"))
    overall = evaluate(tmp_path, [make_chunk()], fields)["overall"]
    assert set(overall) == {"n", "bias", "sigma_nmad", "outlier_fraction"}


def test_seed_decides_the_errors(tmp_path):
    one, same, other = (
        evaluate(tmp_path, [make_chunk()], bootstrap={"n": 50, "seed": s})["overall"]["bias"] for s in (1, 1, 2)
    )
    assert one == same
    assert one["value"] == other["value"] and one["error"] != other["error"]


def test_all_rows(tmp_path):
    fields = tuple(f for f in FIELDS if f.name != "split")
    with pytest.raises(ChunkError, match="no column 'split' says which rows the model has not seen"):
        Evaluate(path="x").reads(fields)
    report = evaluate(tmp_path, [make_chunk()], fields, all_rows=True)
    assert report["overall"]["n"] == 400 and report["selection"] == "all rows"
    with pytest.raises(ChunkError, match="all_rows would score rows that column 'split' says"):
        Evaluate(path="x", all_rows=True).reads(FIELDS)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"target": "zspec"}, "no column 'zspec'; did you mean 'z_spec'"),
        ({"estimate": "z_phto"}, "no column 'z_phto'; did you mean 'z_phot'"),
        ({"pdf": "zpdf"}, "no column 'zpdf'; did you mean 'z_pdf'"),
        ({"interval": ("z_lo", "z_high")}, "no column 'z_high'"),
        ({"bins": {"magnitude": {"band": "i", "n": 3}}}, "no column 'flux_i'; did you mean 'flux_r'"),
        ({"pdf": "z_phot"}, r"column 'z_phot' has cells of shape \(\), not one PDF per row"),
    ],
)
def test_missing_columns_are_named(parameters, message):
    with pytest.raises(ChunkError, match=message):
        Evaluate(path="x", **parameters).reads(FIELDS)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"columns": ["ra"]}, "evaluate takes no columns"),
        ({"bins": {"redshift": [1, 0]}}, "finite, increasing"),
        ({"bins": {"redshift": [0, float("inf")]}}, "finite, increasing"),
        ({"bins": {"redshift": {"n": 2, "edges": [0, 1]}}}, "either edges or n"),
        ({"bins": {"magnitude": {"n": 2}}}, "either band or column"),
        ({"bins": {"color": {"n": 2}}}, "color"),
        ({"bootstrap": {"n": 1}}, "greater than or equal to 2"),
    ],
)
def test_wrong_parameters_are_refused(parameters, message):
    with pytest.raises(ValidationError, match=message):
        Evaluate(path="x", **parameters)


def test_pdf_must_say_its_grid(tmp_path):
    fields = tuple(f.model_copy(update={"meta": {}}) if f.name == "z_pdf" else f for f in FIELDS)
    with pytest.raises(OutputError, match="column 'z_pdf' does not say its grid"):
        evaluate(tmp_path, [make_chunk()], fields)


def test_nothing_to_score(tmp_path):
    chunk = make_chunk(8)
    chunk["split"] = "train"
    with pytest.raises(OutputError, match=r"nothing to score: of 8 rows none is a test row \(split: train 8\)"):
        evaluate(tmp_path, [chunk])
    chunk["split"], chunk["z_spec"] = "test", np.nan
    with pytest.raises(OutputError, match="of 8 rows 8 have no target and 0 others no estimate"):
        evaluate(tmp_path, [chunk])
    assert not (tmp_path / "scores.json").exists()


def test_file_says_what_it_holds(tmp_path):
    report = evaluate(tmp_path, [make_chunk()], provenance={"pipeline": "p", "date": "2026-01-01T00:00:00"})
    assert report["provenance"] == {"pipeline": "p", "date": "2026-01-01T00:00:00"}
    assert report["bootstrap"] == {"n": 200, "seed": 0}
    assert report["pdf"] == {"column": "z_pdf", "z_min": 0.0, "z_max": 2.0}
    missing = set(report["overall"]) - set(report["definitions"])
    assert missing == {"n", "n_pdf"}


def test_printed_table(tmp_path, capsys):
    bins = {"magnitude": {"band": "r", "edges": [19, 21, 24]}, "redshift": [0, 1, 2]}
    report = evaluate(tmp_path, [make_chunk()], bins=bins, show=True)
    lines = capsys.readouterr().out.splitlines()
    scores = report["overall"]["sigma_nmad"]
    (row,) = (line.split() for line in lines if line.split()[:1] == ["all"])
    assert row[1] == "300"
    assert row[3] == f"{scores['value']:.4f}({scores['error'] * 1e4:.0f})"
    for name in ("r (AB) 19 to 21", "r (AB) 21 to 24", "z_spec 0 to 1", "z_spec 1 to 2", "baseline"):
        assert any(line.strip().startswith(name) for line in lines)
    assert any("300 of 300 rows scored" in line for line in lines)


def test_a_quiet_run_prints_no_table(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(
        "astrokeras: 1\nname: quiet\nsource: {synthetic: {rows: 100}}\noutputs:\n"
        "  - evaluate: {path: a.json, estimate: z_spec, all_rows: true, bins: {magnitude: null}, bootstrap: {n: 2}}\n"
    )
    Pipeline.read("p.yaml").run(work="first")
    assert "100 of 100 rows scored" in capfd.readouterr().out
    Pipeline.read("p.yaml").run(work="second", quiet=True)
    assert "".join(capfd.readouterr()) == ""


def test_printed_table_is_whole_in_a_narrow_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    evaluate(tmp_path, [make_chunk()], bins={"magnitude": {"band": "r", "edges": [19, 21, 24]}}, show=True)
    said = capsys.readouterr().out
    assert "odds" in said
    assert "…" not in said


def test_unwritable_target(tmp_path):
    (tmp_path / "scores.json").mkdir()
    with pytest.raises(OutputError, match=r"scores\.json: cannot be written: Is a directory"):
        evaluate(tmp_path, [make_chunk()])
    assert sorted(p.name for p in Path(tmp_path).iterdir()) == ["pieces", "scores.json"]
