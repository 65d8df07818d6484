"""Source ``tap``: what services send, good and bad, against a small service on this machine."""

import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from pydantic import ValidationError
from vo_server import serving

from astrokeras.cli import main
from astrokeras.errors import IngestError
from astrokeras.ingest import services
from astrokeras.ingest.tap import Tap

QUERY = "SELECT * FROM photo ORDER BY id"
SURVEY = {
    "object_id": "id",
    "position": {"ra": "ra", "dec": "dec"},
    "bands": ["g", "r"],
    "photometry": {"psf": {"mag": "{band}mag", "error": "{band}err", "system": "AB"}},
}


def photo(rows=50, faint=0.0):
    """Return a catalog in AB magnitudes, as an archive has it."""
    rng = np.random.default_rng(3)
    table = Table({"id": np.arange(rows) + 10**12, "ra": rng.uniform(10, 11, rows), "dec": rng.uniform(-1, 1, rows)})
    for band in "gr":
        table[f"{band}mag"] = (rng.uniform(18, 23, rows) + faint).astype("f4") * u.mag
        table[f"{band}err"] = np.full(rows, 0.1, "f4") * u.mag
    table["ra"].unit = table["dec"].unit = "deg"
    return table


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setattr(services, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(services, "FIRST_LOOK", 0.01)
    with serving(photo()) as one:
        yield one


@pytest.fixture
def source(service, tmp_path):
    def make(**parameters):
        address = f"{service.url}/{'scs' if 'cone' in parameters else 'tap'}"
        asked = {} if "cone" in parameters else {"query": QUERY}
        return Tap(**{"service": address, "survey": SURVEY, "cache": str(tmp_path / "cache"), **asked, **parameters})

    return make


def rows_of(source, max_rows=1000):
    columns = [f.name for f in source.fields()]
    parts = [source.read(p, columns) for p in source.partitions(max_rows)]
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in columns}


def jansky(mag):
    return 3631e9 * 10 ** (-0.4 * np.asarray(mag, float))


def test_a_query_gives_canonical_rows(service, source):
    made, there = rows_of(source(), 20), service.table
    assert np.array_equal(made["object_id"], there["id"])
    np.testing.assert_allclose(made["ra"], there["ra"])
    np.testing.assert_allclose(made["flux_g"], jansky(there["gmag"]), rtol=1e-5)
    np.testing.assert_allclose(made["flux_err_r"], jansky(there["rmag"]) * 0.1 * np.log(10) / 2.5, rtol=1e-5)
    ((method, path, asked),) = service.asked
    assert (method, path, asked["QUERY"], asked["LANG"]) == ("POST", "/tap/sync", QUERY, "ADQL")
    assert "MAXREC" not in asked


def test_where_and_bands_are_those_of_a_catalog(service, source):
    made = rows_of(source(where="gmag < 20", bands=("g",), keep=("rmag",)))
    chosen = np.asarray(service.table["gmag"]) < 20
    assert 0 < chosen.sum() < 50
    assert np.array_equal(made["object_id"], service.table["id"][chosen])
    np.testing.assert_allclose(made["rmag"], service.table["rmag"][chosen])
    assert "flux_r" not in made


def test_the_answer_is_stored_and_read_again_without_the_service(service, source, tmp_path):
    first = rows_of(source())
    service.table = photo(faint=1.0)
    again = rows_of(source())
    assert np.array_equal(first["flux_g"], again["flux_g"])
    assert len(service.asked) == 1
    facts = json.loads(source().stored().with_suffix(".json").read_text())
    assert facts["query"] == QUERY and facts["service"] == f"{service.url}/tap" and facts["fetched"].startswith("20")
    # What fetches again: another query, another date, or no stored file.
    for other in (source(as_of="2026-11"), source(query=QUERY + " ")):
        np.testing.assert_allclose(rows_of(other)["flux_g"], jansky(service.table["gmag"]), rtol=1e-5)
    source().stored().unlink()
    np.testing.assert_allclose(rows_of(source())["flux_g"], jansky(service.table["gmag"]), rtol=1e-5)
    assert len(service.asked) == 4
    assert len({source(as_of=text).stored() for text in ("", "a", "b")}) == 3


