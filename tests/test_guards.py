"""Guards: what gives the answer away is refused or named, and what may stay stays."""

import numpy as np
import pytest
from astropy.table import vstack
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from astrokeras import Classify, PhotoZ
from astrokeras.errors import TrainingError
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.tasks.guards import (
    absent_classes,
    contradictions,
    refuse_copies,
    refuse_names,
    spectroscopic,
    suspicious,
)

RNG = np.random.default_rng(4)
Z = RNG.uniform(0.05, 1.2, 800)
CLASS = RNG.choice(["GALAXY", "QSO", "STAR"], 800, p=[0.6, 0.15, 0.25])
NOISE = RNG.normal(size=800)


@pytest.mark.parametrize(
    "name",
    [
        *("redshift", "REDSHIFT", "z_spec", "zspec", "Z_ERR", "redshift_err", "zwarning", "ZWARN", "ZWARNING_NOQSO"),
        *(
            "plate",
            "PLATE",
            "mjd",
            "fiberid",
            "fiber_id",
            "specObjID",
            "subclass",
            "subClass",
            "spec_class",
            "class_true",
        ),
    ],
)
def test_columns_of_spectra_are_refused_by_name(name):
    with pytest.raises(ValueError, match=f"input '{name}' is a column of spectroscopic catalogs"):
        refuse_names(["flux_g", name], "target")


@pytest.mark.parametrize(
    "name", ["flux_g", "flux_err_z", "petroRad_r", "psf_minus_model_r", "extendedness", "fiberMag_r", "z_phot", "ebv"]
)
def test_photometric_columns_pass(name):
    refuse_names([name], "z_spec")
    assert spectroscopic([name]) == ()


def test_the_target_by_its_own_name_is_refused():
    with pytest.raises(ValueError, match="the target 'what' is among the inputs"):
        refuse_names(["flux_g", "what"], "what")


@pytest.mark.parametrize(
    "transform",
    [
        lambda z: z,
        lambda z: z.astype("f4"),
        lambda z: 3 * z - 7,
        lambda z: -z,
        lambda z: np.log1p(z),
        lambda z: 1 / z**3,
    ],
)
def test_a_redshift_in_disguise_is_refused(transform):
    with pytest.raises(TrainingError, match="input 'disguised' is the target"):
        refuse_copies({"noise": NOISE, "disguised": transform(Z)}, Z)


@pytest.mark.parametrize("codes", [{"GALAXY": 3, "QSO": 1, "STAR": 6}, {"GALAXY": -1.5, "QSO": 0, "STAR": 1e5}])
def test_a_class_in_disguise_is_refused(codes):
    with pytest.raises(TrainingError, match="input 'code' is the target"):
        refuse_copies({"noise": NOISE, "code": np.array([codes[c] for c in CLASS], float)}, CLASS)


@pytest.mark.parametrize("missing", [0, 300])
def test_missing_values_hide_no_copy(missing):
    hidden = Z.copy()
    hidden[:missing] = np.nan
    with pytest.raises(TrainingError, match=f"in {800 - missing} training rows"):
        refuse_copies({"copy": hidden}, Z)


def test_good_predictors_are_no_copies():
    extended = np.where(CLASS == "GALAXY", 1.0, 0.0)
    refuse_copies({"tight": Z + 0.01 * NOISE, "noise": NOISE, "nothing": np.full(800, np.nan), "one": np.ones(800)}, Z)
    refuse_copies({"extended": extended, "noise": NOISE}, CLASS)
    # Two classes that a measurement tells apart in all of a few rows are no proof of a copy.
    refuse_copies({"extended": extended[:50]}, np.where(CLASS == "GALAXY", "GALAXY", "STAR")[:50])


def test_a_single_column_that_knows_nearly_all_is_named_unless_allowed():
    codes = np.searchsorted(["GALAXY", "QSO", "STAR"], CLASS)
    columns = {"psf_minus_model": codes + 0.1 * NOISE, "noise": NOISE, "weak": codes + 1.0 * NOISE}
    found = suspicious(columns, CLASS)
    assert list(found) == ["psf_minus_model"]
    assert found["psf_minus_model"] > 0.97
    assert suspicious(columns, CLASS, allow=["psf_minus_model"]) == {}


@pytest.mark.parametrize(("scatter", "named"), [(0.02, True), (0.5, False)])
def test_a_column_close_to_the_redshift_is_named(scatter, named):
    found = suspicious({"twice": (2 * Z) ** 2 + scatter * NOISE, "noise": NOISE}, Z)
    assert ("twice" in found) is named
    assert "noise" not in found


def test_a_rare_class_counts_as_much_as_a_common_one():
    rare = np.where(np.arange(800) % 40 == 0, "QSO", "STAR")
    # Always the common class: right in 97.5 % of the rows, and worth nothing.
    assert suspicious({"constant": NOISE}, rare) == {}
    assert suspicious({"knows": (rare == "QSO") + 0.01 * NOISE}, rare)


