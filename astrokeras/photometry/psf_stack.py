"""The PSF of an image from its stars: a profile with a sample every half pixel, fitted to all of them at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from astropy.stats import mad_std
from scipy import optimize, sparse
from scipy.sparse.linalg import LinearOperator, cg

from .psf_model import Psf
from .psf_shape import moments
from .stars import Stamps, stars

#: Stars that a stack needs; with fewer, a Moffat profile is fitted to them.
FEWEST = 6
_OVERSAMPLING = 2
#: Stars that the Moffat profile is fitted to.
_BRIGHTEST = 10
#: How far samples may be from the Moffat profile where the stars say nothing: part of it, and of its maximum.
_FREE = (0.1, 2e-4)
#: Misfit of a star, beyond its noise, in parts of the maximum of the PSF, that is no reason to leave it out.
_LIKE = 0.003
#: Pixels to either side, of which the slope of the PSF is taken.
_STEP = 0.05


def estimate(sources: Stamps, guess: float = 3.0) -> Psf:
    """PSF from point-like sources of one image.

    Parameters
    ----------
    sources : Stamps
        From `stars.candidates`.
    guess : float
        FWHM in pixels that is assumed if there is no star at all.

    Notes
    -----
    The effective PSF of Anderson & King (2000): its samples, two to a pixel, are the coefficients of a cubic spline,
    and the pixels of all stars, each at its place within the pixel, are fitted with it by linear least squares. Between
    rounds, places and fluxes of the stars are fitted, and stars that do not look like the others are left out. Where
    the stars say little, in the wings, samples are drawn towards a Moffat profile. With fewer than six stars it is
    that profile; `Psf.said` tells which.
    """
    found = stars(sources)
    radius = sources.data.shape[-1] // 2
    if not len(found):
        return Psf.moffat(
            guess, 3.0, radius, f"no star was found: a Moffat profile of FWHM {guess:g} pixels was assumed"
        )
    prior = _moffat(found[:_BRIGHTEST], radius)
    psf = prior
    for _ in range(2 if len(found) >= FEWEST else 0):
        flux, dx, dy, misfit = _placed(found, psf)
        kept = np.flatnonzero((misfit < 3 * np.median(misfit) + _LIKE * psf.data.max()) & (flux > 0))
        if len(kept) < FEWEST:
            psf = prior
            break
        found, places = found[kept], (flux[kept], dx[kept], dy[kept])
        psf = _samples(found, *places, prior)
    if psf is prior:
        found = found[:_BRIGHTEST]
        places = _placed(found, psf)[:3]
    return replace(psf, stars=len(found), spread=_spread(found, psf, *places))


def _spread(found: Stamps, psf: Psf, flux: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> float:
    """Robust standard deviation of the FWHM of stars, as of Gaussians of the same weighted moments."""
    model = flux[:, None, None] * psf.stamps(dx, dy, found.data.shape[-1] // 2)
    widths, _ = moments(np.where(np.isfinite(found.data), found.data, model))
    known = widths[np.isfinite(widths)]
    return float(2.3548 * mad_std(known)) if len(known) else float("nan")


def _placed(found: Stamps, psf: Psf) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Flux, place and misfit of each star: Gauss-Newton steps, of all stars at once."""
    radius = found.data.shape[-1] // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    core = (np.hypot(x, y) <= max(3.0, 1.5 * psf.fwhm)) & np.isfinite(found.data)
    data = np.where(core, found.data, 0.0)
    dx, dy = _centres(data)
    for _ in range(6):
        model = psf.stamps(dx, dy, radius)
        along_x = psf.stamps(dx + _STEP, dy, radius) - psf.stamps(dx - _STEP, dy, radius)
        along_y = psf.stamps(dx, dy + _STEP, radius) - psf.stamps(dx, dy - _STEP, radius)
        basis = np.stack([model, along_x / (2 * _STEP), along_y / (2 * _STEP)], axis=1) * core[:, None]
        basis = basis.reshape(len(dx), 3, -1)
        normal = basis @ basis.swapaxes(1, 2) + 1e-12 * np.eye(3)
        solved = np.linalg.solve(normal, basis @ data.reshape(len(dx), -1, 1))[..., 0]
        flux = np.where(solved[:, 0] > 0, solved[:, 0], np.nan)
        step = np.clip(np.nan_to_num(solved[:, 1:] / flux[:, None]), -0.3, 0.3)
        dx, dy = np.clip(dx + step[:, 0], -2, 2), np.clip(dy + step[:, 1], -2, 2)
    left = data - flux[:, None, None] * np.where(core, psf.stamps(dx, dy, radius), 0)
    # What the noise of the image leaves is not held against a faint star.
    noise = 1.4826 * np.nanmedian(np.abs(np.where(np.hypot(x, y) > radius / 2, found.data, np.nan)))
    pixels = np.maximum(core.sum(axis=(1, 2)), 1)
    expected = noise**2 * (1 + 3 * np.sqrt(2 / pixels))
    misfit = np.sqrt(np.maximum((left**2).sum(axis=(1, 2)) / pixels - expected, 0)) / flux
    return np.nan_to_num(flux), dx, dy, np.nan_to_num(misfit, nan=np.inf)