def test_how_to_fetch_does_not_name_the_file(source):
    names = {source(**more).stored().name for more in ({}, {"mode": "async"}, {"timeout": 3}, {"retries": 0})}
    assert len(names) == 1
    assert source(maxrec=5).stored().name not in names


def test_a_job_gives_the_same_rows(service, source, tmp_path):
    direct = rows_of(source())
    made = rows_of(source(mode="async", cache=str(tmp_path / "jobs")))
    assert all(np.array_equal(made[name], direct[name], equal_nan=name.startswith("flux")) for name in direct)
    (job,) = service.jobs.values()
    assert job["asked"]["QUERY"] == QUERY and job["deleted"]


def test_a_job_that_fails_says_why(service, source):
    service.phases = ["EXECUTING", "ERROR"]
    with pytest.raises(IngestError, match=r"/tap: the service answered with an error: .*out of memory"):
        rows_of(source(mode="async"))
    assert service.jobs["1"]["deleted"]


def test_a_job_that_takes_too_long_is_given_up(service, source):
    service.phases = ["EXECUTING"]
    with pytest.raises(IngestError, match=r"/tap: the job is executing after 0.2 s; raise `timeout`"):
        rows_of(source(mode="async", timeout=0.2))
    assert service.jobs["1"]["deleted"]


def test_a_cone_search(service, source):
    made = rows_of(source(cone={"ra": 10.5, "dec": 0.0, "radius": 0.5}))
    assert np.array_equal(made["object_id"], service.table["id"])
    ((method, path, asked),) = service.asked
    assert (method, path) == ("GET", "/scs")
    assert [float(asked[key]) for key in ("RA", "DEC", "SR")] == [10.5, 0.0, 0.5]


def test_the_error_of_a_service_is_told(source):
    with pytest.raises(IngestError, match=r"/tap: the service answered with an error: cannot parse FIND all"):
        rows_of(source(query="FIND all"))
    wide = source(cone={"ra": 10.5, "dec": 0.0, "radius": 90})
    with pytest.raises(IngestError, match=r"/scs: the service answered with an error: cannot parse cone too wide"):
        rows_of(wide)
    assert not wide.stored().exists()
    assert not list(wide.stored().parent.glob("*.part"))


def test_an_answer_cut_short_is_refused_unless_wanted(service, source, caplog):
    service.limit = 30
    for again in ("fetched", "stored"):
        with pytest.raises(IngestError, match=r"cut the answer short \(OVERFLOW\).*`maxrec`.*`truncated: true`"):
            rows_of(source())
        assert source().stored().exists(), again
    with caplog.at_level(logging.WARNING):
        assert len(rows_of(source(truncated=True))["ra"]) == 30
    assert "OVERFLOW" in caplog.text
    assert len(rows_of(source(maxrec=7, truncated=True))["ra"]) == 7
    assert service.asked[-1][2]["MAXREC"] == "7"


def test_a_failure_that_passes_is_retried(service, source, caplog):
    service.failures = [503, 0, 429]
    assert len(rows_of(source())["ra"]) == 50
    assert len(service.asked) == 4
    assert caplog.text.count("trying again") == 3


def test_a_failure_that_stays_is_told(service, source):
    service.failures = [503] * 9
    with pytest.raises(IngestError, match=r"/tap: the service cannot be reached for the moment: .*tried 3 times"):
        rows_of(source(retries=2))
    assert len(service.asked) == 3
    service.failures = [500]
    with pytest.raises(IngestError, match=r"/tap: not now"):
        rows_of(source())
    assert len(service.asked) == 4


def test_half_an_answer_is_no_answer(service, source):
    service.cut = True
    with pytest.raises(IngestError, match=r"stopped answering"):
        rows_of(source(retries=1))
    assert len(service.asked) == 2
    assert not source().stored().exists()