def test_memory_is_no_prediction():
    """An identifier has one value per row: bins of it predict nothing in the other half."""
    assert suspicious({"object_id": RNG.permutation(800).astype(float)}, CLASS) == {}


def test_labels_of_one_object_that_differ():
    found = contradictions(np.array([0, 1, 1, 1, 0, np.nan]), np.array([0, 0, 1, 1, 2, 2]))
    assert found.rows.tolist() == [True, True, False, False, False, False]
    assert found.objects == 1
    assert found.said() == ["2 rows of 1 objects have contradictory targets; they are left out of the training"]
    assert contradictions(np.array([0.0, 1]), np.array([0, 1])).said() == []


@settings(max_examples=30)
@given(z=st.floats(0, 5), times=st.floats(0, 4))
def test_redshifts_of_one_object_may_differ_by_their_errors(z, times):
    found = contradictions(np.array([z, z + times * 0.005 * (1 + z), np.nan, 0.3]), np.array([0, 0, 0, 1]), 0.005)
    if abs(times - 1) > 1e-6:
        assert found.rows.tolist() == [times > 1] * 3 + [False]


def test_a_class_that_a_part_lacks_is_told():
    target, classes = np.array([0, 1, 0, 1, 0]), ("STAR", "QSO")
    parts = {"train": np.array([0, 1]), "validate": np.array([2, 3]), "calibrate": np.array([4])}
    assert absent_classes(target, parts, classes) == [
        "no row of class QSO is in the part calibrate of the split (1 rows)"
    ]
    assert absent_classes(target, {**parts, "calibrate": np.array([], int)}, classes) == []


BANDS = ("g", "r", "i")
TINY = {"width": 8, "depth": 1, "members": 1, "epochs": 1, "threads": 1, "cross_fit": 0}


@pytest.fixture(scope="module")
def objects():
    source = Synthetic(rows=400, seed=12, bands=BANDS)
    return source.read(next(iter(source.partitions(400))), [f.name for f in source.fields()])


def classifier(extra, **recipe):
    return Classify(bands=BANDS, extra=extra, classes=("STAR", "GALAXY", "QSO"), train={**TINY, **recipe})


def test_pipelines_with_spectroscopic_inputs_are_refused():
    with pytest.raises(ValidationError, match="input 'zWarning' is a column of spectroscopic catalogs"):
        classifier(("zWarning",))
    with pytest.raises(ValidationError, match="the target 'size' is among the inputs"):
        PhotoZ(bands=BANDS, extra=("size",), train={**TINY, "target": "size"})
    with pytest.raises(ValidationError, match="`allow`: no input 'sise'; did you mean 'size'"):
        classifier(("size",), allow=("sise",))


def test_training_refuses_a_copy(objects, tmp_path):
    table = objects.copy()
    table["shape"] = np.unique(table["class_true"], return_inverse=True)[1].astype("f4")
    with pytest.raises(TrainingError, match="input 'shape' is the target"):
        classifier(("shape",), allow=("shape",)).fit(table, tmp_path / "m")
    table["shape"] = 2.5 - 1.5 * np.asarray(table["z_spec"])
    with pytest.raises(TrainingError, match="input 'shape' is the target"):
        PhotoZ(bands=BANDS, extra=("shape",), train=TINY).fit(table, tmp_path / "m")


def test_training_warns_of_a_giveaway_and_the_card_remembers(objects, tmp_path, caplog):
    table = objects.copy()
    codes = np.unique(table["class_true"], return_inverse=True)[1]
    table["shape"] = (codes + RNG.normal(0, 0.05, len(codes))).astype("f4")
    stage = classifier(("shape",)).fit(table, tmp_path / "m")
    (note,) = stage.training_notes()
    assert note.startswith("input 'shape' alone tells the classes apart with a balanced accuracy of")
    assert note in caplog.text
    assert classifier(("shape",), allow=("shape",)).fit(table, tmp_path / "n").training_notes() == ()


def test_contradictory_labels_are_withheld(objects, tmp_path):
    table = vstack([objects, objects[:7]])
    table["class_true"][-7:-2] = [
        {"STAR": "QSO", "QSO": "GALAXY", "GALAXY": "STAR"}[c] for c in table["class_true"][:5]
    ]
    table["object_id"] = np.arange(len(table))
    stage = classifier(()).fit(table, tmp_path / "m")
    counts = stage.card().training.counts
    assert counts["contradictory"] == 10
    assert sum(counts[part] for part in ("train", "validate", "calibrate")) == len(table) - 10
    assert stage.training_notes()[0].startswith("10 rows of 5 objects have contradictory targets")
