"""Resampling of stamps: where light goes, how much of it, and the noise it makes."""

import numpy as np
import pytest
from reproject import reproject_interp
from test_cutouts import SCALE, objects, tan, write

from astrokeras.errors import IngestError
from astrokeras.flags import Flag
from astrokeras.images.image import Pixel
from astrokeras.images.reader import read_image
from astrokeras.images.resample import map_of, resample, samples
from astrokeras.ingest.cutouts import Cutouts
from astrokeras.ingest.regridding import north_up
from astrokeras.photometry.noise_correlation import blank, correlation_factor

#: FWHM of 2.35 pixels: a well sampled survey image has no less.
SIGMA = 1.0


def gaussian(shape, x, y, sigma=SIGMA):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 2 / sigma**2) / (2 * np.pi * sigma**2)


def affine(size, scale, angle, x, y):
    """Maps of stamps whose middles lie at old pixels (x, y)."""
    t = np.array([-1.0, 0.0, 1.0]) * (size - 1) / 2 * scale
    along, up = np.meshgrid(t, t)
    c, s = np.cos(angle), np.sin(angle)
    x, y = (np.asarray(a, float)[:, None, None] for a in (x, y))
    return map_of(x + along * c - up * s, y + along * s + up * c)


@pytest.mark.parametrize("scale", [1.0, 0.66, 0.396 / 0.262, 3.0])
@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_flux_is_conserved_to_a_thousandth(scale, angle):
    rng = np.random.default_rng(1)
    n, side, size = 24, 150, int(60 / scale)
    where = rng.uniform(73, 76, (4, n))
    stamps = np.array([100 * gaussian((side, side), *w) for w in where[:2].T], np.float32)
    maps = affine(size, scale, angle, *where[2:])
    out, _, mask = resample(stamps, np.ones_like(stamps), np.zeros(stamps.shape, np.uint8), maps, size, samples(scale))
    np.testing.assert_allclose(out.sum(axis=(1, 2), dtype=float), 100, rtol=1.2e-3 if scale == 3.0 else 1e-3)
    assert abs(out.sum(dtype=float) / n / 100 - 1) < 1e-4
    assert not mask.any()
    # The light lies where the map says: first moments in new pixels.
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    dx, dy = (where[k] - where[k + 2] for k in (0, 1))
    c, s = np.cos(angle), np.sin(angle)
    expected = np.stack([dx * c + dy * s, -dx * s + dy * c]) / scale
    found = np.stack([(out * grid).sum(axis=(1, 2)) / out.sum(axis=(1, 2)) for grid in (columns, rows)])
    # Lanczos itself is off by up to 0.02 pixels; pixels of 3 old ones do not sample this light.
    np.testing.assert_allclose(found, expected, atol=0.05 if scale == 3.0 else 0.025)


def test_a_grid_that_is_the_old_one_changes_nothing():
    rng = np.random.default_rng(2)
    stamps = rng.normal(size=(3, 40, 40)).astype(np.float32)
    maps = affine(21, 1.0, 0.0, [20.0, 19.0, 18.0], [20.0] * 3)
    out, sigma, _ = resample(stamps, np.full_like(stamps, 2), np.zeros(stamps.shape, np.uint8), maps, 21)
    for k, x in enumerate((20, 19, 18)):
        np.testing.assert_allclose(out[k], stamps[k, 10:31, x - 10 : x + 11], atol=1e-5)
    np.testing.assert_allclose(sigma, 2, rtol=1e-6)


