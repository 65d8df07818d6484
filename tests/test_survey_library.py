"""The survey maps that come with astrokeras: photometry against numbers worked out by hand, and guessing."""

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from astrokeras import surveys
from astrokeras.cli import main
from astrokeras.errors import SurveyError
from astrokeras.flags import Flag
from astrokeras.ingest.catalog import Catalog
from astrokeras.surveys import SurveyMap, canonical_table

ZERO_FLUX = 3631e9
LN10 = math.log(10)


@dataclasses.dataclass(frozen=True)
class Case:
    """A small table as a survey writes it: two objects with numbers, a third without any measurement.

    ``columns``: band to the columns of value and error. ``shift``: from the magnitudes of the survey to AB, or nJy of a
    flux of 1; one for all bands or one for each. ``none``: how the survey writes "no measurement".
    """

    survey: str
    mode: str
    columns: dict[str, tuple[str, str]]
    shift: tuple[float, ...] = (0.0,)
    none: tuple[float, float] = (math.nan, math.nan)
    photometry: str | None = None
    position: tuple[str, str] = ("ra", "dec")
    extinction: dict[str, str] | str | None = None
    coefficients: tuple[float, ...] = ()
    others: dict[str, list] = dataclasses.field(default_factory=dict)
    extendedness: tuple[float, float] | None = None

    def measured(self, k):
        """Value and error of two objects in band number ``k``."""
        if self.mode in ("mag", "snr"):
            return (20.0 + k, 22.5 + k / 2), ((0.1, 0.05) if self.mode == "mag" else (50.0, 4.0 + k))
        return (100.0 * (k + 1), -5.0 * (k + 1)), (2.0, 4.0) if self.mode == "flux" else (0.25, 0.0625)

    def transmitted(self, k):
        """Linear transmission towards two objects in band number ``k``, and what the table says about it."""
        if self.coefficients:
            return tuple(10 ** (-0.4 * self.coefficients[k] * ebv) for ebv in (0.1, 0.02)), (0.1, 0.02)
        if "transmission" in next(iter(self.extinction.values())).lower():
            return (0.5 + 0.01 * k, 0.8), (0.5 + 0.01 * k, 0.8)
        return tuple(10 ** (-0.4 * a) for a in (0.3 + 0.1 * k, 0.05)), (0.3 + 0.1 * k, 0.05)

    def table(self):
        out = Table(dict(self.others))
        out[self.position[0]], out[self.position[1]] = [10.0, 20.0, 30.0], [-1.0, 0.0, 1.0]
        for k, (band, (value, error)) in enumerate(self.columns.items()):
            for name, pair, none in zip((value, error), self.measured(k), self.none, strict=True):
                out[name] = np.array([*pair, none], np.float32)
            if isinstance(self.extinction, dict):
                out[self.extinction[band]] = np.array([*self.transmitted(k)[1], 0.9], np.float32)
        if isinstance(self.extinction, str):
            out[self.extinction] = np.array([0.1, 0.02, 0.1], np.float32)
        return out

    def expected(self, k):
        """Flux and error in nJy."""
        values, errors = self.measured(k)
        shift = self.shift[k if len(self.shift) > 1 else 0]
        if self.mode in ("flux", "ivar"):
            sigmas = errors if self.mode == "flux" else [e**-0.5 for e in errors]
            return [v * shift for v in values], [s * shift for s in sigmas]
        fluxes = [ZERO_FLUX * 10 ** (-0.4 * (m + shift)) for m in values]
        if self.mode == "snr":
            return fluxes, [f / e for f, e in zip(fluxes, errors, strict=True)]
        return fluxes, [0.4 * LN10 * e * f for f, e in zip(fluxes, errors, strict=True)]


