"""Scores of classifications against scikit-learn, formulas and simulations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as reference

from astrokeras.export.classified import Classified, trivial_baseline


def sample(n=2000, k=3, seed=0, sharpness=2.0):
    """Calibrated probabilities, truths drawn from them; the label is the most probable class."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(k, 1 / sharpness), n)
    truth = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return truth, p.argmax(axis=1), p


def test_scores_are_those_of_scikit_learn():
    truth, label, p = sample()
    scores = Classified(truth, label, p).scores()
    assert scores["accuracy"] == pytest.approx(reference.accuracy_score(truth, label))
    assert scores["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, label))
    assert scores["log_loss"] == pytest.approx(reference.log_loss(truth, p))
    expected = sum(reference.brier_score_loss(truth == k, p[:, k]) for k in range(3))
    assert scores["brier"] == pytest.approx(expected)


def test_class_scores_are_those_of_scikit_learn():
    truth, label, p = sample(k=4)
    # Ties between objects.
    p = np.round(p, 2) + 0.001
    found = Classified(truth, label, p)
    of_class = found.class_scores()
    purity, completeness, f1, _ = reference.precision_recall_fscore_support(truth, label)
    np.testing.assert_allclose(of_class["purity"], purity)
    np.testing.assert_allclose(of_class["contamination"], 1 - purity)
    np.testing.assert_allclose(of_class["completeness"], completeness)
    np.testing.assert_allclose(of_class["f1"], f1)
    normalised = p / p.sum(axis=1, keepdims=True)
    auc = [reference.roc_auc_score(truth == k, normalised[:, k]) for k in range(4)]
    np.testing.assert_allclose(of_class["roc_auc"], auc)
    np.testing.assert_array_equal(found.confusion(), reference.confusion_matrix(truth, label))


def test_weights_count_objects_that_often():
    truth, label, p = sample(200)
    weights = np.random.default_rng(1).integers(0, 4, 200)
    rows = np.repeat(np.arange(200), weights)
    one, other = Classified(truth, label, p), Classified(truth[rows], label[rows], p[rows])
    assert one.scores(weights) == pytest.approx(other.scores())
    for name, values in one.class_scores(weights).items():
        np.testing.assert_allclose(values, other.class_scores()[name], err_msg=name)


def test_resamples_have_the_size_of_the_sample_and_the_error_of_a_binomial():
    truth, label, p = sample(1500)
    found = Classified(truth, label, p)
    drawn = list(found.resamples(400, seed=3))
    assert {w.sum() for w in drawn} == {1500}
    accuracy = found.scores()["accuracy"]
    spread = np.std([found.scores(w)["accuracy"] for w in drawn])
    assert spread == pytest.approx(np.sqrt(accuracy * (1 - accuracy) / 1500), rel=0.15)
    np.testing.assert_array_equal(next(found.resamples(1, seed=3)), drawn[0])
    assert not np.array_equal(next(found.resamples(1, seed=4)), drawn[0])


def test_calibration_error_in_a_worked_example():
    # Of ten objects with .9, all in one bin, seven are right; of ten with .55 five.
    p = np.array([[0.9, 0.1]] * 10 + [[0.55, 0.45]] * 10)
    truth = np.array([0] * 7 + [1] * 3 + [0] * 5 + [1] * 5)
    assert Classified(truth, p.argmax(axis=1), p).scores()["ece"] == pytest.approx((10 * 0.2 + 10 * 0.05) / 20)


def test_a_certain_probability_is_in_the_last_bin():
    p = np.array([[1.0, 0.0]] * 4)
    scores = Classified(np.array([0, 0, 0, 1]), np.zeros(4, int), p).scores()
    assert scores["ece"] == pytest.approx(0.25)
    assert scores["log_loss"] == pytest.approx(-np.log(1e-12) / 4)
    assert scores["brier"] == pytest.approx(0.5)


def test_a_calibrated_model_is_within_its_floor_and_others_are_not():
    within = []
    for seed in range(40):
        truth, label, p = sample(1000, seed=seed)
        found = Classified(truth, label, p)
        floor = found.perfect_ece(draws=300, seed=seed)
        assert 0 < floor["mean"] < floor["quantile_95"] < 0.06
        within.append(found.scores()["ece"] <= floor["quantile_95"])
    # 95 % of 40, and more than five standard deviations from what a wrong quantile would give.
    assert np.mean(within) > 0.85
    sure = Classified(truth, label, p**3)
    assert sure.scores()["ece"] > 2 * sure.perfect_ece(draws=300)["quantile_95"]


def test_the_floor_is_the_mean_of_simulated_samples():
    _, label, p = sample(500, seed=5)
    rng = np.random.default_rng(9)
    drawn = []
    for _ in range(300):
        truth = (p.cumsum(axis=1) < rng.random((500, 1))).sum(axis=1)
        drawn.append(Classified(truth, label, p).scores()["ece"])
    floor = Classified(label, label, p).perfect_ece(seed=1)
    assert floor["mean"] == pytest.approx(np.mean(drawn), rel=0.05)
    assert floor["quantile_95"] == pytest.approx(np.quantile(drawn, 0.95), rel=0.1)
    assert floor == Classified(label, label, p).perfect_ece(seed=1)


def test_what_is_not_defined_is_nan():
    # Nobody is of class 2, nobody is taken for class 1.
    truth, label = np.array([0, 0, 1]), np.array([0, 2, 0])
    found = Classified(truth, label, np.eye(3)[label] + 0.1)
    of_class = found.class_scores()
    np.testing.assert_array_equal(np.isnan(of_class["completeness"]), [False, False, True])
    np.testing.assert_array_equal(np.isnan(of_class["purity"]), [False, True, False])
    np.testing.assert_array_equal(np.isnan(of_class["roc_auc"]), [False, False, True])
    assert found.scores()["balanced_accuracy"] == pytest.approx((1 / 2 + 0) / 2)


def test_baseline_is_the_entropy_of_the_fractions():
    truth = np.array([0] * 6 + [1] * 3 + [2])
    baseline = trivial_baseline(truth, 3)
    fraction = np.array([0.6, 0.3, 0.1])
    assert baseline["accuracy"] == pytest.approx(0.6)
    assert baseline["balanced_accuracy"] == pytest.approx(1 / 3)
    assert baseline["log_loss"] == pytest.approx(-(fraction * np.log(fraction)).sum())
    assert baseline["brier"] == pytest.approx(1 - (fraction**2).sum())
    assert baseline["ece"] == pytest.approx(0, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(arrays(float, (30, 3), elements=st.floats(0.001, 1)), st.permutations(range(30)), st.integers(0, 1000))
def test_order_and_scale_do_not_matter(p, order, seed):
    truth = np.random.default_rng(seed).integers(0, 3, 30)
    label = p.argmax(axis=1)
    one = Classified(truth, label, p).scores()
    order = list(order)
    assert Classified(truth[order], label[order], p[order] * 8).scores() == pytest.approx(one, abs=1e-12)
    assert 0 <= one["ece"] <= 1 and 0 <= one["brier"] <= 2 and one["log_loss"] > 0


@pytest.mark.parametrize(
    ("truth", "label", "p", "message"),
    [
        ([0, 1], [0], [[0.5, 0.5]] * 2, "2 true and 1 predicted"),
        ([0, 2], [0, 1], [[0.5, 0.5]] * 2, "classes must be in 0 to 1"),
        ([0, 1], [0, -1], [[0.5, 0.5]] * 2, "classes must be in 0 to 1"),
        ([0], [0], [[-0.5, 1.5]], "must not be negative"),
        ([0], [0], [[0.0, 0.0]], "no row may be zero"),
        ([0], [0], [[np.nan, 1.0]], "no row may be zero or missing"),
    ],
)
def test_what_is_no_classification_is_refused(truth, label, p, message):
    with pytest.raises(ValueError, match=message):
        Classified(np.array(truth), np.array(label), np.array(p))
