"""VOTable products: read back equal by astropy, nothing to say for votlint, atomic, the same bytes each time."""

import base64
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from astropy.io.votable import parse
from astropy.io.votable.dataorigin import extract_data_origin
from astropy.table import MaskedColumn, QTable
from astropy.units import Quantity
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from astrokeras.errors import ChunkError, OutputError
from astrokeras.export.atomic import replacing
from astrokeras.export.votable import VOTable, base64_lines
from astrokeras.fields import DEC, FLAGS, OBJECT_ID, RA, Field, flux_field
from astrokeras.stage import Product

PROVENANCE = {
    "pipeline": "quick & <start>",
    "pipeline_digest": "ab" * 32,
    "astrokeras_version": "0.1",
    "date": "2026-11-01T00:00:00",
    "stages": [{"name": "photoz", "version": 1, "parameters": {"model": "boss"}}],
    "models": [{"stage": "photoz", "name": "boss", "digest": "cd" * 32}],
    "seeds": [1, 2],
    "versions": {"keras": "3.15.1", "jax": None},
    "rows": 7,
    "creator": "A. Ström",
}
FIELDS = (
    OBJECT_ID,
    RA.model_copy(update={"meta": {"epoch": "J2016.0"}}),
    DEC.model_copy(update={"meta": {"epoch": "J2016.0"}}),
    flux_field("g", filter="SLOAN/SDSS.g", photometry="model", dereddened="no"),
    flux_field("g", "err", filter="SLOAN/SDSS.g", photometry="model", dereddened="no"),
    Field(name="z_phot", kind="f8", ucd="src.redshift.phot", description="Median of the PDF"),
    Field(
        name="z_pdf",
        kind="f4",
        shape=(6,),
        ucd="stat.probability;src.redshift.phot",
        meta={"z_min": 0.0, "z_max": 1.1, "n_z": 6, "note": "linear between points"},
    ),
    Field(name="mjd", kind="f8", unit="d", ucd="time.epoch", meta={"timescale": "TAI", "refposition": "TOPOCENTER"}),
    Field(name="stamp", kind="f4", shape=(4, 5), unit="nJy"),
    Field(name="i2", kind="i2"),
    Field(name="i4", kind="i4", null=-9999),
    Field(name="i8", kind="i8"),
    Field(name="star", kind="bool"),
    Field(name="seen", kind="bool", shape=(3,)),
    Field(name="counts", kind="i4", shape=(3,)),
    Field(name="letter", kind="str"),
    Field(name="name", kind="str", description="Wörter"),
    Field(name="odd name!", kind="str"),
    FLAGS,
)


def make_chunk(n=7, seed=0):
    rng = np.random.default_rng(seed)
    f4 = rng.normal(size=n).astype("f4")
    f4[:3] = [np.nan, np.inf, -np.inf][:n]
    pdf = rng.random((n, 6)).astype("f4")
    pdf[1:2], pdf[2:3, 3] = np.nan, np.nan
    chunk = QTable()
    chunk["object_id"] = np.arange(n) + 2**62
    chunk["ra"], chunk["dec"] = Quantity(rng.uniform(0, 360, n), "deg"), Quantity(rng.uniform(-90, 90, n), "deg")
    chunk["flux_g"] = Quantity(f4, "nJy", dtype="f4")
    chunk["flux_err_g"] = Quantity(np.abs(f4), "nJy", dtype="f4")
    chunk["z_phot"] = f4.astype(float)
    chunk["z_pdf"] = pdf
    chunk["mjd"] = Quantity(rng.uniform(5e4, 6e4, n), "d")
    chunk["stamp"] = Quantity(rng.normal(size=(n, 4, 5)), "nJy", dtype="f4")
    odd = np.arange(n) % 2 == 1
    for kind in ("i2", "i4", "i8"):
        chunk[kind] = MaskedColumn(rng.integers(-1000, 1000, n).astype(kind), mask=odd)
    chunk["i8"][:1] = np.iinfo("i8").max
    chunk["star"] = MaskedColumn(~odd, mask=np.arange(n) == 3)
    chunk["seen"] = MaskedColumn(rng.random((n, 3)) > 0.5, mask=np.arange(n)[:, None] + np.zeros(3) == 3)
    chunk["counts"] = MaskedColumn(rng.integers(0, 99, (n, 3)).astype("i4"), mask=rng.random((n, 3)) > 0.7)
    chunk["letter"] = np.resize(["a", "", "c"], n)
    chunk["name"] = np.resize(["Ångström", "", "星", "\N{MATHEMATICAL ITALIC SMALL ALPHA} Cen", "plain"], n)
    chunk["odd name!"] = MaskedColumn(np.resize(["x", "yy"], n), mask=odd)
    chunk["flags"] = np.arange(n, dtype="i4")
    return chunk[[f.name for f in FIELDS]]


