"""What every reader of a table file offers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..errors import IngestError
from ..surveys.columns import Native


@dataclass(frozen=True)
class TableOptions:
    """What a user says about his files: HDU, VOTable table, and how text is written."""

    hdu: int | str | None = None
    table: int | str | None = None
    delimiter: str | None = None
    decimal: str | None = None


@dataclass(frozen=True)
class Cut:
    """Rows ``start`` to ``stop`` of a file; ``place`` is what the reader needs to find them (JSON values)."""

    start: int
    stop: int
    place: tuple[int, ...] = ()


class TableFile:
    """A table in a file.

    Attributes
    ----------
    path : str
        The file.
    what : str
        File and part of it, for messages.
    names : tuple of str
        Columns.
    truncated : bool
        Whether the service that wrote it says that rows are lacking.
    """

    kind: ClassVar[str] = "table"
    truncated: bool = False

    def __init__(self, path: str, names: Sequence[str], part: str = ""):
        self.path = path
        self.what = f"{path}{f', {part}' if part else ''}"
        self.names = tuple(names)
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise IngestError(f"{self.what}: column {', '.join(twice)} occurs more than once; rename one")
        if not self.names:
            raise IngestError(f"{self.what}: the table has no columns")

    def cuts(self, max_rows: int) -> Iterator[Cut]:
        """Cut the rows into pieces of at most ``max_rows``; a table without rows gives one empty piece."""
        raise NotImplementedError

    def read(self, names: Sequence[str], cut: Cut) -> dict[str, Native]:
        """Read columns of some rows."""
        raise NotImplementedError


def even_cuts(rows: int, max_rows: int) -> Iterator[Cut]:
    """Pieces of ``max_rows`` rows and a rest."""
    for start in range(0, max(rows, 1), max_rows):
        yield Cut(start, min(start + max_rows, rows))