def test_what_is_no_service(service, source):
    with pytest.raises(IngestError, match=r"/nowhere: .*404"):
        rows_of(source(service=f"{service.url}/nowhere"))
    with pytest.raises(IngestError, match=r"cannot be reached"):
        rows_of(source(service="http://127.0.0.1:9/tap", retries=0))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"query": None}, "needs either `query`"),
        ({"cone": {"ra": 1, "dec": 2, "radius": 3}, "query": QUERY}, "needs either `query`"),
        ({"cone": {"ra": 1, "dec": 2, "radius": 3}, "maxrec": 3}, "belongs to a `query`"),
        ({"cone": {"ra": 400, "dec": 2, "radius": 3}}, "less than 360"),
        ({"service": "archive.org"}, "should match pattern"),
        ({"survey": "gaia-dr9"}, "did you mean 'gaia-dr3'"),
        ({"files": "a.fits"}, "Extra inputs"),
    ],
)
def test_mistakes(source, parameters, message):
    with pytest.raises(ValidationError, match=message):
        source(**parameters)


PIPELINE = """
astrokeras: 1
name: archive
source:
  tap:
    service: {url}/tap
    query: {query}
    cache: {cache}
    survey:
      object_id: id
      position: {{ra: ra, dec: dec}}
      bands: [g, r]
      photometry: {{psf: {{mag: "{{band}}mag", error: "{{band}}err", system: AB}}}}
stages:
  - colors: {{bands: [g, r]}}
outputs:
  - parquet: {{path: {out}, columns: [ids, color_g_r]}}
"""


def test_a_pipeline_checks_without_the_network_and_reruns_from_the_store(service, tmp_path, capsys):
    out = tmp_path / "out.parquet"
    file = tmp_path / "p.yaml"
    file.write_text(PIPELINE.format(url=service.url, query=QUERY, cache=tmp_path / "cache", out=out))
    assert main(["check", str(file)]) == 0
    assert service.asked == []
    run = ["run", str(file), "--work", str(tmp_path / "work")]
    assert main(run) == 0
    table = Table.read(out)
    there = service.table
    np.testing.assert_allclose(table["color_g_r"], there["gmag"] - there["rmag"], atol=1e-5)
    capsys.readouterr()
    # How the answer is fetched does not count, what it holds does.
    assert main([*run, "--set", "source.tap.retries=1"]) == 0
    assert "1 already done" in capsys.readouterr().err
    assert len(service.asked) == 1
    service.table = photo(rows=40)
    assert main([*run, "--set", "source.tap.as_of=later"]) == 0
    assert len(Table.read(out)) == 40


def test_an_error_of_the_service_names_the_line(service, tmp_path, capsys):
    file = tmp_path / "p.yaml"
    file.write_text(PIPELINE.format(url=service.url, query="FIND all", cache=tmp_path / "cache", out="x.parquet"))
    assert main(["run", str(file), "--work", str(tmp_path / "work")]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"{file}:5:3: {service.url}/tap: the service answered with an error: cannot parse FIND all")


def test_check_needs_none_of_the_libraries(service, tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(PIPELINE.format(url=service.url, query=QUERY, cache=tmp_path, out="x.parquet"))
    code = (
        "import sys; from astrokeras.cli import main; main(['check', sys.argv[1]]); "
        "print([m for m in ('pyvo', 'requests', 'tensorflow', 'astropy.table', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_cache_is_where_users_expect_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = Tap(service="https://archive.example.org/tap", query=QUERY, survey=SURVEY)
    assert source.stored().parent == tmp_path / "astrokeras" / "tap"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert str(source.stored()).startswith(os.path.expanduser("~/.cache/astrokeras/tap/"))


@pytest.mark.remote
@pytest.mark.parametrize(
    ("service", "asked"),
    [
        ("https://gea.esac.esa.int/tap-server/tap", {"query": "SELECT TOP 20 * FROM gaiadr3.gaia_source"}),
        (
            "https://vizier.cds.unistra.fr/viz-bin/conesearch/I/355/gaiadr3",
            {"cone": {"ra": 10, "dec": 41, "radius": 0.02}},
        ),
    ],
)
def test_real_services(service, asked, tmp_path):
    source = Tap(
        service=service,
        cache=str(tmp_path),
        survey={"object_id": "source_id"} if "query" in asked else {"object_id": "Source"},
        **asked,
    )
    assert len(rows_of(source)["object_id"]) >= 10
