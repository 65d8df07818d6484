"""Chunks: astropy tables at the border of a stage. Checks, units and missing values are settled here, once.

Inside: native byte order, plain units as declared, NaN = no data for floats, masks only on integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, QTable, Table, vstack
from astropy.utils.masked import Masked

from .errors import ChunkError, did_you_mean
from .expression import Expression
from .fields import FACTS, STAMP_FACTS, Field, by_name
from .flags import Flag
from .units import factor

DTYPES = {"f4": np.float32, "f8": np.float64, "i2": np.int16, "i4": np.int32, "i8": np.int64, "bool": np.bool_}


def canonical(table: Any) -> QTable:
    """Return a shallow QTable of a Table, QTable or pandas frame; SkyCoord columns give ``ra`` and ``dec`` (ICRS, deg).

    Raises
    ------
    ChunkError
        If it is no table.
    """
    if hasattr(table, "to_records") and not isinstance(table, Table):
        table = Table.from_pandas(table)
    if not isinstance(table, Table):
        raise ChunkError(f"expected an astropy Table or a pandas DataFrame, got {type(table).__name__}")
    taken = QTable(table, copy=False)
    for name in [n for n in taken.colnames if isinstance(taken[n], SkyCoord)]:
        sky = taken[name].icrs
        for axis in ("ra", "dec"):
            if axis not in taken.colnames or axis == name:
                taken[axis] = getattr(sky, axis).to(u.deg)
    return taken


def unit_of(column: Any) -> str:
    """Unit of a column as text, empty for none."""
    return "" if getattr(column, "unit", None) is None else column.unit.to_string()


def values(column: Any, unit: str, where: str) -> np.ndarray:
    """Plain native array of a column in ``unit``; masked floats become NaN, other masked values stay masked.

    Raises
    ------
    ChunkError
        If the unit does not convert, or is absent where one is needed.
    """
    mask = getattr(column, "mask", None)
    found = unit_of(column)
    array = column.unmasked if isinstance(column, Masked) else column
    array = np.asarray(array.value if isinstance(array, u.Quantity) else array)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if unit and not found:
        raise ChunkError(
            f"{where} has no unit; it needs one that converts to {unit!r}, or a survey map that states it "
            "(canonical_table)"
        )
    if found != unit and (found or unit):
        scale = _factor(found, unit, where)
        # A factor of one must not turn integers into floats.
        array = array * np.asarray(scale, array.dtype if array.dtype.kind == "f" else float) if scale != 1 else array
    if mask is None or not np.any(mask):
        return array
    if array.dtype.kind == "f":
        return np.where(mask, np.asarray(np.nan, array.dtype), array)
    return np.ma.MaskedArray(array, mask)


def _factor(found: str, unit: str, where: str) -> float:
    try:
        return factor(found, unit)
    except ChunkError as error:
        raise ChunkError(f"{where}: {error}") from None


def project(table: QTable, fields: Iterable[Field], stage: str) -> QTable:
    """Take the declared columns, in declared units and types; optional ones may be absent.

    Raises
    ------
    ChunkError
        If one is missing or does not fit.
    """
    out = QTable()
    for field in fields:
        if field.name not in table.colnames:
            if field.optional:
                continue
            near = did_you_mean(field.name, table.colnames)
            raise ChunkError(f"{stage} reads {field.name!r}, which the table does not have{near}")
        if field.unit is None:
            field = field.model_copy(update={"unit": unit_of(table[field.name])})
        array = typed(values(table[field.name], field.unit, f"{stage}: column {field.name!r}"), field, stage)
        column = as_column(array, field)
        # What a flux or a stamp is was settled where it was written; a reader does not restate it.
        column.info.meta |= facts_of(table[field.name], FACTS + STAMP_FACTS)
        out[field.name] = column
    if not out.colnames:
        out["object_id"] = np.arange(len(table))  # a table without columns has no length; keep it
    return out


def typed(array: np.ndarray, field: Field, stage: str) -> np.ndarray:
    """Cast to the declared type; check the cell shape (``-1`` = any length).

    Raises
    ------
    ChunkError
        If the type cannot hold the values, or the shape differs. A float beyond float32 becomes infinite.
    """
    where = f"{stage}: column {field.name!r}"
    cell = array.shape[1:]
    if len(cell) != len(field.shape) or any(a != b for a, b in zip(cell, field.shape, strict=True) if b >= 0):
        raise ChunkError(f"{where} has cells of shape {cell}, needs {field.shape}")
    if field.kind in ("str", "id"):
        if array.dtype.kind in "iu" and field.kind == "id":
            return _narrowed(array, np.dtype(np.int64), where)
        if array.dtype.kind in "SUOT":
            return _texts(array, where)
        raise ChunkError(
            f"{where} has type {array.dtype}, needs {'text or integers' if field.kind == 'id' else 'text'}"
        )
    target = np.dtype(DTYPES[field.kind])
    if array.dtype.kind not in "fiub" or (target.kind != "f" and array.dtype.kind == "f"):
        raise ChunkError(f"{where} has type {array.dtype}, needs {target}")
    if target.kind == "i" and array.dtype.kind in "iu":
        return _narrowed(array, target, where)
    with np.errstate(over="ignore"):
        return array.astype(target, copy=False)


def _narrowed(array: np.ndarray, target: np.dtype, where: str) -> np.ndarray:
    """Integers of another width; numpy would wrap those that do not fit."""
    if not np.can_cast(array.dtype, target) and array.size:
        low, high = np.iinfo(target).min, np.iinfo(target).max
        for value in (array.min(), array.max()):
            if not np.ma.is_masked(value) and not low <= int(value) <= high:
                raise ChunkError(f"{where} holds {value}; {target} goes from {low} to {high}")
    return array.astype(target, copy=False)


def _texts(array: np.ndarray, where: str) -> np.ndarray:
    """Texts; a masked one, None and NaN are the empty text."""
    array = array.filled("") if np.ma.isMA(array) else array
    if array.dtype.kind == "O":
        array = np.where([v is None or v != v for v in array.ravel()], "", array.ravel()).reshape(array.shape)
    try:
        return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array.astype(str)
    except UnicodeDecodeError as error:
        raise ChunkError(f"{where} holds bytes that are no UTF-8 text: {error.object!r}") from None


def as_column(array: np.ndarray, field: Field) -> Any:
    """Column of a QTable with the facts of its Field."""
    meta = field.meta | field.facts
    if field.unit:
        # Without a dtype, Quantity would turn integers into floats.
        column: Any = u.Quantity(np.ma.getdata(array), field.unit, dtype=array.dtype, copy=False)
        if isinstance(array, np.ma.MaskedArray):
            column = Masked(column, mask=np.ma.getmaskarray(array))
    elif isinstance(array, np.ma.MaskedArray):
        return MaskedColumn(array, description=field.description or None, meta=meta, copy=False)
    else:
        return Column(array, description=field.description or None, meta=meta, copy=False)
    column.info.description = field.description or None
    column.info.meta = meta
    return column


def facts_of(column: Any, facts: Iterable[str] = FACTS) -> dict[str, str]:
    """Filter, photometry and extinction state (or other ``facts``) that a column carries in its ``info.meta``."""
    meta = column.info.meta or {}
    return {fact: meta[fact] for fact in facts if fact in meta}


def delivered(result: Mapping[str, Any], fields: Iterable[Field], stage: str, n: int) -> dict[str, np.ndarray]:
    """Results of a stage as arrays of the declared types; a Quantity is converted, a plain array has the declared unit.

    Raises
    ------
    ChunkError
        If the stage delivered other columns, lengths, units, shapes or types than it declared.
    """
    declared = by_name(fields)
    if set(result) != set(declared):
        raise ChunkError(f"{stage} declared {sorted(declared)} and delivered {sorted(result)}")
    out = {}
    for name, field in declared.items():
        unit = "" if getattr(result[name], "unit", None) is None else field.unit
        array = typed(values(result[name], unit, f"{stage}: column {name!r}"), field, stage)
        if len(array) != n:
            raise ChunkError(f"{stage}: column {name!r} has {len(array)} rows for {n} objects")
        out[name] = array
    return out


def append(table: Any, result: Mapping[str, Any], fields: Iterable[Field], stage: str) -> Any:
    """Return a copy of ``table`` (same class, data shared) with the columns of a stage appended.

    Raises
    ------
    ChunkError
        As `delivered`.
    """
    declared = by_name(fields)
    frame = not isinstance(table, Table)
    out = table.copy() if frame else table.copy(copy_data=False)
    for name, array in delivered(result, declared.values(), stage, len(table)).items():
        if name == "flags" and "flags" in (out.columns if frame else out.colnames):
            array = array | typed(np.asarray(out["flags"]), declared[name], stage)
        column = (list(array) if array.ndim > 1 else array) if frame else as_column(array, declared[name])
        if frame or name in out.colnames:
            out[name] = column
        else:
            # Assignment copies; stamps and densities are too many bytes for that.
            out.add_column(column, name=name, copy=array.ndim == 1)
    return out


def evaluate(text: str, columns: Mapping[str, Any], n: int) -> np.ndarray:
    """Rows (of ``n``) for which a ``where`` expression holds; a comparison with NaN or a masked value does not."""
    expression = Expression.parse(text)
    return expression.select({name: _bare(columns[name]) for name in expression.names & set(columns)}, n)


def _bare(column: Any) -> np.ndarray:
    unit = getattr(column, "unit", None)
    return values(column, "" if unit is None else unit.to_string(), "where")


def scatter(
    part: Mapping[str, np.ndarray], chosen: np.ndarray, fields: Iterable[Field], flag: Flag
) -> dict[str, np.ndarray]:
    """Spread results of the chosen rows over all rows; the others are missing and, if flags are written, flagged."""
    out: dict[str, np.ndarray] = {}
    for name, field in by_name(fields).items():
        full = missing(field, len(chosen), part[name].dtype)
        full[chosen] = part[name]
        if name == "flags":
            full = np.where(chosen, np.asarray(full), np.int32(flag))
        out[name] = full
    return out


def gather(
    runs: Iterable[tuple[Callable[[QTable, QTable], Mapping[str, Any]], np.ndarray]],
    projected: QTable,
    taken: QTable,
    fields: Iterable[Field],
    stage: str,
) -> dict[str, np.ndarray]:
    """Results for all rows, where each function is run on some of them: every row once, at least one row in all."""
    used = [(run, rows) for run, rows in runs if len(rows)]
    parts = [delivered(run(projected[rows], taken[rows]), fields, stage, len(rows)) for run, rows in used]
    order = np.argsort(np.concatenate([rows for _, rows in used]))
    out = {}
    for name in parts[0]:
        arrays = [part[name] for part in parts]
        join = np.ma.concatenate if any(map(np.ma.isMA, arrays)) else np.concatenate
        out[name] = join(arrays)[order]
    return out


def missing(field: Field, n: int, dtype: np.dtype) -> np.ndarray:
    """``n`` missing values: NaN, the empty text, or a masked integer; flags are 0.

    Parameters
    ----------
    dtype : dtype
        Of the values that are there: width of a text, and what an identifier is.
    """
    shape = (n, *field.shape)
    if field.kind in ("f4", "f8"):
        return np.full(shape, np.nan, DTYPES[field.kind])
    if dtype.kind == "U":
        return np.full(shape, "", dtype)
    if field.name == "flags":
        return np.zeros(shape, np.int32)
    # Zeros below the mask: what nobody reads is the same in every run.
    return np.ma.MaskedArray(np.zeros(shape, DTYPES.get(field.kind, np.int64)), True)


def concatenate(chunks: list[QTable]) -> QTable:
    """Stack chunks of equal columns."""
    filled = [chunk for chunk in chunks if len(chunk)] or chunks[:1]
    return filled[0] if len(filled) == 1 else vstack(filled, metadata_conflicts="silent")
