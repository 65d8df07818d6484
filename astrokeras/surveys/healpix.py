"""Maps on the sky: values of HEALPix pixels (Gorski et al. 2005) at positions, from FITS tables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import SurveyError, did_you_mean
from .skymap import SkyMap


@dataclass(frozen=True)
class Pixels:
    """A map in memory.

    Attributes
    ----------
    nside : int
        Resolution.
    order, frame : str
        ``nested`` or ``ring``; ``icrs`` or ``galactic``.
    numbers : array of int or None
        Numbers of the pixels, sorted; None: all in order.
    values : array
        Their values; NaN where the map has none.
    """

    nside: int
    order: str
    frame: str
    numbers: np.ndarray | None
    values: np.ndarray

    def at(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Values at positions in deg (ICRS); NaN outside of the map, and without a position."""
        out = np.full(len(ra), np.nan)
        known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
        place = self._pixel(ra[known], dec[known])
        if self.numbers is None:
            out[known] = self.values[place]
            return out
        if not len(self.numbers):
            return out
        row = np.minimum(np.searchsorted(self.numbers, place), len(self.numbers) - 1)
        out[known] = np.where(self.numbers[row] == place, self.values[row], np.nan)
        return out

    def _pixel(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        from astropy import units as u
        from astropy.coordinates import SkyCoord
        from astropy_healpix import HEALPix

        sky = SkyCoord(ra, dec, unit="deg", frame="icrs").transform_to(self.frame)
        grid = HEALPix(self.nside, order=self.order)
        return grid.lonlat_to_healpix(sky.spherical.lon.to(u.deg), sky.spherical.lat.to(u.deg))


def at(stated: SkyMap, path: str, column: str, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Values of a column of a map at positions in deg (ICRS).

    Raises
    ------
    SurveyError
        If the file is no such map, or astropy-healpix is not installed.
    """
    try:
        state = os.stat(path)
    except OSError as error:
        raise SurveyError(f"{path}: {error.strerror}") from None
    return _read(stated, path, column, state.st_size, state.st_mtime_ns).at(ra, dec)


@lru_cache(maxsize=16)
def _read(stated: SkyMap, path: str, column: str, size: int, mtime: int) -> Pixels:
    from importlib.util import find_spec

    from astropy.io import fits

    if find_spec("astropy_healpix") is None:
        raise SurveyError("maps on the sky need astropy-healpix: pip install 'astrokeras[maps]'")
    try:
        with fits.open(path) as hdus:
            tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
            if not tables:
                raise SurveyError(f"{path}: has no table; a map is a FITS table of HEALPix pixels")
            data, header = tables[0].data, tables[0].header
            names = {name.lower(): name for name in data.names}
            if column.lower() not in names:
                raise SurveyError(f"{path}: no column {column!r}{did_you_mean(column, data.names)}")
            values = np.asarray(data[names[column.lower()]], np.float64).ravel()
            pixel = names.get(stated.pixel.lower())
            numbers = None if pixel is None else np.asarray(data[pixel], np.int64).ravel()
    except (OSError, ValueError, TypeError) as error:
        raise SurveyError(f"{path}: is no FITS map: {error}") from None
    return _made(stated, path, header, numbers, values)


def _made(stated: SkyMap, path: str, header: Any, numbers: np.ndarray | None, values: np.ndarray) -> Pixels:
    nside = stated.nside or header.get("NSIDE")
    order = stated.order or {"NESTED": "nested", "NEST": "nested", "RING": "ring"}.get(
        str(header.get("ORDERING", "")).strip().upper()
    )
    letter = str(header.get("COORDSYS", "C")).strip().upper()[:1]
    frame = stated.frame or {"G": "galactic", "C": "icrs", "Q": "icrs"}.get(letter)
    for key, value, card in (("nside", nside, "NSIDE"), ("order", order, "ORDERING"), ("frame", frame, "COORDSYS")):
        if value is None:
            raise SurveyError(f"{path}: the header has no {card} that is known; state `{key}` of the map")
    count = 12 * int(nside) ** 2
    if numbers is None and len(values) != count:
        raise SurveyError(f"{path}: {len(values)} values, but {count} pixels of nside {nside}, and no {stated.pixel!r}")
    if numbers is not None:
        row = np.argsort(numbers, kind="stable")
        numbers, values = numbers[row], values[row]
        if len(numbers) and not (numbers[0] >= 0 and numbers[-1] < count and np.all(np.diff(numbers) > 0)):
            raise SurveyError(f"{path}: column {stated.pixel!r} has repeated numbers, or some beyond {count - 1}")
    return Pixels(int(nside), order, frame, numbers, values)
