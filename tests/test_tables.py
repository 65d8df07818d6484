"""FITS and Parquet products: read back equal by astropy, pyarrow and stilts; atomic; the same bytes each time."""

import json
import resource
import shutil
import subprocess
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.units import Quantity
from pyarrow import parquet

from astrokeras.errors import ChunkError, OutputError
from astrokeras.export.tables import Fits, Parquet
from astrokeras.fields import DEC, FLAGS, OBJECT_ID, RA, Field, flux_field
from astrokeras.stage import Product

PROVENANCE = {
    "pipeline": "quickstart",
    "date": "2026-11-01T00:00:00",
    "stages": [{"name": "photoz", "parameters": {"model": "b" * 90}}],
    "creator": "A. Ström",
}
FIELDS = (
    OBJECT_ID,
    RA,
    DEC,
    flux_field("g", filter="SLOAN/SDSS.g", photometry="model", dereddened="no"),
    Field(
        name="z_pdf",
        shape=(6,),
        ucd="stat.probability;src.redshift.phot",
        description="PDF of the redshift, " + "at length " * 12,
        meta={"z_min": 0.0, "z_max": 1.1, "note": "linear between points " * 6},
    ),
    Field(name="stamp", kind="f8", shape=(4, 5), unit="nJy"),
    Field(name="i2", kind="i2"),
    Field(name="i4", kind="i4", null=-9999),
    Field(name="i8", kind="i8"),
    Field(name="star", kind="bool"),
    Field(name="seen", kind="bool", shape=(3,)),
    Field(name="counts", kind="i4", shape=(3,)),
    Field(name="name", kind="str", description="Wörter"),
    FLAGS,
)


def make_chunk(n=7, seed=0):
    rng = np.random.default_rng(seed)
    f4 = rng.normal(size=n).astype("f4")
    f4[:3] = [np.nan, np.inf, -np.inf][:n]
    chunk = QTable()
    chunk["object_id"] = np.arange(n) + 2**62
    chunk["ra"], chunk["dec"] = Quantity(rng.uniform(0, 360, n), "deg"), Quantity(rng.uniform(-90, 90, n), "deg")
    chunk["flux_g"] = Quantity(f4, "nJy", dtype="f4")
    chunk["z_pdf"] = rng.random((n, 6)).astype("f4")
    chunk["stamp"] = Quantity(rng.normal(size=(n, 4, 5)), "nJy")
    odd = np.arange(n) % 2 == 1
    for kind in ("i2", "i4", "i8"):
        chunk[kind] = MaskedColumn(rng.integers(-1000, 1000, n).astype(kind), mask=odd)
    chunk["star"] = ~odd
    chunk["seen"] = rng.random((n, 3)) > 0.5
    chunk["counts"] = rng.integers(0, 99, (n, 3)).astype("i4")
    chunk["name"] = np.resize(["a", "", "plain text"], n)
    chunk["flags"] = np.arange(n, dtype="i4")
    return chunk


def write(kind, path, chunks, fields=FIELDS, provenance=PROVENANCE):
    output = kind(path=str(path))
    pieces = []
    for k, chunk in enumerate(chunks):
        piece = Path(path).parent / "pieces" / f"{k:03d}"
        # The runner keeps facts as JSON.
        pieces.append((piece, json.loads(json.dumps(output.write(chunk, fields, piece)))))
    output.close(pieces, Product(Path(path), tuple(fields), provenance))
    return Path(path)


def assert_equal(chunk, table, flat=False, masked_integers=True):
    assert table.colnames == chunk.colnames
    for name in chunk.colnames:
        wanted, found = chunk[name], table[name]
        mask = np.ma.getmaskarray(wanted) if isinstance(wanted, MaskedColumn) else np.zeros(wanted.shape, bool)
        unit = str(wanted.unit) if getattr(wanted, "unit", None) else None
        wanted = wanted.value if isinstance(wanted, Quantity) else np.ma.getdata(np.ma.asanyarray(wanted))
        if flat:
            wanted, mask = (x.reshape(found.shape) for x in (wanted, mask))
        assert found.shape == wanted.shape, name
        assert (str(found.unit) if found.unit else None) == unit
        got = np.ma.asanyarray(found)
        if wanted.dtype.kind == "i" and masked_integers:
            np.testing.assert_array_equal(np.ma.getmaskarray(got), mask, name)
            assert got.dtype.newbyteorder("=") == wanted.dtype
        np.testing.assert_array_equal(np.ma.getdata(got)[~mask], wanted[~mask], name)


