"""Pixels of images in blocks of rows: each is read once for all stamps of a chunk, and kept while there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .band_images import BandImage

#: Bytes of blocks that a process keeps.
ROOM = 2**30
#: Pixels of a block, about.
BLOCK = 2**23


@dataclass(frozen=True)
class Block:
    """Whole rows of an image.

    Attributes
    ----------
    first : int
        Number of the first row.
    data : ndarray
        float32.
    mask : ndarray
        uint8, bits of `astrokeras.images.image.Pixel`.
    sigma : ndarray or None
        float32.
    """

    first: int
    data: np.ndarray
    mask: np.ndarray
    sigma: np.ndarray | None

    @cached_property
    def flagged(self) -> bool:
        """Whether any pixel has a flag."""
        return bool(self.mask.any())

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return self.data.nbytes + self.mask.nbytes + (0 if self.sigma is None else self.sigma.nbytes)


class PixelCache:
    """Blocks by image, the least used forgotten first.

    Parameters
    ----------
    room : int
        Bytes.
    """

    def __init__(self, room: int = ROOM):
        self.room = room
        self._kept: OrderedDict[tuple, Block] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple, read: Callable[[], Block]) -> Block:
        """Block of a key; ``read`` gives it if it is not there."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        block = read()
        with self._lock:
            self._kept[key] = block
            while sum(b.nbytes for b in self._kept.values()) > self.room and len(self._kept) > 1:
                self._kept.popitem(last=False)
        return block

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()


CACHE = PixelCache()


def blocks(image: BandImage, first: np.ndarray, size: int, sigma: bool) -> Iterator[Block]:
    """Blocks that stamps of ``size`` rows need, from below.

    Parameters
    ----------
    image : BandImage
        The image.
    first : ndarray
        First rows of the stamps.
    sigma : bool
        Whether errors are needed.
    """
    rows, columns = image.shape
    step = rows if image.whole else max(1, min(rows, BLOCK // max(columns, 1)))
    needed = np.zeros(-(-rows // step), bool)
    low, high = np.clip(first, 0, rows), np.clip(first + size, 0, rows)
    for a, b in np.unique(np.stack([low // step, (high - 1) // step])[:, high > low], axis=1).T:
        needed[a : b + 1] = True
    for k in np.flatnonzero(needed).tolist():
        start, stop = k * step, min((k + 1) * step, rows)
        block = CACHE.get((image.key, k, sigma), lambda s=start, e=stop: _read(image, s, e, sigma))
        yield block


def _read(image: BandImage, start: int, stop: int, sigma: bool) -> Block:
    pixels = image.read(start, stop)
    errors = None
    if sigma:
        errors = image.errors_of(pixels)
    return Block(start, pixels.data, pixels.mask.astype(np.uint8), errors)
