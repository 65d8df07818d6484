"""Parquet and VOTable; telling formats apart."""

import base64
import gzip
import re
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io.votable import from_table, writeto
from astropy.table import MaskedColumn, Table

from astrokeras.errors import IngestError
from astrokeras.ingest.formats import open_table
from astrokeras.ingest.tablefile import TableOptions
from astrokeras.ingest.votable_streams import VOTableStream


def read(path, *names, options=None, max_rows=1000):
    table = open_table(str(path), options)
    parts = [table.read(names or table.names, cut) for cut in table.cuts(max_rows)]
    return {n: np.ma.concatenate([part[n].data for part in parts]) for n in parts[0]}


class TestParquet:
    def write(self, path, rows=10, group=4, **columns):
        table = pa.table({"x": pa.array(np.arange(rows), pa.int32())} | columns)
        pq.write_table(table, path, row_group_size=group)
        return path

    @pytest.mark.parametrize("max_rows", [1, 3, 4, 5, 9, 100])
    @pytest.mark.parametrize("group", [1, 4, 100])
    def test_cuts_cover_all_rows_once(self, tmp_path, max_rows, group):
        path = self.write(tmp_path / "t.parquet", group=group)
        cuts = list(open_table(str(path)).cuts(max_rows))
        assert [c.start for c in cuts] == [0] + [c.stop for c in cuts[:-1]]
        assert cuts[-1].stop == 10
        assert all(0 < c.stop - c.start <= max_rows for c in cuts)
        assert read(path, max_rows=max_rows)["x"].tolist() == list(range(10))

    def test_row_groups_are_kept_whole_where_they_fit(self, tmp_path):
        path = self.write(tmp_path / "t.parquet")
        assert [(c.start, c.stop) for c in open_table(str(path)).cuts(9)] == [(0, 8), (8, 10)]

    def test_types_and_nulls(self, tmp_path):
        path = self.write(
            tmp_path / "t.parquet",
            rows=3,
            f=pa.array([1.5, None, np.nan], pa.float32()),
            i=pa.array([1, None, 3], pa.int16()),
            b=pa.array([True, None, False]),
            s=pa.array(["a", None, "bc"]),
            d=pa.array(["p", "q", "p"]).dictionary_encode(),
            v=pa.array([[1.0, 2], [3, 4], [5, 6]], pa.list_(pa.float64(), 2)),
            w=pa.array([[1], [2], [3]]),
            n=pa.nulls(3),
            t=pa.array(["s", "t", None], pa.large_string()),
        )
        found = read(path)
        np.testing.assert_array_equal(found["f"], np.float32([1.5, np.nan, np.nan]))
        assert found["f"].dtype == np.float32
        assert np.ma.getmaskarray(found["i"]).tolist() == [False, True, False]
        assert np.ma.getmaskarray(found["b"]).tolist() == [False, True, False]
        assert found["s"].tolist() == ["a", "", "bc"]
        assert found["d"].tolist() == ["p", "q", "p"]
        assert found["v"].tolist() == [[1, 2], [3, 4], [5, 6]]
        assert found["w"].tolist() == [[1], [2], [3]]
        assert np.isnan(found["n"]).all()
        assert found["t"].tolist() == ["s", "t", ""]

    def test_vectors_across_cuts(self, tmp_path):
        vectors = pa.array(np.arange(30.0).reshape(10, 3).tolist(), pa.list_(pa.float64(), 3))
        path = self.write(tmp_path / "t.parquet", group=10, v=vectors)
        np.testing.assert_array_equal(read(path, "v", max_rows=3)["v"], np.arange(30.0).reshape(10, 3))

    def test_unit_in_the_metadata(self, tmp_path):
        schema = pa.schema([pa.field("f", pa.float64(), metadata={"unit": "uJy"})])
        pq.write_table(pa.table({"f": [1.0]}, schema=schema), tmp_path / "t.parquet")
        table = open_table(str(tmp_path / "t.parquet"))
        assert table.read(["f"], next(table.cuts(5)))["f"].unit == "uJy"

    def test_no_rows(self, tmp_path):
        path = self.write(
            tmp_path / "t.parquet", rows=0, s=pa.array([], pa.string()), v=pa.array([], pa.list_(pa.int8(), 2))
        )
        assert len(read(path, "x")["x"]) == len(read(path, "s")["s"]) == 0

    def test_refused(self, tmp_path):
        path = self.write(tmp_path / "t.parquet", rows=2, v=pa.array([[1], [1, 2]]), m=pa.array([{"a": 1}, {"a": 2}]))
        with pytest.raises(IngestError, match="column 'v': has rows of different lengths"):
            read(path, "v")
        with pytest.raises(IngestError, match="column 'm': type struct<a: int64> is not read"):
            read(path, "m")

    def test_damaged(self, tmp_path):
        path = self.write(tmp_path / "t.parquet")
        raw = path.read_bytes()
        path.write_bytes(raw[:-20])
        with pytest.raises(IngestError, match="damaged Parquet"):
            open_table(str(path))
        table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
        pq.write_table(table, path)
        with pytest.raises(IngestError, match="column a occurs more than once"):
            open_table(str(path))


