"""Moments and losses of numbers, attributes and votes, against scipy and formulas."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scipy import stats

from astrokeras.layers import (
    AttributeLoss,
    DirichletMoments,
    JointLoss,
    LevelLoss,
    LevelMoments,
    MeanAndError,
    NormalLoss,
    NormalMoments,
    VoteLoss,
)

RNG = np.random.default_rng(4)


def host(values):
    return np.asarray(ops.convert_to_numpy(values))


def test_votes_are_dirichlet_multinomial():
    outputs = RNG.normal(scale=2, size=(5, 5)).astype("float32")
    votes = RNG.integers(0, 40, (5, 5)).astype("float32")
    votes[0, 2:] = 0
    found = host(VoteLoss([2, 3]).call(votes, outputs))
    # What depends on the votes alone, ln N! - sum ln k!, is left out; nobody asked says nothing.
    expected = np.zeros(5)
    alpha = 1 + np.exp(outputs.astype(float))
    for own in (slice(0, 2), slice(2, 5)):
        for row in range(5):
            k = votes[row, own].astype(int)
            if k.sum():
                constant = stats.multinomial.logpmf(k, k.sum(), np.full(len(k), 1 / len(k))) + k.sum() * np.log(len(k))
                expected[row] -= stats.dirichlet_multinomial.logpmf(k, alpha[row, own], k.sum()) - constant
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_fractions_have_the_moments_of_a_dirichlet_distribution():
    outputs = RNG.normal(size=(3, 5)).astype("float32")
    mean, error = (host(x) for x in MeanAndError()(DirichletMoments([2, 3])(outputs)))
    alpha = 1 + np.exp(outputs.astype(float))
    for own in (slice(0, 2), slice(2, 5)):
        for row in range(3):
            np.testing.assert_allclose(mean[row, own], stats.dirichlet.mean(alpha[row, own]), rtol=1e-5)
            np.testing.assert_allclose(error[row, own] ** 2, stats.dirichlet.var(alpha[row, own]), rtol=1e-3)


def test_moments_of_an_ensemble_are_those_of_the_mixture():
    """Two normal distributions: the variance is the mean variance and the variance of the means."""
    layer = NormalMoments()
    layer.build((None, 2))
    layer.set_scale(2)
    moments = (host(layer(np.array([[0.0, 0.0]]))) + host(layer(np.array([[1.0, np.log(2.0)]])))) / 2
    mean, error = (host(x) for x in MeanAndError()(moments))
    assert mean[0, 0] == pytest.approx((0 + 2) / 2)
    assert error[0, 0] == pytest.approx(np.sqrt((4 + 16) / 2 + 1), rel=1e-4)
    scaled = MeanAndError()
    scaled(moments)
    scaled.set_factor(0.5)
    assert host(scaled(moments)[1])[0, 0] == pytest.approx(error[0, 0] / 2)
    for wrong in (0, np.nan, -1):
        with pytest.raises(ValueError, match="above 0"):
            scaled.set_factor(wrong)
        with pytest.raises(ValueError, match="above 0"):
            layer.set_scale(wrong)
    # A large number does not drown its error.
    far = MeanAndError()
    far(moments)
    far.set_center(1e6)
    mean, again = (host(x) for x in far(moments))
    assert mean[0, 0] == 1e6 + 1 and again[0, 0] == error[0, 0]
    with pytest.raises(ValueError, match="finite"):
        far.set_center(np.inf)


def test_levels_give_mean_and_scatter():
    p = np.array([[0.2, 0.5, 0.3]])
    moments = LevelMoments([-1, 0, 4])(np.log(p))
    mean, error = (host(x)[0, 0] for x in MeanAndError()(moments))
    assert mean == pytest.approx(1.0)
    assert error == pytest.approx(np.sqrt(0.2 * 4 + 0.5 * 1 + 0.3 * 9), rel=1e-5)


def test_the_loss_of_levels_is_cross_entropy_and_ranked_probability_score():
    levels, logits = [0.0, 1.0, 3.0], np.array([[0.3, -0.2, 0.5]], "float32")
    p = np.exp(logits[0]) / np.exp(logits[0]).sum()
    for value, truth in ((1.0, [0, 1, 0]), (2.0, [0, 0.5, 0.5]), (-7, [1, 0, 0]), (9, [0, 0, 1])):
        found = host(LevelLoss(levels, score_weight=2.0).call(np.array([[value]]), logits))[0]
        difference = np.cumsum(p)[:-1] - np.cumsum(truth)[:-1]
        score = (difference**2 * [1, 2]).sum() / 3
        assert found == pytest.approx(2 * score - (np.array(truth) * np.log(p)).sum(), rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(value=st.floats(-20, 20), mean=st.floats(-3, 3), log_sigma=st.floats(-2, 2))
def test_the_normal_loss_is_a_likelihood(value, mean, log_sigma):
    loss = NormalLoss(center=1.0, scale=4.0, beta=0.0)
    found = host(loss.call(np.array([value], "float32"), np.array([[mean, log_sigma]], "float32")))[0]
    expected = -stats.norm.logpdf((value - 1) / 4, mean, np.exp(log_sigma)) - 0.5 * np.log(2 * np.pi)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_undetermined_attributes_do_not_count():
    truth = np.array([[1, 0.25, np.nan], [np.nan, np.nan, np.nan]], "float32")
    logits = np.array([[2.0, -1, 50], [3, 3, 3]], "float32")
    found = host(AttributeLoss().call(truth, logits))
    p = 1 / (1 + np.exp(-logits[0, :2]))
    expected = -np.mean([np.log(p[0]), 0.25 * np.log(p[1]) + 0.75 * np.log(1 - p[1])])
    np.testing.assert_allclose(found, [expected, 0], rtol=1e-5)


def test_auxiliary_numbers_count_where_they_are_known():
    truth = np.array([[1, 0.5, np.nan], [0, np.nan, np.nan]], "float32")
    outputs = np.array([[1.0, 1.5, 77], [0.5, 9, 9]], "float32")
    main = AttributeLoss()
    loss = JointLoss(main, 1, 1, weight=3.0)
    expected = host(main.call(truth[:, :1], outputs[:, :1])) + np.array([3.0, 0])
    np.testing.assert_allclose(host(loss.call(truth, outputs)), expected, rtol=1e-6)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    np.testing.assert_allclose(host(again.call(truth, outputs)), expected, rtol=1e-6)
