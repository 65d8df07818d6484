"""The domain of a model in the stages: the score, the flag, missing bands, and the rehearsal behind a classifier."""

import json
import zipfile

import numpy as np
import pytest

from astrokeras import Classify, PhotoZ
from astrokeras.errors import UnsafeModelError
from astrokeras.flags import Flag
from astrokeras.models.allowed import weight_shapes
from astrokeras.models.bundle import load, verify
from astrokeras.networks.domain import batched, domain_network
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.tasks.extrapolation import FEWEST, _sides

BANDS = ("u", "g", "r", "i", "z")


def catalog(rows, seed, **parameters):
    source = Synthetic(rows=rows, seed=seed, **parameters)
    return source.read(next(iter(source.partitions(rows))), [f.name for f in source.fields()])


def outside(table):
    return (np.asarray(table["flags"]) & Flag.OUT_OF_DOMAIN) > 0


def test_the_score_sets_the_flag(small_model):
    stage = PhotoZ.from_pretrained(small_model, pdf=False)
    alike, faint = (catalog(1500, 5, classes={"galaxy": 1}, **more) for more in ({}, {"mag_limit": 24.5}))
    out = stage(alike), stage(faint)
    for table in out:
        np.testing.assert_array_equal(outside(table), np.asarray(table["domain_score"]) > 1)
    assert 0.002 < outside(out[0]).mean() < 0.04
    assert outside(out[1]).mean() > 0.3


def test_the_score_is_that_of_the_nearest_training_row(small_model):
    """An object that is a training row scores less than its neighbour; one of another color scores far more."""
    stage = PhotoZ.from_pretrained(small_model, pdf=False)
    table = catalog(200, 6, classes={"galaxy": 1})
    red = table.copy()
    red["flux_g"] *= 1e-2
    assert np.median(stage(red)["domain_score"]) > 5 * np.median(stage(table)["domain_score"])


def test_a_missing_band_is_no_distance(small_model):
    stage = PhotoZ.from_pretrained(small_model, pdf=False)
    table = catalog(1000, 7, classes={"galaxy": 1})
    table["flux_u"][:] = np.nan
    assert outside(stage(table)).mean() < 0.04
    # And what cannot be scored has no score, and no flag of it.
    for band in BANDS:
        table[f"flux_{band}"][:] = np.nan
    nothing = stage(table)
    assert np.isnan(nothing["domain_score"]).all()
    assert not outside(nothing).any()


def test_the_score_survives_saving_and_its_golden_rows_verify(small_model):
    assert verify(small_model).ok
    assert load(small_model).model.output["domain_score"].shape == (None,)


def test_a_suffix_goes_with_the_score(small_model):
    out = PhotoZ.from_pretrained(small_model, pdf=False, suffix="mine")(catalog(20, 1))
    assert "domain_score_mine" in out.colnames


RECIPE = {"width": 16, "depth": 1, "members": 1, "epochs": 10, "threads": 1, "seed": 2, "cross_fit": 0}


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    """A classifier of bright objects, and fainter ones."""
    rows = 3 * FEWEST * 2
    table = catalog(rows, 9, mag_limit=20.0, classes={"star": 0.4, "galaxy": 0.4, "qso": 0.2})
    stage = Classify(bands=BANDS, classes=("STAR", "GALAXY", "QSO"), train={**RECIPE, "regions": 3})
    fitted = stage.fit(table, tmp_path_factory.mktemp("shifted") / "m")
    return fitted, catalog(3000, 10, mag_limit=23.0, classes={"star": 0.4, "galaxy": 0.4, "qso": 0.2})


def log_loss(p, label):
    return -np.log(np.maximum(p[np.arange(len(p)), label], 1e-9)).mean()


def test_probabilities_out_of_the_domain_go_back_to_the_class_ratio(shifted):
    stage, table = shifted
    shrinkage = load(stage.model).model.get_layer("shrinkage")
    rate, prior = float(shrinkage.rate.numpy()), shrinkage.prior.numpy()
    np.testing.assert_allclose(prior, stage.card().class_fractions, atol=1e-6)
    assert rate > 0
    out = stage(table)
    p = np.stack([out["p_star"], out["p_galaxy"], out["p_qso"]], axis=1)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    share = np.maximum(out["domain_score"], 1)[:, None] ** -rate
    network = (p - (1 - share) * prior) / share
    # Without the pull a network out of its domain is too sure of itself.
    label = np.array([("STAR", "GALAXY", "QSO").index(c) for c in table["class_true"]])
    far = outside(out)
    assert far.mean() > 0.2
    np.testing.assert_allclose(p[~far], network[~far], atol=1e-5)
    assert log_loss(p[far], label[far]) < log_loss(network[far], label[far])


