"""Stage ``cutouts``: stamps of objects out of survey images, an N-D column."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Parameter

from ..fields import DEC, FLAGS, RA, Band, Field
from ..images.language import Layout
from ..stage import Stage
from .image_paths import NAME, Images, patterns
from .stamp_columns import Bands, ColumnName, Size, pixels_of, stamp_fields

if TYPE_CHECKING:
    from astropy.table import QTable


class PixelPositions(BaseModel):
    """Columns with 0-based pixel coordinates, integers at the centres of pixels; the same in all bands.

    Parameters
    ----------
    x, y : str
        Names of columns.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    x: str
    y: str


class Resample(BaseModel):
    """One grid for all bands.

    Parameters
    ----------
    pixel_scale : float, optional
        In arcsec: north up, east to the left, the object exactly in the middle.
    to : str, optional
        Band whose pixels stay as they are; the others are brought onto them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pixel_scale: Annotated[float, Parameter(gt=0)] | None = None
    to: Band | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.pixel_scale is None) == (self.to is None):
            raise ValueError("needs either `pixel_scale` or `to`")
        return self


class Cutouts(Stage):
    """Stamps around objects, cut out of one or many images per band, each band on its own grid of pixels.

    Cells of the column are ``(y, x, band)``, float32; NaN means "no data". Pixels are copied, not interpolated: the
    first row is ``ceil(y - size / 2)`` as of astropy's ``Cutout2D``, so that the object lies within half a pixel of the
    middle of its stamp; ``offsets`` says where. With ``resample`` all bands come on one grid instead.

    A stamp that reaches over the edge of its image is filled with NaN and flagged ``EDGE_STAMP``; an object that lies
    on no image of some band ``NO_IMAGE``, and has NaN there; one with bad or saturated pixels in the ``core`` of its
    stamp ``MASKED_PIXELS`` or ``SATURATED``.

    Parameters
    ----------
    images : str, tuple or mapping
        Path of the images, with ``{band}`` (``{BAND}``: in upper case) in place of the band, a pattern such as
        ``frame-{band}-*.fits.bz2``, or several; or by band. Of several images that an object lies on, the one where it
        lies farthest from the edge is taken.
    bands : tuple of str
        In the order in which they stand in the stamps.
    size : int or str
        Of a stamp: ``64 pix``, or ``20 arcsec``, which needs a ``pixel_scale``.
    column : str
        Name of the column; ``{column}_err`` and ``{column}_mask`` are named after it.
    errors, masks : bool
        Also write standard errors of the pixels, and their masks (bits of `astrokeras.images.image.Pixel`).
    offsets : bool
        Also write ``{column}_dx`` and ``{column}_dy``, the place of the object from the middle of the stamp, in pixels.
    unit : str
        ``nJy``, or ``ct`` for images without a zero point; all images must have it.
    pixel_scale : float, optional
        In arcsec. Images of another scale, by more than 1 %, are refused.
    layout : str or Layout, optional
        How the images are laid out; by default told from the file.
    calibration : str, optional
        Table that a run of the source ``exposures`` with the stage ``calibrate`` wrote: its ``zero_point_fit`` of the
        same file name, HDU and band is the zero point of an image, whatever the file says.
    hdu : int or str, optional
        HDU with the pixels, if the file has several; ``{band}`` is replaced.
    by : str, optional
        Column with the name of the image of each object, which stands in place of ``{name}`` in ``images``.
    positions : PixelPositions, optional
        Columns with pixel coordinates, ``{x: ..., y: ...}``, where images have no celestial coordinates.
    core : float
        Part of the side of a stamp, around its middle, in which bad pixels count.
    resample : Resample, optional
        Bring all bands onto one grid.

    Examples
    --------
    >>> stage = Cutouts(images="frame-{band}.fits", bands=["g", "r"], size="32 pix", pixel_scale=0.396)
    >>> field, _ = stage.writes()
    >>> field.name, field.shape, field.unit, field.meta
    ('stamp', (32, 32, 2), 'nJy', {'bands': 'g,r', 'pixel_scale': 0.396})
    """

    name: ClassVar[str] = "cutouts"

    images: Images
    bands: Bands
    size: Size
    column: ColumnName = "stamp"
    errors: bool = False
    masks: bool = False
    offsets: bool = False
    unit: Literal["nJy", "ct"] = "nJy"
    pixel_scale: Annotated[float, Parameter(gt=0)] | None = None
    layout: str | Layout | None = None
    calibration: Annotated[str, Parameter(min_length=1)] | None = None
    hdu: int | str | None = None
    by: str | None = None
    positions: PixelPositions | None = None
    core: Annotated[float, Parameter(gt=0, le=1)] = 0.25
    resample: Resample | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        pixels_of(self.size, self.scale)
        if self.resample is not None:
            self._resamples(self.resample)
        if isinstance(self.images, dict) and set(self.images) != set(self.bands):
            raise ValueError(f"`images` names the bands {sorted(self.images)}, `bands` {sorted(self.bands)}")
        for band in self.bands:
            if any((NAME in pattern) != (self.by is not None) for pattern in patterns(self.images, band)):
                raise ValueError("`by` goes with {name} in the path of `images`, and the other way round")
        return self

    def _resamples(self, resample: Resample) -> None:
        if resample.to is not None and resample.to not in self.bands:
            raise ValueError(f"`resample` to band {resample.to!r}, which is none of {list(self.bands)}")
        if self.positions is not None:
            raise ValueError("`resample` needs celestial coordinates, not `positions` in pixels")
        if resample.pixel_scale is not None and self.pixel_scale is not None:
            raise ValueError("with `resample: {pixel_scale: ...}` a `pixel_scale` of the images is not needed")

    @property
    def scale(self) -> float | None:
        """Arcsec of a pixel of the stamps, if it is stated."""
        return self.pixel_scale if self.resample is None else self.resample.pixel_scale or self.pixel_scale

    @property
    def pixels(self) -> int:
        """Pixels on a side of a stamp."""
        return pixels_of(self.size, self.scale)

    def scale_of(self, band: str) -> float | None:
        """Arcsec that the pixels of the images of a band must have."""
        return self.pixel_scale if self.resample is None or band == self.resample.to else None

    def inputs(self) -> tuple[str, ...]:
        """All images, the files of their errors and masks, and the table of their zero points.

        Raises
        ------
        IngestError
            If an image is missing, damaged, or of another unit or scale.
        """
        from .placing import opened

        found = (opened(self, band).values() for band in self.bands)
        images = (image for several in found for one in several for image in one.images)
        table = () if self.calibration is None else (os.path.expanduser(self.calibration),)
        return tuple(dict.fromkeys([*(path for image in images for path in image.file.files), *table]))

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        place = self.positions
        position = (
            (RA, DEC) if place is None else tuple(Field(name=n, kind="f8", unit=None) for n in (place.x, place.y))
        )
        return (*position, *((Field(name=self.by, kind="id"),) if self.by is not None else ()))

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        stamps = stamp_fields(
            self.column, self.bands, self.pixels, self.unit, self.scale, self.errors, self.masks, self.offsets
        )
        return (*stamps, FLAGS)

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`.

        Raises
        ------
        IngestError
            If an image is missing, damaged, or of another unit or scale.
        """
        from .cutting import cut

        return cut(self, chunk)
