"""Measures the objects of a tile in every band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..flags import Flag
from ..images.image import Pixel
from . import aperture_photometry as apertures
from . import psf_photometry
from .detection_options import DetectionOptions, aperture_name
from .finding import Found, find
from .prepared import Prepared
from .psf_model import Psf, matched_weight
from .tile_planes import Plane, to_pixels
from .tiles import Tile

#: Signal-to-noise ratio of the Kron flux below which an object counts as a point source when fluxes are made total.
_RELIABLE = 5.0
#: Standard errors of the ratio of Kron to colour flux at which half of what it has more than a point source counts.
_SURE = 2.0


@dataclass(frozen=True, eq=False)
class Bands:
    """Prepared bands, with the apertures of the colour photometry.

    Attributes
    ----------
    all : tuple of Prepared
        In order.
    detect : tuple of str
        Bands that objects are found in; the grid is that of the first.
    color : dict of str to Psf
        Weights of the PSF-matched aperture in each band.
    share : dict of str to float
        Part of the light of a point source that they see.
    """

    all: tuple[Prepared, ...]
    detect: tuple[str, ...]
    color: dict[str, Psf]
    share: dict[str, float]

    @classmethod
    def of(cls, bands: Sequence[Prepared], detect: Sequence[str], options: DetectionOptions) -> Bands:
        """Make the weights: the target is the broadest PSF on the sky."""
        target = max(bands, key=lambda band: band.psf.fwhm * band.pixel_scale)
        width = options.color_fwhm or target.psf.fwhm * target.pixel_scale
        color, share, zero = {}, {}, np.zeros(1)
        for band in bands:
            scale = band.pixel_scale
            weight = matched_weight(band.psf, target.psf, scale / target.pixel_scale, width / scale)
            radius = min(weight.radius, band.psf.radius)
            color[band.band] = weight
            share[band.band] = float((weight.stamps(zero, zero, radius) * band.psf.stamps(zero, zero, radius)).sum())
        return cls(tuple(bands), tuple(detect), color, share)

    @property
    def reference(self) -> Prepared:
        """The band whose grid is used."""
        return next(band for band in self.all if band.band == self.detect[0])


def measure(bands: Bands, tile: Tile, options: DetectionOptions) -> dict[str, np.ndarray] | None:
    """Columns of the objects that a tile owns, in pixels and image units; None if there are none.

    Besides fluxes by column name: ``x y x_peak y_peak semi_major semi_minor angle kron_radius half_light_radius flags``
    and ``snr``.
    """
    reference = bands.reference
    planes = {band.band: Plane.of(band, reference, tile) for band in bands.all}
    found = find([planes[name] for name in bands.detect], reference, tile, options)
    if found is None:
        return None
    own = np.flatnonzero(tile.owns(found.x_peak, found.y_peak))
    if not len(own):
        return None
    flags = np.where(found.blended, Flag.BLENDED, 0) | np.where(found.cut, Flag.TRUNCATED, 0)
    flags = flags[own].astype(np.int32)
    out: dict[str, np.ndarray] = {}
    sums: dict[str, dict[str, np.ndarray]] = {}
    for name, plane in planes.items():
        labels = plane.labels(found.segments, reference, tile)
        sums[name] = _sums(plane, labels, found, own, bands, options)
        flags |= sums[name].pop("flags") | _pixel_flags(plane, labels, found.label[own])
    flags |= _missing(sums, len(own))
    _total(out, sums, bands)
    shapes = {"semi_major": found.a, "semi_minor": found.b, "angle": found.theta, "kron_radius": found.a * found.kron}
    shapes |= {"x": found.x, "y": found.y, "x_peak": found.x_peak, "y_peak": found.y_peak}
    shapes |= {"half_light_radius": found.half}
    return out | {key: values[own] for key, values in shapes.items()} | {"flags": flags}


def _sums(plane: Plane, labels: np.ndarray, found: Found, own: np.ndarray, bands: Bands, options: DetectionOptions):
    """Fluxes of one band: ``psf``, ``color``, ``total``, apertures, each with ``err_``; and flags of their pixels."""
    prepared, reference = plane.prepared, bands.reference
    x, y = plane.places(found.x, found.y, reference)
    fluxes = psf_photometry.fit(plane, x, y)
    remainder = psf_photometry.remainder(plane, x, y, fluxes.flux, fluxes.error)
    put_back = np.where(np.isfinite(fluxes.flux) & (fluxes.flux > 3 * fluxes.error), fluxes.flux, 0.0)
    cutter = apertures.Cutter(plane, labels, remainder)
    scale = reference.pixel_scale / prepared.pixel_scale
    angle = _angles(found, own, reference, prepared)
    names = ["color", "total", *(aperture_name(d) for d in options.apertures)]
    rows = {name: [] for name in names}
    flags = np.zeros(len(own), np.int32)
    weight = bands.color[prepared.band]
    for k, i in enumerate(own):
        a, b = (scale * found.kron[i] * axis for axis in (found.a[i], found.b[i]))
        widest = max([a, *(d / prepared.pixel_scale / 2 for d in options.apertures)])
        radius = int(min(max(np.ceil(widest) + 1, weight.radius), apertures.LARGEST))
        stamp = cutter.stamp(x[i], y[i], found.label[i], put_back[i], radius)
        kron = apertures.ellipse(stamp, a, b, angle[k])
        if kron[stamp.outside].sum() > 1e-3 * kron.sum():
            flags[k] |= Flag.TRUNCATED
        if kron[stamp.bad].any():
            flags[k] |= Flag.MASKED_PIXELS
        rows["color"].append(apertures.add(stamp, apertures.weights(stamp, weight)))
        rows["total"].append(apertures.add(stamp, kron))
        for diameter in options.apertures:
            disk = apertures.ellipse(stamp, *(2 * [diameter / prepared.pixel_scale / 2]), 0.0)
            rows[aperture_name(diameter)].append(apertures.add(stamp, disk))
    out = {"flags": flags, "psf": fluxes.flux[own], "err_psf": fluxes.error[own]}
    for name, sums in rows.items():
        out[name] = np.array([s.flux for s in sums])
        out[f"err_{name}"] = np.array([s.error for s in sums]) * prepared.noise.at(np.array([s.pixels for s in sums]))
    share = prepared.psf.within(scale * (found.kron * np.sqrt(found.a * found.b))[own])
    for name, part in (("total", np.maximum(share, 0.1)), ("color", bands.share[prepared.band])):
        out[name], out[f"err_{name}"] = out[name] / part, out[f"err_{name}"] / part
    return out


def _angles(found: Found, own: np.ndarray, reference: Prepared, band: Prepared) -> np.ndarray:
    """Angle of the major axes on the pixels of a band."""
    x, y, theta = found.x[own], found.y[own], found.theta[own]
    here = to_pixels(x, y, reference.opened, band.opened)
    there = to_pixels(x + np.cos(theta), y + np.sin(theta), reference.opened, band.opened)
    return np.arctan2(there[1] - here[1], there[0] - here[0])


def _pixel_flags(plane: Plane, labels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Flags of saturated pixels within the segments of objects."""
    out = np.zeros(len(wanted), np.int32)
    if not labels.size:
        return out
    hit = np.isin(wanted, np.unique(labels[(plane.mask & Pixel.SATURATED) != 0]))
    return out | np.where(hit, np.int32(Flag.SATURATED), np.int32(0))


