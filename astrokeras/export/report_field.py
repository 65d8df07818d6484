"""Picture of a whole field, small enough to look at, and where objects lie on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .picks import Pick
from .samples import floats
from .stamp_pictures import colours

#: Pixels of the longer side of the picture, at most.
LARGEST = 1000


def field_picture(paths: Sequence[str], rows: Pick) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture of up to three images of a field, and the objects on it.

    Parameters
    ----------
    paths : sequence of str
        One image, or two or three by rising wavelength, on about the same pixels; the first one places the objects.
    rows : dict
        Columns ``ra`` and ``dec`` (deg) of the objects.

    Returns
    -------
    picture : ndarray
        ``(y, x, 3)``, means of blocks of pixels, the longer side at most `LARGEST`.
    x, y : ndarray
        Places of the objects on it, from 0; NaN far from it, and without celestial coordinates.

    Raises
    ------
    IngestError
        If an image cannot be read.
    """
    from ..images.footprints import pixels_near
    from ..images.reader import open_image

    files = [open_image(path) for path in paths]
    height, width = (min(file.shape[axis] for file in files) for axis in (0, 1))
    step = max(1, -(-max(height, width) // LARGEST))
    cube = np.stack([_shrunk(file, height // step, width // step, step) for file in files], axis=-1)
    picture = colours(cube)
    x = y = np.full(len(rows["score"]), np.nan)
    if files[0].wcs is not None and "ra" in rows:
        x, y = pixels_near(files[0].wcs, files[0].shape, floats(rows["ra"]), floats(rows["dec"]))
    return picture, (x + 0.5) / step - 0.5, (y + 0.5) / step - 0.5


def _shrunk(file, height: int, width: int, step: int) -> np.ndarray:
    """Means of blocks of ``step`` by ``step`` pixels, read a few rows at a time; NaN where none has data."""
    out = np.full((height, width), np.nan, np.float32)
    rows_at_once = max(1, 2_000_000 // max(1, width * step * step))
    for start in range(0, height, rows_at_once):
        stop = min(start + rows_at_once, height)
        pixels = file.read(rows=slice(start * step, stop * step), columns=slice(0, width * step)).data
        blocks = pixels.reshape(stop - start, step, width, step)
        good = np.isfinite(blocks)
        count = good.sum(axis=(1, 3))
        total = np.where(good, blocks, 0).sum(axis=(1, 3))
        out[start:stop] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return out
