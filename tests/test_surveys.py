"""Survey maps: the language, its mistakes, and the numbers that come out."""

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from astrokeras import surveys
from astrokeras.errors import SurveyError
from astrokeras.flags import Flag
from astrokeras.surveys import SurveyMap, calibrate, canonical_table

SOFTENING = {"u": 1.4e-10, "g": 0.9e-10, "r": 1.2e-10, "i": 1.8e-10, "z": 7.4e-10}


def make(**changes):
    """Map of a table with one AB magnitude, changed at will."""
    stated = {
        "object_id": "id",
        "bands": ["r"],
        "photometry": {"total": {"mag": "mag_{band}", "error": "err_{band}", "system": "AB"}},
    }
    return SurveyMap.model_validate(stated | changes)


def fluxes(value, error=None, unit="nJy", facts=None, table=None, **photometry):
    """Flux and error in nJy of one band, and the flags."""
    errors = {"error": "e"} if error is not None and not {"ivar", "snr"} & set(photometry) else {}
    statement = {"flux": "f", "unit": unit} | errors | photometry
    statement = {k: v for k, v in statement.items() if v is not None}
    survey = make(bands={"r": facts or {}}, photometry={"m": statement}, missing=[-9999])
    columns = Table({"id": np.arange(len(value)), "f": np.asarray(value)}) if table is None else table
    if error is not None:
        columns["e"] = np.asarray(error)
    out = canonical_table(columns, survey)
    errors = out["flux_err_r"].value if error is not None else None
    return out["flux_r"].value, errors, np.asarray(out["flags"])


class TestLanguage:
    def test_short_and_long_forms_agree(self):
        assert make(bands={"r": "SLOAN/SDSS.r"}) == make(bands={"r": {"filter": "SLOAN/SDSS.r"}})
        assert make(bands=["r"]) == make(bands={"r": {}})
        assert make(object_id=["id"], z_spec="z") == make(z_spec={"column": "z"})

    @pytest.mark.parametrize(
        ("changes", "place", "message"),
        [
            (
                {"photometry": {"m": {"mag": "r"}}},
                ("photometry", "m"),
                "a magnitude needs its system: AB, Vega or asinh",
            ),
            ({"photometry": {"m": {"mag": "r", "system": "ST"}}}, ("photometry", "m", "system"), "'AB', 'asinh'"),
            (
                {"photometry": {"m": {"mag": "r", "flux": "f", "system": "AB"}}},
                ("photometry", "m"),
                "either flux or mag",
            ),
            (
                {"photometry": {"m": {"flux": "f", "unit": "mag"}}},
                ("photometry", "m", "unit"),
                "no unit of flux density",
            ),
            ({"photometry": {"m": {"flux": "f", "unit": "count"}}}, ("photometry", "m", "unit"), "zero_point"),
            ({"photometry": {"m": {"flux": "{bnd}f"}}}, ("photometry", "m", "flux"), "unknown placeholder {bnd}"),
            ({"photometry": {"m": {"flux": "f[{index}]"}}}, ("photometry", "m"), "needs the 'index' of band r"),
            ({"photometry": {"m": {"mag": "r", "system": "asinh"}}}, ("photometry", "m"), "need 'softening'"),
            ({"photometry": {"m": {"mag": "r", "system": "Vega"}}}, ("photometry", "m"), "need 'vega_to_ab'"),
            (
                {"photometry": {"m": {"flux": "f", "error": "e", "ivar": "i"}}},
                ("photometry", "m"),
                "one of error, ivar and snr",
            ),
            (
                {"photometry": {"m": {"flux": "f", "constant_error": 0.1}}},
                ("photometry", "m"),
                "constant_error belongs to magnitudes",
            ),
            (
                {"photometry": {"m": {"mag": "f", "system": "AB", "error": "e", "constant_error": 0.1}}},
                ("photometry", "m"),
                "or a constant_error",
            ),
            ({"photometry": {"m": {"flux": "f", "bands": ["q"]}}}, ("photometry", "m", "bands"), "no band 'q'"),
            ({"bands": ["r", "g"], "photometry": {"m": {"flux": "f"}}}, ("photometry", "m"), "one column for several"),
            ({"photometry": {"m": {"flux": "f"}, "n": {"flux": "g"}}}, ("default",), "one of m, n"),
            ({"default": "totl"}, ("default",), "did you mean 'total'?"),
            ({"bands": ["r'"]}, ("bands", "r'", "[key]"), "match pattern"),
            ({"bands": {"r": {"filtr": "x"}}}, ("bands", "r", "filtr"), "not permitted"),
            ({"photometry": {"m": {"flux": "f", "zero_point": 27, "unit": "nJy"}}}, ("photometry", "m"), "not both"),
            ({"photometry": {"m": {"flux": "f", "system": "AB"}}}, ("photometry", "m"), "system belongs to magnitudes"),
            ({"photometry": {"m": {"mag": "f", "system": "AB", "unit": "nJy"}}}, ("photometry", "m"), "has a system"),
            ({"extinction": {"law": "SFD98"}}, ("extinction",), "one of magnitudes, ebv, transmission and map"),
            ({"extinction": {"ebv": "EBV"}}, ("extinction",), "absent for r"),
            ({"quality": "clean = 1"}, ("quality",), "equality is written =="),
            ({"position": {"verified": False}}, ("position",), "needs a note"),
        ],
    )
    def test_mistakes(self, changes, place, message):
        with pytest.raises(ValidationError) as caught:
            make(**changes)
        (error,) = caught.value.errors()
        assert error["loc"] == place
        assert message in error["msg"]

    def test_templates(self):
        survey = make(bands={"Ks": {"name": "KS", "index": 3}})
        expanded = survey.expand("{band}_{BAND}_{name}[{index}]", "Ks")
        assert expanded == "Ks_KS_KS[3]"


