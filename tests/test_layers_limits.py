"""Layers for upper limits."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from astrokeras.layers import BandDropout, LimitDepths, LimitSimulation


def as_numpy(tensors):
    return [keras.ops.convert_to_numpy(t) for t in tensors]


def simulated(flux, flux_err, observed, limited, **parameters):
    defaults = {"rate": 0.5, "nsigma": 5.0, "log_low": [0.0] * flux.shape[1], "log_high": [5.0] * flux.shape[1]}
    layer = LimitSimulation(**{**defaults, "seed": 1, **parameters})
    return as_numpy(layer([x.astype("float32") for x in (flux, flux_err, observed, limited)], training=True))


def test_depths_are_linear_in_their_logarithm_and_end_at_the_range():
    rng = np.random.default_rng(0)
    flux, flux_err = rng.lognormal(3, 1, (500, 2)), rng.uniform(1, 2, (500, 2))
    observed, limited = np.ones((500, 2)), np.zeros((500, 2))
    observed[:50, 1], limited[:50, 1], flux_err[:50, 1] = 0, 1, 1e4
    layer = LimitDepths(nsigma=4.0)
    layer.adapt(flux, flux_err, observed, limited)
    low = np.quantile(flux_err, 0.01, axis=0)
    high = np.array([np.quantile(flux[:, 0], 0.999) / 4, 1e4])
    middle = np.sqrt(low * high)
    asked = np.stack([low, middle, high, low / 9, high * 9, middle * (high / low) ** 0.25])
    found = keras.ops.convert_to_numpy(layer([asked.astype("float32"), np.ones_like(asked, "float32")]))
    np.testing.assert_allclose(found, np.repeat([[-1], [0], [1], [-1], [1], [0.5]], 2, axis=1), atol=1e-4)


def test_what_is_no_limit_has_no_depth():
    layer = LimitDepths()
    layer.adapt(np.ones((9, 2)), np.ones((9, 2)), np.ones((9, 2)), np.zeros((9, 2)))
    depth = np.array([[np.nan, 1.0], [-3.0, 1e30]], "float32")
    found = keras.ops.convert_to_numpy(layer([depth, np.array([[0, 1], [0, 0]], "float32")]))
    np.testing.assert_allclose(found, [[0, -1], [0, 0]], atol=1e-5)


@pytest.mark.parametrize(("flux", "error"), [(0.0, 0.1), (15.0, 0.1), (40.0, 0.1), (60.0, 8.0), (200.0, 0.1)])
def test_the_chance_of_a_limit_is_that_of_a_non_detection(flux, error):
    """At a depth of 10 and a threshold of 5, a flux is hidden where it and the noise that is added stay below 50."""
    n = 20000
    column = np.ones((n, 1))
    arrays = [np.hstack([x * column, column * 9]) for x in (flux, error, 1.0)]
    depth = [np.log(10.0)] * 2
    found = simulated(*arrays, np.zeros((n, 2)), rate=0.5, log_low=depth, log_high=depth)
    expected = 0.5 * norm.cdf((50 - flux) / np.sqrt(10.0**2 - error**2))
    # Where the other band was hidden as well, both are kept; its own error is 9, and its flux 9 is always below 50.
    expected *= 0.5
    assert found[2][:, 0].mean() == pytest.approx(expected, abs=0.011)
    np.testing.assert_allclose(found[0][found[2][:, 0] > 0, 0], 10, rtol=1e-5)
    np.testing.assert_allclose(found[0][found[2][:, 0] == 0, 0], error, rtol=1e-6)


def test_depths_do_not_follow_the_flux():
    """Of faint objects, which every depth hides, the depths fill their whole range whatever the flux."""
    flux = np.repeat(np.array([[0.01, 1e9], [1.0, 1e9]]), 20000, axis=0)
    error = np.full_like(flux, 1e-3)
    depths, _, limited = simulated(
        flux, error, np.ones_like(flux), np.zeros_like(flux), log_low=[2, 2], log_high=[4, 4]
    )
    for half in (slice(0, 20000), slice(20000, None)):
        logs = np.log(depths[half, 0][limited[half, 0] > 0])
        np.testing.assert_allclose(
            np.quantile(logs, [0.01, 0.25, 0.5, 0.75, 0.99]), [2.02, 2.5, 3, 3.5, 3.98], atol=0.04
        )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0, 0.99))
def test_limits_are_shallower_than_what_they_hide_and_leave_a_detection(seed, rate):
    rng = np.random.default_rng(seed)
    state = rng.integers(0, 3, (64, 3))
    observed, limited = (state == 1).astype(float), (state == 2).astype(float)
    flux, flux_err = rng.normal(20, 40, (64, 3)) * observed, rng.lognormal(2, 1, (64, 3)) * (state > 0)
    err, seen, lim = simulated(flux, flux_err, observed, limited, rate=rate, seed=seed % 1000)
    assert (seen <= observed).all() and (lim >= limited).all()
    np.testing.assert_array_equal(seen + lim, observed + limited)
    np.testing.assert_array_equal(seen.max(axis=1), observed.max(axis=1))
    changed = err != flux_err.astype("float32")
    assert (err[changed] > flux_err[changed]).all() and (lim[changed] == 1).all()


def test_limits_of_the_data_become_shallower_at_times():
    n = 4000
    flux, flux_err = np.tile([0.0, 1e9], (n, 1)), np.tile([2.0, 1.0], (n, 1))
    observed, limited = np.tile([0.0, 1.0], (n, 1)), np.tile([1.0, 0.0], (n, 1))
    err, _, lim = simulated(flux, flux_err, observed, limited, rate=0.4)
    assert (lim[:, 0] == 1).all()
    assert np.mean(err[:, 0] > 2) == pytest.approx(0.4 * (5 - np.log(2)) / 5, abs=0.03)
    assert err[:, 0].min() == 2


def test_simulation_acts_in_training_only():
    arrays = [np.ones((50, 2), "float32") * x for x in (3, 1, 1, 0)]
    layer = LimitSimulation(0.9, 5.0, [0.0, 0.0], [5.0, 5.0])
    for found, given_ in zip(as_numpy(layer(arrays)), arrays[1:], strict=True):
        np.testing.assert_array_equal(found, given_)
    assert as_numpy(layer(arrays, training=True))[2].any()
    again = LimitSimulation.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LimitSimulation(1.0, 5.0, [0.0], [1.0]), "rate must be at least 0 and below 1"),
        (lambda: LimitSimulation(0.1, 0.0, [0.0], [1.0]), "nsigma must be above 0"),
        (lambda: LimitDepths(-1.0), "nsigma must be above 0"),
        (lambda: LimitDepths().adapt(*np.zeros((4, 3, 2))), "band number 0"),
    ],
)
def test_wrong_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_band_dropout_hides_limits_like_detections():
    observed = np.tile([1.0, 0.0, 1.0], (20000, 1)).astype("float32")
    limited = np.tile([0.0, 1.0, 0.0], (20000, 1)).astype("float32")
    seen, lim = as_numpy(BandDropout(0.2, seed=3)([observed, limited], training=True))
    assert (seen <= observed).all() and (lim <= limited).all()
    np.testing.assert_array_equal(seen.max(axis=1), 1)
    # A row whose two detections would both go, 4 %, keeps everything.
    np.testing.assert_allclose([seen[:, 0].mean(), lim[:, 1].mean()], [0.84, 0.808], atol=0.01)
