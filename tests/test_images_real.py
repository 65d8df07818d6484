"""Images of surveys: sane fluxes, errors and flags, against what the surveys' own catalogs say."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from photutils.aperture import CircularAperture, aperture_photometry

from astrokeras.images.image import Pixel
from astrokeras.images.reader import bands_in, open_image, read_image

pytestmark = pytest.mark.real_data

# Folder and pattern: layout, band of the first file, unit, pixel scale in arcsec.
FIELDS = {
    "sdss_2010H_uriz/SDSS_*.fits": ("sdss-frame", "i", "nJy", 0.396),
    "sdss_ngc6976_gri/*.bz2": ("sdss-frame", "g", "nJy", 1.188),
    "sdss_frame_photoobj/frame-*": ("sdss-frame", "r", "nJy", 0.396),
    "cfhtls_w3_gri/*.fits": ("cfht-megacam", "g", "nJy", 0.186),
    "vics82_iJKs/*.fits": ("plain", "J", "ct", 0.202),
    "kids_small_gri/*.fits": ("kids", "g", "nJy", 0.2),
    "ps1_h1413_riz/*.fits": ("ps1-skycell", "i", "nJy", 0.2),
    "ls_decam_epochs_grz/testcase6/images/**/*ooi*.fits": ("decam-cp", "z", "ct", 0.263),
    "decam_tractor_sub/*image-sub.fits": ("decam-cp", "z", "nJy", 0.263),
    "hsc_hst_cosmos_pair/Cut_HST.fits": ("plain", "", "ct", 0.03),
}


@pytest.fixture
def fields(shared_data):
    return shared_data / "fields"


@pytest.mark.parametrize("pattern", FIELDS)
def test_fields_open(fields, pattern):
    layout, band, unit, scale = FIELDS[pattern]
    paths = sorted(fields.glob(pattern))
    for number, path in enumerate(paths):
        opened = open_image(path)
        image = opened.read()
        assert (opened.layout, opened.unit) == (layout, unit)
        assert number or opened.band == band
        assert opened.pixel_scale == pytest.approx(scale, rel=0.01)
        good = image.mask == 0
        assert good.mean() > 0.6 and np.isfinite(image.data[good]).all()
    assert paths


def test_bands_of_one_field_differ(fields):
    for folder, bands in (("sdss_ngc6976_gri", "gir"), ("kids_small_gri", "gir"), ("cfhtls_w3_gri", "gir")):
        assert "".join(open_image(p).band for p in sorted((fields / folder).iterdir())) == bands
    image = open_image(fields / "sdss_ngc6976_gri" / "reprojected_sdss_r.fits.bz2")
    assert any("says band 'g', the name of the file 'r'" in note for note in image.notes)


@pytest.mark.parametrize("band", "uriz")
def test_nanomaggies_and_rebuilt_errors_of_sdss(fields, band):
    path = fields / "sdss_2010H_uriz" / f"SDSS_{band}.fits"
    image = read_image(path)
    np.testing.assert_allclose(image.data, fits.getdata(path) * 3631.0, rtol=1e-5)
    # Most pixels are sky: the scatter between neighbours (sqrt 2 sigma) is what the errors say.
    scatter = 1.4826 * np.median(np.abs(np.diff(image.data[:, ::2], axis=1))) / np.sqrt(2)
    # The constants are means of two amplifiers; 15 % is what the four bands of this field differ by.
    assert scatter == pytest.approx(np.median(image.sigma), rel=0.16)
    # More light, more noise.
    bright = image.data > np.quantile(image.data, 0.999)
    assert np.median(image.sigma[bright]) > 1.5 * np.median(image.sigma)


def test_sdss_fluxes_are_those_of_the_catalog(fields):
    folder = fields / "sdss_frame_photoobj"
    image = read_image(folder / "frame-r-001000-1-0100.fits.bz2")
    table = Table.read(folder / "photoObj-001000-1-0100.fits")
    table = table[(table["OBJC_FLAGS"] & 0x8) == 0]  # whatever is not blended
    x, y = image.wcs.world_to_pixel_values(table["RA"], table["DEC"])
    inside = (x > 12) & (x < 88) & (y > 12) & (y < 88) & (table["PSFFLUX"][:, 2] > 5)
    assert inside.sum() >= 1
    found, error = aperture(image, x[inside], y[inside], 2.97 / 0.396)
    expected = np.array(table["APERFLUX"][inside][:, 2, 4]) * 3631.0
    assert (np.abs(found - expected) < 3 * error + 0.03 * expected).all()


def aperture(image, x, y, radius):
    """Sums in circles, and their errors."""
    data, sigma = (np.nan_to_num(a.astype(float)) for a in (image.data, image.sigma))
    table = aperture_photometry(data, CircularAperture(np.transpose([x, y]), radius), error=sigma)
    return np.array(table["aperture_sum"]), np.array(table["aperture_sum_err"])


def test_decam_fluxes_are_those_of_the_tractor(fields):
    folder = fields / "decam_tractor_sub"
    image = read_image(
        {
            "image": folder / "decam-520206-S16-image-sub.fits",
            "invvar": folder / "decam-520206-S16-invvar-sub.fits",
        }
    )
    table = Table.read(folder / "tractor-1816p325-sub.fits")
    x, y = image.wcs.world_to_pixel_values(table["ra"], table["dec"])
    image.data[...] -= np.nanmedian(image.data)
    found, _ = aperture(image, x, y, 2.0 / 0.2633)
    # Radii of apflux: 0.5, 0.75, 1, 1.5, 2, 3.5, 5, 7 arcsec; bands u, g, r, i, z, Y.
    expected = np.array(table["decam_apflux"][:, 4, 4]) * 3631.0
    np.testing.assert_allclose(found, expected, rtol=0.12)


def test_zeros_of_the_legacy_surveys_are_no_data(fields):
    folder = fields / "ls_dr6_brick_0959p805" / "coadd" / "095" / "0959p805"
    opened = open_image(folder / "legacysurvey-0959p805-image-g.fits.fz")
    image = opened.read(slice(1500, 2500), slice(0, 900))
    exposures = read_image(folder / "legacysurvey-0959p805-nexp-g.fits.fz", layout="plain").data[1500:2500, :900]
    assert ((image.mask & Pixel.NO_DATA > 0) == (exposures == 0)).all()
    assert np.isnan(image.data[exposures == 0]).all() and np.isfinite(image.data[exposures > 0]).all()
    assert opened.zero_point == pytest.approx(22.5) and opened.files[1].endswith("invvar-g.fits.fz")
    inside = exposures > 0
    scatter = 1.4826 * np.nanmedian(np.abs(image.data - np.nanmedian(image.data)))
    assert inside.any() and 0.8 < scatter / np.nanmedian(image.sigma) < 1.2


def test_decam_weights_and_flags(fields):
    path = next((fields / "ls_decam_epochs_grz").rglob("c4d_150110_053718_ooi_z_ls9.S4.fits"))
    opened = open_image(path)
    assert opened.hdu == "S4" and len(opened.files) == 3 and opened.sky == "included"
    image = opened.read()
    codes = fits.getdata(str(path).replace("_ooi_", "_ood_"))
    weight = fits.getdata(str(path).replace("_ooi_", "_oow_"))
    assert ((image.mask & Pixel.SATURATED > 0) == np.isin(codes, (3, 4)) | (fits.getdata(path) >= 45964.4)).all()
    good = (codes == 0) & (weight > 0)
    np.testing.assert_allclose(image.sigma[good], 1 / np.sqrt(weight[good]), rtol=1e-5)


def test_bands_in_one_file(fields):
    path = fields / "hsc_cosmos_blends" / "derived_hsc_cosmos_grizy.fits.gz"
    assert bands_in(path) == ("g", "r", "i", "z", "y")
    image = read_image(path, band="i")
    weight = fits.getdata(path, "WHT_I")
    np.testing.assert_allclose(image.sigma[weight > 0], 1 / np.sqrt(weight[weight > 0]), rtol=1e-5)
    assert ((image.mask & Pixel.NO_DATA > 0) == (weight == 0)).all()
    cube = fields / "hsc_hst_cosmos_pair" / "Cut_HSC.fits"
    assert bands_in(cube) == tuple(f"plane{i}" for i in range(5))