class TestLibrary:
    def test_all_shipped_maps_load(self):
        assert {"sdss-casjobs", "sdss-photoobj", "lsst-dp1"} <= set(surveys.names())
        for name in surveys.names():
            stated = surveys.load(name)
            assert stated.title
            assert stated.sources
            assert all(facts.filter for facts in stated.bands.values())
            for kind in stated.photometry:
                assert surveys.request(stated, kind, stated.photometry[kind].own_bands).fields

    def test_softening_of_sdss(self):
        for name in ("sdss-casjobs", "sdss-photoobj"):
            bands = surveys.load(name).bands
            assert {b: f.softening for b, f in bands.items()} == SOFTENING
            assert not bands["u"].verified
            assert "on request" in bands["u"].note

    def test_unknown_name_and_path(self, tmp_path):
        with pytest.raises(SurveyError, match="did you mean 'sdss-casjobs'"):
            surveys.load("sdss-casjob")
        with pytest.raises(SurveyError, match="no such file"):
            surveys.load(str(tmp_path / "mine.yaml"))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("bands: [r]\nphotometry:\n  m: {flux: f, unit: mag}\n", ":3:16: photometry.m.unit: 'mag' is no unit"),
            ("bands: [r]\nfotometry: {}\n", ":2:1: fotometry: unknown key; did you mean 'photometry'?"),
            ("bands: [r]\nbands: [g]\n", ":2:1: found duplicate key"),
            ("bands: [r\n", ":2:1: "),
            ("- r\n", ":1:1: a survey map is a mapping"),
            ("bands: &b [r]\nmissing: *b\nphotometry: {m: {flux: f}}\n", "aliases are not allowed"),
            ("\xe9\x00", "YAML"),
        ],
    )
    def test_mistakes_are_named_by_line(self, tmp_path, text, message):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SurveyError) as caught:
            surveys.load(str(path))
        assert message in str(caught.value)
        assert str(path) in str(caught.value)

    def test_too_large(self, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_text("#" * 2_000_000)
        with pytest.raises(SurveyError, match="too many for a survey map"):
            surveys.load(str(path))

    def test_file_may_change(self, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_text("bands: [r]\nphotometry: {m: {flux: f, unit: nJy}}\n")
        assert tuple(surveys.load(str(path)).bands) == ("r",)
        path.write_text("bands: [green]\nphotometry: {m: {flux: f, unit: nJy}}\n")
        assert tuple(surveys.load(str(path)).bands) == ("green",)


class TestFluxes:
    @pytest.mark.parametrize(
        ("unit", "factor"), [("nJy", 1), ("uJy", 1e3), ("Jy", 1e9), ("nanomaggy", 3631), ("maggy", 3631e9)]
    )
    def test_units(self, unit, factor):
        flux, error, flags = fluxes([2.0, -1.0], [0.5, 0.25], unit)
        np.testing.assert_allclose(flux, [2 * factor, -factor], rtol=1e-6)
        np.testing.assert_allclose(error, [0.5 * factor, 0.25 * factor], rtol=1e-6)
        assert flux.dtype == error.dtype == np.float32
        assert not flags.any()

    def test_zero_points(self):
        flux, _, _ = fluxes([1.0], unit=None, zero_point=22.5)
        np.testing.assert_allclose(flux, 3631.0, rtol=1e-6)
        flux, _, _ = fluxes([1.0], unit=None, facts={"zero_point": 23.9})
        np.testing.assert_allclose(flux, 3631e9 * 10 ** (-0.4 * 23.9), rtol=1e-6)

    def test_ab_magnitudes_agree_with_astropy(self):
        mag = np.array([15.0, 22.5, 31.4])
        flux, error, _ = fluxes(mag, [0.1, 0.2, 1e4], None, flux=None, mag="f", system="AB")
        expected = (mag * u.ABmag).to_value(u.nJy)
        # astropy takes 3630.78 Jy for AB = 0, everybody else 3631 Jy.
        np.testing.assert_allclose(flux, expected * 3631 / 3630.7805, rtol=3e-6)
        np.testing.assert_allclose(error, flux * np.log(10) / 2.5 * [0.1, 0.2, 1e4], rtol=3e-6)
        assert np.isfinite(error).all()

    def test_vega_magnitudes(self):
        flux, _, _ = fluxes([0.0], None, None, {"vega_to_ab": 0.9}, flux=None, mag="f", system="Vega")
        np.testing.assert_allclose(flux, 3631e9 * 10 ** (-0.4 * 0.9), rtol=1e-6)

    @given(st.floats(-0.5, 3.5), st.sampled_from(sorted(SOFTENING)))
    def test_asinh_magnitudes_invert_their_definition(self, log_nanomaggies, band):
        b = SOFTENING[band]
        for sign in (-1, 1):
            maggies = sign * 1e-9 * (10**log_nanomaggies - 0.3)
            # Definition, Lupton, Gunn & Szalay 1999, eq. 3 in the form of the SDSS pages.
            mag = -2.5 / np.log(10) * (np.arcsinh(maggies / (2 * b)) + np.log(b))
            assert calibrate.asinh_flux(mag, b) == pytest.approx(3631e9 * maggies, rel=1e-9, abs=1e-6)

    def test_asinh_error_is_the_derivative(self):
        b, mag, step = SOFTENING["u"], np.array([18.0, 24.0, 25.5]), 1e-5
        flux = calibrate.asinh_flux(mag, b)
        slope = (calibrate.asinh_flux(mag + step, b) - calibrate.asinh_flux(mag - step, b)) / (2 * step)
        np.testing.assert_allclose(calibrate.asinh_error(flux, 0.1, b), 0.1 * np.abs(slope), rtol=1e-6)

    def test_asinh_becomes_pogson_for_bright_objects(self):
        b = SOFTENING["r"]
        np.testing.assert_allclose(calibrate.asinh_flux(15.0, b), calibrate.ab_flux(15.0), rtol=1e-6)
        assert abs(calibrate.asinh_flux(24.8, b) / calibrate.ab_flux(24.8)) < 0.1

    def test_ab_offsets_only_on_request(self):
        table = Table({"id": [1], "mag_r": [20.0], "err_r": [0.1]})
        survey = make(bands={"r": {"ab_offset": -0.04}})
        plain, offset = (canonical_table(table, survey, ab_offsets=yes) for yes in (False, True))
        assert plain["flux_r"].value[0] == pytest.approx(36310, rel=1e-6)
        for name in ("flux_r", "flux_err_r"):
            assert offset[name].value[0] / plain[name].value[0] == pytest.approx(10 ** (0.4 * 0.04), rel=1e-6)

    def test_inverse_variance(self):
        flux, error, flags = fluxes([1.0, 1.0, 1.0, 1.0], [4.0, 0.0, -9999, np.inf], "uJy", ivar="e")
        np.testing.assert_array_equal(flux, np.float32([1e3, np.nan, np.nan, np.nan]))
        np.testing.assert_array_equal(error, np.float32([500, np.nan, np.nan, np.nan]))
        assert flags.tolist() == [0, Flag.MISSING_BAND, Flag.MISSING_BAND, Flag.MISSING_BAND | Flag.BAD_PHOTOMETRY]

    def test_ratio_of_flux_to_error(self):
        flux, error, flags = fluxes([6.0, -6.0, 6.0, 6.0, np.nan], [3.0, 2.0, 0.0, -9999, 1.0], "uJy", snr="e")
        np.testing.assert_array_equal(error, np.float32([2000, 3000, np.nan, np.nan, np.nan]))
        np.testing.assert_array_equal(np.isnan(flux), np.isnan(error))
        missing, bad = int(Flag.MISSING_BAND), int(Flag.MISSING_BAND | Flag.BAD_PHOTOMETRY)
        assert flags.tolist() == [0, 0, bad, missing, missing]

    def test_constant_error_of_magnitudes(self):
        statement = {"mag": "m", "system": "AB", "constant_error": 0.05}
        survey = make(photometry={"p": statement}, missing=[99])
        table = canonical_table(Table({"id": [1, 2, 3], "m": [20.0, 99.0, np.nan]}), survey)
        flux = 3631e9 * 10 ** (-0.4 * 20)
        np.testing.assert_allclose(table["flux_err_r"].value, [0.4 * np.log(10) * 0.05 * flux, np.nan, np.nan], 1e-6)
        # An asinh magnitude has an error of flux where there is no flux, too.
        zero = -2.5 * np.log10(SOFTENING["r"])
        survey = make(bands={"r": {"softening": SOFTENING["r"]}}, photometry={"p": statement | {"system": "asinh"}})
        table = canonical_table(Table({"id": [1], "m": [zero]}), survey)
        expected = 0.4 * np.log(10) * 0.05 * 2 * SOFTENING["r"] * 3631e9
        np.testing.assert_allclose(table["flux_err_r"].value, [expected], 1e-6)

    def test_what_is_missing_and_what_is_bad(self):
        missing, bad = int(Flag.MISSING_BAND), int(Flag.MISSING_BAND | Flag.BAD_PHOTOMETRY)
        cases = [
            (20.0, 0.1, 0),
            (20.0, 1e4, 0),
            (np.nan, np.nan, missing),
            (-9999, 0.1, missing),
            (99.0, 99.0, missing),
            (20.0, -9999, missing),
            (np.inf, 0.1, bad),
            (-np.inf, 0.1, bad),
            (1e10, 0.1, bad),
            (-200.0, 0.1, bad),
            (20.0, 0.0, bad),
            (20.0, -0.1, bad),
            (20.0, np.nan, bad),
            (20.0, np.inf, bad),
        ]
        mag, error, expected = (np.array(x) for x in zip(*cases, strict=True))
        for dtype in (np.float32, np.float64):
            flux, sigma, flags = fluxes(
                mag.astype(dtype), error.astype(dtype), None, flux=None, mag="f", system="AB", missing=[99, -99.9]
            )
            assert flags.tolist() == expected.tolist()
            np.testing.assert_array_equal(np.isnan(flux), expected > 0)
            np.testing.assert_array_equal(np.isnan(sigma), expected > 0)

    def test_sentinels_have_the_precision_of_the_column(self):
        flux, _, _ = fluxes(np.array([-99.9, 1.0], np.float32), missing=-99.9)
        assert np.isnan(flux).tolist() == [True, False]

    def test_masked_values_are_missing(self):
        table = Table({"id": [1, 2], "f": MaskedColumn([5, 6], mask=[True, False])})
        flux, _, flags = fluxes([0, 0], table=table)
        assert np.isnan(flux[0])
        assert flux[1] == 6
        assert flags.tolist() == [int(Flag.MISSING_BAND), 0]

    def test_flag_columns(self):
        table = Table({"id": [1, 2, 3], "f": [1.0, 2.0, np.nan], "bad": [False, True, True]})
        flux, _, flags = fluxes([0, 0, 0], table=table, flag="bad")
        np.testing.assert_array_equal(flux, [1, np.nan, np.nan])
        assert flags.tolist() == [0, int(Flag.MISSING_BAND | Flag.BAD_PHOTOMETRY), int(Flag.MISSING_BAND)]
        table.remove_column("bad")
        assert not np.isnan(fluxes([0, 0, 0], table=table, flag="bad")[0][:2]).any()

    def test_overflow_of_single_precision_is_bad(self):
        flux, _, flags = fluxes([1e35], unit="Jy")
        assert np.isnan(flux[0])
        assert flags[0] & Flag.BAD_PHOTOMETRY


class TestUnits:
    def test_unit_of_the_column(self):
        survey = make(photometry={"m": {"flux": "f"}})
        table = QTable({"id": [1], "f": [2.0] * u.mJy})
        assert canonical_table(table, survey)["flux_r"].value[0] == pytest.approx(2e6)
        with pytest.raises(SurveyError, match="no unit in the file; state it"):
            canonical_table(Table({"id": [1], "f": [2.0]}), survey)
        with pytest.raises(SurveyError, match="'deg'"):
            canonical_table(QTable({"id": [1], "f": [2.0] * u.deg}), survey)

    def test_map_and_column_must_agree(self):
        survey = make(photometry={"m": {"flux": "f", "unit": "nanomaggy"}})
        table = QTable({"id": [1], "f": [2.0] * u.nJy})
        with pytest.raises(SurveyError, match="in 'nJy' by the file and in 'nanomaggy' by the survey map"):
            canonical_table(table, survey)
        agreeing = Table({"id": [1], "f": [2.0]})
        agreeing["f"].unit = u.Unit(3631 * u.nJy)
        assert canonical_table(agreeing, survey)["flux_r"].value[0] == pytest.approx(7262)

    def test_a_flux_is_no_magnitude(self):
        table = Table({"id": [1], "mag_r": [20.0] * u.nJy, "err_r": [0.1]})
        with pytest.raises(SurveyError, match="is a flux"):
            canonical_table(table, make())

    def test_magnitude_units_are_taken(self):
        table = QTable({"id": [1], "mag_r": [20.0] * u.ABmag, "err_r": [0.1] * u.mag})
        assert canonical_table(table, make())["flux_r"].value[0] == pytest.approx(36310, rel=1e-6)


class TestExtinction:
    TABLE = Table(
        {
            "id": [1, 2],
            "mag_r": [20.0, 20.0],
            "err_r": [0.1, 0.1],
            "A_r": [0.5, -9999],
            "EBV": [0.2, 0.0],
            "T_r": [0.8, 0],
        }
    )

    @pytest.mark.parametrize(
        ("stated", "expected"),
        [
            ({"magnitudes": "A_{band}"}, 10**0.2),
            ({"ebv": "EBV"}, 10 ** (0.4 * 2.165 * 0.2)),
            ({"transmission": "T_{band}"}, 1.25),
        ],
    )
    def test_three_ways(self, stated, expected):
        survey = make(extinction=stated, bands={"r": {"extinction": 2.165}}, missing=[-9999])
        plain = canonical_table(self.TABLE, survey)
        out = canonical_table(self.TABLE, survey, deredden=True)
        for name in ("flux_r", "flux_err_r"):
            assert out[name].value[0] / plain[name].value[0] == pytest.approx(expected, rel=1e-6)
        assert out["flux_r"].info.meta["dereddened"] == "yes"
        assert plain["flux_r"].info.meta["dereddened"] == "no"
        good = out["flux_r"].value[1] == plain["flux_r"].value[1]
        assert good if "ebv" in stated else out["flags"][1] & Flag.BAD_PHOTOMETRY

    def test_never_twice_and_never_unknown(self):
        for state in ("yes", "unverified"):
            photometry = {"m": {"mag": "mag_{band}", "system": "AB", "dereddened": state}}
            survey = make(extinction={"magnitudes": "A_{band}"}, photometry=photometry)
            with pytest.raises(
                SurveyError, match={"yes": "must not be twice", "unverified": "dereddened: unverified"}[state]
            ):
                canonical_table(self.TABLE, survey, deredden=True)
        with pytest.raises(SurveyError, match="states no extinction"):
            canonical_table(self.TABLE, make(), deredden=True)


class TestPositions:
    def place(self, table, **position):
        out = canonical_table(table, make(position=position, missing=[-9999]))
        return out["ra"].value, out["dec"].value, np.asarray(out["flags"])

    def table(self, ra, dec):
        return Table(
            {"id": np.arange(len(ra)), "mag_r": [20.0] * len(ra), "err_r": [0.1] * len(ra), "ra": ra, "dec": dec}
        )

    @pytest.mark.parametrize(("unit", "ra"), [("deg", 150.0), ("rad", np.deg2rad(150.0)), ("hourangle", 10.0)])
    def test_units(self, unit, ra):
        dec = np.deg2rad(-30.0) if unit == "rad" else -30.0
        found = self.place(self.table([ra], [dec]), unit=unit)
        np.testing.assert_allclose([found[0][0], found[1][0]], [150.0, -30.0])

    def test_sexagesimal_text(self):
        ra, dec, _ = self.place(self.table(["10:00:00.6", ""], ["-05:30:00", "1"]), unit="hourangle")
        np.testing.assert_allclose([ra[0], dec[0]], [150.0025, -5.5])
        assert np.isnan(ra[1])
        with pytest.raises(SurveyError, match="holds no angles"):
            self.place(self.table(["north"], ["0"]), unit="hourangle")

    def test_unit_of_the_column_must_agree(self):
        table = self.table([1.0] * u.rad, [0.5] * u.rad)
        np.testing.assert_allclose(self.place(table, unit="rad")[0], np.rad2deg(1.0))
        with pytest.raises(SurveyError, match="in 'rad' by the file"):
            self.place(table, unit="deg")

    def test_out_of_range(self):
        ra, dec, flags = self.place(self.table([0, 360, 361, -1, 10, np.nan, -9999], [0, 90, 0, 0, 90.1, 0, 0]))
        np.testing.assert_array_equal(ra, [0, 0] + [np.nan] * 5)
        np.testing.assert_array_equal(dec, [0, 90] + [np.nan] * 5)
        assert flags.tolist() == [0, 0] + [int(Flag.BAD_POSITION)] * 5

    @pytest.mark.parametrize("frame", ["fk5", "fk4", "galactic"])
    def test_frames(self, frame):
        expected = SkyCoord(120.0, 40.0, unit="deg", frame=frame).icrs
        ra, dec, _ = self.place(self.table([120.0], [40.0]), frame=frame)
        np.testing.assert_allclose([ra[0], dec[0]], [expected.ra.deg, expected.dec.deg])

    def test_skycoord_columns(self):
        table = QTable(self.table([1.0], [2.0])["id", "mag_r", "err_r"])
        table["where"] = SkyCoord([33.0], [-4.0], unit="deg")
        ra, dec, _ = self.place(table)
        np.testing.assert_allclose([ra[0], dec[0]], [33.0, -4.0])


class TestOtherColumns:
    def test_joined_identifiers(self):
        table = Table({"RUN": [94, 125], "ID": ["a ", "b"], "mag_r": [20.0, 21], "err_r": [0.1, 0.1]})
        out = canonical_table(table, make(object_id=["run", "id"], group=["run"]))
        assert out["object_id"].tolist() == ["94-a", "125-b"]
        assert out["group"].tolist() == [94, 125]

    def test_no_identifier_numbers_the_rows(self):
        table = Table({"mag_r": [20.0, 21], "err_r": [0.1, 0.1]})
        assert canonical_table(table, make(object_id=None))["object_id"].tolist() == [0, 1]

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([1.5, 2.0], "holds fractions"),
            (MaskedColumn([1, 2], mask=[False, True]), "missing in row 1"),
            ([1.0, np.nan], "missing in row 1"),
        ],
    )
    def test_bad_identifiers(self, values, message):
        with pytest.raises(SurveyError, match=message):
            canonical_table(Table({"id": values, "mag_r": [20.0, 21], "err_r": [0.1, 0.1]}), make())

    def test_large_identifiers_keep_every_digit(self):
        for number in (2**63 - 1, 2**64 - 1):
            table = Table({"id": np.array([number], np.uint64), "mag_r": [20.0], "err_r": [0.1]})
            assert str(canonical_table(table, make())["object_id"][0]) == str(number)

    def test_labels(self):
        table = Table(
            {
                "id": [1, 2, 3],
                "mag_r": [20.0] * 3,
                "err_r": [0.1] * 3,
                "z": [0.5, -9999, np.inf],
                "type": [3, 6, 0],
                "class": ["GALAXY", "star ", ""],
            }
        )
        survey = make(
            missing=-9999,
            z_spec="z",
            extendedness={"column": "type", "codes": {"3": 1, "6": 0}},
            class_true={"column": "CLASS", "codes": {"GALAXY": "galaxy", "star": "star"}},
        )
        out = canonical_table(table, survey)
        as_floats = table.copy()
        as_floats["type"] = [3.0, 6.0, np.nan]
        np.testing.assert_array_equal(canonical_table(as_floats, survey)["extendedness"], out["extendedness"])
        np.testing.assert_array_equal(out["z_spec"], [0.5, np.nan, np.nan])
        np.testing.assert_array_equal(out["extendedness"], np.float32([1, 0, np.nan]))
        assert out["class_true"].tolist() == ["galaxy", "star", ""]

    def test_optional_labels(self):
        table = Table({"id": [1], "mag_r": [20.0], "err_r": [0.1]})
        out = canonical_table(
            table, make(z_spec={"column": "z", "optional": True}, class_true={"column": "c", "optional": True})
        )
        assert np.isnan(out["z_spec"][0])
        assert out["class_true"][0] == ""
        with pytest.raises(SurveyError, match="no column 'z'"):
            canonical_table(table, make(z_spec="z"))

    def test_names_match_whatever_their_case(self):
        table = Table({"ID": [1], "MAG_R": [20.0], "Err_r": [0.1]})
        assert canonical_table(table, make())["flux_r"].value[0] > 0
        table["mag_R"] = 30.0
        with pytest.raises(SurveyError, match=r"could be any of MAG_R, mag_R"):
            canonical_table(table, make())


