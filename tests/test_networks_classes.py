"""Networks of classes: members, ensembles, calibration."""

import keras
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from astrokeras import class_metrics
from astrokeras.layers import ClassLoss
from astrokeras.models.inspect import inspect
from astrokeras.networks.classes import (
    Prepared,
    Scaling,
    before_calibration,
    class_ensemble,
    class_network,
    fit_calibration,
    set_calibration,
)
from astrokeras.networks.encoder import photometry_encoder
from astrokeras.tasks.trees import stacked


def toy_survey(rows, seed, classes=3):
    """Fluxes of 3 bands whose colors overlap between classes; the last class is rare."""
    rng = np.random.default_rng(seed)
    target = rng.choice(classes, rows, p=np.array([0.6, 0.3, 0.1]))
    shift = np.array([[0, 0, 0], [0.5, 0, -0.5], [0.3, 0, 0.6]])[target]
    magnitudes = 20 + rng.normal(0, 0.5, rows)[:, None] + shift + rng.normal(0, 0.3, (rows, 3))
    flux = 10 ** (-0.4 * (magnitudes - 31.4))
    photometry = {"flux": flux, "flux_err": 0.05 * flux, "observed": np.ones_like(flux)}
    return {name: x.astype("float32") for name, x in photometry.items()}, target


def member(encoder, seed=0, **parameters):
    keras.utils.set_random_seed(seed)
    return class_network(encoder, 3, **{"width": 16, "depth": 2, **parameters})


def magnitudes(photometry):
    return -2.5 * np.log10(photometry["flux"]) + 31.4 - 20


def p_of(model, photometry):
    return keras.ops.convert_to_numpy(model(photometry)["p_class"])


@pytest.fixture(scope="module")
def survey():
    return toy_survey(1500, 1)


@pytest.fixture(scope="module")
def encoder(survey):
    return photometry_encoder(**survey[0])


@pytest.fixture(scope="module")
def forest(survey, encoder):
    features = keras.ops.convert_to_numpy(encoder(survey[0]))
    return RandomForestClassifier(10, max_depth=6, random_state=0).fit(features, survey[1])


@pytest.fixture(scope="module")
def weighted(survey, encoder):
    weights = np.array([1.0, 2.0, 6.0])
    model = member(encoder)
    model.compile(keras.optimizers.AdamW(1e-2), loss=ClassLoss(weights), jit_compile=False)
    model.fit(*survey, batch_size=100, epochs=12, verbose=0)
    return model, weights


def test_corrected_probabilities_of_a_weighted_training_are_calibrated(survey, weighted):
    model, weights = weighted
    photometry, target = toy_survey(3000, 2)
    raw = p_of(class_ensemble([model]), photometry)
    corrected = p_of(class_ensemble([model], factor=1 / weights), photometry)
    logistic = LogisticRegression(max_iter=1000).fit(magnitudes(survey[0]), survey[1])
    rival = logistic.predict_proba(magnitudes(photometry))
    loss = class_metrics.log_loss(corrected, target).mean()
    assert loss < class_metrics.log_loss(rival, target).mean() + 0.02
    assert class_metrics.log_loss(raw, target).mean() > loss + 0.05
    shares = np.bincount(target) / len(target)
    np.testing.assert_allclose(corrected.mean(axis=0), shares, atol=0.03)
    assert raw.mean(axis=0)[2] > 2 * shares[2]


def test_ensemble_is_the_mean_of_its_members(survey, encoder):
    members = [member(encoder, seed) for seed in (1, 2)]
    alone = [softmax(keras.ops.convert_to_numpy(m(survey[0])), axis=1) for m in members]
    assert np.abs(alone[0] - alone[1]).max() > 0.1
    np.testing.assert_allclose(p_of(class_ensemble(members), survey[0]), np.mean(alone, axis=0), atol=1e-6)


def test_saved_ensemble_is_safe_and_gives_the_same(survey, encoder, tmp_path):
    model = class_ensemble([member(encoder, s) for s in (1, 2)], factor=[1, 2, 3], calibration="vector")
    set_calibration(model, Scaling(np.array([1.1, 0.9, 1.0]), np.array([0.1, 0.2, -0.3])))
    model.save(tmp_path / "model.keras")
    assert inspect(tmp_path / "model.keras").digest
    again = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(p_of(again, survey[0]), p_of(model, survey[0]), atol=1e-7)


