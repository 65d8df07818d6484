"""Colours within objects, and pixels as vectors."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from photutils.aperture import CircularAnnulus, CircularAperture, EllipticalAnnulus
from pydantic import ValidationError

from astrokeras.errors import ChunkError
from astrokeras.features.color_profile import ColorHistogram, ColorProfile, ring_fluxes
from astrokeras.features.shapes import Shapes
from astrokeras.features.stamp_pixels import StampPixels, binned
from astrokeras.flags import Flag
from astrokeras.testing import check_stage

RNG = np.random.default_rng(3)


def galaxies(n=5, size=61, noise=0.02):
    """Blue disks with red bulges in two bands."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    disk, bulge = np.exp(-np.hypot(x, 1.6 * y) / 5), np.exp(-((x**2 + y**2) / 8))
    bands = np.stack([2 * disk + 0.5 * bulge, disk + 4 * bulge], axis=-1)
    stamps = bands * RNG.uniform(50, 100, (n, 1, 1, 1)) + RNG.normal(0, noise, (n, size, size, 2))
    table = QTable({"stamp": stamps.astype(np.float32) * u.nJy})
    table["stamp"].info.meta = {"bands": "g,r"}
    return table


def test_fluxes_are_those_of_photutils():
    stamps = RNG.normal(5, 1, (2, 41, 45, 1))
    centres = np.array([[20.3, 19.1], [25.0, 21.5]])
    edges = np.array([0.0, 3.0, 7.5, 12.0])
    found = ring_fluxes(stamps, edges, centres)
    for i, centre in enumerate(centres):
        apertures = [
            CircularAperture(centre, 3.0),
            *(CircularAnnulus(centre, *pair) for pair in ((3.0, 7.5), (7.5, 12.0))),
        ]
        wanted = [a.do_photometry(stamps[i, :, :, 0], method="exact")[0][0] for a in apertures]
        np.testing.assert_allclose(found[i, :, 0], wanted, rtol=1e-9)
    found = ring_fluxes(stamps, edges[1:3], centres, np.array([0.4, 0.4]), np.array([30.0, 30.0]))
    ring = EllipticalAnnulus(centres[1], 3.0, 7.5, 4.5, theta=np.pi / 6)
    assert found[1, 0, 0] == pytest.approx(ring.do_photometry(stamps[1, :, :, 0], method="exact")[0][0], rel=1e-9)


def test_missing_pixels_are_filled_by_the_mean_of_the_ring():
    stamps = np.full((2, 31, 31, 1), 2.0)
    stamps[0, 14, 20:23] = np.nan
    stamps[1, :, 16:] = np.nan
    stamps[1, :, :14] = np.nan
    found = ring_fluxes(stamps, np.array([0, 4, 8]))
    np.testing.assert_allclose(found[0, :, 0], 2 * np.pi * np.array([16, 48]), rtol=1e-9)
    assert np.isnan(found[1, :, 0]).all()


def test_a_red_bulge_in_a_blue_disk():
    out = ColorProfile(bands=["g", "r"], edges=[0, 2, 5, 10])(galaxies())
    color = out["color_profile_g_r"].value
    assert (np.diff(color, axis=1) < 0).all()
    np.testing.assert_allclose(color, -2.5 * np.log10(out["profile_g"] / out["profile_r"]), rtol=1e-4)
    histogram = ColorHistogram(bands=["g", "r"], bins=20, low=-1, high=1.5)(galaxies())["color_histogram_g_r"]
    np.testing.assert_allclose(histogram.sum(axis=1), 1, rtol=1e-6)
    # Of a disk alone -2.5 log10(2); the bulge adds redder pixels.
    assert (histogram.argmax(axis=1) == int((-2.5 * np.log10(2) + 1) / 0.125)).all()
    assert (histogram[:, 12:].sum(axis=1) > 0.01).all()


def test_rings_follow_the_shape_of_the_object():
    data = Shapes(bands=["r"])(galaxies())
    out = ColorProfile(bands=["g", "r"], edges=[0, 0.5, 1, 2], shape="r", scale="r50_r")(data)
    centres = np.stack([data["x_centroid_r"].value, data["y_centroid_r"].value], axis=1)
    edges = np.outer(data["r50_r"].value, [0, 0.5, 1, 2])
    stamps = data["stamp"].value
    wanted = ring_fluxes(stamps, edges, centres, data["ellipticity_r"], data["orientation_r"].value)
    np.testing.assert_allclose(out["profile_g"].value, wanted[..., 0], rtol=1e-5)
    assert (data["ellipticity_r"] > 0.1).all()


def test_blocks_are_means_of_what_is_known():
    stamps = np.arange(2 * 5 * 7 * 2, dtype=float).reshape(2, 5, 7, 2)
    stamps[0, 0, 0, 0] = np.nan
    stamps[1, 2:4, 2:4] = np.nan
    found = binned(stamps, 2)
    assert found.shape == (2, 2, 3, 2)
    assert found[0, 0, 0, 0] == pytest.approx(stamps[0, :2, :2, 0].ravel()[1:].mean())
    assert found[1, 0, 2, 1] == pytest.approx(stamps[1, :2, 4:6, 1].mean())
    assert np.isnan(found[1, 1, 1]).all()
    out = StampPixels(size=(5, 7), bands=["g", "r"], unit="")(QTable({"stamp": stamps}))
    np.testing.assert_array_equal(out["pixels"], stamps.reshape(2, -1).astype(np.float32))
    assert out["flags"].tolist() == [Flag.MASKED_PIXELS] * 2


@pytest.mark.parametrize(
    "stage",
    [
        ColorProfile(bands=["r", "g"]),
        ColorProfile(bands=["r"]),
        ColorHistogram(bands=["g", "r"]),
        StampPixels(size=61, bands=["g", "r"], block=4),
    ],
)
def test_keeps_the_contract(stage):
    check_stage(stage, galaxies())


def test_keeps_the_contract_with_shapes():
    check_stage(ColorProfile(bands=["g", "r"], shape="g", scale="r50_g"), Shapes(bands=["g"])(galaxies()))


def test_what_is_missing_is_flagged():
    data = galaxies(3)
    data["stamp"][1, :, :, 0] = np.nan * u.nJy
    data["stamp"][2] = np.nan * u.nJy
    out = ColorProfile(bands=["g", "r"])(data)
    assert out["flags"].tolist() == [0, Flag.MASKED_PIXELS, Flag.MASKED_PIXELS | Flag.NO_IMAGE]
    assert np.isnan(out["profile_g"][1]).all()
    assert np.isfinite(out["profile_r"][1]).all()
    out = ColorHistogram(bands=["g", "r"])(data)
    bad = Flag.BAD_SHAPE
    assert out["flags"].tolist() == [0, Flag.MASKED_PIXELS | bad, Flag.NO_IMAGE | bad]


def test_what_cannot_be_is_an_error():
    with pytest.raises(ValidationError, match="edges must rise"):
        ColorProfile(bands=["g"], edges=[0, 3, 3])
    with pytest.raises(ValidationError, match="low must be below"):
        ColorHistogram(bands=["g", "r"], low=1, high=1)
    with pytest.raises(ValidationError, match="larger than the stamp"):
        StampPixels(size=8, bands=["g"], block=9)
    with pytest.raises(ChunkError, match="no unit"):
        StampPixels(size=8, bands=["g"])(QTable({"stamp": np.zeros((1, 8, 8, 1))}))