def _centres(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius = data.shape[-1] // 2
    core = data[:, radius - 3 : radius + 4, radius - 3 : radius + 4]
    core = np.clip(core - 0.2 * core.max(axis=(1, 2), keepdims=True), 0, None)
    grid, total = np.arange(-3, 4), np.maximum(core.sum(axis=(1, 2)), 1e-30)
    return (core * grid).sum(axis=(1, 2)) / total, (core * grid[:, None]).sum(axis=(1, 2)) / total


def _samples(found: Stamps, flux: np.ndarray, dx: np.ndarray, dy: np.ndarray, prior: Psf) -> Psf:
    """Coefficients of the spline that fits the pixels of all stars best, and samples of it."""
    radius = found.data.shape[-1] // 2
    size = prior.data.shape[0]
    start = prior.spline.ravel()
    free = _FREE[0] * prior.data.ravel() + _FREE[1] * prior.data.max()
    good = np.isfinite(found.data)
    matrix = _design(good, dx, dy, radius, size)
    # Stars much brighter than the others would be the only ones that count.
    weight = np.minimum(flux, 5 * np.median(flux)) / _noise(found, flux, prior, dx, dy)
    rows = np.repeat(weight, good.sum(axis=(1, 2)))
    target = (found.data / flux[:, None, None])[good] - matrix @ start
    scaled = sparse.diags(rows) @ matrix @ sparse.diags(free)
    operator = LinearOperator((size**2,) * 2, matvec=lambda v: scaled.T @ (scaled @ v) + v, dtype=float)
    solved, _ = cg(operator, scaled.T @ (rows * target), rtol=1e-3, maxiter=100)
    coefficients = (start + free * solved).reshape(size, size)
    data = _values(coefficients)
    y, x = np.indices(data.shape) - size // 2
    data = np.where(np.hypot(x, y) <= size // 2, data, 0)
    return Psf.normalised(data, _OVERSAMPLING, f"a stack of {len(found)} stars")


def _noise(found: Stamps, flux: np.ndarray, prior: Psf, dx: np.ndarray, dy: np.ndarray) -> float:
    """Noise of a pixel: of the faintest half of the stars, beyond their cores."""
    radius = found.data.shape[-1] // 2
    faint = np.argsort(flux)[: max(len(flux) // 2, 1)]
    model = flux[faint, None, None] * prior.stamps(dx[faint], dy[faint], radius)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    left = (found.data[faint] - model)[:, np.hypot(x, y) > radius / 2]
    return float(max(1.4826 * np.nanmedian(np.abs(left - np.nanmedian(left))), 1e-6 * flux.max()))


def _design(good: np.ndarray, dx: np.ndarray, dy: np.ndarray, radius: int, size: int) -> sparse.csr_matrix:
    """Values of the cubic B-splines at the good pixels of all stars: sparse ``(pixel, coefficient)``."""
    star, py, px = np.nonzero(good)
    at = [size // 2 + _OVERSAMPLING * (p - radius - offset[star]) for p, offset in ((py, dy), (px, dx))]
    first = [np.floor(v).astype(int) - 1 for v in at]
    values = [_bsplines(v - np.floor(v)) for v in at]
    j, i = np.meshgrid(range(4), range(4), indexing="ij")
    rows = first[0][:, None, None] + j
    columns = first[1][:, None, None] + i
    entries = values[0][:, :, None] * values[1][:, None, :]
    inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    which = np.broadcast_to(np.arange(len(star))[:, None, None], entries.shape)[inside]
    place = which, (rows * size + columns)[inside]
    return sparse.csr_matrix((entries[inside], place), shape=(len(star), size**2))


def _bsplines(t: np.ndarray) -> np.ndarray:
    """The four cubic B-splines that are not zero at a distance ``t`` beyond a node."""
    terms = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    return np.stack(terms, axis=-1) / 6


def _values(coefficients: np.ndarray) -> np.ndarray:
    """Values of a spline at its nodes."""
    padded = np.pad(coefficients, 1)
    lines = (padded[:-2] + 4 * padded[1:-1] + padded[2:]) / 6
    return (lines[:, :-2] + 4 * lines[:, 1:-1] + lines[:, 2:]) / 6


def _moffat(found: Stamps, radius: int) -> Psf:
    """Fit one Moffat profile to all stars, each with its place and flux."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    good = np.isfinite(found.data) & (np.hypot(x, y) < radius)
    n, scale = len(found), found.flux[:, None, None]

    def residual(p: np.ndarray) -> np.ndarray:
        alpha = p[0] / (2 * np.sqrt(2 ** (1 / p[1]) - 1))
        dx, dy, part = p[2:].reshape(3, -1, 1, 1)
        profile = (1 + ((x - dx) ** 2 + (y - dy) ** 2) / alpha**2) ** -p[1]
        return (part * (p[1] - 1) / (np.pi * alpha**2) * profile - found.data / scale)[good]

    start = np.concatenate([[2 * np.median(found.half), 3.0], np.zeros(2 * n), np.ones(n)])
    low = np.concatenate([[0.8, 1.2], np.full(2 * n, -2.0), np.zeros(n)])
    high = np.concatenate([[2.0 * radius, 100.0], np.full(2 * n, 2.0), np.full(n, 5.0)])
    fit = optimize.least_squares(residual, np.clip(start, low + 1e-3, high - 1e-3), bounds=(low, high), max_nfev=60)
    said = f"a Moffat profile fitted to {n} star{'s' * (n > 1)}, too few to be stacked (FWHM {fit.x[0]:.2f} pixels)"
    return Psf.moffat(fit.x[0], fit.x[1], radius, said)
