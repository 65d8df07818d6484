"""Metrics against formulas, scoringrules and qp, and the properties that define them."""

import numpy as np
import pytest
import scoringrules
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from astrokeras import metrics

GRID = np.linspace(0, 3, 1201)


@pytest.fixture(scope="module")
def normals():
    """PDFs N(mu, sigma) well inside the grid, and redshifts that follow them."""
    rng = np.random.default_rng(1)
    mu, sigma = rng.uniform(0.6, 2.4, 500), rng.uniform(0.02, 0.1, 500)
    return mu, sigma, stats.norm.pdf(GRID, mu[:, None], sigma[:, None]), rng.normal(mu, sigma)


def test_point_metrics_of_a_known_sample():
    # dz is chosen: -0.3, -0.01, 0, 0.02, 0.16.
    z_spec = np.array([0.5, 1.0, 0.2, 2.0, 3.0])
    z_phot = z_spec + (1 + z_spec) * np.array([-0.3, -0.01, 0.0, 0.02, 0.16])
    assert metrics.bias(z_phot, z_spec) == pytest.approx(0.0)
    # |dz - 0| = .3, .01, 0, .02, .16: the median is .02.
    assert metrics.sigma_nmad(z_phot, z_spec) == pytest.approx(1.4826 * 0.02)
    assert metrics.outlier_fraction(z_phot, z_spec) == pytest.approx(2 / 5)
    assert metrics.outlier_fraction(z_phot, z_spec, threshold=0.2) == pytest.approx(1 / 5)


def test_sigma_nmad_is_the_sigma_of_a_normal_distribution():
    rng = np.random.default_rng(0)
    z_spec = rng.uniform(0, 2, 200_000)
    z_phot = z_spec + (1 + z_spec) * rng.normal(0.01, 0.03, len(z_spec))
    assert metrics.sigma_nmad(z_phot, z_spec) == pytest.approx(0.03, rel=0.01)
    assert metrics.bias(z_phot, z_spec) == pytest.approx(0.01, rel=0.03)
    expected = stats.norm.sf(0.15, 0.01, 0.03) + stats.norm.cdf(-0.15, 0.01, 0.03)
    assert metrics.outlier_fraction(z_phot, z_spec) == pytest.approx(expected, abs=1e-4)


def test_pit_of_normals(normals):
    mu, sigma, pdf, z = normals
    np.testing.assert_allclose(metrics.pit(pdf, GRID, z), stats.norm.cdf(z, mu, sigma), atol=4e-4)


def test_crps_of_normals_agrees_with_scoringrules(normals):
    mu, sigma, pdf, z = normals
    found, expected = metrics.crps(pdf, GRID, z), scoringrules.crps_normal(z, mu, sigma)
    np.testing.assert_allclose(found, expected, atol=1.5e-5)
    assert found.mean() == pytest.approx(expected.mean(), rel=1e-4)


def test_crps_of_a_uniform_pdf_agrees_with_scoringrules():
    grid = np.linspace(0, 1, 11)
    z = np.array([0.0, 0.23, 0.5, 0.999, 1.0])
    found = metrics.crps(np.ones((5, 11)), grid, z)
    np.testing.assert_allclose(found, scoringrules.crps_uniform(z, 0.0, 1.0), atol=1e-12)


def test_crps_is_the_integral_of_its_definition():
    rng = np.random.default_rng(5)
    grid, fine = np.linspace(0, 1, 9), np.linspace(0, 1, 400_001)
    for z in (0.0, 0.31, 0.5, 0.97, 1.0):
        pdf = rng.random(9)
        density = np.interp(fine, grid, pdf)
        cdf = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
        expected = np.mean((cdf / cdf[-1] - (fine >= z)) ** 2)
        assert metrics.crps(pdf[None], grid, [z])[0] == pytest.approx(expected, abs=1e-5)


def test_cde_loss_of_normals(normals):
    mu, sigma, pdf, z = normals
    expected = 1 / (2 * np.sqrt(np.pi) * sigma) - 2 * stats.norm.pdf(z, mu, sigma)
    np.testing.assert_allclose(metrics.cde_loss(pdf, GRID, z), expected, rtol=2e-3, atol=0.04)


