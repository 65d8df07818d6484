"""Upper limits: told apart from what was not observed, and as deep as the survey says."""

import math

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from pydantic import ValidationError

from astrokeras.errors import IngestError, SurveyError
from astrokeras.flags import Flag
from astrokeras.ingest.catalog import Catalog
from astrokeras.surveys import SurveyMap, canonical_table

pytest.importorskip("astropy_healpix")

ZERO_FLUX = 3631e9
#: 1-sigma limits of the LSST mock that RAIL uses, in which 99 stands for "not detected".
DC2 = {"u": 27.79, "g": 29.04, "r": 29.06, "i": 28.62, "z": 27.98, "y": 27.05}


def flux(mag):
    """Flux in nJy of AB magnitudes, from the definition."""
    return ZERO_FLUX * 10 ** (-0.4 * np.asarray(mag, float))


def one(limits, table, facts=None, **photometry):
    """Flux, error and flags of the band r of a table with columns ``m`` and ``e``."""
    statement = {"mag": "m", "error": "e", "system": "AB", "limits": limits} | photometry
    statement = {k: v for k, v in statement.items() if v is not None}
    survey = {"position": {"optional": True}, "bands": {"r": facts or {}}, "photometry": {"p": statement}}
    out = canonical_table(Table(table), survey)
    return out["flux_r"].value, out["flux_err_r"].value, np.asarray(out["flags"])


def test_a_code_is_a_limit_as_deep_as_the_constants_of_the_bands():
    table = Table(
        {f"mag_{b}_lsst": [99.0, 25.0, np.nan] for b in DC2} | {f"mag_err_{b}_lsst": [99, 0.1, 0] for b in DC2}
    )
    limits = {"code": 99, "depth": {**DC2, "nsigma": 1}}
    survey = {
        "bands": list(DC2),
        "photometry": {
            "m": {"mag": "mag_{band}_lsst", "error": "mag_err_{band}_lsst", "system": "AB", "limits": limits}
        },
    }
    out = canonical_table(table, survey)
    for band, depth in DC2.items():
        assert np.isnan(out[f"flux_{band}"][0])
        np.testing.assert_allclose(out[f"flux_err_{band}"][0].value, flux(depth), rtol=1e-6)
        np.testing.assert_allclose(out[f"flux_{band}"][1].value, flux(25.0), rtol=1e-6)
        assert np.isnan(out[f"flux_{band}"][2])
        assert np.isnan(out[f"flux_err_{band}"][2])
    assert list(out["flags"]) == [Flag.UPPER_LIMIT, 0, Flag.MISSING_BAND]


def test_wise_says_limits_by_leaving_out_the_error():
    names = [f"w{n}{what}" for n in (1, 2, 3, 4) for what in ("mpro", "sigmpro")]
    table = Table({name: np.array([15.0, 15.0, 15.0]) for name in names} | {"designation": list("abc")})
    for name in names:
        table[name] = MaskedColumn(table[name], mask=[False, "sig" in name and name[1] in "34", name[1] == "4"])
        table[name][0] = 0.05 if "sig" in name else 15.0
    table["ra"], table["dec"] = [1.0, 2, 3], [0.0, 0, 0]
    out = canonical_table(table, "allwise")
    # 15 mag of Vega in W3 are 20.174 mag AB, and the limit is one of 2 sigma.
    np.testing.assert_allclose(out["flux_err_W3"][1].value, flux(15 + 5.174) / 2, rtol=1e-6)
    assert np.isnan(out["flux_W3"][1])
    assert np.isnan(out["flux_err_W4"][2])
    assert list(out["flags"]) == [0, Flag.UPPER_LIMIT, Flag.MISSING_BAND]


