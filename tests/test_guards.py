"""Guards: what gives the answer away is refused or named, and what may stay stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrokeras.errors import TrainingError
from astrokeras.tasks.guards import (
    check_classes,
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
    label = np.array(["STAR", "QSO", "QSO", "QSO", "STAR", ""])
    found = contradictions(label, np.array([0, 0, 1, 1, 2, 2]))
    assert found.rows.tolist() == [True, True, False, False, False, False]
    assert found.objects == 1


@settings(max_examples=30)
@given(z=st.floats(0, 5), times=st.floats(0, 4))
def test_redshifts_of_one_object_may_differ_by_their_errors(z, times):
    found = contradictions(np.array([z, z + times * 0.005 * (1 + z), np.nan, 0.3]), np.array([0, 0, 0, 1]))
    if abs(times - 1) > 1e-6:
        assert found.rows.tolist() == [times > 1] * 3 + [False]


def test_classes_that_cannot_be_learnt():
    part = np.array(["train"] * 6)
    with pytest.raises(TrainingError, match="class WD has one row of 6"):
        check_classes(np.array(["STAR", "STAR", "QSO", "QSO", "QSO", "WD"]), part, "class_true")
    with pytest.raises(TrainingError, match="'class_true' holds only STAR in 6 usable rows"):
        check_classes(np.array(["STAR"] * 6), part, "class_true")
    with pytest.raises(TrainingError, match="no row of class QSO is in the training part"):
        check_classes(np.array(["STAR", "STAR", "QSO", "QSO"]), np.array(["train", "test", "test", "validate"]), "c")


def test_a_class_that_a_part_lacks_is_told():
    label = np.array(["STAR", "QSO", "STAR", "QSO", "STAR"])
    part = np.array(["train", "train", "validate", "validate", "calibrate"])
    assert check_classes(label, part, "c") == ["no row of class QSO is in the part calibrate"]
    assert check_classes(label[:4], part[:4], "c") == []
