"""How noise grows with the size of an aperture, measured on empty sky: it grows faster if pixels are correlated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from astropy.stats import mad_std
from photutils.geometry import circular_overlap_grid
from scipy import ndimage

#: Radii of the empty apertures, in pixels.
RADII = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0)
#: Apertures of each radius that are enough: the scatter is then known to 3 %.
ENOUGH = 800
#: With fewer, the scatter says nothing.
_FEWEST = 40


@dataclass(frozen=True)
class NoiseGrowth:
    """Scatter of empty apertures over what uncorrelated pixels would give.

    Attributes
    ----------
    pixels, factor : ndarray
        Effective number of pixels, and the ratio; empty if it could not be measured.
    """

    pixels: np.ndarray
    factor: np.ndarray

    def at(self, pixels: np.ndarray) -> np.ndarray:
        """Ratio for weights of an effective number of pixels ``(sum w)^2 / sum w^2``; 1 where not measured."""
        if not len(self.pixels):
            return np.ones(np.shape(pixels))
        logs = np.interp(np.log(np.maximum(pixels, 1)), np.log(self.pixels), np.log(self.factor))
        return np.exp(logs)


def measure(patches: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], seed: int = 0) -> NoiseGrowth:
    """Measure the scatter of apertures on empty sky (Labbe et al. 2003; Gawiser et al. 2006).

    Parameters
    ----------
    patches : iterable of tuple of ndarray
        Image without its sky, standard error of its pixels, and where there is something (objects, bad pixels).
    seed : int
        Of the places.

    Notes
    -----
    Each sum is divided by the error that uncorrelated pixels would give it, so that the ratio also tells if the errors
    of the pixels are wrong. The scatter is that of the median absolute deviation.
    """
    generator = np.random.default_rng(seed)
    found: dict[float, list[np.ndarray]] = {radius: [] for radius in RADII}
    for data, sigma, taken in patches:
        distance = ndimage.distance_transform_edt(~taken) if taken.any() else np.full(data.shape, np.inf)
        for radius in RADII:
            found[radius].append(_sums(data, sigma, distance, radius, generator))
    sums = {radius: np.concatenate(parts) if parts else np.zeros(0) for radius, parts in found.items()}
    used = [radius for radius in RADII if len(sums[radius]) >= _FEWEST]
    if not used:
        return NoiseGrowth(np.zeros(0), np.zeros(0))
    pixels = [_effective(_disk(radius)) for radius in used]
    return NoiseGrowth(np.array(pixels), np.array([mad_std(sums[radius]) for radius in used]))


def _sums(data: np.ndarray, sigma: np.ndarray, distance: np.ndarray, radius: float, generator) -> np.ndarray:
    """Sums in apertures over their uncorrelated errors, at random free places."""
    disk = _disk(radius)
    half = disk.shape[0] // 2
    free = (distance > radius + 1) & (sigma > 0)
    free[:half] = free[-half:] = False
    free[:, :half] = free[:, -half:] = False
    y, x = np.nonzero(free)
    # More places than apertures fit beside each other would only repeat the same pixels.
    count = min(ENOUGH, len(y), int(4 * free.size / (np.pi * radius**2)))
    chosen = generator.choice(len(y), count, replace=False) if count else np.zeros(0, int)
    dy, dx = (index - half for index in np.indices(disk.shape))
    at = y[chosen][:, None, None] + dy, x[chosen][:, None, None] + dx
    return (data[at] * disk).sum(axis=(1, 2)) / np.sqrt((sigma[at] ** 2 * disk**2).sum(axis=(1, 2)))


def _disk(radius: float) -> np.ndarray:
    half = int(np.ceil(radius))
    edge, n = half + 0.5, 2 * half + 1
    return circular_overlap_grid(-edge, edge, -edge, edge, n, n, radius, 1, 1)


def _effective(weights: np.ndarray) -> float:
    return float(weights.sum() ** 2 / (weights**2).sum())
