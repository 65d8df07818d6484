"""Metrics of class probabilities."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from astrokeras import class_metrics


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(5)
    p = softmax(rng.normal(0, 1.5, (800, 3)), axis=1)
    return p, (rng.random((800, 1)) > np.cumsum(p, axis=1)).sum(axis=1)


def test_scores_are_those_of_sklearn(sample):
    p, target = sample
    found = p.argmax(axis=1)
    assert class_metrics.log_loss(p, target).mean() == pytest.approx(sk.log_loss(target, p))
    onehot = np.eye(3)[target]
    expected = sum(sk.brier_score_loss(onehot[:, k], p[:, k]) for k in range(3))
    assert class_metrics.brier(p, target).mean() == pytest.approx(expected)
    assert class_metrics.accuracy(p, target) == pytest.approx(sk.accuracy_score(target, found))
    assert class_metrics.balanced_accuracy(p, target) == pytest.approx(sk.balanced_accuracy_score(target, found))
    np.testing.assert_array_equal(class_metrics.confusion(p, target), sk.confusion_matrix(target, found))
    np.testing.assert_allclose(class_metrics.completeness(p, target), sk.recall_score(target, found, average=None))
    precision = sk.precision_score(target, found, average=None)
    np.testing.assert_allclose(class_metrics.contamination(p, target), 1 - precision)


def test_probability_zero_has_a_finite_loss():
    assert class_metrics.log_loss(np.array([[1.0, 0.0]]), np.array([1]))[0] == pytest.approx(-np.log(1e-12))


def test_class_without_objects():
    p = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]])
    np.testing.assert_array_equal(class_metrics.completeness(p, np.array([0, 1])), [1, 0, np.nan])
    np.testing.assert_array_equal(class_metrics.contamination(p, np.array([0, 1])), [0.5, np.nan, np.nan])
    assert class_metrics.balanced_accuracy(p, np.array([0, 1])) == 0.5


def test_calibration_error_by_hand():
    # Bin 13 of 15 (.867 to .933): two objects of .9, one right; bin 9 (.6 to .667): one of .6, wrong.
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    assert class_metrics.calibration_error(p, np.array([0, 1, 1])) == pytest.approx((2 * 0.4 + 0.6) / 3)
    assert class_metrics.calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0


def test_floor_is_what_a_right_model_scores():
    rng = np.random.default_rng(0)
    p = softmax(rng.normal(0, 1.5, (400, 3)), axis=1)
    floor = class_metrics.calibration_floor(p)
    scores = []
    for _ in range(200):
        target = (rng.random((400, 1)) > np.cumsum(p, axis=1)).sum(axis=1)
        scores.append(class_metrics.calibration_error(p, target))
    assert np.mean(np.array(scores) > floor) == pytest.approx(0.05, abs=0.05)
    assert class_metrics.calibration_floor(np.repeat(p, 25, axis=0)) < floor / 3
