"""The three kinds of parts a pipeline is made of: Source, Stage (and Trainable), Output.

Each is a frozen pydantic model: its fields are its parameters, under the same names in Python, in YAML, in the JSON
schema and in the reference page. See ``docs/architecture.md`` for the contracts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from .errors import ChunkError
from .expression import Expression
from .fields import Field, by_name, select
from .flags import Flag

if TYPE_CHECKING:
    from astropy.table import QTable, Table


#: Rows that `Source.read_table` reads at once.
_ROWS = 262_144


class Configured(BaseModel):
    """A part with parameters: immutable, and a misspelt parameter is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: ClassVar[str]
    #: Part of every digest: raised when the result changes.
    version: ClassVar[int] = 1

    def inputs(self) -> tuple[str, ...]:
        """Files or directories read besides the rows (a survey map, a kernel); their digests count."""
        return ()

    def tally(self, chunk: QTable) -> dict[str, float]:
        """Count what is worth knowing of a whole run; the sums go to `findings`.

        Of a name in ``min_`` or ``max_`` the least or greatest is taken. A source gets the rows it has read, a stage
        the rows that it runs on.
        """
        return {}

    def findings(self, total: Mapping[str, float]) -> dict[str, Any]:
        """Facts (JSON values) for the record of a run and its products, from the sums of `tally`."""
        return {}

    def judge(self, total: Mapping[str, float]) -> tuple[str, ...]:
        """Sentences for the user; raise an AstrokerasError where the sums of `tally` cannot be right."""
        return ()


@dataclass(frozen=True)
class Partition:
    """A unit of work: rows of one source that one task takes through a segment.

    Attributes
    ----------
    key : str
        Unique in its source; sorting the keys gives the order of the rows.
    rows : int or None
        Expected number of rows before any ``where``, if cheap to know.
    files : tuple of str
        Files read; their digests count in the digest of the work.
    payload : mapping
        Whatever `Source.read` needs (JSON values only).
    """

    key: str
    rows: int | None = None
    files: tuple[str, ...] = ()
    payload: Mapping[str, Any] = field(default_factory=dict)


class Source(Configured):
    """Where rows come from."""

    #: Parameters that say where the rows lie, not what they are: the files read count by content.
    places: ClassVar[tuple[str, ...]] = ()

    where: str | None = None

    def fields(self) -> tuple[Field, ...]:
        """Fields that can be read, known without opening any data file."""
        raise NotImplementedError

    def partitions(self, max_rows: int) -> Iterable[Partition]:
        """Cut the source into partitions of at most ``max_rows`` rows."""
        raise NotImplementedError

    def read(self, partition: Partition, columns: Iterable[str]) -> QTable:
        """Read the named columns of a partition, after ``where``.

        ``meta["rows_read"]`` of the result holds the number of rows before ``where``.
        """
        raise NotImplementedError

    def read_table(self, columns: Iterable[str] | None = None) -> QTable:
        """Read all rows as one table: for use from Python, where they fit into memory.

        Parameters
        ----------
        columns : iterable of str, optional
            Names of columns; by default all of `fields`.
        """
        from .chunk import concatenate

        names = [field.name for field in self.fields()] if columns is None else list(columns)
        parts = [self.read(part, names) for part in self.partitions(_ROWS)]
        table = concatenate(parts)
        table.meta["rows_read"] = sum(part.meta["rows_read"] for part in parts)
        return table


