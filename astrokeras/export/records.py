"""Tables as big-endian records of fixed size, the common body of VOTable BINARY2 and FITS binary tables.

Workers write the records of a partition to a file; what only the data tell (text widths, whether an integer is ever
missing) goes into a `Layout`. The layouts of all partitions merge into one; records of a narrower layout are widened
when the product is put together. Everything is done on whole columns, in blocks of bounded size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..errors import OutputError
from ..fields import Field

if TYPE_CHECKING:
    from astropy.table import QTable

    from ..stage import Product

#: Bytes of records, and of file, in memory at once.
BLOCK = 1 << 20
_BASE = {"f4": ">f4", "f8": ">f8", "i2": ">i2", "i4": ">i4", "i8": ">i8", "bool": "u1", "ascii": "u1", "utf16": ">u2"}
_TRUE, _FALSE, _UNKNOWN = ord("T"), ord("F"), ord("?")


@dataclass(frozen=True)
class Cell:
    """How the values of one column lie in a record.

    Attributes
    ----------
    name : str
        Column name.
    kind : str
        ``f4 f8 i2 i4 i8 bool``, or of text ``ascii`` or ``utf16``.
    shape : tuple of int
        Of text: its width, two or more (VOTable 1.4 has no array of one character).
    null : int or None
        Of integers: what stands for a missing value.
    masked, clash : bool
        Whether a value is missing; whether a value that is not missing equals ``null``.
    """

    name: str
    kind: str
    shape: tuple[int, ...] = ()
    null: int | None = None
    masked: bool = False
    clash: bool = False

    @property
    def is_text(self) -> bool:
        """Whether the column holds text."""
        return self.kind in ("ascii", "utf16")


@dataclass(frozen=True)
class Layout:
    """How a record lies in the file: null bits (of BINARY2, one per column, or none), then the cells."""

    cells: tuple[Cell, ...]
    null_bits: bool

    @property
    def dtype(self) -> np.dtype:
        """Structured type of a record: ``nulls`` if there are null bits, then ``c0``, ``c1``, ..."""
        parts: list[tuple] = [("nulls", "u1", ((len(self.cells) + 7) // 8,))] if self.null_bits else []
        return np.dtype(parts + [(f"c{i}", _BASE[cell.kind], cell.shape) for i, cell in enumerate(self.cells)])

    def facts(self) -> list[dict[str, Any]]:
        """As JSON values."""
        return [{**vars(cell), "shape": list(cell.shape)} for cell in self.cells]

    @classmethod
    def of_facts(cls, facts: Iterable[Mapping[str, Any]], null_bits: bool) -> Layout:
        """From what `facts` gave."""
        return cls(tuple(Cell(**{**f, "shape": tuple(f["shape"])}) for f in facts), null_bits)


def null_of(field: Field, kind: str) -> int | None:
    """What stands for a missing integer: what the field says, else the smallest value of the type."""
    if kind not in ("i2", "i4", "i8"):
        return None
    return field.null if field.null is not None else int(np.iinfo(kind).min)


def write_records(chunk: QTable, fields: tuple[Field, ...], stream: BinaryIO, null_bits: bool) -> Layout:
    """Write the rows of a chunk as records and return their layout.

    Raises
    ------
    ChunkError
        If a column is not what its field says.
    """
    from ..chunk import typed, values

    cells, arrays = [], []
    for field in fields:
        where = f"column {field.name!r}"
        array = typed(values(chunk[field.name], field.unit, where), field, "output")
        cell, array = _examine(array, field)
        cells.append(cell)
        arrays.append(array)
    layout = Layout(tuple(cells), null_bits)
    dtype = layout.dtype
    rows = max(1, BLOCK // dtype.itemsize)
    for start in range(0, len(chunk), rows):
        block = np.zeros(min(rows, len(chunk) - start), dtype)
        for i, (cell, array) in enumerate(zip(cells, arrays, strict=True)):
            _fill(block, i, cell, array[start : start + rows], null_bits)
        stream.write(block.view(np.uint8).data)
    return layout


def _examine(array: np.ndarray, field: Field) -> tuple[Cell, np.ndarray]:
    """Cell of a column, and the column in the form that `_fill` takes."""
    if array.dtype.kind == "U":
        mask = np.ma.getmaskarray(array) if np.ma.isMA(array) else None
        units = _code_units(np.where(mask, "", np.ma.getdata(array)) if mask is not None else array)
        kind = "ascii" if units.dtype.itemsize == 1 else "utf16"
        rows = np.ma.MaskedArray(units, np.broadcast_to(mask[:, None], units.shape)) if mask is not None else units
        return Cell(field.name, kind, units.shape[1:], masked=bool(mask is not None and mask.any())), rows
    kind = "i8" if field.kind == "id" else field.kind
    null = null_of(field, kind)
    masked = bool(np.ma.is_masked(array))
    if masked and null is not None:
        clash = bool(np.any(np.ma.getdata(array)[~np.ma.getmaskarray(array)] == null))
    else:
        clash = bool(null is not None and len(array) and np.any(np.ma.getdata(array) == null))
    return Cell(field.name, kind, array.shape[1:], null, masked, clash), array


def _code_units(text: np.ndarray) -> np.ndarray:
    """Bytes of ASCII text, else UTF-16 code units, NUL-padded to a common width."""
    width = max(2, text.dtype.itemsize // 4)
    points = np.ascontiguousarray(text, f"U{width}").view(np.uint32).reshape(len(text), width)
    used = max(2, int(np.flatnonzero(points.any(axis=0)).max(initial=0)) + 1)
    top = points.max(initial=0)
    if top < 0xD800:
        return points[:, :used].astype("u1" if top < 0x80 else ">u2")
    # Beyond the basic plane one character takes two units. A lone surrogate is no text: "?" takes its place.
    coded = [s.encode("utf-16-be", "replace") for s in text.tolist()]
    width = max(2, max(len(c) for c in coded) // 2)
    return np.array(coded, f"S{2 * width}").view(">u2").reshape(len(text), width)


def _fill(block: np.ndarray, i: int, cell: Cell, values: np.ndarray, null_bits: bool) -> None:
    mask = np.ma.getmaskarray(values) if cell.masked else None
    data = np.ma.getdata(values)
    if cell.kind == "bool":
        data = np.where(data, np.uint8(_TRUE), np.uint8(_FALSE))
    if mask is not None:
        # FITS has the byte 0 for an unknown logical value, VOTable a question mark.
        stand_in = (_UNKNOWN if null_bits else 0) if cell.kind == "bool" else (cell.null or 0)
        data = np.where(mask, np.asarray(stand_in, data.dtype), data)
    block[f"c{i}"] = data
    if null_bits:
        missing = _missing_cells(cell, data, mask)
        if missing is not None:
            block["nulls"][:, i // 8] |= missing.astype(np.uint8) << np.uint8(7 - i % 8)


def _missing_cells(cell: Cell, data: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
    """Cells of which nothing is there; None if there are none."""
    if cell.kind in ("f4", "f8"):
        flat = data.reshape(len(data), -1)
        missing = np.isnan(flat[:, 0])
        rows = np.flatnonzero(missing) if flat.shape[1] > 1 else ()
        if len(rows):
            missing[rows] = np.isnan(flat[rows]).all(axis=1)
        return missing
    return None if mask is None else mask.reshape(len(mask), -1).all(axis=1)


def merge(layouts: Iterable[tuple[Layout, int]], product: Product) -> Layout:
    """One layout for the records of all partitions, given with their numbers of rows.

    Raises
    ------
    OutputError
        If a column has identifiers of two types, or cells of two shapes.
    """
    given = list(layouts)
    if not given:
        return _blank(product.fields)
    # A partition without rows tells nothing about its columns.
    chosen = [layout for layout, rows in given if rows] or [layout for layout, _ in given[:1]]
    merged = chosen[0]
    for layout in chosen[1:]:
        cells = tuple(_join(a, b, product.path) for a, b in zip(merged.cells, layout.cells, strict=True))
        merged = replace(merged, cells=cells)
    return merged


def cell_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Cell shape where nothing but the field is known: an axis of any length (-1) counts one."""
    return tuple(max(1, n) for n in shape)


