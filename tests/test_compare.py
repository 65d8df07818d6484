"""Comparison of methods on the same rows: paired differences against formulas, which rows count, bad input, tables."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from pydantic import ValidationError
from scipy import stats
from test_evaluate import FIELDS as REDSHIFT_FIELDS
from test_evaluate import GRID
from test_evaluate import make_chunk as redshift_chunk
from test_evaluate_classes import CLASS_FIELDS
from test_evaluate_classes import FIELDS as FIELDS_OF_CLASSES
from test_evaluate_classes import make_chunk as class_chunk

from astrokeras import Pipeline, metrics
from astrokeras.errors import ChunkError, OutputError
from astrokeras.export.compare import Compare
from astrokeras.export.evaluate import Evaluate
from astrokeras.fields import Field
from astrokeras.stage import Product


def write(tmp_path, output, chunks, available):
    fields = output.reads(available)
    pieces = []
    for k, chunk in enumerate(chunks):
        piece = tmp_path / "pieces" / str(k)
        facts = output.write(chunk[[f.name for f in fields]], fields, piece)
        pieces.append((piece, json.loads(json.dumps(facts))))
    output.close(pieces, Product(Path(output.path), fields, {}))
    return json.loads(Path(output.path).read_text())


def compare(tmp_path, chunks, available, **parameters):
    return write(tmp_path, Compare(path=str(tmp_path / "c.json"), **({"show": False} | parameters)), chunks, available)


OTHER_CLASSES = tuple(f.model_copy(update={"name": f"{f.name}_rf"}) for f in CLASS_FIELDS)
CLASSES = (*FIELDS_OF_CLASSES, *OTHER_CLASSES)
P = ("p_galaxy", "p_qso", "p_star")


def two_classifiers(n=1200, seed=0):
    """The second one is as the first, but too sure of itself."""
    chunk = class_chunk(n, seed)
    p = np.column_stack([chunk[name] for name in P]).astype(float) ** 2.5
    p /= p.sum(axis=1, keepdims=True)
    for name, values in zip(P, p.T, strict=True):
        chunk[f"{name}_rf"] = values
    chunk["class_label_rf"] = chunk["class_label"]
    return chunk


def losses(chunk, end=""):
    p = np.column_stack([chunk[f"{name}{end}"] for name in P]).astype(float)
    number = {"GALAXY": 0, "QSO": 1, "STAR": 2}
    return -np.log((p / p.sum(axis=1, keepdims=True))[np.arange(len(p)), [number[c] for c in chunk["class_true"]]])


def test_differences_of_classes_are_paired(tmp_path):
    chunk = two_classifiers()
    report = compare(tmp_path, [chunk], CLASSES, methods={"network": "", "forest": "rf"}, bootstrap={"n": 400})
    test = chunk[chunk["split"] == "test"]
    overall = report["overall"]
    assert overall["n"] == report["rows"]["scored"] == 900
    assert report["reference"] == "network" and set(overall["differences"]) == {"forest"}
    one, other = losses(test), losses(test, "_rf")
    found = overall["differences"]["forest"]["log_loss"]
    assert found["value"] == pytest.approx((other - one).mean(), rel=1e-4)
    # The error of a mean of differences; that of unpaired samples would be larger.
    paired = (other - one).std() / 30
    assert found["error"] == pytest.approx(paired, rel=0.15)
    assert np.hypot(one.std(), other.std()) / 30 > 1.3 * paired
    assert found["sigma"] == pytest.approx(found["value"] / found["error"])
    assert found["sigma"] > 5
    # Both give the same labels.
    assert overall["differences"]["forest"]["accuracy"] == {"value": 0.0, "error": 0.0, "sigma": None}
    assert report["better"]["log_loss"] == "lower" and report["better"]["accuracy"] == "higher"


def test_each_method_scores_as_when_it_is_alone(tmp_path):
    chunk = two_classifiers()
    bins = {"magnitude": {"band": "r", "n": 2}}
    report = compare(tmp_path, [chunk], CLASSES, methods=["", "rf"], bins=bins)
    for name, estimate in (("default", "class_label"), ("rf", "class_label_rf")):
        output = Evaluate(path=str(tmp_path / "one.json"), estimate=estimate, bins=bins, show=False)
        alone = write(tmp_path, output, [chunk], CLASSES)
        assert {"n": 900, **report["overall"]["methods"][name]} == alone["overall"]
        assert report["baseline"] == alone["baseline"]
        for part, expected in zip(report["magnitude"]["bins"], alone["magnitude"]["bins"], strict=True):
            place = {key: part[key] for key in ("low", "high", "n")}
            assert {**place, **part["methods"][name]} == expected


def test_only_rows_with_all_results_count(tmp_path):
    chunk = two_classifiers()
    chunk["split"] = "test"
    chunk["class_true"][:2] = ""
    chunk["class_label"][1:5] = ""
    chunk["p_qso_rf"][[4, 5]] = np.nan
    report = compare(tmp_path, [chunk[:3], chunk[3:]], CLASSES, methods=["", "rf"])
    rows = {k: v for k, v in report["rows"].items() if k != "splits"}
    assert rows == {
        "rows": 1200,
        "selected": 1200,
        "scored": 1194,
        "without_target": 2,
        "without_all_estimates": 4,
        "without_estimate": {"default": 3, "rf": 2},
    }
    kept = compare(tmp_path, [chunk[6:]], CLASSES, methods=["", "rf"])
    assert report["overall"] == kept["overall"]


REDSHIFTS = (
    *REDSHIFT_FIELDS,
    *(
        f.model_copy(update={"name": f"{f.name}_wide"})
        for f in REDSHIFT_FIELDS
        if f.name in ("z_phot", "z_lo", "z_hi", "z_pdf")
    ),
    Field(name="z_phot_point"),
)


def three_redshifts(n=400):
    chunk = redshift_chunk(n)
    mu, rng = np.asarray(chunk["z_phot"], float), np.random.default_rng(5)
    chunk["z_phot_wide"] = chunk["z_phot"]
    chunk["z_pdf_wide"] = stats.norm.pdf(GRID, mu[:, None], 0.06).astype("f4")
    chunk["z_lo_wide"], chunk["z_hi_wide"] = (mu - 0.06).astype("f4"), (mu + 0.06).astype("f4")
    chunk["z_phot_point"] = (mu + rng.normal(0, 0.05, n)).astype("f4")
    return chunk


def test_differences_of_redshifts(tmp_path):
    chunk = three_redshifts()
    methods = {"point": "point", "narrow": "", "wide": "wide"}
    report = compare(tmp_path, [chunk], REDSHIFTS, methods=methods, reference="narrow", bins={"redshift": [0, 1, 3]})
    test = chunk[chunk["split"] == "test"]
    z = np.asarray(test["z_spec"])
    wide = report["overall"]["differences"]["wide"]
    loss = metrics.crps(test["z_pdf_wide"], GRID, z) - metrics.crps(test["z_pdf"], GRID, z)
    assert wide["crps"]["value"] == pytest.approx(loss.mean())
    assert wide["crps"]["error"] == pytest.approx(loss.std() / np.sqrt(300), rel=0.2)
    assert wide["sigma_nmad"] == {"value": 0.0, "error": 0.0, "sigma": None}
    point = report["overall"]["differences"]["point"]
    # A method without densities has nothing to compare them with.
    assert set(point) == {"bias", "sigma_nmad", "outlier_fraction"}
    expected = metrics.sigma_nmad(test["z_phot_point"], z) - metrics.sigma_nmad(test["z_phot"], z)
    assert point["sigma_nmad"]["value"] == pytest.approx(expected)
    assert point["sigma_nmad"]["sigma"] > 3
    assert report["methods"]["wide"]["pdf"]["column"] == "z_pdf_wide"
    assert report["methods"]["point"]["pdf"] is None
    assert report["baseline"] == pytest.approx(metrics.trivial_baseline(z))
    low, high = report["redshift"]["bins"]
    assert low["n"] == np.sum(z < 1) and low["n"] + high["n"] == 300
    assert low["reference"] == "narrow" and set(low["differences"]) == {"point", "wide"}


@pytest.mark.parametrize(
    ("methods", "best"),
    [
        ({"point": "point", "narrow": ""}, "narrow"),
        ({"wide": "wide", "narrow": ""}, "narrow"),
        (["wide", "point"], "wide"),
    ],
)
def test_the_best_method_as_reference(tmp_path, methods, best):
    report = compare(tmp_path, [three_redshifts()], REDSHIFTS, methods=methods, reference="best")
    assert report["reference"] == best
    assert best not in report["overall"]["differences"]


def test_a_density_that_lacks_takes_the_row_out(tmp_path):
    chunk = three_redshifts()
    chunk["split"] = "test"
    chunk["z_pdf_wide"][7] = np.nan
    chunk["z_phot"][8] = np.nan
    report = compare(tmp_path, [chunk], REDSHIFTS, methods=["", "wide"])
    assert report["rows"]["without_estimate"] == {"default": 1, "wide": 1}
    scores = report["overall"]["methods"]
    assert scores["default"]["n_pdf"] == scores["wide"]["n_pdf"] == report["overall"]["n"] == 398


def test_bins_may_be_empty(tmp_path):
    bins = {"redshift": [0, 3, 4]}
    _, empty = compare(tmp_path, [three_redshifts()], REDSHIFTS, methods=["", "wide"], bins=bins)["redshift"]["bins"]
    assert empty["n"] == 0 and empty["methods"]["wide"]["crps"] == {"value": None, "error": None}
    assert empty["differences"]["wide"]["crps"] == {"value": None, "error": None, "sigma": None}
    bins = {"magnitude": {"band": "r", "edges": [18, 26, 27]}}
    _, empty = compare(tmp_path, [two_classifiers()], CLASSES, methods=["", "rf"], bins=bins)["magnitude"]["bins"]
    assert empty["n"] == 0 and empty["differences"]["rf"]["log_loss"]["value"] is None


BOTH = (*CLASSES, *(f for f in REDSHIFTS if f not in CLASSES))


@pytest.mark.parametrize(
    ("parameters", "available", "message"),
    [
        ({"methods": ["", "svm"]}, CLASSES, "no column 'class_label_svm' of method 'svm'; did you mean 'class_label"),
        ({"methods": ["", "rf"], "reference": "tree"}, CLASSES, "no method 'tree'"),
        ({"methods": ["", "rf"], "target": "klass"}, CLASSES, "no column 'klass'"),
        ({"methods": ["", "rf"]}, CLASSES[:-2], "no column 'class_label_rf'"),
        ({"methods": ["", "rf"]}, tuple(f for f in CLASSES if f.name != "p_qso_rf"), "do not have the same classes"),
        ({"methods": ["", "wide"]}, BOTH, "there are redshifts and classes; say `of: redshift` or `of: class`"),
        ({"methods": ["", "rf"], "bins": {"redshift": [0, 1]}}, CLASSES, "`bins.redshift` belongs to redshifts"),
        ({"methods": ["", "wide"], "classes": ("A", "B")}, REDSHIFTS, "`classes` belongs to classes"),
        ({"methods": ["", "rf"]}, CLASSES[:7] + CLASSES[8:], "no column 'split' says which rows"),
    ],
)
def test_wrong_columns_are_told(parameters, available, message):
    with pytest.raises(ChunkError, match=message):
        Compare(path="x", **parameters).reads(available)


def test_what_is_compared_can_be_said():
    fields = {f.name for f in Compare(path="x", methods=["", "wide"], of="redshift").reads(BOTH)}
    assert {"z_spec", "z_pdf_wide", "z_phot"} <= fields and "class_label" not in fields
    fields = {f.name for f in Compare(path="x", methods=["", "rf"], target="class_true").reads(BOTH)}
    assert {"class_true", "p_qso_rf"} <= fields and "z_phot" not in fields


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["rf"], "at least 2"),
        (["rf", "rf"], "'rf' is listed twice"),
        ({"a": 3, "b": "rf"}, "valid string"),
        ("rf", "dict"),
    ],
)
def test_wrong_methods_are_refused(methods, message):
    with pytest.raises(ValidationError, match=message):
        Compare(path="x", methods=methods)


def test_nothing_to_compare(tmp_path):
    chunk = two_classifiers(8)
    chunk["class_label_rf"] = ""
    with pytest.raises(OutputError, match="of 6 rows 0 have no target; of the others default lacks 0, rf lacks 6"):
        compare(tmp_path, [chunk], CLASSES, methods=["", "rf"])
    chunk["split"] = "train"
    with pytest.raises(OutputError, match=r"nothing to compare: of 8 rows none is a test row \(split: train 8\)"):
        compare(tmp_path, [chunk], CLASSES, methods=["", "rf"])
    assert not (tmp_path / "c.json").exists()


def test_printed_tables(tmp_path, capsys):
    chunk = two_classifiers()
    report = compare(tmp_path, [chunk], CLASSES, methods={"network": "", "forest": "rf"}, show=True)
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    (first, second) = (line for line in lines if line[:2] == ["all", "forest"])
    loss = report["overall"]["methods"]["forest"]["log_loss"]
    assert f"{loss['value']:.4f}({loss['error'] * 1e4:.0f})" in first
    found = report["overall"]["differences"]["forest"]["log_loss"]
    assert f"+{found['value']:.4f}({found['error'] * 1e4:.0f})" in second
    assert f"{found['sigma']:+.1f}\N{GREEK SMALL LETTER SIGMA}" in second
    assert any(line[:2] == ["all", "baseline"] for line in lines)
    assert "log-loss ↓" in said and "accuracy ↑" in said and "difference to network" in said


@pytest.mark.parametrize("methods", ["[point, wide]", "{a: point, b: wide}"])
def test_in_a_pipeline(tmp_path, monkeypatch, methods):
    monkeypatch.chdir(tmp_path)
    table = three_redshifts(200)
    columns = ["object_id", "flux_r", "z_phot_point", "z_phot_wide"]
    plain = Table({name: np.asarray(table[name]) for name in columns})
    plain["flux_err_r"], plain["z_spec"] = 1.0, np.asarray(table["z_spec"])
    plain.write("c.parquet")
    text = "astrokeras: 1\nname: t\npartition: {rows: 64}\nsource:\n"
    text += "  catalog: {files: c.parquet, bands: [r], keep: [z_phot_point, z_phot_wide]}\nstages: []\noutputs:\n"
    text += f"  - compare: {{path: c.json, methods: {methods}, all_rows: true, bootstrap: {{n: 20}}, show: false}}\n"
    Path("p.yaml").write_text(text)
    Pipeline.read("p.yaml").run(quiet=True)
    report = json.loads(Path("c.json").read_text())
    assert report["overall"]["n"] == 200
    other = "wide" if methods.startswith("[") else "b"
    z = np.asarray(table["z_spec"])
    expected = metrics.sigma_nmad(table["z_phot_wide"], z) - metrics.sigma_nmad(table["z_phot_point"], z)
    assert report["overall"]["differences"][other]["sigma_nmad"]["value"] == pytest.approx(expected, rel=1e-5)
