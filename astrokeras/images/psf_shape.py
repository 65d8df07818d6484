"""Stamps of a PSF: resampled, centred, and their width."""

from __future__ import annotations

import numpy as np

_FINE = 8


def resampled(stamp: np.ndarray, step: float) -> np.ndarray:
    """Stamp on the pixels of an image, from one whose step is ``step`` pixels; the middle stays the middle."""
    if step == 1:
        return stamp
    from scipy import ndimage

    half = int((min(stamp.shape) // 2) * step)
    grid = np.arange(-half, half + 1) / step
    rows, columns = np.meshgrid(grid + stamp.shape[0] // 2, grid + stamp.shape[1] // 2, indexing="ij")
    return ndimage.map_coordinates(stamp, [rows, columns], order=3, mode="constant") / step**2


def centered(stamp: np.ndarray, size: int) -> np.ndarray:
    """Middle ``(size, size)`` of a stamp of odd sides, zeros beyond its edge; sum 1."""
    out = np.zeros((size, size))
    half, middle = size // 2, [n // 2 for n in stamp.shape]
    take = [slice(max(m - half, 0), min(m + half + 1, n)) for m, n in zip(middle, stamp.shape, strict=True)]
    put = [slice(t.start - m + half, t.stop - m + half) for t, m in zip(take, middle, strict=True)]
    out[tuple(put)] = stamp[tuple(take)]
    total = out.sum()
    return out / total if total > 0 else out


def fwhm(stamp: np.ndarray) -> float:
    """Diameter in pixels of the circle with the area of what lies above half of the maximum; NaN without a peak.

    Notes
    -----
    On a grid eight times finer, by cubic splines: no profile is assumed.
    """
    from scipy import ndimage

    if not np.isfinite(stamp).all() or stamp.max() <= 0:
        return float("nan")
    fine = ndimage.zoom(stamp, _FINE, order=3, mode="nearest", grid_mode=True)
    peak = np.unravel_index(np.argmax(fine), fine.shape)
    label, _ = ndimage.label(fine > 0.5 * fine[peak])
    area = np.count_nonzero(label == label[peak]) / _FINE**2
    return float(2 * np.sqrt(area / np.pi))