def test_holes_stay_holes_and_do_not_ring():
    stamps = np.full((1, 60, 60), 5.0, np.float32)
    stamps[0, 30, 30] = np.nan
    mask = np.where(np.isnan(stamps), int(Pixel.NO_DATA), 0).astype(np.uint8)
    mask[0, 20, 20] = int(Pixel.SATURATED)
    out, sigma, bits = resample(stamps, np.ones_like(stamps), mask, affine(31, 1.0, 0.0, [30.5], [30.3]), 31)
    lost = np.isnan(out[0])
    assert lost.sum() == 4 and np.array_equal(lost, np.isnan(sigma[0]))
    # Near the hole, as anywhere, the sky is 5: weights are normalised.
    np.testing.assert_allclose(out[0][~lost], 5, rtol=1e-5)
    assert np.array_equal(bits[0] & Pixel.NO_DATA > 0, lost) and (bits[0] & Pixel.SATURATED > 0).sum() == 4


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.5), (1.0, 0.0), (0.396 / 0.262, 0.3)])
def test_errors_of_pixels_and_of_sums(scale, shift):
    """White noise: single pixels have the error that is given, sums over many the factor times it."""
    rng = np.random.default_rng(3)
    n, side, size = 64, 130, 64
    stamps = rng.normal(0, 3, (n, side, side)).astype(np.float32)
    middle = np.full(n, 64.5 + shift)
    maps = affine(size, scale, 0.0, middle, middle)
    out, sigma, _ = resample(
        stamps, np.full_like(stamps, 3), np.zeros(stamps.shape, np.uint8), maps, size, samples(scale)
    )
    scatter = out.std(axis=0, dtype=float)
    np.testing.assert_allclose(np.median(scatter / sigma[0]), 1, atol=0.02)
    # A sum over a region holds the noise of its old pixels: sigma 3, scale**2 of them per new pixel.
    expected = np.sqrt(scale**2 * 9 / (sigma[0] ** 2).mean())
    assert correlation_factor(blank(out / sigma)) == pytest.approx(expected, rel=0.04)


def test_objects_do_not_count_as_noise():
    rng = np.random.default_rng(5)
    stamps = rng.normal(size=(64, 48, 48))
    for stamp in stamps:
        stamp += sum(rng.exponential(2e4) * gaussian(stamp.shape, *rng.uniform(0, 48, 2), sigma=2) for _ in range(2))
    assert correlation_factor(blank(stamps)) == pytest.approx(1, abs=0.1)
    assert np.isnan(correlation_factor(blank(stamps[:1])))


def test_north_is_up_and_east_is_left():
    grid = north_up(np.array([150.0, 359.9999]), np.array([2.0, 89.0]), 101, 0.4)
    step = 50 * 0.4 / 3600
    assert grid.ra[0, 1, 1] == pytest.approx(150) and grid.dec[0, 1, 1] == pytest.approx(2)
    assert grid.dec[0, 2, 1] == pytest.approx(2 + step, abs=1e-8)
    assert (grid.ra[0, 1, 0] - 150) * np.cos(np.radians(2)) == pytest.approx(step, rel=1e-6)
    wcs = tan((150.0, 2.0), scale=0.4, shape=(101, 101))
    nodes = np.meshgrid([0, 50, 100], [0, 50, 100])
    sky = wcs.pixel_to_world(*nodes)
    np.testing.assert_allclose(grid.ra[0], sky.ra.deg, atol=1e-9)
    np.testing.assert_allclose(grid.dec[0], sky.dec.deg, atol=1e-9)


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """One star field seen by two cameras: other scale, angle and offset; blank sky has sigma 1."""
    folder = tmp_path_factory.mktemp("sky")
    rng = np.random.default_rng(6)
    grids = {"g": tan(angle=25, shape=(260, 260)), "r": tan(angle=-70, shift=(0.3, -0.6), scale=0.24, shape=(330, 330))}
    stars = objects(grids["g"], *rng.uniform(40, 220, (2, 12)))
    for band, wcs in grids.items():
        shape = (260, 260) if band == "g" else (330, 330)
        data = rng.normal(0, 1, shape)
        for x, y in zip(*wcs.world_to_pixel_values(stars["ra"].value, stars["dec"].value), strict=True):
            data += 5e4 * gaussian(shape, x, y, sigma=0.42 / (0.3 if band == "g" else 0.24))
        write(folder / f"im-{band}.fits", wcs, data, band=band)
    return folder, stars


