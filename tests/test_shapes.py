"""Shapes of objects: known profiles, the values and flags of statmorph, and what may not matter."""

import warnings

import numpy as np
import pytest
import statmorph
from astropy import units as u
from astropy.io import fits
from astropy.table import Column, QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from photutils.aperture import EllipticalAperture
from pydantic import ValidationError
from scipy.integrate import quad
from scipy.optimize import brentq

from astrokeras.errors import ChunkError
from astrokeras.features.apertures import light, light_radius, petrosian_radius, pixels
from astrokeras.features.asymmetry import asymmetry_at, turned
from astrokeras.features.clumps import gini, m20
from astrokeras.features.morphometry import measure
from astrokeras.features.segments import piece, segment, sky_level
from astrokeras.features.shapes import MEASURES, Shapes
from astrokeras.flags import Flag
from astrokeras.testing import check_stage

#: Our measures by their names in statmorph; orientation is there in radians.
PEER = {
    "concentration": "concentration",
    "asymmetry": "asymmetry",
    "smoothness": "smoothness",
    "gini": "gini",
    "m20": "m20",
    "petrosian": "rpetro_circ",
    "petrosian_ellip": "rpetro_ellip",
    "r20": "r20",
    "r50": "r50",
    "r80": "r80",
    "ellipticity": "ellipticity_asymmetry",
    "x_centroid": "xc_centroid",
    "y_centroid": "yc_centroid",
}


