"""Moving stamps onto another grid of pixels: Lanczos interpolation that conserves flux, and the noise it makes.

The kernel is that of Duchon (1979, J. Appl. Met. 18, 1016), as SWarp's LANCZOS3 (Bertin et al. 2002): six pixels wide,
weights normalised to one. A pixel of the new grid that is larger than the old ones is the mean of several samples.
"""

from __future__ import annotations

import math

import numba
import numpy as np

#: Half the width of the kernel, in pixels.
REACH = 3
_STEPS = 4096
_NO_DATA = 1
#: How much coarser a new grid may be.
MAX_SCALE = 8.0


def _table() -> np.ndarray:
    t = np.arange(REACH * _STEPS + 2) / _STEPS
    return np.where(t < REACH, np.sinc(t) * np.sinc(t / REACH), 0.0)


_LANCZOS = _table()


def map_of(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Map from the pixels of a new stamp to old pixels, from nine points.

    Parameters
    ----------
    x, y : ndarray
        ``(n, 3, 3)``: old pixel coordinates at the first, middle and last row (second axis) and column of each stamp.

    Returns
    -------
    ndarray
        ``(n, 2, 3, 3)``: ``x`` and ``y``, for a polynomial of second order through the points.
    """
    return np.ascontiguousarray(np.stack([x, y], axis=1), dtype=np.float64)


def samples(scale: float) -> int:
    """Samples along a side of a new pixel that is ``scale`` old ones wide."""
    return 1 if scale < 1.1 else math.ceil(1.2 * scale)


@numba.njit(cache=True)
def _lagrange(t):
    """Weights of the points -1, 0, 1, and their derivatives."""
    return (t * (t - 1) / 2, 1 - t * t, t * (t + 1) / 2), (t - 0.5, -2 * t, t + 0.5)


@numba.njit(cache=True)
def _at(nodes, u, v):
    """Old coordinate and its derivatives along the columns (u) and rows (v)."""
    a, da = _lagrange(u)
    b, db = _lagrange(v)
    value, along, up = 0.0, 0.0, 0.0
    for j in range(3):
        for i in range(3):
            value += nodes[j, i] * b[j] * a[i]
            along += nodes[j, i] * b[j] * da[i]
            up += nodes[j, i] * db[j] * a[i]
    return value, along, up


@numba.njit(cache=True)
def _taps(position, smooth, table, taps):
    """Weights along one axis around a position, normalised; returns the first pixel."""
    base = math.floor(position)
    part = position - base
    taps[:] = 0.0
    if not smooth:
        taps[REACH - 1], taps[REACH] = 1 - part, part
        return base - REACH + 1
    total = 0.0
    for k in range(2 * REACH):
        t = abs(k - REACH + 1 - part) * _STEPS
        i = int(t)
        taps[k] = table[i] + (t - i) * (table[i + 1] - table[i])
        total += taps[k]
    for k in range(2 * REACH):
        taps[k] /= total
    return base - REACH + 1


@numba.njit(cache=True)
def _weigh(nodes, u, v, step, count, smooth, table, window, across, upward):
    """Weights of the old pixels in one new one; returns the first row and column of the window."""
    margin = (window.shape[0] - 2 * REACH) // 2
    middle, _, _ = _at(nodes[0], u, v)
    left = math.floor(middle) - REACH + 1 - margin
    middle, _, _ = _at(nodes[1], u, v)
    top = math.floor(middle) - REACH + 1 - margin
    window[:] = 0.0
    for q in range(count * count):
        du = ((q % count + 0.5) / count - 0.5) * step
        dv = ((q // count + 0.5) / count - 0.5) * step
        x, xu, xv = _at(nodes[0], u + du, v + dv)
        y, yu, yv = _at(nodes[1], u + du, v + dv)
        column, row = _taps(x, smooth, table, across) - left, _taps(y, smooth, table, upward) - top
        area = abs(xu * yv - xv * yu) * step * step / (count * count)
        for b in range(2 * REACH):
            for a in range(2 * REACH):
                window[row + b, column + a] += area * upward[b] * across[a]
    return top, left


@numba.njit(cache=True)
def _collect(stamp, sigma, window, top, left):
    """Weighted sum of pixels and its variance; NaN if one that counts has no data."""
    value, variance = 0.0, 0.0
    if top < 0 or left < 0 or top + window.shape[0] > stamp.shape[0] or left + window.shape[1] > stamp.shape[1]:
        return np.nan, np.nan
    for b in range(window.shape[0]):
        for a in range(window.shape[1]):
            weight = window[b, a]
            if weight != 0.0:
                value += weight * stamp[top + b, left + a]
                variance += (weight * sigma[top + b, left + a]) ** 2
    return value, variance


@numba.njit(cache=True)
def _bits(mask, window, top, left):
    """Bits of the pixels that count."""
    bits = 0
    for b in range(window.shape[0]):
        for a in range(window.shape[1]):
            row, column = top + b, left + a
            if window[b, a] != 0.0 and 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]:
                bits |= mask[row, column]
    return bits


@numba.njit(cache=True)
def _resample(stamps, sigmas, masks, maps, count, table, out, errors, bits):
    size = out.shape[1]
    half = max((size - 1) / 2, 0.5)
    side = 2 * REACH + (0 if count == 1 else 2 * count)
    window, across, upward = np.empty((side, side)), np.empty(2 * REACH), np.empty(2 * REACH)
    for p in range(out.size):
        k, row, column = p // size**2, p % size**2 // size, p % size
        u, v = (column - (size - 1) / 2) / half, (row - (size - 1) / 2) / half
        if p % size**2 == 0:
            masked = masks[k].any()
        top, left = _weigh(maps[k], u, v, 1 / half, count, True, table, window, across, upward)
        value, variance = _collect(stamps[k], sigmas[k], window, top, left)
        bits[k, row, column] = 0
        if masked or math.isnan(value):
            top, left = _weigh(maps[k], u, v, 1 / half, count, False, table, window, across, upward)
            bits[k, row, column] = _bits(masks[k], window, top, left)
        if math.isnan(value):
            value, variance = _collect(stamps[k], sigmas[k], window, top, left)
        if math.isnan(value):
            bits[k, row, column] |= _NO_DATA
            variance = np.nan
        out[k, row, column], errors[k, row, column] = value, math.sqrt(variance)


def resample(
    stamps: np.ndarray, sigmas: np.ndarray, masks: np.ndarray, maps: np.ndarray, size: int, count: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interpolate stamps onto a new grid; the flux in a region stays what it is.

    Parameters
    ----------
    stamps, sigmas : ndarray
        ``(n, y, x)`` float32, flux per old pixel and its standard error; NaN where there is no data.
    masks : ndarray
        ``(n, y, x)`` uint8, bits of `astrokeras.images.image.Pixel`.
    maps : ndarray
        From `map_of`: new pixels in old ones.
    size : int
        Pixels on a side of the new stamps.
    count : int
        Samples along a side of a new pixel (`samples`).

    Returns
    -------
    stamps, sigmas : ndarray
        ``(n, size, size)`` float32, flux per new pixel: the interpolated value times the area of the new pixel in old
        ones; errors of single pixels, of old pixels that are independent.
    masks : ndarray
        uint8: bits of the four old pixels around each sample.

    Notes
    -----
    Where the kernel reaches pixels without data it falls back to linear interpolation, and where that does, the result
    is NaN.
    """
    n = len(stamps)
    out, errors = (np.empty((n, size, size), np.float32) for _ in range(2))
    bits = np.empty((n, size, size), np.uint8)
    _resample(stamps, sigmas, masks, maps, count, _LANCZOS, out, errors, bits)
    return out, errors, bits
