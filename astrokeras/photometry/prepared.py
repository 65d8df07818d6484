"""What holds for a whole image of one band: sky, PSF, growth of noise. Measured once, before any tile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from ..errors import IngestError
from ..images import sky_grid
from ..images.image import UNUSABLE, Image, Pixel
from . import noise_growth, psf_stack, sky_mesh, stars
from .noise_growth import NoiseGrowth
from .psf_model import Psf
from .sky_mesh import SkyMesh
from .tiles import spread

#: Parts of an image that are looked at for stars and noise, and their size; independent of the tiles.
_PARTS, _SIZE = 12, 1024
#: Half-width of the stamps of stars, in pixels and in FWHM.
_RADIUS, _WIDTHS = 20, 6.0


@dataclass(frozen=True, eq=False)
class Held:
    """An image in memory that is read like a file."""

    image: Image

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "image":
            raise AttributeError(name)
        return getattr(self.image, name)

    def read(self, rows: slice | None = None, columns: slice | None = None) -> Image:
        """Part of the image; the WCS stays that of the whole."""
        from dataclasses import replace

        part = rows or slice(None), columns or slice(None)
        sigma = None if self.image.sigma is None else self.image.sigma[part]
        return replace(self.image, data=self.image.data[part], mask=self.image.mask[part], sigma=sigma)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A band, ready to be measured in parts.

    Attributes
    ----------
    opened : ImageFile or Held
        The image.
    sky, psf, noise : SkyMesh, Psf, NoiseGrowth
        What was measured on it.
    pixel_scale : float
        In arcsec.
    notes : tuple of str
        What a user should know.
    """

    opened: Any
    sky: SkyMesh
    psf: Psf
    noise: NoiseGrowth
    pixel_scale: float
    notes: tuple[str, ...] = field(default=())

    @property
    def band(self) -> str:
        """Band of the image."""
        return self.opened.band

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return tuple(self.opened.shape)

    def read(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Part of the image without its sky, its variance, and its mask.

        Returns
        -------
        tuple of ndarray
            float64 data, 0 where there are none; variance, infinite there; int32 bits of `Pixel`.
        """
        return _read(self.opened, self.sky, rows, columns)


def _read(opened: Any, sky: SkyMesh, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image = opened.read(rows=rows, columns=columns)
    data = image.data.astype(np.float64) - sky.at("level", rows, columns)
    mask = image.mask.astype(np.int32) | np.where(np.isfinite(data), 0, Pixel.NO_DATA).astype(np.int32)
    if image.sigma is not None:
        variance = image.sigma.astype(np.float64) ** 2
        mask |= np.where(np.isfinite(variance) & (variance > 0), 0, Pixel.NO_DATA).astype(np.int32)
    else:
        variance = sky.at("rms", rows, columns).astype(np.float64) ** 2
        if electrons := image.electrons:
            variance += np.clip(np.nan_to_num(data), 0, None) / electrons
    # Saturated pixels often have no error and other bits too. They have light, so that the object is not cut in two.
    bright = ((mask & Pixel.SATURATED) != 0) & np.isfinite(data)
    mask = np.where(bright, mask & ~np.int32(Pixel.NO_DATA | Pixel.BAD), mask)
    broken = bright & ~(np.isfinite(variance) & (variance > 0))
    variance = np.where(broken, sky.at("rms", rows, columns).astype(np.float64) ** 2, variance)
    none = (mask & Pixel.NO_DATA) != 0
    return np.where(none, 0.0, data), np.where(none, np.inf, variance), mask


def prepare(
    opened: Any, box: int = 128, subtract: bool = True, psf: Psf | None = None, pixel_scale: float | None = None
) -> Prepared:
    """Measure the sky, the PSF and the growth of noise of an image.

    Parameters
    ----------
    opened : ImageFile or Held
        The image.
    box, subtract
        See `sky_mesh.measure`.
    psf : Psf, optional
        Taken in place of one made of the image's own stars.
    pixel_scale : float, optional
        In arcsec, for images without WCS.

    Raises
    ------
    IngestError
        If the image has no good pixel, or neither WCS nor pixel scale.
    """
    scale = scale_of(opened) or pixel_scale
    if not scale:
        raise IngestError(f"{place(opened)} has no WCS; say its `pixel_scale` in arcsec")
    sky = sky_mesh.measure(opened, box, subtract)
    if not (sky.rms > 0).any():
        raise IngestError(f"{place(opened)} has no pixels with noise to measure (all masked, or all equal)")
    samples = sampled(opened, sky)
    made = psf or psf_of_stars(samples)
    noise = noise_growth.measure((sample.data, sample.sigma, sample.taken) for sample in samples)
    stacked = made is psf or made.said.startswith("a stack")
    notes = [] if stacked else [f"{opened.band}: PSF: {made.said}"]
    if not len(noise.pixels):
        notes.append(f"{opened.band}: too little empty sky to measure how noise is correlated; errors take it as not")
    return Prepared(opened, sky, made, noise, scale, (*getattr(opened, "notes", ()), *notes))


@dataclass(frozen=True, eq=False)
class Sample:
    """A part of an image, without its sky, that tells its stars and its noise.

    Attributes
    ----------
    data, sigma, rms : ndarray
        Pixels, their standard errors, and the measured noise of the sky, ``(y, x)``.
    bad, taken : ndarray of bool
        Pixels without a good value; these, and those of objects: what is no empty sky.
    """

    data: np.ndarray
    sigma: np.ndarray
    rms: np.ndarray
    bad: np.ndarray
    taken: np.ndarray


def sampled(opened: Any, sky: SkyMesh) -> list[Sample]:
    """Parts of an image, evenly spread, that are enough to know its stars and its noise."""
    samples = []
    for tile in spread(tuple(opened.shape), _SIZE, _PARTS):
        data, variance, mask = _read(opened, sky, tile.rows, tile.columns)
        bad = (mask & UNUSABLE) != 0
        sigma = np.sqrt(np.where(bad, sky.rms.max() ** 2, variance))
        rms = sky.at("rms", tile.rows, tile.columns)
        samples.append(Sample(data, sigma, rms, bad, _taken(data, rms, bad)))
    return samples


def psf_of_stars(samples: list[Sample]) -> Psf:
    """PSF of the stars in parts of an image: of bright ones, or of fainter ones where these are too few."""
    for least in stars.SIGNALS:
        found = _sources(samples, _RADIUS, least)
        point = stars.stars(found)
        # Stamps have to hold the wings: half a percent of the light of a Moffat profile lies beyond six widths. The
        # width is about twice the half-light radius.
        wanted = int(np.clip(np.ceil(_WIDTHS * 2 * np.median(point.half)), 12, 60)) if len(point) else _RADIUS
        if abs(wanted - _RADIUS) > 3:
            wider = _sources(samples, wanted, least)
            found = wider if len(wider) else found
        if len(stars.stars(found)) >= psf_stack.FEWEST:
            break
    return psf_stack.estimate(found)


def _sources(samples: list[Sample], radius: int, least: float) -> stars.Stamps:
    return stars.join([stars.candidates(s.data, s.sigma, s.bad, radius, least) for s in samples])


def _taken(data: np.ndarray, rms: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Pixels with an object or without a value: what is no empty sky."""
    smooth = ndimage.gaussian_filter(data, 1.5)
    # Correlated noise is not smoothed away: its level is measured, and at least that of white noise.
    level = np.maximum(1.4826 * np.median(np.abs(smooth[~bad])) if not bad.all() else 0.0, 0.19 * rms)
    return ndimage.binary_dilation((smooth > 3 * level) | bad, iterations=4)


def scale_of(opened: Any) -> float | None:
    """Pixel scale in arcsec: of the WCS, or as the file says."""
    if opened.wcs is not None:
        return sky_grid.pixel_scale(opened.wcs.celestial, opened.shape)
    return getattr(opened, "pixel_scale", None)


def place(opened: Any) -> str:
    """Name of an image in messages."""
    path, hdu = getattr(opened, "path", ""), getattr(opened, "hdu", "")
    where = f"{path}[{hdu}]" if path and str(hdu) not in ("", "0") else path
    return str(where) or f"the image of band {opened.band!r}"