def test_log_likelihood_of_normals_and_its_floor(normals):
    mu, sigma, pdf, z = normals
    np.testing.assert_allclose(metrics.log_likelihood(pdf, GRID, z), stats.norm.logpdf(z, mu, sigma), atol=8e-3)
    assert metrics.log_likelihood(pdf[:1], GRID, [0.0])[0] == pytest.approx(np.log(1e-6))


def test_odds_of_normals(normals):
    mu, sigma, pdf, _ = normals
    expected = 2 * stats.norm.cdf(0.03 * (1 + mu) / sigma) - 1
    np.testing.assert_allclose(metrics.odds(pdf, GRID, mu), expected, atol=5e-4)


def test_agrees_with_qp(normals):
    qp = pytest.importorskip("qp")
    from qp.metrics import CDELossMetric
    from qp.metrics.pit import PIT

    _, _, pdf, z = normals
    # On grid points the nearest-point rule of qp and linear interpolation are the same.
    on_grid = GRID[np.rint(z / 0.0025).astype(int)]
    ensemble = qp.Ensemble(qp.interp, data={"xvals": GRID, "yvals": pdf})
    expected = CDELossMetric(GRID).evaluate(ensemble, on_grid)
    assert metrics.cde_loss(pdf, GRID, on_grid).mean() == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(metrics.pit(pdf, GRID, on_grid), PIT(ensemble, on_grid).pit_samps, atol=1e-4)


def test_pit_ks_agrees_with_scipy():
    pits = np.random.default_rng(0).beta(2, 3, 400)
    assert metrics.pit_ks(pits) == pytest.approx(stats.kstest(pits, "uniform").statistic)
    assert metrics.pit_ks(np.array([0.0])) == 1.0
    stacked = np.stack([pits, pits**2])
    np.testing.assert_allclose(metrics.pit_ks(stacked), [metrics.pit_ks(p) for p in stacked])
    np.testing.assert_allclose(metrics.pit_ks(stacked.T, axis=0), metrics.pit_ks(stacked))


def test_redshifts_beyond_the_grid_count_as_its_ends(normals):
    _, _, pdf, _ = normals
    for z, end in ((-0.1, 0.0), (7.0, 3.0)):
        np.testing.assert_allclose(metrics.pit(pdf[:3], GRID, [z] * 3), end / 3, atol=1e-12)
        far, near = metrics.crps(pdf[:3], GRID, [z] * 3), metrics.crps(pdf[:3], GRID, [end] * 3)
        np.testing.assert_allclose(far, near)


def test_what_is_no_pdf_gives_nan_and_leaves_its_neighbours_alone():
    good = np.exp(-0.5 * ((GRID - 1) / 0.1) ** 2)
    bad = np.zeros((5, len(GRID)))
    bad[1], bad[2, 3], bad[3], bad[4, :3] = np.nan, -1.0, good, [np.inf, -np.inf, np.inf]
    bad[3, 100] = -1e-3
    pdf = np.concatenate([[good], bad, [good]])
    scores = metrics.pdf_scores(pdf, GRID, np.full(7, 1.02), np.full(7, 1.0))
    for name, values in scores.items():
        assert np.isnan(values[1:6]).all(), name
        assert np.isfinite(values[0]) and values[0] == values[-1], name


def test_missing_redshift_gives_nan(normals):
    _, _, pdf, z = normals
    z = z.copy()
    z[3] = np.nan
    scores = metrics.pdf_scores(pdf, GRID, z, z)
    assert all(np.isnan(v[3]) and np.isfinite(np.delete(v, 3)).all() for v in scores.values())


def test_all_scores_are_the_single_ones_whatever_the_batch(normals, monkeypatch):
    _, _, pdf, z = normals
    monkeypatch.setattr(metrics, "_CELLS", 7 * len(GRID))
    scores = metrics.pdf_scores(pdf, GRID, z, z)
    monkeypatch.undo()
    for name in ("pit", "crps", "cde_loss", "log_likelihood", "odds"):
        np.testing.assert_array_equal(scores[name], getattr(metrics, name)(pdf, GRID, z), name)


