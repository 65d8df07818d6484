"""Parquet: column pruning reaches the file, row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import IngestError
from ..surveys.columns import Native
from .arrow import native
from .tablefile import Cut, TableFile, TableOptions


class ParquetTable(TableFile):
    """A Parquet file; units are read from the field metadata ``unit``, where present."""

    kind = "Parquet"

    def __init__(self, path: str, options: TableOptions):
        try:
            self.metadata = pq.read_metadata(path)
            self.schema = self.metadata.schema.to_arrow_schema()
        except (pa.ArrowException, OSError) as error:
            raise IngestError(f"{path}: is a damaged Parquet file: {error}") from None
        super().__init__(path, self.schema.names)
        sizes = [self.metadata.row_group(i).num_rows for i in range(self.metadata.num_row_groups)]
        self.starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).tolist()
        self.rows = self.starts[-1]

    def cuts(self, max_rows: int) -> Iterator[Cut]:
        """Cut at row groups: large ones are divided, small ones put together."""
        begin = 0
        for start, stop in zip(self.starts, self.starts[1:], strict=False):
            if stop - begin <= max_rows:
                continue
            if start > begin:
                yield Cut(begin, start)
            begin = start
            while stop - begin > max_rows:
                yield Cut(begin, begin + max_rows)
                begin += max_rows
        if begin < self.rows or not self.rows:
            yield Cut(begin, self.rows)

    def read(self, names: Sequence[str], cut: Cut) -> dict[str, Native]:
        """Read columns of some rows."""
        groups = [
            i
            for i, (a, b) in enumerate(zip(self.starts, self.starts[1:], strict=False))
            if a < cut.stop and b > cut.start
        ]
        try:
            with pq.ParquetFile(self.path) as file:
                table = file.read_row_groups(groups, columns=list(names), use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise IngestError(f"{self.what}, rows {cut.start} to {cut.stop}: cannot be read: {error}") from None
        first = self.starts[groups[0]] if groups else 0
        table = table.slice(cut.start - first, cut.stop - cut.start)
        return {name: Native(native(table[name], f"{self.what}, column {name!r}"), self._unit(name)) for name in names}

    def _unit(self, name: str) -> str:
        return ((self.schema.field(name).metadata or {}).get(b"unit") or b"").decode()
