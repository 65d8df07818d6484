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
        One image, or two or three by rising wavelength. The first one is the grid; the others come onto it by their
        coordinates, and pixel on pixel without any.
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
    step = max(1, -(-max(files[0].shape) // LARGEST))
    small = [_shrunk(file, file.shape[0] // step, file.shape[1] // step, step) for file in files]
    picture = colours(np.stack([small[0], *(_onto(files, k, small, step) for k in range(1, len(files)))], axis=-1))
    x = y = np.full(len(rows["score"]), np.nan)
    if files[0].wcs is not None and "ra" in rows:
        x, y = pixels_near(files[0].wcs, files[0].shape, floats(rows["ra"]), floats(rows["dec"]))
    return picture, (x + 0.5) / step - 0.5, (y + 0.5) / step - 0.5


def _onto(files, k: int, small: Sequence[np.ndarray], step: int) -> np.ndarray:
    """Picture of image k on the pixels of the first one, linearly between its own; NaN beyond it."""
    from scipy.ndimage import map_coordinates

    from ..images.footprints import pixels_near
    from ..images.sky_grid import positions

    y, x = np.indices(small[0].shape, dtype=float)
    if files[0].wcs is not None and files[k].wcs is not None:
        ra, dec = positions(files[0].wcs, ((x + 0.5) * step - 0.5).ravel(), ((y + 0.5) * step - 0.5).ravel())
        places = pixels_near(files[k].wcs, files[k].shape, ra, dec)
        x, y = ((np.nan_to_num(place, nan=-9.0 * step) + 0.5).reshape(x.shape) / step - 0.5 for place in places)
    return map_coordinates(small[k], [y, x], order=1, cval=np.nan)


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
