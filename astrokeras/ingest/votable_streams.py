"""VOTables whose rows are base64 of fixed-length records: read by row ranges, however large the file.

What the products of astrokeras and of most writers look like. Anything else (rows as text, cells of variable length,
several tables) is left to `votables`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from ..errors import IngestError
from ..packing import is_packed, open_packed
from ..surveys.columns import Native
from .tablefile import Cut, TableFile
from .votables import chosen_table, parsed, refuse_service_error, unit_of

_HEAD, _TAIL, _BLOCK = 2**22, 2**16, 2**20
#: Read beyond the end of a cut: four characters may have a line end and its indentation among them.
_SLACK = 256
_BLANKS = b" \t\r\n"
_OPENING = re.compile(rb"<DATA\s*>\s*<(BINARY2?)\s*>\s*<STREAM\s[^>]*?encoding\s*=\s*[\"']base64[\"'][^>]*>")
_TYPES = {
    "boolean": "S1",
    "bit": "u1",
    "unsignedByte": "u1",
    "short": ">i2",
    "int": ">i4",
    "long": ">i8",
    "float": ">f4",
    "double": ">f8",
}


@dataclass(frozen=True)
class _Column:
    """A field: where it is in a record, and what stands for "no value" in it."""

    number: int
    datatype: str
    unit: str
    null: int | None


class VOTableStream(TableFile):
    """A VOTable with one table of fixed-length records in base64; ``document`` is what surrounds them."""

    kind = "VOTable"
    document: Any = None

    def __init__(self, path: str, serialisation: str, table: Any, begin: int, end: int):
        super().__init__(path, [f.name or f.ID for f in table.fields], f"table {table.name or table.ID or ''}".strip())
        self._begin, self._end = begin, end
        self._flags = -(-len(table.fields) // 8) if serialisation == "BINARY2" else 0
        self._columns = {
            name: _Column(i, f.datatype, unit_of(f), None if self._flags else _null(f))
            for i, (name, f) in enumerate(zip(self.names, table.fields, strict=True))
        }
        kinds = [(f"c{i}", _dtype(f)) for i, f in enumerate(table.fields)]
        self._record = np.dtype([("nulls", "u1", (self._flags,)), *kinds] if self._flags else kinds)

    def cuts(self, max_rows: int) -> Iterator[Cut]:
        """Find where every ``max_rows`` records begin in the text, in one pass over it."""
        width = self._record.itemsize
        start = seen = 0
        place, last = self._begin, b""
        with open_packed(self.path) as stream:
            for offset, block in _blocks(stream, self._begin, self._end):
                solid = np.flatnonzero(np.frombuffer(block, np.uint8) > 32)
                last = (last + block)[-_SLACK:]
                # Four characters are three bytes; a cut begins at the four that hold its first byte.
                while (target := (start + max_rows) * width // 3 * 4) < seen + len(solid):
                    here = offset + int(solid[target - seen])
                    yield Cut(start, start + max_rows, (place, here + _SLACK, start * width % 3))
                    start, place = start + max_rows, here
                seen += len(solid)
        rows = self._rows(seen, last)
        if start < rows or not rows:
            yield Cut(start, rows, (place, self._end, start * width % 3))

    def _rows(self, characters: int, last: bytes) -> int:
        padding = last.translate(None, _BLANKS)[-2:].count(b"=")
        size, rest = divmod(characters // 4 * 3 - padding, self._record.itemsize)
        if characters % 4 or rest:
            raise IngestError(f"{self.what}: the stream holds {size} whole records and a part of one; truncated?")
        return size

    def read(self, names: Sequence[str], cut: Cut) -> dict[str, Native]:
        """Decode columns of some rows."""
        begin, end, skip = cut.place
        rows, width = cut.stop - cut.start, self._record.itemsize
        with open_packed(self.path) as stream:
            stream.seek(begin)
            text = stream.read(end - begin).translate(None, _BLANKS)
        try:
            data = base64.b64decode(text[: -(-(skip + rows * width) // 3) * 4], validate=True)
        except binascii.Error as error:
            raise IngestError(f"{self.what}, rows {cut.start} to {cut.stop}: is no base64: {error}") from None
        records = np.frombuffer(data, self._record, rows, skip) if rows else np.empty(0, self._record)
        return {name: self._native(records, name) for name in names}

    def _native(self, records: np.ndarray, name: str) -> Native:
        column = self._columns[name]
        raw = records[f"c{column.number}"]
        masked = np.zeros(len(raw), bool)
        if self._flags:
            masked = (records["nulls"][:, column.number // 8] >> (7 - column.number % 8) & 1).astype(bool)
        if column.datatype in ("char", "unicodeChar"):
            return Native(np.where(masked, "", _texts(raw)), column.unit)
        if column.datatype == "boolean":
            truth = np.isin(raw, [b"T", b"t", b"1"])
            masked |= ~(truth | np.isin(raw, [b"F", b"f", b"0"])).reshape(len(raw), -1).all(axis=1)
            return Native(_mask(truth, masked), column.unit)
        # A single bit is a byte; writers differ in which of its bits they set.
        data = raw != 0 if column.datatype == "bit" else raw.astype(raw.dtype.newbyteorder("="))
        if column.null is not None and data.ndim == 1:
            masked |= data == column.null
        return Native(_mask(data, masked), column.unit)


def stream_of(path: str, table: int | str | None) -> VOTableStream | None:
    """Open a VOTable as a stream of records, or return None where it is none (or is packed).

    Raises
    ------
    IngestError
        If the service that wrote it says that it failed.
    """
    with open_packed(path) as stream:
        head = b"" if is_packed(path) else stream.read(_HEAD)
        opening = _OPENING.search(head)
        if opening is None or head.count(b"<TABLE") != 1:
            return None
        tail, size = _tail(stream)
    close = tail.rfind(b"</STREAM")
    if close < 0 or b"<TABLE" in tail[close:] or size - len(tail) + close < opening.end():
        return None
    # Whatever surrounds the data, without them: the rest is XML for astropy.
    document = parsed(path, head[: opening.start()] + re.sub(rb"^.*?</DATA\s*>", b"", tail[close:], flags=re.DOTALL))
    truncated = refuse_service_error(path, document)
    found = chosen_table(path, document, table)
    if not all(_is_fixed(f) for f in found.fields):
        return None
    opened = VOTableStream(path, opening[1].decode(), found, opening.end(), size - len(tail) + close)
    opened.truncated, opened.document = truncated, document
    return opened


def _tail(stream: BinaryIO) -> tuple[bytes, int]:
    """Last bytes of a file, and its size."""
    size = stream.seek(0, 2)
    stream.seek(max(size - _TAIL, 0))
    return stream.read(), size


def _blocks(stream: BinaryIO, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    for offset in range(begin, end, _BLOCK):
        stream.seek(offset)
        yield offset, stream.read(min(_BLOCK, end - offset))


def _is_fixed(field: Any) -> bool:
    if field.datatype == "bit" and field.arraysize not in (None, "", "1"):
        # Packed eight to a byte.
        return False
    return field.datatype in (*_TYPES, "char", "unicodeChar") and "*" not in (field.arraysize or "")


def _dtype(field: Any) -> np.dtype:
    shape = tuple(int(n) for n in (field.arraysize or "").split("x") if n)[::-1]
    if field.datatype == "char":
        return np.dtype((f"S{shape[-1] if shape else 1}", shape[:-1]))
    if field.datatype == "unicodeChar":
        return np.dtype((f"V{2 * (shape[-1] if shape else 1)}", shape[:-1]))
    return np.dtype((_TYPES[field.datatype], shape if shape != (1,) else ()))


def _null(field: Any) -> int | None:
    null = field.values.null if field.values is not None else None
    return int(null) if null is not None and field.datatype in ("unsignedByte", "short", "int", "long") else None


def _texts(raw: np.ndarray) -> np.ndarray:
    """Text of fixed-length fields, which ends at a NUL; blanks fill up."""
    if not raw.size:
        return np.empty(raw.shape, "U1")
    if raw.dtype.kind == "S":
        letters = np.ascontiguousarray(raw).view(np.uint8).reshape(*raw.shape, -1)
        kept = np.where(np.logical_or.accumulate(letters == 0, axis=-1), 0, letters).astype(np.uint8)
        # ASCII by the standard, UTF-8 in the wild.
        return np.char.rstrip(np.char.decode(kept.view(raw.dtype)[..., 0], "utf-8", "replace"))
    flat = [bytes(value).decode("utf-16-be", "replace").partition("\0")[0].rstrip() for value in raw.ravel()]
    return np.array(flat, dtype=str).reshape(raw.shape)


def _mask(data: np.ndarray, masked: np.ndarray) -> np.ndarray:
    if not np.any(masked):
        return data
    masked = np.broadcast_to(masked.reshape(-1, *[1] * (data.ndim - 1)), data.shape)
    if data.dtype.kind == "f":
        return np.where(masked, np.asarray(np.nan, data.dtype), data)
    return np.ma.MaskedArray(data, masked)
