"""Photometric redshift networks: features, members, ensembles, calibration."""

import keras
import numpy as np
import pytest
from scipy.stats import norm

from astrokeras.densities import pdf_summary
from astrokeras.layers import DensityLoss
from astrokeras.networks.dense import ensemble, fit_temperature, photoz_network
from astrokeras.networks.encoder import photometry_encoder

GRID = np.linspace(0.0, 1.0, 60)


def toy_survey(rows, seed):
    """Fluxes of 4 bands whose colors move with redshift; a tenth of the first band is missing."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.05, 0.95, rows)
    magnitudes = 19 + rng.normal(0, 0.5, rows)[:, None] + np.stack([2 * z, z**2, 0 * z, -z], 1)
    flux = 10 ** (-0.4 * (magnitudes - 31.4))
    flux_err = np.full_like(flux, 3000.0)
    flux += rng.normal(0, flux_err)
    observed = np.ones_like(flux)
    observed[: rows // 10, 0] = 0
    photometry = {"flux": flux * observed, "flux_err": flux_err * observed, "observed": observed}
    return {name: x.astype("float32") for name, x in photometry.items()}, z.astype("float32")


def member(encoder, network="spline", seed=0, **parameters):
    keras.utils.set_random_seed(seed)
    defaults = {"width": 32, "depth": 2, "coefficients": 12}
    return photoz_network(encoder, z_min=0.0, z_max=1.0, n_grid=60, network=network, **{**defaults, **parameters})


def pdf_of(model, photometry):
    return keras.ops.convert_to_numpy(model(photometry)["z_pdf"])


@pytest.fixture(scope="module")
def survey():
    return toy_survey(2000, 1)


@pytest.fixture(scope="module")
def encoder(survey):
    return photometry_encoder(**survey[0])


@pytest.fixture(scope="module")
def trained(survey, encoder):
    model = member(encoder, band_dropout=0.1)
    model.compile(keras.optimizers.AdamW(5e-3), loss=DensityLoss(0.0, 1.0), jit_compile=False)
    model.fit(*survey, batch_size=200, epochs=12, verbose=0)
    return model


def test_features_are_normalised_and_have_no_trainable_weight(survey, encoder):
    features = keras.ops.convert_to_numpy(encoder(survey[0]))
    assert features.shape == (2000, 4 + 3 + 4 + 4)
    assert np.abs(np.median(features[:, 1:4], axis=0)).max() < 1e-3
    np.testing.assert_array_equal(features[:, 11], np.repeat([1.0, 0.0], [200, 1800]))
    assert (features[:200, [0, 4, 7]] == 0).all()
    assert not encoder.trainable_variables


def test_extra_inputs_reach_the_features(survey):
    photometry, _ = survey
    extra = np.linspace(0, 10, 2000, dtype="float32")[:, None]
    encoder = photometry_encoder(**photometry, extra=extra)
    features = keras.ops.convert_to_numpy(encoder({**photometry, "extra": extra}))
    np.testing.assert_allclose(features[:, -1], (extra[:, 0] - 5) / 3.4, atol=2e-3)
    model = ensemble([member(encoder)])
    assert pdf_of(model, {**photometry, "extra": extra}).shape == (2000, 60)


@pytest.mark.parametrize("network", ["spline", "binned", "mixture"])
def test_every_network_gives_normalised_densities(survey, encoder, network):
    model = member(encoder, network, dropout=0.1, batch_norm=True, l1=1e-6, l2=1e-6)
    pdf = pdf_of(ensemble([model]), survey[0])
    np.testing.assert_allclose(np.trapezoid(pdf, GRID, axis=1), 1, rtol=1e-4)
    assert (pdf >= 0).all() and pdf.std() > 0
    np.testing.assert_allclose(pdf, np.exp(keras.ops.convert_to_numpy(model(survey[0]))), rtol=1e-3, atol=1e-6)


def test_training_finds_redshifts_and_a_missing_band_widens_the_pdf(trained):
    photometry, z = toy_survey(1000, 2)
    photometry = {name: x[100:] for name, x in photometry.items()}
    model = ensemble([trained])
    whole = pdf_summary(pdf_of(model, photometry), GRID)
    assert np.median(np.abs(whole["median"] - z[100:])) < 0.05
    hidden = {name: x.copy() for name, x in photometry.items()}
    for values in hidden.values():
        values[:, 0] = 0
    masked = pdf_summary(pdf_of(model, hidden), GRID)
    assert np.median(masked["q84"] - masked["q16"]) > 1.1 * np.median(whole["q84"] - whole["q16"])
    assert np.median(np.abs(masked["median"] - z[100:])) < 0.1


def test_unobserved_values_do_not_matter(trained, survey):
    photometry = {name: x[:50].copy() for name, x in survey[0].items()}
    expected = pdf_of(ensemble([trained]), photometry)
    photometry["flux"][:, 0], photometry["flux_err"][:, 0] = np.nan, -1.0
    np.testing.assert_array_equal(pdf_of(ensemble([trained]), photometry), expected)


def test_ensemble_is_the_mean_of_its_members(survey, encoder):
    members = [member(encoder, network, seed) for seed, network in enumerate(("spline", "binned", "mixture"))]
    alone = np.mean([pdf_of(ensemble([m]), survey[0]) for m in members], axis=0)
    np.testing.assert_allclose(pdf_of(ensemble(members), survey[0]), alone, rtol=1e-4, atol=1e-6)


def test_members_must_share_encoder_and_grid(survey, encoder):
    with pytest.raises(ValueError, match="at least one member"):
        ensemble([])
    with pytest.raises(ValueError, match="one encoder"):
        ensemble([member(encoder), member(photometry_encoder(**survey[0]))])
    other = photoz_network(encoder, z_min=0.0, z_max=2.0, n_grid=60, width=8, depth=1)
    with pytest.raises(ValueError, match="one redshift grid"):
        ensemble([member(encoder), other])


def test_saved_ensemble_gives_the_same_densities(trained, encoder, survey, tmp_path):
    model = ensemble([trained, member(encoder, "mixture")], temperature=0.8)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True, compile=False)
    assert set(loaded.input) == {"flux", "flux_err", "observed"}
    np.testing.assert_array_equal(pdf_of(loaded, survey[0]), pdf_of(model, survey[0]))


def test_fit_temperature_undoes_a_known_one():
    rng, grid = np.random.default_rng(4), np.linspace(0, 1, 300)
    centers = rng.uniform(0.3, 0.7, 20000)
    z = rng.normal(centers, 0.05)
    wide = norm.pdf(grid, centers[:, None], 0.05 / np.sqrt(0.6))
    assert fit_temperature(wide, grid, z, outlier_fraction=0.0) == pytest.approx(0.6, rel=0.02)
    assert fit_temperature(wide, grid, z) == pytest.approx(0.6, rel=0.04)


def test_fit_temperature_is_not_ruled_by_outliers():
    rng = np.random.default_rng(4)
    centers = rng.uniform(0.3, 0.7, 20000)
    z = rng.normal(centers, 0.05)
    z[:400] = rng.uniform(0, 1, 400)
    pdf = norm.pdf(GRID, centers[:, None], 0.05)
    assert fit_temperature(pdf, GRID, z) == pytest.approx(1, abs=0.05)
    assert fit_temperature(pdf, GRID, z, outlier_fraction=0.0) > 1.15


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"network": "bined"}, "must be one of"), ({"width": 0}, "at least 1"), ({"band_dropout": 1.0}, "below 1")],
)
def test_bad_parameters_are_refused(encoder, parameters, message):
    with pytest.raises(ValueError, match=message):
        member(encoder, **parameters)


def test_one_band_is_refused(survey):
    with pytest.raises(ValueError, match="n_bands must be at least 2"):
        photometry_encoder(**{name: x[:, :1] for name, x in survey[0].items()})


def test_limits_are_features_and_hide_what_lies_below(survey):
    photometry, _ = survey
    limited = np.zeros_like(photometry["observed"])
    limited[:100, 0] = 1
    rows = {**photometry, "limited": limited, "flux_err": np.where(limited, 3000, photometry["flux_err"])}
    encoder = photometry_encoder(**rows)
    features = keras.ops.convert_to_numpy(encoder(rows))
    assert features.shape == (2000, 4 + 3 + 4 + 4 + 4 + 4)
    np.testing.assert_array_equal(features[:, 11], np.repeat([0.0, 1.0, 0.0], [100, 100, 1800]))
    np.testing.assert_array_equal(features[:, 15], np.repeat([1.0, 0.0], [100, 1900]))
    assert (features[:100, [0, 4, 7]] == 0).all() and (features[:, 20:] == 0).all()
    np.testing.assert_allclose(features[:100, 19], -1, atol=1e-5)
    rows["flux"] = np.where(limited, np.nan, rows["flux"])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(encoder(rows)), features)


def test_only_an_encoder_with_limits_simulates_them(encoder):
    with pytest.raises(ValueError, match=r"takes no limits, but limit_rate is 0\.1"):
        member(encoder, limit_rate=0.1)


def test_training_learns_what_an_upper_limit_says():
    """The flux is 1000 z, the other band says nothing: at depth d, p(z) is even up to 5 d / 1000 and zero beyond."""
    rng = np.random.default_rng(8)
    z = rng.uniform(0, 1, 4000).astype("float32")
    flux = np.stack([1000 * z, np.full_like(z, 500)], 1) + rng.normal(0, 1, (4000, 2)).astype("float32")
    rows = {"flux": flux, "flux_err": np.ones_like(flux), "observed": np.ones_like(flux)}
    encoder = photometry_encoder(**rows, limited=np.zeros_like(flux))
    model = member(encoder, limit_rate=0.6, band_dropout=0.05, error_jitter=0.0)
    rate = keras.optimizers.schedules.CosineDecay(1e-2, 500)
    model.compile(keras.optimizers.AdamW(rate), loss=DensityLoss(0.0, 1.0), steps_per_execution=20, jit_compile=False)
    model.fit({**rows, "limited": np.zeros_like(flux)}, z, batch_size=200, epochs=25, verbose=0)
    depths = np.array([40.0, 80.0, 120.0], "float32")
    one, zero = np.ones(3, "float32"), np.zeros(3, "float32")
    asked = {
        "flux": np.stack([zero, 500 * one], 1),
        "flux_err": np.stack([depths, one], 1),
        "observed": np.stack([zero, one], 1),
        "limited": np.stack([one, zero], 1),
    }
    pdf = pdf_of(ensemble([model]), asked)
    true = norm.sf((1000 * GRID - 5 * depths[:, None]) / depths[:, None])
    true /= np.trapezoid(true, GRID, axis=1)[:, None]
    quantiles = ("q16", "median", "q84")
    found, expected = (np.array([pdf_summary(p, GRID)[q] for q in quantiles]) for p in (pdf, true))
    np.testing.assert_allclose(found, expected, atol=0.07)
