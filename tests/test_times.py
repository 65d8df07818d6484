"""Times of survey maps: formats and scales, TIMESYS in VOTables, epochs of proper motions."""

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import Distance, SkyCoord
from astropy.io.votable import parse
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from pydantic import ValidationError

from astrokeras import Crossmatch
from astrokeras.cli import main
from astrokeras.errors import ChunkError, SurveyError
from astrokeras.surveys import SurveyMap, canonical_table


def times(column, **stated):
    survey = {"time": {"column": "t", **stated}}
    return canonical_table(Table({"t": column}), survey)["time"]


@pytest.mark.parametrize(
    ("stated", "column", "expected"),
    [
        ({"scale": "tai"}, [58849.25, -9999.0, np.nan], [58849.25, np.nan, np.nan]),
        ({"scale": "utc", "format": "jd"}, [2458849.75, np.inf, -9999.0], [58849.25, np.nan, np.nan]),
        # J2000.0 is JD 2451545.0, and a Julian year has 365.25 days.
        ({"scale": "tcb", "format": "jyear"}, [2000.0, 2016.0, np.nan], [51544.5, 51544.5 + 16 * 365.25, np.nan]),
        # 2020 is a leap year.
        ({"scale": "tt", "format": "decimalyear"}, [2020.5, np.nan, 2019.0], [58849 + 183, np.nan, 58484]),
        # 1970-01-01 is MJD 40587.
        ({"scale": "utc", "format": "unix"}, [86400.0, 0.0, np.nan], [40588, 40587, np.nan]),
        ({"scale": "utc", "format": "isot"}, ["2020-01-01T06:00:00", "", "2020-01-02"], [58849.25, np.nan, 58850]),
        ({"scale": "unknown", "missing": -1}, [-1, 58849, 58850], [np.nan, 58849, 58850]),
    ],
)
def test_every_format_becomes_mjd(stated, column, expected):
    found = times(column, missing=[-9999, *np.atleast_1d(stated.pop("missing", []))], **stated)
    assert found.unit == u.d
    assert found.dtype == np.float64
    np.testing.assert_allclose(found.value, expected, rtol=0, atol=1e-6)
    assert found.info.meta["timescale"] == stated["scale"].upper()


def test_a_masked_time_is_none():
    np.testing.assert_array_equal(
        times(MaskedColumn([58849, 1], mask=[False, True]), scale="tai").value, [58849, np.nan]
    )


def test_a_text_that_is_no_time_is_told():
    with pytest.raises(SurveyError, match="column 't' holds no times of format isot"):
        times(["yesterday"], scale="utc", format="isot")


def test_an_absent_column_is_an_error_unless_it_is_optional():
    survey = {"object_id": "id", "time": {"column": "mjd", "scale": "tai"}}
    with pytest.raises(SurveyError, match="no column 'mjd'"):
        canonical_table(Table({"id": [1]}), survey)
    survey["time"]["optional"] = True
    assert np.isnan(canonical_table(Table({"id": [1]}), survey)["time"][0])
    with pytest.raises(ValidationError, match="scale"):
        SurveyMap.model_validate({"time": {"column": "mjd"}})


PIPELINE = """\
astrokeras: 1
name: times
source:
  catalog:
    files: photo.fits
    survey:
      object_id: ID
      position: {ra: RA, dec: DEC}
      time: {column: MJD, scale: tai, moment: start, refposition: topocenter}
outputs:
  - votable: {path: out.vot, columns: [ids, positions, time]}
"""