def legacy(survey, bands, case=str):
    columns = {b: (case(f"flux_{b.lower()}"), case(f"flux_ivar_{b.lower()}")) for b in bands}
    ids = {case(name): [n, n + 1, n + 2] for n, name in enumerate(("release", "brickid", "objid"))}
    return Case(
        survey, "ivar", columns, (3631.0,), (0.0, 0.0), position=(case("ra"), case("dec")),
        extinction={b: case(f"mw_transmission_{b.lower()}") for b in bands},
        others=ids | {case("type"): ["PSF ", "EXP ", "DUP "], case("maskbits"): [0, 0, 0]}, extendedness=(0, 1),
    )  # fmt: skip


def rubin(survey, others):
    columns = {b: (f"{b}_cModelFlux", f"{b}_cModelFluxErr") for b in "ugrizy"}
    return Case(
        survey, "flux", columns, (1.0,), position=("coord_ra", "coord_dec"), extinction="ebv",
        coefficients=(4.81, 3.64, 2.70, 2.06, 1.58, 1.31), others={"objectId": [1, 2, 3]} | others, extendedness=(0, 1),
    )  # fmt: skip


DES = {"COADD_OBJECT_ID": [1, 2, 3], "EXTENDED_CLASS_COADD": [1, 3, -9]}
KIDS = {**dict.fromkeys("ugri"), **dict.fromkeys(("Z", "Y", "J", "H", "Ks"))}
CASES = (
    legacy("legacy-dr9", ("g", "r", "z", "W1", "W2", "W3", "W4")),
    legacy("legacy-dr9-north", ("g", "r", "z", "W1", "W2", "W3", "W4"), str.upper),
    legacy("legacy-dr10", ("g", "r", "i", "z", "W1", "W2", "W3", "W4")),
    # 3631e9 nJy * 10^(-0.4 * 30) = 3.631 nJy.
    Case("des-dr2", "flux", {b: (f"FLUX_AUTO_{b.upper()}", f"FLUXERR_AUTO_{b.upper()}") for b in "grizy"}, (3.631,),
         position=("RA", "DEC"), extinction="EBV_SFD98", coefficients=(3.186, 2.140, 1.569, 1.196, 1.048),
         others=DES, extendedness=(0, 1)),
    Case("des-dr2", "mag", {b: (f"MAG_AUTO_{b.upper()}", f"MAGERR_AUTO_{b.upper()}") for b in "grizy"}, none=(99, 99),
         photometry="auto_mag", position=("RA", "DEC"), extinction="EBV_SFD98", others=DES, extendedness=(0, 1),
         coefficients=(3.186, 2.140, 1.569, 1.196, 1.048)),
    Case("hsc-pdr3", "flux", {b: (f"{b}_cmodel_flux", f"{b}_cmodel_fluxerr") for b in "grizy"}, (1.0,),
         extinction={b: f"a_{b}" for b in "grizy"}, extendedness=(0, 1),
         others={"object_id": [1, 2, 3], "i_extendedness_value": [0.0, 1.0, math.nan], "isprimary": [True] * 3}),
    Case("hsc-pdr3", "mag", {b: (f"{b}_psfflux_mag", f"{b}_psfflux_magerr") for b in "grizy"}, photometry="psf_mag",
         extinction={b: f"a_{b}" for b in "grizy"}, extendedness=(0, 1),
         others={"object_id": [1, 2, 3], "i_extendedness_value": [0.0, 1.0, math.nan]}),
    rubin("lsst-dp1", {"refExtendedness": [0.0, 1.0, math.nan], "detect_isPrimary": [True] * 3}),
    rubin("lsst-dp2", {"refExtendedness": [0.0, 1.0, 1.0], "griz_model_extendedness": [0.0, 1.0, math.nan],
                       "detect_isDeblendedModelSource": [True] * 3}),
    Case("ps1-dr2", "mag", {b: (f"{b}MeanKronMag", f"{b}MeanKronMagErr") for b in "grizy"}, none=(-999, -999),
         position=("raMean", "decMean"), others={"objID": [1, 2, 3], "nDetections": [9, 9, 1]}),
    Case("ps1-dr2", "mag", {b: (f"{b}PSFMag", f"{b}PSFMagErr") for b in "grizy"}, none=(-999, -999),
         photometry="stack_psf", position=("raMean", "decMean"), others={"objID": [1, 2, 3]}),
    Case("kids-dr4", "mag", {b: (f"MAG_GAAP_{b}", f"MAGERR_GAAP_{b}") for b in KIDS}, none=(99, 99),
         position=("RAJ2000", "DECJ2000"), others={"ID": ["KIDSDR4 a", "KIDSDR4 b", "KIDSDR4 c"]}),
    Case("euclid-mer", "flux", {b: (f"FLUX_{b.upper()}_2FWHM_APER", f"FLUXERR_{b.upper()}_2FWHM_APER")
         for b in ("vis", "Y", "J", "H")}, (1000.0,), position=("RIGHT_ASCENSION", "DECLINATION"),
         others={"OBJECT_ID": [-1, 2, 3], "POINT_LIKE_FLAG": [1, 0, 9]}, extendedness=(0, 1)),
    # Differences of the AB and Vega zero points of the passbands.
    Case("gaia-dr3", "snr", {b: (f"phot_{b.lower()}_mean_mag", f"phot_{b.lower()}_mean_flux_over_error")
         for b in ("G", "BP", "RP")},
         (25.8010446445 - 25.6873668671, 25.3539555559 - 25.3385422158, 25.1039837393 - 24.7478955012),
         others={"source_id": [1, 2, 3]}),
    Case("allwise", "mag", {f"W{n}": (f"w{n}mpro", f"w{n}sigmpro") for n in (1, 2, 3, 4)}, (2.699, 3.339, 5.174, 6.620),
         others={"designation": ["J1", "J2", "J3"], "ext_flg": [0, 5, 9]}, extendedness=(0, 1)),
)  # fmt: skip
NAMES = [f"{c.survey}-{c.photometry or 'default'}" for c in CASES]


