"""Stamps of all bands on one grid: where the new pixels lie on the sky, and in each image."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import IngestError
from ..flags import Flag
from ..images.footprints import Footprints, world_to_pixel
from ..images.gather import offsets, origins
from ..images.resample import MAX_SCALE, REACH, map_of, resample, samples
from ..photometry.noise_correlation import blank, correlation_factor
from .placing import Placed
from .stamp_pixels import Planes, fill

if TYPE_CHECKING:
    from .band_images import BandImage

#: Bytes of old pixels that are resampled at a time.
_BATCH = 2**25
#: Stamps of blank sky along a side of an image.
_PROBES = 8
#: Pixels on a side of these stamps.
_PROBE_SIZE = 64
#: Images of which the noise factor is kept.
_KEPT = 4096
#: A pixel coordinate outside of any image.
_FAR = -1e6
_FACTORS: OrderedDict[tuple, float] = OrderedDict()


@dataclass(frozen=True)
class Grid:
    """Where the pixels of the new stamps lie.

    Attributes
    ----------
    ra, dec : ndarray
        ``(n, 3, 3)`` in deg: of the first, middle and last row and column; NaN where an object has no grid.
    size : int
        Pixels on a side.
    scale : float
        Side of a pixel in arcsec.
    dx, dy : ndarray
        Place of the object from the middle of its stamp.
    again : callable
        Such a grid of other stamps, ``again(ra, dec, size)``.
    name : tuple
        What tells it from other grids of the same scale: the images whose pixels it has.
    """

    ra: np.ndarray
    dec: np.ndarray
    size: int
    scale: float
    dx: np.ndarray
    dy: np.ndarray
    again: Callable[[np.ndarray, np.ndarray, int], Grid]
    name: tuple = ()

    def rows(self, chosen: np.ndarray) -> Grid:
        """Grid of some of the objects."""
        return replace(self, **{n: getattr(self, n)[chosen] for n in ("ra", "dec", "dx", "dy")})


def north_up(ra: np.ndarray, dec: np.ndarray, size: int, scale: float) -> Grid:
    """Grid with the object in the middle, north up and east to the left, in a gnomonic projection.

    Parameters
    ----------
    scale : float
        Side of a pixel in arcsec.
    """
    step = np.radians(scale / 3600) * (size - 1) / 2 * np.array([-1.0, 0.0, 1.0])
    xi, eta = np.meshgrid(-step, step)
    dec0 = np.radians(dec)[:, None, None]
    # Calabretta & Greisen (2002), inverse of the TAN projection.
    below = np.cos(dec0) - eta * np.sin(dec0)
    out_ra = ra[:, None, None] + np.degrees(np.arctan2(xi, below))
    out_dec = np.degrees(np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, below)))
    zero = np.where(np.isfinite(ra + dec), 0.0, np.nan)
    return Grid(out_ra % 360, out_dec, size, scale, zero, zero, partial(north_up, scale=scale))


def grid_of_band(placed: Placed, size: int) -> Grid:
    """Grid of the pixels of a reference band, as they are."""
    images = placed.images
    n = len(placed.number)
    ra, dec = np.full((n, 3, 3), np.nan), np.full((n, 3, 3), np.nan)
    nodes = np.array([0.0, (size - 1) / 2, size - 1.0])
    for k in np.unique(placed.number[placed.number >= 0]).tolist():
        here = np.flatnonzero(placed.number == k)
        x = np.broadcast_to(origins(placed.x[here], size)[:, None, None] + nodes, (len(here), 3, 3))
        y = np.broadcast_to(origins(placed.y[here], size)[:, None, None] + nodes[:, None], (len(here), 3, 3))
        sky = placed.images[k].wcs.pixel_to_world(x, y).icrs
        ra[here], dec[here] = sky.ra.deg, sky.dec.deg

    def again(ra: np.ndarray, dec: np.ndarray, size: int) -> Grid:
        return grid_of_band(Placed(images, *Footprints(images).place(ra, dec)), size)

    scale = images[0].file.pixel_scale if images else 1.0
    return Grid(
        ra, dec, size, scale, offsets(placed.x, size), offsets(placed.y, size), again, tuple(i.key for i in images)
    )


def regrid(planes: Planes, placed: Placed, k: int, grid: Grid) -> np.ndarray:
    """Fill the stamps of the objects of one image with resampled pixels, and return their flags.

    Raises
    ------
    IngestError
        If the new pixels are too large for the image.
    """
    on = placed.number == k
    there = np.isfinite(grid.ra).all(axis=(1, 2))
    planes.clear(on & ~there)
    rows = np.flatnonzero(on & there)
    flags = np.zeros(len(placed.number), np.int32)
    core, size = planes.core.shape[1], grid.size
    low = (size - core + 1) // 2
    factor = noise_factor(placed.images[k], grid) if planes.sigma is not None and len(rows) else 1.0
    for part in _batches(rows, placed.images[k], grid):
        data, sigma, mask, cut = resampled(placed.images[k], grid.rows(part), planes.sigma is not None)
        planes.data[part] = data
        planes.core[part] = mask[:, low : low + core, low : low + core]
        if planes.sigma is not None:
            planes.sigma[part] = sigma * factor
        if planes.mask is not None:
            planes.mask[part] = mask
        flags[part] = np.where(cut, int(Flag.EDGE_STAMP), 0)
    return flags


def resampled(image: BandImage, grid: Grid, errors: bool) -> tuple[np.ndarray, ...]:
    """New stamps of one image.

    Returns
    -------
    data, sigma, mask : ndarray
        ``(n, size, size)``; sigma is 1 where no errors are asked for.
    cut : ndarray
        Whether a stamp reaches over the edge of the image.
    """
    x, y = _nodes(image, grid)
    rows, columns = image.shape
    low, high = (np.stack([f(x, axis=(1, 2)), f(y, axis=(1, 2))]) for f in (np.min, np.max))
    cut = (low < 0).any(axis=0) | (high[0] > columns - 1) | (high[1] > rows - 1)
    count = samples(grid.scale / image.file.pixel_scale)
    # The middle of an old stamp is that of its new one; it holds the corners and the reach of the kernel.
    middle = x[:, 1, 1], y[:, 1, 1]
    reach = max(np.abs(a - a[:, 1:2, 1:2]).max(initial=0.0) for a in (x, y))
    side = 2 * int(np.ceil(reach) + REACH + count + 2)
    n = len(x)
    old = Planes(
        np.empty((n, side, side), np.float32),
        np.empty((n, side, side), np.float32) if errors else None,
        np.empty((n, side, side), np.uint8),
        np.zeros((n, 1, 1), np.uint8),
    )
    fill(old, Placed((image,), np.zeros(n, int), *middle), 0)
    first = [origins(m, side)[:, None, None] for m in middle]
    sigma = old.sigma if old.sigma is not None else np.ones((n, side, side), np.float32)
    made = resample(old.data, sigma, old.mask, map_of(x - first[0], y - first[1]), grid.size, count)
    return (*made, cut)


def _nodes(image: BandImage, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Nine points of each new stamp in the pixels of an image."""
    x, y = world_to_pixel(image.wcs, grid.ra.ravel(), grid.dec.ravel())
    lost = ~(np.isfinite(x) & np.isfinite(y)).reshape(-1, 9).all(axis=1).repeat(9)
    # Where the projection shows nothing, an image has no pixels.
    x, y = (np.where(lost, _FAR, axis).reshape(grid.ra.shape) for axis in (x, y))
    return x, y


