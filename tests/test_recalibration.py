"""Recalibrated densities, conformal intervals, risk, ODDS and quality."""

import json

import keras
import numpy as np
import pytest
from astropy.io.votable.ucd import check_ucd
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import beta, binom, kstest, norm

from astrokeras import PhotoZ, metrics
from astrokeras.conformal import conformal_level, levels_by_magnitude
from astrokeras.densities import RISK_WIDTH, pdf_odds, pdf_quantiles, pdf_risk
from astrokeras.errors import TrainingError
from astrokeras.flags import Flag
from astrokeras.layers import Recalibration, ReferenceMagnitude
from astrokeras.layers.recalibration import PIT_FLOOR
from astrokeras.models.bundle import load
from astrokeras.models.calibration import Calibration, Conformal, QualityCut
from astrokeras.models.card_file import read_card
from astrokeras.models.columns import decode, output_fields
from astrokeras.networks.recalibration import PitMap, fit_recalibration
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.tasks.cross_fit import folds_of
from astrokeras.tasks.examples import Examples
from astrokeras.tasks.photoz_calibration import Found, Sample, _holds, calibration, relative_temperature, tempered
from astrokeras.units import njy_to_ab

GRID = np.linspace(0.0, 2.0, 201)
RNG = np.random.default_rng(7)


def normals(center, width, grid=GRID):
    """Normal densities, normalised on the grid."""
    width = np.broadcast_to(width, np.shape(center))
    pdf = np.exp(-0.5 * ((grid - np.asarray(center)[:, None]) / width[:, None]) ** 2)
    return (pdf / np.trapezoid(pdf, grid, axis=1)[:, None]).astype("float32")