class TestVOTable:
    TABLE = Table(
        {
            "id": [1, 2, 3],
            "flux": MaskedColumn(np.float32([1.5, 2.5, np.nan]), mask=[0, 1, 0], unit="uJy"),
            "n": MaskedColumn(np.int16([4, 5, 6]), mask=[0, 0, 1]),
            "name": ["a", "bc", ""],
            "v": np.arange(6.0).reshape(3, 2),
            "ok": [True, False, True],
        }
    )

    @pytest.mark.parametrize("serialisation", ["tabledata", "binary", "binary2"])
    def test_serialisations(self, tmp_path, serialisation):
        path = tmp_path / "t.xml"
        taken = self.TABLE.copy()
        if serialisation == "binary":
            # astropy cannot write masked integers so.
            taken["n"] = taken["n"].filled(6)
        writeto(from_table(taken), str(path), tabledata_format=serialisation)
        found = read(path, max_rows=2)
        assert found["id"].tolist() == [1, 2, 3]
        np.testing.assert_array_equal(found["flux"], np.float32([1.5, np.nan, np.nan]))
        assert found["name"].tolist() == ["a", "bc", ""]
        assert found["v"].tolist() == [[0, 1], [2, 3], [4, 5]]
        assert found["ok"].tolist() == [True, False, True]
        assert found["n"][:2].tolist() == [4, 5]
        if serialisation != "binary":
            assert np.ma.getmaskarray(found["n"]).tolist() == [False, False, True]
        table = open_table(str(path))
        assert table.read(["flux"], next(table.cuts(9)))["flux"].unit == "uJy"
        assert all(found[n].dtype.isnative for n in found)

    @pytest.mark.parametrize("line", [1, 7, 64, 10**6])
    @pytest.mark.parametrize("max_rows", [1, 2, 5, 100])
    def test_streamed_records(self, tmp_path, line, max_rows):
        n, rng = 11, np.random.default_rng(line)
        table = Table(
            {
                "b": np.arange(n, dtype=np.uint8),
                "s": MaskedColumn(np.arange(n, dtype=np.int16), mask=rng.random(n) < 0.5),
                "l": rng.integers(-(2**62), 2**62, n),
                "f": MaskedColumn(
                    rng.normal(size=(n, 3)).astype(np.float32), mask=rng.random((n, 3)) < 0.3, unit="uJy"
                ),
                "d": rng.normal(size=n),
                "t": MaskedColumn(["", "a", "long text"] * 3 + ["é", "b"], mask=[False] * (n - 1) + [True]),
                "ok": rng.random(n) < 0.5,
            }
        )
        path = tmp_path / "t.xml"
        writeto(from_table(table), str(path), tabledata_format="binary2")
        head, stream, tail = re.split(r"(?<=base64.>)|(?=</STREAM>)", path.read_text())
        text = "".join(stream.split())
        lines = "\n      ".join(text[i : i + line] for i in range(0, len(text), line))
        path.write_text(f"{head}\n{lines}\n{tail}")
        assert isinstance(open_table(str(path)), VOTableStream)
        found = read(path, max_rows=max_rows)
        expected = Table.read(path, format="votable")
        # astropy loses the mask of text.
        assert found["t"].tolist() == table["t"].filled("").tolist()
        for name in ("b", "s", "l", "ok"):
            known = ~np.ma.getmaskarray(expected[name])
            np.testing.assert_array_equal(np.ma.getmaskarray(found[name]), ~known)
            np.testing.assert_array_equal(np.ma.getdata(found[name])[known], expected[name][known])
        for name in ("f", "d"):
            np.testing.assert_array_equal(found[name], np.ma.filled(expected[name], np.nan))

    def test_texts_of_one_byte_per_letter(self, tmp_path):
        path = tmp_path / "t.xml"
        rows = b"".join(b"\0" + text.ljust(6, b"\0") for text in (b"a b  ", b"", b"x\0junk", "é".encode()))
        data = f"<DATA><BINARY2><STREAM encoding='base64'>{base64.b64encode(rows).decode()}</STREAM></BINARY2></DATA>"
        path.write_text(self.document(f'<TABLE><FIELD name="a" datatype="char" arraysize="6"/>{data}</TABLE>'))
        assert isinstance(open_table(str(path)), VOTableStream)
        assert read(path)["a"].tolist() == ["a b", "", "x", "é"]

    def test_binary_with_null_values(self, tmp_path):
        path = tmp_path / "t.xml"
        rows = b"".join(
            struct.pack(">hf1s", n, f, ok) for n, f, ok in ((1, 1.5, b"T"), (-9, np.nan, b"F"), (3, -1.0, b"?"))
        )
        fields = (
            '<FIELD name="n" datatype="short"><VALUES null="-9"/></FIELD><FIELD name="f" datatype="float"/>'
            '<FIELD name="ok" datatype="boolean"/>'
        )
        data = f'<DATA><BINARY><STREAM encoding="base64">{base64.b64encode(rows).decode()}</STREAM></BINARY></DATA>'
        path.write_text(self.document(f"<TABLE>{fields}{data}</TABLE>"))
        assert isinstance(open_table(str(path)), VOTableStream)
        found = read(path, max_rows=2)
        assert found["n"].tolist() == [1, None, 3]
        np.testing.assert_array_equal(found["f"], np.float32([1.5, np.nan, -1]))
        assert found["ok"].tolist() == [True, False, None]

    def test_packed(self, tmp_path):
        path = tmp_path / "t.xml"
        writeto(from_table(Table({"d": np.arange(9.0)})), str(path), tabledata_format="binary2")
        path.write_bytes(gzip.compress(path.read_bytes()))
        assert read(path, max_rows=4)["d"].tolist() == list(range(9))

    def test_records_without_rows(self, tmp_path):
        path = tmp_path / "t.xml"
        writeto(from_table(Table({"d": np.arange(0.0), "t": np.empty(0, "U3")})), str(path), tabledata_format="binary2")
        found = read(path)
        assert len(found["d"]) == len(found["t"]) == 0

    def test_damaged_stream(self, tmp_path):
        path = tmp_path / "t.xml"
        writeto(from_table(Table({"d": np.arange(100.0), "n": np.arange(100)})), str(path), tabledata_format="binary2")
        text = path.read_text()
        place = text.index("</STREAM>") - 60
        path.write_text(text[: place - 40] + text[place:])
        with pytest.raises(IngestError, match="truncated"):
            read(path)
        path.write_text(text[: place - 40] + "!" * 40 + text[place:])
        with pytest.raises(IngestError, match="no base64"):
            read(path)
        path.write_text(text[:place])
        with pytest.raises(IngestError, match="no readable VOTable"):
            open_table(str(path))

    def test_a_service_may_fail_after_the_rows(self, tmp_path):
        path = tmp_path / "t.xml"
        writeto(from_table(Table({"d": np.arange(100.0)})), str(path), tabledata_format="binary2")
        info = '<INFO name="QUERY_STATUS" value="ERROR">disk full</INFO>'
        path.write_text(path.read_text().replace("</TABLE>", f"</TABLE>{info}"))
        with pytest.raises(IngestError, match="disk full"):
            open_table(str(path))

    def document(self, tables="", infos=""):
        head = '<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        return f"{head}<RESOURCE type='results'>{infos}{tables}</RESOURCE></VOTABLE>"

    FIELD = '<FIELD name="a" datatype="int"/>'
    ROWS = '<TABLE name="{}">' + FIELD + "<DATA><TABLEDATA><TR><TD>{}</TD></TR></TABLEDATA></DATA></TABLE>"

    @pytest.mark.parametrize(
        ("infos", "message"),
        [
            (
                '<INFO name="QUERY_STATUS" value="ERROR">table gaia.\n unknown</INFO>',
                "the service answered with an error: table gaia. unknown",
            ),
            ('<INFO name="Error" value="no such object"/>', "the service answered with an error: no such object"),
        ],
    )
    def test_errors_of_a_service(self, tmp_path, infos, message):
        path = tmp_path / "t.xml"
        path.write_text(self.document(self.ROWS.format("t", 1), infos))
        with pytest.raises(IngestError, match=message):
            open_table(str(path))

    def test_overflow_is_said(self, tmp_path, caplog):
        path = tmp_path / "t.xml"
        path.write_text(self.document(self.ROWS.format("t", 1), '<INFO name="QUERY_STATUS" value="OVERFLOW"/>'))
        assert read(path)["a"].tolist() == [1]
        assert "cut the result short" in caplog.text

    def test_several_tables(self, tmp_path):
        path = tmp_path / "t.xml"
        path.write_text(self.document(self.ROWS.format("one", 1) + self.ROWS.format("two", 2)))
        with pytest.raises(IngestError, match=r"several tables; name one with `table:` \(0 one, 1 two\)"):
            open_table(str(path))
        assert read(path, options=TableOptions(table="two"))["a"].tolist() == [2]
        assert read(path, options=TableOptions(table=0))["a"].tolist() == [1]
        with pytest.raises(IngestError, match="no table 'three'"):
            open_table(str(path), TableOptions(table="three"))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "has no table"),
            ("<TABLE/>", "has no columns"),
            ('<TABLE><FIELD name="a" datatype="bar"/></TABLE>', "Unknown datatype"),
            ("<TABLE><FIELD", "no readable VOTable"),
        ],
    )
    def test_refused(self, tmp_path, text, message):
        path = tmp_path / "t.xml"
        path.write_text(self.document(text))
        with pytest.raises(IngestError, match=message):
            open_table(str(path))

    def test_no_rows(self, tmp_path):
        path = tmp_path / "t.xml"
        path.write_text(self.document('<TABLE><FIELD name="a" datatype="int"/></TABLE>'))
        assert len(read(path)["a"]) == 0

    def test_variable_length_cells(self, tmp_path):
        path = tmp_path / "t.xml"
        cells = "<DATA><TABLEDATA><TR><TD>1 2</TD></TR><TR><TD>3</TD></TR></TABLEDATA></DATA>"
        path.write_text(self.document(f'<TABLE><FIELD name="a" datatype="int" arraysize="*"/>{cells}</TABLE>'))
        with pytest.raises(IngestError, match="variable length"):
            read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n", "is HDF5; convert"),
        (b"PK\x03\x04....", "a zip archive"),
        (b"\x93NUMPY", "a numpy array"),
        (b"XTENSION= 'BINTABLE'", "FITS extension"),
        (b"\x00\x01\x02", "no catalog in a format that is read"),
        (b"<html><h1>404</h1>", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x1f\x8b\x08truncated", "cannot be read"),
        (b"SIMPLE  =  T", "truncated"),
    ],
)
def test_refused_whatever_the_name(tmp_path, content, message):
    for name in ("t.fits", "t.parquet", "t.csv"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(IngestError, match=message) as caught:
            open_table(str(path))
        assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(IngestError, match="no such file"):
        open_table(str(tmp_path / "x.fits"))
    with pytest.raises(IngestError, match="is no file"):
        open_table(str(tmp_path))


def test_a_changed_file_is_read_anew(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    assert read(path)["a"].tolist() == [1]
    path.write_text("a\n1\n2\n")
    assert read(path)["a"].tolist() == [1, 2]
