"""Text tables: what stands in them, told from the file, streamed in parts that agree."""

import csv
import gzip

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from astrokeras.errors import IngestError
from astrokeras.ingest.formats import open_table
from astrokeras.ingest.tablefile import TableOptions


def put(tmp_path, text, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return str(path)


def read(path, *names, options=None, max_rows=1000):
    table = open_table(path, options)
    parts = [table.read(names or table.names, cut) for cut in table.cuts(max_rows)]
    return {n: np.ma.concatenate([part[n].data for part in parts]) for n in parts[0]}


@pytest.mark.parametrize(
    "text",
    [
        "ra,dec,name\n1.5,-2,x\n3,4e1,y z\n",
        "ra;dec;name\n1,5;-2;x\n3;4e1;y z\n",
        "ra\tdec\tname\n1.5\t-2\tx\n3\t4e1\ty z\n",
        "ra|dec|name\n1.5|-2|x\n3|4e1|y z\n",
        '  ra   dec name\n 1.5  -2    x\n 3 \t 4e1 "y z"\n',
        '# ra dec name\n1.5 -2 x\n3 4e1 "y z"\n',
        '# a catalog\n#\n# ra dec name\n1.5 -2 x\n# a remark\n3 4e1 "y z"\n\n',
        "\ufeffra,dec,name\r\n1.5,-2,x\r\n3,4e1,y z\r\n",
        '"ra","dec","name"\n"1.5","-2","x"\n3,40,"y z"',
        "# made by us\nra,dec,name\n1.5,-2,x\n\n3,4e1,y z\n\n\n",
    ],
)
@pytest.mark.parametrize("max_rows", [1000, 1])
def test_dialects(tmp_path, text, max_rows):
    found = read(put(tmp_path, text), max_rows=max_rows)
    assert list(found) == ["ra", "dec", "name"]
    assert found["ra"].tolist() == [1.5, 3.0]
    assert found["dec"].tolist() == [-2.0, 40.0]
    assert found["name"].tolist() == ["x", "y z"]


def test_stated_dialect_wins(tmp_path):
    path = put(tmp_path, "a;b,c\n1;2,5\n")
    found = read(path, options=TableOptions(delimiter=";", decimal=","))
    assert found["b,c"].tolist() == [2.5]
    assert list(read(path, options=TableOptions(delimiter=","))) == ["a;b", "c"]
    with pytest.raises(IngestError, match="both ','"):
        read(path, options=TableOptions(delimiter=",", decimal=","))


def test_missing_values(tmp_path):
    text = "i,f,s,b\n1,1.5,NA,true\n,,,\nNaN,nan,x,false\n-9,inf,null,true\n"
    found = read(put(tmp_path, text))
    assert np.ma.getmaskarray(found["i"]).tolist() == [False, True, True, False]
    np.testing.assert_array_equal(found["f"], [1.5, np.nan, np.nan, np.inf])
    assert found["s"].tolist() == ["NA", "", "x", "null"]
    assert np.ma.getmaskarray(found["b"]).tolist() == [False, True, False, False]


def test_quoted_line_ends_are_no_row_ends(tmp_path):
    text = 'n,s\n1,"two\nlines"\n2,"one ""quoted"" word"\n3,x\n'
    for max_rows in (1, 2, 10):
        found = read(put(tmp_path, text), max_rows=max_rows)
        assert found["n"].tolist() == [1, 2, 3]
        assert found["s"].tolist() == ["two\nlines", 'one "quoted" word', "x"]


def test_parts_agree_on_types(tmp_path):
    text = "id,x\n" + "".join(f"{i},{i}\n" for i in range(5)) + "5,5.5\n"
    path = put(tmp_path, text)
    table = open_table(path)
    kinds = {part["x"].data.dtype.kind for part in (table.read(["x"], cut) for cut in table.cuts(3))}
    assert kinds == {"f"}


def test_late_surprises(tmp_path):
    many = "".join(f"{i},{i}\n" for i in range(100_000))
    found = read(put(tmp_path, f"id,x\n{many}7,8.5\n"), "id", "x", max_rows=70_000)
    assert found["x"][-1] == 8.5
    assert found["id"][-1] == 7
    with pytest.raises(IngestError, match="row 100001, column 'id': 'A7' is no double"):
        read(put(tmp_path, f"id,x\n{many}A7,8\n"), "id", max_rows=70_000)


def test_dates_and_sexagesimal_stay_text(tmp_path):
    found = read(put(tmp_path, "d,a,b\n2026-01-01,12:30:45,-05:30:00\n"))
    assert found["d"].tolist() == ["2026-01-01"]
    assert found["a"].tolist() == ["12:30:45"]
    assert found["b"].tolist() == ["-05:30:00"]


def test_large_integers_keep_every_digit(tmp_path):
    assert read(put(tmp_path, f"id\n{2**63 - 1}\n1237649768107474963\n"))["id"].tolist() == [
        2**63 - 1,
        1237649768107474963,
    ]


def test_packed(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n3,4\n5,6\n"))
    assert read(str(path), max_rows=2)["b"].tolist() == [2, 4, 6]
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 10**5)[:-50])
    with pytest.raises(IngestError, match="cannot be read"):
        read(str(path))


