"""Geometry of a match on the sky: unit vectors, so that poles and the meridian of RA = 0 are like any other place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

#: Radians of an arcsecond.
ARCSEC = np.pi / 648000.0


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Points on the unit sphere.

    Parameters
    ----------
    ra, dec : array, shape (n,)
        In deg.

    Returns
    -------
    array, shape (n, 3)
        NaN where a coordinate is not finite, or the declination beyond a pole.
    """
    with np.errstate(invalid="ignore"):
        a, d = np.radians(ra), np.radians(np.where(np.abs(dec) <= 90, dec, np.nan))
        return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def angles(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination in deg of points on the unit sphere, those of NaN left out."""
    x, y, z = points[np.isfinite(points).all(axis=1)].T
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def tangents(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors to the east and to the north, shape (n, 3) each, of positions in deg."""
    with np.errstate(invalid="ignore"):
        a, d = np.radians(ra), np.radians(dec)
        east = np.stack([-np.sin(a), np.cos(a), np.zeros_like(a)], axis=-1)
        north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=-1)
    return east, north


def moved(
    ra: np.ndarray, dec: np.ndarray, pm_ra: np.ndarray, pm_dec: np.ndarray, years: float | np.ndarray
) -> np.ndarray:
    """Unit vectors after uniform motion in space without a radial velocity (ESA SP-1200, vol. 1, sec. 1.5.5).

    Parameters
    ----------
    ra, dec : array, shape (n,)
        In deg.
    pm_ra, pm_dec : array, shape (n,)
        In mas/yr; ``pm_ra`` is that of the great circle, with the cosine of the declination. NaN: at rest.
    years : float or array, shape (n,)
        Julian years; NaN: not moved.

    Returns
    -------
    array, shape (n, 3)
    """
    east, north = tangents(ra, dec)
    known = np.isfinite(pm_ra) & np.isfinite(pm_dec) & np.isfinite(years)
    shift = [np.where(known, pm * years, 0.0)[:, None] * ARCSEC / 1000.0 for pm in (pm_ra, pm_dec)]
    points = unit_vectors(ra, dec) + shift[0] * east + shift[1] * north
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def shifted(ra: np.ndarray, dec: np.ndarray, distance: float, angle: float) -> np.ndarray:
    """Unit vectors at a distance (arcsec) and position angle (rad, from north to east) of positions in deg."""
    east, north = tangents(ra, dec)
    direction = np.cos(angle) * north + np.sin(angle) * east
    return np.cos(distance * ARCSEC) * unit_vectors(ra, dec) + np.sin(distance * ARCSEC) * direction


@dataclass(frozen=True)
class Nearest:
    """What lies near each position.

    Attributes
    ----------
    index : array of int, shape (n,)
        Row of the nearest object; -1 where none is within the radius.
    separation : array, shape (n,)
        Its distance in arcsec; NaN where there is none.
    several : array of bool, shape (n,)
        Whether a second object is within the radius.
    """

    index: np.ndarray
    separation: np.ndarray
    several: np.ndarray


@dataclass(frozen=True)
class Sky:
    """Objects on the sky that can be searched: unit vectors, shape (m, 3), NaN where an object has no position."""

    points: np.ndarray

    @cached_property
    def _rows(self) -> np.ndarray:
        return np.flatnonzero(np.isfinite(self.points).all(axis=1))

    @cached_property
    def _tree(self) -> cKDTree:
        from scipy.spatial import cKDTree

        return cKDTree(self.points[self._rows])

    def nearest(self, points: np.ndarray, radius: float) -> Nearest:
        """Find the nearest object of each position.

        Parameters
        ----------
        points : array, shape (n, 3)
            Unit vectors; a row of NaN has no neighbour.
        radius : float
            In arcsec; an object at just this distance is within.
        """
        n = len(points)
        found = Nearest(np.full(n, -1), np.full(n, np.nan), np.zeros(n, bool))
        known = np.flatnonzero(np.isfinite(points).all(axis=1))
        if not len(self._rows) or not len(known):
            return found
        # A little more than the chord of the radius: the tree leaves out what lies at its bound.
        bound = 2.0 * np.sin(radius * ARCSEC / 2.0) * (1.0 + 1e-9) + 1e-15
        chord, row = self._tree.query(points[known], k=2, distance_upper_bound=bound)
        with np.errstate(invalid="ignore"):
            angle = 2.0 * np.arcsin(np.where(np.isfinite(chord), chord, np.nan) / 2.0) / ARCSEC
            # Rounding of the vectors moves a distance by some 1e-10 arcsec.
            near = angle <= radius + 1e-9
        matched = near[:, 0]
        found.index[known[matched]] = self._rows[row[matched, 0]]
        found.separation[known[matched]] = angle[matched, 0]
        found.several[known] = near[:, 1]
        return found
