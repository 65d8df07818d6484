"""What a product cannot hold, said before anything runs, with the name of the column."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np

from ..errors import ChunkError
from ..fields import Field


def check_fields(fields: Iterable[Field], output: str) -> None:
    """Check names, types, cell shapes, integer nulls, units and UCDs.

    Raises
    ------
    ChunkError
        At the first column that ``output`` cannot write.
    """
    seen: dict[str, str] = {}
    for field in fields:
        where = f"{output}: column {field.name!r}"
        if field.name.lower() in seen:
            raise ChunkError(
                f"{where} and {seen[field.name.lower()]!r} differ in case only, which readers take for one"
            )
        seen[field.name.lower()] = field.name
        if field.kind in ("str", "id") and field.shape:
            raise ChunkError(
                f"{where} holds arrays of text (shape {field.shape}); only one text per row can be written"
            )
        if any(n == 0 or n < -1 for n in field.shape):
            raise ChunkError(f"{where} has cells of shape {field.shape}; every axis needs one element or more")
        _check_null(field, where)
        _check_meaning(field, where)


def _check_null(field: Field, where: str) -> None:
    if field.null is None:
        return
    if field.kind not in ("i2", "i4", "i8"):
        raise ChunkError(f"{where} of type {field.kind} has the null value {field.null}; only i2, i4, i8 take one")
    allowed = np.iinfo(field.kind)
    if not allowed.min <= field.null <= allowed.max:
        raise ChunkError(f"{where}: null value {field.null} is beyond {field.kind} ({allowed.min} to {allowed.max})")


def _check_meaning(field: Field, where: str) -> None:
    from astropy.io.votable.ucd import check_ucd

    if field.ucd and not check_ucd(field.ucd, check_controlled_vocabulary=True):
        raise ChunkError(f"{where} has UCD {field.ucd!r}, which is not in the UCD1+ vocabulary")
    if field.unit:
        vounit(field.unit, where)


def vounit(unit: str, where: str) -> str:
    """Spelling of a unit in the VOUnit standard.

    Raises
    ------
    ChunkError
        If the standard has no such unit.
    """
    from astropy import units as u

    # Deprecated units (erg, Angstrom) are still valid.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)
        try:
            spelled = u.Unit(unit).to_string("vounit")
            u.Unit(spelled, format="vounit", parse_strict="raise")
        except ValueError as error:
            raise ChunkError(f"{where} has unit {unit!r}, which is no VOUnit: {error}") from None
    return spelled