def galaxy(seed, size=81, noise=0.01, n=1.0, clumps=3, q=0.6):
    """Noisy disk or bulge with clumps, near the middle of a stamp."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2 - rng.uniform(-2, 2, (2, 1, 1))
    angle = rng.uniform(0, np.pi)
    u, v = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / q
    image = np.exp(-2 * (np.hypot(u, v) / 5) ** (1 / n))
    for _ in range(clumps):
        cy, cx = rng.normal(0, 5, 2)
        image += 0.15 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 4)
    return image + rng.normal(0, noise, image.shape)


def sersic(n, radius, size=301):
    """Stamp of a round profile, averaged over 5 x 5 points of each pixel, and the profile."""

    def profile(r):
        return np.exp(-(2 * n - 1 / 3) * (r / radius) ** (1 / n))

    steps = (np.arange(size * 5) - (size * 5 - 1) / 2) / 5
    fine = profile(np.hypot(steps[:, None], steps))
    return fine.reshape(size, 5, size, 5).mean(axis=(1, 3)), profile


def within(profile, r):
    return quad(lambda s: 2 * np.pi * s * profile(s), 0, r, epsrel=1e-9)[0]


@pytest.mark.parametrize("n", [0.5, 1.0, 1.5])
def test_radii_of_a_sersic_profile(n):
    image, profile = sersic(n, 12.0)
    field = pixels(image, np.zeros(image.shape, bool))
    wanted = brentq(lambda r: profile(r) * np.pi * r * r - 0.2 * within(profile, r), 5, 100)
    found, fine = petrosian_radius(field, 150.0, 150.0, 1.0, 0.0)
    assert fine
    assert found == pytest.approx(wanted, rel=2e-3)
    for fraction in (0.2, 0.5, 0.8):
        largest = 1.5 * wanted
        wanted_part = brentq(lambda r: within(profile, r) - fraction * within(profile, largest), 0.1, largest)  # noqa: B023
        assert light_radius(field, 150.0, 150.0, largest, fraction)[0] == pytest.approx(wanted_part, rel=5e-3)


def test_concentration_and_ellipse_of_an_exponential_disk():
    image, profile = sersic(1.0, 8.0, size=201)
    image = image + np.random.default_rng(0).normal(0, 1e-4, image.shape)
    shape = measure(image, segment(image), 1, np.zeros(image.shape, bool))
    petrosian = brentq(lambda r: profile(r) * np.pi * r * r - 0.2 * within(profile, r), 5, 100)
    total = within(profile, 1.5 * petrosian)
    r20, r50, r80 = (brentq(lambda r: within(profile, r) - f * total, 0.1, 60) for f in (0.2, 0.5, 0.8))  # noqa: B023
    assert shape.concentration == pytest.approx(5 * np.log10(r80 / r20), rel=5e-3)
    assert shape.r50 == pytest.approx(r50, rel=5e-3)
    assert (shape.x_centroid, shape.y_centroid) == pytest.approx((100, 100), abs=0.01)
    assert (shape.ellipticity, shape.asymmetry) == pytest.approx((0, 0), abs=0.01)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-5, 35), st.floats(-5, 25), st.floats(0.05, 60), st.floats(0.05, 1), st.floats(-7, 7), st.integers(0, 99)
)
def test_light_in_an_ellipse_is_that_of_photutils(x, y, a, q, theta, seed):
    rng = np.random.default_rng(seed)
    image, masked = rng.normal(size=(20, 30)), rng.random((20, 30)) < 0.1
    aperture = EllipticalAperture((x, y), a, a * q, theta=theta)
    wanted = aperture.do_photometry(image, method="exact")[0][0], aperture.area_overlap(image, mask=masked)
    found = light(pixels(image, masked), x, y, a, a * q, theta)
    np.testing.assert_allclose(found, np.nan_to_num(wanted), atol=1e-8 * a * a + 1e-9)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.arange(1.0, 500), 1 / 3),
        (-np.log(np.linspace(1, 0, 20001)[:-1]), 1 / 2),
        (np.ones(9), 0),
        (np.eye(1, 9)[0], 1),
        (np.array([1.0]), np.nan),
        (np.zeros(5), np.nan),
    ],
)
def test_gini_of_known_distributions(values, wanted):
    assert gini(np.random.default_rng(0).permutation(values)) == pytest.approx(wanted, abs=2e-3, nan_ok=True)


def test_m20_of_a_disk_follows_from_its_profile():
    image, profile = sersic(1.0, 12.0, size=181)
    y, x = np.mgrid[-90:91, -90:91]
    image[np.hypot(x, y) > 60] = 0
    r20 = brentq(lambda r: within(profile, r) - 0.2 * within(profile, 60), 0.1, 60)
    brightest, every = (quad(lambda s: s**3 * profile(s), 0, r)[0] for r in (r20, 60))
    assert m20(image) == pytest.approx(np.log10(brightest / every), abs=0.02)
    assert m20(np.ones((5, 5))) == 0
    assert np.isnan(m20(np.zeros((5, 5))))


def test_asymmetry_of_a_half_plane_is_two():
    image = np.zeros((41, 41))
    image[:, 21:] = 1
    nothing = np.zeros(image.shape, bool)
    pair = turned(image, nothing, 15.0)
    assert asymmetry_at(pair, 20.0, 20.0, 15.0, 0.0) == pytest.approx(2)
    # Of the pixels on the other side, a third has no counterpart that counts.
    assert asymmetry_at(pair, 50.0, 20.0, 15.0, 0.0) == 100
    symmetric = image + image[::-1, ::-1]
    assert asymmetry_at(turned(symmetric, nothing, 15.0), 20.0, 20.0, 15.0, 0.0) == 0
    nothing[:, 21:] = True
    assert asymmetry_at(turned(np.where(nothing, 0, image), nothing, 15.0), 20.0, 20.0, 15.0, 0.0) == 100


def test_a_piece_hangs_together_over_corners():
    above = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 1, 0, 1]], bool)
    assert piece(above, 2, 1).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]
    assert not piece(above, 0, 1).any()


def test_segments_are_above_the_sky_and_the_middle_one_is_the_object():
    rng = np.random.default_rng(1)
    image = rng.normal(5, 1, (60, 80))
    level, sigma = sky_level(image)
    assert (level, sigma) == pytest.approx((5, 1), abs=0.05)
    image[27:33, 36:44] += 20
    image[5:9, 70:75] += 50
    image[0, 0] = np.nan
    found = segment(image, threshold=3.0)
    assert found[30, 40] == 1
    assert found[7, 72] == 2
    assert 48 <= np.count_nonzero(found == 1) <= 90
    assert not segment(np.full((9, 9), np.nan)).any()


def reference(image, segments, label, masked=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return statmorph.SourceMorphology(image, segments, label, mask=masked, gain=1e3)


def assert_equal_to_statmorph(image, segments, label, masked=None):
    wanted = reference(image, segments, label, masked)
    found = measure(image, segments, label, np.zeros(image.shape, bool) if masked is None else masked)
    values = [getattr(found, name) for name in PEER]
    np.testing.assert_allclose(values, [wanted[name] for name in PEER.values()], rtol=1e-3, atol=1e-4)
    assert found.orientation == pytest.approx(np.degrees(wanted.orientation_asymmetry), abs=0.01)
    assert found.fine == (wanted.flag == 0)
    return wanted.flag


@pytest.mark.parametrize(
    ("seed", "options"),
    [
        (1, {}),
        (2, {"n": 3.0, "clumps": 0, "q": 0.9}),
        (3, {"clumps": 12, "noise": 0.02}),
        (4, {"q": 0.2, "size": 70}),
        (6, {"noise": 0.15}),
    ],
)
def test_equals_statmorph(seed, options):
    image = galaxy(seed, **options)
    assert_equal_to_statmorph(image, segment(image), 1)


def test_equals_statmorph_with_masks_neighbours_and_outliers():
    image = galaxy(5)
    image[50:56, 50:56] += 1
    image[36, 36] = 40
    masked = np.zeros(image.shape, bool)
    masked[45:48, 30:34] = True
    segments = segment(image)
    segments[50:56, 50:56] = 2
    assert_equal_to_statmorph(image, segments, 1, masked)


def test_is_flagged_where_statmorph_flags():
    on_sky = galaxy(1) + 0.1
    assert assert_equal_to_statmorph(on_sky, segment(on_sky), 1) == 2
    pieces = galaxy(8, noise=0.1, clumps=0)
    pieces[20:24, 20:24] += 1.5
    assert assert_equal_to_statmorph(pieces, segment(pieces), 1) > 0


def test_equals_statmorph_on_real_galaxies(shared_data):
    folder, flags = shared_data / "morphology", []
    for path in sorted((folder / "profit_fits" / "SDSS").glob("*fitim.fits")):
        image = fits.getdata(path).astype(float) * 1e12
        segments = fits.getdata(str(path).replace("fitim", "segim")).astype(int)
        label = int(segments[segments.shape[0] // 2, segments.shape[1] // 2])
        flags.append(assert_equal_to_statmorph(image, segments, label))
    for path in sorted((folder / "ceers_fits").glob("ceers_f150w_*.fits")):
        image = fits.getdata(path).astype(float)
        flags.append(assert_equal_to_statmorph(image, segment(image), 1))
    assert len(flags) == 22
    assert 0 < np.count_nonzero(flags) < 8


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3]), st.floats(1e-6, 1e6), st.floats(0.5, 0.9))
def test_turns_and_scales_do_not_matter(seed, turns, scale, n):
    image = galaxy(seed, n=n, noise=1e-3)
    nothing = np.zeros(image.shape, bool)
    a = measure(image, segment(image), 1, nothing)
    b = measure(np.rot90(image, turns) * scale, segment(np.rot90(image, turns) * scale), 1, nothing)
    # Steps of the search for the centre, and the box of sky, follow the axes.
    for name, tolerance in {"concentration": 0.01, "asymmetry": 0.01, "gini": 0.002, "m20": 0.01, "r50": 0.02}.items():
        assert getattr(a, name) == pytest.approx(getattr(b, name), abs=tolerance), name


@settings(max_examples=40, deadline=None)
@given(
    st.integers(3, 40), st.integers(3, 40), st.integers(0, 10**6), st.sampled_from(["noise", "point", "flat", "nan"])
)
def test_nothing_breaks_on_anything(height, width, seed, kind):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(height, width)) if kind != "flat" else np.ones((height, width))
    if kind == "point":
        image[height // 2, width // 2] += 1e3
    if kind == "nan":
        image[rng.random(image.shape) < 0.3] = np.nan
    out = Shapes(bands=["r"])(QTable({"stamp": image[None, :, :, None]}))
    gini_, bad = out["gini_r"][0], bool(out["flags"][0] & Flag.BAD_SHAPE)
    assert bad or 0 <= gini_ <= 1


def table(n=6, bands="g,r", **options):
    stamps = np.stack([np.stack([galaxy(10 * i + k, **options) for k in range(2)], axis=-1) for i in range(n)])
    return QTable({"stamp": Column(stamps.astype(np.float32), meta={"bands": bands, "pixel_scale": 0.2})})


def test_keeps_the_contract():
    check_stage(Shapes(bands=["r"]), table(5))
    data = table(4)
    data["seg"] = np.stack([segment(stamp[:, :, 0]) for stamp in data["stamp"]])[..., None]
    data["bad"] = np.zeros(data["stamp"].shape, np.int32)
    check_stage(Shapes(bands=["r", "g"], segments="seg", mask="bad", pixel_scale=0.2), data)


def test_the_columns_are_those_of_each_band():
    data = table(2)
    out = Shapes(bands=["r", "g"], pixel_scale=0.2)(data)
    one = Shapes(bands=["g"])(data)
    for measure_, (unit, _, _) in MEASURES.items():
        scale = 0.2 if unit == "length" else 1
        a, b = (getattr(t[f"{measure_}_g"], "value", t[f"{measure_}_g"]) for t in (out, one))
        np.testing.assert_allclose(a, scale * b, rtol=1e-6)
    assert out["r50_r"].unit == u.arcsec
    assert one["r50_g"].unit == u.pix
    single = measure(
        np.asarray(data["stamp"][1, :, :, 0]), segment(data["stamp"][1, :, :, 0]), 1, np.zeros((81, 81), bool)
    )
    assert one["m20_g"][1] == pytest.approx(single.m20, rel=1e-6)


def test_segments_of_another_band_or_column():
    data = table(3)
    of_r = Shapes(bands=["g", "r"], detect="r")(data)
    alone = Shapes(bands=["g", "r"])(data)
    np.testing.assert_array_equal(of_r["gini_r"], alone["gini_r"])
    np.testing.assert_array_equal(of_r["x_centroid_r"], alone["x_centroid_r"])
    assert not np.array_equal(of_r["x_centroid_g"], alone["x_centroid_g"])
    data["seg"] = np.stack([7 * segment(stamp[:, :, 1]) for stamp in np.asarray(data["stamp"])])[..., None]
    given_ = Shapes(bands=["g", "r"], segments="seg")(data)
    np.testing.assert_array_equal(given_["x_centroid_g"], of_r["x_centroid_g"])


def test_what_is_wrong_is_flagged():
    data = table(7, clumps=0)
    stamps = data["stamp"]
    stamps[1, 40:43, 44:46, 1] = np.nan
    stamps[2, :, :, 1] = np.nan
    stamps[3] = np.nan
    stamps[4, :, :, 1] = np.random.default_rng(0).normal(0, 1, (81, 81))
    stamps[5, :, :, 1] = np.roll(stamps[5, :, :, 1], 38, axis=1)
    stamps[6, :10, :10] = np.nan
    out = Shapes(bands=["g", "r"])(data)
    flags = [Flag(int(value)) for value in out["flags"]]
    assert flags[0] == flags[6] == 0
    assert flags[1] == Flag.MASKED_PIXELS
    assert flags[2] == Flag.NO_IMAGE
    assert flags[3] == Flag.NO_IMAGE
    assert Flag.BAD_SHAPE in flags[4]
    assert Flag.TRUNCATED in flags[5]
    assert np.isnan(out["gini_r"][2:4]).all()
    assert np.isfinite(out["gini_g"][2])


def test_what_cannot_be_is_an_error():
    data = table(2)
    with pytest.raises(ChunkError, match=r"have 0\.2 arcsec, `pixel_scale` says 0\.3"):
        Shapes(bands=["r"], pixel_scale=0.3)(data)
    data["seg"] = np.zeros((2, 81, 80, 1), np.int32)
    with pytest.raises(ChunkError, match="cells of 'seg' are"):
        Shapes(bands=["r"], segments="seg")(data)
    known = Shapes(bands=["r"]).reads()[0].model_copy(update={"shape": (9, 9, 1), "meta": {"pixel_scale": 0.2}})
    with pytest.raises(ChunkError, match="pixel_scale"):
        Shapes(bands=["r"], pixel_scale=0.3).accepts((known,))
    with pytest.raises(ValidationError):
        Shapes(bands=[])
