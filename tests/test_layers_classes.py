"""Layers and loss of class probabilities."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss

from astrokeras.layers import ClassLoss, LabelNoise, PriorCorrection, TemperatureScaling, VectorScaling


def probabilities(rows=50, classes=3, seed=0):
    return softmax(np.random.default_rng(seed).normal(0, 2, (rows, classes)), axis=1).astype("float32")


def loss_of(loss, target, logits):
    return keras.ops.convert_to_numpy(loss.call(target, keras.ops.convert_to_tensor(logits)))


def through(layer, p):
    return keras.ops.convert_to_numpy(layer(p))


class TestLoss:
    logits = np.random.default_rng(1).normal(0, 3, (40, 3)).astype("float32")
    target = np.random.default_rng(2).integers(0, 3, 40)

    def test_cross_entropy_is_that_of_sklearn(self):
        mean = loss_of(ClassLoss(), self.target, self.logits).mean()
        assert mean == pytest.approx(log_loss(self.target, softmax(self.logits.astype(float), axis=1)), rel=1e-5)

    def test_targets_may_come_as_a_column_of_floats(self):
        column = self.target.astype("float32")[:, None]
        np.testing.assert_array_equal(
            loss_of(ClassLoss(), column, self.logits), loss_of(ClassLoss(), self.target, self.logits)
        )

    def test_weights_multiply_the_loss_of_their_class(self):
        weighted = loss_of(ClassLoss([1.0, 2.0, 5.0]), self.target, self.logits)
        plain = loss_of(ClassLoss(), self.target, self.logits)
        np.testing.assert_allclose(weighted / plain, np.array([1, 2, 5])[self.target], rtol=1e-5)

    def test_focal_loss_follows_lin_2017(self):
        log_p = log_softmax(self.logits.astype(float), axis=1)[np.arange(40), self.target]
        found = loss_of(ClassLoss(focus=2.0), self.target, self.logits)
        np.testing.assert_allclose(found, -((1 - np.exp(log_p)) ** 2) * log_p, rtol=1e-3, atol=1e-6)

    def test_label_noise_is_a_mixture_with_the_class_ratio(self):
        ratio = np.array([0.6, 0.3, 0.1])
        found = loss_of(ClassLoss(label_noise=0.1, class_ratio=2 * ratio), self.target, self.logits)
        p = 0.9 * softmax(self.logits.astype(float), axis=1) + 0.1 * ratio
        np.testing.assert_allclose(found, -np.log(p[np.arange(40), self.target]), rtol=1e-4)
        # An object that contradicts all that was learnt costs -ln(.1 * .1), not 400.
        hopeless = np.array([[200.0, 0, -200]], "float32")
        lost = loss_of(ClassLoss(label_noise=0.1, class_ratio=ratio), np.array([2]), hopeless)
        np.testing.assert_allclose(lost, -np.log(0.01), rtol=1e-5)

    def test_certain_logits_stay_finite(self):
        found = loss_of(ClassLoss(focus=2.0), np.array([1, 0]), np.array([[200.0, -200], [200, -200]], "float32"))
        np.testing.assert_allclose(found, [400, 0], rtol=1e-6)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"focus": -1},
            {"label_noise": 1.0},
            {"class_ratio": [0.5, 0.0]},
            {"class_weights": [1.0, 0.0]},
            {"class_weights": [1, np.nan]},
        ],
    )
    def test_bad_arguments(self, arguments):
        with pytest.raises(ValueError, match="ClassLoss"):
            ClassLoss(**arguments)

    def test_configuration_makes_it_again(self):
        loss = ClassLoss([1.0, 2.0, 3.0], focus=1.5, label_noise=0.1, class_ratio=[0.2, 0.3, 0.5])
        again = ClassLoss.from_config(loss.get_config())
        np.testing.assert_allclose(*(loss_of(one, self.target, self.logits) for one in (again, loss)))


@pytest.mark.parametrize("kind", [LabelNoise, PriorCorrection, TemperatureScaling, VectorScaling])
def test_layers_change_nothing_until_they_are_set(kind):
    layer = kind()
    p = probabilities()
    np.testing.assert_allclose(through(layer, p), p, atol=1e-6)
    assert not layer.trainable_variables


def test_prior_correction_undoes_weights():
    # Elkan 2001: a network that minimises a weighted cross-entropy gives q ~ w p.
    p, weights = probabilities().astype(float), np.array([1.0, 7.0, 0.2])
    q = p * weights / (p * weights).sum(axis=1, keepdims=True)
    layer = PriorCorrection()
    layer(q.astype("float32"))
    layer.set_factor(1 / weights)
    np.testing.assert_allclose(through(layer, q.astype("float32")), p, atol=1e-6)


def test_weighted_loss_has_its_minimum_where_the_correction_says():
    # One cell of feature space with 70, 20 and 10 % of the classes.
    p, weights = np.array([0.7, 0.2, 0.1]), np.array([1.0, 3.0, 6.0])
    q = p * weights / np.sum(p * weights)
    target = np.repeat([0, 1, 2], [70, 20, 10])

    def mean_loss(at):
        logits = np.repeat(np.log(at)[None], 100, axis=0).astype("float32")
        return loss_of(ClassLoss(weights), target, logits).mean()

    steps = [np.array(s) for s in ([0.02, -0.02, 0], [-0.02, 0.02, 0], [0, 0.02, -0.02], [0, -0.02, 0.02])]
    assert all(mean_loss(q) < mean_loss(q + step) for step in steps)
    assert mean_loss(q) < mean_loss(p)


def test_label_noise_mixes_with_the_ratio():
    p = probabilities()
    layer = LabelNoise()
    layer(p)
    layer.set_noise(0.1, [6.0, 3.0, 1.0])
    np.testing.assert_allclose(through(layer, p), 0.9 * p + 0.1 * np.array([0.6, 0.3, 0.1]), atol=1e-6)
    layer.set_noise(0.0)
    np.testing.assert_allclose(through(layer, p), p, atol=1e-6)


def test_temperature_is_a_power():
    p = probabilities().astype(float)
    layer = TemperatureScaling()
    layer(p.astype("float32"))
    layer.set_temperature(2.5)
    expected = p**0.4 / (p**0.4).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(through(layer, p.astype("float32")), expected, atol=1e-6)


def test_vector_scaling_is_a_slope_and_an_offset_per_class():
    p, slope, offset = probabilities().astype(float), np.array([0.5, 1.0, 2.0]), np.array([0.3, 0.0, -1.0])
    layer = VectorScaling()
    layer(p.astype("float32"))
    layer.set_scaling(slope, offset)
    expected = softmax(slope * np.log(p) + offset, axis=1)
    np.testing.assert_allclose(through(layer, p.astype("float32")), expected, atol=1e-6)


def test_certainty_survives():
    p = np.array([[1.0, 0.0, 0.0]], "float32")
    for layer in (PriorCorrection(), TemperatureScaling(), VectorScaling()):
        np.testing.assert_allclose(through(layer, p), p, atol=1e-6)


def test_bad_settings():
    p = probabilities()
    prior, temperature, vector = PriorCorrection(), TemperatureScaling(), VectorScaling()
    for layer in (prior, temperature, vector):
        layer(p)
    with pytest.raises(ValueError, match="PriorCorrection: needs"):
        prior.set_factor([1.0, 2.0])
    with pytest.raises(ValueError, match="TemperatureScaling: needs"):
        temperature.set_temperature(0.0)
    with pytest.raises(ValueError, match="VectorScaling: needs"):
        vector.set_scaling([1, 1, -1], [0, 0, 0])
    noise = LabelNoise()
    noise(p)
    with pytest.raises(ValueError, match="LabelNoise: rate must be"):
        noise.set_noise(1.0)
    with pytest.raises(ValueError, match="LabelNoise: needs"):
        noise.set_noise(0.1, [1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="finite offsets"):
        vector.set_scaling([1, 1, 1], [0, np.inf, 0])
