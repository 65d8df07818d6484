"""Bands on grids of their own: where the pixels and objects of a reference band lie in another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from ..errors import IngestError
from .prepared import Prepared, place
from .tiles import Tile

#: Pixels between the nodes at which coordinates are computed; in between, linear interpolation errs by 1e-4 pixels.
_STEP = 16
#: Pixels around what a tile covers in another band.
_PAD = 4


def to_pixels(x: np.ndarray, y: np.ndarray, here: Any, there: Any) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates of one image in another; the same where neither has a WCS.

    Raises
    ------
    IngestError
        If only one has a WCS, or images without one differ in shape.
    """
    if here is there:
        return x, y
    if (here.wcs is None) != (there.wcs is None):
        lacks, has = (here, there) if here.wcs is None else (there, here)
        raise IngestError(f"{place(lacks)} has no WCS, {place(has)} has one; bands need one each, or share a grid")
    if here.wcs is None:
        if tuple(here.shape) != tuple(there.shape):
            raise IngestError(
                f"{place(there)} is {there.shape}, {place(here)} {here.shape}; without WCS they must agree"
            )
        return x, y
    from astropy.wcs.utils import pixel_to_pixel

    xt, yt = pixel_to_pixel(here.wcs.celestial, there.wcs.celestial, x, y)
    return np.asarray(xt, float), np.asarray(yt, float)


def grid_in(rows: slice, columns: slice, here: Any, there: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns in ``there`` of the pixels of a part of ``here``, each ``(y, x)``.

    The nodes do not depend on the part, so that a pixel has the same place whatever tile it is seen in.
    """
    nodes = [np.arange(s.start // _STEP, -(-s.stop // _STEP) + 1) * _STEP for s in (rows, columns)]
    x, y = np.meshgrid(nodes[1].astype(float), nodes[0].astype(float))
    xt, yt = to_pixels(x, y, here, there)
    at = [(np.arange(s.start, s.stop) - n[0]) / _STEP for s, n in zip((rows, columns), nodes, strict=True)]
    places = np.meshgrid(*at, indexing="ij")
    return tuple(ndimage.map_coordinates(v, places, order=1, mode="nearest") for v in (yt, xt))


@dataclass(frozen=True, eq=False)
class Plane:
    """What a tile sees of a band, on the grid of the band.

    Attributes
    ----------
    prepared : Prepared
        The band.
    rows, columns : slice
        Its pixels; empty if the tile lies off the image.
    data, variance, mask : ndarray
        See `Prepared.read`.
    """

    prepared: Prepared
    rows: slice
    columns: slice
    data: np.ndarray
    variance: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, band: Prepared, reference: Prepared, tile: Tile) -> Plane:
        """Pixels of a band that a tile of the reference band covers."""
        rows, columns = tile.rows, tile.columns
        if band is not reference:
            y, x = (np.linspace(s.start, s.stop - 1, 9) for s in (rows, columns))
            gx, gy = np.meshgrid(x, y)
            found = to_pixels(gx.ravel(), gy.ravel(), reference.opened, band.opened)
            columns, rows = (_window(v, n) for v, n in zip(found, band.shape[::-1], strict=True))
        if rows.stop <= rows.start or columns.stop <= columns.start:
            empty = np.zeros((0, 0))
            return cls(band, slice(0, 0), slice(0, 0), empty, empty, empty.astype(np.int32))
        return cls(band, rows, columns, *band.read(rows, columns))

    def places(self, x: np.ndarray, y: np.ndarray, reference: Prepared) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows in ``data`` of places in the reference band."""
        xb, yb = to_pixels(x, y, reference.opened, self.prepared.opened)
        return xb - self.columns.start, yb - self.rows.start

    def labels(self, segments: np.ndarray, reference: Prepared, tile: Tile) -> np.ndarray:
        """Segments of a tile of the reference band on the pixels of this one (nearest pixel)."""
        if self.prepared is reference or not self.data.size:
            return segments if self.prepared is reference else np.zeros(self.data.shape, segments.dtype)
        y, x = grid_in(self.rows, self.columns, self.prepared.opened, reference.opened)
        at = y - tile.rows.start, x - tile.columns.start
        return ndimage.map_coordinates(segments, at, order=0, mode="constant", cval=0)


def _window(values: np.ndarray, size: int) -> slice:
    values = values[np.isfinite(values)]
    if not len(values):
        return slice(0, 0)
    return slice(max(int(np.floor(values.min())) - _PAD, 0), min(int(np.ceil(values.max())) + _PAD + 1, size))


def on_grid(plane: Plane, reference: Prepared, tile: Tile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data, variance and mask of a plane on the pixels of a tile of the reference band, in its flux per pixel.

    Cubic splines for the data, the nearest pixel for the variance and the mask. The result only serves to find objects:
    interpolation correlates its noise.
    """
    if plane.prepared is reference:
        return plane.data, plane.variance, plane.mask
    shape = tile.shape
    if not plane.data.size:
        return np.zeros(shape), np.full(shape, np.inf), np.ones(shape, np.int32)
    y, x = grid_in(tile.rows, tile.columns, reference.opened, plane.prepared.opened)
    at = y - plane.rows.start, x - plane.columns.start
    area = (reference.pixel_scale / plane.prepared.pixel_scale) ** 2
    data = area * ndimage.map_coordinates(plane.data, at, order=3, mode="constant", cval=0.0)
    variance = area**2 * ndimage.map_coordinates(plane.variance, at, order=0, mode="constant", cval=np.inf)
    mask = ndimage.map_coordinates(plane.mask, at, order=0, mode="constant", cval=1)
    return data, variance, mask