def read(table, tmp_path, survey, **options):
    """Read a table from a FITS file through the source."""
    table.write(tmp_path / "table.fits", overwrite=True)
    source = Catalog(files=str(tmp_path / "table.fits"), survey=survey, **options)
    [part] = source.partitions(100)
    return source.read(part, [f.name for f in source.fields()])


@pytest.mark.parametrize("case", CASES, ids=NAMES)
class TestPhotometry:
    def test_two_objects_by_hand(self, case, tmp_path):
        out = read(case.table(), tmp_path, case.survey, photometry=case.photometry)
        for k, band in enumerate(case.columns):
            flux, error = case.expected(k)
            np.testing.assert_allclose(out[f"flux_{band}"].to_value("nJy")[:2], flux, rtol=3e-6)
            np.testing.assert_allclose(out[f"flux_err_{band}"].to_value("nJy")[:2], error, rtol=3e-6)
        assert list(out["ra"].value) == [10, 20, 30]
        assert not any(np.asarray(out["flags"])[:2])

    def test_no_measurement(self, case, tmp_path):
        out = read(case.table(), tmp_path, case.survey, photometry=case.photometry)
        assert all(np.isnan(out[f"flux_{band}"][2]) for band in case.columns)
        assert out["flags"][2] & Flag.MISSING_BAND

    def test_dereddened(self, case, tmp_path):
        if case.extinction is None:
            with pytest.raises(SurveyError, match=r"states no extinction|dereddened: unverified"):
                surveys.request(case.survey, case.photometry, deredden=True)
            return
        out = read(case.table(), tmp_path, case.survey, photometry=case.photometry, deredden=True)
        for k, band in enumerate(case.columns):
            flux, error = (np.array(x) / case.transmitted(k)[0] for x in case.expected(k))
            np.testing.assert_allclose(out[f"flux_{band}"].to_value("nJy")[:2], flux, rtol=3e-6)
            np.testing.assert_allclose(out[f"flux_err_{band}"].to_value("nJy")[:2], error, rtol=3e-6)

    def test_stars_and_galaxies(self, case, tmp_path):
        out = read(case.table(), tmp_path, case.survey, photometry=case.photometry)
        assert ("extendedness" in out.colnames) == (case.extendedness is not None)
        if case.extendedness is not None:
            np.testing.assert_array_equal(out["extendedness"], np.array([*case.extendedness, np.nan], "f4"))

    def test_guess(self, case):
        found = surveys.guess(case.table().colnames)
        fitting = [g.name for g in found if g.fits]
        assert case.survey in fitting[: 2 if case.survey.startswith("legacy-dr9") else 1]
        best = next(g for g in found if g.name == case.survey)
        assert best.bands == tuple(case.columns)
        assert best.photometry == (case.photometry or surveys.load(case.survey).default_photometry)
        assert {column for pair in case.columns.values() for column in pair} <= set(best.matched)
        assert best.reason.startswith(f"{len(best.matched)} of {len(best.matched)} needed columns")


