"""Detection on real survey images: an SDSS field in four bands, and a frame with its catalog."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astrokeras.flags import Flag
from astrokeras.images.reader import read_image
from astrokeras.ingest.images import Images
from astrokeras.photometry.detection import detect
from astrokeras.photometry.psf_files import psf_of, read_psfield


def magnitudes(table, name):
    flux = table[name].value
    return 31.4 - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))


@pytest.fixture(scope="module")
def field(shared_data):
    folder = shared_data / "fields/sdss_2010H_uriz"
    source = Images(
        files=f"{folder}/SDSS_{{band}}.fits",
        bands=("u", "r", "i", "z"),
        detect=("r", "i"),
        layout="sdss-frame",
        apertures=(4.0, 8.0),
    )
    part = next(iter(source.partitions(1)))
    return source.read(part, [f.name for f in source.fields()]), Table.read(folder / "derived_sep_catalog.fits")


def test_sources_of_another_program_are_found_with_its_magnitudes(field):
    table, other = field
    sky = SkyCoord(other["ra"], other["dec"], unit="deg")
    row, distance, _ = sky.match_to_catalog_sky(SkyCoord(table["ra"], table["dec"]))
    near = distance.arcsec < 1
    assert near.mean() > 0.95
    assert np.median(distance.arcsec[near]) < 0.1
    # Theirs is an aperture of 4 arcsec: of its radius or its diameter, their file does not say.
    for band in "ri":
        mine = [magnitudes(table, f"flux_ap{d}_{band}")[row] for d in (40, 80)]
        theirs = np.ma.filled(other[f"mag_{band}"].astype(float), np.nan)
        bright = near & (theirs < 19) & ((np.asarray(table["flags"])[row] & Flag.BLENDED) == 0)
        assert bright.sum() > 30
        assert min(np.abs(np.nanmedian(m[bright] - theirs[bright])) for m in mine) < 0.02


def test_bright_stars_have_one_flux_however_it_is_measured(field):
    table, _ = field
    psf, color = (magnitudes(table, f"flux_{kind}r") for kind in ("psf_", ""))
    total = magnitudes(table, "flux_total_r")
    stars = (psf < 19) & (np.abs(psf - color) < 0.05) & (np.asarray(table["flags"]) == 0)
    assert stars.sum() > 30
    assert np.abs(np.median((total - psf)[stars])) < 0.02
    # Colours of stars: r - i of bright ones lies on the stellar locus (Covey et al. 2007), i - z near half of it.
    ri = color - magnitudes(table, "flux_i")
    iz = magnitudes(table, "flux_i") - magnitudes(table, "flux_z")
    assert 0.0 < np.median(ri[stars]) < 0.6
    slope = np.polyfit(ri[stars], iz[stars], 1)[0]
    assert 0.35 < slope < 0.75


def test_a_star_has_the_magnitude_of_its_survey(shared_data):
    folder = shared_data / "fields/sdss_frame_photoobj"
    image = read_image(folder / "frame-r-001000-1-0100.fits.bz2")
    catalog = Table.read(folder / "photoObj-001000-1-0100.fits")
    model = read_psfield(str(folder / "psField-001000-1-0100.fit"), "r")
    table = detect([image], psf={"r": psf_of(model.stamp(37, 58, 51))}, box=64)
    # Its only star off the edges: r = 19.56, sky of the frame 0.02 to 0.03 sigma too low around it.
    star = catalog[12]
    place = SkyCoord(star["RA"], star["DEC"], unit="deg")
    row = np.argmin(place.separation(SkyCoord(table["ra"], table["dec"])).arcsec)
    assert table["flux_psf_r"][row].value / 3631 == pytest.approx(star["PSFFLUX"][2], rel=0.1)
