"""YAML 1.2 as a tree of nodes that keep the line, the column and the source text of every value.

A value is only given a type when a parameter asks for one: ``012``, ``no``, ``2026-01-01`` and ``-05:30:00`` stay the
text they are, ``1e-3`` is a number where a number is wanted. Anchors, aliases, tags, duplicate keys and several
documents are refused: in a file of settings each of them hides where a value comes from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import Problem

#: Largest file read, in bytes; a pipeline of a thousand stages is a tenth of it.
MAX_BYTES = 1_000_000
#: Deepest nesting of lists and mappings.
MAX_DEPTH = 32
#: Problems after which a file is given up.
MAX_PROBLEMS = 100

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
}
# The length is bounded, because int() of a text of thousands of digits is refused by Python.
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,99})")
_BASED = re.compile(r"0x[0-9a-fA-F]{1,64}|0o[0-7]{1,64}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+")
# What YAML does not allow in a file, plus lone surrogates, which no other file format takes.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BARE_BRACE = re.compile(r"(:|-|,|\[)\s+\{[A-Za-z_]\w*\}\s*[^\s,}\]#]")


class Place(NamedTuple):
    """Where something was written; line and column count from 1."""

    file: str
    line: int
    column: int

    def problem(self, message: str) -> Problem:
        """Return a problem at this place."""
        return Problem(self.file, self.line, self.column, message)


@dataclass(frozen=True)
class Scalar:
    """One value, as written; ``quoted`` text is text whatever it looks like."""

    text: str
    place: Place
    quoted: bool = False


@dataclass(frozen=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True)
class Mapping:
    """A mapping; ``keys`` holds the places of the keys, ``place`` that of the first of them."""

    place: Place
    values: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)

    def with_value(self, key: str, value: Node, place: Place | None = None) -> Mapping:
        """Return a mapping with one value replaced or added; ``place`` is the new one of its key."""
        keys = {**self.keys, key: place or self.keys.get(key, value.place)}
        return Mapping(self.place, {**self.values, key: value}, keys)


Node = Scalar | Sequence | Mapping


def resolve(scalar: Scalar) -> Any:
    """Value of a scalar by the YAML 1.2 core schema, with one difference: ``012`` is text, not 12.

    Returns
    -------
    None, bool, int, float or str
        Numbers beyond the range of a double, and integers of more than 100 digits, are text as well.
    """
    text = scalar.text
    if scalar.quoted:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def is_null(node: Node) -> bool:
    """Whether nothing was written (or ``null``)."""
    return isinstance(node, Scalar) and resolve(node) is None


def child(node: Node | None, step: str | int) -> Node | None:
    """Node below a key or an index; None if there is none."""
    if isinstance(node, Mapping):
        return node.values.get(step)
    if isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
        return node.items[step]
    return None


def plain(node: Node) -> Any:
    """Python value of a node: dict, list, or what `resolve` makes of a scalar."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.values.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return resolve(node)


def read_yaml(path: str | Path, problems: list[Problem]) -> Node | None:
    """Read a YAML file; problems are added to the list.

    Parameters
    ----------
    path : str or Path
        UTF-8 text of at most 1 MB.
    problems : list of Problem
        Gets one entry for everything found; the file is not parsed when it is too large.

    Returns
    -------
    node : Node or None
        None where the file cannot be used at all.
    """
    start = Place(str(path), 1, 1)
    try:
        if not Path(path).is_file():
            raise OSError("no such file" if not Path(path).exists() else "not a file")
        size = Path(path).stat().st_size
        data = Path(path).read_bytes() if size <= MAX_BYTES else b""
    except (OSError, ValueError) as error:
        problems.append(start.problem(f"cannot be read: {getattr(error, 'strerror', None) or error}"))
        return None
    if size > MAX_BYTES:
        problems.append(start.problem(f"the file has {size} bytes; a YAML file may have {MAX_BYTES}"))
        return None
    text = _decode(data, start, problems)
    return None if text is None else parse_yaml(text, str(path), problems)