@pytest.mark.parametrize(("values", "flag"), [((), [0, 1, 8]), (("U",), ["A ", "U", "U "]), ((1, 8), [0, 1, 8])])
def test_a_flag_makes_the_value_a_limit(values, flag):
    limits = {"flag": "lim", "flag_values": values, "depth": {"nsigma": 3}}
    found, error, flags = one(limits, {"m": [20.0, 21, 22], "e": [0.1, 0.1, np.nan], "lim": flag})
    assert list(np.isnan(found)) == [False, True, True]
    np.testing.assert_allclose(error[1:], flux([21, 22]) / 3, rtol=1e-6)
    assert list(flags) == [0, Flag.UPPER_LIMIT, Flag.UPPER_LIMIT]


@pytest.mark.parametrize(
    ("photometry", "depth", "expected"),
    [
        ({}, {"column": "lim", "nsigma": 5}, ZERO_FLUX * 10 ** (-0.4 * 24) / 5),
        ({"system": "Vega"}, {"column": "lim", "nsigma": 5}, ZERO_FLUX * 10 ** (-0.4 * (24 + 0.9)) / 5),
        ({"system": "asinh"}, {"column": "lim", "nsigma": 2}, None),
        ({}, {"column": "lim", "quantity": "flux", "nsigma": 1}, None),
    ],
)
def test_depth_from_a_column_is_in_the_system_of_the_magnitudes(photometry, depth, expected):
    facts = {"vega_to_ab": 0.9, "softening": 1.2e-10}
    if photometry.get("system") == "asinh":
        # Inverse of the definition of Lupton et al. (1999).
        expected = 2 * 1.2e-10 * ZERO_FLUX * math.sinh(-0.4 * math.log(10) * 24 - math.log(1.2e-10)) / 2
    if "quantity" in depth:
        expected = 24.0
    table = {"m": [99.0, 99.0, 20], "e": [99.0, 99, 0.1], "lim": [24.0, np.nan, 24.0]}
    _, error, flags = one({"code": 99, "depth": depth}, table, facts, **photometry)
    np.testing.assert_allclose(error[0], expected, rtol=1e-6)
    # Not observed as far as one can tell.
    assert np.isnan(error[1])
    assert list(flags) == [Flag.UPPER_LIMIT, Flag.MISSING_BAND, 0]


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        ({"column": "lim", "nsigma": 2}, 3631.0 * 4 / 2),
        ({"column": "lim", "quantity": "ivar", "nsigma": 1}, 3631.0 / 2),
        ({"column": "lim", "quantity": "mag", "nsigma": 5}, ZERO_FLUX * 10 ** (-0.4 * 4) / 5),
        ({"r": 24.0, "nsigma": 5}, ZERO_FLUX * 10 ** (-0.4 * 24) / 5),
    ],
)
def test_depth_beside_fluxes_says_what_it_is(depth, expected):
    photometry = {"mag": None, "system": None, "flux": "m", "unit": "nanomaggy"}
    table = {"m": [np.nan, -3.0], "e": [np.nan, 2.0], "lim": [4.0, 4.0]}
    found, error, flags = one({"no_value": True, "depth": depth}, table, **photometry)
    np.testing.assert_allclose(error, [expected, 7262.0], rtol=1e-6)
    # A negative flux is a measurement.
    np.testing.assert_allclose(found[1], -3 * 3631.0)
    assert list(flags) == [Flag.UPPER_LIMIT, 0]


def test_a_failed_measurement_is_no_limit():
    table = {"m": [99.0, 99.0], "e": [99.0, 99.0], "bad": [0, 1]}
    _, error, flags = one({"code": 99, "depth": {"r": 25.0, "nsigma": 1}}, table, flag="bad")
    assert list(np.isnan(error)) == [False, True]
    assert list(flags) == [Flag.UPPER_LIMIT, Flag.MISSING_BAND]


