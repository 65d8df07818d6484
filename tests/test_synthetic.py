"""The synthetic catalog: photometry, distributions, reproducibility, the contract of the source, realism."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.cosmology import FlatLambdaCDM
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from astrokeras.errors import ChunkError, ExpressionError
from astrokeras.flags import Flag
from astrokeras.synthetic import grid, population, sed
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.synthetic.generate import BLOCK, GAMMA, generate, measure
from astrokeras.synthetic.objects import hat_weights, mix
from astrokeras.synthetic.systems import SYSTEMS
from astrokeras.units import ab_to_njy, njy_to_ab

DATA = Path(__file__).parents[2] / "shared" / "data"
SMALL = Synthetic(rows=3 * BLOCK + 17, seed=5, missing=0.1)


@pytest.fixture(scope="module")
def catalog():
    return generate(Synthetic(rows=40000, seed=1), 0, 40000)


def real(*parts):
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real data {'/'.join(parts)} is not here")
    return path


# Photometry


def test_a_source_of_constant_fnu_at_the_zero_point_has_flux_one():
    spectrum = sed.AB_FNU * sed.LIGHT / sed.WAVE**2
    wave = np.arange(4000.0, 6000.0, 2.0)
    throughput = np.exp(-(((wave - 5000) / 300) ** 2))
    assert sed.band_flux(spectrum, wave, throughput) == pytest.approx(1, rel=1e-5)
    # f_lambda is read off at wave / (1 + z), where it is (1 + z)^2 times larger.
    assert sed.band_flux(spectrum, wave, throughput, z=0.5) == pytest.approx(1.5**2, rel=1e-5)


def test_photometry_agrees_with_speclite():
    filters = pytest.importorskip("speclite.filters")
    names = [f"lsst2023-{band}" for band in "ugrizy"]
    spectrum = sed.galaxy_templates()[3] * 1e-17
    ours = [sed.band_flux(spectrum, *grid.filter_curve(name)) for name in names]
    flux = spectrum * u.erg / u.s / u.cm**2 / u.AA
    theirs = filters.load_filters(*names).get_ab_maggies(flux, sed.WAVE * u.AA)
    np.testing.assert_allclose(ours, [theirs[name][0] for name in names], rtol=1e-3)


def test_shipped_grid_is_what_the_code_computes():
    pytest.importorskip("speclite")
    nodes, stars = [0, 150, 330], [10, 40]
    made = grid.build(grid.REDSHIFTS[nodes], grid.STAR_COLORS[stars])
    kept = grid.load_grid()
    assert kept.filters == made.filters
    np.testing.assert_allclose(kept.galaxy[nodes], made.galaxy, rtol=1e-5, atol=0)
    np.testing.assert_allclose(kept.qso[nodes], made.qso, rtol=1e-5, atol=0)
    np.testing.assert_allclose(kept.star[stars], made.star, rtol=1e-5, atol=0)
    np.testing.assert_allclose(kept.galaxy_rest, made.galaxy_rest, rtol=1e-5)
    assert sum(path.stat().st_size for path in sed.DATA.iterdir()) < 700_000


def test_lyman_forest_has_the_optical_depth_of_madau():
    wave = np.array([3800.0, 4200.0, 4700.0, 4900.0])
    seen = sed.igm_transmission(wave, 3.0)
    # Between Lyman beta (4103) and Lyman alpha (4863) only Lyman alpha absorbs.
    np.testing.assert_allclose(seen[1:3], np.exp(-0.0036 * (wave[1:3] / 1215.67) ** 3.46))
    assert seen[3] == 1
    assert seen[0] < np.exp(-0.0036 * (3800 / 1215.67) ** 3.46)
    assert sed.igm_transmission(np.array([3000.0]), 3.0) < 0.2


@pytest.mark.parametrize("g_i", [0.5, 1.0, 2.0, 3.0])
def test_stars_lie_on_the_published_locus(g_i):
    kept = grid.load_grid()
    node = np.argmin(np.abs(grid.STAR_COLORS - g_i))
    mags = -2.5 * np.log10(kept.star[node, 0, [kept.filters.index(f"SLOAN/SDSS.{band}") for band in "ugriz"]])
    x = grid.STAR_COLORS[node]
    locus = [np.polyval(sed.STELLAR_LOCUS[color][::-1], x) for color in ("u-g", "g-r", "r-i", "i-z")]
    np.testing.assert_allclose(-np.diff(mags), locus, atol=2e-3)


def test_known_colors_of_metal_poor_stars_and_quasars():
    kept = grid.load_grid()
    u_g = -2.5 * np.log10(kept.star[:, :2, 0] / kept.star[:, :2, 1])
    turn_off = np.argmin(np.abs(grid.STAR_COLORS - 0.6))
    assert 0.15 < u_g[turn_off, 0] - u_g[turn_off, 1] < 0.25
    # Ultraviolet excess at z = 1.5, u dropping out at z = 3.5.
    quasar = kept.qso[:, 2] + kept.qso[:, 4]
    color = np.interp([1.5, 3.5], grid.REDSHIFTS, -2.5 * np.log10(quasar[:, 0] / quasar[:, 1]))
    assert color[0] < 0.3
    assert color[1] > 2


def test_mixtures_are_linear_in_templates_and_place():
    table = np.arange(24.0, dtype=np.float32).reshape(4, 3, 2)
    weights = np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 3.0]])
    found = mix(table, np.array([0.5, 3.0]), weights)
    np.testing.assert_allclose(found, [(table[0, 0] + table[1, 0]) / 2, 0.25 * table[3, 1] + 0.75 * table[3, 2]])
    nodes = np.array([-2.0, 0.0, 1.0])
    np.testing.assert_allclose(hat_weights(np.array([-5.0, 0.25, 0.0]), nodes), [[1, 0, 0], [0, 0.75, 0.25], [0, 1, 0]])


# Populations


def test_distances_agree_with_astropy():
    modulus, volume = population.distances()
    nodes = np.array([1, 100, 300, 480])
    cosmology = FlatLambdaCDM(H0=70, Om0=0.3, Tcmb0=0)
    z = grid.REDSHIFTS[nodes]
    np.testing.assert_allclose(modulus[nodes], cosmology.distmod(z).value, atol=1e-4)
    np.testing.assert_allclose(volume[nodes], cosmology.differential_comoving_volume(z).value, rtol=1e-4)


@pytest.mark.parametrize(("kind", "mag"), [("BLUE", 20.0), ("RED", 18.0), ("QSO", 19.5)])
def test_redshifts_follow_the_luminosity_function(kind, mag):
    reference = grid.load_grid().filters.index("SLOAN/SDSS.r")
    made = population.draws(reference, 14.0, 22.0)
    mags = np.array([mag])
    counts = {
        "BLUE": lambda: population.galaxy_counts(population.BLUE, mags, reference),
        "RED": lambda: population.galaxy_counts(population.RED, mags, reference),
        "QSO": lambda: population.quasar_counts(mags, reference),
    }[kind]()[0]
    z = made.redshifts(kind, np.full(4000, mag), (np.arange(4000) + 0.5) / 4000)
    mean = np.trapezoid(counts * grid.REDSHIFTS, grid.REDSHIFTS) / np.trapezoid(counts, grid.REDSHIFTS)
    spread = np.sqrt(
        np.trapezoid(counts * (grid.REDSHIFTS - mean) ** 2, grid.REDSHIFTS) / np.trapezoid(counts, grid.REDSHIFTS)
    )
    assert z.mean() == pytest.approx(mean, rel=2e-3)
    assert z.std() == pytest.approx(spread, rel=1e-2)


def test_galaxy_counts_rise_by_nearly_the_euclidean_slope_and_flatten():
    made = population.draws(grid.load_grid().filters.index("LSST/LSST.i"), 16.0, 26.0)
    number = np.log10(np.diff(np.interp(np.arange(16.0, 26.1), made.mags, made.cumulative["GALAXY"])))
    slopes = np.diff(number)
    # 0.6 in Euclidean space; observed are about 0.5 at i = 17.5 and 0.35 at 22; at 25 ours flatten more than the sky's.
    assert 0.4 < slopes[0] < 0.6
    assert 0.3 < slopes[5] < 0.4
    assert (np.diff(slopes) < 0).all()


def test_classes_redshifts_and_positions(catalog):
    kind, z = catalog["class_true"], catalog["z_spec"]
    for name, share in (("GALAXY", 0.8), ("STAR", 0.15), ("QSO", 0.05)):
        assert stats.binomtest(int((kind == name).sum()), len(kind), share).pvalue > 1e-4
    assert (z[kind == "STAR"] == 0).all()
    assert (z[kind != "STAR"] > 0).all()
    assert z[kind == "QSO"].min() > 0.09
    assert 0.2 < np.median(z[kind == "GALAXY"]) < 0.4
    west, east, south, north = SYSTEMS["sdss"].sky
    edges = np.sin(np.radians([south, north]))
    assert stats.kstest((np.sin(np.radians(catalog["dec"])) - edges[0]) / np.ptp(edges), "uniform").pvalue > 1e-4
    assert stats.kstest((catalog["ra"] - west) / (east - west), "uniform").pvalue > 1e-4


def test_shares_are_relative_and_absent_classes_absent():
    made = generate(Synthetic(rows=5000, classes={"star": 3, "qso": 1}), 0, 5000)
    assert set(made["class_true"]) == {"STAR", "QSO"}
    assert stats.binomtest(int((made["class_true"] == "QSO").sum()), 5000, 0.25).pvalue > 1e-4


def test_magnitude_limit_holds_in_the_reference_band():
    deep = dict.fromkeys("gri", 30.0)
    made = generate(Synthetic(rows=8000, bands=("r",), depth=deep, mag_limit=19.0), 0, 8000)
    mags = njy_to_ab(made["flux_r"])
    # Scatter about the templates (0.02 mag) is applied after the limit.
    assert 18.9 < mags.max() < 19.1
    assert Synthetic(rows=1).faintest == pytest.approx(22.70 - 1.5)
    assert Synthetic(rows=1, depth={"r": 24.0}).faintest == pytest.approx(22.5)


# Measurement


def test_errors_follow_the_lsst_formula():
    five = ab_to_njy(24.0)
    mags = np.array([20.0, 24.0, 27.0])
    rng = np.random.default_rng(0)
    ratio = [np.median((lambda f, e: e / f)(*measure(np.full(20000, ab_to_njy(m)), 24.0, rng))) for m in mags[:2]]
    x = 10 ** (0.4 * (mags - 24.0))
    expected = np.sqrt((0.04 - GAMMA) * x + GAMMA * x**2 + (0.005 * np.log(10) / 2.5) ** 2)
    np.testing.assert_allclose(ratio, expected[:2], rtol=0.02)
    assert expected[1] == pytest.approx(0.2, rel=1e-3)
    # Without any source the sky is left, and half of the fluxes are negative.
    flux, error = measure(np.zeros(20000), 24.0, rng)
    assert np.median(error) == pytest.approx(np.sqrt(GAMMA) * five, rel=0.01)
    assert stats.kstest(flux / error, "norm").pvalue > 1e-4
    assert flux.dtype == error.dtype == np.float32


def test_faint_objects_have_low_signal_and_negative_fluxes(catalog):
    signal = catalog["flux_u"] / catalog["flux_err_u"]
    assert 0.05 < (signal < 1).mean() < 0.3
    assert (signal < 0).any()
    assert all(np.isfinite(catalog[name]).all() for name in catalog if name.startswith("flux"))


def test_missing_bands_are_nan_in_one_band_and_flagged():
    made = generate(SMALL, 0, 20000)
    lost = np.stack([np.isnan(made[f"flux_{band}"]) for band in "ugriz"])
    np.testing.assert_array_equal(lost, [np.isnan(made[f"flux_err_{band}"]) for band in "ugriz"])
    np.testing.assert_array_equal(lost.sum(axis=0), made["flags"] == Flag.MISSING_BAND)
    assert stats.binomtest(int(lost.any(axis=0).sum()), 20000, 0.1).pvalue > 1e-4
    assert (lost.sum(axis=1) > 300).all()


# Reproducibility


@pytest.fixture(scope="module")
def whole():
    return generate(SMALL, 0, SMALL.rows)


@settings(max_examples=15, deadline=None)
@given(cut=st.tuples(st.integers(0, 3 * BLOCK + 17), st.integers(0, 3 * BLOCK + 17)).map(sorted))
def test_rows_do_not_depend_on_the_partition(whole, cut):
    part = generate(SMALL, *cut)
    for name, values in whole.items():
        np.testing.assert_array_equal(part[name], values[slice(*cut)])
        assert part[name].dtype == values.dtype


def test_values_do_not_depend_on_other_columns_bands_and_depths(whole):
    np.testing.assert_array_equal(generate(SMALL, 0, 50, ["flux_g"])["flux_g"], whole["flux_g"][:50])
    other = Synthetic(rows=50, seed=5, bands=("z", "g"), depth={"z": 21.5})
    full = Synthetic(rows=50, seed=5)
    made, reference = generate(other, 0, 50), generate(full, 0, 50)
    for name in ("flux_g", "flux_err_g", "z_spec", "ra"):
        np.testing.assert_array_equal(made[name], reference[name])
    assert (made["flux_err_z"] < reference["flux_err_z"]).all()


def test_seeds_and_blocks_differ(whole):
    other = generate(SMALL.model_copy(update={"seed": 6}), 0, 1000)
    assert not np.isin(other["ra"], whole["ra"]).any()
    assert len(np.unique(whole["ra"])) == len(whole["ra"])
    np.testing.assert_array_equal(whole["object_id"], np.arange(SMALL.rows))
    last = generate(Synthetic(rows=10**12, seed=2**63 - 1), 10**12 - 2, 10**12)
    np.testing.assert_array_equal(last["object_id"], [10**12 - 2, 10**12 - 1])


# The source


@pytest.mark.parametrize("max_rows", [1000, BLOCK + 5, 10**6])
def test_partitions_cover_the_rows_in_order(max_rows):
    parts = list(SMALL.partitions(max_rows))
    assert [part.key for part in parts] == sorted(part.key for part in parts)
    assert [part.payload["start"] for part in parts] == [0, *(part.payload["stop"] for part in parts[:-1])]
    assert parts[-1].payload["stop"] == SMALL.rows
    assert max(part.rows for part in parts) <= max_rows


@pytest.mark.parametrize("system", SYSTEMS)
def test_read_delivers_what_fields_declare(system):
    source = Synthetic(rows=100, system=system)
    (partition,) = source.partitions(1000)
    table = source.read(partition, ["*"])
    assert table.colnames == [field.name for field in source.fields()]
    assert table.meta["rows_read"] == 100
    for field in source.fields():
        assert str(table[field.name].unit or "") == field.unit
        if field.name.startswith("flux_"):
            assert table[field.name].dtype == np.float32
            assert field.filter in grid.load_grid().filters


def test_where_selects_rows_without_its_columns_being_read():
    source = Synthetic(rows=300, where="class_true == 'QSO'")
    (partition,) = source.partitions(1000)
    table = source.read(partition, ["object_id", "flux_g"])
    everything = generate(source, 0, 300)
    quasars = everything["class_true"] == "QSO"
    np.testing.assert_array_equal(table["object_id"], everything["object_id"][quasars])
    np.testing.assert_array_equal(table["flux_g"].to_value("nJy"), everything["flux_g"][quasars])
    assert table.meta["rows_read"] == 300


def test_memory_of_a_chunk_is_free_once_it_is_dropped():
    (partition,) = Synthetic(rows=50, where="z_spec > 0.1").partitions(1000)
    gc.collect()
    gc.disable()
    try:
        table = Synthetic(rows=50, where="z_spec > 0.1").read(partition, ["ra", "flux_g"])
        dropped = weakref.ref(table)
        del table
        assert dropped() is None
    finally:
        gc.enable()


def test_unknown_columns_are_refused():
    (partition,) = SMALL.partitions(10**6)
    with pytest.raises(ChunkError, match="flux_q"):
        SMALL.read(partition, ["flux_q"])
    with pytest.raises(ExpressionError, match=r"unknown column 'zspec'; did you mean 'z_spec'"):
        Synthetic(rows=1, where="zspec > 1")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bands": ["g", "q"]}, "sdss has no band 'q'"),
        ({"bands": ["g", "g"]}, "twice"),
        ({"system": "lsst", "depth": {"Y": 24}}, "lsst has no band 'Y'; did you mean 'y'"),
        ({"system": "hsc"}, "'sdss', 'lsst' or 'decam'"),
        ({"classes": {"galaxy": 0}}, "share above 0"),
        ({"classes": {"galxy": 1}}, "'galaxy', 'star' or 'qso'"),
        ({"mag_limit": 14.5}, "too bright"),
        ({"missing": 1.5}, "less than or equal to 1"),
        ({"rows": 0}, "greater than or equal to 1"),
        ({"sead": 1}, "sead"),
    ],
)
def test_wrong_parameters_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Synthetic(**({"rows": 10} | wrong))


def test_parameters_survive_json():
    source = Synthetic(rows=10, system="decam", bands=("g", "i"), depth={"g": 25}, classes={"star": 1}, missing=0.2)
    assert Synthetic.model_validate_json(source.model_dump_json()) == source
    assert "mag_limit" in Synthetic.model_json_schema()["properties"]


def test_import_is_light():
    code = (
        "import sys, astrokeras.synthetic.catalog as c; c.Synthetic(rows=5).fields();"
        "heavy = {'tensorflow', 'keras', 'pandas', 'pyarrow', 'astropy.table', 'speclite', 'scipy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Realism: what the docstring of Synthetic claims


def color_features(mags):
    return np.hstack([mags, mags[:, :-1] - mags[:, 1:]])


def redshift_scores(system, bands, limit, mags, z_spec):
    """Bias and sigma_nmad of trees that have seen synthetic galaxies only."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    made = generate(Synthetic(rows=40000, seed=1, system=system, classes={"galaxy": 1}, mag_limit=limit), 0, 40000)
    seen = np.stack([njy_to_ab(made[f"flux_{band}"]) for band in bands], axis=1)
    trees = ensemble.HistGradientBoostingRegressor(max_iter=150, random_state=0)
    dz = (trees.fit(color_features(seen), made["z_spec"]).predict(color_features(mags)) - z_spec) / (1 + z_spec)
    return np.median(dz), 1.4826 * np.median(np.abs(dz - np.median(dz)))


