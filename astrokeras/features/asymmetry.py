"""Kernels of the asymmetry: a stamp minus itself turned by 180 degrees, and the centre where least is left."""

from __future__ import annotations

import math

import numpy as np

from .apertures import bounds, covered
from .compiled import compiled

#: Of a centre outside of the stamp, or where there is no light.
_IMPOSSIBLE = 100.0
#: Of the simplex: first step (relative), precision of centre and asymmetry, and most evaluations.
_STEP = 0.05
_CENTRE_PRECISION = 1e-6
_PRECISION = 1e-4
_EVALUATIONS = 400


@compiled
def _pixel(image, i, j):
    return image[i, j] if 0 <= i < image.shape[0] and 0 <= j < image.shape[1] else 0.0


@compiled
def _is_masked(masked, y, x):
    i, j = math.floor(y + 0.5), math.floor(x + 0.5)
    return 0 <= i < masked.shape[0] and 0 <= j < masked.shape[1] and masked[i, j]


@compiled
def asymmetry_at(image, masked, x, y, radius, sky):
    """Asymmetry about a centre in a circle (Conselice et al. 2000, ApJ 529, 886; Lotz et al. 2004, eq. 10).

    Parameters
    ----------
    image : ndarray
        ``(y, x)``, 0 where masked; turned by linear interpolation.
    masked : ndarray of bool
        A pixel counts if it is not masked, nor the one opposite.
    radius : float
        Of the circle.
    sky : float
        Asymmetry of the sky per pixel, which is subtracted.

    Returns
    -------
    float
        100 for a centre outside of the image, or where there is no light.
    """
    height, width = image.shape
    if not (0 <= x < width and 0 <= y < height):
        return _IMPOSSIBLE
    row, column = math.floor(2 * y), math.floor(2 * x)
    dy, dx = 2 * y - row, 2 * x - column
    y0, y1 = bounds(y, radius, height)
    x0, x1 = bounds(x, radius, width)
    area = total = difference = 0.0
    for i in range(y0, y1):
        for j in range(x0, x1):
            part = covered(j - x, i - y, radius, radius, 1.0, 0.0)
            if part == 0 or masked[i, j] or _is_masked(masked, 2 * y - i, 2 * x - j):
                continue
            k, l = row - i, column - j
            near = (1 - dx) * _pixel(image, k, l) + dx * _pixel(image, k, l + 1)
            far = (1 - dx) * _pixel(image, k + 1, l) + dx * _pixel(image, k + 1, l + 1)
            area += part
            total += part * abs(image[i, j])
            difference += part * abs((1 - dy) * near + dy * far - image[i, j])
    return (difference - area * sky) / total if total > 0 else _IMPOSSIBLE


@compiled
def _value(target, point):
    image, masked, radius, sky, misses = target
    found = asymmetry_at(image, masked, point[0], point[1], radius, sky)
    misses[0] += found == _IMPOSSIBLE
    return found


@compiled
def _improve(target, points, found):
    """Replace the worst point of a simplex, sorted by values, or shrink it; return the number of evaluations."""
    middle = 0.5 * (points[0] + points[1])
    away = middle - points[2]
    value = _value(target, middle + away)
    if found[0] <= value < found[1]:
        points[2], found[2] = middle + away, value
        return 1
    # Twice as far if it is the best; else half as far, or half of the way back.
    limit = min(value, found[2])
    factor = 2.0 if value < found[0] else 0.5 if value < found[2] else -0.5
    other = _value(target, middle + factor * away)
    if other < limit or (factor == 0.5 and other == limit):
        points[2], found[2] = middle + factor * away, other
    elif factor == 2.0:
        points[2], found[2] = middle + away, value
    else:
        for k in (1, 2):
            points[k] = points[0] + 0.5 * (points[k] - points[0])
            found[k] = _value(target, points[k])
        return 4
    return 2


@compiled
def least_asymmetry(image, masked, start, radius, sky):
    """Centre ``(x, y)`` with the least asymmetry near ``start``, and whether all centres tried were possible.

    The simplex of Nelder & Mead (1965, Computer Journal 7, 308), with the steps of scipy and statmorph.
    """
    misses = np.zeros(1, np.int64)
    target = (image, masked, radius, sky, misses)
    points, found = np.empty((3, 2)), np.empty(3)
    for k in range(3):
        points[k] = start
        if k:
            points[k, k - 1] = start[k - 1] * (1 + _STEP) if start[k - 1] != 0 else _STEP / 200
        found[k] = _value(target, points[k])
    calls = 3
    while calls < _EVALUATIONS:
        order = np.argsort(found)
        points, found = points[order], found[order]
        if np.abs(points[1:] - points[0]).max() <= _CENTRE_PRECISION and found[2] - found[0] <= _PRECISION:
            break
        calls += _improve(target, points, found)
    return points[np.argmin(found)], misses[0] == 0