@pytest.mark.parametrize("to", [{"to": "g"}, {"pixel_scale": 0.4}, {"pixel_scale": 0.2}])
def test_all_bands_on_one_grid(sky, to):
    folder, stars = sky
    stage = Cutouts(
        images=f"{folder}/im-{{band}}.fits", bands=("g", "r"), size="9.6 arcsec", errors=True, offsets=True,
        resample=to, pixel_scale=SCALE if "to" in to else None,
    )  # fmt: skip
    out = stage(stars)
    stamps = out["stamp"].value.astype(float)
    grid = np.arange(stage.pixels) - (stage.pixels - 1) / 2
    scale = to.get("pixel_scale", SCALE)
    # Within a circle of 4 arcsec the star is alone.
    dx, dy = (out[f"stamp_d{axis}"].value[:, 0, None, None] for axis in "xy")
    near = np.hypot(grid - dx, grid[:, None] - dy) < 4 / scale
    alone = np.array(
        [np.sort(np.hypot((stars["ra"] - s["ra"]).value, (stars["dec"] - s["dec"]).value))[1] for s in stars]
    )
    used = alone * 3600 > 9
    assert used.sum() >= 4
    flux = (stamps * near[..., None]).sum(axis=(1, 2))[used]
    error = np.sqrt(((out["stamp_err"].value * near[..., None]) ** 2).sum(axis=(1, 2)))[used]
    assert np.abs(flux / 5e4 - 1).max() < 4e-3
    assert (np.abs(flux - 5e4) < 4.5 * error).all()
    for axis, there in (("x", grid), ("y", grid[:, None])):
        middle = (stamps * near[..., None] * there[..., None]).sum(axis=(1, 2))[used] / flux
        np.testing.assert_allclose(middle, out[f"stamp_d{axis}"].value[used], atol=0.03)
    if "to" in to:
        plain = Cutouts(images=f"{folder}/im-g.fits", bands=("g",), size=stage.pixels)(stars)
        np.testing.assert_array_equal(out["stamp"][..., 0], plain["stamp"][..., 0])
        assert np.ptp(out["stamp_dx"].value, axis=1).max() == 0
    else:
        assert not out["stamp_dx"].value.any()


def test_like_reproject(sky):
    """Bicubic interpolation of reproject, times the area of the pixels, is close on smooth light."""
    folder, stars = sky
    out = Cutouts(images=f"{folder}/im-{{band}}.fits", bands=("g", "r"), size=31, resample={"to": "g"})(stars[:3])
    g, r = (read_image(f"{folder}/im-{band}.fits", band=band) for band in "gr")
    theirs, _ = reproject_interp((r.data, r.wcs), g.wcs, shape_out=g.data.shape, order="bicubic")
    theirs *= (0.3 / 0.24) ** 2
    for k, star in enumerate(stars[:3]):
        x, y = g.wcs.world_to_pixel_values(star["ra"].value, star["dec"].value)
        x0, y0 = (int(np.ceil(p - 15.5)) for p in (x, y))
        difference = out["stamp"][k, :, :, 1].value - theirs[y0 : y0 + 31, x0 : x0 + 31]
        assert np.abs(difference).max() < 0.03 * np.nanmax(out["stamp"][k, :, :, 1].value)


def test_errors_of_sums_of_resampled_bands(sky):
    """Blank apertures scatter as their errors say: the factor from blank sky is in them."""
    folder, _ = sky
    rng = np.random.default_rng(8)
    blanks = objects(tan(angle=25, shape=(260, 260)), *rng.uniform(40, 220, (2, 300)))
    stage = Cutouts(
        images=f"{folder}/im-{{band}}.fits", bands=("r",), size=16, resample={"pixel_scale": 0.2}, errors=True, core=1.0
    )
    out = stage(blanks)
    sums = np.nansum(out["stamp"].value, axis=(1, 2, 3))
    said = np.sqrt(np.nansum(out["stamp_err"].value ** 2, axis=(1, 2, 3)))
    spread = 1.4826 * np.median(np.abs(sums - np.median(sums)))
    # The images have sigma 1 and say 2.
    assert spread * 2 == pytest.approx(np.median(said), rel=0.2)


def test_edges_and_a_grid_that_is_too_coarse(sky):
    folder, stars = sky
    images = f"{folder}/im-{{band}}.fits"
    table = objects(tan(angle=25, shape=(260, 260)), [130.0, 3.0, -40.0, np.nan], [130.0] * 4)
    out = Cutouts(images=images, bands=("g", "r"), size=20, resample={"pixel_scale": 0.3}, masks=True)(table)
    flags = np.asarray(out["flags"])
    assert flags[0] & (Flag.EDGE_STAMP | Flag.NO_IMAGE) == 0 and flags[1] & Flag.EDGE_STAMP
    assert flags[2] & Flag.NO_IMAGE and flags[3] & Flag.NO_IMAGE
    lost = np.isnan(out["stamp"].value)
    np.testing.assert_array_equal(lost, np.asarray(out["stamp_mask"]) & int(Pixel.NO_DATA) > 0)
    assert 0 < lost[1, :, :, 0].sum() < 400 and lost[2].all()
    with pytest.raises(IngestError, match=r"im-g\.fits, HDU SCI: pixels of 3 arcsec are 10\.0 times"):
        Cutouts(images=images, bands=("g",), size=20, resample={"pixel_scale": 3.0})(stars)
