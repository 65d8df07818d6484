"""Sky level and noise of an image, in boxes: measured strip by strip, evaluated on any part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.stats import SigmaClip
from photutils.background import MADStdBackgroundRMS, SExtractorBackground
from scipy import ndimage

from ..images.image import UNUSABLE, Image

#: Part of a box that must have good pixels without an object.
_ENOUGH = 0.2


@dataclass(frozen=True)
class SkyMesh:
    """Sky of an image in boxes of ``box`` pixels.

    Attributes
    ----------
    box : int
        Pixels on a side of a box.
    level, rms : ndarray
        Sky and its standard deviation per pixel, ``(boxes in y, boxes in x)``.
    """

    box: int
    level: np.ndarray
    rms: np.ndarray

    def at(self, what: str, rows: slice, columns: slice) -> np.ndarray:
        """``level`` or ``rms`` at pixels, by cubic splines between the centres of the boxes; float32 ``(y, x)``."""
        mesh = getattr(self, what)
        if mesh.size == 1:
            shape = rows.stop - rows.start, columns.stop - columns.start
            return np.full(shape, mesh.item(), np.float32)
        # Half a box at the edges lies beyond the outermost centres: the sky goes on there as it comes.
        if what == "level":
            mesh = np.pad(mesh, [(int(n > 1),) * 2 for n in mesh.shape], mode="reflect", reflect_type="odd")
        off = [(large - small) // 2 for large, small in zip(mesh.shape, self.level.shape, strict=True)]
        y, x = (
            (np.arange(s.start, s.stop) + 0.5) / self.box - 0.5 + o for s, o in zip((rows, columns), off, strict=True)
        )
        places = np.broadcast_arrays(np.clip(y, 0, mesh.shape[0] - 1)[:, None], np.clip(x, 0, mesh.shape[1] - 1))
        return ndimage.map_coordinates(mesh, places, order=3, mode="nearest").astype(np.float32)


def measure(opened, box: int, subtract: bool = True, smooth: int = 3) -> SkyMesh:
    """Measure the sky of an image, strip by strip.

    Parameters
    ----------
    opened : ImageFile or similar
        With ``shape`` and ``read(rows=, columns=)``.
    box : int
        Pixels on a side of a box; several times larger than objects.
    subtract : bool
        If False, the level is zero, as for images whose sky was subtracted; the noise is measured in any case.
    smooth : int
        Side in boxes of the median filter over them, odd.

    Notes
    -----
    The level is the mode as SExtractor estimates it (Bertin & Arnouts 1996), the noise from the median of absolute
    deviations, both of pixels that are clipped at 3 sigma and belong to no object; then the median of some boxes.
    Boxes without enough pixels take the values of the nearest ones that have.
    """
    height, width = opened.shape
    strips = 4 * box
    parts = [
        _boxes(opened.read(rows=slice(y, min(y + strips, height)), columns=slice(0, width)), box)
        for y in range(0, height, strips)
    ]
    level, rms = (_filled(np.concatenate([part[i] for part in parts]), smooth) for i in (0, 1))
    return SkyMesh(box, level if subtract else np.zeros_like(level), rms)


def _boxes(image: Image, box: int) -> tuple[np.ndarray, np.ndarray]:
    """Level and rms of the boxes of a strip, NaN where there are too few pixels."""
    data = np.where((image.mask & UNUSABLE) != 0, np.nan, image.data).astype(np.float64)
    level, rms = _statistics(data, box)
    if not np.isfinite(level).any():
        return level, rms
    first = SkyMesh(box, _filled(level), _filled(rms))
    sky, noise = (first.at(what, slice(0, data.shape[0]), slice(0, data.shape[1])) for what in ("level", "rms"))
    # Of white noise, a Gaussian of 1.5 pixels leaves 1 / (2 sqrt(pi) 1.5) = 0.19.
    smooth = ndimage.gaussian_filter(np.where(np.isnan(data), 0, data - sky), 1.5)
    objects = ndimage.binary_dilation(smooth > 3 * 0.19 * noise, iterations=3)
    return _statistics(np.where(objects, np.nan, data), box)


def _statistics(data: np.ndarray, box: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = (-(-n // box) for n in data.shape)
    padded = np.full((rows * box, columns * box), np.nan)
    padded[: data.shape[0], : data.shape[1]] = data
    cells = padded.reshape(rows, box, columns, box).swapaxes(1, 2).reshape(rows, columns, box * box)
    # A box that the edge cuts needs its part of what is there.
    there = np.minimum(np.subtract.outer(data.shape[0], box * np.arange(rows)), box)[:, None]
    there = there * np.minimum(data.shape[1] - box * np.arange(columns), box)
    enough = np.isfinite(cells).sum(axis=2) >= np.maximum(_ENOUGH * there, 25)
    level, rms = np.full(enough.shape, np.nan), np.full(enough.shape, np.nan)
    if enough.any():
        used = cells[enough]
        clip = {"sigma_clip": SigmaClip(3.0, maxiters=10)}
        used = np.ma.masked_invalid(used)
        level[enough] = SExtractorBackground(**clip).calc_background(used, axis=1)
        rms[enough] = MADStdBackgroundRMS(**clip).calc_background_rms(used, axis=1)
    return level, rms


def _filled(mesh: np.ndarray, smooth: int = 3) -> np.ndarray:
    """Take the nearest value where there is none, then the median of boxes; zero if there is nothing at all."""
    empty = ~np.isfinite(mesh)
    if empty.all():
        return np.zeros(mesh.shape)
    nearest = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
    return ndimage.median_filter(mesh[tuple(nearest)], smooth, mode="nearest")
