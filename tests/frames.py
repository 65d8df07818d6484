"""Frames in counts for tests: Gaussian stars of known magnitude on a sky, without a zero point, and their catalog."""

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

SIDE, SCALE, SIGMA, SKY, NOISE, ZERO_POINT = 240, 0.4, 1.5, 100.0, 5.0, 27.0
#: Stars on a side of their grid.
ACROSS = 6


def gaussian(x, y, sigma=SIGMA, side=SIDE):
    """A star of flux 1, pixel by pixel."""
    grid = np.arange(side)
    return np.outer(np.exp(-((grid - y) ** 2) / 2 / sigma**2), np.exp(-((grid - x) ** 2) / 2 / sigma**2)) / (
        2 * np.pi * sigma**2
    )


def places(seed=1):
    """Stars, none near another: columns, rows, magnitudes, colors."""
    rng = np.random.default_rng(seed)
    n = ACROSS**2
    place = (np.arange(ACROSS) + 0.5) * SIDE / ACROSS
    x, y = (grid.ravel() + rng.uniform(-4, 4, n) for grid in np.meshgrid(place, place))
    return x, y, rng.uniform(17.0, 19.5, n), rng.uniform(0.2, 1.4, n)


def write(path, seed=0, color_term=0.0, band="r", zero_point=ZERO_POINT, **cards):
    """Write a frame, with a galaxy among them; returns the catalog of its stars, in nJy."""
    rng = np.random.default_rng(100 + seed)
    x, y, mag, color = places()
    data = rng.normal(SKY, NOISE, (SIDE, SIDE))
    for i, j, m, c in zip(x, y, mag, color, strict=True):
        data += 10 ** (-0.4 * (m - color_term * c - zero_point)) * gaussian(i, j)
    data += 3e4 * gaussian(80.0, 160.0, sigma=4.0)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [30.0, 10.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [SIDE / 2 + 0.5] * 2, [-SCALE / 3600, SCALE / 3600]
    header = wcs.to_header()
    header["FILTER"], header["EXPTIME"], header["MJD-OBS"] = band, 60.0, 59000.5
    header.update({key.replace("_", "-"): value for key, value in cards.items()})
    fits.PrimaryHDU(data.astype(np.float32), header).writeto(path)
    ra, dec = wcs.pixel_to_world_values(x, y)
    flux = 10 ** (-0.4 * (mag - 31.4))
    return Table(
        {
            "object_id": np.arange(len(x)),
            "ra": ra,
            "dec": dec,
            "flux_r": flux,
            "flux_err_r": flux * 0.002,
            "flux_g": flux * 10 ** (-0.4 * color),
            "flux_err_g": flux * 0.002,
        }
    )