class TestTables:
    def test_pandas_and_astropy_agree(self):
        frame = pd.DataFrame(
            {"id": ["x", "y", "w"], "mag_r": np.float32([20, 21, 22]), "err_r": pd.array([1, None, 3], "Int64")}
        )
        table = Table(
            {"id": ["x", "y", "w"], "mag_r": np.float32([20, 21, 22]), "err_r": MaskedColumn([1, 2, 3], mask=[0, 1, 0])}
        )
        a, b = canonical_table(frame, make()), canonical_table(table, make())
        assert a.colnames == b.colnames
        for name in a.colnames:
            np.testing.assert_array_equal(a[name], b[name])
        assert np.isnan(a["flux_r"].value).tolist() == [False, True, False]

    def test_no_rows(self):
        table = Table({"id": [1], "mag_r": [20.0], "err_r": [0.1], "c": ["x"]})[:0]
        out = canonical_table(table, make(class_true={"column": "c", "codes": {"x": "y"}}))
        assert len(out) == 0
        assert out["flux_r"].unit == u.nJy

    def test_input_is_unchanged(self):
        table = Table({"id": [1, 2], "mag_r": [20.0, -9999], "err_r": [0.1, np.nan]})
        before = table.copy()
        canonical_table(table, make(missing=-9999))
        for name in table.colnames:
            np.testing.assert_array_equal(table[name], before[name])

    def test_measures(self):
        photometry = {k: {"flux": f"{{band}}_{k}", "unit": "nJy"} for k in ("model", "cmodel", "psf")}
        survey = make(photometry=photometry, default="model", bands={"r": "SLOAN/SDSS.r"})
        table = Table({"id": [1], "r_model": [1.0], "r_cmodel": [2.0], "r_psf": [np.nan]})
        out = canonical_table(table, survey, {"total": "cmodel", "psf": "psf"})
        assert out.colnames == ["object_id", "flux_r", "flux_total_r", "flux_psf_r", "flags"]
        assert out["flux_total_r"].value[0] == 2
        assert out["flux_total_r"].info.meta["photometry"] == "cmodel"
        assert out["flux_r"].info.meta["filter"] == "SLOAN/SDSS.r"
        assert out["flags"][0] == 0

    def test_canonical_columns_without_a_map(self):
        table = QTable({"object_id": [1], "flux_r": [2.0] * u.uJy, "flux_err_r": [3.0] * u.nJy})
        out = canonical_table(table, None, bands=["r"])
        assert out["flux_r"].value[0] == pytest.approx(2000)
        assert out["flux_err_r"].value[0] == pytest.approx(3)
        with pytest.raises(SurveyError, match="`bands` must be named"):
            canonical_table(table, None)

    @pytest.mark.parametrize(
        ("column", "message"),
        [
            (np.ones((2, 3)), r"cells of shape \(3,\); name an element, such as mag_r\[0\]"),
            (["20.5", "faint"], "needs numbers, found 'faint' in row 1"),
            (np.array([1j, 2j]), "has type complex128, needs numbers"),
        ],
    )
    def test_columns_of_another_kind(self, column, message):
        table = Table({"id": [1, 2], "mag_r": column, "err_r": [0.1, 0.1]})
        with pytest.raises(SurveyError, match=message):
            canonical_table(table, make())

    def test_numbers_written_as_text(self):
        table = Table({"id": [1, 2], "mag_r": [" 20", ""], "err_r": ["0.1", "0.1"]})
        out = canonical_table(table, make())
        assert out["flux_r"].value[0] == pytest.approx(36310, rel=1e-6)
        assert out["flags"][1] == Flag.MISSING_BAND

    def test_elements(self):
        survey = make(bands={"r": {"index": 2}}, photometry={"m": {"flux": "v[{index}]", "unit": "nJy"}})
        table = Table({"id": [1], "v": [[1.0, 2, 3]], "s": [[7.0]]})
        assert canonical_table(table, survey)["flux_r"].value[0] == 3
        with pytest.raises(SurveyError, match="no element 5"):
            canonical_table(
                table, make(bands={"r": {"index": 5}}, photometry={"m": {"flux": "v[{index}]", "unit": "nJy"}})
            )
        single = make(photometry={"m": {"flux": "s", "unit": "nJy"}})
        assert canonical_table(table, single)["flux_r"].value[0] == 7

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"photometry": "modl"}, "no photometry 'modl'"),
            ({"photometry": {"colour": "total"}}, "no measure of photometry 'colour'; did you mean 'color'"),
            ({"bands": ["q"]}, "no band 'q'"),
            ({"bands": []}, "at least one"),
            ({"bands": ["r", "r"]}, "must be different"),
        ],
    )
    def test_wrong_requests(self, arguments, message):
        with pytest.raises(SurveyError, match=message):
            surveys.request(make(), **arguments)

    def test_photometry_without_a_band(self):
        photometry = {"m": {"flux": "{band}", "unit": "nJy", "bands": ["g"]}}
        survey = make(bands=["g", "r"], photometry=photometry)
        with pytest.raises(SurveyError, match=r"'m' has no band r; restrict `bands`"):
            surveys.request(survey)
        assert surveys.request(survey, bands=["g"]).fields[1].name == "flux_g"


def test_a_map_has_bands_and_photometry_or_neither():
    spectra = {"object_id": "id", "position": {"ra": "ra", "dec": "dec"}, "z_spec": "z"}
    made = canonical_table(Table({"id": [4], "ra": [10.0], "dec": [-5.0], "z": [0.3]}), spectra)
    assert made.colnames == ["object_id", "ra", "dec", "z_spec", "flags"]
    assert (made["z_spec"][0], made["flags"][0]) == (0.3, 0)
    photometry = {"psf": {"flux": "f_{band}", "unit": "nJy"}}
    for half, lacking in (({"bands": ["g"]}, "photometry"), ({"photometry": photometry}, "bands")):
        with pytest.raises(SurveyError, match=rf"survey\.{lacking}: needs at least one"):
            canonical_table(Table({"id": [4]}), spectra | half)
    with pytest.raises(SurveyError, match="no photometry 'psf'"):
        canonical_table(Table({"id": [4]}), spectra, photometry="psf")
