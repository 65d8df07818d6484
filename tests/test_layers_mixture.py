"""Densities on a redshift grid, and their loss."""

import keras
import numpy as np
import pytest
from scipy.interpolate import BSpline
from scipy.stats import norm

from astrokeras.layers import Density, DensityLoss, LogDensity, MixtureLogits, SplineLogits, Temperature
from astrokeras.layers.mixture import spline_basis

GRID = np.linspace(0.0, 2.0, 201)
LOGITS = np.random.default_rng(5).normal(0, 3, (8, 201)).astype("float32")


def run(layer, *inputs):
    return keras.ops.convert_to_numpy(layer(*inputs))


def test_density_integrates_to_one_and_keeps_ratios():
    density = run(Density(0.0, 2.0), LOGITS)
    np.testing.assert_allclose(np.trapezoid(density, GRID, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.log(density[:, 7] / density[:, 3]), LOGITS[:, 7] - LOGITS[:, 3], atol=1e-4)
    np.testing.assert_allclose(run(LogDensity(0.0, 2.0), LOGITS), np.log(density), atol=2e-4)


def test_density_survives_huge_logits():
    density = run(Density(0.0, 2.0), LOGITS * 1e4)
    np.testing.assert_allclose(np.trapezoid(density, GRID, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("n_coefficients", [4, 5, 32])
def test_spline_basis_equals_scipy(n_coefficients):
    knots = np.r_[[0] * 3, np.linspace(0, 1, n_coefficients - 2), [1] * 3]
    x = np.linspace(0, 1, 101)
    expected = BSpline.design_matrix(x, knots, 3).toarray().T
    np.testing.assert_allclose(spline_basis(x, n_coefficients), expected, atol=1e-12)


@pytest.mark.parametrize("width", [0.02, 0.5])
def test_splines_hold_a_normal_distribution_of_any_width(width):
    parabola = -0.5 * ((GRID - 0.8) / width) ** 2
    basis = spline_basis(np.linspace(0, 1, 201), 12)
    coefficients = np.linalg.lstsq(basis.T, parabola, rcond=None)[0]
    logits = run(SplineLogits(201), coefficients[None].astype("float32"))
    density = run(Density(0.0, 2.0), logits)[0]
    expected = norm.pdf(GRID, 0.8, width)
    np.testing.assert_allclose(density, expected / np.trapezoid(expected, GRID), rtol=5e-3, atol=1e-5)


def test_mixture_is_the_sum_of_its_normals():
    layer = MixtureLogits(0.0, 2.0, n_grid=201)
    raw = np.array([[0.3, -0.2, 0.4, -0.9, 0.1, -1.0]], "float32")
    density = run(Density(0.0, 2.0), layer(raw))[0]
    weights = np.exp([0.3, -0.2]) / np.exp([0.3, -0.2]).sum()
    means = np.array([0.5, 1.5]) + 0.5 * 4 * np.tanh(np.array([0.4, -0.9]) / 4)
    widths = 0.005 + 0.1 * np.exp(4 * np.tanh(np.array([0.1, -1.0]) / 4))
    expected = sum(w * norm.pdf(GRID, m, s) for w, m, s in zip(weights, means, widths, strict=True))
    np.testing.assert_allclose(density, expected / np.trapezoid(expected, GRID), rtol=1e-3, atol=1e-6)


def test_temperature_of_a_normal_scales_its_variance():
    layer = Temperature(0.0, 2.0)
    density = norm.pdf(GRID, 1.0, 0.1)[None].astype("float32")
    np.testing.assert_allclose(run(layer, density), density, rtol=1e-4, atol=1e-6)
    layer.set_temperature(0.64)
    np.testing.assert_allclose(run(layer, density)[0], norm.pdf(GRID, 1.0, 0.08), rtol=1e-3, atol=1e-6)
    assert not layer.trainable_variables


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_temperature_must_be_positive(temperature):
    layer = Temperature(0.0, 2.0)
    layer.build((None, 201))
    with pytest.raises(ValueError, match="above 0"):
        layer.set_temperature(temperature)


def test_loss_is_the_likelihood_of_the_interpolated_density():
    log_density = run(LogDensity(0.0, 2.0), LOGITS)
    z = np.array([0.0, 2.0, 0.5, 0.503, 1.9999, 1.23456, 0.37, 1.0], "float32")
    expected = [-np.log(np.interp(v, GRID, np.exp(row))) for v, row in zip(z, log_density, strict=True)]
    loss = DensityLoss(0.0, 2.0, reduction=None)
    np.testing.assert_allclose(run(loss, z, log_density), expected, rtol=2e-3)
    np.testing.assert_allclose(run(loss, z[:, None], log_density), expected, rtol=2e-3)


def test_loss_takes_redshifts_outside_as_the_nearer_end_and_stays_finite():
    log_density = run(LogDensity(0.0, 2.0), LOGITS[:2] * 1e3)
    loss = DensityLoss(0.0, 2.0, reduction=None)
    outside = run(loss, np.array([-1.0, 5.0], "float32"), log_density)
    assert np.isfinite(outside).all()
    np.testing.assert_allclose(outside, [-log_density[0, 0], -log_density[1, -1]], rtol=1e-6)


def test_crps_of_the_loss_agrees_with_a_fine_integral():
    log_density = np.log(norm.pdf(GRID, 0.9, 0.2) / np.trapezoid(norm.pdf(GRID, 0.9, 0.2), GRID))[None].astype(
        "float32"
    )
    z = np.array([1.137], "float32")
    both = [run(DensityLoss(0.0, 2.0, crps_weight=w, reduction=None), z, log_density)[0] for w in (0.0, 3.0)]
    fine = np.linspace(0, 2, 20001)
    crps = np.trapezoid((norm.cdf(fine, 0.9, 0.2) - (fine >= 1.137)) ** 2, fine)
    assert (both[1] - both[0]) / 3 == pytest.approx(crps / 2, rel=5e-3)


def test_crps_is_smallest_for_a_sharp_density_at_the_truth():
    loss = DensityLoss(0.0, 2.0, crps_weight=1000.0, reduction=None)
    values = [
        run(
            loss,
            np.array([1.0], "float32"),
            run(LogDensity(0.0, 2.0), (-0.5 * ((GRID - m) / s) ** 2)[None].astype("float32")),
        )
        for m, s in ((1.0, 0.05), (1.0, 0.5), (1.3, 0.05))
    ]
    assert values[0] < values[1] and values[0] < values[2]


@pytest.mark.parametrize(
    "layer",
    [
        Density(0.0, 2.0),
        LogDensity(0.1, 2.0),
        SplineLogits(77),
        MixtureLogits(0.0, 1.5, n_grid=31),
        Temperature(0.0, 3.0),
        DensityLoss(0.0, 1.0, crps_weight=2.0),
    ],
)
def test_config_round_trip(layer):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()


@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, 0.0), (0.0, np.inf), (np.nan, 1.0)])
def test_grid_must_rise(ends):
    with pytest.raises(ValueError, match="z_min must be below z_max"):
        LogDensity(*ends)
    with pytest.raises(ValueError, match="z_min must be below z_max"):
        DensityLoss(*ends)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="at least 2"):
        SplineLogits(1)
    with pytest.raises(ValueError, match="at least 2"):
        MixtureLogits(0.0, 1.0, n_grid=1)
    with pytest.raises(ValueError, match="at least 4"):
        SplineLogits(50)(np.zeros((1, 3), "float32"))


def test_a_mixture_of_extreme_outputs_is_finite():
    layer = MixtureLogits(0.0, 2.0, 201)
    raw = np.array([[0.0, 0.0, 1e6, -1e6, -1e6, 1e6], [1e5, -1e5, 1e6, 1e6, -1e6, -1e6]], "float32")
    density = run(Density(0.0, 2.0), layer(raw))
    assert np.isfinite(density).all()
    np.testing.assert_allclose(np.trapezoid(density, GRID), 1, rtol=1e-5)
