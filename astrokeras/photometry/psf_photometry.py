"""PSF fluxes at known places: a linear least-squares fit, of all objects at once or of each one alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from ..images.image import UNUSABLE
from .tile_planes import Plane

#: Radius of the fit in FWHM of the PSF.
WIDTHS = 2.5
#: Part of the weight of a PSF that good pixels must hold.
_ENOUGH = 0.2
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class PsfFluxes:
    """PSF fluxes of objects on one plane.

    Attributes
    ----------
    flux, error : ndarray
        ``(n,)``, NaN where there are too few good pixels.
    good : ndarray
        Part of the weight of the PSF on good pixels.
    """

    flux: np.ndarray
    error: np.ndarray
    good: np.ndarray


@dataclass(frozen=True, eq=False)
class _Profiles:
    """PSFs of all objects on the pixels of a plane: sparse ``(pixel, object)``."""

    matrix: sparse.csc_matrix
    effective: np.ndarray
    power: np.ndarray


def fit(plane: Plane, x: np.ndarray, y: np.ndarray, together: bool = True) -> PsfFluxes:
    """Fit the PSF to objects at fixed places.

    Parameters
    ----------
    plane : Plane
        Pixels.
    x, y : array
        Columns and rows in the plane, ``(n,)``.
    together : bool
        Whether overlapping objects share the light between them; if not, each is fitted as if it were alone.

    Notes
    -----
    Weights are those of the sky's noise, so that the flux is linear in the pixels and has no bias at bright objects.
    The error propagates the variance of the pixels, times the measured growth of noise at the effective area of the
    PSF. Bad and saturated pixels have no weight: of a saturated star, the wings tell the flux.
    """
    n = len(x)
    none = np.full(n, np.nan)
    if not n or not plane.data.size:
        return PsfFluxes(none, none.copy(), np.zeros(n))
    usable = ((plane.mask & UNUSABLE) == 0).ravel()
    rms = plane.prepared.sky.at("rms", plane.rows, plane.columns).astype(float).ravel()
    weight = np.where(usable, 1 / np.maximum(rms, 1e-3 * rms.max()) ** 2, 0.0)
    variance = np.where(usable, plane.variance.ravel(), 0.0)
    profiles = _profiles(plane, x, y)
    weighted = profiles.matrix.multiply(weight[:, None]).tocsc()
    normal = (profiles.matrix.T @ weighted).tocsc()
    diagonal = normal.diagonal()
    squared = np.asarray(profiles.matrix.multiply(profiles.matrix).T @ usable.astype(float)).ravel()
    part = squared / np.maximum(profiles.power, 1e-30)
    fits = (part > _ENOUGH) & (diagonal > 0)
    spread = (weighted.T @ weighted.multiply(variance[:, None])).tocsc()
    right = weighted.T @ plane.data.ravel()
    if together:
        flux, error = _solve(normal, spread, right, fits)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            flux, error = right / diagonal, np.sqrt(spread.diagonal()) / diagonal
    error = error * plane.prepared.noise.at(profiles.effective)
    return PsfFluxes(np.where(fits, flux, np.nan), np.where(fits, error, np.nan), part)


def _profiles(plane: Plane, x: np.ndarray, y: np.ndarray) -> _Profiles:
    psf = plane.prepared.psf
    radius = int(min(np.ceil(WIDTHS * psf.fwhm), psf.radius))
    rows, columns = plane.data.shape
    xi, yi = np.round(x).astype(int), np.round(y).astype(int)
    stamps = psf.stamps(x - xi, y - yi, radius)
    dy, dx = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    stamps = stamps * (np.hypot(dx - (x - xi)[:, None, None], dy - (y - yi)[:, None, None]) <= radius)
    py, px = yi[:, None, None] + dy, xi[:, None, None] + dx
    inside = (py >= 0) & (py < rows) & (px >= 0) & (px < columns) & (stamps != 0)
    which = np.broadcast_to(np.arange(len(x))[:, None, None], stamps.shape)[inside]
    entries = stamps[inside], (py[inside] * columns + px[inside], which)
    matrix = sparse.csc_matrix(entries, shape=(rows * columns, len(x)))
    power = (stamps**2).sum(axis=(1, 2))
    effective = stamps.sum(axis=(1, 2)) ** 2 / np.maximum(power, 1e-30)
    return _Profiles(matrix, effective, power)


def _solve(normal, spread, right: np.ndarray, fits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fluxes and errors of a joint fit; objects that cannot be fitted take no part."""
    flux, error = np.full(len(fits), np.nan), np.full(len(fits), np.nan)
    chosen = np.flatnonzero(fits)
    if not len(chosen):
        return flux, error
    normal, spread = normal[chosen][:, chosen].tocsc(), spread[chosen][:, chosen].tocsc()
    scale = 1 / np.sqrt(normal.diagonal())
    by = sparse.diags(scale)
    # Two objects at one place share their light evenly rather than without bounds.
    factors = splu((by @ normal @ by + 1e-6 * sparse.identity(len(chosen))).tocsc())
    flux[chosen] = scale * factors.solve(scale * right[chosen])
    inner = (by @ spread @ by).tocsr()
    for start in range(0, len(chosen), _BLOCK):
        unit = np.zeros((len(chosen), min(_BLOCK, len(chosen) - start)))
        unit[np.arange(start, start + unit.shape[1]), np.arange(unit.shape[1])] = 1.0
        columns = factors.solve(unit)
        squared = np.einsum("ij,ij->j", columns, inner @ columns)
        rows = chosen[start : start + unit.shape[1]]
        error[rows] = scale[start : start + unit.shape[1]] * np.sqrt(np.maximum(squared, 0))
    return flux, error


def remainder(plane: Plane, x: np.ndarray, y: np.ndarray, flux: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Image without the PSF part of its detected objects; see `aperture_photometry`."""
    psf = plane.prepared.psf
    out = plane.data.copy()
    rows, columns = out.shape
    chosen = np.flatnonzero(np.isfinite(flux) & (flux > 3 * error))
    for start in range(0, len(chosen), _BLOCK):
        block = chosen[start : start + _BLOCK]
        xi, yi = np.round(x[block]).astype(int), np.round(y[block]).astype(int)
        stamps = flux[block][:, None, None] * psf.stamps(x[block] - xi, y[block] - yi, psf.radius)
        for stamp, cx, cy in zip(stamps, xi, yi, strict=True):
            box = _clip(cy, psf.radius, rows), _clip(cx, psf.radius, columns)
            out[box] -= stamp[_inner(box[0], cy, psf.radius), _inner(box[1], cx, psf.radius)]
    return out


def _clip(centre: int, radius: int, size: int) -> slice:
    return slice(min(max(centre - radius, 0), size), max(min(centre + radius + 1, size), 0))


def _inner(box: slice, centre: int, radius: int) -> slice:
    return slice(box.start - centre + radius, box.stop - centre + radius)
