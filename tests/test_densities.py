"""Numbers drawn from densities on a grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from astrokeras.densities import pdf_mode, pdf_quantiles, pdf_summary

GRID = np.linspace(0.0, 2.0, 401)


def test_summary_of_normal_distributions():
    mu, sigma = np.array([0.6, 1.0, 1.4]), np.array([0.02, 0.1, 0.05])
    summary = pdf_summary(norm.pdf(GRID, mu[:, None], sigma[:, None]).astype("float32"), GRID)
    np.testing.assert_allclose(summary["median"], mu, atol=1e-4)
    np.testing.assert_allclose(summary["mode"], mu, atol=0.0026)
    np.testing.assert_allclose(summary["q16"], norm.ppf(0.16, mu, sigma), atol=2e-4)
    np.testing.assert_allclose(summary["q84"], norm.ppf(0.84, mu, sigma), atol=2e-4)


def test_quantiles_of_a_triangle_are_exact():
    # density 2 - 2x on [0, 1]: cumulative 2x - x^2, so the quantile is 1 - sqrt(1 - level)
    levels = [0.0, 0.1, 0.5, 0.9, 1.0]
    quantiles = pdf_quantiles(np.array([[2.0, 0.0]]), np.array([0.0, 1.0]), levels)
    np.testing.assert_allclose(quantiles[:, 0], 1 - np.sqrt(1 - np.array(levels)), atol=1e-12)


def test_uniform_density_and_two_separate_peaks():
    np.testing.assert_allclose(pdf_quantiles(np.ones((1, 401)), GRID, [0.3])[0], 0.6)
    pdf = np.zeros((1, 401))
    pdf[0, [100, 300]] = [3.0, 1.0]
    assert pdf_quantiles(pdf, GRID, [0.74])[0, 0] == pytest.approx(0.5, abs=0.005)
    assert pdf_quantiles(pdf, GRID, [0.76])[0, 0] == pytest.approx(1.5, abs=0.005)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0.01, 0.99))
def test_the_quantile_holds_its_level(seed, level):
    rng = np.random.default_rng(seed)
    grid = np.linspace(0, 1, 12)
    pdf = rng.gamma(0.3, size=(5, 12))
    quantile = pdf_quantiles(pdf, grid, [level])[0]
    for row, q in zip(pdf, quantile, strict=True):
        nodes = np.sort(np.r_[grid[grid < q], q])
        below = np.trapezoid(np.interp(nodes, grid, row), nodes)
        assert below / np.trapezoid(row, grid) == pytest.approx(level, abs=1e-9)


def test_rows_without_a_density_are_nan_and_leave_the_others_alone():
    pdf = np.ones((3, 401))
    pdf[0], pdf[2, 5] = 0.0, np.nan
    summary = pdf_summary(pdf, GRID)
    for values in summary.values():
        np.testing.assert_array_equal(np.isnan(values), [True, False, True])
    assert summary["median"][1] == pytest.approx(1.0)
    assert pdf_mode(np.array([[0.1, 3.0, 2.0]]), np.array([0.0, 0.5, 1.0]))[0] == 0.5


def test_no_rows():
    summary = pdf_summary(np.empty((0, 401)), GRID)
    assert all(values.shape == (0,) for values in summary.values())