def test_jitter_and_dropout_act_in_training_only(survey, encoder):
    model = member(encoder, band_dropout=0.5, error_jitter=1.0)
    one, two = (keras.ops.convert_to_numpy(model(survey[0], training=flag)) for flag in (False, False))
    np.testing.assert_array_equal(one, two)
    assert np.abs(keras.ops.convert_to_numpy(model(survey[0], training=True)) - one).max() > 0.1


def test_bad_arguments(survey, encoder):
    with pytest.raises(ValueError, match="n_classes must be at least 2"):
        class_network(encoder, 1)
    with pytest.raises(ValueError, match="at least one member"):
        class_ensemble([])
    with pytest.raises(ValueError, match="calibration must be one of temperature, vector"):
        class_ensemble([member(encoder)], calibration="isotonic")
    with pytest.raises(ValueError, match="share one encoder"):
        class_ensemble([member(encoder), member(photometry_encoder(**survey[0]))])
    with pytest.raises(ValueError, match="equally many"):
        class_ensemble([member(encoder), class_network(encoder, 2, width=4, depth=1)])
    with pytest.raises(ValueError, match="kind must be one of"):
        fit_calibration(np.ones((1, 3)) / 3, [0], "isotonic")
    with pytest.raises(ValueError, match="takes a temperature"):
        set_calibration(class_ensemble([member(encoder)]), Scaling(np.array([1.0, 2, 1]), np.zeros(3)))


def calibrated(p, scaling):
    """What the model does with a scaling, in numpy."""
    return softmax(scaling.slope * np.log(p) + scaling.offset, axis=1)


def drawn(rows, seed, temperature=1.0, offset=(0.0, 0.0, 0.0)):
    """Probabilities of which a known scaling is true, and classes drawn so."""
    rng = np.random.default_rng(seed)
    p = softmax(rng.normal(0, 2, (rows, 3)), axis=1)
    true = softmax(np.log(p) / temperature + np.array(offset), axis=1)
    return p, (rng.random((rows, 1)) > np.cumsum(true, axis=1)).sum(axis=1)


