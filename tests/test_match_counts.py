"""What a run says of a match: counts over partitions, false matches, and matches that cannot be right."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io.votable import parse
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from astrokeras import Crossmatch
from astrokeras.cli import main
from astrokeras.errors import ChunkError, IngestError
from astrokeras.ingest.catalog import Catalog
from astrokeras.ingest.match_counts import FalseMatches, extent, footprint
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.tallies import merged

PIPELINE = """\
astrokeras: 1
name: match
partition: {rows: 70}
source:
  catalog: {files: photo.fits, survey: {object_id: ID, position: {ra: RA, dec: DEC}}}
stages:
  - crossmatch:
      {catalog: {files: spec.fits, survey: {position: {ra: RA, dec: DEC}, z_spec: Z}}, radius: 2, bring: [z_spec]}
outputs:
  - votable: {path: out.vot, columns: [ids, z_spec, match_sep]}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(ra, dec, other_ra, other_dec):
    """Write a photometric and a spectroscopic catalog."""
    Table({"ID": np.arange(len(ra)), "RA": np.asarray(ra, float), "DEC": np.asarray(dec, float)}).write("photo.fits")
    columns = {"RA": np.asarray(other_ra, float), "DEC": np.asarray(other_dec, float), "Z": np.full(len(other_ra), 0.3)}
    Table(columns).write("spec.fits")


def square(rng, n, ra=180.0, dec=0.0, side=0.5):
    return ra + rng.uniform(-side, side, n) / 2, dec + rng.uniform(-side, side, n) / 2


def run(*arguments, text=PIPELINE):
    Path("p.yaml").write_text(text)
    return main(["run", "p.yaml", "--work", "w", *arguments])


def stage(**options):
    catalog = {"files": "spec.fits", "survey": {"position": {"ra": "RA", "dec": "DEC"}, "z_spec": "Z"}}
    return Crossmatch(catalog=catalog, radius=2.0, bring=["z_spec"], **options)


def test_a_run_counts_over_partitions_and_says_it_everywhere(here, capsys):
    rng = np.random.default_rng(1)
    ra, dec = square(rng, 200)
    strangers = square(rng, 3000)
    write(ra, dec, [*ra[:90], ra[0], *strangers[0]], [*dec[:90], dec[0] + 1 / 3600, *strangers[1]])
    assert run() == 0
    said = capsys.readouterr().err
    alone = stage()
    counts = alone.false_match_rate(Table({"ra": ra, "dec": dec}, units={"ra": "deg", "dec": "deg"}))
    assert counts.matched >= 90
    assert counts.ambiguous >= 1
    assert f"crossmatch: {counts.matched} of 200 rows matched within 2 arcsec" in said
    assert f"{counts.ambiguous} ambiguous; {100 * counts.rate:.2g} +- " in said
    [record] = [json.loads(p.read_text()) for p in Path("w/match/runs").glob("*.json")]
    [found] = record["findings"]
    assert (found["rows"], found["matched"], found["ambiguous"]) == (200, counts.matched, counts.ambiguous)
    assert found["false_match_rate"] == pytest.approx(counts.rate, rel=1e-3)
    assert found["false_match_rate_err"] == pytest.approx(counts.rate_err, rel=1e-3)
    [log] = Path("w/match/logs").glob("*.log")
    assert f"crossmatch: {counts.matched} of 200 rows matched" in log.read_text()
    infos = {info.name: info.value for info in parse("out.vot").resources[0].infos}
    assert json.loads(infos["findings.crossmatch"]) == found
    # What is done already is said again, and known of parts that were stored by an earlier run.
    assert run() == 0
    assert f"crossmatch: {counts.matched} of 200 rows matched" in capsys.readouterr().err


def test_rows_that_a_condition_leaves_out_do_not_count(here, capsys):
    rng = np.random.default_rng(2)
    ra, dec = square(rng, 100)
    write(ra, dec, ra[:50], dec[:50])
    assert run(text=PIPELINE.replace("bring:", "where: object_id < 60, bring:")) == 0
    assert "crossmatch: 50 of 60 rows matched" in capsys.readouterr().err


def test_a_match_that_finds_nothing_names_both_footprints(here, capsys):
    rng = np.random.default_rng(3)
    ra, dec = square(rng, 50, ra=0.0)
    write(ra % 360, dec, *square(rng, 60, ra=150.0, dec=2.0))
    assert run() != 0
    said = capsys.readouterr().err
    assert "p.yaml:7:5: crossmatch: none of 50 rows has a match within 2 arcsec" in said
    # Across right ascension 0: a range of half a degree, and not of the whole circle.
    assert f"the rows lie at RA {ra.min() % 360:.4f} to {ra.max():.4f}, Dec {dec.min():+.4f} to" in said
    assert "the catalog (60 objects) at RA 149." in said
    assert not Path("out.vot").exists()
    assert run(text=PIPELINE.replace("bring:", "if_none: warn, bring:")) == 0
    assert "crossmatch: warning: none of 50 rows has a match" in capsys.readouterr().err
    assert Path("out.vot").exists()


@pytest.mark.parametrize(
    ("density", "message"),
    [(4000, "warning: many of the matches are accidents"), (120000, "of random places have a match")],
)
def test_a_match_of_nearly_everything_is_told(here, density, message):
    rng = np.random.default_rng(5)
    ra, dec = square(rng, 300, side=0.2)
    write(ra, dec, *square(rng, density, side=0.4))
    part = stage()
    said = part.judge(part.tallied(Table({"ra": ra, "dec": dec}, units={"ra": "deg", "dec": "deg"})))
    assert len(said) == 2
    assert message in said[1]