@pytest.mark.real_data
def test_redshifts_learned_here_hold_for_sdss_galaxies():
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(real("starqso", "sdss_dr17.csv")).query("`class` == 'GALAXY' and u > 0 and r < 21.2")
    # Mean Galactic extinction at E(B-V) = 0.03; these magnitudes are not corrected.
    mags = frame[list("ugriz")].to_numpy() - [0.13, 0.10, 0.07, 0.05, 0.04]
    bias, sigma_nmad = redshift_scores("sdss", "ugriz", 21.2, mags, frame["redshift"].to_numpy())
    assert abs(bias) < 0.01
    assert sigma_nmad < 0.033


@pytest.mark.real_data
def test_redshifts_learned_here_hold_for_a_mock_of_lsst():
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(real("photoz", "dc2_sim", "dc2_validation.parquet")).query("mag_i_lsst < 24")
    mags = frame[[f"mag_{band}_lsst" for band in "ugrizy"]].to_numpy(float)
    mags = np.where(mags > 90, np.nan, mags)
    bias, sigma_nmad = redshift_scores("lsst", "ugrizy", 25.3, mags, frame["redshift"].to_numpy())
    assert abs(bias) < 0.01
    assert sigma_nmad < 0.045


@pytest.mark.real_data
def test_star_and_quasar_colors_are_those_of_sdss():
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(real("starqso", "sdss_dr17.csv")).query("u > 0 and r < 21.5")
    frame[list("ugriz")] -= [0.13, 0.10, 0.07, 0.05, 0.04]
    for name, edges in (("STAR", np.arange(0.3, 2.8, 0.25)), ("QSO", np.arange(0.8, 3.0, 0.2))):
        made = generate(Synthetic(rows=30000, seed=3, classes={name.lower(): 1}, mag_limit=21.5), 0, 30000)
        mags = np.stack([njy_to_ab(made[f"flux_{band}"]) for band in "ugriz"], axis=1)
        sample = frame[frame["class"] == name]
        seen = sample[list("ugriz")].to_numpy()
        x = (
            (mags[:, 1] - mags[:, 3], seen[:, 1] - seen[:, 3])
            if name == "STAR"
            else (made["z_spec"], sample["redshift"])
        )
        ours, theirs = (
            np.array(
                [np.nanmedian(-np.diff(m[np.digitize(v, edges) == k], axis=1), axis=0) for k in range(1, len(edges))]
            )
            for m, v in ((mags, np.asarray(x[0])), (seen, np.asarray(x[1])))
        )
        assert np.median(np.abs(ours - theirs)) < (0.03 if name == "STAR" else 0.06)
        assert np.abs(ours - theirs)[:, 1:].max() < 0.2
