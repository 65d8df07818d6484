"""Images as rows, and stages on them: backgrounds, PSFs and zero points of images whose truth is known."""

import frames
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from frames import NOISE, SCALE, SIDE, SIGMA, SKY, ZERO_POINT, gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from astrokeras.chunk import concatenate
from astrokeras.errors import IngestError
from astrokeras.exposures.background import Background
from astrokeras.exposures.calibrate import Calibrate
from astrokeras.exposures.psf import PSF
from astrokeras.exposures.rows import measured_sky
from astrokeras.flags import Flag
from astrokeras.images.image import Image
from astrokeras.ingest.exposures import Exposures
from astrokeras.photometry import noise_growth, sky_mesh
from astrokeras.photometry.prepared import Held
from astrokeras.photometry.psf_files import read_psfex
from astrokeras.photometry.psf_shape import fwhm, moments
from astrokeras.photometry.stars import candidates
from astrokeras.photometry.stars import stars as point_sources
from astrokeras.photometry.zero_points import fit
from astrokeras.pipeline import Pipeline
from astrokeras.testing import check_stage

WIDTH = 2.3548 * SIGMA


def rows(**parameters):
    """All rows and columns of a source."""
    source = Exposures(**parameters)
    names = [f.name for f in source.fields()]
    return concatenate([source.read(part, names) for part in source.partitions(100)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("frames")
    for seed in range(3):
        catalog = frames.write(path / f"frame-{seed}.fits", seed)
    frames.write(path / "color.fits", 5, color_term=0.1)
    catalog.write(path / "stars.ecsv")
    (path / "broken.fits").write_bytes((path / "frame-0.fits").read_bytes()[:20000])
    fits.PrimaryHDU(np.zeros((40, 40), np.float32)).writeto(path / "empty.fits")
    return path


@pytest.fixture(scope="module")
def table(folder):
    return rows(files=(str(folder / "frame-*.fits"), str(folder / "broken.fits"), str(folder / "empty.fits")))


def test_rows_of_exposures(table):
    assert list(table["object_id"]) == ["frame-0.fits", "frame-1.fits", "frame-2.fits", "broken.fits", "empty.fits"]
    good = table[:3]
    assert set(good["band"]) == {"r"} and set(good["layout"]) == {"plain"}
    np.testing.assert_allclose(good["ra"].value, 30.0, atol=1e-9)
    np.testing.assert_allclose(good["dec"].value, 10.0, atol=1e-9)
    np.testing.assert_allclose(good["pixel_scale"].value, SCALE, rtol=1e-6)
    np.testing.assert_allclose(good["mjd"].value, 59000.5 + 30 / 86400, rtol=1e-12)
    assert set(good["width"]) == set(good["height"]) == {SIDE}
    assert table["flags"].tolist() == [0, 0, 0, Flag.NO_DATA, Flag.BAD_POSITION]
    assert "truncated" in table["problem"][3] and table["problem"][4] == ""
    assert np.ma.is_masked(table["width"][3]) and np.isnan(table["ra"][3])


def test_bands_and_conditions(folder, tmp_path):
    for band in "gri":
        frames.write(tmp_path / f"x-{band}.fits", band=band)
    pattern = str(tmp_path / "x-{band}.fits")
    assert list(rows(files=pattern, bands=("g", "i"))["band"]) == ["g", "i"]
    frames.write(tmp_path / "y-R.fits", band="r")
    assert list(rows(files=str(tmp_path / "y-{BAND}.fits"), bands=("r",))["path"]) == [str(tmp_path / "y-R.fits")]
    (tmp_path / "y-R.fits").unlink()
    assert list(rows(files=str(tmp_path / "*.fits"), bands=("r",))["band"]) == ["r"]
    assert list(rows(files=str(tmp_path / "*.fits"), where="band == 'i'")["band"]) == ["i"]
    with pytest.raises(ValidationError, match="stands for each of `bands`"):
        Exposures(files=pattern)
    with pytest.raises(IngestError, match="no file matches"):
        rows(files=str(tmp_path / "*.fit"))
    with pytest.raises(IngestError, match="named twice"):
        rows(files=(str(tmp_path / "x-g.fits"), str(tmp_path / "*.fits")))
    with pytest.raises(ValidationError, match="no layout of images named 'sdss-frames'"):
        Exposures(files=pattern, bands=("g",), layout="sdss-frames")


def test_companions_are_files_of_a_partition(tmp_path):
    frames.write(tmp_path / "c4d_1_ooi_r.fits", INSTRUME="DECam")
    weight = tmp_path / "c4d_1_oow_r.fits"
    fits.PrimaryHDU(np.full((SIDE, SIDE), 1 / NOISE**2, np.float32)).writeto(weight)
    part = next(Exposures(files=str(tmp_path / "*ooi*")).partitions(1))
    assert part.files == (str(tmp_path / "c4d_1_ooi_r.fits"), str(weight))


def test_background_stage(table):
    out = Background()(table)
    good = out[:3]
    np.testing.assert_allclose(good["sky"], SKY, atol=0.1)
    np.testing.assert_allclose(good["sky_rms"], NOISE, rtol=0.03)
    # Some 200 circles that do not overlap: the correlation is known to 6 %.
    np.testing.assert_allclose(good["noise_correlation"], 1.0, atol=0.1)
    assert np.isnan(good["noise_ratio"]).all() and np.isnan(good["depth"]).all() and (good["usable"] == 1).all()
    assert np.isnan(out["sky"][3]) and out["flags"][3] == Flag.NO_DATA and "truncated" in out["problem_background"][3]
    assert out["sky"][4] == 0 and out["sky_rms"][4] == 0


def test_depth_is_that_of_white_noise(folder, tmp_path):
    frames.write(tmp_path / "a.fits", MAGZERO=ZERO_POINT)
    depth = Background()(rows(files=str(tmp_path / "a.fits")))["depth"][0].value
    pixels = np.pi * (1.0 / SCALE) ** 2
    assert depth == pytest.approx(ZERO_POINT - 2.5 * np.log10(5 * NOISE * np.sqrt(pixels)), abs=0.12)


@given(st.floats(-50, 50), st.floats(0.1, 30), st.integers(0, 3))
@settings(max_examples=6, deadline=None)
def test_background_follows_a_slope_and_a_scale(level, noise, seed):
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 3 * noise, 200)[None, :]
    data = (level + slope + rng.normal(0, noise, (200, 200))).astype(np.float32)
    data[:20] = np.nan
    mask = np.isnan(data).astype(np.int32)
    found = sky_mesh.measure(Held(Image(data=data, unit="ct", mask=mask)), box=40)
    assert abs(np.median(found.rms) / noise - 1) < 0.05
    error = found.at("level", slice(0, 200), slice(0, 200)) - (level + slope)
    assert np.abs(error[20:]).mean() < 0.25 * noise


def test_nothing_to_measure_is_said(tmp_path):
    fits.PrimaryHDU(np.full((50, 50), np.nan, np.float32)).writeto(tmp_path / "nothing.fits")
    row = rows(files=str(tmp_path / "nothing.fits"))
    for stage in (Background(), PSF()):
        out = stage(row)
        assert "fewer than 25 pixels have data" in out[f"problem_{stage.name}"][0]
        assert out["flags"][0] & Flag.NO_DATA


def test_noise_grows_as_the_correlation_of_its_pixels_says():
    from photutils.geometry import circular_overlap_grid
    from scipy.ndimage import uniform_filter
    from scipy.signal import convolve2d

    white = np.random.default_rng(3).normal(0, 1, (600, 600))
    none, sigma = np.zeros(white.shape, bool), np.ones(white.shape)
    factor = noise_growth.measure([(white, sigma, none)]).factor
    np.testing.assert_allclose(factor, 1, atol=0.12)
    found = noise_growth.measure([(3 * uniform_filter(white, 3), sigma, none)])
    # The mean of 3 x 3 pixels has a third of the noise; a sum of means is a sum of pixels with smoothed weights.
    for radius in (1.0, 3.0, 6.0):
        weights = circular_overlap_grid(-8.5, 8.5, -8.5, 8.5, 17, 17, radius, 1, 1)
        smoothed = convolve2d(weights, np.full((3, 3), 1 / 3))
        expected = np.sqrt((smoothed**2).sum() / (weights**2).sum())
        pixels = weights.sum() ** 2 / (weights**2).sum()
        assert found.at(pixels) == pytest.approx(expected, rel=0.12)
    assert noise_growth.measure([(white, sigma, ~none)]).at(36) == 1


def test_psf_stage(table):
    out = PSF(size=15, minimum=5)(table)
    good = out[:3]
    np.testing.assert_allclose(good["psf_fwhm"].value, WIDTH * SCALE, rtol=0.02)
    assert (good["psf_spread"].value < 0.05 * WIDTH * SCALE).all() and (np.asarray(good["psf_stars"]) > 10).all()
    np.testing.assert_allclose(np.asarray(good["psf"]).sum(axis=(1, 2)), 1, rtol=1e-5)
    expected = gaussian(7, 7, side=15)
    np.testing.assert_allclose(np.asarray(good["psf"][0]), expected, atol=0.03 * expected.max())
    # Fluxes that this PSF gives are right to half a percent.
    stamp = np.asarray(good["psf"][0], float)
    assert (stamp * expected).sum() / (stamp**2).sum() == pytest.approx(1, abs=5e-3)
    assert np.isnan(out["psf"][4]).all() and "fewer than 5 stars" in out["problem_psf"][4]
    assert out["flags"][4] == Flag.NO_DATA | Flag.BAD_POSITION
    with pytest.raises(ValidationError, match="must be odd"):
        PSF(size=16)


@given(st.floats(1.0, 4.0))
@settings(max_examples=10, deadline=None)
def test_width_of_a_gaussian(sigma):
    stamp = gaussian(20, 20, sigma, 41)
    # A pixel that is as wide as the star smooths it; the samples here are points.
    assert fwhm(stamp) == pytest.approx(2.3548 * sigma, rel=0.03)
    widths, centers = moments(np.stack([gaussian(20.3, 19.8, sigma, 41)]))
    assert widths[0] == pytest.approx(sigma, rel=0.02)
    np.testing.assert_allclose(centers[0], [0.3, -0.2], atol=0.02)


def test_stars_are_told_from_galaxies(folder):
    from astrokeras.images.reader import open_image

    samples = measured_sky(open_image(folder / "frame-0.fits"), 64).samples
    found = candidates(samples[0].data, samples[0].sigma, samples[0].bad, 12, 15.0)
    # Half of the light of a Gaussian is within 1.18 sigma; that of the galaxy, within the core of its stamp, is wider.
    assert (found.half > 1.5 * 1.18 * SIGMA).sum() == 1
    chosen = point_sources(found)
    assert 30 < len(chosen) < 37
    np.testing.assert_allclose(chosen.half, 1.18 * SIGMA, rtol=0.15)


def test_psfex(tmp_path):
    """A PSF that grows along x: planes of a polynomial, and its value at a place."""
    planes = np.stack([gaussian(10, 10, 2.0, 21), gaussian(10, 10, 4.0, 21), np.zeros((21, 21))])
    column = fits.Column("PSF_MASK", f"{planes.size}E", dim="(21,21,3)", array=planes[None].astype(np.float32))
    hdu = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    facts = {"ACCEPTED": 40, "POLNAXIS": 2, "POLNAME1": "X_IMAGE", "POLNAME2": "Y_IMAGE", "POLDEG1": 1, "PSF_SAMP": 1.0}
    hdu.header.update(facts | {"POLZERO1": 101.0, "POLSCAL1": 100.0, "POLZERO2": 1.0, "POLSCAL2": 100.0})
    path = tmp_path / "a.psf"
    hdu.writeto(path)
    model = read_psfex(str(path))
    assert model.stars == 40
    np.testing.assert_allclose(model.stamp(100, 0, 21), planes[0] / planes[0].sum(), atol=1e-7)
    mixed = planes[0] + 0.5 * planes[1]
    np.testing.assert_allclose(model.stamp(150, 70, 21), mixed / mixed.sum(), atol=1e-7)
    hdu.header["POLNAME1"] = "MAG_AUTO"
    hdu.writeto(tmp_path / "b.psf")
    with pytest.raises(IngestError, match=r"b\.psf: the PSF depends on MAG_AUTO, Y_IMAGE"):
        read_psfex(str(tmp_path / "b.psf"))
    with pytest.raises(IngestError, match="is no file of PSF models"):
        read_psfex(write_table(tmp_path / "c.psf"))


def write_table(path):
    fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])]).writeto(path)
    return str(path)


