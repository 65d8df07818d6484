"""Stage ``crossmatch``: columns of another catalog, of the object at the same place on the sky."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field as Parameter
from pydantic import model_validator

from ..errors import ChunkError, IngestError, did_you_mean
from ..fields import DEC, FLAGS, RA, Field, by_name
from ..flags import Flag
from ..stage import Stage
from ..surveys.request import LABELS
from ..surveys.survey import all_located
from .motion import Motion, faults
from .other_catalog import OtherCatalog, checked_files, source_of

if TYPE_CHECKING:
    import numpy as np
    from astropy.table import QTable, Table

    from ..stage import Source
    from .counterparts import Counterparts
    from .match_counts import FalseMatches


class Crossmatch(Stage):
    """Brings columns of another catalog, of the nearest object within a radius on the sky.

    Rows without a match keep missing values, and no row is dropped. ``match_sep`` is the distance in arcsec, missing
    where there is no match. A row with several objects of the catalog within the radius gets the nearest one, and the
    flag ``AMBIGUOUS_MATCH``.

    Parameters
    ----------
    catalog : Catalog
        The other catalog, with the parameters of the source ``catalog``; its ``where`` is the quality cut. Its survey
        map needs a ``position``, and no photometry. For trials also ``{synthetic: {...}}``.
    radius : float
        In arcsec, up to a degree.
    bring : tuple or mapping
        Columns of the catalog, canonical ones (``z_spec``) or kept ones (``keep``); ``{new name: name}`` renames.
    prefix : str
        Put before every column written, ``match_sep`` included.
    motion : Motion, optional
        Proper motion to a common epoch.
    offset : float, optional
        In arcmin. Also write ``match_chance``, the fraction of eight positions, at this distance around the row, that
        have a match: its mean over the rows is the probability of a chance match. It is counted in any case, by default
        at 2 arcmin, but at least at ten times the radius.
    if_none : str
        What it is if no row of a run has a match: ``error`` or ``warn``.

    Notes
    -----
    Each row is matched by itself, so two rows can get one and the same object (bring its identifier to find them), and
    the result does not depend on how the rows are cut into partitions. Repeated observations of one object in the
    catalog make its match ambiguous; cut them away, as in ``where: SPECPRIMARY == 1``. Proper motion is linear in
    space, without parallax and radial velocity.

    Examples
    --------
    >>> spectra = {"files": "spec.fits", "where": "ZWARNING == 0",
    ...            "survey": {"position": {"ra": "RA", "dec": "DEC"}, "z_spec": "Z"}}
    >>> stage = Crossmatch(catalog=spectra, radius=1.0, bring=["z_spec"])
    >>> [field.name for field in stage.writes()]
    ['z_spec', 'match_sep', 'flags']
    """

    name: ClassVar[str] = "crossmatch"

    catalog: OtherCatalog
    radius: Annotated[float, Parameter(gt=0, le=3600)]
    bring: Annotated[tuple[str, ...], Parameter(min_length=1)] | Annotated[dict[str, str], Parameter(min_length=1)]
    prefix: Annotated[str, Parameter(pattern=r"^([A-Za-z]\w*)?$", max_length=32)] = ""
    motion: Motion | None = None
    offset: Annotated[float, Parameter(gt=0, le=600)] | None = None
    if_none: Literal["error", "warn"] = "error"

    @property
    def _source(self) -> Source:
        return source_of(self.catalog)

    @model_validator(mode="after")
    def _fits_the_catalog(self) -> Crossmatch:
        """Check against the fields of the catalog, without opening it; each problem at its key."""
        have = by_name(self._source.fields())
        problems: list[tuple[tuple[str, ...], str, Any]] = []
        if RA.name not in have:
            problems.append((("catalog",), "its survey map states no `position`, which a match needs", None))
        for name in self._brought().values():
            if name not in have:
                problems.append((("bring",), f"the catalog has no {name!r}{did_you_mean(name, have)}", name))
        names = [*self._brought(), f"{self.prefix}match_sep", f"{self.prefix}match_chance"]
        for name in sorted({n for n in names if names.count(n) > 1} | ({FLAGS.name} & set(names))):
            problems.append((("bring",), f"cannot write a column {name!r}; give it another name", name))
        if self.motion is not None and self.motion.of == "catalog":
            problems += [(("motion", key), text, None) for key, text in faults(self.motion, have).items()]
        if self.offset is not None and self.offset * 60 < 10 * self.radius:
            text = f"needs at least ten times the radius, {self.radius * 10 / 60:g} arcmin, to be off the objects"
            problems.append((("offset",), text, self.offset))
        if problems:
            raise all_located(problems)
        return self

    def _brought(self) -> dict[str, str]:
        """Columns of the catalog by their new names."""
        named = self.bring if isinstance(self.bring, dict) else {name: name for name in self.bring}
        return {f"{self.prefix}{new}": old for new, old in named.items()}

    def inputs(self) -> tuple[str, ...]:
        """Files of the other catalog, opened and found to have what is needed, and its survey map."""
        return checked_files(self._source, (RA.name, DEC.name, *self._brought().values()))

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        if self.motion is None or self.motion.of == "catalog":
            return (RA, DEC)
        names = (self.motion.pm_ra, self.motion.pm_dec)
        motions = (Field(name=n, kind="f8", unit="mas/yr", description="Proper motion") for n in names)
        time = self.motion.time
        return (RA, DEC, *motions, *([Field(name=time, kind="f8", unit="d")] if time is not None else []))

    @cached_property
    def _taken(self) -> tuple[Field, ...]:
        """Fields of the brought columns, under their new names."""
        have = by_name(self._source.fields())
        out = []
        for new, old in self._brought().items():
            field = have[old]
            # The main identifier and position of this table are its own.
            said = {"ucd": field.ucd.removesuffix(";meta.main"), "optional": False}
            out.append(field.model_copy(update={"name": new, **said}))
        return tuple(out)

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        separation = Field(
            name=f"{self.prefix}match_sep",
            unit="arcsec",
            description="Distance of the matched object on the sky",
            ucd="pos.angDistance",
        )
        chance = Field(
            name=f"{self.prefix}match_chance",
            description="Fraction of shifted positions around the object that have a match",
            ucd="stat.probability",
        )
        return (*self._taken, separation, *([chance] if self.offset is not None else []), FLAGS)

    def accepts(self, available: tuple[Field, ...]) -> tuple[str, ...]:
        """Columns must be new; a survey map may well state a ``z_spec`` that its files lack. Times are MJD in days."""
        have = by_name(available)
        time = self.motion.time if self.motion is not None and self.motion.of == "rows" else None
        if time in have and have[time].unit != "d":
            raise ChunkError(f"{time!r} of the rows is no MJD in days; state it as `time` of their survey map")
        for field in self.writes():
            if field.name != FLAGS.name and field.name in have:
                remedy = "use `prefix`, or give it another name: `bring: {new_name: name}`"
                if field.name in LABELS:
                    remedy += (
                        f"; if the rows only seem to have it, leave it out of the source: `without: [{field.name}]`"
                    )
                raise ChunkError(f"the rows have a column {field.name!r} already; {remedy}")
        return ()

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`."""
        import numpy as np

        from ..chunk import missing

        other = self._other()
        points = self._points(chunk)
        near = other.sky.nearest(points, self.radius)
        matched = near.index >= 0
        out: dict[str, Any] = {}
        for field, old in zip(self._taken, self._brought().values(), strict=True):
            values = other.columns[old]
            out[field.name] = missing(field, len(chunk), values.dtype)
            out[field.name][matched] = values[near.index[matched]]
        out[f"{self.prefix}match_sep"] = near.separation
        if self.offset is not None:
            out[f"{self.prefix}match_chance"] = self._chance(chunk, self.offset)
        bad = ~np.isfinite(points).all(axis=1)
        out["flags"] = _bits(bad, Flag.BAD_POSITION) | _bits(near.several, Flag.AMBIGUOUS_MATCH)
        return out

    def false_match_rate(self, table: Table, offset: float | None = None) -> FalseMatches:
        """Estimate from shifted positions how many matches are accidents.

        Each row is put at ``offset`` arcmin in eight directions, where nothing of its own is, and matched again.

        Parameters
        ----------
        table : Table, QTable or pandas.DataFrame
            With the columns of `reads`; all rows, a ``where`` of the stage is not applied.
        offset : float, optional
            In arcmin; by default the stage's, or 2, but at least ten times the radius. Large against the clustering
            of objects, small against the footprint of the catalog: positions outside of it have no chance matches.

        Returns
        -------
        FalseMatches
        """
        from .. import chunk as border
        from .match_counts import FalseMatches

        chunk = border.project(border.canonical(table), self.reads(), self.name)
        return FalseMatches.of(self._tally(chunk, offset or self._offset))

    @property
    def _offset(self) -> float:
        """Distance of shifted positions in arcmin."""
        return self.offset or max(2.0, self.radius / 6)

    def tally(self, chunk: QTable) -> dict[str, float]:
        """See `Stage.tally`."""
        return self._tally(chunk, self._offset)

    def _tally(self, chunk: QTable, offset: float) -> dict[str, float]:
        from .match_counts import tally

        near = self._other().sky.nearest(self._points(chunk), self.radius)
        ra, dec = chunk["ra"].value, chunk["dec"].value
        return tally(ra, dec, near.separation, near.several, self._chance(chunk, offset))

    def findings(self, total: Mapping[str, float]) -> dict[str, Any]:
        """See `Stage.findings`."""
        from .match_counts import facts

        return facts(total, self._offset)

    def judge(self, total: Mapping[str, float]) -> tuple[str, ...]:
        """Counts in words, and warnings.

        Raises
        ------
        IngestError
            If there is no match at all, unless ``if_none`` is ``warn``.
        """
        from .match_counts import extent, footprint, verdict
        from .skymatch import angles

        if not total["rows"]:
            return ("warning: no row has a position, so that none was matched",)
        if total["matched"]:
            return verdict(total, self.radius, self._offset)
        ra, dec = angles(self._other().sky.points)
        text = (
            f"none of {int(total['rows'])} rows has a match within {self.radius:g} arcsec; the rows lie at "
            f"{footprint(total)}, the catalog ({len(ra)} objects) at {footprint(extent(ra, dec))}"
        )
        if self.if_none == "warn":
            return (f"warning: {text}",)
        raise IngestError(f"{text}; if that can be, say `if_none: warn`")

    def _points(self, chunk: QTable) -> np.ndarray:
        from .skymatch import moved, unit_vectors

        ra, dec = chunk["ra"].value, chunk["dec"].value
        if self.motion is None or self.motion.of == "catalog":
            return unit_vectors(ra, dec)
        pm_ra, pm_dec, *time = (chunk[name].value for name in self.motion.columns)
        return moved(ra, dec, pm_ra, pm_dec, self.motion.years(time[0] if time else None))

    def _chance(self, chunk: QTable, offset: float) -> np.ndarray:
        """Fraction of the directions in which a shifted position has a match; NaN without a position."""
        import numpy as np

        from .match_counts import DIRECTIONS
        from .skymatch import shifted

        sky = self._other().sky
        ra, dec = chunk["ra"].value, chunk["dec"].value
        total = np.where(np.isfinite(self._points(chunk)).all(axis=1), 0.0, np.nan)
        for k in range(DIRECTIONS):
            points = shifted(ra, dec, 60.0 * offset, 2.0 * np.pi * k / DIRECTIONS)
            total += sky.nearest(points, self.radius).index >= 0
        return total / DIRECTIONS

    def _other(self) -> Counterparts:
        from .counterparts import counterparts

        motion = self.motion if self.motion is not None and self.motion.of == "catalog" else None
        return counterparts(self._source, tuple(sorted(set(self._brought().values()))), motion)


def _bits(where: np.ndarray, flag: Flag) -> np.ndarray:
    return where.astype("int32") * int(flag)