def test_extinction_counts_for_limits_too():
    survey = {
        "bands": ["r"],
        "photometry": {
            "p": {"mag": "m", "error": "e", "system": "AB", "limits": {"no_error": True, "depth": {"nsigma": 2}}}
        },
        "extinction": {"magnitudes": "a_{band}"},
    }
    table = Table({"m": [22.0, 22.0, 22.0], "e": [np.nan, 0.1, np.nan], "a_r": [0.5, 0.5, np.nan]})
    out = canonical_table(table, survey, deredden=True)
    np.testing.assert_allclose(out["flux_err_r"][0].value, flux(21.5) / 2, rtol=1e-6)
    np.testing.assert_allclose(out["flux_r"][1].value, flux(21.5), rtol=1e-6)
    assert list(out["flags"]) == [Flag.UPPER_LIMIT, 0, Flag.MISSING_BAND | Flag.BAD_PHOTOMETRY]


def test_limits_survive_our_own_products():
    table = Table({"object_id": [1, 2, 3], "flux_r": [5.0, np.nan, np.nan], "flux_err_r": [1.0, 2.0, np.nan]})
    out = canonical_table(table, None, bands=["r"])
    np.testing.assert_array_equal(out["flux_err_r"].value, [1, 2, np.nan])
    assert list(out["flags"]) == [0, Flag.UPPER_LIMIT, Flag.MISSING_BAND]


class TestMaps:
    """Depth maps, checked against pixel centres of the library that others use."""

    RA, DEC = np.array([10.0, 200.0, 310.0, 45.0]), np.array([5.0, -40.0, 88.0, -1.0])

    def pixels(self, nside, order, frame):
        from astropy_healpix import HEALPix

        sky = SkyCoord(self.RA, self.DEC, unit="deg")
        lon, lat = (sky.ra, sky.dec) if frame == "icrs" else (sky.galactic.l, sky.galactic.b)
        return HEALPix(nside, order=order).lonlat_to_healpix(lon, lat)

    def survey(self, path, **stated):
        depth = {"map": {"path": str(path), "column": "depth_{band}", **stated}, "nsigma": 5}
        statement = {"mag": "m", "error": "e", "system": "AB", "limits": {"code": 99, "depth": depth}}
        return {"position": {}, "bands": ["r"], "photometry": {"p": statement}}

    def table(self):
        return Table({"ra": [*self.RA, np.nan], "dec": [*self.DEC, 0.0], "m": [99.0] * 5, "e": [99.0] * 5})

    @pytest.mark.parametrize("order", ["nested", "ring"])
    @pytest.mark.parametrize("frame", ["icrs", "galactic"])
    def test_a_part_of_the_sky(self, tmp_path, order, frame):
        place = self.pixels(16, order, frame)
        assert len(set(place)) == 4
        columns = {"PIXEL": place[[2, 0, 1]], "DEPTH_R": np.array([26.0, 24.0, 25.0])}
        table = Table(
            columns, meta={"NSIDE": 16, "ORDERING": order.upper(), "COORDSYS": frame[0].upper().replace("I", "C")}
        )
        table.write(tmp_path / "depth.fits")
        out = canonical_table(self.table(), self.survey(tmp_path / "depth.fits"))
        expected = [*(flux([24, 25, 26]) / 5), np.nan, np.nan]
        np.testing.assert_allclose(out["flux_err_r"].value, expected, rtol=1e-6)
        assert list(np.asarray(out["flags"]) & Flag.UPPER_LIMIT) == [512, 512, 512, 0, 0]

    def test_the_whole_sky_in_rows_of_many_pixels(self, tmp_path):
        """As healpy writes maps: 1024 pixels in a row, and -1.6375e30 where there is nothing."""
        values = np.full(12 * 16**2, -1.6375e30)
        place = self.pixels(16, "ring", "icrs")
        values[place[:2]] = [24.0, 25.0]
        table = Table({"depth_r": values.reshape(3, 1024)}, meta={"NSIDE": 16, "ORDERING": "RING"})
        table.write(tmp_path / "depth.fits")
        out = canonical_table(self.table(), self.survey(tmp_path / "depth.fits"))
        np.testing.assert_allclose(out["flux_err_r"].value, [*(flux([24, 25]) / 5), *[np.nan] * 3], rtol=1e-6)

    @pytest.mark.parametrize(
        ("columns", "meta", "message"),
        [
            ({"depth_r": np.zeros(5)}, {"NSIDE": 1, "ORDERING": "RING"}, "5 values, but 12 pixels of nside 1"),
            ({"depth_r": np.zeros(12)}, {"NSIDE": 1}, "the header has no ORDERING that is known; state `order`"),
            ({"depth_g": np.zeros(12)}, {"NSIDE": 1}, "no column 'depth_r'; did you mean 'depth_g'"),
            ({"PIXEL": [3, 3], "depth_r": [1.0, 1]}, {"NSIDE": 1, "ORDERING": "RING"}, "repeated numbers"),
        ],
    )
    def test_what_is_no_map_is_told(self, tmp_path, columns, meta, message):
        Table(columns, meta=meta).write(tmp_path / "depth.fits")
        with pytest.raises(SurveyError, match=message):
            canonical_table(self.table(), self.survey(tmp_path / "depth.fits"))

    def test_what_is_no_file_is_told(self, tmp_path):
        with pytest.raises(SurveyError, match=r"depth.fits: No such file"):
            canonical_table(self.table(), self.survey(tmp_path / "depth.fits"))
        (tmp_path / "depth.fits").write_text("<html>not found</html>")
        with pytest.raises(SurveyError, match=r"depth.fits: is no FITS map"):
            canonical_table(self.table(), self.survey(tmp_path / "depth.fits"))
        fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "depth.fits", overwrite=True)
        with pytest.raises(SurveyError, match=r"depth.fits: has no table"):
            canonical_table(self.table(), self.survey(tmp_path / "depth.fits"))

    def test_a_map_is_a_file_of_the_source(self, tmp_path):
        place = self.pixels(16, "ring", "icrs")
        Table({"PIXEL": place, "depth_r": [24.0, 25, 26, 27]}, meta={"NSIDE": 16, "ORDERING": "RING"}).write(
            tmp_path / "depth.fits"
        )
        self.table().write(tmp_path / "photo.fits")
        source = Catalog(files=str(tmp_path / "photo.fits"), survey=self.survey(tmp_path / "depth.fits"))
        [part] = source.partitions(100)
        assert part.files == (str(tmp_path / "photo.fits"), str(tmp_path / "depth.fits"))
        # Positions are read for the map, though nobody asked for them.
        out = source.read(part, ["flux_err_r"])
        np.testing.assert_allclose(out["flux_err_r"].value[:4], flux([24, 25, 26, 27]) / 5, rtol=1e-6)


