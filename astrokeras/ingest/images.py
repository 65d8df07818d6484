"""Source ``images``: objects found in survey images, measured in all bands."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field as Parameter
from pydantic import model_validator

from ..errors import ExpressionError, IngestError, did_you_mean
from ..expression import Expression
from ..fields import Band, Field, by_name, select
from ..images.language import Layout
from ..stage import Partition, Source
from ..surveys.survey import all_located
from .detection import detection_fields, notes_of, prepare_bands, tile_table
from .detection_options import DetectionOptions

if TYPE_CHECKING:
    from astropy.table import QTable

    from .measuring import Bands

Path = Annotated[str, Parameter(min_length=1)]


class Images(DetectionOptions, Source):
    """Objects found in images, and their photometry: a catalog where there is none.

    One row per object, with a position, colour, total (Kron) and PSF fluxes in every band, a shape, and flags. Objects
    are found on the weighted mean of the ``detect`` bands, on the pixel grid of the first of them; in the other bands
    positions go through the WCS of each. The image is taken in tiles, which are the partitions.

    Parameters
    ----------
    files : str or dict
        Path of the image of a band, with ``{band}`` or ``{BAND}``; or a path for each band. It may be a pattern that
        one file matches.
    bands : tuple of str
        Bands to measure.
    detect : tuple of str, optional
        Bands to find objects in, the first one being the reference; by default all.
    layout : str or Layout, optional
        Layout of the files; found by their headers otherwise. A ``calibration`` of its own gives a zero point to files
        that state none.
    filters : dict
        SVO filter identifiers by band, where neither ``layout`` names them.
    psf : str or dict
        Path of an image of the PSF by band, as for ``files``; by default the PSF is made of the image's own stars.
    hdu : int or str, optional
        HDU of the images, if files have several; ``{band}`` may stand in it.
    where : str, optional
        Selection of rows.

    Notes
    -----
    *Colour*, ``flux_{band}``: the image in a Gaussian aperture (``color_fwhm``) after its PSF was brought to the
    broadest one of all bands, so that the same part of an object is seen in each; scaled to the total flux by one
    factor for all bands, that of the detection bands (1 for a point source, and below a signal-to-noise ratio of 5).
    Its error does not contain that of the factor, which is common to all bands. *Total*, ``flux_total_{band}``: Kron
    aperture of the detection image, divided by the part of a point source that it holds. *PSF*, ``flux_psf_{band}``:
    fit of the PSF at a fixed position, with all neighbours at once. Errors propagate the errors of the pixels, times
    the growth of noise that empty apertures show. Neighbours are replaced by the opposite side of an object.
    """

    name: ClassVar[str] = "images"
    places: ClassVar[tuple[str, ...]] = ("files",)

    files: Path | dict[Band, Path]
    bands: tuple[Band, ...] = Parameter(min_length=1)
    detect: tuple[Band, ...] | None = Parameter(default=None, min_length=1)
    layout: str | Layout | None = None
    filters: dict[Band, str] = {}
    psf: Path | dict[Band, Path] | None = None
    hdu: int | str | None = None

    @model_validator(mode="after")
    def _bands_fit(self) -> Images:
        """Check what can be checked without a file, each problem at its key."""
        problems: list[tuple[tuple[str, ...], str, Any]] = []
        if len(set(self.bands)) < len(self.bands):
            problems.append((("bands",), "names a band twice", list(self.bands)))
        named = {"detect": self.detect or (), "filters": self.filters}
        named |= {key: value for key in ("files", "psf") if isinstance(value := getattr(self, key), dict)}
        for key, names in named.items():
            problems += [
                ((key,), f"no band {name!r}{did_you_mean(name, self.bands)}", name)
                for name in names
                if name not in self.bands
            ]
        if isinstance(self.files, dict) and (lacks := [b for b in self.bands if b not in self.files]):
            problems.append((("files",), f"no file for band {lacks[0]!r}", None))
        if (
            isinstance(self.files, str)
            and len(self.bands) > 1
            and self.hdu is None
            and self.files == _of(self.files, "")
        ):
            problems.append((("files",), "needs {band} in the path, or `hdu` with it, for several bands", self.files))
        try:
            known = {field.name for field in self.fields()}
            for name in sorted(Expression.parse(self.where).names - known) if self.where else ():
                problems.append((("where",), f"unknown column {name!r}{did_you_mean(name, known)}", self.where))
        except ExpressionError as error:
            problems.append((("where",), str(error), self.where))
        if problems:
            raise all_located(problems)
        return self

    def fields(self) -> tuple[Field, ...]:
        """Fields of the catalog; filters are those that the layout or ``filters`` names."""
        return detection_fields(self.bands, self._layout_filters() | self.filters, self.apertures)

    def _layout_filters(self) -> dict[str, str]:
        from ..images.layouts import load

        layout = load(self.layout) if isinstance(self.layout, str) else self.layout
        if layout is None:
            return {}
        return {band: fact.filter for band, fact in layout.bands.items() if fact.filter}

    def partitions(self, max_rows: int) -> Iterator[Partition]:
        """Tiles of the reference image; how many objects they hold is not known before.

        Raises
        ------
        IngestError
            If a file is missing, or cannot be read as an image.
        """
        from .tiles import cut

        opened = {band: self._open(band) for band in self.bands}
        for image in opened.values():
            _calibrated(image)
        files = dict.fromkeys(path for image in opened.values() for path in image.files)
        files |= dict.fromkeys(self._path(self.psf, band) for band in self.bands if self._has_psf(band))
        for tile in cut(opened[self._detect[0]].shape, self.tile, self.overlap):
            yield Partition(tile.key, None, tuple(files), {"tile": tile.key})

    @property
    def _detect(self) -> tuple[str, ...]:
        return self.detect or self.bands

    def _has_psf(self, band: str) -> bool:
        return isinstance(self.psf, str) or (self.psf is not None and band in self.psf)

    def _path(self, stated: str | Mapping[str, str], band: str) -> str:
        pattern = os.path.expanduser(_of(stated if isinstance(stated, str) else stated[band], band))
        if not glob.has_magic(pattern) or os.path.exists(pattern):
            return pattern
        found = sorted(glob.glob(pattern))
        if len(found) != 1:
            named = ": " + ", ".join(found[:3]) if found else ""
            raise IngestError(f"{pattern}: {len(found)} files match, where band {band!r} needs one{named}")
        return found[0]

    def opened(self) -> dict[str, Any]:
        """Open the images, by band."""
        return {band: self._open(band) for band in self.bands}

    def psf_files(self) -> dict[str, str]:
        """Paths of the images of the PSF, by band, as far as they are named."""
        return {band: self._path(self.psf, band) for band in self.bands if self._has_psf(band)}

    def _open(self, band: str) -> Any:
        from ..images.reader import open_image

        hdu = _of(self.hdu, band) if isinstance(self.hdu, str) else self.hdu
        return open_image(self._path(self.files, band), layout=self.layout, band=band, hdu=hdu)

    def read(self, partition: Partition, columns: Iterable[str]) -> QTable:
        """Find and measure the objects of a tile."""
        import numpy as np

        from ..chunk import evaluate
        from .tiles import cut

        bands = _prepared(self.model_dump_json())
        tiles = cut(bands.reference.shape, self.tile, self.overlap)
        tile = next(tile for tile in tiles if tile.key == partition.payload["tile"])
        table = tile_table(bands, tile, self, self.fields())
        rows = len(table)
        names = [field.name for field in select(columns, by_name(self.fields()).values(), self.name)]
        if self.where is not None:
            table = table[np.flatnonzero(evaluate(self.where, dict(table.items()), rows))]
        table.keep_columns(names)
        table.meta |= {"rows_read": rows, "notes": notes_of(bands)}
        return table

    def tally(self, chunk: QTable) -> dict[str, float]:
        """Notes on the images, and the number of objects."""
        return {f"max_{note}": 1.0 for note in chunk.meta.get("notes", ())} | {"objects": float(len(chunk))}

    def findings(self, total: Mapping[str, float]) -> dict[str, Any]:
        """Number of objects, and notes."""
        return {"objects": int(total.get("objects", 0)), "notes": list(self.judge(total))}

    def judge(self, total: Mapping[str, float]) -> tuple[str, ...]:
        """What a user should know of the images and how they were measured."""
        return tuple(name.removeprefix("max_") for name in total if name.startswith("max_"))


def _of(template: str, band: str) -> str:
    return template.replace("{band}", band).replace("{BAND}", band.upper())


def _calibrated(image: Any) -> None:
    if image.unit != "nJy":
        raise IngestError(
            f"{image.path}: nothing tells the flux of a count of the pixels; state a zero point in the layout: "
            "layout: {calibration: [{zero_point: 27.0}]}"
        )


@lru_cache(maxsize=2)
def _prepared(settings: str) -> Bands:
    """Bands of a source, measured once per process."""
    from .psf_files import read_psf

    source = Images.model_validate_json(settings)
    opened = [source._open(band) for band in source.bands]
    psf = {band: read_psf(source._path(source.psf, band), band) for band in source.bands if source._has_psf(band)}
    return prepare_bands(opened, source._detect, psf, source)
