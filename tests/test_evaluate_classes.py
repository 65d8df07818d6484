"""Evaluation of classes: which columns and rows count, the numbers against scikit-learn, bad input, tables."""

import json

import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable
from astropy.units import Quantity
from sklearn import metrics as reference

from astrokeras.errors import ChunkError, OutputError
from astrokeras.export.evaluate import Evaluate
from astrokeras.fields import OBJECT_ID, Field, flux_field
from astrokeras.stage import Product

NAMES = ("GALAXY", "QSO", "STAR")
COLUMNS = ("p_galaxy", "p_qso", "p_star")
CLASS_FIELDS = (
    *(Field(name=name) for name in COLUMNS),
    Field(name="class_label", kind="str"),
)
FIELDS = (
    OBJECT_ID,
    flux_field("r"),
    Field(name="class_true", kind="str"),
    *CLASS_FIELDS,
    Field(name="split", kind="str"),
)


def make_chunk(n=800, seed=0):
    """Calibrated probabilities; a quarter of the rows is for training."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([1.0, 0.3, 0.6], n)
    chunk = QTable({"object_id": np.arange(n)})
    chunk["flux_r"] = Quantity(10 ** rng.uniform(3, 5, n), "nJy", dtype="f4")
    chunk["class_true"] = np.array(NAMES)[(p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)]
    for name, column in zip(COLUMNS, p.T, strict=True):
        chunk[name] = column.astype("f4")
    chunk["class_label"] = np.array(NAMES)[p.argmax(axis=1)]
    chunk["split"] = np.where(np.arange(n) % 4 == 0, "train", "test")
    return chunk


def evaluate(tmp_path, chunks, available=FIELDS, **parameters):
    path = tmp_path / "scores.json"
    output = Evaluate(path=str(path), **({"show": False} | parameters))
    fields = output.reads(available)
    pieces = []
    for k, chunk in enumerate(chunks):
        piece = tmp_path / "pieces" / str(k)
        facts = output.write(chunk[[f.name for f in fields]], fields, piece)
        pieces.append((piece, json.loads(json.dumps(facts))))
    output.close(pieces, Product(path, fields, {}))
    return json.loads(path.read_text())


def test_numbers_are_those_of_scikit_learn(tmp_path):
    chunk = make_chunk()
    report = evaluate(tmp_path, [chunk])
    test = chunk[chunk["split"] == "test"]
    truth, label = test["class_true"], test["class_label"]
    p = np.column_stack([test[name] for name in COLUMNS]).astype(float)
    p /= p.sum(axis=1, keepdims=True)
    overall = report["overall"]
    assert overall["n"] == 600 and report["classes"] == ["galaxy", "qso", "star"]
    assert overall["accuracy"]["value"] == pytest.approx(reference.accuracy_score(truth, label))
    assert overall["balanced_accuracy"]["value"] == pytest.approx(reference.balanced_accuracy_score(truth, label))
    assert overall["log_loss"]["value"] == pytest.approx(reference.log_loss(truth, p), rel=1e-5)
    assert overall["confusion"]["counts"] == reference.confusion_matrix(truth, label).tolist()
    purity, completeness, f1, counts = reference.precision_recall_fscore_support(truth, label)
    for k, name in enumerate(("galaxy", "qso", "star")):
        of_class = overall["classes"][name]
        assert of_class["n"] == counts[k]
        assert of_class["completeness"]["value"] == pytest.approx(completeness[k])
        assert of_class["contamination"]["value"] == pytest.approx(1 - purity[k])
        assert of_class["f1"]["value"] == pytest.approx(f1[k])
        error = np.sqrt(completeness[k] * (1 - completeness[k]) / counts[k])
        assert of_class["completeness"]["error"] == pytest.approx(error, rel=0.25)
    accuracy = overall["accuracy"]
    assert accuracy["error"] == pytest.approx(np.sqrt(accuracy["value"] * (1 - accuracy["value"]) / 600), rel=0.2)
    assert overall["ece"]["value"] < 1.5 * overall["ece_perfect"]["quantile_95"]
    fractions = np.unique(truth, return_counts=True)[1] / 600
    assert report["baseline"]["label"] == ("galaxy", "qso", "star")[fractions.argmax()]
    assert report["baseline"]["accuracy"] == pytest.approx(fractions.max())
    assert report["baseline"]["log_loss"] == pytest.approx(-(fractions * np.log(fractions)).sum())
    assert {name.split(".")[0] for name in overall} - {"n", "classes"} <= set(report["definitions"])


def test_partitions_do_not_matter(tmp_path):
    chunk = make_chunk()
    # Texts of other widths, as the partitions of a file have them.
    parts = [chunk[:1], chunk[1:1], chunk[1:250], chunk[250:]]
    bins = {"magnitude": {"band": "r", "n": 3}}
    assert evaluate(tmp_path, [chunk], bins=bins) == evaluate(tmp_path, parts, bins=bins)


def test_training_rows_are_not_scored_and_rows_of_folds_are(tmp_path):
    chunk = make_chunk()
    spoiled = chunk.copy()
    spoiled["class_label"][chunk["split"] == "train"] = "STAR"
    assert evaluate(tmp_path, [chunk])["overall"] == evaluate(tmp_path, [spoiled])["overall"]
    chunk["fold"] = MaskedColumn(np.arange(800) % 5 - 1, dtype="i4")
    chunk["split"] = "train"
    report = evaluate(tmp_path, [chunk], (*FIELDS, Field(name="fold", kind="i4")))
    assert report["overall"]["n"] == 640


def test_missing_values_are_counted(tmp_path):
    chunk = make_chunk(40)
    chunk["split"] = "test"
    chunk["class_true"][:3] = ["", " ", "STAR"]
    chunk["class_label"][3] = ""
    chunk["p_star"][4] = np.nan
    rows = {k: v for k, v in evaluate(tmp_path, [chunk])["rows"].items() if k != "splits"}
    assert rows == {"rows": 40, "selected": 40, "scored": 36, "without_target": 2, "without_estimate": 2}


def test_names_of_classes_match_whatever_their_case(tmp_path):
    chunk = make_chunk()
    expected = evaluate(tmp_path, [chunk])["overall"]
    chunk["class_true"] = np.char.capitalize(np.asarray(chunk["class_true"]))
    assert evaluate(tmp_path, [chunk])["overall"] == expected


def test_bins_of_magnitude(tmp_path):
    chunk = make_chunk()
    report = evaluate(tmp_path, [chunk], bins={"magnitude": {"band": "r", "edges": [18, 21, 24, 30]}})
    test = chunk[chunk["split"] == "test"]
    magnitude = 31.4 - 2.5 * np.log10(np.asarray(test["flux_r"].value, float))
    bright = (magnitude >= 18) & (magnitude < 21)
    first, second, empty = report["magnitude"]["bins"]
    assert first["n"] == bright.sum() and second["n"] == np.sum(magnitude >= 21)
    right = np.asarray(test["class_true"] == test["class_label"])
    assert first["accuracy"]["value"] == pytest.approx(right[bright].mean())
    assert empty["n"] == 0 and empty["accuracy"] == {"value": None, "error": None}
    assert empty["classes"]["star"]["completeness"] == {"value": None, "error": None}


def test_columns_of_another_method_are_left_alone(tmp_path):
    chunk = make_chunk()
    plain = evaluate(tmp_path, [chunk])
    other = [Field(name=f"{f.name}_rf", kind=f.kind) for f in CLASS_FIELDS]
    for field in other:
        chunk[field.name] = chunk[field.name.removesuffix("_rf")]
    chunk["class_label_rf"] = np.roll(chunk["class_label"], 1)
    fields = (*FIELDS, *other)
    assert evaluate(tmp_path, [chunk], fields)["overall"] == plain["overall"]
    report = evaluate(tmp_path, [chunk], fields, estimate="class_label_rf")
    assert report["classes"] == ["galaxy", "qso", "star"]
    assert report["overall"]["accuracy"]["value"] < 0.6 < plain["overall"]["accuracy"]["value"]


def test_classes_can_be_named(tmp_path):
    chunk = make_chunk()
    chunk["p_value"] = np.float32(0.3)
    fields = (*FIELDS, Field(name="p_value"))
    with pytest.raises(OutputError, match="600 rows have no probabilities that sum to 1"):
        evaluate(tmp_path, [chunk], fields)
    report = evaluate(tmp_path, [chunk], fields, classes=NAMES)
    assert report["overall"]["n"] == 600
    with pytest.raises(ChunkError, match="evaluate: no column 'p_star1'; did you mean 'p_star'"):
        evaluate(tmp_path, [chunk], fields, classes=("GALAXY", "QSO", "STAR1"))


def test_classes_without_a_probability(tmp_path):
    for column, message in (
        (
            "class_true",
            r"evaluate: column 'class_true' is 'WD' in 2 rows, a class without a probability ",
        ),
        ("class_label", "evaluate: column 'class_label' is 'WD' in 2 rows"),
    ):
        chunk = make_chunk()
        chunk[column][[1, 2]] = "WD"
        with pytest.raises(OutputError, match=message):
            evaluate(tmp_path, [chunk])
    chunk = make_chunk()
    # Of a row that is not scored nothing is asked.
    chunk["class_true"][0] = "WD"
    assert evaluate(tmp_path, [chunk])["overall"]["n"] == 600


def test_probabilities_must_be_some(tmp_path):
    chunk = make_chunk()
    chunk["p_star"][1] += 0.1
    with pytest.raises(OutputError, match=r"evaluate: 1 rows have no probabilities that sum to 1, .* p_galaxy 0"):
        evaluate(tmp_path, [chunk])


REDSHIFTS = (Field(name="z_phot"), Field(name="z_spec", kind="f8"))


@pytest.mark.parametrize(
    ("parameters", "estimate"),
    [
        ({"target": "class_true"}, "class_label"),
        ({"target": "z_spec"}, "z_phot"),
        ({"estimate": "class_label"}, "class_label"),
        ({"estimate": "z_phot"}, "z_phot"),
    ],
)
def test_kind_follows_from_what_is_named(parameters, estimate):
    names = {f.name for f in Evaluate(path="x", **parameters).reads((*FIELDS, *REDSHIFTS))}
    assert estimate in names
    assert ("p_star" in names) == (estimate == "class_label")
    assert ("z_phot" in names) == (estimate == "z_phot")


@pytest.mark.parametrize(
    ("parameters", "available", "message"),
    [
        ({}, (*FIELDS, *REDSHIFTS), "there are 'z_phot' and 'class_label'; say `estimate`"),
        ({"target": "class"}, FIELDS, "no column 'class'"),
        ({"estimate": "class_lable"}, FIELDS, "no column 'class_lable'; did you mean 'class_label'"),
        ({"pdf": "z_pdf"}, FIELDS, "`pdf` belongs to redshifts, and 'class_label' holds classes"),
        ({"bins": {"redshift": [0, 1]}}, FIELDS, r"`bins.redshift` belongs to redshifts"),
        ({"classes": NAMES, "estimate": "z_phot"}, (*FIELDS, *REDSHIFTS), "`classes` belongs to classes"),
        (
            {},
            FIELDS[:3] + FIELDS[-2:],
            "needs the probabilities of two classes or more, there is no column 'p_<class>'",
        ),
        ({"classes": ("STAR",)}, FIELDS, "two classes or more, there is columns p_star"),
    ],
)
def test_wrong_columns_are_told(parameters, available, message):
    with pytest.raises(ChunkError, match=message):
        Evaluate(path="x", **parameters).reads(available)


def test_printed_tables(tmp_path, capsys):
    report = evaluate(tmp_path, [make_chunk()], bins={"magnitude": {"band": "r", "edges": [18, 21, 24]}}, show=True)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (row,) = (line for line in lines if line[:1] == ["all"])
    accuracy = report["overall"]["accuracy"]
    assert row[1:3] == ["600", f"{accuracy['value']:.4f}({accuracy['error'] * 1e4:.0f})"]
    assert row[-1] == f"{report['overall']['ece_perfect']['quantile_95']:.4f}"
    (row,) = (line for line in lines if line[:1] == ["qso"])
    assert row[1] == str(report["overall"]["classes"]["qso"]["n"])
    assert row[-3:] == list(map(str, report["overall"]["confusion"]["counts"][1]))
    assert any(line[:1] == ["baseline"] for line in lines)
