"""What a catalog says of objects that are known by name."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..errors import IngestError

if TYPE_CHECKING:
    from astropy.table import QTable

    from .catalog import Catalog

#: Rows that are looked for at a time; the catalog is held in memory.
_ROWS = 2**31


class _Reading:
    """A catalog in the state of its files; in comparisons its JSON stands for it: its mappings have no hash."""

    def __init__(self, catalog: Catalog):
        self.catalog = catalog
        facts = tuple((path, os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in catalog.paths())
        self._key = catalog.model_dump_json(), facts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reading) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)


def label_table(catalog: Catalog) -> tuple[QTable, dict[str, int]]:
    """Rows of a catalog, and which row is that of a name; read once per process, and again when a file changes.

    Raises
    ------
    IngestError
        If a file cannot be read, or a name occurs twice.
    """
    try:
        return _read(_Reading(catalog))
    except OSError as error:
        raise IngestError(f"{error.filename}: {error.strerror}") from None


@lru_cache(maxsize=4)
def _read(reading: _Reading) -> tuple[QTable, dict[str, int]]:
    from ..chunk import concatenate

    catalog = reading.catalog
    fields = [field.name for field in catalog.fields()]
    table = concatenate([catalog.read(part, fields) for part in catalog.partitions(_ROWS)])
    names = np.asarray(table["object_id"]).astype(str).tolist()
    places = {name: i for i, name in enumerate(names)}
    if len(places) < len(names):
        twice = next(name for i, name in enumerate(names) if places[name] != i)
        raise IngestError(f"{', '.join(catalog.paths())}: the labels name {twice!r} more than once")
    return table, places


def check_labels(catalog: Catalog, names: list[str]) -> None:
    """Refuse labels of which none is of a stamp.

    Raises
    ------
    IngestError
        With names from both sides.
    """
    _, places = label_table(catalog)
    if not any(name in places for name in names):
        there, here = (", ".join(map(repr, list(several)[:2])) for several in (places, names))
        raise IngestError(
            f"{', '.join(catalog.paths())}: none of {len(places)} labels ({there}, ...) is of one of the {len(names)} "
            f"stamps ({here}, ...); `object_id` of the survey map must be the name of the stamp"
        )
