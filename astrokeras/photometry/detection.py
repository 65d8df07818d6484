"""Catalogs of images: objects found in one or more bands, measured in all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import IngestError, did_you_mean
from ..fields import DEC, FLAGS, OBJECT_ID, RA, Field
from ..flags import Flag
from .detection_options import DetectionOptions, photometry_fields, shape_fields

if TYPE_CHECKING:
    from astropy.table import QTable

    from ..images.image import Image
    from .measuring import Bands
    from .psf_model import Psf
    from .tiles import Tile


def detection_fields(
    bands: Sequence[str], filters: Mapping[str, str], apertures: Sequence[float] = (), unit: str = "nJy"
) -> tuple[Field, ...]:
    """Fields of the catalog of an image."""
    photometry = photometry_fields(tuple(bands), dict(filters), tuple(apertures), unit)
    return (OBJECT_ID, RA, DEC, *photometry, *shape_fields(), FLAGS)


def detect(
    images: Sequence[Image],
    detect: Sequence[str] | None = None,
    psf: Mapping[str, Psf] | None = None,
    **options: Any,
) -> QTable:
    """Find the objects of images and measure them in all bands.

    Parameters
    ----------
    images : sequence of Image
        One per band, of the same part of the sky; each on its own grid if it has a WCS, otherwise all on one.
    detect : sequence of str, optional
        Bands that objects are found in; the first one gives the grid. By default all.
    psf : mapping of str to Psf, optional
        PSF by band; by default that of the image's own stars.
    **options
        See `DetectionOptions`.

    Returns
    -------
    QTable
        See `detection_fields`; ``meta["notes"]`` says what a user should know. Fluxes are in the unit of the images.

    Raises
    ------
    IngestError
        If images do not go together, or one has nothing to measure.

    Examples
    --------
    >>> import numpy as np
    >>> from astrokeras.images.image import Image
    >>> y, x = np.mgrid[:100, :100]
    >>> sky = np.random.default_rng(1).normal(0, 1, (100, 100))
    >>> star = 2000 * np.exp(-((x - 40) ** 2 + (y - 60) ** 2) / 4.5) / (4.5 * np.pi)
    >>> image = Image((sky + star).astype("f4"), "nJy", np.zeros((100, 100), "i4"), band="r")
    >>> table = detect([image], pixel_scale=0.4, box=50)
    >>> print(len(table), table["x"].round()[0], table["y"].round()[0])
    1 40.0 pix 60.0 pix
    """
    from ..chunk import concatenate
    from .prepared import Held
    from .tiles import cut

    settings = DetectionOptions(**options)
    units = sorted({image.unit for image in images})
    if len(units) != 1:
        raise IngestError(f"images are in different units: {', '.join(map(repr, units)) or 'there are none'}")
    bands = prepare_bands([Held(image) for image in images], detect, psf or {}, settings)
    filters = {image.band: image.filter for image in images if image.filter}
    fields = detection_fields([image.band for image in images], filters, settings.apertures, units[0])
    tiles = cut(bands.reference.shape, settings.tile, settings.overlap)
    table = concatenate([tile_table(bands, tile, settings, fields) for tile in tiles])
    table.meta["notes"] = notes_of(bands)
    return table


def prepare_bands(
    opened: Sequence[Any], detect: Sequence[str] | None, psf: Mapping[str, Psf], settings: DetectionOptions
) -> Bands:
    """Measure the sky, PSF and noise of all bands; see `detect`."""
    from .measuring import Bands
    from .prepared import prepare
    from .tile_planes import to_pixels

    names = [image.band for image in opened]
    chosen = tuple(detect or names)
    for name in [*chosen, *psf]:
        if name not in names:
            raise IngestError(f"there is no image of band {name!r}{did_you_mean(name, names)}")
    if len(set(names)) < len(names) or "" in names:
        raise IngestError(f"every image needs a band of its own, found {names}")
    for image in opened:
        to_pixels(np.zeros(1), np.zeros(1), opened[0], image)
    prepared = [
        prepare(image, settings.box, settings.background, psf.get(image.band), settings.pixel_scale) for image in opened
    ]
    return Bands.of(prepared, chosen, settings)


def notes_of(bands: Bands) -> tuple[str, ...]:
    """What a user should know of the images and how they were measured."""
    return tuple(dict.fromkeys(note for band in bands.all for note in band.notes))


def tile_table(bands: Bands, tile: Tile, settings: DetectionOptions, fields: Sequence[Field]) -> QTable:
    """Catalog of one tile, with all columns of ``fields``."""
    from astropy.table import QTable

    from ..chunk import DTYPES, as_column
    from .measuring import measure

    found = measure(bands, tile, settings)
    made = {} if found is None else _finished(found, bands)
    columns = {}
    for field in fields:
        kind = DTYPES.get(field.kind, np.str_)
        columns[field.name] = as_column(np.asarray(made.get(field.name, np.zeros(0)), kind), field)
    return QTable(columns, copy=False)


def _finished(made: dict[str, np.ndarray], bands: Bands) -> dict[str, np.ndarray]:
    """Columns in the units of the catalog: positions on the sky, identifiers, sizes in arcsec."""
    reference = bands.reference
    out = dict(made)
    for name in ("semi_major", "semi_minor", "kron_radius", "half_light_radius"):
        out[name] = made[name] * reference.pixel_scale
    out["ellipticity"] = 1 - made["semi_minor"] / made["semi_major"]
    wcs = reference.opened.wcs
    if wcs is None:
        stem = Path(str(getattr(reference.opened, "path", "") or "")).name.split(".")[0]
        ids = [f"{stem}{'_' * bool(stem)}x{i}y{j}" for i, j in zip(made["x_peak"], made["y_peak"], strict=True)]
        nowhere = np.full(len(ids), np.nan)
        out |= {"object_id": np.array(ids, str), "ra": nowhere, "dec": nowhere.copy()}
        # From the rows towards negative columns, as on an image with north up and east to the left.
        out["theta"] = np.rad2deg(made["angle"]) - 90
        out["flags"] = made["flags"] | np.int32(Flag.BAD_POSITION)
    else:
        out |= _on_sky(made, wcs.celestial)
    out["theta"] = np.mod(out["theta"], 180)
    # Sorted by place, so that the order does not depend on labels.
    order = np.lexsort((made["x_peak"], made["y_peak"]))
    return {name: values[order] for name, values in out.items()}


def _on_sky(made: dict[str, np.ndarray], wcs: Any) -> dict[str, np.ndarray]:
    """Positions (ICRS), position angles, and identifiers made of the position of the brightest pixel.

    A pixel is a whole number: the same object has the same identifier, whatever the last digits of its centroid.
    """
    sky = wcs.pixel_to_world(made["x"], made["y"]).icrs
    ahead = wcs.pixel_to_world(made["x"] + np.cos(made["angle"]), made["y"] + np.sin(made["angle"])).icrs
    peak = wcs.pixel_to_world(made["x_peak"], made["y_peak"]).icrs
    ra = peak.ra.to_string("hour", sep="", precision=3, pad=True)
    dec = peak.dec.to_string("deg", sep="", precision=2, pad=True, alwayssign=True)
    return {
        "object_id": np.array([f"J{a}{d}" for a, d in zip(np.atleast_1d(ra), np.atleast_1d(dec), strict=True)], str),
        "ra": sky.ra.deg,
        "dec": sky.dec.deg,
        "theta": sky.position_angle(ahead).deg,
    }
