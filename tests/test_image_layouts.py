"""Layouts of surveys, on small files that are made as the surveys' documents say; expected values are formulas."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrokeras.errors import IngestError
from astrokeras.images.image import Pixel
from astrokeras.images.reader import images_in, open_image, read_image
from astrokeras.images.sdss import camera

SHAPE = (20, 24)
DATA = np.arange(480, dtype=np.float32).reshape(SHAPE) + 1


def njy(zero_point):
    """Flux in nJy of one count: 1 nJy is 31.4 mag."""
    return 10 ** (-0.4 * (zero_point + 2.5 * np.log10(1e-9 / 3631.0)))


def sky(**cards):
    """A header with a TAN projection."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [10.0, 5.0], [12.0, 10.0]
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    header = wcs.to_header()
    for key, value in cards.items():
        header[key.replace("__", ".").replace("_", "-") if "MP_" not in key else key] = value
    return header


def write(path, *hdus):
    first = [] if isinstance(hdus[0], fits.PrimaryHDU) else [fits.PrimaryHDU()]
    fits.HDUList([*first, *hdus]).writeto(path)
    return str(path)


def flat(value):
    return np.full(SHAPE, value, np.float32)


def test_sdss_frame(tmp_path):
    """A cut of a frame: calibration and sky are those of the columns and rows that are left."""
    header = sky(RUN=2000, CAMCOL=3, FILTER="g", TELESCOP="2.5m", BUNIT="nanomaggy", EXPTIME="53.9")
    header["CRPIX1"], header["CRPIX2"] = 1025.0 - 100, 745.0 - 50
    header["TAI"] = 4.4e9
    calibration = np.linspace(0.004, 0.006, 2048).astype(np.float32)
    grid = np.add.outer(np.arange(192.0), 2 * np.arange(256.0)) + 100
    x, y = np.arange(2048) / 8.0, np.arange(1489) / 8.0
    columns = [
        fits.Column("ALLSKY", "49152E", dim="(256,192)", array=grid[None]),
        fits.Column("XINTERP", "2048E", array=x[None]),
        fits.Column("YINTERP", "1489E", array=y[None]),
    ]
    data = DATA / 100
    path = write(
        tmp_path / "frame-g-002000-3-0018.fits",
        fits.PrimaryHDU(data, header),
        fits.ImageHDU(calibration),
        fits.BinTableHDU.from_columns(columns),
    )
    image = read_image(path)
    assert (image.band, image.filter) == ("g", "SLOAN/SDSS.g")
    np.testing.assert_allclose(image.data, data * 3631, rtol=1e-5)
    i, j = np.indices(SHAPE)
    sky_counts = 100 + (i + 50) / 8 + 2 * (j + 100) / 8
    calibrated = calibration[j + 100]
    counts = data / calibrated + sky_counts
    expected = calibrated * np.sqrt(counts / 3.845 + 1.3225) * 3631
    np.testing.assert_allclose(image.sigma, expected, rtol=1e-4)
    part = open_image(path).read(slice(3, 9), slice(5, 15))
    np.testing.assert_allclose(part.sigma, expected[3:9, 5:15], rtol=1e-4)
    assert image.mjd == pytest.approx(4.4e9 / 86400 - 32 / 86400 + 26.95 / 86400, abs=2e-5)


def test_camera_of_sdss_changed():
    assert camera("u", 2, 1000) == (1.595, 12.6025) and camera("u", 2, 1101) == (1.825, 12.6025)
    assert camera("z", 4, 1400)[1] == 9.61 and camera("z", 4, 2000)[1] == 12.6025


def test_legacy_brick(tmp_path):
    name = "legacysurvey-0001p000-{}.fits.fz"
    ivar = flat(4.0)
    ivar[0] = 0
    data = DATA.copy()
    data[0] = 0
    bits = np.zeros(SHAPE, np.int16)
    bits[5, 5], bits[6, 6], bits[7, 7] = 1 << 3, 1 << 2, 1 << 1
    lossless = {"compression_type": "GZIP_2", "quantize_level": 0}
    path = write(
        tmp_path / name.format("image-r"), fits.CompImageHDU(data, sky(FILTER="r", BUNIT="nanomaggy"), **lossless)
    )
    write(tmp_path / name.format("invvar-r"), fits.CompImageHDU(ivar, sky(), **lossless))
    write(tmp_path / name.format("maskbits"), fits.CompImageHDU(bits, sky(), compression_type="RICE_1"))
    image = read_image(path)
    assert (image.band, len(open_image(path).files)) == ("r", 3)
    assert np.isnan(image.data[0]).all() and (image.mask[0] == Pixel.NO_DATA).all()
    np.testing.assert_allclose(image.data[1:], DATA[1:] * 3631, rtol=1e-6)
    np.testing.assert_allclose(image.sigma[1:], 0.5 * 3631, rtol=1e-6)
    # SATUR_R is of this band, SATUR_G and BRIGHT are not.
    assert np.argwhere(image.mask[1:]).tolist() == [[4, 5]] and image.mask[5, 5] == Pixel.SATURATED