def test_psf_of_files(folder, tmp_path):
    frames.write(tmp_path / "x.fits")
    stage = PSF(file={"replace": r"\.fits$", "by": ".psf", "kind": "psfex"}, size=21)
    out = stage(rows(files=str(tmp_path / "x.fits")))
    assert "has no PSF file" in out["problem_psf"][0] and np.isnan(out["psf_fwhm"][0])
    column = fits.Column("PSF_MASK", "441E", dim="(21,21,1)", array=gaussian(10, 10, 2.0, 21)[None, None])
    hdu = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    hdu.header.update({"ACCEPTED": 9, "POLNAXIS": 0, "PSF_SAMP": 1.0})
    hdu.writeto(tmp_path / "x.psf")
    out = stage(rows(files=str(tmp_path / "x.fits")))
    assert out["psf_fwhm"][0].value == pytest.approx(2.3548 * 2 * SCALE, rel=0.03)
    assert out["psf_stars"][0] == 9 and out["psf_spread"][0] == 0


def reference(folder, **parameters):
    return Calibrate(catalog={"files": str(folder / "stars.ecsv"), "bands": ["g", "r"]}, **parameters)


def test_calibrate_stage(folder, table):
    out = reference(folder)(table)
    good = out[:3]
    error = good["zero_point_err"].value
    assert (error > 0).all() and (error < 0.01).all()
    assert (np.abs(good["zero_point_fit"].value - ZERO_POINT) < 4 * error + 0.005).all()
    assert (np.asarray(good["zero_point_stars"]) > 20).all() and np.isnan(good["color_term"]).all()
    assert np.isnan(out["zero_point_fit"][4]) and "celestial coordinates" in out["problem_calibrate"][4]