def write(path, chunks, fields=FIELDS, provenance=PROVENANCE, output=None):
    output = output or VOTable(path=str(path))
    pieces = []
    for k, chunk in enumerate(chunks):
        piece = Path(path).parent / "pieces" / f"{k:03d}"
        # The runner keeps facts as JSON.
        pieces.append((piece, json.loads(json.dumps(output.write(chunk, fields, piece)))))
    output.close(pieces, Product(Path(path), tuple(fields), provenance))
    return Path(path)


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return parse(path, verify="exception")


def assert_equal(chunk, table, fields=FIELDS):
    assert list(table.colnames) == [f.name for f in fields]
    for field in fields:
        wanted, found = chunk[field.name], table[field.name]
        mask = np.ma.getmaskarray(wanted) if isinstance(wanted, np.ma.MaskedArray) else np.zeros(wanted.shape, bool)
        wanted = wanted.value if isinstance(wanted, Quantity) else np.ma.getdata(np.ma.asanyarray(wanted))
        if wanted.dtype.kind == "f":
            mask = np.isnan(wanted)
        assert found.shape == wanted.shape, field.name
        if wanted.dtype.kind != "U":
            assert found.dtype == wanted.dtype, field.name
            np.testing.assert_array_equal(np.ma.getmaskarray(np.ma.asanyarray(found)), mask, field.name)
        else:
            wanted = np.where(mask, "", wanted)
            mask = np.zeros_like(mask)
        np.testing.assert_array_equal(np.ma.getdata(np.ma.asanyarray(found))[~mask], wanted[~mask], field.name)
        assert (str(found.unit) if found.unit else "") == field.unit
        assert found.description.startswith(field.description)