def _decode(data: bytes, start: Place, problems: list[Problem]) -> str | None:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8-sig")) + 1
        place = Place(start.file, before.count(b"\n") + 1, column)
        problems.append(place.problem(f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"))
        return None


def parse_yaml(text: str, file: str, problems: list[Problem]) -> Node | None:
    """Parse YAML text; ``file`` is what the problems name.

    Returns
    -------
    node : Node or None
        None where the text cannot be used at all.
    """
    # Imported here, so that the nodes cost nothing where no file is read.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if bad := _FORBIDDEN.search(text):
        before = text[: bad.start()]
        place = Place(file, before.count("\n") + 1, bad.start() - before.rfind("\n"))
        problems.append(place.problem(f"character U+{ord(bad[0]):04X} is not allowed in YAML"))
        return None
    composer = _Composer(YAML(typ="safe", pure=True).parse(text), file, problems)
    try:
        return composer.document()
    except _StopError:
        return None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else composer.last
        problems.append(place.problem(_syntax(error, text, place.line)))
    except (YAMLError, ValueError, OverflowError) as error:
        # Escapes such as "\UFFFFFFFF" leave ruamel.yaml as the error of chr().
        problems.append(composer.last.problem(f"not valid YAML after this: {str(error).splitlines()[0]}"))
    return None


def _syntax(error: Any, text: str, line: int) -> str:
    found = error.problem or error.context or "not understood"
    if "'\\t'" in found:
        return "a tab; YAML is indented with spaces"
    message = f"not valid YAML: {found}" + (f" {error.context}" if error.problem and error.context else "")
    if _BARE_BRACE.search("".join(text.splitlines()[line - 1 : line])):
        return f"{message}; a text that starts with '{{' needs quotes"
    return message + ("; is it indented like the lines it belongs to?" if "block end" in found else "")


class _StopError(ValueError):
    """Nothing more can be said of this text."""


class _Composer:
    """Makes nodes of the events of one text."""

    def __init__(self, events: Iterator[Any], file: str, problems: list[Problem]):
        self.events, self.file, self.problems = events, file, problems
        self.last = Place(file, 1, 1)
        self.usable = True

    def next(self) -> tuple[str, Any]:
        event = next(self.events)
        self.last = Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)
        if len(self.problems) > MAX_PROBLEMS:
            raise _StopError
        return type(event).__name__.removesuffix("Event"), event

    def document(self) -> Node | None:
        """Return the only document."""
        self.next()
        kind, event = self.next()
        if kind == "StreamEnd":
            self.problems.append(self.last.problem("the file is empty"))
            return None
        if event.version not in (None, (1, 2)) or event.tags:
            self.problems.append(Place(self.file, 1, 1).problem("directives (%YAML, %TAG) are not allowed"))
        root = self.node(*self.next(), depth=0)
        self.next()
        if self.next()[0] != "StreamEnd":
            self.problems.append(self.last.problem("a second document starts; one file holds one"))
        return root if self.usable else None

    def node(self, kind: str, event: Any, depth: int) -> Node:
        place = self.last
        if kind == "Alias":
            self.problems.append(place.problem(f"alias '*{event.anchor[:40]}'; write the value out, or use vars"))
            self.usable = False
            return Scalar("", place)
        if event.anchor is not None:
            self.problems.append(place.problem(f"anchor '&{event.anchor[:40]}'; write the value out, or use vars"))
        if event.tag is not None:
            self.problems.append(
                place.problem(f"tag '{str(event.tag)[:40]}'; values get their type from the parameter")
            )
        if kind == "Scalar":
            return self.scalar(event, place)
        if depth == MAX_DEPTH:
            self.problems.append(place.problem(f"nested deeper than {MAX_DEPTH} levels"))
            raise _StopError
        return self.mapping(place, depth) if kind == "MappingStart" else self.sequence(place, depth)

    def scalar(self, event: Any, place: Place) -> Scalar:
        if _FORBIDDEN.search(event.value):
            self.problems.append(place.problem("an escape stands for a control character; it is not allowed"))
            self.usable = False
        return Scalar(event.value, place, quoted=bool(event.style))

    def sequence(self, place: Place, depth: int) -> Sequence:
        items = []
        while (got := self.next())[0] != "SequenceEnd":
            items.append(self.node(*got, depth=depth + 1))
        return Sequence(tuple(items), place)

    def mapping(self, place: Place, depth: int) -> Mapping:
        values: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        while (got := self.next())[0] != "MappingEnd":
            where = self.last
            key = self.node(*got, depth=depth + 1)
            value = self.node(*self.next(), depth=depth + 1)
            if not isinstance(key, Scalar):
                self.problems.append(where.problem("a key is text; what starts with '{' or '[' needs quotes"))
            elif key.text in values:
                first = keys[key.text].line
                self.problems.append(where.problem(f"key '{key.text[:40]}' was given before, on line {first}"))
            else:
                # An empty value is reported by the parser at the next line; the key is where it is missing.
                values[key.text] = Scalar("", where) if value == Scalar("", value.place) else value
                keys[key.text] = where
        return Mapping(place, values, keys)