def _blank(fields: tuple[Field, ...]) -> Layout:
    """Layout of a table that has no partition."""
    cells = [
        Cell(f.name, "ascii", (2,)) if f.kind == "str" else Cell(f.name, f.kind, cell_shape(f.shape)) for f in fields
    ]
    return Layout(tuple(replace(cell, kind="i8") if cell.kind == "id" else cell for cell in cells), null_bits=False)


def _join(a: Cell, b: Cell, path: Path) -> Cell:
    if a.is_text != b.is_text:
        raise OutputError(f"{path}: column {a.name!r} holds text in one partition and integers in another")
    kind, shape = a.kind, a.shape
    if a.is_text:
        kind = "utf16" if "utf16" in (a.kind, b.kind) else "ascii"
        shape = (max(a.shape[0], b.shape[0]),)
    elif a.shape != b.shape:
        raise OutputError(f"{path}: column {a.name!r} has cells of shape {a.shape} and of shape {b.shape}")
    return replace(a, kind=kind, shape=shape, masked=a.masked or b.masked, clash=a.clash or b.clash)


def stream_records(pieces: Iterable[tuple[Path, Layout, int]], layout: Layout) -> Iterator[memoryview]:
    """Bytes of the records of all pieces in order, in one layout, in blocks that live until the next is asked for.

    Raises
    ------
    OutputError
        If a piece does not hold its number of rows.
    """
    for path, own, rows in pieces:
        dtype = own.dtype
        size = path.stat().st_size
        if size != rows * dtype.itemsize:
            raise OutputError(f"{path} is damaged: it has {size} bytes, not {rows} records of {dtype.itemsize}")
        buffer = bytearray(max(1, BLOCK // dtype.itemsize) * dtype.itemsize)
        with open(path, "rb") as piece:
            while size := piece.readinto(buffer):
                part = memoryview(buffer)[:size]
                same = dtype == layout.dtype
                yield part if same else _widen(np.frombuffer(part, dtype), own, layout).view(np.uint8).data


def _widen(block: np.ndarray, own: Layout, layout: Layout) -> np.ndarray:
    out = np.zeros(len(block), layout.dtype)
    if layout.null_bits:
        out["nulls"] = block["nulls"]
    for i, (cell, target) in enumerate(zip(own.cells, layout.cells, strict=True)):
        part = out[f"c{i}"]
        if target.is_text:
            part[:, : cell.shape[0]] = block[f"c{i}"]
        else:
            part[...] = block[f"c{i}"]
    return out
