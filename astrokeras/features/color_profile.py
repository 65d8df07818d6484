"""Colours within objects: fluxes and colours in rings, and histograms of the colours of pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field as Parameter
from pydantic import model_validator

from ..fields import FLAGS, Band, Field
from ..flags import Flag
from ..units import njy_to_ab
from .colors import Bands
from .stamps import ColumnName, StampStage, pixel_flags

if TYPE_CHECKING:
    from astropy.table import QTable

#: Part of a ring that must have pixels.
_LEAST = 0.5
#: An ellipse is not thinner than this.
_THINNEST = 0.05


def ring_fluxes(
    stamps: np.ndarray,
    edges: np.ndarray,
    centres: np.ndarray | None = None,
    ellipticity: np.ndarray | None = None,
    orientation: np.ndarray | None = None,
) -> np.ndarray:
    """Fluxes in rings around objects.

    Parameters
    ----------
    stamps : ndarray
        ``(n, y, x, band)``; a pixel counts by its exact part in the ring.
    edges : ndarray
        ``(k + 1,)`` or ``(n, k + 1)``: radii, or semi-major axes, of the edges of rings, in pixels. The first may be 0.
    centres : ndarray, optional
        ``(n, 2)``: x and y in pixels; by default the middle of the stamps.
    ellipticity, orientation : ndarray, optional
        ``(n,)``: 1 - b/a, and degrees from x towards y; by default circles.

    Returns
    -------
    ndarray
        ``(n, k, band)``: mean of the known pixels times the area of the ring. NaN where less than half of it is known.

    Examples
    --------
    >>> ring_fluxes(np.ones((1, 21, 21, 1)), np.array([0, 2, 4]))[0, :, 0] / np.pi
    array([ 4., 12.])
    """
    from .apertures import light, pixels

    n, height, width, count = stamps.shape
    edges = np.broadcast_to(np.asarray(edges, float), (n, np.shape(edges)[-1]))
    if centres is None:
        centres = np.broadcast_to([(width - 1) / 2, (height - 1) / 2], (n, 2))
    axis_ratio = np.clip(1 - (np.zeros(n) if ellipticity is None else ellipticity), _THINNEST, 1)
    angle = np.radians(np.zeros(n) if orientation is None else orientation)
    usable = np.isfinite(edges).all(axis=1) & np.isfinite(centres).all(axis=1) & np.isfinite(axis_ratio + angle)
    out = np.full((n, edges.shape[1] - 1, count), np.nan)
    for i, band in np.ndindex(n, count):
        image = stamps[i, :, :, band].astype(np.float64)
        missing = ~np.isfinite(image)
        if missing.all() or not usable[i]:
            continue
        field = pixels(np.where(missing, 0.0, image), missing)
        within = np.zeros((edges.shape[1], 2))
        for k, a in enumerate(edges[i]):
            if a > 0:
                within[k] = light(field, *centres[i], a, a * axis_ratio[i], angle[i])
        flux, known = np.diff(within, axis=0).T
        area = np.pi * axis_ratio[i] * np.diff(edges[i] ** 2)
        np.divide(flux * area, known, out=out[i, :, band], where=known >= _LEAST * area)
    return out


class ColorProfile(StampStage):
    """Fluxes and colours in rings around objects: ``profile_{band}`` and ``color_profile_{a}_{b}``, vectors.

    The flux of a ring is the mean of its known pixels times its area; a pixel counts by its exact part. NaN, and
    ``MASKED_PIXELS``, where less than half of a ring is known. Colours are -2.5 log10(f_a / f_b) of neighbouring bands,
    NaN where a flux is not positive. The bands should have equal seeing.

    Parameters
    ----------
    bands : tuple of str
        Bands of the stamps, in order of wavelength.
    edges : tuple of float
        Of the rings, rising: radii, or semi-major axes, in pixels, or in units of ``scale``. The first may be 0.
    scale : str, optional
        Column with a radius in pixels, such as ``r50_r``, that ``edges`` are multiples of.
    shape : str, optional
        Band whose centroid, ellipticity and orientation are taken from the columns of the stage ``shapes``; by default
        circles around the middle of the stamp.
    unit : str
        Of the pixels: ``nJy``, ``ct``, or empty.
    stamp : str
        Column of the stamps, cells ``(y, x, band)``.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> import astropy.units as u
    >>> stamps = np.ones((1, 21, 21, 2)) * [1.0, 10.0]
    >>> out = ColorProfile(bands=["g", "r"], edges=[0, 2, 4])(QTable({"stamp": stamps * u.nJy}))
    >>> print(out["color_profile_g_r"])
    [[2.5 2.5]] mag
    """

    name: ClassVar[str] = "color_profile"

    bands: Bands = Parameter(min_length=1)
    edges: Annotated[tuple[float, ...], Parameter(min_length=2, max_length=256)] = (0, 1, 2, 4, 8, 16)
    scale: ColumnName | None = None
    shape: Band | None = None
    unit: str = "nJy"

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.edges[0] < 0 or np.any(np.diff(self.edges) <= 0):
            raise ValueError(f"edges must rise from 0 or more, got {list(self.edges)}")
        return self

    def _shape_fields(self) -> tuple[Field, ...]:
        units = {"x_centroid": "pix", "y_centroid": "pix", "ellipticity": "", "orientation": "deg"}
        return tuple(Field(name=f"{name}_{self.shape}", unit=unit) for name, unit in units.items() if self.shape)

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        scale = (Field(name=self.scale, unit="pix"),) if self.scale else ()
        return (self.stamp_field(unit=self.unit), *scale, *self._shape_fields())

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        meta = {"edges": ",".join(f"{edge:g}" for edge in self.edges), "edges_in": self.scale or "pix"}
        count = (len(self.edges) - 1,)
        fluxes = [
            Field(
                name=f"profile_{band}",
                unit=self.unit,
                shape=count,
                description=f"Flux in rings around the object, in band {band}",
                ucd="phot.flux.density" if self.unit == "nJy" else "phot.count" if self.unit == "ct" else "",
                meta=meta,
            )
            for band in self.bands
        ]
        colors = [
            Field(
                name=f"color_profile_{a}_{b}",
                unit="mag",
                shape=count,
                description=f"Colour {a} - {b} in rings around the object",
                ucd="phot.color",
                meta=meta,
            )
            for a, b in pairwise(self.bands)
        ]
        return (*fluxes, *colors, FLAGS)

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`."""
        stamps = self.planes(chunk)
        edges = np.broadcast_to(self.edges, (len(stamps), len(self.edges)))
        if self.scale:
            edges = edges * np.asarray(chunk[self.scale].value, float)[:, None]
        centres = ellipticity = orientation = None
        if self.shape:
            x, y, ellipticity, orientation = (
                np.asarray(getattr(chunk[field.name], "value", chunk[field.name]), float)
                for field in self._shape_fields()
            )
            centres = np.stack([x, y], axis=1)
        fluxes = ring_fluxes(stamps, edges, centres, ellipticity, orientation)
        flags = np.where(np.isnan(fluxes).any(axis=(1, 2)), Flag.MASKED_PIXELS, 0).astype(np.int32)
        out: dict[str, Any] = {f"profile_{band}": fluxes[..., k] for k, band in enumerate(self.bands)}
        for k, (a, b) in enumerate(pairwise(self.bands)):
            out[f"color_profile_{a}_{b}"] = njy_to_ab(fluxes[..., k]) - njy_to_ab(fluxes[..., k + 1])
        return out | {"flags": flags | (pixel_flags(stamps) & np.int32(Flag.NO_IMAGE))}