class TestCalibration:
    def test_temperature_is_that_of_the_likelihood(self):
        p, target = drawn(4000, 1, temperature=1.8)

        def loss(t):
            return class_metrics.log_loss(softmax(np.log(p) / t, axis=1), target).mean()

        best = minimize_scalar(loss, bounds=(0.5, 5), method="bounded").x
        found = 1 / fit_calibration(p, target).slope[0]
        assert found == pytest.approx(best, rel=0.01)
        assert found == pytest.approx(1.8, rel=0.08)

    def test_vector_finds_the_offsets(self):
        p, target = drawn(8000, 2, offset=(0.5, 0.0, -0.5))
        found = fit_calibration(p, target, "vector")
        np.testing.assert_allclose(found.offset - found.offset.mean(), [0.5, 0, -0.5], atol=0.1)
        np.testing.assert_allclose(found.slope, 1, atol=0.1)

    @pytest.mark.parametrize("kind", ["temperature", "vector"])
    def test_it_helps_on_other_rows(self, kind):
        scaling = fit_calibration(*drawn(2000, 3, temperature=2.0, offset=(0.4, 0, 0)), kind)
        p, target = drawn(4000, 4, temperature=2.0, offset=(0.4, 0, 0))
        before, after = (class_metrics.log_loss(q, target).mean() for q in (p, calibrated(p, scaling)))
        assert after < before - 0.05
        assert class_metrics.calibration_error(calibrated(p, scaling), target) < class_metrics.calibration_error(
            p, target
        )

    def test_few_rows_change_little(self):
        # All right, with certainty: the likelihood alone would send the temperature to 0.
        p = np.array([[0.9, 0.05, 0.05]] * 3)
        for kind in ("temperature", "vector"):
            scaling = fit_calibration(p, [0, 0, 0], kind)
            assert np.all((scaling.slope > 0.7) & (scaling.slope < 1.5))
            assert 0.9 < calibrated(p, scaling)[0, 0] < 0.96
        none = fit_calibration(np.empty((0, 3)), [], "vector")
        np.testing.assert_allclose([*none.slope, *none.offset], [1, 1, 1, 0, 0, 0])

    def test_layer_and_scaling_agree(self, survey, encoder):
        model = class_ensemble([member(encoder)], calibration="vector")
        p = p_of(model, survey[0])
        scaling = fit_calibration(p, survey[1], "vector")
        set_calibration(model, scaling)
        np.testing.assert_allclose(p_of(model, survey[0]), calibrated(p, scaling), atol=1e-6)
        single = class_ensemble([member(encoder)])
        temperature = fit_calibration(p, survey[1])
        set_calibration(single, temperature)
        np.testing.assert_allclose(p_of(single, survey[0]), calibrated(p, temperature), atol=1e-6)

    def test_share_of_label_noise_is_found(self):
        # Of a tenth of the objects the class is drawn by the ratio, whatever the probabilities say.
        ratio, rng = np.array([0.5, 0.3, 0.2]), np.random.default_rng(6)
        p, target = drawn(6000, 5)
        hopeless = rng.random(6000) < 0.1
        target = np.where(hopeless, rng.choice(3, 6000, p=ratio), target)
        found = fit_calibration(p, target, prepared=Prepared(0.02, ratio, np.ones(3)))
        assert found.label_noise == pytest.approx(0.1, abs=0.03)
        np.testing.assert_allclose(found.slope, 1, atol=0.1)
        assert fit_calibration(p[:0], target[:0], prepared=Prepared(0.02, ratio, np.ones(3))).label_noise == 0.02

    def test_model_does_what_was_fitted(self, survey, encoder):
        prepared = Prepared(0.05, np.array([0.6, 0.3, 0.1]), np.array([1.0, 0.5, 0.2]))
        model = class_ensemble([member(encoder)], prepared.factor, "vector", 0.05, prepared.class_ratio)
        read = Prepared.of(model)
        np.testing.assert_allclose(
            [read.label_noise, *read.class_ratio, *read.factor], [0.05, 0.6, 0.3, 0.1, 1, 0.5, 0.2]
        )
        raw = p_of(before_calibration(model), survey[0])
        np.testing.assert_allclose(raw, p_of(class_ensemble([member(encoder)]), survey[0]), atol=1e-6)
        scaling = Scaling(np.array([1.2, 0.8, 1.0]), np.array([0.1, 0.0, -0.2]), 0.03)
        set_calibration(model, scaling)
        mixed = (0.97 * raw + 0.03 * prepared.class_ratio) * prepared.factor
        mixed /= mixed.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(p_of(model, survey[0]), calibrated(mixed, scaling), atol=1e-5)


class TestForest:
    def pooled(self, encoder, forest):
        layer = stacked(forest.estimators_, forest.classes_, 3).layer(encoder.output_shape[-1])
        return class_ensemble([member(encoder)], forest=layer)

    def test_trees_are_half_of_the_answer_where_nothing_is_missing(self, survey, encoder, forest):
        photometry = {name: x[:60].copy() for name, x in survey[0].items()}
        photometry["observed"][:20, 1] = 0
        alone = p_of(class_ensemble([member(encoder)]), photometry)
        trees = forest.predict_proba(keras.ops.convert_to_numpy(encoder(photometry)))
        found = p_of(self.pooled(encoder, forest), photometry)
        np.testing.assert_allclose(found[:20], alone[:20], atol=1e-6)
        np.testing.assert_allclose(found[20:], (alone[20:] + trees[20:]) / 2, atol=1e-6)

    def test_share_of_the_trees_is_found(self):
        rng = np.random.default_rng(5)
        p, target = drawn(3000, 6)
        unsure = np.full_like(p, 1 / 3)
        right, wrong = fit_calibration(unsure, target, trees=p), fit_calibration(p, target, trees=rng.permutation(p))
        assert right.share > 0.6
        assert wrong.share < 0.4
        assert fit_calibration(p[:0], target[:0], trees=p[:0]).share == pytest.approx(0.5)

    def test_model_does_what_was_fitted(self, survey, encoder, forest):
        model = self.pooled(encoder, forest)
        raw = before_calibration(model)(survey[0])
        p, trees = (keras.ops.convert_to_numpy(raw[name]) for name in ("p_class", "p_trees"))
        scaling = fit_calibration(p, survey[1], trees=trees)
        set_calibration(model, scaling)
        mixed = (1 - scaling.share) * p + scaling.share * trees
        np.testing.assert_allclose(p_of(model, survey[0]), calibrated(mixed, scaling), atol=1e-5)
