"""Objects of simulated images are found and measured: fluxes, errors, flags, tiles."""

from types import SimpleNamespace

import numpy as np
import pytest
import scenes
from astropy import units as u
from scipy import ndimage

from astrokeras import Colors, Extent
from astrokeras.errors import IngestError
from astrokeras.flags import Flag
from astrokeras.images.image import Pixel
from astrokeras.photometry.detection import detect
from astrokeras.photometry.detection_options import aperture_name
from astrokeras.photometry.measuring import _total
from astrokeras.photometry.psf_model import Psf

#: The PSFs of `scenes.field`, for tests of something else.
PSF_R = {"r": Psf.moffat(3.0, 3.0, 20)}
PSF = PSF_R | {"i": Psf.moffat(3.6, 3.0, 22)}


def robust(values):
    """Standard deviation from the median of absolute deviations."""
    return 1.4826 * np.median(np.abs(values - np.median(values)))


@pytest.fixture(scope="module")
def field():
    return scenes.field(size=440, count=70)


@pytest.fixture(scope="module")
def corner(field):
    """A corner of the field, for tests that need few objects."""
    return [scenes.image(one.data[:260, :260], one.band, one.wcs) for one in field[0]]


@pytest.fixture(scope="module")
def table(field):
    return detect(field[0])


@pytest.fixture(scope="module")
def isolated(field, table):
    """Rows of stars without a neighbour within 20 pixels, and their fluxes."""
    _, x, y, flux = field
    distance = np.hypot(x[:, None] - x, y[:, None] - y) + 1e9 * np.eye(len(x))
    edge = np.minimum.reduce([x, y, 439 - x, 439 - y])
    rows, near = scenes.matched(table, x, y)
    chosen = near & (distance.min(axis=1) > 20) & (edge > 12)
    return rows[chosen], flux[chosen]


def test_psf_fluxes_of_stars_are_right_to_a_percent(table, isolated):
    rows, flux = isolated
    bright = flux > 1000
    assert bright.sum() > 12
    for band, color in (("r", 1.0), ("i", 1.5)):
        ratio = table[f"flux_psf_{band}"][rows[bright]].value / (color * flux[bright])
        assert np.median(ratio) == pytest.approx(1, abs=0.005)
        assert np.all(np.abs(ratio - 1) < 0.03)


def test_total_and_color_fluxes_of_stars_are_total(table, isolated):
    rows, flux = isolated
    bright = flux > 1000
    for name, tolerance in (("flux_total_r", 0.01), ("flux_r", 0.01)):
        ratio = table[name][rows[bright]].value / flux[bright]
        assert np.median(ratio) == pytest.approx(1, abs=tolerance)
    colors = Colors(bands=["i", "r"])(table)["color_i_r"][rows[bright]].value
    # The seeing differs by 20 % between the bands; unmatched apertures would be off by 0.15 mag.
    assert np.median(colors) == pytest.approx(-2.5 * np.log10(1.5), abs=0.01)
    assert robust(colors) < 0.01
    extent = Extent(bands=["r"])(table)["extent_r"][rows[bright]].value
    assert np.abs(np.median(extent)) < 0.01


def test_pulls_have_unit_width(table, isolated):
    rows, flux = isolated
    faint = flux < 1000
    assert faint.sum() > 12
    for kind in ("", "psf_", "total_"):
        pulls = [
            table[f"flux_{kind}{band}"][rows[faint]].value - color * flux[faint]
            for band, color in (("r", 1.0), ("i", 1.5))
        ]
        errors = [table[f"flux_err_{kind}{band}"][rows[faint]].value for band in "ri"]
        assert 0.7 < robust(np.concatenate(pulls) / np.concatenate(errors)) < 1.35