def miscalibrated(rows, seed):
    """Densities too broad for bright objects, too narrow and shifted for faint ones, and the truth.

    With seed None the truth is spread evenly over its distribution at every magnitude, so that there is no noise.
    """
    rng = np.random.default_rng(seed)
    magnitude, level = rng.uniform(18, 24, rows), rng.random(rows)
    if seed is None:
        rng = np.random.default_rng(0)
        magnitude = np.linspace(18, 24, rows)
        level = np.concatenate([rng.permutation(50) for _ in range(rows // 50)]) / 50 + 0.01
    center = rng.uniform(0.6, 1.4, rows)
    width = 0.05 + 0.01 * (magnitude - 18)
    faint = (magnitude - 18) / 6
    truth = norm.ppf(level, center + 0.3 * faint * width, width * (0.7 + 0.6 * faint))
    return normals(center, width), truth, magnitude


def in_fifths(magnitude, values):
    return [values[part] for part in np.array_split(np.argsort(magnitude), 5)]


# The map of the PIT


def test_a_fitted_map_makes_the_pit_of_new_rows_uniform_at_every_magnitude():
    pdf, truth, magnitude = miscalibrated(6000, 1)
    found = fit_recalibration(pdf, GRID, truth, magnitude)
    pdf, truth, magnitude = miscalibrated(3000, None)
    before = in_fifths(magnitude, metrics.pit(pdf, GRID, truth))
    assert min(map(metrics.pit_ks, before)) > 0.06
    after = found.apply(pdf, GRID, magnitude)
    pit = metrics.pit(after, GRID, truth)
    # Noise of 6000 calibration rows alone: .011 at one standard error of a Kolmogorov-Smirnov distance.
    assert metrics.pit_ks(pit) < 0.02
    assert max(map(metrics.pit_ks, in_fifths(magnitude, pit))) < 0.03
    assert kstest(pit, "uniform").pvalue > 0.01
    gain = metrics.log_likelihood(after, GRID, truth) - metrics.log_likelihood(pdf, GRID, truth)
    assert gain.mean() > 5 * gain.std() / np.sqrt(len(gain))


def test_the_map_of_calibrated_rows_changes_little():
    center = RNG.uniform(0.6, 1.4, 4000)
    pdf = normals(center, 0.08)
    truth, magnitude = RNG.normal(center, 0.08), RNG.uniform(18, 24, 4000)
    found = fit_recalibration(pdf, GRID, truth, magnitude)
    pit = metrics.pit(found.apply(pdf[:50], GRID, magnitude[:50]), GRID, center[:50] + 0.08)
    np.testing.assert_allclose(pit, norm.cdf(1), atol=0.05)


def test_few_rows_and_equal_magnitudes_leave_the_map_near_identity():
    pdf = normals([0.8, 1.0, 1.1], 0.1)
    found = fit_recalibration(pdf, GRID, np.array([0.8, 1.0, 1.1]), np.full(3, 20.0))
    np.testing.assert_allclose(found.apply(pdf, GRID, np.full(3, 20.0)), pdf, rtol=0.5, atol=0.05)
    with pytest.raises(ValueError, match="at least one row"):
        fit_recalibration(pdf[:0], GRID, np.zeros(0), np.zeros(0))


def test_the_layer_multiplies_by_a_function_of_its_own_cumulative():
    density = normals([0.7, 1.2], [0.1, 0.2])
    coefficients = np.zeros((2, 3))
    coefficients[0] = [0.5, -0.4, 0.3]  # any magnitude: ln 4C(1-C), P1, P2
    coefficients[1, 1] = 0.8  # P1 rises with the rank
    layer = PitMap(np.array([18.0, 20.0, 24.0]), coefficients).layer(0.0, 2.0)
    out = keras.ops.convert_to_numpy(layer([density, np.array([18.0, 22.0], "float32")]))
    np.testing.assert_allclose(np.trapezoid(out, GRID, axis=1), 1, rtol=1e-5)
    for row, rank in enumerate((-1.0, 0.5)):
        c = norm.cdf(GRID, (0.7, 1.2)[row], (0.1, 0.2)[row])
        x = 2 * c - 1
        tilt = 0.5 * np.log(4 * c * (1 - c) + PIT_FLOOR) + (-0.4 + 0.8 * rank) * x + 0.3 * (3 * x**2 - 1) / 2
        expected = density[row] * np.exp(tilt)
        np.testing.assert_allclose(out[row], expected / np.trapezoid(expected, GRID), rtol=2e-3, atol=2e-4)


def test_the_layer_is_identity_until_set_survives_saving_and_refuses_nonsense(tmp_path):
    inputs = [keras.Input((201,)), keras.Input(())]
    layer = Recalibration(0.0, 2.0, name="recalibrated")
    model = keras.Model(inputs, layer(inputs))
    density, magnitude = normals(RNG.uniform(0.5, 1.5, 6), 0.1), np.linspace(15, 30, 6).astype("float32")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model([density, magnitude])), density, rtol=1e-4, atol=1e-6)
    layer.set_map(np.linspace(18, 24, 9), RNG.normal(0, 0.3, (4, 5)))
    expected = keras.ops.convert_to_numpy(model([density, magnitude]))
    assert np.abs(expected - density).max() > 0.1
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", safe_mode=True, compile=False)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again([density, magnitude])), expected)
    with pytest.raises(ValueError, match="must not fall"):
        layer.set_map(np.linspace(24, 18, 9), np.zeros((4, 5)))
    for wrong in ({"degree": 0}, {"magnitude_degree": -1}, {"n_nodes": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Recalibration(0.0, 2.0, **wrong)


# The reference magnitude


def test_reference_magnitude_is_the_ab_magnitude_of_bright_objects_and_filled_by_color():
    rng = np.random.default_rng(3)
    r = rng.uniform(18, 22, 500)
    flux = 10 ** (-0.4 * (np.stack([r + 0.7, r, r - 0.4], 1) - 31.4))
    error, observed = np.full_like(flux, 5.0), np.ones_like(flux)
    layer = ReferenceMagnitude(1)
    layer.adapt(flux, error, observed)

    def magnitude(mask):
        return keras.ops.convert_to_numpy(layer([(flux * mask).astype("float32"), mask.astype("float32")]))

    np.testing.assert_allclose(magnitude(observed), njy_to_ab(flux[:, 1]), atol=1e-3)
    for hidden in ([1, 0, 1], [0, 0, 1], [1, 0, 0]):
        np.testing.assert_allclose(magnitude(observed * hidden), r, atol=2e-3)
    negative = keras.ops.convert_to_numpy(layer([-flux[:5].astype("float32"), observed[:5].astype("float32")]))
    assert np.isfinite(negative).all() and (negative > 28).all()
    with pytest.raises(ValueError, match=r"band number \[2\]"):
        layer.adapt(flux, error, observed * [1, 1, 0])
    with pytest.raises(ValueError, match="band must be 0 to 2"):
        ReferenceMagnitude(3).build([(None, 3), (None, 3)])


# Conformal levels


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.floats(0.05, 0.95))
def test_conformal_level_is_the_order_statistic_of_the_guarantee(n, coverage):
    scores = RNG.random(n)
    level = conformal_level(scores, coverage)
    place = int(np.ceil((n + 1) * coverage - 1e-9))
    assert level == (np.inf if place > n else np.sort(scores)[place - 1])


def test_conformal_intervals_cover_whatever_the_densities_are_worth():
    """The mean coverage over calibration samples is k / (n + 1), with k the place of the level."""
    rng = np.random.default_rng(11)
    n, coverage, hits, draws = 99, 0.68, 0, 3000
    for _ in range(draws):
        scores = rng.beta(3, 1, n + 1)  # PITs far from uniform
        hits += scores[-1] <= conformal_level(scores[:-1], coverage)
    assert 1e-3 < binom.cdf(hits, draws, 0.68) < 1 - 1e-3


def test_levels_follow_the_magnitude_where_it_matters_and_only_there():
    rng = np.random.default_rng(5)
    magnitude = rng.uniform(18, 24, 5000)
    even = levels_by_magnitude(rng.random(5000), magnitude, 0.68)
    np.testing.assert_allclose(even[1], 0.68, atol=0.025)
    a = 1 + 2 * (magnitude - 18) / 6
    middle, levels = levels_by_magnitude(rng.beta(a, 1), magnitude, 0.68)
    np.testing.assert_allclose(middle, [18.6, 19.8, 21, 22.2, 23.4], atol=0.1)
    np.testing.assert_allclose(levels, beta.ppf(0.68, 1 + 2 * (middle - 18) / 6, 1), atol=0.03)
    assert len(levels_by_magnitude(rng.random(150), magnitude[:150], 0.68)[1]) == 1
    assert levels_by_magnitude(rng.random(5), magnitude[:5], 0.95)[1][0] == np.inf


# Risk and ODDS


@pytest.mark.parametrize("seed", range(3))
def test_risk_agrees_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    pdf = 0.7 * normals(rng.uniform(0.1, 1.9, 8), rng.uniform(0.02, 0.3, 8)) + 0.3 * normals(rng.uniform(0, 2, 8), 0.1)
    best, risk = pdf_risk(pdf, GRID)
    trial = np.linspace(0, 2, 4001)
    for row in range(8):
        dz = (trial[:, None] - GRID) / (1 + GRID)
        loss = 1 - 1 / (1 + (dz / RISK_WIDTH) ** 2)
        risks = np.trapezoid(loss * pdf[row], GRID, axis=1) / np.trapezoid(pdf[row], GRID)
        assert risk[row] == pytest.approx(risks.min(), abs=2e-4)
        assert abs(best[row] - trial[risks.argmin()]) < 0.005


def test_risk_prefers_the_higher_of_two_peaks_and_is_the_chance_of_the_other():
    pdf = 0.8 * normals([0.3], 0.01) + 0.2 * normals([1.9], 0.01)
    best, risk = pdf_risk(pdf, GRID)
    far = 1 - 1 / (1 + ((0.3 - 1.9) / 2.9 / RISK_WIDTH) ** 2)
    assert best[0] == pytest.approx(0.3, abs=0.005) and risk[0] == pytest.approx(0.2 * far, abs=0.005)
    bad = np.stack([np.zeros(201), np.full(201, np.nan), np.full(201, np.inf)]).astype("float32")
    assert np.isnan(pdf_risk(bad, GRID)).all() and np.isnan(pdf_odds(bad, GRID, np.ones(3))).all()
    edge = np.zeros((1, 201), "float32")
    edge[0, 0] = 1
    assert pdf_risk(edge, GRID)[0][0] < 0.005
    assert pdf_risk(pdf[:0], GRID)[0].shape == (0,)


@pytest.mark.parametrize(("center", "width"), [(0.5, 0.02), (1.0, 0.06), (1.4, 0.2)])
def test_odds_of_a_normal_have_a_closed_form(center, width):
    fine = np.linspace(0, 2, 2001)
    odds = pdf_odds(normals([center], width, fine), fine, np.array([center]))
    inside = 2 * norm.cdf(0.03 * (1 + center) / width) - 1
    total = norm.cdf((2 - center) / width) - norm.cdf(-center / width)
    assert odds[0] == pytest.approx(inside / total, abs=1e-4)
    assert pdf_odds(normals([center], width), GRID, np.array([center])) == pytest.approx(
        metrics.odds(normals([center], width), GRID, [center]), abs=1e-6
    )


def test_quantiles_at_levels_that_differ_between_rows():
    pdf = normals([0.7, 1.0, 1.3], 0.1)
    levels = np.array([[0.1, 0.5, 0.9], [0.2, 0.3, 0.4]])
    expected = [[pdf_quantiles(pdf[[r]], GRID, [levels[k, r]])[0, 0] for r in range(3)] for k in range(2)]
    np.testing.assert_array_equal(pdf_quantiles(pdf, GRID, levels), expected)


# From predictions out of fold to a card


def sample_of(rows, seed):
    pdf, truth, magnitude = miscalibrated(rows, seed)
    return Sample(pdf, truth, magnitude, GRID)


def test_calibration_measures_what_new_rows_will_show():
    sample = sample_of(5000, 1)
    found = calibration(sample, 5, None, np.zeros((0,)))
    facts = found.facts
    assert (facts.rows, facts.folds, found.temperature) == (5000, 5, 1.0)
    assert facts.pit_ks < 0.02 < facts.pit_ks_before
    new = sample_of(4000, None)
    pdf = found.pit_map.apply(new.pdf, GRID, new.magnitude)
    card = read_card_like(facts)
    columns = decode({"z_pdf": pdf, "magnitude": new.magnitude}, card)
    for percent, coverage in ((68, 0.68), (95, 0.95)):
        inside = (columns[f"z_lo{percent}"] <= new.target) & (new.target <= columns[f"z_hi{percent}"])
        for part in (inside, *in_fifths(new.magnitude, inside)):
            assert abs(part.mean() - coverage) < 3 * np.sqrt(coverage * (1 - coverage) / len(part))
    for cut in facts.quality:
        kept = columns["z_quality"] >= cut.quality
        assert kept.mean() == pytest.approx(cut.completeness, abs=0.03)
        assert metrics.sigma_nmad(columns["z_phot"][kept], new.target[kept]) == pytest.approx(cut.sigma_nmad, rel=0.1)
    assert [cut.completeness for cut in facts.quality] == pytest.approx([1, 0.95, 0.9, 0.75, 0.5], abs=1e-3)


def read_card_like(facts):
    from test_models_card import make_card

    card = make_card()
    grid = card.grid.model_copy(update={"z_min": 0.0, "z_max": 2.0, "n": 201})
    return card.model_copy(update={"calibration": facts, "grid": grid})


def test_relative_temperature_brings_the_mean_of_networks_to_the_breadth_of_one():
    rng = np.random.default_rng(4)
    center = rng.uniform(0.6, 1.4, 800)
    truth = rng.normal(center, 0.06)
    folds = np.stack([normals(center, 0.06)] * 3)
    temperature = relative_temperature(normals(center, 0.075), folds, GRID, truth)
    assert temperature == pytest.approx((0.06 / 0.075) ** 2, rel=0.01)
    np.testing.assert_allclose(
        tempered(normals(center[:4], 0.075), GRID, temperature), normals(center[:4], 0.06), rtol=0.03, atol=1e-3
    )


def test_networks_unlike_the_model_do_not_calibrate_it():
    sample = sample_of(2000, 1)
    center = RNG.uniform(0.6, 1.4, 500)
    own = Sample(normals(center, 0.05), RNG.normal(center, 0.05), RNG.uniform(18, 24, 500), GRID)
    folds = np.stack([normals(center + 0.05, 0.1)] * 2)
    found = calibration(sample, 2, own, folds)
    assert (found.facts.folds, found.facts.rows, found.temperature) == (0, 500, 1.0)
    identity = PitMap(np.linspace(18, 24, 9), np.zeros((4, 5)))
    assert _holds(Found(1.0, identity, Calibration()), own)
    assert not _holds(Found(1.5, identity, Calibration()), own)


def test_folds_keep_groups_together_and_are_even():
    group = np.repeat(np.arange(50), 3)
    rows = Examples({"flux": np.zeros((150, 1))}, np.zeros(150), group=RNG.permutation(group))
    fold = folds_of(rows, 5, seed=1)
    assert all(len(set(fold[rows.group == g])) == 1 for g in range(50))
    assert np.bincount(fold).tolist() == [30] * 5
    assert not np.array_equal(fold, folds_of(rows, 5, seed=2))
    with pytest.raises(TrainingError, match="50 different training objects are too few for cross_fit: 60"):
        folds_of(rows, 60, seed=1)


# Columns and cards


def cuts():
    limits = zip((0.5, 0.3, 0.2, 0.1, 0.05), (1, 0.95, 0.9, 0.75, 0.5), strict=True)
    facts = {"faint_completeness": 1.0, "sigma_nmad": 0.02, "outlier_fraction": 0.01, "n": 10}
    return tuple(QualityCut(quality=k, max_risk=r, completeness=c, **facts) for k, (r, c) in enumerate(limits))


def test_columns_of_a_calibrated_model():
    central = {0.68: (0.5, 0.7), 0.95: (0.9, 0.98)}
    conformal = tuple(Conformal(coverage=c, magnitudes=(18.0, 22.0), central=s) for c, s in central.items())
    card = read_card_like(Calibration(conformal=conformal, quality=cuts()))
    pdf = normals([0.8, 1.0, 1.2, 1.0], [0.01, 0.03, 0.05, 0.4])
    columns = decode({"z_pdf": pdf, "magnitude": np.float32([10, 20, 30, 21])}, card)
    assert set(columns) == {field.name for field in output_fields(card)}
    for coverage, half in ((68, (0.25, 0.3, 0.35, 0.325)), (95, (0.45, 0.47, 0.49, 0.48))):
        for row in range(3):
            low = norm.ppf(0.5 - half[row], (0.8, 1.0, 1.2)[row], (0.01, 0.03, 0.05)[row])
            assert columns[f"z_lo{coverage}"][row] == pytest.approx(low, abs=2e-3)
            assert columns[f"z_hi{coverage}"][row] == pytest.approx(2 * columns["z_phot"][row] - low, abs=2e-3)
    assert columns["z_quality"].tolist() == [4, 4, 4, 0]
    assert columns["z_quality"].dtype == np.int16
    assert np.all(np.diff(columns["z_risk"]) > [0, 0, 0]) or columns["z_risk"][3] == columns["z_risk"].max()
    none = decode({"z_pdf": pdf * np.nan, "magnitude": np.zeros(4, np.float32)}, card, ["z_quality", "z_lo68"])
    assert none["z_quality"].tolist() == [-1] * 4 and np.isnan(none["z_lo68"]).all()
    assert set(none) == {"z_quality", "z_lo68"}


def test_a_model_without_calibration_gives_what_the_density_alone_can_give():
    card = read_card_like(None)
    names = [field.name for field in output_fields(card)]
    assert names[:7] == ["z_phot", "z_mode", "z_best", "z_lo", "z_hi", "z_risk", "z_odds"]
    assert not {"z_lo68", "z_quality"} & set(names)
    assert set(decode({"z_pdf": normals([1.0], 0.1)}, card)) >= {"z_best", "z_risk", "z_odds"}


def test_ucds_are_in_the_vocabulary_and_tell_the_new_columns_apart():
    fields = output_fields(read_card_like(Calibration(quality=cuts())))
    assert all(check_ucd(field.ucd, check_controlled_vocabulary=True) for field in fields)
    known = [field.ucd for field in fields if field.name not in ("z_phot", "z_mode")]
    assert len(set(known)) == len(known)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"coverage": 0.5}, "coverage"),
        ({"central": (0.5,)}, "one number"),
        ({"central": (0.5, 1.5)}, "between 0 and 1"),
        ({"magnitudes": (22.0, 18.0)}, "must rise"),
    ],
)
def test_a_card_with_impossible_intervals_is_refused(values, said):
    with pytest.raises(ValidationError, match=said):
        Conformal(**{"coverage": 0.68, "magnitudes": (18.0, 22.0), "central": (0.6, 0.7), **values})


