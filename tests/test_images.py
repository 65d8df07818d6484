"""Images: layouts, planes, calibration. Files are made here; expected values are formulas."""

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from astrokeras.errors import IngestError, SurveyError
from astrokeras.images import layouts
from astrokeras.images.image import Pixel, require_njy
from astrokeras.images.language import Layout
from astrokeras.images.reader import bands_in, images_in, open_image, read_image

RNG = np.random.default_rng(7)
PIXELS = RNG.normal(0, 1, (30, 40)).astype(np.float32)


def sky(scale=0.2):
    """Cards of a TAN projection with pixels of ``scale`` arcsec."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [20.5, 15.5]
    wcs.wcs.cdelt = [-scale / 3600, scale / 3600]
    return wcs.to_header()


def header(**cards):
    """A header with coordinates and cards; ``_`` in a name stands for ``-``."""
    made = sky()
    for key, value in cards.items():
        made[key.replace("_", "-")] = value
    return made


def write(path, *hdus, **cards):
    """A file of one image with cards, or of HDUs."""
    hdus = hdus or (fits.PrimaryHDU(PIXELS, header(**cards)),)
    first = () if isinstance(hdus[0], fits.PrimaryHDU) else (fits.PrimaryHDU(),)
    fits.HDUList([*first, *hdus]).writeto(path)
    return str(path)


def said(image, *words):
    """Whether a note holds all words."""
    return any(all(word in note for word in words) for note in image.notes)


def test_plain_file(tmp_path):
    path = write(tmp_path / "a.fits", BUNIT="uJy", FILTER="r", EXPTIME=30.0, GAIN=2.0, MJD_OBS=60000.25)
    image = open_image(path)
    assert (image.layout, image.band, image.unit, image.shape, image.hdu) == ("plain", "r", "nJy", (30, 40), "0")
    assert image.zero_point == pytest.approx(23.9, abs=1e-3)
    assert image.pixel_scale == pytest.approx(0.2, rel=1e-6)
    assert (image.exposure, image.gain) == (30.0, 2.0)
    assert image.mjd == pytest.approx(60000.25 + 15 / 86400, abs=1e-9)
    pixels = image.read()
    assert pixels.data.dtype == np.float32 and pixels.data.dtype.isnative
    np.testing.assert_allclose(pixels.data, PIXELS * 1000, rtol=1e-6)
    assert pixels.sigma is None and not pixels.mask.any()


@pytest.mark.parametrize(
    ("cards", "zero_point"),
    [
        ({"BUNIT": "nanomaggy"}, 22.5),
        ({"BUNIT": "nJy"}, 31.4),
        ({"MAGZERO": 27.0}, 27.0),
        ({"PHOTZP": "25.5", "BUNIT": "ADU"}, 25.5),
        ({"FLUXMAG0": 1e10}, 25.0),
        ({"BUNIT": "MJy/sr", "PIXAR_SR": 1e-13}, -2.5 * np.log10(1e-13 * 1e6 / 3631)),
    ],
)
def test_zero_points(tmp_path, cards, zero_point):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(PIXELS, fits.Header([*header().cards, *cards.items()])).writeto(path)
    image = open_image(path)
    assert image.zero_point == pytest.approx(zero_point, abs=1e-3)
    # AB = 8.90 - 2.5 log10(f / Jy)
    np.testing.assert_allclose(image.read().data, PIXELS * 10 ** (-0.4 * (zero_point - 31.4)), rtol=2e-3)


def test_pixel_area_is_that_of_the_coordinates(tmp_path):
    image = open_image(write(tmp_path / "a.fits", BUNIT="MJy/sr"))
    area = (0.2 / 3600 * np.pi / 180) ** 2
    assert said(image, "MJy/sr", "that of the WCS was taken")
    np.testing.assert_allclose(image.read().data, PIXELS * area * 1e15, rtol=1e-5)


def test_without_a_zero_point_pixels_are_counts(tmp_path):
    image = open_image(write(tmp_path / "a.fits", BUNIT="ADU"))
    assert (image.unit, image.zero_point) == ("ct", None)
    with pytest.raises(IngestError, match=r"a\.fits, HDU 0: photometry needs fluxes.*`calibrate`"):
        require_njy(image, "photometry")
    np.testing.assert_array_equal(image.read().data, PIXELS)


def test_zero_points_that_differ_are_said(tmp_path):
    image = open_image(write(tmp_path / "a.fits", MAGZERO=27.0, ZP=26.0))
    assert image.zero_point == pytest.approx(27.0)
    assert said(image, "MAGZERO", "27.000", "26.000")


def write_planes(path, bands="g"):
    """Bands with sigma 2 and one pixel of each flag."""
    flags = np.zeros(PIXELS.shape, np.int16)
    flags[3, 4], flags[5, 6] = 1, 4
    hdus = []
    for n, band in enumerate(bands):
        cards = header(BUNIT="nJy", FILTER=f"X/Y.{band}", BAND=band)
        named = [f"{what}_{band.upper()}" if len(bands) > 1 else what for what in ("SCI", "ERR", "MASK")]
        hdus.append(fits.ImageHDU(PIXELS + n, cards, name=named[0]))
        hdus.append(fits.ImageHDU(np.full(PIXELS.shape, 2.0, np.float32), cards, name=named[1]))
        hdus.append(fits.ImageHDU(flags, cards, name=named[2]))
    primary = fits.PrimaryHDU()
    primary.header["ORIGIN"] = "astrokeras"
    return write(path, primary, *hdus)


@pytest.mark.parametrize("bands", ["g", "gri"])
def test_own_files(tmp_path, bands):
    path = write_planes(tmp_path / "a.fits", bands=bands)
    assert bands_in(path) == tuple(bands)
    for n, band in enumerate(bands):
        image = read_image(path, band=band)
        assert (image.band, image.filter, image.unit) == (band, f"X/Y.{band}", "nJy")
        assert image.mask[3, 4] == Pixel.NO_DATA and image.mask[5, 6] == Pixel.SATURATED
        assert np.count_nonzero(image.mask) == 2
        assert np.isnan(image.data[3, 4]) and np.isnan(image.sigma[3, 4])
        good = image.mask == 0
        np.testing.assert_allclose(image.data[good], (PIXELS + n)[good], rtol=1e-6)
        assert (image.sigma[good] == 2).all()
    assert open_image(path, band="g").layout == "astrokeras"


def test_several_bands_need_a_name(tmp_path):
    path = write_planes(tmp_path / "a.fits", bands="gri")
    with pytest.raises(IngestError, match=r"several images; name one with `band` or `hdu` \(SCI_G \(band g\)"):
        open_image(path)
    with pytest.raises(IngestError, match=r"has no band 'y'.*allowed: g, i, r"):
        open_image(path, band="y")
    assert open_image(path, hdu="SCI_R").band == "r"
    with pytest.raises(IngestError, match="no image in HDU 'SCI_K'"):
        open_image(path, hdu="SCI_K")


def test_planes_of_a_cube(tmp_path):
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(np.stack([PIXELS, PIXELS + 1])))
    assert images_in(path) == (("0[0]", "plane0"), ("0[1]", "plane1"))
    own = tmp_path / "mine.yaml"
    own.write_text("title: mine\nplanes: [g, r]\ncalibration: [{zero_point: 31.4}]\n")
    assert bands_in(path, layout=str(own)) == ("g", "r")
    np.testing.assert_allclose(read_image(path, layout=str(own), band="r").data, PIXELS + 1, rtol=1e-4)
    one = write(tmp_path / "b.fits", fits.PrimaryHDU(PIXELS[None]))
    np.testing.assert_array_equal(read_image(one).data, PIXELS)
    with pytest.raises(IngestError, match="no images of one sky"):
        open_image(write(tmp_path / "c.fits", fits.PrimaryHDU(np.zeros((2, 3, 4, 5)))))


@pytest.mark.parametrize("kind", ["sigma", "variance", "invvar"])
def test_errors_in_a_file_of_their_own(tmp_path, kind):
    path = write(tmp_path / "a.fits", BUNIT="nJy")
    made = {"sigma": 3.0, "variance": 9.0, "invvar": 1 / 9}[kind]
    plane = np.full(PIXELS.shape, made, np.float32)
    plane[0, 0] = 0
    other = write(tmp_path / "e.fits", fits.PrimaryHDU(plane))
    image = read_image({"image": path, kind: other})
    np.testing.assert_allclose(image.sigma[1:], 3, rtol=1e-6)
    assert np.isnan(image.sigma[0, 0]) and image.mask[0, 0] == Pixel.BAD and np.isfinite(image.data[0, 0])
    assert open_image({"image": path, kind: other}).files == (path, other)
    with pytest.raises(IngestError, match="unknown key 'ivar'; did you mean 'invvar'"):
        open_image({"image": path, "ivar": other})


def test_a_mask_of_its_own(tmp_path):
    path = write(tmp_path / "a.fits", BUNIT="nJy")
    flags = np.zeros(PIXELS.shape, np.uint16)
    flags[1, 2] = 40000
    other = write(tmp_path / "m.fits", fits.PrimaryHDU(flags))
    assert np.argwhere(read_image({"image": path, "mask": other}).mask).tolist() == [[1, 2]]
    broken = write(tmp_path / "n.fits", fits.PrimaryHDU(PIXELS))
    with pytest.raises(IngestError, match=r"n\.fits, HDU 0: is no mask"):
        read_image({"image": path, "mask": broken})
    small = write(tmp_path / "s.fits", fits.PrimaryHDU(flags[:5]))
    with pytest.raises(IngestError, match="5 x 40 and 30 x 40 pixels"):
        open_image({"image": path, "mask": small})


def test_scaled_integers_and_blanks(tmp_path):
    raw = np.arange(1200, dtype=np.int16).reshape(30, 40)
    hdu = fits.PrimaryHDU(raw, header(BUNIT="nJy"))
    hdu.header["BLANK"] = 7
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, 100.0
    path = tmp_path / "a.fits"
    hdu.writeto(path)
    with fits.open(path, "update", do_not_scale_image_data=True) as opened:
        opened[0].header["BSCALE"], opened[0].header["BZERO"] = 0.5, 100.0
        opened[0].header["BLANK"] = 7
    with fits.open(path) as opened:
        expected = opened[0].data
    image = read_image(path)
    np.testing.assert_allclose(image.data, expected, rtol=1e-6)
    assert np.count_nonzero(image.mask) == np.count_nonzero(np.isnan(expected)) == 1


@pytest.mark.parametrize("kind", ["plain", "gzip", "bzip2", "tiles", "cube"])
@given(edges=st.tuples(*[st.integers(0, 45)] * 4))
@settings(max_examples=15, deadline=None)
def test_a_section_is_the_same_part_of_the_whole(tmp_path_factory, kind, edges):
    path = section_file(kind, tmp_path_factory)
    y, x = slice(min(edges[:2]), max(edges[:2])), slice(min(edges[2:]), max(edges[2:]))
    image = open_image(path, hdu="0[1]" if kind == "cube" else None)
    whole, part = image.read(), image.read(y, x)
    np.testing.assert_array_equal(part.data, whole.data[y, x])
    if part.data.size:
        expected = whole.wcs.pixel_to_world_values(x.start + 1, y.start + 2)
        np.testing.assert_allclose(part.wcs.pixel_to_world_values(1, 2), expected, rtol=1e-12)


FILES = {}


def section_file(kind, tmp_path_factory):
    """One file of each kind, made once."""
    if kind in FILES:
        return FILES[kind]
    path = tmp_path_factory.mktemp(kind) / "a.fits"
    if kind == "tiles":
        write(path, fits.CompImageHDU(PIXELS, header(BUNIT="nJy"), quantize_level=0, compression_type="GZIP_2"))
    elif kind == "cube":
        write(path, fits.PrimaryHDU(np.stack([PIXELS, PIXELS + 1]), header(BUNIT="nJy")))
    else:
        write(path, BUNIT="nJy")
    packer = {"gzip": gzip, "bzip2": bz2}.get(kind)
    if packer:
        path.write_bytes(packer.compress(path.read_bytes()))
    FILES[kind] = str(path)
    return FILES[kind]


@pytest.mark.parametrize("kind", ["plain", "RICE_1", "HCOMPRESS_1", "GZIP_2"])
def test_damaged_files_give_data_or_one_sentence(tmp_path, kind):
    """Bytes of headers and of pixels, changed at random."""
    whole = tmp_path / "whole.fits"
    counts = (PIXELS * 100).astype(np.int16)
    if kind == "plain":
        write(whole, BUNIT="nJy", FILTER="r")
    else:
        write(whole, fits.CompImageHDU(counts, header(BUNIT="nJy", FILTER="r"), compression_type=kind))
    sound = np.frombuffer(whole.read_bytes(), np.uint8)
    rng = np.random.default_rng(11)
    for number in range(40):
        damaged = sound.copy()
        part = slice(0, 2880 * 3) if number % 2 else slice(0, len(sound))
        damaged[rng.integers(part.start, min(part.stop, len(sound)), 8)] = rng.integers(32, 127, 8)
        path = tmp_path / f"{number}.fits"
        path.write_bytes(damaged.tobytes())
        try:
            image = read_image(path)
        except IngestError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
        else:
            assert image.data.dtype == np.float32 and image.data.ndim == 2


def test_cards_that_cannot_be_read_are_said(tmp_path):
    path = Path(write(tmp_path / "a.fits", FILTER="r", BUNIT="nJy"))
    text = path.read_bytes()
    path.write_bytes(text.replace(b"CRVAL1  =                150.0", b"CRVAL1  =                150,0"))
    image = open_image(path)
    assert image.wcs is None and said(image, "CRVAL1 cannot be read")
    path.write_bytes(text.replace(b"NAXIS1  =                   40", b"NAXIS1  =                 4 0 "))
    with pytest.raises(IngestError, match="the card NAXIS1 cannot be read"):
        open_image(path)


def test_steps_are_refused(tmp_path):
    with pytest.raises(IngestError, match="step 1, not 2"):
        open_image(write(tmp_path / "a.fits")).read(rows=slice(0, 10, 2))


def test_headers_are_measured_before_pixels_are_read(tmp_path):
    path = Path(write(tmp_path / "a.fits"))
    text = path.read_bytes()
    lying = text.replace(b"NAXIS1  =                   40", b"NAXIS1  =               400000")
    assert lying != text
    path.write_bytes(lying)
    with pytest.raises(IngestError, match=r"a\.fits, HDU 0: the header tells of data up to byte 48\d+, the file has"):
        open_image(path)
    path.write_bytes(gzip.compress(lying))
    with pytest.raises(IngestError, match="truncated"):
        open_image(path)


def test_a_packed_bomb_is_refused_by_its_header(tmp_path):
    made = header(BUNIT="nJy")
    made["SIMPLE"], made["BITPIX"], made["NAXIS"] = True, -32, 2
    cards = fits.PrimaryHDU(PIXELS, header()).header
    cards["NAXIS1"], cards["NAXIS2"] = 60000, 60000
    path = tmp_path / "a.fits.gz"
    path.write_bytes(gzip.compress(cards.tostring().encode() + bytes(2880 * 100)))
    with pytest.raises(IngestError, match=r"unpacks to 14400\d+ bytes; unpack it first"):
        open_image(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", "a pointer of Git LFS"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"id,ra,dec\n1,2,3\n", "begins with b'id,ra,dec"),
    ],
)
def test_what_is_no_fits_file(tmp_path, content, words):
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    with pytest.raises(IngestError) as caught:
        open_image(path)
    assert str(caught.value).startswith(f"{path}: ") and words in str(caught.value)


def test_absent_files_and_folders(tmp_path):
    with pytest.raises(IngestError, match="no such file"):
        open_image(tmp_path / "a.fits")
    with pytest.raises(IngestError, match="is a folder"):
        open_image(tmp_path)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}, ("the axes are LINEAR, LINEAR",)),
        ({"CDELT1": 0.0}, ("singular",)),
        ({"CRVAL2": 95.0}, ("no celestial coordinates",)),
        ({"CRVAL1": "zero"}, ("CRVAL1 = 'zero' is no number",)),
    ],
)
def test_coordinates_that_cannot_be_used_are_none_and_said(tmp_path, cards, words):
    image = open_image(write(tmp_path / "a.fits", **cards))
    assert image.wcs is None and image.pixel_scale is None
    assert said(image, "HDU 0", *words)
    assert image.read().wcs is None


@pytest.mark.parametrize(("fill", "words"), [(np.nan, "no pixel has data"), (0.0, "all pixels are 0")])
def test_images_without_information_are_said(tmp_path, fill, words):
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(np.full((5, 6), fill)))
    assert said(read_image(path), words)


def test_tables_and_empty_images_are_no_images(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])], name="T")
    with pytest.raises(IngestError, match=r"no image with pixels; HDUs: 0 \(no name\): no image, 1 T: no image"):
        open_image(write(tmp_path / "a.fits", table))
    with pytest.raises(IngestError, match="no image with pixels"):
        open_image(write(tmp_path / "b.fits", fits.PrimaryHDU(np.zeros((0, 5)))))


def test_cards_that_contradict_are_said(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header["BUNIT"], primary.header["EXPTIME"] = "counts/s", "30.5"
    path = write(tmp_path / "x_r.fits", primary, fits.ImageHDU(PIXELS, header(BUNIT="ADU", FILTER="g")))
    image = open_image(path)
    assert said(image, "BUNIT", "counts/s", "ADU", "which was taken")
    assert said(image, "'g'", "'r'", "name of the file") and image.band == "r"
    assert image.exposure == 30.5 and said(image, "EXPTIME", "text")


def test_an_asked_band_wins_over_the_card(tmp_path):
    image = open_image(write(tmp_path / "a.fits", FILTER="g"), band="r")
    assert image.band == "r" and said(image, "'g'", "'r'")


def test_infinite_and_saturated_pixels(tmp_path):
    data = PIXELS.copy()
    data[0, 0], data[0, 1], data[0, 2] = np.inf, np.nan, 500
    image = read_image(write(tmp_path / "a.fits", fits.PrimaryHDU(data, header(SATURATE=400.0))))
    assert image.mask[0, :4].tolist() == [
        Pixel.BAD | Pixel.NO_DATA | Pixel.SATURATED,
        Pixel.NO_DATA,
        Pixel.SATURATED,
        0,
    ]
    assert np.isnan(image.data[0, :2]).all() and image.data[0, 2] == 500


@pytest.mark.parametrize("with_errors", [False, True])
def test_values_that_mean_no_data(tmp_path, with_errors):
    data = PIXELS.copy()
    data[3, 4] = -9999
    hdus = [fits.ImageHDU(data, header(BUNIT="nJy"), name="SCI")]
    hdus += [fits.ImageHDU(np.ones_like(data), name="ERR")] if with_errors else []
    image = read_image(write(tmp_path / "a.fits", *hdus), layout=Layout(no_data=(-9999,)))
    assert (image.sigma is not None) == with_errors
    assert np.argwhere(np.isnan(image.data)).tolist() == np.argwhere(image.mask == Pixel.NO_DATA).tolist() == [[3, 4]]


def test_every_layout_that_comes_along_is_valid():
    assert {"plain", "sdss-frame", "legacy-brick", "decam-cp", "hsc-calexp", "jwst-i2d"} <= set(layouts.names())
    for name in layouts.names():
        layout = layouts.load(name)
        assert layout.title and layout.description
        assert name == "plain" or (layout.signs and layout.sources)
        assert layout.calibration


def test_a_wrong_layout_is_an_error_at_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("title: x\nerrors:\n  - {hdu: 1, knd: sigma, kind: sigm}\nbands: {g: {fliter: a}}\n")
    with pytest.raises(SurveyError) as caught:
        layouts.load(str(path))
    problems = str(caught.value).splitlines()
    assert any("mine.yaml:3:14" in p and "did you mean 'kind'" in p for p in problems)
    assert any("mine.yaml:4:13" in p and "did you mean 'filter'" in p for p in problems)
    with pytest.raises(SurveyError, match=r"no layout of images named 'sdss-frames'.*did you mean 'sdss-frame'"):
        open_image(write(tmp_path / "a.fits"), layout="sdss-frames")
