"""Layers that turn fluxes into features."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrokeras.layers import AsinhMagnitudes, BandDropout, Colors, ErrorJitter, MaskedNormalization
from astrokeras.layers.photometry import masked_quantiles


def as_numpy(tensors):
    return [keras.ops.convert_to_numpy(t) for t in tensors]


def test_masked_quantiles_ignore_hidden_and_infinite_values():
    values = np.array([[1.0, 5.0], [2.0, np.inf], [3.0, 7.0], [900.0, 9.0]])
    mask = np.array([[1, 1], [1, 1], [1, 1], [0, 1]])
    np.testing.assert_allclose(masked_quantiles(values, mask, [0.5]), [[2.0, 7.0]])
    assert np.isnan(masked_quantiles(values, 0 * mask, [0.5])).all()


def test_asinh_magnitudes_follow_lupton_1999():
    flux = np.array([[-3.0, 0.0], [250.0, 8e4]], "float32")
    flux_err = np.array([[2.0, 5.0], [2.0, 5.0]], "float32")
    layer = AsinhMagnitudes()
    layer.adapt(flux_err, np.ones_like(flux))
    magnitudes, log_errors = as_numpy(layer([flux, flux_err, np.ones_like(flux)]))
    b = np.array([2.0, 5.0])
    np.testing.assert_allclose(magnitudes, -2.5 / np.log(10) * np.arcsinh(flux / (2 * b)), rtol=1e-5)
    expected = np.log(2.5 / np.log(10) * flux_err / np.sqrt(flux.astype(float) ** 2 + 4 * b**2))
    np.testing.assert_allclose(log_errors, expected, rtol=1e-5)


def test_asinh_magnitudes_of_bright_fluxes_differ_like_pogson():
    flux = np.array([[1e4, 1e4], [1e6, 3e5]], "float32")
    layer = AsinhMagnitudes()
    layer.adapt(np.ones_like(flux), np.ones_like(flux))
    magnitudes, _ = as_numpy(layer([flux, np.ones_like(flux), np.ones_like(flux)]))
    np.testing.assert_allclose(magnitudes[1] - magnitudes[0], -2.5 * np.log10(flux[1] / flux[0]), atol=1e-4)


def test_floor_of_the_scale():
    values = np.array([[1.0, 0.0], [1.01, 10.0], [0.99, 20.0]], "float32")
    layer = MaskedNormalization(floor=0.5)
    layer.adapt(values, np.ones_like(values))
    normalised = keras.ops.convert_to_numpy(layer([values, np.ones_like(values)]))
    np.testing.assert_allclose(normalised[:, 0], [0, 0.02, -0.02], atol=1e-5)
    np.testing.assert_allclose(normalised[:, 1], [-10 / 6.8, 0, 10 / 6.8], rtol=1e-5)
    with pytest.raises(ValueError, match="floor must be at least 0"):
        MaskedNormalization(floor=-1)


def test_missing_band_cannot_leak_its_flux():
    layer = AsinhMagnitudes()
    layer.adapt(np.full((3, 2), 2.0), np.ones((3, 2)))
    observed = np.array([[1.0, 0.0]], "float32")
    results = [
        np.concatenate(as_numpy(layer([np.array([[9.0, f]], "float32"), np.array([[1.0, e]], "float32"), observed])))
        for f, e in ((0.0, 0.0), (1e30, -5.0), (np.nan, np.nan))
    ]
    assert np.isfinite(results[0]).all()
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_softening_is_the_median_error_of_observed_rows():
    flux_err = np.array([[1.0, 0.0], [3.0, 4.0], [8.0, 6.0], [99.0, 0.0]])
    observed = np.array([[1, 1], [1, 1], [1, 1], [0, 1]])
    layer = AsinhMagnitudes()
    layer.adapt(flux_err, observed)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.softening), [3.0, 5.0])


def test_band_without_errors_is_named():
    with pytest.raises(ValueError, match=r"band number \[1\]"):
        AsinhMagnitudes().adapt(np.array([[1.0, 0.0]]), np.ones((1, 2)))


def test_colors_are_differences_masked_on_either_side():
    magnitudes = np.array([[5.0, 3.0, 4.0]], "float32")
    colors, both = as_numpy(Colors()([magnitudes, np.array([[1.0, 1.0, 0.0]], "float32")]))
    np.testing.assert_allclose(colors, [[2.0, -1.0]])
    np.testing.assert_allclose(both, [[1.0, 0.0]])


def test_normalization_makes_unit_scales_despite_monsters():
    values = np.random.default_rng(1).normal([20.0, -3.0], [2.0, 0.1], (4000, 2))
    values[:40] = 14750.0
    layer = MaskedNormalization(limit=6.0)
    layer.adapt(values, np.ones_like(values))
    result = keras.ops.convert_to_numpy(layer([values.astype("float32"), np.ones_like(values, "float32")]))
    np.testing.assert_allclose(np.median(result, axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(result[40:].std(axis=0), 1, atol=0.06)
    assert (result[:40] == 6).all()


def test_normalization_zeroes_hidden_values_and_keeps_constant_features():
    layer = MaskedNormalization()
    layer.adapt(np.array([[2.0, 1.0], [2.0, np.nan]]), np.array([[1, 0], [1, 0]]))
    result = keras.ops.convert_to_numpy(layer([np.array([[3.0, 7.0]], "float32"), np.array([[1.0, 0.0]], "float32")]))
    np.testing.assert_allclose(result, [[1.0, 0.0]])


def test_band_dropout_acts_in_training_only_at_its_rate():
    observed = np.ones((20000, 5), "float32")
    layer = BandDropout(0.2, seed=3)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(observed)), observed)
    hidden = keras.ops.convert_to_numpy(layer(observed, training=True))
    assert set(np.unique(hidden)) == {0.0, 1.0}
    np.testing.assert_allclose(hidden.mean(axis=0), 0.8, atol=0.015)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0, 0.99))
def test_band_dropout_only_hides_and_never_all(seed, rate):
    observed = np.random.default_rng(seed).integers(0, 2, (64, 3)).astype("float32")
    hidden = keras.ops.convert_to_numpy(BandDropout(rate, seed=seed)(observed, training=True))
    assert (hidden <= observed).all()
    np.testing.assert_array_equal(hidden.max(axis=1), observed.max(axis=1))


def test_error_jitter_acts_in_training_only_and_keeps_the_median():
    flux_err = np.full((20000, 3), 7.0, "float32")
    layer = ErrorJitter(0.3, seed=5)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(flux_err)), flux_err)
    factors = np.log(keras.ops.convert_to_numpy(layer(flux_err, training=True)) / 7.0)
    np.testing.assert_allclose(factors.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(factors.std(axis=0), 0.3, atol=0.01)
    with pytest.raises(ValueError, match="at least 0"):
        ErrorJitter(-0.1)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_band_dropout_refuses_other_rates(rate):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        BandDropout(rate)


def test_normalization_refuses_a_limit_of_zero():
    with pytest.raises(ValueError, match="above 0"):
        MaskedNormalization(limit=0)


@pytest.mark.parametrize(
    "layer",
    [BandDropout(0.3, seed=2), ErrorJitter(0.1, seed=1), MaskedNormalization(limit=4.0), Colors(), AsinhMagnitudes()],
)
def test_config_round_trip(layer):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
