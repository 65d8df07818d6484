"""Columns as they come out of a file, and how a map finds them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import ChunkError, SurveyError, did_you_mean
from ..units import factor

_ELEMENT = re.compile(r"(.+)\[(\d+)\]")


@dataclass(frozen=True)
class Native:
    """A column of a file.

    Attributes
    ----------
    data : array, shape (n, ...)
        Native byte order; masked where the format has nulls.
    unit : str
        As the file states it, empty for none.
    """

    data: np.ndarray
    unit: str = ""


def locate(reference: str, names: Iterable[str]) -> tuple[str, int | None]:
    """Find the column, and the element of it, that a reference such as ``MODELFLUX[2]`` names.

    Exact spelling first, then any case if that leaves one.

    Raises
    ------
    SurveyError
        If there is none, or case alone tells several apart.
    """
    names = tuple(names)
    found = _one(reference, names)
    if found is not None:
        return found, None
    element = _ELEMENT.fullmatch(reference)
    found = _one(element[1], names) if element else None
    if found is None:
        raise SurveyError(f"no column {reference!r}{did_you_mean(reference, names)}")
    return found, int(element[2])


def _one(name: str, names: tuple[str, ...]) -> str | None:
    if name in names:
        return name
    near = [n for n in names if n.lower() == name.lower()]
    if len(near) > 1:
        raise SurveyError(f"column {name!r} could be any of {', '.join(near)}; write the exact name")
    return near[0] if near else None


def element(native: Native, reference: str, index: int | None) -> Native:
    """Take an element of a vector column; without one the column must be no vector.

    Raises
    ------
    SurveyError
        If the cells have another shape.
    """
    cell = native.data.shape[1:]
    if index is None:
        if cell == (1,):
            return Native(native.data[:, 0], native.unit)
        return native
    if len(cell) != 1 or index >= cell[0]:
        raise SurveyError(f"column {reference!r}: cells have shape {cell}, so there is no element {index}")
    return Native(native.data[:, index], native.unit)


def numbers(columns: Mapping[str, Native], reference: str) -> np.ndarray:
    """One number per object.

    Raises
    ------
    SurveyError
        If the column holds text or vectors.
    """
    data = columns[reference].data
    if data.ndim != 1:
        raise SurveyError(
            f"column {reference!r} has cells of shape {data.shape[1:]}; name an element, such as {reference}[0]"
        )
    if data.dtype.kind == "O" or data.dtype.kind in "SU":
        return _parsed(data, reference)
    if data.dtype.kind not in "biuf":
        raise SurveyError(f"column {reference!r} has type {data.dtype}, needs numbers")
    return data


def _parsed(data: np.ndarray, reference: str) -> np.ndarray:
    """Numbers written as text; an empty text is missing."""
    text = np.char.strip(np.ma.getdata(data).astype(str))
    blank = (text == "") | np.ma.getmaskarray(data)
    try:
        return np.ma.MaskedArray(np.where(blank, "nan", text).astype(np.float64), blank)
    except ValueError:
        row = next(i for i, value in enumerate(text) if not blank[i] and not _is_number(value))
        raise SurveyError(f"column {reference!r} needs numbers, found {str(text[row])[:60]!r} in row {row}") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def unit_factor(native: Native, reference: str, unit: str | None, target: str, fallback: str | None = None) -> float:
    """Factor from the unit of a column to ``target``.

    Parameters
    ----------
    unit : str or None
        What the map states; None: what the file states.
    fallback : str, optional
        Taken where neither states one.

    Raises
    ------
    SurveyError
        If map and file contradict each other, or none states a unit.
    """
    stated = _factor(native.unit, target)
    if unit is None:
        if stated is None and native.unit.strip():
            raise SurveyError(f"column {reference!r}: {_mismatch(native.unit, target)}")
        if stated is None and fallback is None:
            raise SurveyError(f"column {reference!r} has no unit in the file; state it in the survey map (`unit:`)")
        return factor(fallback, target) if stated is None else stated
    claimed = factor(unit, target)
    if stated is not None and not np.isclose(stated, claimed, rtol=1e-6):
        raise SurveyError(f"column {reference!r} is in {native.unit!r} by the file and in {unit!r} by the survey map")
    return claimed


def _mismatch(unit: str, target: str) -> str:
    try:
        factor(unit.strip(), target)
    except ChunkError as error:
        return str(error)
    return ""


def flux_factor(unit: str) -> float | None:
    """nJy per unit as found in a file; None if that is no linear unit of flux density."""
    return _factor(unit, "nJy")


def _factor(unit: str, target: str) -> float | None:
    if not unit.strip():
        return None
    try:
        return factor(unit.strip(), target)
    except ChunkError:
        return None