def votlint(path):
    if shutil.which("stilts") is None:
        pytest.skip("stilts is not installed: apt-get install stilts")
    done = subprocess.run(["stilts", "votlint", str(path)], capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("cuts", [[7], [0, 3, 0, 4], [1] * 7, [0]])
def test_astropy_reads_equal_values(tmp_path, cuts):
    chunk = make_chunk()[: sum(cuts)]
    ends = list(itertools.accumulate(cuts))
    path = write(tmp_path / "out.vot", [chunk[e - c : e] for c, e in zip(cuts, ends, strict=True)])
    votable = read(path)
    table = votable.get_first_table()
    assert table.nrows == sum(cuts)
    assert_equal(chunk, table.to_table(use_names_over_ids=True))
    assert votable.version == "1.4"
    # An integer that is never missing announces no null.
    nulls = {f.name: f.values.null for f in table.fields}
    assert nulls["i4"] == -9999
    assert nulls["flags"] is None
    if sum(cuts):
        assert nulls["i2"] == -(2**15)


def test_votlint_has_nothing_to_say(tmp_path):
    parts = [make_chunk(7), make_chunk(5, 1), make_chunk(0)]
    one = write(tmp_path / "one.vot", parts)
    empty = write(tmp_path / "empty.vot", [make_chunk(0)])
    # Many rows take more than one line of base64.
    many = write(tmp_path / "many.vot", [make_chunk(3000)])
    assert [votlint(path) for path in (one, empty, many)] == ["", "", ""]


def test_equal_facts_and_names_are_valid(tmp_path):
    """Two groups that state the same facts; a column called like a fact of the file; a table called like a column."""
    bands = [flux_field(b, k, filter=f"SLOAN/SDSS.{b}", photometry="model") for b in "gr" for k in ("", "err")]
    fields = (OBJECT_ID, *bands, Field(name="rows", kind="i4"), Field(name="pipeline", kind="i4"), FLAGS)
    columns = {f.name: np.arange(3, dtype="i8" if f.kind == "id" else f.kind) for f in fields}
    chunk = QTable({f.name: Quantity(columns[f.name], f.unit) if f.unit else columns[f.name] for f in fields})
    path = write(tmp_path / "flags.vot", [chunk], fields)
    assert votlint(path) == ""
    table = read(path).get_first_table()
    groups = {tuple(e.ref for e in g.entries[:2]): [e.value for e in g.entries[2:]] for g in table.groups}
    assert groups["flux_r", "flux_err_r"] == ["SLOAN/SDSS.r", "model"]
    assert table.to_table()["rows"].tolist() == [0, 1, 2]


def test_no_partition_at_all(tmp_path):
    path = write(tmp_path / "out.vot", [])
    table = read(path).get_first_table()
    assert table.nrows == 0
    assert [f.name for f in table.fields] == [f.name for f in FIELDS]
    assert votlint(path) == ""


def test_votlint_would_speak(tmp_path):
    path = write(tmp_path / "one.vot", [make_chunk(7)])
    text = path.read_text().replace('nrows="7"', 'nrows="9"')
    path.write_text(text)
    assert "row" in votlint(path)


def test_stilts_reads_equal_values(tmp_path):
    if shutil.which("stilts") is None:
        pytest.skip("stilts is not installed: apt-get install stilts")
    path = write(tmp_path / "one.vot", [make_chunk(7)])
    done = subprocess.run(
        ["stilts", "tpipe", str(path), "cmd=keepcols 'object_id i4 i8 star flux_g letter'", "ofmt=csv"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    rows = [line.split(",") for line in done.stdout.splitlines()]
    chunk = make_chunk(7)
    assert rows[0] == ["object_id", "i4", "i8", "star", "flux_g", "letter"]
    assert rows[1] == [str(2**62), str(chunk["i4"][0]), str(2**63 - 1), "true", "", "a"]
    assert rows[2][:5] == [str(2**62 + 1), "", "", "false", "Infinity"]
    assert rows[4][3] == ""


def test_metadata(tmp_path):
    path = write(tmp_path / "one.vot", [make_chunk()])
    votable = read(path)
    table = votable.get_first_table()
    params = {p.name: p.value for p in table.iter_fields_and_params() if hasattr(p, "value")}
    assert params["z_min"] == 0.0 and params["z_max"] == 1.1
    assert params["n_z"] == 6 and params["note"] == "linear between points"
    groups = {tuple(e.ref for e in g.entries if hasattr(e, "ref") and not hasattr(e, "value")) for g in table.groups}
    assert {("ra", "dec"), ("flux_g", "flux_err_g"), ("z_pdf",), ("mjd",), ("flags",)} == groups
    assert params["NO_DATA"] == 16
    assert params["filter"] == "SLOAN/SDSS.g" and params["dereddened"] == "no"
    fields = {f.name: f for f in table.fields}
    assert fields["z_pdf"].ucd == "stat.probability;src.redshift.phot"
    assert fields["z_pdf"].arraysize == "6" and fields["stamp"].arraysize == "5x4"
    assert "filter SLOAN/SDSS.g, photometry model" in fields["flux_g"].description
    assert fields["ra"].ref == fields["dec"].ref
    (sky,) = votable.resources[0].coordinate_systems
    assert (sky.ID, sky.system, sky.epoch) == (fields["ra"].ref, "ICRS", "J2016.0")
    (time,) = votable.resources[0].time_systems
    assert (time.ID, time.timescale, time.timeorigin, time.refposition) == (
        fields["mjd"].ref,
        "TAI",
        2400000.5,
        "TOPOCENTER",
    )
    assert table.description


def test_provenance(tmp_path):
    votable = read(write(tmp_path / "one.vot", [make_chunk()]))
    infos = {i.name: i.value for i in votable.resources[0].infos}
    assert infos["pipeline"] == "quick & <start>"
    assert infos["pipeline_digest"] == "ab" * 32
    assert json.loads(infos["models.photoz"])["digest"] == "cd" * 32
    assert json.loads(infos["stages.photoz"])["parameters"] == {"model": "boss"}
    assert infos["rows"] == "7" and infos["seeds"] == "1, 2"
    assert infos["versions.keras"] == "3.15.1" and "versions.jax" not in infos
    origin = extract_data_origin(votable)
    assert origin.query.request_date == "2026-11-01T00:00:00"
    assert origin.query.server_software == "astrokeras 0.1"
    assert origin.origin[0].creator == ["A. Ström"]


def test_same_input_gives_the_same_bytes_however_it_is_cut(tmp_path):
    chunk = make_chunk(40)
    one = write(tmp_path / "a" / "out.vot", [chunk]).read_bytes()
    again = write(tmp_path / "b" / "out.vot", [chunk]).read_bytes()
    cut = write(tmp_path / "c" / "out.vot", [chunk[:1], chunk[1:30], chunk[30:]]).read_bytes()
    assert one == again == cut
    assert str(tmp_path).encode() not in one


def test_text_of_partitions_of_different_width(tmp_path):
    fields = (OBJECT_ID, Field(name="name", kind="str"))
    names = [["a", "bb"], ["ccccccc", ""], ["Ä", "e\N{COMBINING ACUTE ACCENT}é"]]
    ids = [["s1", "s2"], ["s30", "s4"], ["s5", "s6"]]
    chunks = [QTable({"object_id": i, "name": n}) for i, n in zip(ids, names, strict=True)]
    table = read(write(tmp_path / "out.vot", chunks, fields)).get_first_table().to_table()
    assert list(table["name"]) == list(itertools.chain(*names))
    assert list(table["object_id"]) == list(itertools.chain(*ids))


def test_identifiers_of_two_types_are_refused(tmp_path):
    chunks = [QTable({"object_id": [1, 2]}), QTable({"object_id": ["a", "b"]})]
    with pytest.raises(OutputError, match=r"out\.vot: column 'object_id' holds text in one partition"):
        write(tmp_path / "out.vot", chunks, (OBJECT_ID,))
    assert not (tmp_path / "out.vot").exists()


def test_smallest_integer_beside_a_missing_one(tmp_path):
    least = np.iinfo("i2").min
    chunk = QTable({"i": MaskedColumn(np.array([least, 5, 6], "i2"), mask=[False, True, False])})
    path = write(tmp_path / "out.vot", [chunk], (Field(name="i", kind="i2"),))
    found = read(path).get_first_table().to_table()["i"]
    assert found.tolist() == [least, None, 6]
    assert votlint(path) == ""


def test_smallest_integer_beside_a_missing_element_is_refused(tmp_path):
    least = np.iinfo("i2").min
    chunk = QTable({"i": MaskedColumn(np.array([[least, 5]], "i2"), mask=[[False, True]])})
    with pytest.raises(OutputError, match="column 'i' has missing elements"):
        write(tmp_path / "out.vot", [chunk], (Field(name="i", kind="i2", shape=(2,)),))
    assert list(tmp_path.iterdir()) == [tmp_path / "pieces"]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (Field(name="x", unit="redshift"), "votable: column 'x' has unit 'redshift'"),
        (Field(name="x", unit="mag(AB)"), "votable: column 'x' has unit 'mag\\(AB\\)'"),
        (Field(name="x", ucd="stat.pdf"), "votable: column 'x' has UCD 'stat.pdf'"),
        (Field(name="x", kind="str", shape=(2,)), "votable: column 'x' holds arrays of text"),
        (Field(name="x", shape=(0,)), "votable: column 'x' has cells of shape \\(0,\\)"),
        (Field(name="x", null=3), "votable: column 'x' of type f4 has the null value 3"),
        (Field(name="x", kind="i2", null=40000), "null value 40000 is beyond i2"),
        (Field(name="RA", kind="f8"), "votable: column 'RA' and 'ra' differ in case only"),
    ],
)
def test_preflight_names_the_column(field, message):
    with pytest.raises(ChunkError, match=message):
        VOTable(path="x.vot").reads((RA, field))


def test_preflight_lets_good_columns_pass():
    assert VOTable(path="x.vot", columns=("ids", "stamp", "z_*")).reads(FIELDS) == (
        OBJECT_ID,
        *(f for f in FIELDS if f.name in ("stamp",)),
        *(f for f in FIELDS if f.name.startswith("z_")),
    )
    assert "stamp" not in {f.name for f in VOTable(path="x.vot").reads(FIELDS)}


def leftovers(directory):
    return [p.name for p in directory.iterdir() if p.name != "pieces"]


@contextmanager
def room(size):
    """No file may grow beyond ``size`` bytes: what a full disk or a quota looks like."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_leaves_nothing(tmp_path):
    path, output, piece = tmp_path / "out.vot", VOTable(path="out.vot"), tmp_path / "pieces" / "0"
    path.write_text("old")
    facts = output.write(make_chunk(3000), FIELDS, piece)
    with room(100_000), pytest.raises(OutputError, match=rf"^{path}: cannot be written: File too large$"):
        output.close([(piece, facts)], Product(path, FIELDS, PROVENANCE))
    assert leftovers(tmp_path) == ["out.vot"]
    assert path.read_text() == "old"
    with room(1000), pytest.raises(OutputError, match=r"pieces/1: cannot be written: File too large$"):
        output.write(make_chunk(3000), FIELDS, tmp_path / "pieces" / "1")
    assert [p.name for p in piece.parent.iterdir()] == ["0"]


def test_full_device(tmp_path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")

    def fill():
        with replacing(tmp_path / "out") as stream, open(full, "wb") as device:
            stream.write(b"half")
            device.write(b"x" * 10**6)

    with pytest.raises(OutputError, match="out: cannot be written: No space left on device"):
        fill()
    assert leftovers(tmp_path) == []


def test_target_is_a_directory_or_below_a_file(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="taken: cannot be written: Is a directory"):
        write(tmp_path / "taken", [make_chunk(3)])
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"out\.vot: cannot be written: .*(is no directory|Not a directory)"):
        VOTable(path="x").close([], Product(tmp_path / "file" / "out.vot", (), {}))
    assert sorted(leftovers(tmp_path)) == ["file", "taken"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_unwritable_directory(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(OutputError, match=r"out\.vot: cannot be written: Permission denied"):
        write(closed / "out.vot", [make_chunk(3)])


def test_leftover_of_a_killed_process_is_removed(tmp_path):
    script = "import os, signal, sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
    script += "from astrokeras.export.atomic import replacing\n"
    script += "with replacing(Path(sys.argv[1])) as s: s.write(b'x'); s.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    command = [sys.executable, "-c", script, str(tmp_path / "out.vot"), str(Path(__file__).parent.parent)]
    assert subprocess.run(command, check=False, timeout=60).returncode == -9
    assert len(leftovers(tmp_path)) == 1
    (tmp_path / ".out.vot.notes.part").write_text("a user's own file")
    write(tmp_path / "out.vot", [make_chunk(3)])
    assert sorted(leftovers(tmp_path)) == [".out.vot.notes.part", "out.vot"]


def test_interrupted_write_keeps_the_old_product(tmp_path):
    path = write(tmp_path / "out.vot", [make_chunk()])
    before = path.read_bytes()
    output = VOTable(path=str(path))
    piece = tmp_path / "pieces" / "000"
    facts = output.write(make_chunk(), FIELDS, piece)
    piece.unlink()
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        output.close([(piece, facts)], Product(path, FIELDS, PROVENANCE))
    assert path.read_bytes() == before
    assert leftovers(tmp_path) == ["out.vot"]


def test_truncated_piece_is_refused(tmp_path):
    output, piece = VOTable(path="out.vot"), tmp_path / "pieces" / "0"
    facts = output.write(make_chunk(), FIELDS, piece)
    piece.write_bytes(piece.read_bytes()[:-3])
    with pytest.raises(OutputError, match="is damaged: it has"):
        output.close([(piece, facts)], Product(tmp_path / "out.vot", FIELDS, PROVENANCE))
    assert leftovers(tmp_path) == []


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_base64_of_blocks_is_base64_of_all(blocks):
    import astrokeras.export.votable as module

    kept, module._LINE = module._LINE, 12
    try:
        lines = list(base64_lines(memoryview(b) for b in blocks))
    finally:
        module._LINE = kept
    assert b"".join(line.strip() for line in lines) == base64.b64encode(b"".join(blocks))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), n=st.integers(1, 9))
def test_any_values_come_back(tmp_path, data, n):
    text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=5)
    columns = {
        "f4": data.draw(hnp.arrays("f4", (n, 2), elements=st.floats(width=32))),
        "f8": data.draw(hnp.arrays("f8", n)),
        "i2": data.draw(hnp.arrays("i2", n)),
        "i8": data.draw(hnp.arrays("i8", (n, 2, 3))),
        "bool": data.draw(hnp.arrays("bool", (n, 2))),
        "str": np.array(data.draw(st.lists(text, min_size=n, max_size=n))),
    }
    fields = tuple(Field(name=k, kind=k, shape=a.shape[1:]) for k, a in columns.items())
    table = read(write(tmp_path / "out.vot", [QTable(columns)], fields)).get_first_table().to_table()
    for kind, array in columns.items():
        found = table[kind]
        np.testing.assert_array_equal(np.ma.getdata(found), np.char.rstrip(array, "\0") if kind == "str" else array)


def test_memory_does_not_grow(tmp_path):
    """Closing 100 times as many rows takes no more memory (measured in a process of its own)."""
    script = """
import resource, sys
sys.path[:0] = [sys.argv[2], sys.argv[3]]
import test_votable as t
from pathlib import Path
target = Path(sys.argv[1]) / "out.vot"
output = t.VOTable(path=str(target))
piece = target.parent / "pieces" / "0"
facts = output.write(t.make_chunk(5000), t.FIELDS, piece)
peaks = []
for times in (1, 100):
    output.close([(piece, facts)] * times, t.Product(target, t.FIELDS, t.PROVENANCE))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(target.stat().st_size / 2**20, peaks[1] - peaks[0])
"""
    here = Path(__file__).parent
    command = [sys.executable, "-c", script, str(tmp_path), str(here), str(here.parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    size, growth = map(float, done.stdout.split())
    assert size > 100
    assert growth < 10


def test_light_import():
    script = "import sys, astrokeras.export.votable, astrokeras.export.tables, astrokeras.export.evaluate\n"
    script += "heavy = {'tensorflow', 'keras', 'pandas', 'pyarrow', 'astropy.table', 'astropy.io.fits', 'sklearn'}\n"
    script += "print(sorted(heavy & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