def test_numbers_in_full():
    """What the formulas of the cases give, written out: AB 20 is 36.31 uJy; Vega 15 in W1 is AB 17.699."""
    assert CASES[4].expected(0)[0][0] == pytest.approx(36310)
    wise = {"designation": ["J1"], "ra": [1.0], "dec": [1.0], "w1mpro": [15.0], "w1sigmpro": [0.1]}
    out = canonical_table(Table(wise), "allwise", bands=["W1"])
    assert out["flux_W1"][0].value == pytest.approx(302291.7, rel=1e-6)
    assert out["flux_err_W1"][0].value == pytest.approx(27842.10, rel=1e-6)


def test_every_map_is_guessed_or_tested():
    special = {"sdss-casjobs", "sdss-photoobj", "unwise", "vst-atlas-wise"}
    assert {c.survey for c in CASES} | special == set(surveys.names())
    page = (Path(__file__).resolve().parents[1] / "docs" / "survey_maps.rst").read_text(encoding="utf-8")
    listed = {name for row in re.findall(r"^   \* - (.*)$", page, re.MULTILINE) for name in row.split(", ")}
    assert listed - {"Map"} == set(surveys.names())


def test_doubts_are_in_the_maps():
    """What was not read in a source says so."""
    assert not surveys.load("kids-dr4").photometry["gaap"].verified
    assert not any(facts.verified for facts in surveys.load("allwise").bands.values())
    assert not surveys.load("des-dr2").extinction.verified
    assert surveys.load("legacy-dr9").extinction.verified


