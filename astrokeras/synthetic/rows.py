"""What the sources of simulated objects have in common: bands of a survey, rows that are made and then selected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from ..errors import did_you_mean
from ..expression import Expression
from ..fields import by_name, select
from ..stage import Source
from .systems import SYSTEMS

if TYPE_CHECKING:
    import numpy as np
    from astropy.table import QTable


def bands_of_system(bands: Iterable[str], system: str) -> tuple[str, ...]:
    """Bands, each of the system and named once.

    Raises
    ------
    ValueError
        If one is unknown or named twice.
    """
    bands, known = tuple(bands), SYSTEMS[system].filters
    for band in bands:
        if band not in known:
            raise ValueError(f"{system} has no band {band!r}{did_you_mean(band, known)}")
    if len(set(bands)) < len(bands):
        raise ValueError(f"a band is named twice in {list(bands)}")
    return bands


def selected(
    source: Source, columns: Iterable[str], n: int, make: Callable[[set[str]], Mapping[str, np.ndarray]]
) -> QTable:
    """Columns of a source after its ``where``, as `Source.read` returns them.

    Selections are made on plain arrays: a table that was indexed refers to itself, and its memory stays until the
    garbage collector comes by.

    Parameters
    ----------
    n : int
        Rows before the selection.
    make : callable
        Gives the arrays of columns by name.

    Raises
    ------
    ChunkError
        If a column is unknown.
    """
    from astropy.table import QTable

    from ..chunk import as_column

    known = by_name(source.fields())
    chosen = [field.name for field in select(columns, known.values(), source.name)]
    condition = Expression.parse(source.where) if source.where else None
    made = make({*chosen, *(condition.names if condition else ())})
    if condition:
        rows = condition.select(made, n)
        made = {name: values[rows] for name, values in made.items()}
    return QTable({name: as_column(made[name], known[name]) for name in chosen}, meta={"rows_read": n}, copy=False)