class Stage(Configured):
    """A pure function of a chunk: adds columns, never drops or reorders rows."""

    id: str | None = None
    where: str | None = None
    checkpoint: bool = False

    def reads(self) -> tuple[Field, ...]:
        """Fields needed (an ``optional`` one may be absent)."""
        raise NotImplementedError

    def writes(self) -> tuple[Field, ...]:
        """Fields added. A ``flags`` Field means: bits to set."""
        raise NotImplementedError

    def accepts(self, available: tuple[Field, ...]) -> tuple[str, ...]:
        """Look at the fields before the stage; raise an AstrokerasError where they cannot serve (another filter).

        Returns
        -------
        tuple of str
            What the user should know (a band that is masked).
        """
        return ()

    def run(self, chunk: QTable) -> dict[str, Any]:
        """Return ``{column: values}`` for every field of `writes`.

        Parameters
        ----------
        chunk : QTable
            Exactly the declared columns, in the declared units. May have zero rows.
        """
        raise NotImplementedError

    def needs(self) -> tuple[Field, ...]:
        """Fields of `reads` and, as optional ones of any unit, the columns named in ``where``."""
        if self.where is None:
            return self.reads()
        known = by_name(self.reads())
        named = sorted(Expression.parse(self.where).names - set(known))
        return (*self.reads(), *(Field(name=n, optional=True) for n in named))

    def __call__(self, table: Table) -> Table:
        """Run on a table and return a new one of the same class with the columns of `writes` appended.

        Parameters
        ----------
        table : Table, QTable or pandas.DataFrame
            One row per object; needs the columns of `reads`, in any unit that converts.

        Raises
        ------
        ChunkError
            If a column is missing, has no or another kind of unit, or another shape.
        """
        from . import chunk as border

        taken = border.canonical(table)
        result = self._run_selected(border.project(taken, self.reads(), self.name), taken)
        return border.append(table, result, self.writes(), self.name)

    def _run_selected(self, projected: QTable, taken: QTable) -> dict[str, Any]:
        from . import chunk as border

        if self.where is None:
            return self.run(projected)
        chosen = self.chosen(projected, taken)
        part = self.run(projected[chosen])
        part = border.delivered(part, self.writes(), self.name, np.count_nonzero(chosen))
        return border.scatter(part, chosen, self.writes(), Flag.NOT_SELECTED)

    def tallied(self, table: Table) -> dict[str, float]:
        """Tally of the rows of a table that the stage runs on."""
        from . import chunk as border

        if type(self).tally is Configured.tally:
            return {}
        taken = border.canonical(table)
        projected = border.project(taken, self.reads(), self.name)
        return self.tally(projected[self.chosen(projected, taken)])

    def chosen(self, projected: QTable, taken: QTable) -> np.ndarray:
        """Rows selected by ``where``; columns that the stage reads count in its units, whatever the table has."""
        from . import chunk as border

        if self.where is None:
            return np.ones(len(taken), bool)
        return border.evaluate(self.where, dict(taken.items()) | dict(projected.items()), len(taken))


@dataclass(frozen=True)
class Product:
    """What an output is told when it closes.

    Attributes
    ----------
    path : Path
        Where the product goes; written beside it, then renamed.
    fields : tuple of Field
        Its columns, in order.
    provenance : mapping
        Facts of the run that do not depend on when, where and how fast it ran: pipeline name and digest, versions,
        stages with parameters, models with digests, counts, ``date`` (ISO, obeys SOURCE_DATE_EPOCH).
    quiet : bool
        Nothing is to be printed.
    """

    path: Path
    fields: tuple[Field, ...]
    provenance: Mapping[str, Any]
    quiet: bool = False


class Output(Configured):
    """A product: workers `write` pieces, one process calls `close` in partition order."""

    path: str
    columns: tuple[str, ...] | None = None
    where: str | None = None

    def reads(self, available: tuple[Field, ...]) -> tuple[Field, ...]:
        """Fields written, out of those available; by default all but stamps (cells of two or more dimensions).

        Raises
        ------
        ChunkError
            If a column is unknown, or cannot be written in this format.
        """
        if self.columns is None:
            return tuple(f for f in by_name(available).values() if len(f.shape) < 2)
        return select(self.columns, available, f"{self.name}.columns")

    def write(self, chunk: QTable, fields: tuple[Field, ...], piece: Path) -> dict[str, Any]:
        """Write the rows of one partition to the file ``piece`` and return facts (JSON values) for `close`."""
        raise NotImplementedError

    def close(self, pieces: list[tuple[Path, dict[str, Any]]], product: Product) -> None:
        """Make the product of the pieces, in order; atomic: nothing half-written remains.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        raise NotImplementedError


def require(condition: bool, message: str) -> None:
    """Raise ChunkError with ``message`` unless ``condition`` holds."""
    if not condition:
        raise ChunkError(message)
