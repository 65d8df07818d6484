"""Background of an image: the sky and its noise on a coarse grid, sources left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .image import Image

#: Side in pixels of the squares whose sums tell how far the noise of neighbours is correlated.
BLOCK = 6
#: Pixels this many sigma above the sky are sources, and so are their neighbours.
_SOURCE = 3.0


@dataclass(frozen=True)
class Background:
    """Sky of an image.

    Attributes
    ----------
    sky, rms : ndarray
        float32 ``(y, x)``: sky and standard deviation of a pixel, in the unit of the image.
    median_sky, median_rms : float
        Their medians.
    correlation : float
        Standard deviation of sums over squares of `BLOCK` pixels, over that of sums of independent pixels: 1 without
        correlation; NaN where too few squares are free of sources.
    sources : ndarray
        bool ``(y, x)``: pixels of sources, which were left out.
    """

    sky: np.ndarray
    rms: np.ndarray
    median_sky: float
    median_rms: float
    correlation: float
    sources: np.ndarray


def background(image: Image, box: int = 64, smooth: int = 3) -> Background | None:
    """Measure the sky of an image; None where it has too few pixels with data.

    Parameters
    ----------
    image : Image
        Pixels with any flag are left out.
    box : int
        Side in pixels of the boxes in which the sky is measured (Bertin & Arnouts 1996, A&AS 117, 393); a smaller image
        is one box.
    smooth : int
        Side in boxes of the median filter over them.

    Notes
    -----
    Twice: the first sky tells sources, which are left out of the second.
    """
    bad = (image.mask != 0) | ~np.isfinite(image.data)
    if np.count_nonzero(~bad) < 25:
        return None
    data = np.where(bad, 0, image.data)
    first = _measured(data, bad, box, smooth)
    if first is None:
        return None
    sources = _sources(data - first[0], first[1], bad)
    sky, rms = _measured(data, bad | sources, box, smooth) or first
    free = ~(bad | sources)
    flat = free if np.count_nonzero(free) else ~bad
    return Background(
        sky.astype(np.float32),
        rms.astype(np.float32),
        float(np.median(sky[~bad])),
        float(np.median(rms[~bad])),
        correlation((data - sky) / np.where(rms > 0, rms, np.nan), flat),
        sources,
    )


def _measured(data: np.ndarray, bad: np.ndarray, box: int, smooth: int) -> tuple[np.ndarray, np.ndarray] | None:
    from astropy.stats import SigmaClip
    from photutils.background import Background2D, MADStdBackgroundRMS, SExtractorBackground

    size = tuple(min(box, n) for n in data.shape)
    clip = SigmaClip(sigma=3.0, maxiters=5)
    try:
        found = Background2D(
            data,
            size,
            mask=bad,
            exclude_percentile=90.0,
            filter_size=smooth,
            sigma_clip=clip,
            bkg_estimator=SExtractorBackground(sigma_clip=clip),
            bkg_rms_estimator=MADStdBackgroundRMS(sigma_clip=clip),
        )
        return found.background, found.background_rms
    except ValueError:
        # All boxes were left out.
        return None


def _sources(data: np.ndarray, rms: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Pixels of sources: above the sky after smoothing, and two pixels around."""
    from scipy import ndimage

    smoothed = ndimage.gaussian_filter(np.where(bad, 0, data), 1.5)
    # Noise of independent pixels after a Gaussian of width s falls by 2 s sqrt(pi).
    above = smoothed > _SOURCE * rms / (2 * 1.5 * np.sqrt(np.pi))
    kept = ndimage.binary_opening(above, iterations=1)
    return ndimage.binary_dilation(kept, iterations=2)


def correlation(data: np.ndarray, free: np.ndarray) -> float:
    """How much noisier sums over squares are than sums of independent pixels.

    Parameters
    ----------
    data : ndarray
        Pixels without sky, ``(y, x)``.
    free : ndarray
        bool: pixels that count; a square counts if all of its pixels do.
    """
    ny, nx = (n // BLOCK * BLOCK for n in data.shape)
    squares = data[:ny, :nx].reshape(ny // BLOCK, BLOCK, nx // BLOCK, BLOCK)
    whole = (free & np.isfinite(data))[:ny, :nx].reshape(squares.shape).all(axis=(1, 3))
    if np.count_nonzero(whole) < 20:
        return float("nan")
    pixels = squares.transpose(0, 2, 1, 3)[whole].reshape(-1, BLOCK * BLOCK)
    sums, sigma = pixels.sum(axis=1), _spread(pixels.ravel())
    return float(_spread(sums) / (BLOCK * sigma)) if sigma > 0 else float("nan")


def _spread(values: np.ndarray) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