def test_a_catalog_that_cannot_be_read_is_no_fault_of_the_images(folder, table, tmp_path):
    Table({"object_id": [1], "ra": [1.0]}).write(tmp_path / "half.ecsv")
    stage = Calibrate(catalog={"files": str(tmp_path / "half.ecsv"), "bands": ["g", "r"]})
    for attempt in (stage.inputs, lambda: stage(table)):
        with pytest.raises(IngestError, match=r"half\.ecsv: no column 'flux_g'"):
            attempt()


def test_color_term(folder):
    row = rows(files=str(folder / "color.fits"))
    found = reference(folder, color=("g", "r"))(row)[0]
    assert abs(found["color_term"] - 0.1) < 4 * found["color_term_err"] < 0.05
    assert abs(found["zero_point_fit"].value - ZERO_POINT) < 4 * found["zero_point_err"].value + 0.005
    moved = reference(folder, color=("g", "r"), pivot=0.5)(row)[0]
    assert moved["zero_point_fit"].value == pytest.approx(
        found["zero_point_fit"].value + 0.5 * found["color_term"], abs=1e-3
    )
    with pytest.raises(ValidationError, match="has no band 'i'"):
        reference(folder, color=("g", "i"))


def test_bands_of_images_and_of_the_catalog(folder, tmp_path):
    frames.write(tmp_path / "a.fits", band="R")
    row = rows(files=str(tmp_path / "a.fits"))
    assert "no band for 'R'; say which in `bands`" in reference(folder)(row)["problem_calibrate"][0]
    assert np.isfinite(reference(folder, bands={"R": "r"})(row)["zero_point_fit"][0])


