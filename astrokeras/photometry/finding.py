"""Objects of a tile: found on the mean of the detection bands, separated, measured in position and shape."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from ..images.image import LOST
from .prepared import Prepared
from .tile_planes import Plane, on_grid
from .tiles import Tile

if TYPE_CHECKING:
    from .detection_options import DetectionOptions

#: Kron (1980) apertures as SExtractor defines them: 2.5 first moments, and at least 3.5 / 2.5 rms widths.
_KRON = (2.5, 1.4, 0.0)


@dataclass(frozen=True, eq=False)
class Found:
    """Objects of a tile, margin included; arrays of ``(n,)``.

    Attributes
    ----------
    segments : ndarray
        Label of the object that each pixel of the tile belongs to, 0 for none.
    label : ndarray
        Label of each object.
    x, y : ndarray
        Position in the whole image of the reference band, in pixels from 0.
    x_peak, y_peak : ndarray of int
        Brightest pixel.
    a, b, theta : ndarray
        Rms widths along the axes, in pixels, and angle of the major one, in rad from the columns towards the rows.
    kron, half : ndarray
        Kron radius in units of ``a``, scale factor included; half-light radius in pixels.
    blended, cut : ndarray of bool
        Whether it was separated from a neighbour; whether it touches the edge of what the tile sees.
    """

    segments: np.ndarray
    label: np.ndarray
    x: np.ndarray
    y: np.ndarray
    x_peak: np.ndarray
    y_peak: np.ndarray
    a: np.ndarray
    b: np.ndarray
    theta: np.ndarray
    kron: np.ndarray
    half: np.ndarray
    blended: np.ndarray
    cut: np.ndarray

    def __len__(self) -> int:
        return len(self.label)


def combine(planes: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of images on one grid, weighted with the inverse variance.

    Returns
    -------
    tuple of ndarray
        Mean, its standard error, and where there is nothing.
    """
    top, weight = 0.0, 0.0
    for data, variance, mask in planes:
        usable = (mask & LOST) == 0
        inverse = np.where(usable, 1 / np.where(usable, variance, 1), 0.0)
        top, weight = top + inverse * data, weight + inverse
    nothing = weight <= 0
    weight = np.where(nothing, 1.0, weight)
    return np.where(nothing, 0.0, top / weight), 1 / np.sqrt(weight), nothing


def chi(planes: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], smooth: float) -> np.ndarray:
    """Chi image (Szalay, Connolly & Szokoly 1999) of smoothed images, in standard deviations of its noise.

    The root of the sum of squared signal-to-noise ratios, less its mean where there is only noise, over its scatter
    there; for objects whose colours differ much.
    """
    total, bands = 0.0, 0.0
    for data, variance, mask in planes:
        usable = (mask & LOST) == 0
        ratio = ndimage.gaussian_filter(np.where(usable, data / np.sqrt(np.where(usable, variance, 1)), 0.0), smooth)
        total, bands = total + ratio**2, bands + usable
    from scipy.stats import chi as distribution

    # A Gaussian leaves 1 / (2 sqrt(pi) sigma) of white noise; the threshold counts sigmas of single pixels.
    left = min(1 / (2 * np.sqrt(np.pi) * smooth), 1.0)
    mean, scatter = (f(np.maximum(bands, 1)) for f in (distribution.mean, distribution.std))
    return (np.sqrt(total) - left * mean) / scatter


def find(planes: Sequence[Plane], reference: Prepared, tile: Tile, options: DetectionOptions) -> Found | None:
    """Find the objects of a tile; None if there are none.

    Parameters
    ----------
    planes : sequence of Plane
        The detection bands.
    reference : Prepared
        Band whose grid is used.
    """
    from photutils.segmentation import deblend_sources, detect_sources

    aligned = [on_grid(plane, reference, tile) for plane in planes]
    mean, error, nothing = combine(aligned)
    width = options.smooth or reference.psf.fwhm
    smooth = ndimage.gaussian_filter(mean, width / 2.3548)
    if options.combine == "chi":
        level, limit = chi(aligned, width / 2.3548), options.threshold
    else:
        level, limit = smooth, options.threshold * error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # photutils warns where there is no source, and of parents it cannot separate
        parents = detect_sources(level, limit, options.min_pixels, mask=nothing)
        if parents is None:
            return None
        separated = parents
        if options.deblend:
            # Less smoothing than to find objects: stars 1.8 FWHM apart are separated, and galaxies stay whole.
            separated = deblend_sources(
                ndimage.gaussian_filter(mean, width / 2.3548 / 2),
                parents,
                options.min_pixels,
                n_levels=32,
                contrast=options.contrast,
                progress_bar=False,
            )
    return _described(mean, smooth, error, nothing, parents.data, separated, tile)


def _described(mean, smooth, error, nothing, parents: np.ndarray, segments: Any, tile: Tile) -> Found:
    from photutils.segmentation import SourceCatalog

    labels = segments.labels
    peaks = np.array(ndimage.maximum_position(smooth, segments.data, labels)).reshape(-1, 2)
    family = parents[peaks[:, 0], peaks[:, 1]]
    members = np.bincount(family)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of objects without a Kron radius, which get none
        table = SourceCatalog(mean, segments, convolved_data=smooth, error=error, mask=nothing, kron_params=_KRON)
        x, y = _positions(table)
        shape = {name: _plain(getattr(table, name)) for name in ("semimajor_axis", "semiminor_axis", "kron_radius")}
        theta = np.deg2rad(_plain(table.orientation))
        half = _plain(table.flux_radius(0.5))
    a = np.where(np.isfinite(shape["semimajor_axis"]), np.maximum(shape["semimajor_axis"], 0.5), 0.5)
    b = np.where(np.isfinite(shape["semiminor_axis"]), np.maximum(shape["semiminor_axis"], 0.5), 0.5)
    kron = np.where(np.isfinite(shape["kron_radius"]), _KRON[0] * np.maximum(shape["kron_radius"], _KRON[1]), 3.5)
    rows, columns = segments.data.shape
    boxes = np.array([[s[0].start, s[0].stop, s[1].start, s[1].stop] for s in segments.slices])
    edge = (boxes[:, 0] == 0) | (boxes[:, 1] == rows) | (boxes[:, 2] == 0) | (boxes[:, 3] == columns)
    return Found(
        segments.data,
        labels,
        x + tile.columns.start,
        y + tile.rows.start,
        peaks[:, 1] + tile.columns.start,
        peaks[:, 0] + tile.rows.start,
        a,
        b,
        np.where(np.isfinite(theta), theta, 0.0),
        kron,
        half,
        members[family] > 1,
        edge,
    )


def _plain(values: Any) -> np.ndarray:
    """Array of one value per object, without a unit."""
    return np.atleast_1d(np.asarray(getattr(values, "value", values), float))


def _positions(table: Any) -> tuple[np.ndarray, np.ndarray]:
    """Windowed centroids, or isophotal ones where a neighbour drew the window away."""
    x, y = _plain(table.x_centroid), _plain(table.y_centroid)
    xw, yw = _plain(table.x_centroid_win), _plain(table.y_centroid_win)
    near = np.hypot(xw - x, yw - y) < 1.5
    return np.where(near, xw, x), np.where(near, yw, y)
