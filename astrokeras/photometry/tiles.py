"""Tiles of an image larger than memory: cores that share no pixel, read with a margin around them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tile:
    """A part of an image: the core owns objects, the margin lets them be seen whole.

    Attributes
    ----------
    key : str
        ``row-column`` of the tile; sorts as the tiles come.
    core_rows, core_columns : slice
        Pixels of the core, half-open; the cores of all tiles cover the image once.
    rows, columns : slice
        Pixels to read, core and margin.
    """

    key: str
    core_rows: slice
    core_columns: slice
    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns that are read."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def owns(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Whether the core holds pixels, given as integer columns ``x`` and rows ``y`` of the whole image.

        The pixel of an object is its brightest one, so that each object belongs to exactly one tile, whatever the last
        digits of its position.
        """
        inside = (x >= self.core_columns.start) & (x < self.core_columns.stop)
        return inside & (y >= self.core_rows.start) & (y < self.core_rows.stop)


def cut(shape: tuple[int, int], size: int, overlap: int) -> Iterator[Tile]:
    """Cut an image into tiles.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    size : int
        Rows and columns of a core; those of the last ones are what is left.
    overlap : int
        Pixels read around a core on every side, as far as the image goes: at least the extent of the objects.
    """
    height, width = shape
    for i, y in enumerate(range(0, height, size)):
        for j, x in enumerate(range(0, width, size)):
            core = slice(y, min(y + size, height)), slice(x, min(x + size, width))
            read = (
                slice(max(core[0].start - overlap, 0), min(core[0].stop + overlap, height)),
                slice(max(core[1].start - overlap, 0), min(core[1].stop + overlap, width)),
            )
            yield Tile(f"{i:04d}-{j:04d}", *core, *read)


def spread(shape: tuple[int, int], size: int, count: int) -> list[Tile]:
    """At most ``count`` tiles without a margin, evenly spread over an image: enough to know its stars and its noise."""
    tiles = list(cut(shape, size, 0))
    chosen = np.unique(np.linspace(0, len(tiles) - 1, min(count, len(tiles))).round().astype(int))
    return [tiles[i] for i in chosen]