# The stage


def catalog(rows, seed):
    source = Synthetic(rows=rows, seed=seed, classes={"galaxy": 1.0})
    return source.read(next(iter(source.partitions(rows))), [f.name for f in source.fields()])


def test_a_trained_model_carries_its_calibration(small_model):
    bundle = load(small_model)
    facts = bundle.card.calibration
    assert facts.band in bundle.card.bands and facts.rows > 200
    assert [c.coverage for c in facts.conformal] == [0.68, 0.95]
    table = catalog(1500, 77)
    table["flux_r"][:3] = np.nan
    for band in "ugriz":
        table[f"flux_{band}"][3] = np.nan
    out = PhotoZ.from_pretrained(small_model)(table)
    whole = (np.asarray(out["flags"]) & Flag.NO_DATA) == 0
    assert not whole[3] and whole.sum() == 1499
    assert np.isnan(out["z_best"][3]) and np.ma.getmaskarray(np.ma.asarray(out["z_quality"]))[3] | (
        np.asarray(out["z_quality"])[3] == -1
    )
    z, low, high = (np.asarray(out[name])[whole] for name in ("z_spec", "z_lo95", "z_hi95"))
    assert np.mean((low <= z) & (z <= high)) == pytest.approx(0.95, abs=0.04)
    risk, quality = np.asarray(out["z_risk"])[whole], np.asarray(out["z_quality"])[whole]
    assert risk[quality == 4].max() <= risk[quality < 4].min()
    np.testing.assert_allclose(np.trapezoid(out["z_pdf"][whole], bundle.card.grid.nodes(), axis=1), 1, rtol=1e-4)


def test_a_card_from_before_calibration_is_read(small_model, tmp_path):
    facts = json.loads((small_model / "card.json").read_text())
    del facts["calibration"]
    (tmp_path / "card.json").write_text(json.dumps(facts))
    assert read_card(tmp_path).calibration is None


def test_a_recipe_says_which_band_and_how_many_folds():
    with pytest.raises(ValidationError, match="'x' is not among the bands"):
        PhotoZ(bands=("g", "r"), train={"magnitude_band": "x"})
    with pytest.raises(ValidationError, match="one fold leaves nothing to train on"):
        PhotoZ(bands=("g", "r"), train={"cross_fit": 1})
