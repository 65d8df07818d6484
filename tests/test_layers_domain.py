"""The domain score equals a nearest-neighbour search written out, and shrinkage follows its formula."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrokeras.layers.domain import DomainScore, PriorShrinkage, fit_shrinkage

# Features 0 and 1 are bands, 2 is a color of both, 3 needs no band, 4 has no weight.
NEEDS = np.array([[1, 0, 1, 0, 0], [0, 1, 1, 0, 0]])
WEIGHTS = np.array([1.0, 2.0, 0.5, 1.5, 0.0])


def rows(n, seed, missing=0.3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 5)).astype("f4"), (rng.random((n, 2)) > missing).astype("f4")


def known(observed):
    return np.array([[row[0], row[1], row[0] * row[1], 1, 1] for row in observed])


def brute_force(x, observed, references, reference_observed):
    """Distances by loops, straight from the formula."""
    out = []
    for a, ma in zip(x.astype(float), known(observed), strict=True):
        squares = []
        for r, mr in zip(references.astype(float), known(reference_observed), strict=True):
            w = WEIGHTS * ma * mr
            squares.append(np.sum(w * (a - r) ** 2) / np.sum(w))
        out.append(np.sqrt(min(squares)))
    return np.array(out)


def adapted(train, calibrate, n_references=64):
    layer = DomainScore(n_references)
    layer.adapt(train, calibrate, NEEDS, WEIGHTS)
    return layer


def test_scores_are_distances_by_brute_force_in_units_of_the_quantile():
    train, calibrate, x = rows(50, 1), rows(300, 2), rows(40, 3)
    layer = adapted(train, calibrate)
    unit = np.quantile(brute_force(*calibrate, *train), 0.99)
    np.testing.assert_allclose(layer(list(x)), brute_force(*x, *train) / unit, rtol=1e-5)
    # A reference is at no distance of itself, in spite of rounding.
    np.testing.assert_array_equal(layer(list(train)), 0)


def test_training_rows_that_are_no_references_help_to_set_the_unit():
    train, calibrate, x = rows(80, 1), rows(30, 2), rows(40, 3)
    layer = adapted(train, calibrate, 50)
    order = np.random.default_rng(0).permutation(80)
    kept, spare = ([values[part] for values in train] for part in (order[:50], order[50:]))
    aside = [np.concatenate(pair) for pair in zip(calibrate, spare, strict=True)]
    unit = np.quantile(brute_force(*aside, *kept), 0.99)
    np.testing.assert_allclose(layer(list(x)), brute_force(*x, *kept) / unit, rtol=1e-5)


def test_one_row_in_a_hundred_set_aside_lies_outside():
    layer = adapted(rows(400, 1, missing=0), rows(5000, 2, missing=0), 128)
    assert np.mean(np.asarray(layer(list(rows(5000, 2, missing=0)))) > 1) == pytest.approx(0.01, abs=0.001)
    assert np.mean(np.asarray(layer(list(rows(5000, 3, missing=0)))) > 1) == pytest.approx(0.01, abs=0.006)


def test_rows_far_away_score_by_their_distance():
    layer = adapted(rows(400, 1, missing=0), rows(400, 2, missing=0), 400)
    x, observed = rows(1, 3, missing=0)
    far = np.stack([x[0] + np.array([k, 0, 0, 0, 0]) for k in (0, 1e2, 2e2)]).astype("f4")
    score = np.asarray(layer([far, np.repeat(observed, 3, axis=0)]))
    assert score[0] < 2 < 20 < score[1]
    assert score[2] / score[1] == pytest.approx(2, rel=0.1)


def test_a_missing_band_is_left_out_whatever_stands_in_its_place():
    layer = adapted(rows(100, 1), rows(300, 2))
    x, observed = rows(30, 4)
    filled = np.where(known(observed) > 0, x, 1e3).astype("f4")
    np.testing.assert_allclose(layer([x, observed]), layer([filled, observed]), rtol=1e-5)


def test_an_object_that_shares_nothing_with_the_references_is_far():
    layer = DomainScore(4)
    x = np.ones((5, 2), "f4")
    layer.adapt((x, np.tile([1.0, 0], (5, 1))), (x, np.tile([1.0, 0], (5, 1))), np.eye(2), [1, 1])
    np.testing.assert_array_equal(layer([x[:1], np.array([[0.0, 1]])]), [DomainScore.FAR])


@pytest.mark.parametrize("n_references", [30, 100])
def test_without_rows_set_aside_the_others_serve(n_references):
    train, none = rows(100, 1, missing=0), (np.zeros((0, 5)), np.zeros((0, 2)))
    layer = adapted(train, none, n_references)
    score = np.asarray(layer(list(rows(2000, 2, missing=0))))
    # From 70 or 100 rows the quantile is hardly more than their largest.
    assert 0 < np.mean(score > 1) < 0.1
    assert np.median(score) > 0.1


def test_a_saved_layer_gives_the_same_and_another_draw_does_not(tmp_path):
    train, calibrate, x = rows(300, 1), rows(300, 2), rows(20, 3)
    layer = adapted(train, calibrate)
    inputs = [keras.Input((5,)), keras.Input((2,))]
    keras.Model(inputs, layer(inputs)).save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", compile=False)
    np.testing.assert_array_equal(again(list(x)), layer(list(x)))
    other = DomainScore(64)
    other.adapt(train, calibrate, NEEDS, WEIGHTS, seed=1)
    assert not np.allclose(other(list(x)), layer(list(x)))


def test_what_cannot_serve_is_refused():
    none = np.zeros((0, 5)), np.zeros((0, 2))
    with pytest.raises(ValueError, match="no training row"):
        DomainScore(4).adapt(none, none, NEEDS, WEIGHTS)
    with pytest.raises(ValueError, match="no feature"):
        DomainScore(4).adapt(rows(5, 1), none, NEEDS, 0 * WEIGHTS)
    with pytest.raises(ValueError, match="at least 1"):
        DomainScore(0)


def probabilities(n, classes, seed):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), n).astype("f4")


@settings(deadline=None, max_examples=30)
@given(rate=st.floats(0, 3), score=st.floats(0, 50), seed=st.integers(0, 99))
def test_shrinkage_is_a_mixture_with_the_prior(rate, score, seed):
    p, prior = probabilities(1, 4, seed), probabilities(1, 4, seed + 100)[0]
    layer = PriorShrinkage()
    layer.set(rate, prior)
    share = 1.0 if score <= 1 else score**-rate
    got = np.asarray(layer([p, np.array([score], "f4")]))
    np.testing.assert_allclose(got[0], share * p[0] + (1 - share) * prior, rtol=1e-4, atol=1e-6)
    assert got.sum() == pytest.approx(1, abs=1e-5)


def test_the_rate_is_found_again():
    """Labels drawn from shrunk probabilities have the largest likelihood at the rate they were drawn with."""
    rng = np.random.default_rng(7)
    p, prior, score = probabilities(60_000, 3, 8), np.array([0.6, 0.3, 0.1]), rng.uniform(0.5, 6, 60_000)
    share = np.where(score > 1, score**-0.7, 1)[:, None]
    true = share * p + (1 - share) * prior
    label = (rng.random((len(true), 1)) > np.cumsum(true, axis=1)).sum(axis=1).clip(max=2)
    assert fit_shrinkage(p, score, label, np.tile(prior, (len(p), 1))) == pytest.approx(0.7, rel=0.1)


def test_without_rows_outside_nothing_is_shrunk():
    p = probabilities(50, 3, 1)
    assert fit_shrinkage(p, np.full(50, 0.9), np.zeros(50, int), np.tile([0.3, 0.3, 0.4], (50, 1))) == 0.0
