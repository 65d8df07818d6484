"""Extinction by maps of dust, and that it is corrected once."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from pydantic import ValidationError

from astrokeras.errors import SurveyError
from astrokeras.flags import Flag
from astrokeras.ingest.catalog import Catalog
from astrokeras.surveys import SurveyMap, canonical_table

pytest.importorskip("sfdmap2")
pytest.importorskip("astropy_healpix")

RA, DEC = np.array([10.0, 150.0, 200.0, 330.0]), np.array([-30.0, 40.0, 2.0, 60.0])
COEFFICIENTS = {"g": 3.2, "r": 2.3}
#: The tiny map: E(B-V) = A + B x + C y of the pixel.
PLANE = {1: (0.02, 0.011, 0.003), -1: (0.3, 0.001, 0.02)}


def sfd(folder, n=9, scale=3.5):
    """Two Lambert projections of 9 x 9 pixels, as Schlegel et al. write theirs of 4096 x 4096."""
    y, x = np.mgrid[:n, :n]
    for pole, sign in (("ngp", 1), ("sgp", -1)):
        a, b, c = PLANE[sign]
        made = fits.PrimaryHDU((a + b * x + c * y).astype(">f4"))
        made.header.update(CRPIX1=5.0, CRPIX2=5.0, LAM_SCAL=scale, LAM_NSGP=sign)
        made.writeto(folder / f"SFD_dust_4096_{pole}.fits")
    return str(folder)


def expected(scale=3.5):
    """E(B-V) at the positions: the projection as its paper has it (appendix C), on a plane."""
    galactic = SkyCoord(RA, DEC, unit="deg").galactic
    lon, lat = galactic.l.rad, galactic.b.rad
    n = np.where(lat > 0, 1, -1)
    assert {*n} == {1, -1}
    radius = scale * np.sqrt(1 - n * np.sin(lat))
    x, y = radius * np.cos(lon) + 4, -n * radius * np.sin(lon) + 4
    a, b, c = np.array([PLANE[sign] for sign in n]).T
    return a + b * x + c * y


def table():
    columns = {"id": np.arange(5), "ra": [*RA, np.nan], "dec": [*DEC, 0.0]}
    return Table(columns | {f"{what}_{b}": [100.0 if what == "f" else 2.0] * 5 for b in "gr" for what in "fe"})


SURVEY = {
    "object_id": "id",
    "position": {},
    "bands": ["g", "r"],
    "photometry": {"p": {"flux": "f_{band}", "error": "e_{band}", "unit": "nJy"}},
}


def read(tmp_path, extinction, survey=SURVEY, columns=None, **options):
    table().write(tmp_path / "photo.fits", overwrite=True)
    source = Catalog(
        files=str(tmp_path / "photo.fits"), survey=survey, extinction=extinction, **{"deredden": True} | options
    )
    [part] = source.partitions(100)
    return source.read(part, columns or [f.name for f in source.fields()]), part


@pytest.mark.parametrize(("calibration", "factor"), [("SFD98", 1.0), ("SF11", 0.86)])
def test_the_map_of_sfd_in_either_calibration(tmp_path, calibration, factor):
    stated = {"map": "sfd", "path": sfd(tmp_path), "calibration": calibration, "coefficients": COEFFICIENTS}
    out, part = read(tmp_path, stated)
    for band, k in COEFFICIENTS.items():
        transmission = 10 ** (-0.4 * k * factor * expected())
        np.testing.assert_allclose(out[f"flux_{band}"].value[:4], 100 / transmission, rtol=1e-5)
        np.testing.assert_allclose(out[f"flux_err_{band}"].value[:4], 2 / transmission, rtol=1e-5)
        assert np.isnan(out[f"flux_{band}"].value[4])
    assert out["flags"][4] == Flag.BAD_POSITION | Flag.BAD_PHOTOMETRY | Flag.MISSING_BAND
    assert out["flux_g"].info.meta["dereddened"] == "yes"
    # The map is an input of the rows, and its positions are read though nobody asked.
    assert [path.split("_")[-1] for path in part.files[1:]] == ["ngp.fits", "sgp.fits"]
    alone, _ = read(tmp_path, stated, columns=["flux_r"])
    np.testing.assert_array_equal(alone["flux_r"], out["flux_r"])


def test_a_map_in_healpix(tmp_path):
    from astropy_healpix import HEALPix

    place = HEALPix(8, order="ring", frame="galactic").skycoord_to_healpix(SkyCoord(RA, DEC, unit="deg"))
    ebv = np.full(12 * 64, 9.0)
    ebv[place] = [0.1, 0.2, 0.3, 0.4]
    Table({"EBV": ebv}, meta={"NSIDE": 8, "ORDERING": "RING", "COORDSYS": "G"}).write(tmp_path / "ebv.fits")
    survey = SURVEY | {"bands": {"g": {"extinction": 3.2}, "r": {"extinction": 2.3}}}
    out, part = read(tmp_path, {"map": {"path": str(tmp_path / "ebv.fits"), "column": "ebv"}}, survey)
    np.testing.assert_allclose(out["flux_r"].value[:4], 100 * 10 ** (0.4 * 2.3 * ebv[place]), rtol=1e-5)
    assert part.files[1:] == (str(tmp_path / "ebv.fits"),)


def test_a_column_of_the_file_in_place_of_what_the_map_says(tmp_path):
    survey = SURVEY | {"extinction": {"magnitudes": "a_{band}"}}
    out, _ = read(tmp_path, {"ebv": "e_r", "coefficients": {"g": 0.1, "r": 0.2}}, survey)
    np.testing.assert_allclose(out["flux_r"].value, 100 * 10 ** (0.4 * 0.2 * 2.0), rtol=1e-5)


def test_files_that_are_no_map_are_told(tmp_path):
    stated = {"map": "sfd", "path": str(tmp_path), "calibration": "SFD98", "coefficients": COEFFICIENTS}
    with pytest.raises(Exception, match=r"SFD_dust_4096_ngp\.fits: No such file"):
        read(tmp_path, stated)
    for pole in ("ngp", "sgp"):
        fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / f"SFD_dust_4096_{pole}.fits")
    with pytest.raises(Exception, match=r"is no map of dust: .*CRPIX1"):
        read(tmp_path, stated)


def photometry(state):
    return SURVEY | {
        "photometry": {"p": {"flux": "f_{band}", "error": "e_{band}", "unit": "nJy", "dereddened": state}},
        "extinction": {"magnitudes": "e_{band}"},
    }


def test_nothing_is_corrected_twice():
    with pytest.raises(SurveyError, match="'p' is dereddened by the survey map, and must not be twice"):
        canonical_table(table(), photometry("yes"), deredden=True)
    with pytest.raises(SurveyError, match="must not be twice"):
        canonical_table(table(), photometry("yes"), deredden="unverified")
    with pytest.raises(SurveyError, match="if you know that it is not, say `deredden: unverified`"):
        canonical_table(table(), photometry("unverified"), deredden=True)
    out = canonical_table(table(), photometry("unverified"), deredden="unverified")
    np.testing.assert_allclose(out["flux_g"].value, 100 * 10**0.8, rtol=1e-5)
    # A column says itself that it was done.
    again = Table({name: out[name] for name in ("object_id", "ra", "dec", "flux_g", "flux_err_g")})
    again["a"] = 0.1
    survey = {
        "bands": ["g"],
        "photometry": {"p": {"flux": "flux_{band}", "error": "flux_err_{band}"}},
        "extinction": {"magnitudes": "a"},
    }
    with pytest.raises(SurveyError, match="column 'flux_g' is dereddened, as it says itself"):
        canonical_table(again, survey, deredden=True)


@pytest.mark.parametrize(
    ("options", "place", "message"),
    [
        ({"extinction": {"ebv": "x"}, "deredden": True}, "deredden", "absent for g, r"),
        ({"extinction": {"ebv": "x", "coefficients": {"g": 1}}, "deredden": True}, "deredden", "absent for r"),
        ({"extinction": {"ebv": "x", "coefficients": COEFFICIENTS}}, "extinction", "say `deredden: true` as well"),
        (
            {"extinction": {"ebv": "x", "coefficients": {**COEFFICIENTS, "rr": 1}}, "deredden": True},
            "deredden",
            "no band 'rr'; did you mean 'r'",
        ),
        ({"deredden": True}, "deredden", "a source takes `extinction:`"),
        ({"extinction": {"map": "sfd"}}, "extinction", "which needs both"),
        ({"extinction": {"map": "sfd", "path": "x", "calibration": "SFD"}}, "extinction", "'SFD98' or 'SF11'"),
        ({"extinction": {"magnitudes": "a_{band}", "coefficients": COEFFICIENTS}}, "extinction", "belong to E(B-V)"),
        (
            {"extinction": {"ebv": "x", "map": {"path": "x", "column": "y"}}},
            "extinction",
            "needs one of magnitudes, ebv",
        ),
    ],
)
def test_mistakes_are_told_at_their_key(options, place, message):
    with pytest.raises(ValidationError) as error:
        Catalog(**{"files": "x.fits", "survey": SURVEY} | options)
    assert error.value.errors()[0]["loc"][0] == place
    assert message in str(error.value)


def test_a_map_needs_positions():
    stated = {"map": {"path": "x", "column": "y"}}
    with pytest.raises(ValidationError, match="a map needs positions"):
        SurveyMap.model_validate(
            {"bands": {"g": {"extinction": 1}}, "photometry": SURVEY["photometry"], "extinction": stated}
        )