def test_a_catalog_matched_with_itself_is_told(here):
    ra, dec = square(np.random.default_rng(6), 20)
    write(ra, dec, ra, dec)
    table = Table({"ra": ra, "dec": dec}, units={"ra": "deg", "dec": "deg"})
    part = stage()
    assert "every row matches at distance 0" in part.judge(part.tallied(table))[-1]
    table["dec"][0] += 0.1 / 3600
    assert len(part.judge(part.tallied(table))) == 1


def test_rows_without_positions_are_told(here):
    write([1.0], [1.0], [1.0], [1.0])
    part = stage()
    nowhere = Table({"ra": [np.nan], "dec": [np.nan]}, units={"ra": "deg", "dec": "deg"})
    assert part.judge(part.tallied(nowhere)) == ("warning: no row has a position, so that none was matched",)
    with pytest.raises(IngestError, match="none of 1 rows"):
        part.judge(part.tallied(Table({"ra": [5.0], "dec": [5.0]}, units={"ra": "deg", "dec": "deg"})))


def test_the_error_of_the_rate_is_that_of_the_false_matches(here):
    """Among 60 fields of known false matches, estimates scatter about the truth by as much as their errors say."""
    rng = np.random.default_rng(8)
    pulls = []
    for k in range(60):
        ra, dec = square(rng, 400, side=0.3)
        strangers = square(rng, 4000, side=0.5)
        Table({"RA": [*ra[:150], *strangers[0]], "DEC": [*dec[:150], *strangers[1]], "Z": np.zeros(4150)}).write(
            f"{k}.fits"
        )
        catalog = {"files": f"{k}.fits", "survey": {"position": {"ra": "RA", "dec": "DEC"}, "z_spec": "Z"}}
        part = Crossmatch(catalog=catalog, radius=3.0, bring=["z_spec"])
        table = Table({"ra": ra, "dec": dec}, units={"ra": "deg", "dec": "deg"})
        counts = part.false_match_rate(table)
        false = np.isfinite(part(table)["z_spec"][150:]).sum() / counts.matched
        pulls.append((counts.rate - false) / counts.rate_err)
    assert abs(np.mean(pulls)) < 4 / np.sqrt(60)
    assert 0.6 < np.std(pulls) < 1.4


def test_no_find_at_all_leaves_an_error(here):
    """After 8 empty places around each of 100 rows, a chance of 1 / 800 would be no surprise."""
    counts = FalseMatches.of({"rows": 100, "matched": 50, "ambiguous": 0, "chance": 0.0, "chance_squared": 0.0})
    assert (counts.rate, counts.chance_err) == (0.0, 1 / 800)
    assert counts.rate_err == pytest.approx(1 / 800)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["n", "min_x", "max_x"]), st.integers(-9, 9)), max_size=6))
def test_tallies_add_up(tallies):
    total = merged(tallies)
    for name, join in (("n", sum), ("min_x", min), ("max_x", max)):
        values = [tally[name] for tally in tallies if name in tally]
        assert total.get(name) == (join(values) if values else None)


@settings(deadline=None)
@given(st.floats(0, 360), st.floats(0.01, 100))
def test_a_footprint_is_the_narrower_way_around(start, width):
    ra = (start + np.linspace(0, width, 20)) % 360
    text = footprint(extent(ra, np.zeros(20)))
    low, high = (float(text.split()[k].rstrip(",")) for k in (1, 3))
    assert (high - low) % 360 == pytest.approx(width, abs=2e-4) or width > 179


def test_a_redshift_that_rows_have_already_is_told_with_the_way_out(here):
    write([1.0], [1.0], [1.0], [1.0])
    source = Catalog(files="x.fits", survey="sdss-casjobs")
    with pytest.raises(ChunkError, match=r"'z_spec' already; .*leave it out of the source: `without: \[z_spec\]`"):
        stage().accepts(source.fields())
    left = Catalog(files="x.fits", survey="sdss-casjobs", without=["z_spec"])
    assert {f.name for f in source.fields()} - {f.name for f in left.fields()} == {"z_spec"}
    assert stage().accepts(left.fields()) == ()


def test_a_synthetic_catalog_gives_what_it_has_and_hides_what_it_shall():
    options = {"rows": 300, "seed": 1, "classes": {"galaxy": 1}}
    whole = Synthetic(**options)
    hidden = Synthetic(**options, without=["z_spec"], where="z_spec < 0.3")
    assert "z_spec" not in {f.name for f in hidden.fields()}
    everything = whole.read(next(iter(whole.partitions(300))), ["object_id", "ra", "dec", "z_spec", "flux_r"])
    few = hidden.read(next(iter(hidden.partitions(300))), ["object_id", "ra", "dec"])
    assert list(few["object_id"]) == list(everything["object_id"][everything["z_spec"] < 0.3])
    part = Crossmatch(catalog={"synthetic": {**options, "where": "z_spec < 0.3"}}, radius=1.0, bring=["z_spec"])
    assert part.inputs() == ()
    matched = part(few)
    expected = everything["z_spec"][everything["z_spec"] < 0.3]
    np.testing.assert_array_equal(matched["z_spec"], expected)
    assert np.isnan(part(everything["ra", "dec"])["z_spec"][everything["z_spec"] > 0.3]).all()
