"""Stamps of PSFs and stars: resampled, centred, and their widths."""

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


def moments(stamps: np.ndarray, iterations: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Widths and centres of sources in stamps, by Gaussian weights that are fitted to each.

    Parameters
    ----------
    stamps : ndarray
        ``(n, y, x)``, without sky.

    Returns
    -------
    sigma : ndarray
        ``(n,)``: of the Gaussian of the same weighted second moment, in pixels; NaN where there is none.
    centers : ndarray
        ``(n, 2)``: x and y from the middle of the stamp.

    Notes
    -----
    Bernstein & Jarvis 2002, AJ 123, 583.
    """
    side = np.arange(stamps.shape[-1]) - stamps.shape[-1] // 2
    sigma, center = np.full(len(stamps), 2.0), np.zeros((len(stamps), 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        for _ in range(iterations):
            dx = side[None, None, :] - center[:, 0, None, None]
            dy = side[None, :, None] - center[:, 1, None, None]
            weighted = stamps * np.exp(-(dx**2 + dy**2) / (2 * sigma[:, None, None] ** 2))
            total = weighted.sum(axis=(1, 2))
            second = (weighted * (dx**2 + dy**2)).sum(axis=(1, 2)) / total / 2
            shift = np.stack([(weighted * d).sum(axis=(1, 2)) / total for d in (dx, dy)], axis=1)
            # Weighted by itself, a Gaussian has half of its variance, and half of its shift.
            sigma, center = np.sqrt(2 * second), center + np.clip(2 * shift, -1, 1)
            sigma = np.where((total > 0) & (sigma > 0.3) & (sigma < len(side) / 3), sigma, np.nan)
    return sigma, center
