"""The images of one band, opened once per process: headers only, pixels are read when stamps need them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from ..errors import IngestError
from ..images.footprints import Footprints
from ..packing import is_packed
from .file_states import state

if TYPE_CHECKING:
    import numpy as np

    from ..images.image import Image
    from ..images.language import Layout
    from ..images.reader import ImageFile

#: Relative difference of pixel scales that passes.
_SCALE_TOLERANCE = 0.01


class OtherUnitError(IngestError):
    """Pixels are in another unit than all of them must have."""


@dataclass(frozen=True)
class Wanted:
    """What all images of a column of stamps must be.

    Attributes
    ----------
    hdu : int, str or None
        HDU with the pixels.
    unit : str
        Of the pixels.
    pixel_scale : float or None
        In arcsec.
    located : bool
        Whether they need celestial coordinates.
    text : str
        The layout as JSON, which stands for it in comparisons: its mappings have no hash.
    layout : str, Layout or None
        How they are laid out.
    calibration : tuple or None
        Table of their zero points, and its state.
    """

    hdu: int | str | None
    unit: str
    pixel_scale: float | None
    located: bool
    text: str
    layout: str | Layout | None = field(compare=False)
    calibration: tuple[str, int, int] | None = None

    @classmethod
    def of(
        cls,
        layout: str | Layout | None,
        hdu: int | str | None,
        unit: str,
        pixel_scale: float | None,
        located: bool,
        calibration: str | None = None,
    ) -> Wanted:
        """What is wanted, with the layout as text.

        Raises
        ------
        IngestError
            If there is no table of zero points at ``calibration``.
        """
        text = layout or "" if layout is None or isinstance(layout, str) else layout.model_dump_json()
        table = None if calibration is None else state(os.path.expanduser(calibration))
        return cls(hdu, unit, pixel_scale, located, text, layout, table)


@dataclass(frozen=True)
class BandImage:
    """An image of a band.

    Attributes
    ----------
    file : ImageFile
        What its header says.
    key : tuple
        What tells its pixels from all others.
    again : callable
        Opens the file once more.
    whole : bool
        Whether it is packed (gzip, bzip2), so that it is read at once.
    """

    file: ImageFile
    key: tuple
    again: Callable[[], ImageFile]
    whole: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.file.shape

    @property
    def wcs(self):
        """Celestial coordinates."""
        return self.file.wcs

    @property
    def what(self) -> str:
        """File and HDU, for messages."""
        return f"{self.file.path}, HDU {self.file.hdu}"

    def read(self, start: int, stop: int) -> Image:
        """Pixels of some rows."""
        # An open packed file holds all that it unpacked.
        file = self.again() if self.whole else self.file
        return file.read(rows=slice(start, stop))

    def errors_of(self, image: Image) -> np.ndarray:
        """Errors of pixels.

        Raises
        ------
        IngestError
            If the file has none.
        """
        if image.sigma is None:
            raise IngestError(f"{self.what}: has no errors of its pixels; leave `errors` out, or name a `layout`")
        return image.sigma


@dataclass(frozen=True)
class BandImages:
    """All images of a band."""

    images: tuple[BandImage, ...]
    footprints: Footprints | None


def band_images(paths: tuple[str, ...], band: str, wanted: Wanted) -> BandImages:
    """Open images; again when a file changes.

    Raises
    ------
    IngestError
        If one is missing or damaged, has another unit or scale, or lacks coordinates that are needed.
    """
    return _opened(tuple(state(path) for path in paths), band, wanted)


@lru_cache(maxsize=1024)
def _opened(states: tuple[tuple[str, int, int], ...], band: str, wanted: Wanted) -> BandImages:
    images = tuple(_image(known, band, wanted) for known in states)
    return BandImages(images, Footprints(images) if wanted.located else None)


def _image(known: tuple[str, int, int], band: str, wanted: Wanted) -> BandImage:
    from ..images.reader import open_image
    from .image_zero_points import calibrated

    again = partial(open_image, known[0], layout=wanted.layout, band=band, hdu=wanted.hdu)
    file = again()
    if wanted.calibration is not None:
        file = calibrated(file, wanted.calibration[0])
        again = partial(again, zero_point=file.zero_point)
    image = BandImage(file, (*known, file.hdu, band, wanted.text, file.zero_point), again, is_packed(known[0]))
    check_unit(image.what, file.unit, wanted.unit)
    if wanted.located and file.wcs is None:
        raise IngestError(
            f"{image.what}: has no celestial coordinates; name columns with the pixels of the objects, "
            "`positions: {x: ..., y: ...}`"
        )
    scale = file.pixel_scale
    if wanted.pixel_scale and scale and abs(scale / wanted.pixel_scale - 1) > _SCALE_TOLERANCE:
        raise IngestError(
            f"{image.what}: its pixels have {scale:.4g} arcsec, `pixel_scale` says {wanted.pixel_scale:g}; "
            "`resample` brings images onto one grid"
        )
    return image


def check_unit(what: str, found: str, wanted: str) -> None:
    """Refuse pixels in another unit than is wanted.

    Raises
    ------
    OtherUnitError
        Naming ``what`` holds them, and the remedy.
    """
    if found == wanted:
        return
    names = {"nJy": "in nJy", "ct": "counts without a zero point", "": "without a physical unit"}
    remedy = f"say `unit: {found}`" if found else "leave out `unit`"
    if found == "ct" and wanted == "nJy":
        remedy = "calibrate the image (`calibration`), or say `unit: ct`, for all bands"
    raise OtherUnitError(f"{what}: its pixels are {names[found]}, and stamps {names[wanted]} are asked for; {remedy}")