class TestSpecialTables:
    def test_casjobs(self, tmp_path):
        softening = {"u": 1.4e-10, "g": 0.9e-10, "r": 1.2e-10, "i": 1.8e-10, "z": 7.4e-10}
        table = Table({"objid": [1, 2], "ra": [1.0, 2.0], "dec": [0.0, 1.0], "type": [6, 3]})
        for band in "ugriz":
            table[f"modelMag_{band}"], table[f"modelMagErr_{band}"] = [18.0, 24.5], [0.01, 0.8]
            table[f"extinction_{band}"] = [0.25, 0.1]
        assert surveys.guess(table.colnames)[0].name == "sdss-casjobs"
        out = read(table, tmp_path, "sdss-casjobs")
        clean = read(table, tmp_path, "sdss-casjobs", deredden=True)
        for band, b in softening.items():
            flux = [2 * b * ZERO_FLUX * math.sinh(-m * LN10 / 2.5 - math.log(b)) for m in (18.0, 24.5)]
            error = [0.4 * LN10 * e * math.hypot(f, 2 * b * ZERO_FLUX) for e, f in zip((0.01, 0.8), flux, strict=True)]
            np.testing.assert_allclose(out[f"flux_{band}"].value, flux, rtol=3e-6)
            np.testing.assert_allclose(out[f"flux_err_{band}"].value, error, rtol=3e-6)
            np.testing.assert_allclose(
                clean[f"flux_{band}"].value, flux * 10 ** (0.4 * np.array([0.25, 0.1])), rtol=3e-6
            )
        assert list(out["extendedness"]) == [0, 1]

    def test_unwise(self, tmp_path):
        table = Table({"unwise_objid": ["a", "b"], "ra": [1.0, 2.0], "dec": [0.0, 1.0], "primary": [1, 1]})
        table["flux"], table["dflux"] = [[100.0, 50.0], [7.0, 0.0]], [[2.0, 1.0], [3.0, 0.0]]
        assert surveys.guess(table.colnames)[0].name == "unwise"
        out = read(table, tmp_path, "unwise")
        # 3631 nJy * 10^(-0.4 * 2.699) and 10^(-0.4 * 3.339).
        np.testing.assert_allclose(out["flux_W1"].value, [30229.17, 2116.042], rtol=1e-6)
        np.testing.assert_allclose(out["flux_err_W2"].value, [3631 * 10**-1.3356, np.nan], rtol=1e-5)
        assert np.isnan(out["flux_W2"][1])

    def test_gaia_fluxes_agree_with_magnitudes(self):
        """Two ways to nJy: Vega magnitudes, and electrons per second with the AB zero points."""
        table = Table({"source_id": [1], "ra": [1.0], "dec": [0.0]})
        for band, vega in (("g", 25.6873668671), ("bp", 25.3385422158), ("rp", 24.7478955012)):
            table[f"phot_{band}_mean_flux"], table[f"phot_{band}_mean_flux_error"] = [1234.5], [12.345]
            table[f"phot_{band}_mean_mag"] = [vega - 2.5 * math.log10(1234.5)]
            table[f"phot_{band}_mean_flux_over_error"] = [100.0]
        one, other = (canonical_table(table, "gaia-dr3", kind) for kind in ("mean", "mean_flux"))
        for band in ("G", "BP", "RP"):
            assert one[f"flux_{band}"][0].value == pytest.approx(other[f"flux_{band}"][0].value, rel=1e-6)
            assert one[f"flux_err_{band}"][0].value == pytest.approx(other[f"flux_err_{band}"][0].value, rel=1e-6)

    def test_wise_limit_is_no_measurement(self, tmp_path):
        """A magnitude without error is a limit: nothing detected, whatever the file writes for "none"."""
        path = tmp_path / "limits.csv"
        head = [f"w{n}{what}" for n in (1, 2, 3, 4) for what in ("mpro", "sigmpro")]
        rows = ["a,1,0,16,.1,15,.1,12,.1,9,.1", "b,2,0,16,.1,15,.1,12,,9,null"]
        path.write_text("\n".join([",".join(["designation,ra,dec", *head]), *rows]))
        source = Catalog(files=str(path), survey="allwise")
        out = source.read(next(iter(source.partitions(10))), [f.name for f in source.fields()])
        assert [bool(np.isnan(out[f"flux_W{n}"][1])) for n in (1, 2, 3, 4)] == [False, False, True, True]
        assert list(out["flags"]) == [0, Flag.UPPER_LIMIT]
        # 9 mag of Vega in W4 are 15.62 mag AB; the limit is one of 2 sigma.
        assert out["flux_err_W4"][1].value == pytest.approx(ZERO_FLUX * 10 ** (-0.4 * 15.62) / 2, rel=1e-6)

    def test_kids_limit_is_as_deep_as_its_column(self):
        bands = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
        table = Table({"ID": ["a", "b", "c"], "RAJ2000": [1.0, 2, 3], "DECJ2000": [0.0, 0, 0]})
        for k, band in enumerate(bands):
            table[f"MAG_GAAP_{band}"], table[f"MAGERR_GAAP_{band}"] = [22.0, 99.0, -99.0], [0.1, 99.0, -99.0]
            table[f"MAG_LIM_{band}"] = [25.0 + k, 25.0 + k, -99.0]
        out = canonical_table(table, "kids-dr4")
        for k, band in enumerate(bands):
            assert out[f"flux_err_{band}"][1].value == pytest.approx(ZERO_FLUX * 10 ** (-0.4 * (25 + k)), rel=1e-6)
        assert list(out["flags"]) == [0, Flag.UPPER_LIMIT, Flag.MISSING_BAND]


