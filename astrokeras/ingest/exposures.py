"""Source ``exposures``: a row is an image of a file."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field as Parameter
from pydantic import field_validator, model_validator

from ..errors import AstrokerasError, IngestError, SurveyError
from ..exposures.rows import PROBLEM
from ..expression import Expression
from ..fields import DEC, FLAGS, OBJECT_ID, RA, Band, Field, by_name
from ..flags import Flag
from ..stage import Partition, Source
from .image_paths import filled

if TYPE_CHECKING:
    from astropy.table import QTable

    from ..images.reader import ImageFile

PATH = Field(name="path", kind="str", description="File of the image", ucd="meta.ref;meta.file")
HDU = Field(name="hdu", kind="str", description="HDU of the image: EXTNAME or number", ucd="meta.id")
LAYOUT = Field(name="layout", kind="str", description="Layout of the file", ucd="meta.id")
BAND = Field(name="band", kind="str", description="Band of the image", ucd="meta.id;instr.bandpass")

_FIELDS = (
    OBJECT_ID,
    PATH,
    HDU,
    LAYOUT,
    BAND,
    Field(name="filter", kind="str", description="Filter of the image, as SVO names it", ucd="meta.id;instr.filter"),
    RA,
    DEC,
    Field(
        name="pixel_scale",
        kind="f8",
        unit="arcsec",
        description="Side of the pixel in the middle of the image",
        ucd="phys.angSize;instr.pixel",
    ),
    Field(name="exposure", kind="f8", unit="s", description="Exposure time", ucd="time.duration;obs.exposure"),
    Field(name="mjd", kind="f8", unit="d", description="Middle of the exposure (MJD, UTC)", ucd="time.epoch"),
    Field(
        name="zero_point",
        kind="f8",
        unit="mag",
        description="AB magnitude of one unit of the pixels in the file, as its header says",
        ucd="phot.mag;arith.zp",
    ),
    Field(name="width", kind="i4", null=-1, description="Columns of pixels", ucd="meta.number"),
    Field(name="height", kind="i4", null=-1, description="Rows of pixels", ucd="meta.number"),
    Field(name="notes", kind="str", description="What was noticed in the header", ucd="meta.note"),
    PROBLEM,
    FLAGS,
)


class Exposures(Source):
    """Images as rows: their place, band, date and calibration, from headers only.

    Stages such as `background`, `psf` and `calibrate` open the images by ``path``. A file that cannot be read stays a
    row, with the reason in ``problem`` and the flag ``NO_DATA``.

    Parameters
    ----------
    files : str or tuple of str
        A path, or several; each may be a pattern. ``{band}`` (``{BAND}``: in upper case) stands for each of ``bands``.
    bands : tuple of str, optional
        Bands to take; all by default.
    layout : str, optional
        Name or path of a layout of images; by default each file is recognised.
    where : str, optional
        Condition on the columns.

    Examples
    --------
    >>> source = Exposures(files="frames/frame-{band}-*.fits.bz2", bands=("g", "r"))
    >>> [f.name for f in source.fields()][:5]
    ['object_id', 'path', 'hdu', 'layout', 'band']
    """

    name: ClassVar[str] = "exposures"

    files: Annotated[str, Parameter(min_length=1)] | Annotated[tuple[str, ...], Parameter(min_length=1)]
    bands: tuple[Band, ...] | None = None
    layout: str | None = None

    @model_validator(mode="after")
    def _usable(self) -> Exposures:
        if self.bands is None and any(filled(f, "") != f for f in self._patterns()):
            raise ValueError("files: {band} stands for each of `bands`, which are not given")
        if self.where is not None:
            Expression.parse(self.where).only(by_name(_FIELDS))
        return self

    @field_validator("layout")
    @classmethod
    def _known_layout(cls, layout: str | None) -> str | None:
        from ..images.layouts import load

        try:
            if layout is not None:
                load(layout)
        except SurveyError as error:
            raise ValueError(str(error)) from None
        return layout

    def inputs(self) -> tuple[str, ...]:
        """File of the layout, if it is named."""
        from ..images.layouts import find

        return () if self.layout is None else (str(find(self.layout)),)

    def fields(self) -> tuple[Field, ...]:
        """See `Source.fields`."""
        return _FIELDS

    def _patterns(self) -> tuple[str, ...]:
        return (self.files,) if isinstance(self.files, str) else self.files

    def _paths(self) -> Iterator[tuple[str, str | None]]:
        """Files, and the band that a pattern gives them."""
        seen: set[str] = set()
        for text in self._patterns():
            for band in (self.bands or ()) if filled(text, "") != text else (None,):
                pattern = os.path.expanduser(filled(text, band or ""))
                found = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else [pattern]
                if not found:
                    raise IngestError(f"{pattern}: no file matches")
                if twice := next((path for path in found if path in seen), None):
                    raise IngestError(f"{twice}: is named twice in `files`")
                seen.update(found)
                yield from ((path, band) for path in found)

    def partitions(self, max_rows: int) -> Iterator[Partition]:
        """One partition per file.

        Raises
        ------
        IngestError
            If a pattern matches nothing.
        """
        for number, (path, band) in enumerate(self._paths()):
            payload = {"path": path, "band": band or ""}
            yield Partition(f"{number:06d}", None, self._files(path, band), payload)

    def _files(self, path: str, band: str | None) -> tuple[str, ...]:
        """All files that are read for the images of one, itself if it exists."""
        images = [image for image, _ in self._images(path, band) if image is not None]
        own = (path,) if os.path.isfile(path) else ()
        return tuple(dict.fromkeys([*own, *(name for image in images for name in image.files)]))

    def _images(self, path: str, band: str | None) -> Iterator[tuple[ImageFile | None, str]]:
        """Images of a file, or why there are none."""
        from ..images.reader import images_in, open_image

        try:
            found = images_in(path, layout=self.layout)
        except AstrokerasError as error:
            yield None, str(error)
            return
        for hdu, stated in found:
            # Without a band in the pattern the file's own counts.
            if band is None and self.bands is not None and stated not in self.bands:
                continue
            if band is not None and len(found) > 1 and stated != band:
                continue
            try:
                yield open_image(path, layout=self.layout, hdu=hdu, band=band), ""
            except AstrokerasError as error:
                yield None, str(error)

    def read(self, partition: Partition, columns: Iterable[str]) -> QTable:
        """See `Source.read`."""
        from ..surveys.tables import assemble

        path, band = partition.payload["path"], partition.payload["band"] or None
        rows = [_row(path, band, *found) for found in self._images(path, band)]
        made = {f.name: _column([row[f.name] for row in rows], f) for f in _FIELDS}
        chosen = np.ones(len(rows), bool)
        if self.where is not None:
            chosen = Expression.parse(self.where).select(made, len(rows))
        table = assemble({name: made[name][chosen] for name in columns}, _FIELDS)
        table.meta["rows_read"] = len(rows)
        return table


def _row(path: str, band: str | None, image: ImageFile | None, problem: str) -> dict[str, Any]:
    from ..images.sky_grid import center

    stem = os.path.basename(path)
    if image is None:
        return dict.fromkeys(f.name for f in _FIELDS) | {
            "object_id": stem,
            "path": path,
            "band": band or "",
            "problem": problem,
            "flags": int(Flag.NO_DATA),
        }
    ra, dec = (None, None) if image.wcs is None else center(image.wcs, image.shape)
    return {
        "object_id": stem if image.hdu in ("0", "1") else f"{stem}[{image.hdu}]",
        "path": path,
        "hdu": image.hdu,
        "layout": image.layout,
        "band": image.band,
        "filter": image.filter,
        "ra": ra,
        "dec": dec,
        "pixel_scale": image.pixel_scale,
        "exposure": image.exposure,
        "mjd": image.mjd,
        "zero_point": image.zero_point,
        "width": image.shape[1],
        "height": image.shape[0],
        "notes": "; ".join(image.notes),
        "problem": "",
        "flags": 0 if image.wcs is not None else int(Flag.BAD_POSITION),
    }


def _column(values: list[Any], field: Field) -> np.ndarray:
    """Values of a column, None for missing."""
    if field.kind in ("str", "id"):
        return np.array(["" if v is None else v for v in values], dtype=str)
    if field.kind == "f8":
        return np.array([np.nan if v is None else v for v in values], np.float64)
    known = np.array([v is not None for v in values], bool)
    numbers = np.array([0 if v is None else v for v in values], np.int32)
    return numbers if known.all() else np.ma.MaskedArray(numbers, ~known)
