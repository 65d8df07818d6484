"""Gini coefficient and M20 of the light of a galaxy, and the pixels they are taken over."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from scipy.optimize import brentq

from .apertures import pixels, ring_light
from .segments import piece
from .views import View

#: Smoothing before the threshold, in Petrosian radii.
_SMOOTHING = 0.2
#: Of Freeman et al.: brightness at the edge over the mean within, and the side of the filter that evens the edge.
_ETA = 0.2
_BOX = 3
#: Segments of the two kinds that overlap less than this are suspicious.
_LEAST_OVERLAP = 0.25


def petrosian_segment(
    view: View, centre: tuple[float, float], a: float, elongation: float, theta: float
) -> tuple[np.ndarray, bool]:
    """Pixels brighter than the Petrosian ellipse, once smoothed (Lotz et al. 2004, section 3.1).

    Returns
    -------
    segment : ndarray of bool
        Those that hang together with the brightest.
    fine : bool
        False if there are others, none, or if all pixels are.
    """
    smooth = ndimage.gaussian_filter(view.image, _SMOOTHING * a, mode="constant")
    total, _ = ring_light(pixels(smooth, np.zeros(smooth.shape, bool)), *centre, a, elongation, theta, 1.0)
    area = math.pi * ((a + 0.5) ** 2 - (a - 0.5) ** 2) / elongation
    above = smooth >= total / area
    count = np.count_nonzero(above)
    if count in (0, above.size):
        return above, False
    segment = piece(above, *np.unravel_index(np.argmax(smooth), smooth.shape))
    return segment, np.count_nonzero(segment) == count


def gini(values: np.ndarray) -> float:
    """Gini coefficient of absolute values: 0 if all are equal, 1 if one has it all (Lotz et al. 2004, eq. 6).

    NaN for fewer than two pixels, or without light.

    Examples
    --------
    >>> gini(np.array([1.0, 1.0, 1.0])), gini(np.array([0.0, 0.0, 5.0]))
    (0.0, 1.0)
    """
    ordered = np.sort(np.abs(values))
    n, total = len(ordered), ordered.sum()
    if n < 2 or total == 0:
        return math.nan
    return float(np.sum((2 * np.arange(1, n + 1) - n - 1) * ordered) / ((n - 1) * total))


def m20(image: np.ndarray) -> float:
    """Second moment of the brightest 20 % of the light over that of all, as log10 (Lotz et al. 2004, eqs. 7 and 8).

    Parameters
    ----------
    image : ndarray
        ``(y, x)``, 0 outside of the galaxy.

    Returns
    -------
    float
        NaN without light, or if a moment is not positive.
    """
    total = image.sum()
    if not total > 0:
        return math.nan
    y, x = np.indices(image.shape)
    distance = (y - (y * image).sum() / total) ** 2 + (x - (x * image).sum() / total) ** 2
    ordered = np.sort(image, axis=None)
    dimmest = ordered[np.argmax(np.cumsum(ordered) / ordered.sum() >= 0.8)]
    brightest = (distance * image)[image >= dimmest].sum()
    every = (distance * image).sum()
    return math.log10(brightest / every) if brightest > 0 and every > 0 else math.nan


def agrees(view: View, segment: np.ndarray) -> bool:
    """Whether a segment overlaps with that of the MID statistics (Freeman et al. 2013, MNRAS 434, 282, section 4.3).

    That one holds the brightest pixel, and its edge has 0.2 of its mean brightness.
    """
    light = np.maximum(view.galaxy, 0.0)
    brightest = np.unravel_index(np.argmax(view.galaxy), light.shape)
    values = np.sort(light[view.segment])

    def threshold(q: float) -> float:
        return values[int(q * (len(values) - 1))]

    def main(q: float) -> np.ndarray:
        return piece(light >= threshold(q), *brightest)

    def excess(q: float) -> float:
        return threshold(q) / light[main(q)].mean() - _ETA

    if excess(0.0) > 0:
        # The edge of the object is brighter: there is no such segment.
        return True
    found = main(brentq(excess, 0.0, 1.0, xtol=1 / len(values)))
    even = ndimage.uniform_filter(found.astype(float), _BOX) > 0.5
    if not even[brightest]:
        return False
    even = piece(even, *brightest)
    largest = max(np.count_nonzero(segment), np.count_nonzero(even))
    return np.count_nonzero(segment & even) >= _LEAST_OVERLAP * largest