@pytest.mark.parametrize("text", ["a,b\n", "a,b", "a b\n\n", "# a b\n", "a,b\n# nothing\n"])
def test_header_only(tmp_path, text):
    found = read(put(tmp_path, text))
    assert list(found) == ["a", "b"]
    assert len(found["a"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", "row 2: has 1 value for 2 columns: '3'"),
        ("a,b\n1,2\n3,4,5\n", "row 2: has 3 values for 2 columns: '3,4,5'"),
        ("a,b\n1,2\n3,x\n" * 1, None),
        ("a,a\n1,2\n", "column a occurs more than once"),
        ("1,2\n3,4\n", "line 1: has no header line; the first one begins with '1,2'"),
        ("\n \n", "nothing but blanks"),
        ('a,b\n1,"2\n3,4\n', "ends within quotes, in a row from 1 on"),
        ("|  ra  |  dec |\n|real|real|\n 1 2\n", "an IPAC table"),
        ("a,b\r1,2\r", "lone carriage return"),
        ("<!DOCTYPE html>\n<html><body>503</body></html>", "is an HTML page"),
        ("  <HTML>\n", "is an HTML page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "run `git lfs pull`"),
        ("a,b\n1,\0\n", "no catalog in a format"),
        ("# %ECSV 1.0\n# ---\n# datatype: 7\na b\n1 2\n", "ECSV header cannot be understood"),
        ("# %ECSV 1.0\n# ---\n", "truncated"),
    ],
)
def test_refused(tmp_path, text, message):
    path = put(tmp_path, text)
    if message is None:
        assert read(path)["b"].tolist() == ["2", "x"]
        return
    with pytest.raises(IngestError, match=message) as caught:
        read(path)
    assert path in str(caught.value)


def test_encodings(tmp_path):
    with pytest.raises(IngestError, match="UTF-16"):
        read(put(tmp_path, "a,b\n1,2\n", encoding="utf-16"))
    with pytest.raises(IngestError, match="line 2: is no UTF-8"):
        read(put(tmp_path, "a,b\n1,\xe9\n", encoding="latin-1"))
    assert read(put(tmp_path, "é,b\n1,é\n"))["b"].tolist() == ["é"]


class TestECSV:
    @pytest.mark.parametrize("delimiter", [" ", ","])
    def test_equal_to_astropy(self, tmp_path, delimiter):
        table = Table(
            {
                "id": np.array([1, 2, 3], np.int32),
                "flux": MaskedColumn(np.float32([1.5, 2, np.nan]), mask=[0, 1, 0], unit="uJy"),
                "n": MaskedColumn([4, 5, 6], mask=[0, 0, 1]),
                "s": ["x y", "", "1"],
                "b": [True, False, True],
            }
        )
        path = tmp_path / "t.ecsv"
        table.write(path, format="ascii.ecsv", delimiter=delimiter)
        found = read(str(path), max_rows=2)
        assert found["id"].tolist() == [1, 2, 3]
        np.testing.assert_array_equal(found["flux"], np.float32([1.5, np.nan, np.nan]))
        assert np.ma.getmaskarray(found["n"]).tolist() == [False, False, True]
        assert found["s"].tolist() == ["x y", "", "1"]
        assert found["b"].tolist() == [True, False, True]
        native = open_table(str(path)).read(["flux", "id"], next(open_table(str(path)).cuts(9)))
        assert (native["flux"].unit, native["id"].unit) == ("uJy", "")

    def test_arrays_are_refused(self, tmp_path):
        path = tmp_path / "t.ecsv"
        Table({"a": [1, 2], "v": np.ones((2, 3))}).write(path)
        assert read(str(path), "a")["a"].tolist() == [1, 2]
        with pytest.raises(IngestError, match="column 'v': arrays in ECSV"):
            read(str(path), "v")


def test_sextractor(tmp_path):
    text = (
        "#   1 NUMBER                 Running object number\n"
        "#   2 FLUX_APER              Flux vector within fixed circular aperture(s)  [count]\n"
        "#   5 ALPHA_J2000            Right ascension of barycenter (J2000)          [deg]\n"
        "         1   10.5  11.5 12.5  150.1\n"
        "         2   20.5  21.5 22.5  150.2\n"
    )
    path = put(tmp_path, text, "t.cat")
    found = read(path, max_rows=1)
    assert list(found) == ["NUMBER", "FLUX_APER[0]", "FLUX_APER[1]", "FLUX_APER[2]", "ALPHA_J2000"]
    assert found["FLUX_APER[1]"].tolist() == [11.5, 21.5]
    table = open_table(path)
    native = table.read(["ALPHA_J2000", "FLUX_APER[2]", "NUMBER"], next(table.cuts(9)))
    assert [native[n].unit for n in native] == ["deg", "count", ""]
    assert len(read(put(tmp_path, text[: text.index("         1")], "e.cat"))["NUMBER"]) == 0


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**62), 2**62),
            st.floats(allow_nan=False),
            st.text(st.characters(codec="utf-8", exclude_characters="\r\0#", exclude_categories=["Cs"]), max_size=8),
        ),
        max_size=12,
    ),
    max_rows=st.integers(1, 5),
)
def test_round_trip(tmp_path_factory, rows, max_rows):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(["i", "f", "s"])
        writer.writerows((i, repr(f) and f, f"t{s}") for i, f, s in rows)
    found = read(str(path), max_rows=max_rows)
    assert found["i"].tolist() == [i for i, _, _ in rows]
    assert found["f"].tolist() == [f for _, f, _ in rows]
    assert found["s"].tolist() == [f"t{s}" for _, _, s in rows]