class TestRealFiles:
    @pytest.mark.parametrize("name", ["tractor-3301m007.fits", "tractor-3303p000.fits", "sweep-320m005-330p000.fits"])
    def test_legacy(self, shared_data, name):
        path = str(shared_data / "fields" / "ls_tractor_catalogs" / name)
        native = Table.read(path, hdu=1)
        assert surveys.guess(native.colnames)[0].name == "legacy-dr9"
        for deredden in (False, True):
            source = Catalog(files=path, survey="legacy-dr9", deredden=deredden)
            [part] = source.partitions(100)
            out = source.read(part, [f.name for f in source.fields()])
            for band in ("g", "r", "z", "W1", "W2", "W3", "W4"):
                through = native[f"MW_TRANSMISSION_{band.upper()}"] if deredden else 1.0
                flux = native[f"FLUX_{band.upper()}"] * 3631.0 / through
                error = 3631.0 / np.sqrt(native[f"FLUX_IVAR_{band.upper()}"]) / through
                np.testing.assert_allclose(out[f"flux_{band}"].value, flux, rtol=2e-6)
                np.testing.assert_allclose(out[f"flux_err_{band}"].value, error, rtol=2e-6)
        stars = [str(kind).strip() == "PSF" for kind in native["TYPE"]]
        assert list(out["extendedness"] == 0) == stars
        assert out["object_id"][0] == "-".join(str(native[c][0]) for c in ("RELEASE", "BRICKID", "OBJID"))

    def test_two_legacy_objects_by_hand(self, shared_data):
        """Rows 0 and 1, g: 6.6644797 and 0.37035778 nmgy, ivar 463.15573 and 1187.0062, T 0.8086147 and 0.8029265."""
        path = str(shared_data / "fields" / "ls_tractor_catalogs" / "tractor-3301m007.fits")
        source = Catalog(files=path, survey="legacy-dr9", bands=["g"])
        [part] = source.partitions(100)
        out = source.read(part, ["flux_g", "flux_err_g"])
        np.testing.assert_allclose(out["flux_g"].value[:2], [24198.726, 1344.7691], rtol=1e-6)
        np.testing.assert_allclose(out["flux_err_g"].value[:2], [168.71850, 105.39008], rtol=1e-6)

    def test_sdss_photoobj(self, shared_data):
        """Rows 0 and 1, u and g: 24.50255, 213.47272; .17230873, 18.109276 nmgy, with A of 5.635327, 4.1464195; ..."""
        path = str(shared_data / "badinputs" / "survey" / "sdss_photoObj_vectorcols_sentinels.fits")
        source = Catalog(files=path, survey="sdss-photoobj", deredden=True)
        [part] = source.partitions(100)
        out = source.read(part, ["flux_u", "flux_g", "flux_err_u"])
        hand_u = [24.50255 * 3631 * 10 ** (0.4 * 5.635327), 0.17230873 * 3631 * 10 ** (0.4 * 5.6635976)]
        hand_g = [213.47272 * 3631 * 10 ** (0.4 * 4.1464195), 18.109276 * 3631 * 10 ** (0.4 * 4.167221)]
        np.testing.assert_allclose(out["flux_u"].value[:2], hand_u, rtol=2e-6)
        np.testing.assert_allclose(out["flux_g"].value[:2], hand_g, rtol=2e-6)
        assert out["flux_err_u"][0].value == pytest.approx(
            3631 / math.sqrt(2.2409604) * 10 ** (0.4 * 5.635327), rel=2e-6
        )
        assert surveys.guess(Table.read(path, hdu=1).colnames)[0].name == "sdss-photoobj"

    @pytest.mark.parametrize("name", ["vstatlas_wise.csv", "vstatlas_wise_sentinel.fits"])
    def test_atlas_colors_become_magnitudes(self, shared_data, name):
        """Row 4592 has no WISE match; row 0 is r 19.350498, umg .7848015, gmr .97680086, rmi .26480007, imz .31420037,
        rmw1 .7882976, w1m2 -.1955986."""
        source = Catalog(files=str(shared_data / "starqso" / name), survey="vst-atlas-wise")
        out = source.read(next(iter(source.partitions(30_000))), [f.name for f in source.fields()])
        mags = {
            "u": 21.112100,
            "g": 20.327299,
            "r": 19.350498,
            "i": 19.085698,
            "z": 18.771498,
            "W1": 18.562200,
            "W2": 18.757799,
        }
        for band, mag in mags.items():
            assert out[f"flux_{band}"][0].value == pytest.approx(ZERO_FLUX * 10 ** (-0.4 * mag), rel=2e-6)
        second = {"u": 20.10800020, "g": 19.38689844, "r": 18.9723, "i": 18.98229928, "z": 18.84139870}
        for band, mag in second.items():
            assert out[f"flux_{band}"][4592].value == pytest.approx(ZERO_FLUX * 10 ** (-0.4 * mag), rel=2e-6)
        assert np.isnan(out["flux_W1"][4592])
        assert np.isnan(out["flux_W2"][4592])
        assert out["flags"][4592] == Flag.MISSING_BAND
        assert set(out["class_true"]) == {"STAR", "GALAXY", "QSO", "WD"}
        assert "flux_err_r" not in out.colnames
        assert int(np.isnan(out["flux_W1"]).sum()) == 2778


