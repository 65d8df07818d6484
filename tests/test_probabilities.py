"""Entropy, changed priors and conformal sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy

from astrokeras.probabilities import change_prior, conformal_quantile, conformal_sets, entropy


def drawn(rows, seed, classes=3, scale=1.5):
    """Calibrated probabilities, and classes drawn from them."""
    rng = np.random.default_rng(seed)
    p = softmax(rng.normal(0, scale, (rows, classes)), axis=1)
    return p, (rng.random((rows, 1)) > np.cumsum(p, axis=1)).sum(axis=1)


def test_entropy_is_that_of_scipy():
    p, _ = drawn(20, 1)
    np.testing.assert_allclose(entropy(p), scipy_entropy(p, axis=1), rtol=1e-12)
    np.testing.assert_allclose(entropy([[1.0, 0, 0], [1 / 3] * 3]), [0, np.log(3)])


class TestPrior:
    def test_bayes_theorem_on_known_densities(self):
        # Two normal distributions, seen with 50:50, wanted with 90:10.
        x = np.linspace(-3, 4, 15)
        densities = np.stack([np.exp(-(x**2) / 2), np.exp(-((x - 1) ** 2) / 2)], axis=1)
        posterior = [densities * r / (densities * r).sum(axis=1, keepdims=True) for r in ([0.5, 0.5], [0.9, 0.1])]
        np.testing.assert_allclose(change_prior(posterior[0], [0.5, 0.5], [0.9, 0.1]), posterior[1], rtol=1e-12)

    def test_one_ratio_per_row(self):
        p = np.full((2, 2), 0.5)
        new = np.array([[0.2, 0.8], [np.nan, np.nan]])
        found = change_prior(p, [0.5, 0.5], new)
        np.testing.assert_allclose(found[0], [0.2, 0.8])
        assert np.isnan(found[1]).all()

    def test_class_that_does_not_occur(self):
        np.testing.assert_allclose(change_prior([[0.5, 0.3, 0.2]], [1 / 3] * 3, [0.5, 0.5, 0]), [[0.625, 0.375, 0]])
        # All that was thought possible is ruled out: the ratio is what is left.
        np.testing.assert_allclose(change_prior([[0.0, 0.0, 1.0]], [1 / 3] * 3, [0.6, 0.4, 0]), [[0.6, 0.4, 0]])

    def test_tiny_probabilities_do_not_vanish(self):
        np.testing.assert_allclose(change_prior([[1e-300, 1e-300]], [0.5, 0.5], [0.25, 0.75]), [[0.25, 0.75]])

    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 2**32 - 1))
    def test_there_and_back(self, seed):
        rng = np.random.default_rng(seed)
        p, one, two = rng.dirichlet([1, 1, 1], 5), *rng.dirichlet([5, 5, 5], 2)
        np.testing.assert_allclose(change_prior(change_prior(p, one, two), two, one), p, atol=1e-9)
        np.testing.assert_allclose(change_prior(p, one, two).sum(axis=1), 1)

    @pytest.mark.parametrize(
        ("train", "new", "message"),
        [
            ([0.5, 0.6], [0.5, 0.5], "train: a class ratio"),
            ([0.5, 0.5], [0.5, 0.4], "new: a class ratio"),
            ([0.5, 0.5], [1.5, -0.5], "new: a class ratio"),
            ([1.0, 0.0], [0.5, 0.5], "without training rows"),
            ([0.2, 0.3, 0.5], [0.5, 0.5], "do not fit"),
        ],
    )
    def test_bad_ratios(self, train, new, message):
        with pytest.raises(ValueError, match=message):
            change_prior(np.full((4, 2), 0.5), train, new)


class TestConformal:
    def test_lac_by_hand(self):
        # Scores 1 - p of the true class: .1 .2 ... .9; with 9 rows and 80 % the 8th smallest counts.
        p = np.array([[1 - s, s] for s in np.arange(1, 10) / 10])
        q = conformal_quantile(p, np.zeros(9, int), 0.8)
        assert q == pytest.approx(0.8)
        sets = conformal_sets(np.array([[0.75, 0.25], [0.85, 0.15]]), q)
        np.testing.assert_array_equal(sets, [[True, True], [True, False]])

    def test_aps_by_hand(self):
        p = np.array([[0.5, 0.3, 0.2]] * 9)
        # The true classes are the most probable 5, the second 3, the third once: scores .5 x 5, .8 x 3, 1.
        target = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2])
        assert conformal_quantile(p, target, 0.5, "aps") == pytest.approx(0.5)
        assert conformal_quantile(p, target, 0.8, "aps") == pytest.approx(0.8)
        np.testing.assert_array_equal(conformal_sets(p[:1], 0.8, "aps"), [[True, True, False]])

    @pytest.mark.parametrize("method", ["lac", "aps"])
    @pytest.mark.parametrize("wrong", [1.0, 0.4])
    def test_coverage_holds_however_wrong_the_probabilities(self, method, wrong):
        held = []
        for seed in range(40):
            p, target = drawn(900, seed)
            p = softmax(wrong * np.log(p), axis=1)
            q = conformal_quantile(p[:400], target[:400], 0.9, method)
            sets = conformal_sets(p[400:], q, method)
            held.append(sets[np.arange(500), target[400:]].mean())
        assert np.mean(held) > 0.9 - 3 * np.std(held) / np.sqrt(40)
        if method == "lac":
            assert np.mean(held) < 0.92

    @pytest.mark.parametrize("method", ["lac", "aps"])
    def test_no_set_is_empty_and_too_few_rows_give_all_classes(self, method):
        p, target = drawn(200, 3)
        assert conformal_sets(p, conformal_quantile(p, target, 0.3, method), method).any(axis=1).all()
        assert conformal_quantile(p[:5], target[:5], 0.9, method) == 1
        assert conformal_sets(p, 1.0, method).all()

    def test_nine_rows_are_enough_for_90_percent(self):
        p = np.array([[0.8, 0.2]] * 9)
        assert conformal_quantile(p, np.zeros(9, int), 0.9) == pytest.approx(0.2)

    def test_bad_arguments(self):
        with pytest.raises(ValueError, match="coverage must be between"):
            conformal_quantile(np.ones((1, 2)) / 2, [0], 95)
        with pytest.raises(ValueError, match="must be lac or aps"):
            conformal_sets(np.ones((1, 2)) / 2, 0.5, "raps")
