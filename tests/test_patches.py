"""Patches of sky told apart by flux errors, and folds that do not cut them."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrokeras.tasks import cross_fit
from astrokeras.tasks.cross_fit import folds_of, together
from astrokeras.tasks.examples import Examples
from astrokeras.tasks.learner import outputs
from astrokeras.tasks.patches import LEAST_ROWS, TOLERANCE, patches

BANDS = 4


def survey(seed, count=30, rows=1500, rounding=1e-5):
    """Errors of plates: each has its own depth in every band; catalogs round them."""
    rng = np.random.default_rng(seed)
    plate = np.sort(rng.integers(0, count, rows))
    depth = rng.normal(7.0, 0.15, (count, BANDS))
    error = np.exp(depth[plate] + rounding * rng.normal(size=(rows, BANDS)))
    return plate, {"flux_err": error.astype("float32"), "observed": np.ones((rows, BANDS), "float32")}


def same_partition(a, b):
    """Whether two numberings put the same rows together."""
    pairs = np.unique(np.stack([a, b]), axis=1)
    return len(np.unique(a)) == len(np.unique(b)) == pairs.shape[1]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 1e-6, TOLERANCE / 20]))
def test_plates_are_found(seed, rounding):
    plate, tensors = survey(seed, rounding=rounding)
    assert same_partition(patches(tensors, 5), plate)


def test_order_and_unit_do_not_matter():
    plate, tensors = survey(1)
    order = np.random.default_rng(2).permutation(len(plate))
    moved = {"flux_err": 1e3 * tensors["flux_err"][order], "observed": tensors["observed"][order]}
    assert same_partition(patches(moved, 5), plate[order])


def test_errors_of_objects_tell_no_patches():
    """Poisson noise of the object on top of the sky: the errors of faint objects crowd, those of bright ones do not."""
    rng = np.random.default_rng(3)
    flux = rng.lognormal(4, 2, (20_000, 1)) * rng.lognormal(0, 0.3, (20_000, BANDS))
    error = np.sqrt(100 + 0.1 * flux)
    assert patches({"flux_err": error, "observed": np.ones_like(error)}, 5) is None


def test_one_error_for_all_and_few_patches_are_none():
    plate, tensors = survey(4, count=9)
    assert patches(tensors, 5) is None
    assert same_partition(patches(tensors, 2), plate)
    constant = {**tensors, "flux_err": np.ones_like(tensors["flux_err"])}
    assert patches(constant, 2) is None


def test_a_patch_larger_than_a_fold_is_none():
    tensors = survey(5)[1]
    error = tensors["flux_err"].copy()
    error[: len(error) // 2] = 500.0
    assert patches({**tensors, "flux_err": error}, 5) is None


def test_rows_without_a_patch_stand_alone():
    plate, tensors = survey(6)
    error, odd = tensors["flux_err"].copy(), np.arange(0, 1500, 50)
    error[odd] *= np.linspace(2, 3, len(odd))[:, None]
    found = patches({**tensors, "flux_err": error}, 5)
    counts = np.bincount(found)
    assert np.all(counts[found[odd]] == 1) and found.max() + 1 == 30 + len(odd)
    rest = np.setdiff1d(np.arange(1500), odd)
    assert same_partition(found[rest], plate[rest]) and counts[found[rest]].min() >= LEAST_ROWS


def test_the_error_of_a_missing_band_says_nothing():
    plate, tensors = survey(7)
    observed = tensors["observed"].copy()
    observed[plate < 15, 0] = 0
    error = tensors["flux_err"].copy()
    error[plate < 15, 0] = np.random.default_rng(8).uniform(1, 9, np.sum(plate < 15))
    assert same_partition(patches({"flux_err": error, "observed": observed}, 5), plate)


def test_folds_cut_neither_patches_nor_objects():
    plate, tensors = survey(9)
    rng = np.random.default_rng(10)
    objects = np.arange(1500)
    objects[rng.choice(1500, 5, replace=False)] = 2000
    rows = Examples(tensors, np.zeros(1500), group=objects)
    fold = folds_of(together(rows, patches(tensors, 5)), 5, seed=1)
    assert set(fold) == set(range(5))
    assert all(len(set(fold[plate == k])) == 1 for k in range(30))
    assert len(set(fold[objects == 2000])) == 1
    alone = folds_of(together(Examples(tensors, np.zeros(1500)), plate), 5, seed=1)
    assert all(len(set(alone[plate == k])) == 1 for k in range(30))


@pytest.mark.parametrize("rows", [2, 10])
def test_few_rows_are_no_patches(rows):
    tensors = survey(11, rows=1500)[1]
    assert patches({name: values[:rows] for name, values in tensors.items()}, 2) is None


class Marker:
    """Stands for a network: its output says which plates it was trained on."""

    def __init__(self, plates):
        self.seen = np.isin(np.arange(30), plates)

    def __call__(self, tensors, training):
        return {"z_pdf": np.tile(self.seen, (len(tensors["flux_err"]), 1))}


def test_no_network_has_seen_the_patch_that_it_predicts(monkeypatch):
    plate, tensors = survey(12)
    train = Examples(tensors, plate.astype(float))

    def without(learner, rows, chosen, number, on_epoch):
        return Marker(rows["train"].target[chosen])

    monkeypatch.setattr(cross_fit, "_without", without)
    learner = SimpleNamespace(
        folds=5,
        recipe=SimpleNamespace(seed=1),
        before_calibration=lambda network, rows: outputs(network, rows, "z_pdf"),
    )
    few = train.take(np.arange(20))
    held = cross_fit.held_out(learner, {"train": train, "validate": few, "calibrate": few})
    seen = held.output[np.arange(1500), held.examples.target.astype(int)]
    assert held.patches == 30 and len(held.examples) == 1500 and not seen.any()
    assert held.output.sum(axis=1).min() >= 20
    error = np.random.default_rng(13).lognormal(7, 0.3, tensors["flux_err"].shape).astype("float32")
    uneven = Examples({**tensors, "flux_err": error}, train.target)
    held = cross_fit.held_out(learner, {"train": uneven, "validate": few, "calibrate": few})
    assert held.patches == 0 and held.output[np.arange(1500), held.examples.target.astype(int)].all()
