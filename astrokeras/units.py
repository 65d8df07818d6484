"""Units: the only home of flux constants and of unit conversion."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from astropy import units as u

from .errors import ChunkError

#: AB magnitude of a flux of 1 nJy: -2.5 log10(1e-9 / 3631) (Oke & Gunn 1983).
AB_ZERO_POINT = -2.5 * np.log10(1e-9 / 3631.0)
#: nJy in one nanomaggy.
NANOMAGGY = 3631.0
#: Relative flux error per magnitude of error: ln(10) / 2.5.
MAG_ERROR_SCALE = np.log(10.0) / 2.5

# Names that surveys use and astropy does not know, or reads as something else.
_ALIASES = {"nanomaggy": 3631.0 * u.nJy, "nanomaggies": 3631.0 * u.nJy, "nmgy": 3631.0 * u.nJy, "maggy": 3631.0 * u.Jy}


@lru_cache(maxsize=256)
def parse_unit(text: str) -> u.UnitBase:
    """Return the astropy unit of a text, nanomaggies included.

    Raises
    ------
    ChunkError
        If it is no unit.
    """
    if text.strip().lower() in _ALIASES:
        return u.Unit(_ALIASES[text.strip().lower()])
    try:
        return u.Unit(text)
    except ValueError as error:
        raise ChunkError(f"{text!r} is no unit: {error}") from None


@lru_cache(maxsize=256)
def factor(unit: str, to: str) -> float:
    """Factor that takes values from one unit to another.

    Raises
    ------
    ChunkError
        If the units do not convert by a factor (magnitudes never do: name their system in a survey map).
    """
    given, wanted = parse_unit(unit), parse_unit(to)
    # A magnitude is no UnitBase or none that converts; astropy would take mag(AB) to nJy, but not by a factor.
    if not isinstance(given, u.UnitBase) or not given.is_equivalent(wanted):
        raise ChunkError(f"unit {unit!r} does not convert to {to!r}{magnitude_hint(given)}")
    return float(given.to(wanted))


def converts(unit: str, to: str) -> bool:
    """Whether values are taken from one unit to another by a `factor`."""
    try:
        factor(unit, to)
    except ChunkError:
        return False
    return True


def magnitude_hint(unit: u.UnitBase) -> str:
    """What to do about a flux in magnitudes; nothing to say of other units."""
    if not isinstance(unit, u.MagUnit) and unit != u.mag:
        return ""
    return "; magnitudes need a survey map that names their system: {mag: COLUMN, system: AB}"


def ab_to_njy(mag: np.ndarray) -> np.ndarray:
    """Flux in nJy of AB magnitudes."""
    return 10.0 ** (-0.4 * (np.asarray(mag, float) - AB_ZERO_POINT))


def njy_to_ab(flux: np.ndarray) -> np.ndarray:
    """AB magnitudes of fluxes in nJy; NaN where the flux is not positive."""
    flux = np.asarray(flux, float)
    return AB_ZERO_POINT - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
