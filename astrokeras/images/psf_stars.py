"""PSF of an image from its stars: found by their common width, stacked to an effective PSF."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from .background import Background
from .image import Image
from .psf_shape import centered, fwhm

#: Stars are brighter than this many sigma in their brightest pixel; candidates, the brightest first, at most.
_SNR = 20.0
_CANDIDATES = 400
#: Stars that are stacked, at most: more take time and tell nothing new.
_STACKED = 60
#: Stars differ in width by less than this part; the width is the most common one.
_WIDTH = 0.12


@dataclass(frozen=True)
class StarPSF:
    """PSF of an image.

    Attributes
    ----------
    stamp : ndarray
        float64 ``(size, size)``, sum 1.
    fwhm : float
        Of the stamp, in pixels.
    spread : float
        Robust standard deviation of the widths of the stars, in pixels of FWHM.
    stars : ndarray
        ``(n, 2)``: x and y of the stars that were used.
    """

    stamp: np.ndarray
    fwhm: float
    spread: float
    stars: np.ndarray


def psf_from_stars(image: Image, sky: Background, size: int = 25, minimum: int = 5) -> StarPSF | None:
    """Build the PSF of an image; None where there are fewer stars than ``minimum``.

    Parameters
    ----------
    image : Image
        Stars with any flagged pixel in their stamp are left out.
    sky : Background
        Its sky and noise.
    size : int
        Side of the stamp in pixels, odd.

    Notes
    -----
    Candidates are isolated peaks. Of these, stars are those whose width (Gaussian-weighted second moments, Bernstein &
    Jarvis 2002, AJ 123, 583) is within 12 % of the most common one. They are stacked as an effective PSF (Anderson &
    King 2000, PASP 112, 1360) by `photutils.psf.EPSFBuilder`.
    """
    data = np.where(image.mask == 0, image.data - sky.sky, np.nan)
    x, y = _candidates(data, sky.rms, size)
    if len(x) < minimum:
        return None
    half = size // 2
    stamps = np.stack([data[j - half : j + half + 1, i - half : i + half + 1] for i, j in zip(x, y, strict=True)])
    widths, centers = moments(stamps)
    chosen = _same_width(widths)
    # A star fills its stamp alone: its centre of light is its peak.
    chosen &= np.hypot(*centers.T) < 1.0
    if np.count_nonzero(chosen) < minimum:
        return None
    chosen &= np.cumsum(chosen) <= _STACKED
    places = np.column_stack([x, y])[chosen] + centers[chosen]
    stamp = _stacked(data, places, size)
    if stamp is None:
        return None
    spread = 1.4826 * np.median(np.abs(widths[chosen] - np.median(widths[chosen])))
    return StarPSF(stamp, fwhm(stamp), float(2.3548 * spread), places)


def _candidates(data: np.ndarray, rms: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Isolated peaks with whole stamps: columns and rows."""
    from photutils.detection import find_peaks

    with warnings.catch_warnings():
        # No peak at all is told by None.
        warnings.simplefilter("ignore")
        found = find_peaks(np.nan_to_num(data, nan=0.0), 5 * rms, box_size=5)
    if found is None:
        return np.zeros(0, int), np.zeros(0, int)
    names = found.colnames
    x, y = (np.array(found[next(n for n in names if n in pair)]) for pair in (("x_peak",), ("y_peak",)))
    peak = data[y, x]
    half = size // 2
    order = np.argsort(-peak)
    x, y, peak = x[order], y[order], peak[order]
    inside = (x >= half) & (y >= half) & (x < data.shape[1] - half) & (y < data.shape[0] - half)
    bright = (peak > _SNR * rms[y, x]) & inside
    kept = [
        k
        for k in np.flatnonzero(bright)[:_CANDIDATES]
        if _alone(k, x, y, peak, half) and _whole(data, x[k], y[k], half)
    ]
    return x[kept], y[kept]


def _alone(k: int, x: np.ndarray, y: np.ndarray, peak: np.ndarray, half: int) -> bool:
    near = (np.abs(x - x[k]) <= half) & (np.abs(y - y[k]) <= half) & (peak > 0.05 * peak[k])
    return np.count_nonzero(near) == 1


def _whole(data: np.ndarray, x: int, y: int, half: int) -> bool:
    return bool(np.isfinite(data[y - half : y + half + 1, x - half : x + half + 1]).all())


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


def _same_width(widths: np.ndarray) -> np.ndarray:
    """Those of the most common width: the half-sample mode of their logarithms."""
    known = np.sort(np.log(widths[np.isfinite(widths)]))
    if not len(known):
        return np.zeros(len(widths), bool)
    while len(known) > 3:
        half = (len(known) + 1) // 2
        start = int(np.argmin(known[half - 1 :] - known[: len(known) - half + 1]))
        known = known[start : start + half]
    with np.errstate(invalid="ignore"):
        return np.abs(np.log(widths) - np.mean(known)) < _WIDTH


def _stacked(data: np.ndarray, places: np.ndarray, size: int) -> np.ndarray | None:
    from astropy.nddata import NDData
    from astropy.table import Table
    from photutils.psf import EPSFBuilder, extract_stars

    stars = Table({"x": places[:, 0], "y": places[:, 1]})
    with warnings.catch_warnings():
        # Stars that the builder leaves out are told by what remains.
        warnings.simplefilter("ignore")
        try:
            cut = extract_stars(NDData(np.nan_to_num(data)), stars, size=size)
            model, _ = EPSFBuilder(oversampling=2, maxiters=6, progress_bar=False)(cut)
        except ValueError:
            return None
    side = np.arange(size) - size // 2
    stamp = model.evaluate(side[None, :].astype(float), side[:, None].astype(float), 1.0, 0.0, 0.0)
    return centered(np.asarray(stamp, float), size) if np.isfinite(stamp).all() else None
