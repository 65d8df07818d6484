"""The part of a stamp around its object, without what belongs to others, and a piece of sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

#: Side of the part that is looked at: times that of the segment, and at least so many pixels.
_EXTENT = 2.5
_LEAST_SIDE = 48
#: A pixel this many standard deviations of its neighbours from their mean is an outlier.
_OUTLIER = 10
_NEIGHBOURS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]) / 8
#: Side of the box of sky; halved until there is one, down to 2.
_SKY_BOX = 32


@dataclass(frozen=True)
class View:
    """The part of a stamp around its object.

    Attributes
    ----------
    image : ndarray
        float64 ``(y, x)``, 0 where masked.
    masked : ndarray of bool
        Other objects, missing pixels and outliers.
    missing : ndarray of bool
        Of these, pixels that are no number, or were masked by the caller.
    galaxy : ndarray
        The image where the segment of the object is, 0 elsewhere.
    segment : ndarray of bool
        Pixels of that segment that are not masked.
    sky : ndarray
        A box of sky ``(y, x)``, empty if there is none.
    corner : tuple of int
        Of the part in the stamp (y, x).
    """

    image: np.ndarray
    masked: np.ndarray
    missing: np.ndarray
    galaxy: np.ndarray
    segment: np.ndarray
    sky: np.ndarray
    corner: tuple[int, int]


def look(image: np.ndarray, segments: np.ndarray, label: int, masked: np.ndarray) -> View:
    """Cut out, mask, and find a piece of sky.

    Parameters
    ----------
    image, segments, masked : ndarray
        ``(y, x)``: pixels; segments, 0 for the sky; pixels to leave out.
    label : int
        Of the segment of the object, which has pixels.
    """
    rows, columns = _around(segments == label)
    image, segments = image[rows, columns].astype(np.float64), segments[rows, columns]
    bad = masked[rows, columns] | ~np.isfinite(image)
    image = np.where(np.isfinite(image), image, 0.0)
    others = (segments != 0) & (segments != label)
    out = bad | others | _outliers(image)
    image = np.where(out, 0.0, image)
    segment = (segments == label) & ~out
    sky = image[_sky_box((segments != 0) | bad)]
    return View(image, out, bad, np.where(segment, image, 0.0), segment, sky, (rows.start, columns.start))


def _around(segment: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a square around a segment, as far as the stamp goes."""
    along = [np.flatnonzero(segment.any(axis=axis)) for axis in (1, 0)]
    lengths = [int(places[-1] - places[0]) + 1 for places in along]
    reach = max(int(max(lengths) * _EXTENT / 2), _LEAST_SIDE // 2)
    middles = [int(places[0]) + length // 2 for places, length in zip(along, lengths, strict=True)]
    return tuple(
        slice(max(0, middle - reach), min(size, middle + reach))
        for middle, size in zip(middles, segment.shape, strict=True)
    )


def _outliers(image: np.ndarray) -> np.ndarray:
    """Pixels far from their eight neighbours (Lotz et al. 2004, AJ 128, 163, section 3.1)."""
    mean = ndimage.correlate(image, _NEIGHBOURS, mode="nearest")
    variance = ndimage.correlate(image**2, _NEIGHBOURS, mode="nearest") - mean**2
    return (variance >= 0) & (np.abs(image - mean) > _OUTLIER * np.sqrt(np.maximum(variance, 0)))


def _sky_box(occupied: np.ndarray) -> tuple[slice, slice]:
    """First box without objects and masked pixels, row by row; the largest side that fits of 32, 16, ... 2."""
    height, width = occupied.shape
    sums = np.zeros((height + 1, width + 1), np.int64)
    sums[1:, 1:] = occupied.cumsum(axis=0).cumsum(axis=1)
    side = _SKY_BOX
    while side >= 2:
        inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
        # The last place of each axis is not tried, as in statmorph.
        free = np.argwhere(inside[:-1, :-1] == 0)
        if len(free):
            y, x = free[0]
            return slice(y, y + side), slice(x, x + side)
        side //= 2
    return slice(0, 0), slice(0, 0)
