"""Stamps out of an array of pixels: whole pixels, no interpolation, what lies outside is filled."""

from __future__ import annotations

import numpy as np

#: First row of a stamp that lies on no image.
NOWHERE = -(2**40)


def origins(position: np.ndarray, size: int) -> np.ndarray:
    """First row (or column) of stamps: ``ceil(position - size / 2)``, as of astropy's ``Cutout2D``.

    Parameters
    ----------
    position : ndarray
        0-based pixel coordinates, integers at the centres of pixels; `NOWHERE` is the origin of what is not finite.
    size : int
        Pixels on a side; of an odd stamp the object lies in the middle pixel, of an even one within half a pixel of
        the middle of the stamp.
    """
    position = np.asarray(position, np.float64)
    near = np.isfinite(position) & (np.abs(position) < -NOWHERE / 2)
    return np.where(near, np.ceil(np.where(near, position, 0.0) - size / 2), NOWHERE).astype(np.int64)


def offsets(position: np.ndarray, size: int) -> np.ndarray:
    """How far an object lies from the middle of its stamp, in pixels: more than -0.5, at most 0.5; NaN if nowhere."""
    first = origins(position, size)
    return np.where(first == NOWHERE, np.nan, position - first - (size - 1) / 2)


def outside(x: np.ndarray, y: np.ndarray, size: int, shape: tuple[int, int]) -> np.ndarray:
    """Whether any pixel of a stamp lies outside of an image of ``shape`` (rows, columns)."""
    low = [origins(position, size) for position in (y, x)]
    return np.any([(first < 0) | (first + size > n) for first, n in zip(low, shape, strict=True)], axis=0)


def gather(image: np.ndarray, x: np.ndarray, y: np.ndarray, size: int, fill: float | None = None) -> np.ndarray:
    """Square stamps around positions in an image.

    Bit for bit what ``Cutout2D(image, (x, y), size, mode="partial", fill_value=nan)`` gives, for all positions at once;
    a stamp that lies outside altogether, an error there, is filled.

    Parameters
    ----------
    image : ndarray
        ``(y, x)``.
    x, y : ndarray
        0-based pixel coordinates, one per stamp.
    size : int
        Pixels on a side.
    fill : number, optional
        Of pixels outside of the image; by default NaN, or 0 of integers.

    Returns
    -------
    ndarray
        ``(n, size, size)``, in the type of the image, in native byte order.

    Examples
    --------
    >>> image = np.arange(12.0).reshape(3, 4)
    >>> gather(image, [1.0, 3.0], [1.0, 2.0], 2)
    array([[[ 0.,  1.],
            [ 4.,  5.]],
    <BLANKLINE>
           [[ 6.,  7.],
            [10., 11.]]])
    """
    x, y = np.broadcast_arrays(np.atleast_1d(x), np.atleast_1d(y))
    dtype = image.dtype.newbyteorder("=")
    if fill is None:
        fill = np.nan if dtype.kind == "f" else 0
    y0, x0 = origins(y, size), origins(x, size)
    whole = ~outside(x, y, size, image.shape)
    out = np.empty((len(x), size, size), dtype)
    out[~whole] = fill
    paste(out, image, y0, x0)
    return out


def paste(out: np.ndarray, section: np.ndarray, y0: np.ndarray, x0: np.ndarray) -> None:
    """Copy into stamps whatever a section of an image has of them.

    Parameters
    ----------
    out : ndarray
        ``(n, size, size)``; pixels that the section lacks stay as they are.
    section : ndarray
        ``(y, x)``.
    y0, x0 : ndarray
        First row and column of each stamp, counted from those of the section.
    """
    size, (rows, columns) = out.shape[1], section.shape
    whole = (y0 >= 0) & (x0 >= 0) & (y0 + size <= rows) & (x0 + size <= columns)
    inside = np.flatnonzero(whole)
    # In the order of rows, so that neighbours find the pixels in the cache of the processor.
    inside = inside[np.argsort(y0[inside], kind="stable")]
    for i, row, column in zip(inside.tolist(), y0[inside].tolist(), x0[inside].tolist(), strict=True):
        out[i] = section[row : row + size, column : column + size]
    top, left = np.clip(y0, 0, rows), np.clip(x0, 0, columns)
    bottom, right = np.clip(y0 + size, 0, rows), np.clip(x0 + size, 0, columns)
    for i in np.flatnonzero(~whole & (bottom > top) & (right > left)):
        a, b, c, d = top[i], bottom[i], left[i], right[i]
        out[i, a - y0[i] : b - y0[i], c - x0[i] : d - x0[i]] = section[a:b, c:d]
