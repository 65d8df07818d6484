"""Placing objects on the images of a band: on which one, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..errors import IngestError
from ..images.footprints import to_edge
from .band_images import BandImage, BandImages, Wanted, band_images
from .image_paths import files_of, filled, named

if TYPE_CHECKING:
    from astropy.table import QTable

    from ..images.language import Layout
    from .image_paths import Images


class Pixels(Protocol):
    """Names of columns with pixel coordinates."""

    x: str
    y: str


class Placing(Protocol):
    """What places objects on images: parameters of the stage ``cutouts``."""

    images: Images
    layout: str | Layout | None
    hdu: int | str | None
    unit: str
    by: str | None
    positions: Pixels | None
    calibration: str | None

    def scale_of(self, band: str) -> float | None:
        """Arcsec that the pixels of the images of a band must have."""


@dataclass(frozen=True)
class Placed:
    """Objects on the images of a band.

    Attributes
    ----------
    images : tuple of BandImage
        The images.
    number : ndarray
        Of the image of each object; -1: on none.
    x, y : ndarray
        0-based pixel coordinates there.
    """

    images: tuple[BandImage, ...]
    number: np.ndarray
    x: np.ndarray
    y: np.ndarray


def place(stage: Placing, band: str, chunk: QTable) -> Placed:
    """Find the image of each object in a band, and where it lies there.

    Raises
    ------
    IngestError
        If an image cannot be used.
    """
    found = opened(stage, band)
    if stage.by is None:
        return _placed(found[""], stage, chunk, np.arange(len(chunk)))
    images: list[BandImage] = []
    number, x, y = np.full(len(chunk), -1), *(np.full(len(chunk), np.nan) for _ in range(2))
    names = np.asarray(chunk[stage.by]).astype(str)
    for name in sorted(set(names.tolist()) & set(found)):
        rows = np.flatnonzero(names == name)
        part = _placed(found[name], stage, chunk, rows)
        number[rows] = np.where(part.number >= 0, part.number + len(images), -1)
        x[rows], y[rows] = part.x, part.y
        images += part.images
    return Placed(tuple(images), number, x, y)


def opened(stage: Placing, band: str) -> dict[str, BandImages]:
    """Images of a band by name; without names all of them under the empty one.

    Raises
    ------
    IngestError
        If an image cannot be used.
    """
    known = files_of(stage.images, band)
    hdu = filled(stage.hdu, band) if isinstance(stage.hdu, str) else stage.hdu
    located = stage.positions is None
    wanted = Wanted.of(stage.layout, hdu, stage.unit, stage.scale_of(band), located, stage.calibration)
    paths = {"": known} if stage.by is None else named(stage.images, band, known)
    return {name: band_images(several, band, wanted) for name, several in paths.items()}


def _placed(found: BandImages, stage: Placing, chunk: QTable, rows: np.ndarray) -> Placed:
    if found.footprints is not None:
        ra, dec = (np.asarray(chunk[name].value)[rows] for name in ("ra", "dec"))
        return Placed(found.images, *found.footprints.place(ra, dec))
    if len(found.images) > 1:
        paths = ", ".join(image.file.path for image in found.images[:2])
        raise IngestError(
            f"{paths}: `positions` in pixels need one image per band; of several, `by` names the column that tells"
        )
    x, y = (
        np.asarray(getattr(chunk[n], "value", chunk[n]), float)[rows] for n in (stage.positions.x, stage.positions.y)
    )
    on = to_edge(x, y, found.images[0].shape) >= 0
    return Placed(found.images, np.where(on, 0, -1), np.where(on, x, np.nan), np.where(on, y, np.nan))
