"""Stars of an image: isolated, unsaturated point sources, from which its PSF is made."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

#: Stars that are enough.
MOST = 60
#: Signal-to-noise ratio of sources that a PSF is made of; the lower one where the higher gives too few.
SIGNALS = (40.0, 15.0)


@dataclass(frozen=True, eq=False)
class Stamps:
    """Stamps of point-like sources, their sky taken away.

    Attributes
    ----------
    data : ndarray
        ``(n, y, x)``, odd; NaN where a pixel is bad or belongs to another object.
    flux : ndarray
        Within 4 pixels, ``(n,)``.
    half : ndarray
        Half-light radius in pixels, ``(n,)``.
    """

    data: np.ndarray
    flux: np.ndarray
    half: np.ndarray

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, rows) -> Stamps:
        return Stamps(self.data[rows], self.flux[rows], self.half[rows])


def candidates(data: np.ndarray, sigma: np.ndarray, bad: np.ndarray, radius: int, least: float) -> Stamps:
    """Bright, complete, isolated sources of an image without its sky.

    Parameters
    ----------
    data, sigma : ndarray
        Image and standard error of its pixels.
    bad : ndarray of bool
        Pixels without a good value, saturated ones included.
    radius : int
        Stamps are ``2 radius + 1`` pixels wide.
    least : float
        Signal-to-noise ratio.
    """
    from photutils.segmentation import SourceCatalog, detect_sources

    clean = np.where(bad, 0, data)
    smooth = ndimage.gaussian_filter(clean, 1.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # photutils warns where there is no source
        segments = detect_sources(smooth, 3 * sigma, 5)
    empty = np.zeros((0, 2 * radius + 1, 2 * radius + 1))
    none = Stamps(empty, np.zeros(0), np.zeros(0))
    if segments is None:
        return none
    found = SourceCatalog(clean, segments, convolved_data=smooth, error=sigma, mask=bad)
    x, y = (np.atleast_1d(v) for v in (found.x_centroid, found.y_centroid))
    signal = np.atleast_1d(found.segment_flux) / np.atleast_1d(found.segment_flux_err)
    height, width = data.shape
    inside = (x >= radius) & (x <= width - 1 - radius) & (y >= radius) & (y <= height - 1 - radius)
    spoilt = ndimage.maximum(ndimage.binary_dilation(bad), segments.data, segments.labels) > 0
    chosen = np.flatnonzero(inside & (signal > least) & ~spoilt)
    chosen = chosen[np.argsort(-signal[chosen], kind="stable")][: 4 * MOST]
    taken = [_stamp(clean, bad, segments.data, int(segments.labels[i]), (y[i], x[i]), radius) for i in chosen]
    taken = [stamp for stamp in taken if stamp is not None]
    return Stamps(*(np.array(part) for part in zip(*taken, strict=True))) if taken else none


def _stamp(data, bad, segments, label, centre, radius):
    """Stamp, flux and half-light radius of a source; None where a neighbour is near its core."""
    yc, xc = (round(float(c)) for c in centre)
    box = slice(yc - radius, yc + radius + 1), slice(xc - radius, xc + radius + 1)
    other = ndimage.binary_dilation((segments[box] != 0) & (segments[box] != label), iterations=2)
    y, x = np.indices(other.shape) - radius
    r = np.hypot(y - (centre[0] - yc), x - (centre[1] - xc))
    if other[r < 0.5 * radius].any() or other.mean() > 0.3:
        return None
    good = ~other & ~bad[box]
    stamp = data[box]
    core = r < min(8, 0.6 * radius)
    order = np.argsort(r[core])
    light = np.cumsum(np.where(good, stamp, 0)[core][order])
    if light[-1] <= 0:
        return None
    # Light within a radius, and the number of pixels within it, both known at pixels only: sqrt(n / pi) is the radius.
    half = np.sqrt((np.searchsorted(light, light[-1] / 2) + 0.5) / np.pi)
    return np.where(good, stamp, np.nan), light[-1], half


def stars(sources: Stamps) -> Stamps:
    """Those of the sources that lie on the stellar locus: the narrow, well populated ridge at the smallest sizes."""
    if not len(sources):
        return sources
    half = np.sort(sources.half[sources.half > 0.6])
    if not len(half):
        return sources[np.zeros(0, int)]
    count = np.searchsorted(half, half * 1.2, side="right") - np.arange(len(half))
    first = int(np.argmax(count >= max(0.6 * count.max(), 2))) if count.max() >= 2 else 0
    ridge = np.median(half[first : first + count[first]])
    chosen = np.flatnonzero(np.abs(sources.half / ridge - 1) < 0.12)
    return sources[chosen[np.argsort(-sources.flux[chosen], kind="stable")][:MOST]]


def join(parts: Sequence[Stamps]) -> Stamps:
    """Candidates from several parts of an image."""
    return Stamps(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("data", "flux", "half")))
