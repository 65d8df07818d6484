"""Kernels of the asymmetry: a stamp minus itself turned by 180 degrees, and the centre where least is left."""

from __future__ import annotations

import math

import numpy as np

from .apertures import REACH, covered, rows, span
from .compiled import compiled

#: Of a centre outside of the stamp, or where there is no light.
_IMPOSSIBLE = 100.0
#: Of the simplex: first step (relative), precision of centre and asymmetry, and most evaluations.
_STEP = 0.05
_CENTRE_PRECISION = 1e-6
_PRECISION = 1e-4
_EVALUATIONS = 400


@compiled
def turned(image, masked, radius):
    """Image and unmasked pixels, and both turned by 180 degrees, with a border that the aperture may reach into."""
    height, width = image.shape
    border = min(math.ceil(radius), max(height, width)) + 3
    known = np.where(masked, 0.0, 1.0)
    back = np.zeros((height + 2 * border, width + 2 * border))
    back[border : border + height, border : border + width] = image[::-1, ::-1]
    back_known = np.ones(back.shape)
    back_known[border : border + height, border : border + width] = known[::-1, ::-1]
    return image, known, back, back_known, border


@compiled
def asymmetry_at(pair, x, y, radius, sky):
    """Asymmetry about a centre in a circle (Conselice et al. 2000, ApJ 529, 886; Lotz et al. 2004, eq. 10).

    Parameters
    ----------
    pair : tuple
        From `turned`. Turned about a centre between pixels, an image is interpolated linearly. A pixel counts if it is
        not masked, nor the one opposite.
    x, y, radius : float
        The circle, in pixels.
    sky : float
        Asymmetry of the sky per pixel, which is subtracted.

    Returns
    -------
    float
        100 for a centre outside of the image, or where there is no light.
    """
    image, known, back, back_known, border = pair
    height, width = image.shape
    if not (0 <= x < width and 0 <= y < height):
        return _IMPOSSIBLE
    # Pixel (i, j) lies opposite of 2y - i, 2x - j, which is in the turned image a shift.
    row, column = height - 1 + border - math.floor(2 * y), width - 1 + border - math.floor(2 * x)
    mask_row = height - 1 + border - math.floor(2 * y + 0.5)
    mask_column = width - 1 + border - math.floor(2 * x + 0.5)
    shift = (2 * y - math.floor(2 * y), 2 * x - math.floor(2 * x), column, mask_column)
    area = total = difference = 0.0
    y0, y1 = rows(y, radius, radius, 1.0, 0.0, height)
    for i in range(y0, y1):
        lines = (
            image[i],
            known[i],
            back_known[mask_row + i],
            back[row + i],
            back[row + i - 1],
        )
        x0, x1 = span(i - y, x, radius, radius, 1.0, 0.0, 1 + REACH / radius, width)
        inner, outer = span(i - y, x, radius, radius, 1.0, 0.0, 1 - REACH / radius, width)
        if inner >= outer:
            inner = outer = x1
        else:
            number, light, change = _compare(lines, shift, inner, outer)
            area, total, difference = area + number, total + light, difference + change
        for j in range(x0, x1 - (outer - inner)):
            j += outer - inner if j >= inner else 0
            part = covered(j - x, i - y, radius, radius, 1.0, 0.0)
            number, light, change = _compare(lines, shift, j, j + 1)
            area, total, difference = area + part * number, total + part * light, difference + part * change
    return (difference - area * sky) / total if total > 0 else _IMPOSSIBLE


@compiled
def _compare(lines, shift, start, stop):
    """Pixels of a row: their number, their light, and their difference to the opposite ones."""
    image, known, opposite_known, near, far = lines
    dy, dx, column, mask_column = shift
    number = light = difference = 0.0
    for j in range(start, stop):
        counted, k = known[j] * opposite_known[mask_column + j], column + j
        opposite = (1 - dy) * ((1 - dx) * near[k] + dx * near[k - 1]) + dy * ((1 - dx) * far[k] + dx * far[k - 1])
        number += counted
        light += counted * abs(image[j])
        difference += counted * abs(opposite - image[j])
    return number, light, difference


@compiled
def _value(target, point):
    pair, radius, sky, misses = target
    found = asymmetry_at(pair, point[0], point[1], radius, sky)
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
def least_asymmetry(pair, start, radius, sky):
    """Centre ``(x, y)`` with the least asymmetry near ``start``, and whether all centres tried were possible.

    The simplex of Nelder & Mead (1965, Computer Journal 7, 308), with the steps of scipy and statmorph.
    """
    misses = np.zeros(1, np.int64)
    target = (pair, radius, sky, misses)
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
