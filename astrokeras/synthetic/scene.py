"""A field before the camera: its objects and transients, and their images in any band and epoch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .cameras import BETA, CAMERAS, Conditions, conditions, noise_area
from .detector import expose
from .field import Objects, explosions, populate
from .mixture import moffat
from .parts import POINT, SCALE, Parts, make_parts
from .render import Gaussians, draw, joined, sharpness
from .systems import SYSTEMS

if TYPE_CHECKING:
    from astropy.wcs import WCS

#: Streams of random numbers.
PLACE, POPULATION, PARTS, TRANSIENTS, DITHER, NOISE, CATALOG = range(7)
#: Pixels around the images in which there are objects, too, whose light reaches in.
MARGIN = 20
#: Objects whose peak is above this many times the noise of a pixel are drawn with many Gaussians.
FINE = 15.0
#: Steps of the mixture of the PSF for these and for the others.
PSF_STEPS = {True: 0.5, False: 0.8}
#: MJD of the first epoch, and days from epoch to epoch.
FIRST, CADENCE = 60000.0, 30.0
#: Of the transients: without a host, in the centre of a host; the others follow the light of the disk.
HOSTLESS, NUCLEAR = 0.25, 0.15
#: Brightness of a transient from epoch to epoch, after the second.
FADING = 0.6


class Recipe(Protocol):
    """What decides a field; the parameters of `astrokeras.synthetic.sky.Sky`."""

    size: int
    seed: int
    system: str
    bands: tuple[str, ...]
    epochs: int
    star_density: float

    @property
    def count(self) -> int:
        """Number of transients."""


@dataclass(frozen=True)
class Exposure:
    """One image.

    Attributes
    ----------
    model : ndarray, shape (y, x)
        The light without noise, nJy per pixel, float64.
    science, error, mask : ndarray, shape (y, x)
        See `astrokeras.synthetic.detector.expose`.
    wcs : WCS
        Gnomonic projection.
    psf : ndarray, shape (k, k)
        A point source of flux 1 in the centre of the middle pixel.
    given : Conditions
        Noise.
    mjd : float
        Middle of the exposure.
    """

    model: np.ndarray
    science: np.ndarray
    error: np.ndarray
    mask: np.ndarray
    wcs: WCS
    psf: np.ndarray
    given: Conditions
    mjd: float


@dataclass(frozen=True)
class Transients:
    """Point sources that are not there in the first epoch; arrays of shape (t,).

    Attributes
    ----------
    x, y : ndarray
        In pixels of the frame without dither.
    host : ndarray of int
        Row of the host among the objects, -1 for none.
    flux : ndarray, shape (t, band, epoch)
        In nJy, bands of the system.
    """

    x: np.ndarray
    y: np.ndarray
    host: np.ndarray
    flux: np.ndarray


class Scene:
    """Objects of a field, and the images that a survey takes of them.

    Parameters
    ----------
    recipe : Recipe
        What to make. Every image depends on the recipe and on its own band and epoch only.
    """

    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        self.bands = tuple(SYSTEMS[recipe.system].filters)
        self.camera = CAMERAS[recipe.system]
        side = recipe.size + 2 * MARGIN
        area = (side * self.camera.pixel_scale / 3600) ** 2
        rng = self.stream(POPULATION)
        self.objects: Objects = populate(recipe.system, area, self.camera.saturation - 0.7, rng, recipe.star_density)
        n = len(self.objects.kind)
        x, y = rng.uniform(-MARGIN - 0.5, recipe.size + MARGIN - 0.5, (2, n))
        # The star that saturates stands where it does not spoil half of a small field, off centre.
        x[-1], y[-1] = recipe.size * 0.8, recipe.size * 0.2
        self.x, self.y = x, y
        self.transients = self._transients()

    def stream(self, *purpose: int) -> np.random.Generator:
        """Random numbers of one purpose; those of an image are of its own."""
        return np.random.default_rng([self.recipe.seed, *purpose])

    @cached_property
    def parts(self) -> Parts:
        """Gaussians of all objects on the sky."""
        objects = self.objects
        galaxies = len(objects.shapes.type)
        return make_parts(
            objects.shapes,
            np.arange(galaxies),
            np.arange(galaxies, len(objects.kind)),
            self.fine[:galaxies],
            0.8 * min(self.camera.seeing.values()),
            self.stream(PARTS),
        )

    @cached_property
    def fine(self) -> np.ndarray:
        """Objects bright enough in some band, were they points, to need good accuracy."""
        scale = self.camera.pixel_scale
        noise = [FINE * given.sigma * noise_area(given.fwhm / scale) for given in map(self._nominal, self.bands)]
        return (self.objects.flux > np.array(noise)).any(axis=1)

    def _nominal(self, band: str) -> Conditions:
        return conditions(self.recipe.system, band)

    def conditions(self, band: str, epoch: int) -> Conditions:
        """Seeing and depth: the first epoch has those of the survey, the second is less sharp and deep.

        Later ones scatter by 15 % and 0.3 mag.
        """
        if epoch == 1:
            return self._nominal(band)
        rng = self.stream(DITHER, epoch)
        seeing, fainter = np.exp(rng.normal(0.0, 0.15)), rng.normal(0.0, 0.3)
        if epoch == 2:
            seeing, fainter = 1.25, -0.3
        return conditions(self.recipe.system, band, seeing, fainter)

    def wcs(self, band: str | None = None, epoch: int = 1) -> WCS:
        """Projection of an image; without a band, of the frame without dither."""
        from astropy.wcs import WCS

        west, east, south, north = SYSTEMS[self.recipe.system].sky
        rng = self.stream(PLACE)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [rng.uniform(west, east), rng.uniform(south, north)]
        scale = self.camera.pixel_scale / 3600
        wcs.wcs.cd = [[-scale, 0.0], [0.0, scale]]
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.crpix = np.full(2, (self.recipe.size + 1) / 2) + self._dither(band, epoch)
        wcs.wcs.set()
        return wcs

    def _dither(self, band: str | None, epoch: int) -> np.ndarray:
        """Offset of an image in x and y, up to half a pixel."""
        if band is None:
            return np.zeros(2)
        return self.stream(DITHER, epoch, self.bands.index(band)).uniform(-0.5, 0.5, 2)

    def _transients(self) -> Transients:
        recipe, rng = self.recipe, self.stream(TRANSIENTS)
        depth = SYSTEMS[recipe.system].depth[SYSTEMS[recipe.system].reference]
        bright = explosions(recipe.system, recipe.count, depth - 5.0, rng)
        fading = np.array([0.0, *(FADING ** np.arange(recipe.epochs - 1))])
        inside = (np.minimum(self.x, self.y) > 0.05 * recipe.size) & (np.maximum(self.x, self.y) < 0.95 * recipe.size)
        shapes = self.objects.shapes
        galaxies = np.flatnonzero(inside[: len(shapes.type)])
        x, y = rng.uniform(0.05 * recipe.size, 0.95 * recipe.size, (2, recipe.count))
        host = np.full(recipe.count, -1)
        if len(galaxies):
            # Stars explode where stars are: hosts are drawn by their light, the brightest not alone.
            reference = self.bands.index(SYSTEMS[recipe.system].reference)
            weight = np.sqrt(self.objects.flux[galaxies, reference])
            taken = rng.choice(galaxies, recipe.count, replace=recipe.count > len(galaxies), p=weight / weight.sum())
            host = np.where(rng.random(recipe.count) < HOSTLESS, -1, taken)
        radius = rng.gamma(2.0, 1 / SCALE, recipe.count) * (rng.random(recipe.count) > NUCLEAR)
        turn = rng.uniform(0, 2 * np.pi, recipe.count)
        hosted = host >= 0
        major = shapes.disk_radius[host] * radius * np.cos(turn)
        minor = shapes.disk_radius[host] * shapes.disk_ratio[host] * radius * np.sin(turn)
        angle = np.radians(shapes.angle[host])
        east = major * np.sin(angle) + minor * np.cos(angle)
        north = major * np.cos(angle) - minor * np.sin(angle)
        x = np.where(hosted, self.x[host] - east / self.camera.pixel_scale, x)
        y = np.where(hosted, self.y[host] + north / self.camera.pixel_scale, y)
        return Transients(x, y, host, bright[:, :, None] * fading)

    def _pixels(self, band: str, epoch: int) -> tuple[Gaussians, np.ndarray, np.ndarray]:
        """Gaussians of objects and transients in pixels, without PSF; the object of each, and whether it is bright."""
        scale, column = self.camera.pixel_scale, self.bands.index(band)
        dx, dy = self._dither(band, epoch)
        parts, transients = self.parts, self.transients
        sky = parts.gaussians
        # Pixels run west and north.
        matrix = np.array([[-1 / scale, 0.0], [0.0, 1 / scale]])
        light = np.where(parts.kind == POINT, self.objects.flux[parts.owner, column], 0.0)
        extended = parts.kind != POINT
        light[extended] = self.objects.parts[parts.owner[extended], parts.kind[extended], column]
        x = self.x[parts.owner] - sky.x / scale + dx
        y = self.y[parts.owner] + sky.y / scale + dy
        objects = Gaussians(sky.flux * light, x, y, sky.xx, sky.xy, sky.yy).mapped(matrix, x, y)
        flux = transients.flux[:, column, epoch - 1]
        there, zero = flux > 0, np.zeros(np.count_nonzero(flux > 0))
        new = Gaussians(flux[there], transients.x[there] + dx, transients.y[there] + dy, zero, zero, zero)
        owner = np.append(parts.owner, len(self.x) + np.arange(len(zero)))
        return joined([objects, new]), owner, np.append(self.fine[parts.owner], np.ones(len(zero), bool))

    def expose(self, band: str, epoch: int = 1) -> Exposure:
        """Make the image of a band and epoch (from 1)."""
        given = self.conditions(band, epoch)
        size, fwhm = self.recipe.size, given.fwhm / given.pixel_scale
        gaussians, owner, fine = self._pixels(band, epoch)
        model = np.zeros((size, size))
        draw(model, gaussians[fine].blurred(moffat(fwhm, BETA, PSF_STEPS[True])), 0.01 * given.sigma)
        faint = gaussians[~fine].blurred(moffat(fwhm, BETA, PSF_STEPS[False]), owner[~fine])
        draw(model, faint, 0.01 * given.sigma)
        column = self.bands.index(band)
        science, error, mask = expose(model, given, self.stream(NOISE, epoch, column))
        half = int(np.ceil(4 * fwhm))
        stamp = np.zeros((2 * half + 1, 2 * half + 1))
        zero = np.zeros(1)
        draw(
            stamp, Gaussians(np.ones(1), zero + half, zero + half, zero, zero, zero).convolved(moffat(fwhm, BETA)), 1e-9
        )
        mjd = FIRST + CADENCE * (epoch - 1) + 0.01 * column
        return Exposure(model, science, error, mask, self.wcs(band, epoch), stamp / stamp.sum(), given, mjd)

    def flux_errors(self, band: str) -> np.ndarray:
        """Error of the flux of every object in the first epoch, were it fitted with its true profile, alone.

        ``sqrt(sigma^2 n + F / gain)``, n the noise-equivalent area of the object as it is seen.
        """
        given = self.conditions(band, 1)
        gaussians, owner, _ = self._pixels(band, 1)
        count = len(self.parts.owner)
        psf = moffat(given.fwhm / given.pixel_scale, BETA, PSF_STEPS[False])
        seen = gaussians[np.arange(count)].convolved(psf)
        area = 1 / sharpness(seen, np.repeat(owner[:count], len(psf.weights)), len(self.objects.kind))
        flux = self.objects.flux[:, self.bands.index(band)]
        return np.sqrt(given.sigma**2 * area + flux / given.gain)
