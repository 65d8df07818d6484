"""Names of the fields that a pipeline runs on: from a list, from folders, from a table."""

from __future__ import annotations

import csv
import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import AstrokerasError, did_you_mean
from .settings import Fields, FieldTable, field_name

_WILD = re.compile(r"[*?\[]")


def expand_fields(fields: Fields) -> tuple[str, ...]:
    """Return the names; those of a pattern are sorted.

    Raises
    ------
    AstrokerasError
        If there are none, one cannot be part of a path, or two are equal.
    """
    if fields.names is not None:
        return fields.names
    found = tuple(_matched(fields.glob) if fields.glob is not None else _listed(fields.table))
    where = fields.glob if fields.glob is not None else fields.table.path
    if not found:
        raise AstrokerasError(f"nothing matches {where!r}" if fields.glob else f"{where} holds no names")
    try:
        names = tuple(field_name(name) for name in found)
    except ValueError as error:
        raise AstrokerasError(f"{where}: {error}") from None
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise AstrokerasError(f"{where} gives field {twice[0]!r} twice")
    return names


def _matched(pattern: str) -> Iterator[str]:
    """Names of the folders or files that match; of the one wildcard step, if it is not the last."""
    steps = Path(pattern).parts
    wild = [i for i, step in enumerate(steps) if _WILD.search(step)]
    if len(wild) != 1 or "**" in steps:
        raise AstrokerasError(f"glob {pattern!r} needs a wildcard in exactly one step of the path, such as 'data/*/'")
    # What follows the last wildcard of a file name is its ending, not part of the name of the field.
    ending = re.split(r"[*?]|\[[^]]*\]", steps[wild[0]])[-1]
    for path in sorted(glob.glob(pattern)):
        step = Path(path).parts[wild[0]]
        is_file = wild[0] == len(steps) - 1 and not os.path.isdir(path)
        yield step.removesuffix(ending) if is_file else step


def _listed(table: FieldTable) -> Iterable[str]:
    path = Path(table.path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AstrokerasError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    data = [line for line in lines if line.strip() and not line.startswith("#")]
    if table.column is None and path.suffix.lower() not in (".csv", ".tsv", ".ecsv"):
        return [line.strip() for line in data]
    return _column(path, table.column, data, _delimiter(path, lines))


def _delimiter(path: Path, lines: list[str]) -> str:
    if lines and lines[0].startswith("# %ECSV"):
        header = "\n".join(line for line in lines if line.startswith("#"))
        given = re.search(r"^# *delimiter: *['\"]?(.)", header, re.MULTILINE)
        return given[1] if given else " "
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _column(path: Path, column: str | None, lines: Iterable[str], delimiter: str) -> list[str]:
    rows = csv.DictReader(lines, delimiter=delimiter)
    header = list(rows.fieldnames or ())
    if column is None and len(header) == 1:
        column = header[0]
    if column is None:
        raise AstrokerasError(f"{path} has several columns ({', '.join(header)}): say which with 'column'")
    if column not in header:
        raise AstrokerasError(f"{path} has no column {column!r}{did_you_mean(column, header)}")
    try:
        values = [(row[column] or "").strip() for row in rows]
    except csv.Error as error:
        raise AstrokerasError(f"{path}: {error}") from None
    if "" in values:
        raise AstrokerasError(f"{path}, row {values.index('') + 1}: column {column!r} is empty")
    return values
