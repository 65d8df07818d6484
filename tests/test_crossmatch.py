"""Crossmatch against astropy's, and what a run makes of it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, match_coordinates_sky, search_around_sky
from astropy.io import fits
from astropy.io.votable import parse_single_table
from astropy.table import QTable, Table
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from ruamel.yaml import YAML

from astrokeras import Crossmatch
from astrokeras.cli import main
from astrokeras.errors import IngestError
from astrokeras.flags import Flag
from astrokeras.ingest.skymatch import Sky, moved, shifted, unit_vectors
from astrokeras.spec.jsonschema import schema
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.testing import check_stage

SURVEY = {"object_id": "SPECID", "position": {"ra": "RA", "dec": "DEC"}, "z_spec": "Z", "class_true": "CLASS"}
KEEP = {"plate": {"kind": "i4"}, "pm_ra": {"unit": "mas/yr"}, "pm_dec": {"unit": "mas/yr"}}
ARCSEC = 1 / 3600
ARCSEC_RAD = np.radians(ARCSEC)


def spectra(ra, dec, **columns):
    n = len(ra)
    made = {
        "SPECID": np.arange(n) + 1000,
        "RA": np.asarray(ra, float),
        "DEC": np.asarray(dec, float),
        "Z": 0.1 + 0.01 * np.arange(n),
        "CLASS": np.array(["GALAXY", "QSO"] * n, "U6")[:n],
        "plate": np.arange(n) + 7,
        "ZWARNING": np.zeros(n, int),
        "pm_ra": np.zeros(n),
        "pm_dec": np.zeros(n),
    }
    return Table(made | columns)


def stage(path="spec.fits", radius=2.0, bring=("z_spec",), where=None, **options):
    catalog = {"files": str(path), "survey": SURVEY, "keep": KEEP, "where": where}
    return Crossmatch(catalog=catalog, radius=radius, bring=bring, **options)


def rows(ra, dec, **columns):
    return QTable({"ra": np.asarray(ra, float) * u.deg, "dec": np.asarray(dec, float) * u.deg, **columns})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    return tmp_path


def on_sphere(rng, n, center, spread):
    """Positions within some degrees of a center; ``spread`` 180 is the whole sky."""
    axis = unit_vectors(*np.atleast_2d(center).T)[0]
    height = rng.uniform(np.cos(np.radians(spread)), 1, n)
    angle = rng.uniform(0, 2 * np.pi, n)
    east = np.cross(axis, [1.0, 0.2, 0.3])
    east /= np.linalg.norm(east)
    flat = np.cos(angle)[:, None] * east + np.sin(angle)[:, None] * np.cross(axis, east)
    points = height[:, None] * axis + np.sqrt(1 - height**2)[:, None] * flat
    return np.degrees(np.arctan2(points[:, 1], points[:, 0])) % 360, np.degrees(np.arcsin(np.clip(points[:, 2], -1, 1)))


SKIES = st.tuples(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(0, 0), (360, 45), (10, 90), (200, -90), (120, -30)]),
    st.sampled_from([0.01, 1.0, 180.0]),
    st.integers(1, 60),
    st.integers(2, 60),
    st.floats(0.05, 0.6),
)


@settings(max_examples=60, deadline=None)
@given(SKIES)
def test_nearest_is_that_of_astropy_anywhere_on_the_sky(case):
    seed, center, spread, n, m, fraction = case
    rng = np.random.default_rng(seed)
    here, there = on_sphere(rng, n, center, spread), on_sphere(rng, m, center, spread)
    radius = fraction * spread * 3600
    found = Sky(unit_vectors(*there)).nearest(unit_vectors(*here), radius)
    a, b = SkyCoord(*here, unit="deg"), SkyCoord(*there, unit="deg")
    index, separation, _ = match_coordinates_sky(a, b)
    within = separation.arcsec <= radius
    np.testing.assert_array_equal(found.index, np.where(within, index, -1))
    # The chord loses digits towards 180 deg, where Vincenty's formula of astropy does not.
    np.testing.assert_allclose(
        found.separation, np.where(within, separation.arcsec, np.nan), rtol=1e-7 if spread > 90 else 1e-9, atol=1e-9
    )
    count = np.bincount(search_around_sky(a, b, radius * u.arcsec)[0], minlength=n)
    np.testing.assert_array_equal(found.several, count > 1)


def test_the_radius_is_inclusive_and_no_further():
    sky = Sky(unit_vectors(np.array([0.0]), np.array([0.0])))
    points = unit_vectors(np.array([0.0, 0.0, 360 - ARCSEC]), np.array([1.0, 1.000001, 0.0]) * ARCSEC)
    found = sky.nearest(points, 1.0)
    assert list(found.index) == [0, -1, 0]
    np.testing.assert_allclose(found.separation, [1, np.nan, 1], rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-60, 60))
def test_proper_motion_is_that_of_astropy(seed, years):
    rng = np.random.default_rng(seed)
    ra, dec = on_sphere(rng, 20, (0, rng.choice([-90, 0, 90])), rng.choice([0.5, 180]))
    pm = rng.normal(0, 1000, (2, 20))
    start = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pm[0] * u.mas / u.yr,
        pm_dec=pm[1] * u.mas / u.yr,
        distance=10 * u.pc,
        radial_velocity=0 * u.km / u.s,
        obstime=Time(2000.0, format="jyear", scale="tdb"),
    )
    end = start.apply_space_motion(new_obstime=Time(2000.0 + years, format="jyear", scale="tdb"))
    made = moved(ra, dec, *pm, years)
    expected = unit_vectors(end.ra.deg, end.dec.deg)
    assert np.max(np.linalg.norm(made - expected, axis=1)) / ARCSEC_RAD < 1e-3
    unmoved = unit_vectors(ra, dec)
    way = np.linalg.norm(made - unmoved, axis=1) / ARCSEC_RAD
    np.testing.assert_allclose(way, np.hypot(*pm) / 1000 * abs(years), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(moved(ra, dec, pm[0], np.full(20, np.nan), years), unmoved, atol=1e-15)


@settings(deadline=None)
@given(st.floats(0, 360), st.floats(-90, 90), st.floats(1, 3000), st.floats(0, 6.28))
def test_shifted_is_at_the_distance_and_the_position_angle(ra, dec, distance, angle):
    point = shifted(np.array([ra]), np.array([dec]), distance, angle)[0]
    expected = SkyCoord(ra, dec, unit="deg").directional_offset_by(angle * u.rad, distance * u.arcsec)
    np.testing.assert_allclose(point, expected.cartesian.xyz.value, atol=1e-9)


def test_columns_come_in_their_types_and_what_is_not_there_is_missing(here):
    spectra([359.99999, 50, 50.0001, 80], [0, 89.9999, -20, 5], ZWARNING=[0, 0, 0, 4]).write("spec.fits")
    table = rows(
        [0.00001, 50, 80, np.nan, 10, 200],
        [0, 89.9999, 5, 0, 0, -91],
        object_id=np.arange(6),
        flags=np.array([1, 0, 0, 0, 0, 0], np.int32),
    )
    bring = {"z": "z_spec", "class": "class_true", "id": "object_id", "plate": "plate", "ra": "ra"}
    made = stage(bring=bring, where="ZWARNING == 0", prefix="spec_")(table)
    assert isinstance(made, QTable)
    assert len(made) == 6
    np.testing.assert_allclose(made["spec_z"], [0.1, 0.11, *[np.nan] * 4])
    assert list(made["spec_class"]) == ["GALAXY", "QSO", "", "", "", ""]
    assert made["spec_id"].tolist() == [1000, 1001, *[None] * 4]
    assert made["spec_plate"].tolist() == [7, 8, *[None] * 4]
    np.testing.assert_allclose(made["spec_match_sep"].to_value("arcsec")[:2], [0.072, 0], atol=1e-6)
    assert np.isnan(made["spec_match_sep"].value[2:]).all()
    assert list(made["flags"]) == [1, 0, 0, Flag.BAD_POSITION, 0, Flag.BAD_POSITION]
    fields = {f.name: f for f in stage(bring=bring, prefix="spec_").writes()}
    assert fields["spec_id"].ucd == "meta.id"
    assert fields["spec_ra"].unit == "deg"
    assert fields["spec_ra"].ucd == "pos.eq.ra"
    assert fields["spec_match_sep"].ucd == "pos.angDistance"


def test_a_second_object_within_the_radius_makes_a_match_ambiguous(here):
    spectra([10, 10, 20, 20], [0, 1.5 * ARCSEC, 0, 2.5 * ARCSEC]).write("spec.fits")
    made = stage()(rows([10, 20, 20], [0.5 * ARCSEC, 0, 0.1 * ARCSEC]))
    assert list(made["flags"]) == [Flag.AMBIGUOUS_MATCH, 0, 0]
    # Two rows may have one object: each is matched by itself.
    np.testing.assert_allclose(made["z_spec"], [0.1, 0.12, 0.12])


def test_proper_motion_of_either_side_finds_the_star(here):
    ra, dec, years = 269.452, 4.693, 15.5  # Barnard's star, 10.4"/yr
    pm = {"pm_ra": np.array([-801.5]), "pm_dec": np.array([10362.4])}
    start = SkyCoord(ra * u.deg, dec * u.deg, distance=10 * u.pc, radial_velocity=0 * u.km / u.s,
                     pm_ra_cosdec=pm["pm_ra"][0] * u.mas / u.yr, pm_dec=pm["pm_dec"][0] * u.mas / u.yr,
                     obstime=Time(2000.0, format="jyear"))  # fmt: skip
    end = start.apply_space_motion(new_obstime=Time(2000.0 + years, format="jyear"))
    spectra([ra], [dec], **pm).write("old.fits")
    spectra([end.ra.deg], [end.dec.deg]).write("new.fits")
    late, epochs = rows([end.ra.deg], [end.dec.deg]), {"epoch": 2015.5, "catalog_epoch": 2000}
    assert np.isnan(stage("old.fits")(late)["z_spec"][0])
    made = stage("old.fits", motion=epochs)(late)
    assert made["match_sep"][0].to_value("mas") < 1
    early = rows([ra], [dec], pmRA=pm["pm_ra"] * u.mas / u.yr, pmDE=pm["pm_dec"] / 1000 * u.arcsec / u.yr)
    motion = {"epoch": 2000, "catalog_epoch": 2015.5, "of": "rows", "pm_ra": "pmRA", "pm_dec": "pmDE"}
    made = stage("new.fits", motion=motion)(early)
    assert made["match_sep"][0].to_value("mas") < 1
    early["pmRA"][0] = np.nan  # taken to be at rest
    assert np.isnan(stage("new.fits", motion=motion)(early)["z_spec"][0])


@pytest.mark.parametrize("options", [{}, {"where": "ZWARNING > 99"}, {"offset": 1.0}, {"motion": "rows"}])
def test_the_contract_is_kept(here, options):
    rng = np.random.default_rng(1)
    ra, dec = on_sphere(rng, 40, (0, 0), 0.01)
    spectra(ra, dec).write("spec.fits")
    pm = {name: rng.normal(0, 50, 60) * u.mas / u.yr for name in ("pm_ra", "pm_dec")}
    table = rows(*on_sphere(rng, 60, (0, 0), 0.01), **pm)
    table["ra"][:20], table["dec"][:20] = ra[:20] * u.deg, (dec[:20] + 0.3 * ARCSEC) * u.deg
    if "motion" in options:
        options = {"motion": {"epoch": 2000, "catalog_epoch": 2010, "of": "rows"}}
    for chosen in (None, "dec > 0"):
        part = stage(bring=["z_spec", "class_true", "plate", "pm_ra"], radius=3.0, **options)
        check_stage(part.model_copy(update={"where": chosen}), table)


def test_nothing_to_match_with_leaves_all_rows_unmatched(here):
    spectra([], []).write("spec.fits")
    made = stage(bring=["z_spec", "class_true", "plate"])(rows([1, 2], [3, 4]))
    assert np.isnan(made["z_spec"]).all()
    assert np.isnan(made["match_sep"].value).all()
    assert list(made["class_true"]) == ["", ""]
    assert made["plate"].tolist() == [None, None]
    assert list(made["flags"]) == [0, 0]
    spectra([100], [-50]).write("far.fits")
    far = stage("far.fits")
    assert np.isnan(far(rows([1, 2], [3, 4]))["z_spec"]).all()
    counts = far.false_match_rate(rows([1, 2], [3, 4]))
    assert (counts.rows, counts.matched, counts.chance) == (2, 0, 0.0)
    assert np.isnan(counts.rate)
    assert len(far(rows([], []))) == 0
    assert far.false_match_rate(rows([], [])).rows == 0


def test_objects_without_positions_are_left_out_and_a_catalog_of_them_is_refused(here):
    spectra([5, np.nan], [5, 5]).write("spec.fits")
    np.testing.assert_allclose(stage()(rows([5, 6], [5, 5]))["z_spec"], [0.1, np.nan])
    spectra([np.nan, np.nan], [5, 5]).write("none.fits")
    with pytest.raises(IngestError, match=r"none\.fits: no object has a position"):
        stage("none.fits")(rows([5], [5]))


def test_the_false_match_rate_is_the_true_one(here):
    rng = np.random.default_rng(4)
    side, m, radius = 1.0, 20000, 3.0
    # Square of a degree; 3000 rows of which 1000 have a counterpart, and 20000 strangers.
    ra, dec = 40 + side * rng.uniform(-1, 1, m) / 2, side * rng.uniform(-1, 1, m) / 2
    x, y = 40 + 0.8 * side * rng.uniform(-1, 1, 3000) / 2, 0.8 * side * rng.uniform(-1, 1, 3000) / 2
    spectra(np.r_[x[:1000], ra], np.r_[y[:1000], dec]).write("spec.fits")
    part, table = stage(radius=radius, bring={"spec": "object_id"}, offset=2.0), rows(x, y)
    made, counts = part(table), part.false_match_rate(table)
    expected = 1 - np.exp(-m / side**2 * np.pi * (radius * ARCSEC) ** 2)
    # The other rows' own counterparts are strangers, too: 5 % more of them, over .64 of the area.
    assert counts.chance == pytest.approx(expected * (1 + 1000 / 0.64 / m), abs=4 * counts.chance_err)
    assert counts.chance_err < 0.1 * counts.chance
    matched = ~np.isnan(made["match_sep"].value)
    true = np.ma.filled(made["spec"], 0) == 1000 + np.arange(3000)
    false = np.count_nonzero(matched & ~true) / np.count_nonzero(matched)
    assert counts.matched == np.count_nonzero(matched)
    assert counts.rate == pytest.approx(false, abs=3 * counts.rate_err)
    assert counts.rate_err < 0.15 * counts.rate
    assert counts.ambiguous == np.count_nonzero(np.asarray(made["flags"]) & Flag.AMBIGUOUS_MATCH)
    assert float(np.mean(made["match_chance"])) == pytest.approx(counts.chance, rel=1e-5)


def test_a_changed_catalog_is_read_again(here):
    spectra([10], [0]).write("spec.fits")
    part, table = stage(), rows([10], [0])
    assert part(table)["z_spec"][0] == pytest.approx(0.1)
    spectra([10], [0], Z=[0.7]).write("spec.fits", overwrite=True)
    os.utime("spec.fits", ns=(1, 10**18))
    assert part(table)["z_spec"][0] == pytest.approx(0.7)
    Path("spec.fits").unlink()
    with pytest.raises(IngestError, match=r"spec\.fits: No such file"):
        part(table)


@pytest.mark.parametrize(
    ("options", "place", "message"),
    [
        ({"bring": ["z_spek"]}, ("bring",), "the catalog has no 'z_spek'; did you mean 'z_spec'"),
        ({"bring": ["flags"]}, ("bring",), "cannot write a column 'flags'"),
        ({"bring": {"match_sep": "z_spec"}}, ("bring",), "cannot write a column 'match_sep'"),
        ({"radius": 0}, ("radius",), "greater than 0"),
        ({"radius": 60.0, "offset": 2.0}, ("offset",), "at least ten times the radius, 10 arcmin"),
        ({"motion": {"epoch": 2000}}, ("motion", "catalog_epoch"), "required"),
        (
            {"motion": {"epoch": 2000, "catalog_epoch": 2016, "pm_ra": "pmra"}},
            ("motion", "pm_ra"),
            "the catalog has no 'pmra'; did you mean 'pm_ra'",
        ),
        (
            {"motion": {"epoch": 2000, "catalog_epoch": 2016, "pm_ra": "z_spec"}},
            ("motion", "pm_ra"),
            "'z_spec' of the catalog has no unit; say `keep: {z_spec: {unit: mas/yr}}`",
        ),
    ],
)
def test_mistakes_are_told_at_their_key(options, place, message):
    with pytest.raises(ValidationError) as caught:
        stage(**options)
    (error,) = caught.value.errors()
    assert error["loc"] == place
    assert message in error["msg"]


PIPELINE = """\
astrokeras: 1
name: match
partition: {rows: 7}
source:
  catalog:
    files: photo.fits
    survey:
      object_id: ID
      position: {ra: RA, dec: DEC}
      bands: [g]
      photometry: {psf: {flux: FLUX, error: ERR, unit: nJy}}
