"""Noise of stamps that were moved to another grid: neighbouring pixels share it, so that it does not average out."""

from __future__ import annotations

import numpy as np

#: Blank pixels below which a correlation is not measured.
MIN_PIXELS = 4000
#: Median absolute deviations to standard deviations of a normal distribution.
_MAD = 1.4826


def blank(stamps: np.ndarray, clip: float = 3.0) -> np.ndarray:
    """Stamps in units of their noise, about their median; NaN where something is, or nothing is known.

    Parameters
    ----------
    stamps : ndarray
        ``(n, y, x)``, flux over error.
    clip : float
        Standard deviations from which on a pixel is not blank; its neighbours are not either.
    """
    out = stamps.astype(np.float64)
    for stamp in out:
        good = np.isfinite(stamp)
        if good.sum() < stamp.size / 2:
            stamp[:] = np.nan
            continue
        stamp -= np.median(stamp[good])
        spread = _MAD * np.median(np.abs(stamp[good]))
        stamp[_grown(_grown(np.abs(stamp) > clip * spread))] = np.nan
        # A median of what is left: faint objects lift the first one.
        stamp -= np.nanmean(stamp) if np.isfinite(stamp).any() else 0.0
    return out


def _grown(mask: np.ndarray) -> np.ndarray:
    out = mask.copy()
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    out[:, 1:] |= mask[:, :-1]
    out[:, :-1] |= mask[:, 1:]
    return out


def correlation_factor(stamps: np.ndarray, lags: int = 4) -> float:
    """Error of a sum over many blank pixels, in units of what independent pixels of the same noise would give.

    Parameters
    ----------
    stamps : ndarray
        ``(n, y, x)`` from `blank`.
    lags : int
        Pixels over which noise is taken to be correlated.

    Returns
    -------
    float
        ``sqrt(sum of the autocorrelation)`` over lags of up to ``lags`` pixels, above that at three pixels more, which
        is that of faint objects and of the sky. The median over the stamps; NaN if there is too little blank sky.
    """
    there = np.isfinite(stamps)
    used = there.sum(axis=(1, 2)) > there[0].size / 2 if len(there) else np.zeros(0, bool)
    there, filled = there[used], np.nan_to_num(stamps[used])
    far = lags + 3
    if there.sum() < MIN_PIXELS or min(stamps.shape[1:]) <= 2 * far:
        return float("nan")
    covariance = {}
    for dy in range(far + 1):
        # The lag (-dy, -dx) has the pairs of (dy, dx).
        for dx in range(-far, far + 1):
            a, b = _shifted(dy, dx)
            pairs = (there[a] & there[b]).sum(axis=(1, 2))
            covariance[dy, dx] = (filled[a] * filled[b]).sum(axis=(1, 2)) / np.maximum(pairs, 1)
    ring = np.mean([value for lag, value in covariance.items() if max(map(abs, lag)) == far], axis=0)
    near = [(lag, value) for lag, value in covariance.items() if max(map(abs, lag)) <= lags]
    total = sum((value - ring) * (1 if lag[0] == 0 else 2) for lag, value in near)
    return float(np.sqrt(max(np.median(total / (covariance[0, 0] - ring)), 0.0)))


def _shifted(dy: int, dx: int) -> tuple[tuple, tuple]:
    """Indices of two views of stamps that are apart by a lag."""

    def cut(shift: int) -> tuple[slice, slice]:
        return slice(max(shift, 0), min(shift, 0) or None), slice(max(-shift, 0), min(-shift, 0) or None)

    (y, other_y), (x, other_x) = cut(dy), cut(dx)
    return (slice(None), y, x), (slice(None), other_y, other_x)
