"""Source ``images``: objects found in survey images, measured in all bands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field as Parameter
from pydantic import model_validator

from ..expression import Expression
from ..fields import Band, Field, by_name, select
from ..photometry.detection import detection_fields, notes_of, prepare_bands, tile_table
from ..photometry.detection_options import DetectionOptions
from ..stage import Partition, Source
from .image_options import ImageFiles

if TYPE_CHECKING:
    from astropy.table import QTable

    from ..photometry.measuring import Bands


class Images(DetectionOptions, ImageFiles, Source):
    """Objects found in images, and their photometry: a catalog where there is none.

    One row per object, with a position, colour, total (Kron) and PSF fluxes in every band, a shape, and flags. Objects
    are found on the weighted mean of the ``detect`` bands, on the pixel grid of the first of them; in the other bands
    positions go through the WCS of each. The image is taken in tiles, which are the partitions. Parameters are also
    those of `ImageFiles`, `DetectionOptions` and `SkyOptions`.

    Parameters
    ----------
    detect : tuple of str, optional
        Bands to find objects in, the first one being the reference; by default all.
    pixel_scale : float, optional
        In arcsec, of images without WCS; their objects have pixel positions only, and the flag ``BAD_POSITION``.
    where : str, optional
        Selection of rows.

    Notes
    -----
    *Colour*, ``flux_{band}``: the image in a Gaussian aperture (``color_fwhm``) after its PSF was brought to the
    broadest one of all bands, so that the same part of an object is seen in each; scaled to the total flux by one
    factor for all bands, that of the detection bands: 1 for a point source, and for what cannot be told from one. Its
    error does not contain that of the factor, which is common to all bands. *Total*, ``flux_total_{band}``: Kron
    aperture of the detection image, divided by the part of a point source that it holds. *PSF*, ``flux_psf_{band}``:
    fit of the PSF at a fixed position, with all neighbours at once. Errors propagate the errors of the pixels, times
    the growth of noise that empty apertures show. Neighbours are replaced by the opposite side of an object.
    """

    name: ClassVar[str] = "images"
    places: ClassVar[tuple[str, ...]] = ("files", "psf", "calibration")

    detect: tuple[Band, ...] | None = Parameter(default=None, min_length=1)

    @model_validator(mode="after")
    def _known_columns(self) -> Images:
        if self.where is not None:
            Expression.parse(self.where).only(by_name(self.fields()))
        return self

    def fields(self) -> tuple[Field, ...]:
        """Fields of the catalog; filters are those that the layout or ``filters`` names."""
        return detection_fields(self.bands, self.known_filters(), self.apertures)

    def partitions(self, max_rows: int) -> Iterator[Partition]:
        """Tiles of the reference image; how many objects they hold is not known before.

        Raises
        ------
        IngestError
            If a file is missing, or cannot be read as an image.
        """
        from ..photometry.tiles import cut

        opened = [self.open(band) for band in self.bands]
        files = self.all_files(opened)
        reference = opened[self.bands.index(self.searched[0])]
        for tile in cut(reference.shape, self.tile, self.overlap):
            yield Partition(tile.key, None, files, {"tile": tile.key})

    @property
    def searched(self) -> tuple[str, ...]:
        """Bands that objects are found in."""
        return self.detect or self.bands

    def read(self, partition: Partition, columns: Iterable[str]) -> QTable:
        """Find and measure the objects of a tile."""
        import numpy as np

        from ..chunk import evaluate
        from ..photometry.tiles import cut

        bands = _prepared(self.model_dump_json(), self.states())
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


@lru_cache(maxsize=2)
def _prepared(settings: str, states: tuple) -> Bands:
    """Bands of a source, measured once per process; again when a file changes."""
    source = Images.model_validate_json(settings)
    opened = [source.open(band) for band in source.bands]
    return prepare_bands(opened, source.searched, source.read_psfs(opened), source)
