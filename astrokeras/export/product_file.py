"""Products that exist already, read in chunks: VOTable, Parquet or FITS tables with canonical columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import IngestError, OutputError
from ..fields import Field, by_name
from .product_facts import facts_of_product

if TYPE_CHECKING:
    from astropy.table import QTable

    from ..surveys.columns import Native

_KINDS = {"f2": "f4", "f4": "f4", "f8": "f8", "i1": "i2", "i2": "i2", "i4": "i4", "i8": "i8"}
_KINDS |= {"u1": "i2", "u2": "i4", "u4": "i8", "b1": "bool"}
#: Rows that are looked at to know the columns, and bytes and rows that are read at once.
_FEW, _BYTES, _ROWS = 16, 64 * 2**20, 262_144


class ProductFile:
    """A product.

    Parameters
    ----------
    path : str
        VOTable, Parquet or FITS; other tables too, if their columns are named as ours.

    Attributes
    ----------
    provenance : dict of str
        What the product says of how it was made; empty if it says nothing.

    Raises
    ------
    IngestError
        If it cannot be read.
    OutputError
        If it has no column ``object_id``.
    """

    def __init__(self, path: str):
        from ..ingest.formats import open_table

        self.path = path
        self._table = open_table(path)
        self.provenance, self._facts = facts_of_product(self._table)
        if "object_id" not in self._table.names:
            names = ", ".join(self._table.names[:12])
            raise OutputError(f"{self._table.what}: has no column 'object_id' (have: {names})")

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """Columns, in order, without those of types or shapes that are not read."""
        first = next(self._table.cuts(_FEW))
        found = []
        for name in self._table.names:
            try:
                native = self._table.read([name], first)[name]
            except IngestError:
                continue
            field = self._field(name, native)
            found += [field] if field else []
        return tuple(found)

    def _field(self, name: str, native: Native) -> Field | None:
        data = self._shaped(name, native.data)
        kind = "str" if data.dtype.kind in "SUO" else _KINDS.get(data.dtype.str[1:])
        if kind is None or (kind == "str" and data.ndim > 1):
            return None
        facts = self._facts.get(name, {})
        meta = {k: v for k, v in facts.items() if isinstance(v, str | int | float) and k not in ("unit", "shape")}
        return Field(
            name=name,
            kind="id" if name == "object_id" else kind,
            unit="nJy" if name.startswith("flux_") and native.unit else native.unit,
            shape=data.shape[1:],
            meta={} if name == "flags" else meta,
        )

    def _shaped(self, name: str, data: np.ndarray) -> np.ndarray:
        """Cells of several dimensions, which Parquet has flat."""
        text = str(self._facts.get(name, {}).get("shape", ""))
        shape = tuple(int(n) for n in text.split(",") if n.isdigit())
        cells = math.prod(data.shape[1:])
        return data.reshape(len(data), *shape) if len(shape) > 1 and math.prod(shape) == cells else data

    def chunks(self, names: Iterable[str]) -> Iterator[QTable]:
        """All rows, some at a time."""
        from astropy.table import QTable

        from ..chunk import as_column, typed

        known = by_name(self.fields)
        chosen = [known[name] for name in dict.fromkeys(names)]
        rows = max(_FEW, min(_ROWS, _BYTES // max(1, sum(field.nbytes for field in chosen))))
        for cut in self._table.cuts(rows):
            read = self._table.read([field.name for field in chosen], cut)
            chunk = QTable()
            for field in chosen:
                native = read[field.name]
                array = typed(self._shaped(field.name, native.data), field, self._table.what)
                chunk[field.name] = as_column(array, field.model_copy(update={"unit": native.unit}))
            yield chunk

    @property
    def title(self) -> str:
        """Name of the pipeline that made it, or of the file."""
        return self.provenance.get("pipeline") or Path(self.path).stem
