"""Arrow tables of chunks, and the metadata with which Parquet files keep units and meanings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
from astropy.table import Column, Table
from astropy.table.meta import get_yaml_from_table

from ..chunk import typed, values
from ..fields import Field
from .facts import column_facts, description, flatten
from .records import Cell, cell_shape

if TYPE_CHECKING:
    from astropy.table import QTable

_TYPES = {
    "f4": pa.float32(),
    "f8": pa.float64(),
    "i2": pa.int16(),
    "i4": pa.int32(),
    "i8": pa.int64(),
    "bool": pa.bool_(),
    "str": pa.string(),
}
_NUMPY = {"f4": "f4", "f8": "f8", "i2": "i2", "i4": "i4", "i8": "i8", "bool": "bool"}


def write_batch(chunk: QTable, fields: tuple[Field, ...], stream: BinaryIO) -> list[dict[str, Any]]:
    """Write a chunk as an Arrow file and return what its columns turned out to be (``kind``, ``shape``, ``width``)."""
    arrays, found = [], []
    for field in fields:
        array = typed(values(chunk[field.name], field.unit, f"column {field.name!r}"), field, "parquet")
        text = array.dtype.kind == "U"
        kind = "str" if text else "i8" if field.kind == "id" else field.kind
        found.append({"kind": kind, "shape": list(array.shape[1:]), "width": array.dtype.itemsize // 4 if text else 0})
        arrays.append(_arrow(array, kind))
    batch = pa.record_batch(arrays, names=[field.name for field in fields])
    with pa.ipc.new_file(stream, batch.schema) as writer:
        writer.write_batch(batch)
    return found


def _arrow(array: np.ndarray, kind: str) -> pa.Array:
    mask = np.ascontiguousarray(np.ma.getmaskarray(array)).ravel() if np.ma.is_masked(array) else None
    flat = pa.array(np.ascontiguousarray(np.ma.getdata(array)).ravel(), type=_TYPES[kind], mask=mask)
    if array.ndim == 1:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(array.shape[1:])))


def schema(
    fields: tuple[Field, ...], found: list[dict[str, Any]], provenance: Mapping[str, Any], document: bytes
) -> pa.Schema:
    """Arrow schema with metadata for every reader.

    Each column has ``unit``, ``ucd``, ``description``, the ``shape`` of its cells and its facts; the table has the
    provenance, what astropy's reader looks for, and a VOTable without data (the VOParquet convention).
    """
    columns = []
    for field, facts in zip(fields, found, strict=True):
        metadata = {"unit": field.unit, "ucd": field.ucd, "description": description(field)}
        metadata |= {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in column_facts(field).items()
        }
        if facts["shape"]:
            metadata["shape"] = ",".join(str(n) for n in facts["shape"])
        columns.append(pa.field(field.name, arrow_type(facts), metadata={k: v for k, v in metadata.items() if v}))
    table = dict(flatten(provenance))
    table |= {
        f"table::len::{f.name}": str(max(1, k["width"]))
        for f, k in zip(fields, found, strict=True)
        if k["kind"] == "str"
    }
    table["table_meta_yaml"] = "\n".join(get_yaml_from_table(_empty(fields, found)))
    table |= {"IVOA.VOTable-Parquet.version": "1.0", "IVOA.VOTable-Parquet.content": document.decode()}
    return pa.schema(columns, metadata=table)


def arrow_type(facts: Mapping[str, Any]) -> pa.DataType:
    """Type of a column; cells of several dimensions are flat, in the order of C."""
    scalar = _TYPES[facts["kind"]]
    return pa.list_(scalar, int(np.prod(facts["shape"]))) if facts["shape"] else scalar


def _empty(fields: Iterable[Field], found: Iterable[Mapping[str, Any]]) -> Table:
    """Table without rows that carries units, descriptions and meta data as astropy writes them."""
    table = Table()
    for field, facts in zip(fields, found, strict=True):
        dtype = _NUMPY.get(facts["kind"], f"U{max(1, facts['width'])}")
        size = (int(np.prod(facts["shape"])),) if facts["shape"] else ()
        table[field.name] = Column(
            np.zeros((0, *size), dtype),
            unit=field.unit or None,
            description=description(field),
            meta=column_facts(field),
        )
    return table


def cells_of(fields: Iterable[Field], found: Iterable[Mapping[str, Any]]) -> tuple[Cell, ...]:
    """The columns as a VOTable would declare them."""
    return tuple(
        Cell(f.name, "utf16", (max(2, k["width"]),))
        if k["kind"] == "str"
        else Cell(f.name, k["kind"], tuple(k["shape"]))
        for f, k in zip(fields, found, strict=True)
    )


def merge_found(all_found: list[tuple[list[dict[str, Any]], int]], fields: tuple[Field, ...]) -> list[dict[str, Any]]:
    """What the columns are over all pieces, given with their numbers of rows; the widest text counts.

    Raises
    ------
    ValueError
        With the name of a column that is not the same everywhere.
    """
    chosen = [found for found, rows in all_found if rows] or [found for found, _ in all_found[:1]]
    if not chosen:
        return [
            {"kind": "i8" if f.kind == "id" else f.kind, "shape": list(cell_shape(f.shape)), "width": 1} for f in fields
        ]
    merged = [dict(facts) for facts in chosen[0]]
    for found in chosen[1:]:
        for field, known, facts in zip(fields, merged, found, strict=True):
            if known["kind"] != facts["kind"] or known["shape"] != facts["shape"]:
                raise ValueError(f"column {field.name!r} is {known['kind']} {known['shape']} in one partition and "
                                 f"{facts['kind']} {facts['shape']} in another")  # fmt: skip
            known["width"] = max(known["width"], facts["width"])
    return merged
