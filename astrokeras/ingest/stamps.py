"""Source ``stamps``: files that hold one object each become a chunk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field as Parameter
from pydantic import model_validator

from ..errors import IngestError
from ..expression import Expression
from ..fields import FLAGS, Field
from ..flags import Flag
from ..images.language import Layout
from ..stage import Partition, Source
from .catalog import Catalog
from .image_paths import Images, by_name
from .stamp_columns import Bands, ColumnName, Size, pixels_of, stamp_fields

if TYPE_CHECKING:
    import numpy as np
    from astropy.table import QTable

ID = Field(name="object_id", kind="str", description="Name of the stamp", ucd="meta.id;meta.main")


class Stamps(Source):
    """Stamps in files of their own: JPEG, PNG or FITS, one object each.

    Cells of the column are ``(y, x, band)``, float32, with the lowest row first, as in a FITS image: a picture keeps
    its handedness where it is shown with the origin below. Pixels of pictures go from 0 to 1 and have no unit; those of
    FITS files are in nJy, or counts where nothing tells their zero point.

    Parameters
    ----------
    files : str, tuple or mapping
        Path with ``{name}`` in place of the name of the object, and ``{band}`` (``{BAND}``: in upper case) where each
        band has a file; or a pattern or a folder of files that are named after the object; or by band.
    bands : tuple of str
        Names of the bands, in order: of a colour picture of red, green and blue.
    size : int or str
        Of a stamp, ``64 pix``; larger ones are cropped and smaller ones padded with NaN, about the middle, after they
        were shrunk. An angle needs a ``pixel_scale``.
    shrink : int
        Take the mean (of fluxes and counts the sum) of so many pixels on a side.
    column : str
        Name of the column; ``{column}_err`` and ``{column}_mask`` are named after it.
    errors, masks : bool
        Also read errors and masks of the pixels, of FITS files.
    unit : str
        ``nJy`` or ``ct`` of FITS files, empty of pictures; every file must have it.
    pixel_scale : float, optional
        Arcsec of a pixel of the stamps, after they were shrunk.
    layout : str or Layout, optional
        How FITS files are laid out; by default told from the file.
    hdu : int or str, optional
        HDU with the pixels; ``{band}`` and ``{BAND}`` are replaced.
    core : float
        Part of the side of a stamp, around its middle, in which bad pixels count.
    labels : Catalog, optional
        Parameters of the source ``catalog``: what is known of the objects. Its ``object_id`` is the name of the stamp.
    if_unreadable : str
        ``flag``: a file that cannot be read gives a row without data, flagged ``NO_DATA``; or ``error``.
    where : str, optional
        Condition on the columns.

    Examples
    --------
    >>> source = Stamps(files="efigi/{name}.jpg", bands=["i", "r", "g"], size="64 pix")
    >>> [(field.name, field.shape) for field in source.fields()]
    [('object_id', ()), ('stamp', (64, 64, 3)), ('flags', ())]
    """

    name: ClassVar[str] = "stamps"
    places: ClassVar[tuple[str, ...]] = ("files",)

    files: Images
    bands: Bands
    size: Size
    shrink: Annotated[int, Parameter(ge=1, le=64)] = 1
    column: ColumnName = "stamp"
    errors: bool = False
    masks: bool = False
    unit: Literal["nJy", "ct", ""] = ""
    pixel_scale: Annotated[float, Parameter(gt=0)] | None = None
    layout: str | Layout | None = None
    hdu: int | str | None = None
    core: Annotated[float, Parameter(gt=0, le=1)] = 0.25
    labels: Catalog | None = None
    if_unreadable: Literal["flag", "error"] = "flag"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        pixels_of(self.size, self.pixel_scale)
        if isinstance(self.files, dict) and set(self.files) != set(self.bands):
            raise ValueError(f"`files` names the bands {sorted(self.files)}, `bands` {sorted(self.bands)}")
        if self.where is not None:
            Expression.parse(self.where).only(field.name for field in self.fields())
        return self

    @property
    def pixels(self) -> int:
        """Pixels on a side of a stamp."""
        return pixels_of(self.size, self.pixel_scale)

    @cached_property
    def _labels(self) -> tuple[Field, ...]:
        known = () if self.labels is None else self.labels.fields()
        return tuple(f for f in known if f.name not in (ID.name, FLAGS.name))

    @cached_property
    def _stamps(self) -> tuple[Field, ...]:
        options = {"errors": self.errors, "masks": self.masks}
        return stamp_fields(self.column, self.bands, self.pixels, self.unit, self.pixel_scale, **options)

    def fields(self) -> tuple[Field, ...]:
        """Name, labels, stamps and flags."""
        return (ID, *self._labels, *self._stamps, FLAGS)

    def partitions(self, max_rows: int) -> Iterator[Partition]:
        """Cut the stamps, in the order of their names.

        Raises
        ------
        IngestError
            If there are no files, or the labels are of none of them.
        """
        from .labels import check_labels

        paths = by_name(self.files, self.bands)
        names = sorted(paths)
        more = () if self.labels is None else self.labels.paths()
        if self.labels is not None:
            check_labels(self.labels, names)
        for start in range(0, len(names), max_rows):
            part = names[start : start + max_rows]
            files = tuple(dict.fromkeys(path for name in part for path in paths[name].values()))
            yield Partition(f"{start:012d}", len(part), (*files, *more), {"names": part})

    def read(self, partition: Partition, columns: Iterable[str]) -> QTable:
        """Read columns of a partition, after ``where``; files are opened only if stamps or flags are asked for."""
        from ..surveys.tables import assemble

        columns = list(columns)
        made = self._labelled(partition.payload["names"])
        n = len(made[ID.name])
        named = Expression.parse(self.where).names if self.where else frozenset()
        pixels = {FLAGS.name, *(f.name for f in self._stamps)}
        # Stamps are many bytes: where labels decide, those of the others are not read.
        if not pixels & named:
            made = self._chosen(made)
        if pixels & {*columns, *named}:
            made |= self._read(made[ID.name])
        if pixels & named:
            made = self._chosen(made)
        table = assemble({name: made[name] for name in columns}, self.fields())
        table.meta["rows_read"] = n
        return table

    def _chosen(self, made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        from ..chunk import evaluate

        if self.where is None:
            return made
        rows = evaluate(self.where, made, len(made[ID.name]))
        return {name: values[rows] for name, values in made.items()}

    def _labelled(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Names and labels; what the catalog lacks is missing."""
        import numpy as np

        from ..chunk import missing, values
        from .labels import label_table

        made = {ID.name: np.array(names, dtype=str)}
        if self.labels is None:
            return made
        table, places = label_table(self.labels)
        rows = np.array([places.get(name, -1) for name in names], dtype=int)
        there = rows >= 0
        for field in self._labels:
            known = values(table[field.name], field.unit, field.name)
            made[field.name] = missing(field, len(rows), known.dtype)
            made[field.name][there] = known[rows[there]]
        return made

    def _read(self, names: np.ndarray) -> dict[str, np.ndarray]:
        """Stamps and flags of objects."""
        import numpy as np

        from .band_images import OtherUnitError
        from .stamp_files import Reading, centred, flags_of, read_stamp, shrunk

        paths, size = by_name(self.files, self.bands), self.pixels
        made = {f.name: np.full((len(names), *f.shape), np.nan, np.float32) for f in self._stamps}
        if self.masks:
            made[f"{self.column}_mask"] = np.ones((len(names), *self._stamps[0].shape), np.int32)
        flags = np.zeros(len(names), np.int32)
        reading = Reading(self.bands, self.unit, self.errors, self.layout, self.hdu)
        for i, name in enumerate(names.tolist()):
            try:
                pixels = shrunk(read_stamp(reading, paths[name]), self.shrink, mean=not self.unit)
            except OtherUnitError:
                raise
            except IngestError:
                if self.if_unreadable == "error":
                    raise
                flags[i] = int(Flag.NO_DATA)
                continue
            made[self.column][i] = centred(pixels.data, size, np.nan)
            if pixels.sigma is not None:
                made[f"{self.column}_err"][i] = centred(pixels.sigma, size, np.nan)
            if self.masks:
                made[f"{self.column}_mask"][i] = centred(pixels.mask, size, 1)
            flags[i] = flags_of(pixels, size, max(1, round(size * self.core)), len(paths[name]) < len(self.bands))
        return made | {FLAGS.name: flags}

    def tally(self, chunk: QTable) -> dict[str, float]:
        """Count stamps without data."""
        import numpy as np

        if FLAGS.name not in chunk.colnames:
            return {}
        bits = np.asarray(chunk[FLAGS.name])
        return {"stamps": len(bits), "without_data": int(np.count_nonzero(bits & int(Flag.NO_DATA)))}

    def judge(self, total: Mapping[str, float]) -> tuple[str, ...]:
        """Say how many stamps could not be read.

        Raises
        ------
        IngestError
            If it is all of them.
        """
        lost, n = int(total.get("without_data", 0)), int(total.get("stamps", 0))
        if n and lost == n:
            raise IngestError(f"none of {n} stamps has data; `if_unreadable: error` says why")
        return (f"warning: {lost} of {n} stamps have no data, or cannot be read; flagged NO_DATA",) if lost else ()