class TestSums:
    def stated(self, **changes):
        kind = {"mag_sums": {"r": "r", "g": ["r", "gmr"], "i": ["r", "-rmi"]}, "system": "AB"} | changes
        return {"bands": ["g", "r", "i"], "photometry": {"sums": {k: v for k, v in kind.items() if v is not None}}}

    def test_fluxes(self):
        table = Table({"r": [20.0, 20.0], "gmr": [1.0, math.nan], "rmi": [0.5, 0.5]})
        out = canonical_table(table, self.stated(constant_error=0.1))
        assert out["flux_g"][0].value == pytest.approx(36310 * 10**-0.4)
        assert out["flux_i"][0].value == pytest.approx(36310 * 10**0.2)
        assert np.isnan(out["flux_g"][1])
        assert out["flux_err_r"][0].value == pytest.approx(36310 * 0.1 * 0.4 * LN10)

    def test_lone_term_may_be_negative(self):
        stated = {"bands": ["r"], "photometry": {"s": {"mag_sums": {"r": "-depth"}, "system": "AB"}}}
        assert canonical_table(Table({"depth": [-20.0]}), stated)["flux_r"][0].value == pytest.approx(36310)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"mag": "r"}, "either flux or mag, or mag_sums"),
            ({"system": None}, "a magnitude needs its system"),
            ({"system": "asinh"}, "do not add up"),
            ({"error": "e_{band}"}, "error of a sum is not known"),
            ({"bands": ["r"]}, "names its bands itself"),
            ({"mag_sums": {}}, "at least one band"),
            ({"mag_sums": {"q": "r"}}, "no band 'q'"),
            ({"mag_sums": {"g": "r", "r": "r"}}, "one column for several bands"),
            ({"mag_sums": {"g": "--r"}}, "match pattern"),
            ({"unit": "nJy"}, "a magnitude has a system"),
        ],
    )
    def test_mistakes(self, changes, message):
        with pytest.raises(ValidationError, match=message):
            SurveyMap.model_validate(self.stated(**changes))

    def test_a_lacking_color_is_named(self):
        with pytest.raises(SurveyError, match="no column 'rmi'"):
            canonical_table(Table({"r": [20.0], "gmr": [1.0]}), self.stated())


