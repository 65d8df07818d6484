"""The other catalog of a match: a source, as a stage takes it for a parameter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Tag

from ..stage import Source
from ..synthetic.catalog import Synthetic
from .catalog import Catalog

#: Rows that are looked for at a time; files do not depend on it.
_ROWS = 2**31


class SyntheticCatalog(BaseModel):
    """A synthetic catalog in place of files.

    Parameters
    ----------
    synthetic : Synthetic
        Parameters of the source ``synthetic``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    synthetic: Synthetic


def _kind(value: Any) -> str:
    synthetic = "synthetic" in value if isinstance(value, dict) else isinstance(value, SyntheticCatalog)
    return "SyntheticCatalog" if synthetic else "Catalog"


OtherCatalog = Annotated[
    Annotated[Catalog, Tag("Catalog")] | Annotated[SyntheticCatalog, Tag("SyntheticCatalog")], Discriminator(_kind)
]


def source_of(catalog: Catalog | SyntheticCatalog) -> Source:
    """The source itself."""
    return catalog.synthetic if isinstance(catalog, SyntheticCatalog) else catalog


def checked_files(source: Source, columns: Iterable[str]) -> tuple[str, ...]:
    """Files that a source reads, once their headers were seen to have what the columns need.

    Raises
    ------
    IngestError
        If one is missing, no table, or lacks a needed column.
    """
    if isinstance(source, Catalog):
        source.check_files(columns)
    return files_of(source)


def files_of(source: Source) -> tuple[str, ...]:
    """Files that a source reads."""
    if isinstance(source, Catalog):
        return source.paths()
    return tuple(dict.fromkeys(path for part in source.partitions(_ROWS) for path in part.files))