@settings(deadline=None, max_examples=50)
@given(
    pdf=hnp.arrays("f8", (2, 12), elements=st.floats(0.01, 100)),
    z=st.floats(0, 1),
    scale=st.floats(1e-3, 1e3),
)
def test_normalisation_and_ranges(pdf, z, scale):
    grid = np.linspace(0, 1, 12)
    pair = np.array([z, z])
    first, second = (metrics.pdf_scores(p, grid, pair, pair) for p in (pdf, pdf * scale))
    for name, values in first.items():
        np.testing.assert_allclose(values, second[name], rtol=1e-6, atol=1e-9)
    assert np.all((first["pit"] >= 0) & (first["pit"] <= 1))
    assert np.all((first["odds"] >= 0) & (first["odds"] <= 1))
    assert np.all((first["crps"] > 0) & (first["crps"] <= 1))


def test_crps_prefers_the_truth():
    """A proper score: on average, the true PDF beats a shifted, a wider and a narrower one."""
    rng = np.random.default_rng(3)
    z = rng.normal(1.5, 0.1, 4000)
    shapes = {"true": (1.5, 0.1), "shifted": (1.55, 0.1), "wide": (1.5, 0.2), "narrow": (1.5, 0.05)}
    for measure in (metrics.crps, metrics.cde_loss, lambda *a: -metrics.log_likelihood(*a)):
        scores = {k: measure(np.tile(stats.norm.pdf(GRID, *v), (4000, 1)), GRID, z).mean() for k, v in shapes.items()}
        assert min(scores, key=scores.get) == "true"


@pytest.mark.parametrize(
    "grid", [[0.0, 1.0, 3.0], [2.0, 1.0, 0.0], [1.0], [[0.0, 1.0]], [0.0, np.nan, 2.0], [0.0, 0.0, 0.0]]
)
def test_grid_must_be_uniform(grid):
    with pytest.raises(ValueError, match="uniform"):
        metrics.pit(np.ones((1, 3)), grid, [0.5])


def test_shape_must_fit_the_grid():
    with pytest.raises(ValueError, match=r"pdf has shape \(1, 4\), the grid 3 points"):
        metrics.crps(np.ones((1, 4)), [0, 1, 2], [0.5])


def test_bootstrap_error_of_a_mean_is_sigma_over_root_n():
    values = np.random.default_rng(0).normal(5, 2, 400)
    errors = metrics.bootstrap_errors(values, {"mean": np.mean, "median": np.median}, n=2000, seed=1)
    assert errors["mean"] == pytest.approx(values.std() / 20, rel=0.06)
    assert errors["median"] == pytest.approx(1.2533 * values.std() / 20, rel=0.25)


def test_bootstrap_is_reproducible_and_independent_of_batches(monkeypatch):
    values = np.random.default_rng(0).normal(size=100)
    first = metrics.bootstrap_errors(values, {"x": np.mean}, n=50, seed=4)
    assert first == metrics.bootstrap_errors(values, {"x": np.mean}, n=50, seed=4)
    assert first != metrics.bootstrap_errors(values, {"x": np.mean}, n=50, seed=5)
    monkeypatch.setattr(metrics, "_CELLS", 700)
    assert first["x"] == pytest.approx(metrics.bootstrap_errors(values, {"x": np.mean}, n=50, seed=4)["x"])


def test_bootstrap_of_one_object_has_no_error():
    assert np.isnan(metrics.bootstrap_errors([1.0], {"x": np.mean})["x"])


def test_trivial_baseline():
    z = np.array([0.1, 0.5, 0.6, 0.7, 4.0])
    found = metrics.trivial_baseline(z)
    assert found["z_phot"] == 0.6
    assert found["crps"] == pytest.approx(np.abs(z - 0.6).mean())
    assert found["sigma_nmad"] == pytest.approx(metrics.sigma_nmad(np.full(5, 0.6), z))
    assert found["outlier_fraction"] == pytest.approx(2 / 5)
