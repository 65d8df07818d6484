"""Shapes of objects in stamps: concentration, asymmetry, smoothness, Gini, M20, radii, ellipticity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field as Parameter

from ..fields import FLAGS, Band, Field, by_name
from ..flags import Flag
from ..stage import require
from .colors import Bands
from .stamps import ColumnName, StampStage

if TYPE_CHECKING:
    from astropy.table import QTable

#: Measures with unit (``length`` is pixels or arcsec), description and UCD.
MEASURES = {
    "concentration": ("", "Concentration 5 log10(r80 / r20)", "src.morph.param"),
    "asymmetry": ("", "Asymmetry under a turn by 180 degrees", "src.morph.param"),
    "smoothness": ("", "Smoothness: part of the light in small clumps", "src.morph.param"),
    "gini": ("", "Gini coefficient of the pixels of the galaxy", "src.morph.param"),
    "m20": ("", "Second moment of the brightest 20 % of the light over that of all, log10", "src.morph.param"),
    "petrosian": ("length", "Petrosian radius in circles", "phys.angSize;src"),
    "petrosian_ellip": ("length", "Petrosian semi-major axis in ellipses", "phys.angSize.smajAxis;src"),
    "r20": ("length", "Radius with 20 % of the light within 1.5 Petrosian radii", "phys.angSize;src"),
    "r50": ("length", "Radius with half of the light within 1.5 Petrosian radii", "phys.angSize;src"),
    "r80": ("length", "Radius with 80 % of the light within 1.5 Petrosian radii", "phys.angSize;src"),
    "ellipticity": ("", "Ellipticity 1 - b/a of the second moments", "src.ellipticity"),
    "orientation": ("deg", "Angle of the major axis from x towards y", "pos.posAng"),
    "x_centroid": ("pix", "Centroid along x, 0 in the middle of the first pixel", "pos.cartesian.x;instr.det"),
    "y_centroid": ("pix", "Centroid along y, 0 in the middle of the first pixel", "pos.cartesian.y;instr.det"),
}


class Shapes(StampStage):
    """Shapes of the objects in the middle of stamps, by band: ``concentration_{band}``, ``gini_{band}`` and so on.

    The measures of statmorph (Rodriguez-Gomez et al. 2019, MNRAS 483, 4140), which are those of Lotz et al. 2004 (AJ
    128, 163) and Conselice 2003 (ApJS 147, 1): ``concentration``, ``asymmetry``, ``smoothness``, ``gini``, ``m20``, the
    radii ``petrosian``, ``petrosian_ellip``, ``r20``, ``r50``, ``r80``, and ``ellipticity``, ``orientation``,
    ``x_centroid``, ``y_centroid``. Radii, ellipse and asymmetry are about the centre of least asymmetry. No point
    spread function is taken out: compare objects of equal seeing.

    The stamps must be free of sky. Where a measure is not what its definition means, ``BAD_SHAPE`` is set: on the
    occasions on which statmorph sets its flag (no sky to be found or sky that is not zero, a centre far from the
    centroid, a galaxy in pieces, a Petrosian radius beyond the stamp, ...). ``MASKED_PIXELS``: pixels in 1.5 Petrosian
    radii are missing, and are left out; ``TRUNCATED``: the object reaches the edge of the stamp.

    Parameters
    ----------
    bands : tuple of str
        Bands of the stamps.
    detect : str, optional
        Band whose segments are taken for all bands; by default each band has its own.
    segments : str, optional
        Column with segments, integers, cells ``(y, x, band)`` with one band or as many as the stamps: 0 for the sky;
        the object is the segment in the middle, or nearest to it. By default segments are made: pixels, averaged over 3
        x 3, more than ``threshold`` standard deviations above the sky, that hang together over sides and corners.
    mask : str, optional
        Column with masks like the stamps; pixels that are not 0 are left out, as are those that are NaN.
    threshold : float
        Of segments, in standard deviations of a pixel of the sky.
    pixel_scale : float, optional
        Arcsec of a pixel, which gives radii in arcsec; else they are in pixels.
    stamp : str
        Column of the stamps, cells ``(y, x, band)``.

    Notes
    -----
    Pixels that are no numbers, and masked ones, never count as sky; in statmorph they may.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> y, x = np.mgrid[-40:41, -40:41]
    >>> disk = np.exp(-np.hypot(x, 2 * y) / 4) + np.random.default_rng(0).normal(0, 1e-3, (81, 81))
    >>> out = Shapes(bands=["r"])(QTable({"stamp": disk[None, :, :, None]}))
    >>> print(out["ellipticity_r"].round(2), out["concentration_r"].round(1), out["petrosian_r"].round())
    [0.5] [2.8] [11.] pix
    """

    name: ClassVar[str] = "shapes"

    bands: Bands = Parameter(min_length=1)
    detect: Band | None = None
    segments: ColumnName | None = None
    mask: ColumnName | None = None
    threshold: Annotated[float, Parameter(gt=0)] = 1.5
    pixel_scale: Annotated[float, Parameter(gt=0)] | None = None

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        beside = {"segments": "Segments of the stamp", "mask": "Mask of the stamp"}
        named = [(getattr(self, key), said) for key, said in beside.items() if getattr(self, key)]
        return (*super().reads(), *(self.stamp_field(name, kind="i4", description=said) for name, said in named))

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        length = "pix" if self.pixel_scale is None else "arcsec"
        out = [
            Field(
                name=f"{measure}_{band}",
                unit=length if unit == "length" else unit,
                description=f"{said}, in band {band}",
                ucd=ucd,
            )
            for band in self.bands
            for measure, (unit, said, ucd) in MEASURES.items()
        ]
        return (*out, FLAGS)

    def accepts(self, available: tuple[Field, ...]) -> tuple[str, ...]:
        """See `Stage.accepts`."""
        if (found := by_name(available).get(self.stamp)) is not None:
            self._check_scale(found.meta)
        return super().accepts(available)

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`."""
        from .segments import segment

        self._check_scale(chunk[self.stamp].info.meta or {})
        stamps = self.planes(chunk)
        detect = self.planes(chunk, (self.detect,)) if self.detect else stamps
        masks = self._beside(chunk, self.mask) != 0 if self.mask else np.zeros(stamps.shape, bool)
        given = self._beside(chunk, self.segments) if self.segments else None
        scales = [self.pixel_scale or 1.0 if unit == "length" else 1.0 for unit, _, _ in MEASURES.values()]
        out = np.full((len(stamps), len(self.bands), len(MEASURES)), np.nan)
        flags = np.zeros((len(stamps), len(self.bands)), np.int32)
        for i, k in np.ndindex(flags.shape):
            masked = masks[i, :, :, k]
            if given is None:
                segments = segment(
                    np.where(masked, np.nan, detect[i, :, :, k if self.detect is None else 0]), self.threshold
                )
            else:
                segments = given[i, :, :, k]
            out[i, k], flags[i, k] = measured(stamps[i, :, :, k], segments, masked)
        values = {
            f"{measure}_{band}": scale * out[:, k, m]
            for k, band in enumerate(self.bands)
            for m, (measure, scale) in enumerate(zip(MEASURES, scales, strict=True))
        }
        return values | {"flags": _of_bands(flags)}

    def _beside(self, chunk: QTable, name: str) -> np.ndarray:
        """Integers of a column beside the stamps, with their bands."""
        cells, found = chunk[self.stamp], np.asarray(chunk[name])
        count = cells.shape[3]
        fits = found.shape[:3] == cells.shape[:3] and found.shape[3] in (1, count)
        require(fits, f"shapes: cells of {name!r} are {found.shape[1:]}, those of {self.stamp!r} {cells.shape[1:]}")
        places = self.places(count, (cells.info.meta or {}).get("bands"))
        return found[..., places if found.shape[3] == count else [0] * len(places)]

    def _check_scale(self, meta: dict[str, Any]) -> None:
        stated = meta.get("pixel_scale")
        if self.pixel_scale is not None and stated is not None:
            message = f"pixels of {self.stamp!r} have {stated} arcsec, `pixel_scale` says {self.pixel_scale}"
            require(abs(stated / self.pixel_scale - 1) < 0.01, message)


def measured(image: np.ndarray, segments: np.ndarray, masked: np.ndarray) -> tuple[list[float], int]:
    """Measures of an object, in the order of `MEASURES`, and its flags; without any pixel, ``NO_IMAGE``."""
    from .morphometry import measure
    from .segments import nearest

    if not np.any(np.isfinite(image) & ~masked):
        return [np.nan] * len(MEASURES), Flag.NO_IMAGE
    if not segments.any():
        return [np.nan] * len(MEASURES), Flag.BAD_SHAPE
    label = segments[nearest(segments != 0)]
    shape = measure(image, segments, label, masked)
    flags = 0 if shape.fine else Flag.BAD_SHAPE
    flags |= 0 if shape.whole else Flag.MASKED_PIXELS
    edges = (segments[0], segments[-1], segments[:, 0], segments[:, -1])
    flags |= Flag.TRUNCATED if any(np.any(edge == label) for edge in edges) else 0
    return [getattr(shape, name) for name in MEASURES], flags


def _of_bands(flags: np.ndarray) -> np.ndarray:
    """Flags of objects, of those of their bands ``(n, band)``."""
    return np.bitwise_or.reduce(flags, axis=1)
