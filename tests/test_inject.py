"""Injected sources: light, places, noise, and the book-keeping of what is found."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scenes
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS, DistortionLookupTable
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from pydantic import ValidationError

from astrokeras.cli import main
from astrokeras.errors import ChunkError, IngestError
from astrokeras.images.image import Image, Pixel
from astrokeras.images.reader import read_image
from astrokeras.synthetic.completeness import completeness, limit, recovered
from astrokeras.synthetic.image_hdus import image_hdus
from astrokeras.synthetic.inject import Injection, inject, plan_sources
from astrokeras.synthetic.mixture import moffat
from astrokeras.synthetic.sky import simulate
from astrokeras.units import ab_to_njy

SCALE = 0.4


def blank(size=301, turn=0.0, **facts):
    """Return an image of no light, with a WCS turned by an angle in deg."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150.0, 40.0], [size / 2, size / 2]
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    wcs.wcs.cd = SCALE / 3600 * np.array([[-c, s], [s, c]])
    wcs.wcs.set()
    data = np.zeros((size, size), np.float32)
    given = {"sigma": np.full(data.shape, 2.0, np.float32), "zero_point": 31.4, "band": "r", "wcs": wcs} | facts
    return Image(data=data, unit="nJy", mask=np.zeros(data.shape, np.int32), **given)


def one_source(**changes):
    given = {
        "object_id": [1], "ra": [150.0] * u.deg, "dec": [40.0] * u.deg, "mag": [18.0] * u.mag,
        "r_half": [0.0] * u.arcsec, "axis_ratio": [1.0], "position_angle": [0.0] * u.deg,
    } | changes  # fmt: skip
    return QTable(given)


def test_a_point_source_has_its_flux_at_its_place():
    image = blank()
    made = inject(image, one_source(), moffat(3.0))
    assert made.data.sum() == pytest.approx(float(ab_to_njy(18.0)), rel=2e-3)
    y, x = np.indices(made.shape)
    where = [(made.data * axis).sum() / made.data.sum() for axis in (x, y)]
    assert where == pytest.approx([float(v) for v in image.wcs.world_to_pixel_values(150.0, 40.0)], abs=0.02)
    assert not image.data.any()


def test_places_are_icrs_in_whatever_frame_the_image_is():
    image = blank(wcs=scenes.galactic((301, 301)))
    given = Injection(number=1, magnitudes=(18, 18), radii=(0.0,), spacing=60)
    truth = plan_sources(image, given)
    made = inject(image, truth, moffat(3.0))
    y, x = np.unravel_index(np.argmax(made.data), made.shape)
    sky = SkyCoord(truth["ra"], truth["dec"])
    assert image.wcs.pixel_to_world(x, y).separation(sky[0]).arcsec < 0.4


def test_a_source_beyond_an_image_adds_nothing_to_it():
    far = one_source(ra=[170.0] * u.deg, r_half=[1.0] * u.arcsec)
    assert not inject(blank(size=99), far, moffat(3.0)).data.any()


@pytest.mark.parametrize("turn", [0.0, 70.0])
def test_a_galaxy_lies_along_its_position_angle_whatever_the_image_does(turn):
    image = blank(turn=turn)
    source = one_source(r_half=[8.0] * u.arcsec, axis_ratio=[0.4], position_angle=[35.0] * u.deg)
    made = inject(image, source, moffat(2.0)).data
    y, x = np.indices(made.shape)
    ra, dec = image.wcs.pixel_to_world_values(x, y)
    east, north = (ra - 150.0) * np.cos(np.radians(40.0)), dec - 40.0
    light = np.where(np.hypot(east, north) * 3600 < 55, made, 0)
    xx, yy, xy = (light * east**2).sum(), (light * north**2).sum(), (light * east * north).sum()
    assert np.degrees(0.5 * np.arctan2(2 * xy, yy - xx)) == pytest.approx(35.0, abs=1.0)
    # Half of the light lies within the ellipse, but for the PSF.
    angle = np.radians(35.0)
    major, minor = np.sin(angle) * east + np.cos(angle) * north, np.cos(angle) * east - np.sin(angle) * north
    inside = np.hypot(major, minor / 0.4) * 3600 < 8.0
    assert light[inside].sum() / float(ab_to_njy(18.0)) == pytest.approx(0.5, abs=0.02)


