"""Arrow columns to numpy: nulls become NaN in floats and masks elsewhere."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import IngestError


def native(column: pa.ChunkedArray, where: str) -> np.ndarray:
    """Numpy array of an Arrow column.

    Raises
    ------
    IngestError
        If it holds anything but numbers, texts, booleans and lists of equal length.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return native(column.cast(kind.value_type), where)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _vectors(column, where)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _texts(column)
    if pa.types.is_temporal(kind):
        # Dates, and what only looks like a time: sexagesimal angles.
        return _texts(column.cast(pa.string()))
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        column, kind = column.cast(pa.float64()), pa.float64()
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise IngestError(f"{where}: type {kind} is not read (numbers, text, booleans and lists of equal length are)")
    if not column.null_count:
        return column.to_numpy()
    if pa.types.is_floating(kind):
        return column.fill_null(np.nan).to_numpy()
    mask = column.is_null().to_numpy()
    return np.ma.MaskedArray(column.fill_null(False if pa.types.is_boolean(kind) else 0).to_numpy(), mask)


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    if not len(column):
        return np.empty(0, "U1")
    return pc.fill_null(column, "").to_numpy(zero_copy_only=False).astype(str)


def _vectors(column: pa.ChunkedArray, where: str) -> np.ndarray:
    lengths = np.unique(pc.list_value_length(column).to_numpy()) if len(column) else np.zeros(1)
    if len(lengths) != 1 or column.null_count:
        raise IngestError(f"{where}: has rows of different lengths, which are not read")
    flat = native(pa.chunked_array([c.flatten() for c in column.chunks] or [], type=column.type.value_type), where)
    return flat.reshape(len(column), int(lengths[0]))