stages:
  - crossmatch:
      catalog:
        files: "spec-*.fits"
        survey: {object_id: SPECID, position: {ra: RA, dec: DEC}, z_spec: Z}
        where: ZWARNING == 0
      radius: 2
      bring: [z_spec]
  - magnitudes: {bands: [g], where: z_spec > 0.12}
outputs:
  - votable: {path: out.vot, columns: [ids, z_spec, match_sep, mag_g, flags]}
"""


@pytest.fixture
def run(here):
    ra, dec = on_sphere(np.random.default_rng(3), 20, (0, 90), 1.0)
    photo = Table({"ID": np.arange(20), "RA": ra, "DEC": dec, "FLUX": np.full(20, 3631.0), "ERR": np.ones(20)})
    photo.write("photo.fits")
    spectra(ra[:5], dec[:5], ZWARNING=[0, 0, 4, 0, 0]).write("spec-a.fits")
    spectra(ra[10:12], dec[10:12]).write("spec-b.fits")

    def run(text=PIPELINE, *arguments):
        Path("p.yaml").write_text(text)
        return main(["run", "p.yaml", "--work", "w", *arguments])

    return run


def test_a_pipeline_matches_and_follows_changes_of_the_catalog(run, here, capsys):
    assert run() == 0
    made = parse_single_table("out.vot").to_table()
    z = np.full(20, np.nan)
    z[[0, 1, 3, 4, 10, 11]] = [0.1, 0.11, 0.13, 0.14, 0.1, 0.11]
    np.testing.assert_allclose(np.ma.filled(made["z_spec"], np.nan), z)
    assert np.flatnonzero(np.isfinite(np.ma.filled(made["mag_g"], np.nan))).tolist() == [3, 4]
    assert made["match_sep"].unit == u.arcsec
    first = Path("out.vot").read_bytes()
    assert str(here).encode() not in first
    assert run() == 0
    assert "up to date" in capsys.readouterr().err
    # The quality of a spectrum changes: the very same pipeline makes other rows.
    good = Table.read("spec-a.fits")
    good["ZWARNING"] = 0
    good.write("spec-a.fits", overwrite=True)
    assert run() == 0
    made = parse_single_table("out.vot").to_table()
    assert made["z_spec"][2] == pytest.approx(0.12)
    # The cut into partitions does not count.
    assert run(PIPELINE.replace("rows: 7", "rows: 100"), "--set", "outputs.votable.path=whole.vot") == 0
    whole = parse_single_table("whole.vot").to_table()
    for name in made.colnames:
        np.testing.assert_array_equal(np.ma.filled(made[name]), np.ma.filled(whole[name]))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "survey: {object_id: SPECID, position: {ra: RA, dec: DEC}, z_spec: Z}",
            "survey: {z_spec: Z}",
            "no `position`",
        ),
        ("bring: [z_spec]", "bring: [z_spc]", "p.yaml:19:7: crossmatch.bring: the catalog has no 'z_spc'"),
        (
            "bring: [z_spec]",
            "bring: {flux_g: z_spec}",
            "p.yaml:13:5: crossmatch: the rows have a column 'flux_g' already; use `prefix`",
        ),
        ("where: ZWARNING == 0", "wher: ZWARNING == 0", "unknown parameter; did you mean 'where'?"),
        ("where: ZWARNING == 0", "where: ZWARNING ==", "p.yaml:17:16: crossmatch.catalog.where"),
    ],
)
def test_check_finds_mistakes_without_opening_a_file(here, capsys, old, new, message):
    assert old in PIPELINE
    Path("p.yaml").write_text(PIPELINE.replace(old, new))
    assert main(["check", "p.yaml"]) != 0
    assert message in "".join(capsys.readouterr())


def test_a_catalog_that_is_not_there_is_named(run, capsys):
    assert run(PIPELINE.replace("spec-*", "spec-x*")) != 0
    assert "spec-x*.fits: no file matches" in capsys.readouterr().err
    assert run(PIPELINE.replace("spec-*", "spec-x")) != 0
    assert "spec-x.fits: no such file" in capsys.readouterr().err
    assert run(PIPELINE.replace("where: ZWARNING", "where: ZWARN")) != 0
    assert "no column 'ZWARN'; did you mean 'ZWARNING'?" in capsys.readouterr().err


def test_a_catalog_that_cannot_serve_is_refused_before_anything_runs(run, here, capsys):
    tables = [fits.table_to_hdu(Table.read("spec-a.fits"), name=name) for name in "AB"]
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto("spec-two.fits")
    Path("p.yaml").write_text(PIPELINE.replace("spec-*", "spec-two"))
    assert main(["plan", "p.yaml", "--work", "w"]) != 0
    assert "spec-two.fits: has several tables" in capsys.readouterr().err
    Path("p.yaml").write_text(PIPELINE.replace("z_spec: Z}", "z_spec: ZZ}"))
    assert main(["plan", "p.yaml", "--work", "w"]) != 0
    assert "spec-a.fits, HDU 1: no column 'ZZ'" in capsys.readouterr().err


TRAINING = """\
astrokeras: 1
name: specz
source:
  catalog: {files: photo.ecsv, bands: [g, r, i]}