@given(st.integers(0, 1000), st.integers(0, 12))
@settings(max_examples=20, deadline=None)
def test_outliers_do_not_move_the_fit(seed, outliers):
    rng = np.random.default_rng(seed)
    n, error = 60, 0.02
    color = rng.uniform(-0.5, 0.5, n)
    difference = 25 + 0.08 * color + rng.normal(0, error, n)
    difference[:outliers] += rng.uniform(0.5, 3, outliers)
    found = fit(difference, np.full(n, error), color)
    assert abs(found.value - 25) < 5 * found.error and abs(found.slope - 0.08) < 5 * found.slope_error
    assert found.error == pytest.approx(error / np.sqrt(n - outliers), rel=0.5)


def test_contract(folder, tmp_path):
    with fits.open(folder / "frame-0.fits") as opened:
        for name, side in (("a", 140), ("b", 150)):
            fits.PrimaryHDU(opened[0].data[:side, :side], opened[0].header).writeto(tmp_path / f"{name}.fits")
    files = [*(tmp_path / f"{name}.fits" for name in "ab"), folder / "broken.fits", folder / "empty.fits"]
    table = rows(files=tuple(map(str, files)))
    # One PSF is enough for that stage, which takes most of the time.
    for stage, chosen in ((Background(), table), (reference(folder), table), (PSF(size=9), table[[1, 2, 3, 2]])):
        assert stage(chosen)[f"problem_{stage.name}"][0] == ""
        check_stage(stage, chosen)


def test_in_a_pipeline(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(
        "astrokeras: 1\nname: frames\n"
        f"source:\n  exposures: {{files: ['{folder}/frame-*.fits', '{folder}/broken.fits']}}\n"
        "stages:\n  - background: {box: 64}\n"
        f"  - calibrate: {{catalog: {{files: '{folder}/stars.ecsv', bands: [g, r]}}}}\n"
        "outputs:\n  - votable: {path: frames.vot}\n"
    )
    Pipeline.read("p.yaml").run()
    made = Table.read("frames.vot")
    assert len(made) == 4 and np.allclose(made["zero_point_fit"][:3], ZERO_POINT, atol=0.02)
    assert made["problem"][3] and made["problem_calibrate"][3] and made["flags"][3] == Flag.NO_DATA