def test_folds_of_the_calibration_change_no_rehearsal(tmp_path):
    table = catalog(2 * FEWEST * 2, 9, mag_limit=20.0, classes={"star": 0.4, "galaxy": 0.4, "qso": 0.2})
    recipe = {**RECIPE, "epochs": 4, "trees": 0, "regions": 2}

    def rate(folds):
        stage = Classify(bands=BANDS, classes=("STAR", "GALAXY", "QSO"), train={**recipe, "cross_fit": folds})
        return float(load(stage.fit(table, tmp_path / f"{folds}").model).model.get_layer("shrinkage").rate.numpy())

    # Each region sets rows of its own aside to calibrate.
    assert rate(2) == rate(0) > 0


def test_sides_are_the_outer_thirds_of_the_widest_directions():
    rng = np.random.default_rng(4)
    features = rng.normal(size=(3000, 3)) * [0.1, 0.9, 0.4]
    faint, bright, red = _sides(features, 3)
    for side in (faint, bright, red):
        assert side.mean() == pytest.approx(1 / 3, abs=0.001)
    assert not (faint & bright).any()
    # The widest direction is the second feature, then the third.
    assert abs(features[faint, 1].mean() - features[bright, 1].mean()) > 1.5
    assert abs(features[red, 2].mean()) > 0.35


def test_few_rows_or_no_regions_leave_probabilities_alone(tmp_path):
    table = catalog(FEWEST, 3)
    stage = Classify(bands=BANDS, classes=("STAR", "GALAXY", "QSO"), train=RECIPE).fit(table, tmp_path / "m")
    assert float(load(stage.model).model.get_layer("shrinkage").rate.numpy()) == 0


def test_a_prior_of_the_field_keeps_the_score(shifted):
    stage, table = shifted
    prior = {"band": "r", "table": [{"ratio": {"STAR": 0.8, "GALAXY": 0.15, "QSO": 0.05}}]}
    with_prior = Classify.from_pretrained(stage.model, prior=prior)(table)
    np.testing.assert_array_equal(with_prior["domain_score"], stage(table)["domain_score"])
    assert not np.allclose(with_prior["p_star"], stage(table)["p_star"])


def test_further_tensors_do_not_take_the_place_of_others():
    rng = np.random.default_rng(6)
    flux = 10 ** rng.normal(3, 0.4, (300, 3)).astype("f4")
    rows = {"flux": flux, "flux_err": 0.1 * flux, "observed": np.ones_like(flux)}
    network = domain_network(rows, rows, n_references=64)
    more = {**rows, "limited": np.zeros_like(flux), "extra": np.zeros((300, 2), "f4")}
    np.testing.assert_array_equal(batched(network, more), batched(network, rows))
    assert batched(network, {name: values[:0] for name, values in rows.items()}).shape == (0,)


def test_a_file_cannot_ask_for_references_that_it_does_not_hold(small_model):
    """The weights that a layer implies are known before Keras makes them."""
    with zipfile.ZipFile(small_model / "model.keras") as archive:
        text = archive.read("config.json").decode()
    (found,) = (layer for layer in _layers(json.loads(text)) if layer["class_name"] == "DomainScore")
    features, bands = 3 * len(BANDS) - 1, len(BANDS)
    assert weight_shapes(found, "here") == [(1024, features), (1024, bands), (bands, features)]
    del found["build_config"]
    with pytest.raises(UnsafeModelError, match="DomainScore"):
        weight_shapes(found, "here")


def _layers(config):
    """All layers of an architecture, those of nested models included."""
    if isinstance(config, list):
        return [layer for item in config for layer in _layers(item)]
    if not isinstance(config, dict):
        return []
    own = [config] if "class_name" in config and "config" in config else []
    return own + [layer for item in config.values() for layer in _layers(item)]