def test_positions_are_those_of_the_reference_band_and_of_the_sky(field, table):
    images, x, y, flux = field
    rows, near = scenes.matched(table, x, y)
    bright = near & (flux > 2000)
    found = table[rows[bright]]
    assert np.median(np.hypot(found["x"].value - x[bright], found["y"].value - y[bright])) < 0.02
    sky = images[0].wcs.pixel_to_world(found["x"].value, found["y"].value)
    np.testing.assert_allclose(found["ra"].to_value("deg"), sky.ra.deg, atol=1e-9)
    np.testing.assert_allclose(found["dec"].to_value("deg"), sky.dec.deg, atol=1e-9)
    assert len(set(table["object_id"])) == len(table)


def test_stars_at_a_signal_to_noise_ratio_of_ten_are_found():
    # Of a Gaussian PSF of 3 pixels, the error of the flux is 2 sqrt(pi) sigma_psf = 4.5; of the Moffat profile, more.
    images, x, y, _ = scenes.field(seed=3, size=500, count=80, faint=60.0, bright=60.0)
    table = detect(images[:1], psf=PSF_R)
    rows, near = scenes.matched(table, x, y, radius=2.0)
    distance = np.hypot(x[:, None] - x, y[:, None] - y) + 1e9 * np.eye(len(x))
    alone = distance.min(axis=1) > 12
    snr = table["flux_psf_r"][rows] / table["flux_err_psf_r"][rows]
    assert 7 < np.median(snr[near]) < 13
    assert near[alone].mean() > 0.95
    # and few things that are not there
    assert len(table) - near.sum() < 12


def test_nine_tiles_give_the_catalog_of_one(corner):
    whole = detect(corner, psf=PSF, tile=1024)
    parts = detect(corner, psf=PSF, tile=90, overlap=70)
    assert len(whole) > 15
    assert sorted(whole["object_id"]) == sorted(parts["object_id"])
    whole, parts = (t[np.argsort(t["object_id"])] for t in (whole, parts))
    for name in whole.colnames[1:]:
        a, b = (np.asarray(getattr(t[name], "value", t[name])) for t in (whole, parts))
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6, err_msg=name)


def test_same_input_gives_same_bytes(corner):
    first, again = (detect(corner[:1]) for _ in range(2))
    assert len(first) > 15
    assert all(np.asarray(again[n]).tobytes() == np.asarray(first[n]).tobytes() for n in first.colnames)


def test_a_pair_is_separated_and_shares_its_light():
    rng = np.random.default_rng(5)
    shape, fwhm = (300, 300), 3.0
    x, y = rng.uniform(20, 280, (2, 25))
    x, y = (v[np.hypot(x - 150, y - 150) > 30] for v in (x, y))
    data = scenes.stars(shape, x, y, np.full(len(x), 5000.0), fwhm) + rng.normal(0, 1, shape)
    data += scenes.stars(shape, [148.0, 154.0], [150.0, 150.6], [4000.0, 2000.0], fwhm)
    found = detect([scenes.image(data, "r")], psf=PSF_R, pixel_scale=0.4)
    rows, near = scenes.matched(found, [148.0, 154.0], [150.0, 150.6])
    assert near.all()
    assert rows[0] != rows[1]
    pair = found[rows]
    np.testing.assert_allclose(pair["flux_psf_r"].value, [4000, 2000], rtol=0.04)
    assert np.all(np.asarray(pair["flags"]) & Flag.BLENDED)
    together = detect([scenes.image(data, "r")], psf=PSF_R, pixel_scale=0.4, deblend=False)
    assert not np.any(np.asarray(together["flags"]) & Flag.BLENDED)
    assert len(together) < len(found)