class TestGuess:
    def test_nothing_fits(self):
        assert surveys.guess(["x", "y", "temperature"]) == ()
        assert surveys.guess([]) == ()
        # What every catalog has tells nothing.
        assert surveys.guess(["id", "ra", "dec", "mag", "flux", "type", "class", "ebv"]) == ()

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.text("abcdefgh_", min_size=5, max_size=12), unique=True, max_size=30))
    def test_random_names_fit_nothing(self, columns):
        assert surveys.guess(columns) == ()

    def test_half_fit_says_what_is_lacking(self):
        [found, *_] = surveys.guess(["ra", "dec", "u", "g", "r", "i", "z", "class", "redshift"])
        assert (found.name, found.fits, found.photometry, found.bands) == ("sdss-casjobs", False, "short", ())
        assert found.lacking == ("objID", "err_u", "err_g", "err_r", "err_i", "err_z")
        assert found.reason.endswith("lacking objID, err_u, err_g, err_r, err_i, err_z")
        assert found.further == ("redshift", "class")

    def test_dr10_before_dr9_and_dr9_not_dr10(self):
        dr10 = next(c.table().colnames for c in CASES if c.survey == "legacy-dr10")
        best = surveys.guess(dr10)[0]
        assert (best.name, best.fits) == ("legacy-dr10", True)
        without = [name for name in dr10 if name not in ("flux_i", "flux_ivar_i")]
        names = {g.name: g for g in surveys.guess(without)}
        assert names["legacy-dr10"].lacking == ("flux_i", "flux_ivar_i")
        assert names["legacy-dr9"].fits

    def test_previews_of_rubin_are_told_apart(self):
        """Both name fluxes alike; DP2 dropped a column of DP1 and has a new one."""
        alike = CASES[[c.survey for c in CASES].index("lsst-dp1")].table().colnames
        alike += ["detect_isDeblendedModelSource", "detect_isIsolated", *(f"{b}_gaapFlux_flag" for b in "ugrizy")]
        assert surveys.guess(alike)[0].name == "lsst-dp1"
        second = [*(name for name in alike if name != "detect_isPrimary"), "griz_model_extendedness"]
        assert surveys.guess(second)[0].name == "lsst-dp2"
        assert "detect_isPrimary" in next(g for g in surveys.guess(second) if g.name == "lsst-dp1").absent

    def test_command_takes_an_hdu(self, tmp_path, capsys):
        path = str(tmp_path / "two.fits")
        wise = CASES[[c.survey for c in CASES].index("allwise")].table()
        tables = [fits.table_to_hdu(Table({"a": [1]})), fits.table_to_hdu(wise)]
        fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path)
        assert main(["catalogs", "guess", path]) != 0
        assert "has several tables" in capsys.readouterr().err
        assert main(["catalogs", "guess", path, "--hdu", "2"]) == 0
        assert capsys.readouterr().out.startswith("allwise: fits")

    def test_command(self, tmp_path, capsys):
        path = tmp_path / "cat.csv"
        names = ["designation", *(f"w{n}{what}" for n in (1, 2, 3, 4) for what in ("mpro", "sigmpro")), "RA", "Dec"]
        path.write_text(",".join(names) + "\n")
        assert main(["catalogs", "guess", str(path)]) == 0
        out = capsys.readouterr().out
        assert "allwise: fits: 11 of 11 needed columns; photometry profile: W1, W2, W3, W4" in out
        assert "found    designation, RA, Dec, w1mpro" in out
        path.write_text("a,b\n1,2\n")
        assert main(["catalogs", "guess", str(path)]) == 1
        assert "no survey map fits its 2 columns (a, b)" in capsys.readouterr().out
        assert main(["catalogs", "guess", str(tmp_path / "none.fits")]) != 0
        assert "no such file" in capsys.readouterr().err
