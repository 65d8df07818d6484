"""Stage ``crossmatch``: columns of another catalog, of the object at the same place on the sky."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field as Parameter
from pydantic import model_validator

from ..errors import ChunkError, did_you_mean
from ..fields import DEC, FLAGS, RA, Field, by_name
from ..flags import Flag
from ..stage import Stage
from ..surveys.survey import all_located
from .catalog import Catalog
from .counterparts import Motion

if TYPE_CHECKING:
    import numpy as np
    from astropy.table import QTable, Table

    from .counterparts import Counterparts

#: Directions in which positions are shifted to count chance matches.
DIRECTIONS = 8


@dataclass(frozen=True)
class FalseMatches:
    """How many matches are accidents, from positions shifted off the objects.

    A chance match that lies nearer than a true one is not counted.

    Attributes
    ----------
    rows, matched : int
        Rows with a position, and those of them with a match.
    chance, chance_err : float
        Fraction of the shifted positions with a match, and its standard error over rows (sky clustering not counted).
    rate : float
        Fraction of the matches that are expected to be false, ``chance * (rows - matched) / (1 - chance) / matched``;
        NaN without matches, or where every shifted position has one.
    """

    rows: int
    matched: int
    chance: float
    chance_err: float
    rate: float


class Crossmatch(Stage):
    """Brings columns of another catalog, of the nearest object within a radius on the sky.

    Rows without a match keep missing values, and no row is dropped. ``match_sep`` is the distance in arcsec, missing
    where there is no match. A row with several objects of the catalog within the radius gets the nearest one, and the
    flag ``AMBIGUOUS_MATCH``.

    Parameters
    ----------
    catalog : Catalog
        The other catalog, with the parameters of the source ``catalog``; its ``where`` is the quality cut. Its survey
        map needs a ``position``, and no photometry.
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
        have a match: its mean over the rows is the probability of a chance match.

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

    catalog: Catalog
    radius: Annotated[float, Parameter(gt=0, le=3600)]
    bring: Annotated[tuple[str, ...], Parameter(min_length=1)] | Annotated[dict[str, str], Parameter(min_length=1)]
    prefix: Annotated[str, Parameter(pattern=r"^([A-Za-z]\w*)?$", max_length=32)] = ""
    motion: Motion | None = None
    offset: Annotated[float, Parameter(gt=0, le=600)] | None = None

    @model_validator(mode="after")
    def _fits_the_catalog(self) -> Crossmatch:
        """Check against the fields of the catalog, without opening it; each problem at its key."""
        have = by_name(self.catalog.fields())
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
            problems += [(("motion", key), text, None) for key, text in self._motion_faults(have).items()]
        if self.offset is not None and self.offset * 60 < 10 * self.radius:
            text = f"needs at least ten times the radius, {self.radius * 10 / 60:g} arcmin, to be off the objects"
            problems.append((("offset",), text, self.offset))
        if problems:
            raise all_located(problems)
        return self

    def _motion_faults(self, have: Mapping[str, Field]) -> dict[str, str]:
        from ..units import converts

        faults = {}
        for key in ("pm_ra", "pm_dec"):
            name = getattr(self.motion, key)
            if name not in have:
                faults[key] = f"the catalog has no {name!r}{did_you_mean(name, have)}; name it in its `keep`"
            elif not converts(have[name].unit, "mas/yr"):
                found = have[name].unit or "no unit"
                faults[key] = f"{name!r} of the catalog has {found}; say `keep: {{{name}: {{unit: mas/yr}}}}`"
        return faults

    def _brought(self) -> dict[str, str]:
        """Columns of the catalog by their new names."""
        named = self.bring if isinstance(self.bring, dict) else {name: name for name in self.bring}
        return {f"{self.prefix}{new}": old for new, old in named.items()}

    def inputs(self) -> tuple[str, ...]:
        """Files of the other catalog, and its survey map."""
        return self.catalog.paths()

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        if self.motion is None or self.motion.of == "catalog":
            return (RA, DEC)
        names = (self.motion.pm_ra, self.motion.pm_dec)
        return (RA, DEC, *(Field(name=n, kind="f8", unit="mas/yr", description="Proper motion") for n in names))

    @cached_property
    def _taken(self) -> tuple[Field, ...]:
        """Fields of the brought columns, under their new names."""
        have = by_name(self.catalog.fields())
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
        """Columns must be new; a survey map may well state a ``z_spec`` that its files lack."""
        for field in self.writes():
            if field.name != FLAGS.name and field.name in by_name(available):
                remedy = "use `prefix`, or give it another name: `bring: {new_name: name}`"
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
        import numpy as np

        from .. import chunk as border

        chunk = border.project(border.canonical(table), self.reads(), self.name)
        points = self._points(chunk)
        offset = offset or self.offset or max(2.0, self.radius / 6)
        known = np.isfinite(points).all(axis=1)
        chances = self._chance(chunk, offset)[known]
        n = len(chances)
        matched = int(np.count_nonzero(self._other().sky.nearest(points, self.radius).index >= 0))
        chance = float(chances.mean()) if n else float("nan")
        error = float(chances.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
        # Rows without a true counterpart are matched with probability `chance`: matched = true + chance (n - true).
        rate = chance * (n - matched) / (1 - chance) / matched if matched and chance < 1 else float("nan")
        return FalseMatches(n, matched, chance, error, rate)

    def _points(self, chunk: QTable) -> np.ndarray:
        from .skymatch import moved, unit_vectors

        ra, dec = chunk["ra"].value, chunk["dec"].value
        if self.motion is None or self.motion.of == "catalog":
            return unit_vectors(ra, dec)
        pm = (chunk[name].value for name in (self.motion.pm_ra, self.motion.pm_dec))
        return moved(ra, dec, *pm, self.motion.catalog_epoch - self.motion.epoch)

    def _chance(self, chunk: QTable, offset: float) -> np.ndarray:
        """Fraction of the directions in which a shifted position has a match; NaN without a position."""
        import numpy as np

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
        return counterparts(self.catalog, tuple(sorted(set(self._brought().values()))), motion)


def _bits(where: np.ndarray, flag: Flag) -> np.ndarray:
    return where.astype("int32") * int(flag)
