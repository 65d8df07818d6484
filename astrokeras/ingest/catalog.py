"""Source ``catalog``: rows of survey catalogs as canonical columns."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, model_validator
from pydantic import Field as Parameter

from ..errors import ExpressionError, IngestError, SurveyError
from ..expression import Expression
from ..fields import Band, Field
from ..stage import Partition, Source
from ..surveys import Request, SurveyMap, find, load, request
from ..surveys.columns import Native, element, locate
from ..surveys.extinction import Extinction
from ..surveys.guessing import half_fit
from ..surveys.limits import Depths
from ..surveys.survey import all_located
from ..surveys.tables import choose_bands, stated_map
from .catalog_options import File, Kept

if TYPE_CHECKING:
    from astropy.table import QTable

    from .tablefile import TableFile, TableOptions


def _mapped(value: Any) -> Any:
    """A map given in place is checked by itself, so that errors name its own keys."""
    return SurveyMap.model_validate(value) if isinstance(value, Mapping) else value


class Catalog(Source):
    """Rows of catalogs: FITS, Parquet, VOTable, ECSV, CSV and relatives, SExtractor's ASCII_HEAD.

    Fluxes come out in nJy on the AB system, positions in deg, whatever the survey writes; NaN means "no measurement".
    Objects whose numbers cannot be are flagged (``BAD_PHOTOMETRY``, ``MISSING_BAND``, ``BAD_POSITION``) and stay.

    Parameters
    ----------
    files : str or tuple
        A path, or several; each may be a pattern, or ``{path, split}``.
    survey : str or SurveyMap, optional
        Name or path of a survey map, or the map itself. Without one the columns must be canonical already
        (``object_id``, ``ra``, ``dec``, ``flux_g``, ``flux_err_g``, ...; fluxes in nJy if the file states no unit).
    photometry : str or mapping, optional
        Kind of photometry of the map, or kinds by measure: ``color`` (``flux_g``), ``total`` (``flux_total_g``),
        ``psf`` (``flux_psf_g``).
    bands : tuple of str, optional
        Bands to take; by default all that the map has.
    deredden : bool or str
        Correct fluxes, errors and limits for Galactic extinction, as the map or ``extinction`` states it.
        ``unverified``: also photometry of which the map does not know whether it is corrected.
    extinction : Extinction, optional
        Galactic extinction in place of what the map states: other columns, or a map of dust.
    ab_offsets : bool
        Add the map's offsets between the catalogued and the AB system.
    depth : Depth, optional
        How deep the survey looked, in place of what its map says; for objects that the map calls not detected.
    keep : tuple or mapping
        Native columns to carry along: names (float64), or ``{name: {column, kind, unit, ...}}``.
    where : str, optional
        Condition on canonical or native columns; canonical ones win where a name is both.
    without : tuple of str
        What is left out though the map states it: ``z_spec``, ``class_true``, ``extendedness``, ``time``.
    hdu : int or str, optional
        HDU of FITS files, if they have several tables.
    table : int or str, optional
        Table of VOTables, if they have several.
    delimiter, decimal : str, optional
        Of text files; told from the header line and the first rows otherwise.

    Examples
    --------
    >>> source = Catalog(files="sdss.fits", survey="sdss-casjobs", bands=("g", "r"))
    >>> [f.name for f in source.fields() if f.name.startswith("flux")]
    ['flux_g', 'flux_err_g', 'flux_r', 'flux_err_r']
    """

    name: ClassVar[str] = "catalog"
    places: ClassVar[tuple[str, ...]] = ("files",)

    files: Annotated[str, Parameter(min_length=1)] | Annotated[tuple[str | File, ...], Parameter(min_length=1)]
    survey: Annotated[SurveyMap | str | None, BeforeValidator(_mapped)] = None
    photometry: str | dict[Literal["color", "total", "psf"], str] | None = None
    bands: tuple[Band, ...] | None = None
    deredden: bool | Literal["unverified"] = False
    extinction: Extinction | None = None
    ab_offsets: bool = False
    depth: Depths | None = None
    keep: tuple[str, ...] | dict[str, Kept] = ()
    without: tuple[Literal["z_spec", "class_true", "extendedness", "time"], ...] = ()
    hdu: int | str | None = None
    table: int | str | None = None
    delimiter: Annotated[str, Parameter(min_length=1, max_length=1)] | None = None
    decimal: Literal[".", ","] | None = None

    @model_validator(mode="after")
    def _fits_the_map(self) -> Catalog:
        """Check against the map whatever can be checked without a file; each problem at its key."""
        problems: list[tuple[tuple[str, ...], str, Any]] = []

        def check(key: str, action: Callable[[], Any]) -> bool:
            try:
                action()
            except (SurveyError, ExpressionError) as error:
                problems.append(((key,), str(error), getattr(self, key)))
                return False
            return True

        check("where", lambda: Expression.parse(self.where) if self.where is not None else None)
        if check("survey", lambda: load(self.survey) if isinstance(self.survey, str) else None):
            fits = check("bands", lambda: choose_bands(stated_map(self.survey, self.bands), self.bands))
            fits &= check("photometry", lambda: request(self.survey, self.photometry, self.bands if fits else None))
            key = "deredden" if self.deredden or self.extinction is None else "extinction"
            corrected = {"deredden": self.deredden, "extinction": self.extinction}
            if fits and check(key, lambda: self._requested(**corrected)):
                fits = check("depth", lambda: self._requested(depth=self.depth))
                check("keep", lambda: self._request if fits else None)
        if problems:
            raise all_located(problems)
        return self

    def _requested(self, **options: Any) -> Request:
        return request(self.survey, self.photometry, self.bands, **options)

    @cached_property
    def _request(self) -> Request:
        return self._requested(
            deredden=self.deredden,
            extinction=self.extinction,
            ab_offsets=self.ab_offsets,
            depth=self.depth,
            without=self.without,
            keep=self._kept(),
            split=any(entry.split for entry in self._entries()),
        )

    def _kept(self) -> tuple[tuple[str, Field], ...]:
        named = self.keep if isinstance(self.keep, dict) else {name: Kept() for name in self.keep}
        return tuple(
            (kept.column or name, Field(name=name, **kept.model_dump(exclude={"column"})))
            for name, kept in named.items()
        )

    def _entries(self) -> tuple[File, ...]:
        files = (self.files,) if isinstance(self.files, str) else self.files
        return tuple(File(path=f) if isinstance(f, str) else f for f in files)

    def fields(self) -> tuple[Field, ...]:
        """Canonical fields, then those kept, ``split`` if files name one, and ``flags``."""
        return self._request.fields

    def partitions(self, max_rows: int) -> Iterator[Partition]:
        """Cut every file into row ranges; a pattern's files come in the order of their names.

        Raises
        ------
        IngestError
            If a file is missing, no table, or lacks a needed column; or if a pattern matches nothing.
        """
        first = 0
        maps = self._maps()
        for number, (path, split) in enumerate(self._paths()):
            opened = self._open(path)
            self._references(opened, [f.name for f in self.fields()])
            for cut in opened.cuts(max_rows):
                payload = {
                    "path": path,
                    "start": cut.start,
                    "stop": cut.stop,
                    "place": list(cut.place),
                    "first": first + cut.start,
                    "split": split or "",
                }
                yield Partition(f"{number:05d}-{cut.start:012d}", cut.stop - cut.start, (path, *maps), payload)
            first += cut.stop

    def paths(self) -> tuple[str, ...]:
        """Files that are read, a pattern's in the order of their names, then the maps of the survey and the sky."""
        return (*(path for path, _ in self._paths()), *self._maps())

    def check_files(self, columns: Iterable[str]) -> None:
        """Open every file, headers only.

        Raises
        ------
        IngestError
            If one is missing, no table, or lacks what the columns need.
        """
        for path, _ in self._paths():
            self._references(self._open(path), columns)

    def _maps(self) -> tuple[str, ...]:
        """Files of the survey map, and of maps of the sky."""
        return (*((str(find(self.survey)),) if isinstance(self.survey, str) else ()), *self._request.files)

    def _paths(self) -> Iterator[tuple[str, str | None]]:
        seen: set[str] = set()
        for entry in self._entries():
            pattern = os.path.expanduser(entry.path)
            found = sorted(glob.glob(pattern)) if glob.has_magic(pattern) and not os.path.exists(pattern) else [pattern]
            if not found:
                raise IngestError(f"{entry.path}: no file matches")
            for path in found:
                if path in seen:
                    raise IngestError(f"{path}: is named twice in `files`")
                seen.add(path)
                yield path, entry.split

    def tally(self, chunk: QTable) -> dict[str, float]:
        """Count colors that tell a magnitude system."""
        from ..surveys.magnitude_system import tally

        return tally(chunk, self.fields())

    def judge(self, total: Mapping[str, float]) -> tuple[str, ...]:
        """Warn where colors say that the survey map names another magnitude system than the catalog has."""
        from ..surveys.magnitude_system import judge

        return judge(total)

    def _open(self, path: str) -> TableFile:
        from .formats import open_table
        from .tablefile import TableOptions

        options: TableOptions = TableOptions(self.hdu, self.table, self.delimiter, self.decimal)
        return open_table(path, options)

    def _references(self, opened: TableFile, columns: Iterable[str]) -> dict[str, tuple[str, int | None]]:
        """Where the native columns needed for canonical ones, and for ``where``, are in a file."""
        columns = set(columns)
        condition = Expression.parse(self.where).names if self.where else frozenset()
        canonical = {f.name for f in self.fields()}
        needed = self._request.natives(columns | (condition & canonical))
        needed |= dict.fromkeys(condition - canonical, True)
        found, lacking = {}, {}
        for reference, required in needed.items():
            try:
                found[reference] = locate(reference, opened.names)
            except SurveyError as error:
                lacking |= {reference: error} if required else {}
        if lacking:
            first, *others = lacking
            also = f"; nor {', '.join(map(repr, others))}" if others else ""
            advice = self._remedy(first) + half_fit(opened.names, self._request, found, self.survey)
            raise IngestError(f"{opened.what}: {lacking[first]}{also}{advice}")
        return found

    def _remedy(self, reference: str) -> str:
        """What to do about a band that the map knows and the file lacks."""
        channels = self._request.channels
        lost = [c.band for c in channels if reference in (*c.columns, c.flag)]
        rest = [b for b in self._request.bands if b not in lost]
        return f"; if the file has no {lost[0]} band, say bands: [{', '.join(rest)}]" if lost and rest else ""

    def read(self, partition: Partition, columns: Iterable[str]) -> QTable:
        """Read canonical columns of a partition, after ``where``."""
        import numpy as np

        from ..surveys.conversion import convert
        from ..surveys.tables import assemble
        from .tablefile import Cut

        payload = partition.payload
        opened = self._open(payload["path"])
        columns = list(columns)
        cut = Cut(payload["start"], payload["stop"], tuple(payload["place"]))
        n = cut.stop - cut.start
        references = self._references(opened, columns)
        try:
            natives = _read(opened, references, cut)
            extra = Expression.parse(self.where).names & {f.name for f in self.fields()} if self.where else frozenset()
            wanted = list(dict.fromkeys([*columns, *sorted(extra)]))
            made = convert(self._request, natives, n, wanted, payload["first"])
            made |= {"split": np.full(n, payload["split"])} if "split" in wanted else {}
            if self.where:
                bare = {name: natives[name].data for name in natives} | made
                chosen = Expression.parse(self.where).select(bare, n)
                made = {name: values[chosen] for name, values in made.items()}
        except SurveyError as error:
            raise IngestError(f"{opened.what}, rows {cut.start} to {cut.stop}: {error}") from None
        table = assemble({name: made[name] for name in columns}, self.fields())
        table.meta["rows_read"] = n
        return table


def _read(opened: TableFile, references: Mapping[str, tuple[str, int | None]], cut: Any) -> dict[str, Native]:
    """Read every column once, and take the elements out of vectors."""
    names = list(dict.fromkeys(name for name, _ in references.values()))
    columns = opened.read(names, cut) if names else {}
    return {reference: element(columns[name], reference, index) for reference, (name, index) in references.items()}
