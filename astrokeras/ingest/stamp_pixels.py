"""Pixels of the stamps of one band, copied out of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..flags import Flag
from ..images.gather import NOWHERE, origins, outside, paste
from ..images.image import Pixel
from .pixel_cache import blocks
from .placing import Placed


@dataclass
class Planes:
    """Stamps in one band, views of the columns.

    Attributes
    ----------
    data : ndarray
        ``(n, size, size)``.
    sigma, mask : ndarray or None
        Where they are wanted.
    core : ndarray
        Masks of the middle of the stamps, uint8.
    """

    data: np.ndarray
    sigma: np.ndarray | None
    mask: np.ndarray | None
    core: np.ndarray

    def clear(self, rows: np.ndarray) -> None:
        """Take all data out of some stamps; columns come as the memory was."""
        rows = np.flatnonzero(rows)
        self.data[rows] = np.nan
        self.core[rows] = int(Pixel.NO_DATA)
        if self.sigma is not None:
            self.sigma[rows] = np.nan
        if self.mask is not None:
            self.mask[rows] = int(Pixel.NO_DATA)


def fill(planes: Planes, placed: Placed, k: int) -> np.ndarray:
    """Copy the pixels of one image into the stamps of its objects, and return the flags of these."""
    image, here = placed.images[k], placed.number == k
    sizes = planes.data.shape[1], planes.core.shape[1]
    (y0, x0), core = ([np.where(here, origins(p, n), NOWHERE) for p in (placed.y, placed.x)] for n in sizes)
    over = here & outside(placed.x, placed.y, sizes[0], image.shape)
    planes.clear(over)
    for block in blocks(image, y0, sizes[0], planes.sigma is not None):
        paste(planes.data, block.data, y0 - block.first, x0)
        # Cores have no flags to begin with; most blocks have none either.
        paste(planes.core, block.mask, np.where(over | block.flagged, core[0], NOWHERE) - block.first, core[1])
        if planes.sigma is not None:
            paste(planes.sigma, block.sigma, y0 - block.first, x0)
        if planes.mask is not None:
            paste(planes.mask, block.mask, y0 - block.first, x0)
    return np.where(over, int(Flag.EDGE_STAMP), 0).astype(np.int32)
