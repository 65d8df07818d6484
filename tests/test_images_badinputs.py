"""Files as they occur in the wild, images and catalogs: each gives the right data or one clear sentence."""

import warnings

import numpy as np
import pytest
from astropy.io import fits

from astrokeras.errors import IngestError
from astrokeras.images.reader import images_in, open_image
from astrokeras.ingest.formats import open_table
from astrokeras.ingest.tablefile import TableOptions

# File: images it holds, shape of the first, its layout, and words that must be said of it.
MEGACAM = (1, (200, 200), "cfht-megacam")
GOOD_IMAGES = {
    "constructed/bigendian_dup_keys.fits": (*MEGACAM, ()),
    "constructed/bunit_old_style.fits": (*MEGACAM, ("BUNIT = '10**(-20)*erg/s/cm**2' is no unit of flux density",)),
    "constructed/float64_1x1.fits": (1, (1, 1), "cfht-megacam", ()),
    "constructed/gz_named_plain.fits": (*MEGACAM, ()),
    "constructed/nan_stripe.fits": (*MEGACAM, ()),
    "constructed/no_wcs.fits": (*MEGACAM, ("HDU 0 has no celestial coordinates to be used: the axes are none",)),
    "constructed/plain_named_gz.fits.gz": (*MEGACAM, ()),
    "constructed/singular_cd.fits": (*MEGACAM, ("no celestial coordinates to be used", "matrix is singular")),
    "constructed/string_exptime_olddate.fits": (*MEGACAM, ("EXPTIME = '53.907456' is text", "old form DD/MM/YY")),
    "constructed/trailing_garbage.fits": (*MEGACAM, ()),
    "fits/arange.fits": (7, (10, 11), "plain", ("the axes are none",)),
    "fits/compressed_image.fits": (1, (10, 10), "plain", ("the axes are none",)),
    "fits/double_ext.fits": (1, (5, 5), "plain", ("all pixels are 0",)),
    "fits/fixed-1890.fits": (1, (100, 100), "plain", ("the axes are PIXEL, PIXEL", "all pixels are 1890")),
    "fits/m13_plio.fits": (1, (300, 300), "plain", ()),
    "fits/m13_rice.fits": (1, (300, 300), "plain", ()),
    "fits/o4sp040b0_raw.fits": (2, (44, 62), "plain", ("the axes are LAMBDA, ANGLE",)),
    "fits/scale.fits": (1, (21, 20), "plain", ("MAGZPT/MAGZP is taken as the zero point of the pixels as they are",)),
    "fits/test0.fits": (4, (40, 40), "plain", ("the axes are UNITLESS, LINE", "'33' names no band")),
    "survey/ZPN.fits": (1, (10, 10), "lsst-calexp", ("FLUXMAG0 = 0.0 is no positive number", "no pixel has data")),
    "survey/bass_bunit_conflict.fits": (
        1,
        (119, 118),
        "plain",
        ("BUNIT = 'counts/s' in the primary HDU, 'ADU' in HDU 1 (CCD4), which was taken",),
    ),
    "survey/ps1_nan_edge.fits": (1, (49, 49), "ps1-skycell", ()),
    "survey/small_MI_corrupt_img.fits": (1, (256, 256), "cfht-megacam", ("PHOT_C",)),
    "wcs/header_newlines.fits": (1, (1, 1), "plain", ("PV1_5 : Unrecognized coordinate transformation parameter",)),
}
NO_IMAGE = "holds no image with pixels"
SHORT = "the header tells of data up to byte"
BAD_IMAGES = {
    "constructed/empty.fits": "is empty",
    "constructed/err_shape_mismatch.fits": "HDU 2 (ERR): belongs to HDU 1 (SCI), but they have 100 x 200 and 200 x 200",
    "constructed/truncated.fits.gz": "cannot be read to its end (damaged or truncated?)",
    "constructed/truncated_half.fits": "HDU 0: the header tells of data up to byte 168640, the file has 84960",
    "wcs/2wcses.hdr": SHORT,
    "wcs/siponly.hdr": SHORT,
    "wcs/sip-broken.hdr": SHORT,
    "wcs/tpvonly.hdr": SHORT,
    "wcs/too_many_pv.hdr": SHORT,
    "wcs/sub-segfault.hdr": "is no FITS file but begins with b'WCSAXES =",
    "wcs/zpn-hole.hdr": "is no FITS file but begins with b'NAXIS   =",
    **dict.fromkeys(("wcs/dist.fits", "wcs/sip.fits", "wcs/validate.fits"), NO_IMAGE),
    **dict.fromkeys(
        (
            f"fits/{name}.fits"
            for name in (
                *("ascii", "chandra_time", "compressed_float_bzero", "group", "group_invalid", "history_header"),
                *("logical_null", "memtest", "stddata", "table", "tb", "tdim", "theap-gap", "verify"),
                "vla_logical_pre_fix",
            )
        ),
        NO_IMAGE,
    ),
    "survey/deepCoadd_meas_HSC_v2.fits": NO_IMAGE,
    "survey/ls_dr3_tractor_vectorcols.fits": NO_IMAGE,
    "survey/ls_dr8_tractor_uppercase.fits": NO_IMAGE,
    "survey/sdss_fpM_tablesonly.fit": NO_IMAGE,
    "survey/sdss_photoObj_vectorcols_sentinels.fits": NO_IMAGE,
}
# Catalogs: columns and rows, or words of the error.
TABLES = {
    "ascii/bad.txt": "row 2: has 5 values for 4 columns",
    "ascii/cds_malformed.dat": "is a CDS (machine-readable) table, which is not read",
    "ascii/fill_values.txt": (3, 2),
    "ascii/no_data_with_header.dat": (3, 0),
    "ascii/sextractor3.dat": (20, 2),
    "ascii/simple_csv_missing.csv": "row 1: has 1 value for 3 columns",
    "ascii/space_delim_no_header.dat": "has no header line",
    "constructed/catalog_bom_semicolon.csv": (3, 1),
    "constructed/catalog_dup_columns.csv": "column g occurs more than once",
    "fits/ascii.fits": (2, 5),
    "fits/chandra_time.fits": (19, 2),
    "fits/group.fits": "no table",
    "fits/logical_null.fits": (1, 3),
    "fits/memtest.fits": (69, 1),
    "fits/stddata.fits": "has several tables; name one with `hdu:`",
    "fits/table.fits": (2, 3),
    "fits/tb.fits": (4, 2),
    "fits/tdim.fits": (2, 3),
    "fits/theap-gap.fits": "column 'arr': has rows of variable length",
    "fits/vla_logical_pre_fix.fits": "column 'flag': has rows of variable length",
    "survey/ZPN.fits": (7, 0),
    "survey/deepCoadd_meas_HSC_v2.fits": "has several tables",
    "survey/ls_dr3_tractor_vectorcols.fits": (69, 2),
    "survey/ls_dr8_tractor_uppercase.fits": (96, 6),
    "survey/sdss_fpM_tablesonly.fit": "has several tables",
    "survey/sdss_photoObj_vectorcols_sentinels.fits": (139, 19),
    "votable/binary2_masked_strings.xml": (6, 3),
    "votable/binary2_variable_length_char.xml": (1, 1),
    "votable/coosys.xml": (4, 1),
    "votable/custom_datatype.xml": "Unknown datatype 'bar'",
    "votable/empty_table.xml": (2, 0),
    "votable/irsa-nph-error.xml": "the service answered with an error",
    "votable/irsa-nph-m31.xml": (25, 18),
    "votable/names.xml": (17, 1),
    "votable/no_field_not_empty_table.xml": "the table has no columns",
    "votable/no_resource.xml": "the VOTable has no table",
    "votable/nonstandard_units.xml": (1, 0),
    "votable/pyvo-basic.xml": (2, 3),
    "votable/pyvo-errorstatus.xml": "the service answered with an error",
    "votable/pyvo-missingcolumns.xml": "the table has no columns",
    "votable/pyvo-missingresource.xml": "the VOTable has no table",
    "votable/pyvo-overflowstatus.xml": (2, 3),
    "votable/regression.xml": "has several tables; name one with `table:`",
    "votable/resource_groups.xml": "the VOTable has no table",
    "votable/test.order.xml": "has several tables",
    "votable/timesys_errors.xml": "ID attribute is required",
    "votable/too_many_columns.xml.gz": "Data has more columns than are defined in the header",
}