def _batches(rows: np.ndarray, image: BandImage, grid: Grid) -> Iterator[np.ndarray]:
    """Rows whose old pixels fit into memory."""
    ratio = grid.scale / image.file.pixel_scale
    if ratio > MAX_SCALE:
        raise IngestError(
            f"{image.what}: pixels of {grid.scale:g} arcsec are {ratio:.1f} times those of the image; up to "
            f"{MAX_SCALE:g} times is resampled"
        )
    side = 1.5 * grid.size * ratio + 2 * (REACH + samples(ratio) + 2)
    step = max(1, int(_BATCH / (9 * side**2)))
    yield from (rows[start : start + step] for start in range(0, len(rows), step))


def noise_factor(image: BandImage, grid: Grid) -> float:
    """Error of a sum over many resampled pixels, in units of that of independent ones, from blank sky.

    Measured on stamps at fixed places of the image, so that it does not depend on the objects; 1 where the image has
    too little blank sky.
    """
    key = (image.key, grid.scale, grid.name)
    if key not in _FACTORS:
        # A new pixel shares old ones with all that lie within the reach of the kernel.
        lags = int(np.ceil(max(1.0, image.file.pixel_scale / grid.scale) * REACH)) + 1
        factor = correlation_factor(_blank_sky(image, grid), lags)
        _FACTORS[key] = factor if np.isfinite(factor) else 1.0
        while len(_FACTORS) > _KEPT:
            _FACTORS.popitem(last=False)
    return _FACTORS[key]


def _blank_sky(image: BandImage, grid: Grid) -> np.ndarray:
    rows, columns = image.shape
    part = (np.arange(_PROBES) + 0.5) / _PROBES
    x, y = (axis.ravel() for axis in np.meshgrid(part * columns - 0.5, part * rows - 0.5))
    sky = image.wcs.pixel_to_world(x, y).icrs
    probes = grid.again(sky.ra.deg, sky.dec.deg, _PROBE_SIZE)
    probes = probes.rows(np.isfinite(probes.ra).all(axis=(1, 2)))
    stamps = [
        data / sigma
        for part in _batches(np.arange(len(probes.ra)), image, probes)
        for data, sigma, _, _ in [resampled(image, probes.rows(part), True)]
    ]
    return blank(np.concatenate(stamps) if stamps else np.empty((0, _PROBE_SIZE, _PROBE_SIZE)))