def test_bad_pixels_are_flagged_and_mostly_made_good():
    rng = np.random.default_rng(6)
    shape, fwhm, flux = (320, 320), 3.0, 8000.0
    x, y = (v.ravel() for v in np.meshgrid([50.3, 120.1, 190.4, 260.2], [60.2, 130.4, 200.1, 270.3]))
    data = scenes.stars(shape, x, y, np.full(len(x), flux), fwhm) + rng.normal(0, 1, shape)
    mask = np.zeros(shape, np.int32)
    core = (slice(59, 62), slice(49, 52))
    mask[core] |= Pixel.SATURATED
    data[core] = 200.0
    mask[129:132, 123:126] |= Pixel.BAD
    data[129:132, 123:126] = 9999.0
    data[195:, 255:] = np.where(np.indices((125, 65)).sum(axis=0) > 15, np.nan, data[195:, 255:])
    data[:, :20] = np.nan
    table = detect([scenes.image(data, "r", mask=mask)], pixel_scale=0.4)
    flags = np.asarray(table["flags"])
    rows, near = scenes.matched(table, [50.3, 120.1, 190.4], [60.2, 130.4, 130.4])
    assert near.all()
    saturated, spoilt, good = rows
    assert flags[saturated] & Flag.SATURATED
    # the wings tell the flux
    assert table["flux_psf_r"][saturated].value == pytest.approx(flux, rel=0.05)
    assert flags[spoilt] & Flag.MASKED_PIXELS
    for name in ("flux_psf_r", "flux_total_r", "flux_r"):
        assert table[name][spoilt].value == pytest.approx(flux, rel=0.03)
    assert flags[good] == Flag.BAD_POSITION
    assert not np.any(table["x"].value < 19)
    cut = np.hypot(table["x"].value - 260, table["y"].value - 200) < 3
    assert np.all(flags[cut] & Flag.MASKED_PIXELS)


def test_an_object_at_the_edge_is_truncated():
    rng = np.random.default_rng(7)
    x, y = (v.ravel() for v in np.meshgrid([50.0, 110.0, 170.0], [50.0, 110.0, 170.0]))
    x, y = np.append(x, 0.5), np.append(y, 80.0)
    data = scenes.stars((220, 220), x, y, np.full(10, 5000.0), 3.0) + rng.normal(0, 1, (220, 220))
    table = detect([scenes.image(data, "r", scenes.grid((220, 220)))], psf=PSF_R)
    rows, near = scenes.matched(table, x, y)
    assert near.all()
    truncated = (np.asarray(table["flags"])[rows] & Flag.TRUNCATED) > 0
    assert truncated.tolist() == [False] * 9 + [True]


def test_an_object_off_the_image_of_a_band_lacks_that_band(field):
    images = field[0]
    narrow = scenes.image(images[1].data[:, :300], "i", images[1].wcs)
    table = detect([images[0], narrow], detect=["r"], psf=PSF)
    missing = (np.asarray(table["flags"]) & Flag.MISSING_BAND) > 0
    far, near = table["x"].value > 310, table["x"].value < 290
    assert missing[far].all()
    assert np.isnan(table["flux_i"][far]).all()
    assert np.isnan(table["flux_psf_i"][far]).all()
    assert not missing[near].any()
    assert np.isfinite(table["flux_r"]).all()


def test_noise_that_is_correlated_makes_errors_larger():
    rng = np.random.default_rng(8)
    shape, fwhm, flux = (480, 480), 3.5, 400.0
    x, y = (v.ravel() + rng.uniform(-0.5, 0.5, 144) for v in np.meshgrid(*[np.linspace(25, 455, 12)] * 2))
    clean = scenes.stars(shape, x, y, np.where(np.arange(144) < 12, 2e4, flux), fwhm)
    noise = [ndimage.gaussian_filter(rng.normal(0, 1, shape), 0.9) for _ in "ri"]
    images = [scenes.image(clean + n / n.std(), band, scenes.grid(shape)) for n, band in zip(noise, "ri", strict=True)]
    table = detect(images, psf=dict.fromkeys("ri", Psf.moffat(fwhm, 3.0, 21)), apertures=(3.0,))
    rows, near = scenes.matched(table, x[12:], y[12:])
    assert near.all()
    # The noise of the bands is independent: 264 pulls, whose width is known to 7 %.
    for kind in ("psf", "total"):
        names = [f"{kind}_{band}" for band in "ri"]
        pulls = [(table[f"flux_{n}"][rows].value - flux) / table[f"flux_err_{n}"][rows].value for n in names]
        assert 0.85 < robust(np.concatenate(pulls)) < 1.18, kind
    # Errors of colour fluxes are those of colours: the factor to the total flux is one for both bands.
    relative = [table[f"flux_err_{b}"][rows].value / table[f"flux_{b}"][rows].value for b in "ri"]
    pull = np.log(table["flux_r"][rows].value / table["flux_i"][rows].value) / np.hypot(*relative)
    assert 0.85 < robust(pull) < 1.18
    # Uncorrelated pixels would give an aperture of 7.5 pixels the error sqrt(pi) 3.75.
    error = np.median(table[f"flux_err_{aperture_name(3.0)}_r"][rows].value)
    assert 2.2 < error / (np.sqrt(np.pi) * 3.75) < 3.4


