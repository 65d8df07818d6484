"""How a text table is written: header, delimiter, decimal sign, units and types, told from its beginning."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field

from ..errors import IngestError
from .tablefile import TableOptions

DELIMITERS = (",", ";", "\t", "|")
#: A run of blanks as delimiter.
BLANKS = " "
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eEdD][-+]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+([eE][-+]?\d+)?")
_DECIMAL_POINT = re.compile(r"[-+]?\d*\.\d+([eE][-+]?\d+)?")
_SEXTRACTOR = re.compile(r"#\s*(\d+)\s+([A-Za-z_]\w*)(?:\s+.*?)?(?:\[([^\]]*)\])?\s*$")


@dataclass(frozen=True)
class Layout:
    """How a text table is written.

    Attributes
    ----------
    names : tuple of str
        Columns, in order.
    delimiter, decimal : str
        Between and within values; a blank stands for any run of blanks.
    skip : int
        Bytes before the first row.
    units : mapping
        Units by column, where the file states them.
    types : mapping
        ECSV types by column.
    """

    names: tuple[str, ...]
    delimiter: str
    decimal: str
    skip: int
    units: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)


def lay_out(path: str, head: bytes, options: TableOptions) -> Layout:
    """Tell how a text table is written.

    Parameters
    ----------
    head : bytes
        Its beginning, whole lines.

    Raises
    ------
    IngestError
        If that is not the beginning of a table with a header line.
    """
    lines = _lines(path, head)
    if not any(line.strip() for line, _ in lines):
        raise IngestError(f"{path}: holds nothing but blanks")
    if lines[0][0].startswith("# %ECSV"):
        return _ecsv(path, lines, options)
    if _SEXTRACTOR.match(lines[0][0]) and _SEXTRACTOR.match(lines[0][0])[1] == "1":
        return _sextractor(path, lines)
    return _plain(path, lines, options)


def _lines(path: str, head: bytes) -> list[tuple[str, int]]:
    """Lines with the byte after each."""
    out, place = [], 0
    for raw in head.splitlines(keepends=True):
        place += len(raw)
        try:
            # utf-8-sig: a byte order mark before the first name is not part of it.
            out.append((raw.decode("utf-8-sig").rstrip("\r\n"), place))
        except UnicodeDecodeError as error:
            raise IngestError(f"{path}, line {len(out) + 1}: is no UTF-8 text ({error.reason})") from None
    return out


def is_remark(line: str | bytes) -> bool:
    """Whether a line holds no values: blank, or beginning with ``#``."""
    stripped = line.strip()
    return not stripped or stripped[:1] in ("#", b"#")


def _plain(path: str, lines: list[tuple[str, int]], options: TableOptions) -> Layout:
    first = next((i for i, (line, _) in enumerate(lines) if not is_remark(line)), None)
    remarks = [i for i, (line, _) in enumerate(lines[:first]) if line.strip()]
    if first is None:
        header, first = remarks[-1], len(lines)
    elif remarks and _is_header(lines[remarks[-1]][0], lines[first][0], options):
        header = remarks[-1]
    else:
        header, first = first, first + 1
    text = lines[header][0].strip().removeprefix("#").strip()
    _known_otherwise(path, lines, text)
    delimiter = options.delimiter or _sniffed(text)
    names = tuple(name or f"col{i + 1}" for i, name in enumerate(split(text, delimiter)))
    if any(_NUMBER.fullmatch(name.replace(",", ".")) for name in names):
        raise IngestError(f"{path}, line {header + 1}: has no header line; the first one begins with {text[:40]!r}")
    rows = [line for line, _ in lines[first : first + 100] if not is_remark(line)]
    decimal = options.decimal or _decimal(rows, delimiter)
    if decimal == delimiter:
        raise IngestError(f"{path}: delimiter and decimal sign are both {decimal!r}")
    return Layout(names, delimiter, decimal, lines[max(header, first - 1)][1])