@pytest.fixture
def corpus(shared_data):
    return shared_data / "badinputs"


def test_no_file_is_left_out(corpus):
    found = {str(p.relative_to(corpus)) for p in corpus.rglob("*") if p.is_file() and p.name != "README.md"}
    assert found == set(GOOD_IMAGES) | set(BAD_IMAGES) | set(TABLES)


@pytest.mark.parametrize("name", GOOD_IMAGES)
def test_images_that_can_be_used(corpus, name):
    count, shape, layout, words = GOOD_IMAGES[name]
    path = corpus / name
    found = images_in(path)
    assert len(found) == count
    opened = open_image(path, hdu=found[0][0])
    image = opened.read()
    assert (opened.shape, opened.layout) == (shape, layout) and image.data.shape == image.mask.shape == shape
    text = "\n".join(image.notes)
    assert all(word in text for word in words), text
    expected = first_plane(path)
    # What is not flagged is what astropy reads, times one factor.
    good = image.mask == 0
    factor = 1.0 if opened.zero_point is None else 10 ** (0.4 * (31.40006562228223 - opened.zero_point))
    np.testing.assert_allclose(image.data[good], expected[good] * factor, rtol=2e-6, atol=1e-6 * factor)
    assert np.isfinite(image.data[good]).all()


def first_plane(path):
    """First two-dimensional plane of a file, by astropy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path) as opened:
            hdu = next(h for h in opened if h.is_image and h.data is not None and h.data.ndim >= 2)
            return np.array(hdu.data.reshape(-1, *hdu.data.shape[-2:])[0], np.float64)


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_images_that_cannot(corpus, name):
    path = corpus / name
    with pytest.raises(IngestError) as caught:
        images_in(path)
        open_image(path).read()
    message = str(caught.value)
    assert message.startswith(str(path)) and BAD_IMAGES[name] in message and "\n" not in message


@pytest.mark.parametrize("name", TABLES)
def test_catalogs(corpus, name, recwarn):
    path, expected = str(corpus / name), TABLES[name]

    def read():
        table = open_table(path, TableOptions())
        rows = 0
        for cut in table.cuts(1000):
            table.read(table.names, cut)
            rows += cut.stop - cut.start
        return len(table.names), rows

    if isinstance(expected, tuple):
        assert read() == expected
        return
    with pytest.raises(IngestError) as caught:
        read()
    assert str(caught.value).startswith(path) and expected in str(caught.value)