def test_coordinates_that_a_header_does_not_hold_are_not_written():
    image = blank(size=50)
    assert len(image_hdus(image, None)) == 4
    table = np.ones((2, 2), np.float32)
    image.wcs.cpdis1 = DistortionLookupTable(table, (1.0, 1.0), (1.0, 1.0), (49.0, 49.0))
    with pytest.raises(IngestError, match="lookup tables of a distortion"):
        image_hdus(image, None)


def test_light_has_noise_and_the_errors_know_of_it():
    image = blank(size=200, gain=0.01)
    assert image.electrons == pytest.approx(0.01, rel=1e-3)
    # With a gain per count, of a count of 10 nJy.
    assert replace(image, zero_point=28.9).electrons == pytest.approx(0.001, rel=1e-3)
    source = one_source(mag=[14.0] * u.mag)
    clean = inject(image, source, moffat(8.0)).data
    noisy = inject(image, source, moffat(8.0), rng=np.random.default_rng(2))
    bright = clean > 5000
    pull = ((noisy.data - clean) / np.sqrt(clean / 0.01))[bright]
    assert pull.std() == pytest.approx(1, abs=0.15)
    np.testing.assert_allclose(noisy.sigma[bright], np.sqrt(4 + clean[bright] / 0.01), rtol=1e-3)
    silent = inject(replace(image, gain=None), source, moffat(8.0), rng=np.random.default_rng(2))
    np.testing.assert_array_equal(silent.data, clean)


def test_flags_and_missing_data_stay():
    image = blank()
    image.data[:, :150], image.mask[:, :150] = np.nan, Pixel.NO_DATA
    made = inject(image, one_source(), moffat(3.0))
    assert np.array_equal(np.isnan(made.data), np.isnan(image.data))
    assert np.array_equal(made.mask, image.mask)
    sources = plan_sources(image, Injection(number=50, spacing=5.0))
    x, _ = image.wcs.world_to_pixel_values(sources["ra"].value, sources["dec"].value)
    assert len(sources) == 50
    assert x.min() > 149


@settings(max_examples=20, deadline=None)
@drawn(st.integers(0, 10**6), st.floats(2.0, 20.0), st.integers(1, 400))
def test_sources_keep_their_distance(seed, spacing, number):
    sources = plan_sources(blank(), Injection(seed=seed, spacing=spacing, number=number, radii=(0.0, 1.0)))
    x, y = blank().wcs.world_to_pixel_values(sources["ra"].value, sources["dec"].value)
    distance = np.hypot(x[:, None] - x, y[:, None] - y) * SCALE + 1e9 * np.eye(len(x))
    assert len(sources) <= number
    assert distance.min() > spacing * 0.999
    assert ((x > -0.5) & (x < 300.5) & (y > -0.5) & (y < 300.5)).all()
    assert set(sources["r_half"].value) <= {0.0, 1.0}


def test_surface_brightness_is_the_mean_within_half_of_the_light():
    sources = plan_sources(blank(), Injection(number=8, radii=(0.0, 2.0), ratio=(0.5, 0.5), magnitudes=(20.0, 20.0)))
    extended = sources["r_half"].value > 0
    # Half of the flux over pi r^2 q.
    assert sources["surface_brightness"].value[extended] == pytest.approx(20 + 2.5 * np.log10(2 * np.pi * 4 * 0.5))
    assert np.isnan(sources["surface_brightness"].value[~extended]).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"magnitudes": (25, 18)}, "in order"),
        ({"ratio": (0.0, 1.0)}, "ratio needs two numbers"),
        ({"radii": ()}, "radii"),
        ({"nmuber": 3}, "nmuber"),
    ],
)
def test_wrong_injections_are_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        Injection(**given)


