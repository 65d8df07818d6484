"""Simulated images for tests: Moffat stars and Sersic galaxies of known flux, made with astropy models only."""

import numpy as np
from astropy.convolution import convolve_fft
from astropy.io import fits
from astropy.modeling.models import Sersic2D
from astropy.wcs import WCS
from scipy.special import gamma, gammaincinv

from astrokeras.images.image import Image

SCALE = 0.4


def grid(shape, shift=(0.0, 0.0), scale=SCALE):
    """WCS of an image whose pixels are shifted against those of another."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [shape[1] / 2 + 0.5 + shift[0], shape[0] / 2 + 0.5 + shift[1]]
    wcs.wcs.cd = np.array([[-scale, 0], [0, scale]]) / 3600
    return wcs


def galactic(shape, scale=SCALE):
    """WCS in Galactic coordinates."""
    wcs = grid(shape, scale=scale)
    wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    wcs.wcs.set()
    return wcs


def moffat(x, y, x0, y0, fwhm, beta=3.0):
    """Profile of total flux 1, in the pixel's centre."""
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    return (beta - 1) / (np.pi * alpha**2) * (1 + ((x - x0) ** 2 + (y - y0) ** 2) / alpha**2) ** -beta


def stars(shape, x, y, flux, fwhm, radius=45):
    """Sum of stars, each on a box around it."""
    out = np.zeros(shape)
    for x0, y0, f in zip(x, y, flux, strict=True):
        rows = slice(max(round(y0) - radius, 0), max(round(y0) + radius + 1, 0))
        columns = slice(max(round(x0) - radius, 0), max(round(x0) + radius + 1, 0))
        box = out[rows, columns]
        yy, xx = np.mgrid[rows.start : rows.start + box.shape[0], columns.start : columns.start + box.shape[1]]
        box += f * moffat(xx, yy, x0, y0, fwhm)
    return out


def galaxy(shape, x0, y0, flux, radius, n, ellip, theta, fwhm):
    """Sersic galaxy of total flux ``flux`` within infinity, convolved with a Moffat profile."""
    bn = gammaincinv(2 * n, 0.5)
    total = 2 * np.pi * n * radius**2 * (1 - ellip) * np.exp(bn) * bn ** (-2 * n) * gamma(2 * n)
    y, x = np.mgrid[: shape[0] * 5, : shape[1] * 5] / 5 - 0.4
    model = Sersic2D(1.0, radius, n, x0, y0, ellip, theta)(x, y)
    binned = model.reshape(shape[0], 5, shape[1], 5).mean(axis=(1, 3))
    ky, kx = np.mgrid[-30:31, -30:31]
    return flux / total * convolve_fft(binned, moffat(kx, ky, 0, 0, fwhm), boundary="fill", fill_value=0.0)


def image(data, band, wcs=None, mask=None, **facts):
    """Image of a band in nJy."""
    mask = np.zeros(data.shape, np.int32) if mask is None else mask
    return Image(data.astype(np.float32), "nJy", mask, band=band, wcs=wcs, filter=f"SLOAN/SDSS.{band}", **facts)


def field(seed=0, size=600, count=100, fwhm=None, shifts=None, colors=None, faint=60.0, bright=2e4, noise=1.0):
    """Stars in several bands on shifted grids; images, and places and fluxes in the first band."""
    fwhm = fwhm or {"r": 3.0, "i": 3.6}
    shifts = shifts or {"r": (0.0, 0.0), "i": (0.6, -0.4)}
    colors = colors or {"r": 1.0, "i": 1.5}
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(5, size - 6, (2, count))
    flux = 10 ** rng.uniform(np.log10(faint), np.log10(bright), count)
    images = []
    for band, width in fwhm.items():
        dx, dy = shifts[band]
        data = rng.normal(0, noise, (size, size)) + stars((size, size), x + dx, y + dy, colors[band] * flux, width)
        images.append(image(data, band, grid((size, size), shifts[band])))
    return images, x, y, flux


def matched(table, x, y, radius=1.5):
    """Rows of a table nearest to places, and whether they are near."""
    distance = np.hypot(
        table["x"].value[None] - np.asarray(x)[:, None], table["y"].value[None] - np.asarray(y)[:, None]
    )
    return distance.argmin(axis=1), distance.min(axis=1) < radius


def write(images, folder, extra=()):
    """Write images as FITS files that say their flux unit; ``{band}.fits``."""
    for one in images:
        header = one.wcs.to_header() if one.wcs is not None else fits.Header()
        header["BUNIT"], header["FILTER"] = "nJy", one.band
        for key, value in extra:
            header[key] = value
        fits.PrimaryHDU(one.data, header).writeto(folder / f"{one.band}.fits", overwrite=True)