class ColorHistogram(StampStage):
    """Histograms of the colours of pixels, ``color_histogram_{a}_{b}``: fractions of the pixels, vectors.

    Of pixels that are brighter than the sky by ``threshold`` standard deviations in both bands; sky and its scatter are
    those of the stamp, clipped at 3 standard deviations. Colours are -2.5 log10(f_a / f_b) of neighbouring bands, of
    what is above the sky. NaN, and ``BAD_SHAPE``, where there is no such pixel. The bands should have equal seeing.

    Parameters
    ----------
    bands : tuple of str
        At least two bands of the stamps, in order of wavelength.
    bins : int
        Of equal width.
    low, high : float
        Colours, in mag, at the outer edges of the bins; what is beyond counts in the first and last one.
    threshold : float
        In standard deviations of the sky.
    stamp : str
        Column of the stamps, cells ``(y, x, band)``.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> stamps = np.random.default_rng(0).normal(0, 0.1, (1, 32, 32, 2))
    >>> stamps[0, 12:20, 12:20] += [10.0, 15.0]
    >>> stage = ColorHistogram(bands=["g", "r"], bins=3, low=0, high=1.5)
    >>> stage(QTable({"stamp": stamps}))["color_histogram_g_r"].tolist()
    [[1.0, 0.0, 0.0]]
    """

    name: ClassVar[str] = "color_histogram"

    bands: Bands = Parameter(min_length=2)
    bins: Annotated[int, Parameter(ge=1, le=1024)] = 16
    low: float = -1.0
    high: float = 3.0
    threshold: Annotated[float, Parameter(gt=0)] = 3.0

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        return self

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        out = [
            Field(
                name=f"color_histogram_{a}_{b}",
                shape=(self.bins,),
                description=f"Fractions of the pixels by colour {a} - {b}",
                ucd="phot.color",
                meta={"low": self.low, "high": self.high},
            )
            for a, b in pairwise(self.bands)
        ]
        return (*out, FLAGS)

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`."""
        stamps = self.planes(chunk)
        out = np.full((len(self.bands) - 1, len(stamps), self.bins), np.nan)
        for i, stamp in enumerate(stamps):
            above = [self._above_sky(stamp[..., k].astype(np.float64)) for k in range(len(self.bands))]
            for k, (a, b) in enumerate(pairwise(above)):
                both = np.isfinite(a) & np.isfinite(b)
                if both.any():
                    colors = np.clip(njy_to_ab(a[both]) - njy_to_ab(b[both]), self.low, self.high)
                    out[k, i] = np.histogram(colors, self.bins, (self.low, self.high))[0] / len(colors)
        flags = np.where(np.isnan(out).any(axis=(0, 2)), Flag.BAD_SHAPE, 0).astype(np.int32)
        named = zip(self.writes(), out, strict=False)
        return {field.name: values for field, values in named} | {"flags": flags | pixel_flags(stamps)}

    def _above_sky(self, image: np.ndarray) -> np.ndarray:
        """Light of pixels above the sky, NaN where there is too little."""
        from .segments import sky_level

        if not np.isfinite(image).any():
            return image
        level, sigma = sky_level(image)
        return np.where(image - level > self.threshold * sigma, image - level, np.nan)
