"""Names of the fields of a fan-out."""

import pytest
import tiny_parts

from astrokeras.errors import SpecError
from astrokeras.spec import field_names, load

REST = """
source:
  stars: {files: "{field}.fits"}
outputs:
  - votable: {path: "{field}.vot"}
"""


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    """Parts of the tests instead of those of astrokeras."""
    tiny_parts.install(monkeypatch)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def names(tmp_path):
    """Return a function that gives the names for a value of ``fields:``."""

    def names(fields):
        (tmp_path / "p.yaml").write_text(f"astrokeras: 1\nfields: {fields}" + REST)
        return field_names(load("p.yaml", env={}))

    return names


def touch(tmp_path, *paths):
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")


def test_a_list_keeps_its_order_and_its_text(names):
    assert names("[b, 012, a, 1e3, no]") == ("b", "012", "a", "1e3", "no")


def test_folders(names, tmp_path):
    touch(tmp_path, "sky/b.1/photo.fits", "sky/a/photo.fits", "sky/.hidden/photo.fits", "sky/c/other.fits", "sky/d.txt")
    assert names("{glob: 'sky/*/'}") == ("a", "b.1", "c")
    assert names("{glob: 'sky/*/photo.fits'}") == ("a", "b.1")


def test_files_lose_what_follows_the_wildcard(names, tmp_path):
    touch(tmp_path, "sky/s1.v2.fits.gz", "sky/s2.fits.gz", "sky/s3.fits")
    assert names("{glob: 'sky/*.fits.gz'}") == ("s1.v2", "s2")
    assert names("{glob: 'sky/s[23].fits*'}") == ("s2.fits.gz", "s3.fits")


@pytest.mark.parametrize(
    ("name", "content", "fields"),
    [
        ("f.txt", "# fields\nb\n\n 012 \n", "{path: f.txt}"),
        ("f.csv", "\ufefffield,ra\nb,1\n012,2\n", "{path: f.csv, column: field}"),
        ("f.csv", "name\nb\n012\n", "{path: f.csv}"),
        ("f.tsv", "ra\tname\n1\tb\n2\t012\n", "{path: f.tsv, column: name}"),
        ("f.ecsv", "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: n}\nra n\n1 b\n2 012\n", "{path: f.ecsv, column: n}"),
        ("f.ecsv", "# %ECSV 1.0\n# ---\n# delimiter: ','\nra,n\n1,b\n2,012\n", "{path: f.ecsv, column: n}"),
    ],
)
def test_tables(names, tmp_path, name, content, fields):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert names(f"{{table: {fields}}}") == ("b", "012")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("{glob: 'sky/*/'}", "nothing matches 'sky/*/'"),
        ("{glob: 'sky/a/'}", "needs a wildcard in exactly one step of the path"),
        ("{glob: '*/*/'}", "needs a wildcard in exactly one step of the path"),
        ("{glob: '**/x'}", "needs a wildcard in exactly one step of the path"),
        ("{table: {path: no.csv}}", "no.csv cannot be read: No such file"),
        ("{table: {path: latin.csv}}", "latin.csv cannot be read"),
        ("{table: {path: empty.txt}}", "empty.txt holds no names"),
        ("{table: {path: two.csv}}", "two.csv has several columns (field, ra): say which with 'column'"),
        ("{table: {path: two.csv, column: fild}}", "two.csv has no column 'fild'; did you mean 'field'?"),
        ("{table: {path: gap.csv, column: field}}", "gap.csv, row 2: column 'field' is empty"),
        ("{table: {path: long.csv}}", "long.csv: field larger than field limit"),
        ("{table: {path: twice.txt}}", "twice.txt gives field 'a' twice"),
        ("{table: {path: slash.txt}}", "slash.txt: 'a/b' cannot name a field"),
    ],
)
def test_mistakes(names, tmp_path, fields, said):
    files = {
        "empty.txt": "# nothing\n",
        "two.csv": "field,ra\na,1\n",
        "gap.csv": "field,ra\na,1\n,2\n",
        "twice.txt": "a\nb\na\n",
        "slash.txt": "a/b\n",
        "long.csv": f"field\n{'x' * 200_000}\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "latin.csv").write_bytes(b"field\n\xe9\n")
    with pytest.raises(SpecError) as caught:
        names(fields)
    assert len(caught.value.problems) == 1
    assert str(caught.value).startswith("p.yaml:2:1: fields: ")
    assert said in str(caught.value)