@pytest.mark.parametrize(
    ("cards", "zero_point"),
    [({"MAGZERO": 30.27}, 30.27), ({"MAGZPT": 24.7}, 24.7 + 2.5 * np.log10(167.0)), ({}, None)],
)
def test_decam(tmp_path, cards, zero_point):
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "DECam", "FILTER": "z DECam SDSS c0004 9260.0 1520.0", "EXPTIME": 167.0} | cards)
    planes = {"ooi": DATA, "oow": flat(0.25), "ood": np.zeros(SHAPE, np.int32)}
    planes["oow"][2, 3] = 0
    planes["ood"][2, 3], planes["ood"][4, 4] = 1, 5
    for kind, plane in planes.items():
        hdus = (fits.ImageHDU(plane, sky(GAINA=4.0, SATURATE=450.0), name=ccd) for ccd in ("N1", "S4"))
        write(tmp_path / f"c4d_1_{kind}_z.fits", primary.copy(), *hdus)
    path = str(tmp_path / "c4d_1_ooi_z.fits")
    assert images_in(path) == (("N1", "z"), ("S4", "z"))
    with pytest.raises(IngestError, match="several images"):
        open_image(path)
    opened = open_image(path, hdu="S4")
    assert (opened.layout, opened.filter, opened.gain, opened.exposure) == ("decam-cp", "CTIO/DECam.z", 4.0, 167.0)
    factor = 1.0 if zero_point is None else njy(zero_point)
    assert opened.unit == ("ct" if zero_point is None else "nJy")
    image = opened.read()
    good = image.mask == 0
    np.testing.assert_allclose(image.data[good], DATA[good] * factor, rtol=1e-5)
    np.testing.assert_allclose(image.sigma[good], 2 * factor, rtol=1e-5)
    assert image.mask[2, 3] == Pixel.BAD and np.isnan(image.sigma[2, 3]) and np.isfinite(image.data[2, 3])
    assert image.mask[4, 4] == Pixel.COSMIC_RAY and (image.mask[DATA >= 450] == Pixel.SATURATED).all()


@pytest.mark.parametrize("name", ["calexp-HSC-I2-9813-4,4.fits", "calexp-1.fits"])
def test_calexp(tmp_path, name):
    primary = fits.PrimaryHDU()
    primary.header["FLUXMAG0"], primary.header["FILTER"] = 10 ** (0.4 * 27), "HSC-I2" if "HSC" in name else "i_03"
    flags = np.zeros(SHAPE, np.int32)
    flags[1, 1], flags[2, 2], flags[3, 3] = 1 << 1, 1 << 5, 1 << 8
    mask = fits.ImageHDU(flags, sky(MP_BAD=0, MP_SAT=1, MP_INTRP=2, MP_CR=3))
    mask.header["HIERARCH MP_DETECTED"], mask.header["HIERARCH MP_NO_DATA"] = 5, 8
    path = write(tmp_path / name, primary, fits.ImageHDU(DATA, sky()), mask, fits.ImageHDU(flat(9.0), sky()))
    image = read_image(path)
    assert open_image(path).layout == ("hsc-calexp" if "HSC" in name else "lsst-calexp")
    assert (image.band, image.filter) == ("i", "Subaru/HSC.i" if "HSC" in name else "LSST/LSST.i")
    assert image.mask[1, 1] == Pixel.SATURATED and image.mask[2, 2] == 0 and image.mask[3, 3] == Pixel.NO_DATA
    good = image.mask == 0
    np.testing.assert_allclose(image.data[good], DATA[good] * njy(27), rtol=1e-5)
    np.testing.assert_allclose(image.sigma[good], 3 * njy(27), rtol=1e-5)