def read_fits(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Table.read(path, mask_invalid=False)


@pytest.mark.parametrize("cuts", [(7,), (0, 3, 0, 4), (0,)])
def test_fits_reads_back_equal(tmp_path, cuts):
    chunk = make_chunk()[: sum(cuts)]
    ends = np.cumsum(cuts)
    path = write(Fits, tmp_path / "out.fits", [chunk[e - c : e] for c, e in zip(cuts, ends, strict=True)])
    assert_equal(chunk, read_fits(path))
    assert path.stat().st_size % 2880 == 0
    with fits.open(path) as hdus:
        hdus.verify("exception")


def test_fits_without_partitions(tmp_path):
    table = read_fits(write(Fits, tmp_path / "out.fits", []))
    assert len(table) == 0
    assert table.colnames == [f.name for f in FIELDS]


def test_fits_metadata(tmp_path):
    header = fits.getheader(write(Fits, tmp_path / "out.fits", [make_chunk()]), 1)
    assert header["EXTNAME"] == "out" and header["RADESYS"] == "ICRS" and header["DATE"] == "2026-11-01T00:00:00"
    assert header["z_pdf z_min"] == 0.0 and header["z_pdf z_max"] == 1.1
    assert header["TUCD5"] == "stat.probability;src.redshift.phot"
    assert header["TCOMM5"] == FIELDS[4].description.strip()
    assert header["TDIM6"] == "(5,4)" and header["TUNIT4"] == "nJy"
    assert header["TNULL8"] == -9999 and header["TNULL7"] == -(2**15) and "TNULL14" not in header
    history, comment = "".join(header["HISTORY"]), "".join(header["COMMENT"])
    assert "b" * 90 in history and "pipeline = quickstart" in history and "creator = A. Str?m" in history
    assert "flux_g filter = SLOAN/SDSS.g" in comment and "linear between points " * 2 in comment


def test_fits_text_of_partitions_of_different_width(tmp_path):
    fields = (OBJECT_ID,)
    chunks = [QTable({"object_id": i}) for i in (["a", "bb"], ["cccccc"], ["d"])]
    assert list(read_fits(write(Fits, tmp_path / "out.fits", chunks, fields))["object_id"]) == [
        "a",
        "bb",
        "cccccc",
        "d",
    ]


def test_fits_refuses_text_that_is_not_ascii(tmp_path):
    chunk = make_chunk(3)
    chunk["name"] = ["a", "Ångström", "b"]
    with pytest.raises(OutputError, match=r"fits: column 'name' holds 'Ångström' \(row 1 of the partition\)"):
        write(Fits, tmp_path / "out.fits", [chunk])
    assert not any(p.is_file() for p in tmp_path.rglob("*"))


def test_fits_refuses_the_null_among_the_values(tmp_path):
    chunk = QTable({"i": MaskedColumn(np.array([-(2**15), 5], "i2"), mask=[False, True])})
    with pytest.raises(OutputError, match="column 'i' has missing values and the value -32768"):
        write(Fits, tmp_path / "out.fits", [chunk], (Field(name="i", kind="i2"),))


@pytest.mark.parametrize(
    ("kind", "field", "message"),
    [
        (Fits, Field(name="naïve"), "fits: column 'naïve' needs a name"),
        (Fits, Field(name="x", unit="mag(AB)"), "fits: column 'x' has unit 'mag\\(AB\\)'"),
        (Fits, Field(name="x", kind="str", shape=(2,)), "fits: column 'x' holds arrays of text"),
        (Parquet, Field(name="x", ucd="stat.pdf"), "parquet: column 'x' has UCD 'stat.pdf'"),
    ],
)
def test_preflight_names_the_column(kind, field, message):
    with pytest.raises(ChunkError, match=message):
        kind(path="x").reads((RA, field))


def test_stilts_reads_the_fits(tmp_path):
    if shutil.which("stilts") is None:
        pytest.skip("stilts is not installed: apt-get install stilts")
    path = write(Fits, tmp_path / "out.fits", [make_chunk()])
    command = ["stilts", "tpipe", str(path), "cmd=keepcols 'object_id i4 i8 star name'", "ofmt=csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    rows = [line.split(",") for line in done.stdout.splitlines()]
    chunk = make_chunk()
    assert rows[1] == [str(2**62), str(chunk["i4"][0]), str(chunk["i8"][0]), "true", "a"]
    assert rows[2] == [str(2**62 + 1), "", "", "false", ""]


@pytest.mark.parametrize("cuts", [(7,), (0, 3, 0, 4), (0,)])
def test_parquet_reads_back_equal(tmp_path, cuts):
    chunk = make_chunk()[: sum(cuts)]
    ends = np.cumsum(cuts)
    path = write(Parquet, tmp_path / "out.parquet", [chunk[e - c : e] for c, e in zip(cuts, ends, strict=True)])
    # Astropy's reader turns integers with nulls into floats; the values are the same.
    table = Table.read(path)
    assert_equal(chunk, table, flat=len(chunk) > 0, masked_integers=False) if len(chunk) else None
    assert table["flux_g"].description == "Flux in band g (filter SLOAN/SDSS.g, photometry model)"
    assert table["z_pdf"].meta["z_max"] == 1.1
    arrow = parquet.read_table(path)
    assert len(arrow) == len(chunk)
    for kind in ("i2", "i4", "i8"):
        assert arrow[kind].type == pa.from_numpy_dtype(kind)
        assert arrow[kind].to_pylist() == np.ma.asanyarray(chunk[kind]).tolist()
    assert arrow["name"].to_pylist() == list(chunk["name"])


def test_parquet_metadata(tmp_path):
    path = write(Parquet, tmp_path / "out.parquet", [make_chunk(), make_chunk(4)])
    layout = parquet.read_schema(path)
    flux, pdf = (
        {k.decode(): v.decode() for k, v in layout.field(name).metadata.items() if not k.startswith(b"PARQUET:")}
        for name in ("flux_g", "z_pdf")
    )
    assert flux["unit"] == "nJy" and flux["ucd"] == "phot.flux.density" and flux["filter"] == "SLOAN/SDSS.g"
    assert pdf["z_max"] == "1.1" and pdf["shape"] == "6"
    assert layout.field("stamp").metadata[b"shape"] == b"4,5"
    assert layout.metadata[b"pipeline"] == b"quickstart" and layout.metadata[b"creator"] == "A. Ström".encode()
    assert parquet.ParquetFile(path).num_row_groups == 2


def test_parquet_with_a_votable_header(tmp_path):
    """Short texts only: the VOTable writer breaks the lines of long ones."""
    chunk = make_chunk()
    del chunk["stamp"], chunk["seen"]
    fields = (f.model_copy(update={"description": f.description[:20]}) for f in FIELDS if f.name in chunk.colnames)
    fields = tuple(fields)
    for name in ("i2", "i4", "i8"):
        chunk[name] = Column(np.ma.getdata(chunk[name]))
    table = Table.read(write(Parquet, tmp_path / "out.parquet", [chunk], fields), format="parquet.votable")
    assert len(table) == 7
    assert str(table["ra"].unit) == "deg" and table["z_pdf"].shape == (7, 6)
    np.testing.assert_array_equal(table["object_id"], chunk["object_id"])


def test_parquet_masked_text_and_booleans(tmp_path):
    fields = (Field(name="t", kind="str"), Field(name="b", kind="bool"), Field(name="c", kind="i2", shape=(2,)))
    mask = [False, True]
    chunk = QTable({"t": MaskedColumn(["é", "x"], mask=mask), "b": MaskedColumn([True, False], mask=mask)})
    chunk["c"] = MaskedColumn(np.array([[1, 2], [3, 4]], "i2"), mask=[mask, mask])
    arrow = parquet.read_table(write(Parquet, tmp_path / "out.parquet", [chunk], fields))
    # Missing text is the empty text, in chunks and in products.
    assert arrow.to_pydict() == {"t": ["é", ""], "b": [True, None], "c": [[1, None], [3, None]]}


def test_parquet_without_partitions(tmp_path):
    arrow = parquet.read_table(write(Parquet, tmp_path / "out.parquet", []))
    assert arrow.column_names == [f.name for f in FIELDS] and len(arrow) == 0


def test_parquet_refuses_identifiers_of_two_types(tmp_path):
    chunks = [QTable({"object_id": [1, 2]}), QTable({"object_id": ["a", "b"]})]
    with pytest.raises(OutputError, match=r"out\.parquet: column 'object_id' is i8 \[\] in one partition and str"):
        write(Parquet, tmp_path / "out.parquet", chunks, (OBJECT_ID,))


@pytest.mark.parametrize("kind", [Fits, Parquet])
def test_same_input_gives_the_same_bytes(tmp_path, kind):
    chunks = [make_chunk(30), make_chunk(4)]
    assert (
        write(kind, tmp_path / "a" / "x", chunks).read_bytes() == write(kind, tmp_path / "b" / "x", chunks).read_bytes()
    )


@contextmanager
def room(size):
    """No file may grow beyond ``size`` bytes: what a full disk or a quota looks like."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", [Fits, Parquet])
def test_full_disk_leaves_nothing(tmp_path, kind):
    path, output, piece = tmp_path / "out", kind(path="out"), tmp_path / "pieces" / "0"
    path.write_text("old")
    facts = output.write(make_chunk(9000), FIELDS, piece)
    with room(100_000), pytest.raises(OutputError, match=rf"^{path}: cannot be written: .*File too large"):
        output.close([(piece, facts)], Product(path, FIELDS, PROVENANCE))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "pieces"]
    assert path.read_text() == "old"