SURVEY = {
    "object_id": "id",
    "bands": ["g", "r"],
    "photometry": {"p": {"mag": "mag_{band}", "error": "err_{band}", "system": "AB", "limits": {"code": 99}}},
}


class TestSource:
    def path(self, tmp_path):
        columns = {"id": [1, 2], "mag_g": [99.0, 20], "err_g": [99.0, 0.1], "mag_r": [21.0, 99], "err_r": [0.1, 99]}
        Table(columns | {"lim_g": [26.0, 26], "lim_r": [27.0, 27]}).write(tmp_path / "photo.fits", overwrite=True)
        return str(tmp_path / "photo.fits")

    def read(self, tmp_path, **options):
        source = Catalog(files=self.path(tmp_path), survey=SURVEY, **options)
        [part] = source.partitions(100)
        return source.read(part, [f.name for f in source.fields()])

    def test_without_a_depth_an_undetected_object_is_missing(self, tmp_path):
        assert list(self.read(tmp_path)["flags"]) == [Flag.MISSING_BAND] * 2

    @pytest.mark.parametrize("depth", [{"g": 26, "r": 27, "nsigma": 5}, {"column": "lim_{band}", "nsigma": 5}])
    def test_the_source_states_the_depth(self, tmp_path, depth):
        out = self.read(tmp_path, depth=depth)
        np.testing.assert_allclose(out["flux_err_g"][0].value, flux(26) / 5, rtol=1e-6)
        np.testing.assert_allclose(out["flux_err_r"][1].value, flux(27) / 5, rtol=1e-6)
        assert list(out["flags"]) == [Flag.UPPER_LIMIT] * 2

    def test_a_column_that_is_not_there_is_an_error(self, tmp_path):
        with pytest.raises(IngestError, match="no column 'limit_g'; did you mean 'lim_g'"):
            self.read(tmp_path, depth={"column": "limit_{band}", "nsigma": 5})
        out = self.read(tmp_path, depth={"column": "limit_{band}", "nsigma": 5, "optional": True})
        assert list(out["flags"]) == [Flag.MISSING_BAND] * 2

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"depth": {"nsigma": 5}}, "a row without a value of its own needs a column, bands or a map"),
            ({"depth": {"g": 26, "nsigma": 5}}, "needs a limit of every band; absent for r"),
            ({"depth": {"g": 26, "r": 27, "rr": 27, "nsigma": 5}}, "no band 'rr'; did you mean 'r'"),
            ({"depth": {"column": "lim_{index}", "nsigma": 5}}, "needs the 'index' of band g"),
            ({"depth": {"map": {"path": "x", "column": "y"}, "nsigma": 5}}, "a map needs positions"),
            (
                {"depth": {"g": 26, "r": 27, "nsigma": 5}, "survey": "sdss-casjobs"},
                "does not say which rows of 'model'",
            ),
            (
                {"depth": {"g": 26, "r": 27, "nsigma": 5}, "survey": None, "bands": ["g", "r"]},
                "does not say which rows",
            ),
            ({"depth": {"g": 26, "r": 27}}, "nsigma"),
        ],
    )
    def test_mistakes_are_told_at_the_depth(self, tmp_path, options, message):
        with pytest.raises(ValidationError) as error:
            Catalog(**{"files": self.path(tmp_path), "survey": SURVEY} | options)
        assert error.value.errors()[0]["loc"][0] == "depth"
        assert message in str(error.value)


