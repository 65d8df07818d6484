"""The catalog that another one is matched with, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ..errors import IngestError
from ..stage import Source
from .file_states import state
from .motion import Motion
from .other_catalog import files_of
from .skymatch import Sky, moved, unit_vectors

#: Rows that are read at a time.
_ROWS = 262_144


@dataclass(frozen=True)
class Counterparts:
    """A catalog in memory.

    Attributes
    ----------
    sky : Sky
        Positions at the epoch of the match.
    columns : mapping of str to array
        Columns to bring, in the units of their Fields.
    """

    sky: Sky
    columns: Mapping[str, np.ndarray]


def counterparts(catalog: Source, columns: tuple[str, ...], motion: Motion | None) -> Counterparts:
    """Read a catalog: once per process, and again when its files change.

    Parameters
    ----------
    catalog : Source
        With ``ra`` and ``dec`` among its fields.
    columns : tuple of str
        Fields of it to bring.
    motion : Motion, optional
        If its positions are to be taken to another epoch.

    Raises
    ------
    IngestError
        If a file cannot be read, or no object has a position.
    """
    states = tuple(state(path) for path in files_of(catalog))
    return _read(_Reading(catalog.model_dump_json(), columns, motion, states, catalog))


@dataclass(frozen=True)
class _Reading:
    """What is to be read; ``text``, its JSON, stands for the catalog in comparisons: its mappings have no hash."""

    text: str
    columns: tuple[str, ...]
    motion: Motion | None
    states: tuple[tuple[str, int, int], ...]
    catalog: Source = field(compare=False)


@lru_cache(maxsize=2)
def _read(reading: _Reading) -> Counterparts:
    from ..chunk import concatenate, values

    catalog, motion = reading.catalog, reading.motion
    moving = motion.columns if motion is not None else ()
    names = list(dict.fromkeys(("ra", "dec", *moving, *reading.columns)))
    table = concatenate([catalog.read(part, names) for part in catalog.partitions(_ROWS)])
    ra, dec = (values(table[name], "deg", name) for name in ("ra", "dec"))
    if len(table) and not np.isfinite(ra + dec).any():
        files = ", ".join(path for path, *_ in reading.states) or catalog.name
        raise IngestError(f"{files}: no object has a position; a match needs them")
    if motion is None:
        points = unit_vectors(ra, dec)
    else:
        pm = (values(table[name], "mas/yr", name) for name in moving[:2])
        time = None if motion.time is None else values(table[motion.time], "d", motion.time)
        points = moved(ra, dec, *pm, motion.years(time))
    units = {f.name: f.unit for f in catalog.fields()}
    return Counterparts(Sky(points), {n: values(table[n], units[n], n) for n in reading.columns})