def test_a_votable_refers_to_the_time_scale(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mjd = [58849.123456789, 58850.0]
    Table({"ID": [1, 2], "RA": [1.0, 2.0], "DEC": [0.0, 0.0], "MJD": mjd}).write("photo.fits")
    Path("p.yaml").write_text(PIPELINE)
    assert main(["run", "p.yaml", "--work", "w", "--quiet"]) == 0
    votable = parse("out.vot")
    [system] = votable.resources[0].time_systems
    assert (system.timescale, system.timeorigin, system.refposition) == ("TAI", 2400000.5, "TOPOCENTER")
    field = votable.get_first_table().get_field_by_id_or_name("time")
    assert (field.ref, field.ucd, str(field.unit)) == (system.ID, "time.start", "d")
    assert list(votable.get_first_table().to_table()["time"]) == mjd


def moving(n, rng, mjd):
    """Stars with proper motions, and where they are at MJD."""
    stars = SkyCoord(
        rng.uniform(0, 360, n) * u.deg, rng.uniform(-85, 85, n) * u.deg, obstime=Time(2000.0, format="jyear"),
        pm_ra_cosdec=rng.normal(0, 800, n) * u.mas / u.yr, pm_dec=rng.normal(0, 800, n) * u.mas / u.yr,
        distance=Distance(100 * u.pc), radial_velocity=0 * u.km / u.s,
    )  # fmt: skip
    return stars, stars.apply_space_motion(Time(mjd, format="mjd", scale="tt"))


def test_every_object_is_taken_from_its_own_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    mjd = rng.uniform(48000, 60000, 50)
    at_2000, then = moving(50, rng, mjd)
    columns = {"ID": np.arange(50), "MJD": mjd, "pm_ra": at_2000.pm_ra_cosdec.value, "pm_dec": at_2000.pm_dec.value}
    Table(columns | {"RA": then.ra.deg, "DEC": then.dec.deg}).write("moving.fits")
    position = {"ra": "RA", "dec": "DEC"}
    survey = {"object_id": "ID", "position": position, "time": {"column": "MJD", "scale": "tt"}}
    keep = {name: {"unit": "mas/yr"} for name in ("pm_ra", "pm_dec")}
    catalog = {"files": "moving.fits", "survey": survey, "keep": keep}
    part = Crossmatch(
        catalog=catalog,
        radius=0.05,
        bring=["object_id"],
        motion={"epoch": 2000.0, "catalog_epoch": "time"},
        prefix="m_",
    )
    rows = QTable({"ra": at_2000.ra, "dec": at_2000.dec})
    assert list(part(rows)["m_object_id"]) == list(range(50))
    # The rows move instead.
    Table({"ID": np.arange(50), "RA": at_2000.ra.deg, "DEC": at_2000.dec.deg}).write("still.fits")
    part = Crossmatch(
        catalog={"files": "still.fits", "survey": {"object_id": "ID", "position": position}},
        radius=0.05, bring=["object_id"], prefix="m_",
        motion={"epoch": "time", "catalog_epoch": 2000.0, "of": "rows"},
    )  # fmt: skip
    rows = QTable({"ra": then.ra, "dec": then.dec, "pm_ra": at_2000.pm_ra_cosdec, "pm_dec": at_2000.pm_dec})
    rows["time"] = mjd * u.d
    assert list(part(rows)["m_object_id"]) == list(range(50))
    rows["time"][0] = np.nan
    assert part(rows)["m_object_id"].tolist()[0] is None
    assert [f.name for f in part.reads()] == ["ra", "dec", "pm_ra", "pm_dec", "time"]


@pytest.mark.parametrize(
    ("motion", "message"),
    [
        ({"epoch": "time", "catalog_epoch": 2016}, "epoch must be a year: positions of the catalog are taken there"),
        ({"epoch": 2000, "catalog_epoch": "time", "of": "rows"}, "catalog_epoch must be a year"),
        ({"epoch": 2000, "catalog_epoch": "tme"}, "the catalog has no 'tme'; did you mean 'time'"),
        ({"epoch": 2000, "catalog_epoch": "pm_ra"}, "'pm_ra' of the catalog is no MJD in days"),
    ],
)
def test_mistakes_are_told(motion, message):
    survey = {"position": {}, "time": {"column": "MJD", "scale": "tt"}}
    catalog = {"files": "x.fits", "survey": survey, "keep": {n: {"unit": "mas/yr"} for n in ("pm_ra", "pm_dec")}}
    with pytest.raises(ValidationError, match=message):
        Crossmatch(catalog=catalog, radius=1, bring={"pm": "pm_ra"}, motion=motion)


def test_times_of_rows_that_are_years_are_refused():
    from astrokeras.fields import Field

    part = Crossmatch(
        catalog={"files": "x.fits", "survey": {"position": {}}}, radius=1, bring={"other_ra": "ra"},
        motion={"epoch": "year", "catalog_epoch": 2000.0, "of": "rows"},
    )  # fmt: skip
    with pytest.raises(ChunkError, match="'year' of the rows is no MJD in days"):
        part.accepts((Field(name="year", unit="yr"),))
