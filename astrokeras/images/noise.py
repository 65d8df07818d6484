"""Noise of stamps that were moved to another grid: neighbouring pixels share it, so that it does not average out."""

from __future__ import annotations

import numpy as np

#: Pixels over which noise is taken to be correlated.
LAGS = 5
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
        stamp[_grown(np.abs(stamp) > clip * spread)] = np.nan
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


def correlation_factor(stamps: np.ndarray) -> float:
    """Error of a sum over many blank pixels, in units of what independent pixels of the same noise would give.

    Parameters
    ----------
    stamps : ndarray
        ``(n, y, x)`` from `blank`.

    Returns
    -------
    float
        ``sqrt(sum of the autocorrelation)`` over lags of up to `LAGS` pixels; NaN if there is too little blank sky.
    """
    filled, there = np.nan_to_num(stamps), np.isfinite(stamps)
    if there.sum() < MIN_PIXELS:
        return float("nan")
    total = 0.0
    for dy in range(-LAGS, LAGS + 1):
        for dx in range(-LAGS, LAGS + 1):
            a, b = _shifted(dy, dx)
            pairs = np.count_nonzero(there[a] & there[b])
            total += (filled[a] * filled[b]).sum() / max(pairs, 1)
    variance = (filled**2).sum() / there.sum()
    return float(np.sqrt(max(total / variance, 0.0)))


def _shifted(dy: int, dx: int) -> tuple[tuple, tuple]:
    """Indices of two views of stamps that are apart by a lag."""

    def cut(shift: int) -> tuple[slice, slice]:
        return slice(max(shift, 0), min(shift, 0) or None), slice(max(-shift, 0), min(-shift, 0) or None)

    (y, other_y), (x, other_x) = cut(dy), cut(dx)
    return (slice(None), y, x), (slice(None), other_y, other_x)
