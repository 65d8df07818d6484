"""Zero point and colour term of an image from stars of known magnitude."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.stats import mad_std

from ..images.image import Image
from .noise_growth import NoiseGrowth
from .sky_mesh import SkyMesh

#: Stars farther than this many robust standard deviations from the fit are left out.
_CLIP = 3.0


@dataclass(frozen=True)
class ZeroPoint:
    """``m = -2.5 log10(counts) + value + slope (color - pivot)``.

    Attributes
    ----------
    value, error : float
        Zero point at the pivot, and its standard error, in mag.
    slope, slope_error : float
        Colour term; NaN where none was fitted.
    rms : float
        Robust standard deviation of the stars, in mag.
    stars : int
        Stars that were used.
    """

    value: float
    error: float
    slope: float
    slope_error: float
    rms: float
    stars: int


def instrumental(
    image: Image, sky: SkyMesh, noise: NoiseGrowth, x: np.ndarray, y: np.ndarray, radius: float, search: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fluxes of stars in circles and their errors, in the unit of the image; NaN where a star cannot be measured.

    Parameters
    ----------
    sky, noise : SkyMesh, NoiseGrowth
        Of the image; the growth of noise is that of sums over the noise of the sky.
    x, y : array
        Where stars are expected, in pixels from 0.
    radius, search : float
        Of the circle, and how far the centre of light may be from the place, in pixels.
    """
    from photutils.aperture import CircularAperture, aperture_photometry

    level = sky.at("level", *(slice(0, n) for n in image.shape))
    data = np.where(image.mask == 0, image.data - level, np.nan)
    inside = (x > radius) & (y > radius) & (x < data.shape[1] - 1 - radius) & (y < data.shape[0] - 1 - radius)
    flux, error = np.full(len(x), np.nan), np.full(len(x), np.nan)
    places = _recentred(data, x[inside], y[inside], search)
    good = np.isfinite(places).all(axis=1)
    if not good.any():
        return flux, error
    circles = CircularAperture(places[good], radius)
    total = np.array(aperture_photometry(np.nan_to_num(data), circles)["aperture_sum"])
    # A circle that holds a flagged pixel is no measurement.
    total[np.array(aperture_photometry((~np.isfinite(data)).astype(float), circles)["aperture_sum"]) > 0] = np.nan
    chosen = np.flatnonzero(inside)[good]
    flux[chosen] = total
    pixels = np.pi * radius**2
    error[chosen] = noise.at(pixels) * np.median(sky.rms) * np.sqrt(pixels)
    return flux, error


def _recentred(data: np.ndarray, x: np.ndarray, y: np.ndarray, search: float) -> np.ndarray:
    """Places ``(n, 2)`` of the brightest pixel near each, refined by its centre of light; NaN where it is too far."""
    reach = int(np.ceil(search))
    out = np.full((len(x), 2), np.nan)
    offsets = np.arange(-reach, reach + 1)
    padded = np.pad(np.nan_to_num(data), 2 * reach + 2)
    for k, (i, j) in enumerate(zip(np.rint(x).astype(int), np.rint(y).astype(int), strict=True)):
        box = padded[np.ix_(j + offsets + 2 * reach + 2, i + offsets + 2 * reach + 2)]
        dy, dx = np.unravel_index(np.argmax(box), box.shape)
        peak = np.array([i + dx - reach, j + dy - reach])
        near = padded[np.ix_(peak[1] + np.arange(-1, 2) + 2 * reach + 2, peak[0] + np.arange(-1, 2) + 2 * reach + 2)]
        light = np.clip(near, 0, None)
        if light.sum() > 0:
            steps = np.arange(-1, 2)
            found = peak + np.array([(light * steps).sum(), (light * steps[:, None]).sum()]) / light.sum()
            out[k] = found if np.hypot(*(found - (x[k], y[k]))) <= search else np.nan
    return out


def fit(difference: np.ndarray, error: np.ndarray, color: np.ndarray | None, floor: float = 0.005) -> ZeroPoint:
    """Robust linear fit of reference minus instrumental magnitudes against colour.

    Parameters
    ----------
    difference, error : array
        Of each star, in mag; finite.
    color : array, optional
        Of each star, minus the pivot; None: no colour term.
    floor : float
        Added in quadrature to the errors, in mag: flat fields and reference catalogs are no better.

    Notes
    -----
    Least squares with weights, repeated without stars beyond 3 robust standard deviations; errors are scaled to the
    scatter that is found where that is larger.
    """
    design = np.ones((len(difference), 1)) if color is None else np.column_stack([np.ones(len(difference)), color])
    weight = 1 / np.hypot(error, floor)
    # From the median on: a first fit to everything would follow the outliers.
    kept = np.abs(difference - np.median(difference)) <= 2 * _CLIP * max(mad_std(difference), floor)
    for _ in range(20):
        scaled = design[kept] * weight[kept, None]
        solution, *_ = np.linalg.lstsq(scaled, difference[kept] * weight[kept], rcond=None)
        rest = difference - design @ solution
        now = np.abs(rest) <= _CLIP * max(mad_std(rest[kept]), floor)
        if (now == kept).all() or np.count_nonzero(now) <= design.shape[1]:
            break
        kept = now
    scaled = design[kept] * weight[kept, None]
    freedom = max(np.count_nonzero(kept) - design.shape[1], 1)
    scatter = np.sum((rest[kept] * weight[kept]) ** 2) / freedom
    covariance = np.linalg.pinv(scaled.T @ scaled) * max(scatter, 1.0)
    slope = (np.nan, np.nan) if color is None else (solution[1], np.sqrt(covariance[1, 1]))
    return ZeroPoint(
        float(solution[0]),
        float(np.sqrt(covariance[0, 0])),
        float(slope[0]),
        float(slope[1]),
        float(mad_std(rest[kept])),
        int(np.count_nonzero(kept)),
    )
