"""Compiled loops of the renderer: over the pixels of a Gaussian, and over pairs of Gaussians."""

import numpy as np
from numba import njit

#: Variance of one pixel: light is integrated over its area, which widens every Gaussian by this much.
PIXEL = 1 / 12
#: A Gaussian is drawn out to this many sigma (99.9 % of its flux), or to where it falls below the floor.
REACH = 3.75


@njit(cache=True, error_model="numpy")
def _row(line, first, last, value, ratio, step):
    # exp(-(quadratic in x)) at equidistant x: two products per pixel in place of an exponential.
    for i in range(first, last):
        line[i] += value
        value *= ratio
        ratio *= step


@njit(cache=True, error_model="numpy")
def _one(image, flux, x, y, xx, xy, yy, floor):
    ny, nx = image.shape
    det = xx * yy - xy * xy
    a, b, c = yy / det, -xy / det, xx / det
    peak = flux / (2 * np.pi * np.sqrt(det))
    reach = max(REACH**2, 2 * np.log(max(abs(peak) / floor, 1e-300)))
    half = np.sqrt(reach * yy)
    for j in range(max(0, int(np.ceil(y - half))), min(ny, int(np.floor(y + half)) + 1)):
        dy = j - y
        root = np.sqrt(max(b * b * dy * dy - a * (c * dy * dy - reach), 0.0)) / a
        middle = x - b * dy / a
        first, last = max(0, int(np.ceil(middle - root))), min(nx, int(np.floor(middle + root)) + 1)
        dx = first - x
        value = peak * np.exp(-0.5 * (a * dx * dx + 2 * b * dx * dy + c * dy * dy))
        _row(image[j], first, last, value, np.exp(-(a * dx + b * dy) - 0.5 * a), np.exp(-a))


@njit(cache=True, error_model="numpy")
def draw_all(image, flux, x, y, xx, xy, yy, floor):
    """Add Gaussians to an image; see `astrokeras.synthetic.render.draw`."""
    for k in range(len(flux)):
        _one(image, flux[k], x[k], y[k], xx[k] + PIXEL, xy[k], yy[k] + PIXEL, floor)


@njit(cache=True, error_model="numpy")
def _pair(i, j, flux, x, y, xx, xy, yy):
    cxx, cxy, cyy = xx[i] + xx[j] + 2 * PIXEL, xy[i] + xy[j], yy[i] + yy[j] + 2 * PIXEL
    det = cxx * cyy - cxy * cxy
    dx, dy = x[i] - x[j], y[i] - y[j]
    distance = (cyy * dx * dx - 2 * cxy * dx * dy + cxx * dy * dy) / det
    return flux[i] * flux[j] * np.exp(-0.5 * distance) / (2 * np.pi * np.sqrt(det))


@njit(cache=True, error_model="numpy")
def squares(bounds, flux, x, y, xx, xy, yy):
    """Integrals of squared profiles; see `astrokeras.synthetic.render.sharpness`."""
    out = np.full(len(bounds) - 1, np.nan)
    for n in range(len(out)):
        total, norm = 0.0, 0.0
        for i in range(bounds[n], bounds[n + 1]):
            norm += flux[i]
            total += _pair(i, i, flux, x, y, xx, xy, yy)
            for j in range(bounds[n], i):
                total += 2 * _pair(i, j, flux, x, y, xx, xy, yy)
        out[n] = total / norm**2
    return out