def _missing(sums: dict[str, dict[str, np.ndarray]], n: int) -> np.ndarray:
    """Flag of objects without a measurement in a band; a flux that is left of one without the others goes too."""
    out = np.zeros(n, np.int32)
    for band in sums.values():
        lacks = ~np.isfinite(band["color"])
        for values in band.values():
            values[lacks] = np.nan
        out |= np.where(lacks, np.int32(Flag.MISSING_BAND), np.int32(0))
        # As of the PSF flux of a star whose core is saturated as far as the fit goes.
        part = ~lacks & np.any([~np.isfinite(values) for values in band.values()], axis=0)
        out |= np.where(part, np.int32(Flag.BAD_PHOTOMETRY), np.int32(0))
    return out


def _weight(error: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Inverse variance; 0 where a value or its error is missing, which then says nothing, not that it is 0."""
    good = known & np.isfinite(error) & (error > 0)
    return np.where(good, 1 / np.where(good, error, 1) ** 2, 0.0)


def _total(out: dict[str, np.ndarray], sums: dict[str, dict[str, np.ndarray]], bands: Bands) -> None:
    """Scale the colour photometry to the total flux, with one factor for all bands, and name the columns."""
    top, bottom, weight = (0.0, 0.0, 0.0)
    color, power = 0.0, 0.0
    for name in bands.detect:
        band = sums[name]
        known = np.isfinite(band["total"]) & np.isfinite(band["color"])
        own = _weight(band["err_total"], known)
        top, bottom = top + own * np.where(known, band["total"], 0), bottom + own * np.where(known, band["color"], 0)
        weight = weight + own
        inverse = _weight(band["err_color"], np.isfinite(band["color"]))
        color, power = color + inverse * np.where(inverse > 0, band["color"], 0), power + inverse
    with np.errstate(divide="ignore", invalid="ignore"):
        reliable = (top / np.sqrt(weight) > _RELIABLE) & (bottom > 0)
        # More light than a point source has, as far as it is more than the noise.
        excess = np.maximum(top / bottom - 1, 0.0)
        noise = _SURE * np.sqrt(weight) / bottom
        factor = np.where(reliable, 1 + excess * excess**2 / (excess**2 + noise**2), 1.0)
        out["snr"] = color / np.sqrt(power)
    for name, band in sums.items():
        out[f"flux_{name}"], out[f"flux_err_{name}"] = factor * band["color"], factor * band["err_color"]
        others = [key for key in band if not key.startswith("err_") and key != "color"]
        for key in others:
            out[f"flux_{key}_{name}"], out[f"flux_err_{key}_{name}"] = band[key], band[f"err_{key}"]