def test_what_cannot_be_injected_into():
    with pytest.raises(IngestError, match="no coordinates"):
        plan_sources(blank(wcs=None), Injection())
    with pytest.raises(IngestError, match="is in ct"):
        inject(replace(blank(), unit="ct"), one_source(), moffat(3.0))
    image = blank()
    image.data[:] = np.nan
    with pytest.raises(IngestError, match="no room"):
        plan_sources(image, Injection())


# Book-keeping


def catalog(offsets, flux, **more):
    """Objects on a parallel, at offsets in arcsec from places one arcmin apart."""
    offsets = np.asarray(offsets, float)
    dec = np.arange(len(offsets)) / 60 + offsets / 3600
    return QTable({"ra": np.full(len(dec), 10.0) * u.deg, "dec": dec * u.deg, "flux_total_r": flux * u.nJy, **more})


def test_what_was_there_before_does_not_count_as_found():
    truth = catalog([0, 0, 0, 0, 0], np.full(5, 100.0))
    detected = catalog([0.3, 0.3, 0.3, 5.0, 0.3], np.array([100.0, 1000.0, 250.0, 100.0, 100.0]))
    before = catalog([0.3, 0.3, 0.3], np.array([10.0, 950.0, 120.0]))
    # The first had a tenth of its flux before; the second is the old object; the third is mostly new; the fourth is
    # too far away.
    assert list(recovered(truth, detected, before)) == [0, -1, 2, -1, 4]
    assert list(recovered(truth, detected)) == [0, 1, 2, -1, 4]
    assert list(recovered(truth, detected[:0], before)) == [-1] * 5


def test_a_detection_counts_once():
    truth = QTable({"ra": [10.0, 10.0] * u.deg, "dec": [0.0, 0.5 / 3600] * u.deg})
    detected = QTable({"ra": [10.0] * u.deg, "dec": [0.1 / 3600] * u.deg, "flux_r": [1.0] * u.nJy})
    assert list(recovered(truth, detected)) == [0, -1]


def test_completeness_and_bias_by_bin():
    mag = np.array([20.1, 20.2, 20.3, 20.4, 21.1, 21.2])
    sizes = np.zeros(6) * u.arcsec
    truth = catalog(np.zeros(6), ab_to_njy(mag), mag=mag * u.mag, r_half=sizes)
    measured = ab_to_njy(mag) * np.array([1.1, 1.1, 1.2, 1.0, 0.5, 1.0])
    detected = catalog([0, 0, 0, 9, 0, 9], measured)
    table = completeness(truth, detected)
    assert list(table["low"].value) == [20.0, 21.0]
    assert list(table["n"]) == [4, 2]
    assert list(table["n_found"]) == [3, 1]
    assert list(table["completeness"]) == [0.75, 0.5]
    assert table["flux_bias_r"] == pytest.approx([0.1, -0.5])
    assert table["flux_scatter_r"][0] == pytest.approx(0.0, abs=1e-9)
    # Wilson (1927) for 3 of 4 and one sigma.
    centre, half = (0.75 + 1 / 8) / 1.25, np.sqrt(0.75 * 0.25 / 4 + 1 / 64) / 1.25
    assert table["completeness_lo"][0] == pytest.approx(centre - half, rel=1e-3)
    assert table["completeness_hi"][0] == pytest.approx(centre + half, rel=1e-3)
    with pytest.raises(ChunkError, match="surface_brightness"):
        completeness(truth, detected, by="surface_brightness")


def test_limit_is_interpolated():
    table = QTable({
        "r_half": [0.0] * 4 + [1.0] * 2, "low": [20.0, 21.0, 22.0, 23.0, 20.0, 21.0],
        "high": [21.0, 22.0, 23.0, 24.0, 21.0, 22.0], "completeness": [1.0, 0.9, 0.1, 0.0, 0.3, 0.1],
    })  # fmt: skip
    found = limit(table)
    assert found[0.0] == pytest.approx(22.0)
    assert np.isnan(found[1.0])


