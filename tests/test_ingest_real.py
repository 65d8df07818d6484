"""Real survey files, and files as odd as they occur in the wild: what comes of each."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from astrokeras.chunk import concatenate
from astrokeras.errors import IngestError
from astrokeras.flags import Flag
from astrokeras.ingest.catalog import Catalog
from astrokeras.ingest.formats import open_table

NO_TABLE = "HDU.* and no table"
#: Rows and columns of a readable table, or what the message must say.
OUTCOMES = {
    "ascii/bad.txt": "row 2: has 5 values for 4 columns",
    "ascii/cds_malformed.dat": "CDS",
    "ascii/fill_values.txt": (2, 3),
    "ascii/no_data_with_header.dat": (0, 3),
    "ascii/sextractor3.dat": (2, 20),
    "ascii/simple_csv_missing.csv": "row 1: has 1 value for 3 columns",
    "ascii/space_delim_no_header.dat": "no header line",
    "constructed/catalog_bom_semicolon.csv": (1, 3),
    "constructed/catalog_dup_columns.csv": "column g occurs more than once",
    "constructed/empty.fits": "is empty",
    "constructed/gz_named_plain.fits": NO_TABLE,
    "constructed/plain_named_gz.fits.gz": NO_TABLE,
    "constructed/nan_stripe.fits": NO_TABLE,
    "constructed/truncated.fits.gz": "truncated",
    "constructed/truncated_half.fits": NO_TABLE,
    "fits/ascii.fits": (5, 2),
    "fits/chandra_time.fits": (2, 19),
    "fits/compressed_image.fits": NO_TABLE,
    "fits/group.fits": NO_TABLE,
    "fits/logical_null.fits": (3, 1),
    "fits/m13_plio.fits": NO_TABLE,
    "fits/memtest.fits": (1, 69),
    "fits/stddata.fits": "several tables; name one with `hdu:`",
    "fits/table.fits": (3, 2),
    "fits/tb.fits": (2, 4),
    "fits/tdim.fits": (3, 2),
    "fits/theap-gap.fits": "column 'arr': .*variable length",
    "fits/vla_logical_pre_fix.fits": "column 'flag': .*variable length",
    "survey/ZPN.fits": (0, 7),
    "survey/bass_bunit_conflict.fits": NO_TABLE,
    "survey/deepCoadd_meas_HSC_v2.fits": "several tables",
    "survey/ls_dr3_tractor_vectorcols.fits": (2, 69),
    "survey/ls_dr8_tractor_uppercase.fits": (6, 96),
    "survey/ps1_nan_edge.fits": NO_TABLE,
    "survey/sdss_fpM_tablesonly.fit": "several tables",
    "survey/sdss_photoObj_vectorcols_sentinels.fits": (19, 139),
    "survey/small_MI_corrupt_img.fits": NO_TABLE,
    "votable/binary2_masked_strings.xml": (3, 6),
    "votable/binary2_variable_length_char.xml": (1, 1),
    "votable/coosys.xml": (1, 4),
    "votable/custom_datatype.xml": "Unknown datatype 'bar'",
    "votable/empty_table.xml": (0, 2),
    "votable/irsa-nph-error.xml": "the service answered with an error: .*missing coordinate",
    "votable/irsa-nph-m31.xml": (18, 25),
    "votable/names.xml": (1, 17),
    "votable/no_field_not_empty_table.xml": "no columns",
    "votable/no_resource.xml": "no table",
    "votable/nonstandard_units.xml": (0, 1),
    "votable/pyvo-basic.xml": (3, 2),
    "votable/pyvo-errorstatus.xml": "the service answered with an error: ERROR",
    "votable/pyvo-missingcolumns.xml": "no columns",
    "votable/pyvo-missingresource.xml": "no table",
    "votable/pyvo-overflowstatus.xml": (3, 2),
    "votable/regression.xml": "several tables; name one with `table:`",
    "votable/resource_groups.xml": "no table",
    "votable/test.order.xml": "several tables",
    "votable/timesys_errors.xml": "no readable VOTable",
    "votable/too_many_columns.xml.gz": "more columns than are defined",
    "wcs/sip-broken.hdr": "FITS extension or header",
    "wcs/sub-segfault.hdr": "no header line",
}


def everything(source, columns=None):
    columns = [f.name for f in source.fields()] if columns is None else columns
    return concatenate([source.read(p, columns) for p in source.partitions(5000)])


@pytest.mark.parametrize("name", sorted(OUTCOMES))
def test_outcomes(shared_data, name):
    path = str(shared_data / "badinputs" / name)
    if not isinstance(OUTCOMES[name], str):
        table = open_table(path)
        cuts = list(table.cuts(100))
        found = [table.read(table.names, cut) for cut in cuts]
        assert (cuts[-1].stop, len(table.names)) == OUTCOMES[name]
        assert all(
            len(part[n].data) == cut.stop - cut.start for part, cut in zip(found, cuts, strict=True) for n in part
        )
        return
    with pytest.raises(IngestError, match=OUTCOMES[name]) as caught:
        table = open_table(path)
        [table.read(table.names, cut) for cut in table.cuts(100)]
    assert path in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "badinputs/fits/ascii.fits",
            "badinputs/fits/chandra_time.fits",
            "badinputs/fits/table.fits",
            "badinputs/fits/tb.fits",
        ),
        *("badinputs/survey/ls_dr3_tractor_vectorcols.fits", "badinputs/survey/ls_dr8_tractor_uppercase.fits"),
        *("badinputs/survey/sdss_photoObj_vectorcols_sentinels.fits", "photoz/boss_dr10/boss_dr10_eval.fits"),
    ],
)
def test_fits_tables_equal_astropy(shared_data, name):
    table = open_table(str(shared_data / name))
    (cut,) = table.cuts(10**6)
    found = table.read(table.names, cut)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = fits.getdata(shared_data / name, 1)
        for column in table.names:
            want = expected[column]
            if want.dtype.kind == "S" or want.dtype.kind == "U":
                want = np.char.rstrip(want)
            np.testing.assert_array_equal(np.ma.getdata(found[column].data), want, err_msg=column)


class TestSDSS:
    @pytest.fixture
    def path(self, shared_data):
        return str(shared_data / "badinputs/survey/sdss_photoObj_vectorcols_sentinels.fits")

    def test_magnitudes_of_fluxes(self, path):
        """MODELMAG is the asinh magnitude of MODELFLUX, to 1e-6 mag."""
        raw = Table.read(path)
        fluxes = everything(Catalog(files=path, survey="sdss-photoobj"))
        for i, (band, b) in enumerate(zip("ugriz", (1.4e-10, 0.9e-10, 1.2e-10, 1.8e-10, 7.4e-10), strict=True)):
            maggies = fluxes[f"flux_{band}"].value.astype(float) / 3631e9
            mag = -2.5 / np.log(10) * (np.arcsinh(maggies / (2 * b)) + np.log(b))
            catalogued = np.where(raw["MODELMAG"][:, i] == -9999, np.nan, raw["MODELMAG"][:, i])
            good = ~np.isnan(mag)
            assert good.sum() >= 15
            # Both are single precision: 26 mag has steps of 2e-6.
            np.testing.assert_allclose(mag[good], catalogued[good], rtol=0, atol=3e-6)

    @pytest.mark.parametrize("kind", ["model", "cmodel", "psf"])
    def test_magnitudes_and_fluxes_are_the_same_measurement(self, path, kind):
        a, b = (everything(Catalog(files=path, survey="sdss-photoobj", photometry=p)) for p in (kind, f"{kind}_mag"))
        for band in "ugriz":
            error = a[f"flux_err_{band}"].value
            np.testing.assert_allclose(b[f"flux_err_{band}"].value, error, rtol=2e-6)
            difference = (b[f"flux_{band}"].value - a[f"flux_{band}"].value) / error
            assert np.nanmax(np.abs(difference)) < 1e-3
        np.testing.assert_array_equal(np.asarray(a["flags"]), np.asarray(b["flags"]))

    def test_sentinels_and_positions(self, path):
        out = everything(Catalog(files=path, survey="sdss-photoobj"))
        flags = np.asarray(out["flags"])
        assert len(out) == 19
        assert set(flags.tolist()) == {0, Flag.MISSING_BAND}
        assert np.all(np.isfinite(out["ra"].value))
        assert set(np.unique(out["extendedness"][~np.isnan(out["extendedness"])])) == {0, 1}

    def test_elements_in_where(self, path):
        raw = Table.read(path)
        out = everything(Catalog(files=path, survey="sdss-photoobj", where="OBJC_TYPE == 3 and MODELMAG[2] < 24"))
        assert len(out) == np.count_nonzero((raw["OBJC_TYPE"] == 3) & (raw["MODELMAG"][:, 2] < 24)) > 0


BOSS = {
    "object_id": "OBJID",
    "bands": {b: f"SLOAN/SDSS.{b}" for b in "ugriz"},
    "photometry": {
        "model": {"mag": "MAG_{BAND}", "error": "MAGERR_{BAND}", "system": "AB", "dereddened": "unverified"}
    },
    "z_spec": "Z",
}
DC2 = {
    "object_id": "id",
    "missing": 99,
    "bands": {b: f"LSST/LSST.{b}" for b in "ugrizy"},
    "photometry": {"cmodel": {"mag": "mag_{band}_lsst", "error": "mag_err_{band}_lsst", "system": "AB"}},
    "z_spec": "redshift",
}


@pytest.mark.parametrize("suffix", ["fits", "parquet"])
def test_boss(shared_data, suffix):
    path = shared_data / f"photoz/boss_dr10/boss_dr10_train.{suffix}"
    out = everything(Catalog(files=str(path), survey=BOSS, keep={"SRC": {"kind": "i2"}}, where="SRC == 1"))
    raw = Table.read(path)
    raw = raw[raw["SRC"] == 1]
    assert len(out) == 6000
    assert not np.any(np.asarray(out["flags"]))
    np.testing.assert_array_equal(out["object_id"], raw["OBJID"])
    np.testing.assert_allclose(-2.5 * np.log10(out["flux_z"].value / 3631e9), raw["MAG_Z"], atol=3e-6)
    np.testing.assert_array_equal(out["z_spec"], raw["Z"])
    # Errors of 1e4 mag are how the survey says "not detected"; they stay, finite.
    huge = raw["MAGERR_U"] > 1e3
    assert huge.sum() > 0
    assert np.all(np.isfinite(out["flux_err_u"].value[huge]))
    assert np.all(out["flux_err_u"].value[huge] > 900 * out["flux_u"].value[huge])


def test_dc2(shared_data):
    folder = shared_data / "photoz/dc2_sim"
    files = (str(folder / "dc2_training.parquet"), {"path": str(folder / "dc2_validation.fits"), "split": "test"})
    out = everything(Catalog(files=files, survey=DC2))
    assert np.unique(out["split"], return_counts=True)[1].tolist() == [10225, 20449]
    assert np.isnan(out["flux_u"].value).sum() == 714 + 1489
    assert np.isnan(out["flux_g"].value).sum() == 2
    assert np.count_nonzero(np.asarray(out["flags"]) == Flag.MISSING_BAND) >= 714 + 1489
    assert not np.any(np.asarray(out["flags"]) & Flag.BAD_PHOTOMETRY)


def test_legacy_surveys(shared_data):
    survey = {
        "object_id": ["brickid", "objid"],
        "position": {},
        "bands": {b: f"CTIO/DECam.{b}" for b in "grz"},
        "photometry": {"tractor": {"flux": "flux_{band}", "ivar": "flux_ivar_{band}", "unit": "nanomaggy"}},
        "extinction": {"transmission": "mw_transmission_{band}"},
    }
    path = shared_data / "badinputs/survey/ls_dr8_tractor_uppercase.fits"
    raw = Table.read(path)
    out = everything(Catalog(files=str(path), survey=survey, deredden=True))
    np.testing.assert_allclose(out["flux_r"].value, 3631 * raw["FLUX_R"] / raw["MW_TRANSMISSION_R"], rtol=1e-6)
    np.testing.assert_allclose(
        out["flux_err_r"].value, 3631 / np.sqrt(raw["FLUX_IVAR_R"]) / raw["MW_TRANSMISSION_R"], rtol=1e-6
    )
    vectors = survey | {
        "bands": {b: {"index": i} for i, b in enumerate("ugrizY")},
        "photometry": {
            "tractor": {"flux": "decam_flux[{index}]", "ivar": "decam_flux_ivar[{index}]", "unit": "nanomaggy"}
        },
        "extinction": None,
        "class_true": "type",
    }
    out = everything(
        Catalog(files=str(shared_data / "badinputs/survey/ls_dr3_tractor_vectorcols.fits"), survey=vectors)
    )
    # No data is flux 0 with inverse variance 0; text is padded with blanks.
    assert np.isnan(out["flux_u"].value).all()
    assert out["class_true"].tolist() == ["DEV", "SIMP"]


def test_hsc_coadd_measurements(shared_data):
    survey = {
        "object_id": "id",
        "position": {"ra": "coord_ra", "dec": "coord_dec", "unit": "rad"},
        "bands": {"i": {"filter": "Subaru/HSC.i", "zero_point": 27.0}},
        "photometry": {"psf": {"flux": "base_PsfFlux_flux", "error": "base_PsfFlux_fluxSigma"}},
    }
    path = str(shared_data / "badinputs/survey/deepCoadd_meas_HSC_v2.fits")
    out = everything(Catalog(files=path, survey=survey, hdu=1, where="flags[0] == 0"))
    raw = fits.getdata(path, 1)
    bits = raw["flags"][:, 0]
    np.testing.assert_array_equal(out["object_id"], raw["id"][~bits])
    np.testing.assert_allclose(out["ra"].value, np.rad2deg(raw["coord_ra"][~bits]))
    np.testing.assert_allclose(out["flux_i"].value, raw["base_PsfFlux_flux"][~bits] * 3631 * 10**-1.8, rtol=1e-5)
