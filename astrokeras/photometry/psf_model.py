"""The point spread function as an image: stamps at any place, growth of light, weights for PSF-matched apertures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from .psf_shape import fwhm


@dataclass(frozen=True, eq=False)
class Psf:
    """An effective PSF (with the pixel in it), constant over an image.

    Attributes
    ----------
    data : ndarray
        Samples ``(y, x)``, odd shape, centred, ``oversampling`` of them to a pixel. The sum over pixels is 1.
    oversampling : int
        Samples per pixel.
    said : str
        Where it comes from.
    stars : int
        Stars that it was made of, 0 if it was not.
    spread : float
        Robust standard deviation of their FWHM, in pixels.
    """

    data: np.ndarray
    oversampling: int = 1
    said: str = ""
    stars: int = 0
    spread: float = np.nan

    @classmethod
    def normalised(cls, data: np.ndarray, oversampling: int = 1, said: str = "") -> Psf:
        """PSF of samples whose sum is not 1 yet."""
        data = np.asarray(data, float)
        return cls(data * oversampling**2 / data.sum(), oversampling, said)

    @classmethod
    def moffat(cls, fwhm: float, beta: float, radius: int, said: str = "") -> Psf:
        """Moffat profile; a large ``beta`` makes it a Gaussian."""
        oversampling = 2
        y, x = np.mgrid[
            -radius * oversampling : radius * oversampling + 1, -radius * oversampling : radius * oversampling + 1
        ]
        alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
        profile = (1 + (x**2 + y**2) / (oversampling * alpha) ** 2) ** -beta
        return cls.normalised(profile, oversampling, said)

    @property
    def radius(self) -> int:
        """Whole pixels from the centre to the edge."""
        return (min(self.data.shape) // 2) // self.oversampling

    @cached_property
    def spline(self) -> np.ndarray:
        """Coefficients of the cubic spline through the samples."""
        return ndimage.spline_filter(np.asarray(self.data, float), 3)

    def stamps(self, dx: np.ndarray, dy: np.ndarray, radius: int, scale: float = 1.0) -> np.ndarray:
        """PSF of sources off the centre of their stamps.

        Parameters
        ----------
        dx, dy : array
            Offset of the sources from the central pixel, ``(n,)``.
        radius : int
            Stamps are ``2 radius + 1`` pixels wide.
        scale : float
            Pixels of this PSF to one pixel of the stamps.

        Returns
        -------
        ndarray
            ``(n, y, x)``; the sum is the part of the light within the stamp.
        """
        grid = np.arange(-radius, radius + 1)
        shape = (len(dx), len(grid), len(grid))
        centre = [(n - 1) / 2 for n in self.data.shape]
        step = self.oversampling * scale
        x = centre[1] + step * (grid[None, None, :] - np.asarray(dx)[:, None, None])
        y = centre[0] + step * (grid[None, :, None] - np.asarray(dy)[:, None, None])
        places = np.broadcast_to(y, shape), np.broadcast_to(x, shape)
        return scale**2 * ndimage.map_coordinates(self.spline, places, order=3, mode="constant", prefilter=False)

    @cached_property
    def growth(self) -> tuple[np.ndarray, np.ndarray]:
        """Radii in pixels, from 0, and the part of the light within."""
        # Finer samples, so that a radius cuts between them.
        fine = 5
        places = np.indices(np.array(self.data.shape) * fine - fine + 1) / fine
        zoomed = ndimage.map_coordinates(self.spline, places, order=3, prefilter=False)
        y, x = places
        r = np.hypot(y - (self.data.shape[0] - 1) / 2, x - (self.data.shape[1] - 1) / 2) / self.oversampling
        order = np.argsort(r, axis=None)
        light = np.cumsum(zoomed.ravel()[order]) / (fine * self.oversampling) ** 2
        radii = np.linspace(0, self.radius, 20 * self.radius + 1)
        return radii, np.interp(radii, r.ravel()[order], light, left=0.0)

    def within(self, radius: np.ndarray) -> np.ndarray:
        """Part of the light within radii in pixels."""
        return np.interp(radius, *self.growth)

    @cached_property
    def fwhm(self) -> float:
        """Full width at half maximum in pixels: of the circle whose area is that above half of the maximum."""
        return fwhm(self.data) / self.oversampling


def gaussian(fwhm: float, radius: int) -> np.ndarray:
    """Gaussian of height 1 on ``2 radius + 1`` pixels."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.exp(-4 * np.log(2) * (x**2 + y**2) / fwhm**2)


def matched_weight(psf: Psf, target: Psf, scale: float, fwhm: float, regularization: float = 1e-4) -> Psf:
    """Weights that sum an image as a Gaussian aperture would sum it after its PSF was brought to that of ``target``.

    The aperture A of the image d convolved with the kernel K is ``sum A (K * d) = sum (A * K) d``, as a kernel made of
    centred PSFs is symmetric up to a reflection. So the image itself is not convolved, its noise stays that of its
    pixels, and the error of the flux follows from the weights.

    Parameters
    ----------
    psf, target : Psf
        Of the band, and the broadest one.
    scale : float
        Pixels of the target's image to one of the band's.
    fwhm : float
        Of the aperture, in pixels of the band.
    regularization : float
        Of the kernel (photutils.psf_matching.make_wiener_kernel).
    """
    from photutils.psf_matching import make_wiener_kernel
    from scipy.signal import fftconvolve

    radius = psf.radius
    zero = np.zeros(1)
    own = psf.stamps(zero, zero, radius)[0]
    wanted = target.stamps(zero, zero, radius, scale)[0]
    aperture = gaussian(fwhm, radius)
    if psf is target:
        return Psf(aperture)
    kernel = make_wiener_kernel(own / own.sum(), wanted / wanted.sum(), regularization=regularization)
    return Psf(fftconvolve(aperture, kernel[::-1, ::-1], mode="same"))