# All of it, on a simulated field


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("field"), size=512, bands=("g", "r"), epochs=1, seed=8)


def test_command_measures_completeness(field, tmp_path, capsys):
    command = [
        "inject",
        str(field.image("r")),
        "--out",
        str(tmp_path),
        "--measure",
        "--number",
        "60",
        "--spacing",
        "20",
    ]
    command += ["--magnitudes", "19,25", "--radii", "0,1"]
    assert main(command) == 0
    assert "bias r" in capsys.readouterr().out
    table = QTable.read(tmp_path / "completeness.fits", hdu="MAG")
    points = table[table["r_half"] == 0]
    bright, faint = points["high"].value <= 20.5, points["low"].value >= 24
    # SDSS reaches 22.7 at 5 sigma.
    assert points["n_found"][bright].sum() / points["n"][bright].sum() > 0.8
    assert points["n_found"][faint].sum() / points["n"][faint].sum() < 0.2
    bias = points["flux_bias_r"][points["n_found"] > 2]
    assert np.abs(bias[:2]).max() < 0.1
    truth = QTable.read(tmp_path / "truth-1.fits", hdu="INJECTED")
    before, after = (read_image(path) for path in (field.image("r"), tmp_path / "r-injected-1.fits"))
    light = np.nansum(after.data - before.data)
    assert light == pytest.approx(ab_to_njy(truth["mag"].value).sum(), rel=0.05)
    limits = json.loads((tmp_path / "completeness.json").read_text())["limits"]["mag"]["50%"]["0"]
    assert 21 < limits < 23.5
    # A second injection leaves nothing of the first that could be taken for its own.
    assert main(["inject", str(field.image("r")), "--out", str(tmp_path), "--number", "500", "--spacing", "40"]) == 0
    placed = len(QTable.read(tmp_path / "truth-1.fits", hdu="INJECTED"))
    assert 0 < placed < 500
    assert f"note: {placed} of 500 sources have room, 40 arcsec from each other" in capsys.readouterr().out
    assert not list(tmp_path.glob("completeness.*"))


def test_images_of_a_pipeline_with_its_settings(field, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(
        "astrokeras: 1\nname: p\nsource:\n  images:\n    files: " + str(field.image("{band}")) + "\n    bands: [g, r]\n"
        "    detect: [r]\n    threshold: 3\noutputs:\n  - votable: {path: a.vot}\n"
    )
    few = ["--number", "5", "--colors", "g=1.0", "--psf", "r=1.3", "--psf", "g=1.4"]
    assert main(["inject", "p.yaml", "--out", "made", *few]) == 0
    assert "made: 5 sources, 3 files" in capsys.readouterr().out
    truth = QTable.read("made/truth-1.fits", hdu="INJECTED")
    assert truth["mag_g"].value == pytest.approx(truth["mag_r"].value + 1.0)
    light = [np.nansum(read_image(f"made/{b}-injected-1.fits").data - read_image(field.image(b)).data) for b in "gr"]
    assert light[0] / light[1] == pytest.approx(10**-0.4, rel=0.05)
    assert fits.getheader("made/g-injected-1.fits", "SCI")["INFILE"] == "sky-g-1.fits"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--colors", "g=1"], "no image of band 'g'"),
        (["--colors", "1"], "needs BAND=VALUE"),
        (["--magnitudes", "a,b"], "--magnitudes: needs a number, got 'a'"),
        (["--magnitudes", "25"], "--magnitudes: needs two numbers, LOW,HIGH, got '25'"),
        (["--repeats", "0"], "--repeats: needs 1"),
        (["--psf", "r=-1"], "a PSF of -1 arcsec, -2.5"),
        (["--psf", "r=nan"], "a PSF of nan arcsec"),
        (["--psf", "z=1"], "psf: there is no image of band 'z'"),
        (["--number", "0"], "number: "),
    ],
)
def test_mistakes_on_the_command_line(field, tmp_path, capsys, more, said):
    assert main(["inject", str(field.image("r")), "--out", str(tmp_path), *more]) == 1
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