def _is_header(remark: str, row: str, options: TableOptions) -> bool:
    """Whether the remark before the first row names its columns."""
    text = remark.strip().removeprefix("#").strip()
    delimiter = options.delimiter or _sniffed(row)
    values, names = split(row.strip(), delimiter), split(text, delimiter)
    numbers = any(_NUMBER.fullmatch(v) for v in values)
    return numbers and len(names) == len(values) and not any(_NUMBER.fullmatch(n) for n in names)


def _known_otherwise(path: str, lines: list[tuple[str, int]], header: str) -> None:
    text = "\n".join(line for line, _ in lines[:200])
    what = None
    if "Byte-by-byte Description" in text:
        what = "a CDS (machine-readable) table"
    elif header.startswith(("\\", "|")):
        what = "an IPAC table"
    if what:
        raise IngestError(f"{path}: is {what}, which is not read; convert it, such as with astropy to ECSV")


def _sniffed(header: str) -> str:
    counts = {d: len(split(header, d)) for d in DELIMITERS}
    best = max(DELIMITERS, key=lambda d: counts[d])
    return best if counts[best] > 1 else BLANKS


def split(line: str, delimiter: str) -> list[str]:
    """Values of a line, quotes taken off."""
    if delimiter == BLANKS:
        line = re.sub(r"\s+", BLANKS, line.strip())
    rows = list(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    return [value.strip() for value in rows[0]] if rows else []


def _decimal(rows: list[str], delimiter: str) -> str:
    if delimiter == ",":
        return "."
    values = [value for row in rows for value in split(row, delimiter)]
    points = any(_DECIMAL_POINT.fullmatch(v) for v in values)
    return "," if not points and any(_DECIMAL_COMMA.fullmatch(v) for v in values) else "."


def _ecsv(path: str, lines: list[tuple[str, int]], options: TableOptions) -> Layout:
    from astropy.table.meta import YamlParseError, get_header_from_yaml

    end = next((i for i, (line, _) in enumerate(lines) if not is_remark(line)), None)
    if end is None:
        raise IngestError(f"{path}: the ECSV header is not followed by a line of names; truncated?")
    try:
        stated = get_header_from_yaml([line[2:] for line, _ in lines[1:end]])
        columns = {c["name"]: c for c in stated["datatype"]}
    except (YamlParseError, KeyError, TypeError, ValueError) as error:
        raise IngestError(f"{path}: the ECSV header cannot be understood: {error}") from None
    delimiter = options.delimiter or stated.get("delimiter", BLANKS)
    names = tuple(split(lines[end][0], delimiter))
    if set(names) != set(columns):
        raise IngestError(f"{path}: the ECSV header describes {sorted(columns)}, the line of names has {list(names)}")
    units = {name: str(c["unit"]) for name, c in columns.items() if c.get("unit")}
    types = {name: "array" if c.get("subtype") else c["datatype"] for name, c in columns.items()}
    return Layout(names, delimiter, ".", lines[end][1], units, types)


def _sextractor(path: str, lines: list[tuple[str, int]]) -> Layout:
    """ASCII_HEAD: ``# number name comment [unit]``; a gap in the numbers is a vector column."""
    starts, units, last = {}, {}, 0
    for i, (line, _) in enumerate(lines):
        match = _SEXTRACTOR.match(line)
        if match is None:
            break
        starts[match[2]], last = int(match[1]), i
        if match[3]:
            units[match[2]] = match[3]
    row = next((line for line, _ in lines[last + 1 :] if not is_remark(line)), "")
    total = max(len(row.split()), max(starts.values()))
    names: list[str] = []
    bounds = [*sorted(starts.values()), total + 1]
    for name, start in sorted(starts.items(), key=lambda item: item[1]):
        width = bounds[bounds.index(start) + 1] - start
        names += [name] if width == 1 else [f"{name}[{k}]" for k in range(width)]
    if len(names) != total:
        raise IngestError(f"{path}: the header numbers columns up to {max(starts.values())}, names {len(names)}")
    return Layout(tuple(names), BLANKS, ".", lines[last][1], units)