def test_skycell_is_made_linear(tmp_path):
    """Pixels v of a skycell: flux = BOFFSET + 2 BSOFTEN sinh(v / 1.0857)."""
    header = sky(EXPTIME=100.0)
    soft, offset, scale = 50.0, 7.0, 2.5 / np.log(10)
    header["BSOFTEN"], header["BOFFSET"] = soft, offset
    header["HIERARCH FPA.FILTERID"] = "r.00000"
    stored = scale * np.arcsinh((DATA.astype(float) - offset) / (2 * soft))
    name = "rings.v3.skycell.1405.053.stk.r.unconv{}.fits"
    path = write(tmp_path / name.format(""), fits.PrimaryHDU(stored, header))
    mask = sky(MSKNAM00="DETECTOR", MSKVAL00=1, MSKNAM05="SAT", MSKVAL05=32, MSKNAM06="CR", MSKVAL06="?")
    flags = np.zeros(SHAPE, np.uint16)
    flags[4, 5] = 33
    write(tmp_path / name.format(".mask"), fits.PrimaryHDU(flags, mask))
    write(tmp_path / name.format(".wt"), fits.PrimaryHDU(flat(16.0), sky()))
    image = read_image(path)
    assert (image.band, image.zero_point) == ("r", pytest.approx(30.0))
    np.testing.assert_allclose(image.data, DATA * njy(30), rtol=1e-4)
    np.testing.assert_allclose(image.sigma, 4 * njy(30), rtol=1e-5)
    assert image.mask[4, 5] == Pixel.BAD | Pixel.SATURATED and np.count_nonzero(image.mask) == 1


def test_jwst(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"], primary.header["FILTER"] = "JWST", "F200W"
    cards = sky(BUNIT="MJy/sr")
    hdus = [fits.ImageHDU(p, cards, name=n) for n, p in (("SCI", DATA), ("ERR", flat(0.1)), ("WHT", flat(7)))]
    hdus[0].header["PIXAR_SR"] = 2e-14
    path = write(tmp_path / "jw1_f200w_i2d.fits", primary, *hdus)
    image = read_image(path)
    assert (image.band, open_image(path).layout) == ("F200W", "jwst-i2d")
    # value (MJy/sr) * PIXAR_SR * 1e15
    np.testing.assert_allclose(image.data, DATA * 2e-14 * 1e15, rtol=1e-5)
    np.testing.assert_allclose(image.sigma, 0.1 * 2e-14 * 1e15, rtol=1e-5)


def test_ztf(tmp_path):
    header = sky(MAGZP=26.1, FILTER="ZTF_g", EXPTIME=30.0)
    path = write(tmp_path / "ztf_20200101_000001_zg_c01_o_q1_sciimg.fits", fits.PrimaryHDU(DATA, header))
    flags = np.zeros(SHAPE, np.int32)
    flags[3, 3], flags[4, 4] = 1 << 8, 1 << 1
    write(tmp_path / "ztf_20200101_000001_zg_c01_o_q1_mskimg.fits", fits.PrimaryHDU(flags))
    image = read_image(path)
    assert (image.band, image.filter, image.zero_point) == ("g", "Palomar/ZTF.g", pytest.approx(26.1))
    assert image.mask[3, 3] == Pixel.SATURATED and np.count_nonzero(image.mask) == 1
    assert any("are from memory" in note for note in image.notes)


def test_euclid_and_its_companions(tmp_path):
    made = "EUC_MER_BGSUB-MOSAIC-VIS_TILE101-ABC_20240101T000000.0Z_00.00.fits"
    path = write(tmp_path / made, fits.PrimaryHDU(DATA, sky(MAGZERO=24.6, FILTER="VIS")))
    for other in ("RMS", "FLAG"):
        plane = flat(2.0) if other == "RMS" else np.zeros(SHAPE, np.int32)
        name = f"EUC_MER_MOSAIC-VIS-{other}_TILE101-DEF_20240102T000000.0Z_00.00.fits"
        write(tmp_path / name, fits.PrimaryHDU(plane, sky()))
    image = read_image(path)
    assert (image.band, image.filter, len(open_image(path).files)) == ("VIS", "Euclid/VIS.vis", 3)
    np.testing.assert_allclose(image.data, DATA * njy(24.6), rtol=1e-5)
    np.testing.assert_allclose(image.sigma, 2 * njy(24.6), rtol=1e-5)
    write(tmp_path / "EUC_MER_MOSAIC-VIS-RMS_TILE101-XYZ_2.fits", fits.PrimaryHDU(flat(2.0)))
    with pytest.raises(IngestError, match="several files match its companion"):
        open_image(path)


def test_kids_maggies(tmp_path):
    header = sky(INSTRUME="OMEGACAM", OBJECT="KIDS_43.2_-34.1", ZEROPNT=0.0)
    header["FILT_ID"] = "OCAM_r_SDSS"
    image = read_image(write(tmp_path / "a.fits", fits.PrimaryHDU(DATA * 1e-12, header)))
    # 1 maggy is 3631 Jy.
    np.testing.assert_allclose(image.data, DATA * 1e-12 * 3631e9, rtol=1e-4)
    assert (image.band, image.filter) == ("r", "Paranal/OmegaCAM.r_SDSS")
