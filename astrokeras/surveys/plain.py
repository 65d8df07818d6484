"""Columns that are no photometry: identifiers, labels, and what is only carried along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ..errors import SurveyError
from ..fields import Field, by_name
from .calibrate import Measurements
from .columns import Native, numbers, unit_factor
from .language import Label
from .request import LABELS, Request


def label(request: Request, name: str, columns: Mapping[str, Native], n: int) -> np.ndarray:
    """Values of ``z_spec``, ``class_true`` or ``extendedness``."""
    stated = request.label(name)
    text = by_name(LABELS.values())[name].kind == "str"
    if stated is None or stated.column not in columns:
        return np.full(n, "", "U1") if text else np.full(n, np.nan)
    data = columns[stated.column].data
    if stated.codes is not None:
        return _decoded(data, stated, text)
    if text:
        return texts(data)
    found = Measurements.of(numbers(columns, stated.column), request.survey.missing + stated.missing)
    values = np.where(found.missing | np.isinf(found.data), np.nan, found.data)
    return values if name == "z_spec" else values.astype(np.float32)


def _decoded(data: np.ndarray, stated: Label, text: bool) -> np.ndarray:
    """Meaning of codes; a value without one is missing."""
    codes, places = np.unique(texts(data), return_inverse=True)
    meanings = [stated.codes.get(code, "" if text else np.nan) for code in codes.tolist()]
    return (
        np.array(meanings, str if text else np.float32)[places] if len(codes) else np.empty(0, "U1" if text else "f4")
    )


def texts(data: np.ndarray) -> np.ndarray:
    """Text of every value: integers without a point, nothing where masked."""
    plain = np.ma.getdata(data)
    if plain.dtype.kind == "f" and np.all(plain[np.isfinite(plain)] % 1 == 0):
        whole = np.where(np.isfinite(plain), plain, 0).astype(np.int64).astype(str)
        plain = np.where(np.isfinite(plain), whole, "")
    if plain.dtype.kind == "b":
        plain = plain.astype(np.int8)
    text = np.char.strip(plain.astype(str))
    return np.where(np.ma.getmaskarray(data), "", text) if np.ma.isMaskedArray(data) else text


def identifiers(columns: Mapping[str, Native], names: Iterable[str], what: str, optional: bool = False) -> np.ndarray:
    """One identifier per object: int64, or text if the column is text or several are joined with ``-``.

    Raises
    ------
    SurveyError
        If a value is missing, or a column holds fractions.
    """
    parts = [_identifier(columns[name].data, name, what, optional) for name in names]
    if len(parts) == 1:
        return parts[0]
    joined = texts(parts[0])
    for part in parts[1:]:
        joined = np.char.add(np.char.add(joined, "-"), texts(part))
    return joined


def _identifier(data: np.ndarray, name: str, what: str, optional: bool) -> np.ndarray:
    if data.ndim != 1:
        raise SurveyError(f"column {name!r} has several values per object; {what} needs one")
    masked = np.ma.getmaskarray(data)
    plain = np.ma.getdata(data)
    if plain.dtype.kind == "f":
        masked = masked | ~np.isfinite(plain)
        plain = np.where(masked, 0.0, plain)
    if np.any(masked) and not optional:
        raise SurveyError(f"column {name!r} is missing in row {int(np.argmax(masked))}; {what} must be known")
    if plain.dtype.kind == "f":
        if np.any(plain % 1) or np.any(np.abs(plain) >= 2**53):
            raise SurveyError(f"column {name!r} holds fractions; {what} needs integers or text")
        plain = plain.astype(np.int64)
    elif plain.dtype.kind == "u" and plain.dtype.itemsize == 8 and np.any(plain >= 2**63):
        plain = plain.astype(str)
    elif plain.dtype.kind in "iub":
        plain = plain.astype(np.int64)
    else:
        return np.char.strip(plain.astype(str))
    return np.ma.MaskedArray(plain, masked) if np.any(masked) else plain


def _numbers(native: Native, reference: str, kept: Field) -> np.ndarray:
    try:
        return numbers({reference: native}, reference)
    except SurveyError as error:
        # A name alone in `keep` means numbers.
        column = "" if kept.name == reference else f"column: {reference}, "
        raise SurveyError(f"{error}; to keep text, say keep: {{{kept.name}: {{{column}kind: str}}}}") from None


def copied(native: Native, reference: str, kept: Field) -> np.ndarray:
    """A column that is only carried along, in the type and unit that were declared for it."""
    data = native.data
    if kept.kind in ("str", "id"):
        return texts(data) if kept.kind == "str" else _identifier(data, reference, kept.name, True)
    if data.dtype.kind in "SUOT":
        data = _numbers(native, reference, kept)
    if kept.kind in ("f4", "f8"):
        values = np.ma.filled(data.astype(kept.kind), np.nan)
        return (
            values * np.asarray(unit_factor(native, reference, None, kept.unit, kept.unit), values.dtype)
            if kept.unit
            else values
        )
    if data.dtype.kind == "f" and kept.kind != "bool":
        whole = np.isfinite(data)
        if np.any(np.ma.getdata(data)[np.ma.filled(whole, False)] % 1):
            raise SurveyError(f"column {reference!r} holds fractions; keep it as f8, not {kept.kind}")
        data = np.ma.MaskedArray(np.where(whole, data, 0), ~whole | np.ma.getmaskarray(data))
    return data.astype(np.bool_ if kept.kind == "bool" else kept.kind)
