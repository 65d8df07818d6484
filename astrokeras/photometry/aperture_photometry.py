"""Fluxes in apertures: on stamps from which neighbours were taken out, in any number of linear weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from photutils.geometry import elliptical_overlap_grid

from ..images.image import LOST, Pixel
from .psf_model import Psf
from .tile_planes import Plane

#: Part of a weight that may lie on pixels nobody knows a value for.
_LOST = 0.5
#: Largest half-width of a stamp, in pixels.
LARGEST = 400


@dataclass(frozen=True, eq=False)
class Stamp:
    """Pixels around an object, its neighbours replaced.

    Attributes
    ----------
    data, variance : ndarray
        ``(y, x)``, odd; 0 where neither a pixel nor its mirror image is usable.
    known : ndarray of bool
        Where it is.
    outside, bad : ndarray of bool
        Beyond the edge of the image; within, but without a usable value.
    dx, dy : float
        Offset of the object from the central pixel.
    """

    data: np.ndarray
    variance: np.ndarray
    known: np.ndarray
    outside: np.ndarray
    bad: np.ndarray
    dx: float
    dy: float


@dataclass(frozen=True, eq=False)
class Cutter:
    """Cuts clean stamps of the objects of a plane.

    Attributes
    ----------
    plane : Plane
        Pixels.
    labels : ndarray
        Object of each pixel.
    remainder : ndarray
        The plane without the PSF parts of all its objects, or its data as they are.
    """

    plane: Plane
    labels: np.ndarray
    remainder: np.ndarray

    def stamp(self, x: float, y: float, label: int, flux: float, radius: int) -> Stamp:
        """Stamp of an object.

        Pixels of other objects and bad ones take the value at the opposite side of the object, as SExtractor and
        photutils correct apertures; the PSF part of neighbours was subtracted before, and that of the object itself,
        ``flux``, is put back. Saturated pixels keep their value: they are a lower limit, and nothing is better.
        """
        plane, xi, yi = self.plane, round(float(x)), round(float(y))
        data = _cut(self.remainder, yi, xi, radius, 0.0)
        variance = _cut(plane.variance, yi, xi, radius, np.inf)
        mask = _cut(plane.mask, yi, xi, radius, int(Pixel.NO_DATA))
        labels = _cut(self.labels, yi, xi, radius, 0)
        outside = _cut(np.zeros(plane.mask.shape, bool), yi, xi, radius, True)
        dx, dy = float(x - xi), float(y - yi)
        if flux:
            data = data + flux * _padded(plane.prepared.psf, dx, dy, radius)
        saturated = (mask & Pixel.SATURATED) != 0
        data = np.where(saturated, _cut(plane.data, yi, xi, radius, 0.0), data)
        bad = (mask & LOST) != 0
        replaced = ((labels != 0) & (labels != label)) | bad
        mirror = [_mirrored(a, dx, dy, fill) for a, fill in ((data, 0.0), (variance, np.inf), (replaced, True))]
        known = ~(replaced & mirror[2])
        data, variance = (
            np.where(known, np.where(replaced, other, own), 0.0)
            for own, other in zip((data, variance), mirror[:2], strict=True)
        )
        return Stamp(data, np.where(np.isfinite(variance), variance, 0.0), known, outside, bad & ~outside, dx, dy)


def _cut(array: np.ndarray, y: int, x: int, radius: int, fill) -> np.ndarray:
    """Square of ``2 radius + 1`` pixels, ``fill`` beyond the edge."""
    out = np.full((2 * radius + 1, 2 * radius + 1), fill, array.dtype)
    top, left = y - radius, x - radius
    rows = slice(max(top, 0), min(top + out.shape[0], array.shape[0]))
    columns = slice(max(left, 0), min(left + out.shape[1], array.shape[1]))
    if rows.stop > rows.start and columns.stop > columns.start:
        out[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = array[rows, columns]
    return out


def _mirrored(array: np.ndarray, dx: float, dy: float, fill) -> np.ndarray:
    """Array turned by 180 degrees about a place near its centre, to the nearest half pixel."""
    radius = array.shape[0] // 2
    return _cut(array[::-1, ::-1], radius - round(2 * dy), radius - round(2 * dx), radius, fill)


def _padded(psf: Psf, dx: float, dy: float, radius: int) -> np.ndarray:
    """PSF on a stamp that may be larger than it."""
    inner = min(radius, psf.radius)
    stamp = psf.stamps(np.array([dx]), np.array([dy]), inner)[0]
    return np.pad(stamp, radius - inner)


def ellipse(stamp: Stamp, a: float, b: float, theta: float) -> np.ndarray:
    """Exact overlap of the pixels of a stamp with an ellipse around the object."""
    radius = stamp.data.shape[0] // 2
    left, low = -radius - 0.5 - stamp.dx, -radius - 0.5 - stamp.dy
    n = 2 * radius + 1
    return elliptical_overlap_grid(left, left + n, low, low + n, n, n, a, b, theta, 1, 1)


def weights(stamp: Stamp, profile: Psf) -> np.ndarray:
    """A profile on the pixels of a stamp."""
    return _padded(profile, stamp.dx, stamp.dy, stamp.data.shape[0] // 2)


@dataclass(frozen=True)
class Sum:
    """A weighted sum of pixels: flux, its error without correlation, effective pixels, part of the weight lost."""

    flux: float
    error: float
    pixels: float
    lost: float


NOTHING = Sum(np.nan, np.nan, 1.0, 1.0)


def add(stamp: Stamp, weight: np.ndarray) -> Sum:
    """Sum a stamp; NaN if too much of the weight is on pixels without a value.

    What is lost beyond that is made good in proportion.
    """
    total = weight.sum()
    lost = 1 - weight[stamp.known].sum() / total if total > 0 else 1.0
    if not lost <= _LOST:
        return NOTHING
    flux = (weight * stamp.data).sum() / (1 - lost)
    error = np.sqrt((weight**2 * stamp.variance).sum()) / (1 - lost)
    return Sum(float(flux), float(error), float(total**2 / (weight**2).sum()), float(lost))
