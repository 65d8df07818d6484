"""Positions of a survey as ICRS degrees."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import SurveyError
from .calibrate import Measurements
from .columns import Native, numbers, unit_factor
from .request import Request


def positions(request: Request, columns: Mapping[str, Native], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination in deg (ICRS); both NaN where either is missing or out of range."""
    stated = request.survey.position
    if not has_positions(request, columns):
        return np.full(n, np.nan), np.full(n, np.nan)
    ra, dec = (_angle(request, columns, ref, ref is stated.ra) for ref in (stated.ra, stated.dec))
    with np.errstate(invalid="ignore"):
        good = (ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90)
    ra, dec = np.where(good, ra, np.nan), np.where(good, dec, np.nan)
    if stated.frame == "icrs":
        return ra % 360.0, dec
    from astropy.coordinates import SkyCoord

    frame = {"fk5": "fk5", "fk4": "fk4", "galactic": "galactic"}[stated.frame]
    sky = SkyCoord(ra, dec, unit="deg", frame=frame).icrs
    return sky.ra.deg, sky.dec.deg


def has_positions(request: Request, columns: Mapping[str, Native]) -> bool:
    """Whether a file has the columns of the positions."""
    stated = request.survey.position
    return stated.ra in columns and stated.dec in columns


def _angle(request: Request, columns: Mapping[str, Native], reference: str, longitude: bool) -> np.ndarray:
    unit = request.survey.position.unit
    hours = unit == "hourangle" and longitude
    native = columns[reference]
    if native.data.dtype.kind in "SUOT" and unit == "hourangle":
        return _sexagesimal(native.data, "hourangle" if hours else "deg", reference)
    found = Measurements.of(numbers(columns, reference), request.survey.missing)
    data = np.where(found.missing, np.nan, found.data)
    stated = {"rad": "rad", "deg": "deg"}.get(unit, "hourangle" if hours else "deg")
    return data * unit_factor(native, reference, stated, "deg")


def _sexagesimal(data: np.ndarray, unit: str, reference: str) -> np.ndarray:
    from astropy.coordinates import Angle

    text = np.ma.filled(data, "").astype(str)
    out = np.full(len(text), np.nan)
    given = np.char.strip(text) != ""
    try:
        out[given] = Angle(text[given], unit=unit).deg
    except ValueError as error:
        raise SurveyError(f"column {reference!r} holds no angles: {error}") from None
    return out