split: {test: 0.2, validate: 0.2, seed: 1}
stages:
  - crossmatch:
      catalog: {files: spec.fits, survey: {position: {ra: RA, dec: DEC}, z_spec: Z}, where: ZWARNING == 0}
      radius: 1
      bring: {z: z_spec}
  - photoz:
      bands: [g, r, i]
      save: models/m/1.0.0
      train: {target: z, width: 8, depth: 1, members: 1, epochs: 1, n_grid: 16, threads: 1, cross_fit: 0}
outputs:
  - evaluate: {path: metrics.json, target: z}
  - parquet: {path: out.parquet, columns: [ids, z, z_phot]}
"""


def test_redshifts_that_were_matched_train_a_model(here):
    source = Synthetic(rows=600, seed=3, classes={"galaxy": 1})
    names = ["object_id", "ra", "dec", *(f"flux_{kind}{band}" for band in "gri" for kind in ("", "err_"))]
    made = source.read(next(iter(source.partitions(600))), [*names, "z_spec"])
    z = np.asarray(made["z_spec"])[::2]
    east = SkyCoord(made["ra"], made["dec"])[::2].directional_offset_by(90 * u.deg, 0.3 * u.arcsec)
    # The first hundred have a bad spectrum.
    bad = np.where(np.arange(300) < 100, 4, 0)
    spectra(east.ra.deg, east.dec.deg, Z=z, ZWARNING=bad).write("spec.fits")
    QTable({name: np.asarray(made[name]) * (made[name].unit or 1) for name in names}).write("photo.ecsv")
    Path("p.yaml").write_text(TRAINING)
    assert main(["run", "p.yaml", "--work", "w", "--quiet"]) == 0
    out = Table.read("out.parquet")
    expected = np.where(np.arange(600) % 2 == 0, np.repeat(np.where(bad, np.nan, z), 2), np.nan)
    np.testing.assert_allclose(np.ma.filled(out["z"], np.nan), expected)
    assert np.isfinite(np.ma.filled(out["z_phot"], np.nan)).all()
    counts = json.loads(Path("models/m/1.0.0/card.json").read_text())["training"]["counts"]
    assert counts["unusable_target"] == 400


@pytest.mark.parametrize(
    ("old", "new"),
    [("where: ZWARNING", "wher: ZWARNING"), ("radius: 2", "radius: wide"), ("files: spec", "file: spec")],
)
def test_editors_know_the_nested_catalog(old, new):
    validator = Draft202012Validator(schema())
    text = PIPELINE.replace('"spec-*.fits"', "spec-a.fits").replace("z_spec: Z}", "z_spec: Z, missing: -99}")
    assert validator.is_valid(YAML(typ="safe").load(text))
    assert old in text
    assert not validator.is_valid(YAML(typ="safe").load(text.replace(old, new)))


def test_chance_counts_the_directions_that_find_something(here):
    """Objects 2 arcmin to the north-east of the row, and 1 arcmin to the west: one of eight directions at either."""
    row = SkyCoord(300, 88, unit="deg")
    there = [row.directional_offset_by(45 * u.deg, 2 * u.arcmin), row.directional_offset_by(270 * u.deg, 1 * u.arcmin)]
    spectra([s.ra.deg for s in there], [s.dec.deg for s in there]).write("spec.fits")
    table = rows([300, np.nan], [88, 88])
    for offset, expected in ((2.0, 1 / 8), (1.0, 1 / 8), (3.0, 0)):
        np.testing.assert_allclose(stage(offset=offset)(table)["match_chance"], [expected, np.nan])
    assert stage().false_match_rate(table).chance == 1 / 8