def test_galaxies_have_their_total_flux_color_and_shape():
    rng = np.random.default_rng(9)
    shape = (260, 260)
    sx, sy = rng.uniform(15, 245, (2, 14))
    sx, sy = (v[np.hypot(sx - 130, sy - 130) > 60] for v in (sx, sy))
    images = []
    for band, color, fwhm in (("r", 1.0, 3.0), ("i", 2.0, 3.8)):
        data = scenes.galaxy(shape, 130.3, 129.6, 20000 * color, 8.0, 1.0, 0.4, np.deg2rad(30), fwhm)
        data = data + scenes.stars(shape, sx, sy, np.full(len(sx), 8000.0), fwhm) + rng.normal(0, 1, shape)
        images.append(scenes.image(data, band, scenes.grid(shape)))
    table = detect(images, psf={"r": Psf.moffat(3.0, 3.0, 20), "i": Psf.moffat(3.8, 3.0, 23)})
    row = scenes.matched(table, [130.3], [129.6])[0][0]
    galaxy = table[row]
    # 2.5 Kron radii hold 94 to 97 % of an exponential disk (Bertin & Arnouts 1996).
    for band, color in (("r", 1.0), ("i", 2.0)):
        assert 0.92 < galaxy[f"flux_total_{band}"].value / (20000 * color) < 1.02
    assert galaxy["flux_i"].value / galaxy["flux_r"].value == pytest.approx(2.0, rel=0.01)
    assert galaxy["flux_psf_r"] < 0.5 * galaxy["flux_total_r"]
    assert Extent(bands=["r"])(table)["extent_r"][row].value > 0.7
    assert galaxy["ellipticity"] == pytest.approx(0.38, abs=0.06)
    # 30 deg from the columns towards the rows; columns run to the west, so 60 deg from north to the west.
    assert galaxy["theta"].value == pytest.approx(120, abs=4)
    assert 0.8 < galaxy["half_light_radius"].value / (8.0 * np.sqrt(0.6) * 0.4) < 1.25


def test_pixels_of_another_size_give_the_same_fluxes():
    rng = np.random.default_rng(10)
    x, y = rng.uniform(20, 380, (2, 30))
    flux = 10 ** rng.uniform(3, 4.3, 30)
    fine = scenes.stars((400, 400), x, y, flux, 4.0) + rng.normal(0, 1, (400, 400))
    wcs = scenes.grid((400, 400))
    coarse_wcs = scenes.grid((260, 260), scale=0.65)
    place = coarse_wcs.world_to_pixel(wcs.pixel_to_world(x, y))
    coarse = scenes.stars((260, 260), *place, flux, 4.0 * 0.4 / 0.65) + rng.normal(0, 1, (260, 260))
    psf = {"r": Psf.moffat(4.0, 3.0, 24), "i": Psf.moffat(4.0 * 0.4 / 0.65, 3.0, 16)}
    images = [scenes.image(fine, "r", wcs), scenes.image(coarse, "i", coarse_wcs)]
    table = detect(images, detect=["r"], psf=psf, box=130)
    rows, near = scenes.matched(table, x, y)
    alone = near & (np.asarray(table["flags"])[rows] == 0)
    assert alone.sum() > 15
    for name in ("flux_psf_i", "flux_total_i", "flux_i"):
        assert np.median(table[name][rows[alone]].value / flux[alone]) == pytest.approx(1, abs=0.02)


