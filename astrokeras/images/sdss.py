"""Errors of SDSS frames, rebuilt from what a frame file and the camera's constants tell."""

from __future__ import annotations

import os
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .cards import Cards

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

    from .fits_planes import Plane

#: Reference pixel of a whole frame (CRPIX1, CRPIX2); that of a cut tells what was cut off.
_REFERENCE = (1025.0, 745.0)
#: Electrons per count by camcol (1 to 6), and variance of dark current and read noise in counts squared; data model of
#: frame files, https://data.sdss.org/datamodel/files/BOSS_PHOTOOBJ/frames/RERUN/RUN/CAMCOL/frame.html
_GAIN = {
    "u": (1.62, 1.595, 1.59, 1.6, 1.47, 2.17),
    "g": (3.32, 3.855, 3.845, 3.995, 4.05, 4.035),
    "r": (4.71, 4.6, 4.72, 4.76, 4.725, 4.895),
    "i": (5.165, 6.565, 4.86, 4.885, 4.64, 4.76),
    "z": (4.745, 5.155, 4.885, 4.775, 3.48, 4.69),
}
_DARK = {
    "u": (9.61, 12.6025, 8.7025, 12.6025, 9.3025, 7.0225),
    "g": (15.6025, 1.44, 1.3225, 1.96, 1.1025, 1.8225),
    "r": (1.8225, 1.0, 1.3225, 1.3225, 0.81, 0.9025),
    "i": (7.84, 5.76, 4.6225, 6.25, 7.84, 5.0625),
    "z": (0.81, 1.0, 1.0, 9.61, 1.8225, 1.21),
}
#: (band, camcol): the last run with the values above, and the value of later ones.
_LATER_GAIN = {("u", 2): (1100, 1.825)}
_LATER_DARK = {("i", 2): (1500, 6.25), ("i", 4): (1500, 7.5625), ("z", 4): (1500, 12.6025), ("z", 5): (1500, 2.1025)}


def camera(band: str, camcol: int, run: int) -> tuple[float, float]:
    """Gain (electrons per count) and dark variance (counts squared) of a chip of the SDSS camera."""
    gain, dark = _GAIN[band][camcol - 1], _DARK[band][camcol - 1]
    limit, later = _LATER_GAIN.get((band, camcol), (np.inf, gain))
    gain = later if run > limit else gain
    limit, later = _LATER_DARK.get((band, camcol), (np.inf, dark))
    return gain, later if run > limit else dark


def frame_noise(
    plane: Plane, data: np.ndarray, band: str, rows: slice, columns: slice
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Standard errors of a section of a frame, in nanomaggies.

    Parameters
    ----------
    data : ndarray
        Its pixels in nanomaggies.

    Returns
    -------
    sigma : ndarray or None
        float32 ``(y, x)``; None where the file lacks calibration or sky.
    notes : tuple of str
        Why.

    Notes
    -----
    Counts with sky: ``n = f / c + sky``, with the calibration ``c`` of HDU 1 in nanomaggies per count and the sky of
    HDU 2, interpolated linearly; ``sigma = c sqrt(n / gain + dark)`` (data model of frame files).
    """
    header = plane.hdu.header
    run, camcol = header.get("RUN"), header.get("CAMCOL")
    if band not in _GAIN or not isinstance(run, int) or camcol not in range(1, 7):
        return None, (f"no errors: RUN = {run!r} and CAMCOL = {camcol!r} name no chip of the camera",)
    found = _calibration(plane, rows, columns)
    if found is None:
        return None, ("no errors: the file lacks the calibration (HDU 1) and the sky (HDU 2) of a whole frame",)
    calibration, sky = found
    gain, dark = camera(band, camcol, run)
    counts = data / calibration + sky
    with np.errstate(invalid="ignore"):
        return (calibration * np.sqrt(np.maximum(counts, 0) / gain + dark)).astype(np.float32), ()


def _calibration(plane: Plane, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray] | None:
    """Calibration of columns ``(x,)`` and sky of pixels ``(y, x)``, for an image cut out of a frame too."""
    facts = os.stat(plane.file.path)
    found = _read(plane.file.path, facts.st_mtime_ns, facts.st_size)
    if found is None:
        return None
    calibration, sky, x, y = found
    ny, nx = plane.shape
    left, below = cut_off(plane)
    calibration = calibration if len(calibration) == nx else calibration[max(left, 0) :][:nx]
    x = x if len(x) == nx else x[max(left, 0) :][:nx]
    y = y if len(y) == ny else y[max(below, 0) :][:ny]
    if not len(calibration) == len(x) == nx or len(y) != ny:
        return None
    return calibration[columns], _interpolated(sky.reshape(sky.shape[-2:]), x[columns], y[rows])


def cut_off(plane: Plane) -> tuple[int, int]:
    """Columns and rows that were cut off before the first pixel: a cut keeps the reference pixel of the sky.

    0 where the header does not tell.
    """
    cards = Cards(((str(plane.hdu), plane.hdu.header),))
    found = (cards.number([key]) for key in ("CRPIX1", "CRPIX2"))
    left, below = (0 if at is None else round(whole - at) for at, whole in zip(found, _REFERENCE, strict=True))
    return left, below


@lru_cache(maxsize=8)
def _read(path: str, mtime: int, size: int) -> tuple[np.ndarray, ...] | None:
    """Tables of a frame file, kept until it changes: sections of it are read one after the other."""
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path) as opened:
            return _tables(opened)


def _tables(opened: HDUList) -> tuple[np.ndarray, ...] | None:
    """Calibration, sky on its grid, and columns and rows of the pixels on that grid."""
    names = getattr(opened[2], "columns", None) if len(opened) > 2 else None
    if names is None or "ALLSKY" not in names.names or opened[1].data is None or opened[1].data.ndim != 1:
        return None
    table = opened[2].data
    sky, x, y = (np.array(table[name][0], np.float64) for name in ("ALLSKY", "XINTERP", "YINTERP"))
    return np.array(opened[1].data, np.float64), sky, x, y


def _interpolated(sky: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear interpolation on a grid; beyond its edge the edge counts."""
    (j, fx), (i, fy) = _steps(x, sky.shape[1]), _steps(y, sky.shape[0])
    low = sky[i][:, j] * (1 - fx) + sky[i][:, j + 1] * fx
    high = sky[i + 1][:, j] * (1 - fx) + sky[i + 1][:, j + 1] * fx
    return low * (1 - fy[:, None]) + high * fy[:, None]


def _steps(place: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    inside = np.clip(place, 0, n - 1)
    index = np.minimum(inside.astype(int), n - 2)
    return index, inside - index
