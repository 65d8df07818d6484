"""FITS binary and ASCII tables: only the columns asked for, row range by row range."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import IngestError
from ..fits_hdus import HDU, whole
from ..packing import READ_ERRORS, is_packed, open_packed
from ..surveys.columns import Native
from .fits_headers import table_hdu
from .tablefile import Cut, TableFile, TableOptions, even_cuts

#: numpy types of TFORM letters.
_TYPES = {"L": "i1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16"}
_TFORM = re.compile(r"(\d*)([LXBIJKAEDCMPQ])")
_ASCII_TFORM = re.compile(r"([AIFED])(\d+)")


@dataclass(frozen=True)
class FitsColumn:
    """A column: where it lies in a row, and what its header says."""

    name: str
    letter: str
    offset: int
    dtype: np.dtype
    unit: str
    scale: Any
    zero: Any
    null: Any


class FitsTable(TableFile):
    """A table HDU."""

    kind = "FITS"

    def __init__(self, path: str, options: TableOptions):
        self.hdu = table_hdu(path, options.hdu)
        header = self.hdu.header
        if "ZTABLE" in header:
            raise IngestError(f"{path}, {self.hdu}: is a compressed table; unpack it with funpack first")
        self.width = whole(path, header, self.hdu.index, "NAXIS1")
        self.rows = whole(path, header, self.hdu.index, "NAXIS2")
        self.packed = is_packed(path)
        make = _ascii_columns if self.hdu.kind == "TABLE" else _binary_columns
        columns = list(make(path, self.hdu))
        super().__init__(path, [c.name for c in columns], str(self.hdu))
        self.columns = {c.name: c for c in columns}
        last = max((c.offset + c.dtype.itemsize for c in columns), default=0)
        if last > self.width:
            raise IngestError(f"{self.what}: columns take {last} bytes of a row, NAXIS1 = {self.width}")

    def cuts(self, max_rows: int) -> Iterator[Cut]:
        """Cut the rows evenly."""
        yield from even_cuts(self.rows, max_rows)

    def read(self, names: Sequence[str], cut: Cut) -> dict[str, Native]:
        """Read columns of some rows."""
        columns = [self.columns[name] for name in names]
        for column in columns:
            if column.letter in "PQ":
                raise IngestError(
                    f"{self.what}, column {column.name!r}: has rows of variable length, which are not read"
                )
        records = self._records(columns, cut)
        decode = _ascii_values if self.hdu.kind == "TABLE" else _binary_values
        return {c.name: Native(decode(records[c.name], c, f"{self.what}, column {c.name!r}"), c.unit) for c in columns}

    def _records(self, columns: list[FitsColumn], cut: Cut) -> np.ndarray:
        layout = {
            "names": [c.name for c in columns],
            "formats": [c.dtype for c in columns],
            "offsets": [c.offset for c in columns],
            "itemsize": self.width,
        }
        dtype, rows = np.dtype(layout), cut.stop - cut.start
        start = self.hdu.offset + cut.start * self.width
        if not rows or not self.width:
            return np.zeros(rows, dtype)
        if not self.packed:
            return np.memmap(self.path, dtype, "r", start, (rows,))
        try:
            with open_packed(self.path) as stream:
                stream.seek(start)
                data = stream.read(rows * self.width)
        except READ_ERRORS as error:
            raise IngestError(f"{self.what}: cannot be unpacked: {error}") from None
        if len(data) < rows * self.width:
            raise IngestError(f"{self.what}: the file ends in rows {cut.start} to {cut.stop}; it is truncated")
        return np.frombuffer(data, dtype)


def _binary_columns(path: str, hdu: HDU) -> Iterator[FitsColumn]:
    header, offset = hdu.header, 0
    for i in range(1, whole(path, header, hdu.index, "TFIELDS") + 1):
        form = str(header.get(f"TFORM{i}", "")).strip().upper()
        match = _TFORM.match(form)
        if match is None:
            raise IngestError(f"{path}, {hdu}: TFORM{i} = {form!r} is no type of a column")
        repeat, letter = int(match[1] or 1), match[2]
        dtype = _binary_type(letter, repeat, str(header.get(f"TDIM{i}", "")))
        facts = [header.get(f"{key}{i}") for key in ("TSCAL", "TZERO", "TNULL")]
        yield FitsColumn(_name(header, i), letter, offset, dtype, str(header.get(f"TUNIT{i}", "")).strip(), *facts)
        offset += dtype.itemsize


def _name(header: Any, i: int) -> str:
    return str(header.get(f"TTYPE{i}", f"col{i}")).strip() or f"col{i}"


def _binary_type(letter: str, repeat: int, tdim: str) -> np.dtype:
    shape = tuple(int(n) for n in re.findall(r"\d+", tdim))[::-1]
    if letter in "PQ":
        return np.dtype((">i4" if letter == "P" else ">i8", (2,)))
    if letter == "X":
        return np.dtype(("u1", (-(-repeat // 8),)))
    if letter == "A":
        # TDIM of text: length of each text first.
        if len(shape) > 1 and int(np.prod(shape)) == repeat:
            return np.dtype((f"S{shape[-1]}", shape[:-1]))
        return np.dtype(f"S{repeat}") if repeat else np.dtype(("S1", (0,)))
    if shape and int(np.prod(shape)) == repeat:
        return np.dtype((_TYPES[letter], shape))
    return np.dtype(_TYPES[letter]) if repeat == 1 else np.dtype((_TYPES[letter], (repeat,)))


def _binary_values(raw: np.ndarray, column: FitsColumn, where: str) -> np.ndarray:
    if column.letter == "A":
        return _text(raw)
    if column.letter == "X":
        return np.unpackbits(np.ascontiguousarray(raw), axis=-1).astype(np.int16)
    if column.letter == "L":
        truth = raw == ord("T")
        known = truth | (raw == ord("F"))
        return truth if np.all(known) else np.ma.MaskedArray(truth, ~known)
    # Strided and big-endian in the file: one copy does both.
    array = raw.astype(raw.dtype.newbyteorder("="))
    mask = array == column.null if column.null is not None and array.dtype.kind in "iu" else None
    array = _scaled(array, column, where)
    if mask is None or not np.any(mask):
        return array
    if array.dtype.kind == "f":
        return np.where(mask, np.asarray(np.nan, array.dtype), array)
    return np.ma.MaskedArray(array, mask)


def _text(raw: np.ndarray) -> np.ndarray:
    if raw.dtype.kind != "S":
        return np.full(raw.shape[:1], "")
    try:
        return np.char.rstrip(raw.astype(str))
    except UnicodeDecodeError:
        return np.char.rstrip(np.char.decode(raw, "latin-1"))


def _scaled(array: np.ndarray, column: FitsColumn, where: str) -> np.ndarray:
    scale = 1 if column.scale is None else column.scale
    zero = 0 if column.zero is None else column.zero
    if not all(isinstance(x, (int, float)) for x in (scale, zero)):
        raise IngestError(f"{where}: TSCAL = {scale!r}, TZERO = {zero!r} are no numbers")
    if scale == 1 and zero == 0:
        return array
    if array.dtype.kind == "i" and scale == 1 and zero == 2 ** (8 * array.dtype.itemsize - 1):
        # The convention for unsigned integers: the sign bit is flipped.
        unsigned = array.view(array.dtype.str.replace("i", "u")) ^ np.asarray(
            int(zero), array.dtype.str.replace("i", "u")
        )
        return unsigned if array.dtype.itemsize == 8 else unsigned.astype(np.int64)
    if array.dtype.kind in "iu" and scale == 1 and float(zero).is_integer() and abs(zero) < 2**53:
        return array.astype(np.int64) + int(zero)
    return array.astype(np.float64) * float(scale) + float(zero)


def _ascii_columns(path: str, hdu: HDU) -> Iterator[FitsColumn]:
    header = hdu.header
    for i in range(1, whole(path, header, hdu.index, "TFIELDS") + 1):
        form = str(header.get(f"TFORM{i}", "")).strip().upper()
        match = _ASCII_TFORM.match(form)
        begin = header.get(f"TBCOL{i}")
        if match is None or not isinstance(begin, int) or begin < 1:
            raise IngestError(f"{path}, {hdu}: TFORM{i} = {form!r}, TBCOL{i} = {begin!r} describe no column")
        facts = [header.get(f"{key}{i}") for key in ("TSCAL", "TZERO", "TNULL")]
        dtype = np.dtype(f"S{int(match[2]) or 1}")
        unit = str(header.get(f"TUNIT{i}", "")).strip()
        yield FitsColumn(_name(header, i), match[1], begin - 1, dtype, unit, *facts)


def _ascii_values(raw: np.ndarray, column: FitsColumn, where: str) -> np.ndarray:
    text = np.char.strip(_text(raw))
    if column.letter == "A":
        return text
    blank = (text == "") | (text == str(column.null).strip() if column.null is not None else False)
    try:
        # FORTRAN writes double precision with a D.
        values = np.where(blank, "nan", np.char.replace(text, "D", "E")).astype(np.float64)
    except ValueError as error:
        raise IngestError(f"{where}: {error}") from None
    if column.letter != "I":
        return _scaled(values, column, where)
    array = _scaled(np.where(blank, 0, values).astype(np.int64), column, where)
    return np.ma.MaskedArray(array, blank) if np.any(blank) else array