def test_the_sky_is_subtracted(field, corner):
    _, x, y, flux = field
    yy, xx = np.indices(corner[0].shape)
    lifted = scenes.image(corner[0].data + 50 + 0.02 * xx + 0.01 * yy, "r", corner[0].wcs)
    plain, moved = (detect([one], psf=PSF_R) for one in (corner[0], lifted))
    a, near = scenes.matched(plain, x, y)
    b, also = scenes.matched(moved, x, y)
    both = near & also & (flux > 500)
    assert both.sum() > 12
    ratio = moved["flux_psf_r"][b[both]] / plain["flux_psf_r"][a[both]]
    assert np.median(np.abs(ratio - 1)) < 0.01


def test_counts_stay_counts_and_scale(corner):
    from dataclasses import replace

    one = corner[0]
    table = detect([replace(one, unit="ct")], psf=PSF_R)
    assert table["flux_r"].unit == u.ct
    assert table["flux_r"].info.meta["photometry"] == "aperture"
    assert table["flux_total_r"].info.meta == {"filter": "SLOAN/SDSS.r", "photometry": "kron", "dereddened": "no"}
    with pytest.raises(IngestError, match="different units: 'ct', 'nJy'"):
        detect([replace(one, unit="ct"), corner[1]])


def test_an_empty_sky_gives_no_rows():
    data = np.random.default_rng(11).normal(0, 1, (120, 120))
    table = detect([scenes.image(data, "r", scenes.grid((120, 120)))], threshold=5)
    assert len(table) == 0
    assert {"object_id", "ra", "flux_r", "flags"} <= set(table.colnames)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detect": ["y"]}, "no image of band 'y'"),
        ({"psf": {"g": None}}, "no image of band 'g'"),
    ],
)
def test_bands_that_are_not_there_are_named(field, change, message):
    with pytest.raises(IngestError, match=message):
        detect(field[0], **change)


def test_images_that_do_not_go_together_are_refused(field):
    from dataclasses import replace

    one, other = field[0]
    with pytest.raises(IngestError, match=r"has no WCS, .* has one"):
        detect([one, replace(other, wcs=None)])
    with pytest.raises(IngestError, match="say its `pixel_scale`"):
        detect([replace(one, wcs=None)])
    with pytest.raises(IngestError, match="a band of its own"):
        detect([one, one])
    nothing = scenes.image(np.full((50, 50), np.nan), "r", one.wcs)
    with pytest.raises(IngestError, match="no pixels with noise"):
        detect([nothing])


def test_a_band_without_a_total_says_nothing_about_the_total():
    """As if it were no detection band: a missing flux with a finite error is no flux of 0."""

    def band(total, color=100.0):
        one = {"total": total, "err_total": 1.0, "color": color, "err_color": 1.0}
        return {name: np.array([value]) for name, value in one.items()}

    alone, beside = {}, {}
    _total(alone, {"r": band(150.0)}, SimpleNamespace(detect=("r",)))
    _total(beside, {"r": band(150.0), "i": band(np.nan)}, SimpleNamespace(detect=("r", "i")))
    # The excess over a point source is .5; twice the noise of a flux of 100 is .02: factor 1 + .5^3 / (.5^2 + .02^2).
    assert alone["flux_r"][0] == pytest.approx(100 * (1 + 0.125 / 0.2504))
    assert beside["flux_r"][0] == alone["flux_r"][0]
    # Its colour was measured, and counts in the signal to noise: two bands of 100 each.
    assert (alone["snr"][0], beside["snr"][0]) == pytest.approx((100, 100 * np.sqrt(2)))
