"""PSF fluxes in images at given places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import IngestError
from ..fields import FLAGS, flux_field
from ..flags import Flag
from ..images.footprints import pixels_near

if TYPE_CHECKING:
    from astropy.table import QTable, Table

    from ..images.image import Image
    from .prepared import Prepared
    from .psf_model import Psf

#: Rows and columns of the tiles that images are read in.
_TILE = 2048


def measure_on_sky(band: Prepared, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """PSF fluxes at places on the sky (ICRS, deg), each object by itself; see `measure_at`.

    Raises
    ------
    IngestError
        If the image has no WCS.
    """
    from .prepared import place

    if band.opened.wcs is None:
        raise IngestError(f"{place(band.opened)} has no WCS, which positions on the sky need")
    flux, error, flags = measure_at(band, *pixels_near(band.opened.wcs.celestial, band.shape, ra, dec))
    return flux, error, flags | np.where(np.isfinite(ra) & np.isfinite(dec), 0, np.int32(Flag.BAD_POSITION))


def measure_at(band: Prepared, x: np.ndarray, y: np.ndarray, together: bool = False) -> tuple[np.ndarray, ...]:
    """PSF fluxes at pixel places of an image, in tiles.

    Parameters
    ----------
    x, y : array
        Columns and rows from 0; NaN where there is no place.
    together : bool
        Whether overlapping objects share their light.

    Returns
    -------
    flux, error, flags : ndarray
    """
    from . import psf_photometry
    from .tile_planes import Plane
    from .tiles import cut

    flux, error = np.full((2, len(x)), np.nan)
    flags = np.full(len(x), np.int32(Flag.NO_IMAGE))
    with np.errstate(invalid="ignore"):
        pixel = np.round(x), np.round(y)
    for tile in cut(band.shape, _TILE, 2 * band.psf.radius + 2):
        rows = np.flatnonzero(tile.owns(*pixel))
        if not len(rows):
            continue
        plane = Plane.of(band, band, tile)
        used = rows
        if together:
            middle = [np.mean([part.start, part.stop]) for part in (tile.columns, tile.rows)]
            used = np.flatnonzero((np.abs(x - middle[0]) <= tile.shape[1]) & (np.abs(y - middle[1]) <= tile.shape[0]))
        found = psf_photometry.fit(plane, x[used] - tile.columns.start, y[used] - tile.rows.start, together)
        mine = np.isin(used, rows)
        flux[rows], error[rows] = found.flux[mine], found.error[mine]
        lacks = np.where(np.isfinite(flux[rows]), 0, np.int32(Flag.NO_IMAGE))
        flags[rows] = lacks | np.where(found.good[mine] < 0.99, np.int32(Flag.MASKED_PIXELS), 0)
    return flux, error, flags


def forced_photometry(
    images: Sequence[Image],
    table: Table,
    psf: Mapping[str, Psf] | None = None,
    together: bool = False,
    background: bool = True,
    box: int = 128,
    pixel_scale: float | None = None,
    measure: str = "forced",
) -> QTable:
    """PSF fluxes in images at the positions of a table.

    Parameters
    ----------
    images : sequence of Image
        One per band.
    table : Table
        With ``ra`` and ``dec``, or, for images without WCS, ``x`` and ``y`` (pixels from 0).
    psf : mapping of str to Psf, optional
        PSF by band; by default that of the image's own stars.
    together : bool
        Fit all objects at once, so that overlapping ones share their light. A result then depends on the other rows.
    background, box, pixel_scale, measure
        See `detect`; ``measure`` is the name in the columns.

    Returns
    -------
    QTable
        The table with ``flux_forced_{band}``, ``flux_err_forced_{band}`` in the unit of the images, and ``flags``.
    """
    from ..chunk import append, canonical, values
    from .prepared import Held, prepare

    out = canonical(table)
    flags = np.zeros(len(out), np.int32)
    for image in images:
        band = prepare(Held(image), box, background, (psf or {}).get(image.band), pixel_scale)
        if image.wcs is None:
            place = [np.asarray(getattr(out[name], "value", out[name]), float) for name in ("x", "y")]
        else:
            sky = [values(out[name], "deg", f"column {name!r}") for name in ("ra", "dec")]
            place = pixels_near(image.wcs.celestial, image.shape, *sky)
        flux, error, own = measure_at(band, *place, together)
        fields = [
            flux_field(image.band, kind, filter=image.filter, photometry="psf").model_copy(update={"unit": image.unit})
            for kind in (measure, f"err_{measure}")
        ]
        names = [field.name for field in fields]
        out = append(out, dict(zip(names, (flux, error), strict=True)), fields, "forced_photometry")
        flags |= own
    return append(out, {"flags": flags}, [FLAGS], "forced_photometry")
