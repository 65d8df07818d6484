"""Simulated sources in real images: where they are put, how they look, and the light they add."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Parameter

from ..errors import IngestError
from ..fields import Band
from ..images.footprints import pixels_near
from ..images.image import Image
from ..images.sky_grid import positions
from ..units import ab_to_njy
from .mixture import Mixture, sersic
from .render import Gaussians, draw, joined

if TYPE_CHECKING:
    from astropy.table import QTable

Radius = Annotated[float, Parameter(ge=0, le=60)]


class Injection(BaseModel):
    """Which sources are put into images.

    Parameters
    ----------
    number : int
        Sources per image, all radii together; fewer where the image has no room for them.
    magnitudes : tuple of float
        AB magnitude of the brightest and the faintest; all between are equally frequent.
    radii : tuple of float
        Half-light radii along the major axis, in arcsec; 0 is a point source. Sources take them in turn.
    bulge : float
        Share of a de Vaucouleurs profile of the same radius in the light of a galaxy; the rest is exponential.
    ratio : tuple of float
        Least and largest axis ratio of galaxies.
    colors : dict
        Magnitude in a band minus that of ``magnitudes``; 0 where a band is not named.
    spacing : float
        Arcsec from source to source, so that they do not blend with each other.
    seed : int
        Seed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Parameter(default=300, ge=1, le=100_000)
    magnitudes: tuple[float, float] = (18.0, 25.0)
    radii: tuple[Radius, ...] = Parameter(default=(0.0, 0.5, 1.0, 2.0), min_length=1)
    bulge: float = Parameter(default=0.0, ge=0, le=1)
    ratio: tuple[float, float] = (0.3, 1.0)
    colors: dict[Band, Annotated[float, Parameter(ge=-10, le=10)]] = {}
    spacing: float = Parameter(default=15.0, gt=0, le=600)
    seed: int = Parameter(default=0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name, low, high in (("magnitudes", 0, 40), ("ratio", 0.02, 1)):
            first, last = getattr(self, name)
            if not low <= first <= last <= high:
                raise ValueError(f"{name} needs two numbers in order from {low} to {high}, got {first:g} and {last:g}")
        return self


def plan_sources(image: Image, given: Injection, repeat: int = 0) -> QTable:
    """Draw sources for an image: on a shaken lattice, where the image has data.

    Parameters
    ----------
    image : Image
        Reference image; needs coordinates.
    given : Injection
        Which sources.
    repeat : int
        Another number gives other sources.

    Returns
    -------
    QTable
        ``object_id``, ``ra``, ``dec`` (deg), ``mag`` (AB), ``r_half`` (arcsec), ``axis_ratio``, ``position_angle``
        (deg), ``surface_brightness`` (AB mag per square arcsec, mean within the half-light ellipse; NaN of points).

    Raises
    ------
    IngestError
        If the image has no coordinates, or no room for a source.
    """
    from astropy import units as u
    from astropy.table import QTable

    rng = np.random.default_rng([given.seed, repeat])
    x, y = _places(image, given, rng)
    n = len(x)
    if not n:
        raise IngestError(
            f"{image.path or 'image'}: no room for a source with data {given.spacing:g} arcsec from the next"
        )
    ra, dec = positions(image.wcs, x, y)
    mag = rng.uniform(*given.magnitudes, n)
    radius = np.array(given.radii)[np.arange(n) % len(given.radii)]
    ratio = np.where(radius > 0, rng.uniform(*given.ratio, n), 1.0)
    with np.errstate(divide="ignore"):
        surface = np.where(radius > 0, mag + 2.5 * np.log10(2 * np.pi * radius**2 * ratio), np.nan)
    return QTable(
        {
            "object_id": np.arange(1, n + 1),
            "ra": ra * u.deg,
            "dec": dec * u.deg,
            "mag": mag * u.mag,
            "r_half": radius * u.arcsec,
            "axis_ratio": ratio,
            "position_angle": rng.uniform(0, 180, n) * u.deg,
            "surface_brightness": surface * u.mag / u.arcsec**2,
        }
    )


def _places(image: Image, given: Injection, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of a lattice, each moved by up to a quarter of its step, in random order."""
    step = given.spacing / _scale(image) * 1.5
    ny, nx = image.shape
    first = rng.uniform(0, step, 2)
    y, x = np.meshgrid(np.arange(first[0], ny, step), np.arange(first[1], nx, step), indexing="ij")
    # Steps of 1.5 spacings, moved by a sixth of them at either end, leave one spacing.
    x, y = (values.ravel() + rng.uniform(-step / 6, step / 6, values.size) for values in (x, y))
    inside = (x > -0.5) & (y > -0.5) & (x < nx - 0.5) & (y < ny - 0.5)
    x, y = x[inside], y[inside]
    there = np.isfinite(image.data[np.round(y).astype(int), np.round(x).astype(int)])
    order = rng.permutation(np.flatnonzero(there))[: given.number]
    return x[order], y[order]


def _scale(image: Image) -> float:
    from astropy.wcs.utils import proj_plane_pixel_scales

    if image.wcs is None:
        raise IngestError(
            f"{image.path or 'image'}: has no coordinates, so that no source can be put at a place of the sky"
        )
    return float(np.sqrt(np.prod(proj_plane_pixel_scales(image.wcs.celestial))) * 3600)


def inject(
    image: Image,
    sources: QTable,
    psf: Mixture,
    given: Injection | None = None,
    rng: np.random.Generator | None = None,
) -> Image:
    """Add sources to an image, with the noise of their light.

    Parameters
    ----------
    image : Image
        In nJy, with coordinates.
    sources : QTable
        As of `plan_sources`.
    psf : Mixture
        PSF in pixels of the image, without the pixel; see `astrokeras.synthetic.mixture.fitted`.
    given : Injection, optional
        For ``bulge`` and ``colors``.
    rng : Generator, optional
        Noise of the sources; none without it, or where the gain of the image is unknown.

    Returns
    -------
    Image
        A new one. Flags are those of the image: a source that would saturate does not.

    Raises
    ------
    IngestError
        If the image has no coordinates, or is not in nJy.
    """
    if image.unit != "nJy":
        raise IngestError(
            f"{image.path or 'image'}: is in {image.unit or 'no unit'}, and magnitudes need nJy; state its zero "
            "point in a layout: calibration: [{zero_point: 27.0}]"
        )
    given = given or Injection()
    scale = _scale(image)
    flux = ab_to_njy(sources["mag"].value + given.colors.get(image.band, 0.0))
    light = np.zeros(image.shape)
    noise = 1e-4 * flux.min() if image.sigma is None else 0.01 * float(np.nanmedian(image.sigma))
    draw(light, _seen(image, sources, flux, given, scale).convolved(psf), noise)
    gain = image.electrons
    noisy = rng is not None and gain is not None
    added = rng.poisson(light * gain) / gain if noisy else light
    sigma = image.sigma
    if sigma is not None and gain is not None:
        sigma = np.sqrt(sigma.astype(float) ** 2 + light / gain).astype(np.float32)
    return replace(image, data=(image.data + added).astype(np.float32), sigma=sigma)


def _seen(image: Image, sources: QTable, flux: np.ndarray, given: Injection, scale: float) -> Gaussians:
    """Gaussians of sources in the pixels of an image, without PSF."""
    x, y, matrix = _jacobian(image, sources, scale)
    near = np.isfinite(matrix).all(axis=(0, 1))
    radius, ratio = sources["r_half"].to_value("arcsec"), np.asarray(sources["axis_ratio"])
    angle = np.radians(sources["position_angle"].to_value("deg"))
    parts = []
    for index, share in ((1.0, 1 - given.bulge), (4.0, given.bulge)):
        rows = np.flatnonzero(near & (radius > 0) & (share > 0))
        mixture = sersic(index)
        every, n = np.repeat(rows, len(mixture.weights)), len(rows)
        major = np.outer(radius[rows] ** 2, mixture.variances).ravel()
        minor = major * ratio[every] ** 2
        sine, cosine = np.sin(angle[every]), np.cos(angle[every])
        zero = np.zeros(len(every))
        sky = Gaussians(
            np.tile(mixture.weights, n) * flux[every] * share,
            zero,
            zero,
            sine**2 * major + cosine**2 * minor,
            sine * cosine * (major - minor),
            cosine**2 * major + sine**2 * minor,
        )
        parts.append(sky.mapped(matrix[:, :, every], x[every], y[every]))
    points = np.flatnonzero(near & (radius == 0))
    zero = np.zeros(len(points))
    parts.append(Gaussians(flux[points], x[points], y[points], zero, zero, zero))
    return joined(parts)


def _jacobian(image: Image, sources: QTable, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of sources, and the change of pixels per arcsec east and north there, shape (2, 2, n); NaN far away."""
    ra, dec = sources["ra"].to_value("deg"), sources["dec"].to_value("deg")
    step = scale / 3600
    x, y = pixels_near(image.wcs, image.shape, ra, dec)
    east = pixels_near(image.wcs, image.shape, ra + step / np.cos(np.radians(dec)), dec)
    north = pixels_near(image.wcs, image.shape, ra, dec + step)
    matrix = np.array([[east[0] - x, north[0] - x], [east[1] - y, north[1] - y]]) / scale
    return x, y, matrix