@pytest.mark.parametrize(
    ("photometry", "message"),
    [
        ({"limits": {}}, "say which rows are limits"),
        ({"limits": {"code": 99, "depth": {"nsigma": 1}}}, "a row without a value of its own needs"),
        ({"limits": {"no_error": True, "flag_values": ["U"]}}, "flag_values belong to a flag"),
        ({"limits": {"code": 99}, "missing": [99]}, "99 cannot mean both a limit and `missing`"),
        ({"limits": {"code": -5}}, "-5 cannot mean both a limit and `missing`"),
        ({"limits": {"code": 99}, "error": None}, "the photometry states no errors"),
        ({"limits": {"no_error": True}, "error": None, "constant_error": 0.1}, "no_error needs a column of errors"),
        ({"limits": {"no_error": True, "depth": {"nsigma": 1, "quantity": "mag"}}}, "not to the row's own value"),
        ({"limits": {"code": 99, "depth": {"g": 26, "nsigma": 1}}}, "no band 'g'"),
        (
            {"limits": {"code": 99, "depth": {"r": 26, "column": "x", "nsigma": 1}}},
            "needs one of column, bands and map",
        ),
        ({"limits": {"code": 99, "depth": {"r": 26, "nsigma": 0}}}, "greater than 0"),
    ],
)
def test_mistakes_in_a_map_are_told(photometry, message):
    statement = {"mag": "m", "error": "e", "system": "AB"} | photometry
    with pytest.raises(ValidationError, match=message):
        SurveyMap.model_validate({"missing": -5, "bands": ["r"], "photometry": {"p": statement}})


def test_a_misspelt_key_deep_in_a_file_is_told_at_its_line(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "bands: [r]\nphotometry:\n  p:\n    mag: m\n    error: e\n    system: AB\n"
        "    limits: {code: 99, depth: {colum: lim, nsigma: 1}}\n"
    )
    with pytest.raises(SurveyError, match=r"mine.yaml:7:32: .*colum: unknown key; did you mean 'column'"):
        canonical_table(Table({"m": [1.0] * u.mag}), str(tmp_path / "mine.yaml"))
