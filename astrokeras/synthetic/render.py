"""From Gaussians on the sky to pixels: projection, convolution with a PSF, and sums of elliptical Gaussians."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from .mixture import Mixture

#: Gaussians this much wider than the PSF (ratio of variances) feel its variance only, not its shape.
_WIDE = 30.0
#: Gaussians of the PSF this much wider than its core are its wings.
_WINGS = 5.0


@dataclass(frozen=True)
class Gaussians:
    """Elliptical Gaussians in a plane, all arrays of shape (k,).

    Attributes
    ----------
    flux : ndarray
        Integral of each.
    x, y : ndarray
        Centre.
    xx, xy, yy : ndarray
        Covariance.
    """

    flux: np.ndarray
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, rows) -> Gaussians:
        return Gaussians(*(getattr(self, field.name)[rows] for field in fields(self)))

    def mapped(self, matrix: np.ndarray, x: np.ndarray, y: np.ndarray) -> Gaussians:
        """Return what a linear map makes of the shapes, at new centres; fluxes are unchanged.

        Parameters
        ----------
        matrix : ndarray, shape (2, 2)
            Jacobian of the new coordinates by the old.
        x, y : ndarray, shape (k,)
            New centres.
        """
        (a, b), (c, d) = matrix
        xx = a * a * self.xx + 2 * a * b * self.xy + b * b * self.yy
        xy = a * c * self.xx + (a * d + b * c) * self.xy + b * d * self.yy
        yy = c * c * self.xx + 2 * c * d * self.xy + d * d * self.yy
        return Gaussians(self.flux, x, y, xx, xy, yy)

    def convolved(self, psf: Mixture) -> Gaussians:
        """Return the convolution with a round PSF: each Gaussian with each of the PSF, in this order."""
        n = len(psf.weights)
        out = {field.name: np.repeat(getattr(self, field.name), n) for field in fields(self)}
        out["flux"] *= np.tile(psf.weights, len(self))
        for name in ("xx", "yy"):
            out[name] += np.tile(psf.variances, len(self))
        return Gaussians(**out)

    def blurred(self, psf: Mixture, owner: np.ndarray | None = None) -> Gaussians:
        """Return nearly the convolution, with fewer Gaussians and in any order.

        Those much wider than the PSF take the variance of its core only. Where an owner of each is given, the wings of
        the PSF see what is small of one object as a single Gaussian of the same moments.

        Parameters
        ----------
        owner : ndarray of int, shape (k,), optional
            Object that each Gaussian belongs to.
        """
        core = 1 / float(np.sum(psf.weights / psf.variances))
        wide = np.minimum(self.xx, self.yy) > _WIDE * core
        out = [self[wide].convolved(Mixture(np.ones(1), np.array([core])))]
        narrow = self[~wide]
        wings = psf.variances > _WINGS * core
        if owner is None or not wings.any():
            return joined([*out, narrow.convolved(psf)])
        far, near = (Mixture(psf.weights[rows], psf.variances[rows]) for rows in (wings, ~wings))
        small = np.maximum(narrow.xx, narrow.yy) < far.variances.min() / 4
        single = narrow[small].merged(owner[~wide][small])
        return joined([*out, narrow.convolved(near), narrow[~small].convolved(far), single.convolved(far)])

    def merged(self, owner: np.ndarray) -> Gaussians:
        """Return one Gaussian per object, of the same flux, centre and covariance as its own together."""
        group = np.unique(owner, return_inverse=True)[1]

        def total(values: np.ndarray) -> np.ndarray:
            return np.bincount(group, self.flux * values)

        flux = total(np.ones(len(self)))
        safe = np.where(flux > 0, flux, 1.0)
        x, y = total(self.x) / safe, total(self.y) / safe
        dx, dy = self.x - x[group], self.y - y[group]
        moments = (total(self.xx + dx * dx) / safe, total(self.xy + dx * dy) / safe, total(self.yy + dy * dy) / safe)
        return Gaussians(flux, x, y, *moments)


def joined(parts: list[Gaussians]) -> Gaussians:
    """One set of Gaussians of several."""
    return Gaussians(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Gaussians)))


def draw(image: np.ndarray, gaussians: Gaussians, floor: float) -> None:
    """Add Gaussians to an image in place; a pixel gets the integral over its area.

    The integral is that of a Gaussian widened by the variance of the pixel, taken at the centre; for sigma >= 1 pixel
    it is right to 1e-3 of the peak.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        float64; the centre of the first pixel is (0, 0).
    gaussians : Gaussians
        In pixels, the PSF included.
    floor : float
        Value per pixel that is not worth drawing, such as a hundredth of the noise.
    """
    from .kernels import draw_all

    columns = [np.ascontiguousarray(getattr(gaussians, field.name), float) for field in fields(gaussians)]
    draw_all(image, *columns, float(floor))


def sharpness(gaussians: Gaussians, owner: np.ndarray, count: int) -> np.ndarray:
    """Integral of the square of each object's normalised profile: the inverse of its noise-equivalent area.

    Parameters
    ----------
    gaussians : Gaussians
        The PSF included, sorted by object.
    owner : ndarray of int, shape (k,)
        Object that each Gaussian belongs to.
    count : int
        Number of objects.

    Returns
    -------
    ndarray, shape (count,)
        Per square of the unit of length; NaN for an object without Gaussians.
    """
    from .kernels import squares

    columns = [np.ascontiguousarray(getattr(gaussians, field.name), float) for field in fields(gaussians)]
    bounds = np.searchsorted(owner, np.arange(count + 1))
    return squares(bounds, *columns)
