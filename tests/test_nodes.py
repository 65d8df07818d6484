"""YAML nodes: places, source text, and what is refused."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrokeras.spec.nodes import MAX_BYTES, MAX_DEPTH, Mapping, Place, Scalar, Sequence, parse_yaml, plain, read_yaml

# Short texts that mean something to YAML, for texts that are nearly right.
FRAGMENTS = (
    *("{", "}", "[", "]", ":", ": ", "- ", ",", "\n", "\n  ", "\t", " ", '"', "'", "\\", "\\U", "\\uD800"),
    *("\\x0", "&a ", "*a", "!", "!!int ", "!<", "%YAML 1.1\n", "%TAG ! x\n", "---", "...", "|", "|2", ">-", "? ", "#"),
    *("@", "`", "é", "\u2028", "\x85", "\ufeff", "<<", "0x", "~", "null", "a", "b: 1\n", "\r\n", "\x00", "1e-3"),
    "\\UFFFFFFFF",
)


def parse(text):
    problems = []
    return parse_yaml(text, "f.yaml", problems), problems


def refusal(text):
    """Return the only problem of a text."""
    _, problems = parse(text)
    assert len(problems) == 1, problems
    return problems[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-5", -5),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e-3", 0.001),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-05.5", -5.5),
        ("1.", 1.0),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        # Text, where other readers of YAML see 10, 45045, False, a date or a number beyond all bounds.
        ("012", "012"),
        ("12:30:45", "12:30:45"),
        ("-05:30:00", "-05:30:00"),
        ("no", "no"),
        ("off", "off"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("'12'", "12"),
        ('"true"', "true"),
        ("''", ""),
    ],
)
def test_scalars_mean_what_they_say(text, value):
    node, problems = parse(f"a: {text}\n")
    got = plain(node)["a"]
    assert not problems
    assert got == value
    assert type(got) is type(value)


def test_nan_is_a_number():
    assert math.isnan(plain(parse("[.nan]")[0])[0])


def test_every_value_and_key_has_its_place():
    node, _ = parse("a: 1\n# comment\nlong key:   [x, 'y z',\n    w]\nmap:\n  - {p: q}\n")
    assert node.keys == {"a": Place("f.yaml", 1, 1), "long key": Place("f.yaml", 3, 1), "map": Place("f.yaml", 5, 1)}
    assert node.values["a"] == Scalar("1", Place("f.yaml", 1, 4))
    assert [item.place[1:] for item in node.values["long key"].items] == [(3, 14), (3, 17), (4, 5)]
    inner = node.values["map"].items[0]
    assert inner.keys["p"][1:] == (6, 6)
    assert inner.values["p"].place[1:] == (6, 9)
    assert plain(node) == {"a": 1, "long key": ["x", "y z", "w"], "map": [{"p": "q"}]}


def test_an_empty_value_is_at_its_key():
    node, _ = parse("a:\nb: 2\n")
    assert node.values["a"].place[1:] == (1, 1)


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("", 1, 1, "empty"),
        ("# only a comment\n", 2, 1, "empty"),
        ("a: 1\nb: 2\na: 3\n", 3, 1, "key 'a' was given before, on line 1"),
        ("a: {x: 1,\n  x: 2}", 2, 3, "given before, on line 1"),
        ("a: &x 1\n", 1, 4, "anchor '&x'"),
        ("a:\n  b: *x\n", 2, 6, "alias '*x'"),
        ("a: !!str 1\n", 1, 4, "tag"),
        ("a: !!python/object:os.system x\n", 1, 4, "tag"),
        ("a: 1\n---\nb: 1\n", 2, 1, "second document"),
        ("%YAML 1.1\n---\na: 1\n", 1, 1, "directives"),
        ("? [a]\n: 1\n", 1, 3, "a key is text"),
        ("a: {{x}}\n", 1, 5, "quotes"),
        ("a: 1\n\tb: 2\n", 2, 1, "a tab"),
        ("a: {data}/x.fits\n", 1, 10, "a text that starts with '{' needs quotes"),
        ("a: 'x\n", 2, 1, "not valid YAML"),
        ("a: [1, 2\nb: 3\n", 2, 2, "not valid YAML"),
        ("a: 1\nb: x\x07y\n", 2, 5, "U+0007"),
        ('a: 1\nb: "\\0"\n', 2, 4, "escape"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', 2, 1, "not valid YAML"),
        ("a: " + "[" * (MAX_DEPTH + 1), 1, MAX_DEPTH + 3, "nested deeper"),
    ],
)
def test_refused_at_its_line(text, line, column, said):
    problem = refusal(text)
    assert (problem.line, problem.column) == (line, column)
    assert said in problem.message


def test_several_problems_at_once():
    _, problems = parse("a: !x 1\na: 2\nb: &y 3\n")
    assert [p.line for p in problems] == [1, 2, 3]


def test_a_flood_of_problems_ends():
    node, problems = parse("a: 1\n" * 5000)
    assert node is None
    assert 100 <= len(problems) <= 110


def test_nesting_up_to_the_limit():
    node, problems = parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert isinstance(node, Sequence)
    assert not problems


def test_reads_a_file_with_bom_and_crlf(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: \xc3\xa9\r\nb: 2\r\n")
    node = read_yaml(path, [])
    assert isinstance(node, Mapping)
    assert plain(node) == {"a": "é", "b": 2}
    assert node.keys["b"] == Place(str(path), 2, 1)


@pytest.mark.parametrize(
    ("data", "line", "column", "said"),
    [
        (b"a: 1\nb: \xe9t\xe9\n", 2, 4, "byte 0xe9 is not UTF-8"),
        (b"a: \xc3\xa9 \xff\n", 1, 6, "byte 0xff"),
        ("a: 1\n".encode("utf-16"), 1, 1, "is not UTF-8; save the file as UTF-8"),
        (b"\x89PNG\r\n\x1a\n", 1, 1, "byte 0x89"),
        (b"a\x00b", 1, 2, "U+0000"),
    ],
)
def test_bytes_that_are_no_text(tmp_path, data, line, column, said):
    path = tmp_path / "x.yaml"
    path.write_bytes(data)
    problems = []
    assert read_yaml(path, problems) is None
    assert [(p.line, p.column) for p in problems] == [(line, column)]
    assert said in problems[0].message


def test_files_that_cannot_be_read(tmp_path):
    problems = []
    assert read_yaml(tmp_path / "absent.yaml", problems) is None
    assert read_yaml(tmp_path, problems) is None
    assert read_yaml("a\0b", problems) is None
    assert "no such file" in str(problems[0])
    assert "not a file" in str(problems[1])


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    problems = []
    assert read_yaml(path, problems) is None
    assert "100000000 bytes" in problems[0].message
    assert str(MAX_BYTES) in problems[0].message


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join) | st.text(max_size=30))
def test_any_text_gives_a_node_or_problems(text):
    node, problems = parse(text)
    assert node is not None or problems
    lines = len(text.splitlines()) + 1
    assert all(1 <= p.line <= lines and p.column >= 1 and str(p) for p in problems)


@settings(max_examples=100, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back(number):
    assert plain(parse(f"a: {number!r}")[0])["a"] == number


_words = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9:+._/@-]{0,12}[A-Za-z0-9]", fullmatch=True)


@settings(max_examples=100, deadline=None)
@given(_words)
def test_source_text_is_kept(text):
    node, problems = parse(f"- {text}\n")
    assert not problems
    assert node.items[0].text == text
