"""The rows that a stage is fitted on: of all partitions, as one table or one partition after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.table import QTable

from .chunk import concatenate
from .links import Link, load
from .split import Split, row_keys
from .stage import Stage
from .trainable import Trainable

#: Stages before the one to fit, on the way of a partition.
Before = Callable[[Link], Sequence[Stage]]


@dataclass(frozen=True)
class TrainingRows:
    """Rows to fit a stage on.

    Attributes
    ----------
    stage : Trainable
        To be fitted.
    links : sequence of Link
        Partitions.
    columns : callable
        Names of the columns to load of a partition.
    before : callable
        Stages before this one, for a partition. Those that give coordinates (`Trainable.basis`) are run again where
        there are folds: a training needs the coordinates of one model in all of its rows, and for a fold those of the
        model that has not seen the fold.
    meta : dict
        Of the tables.
    """

    stage: Trainable
    links: Sequence[Link]
    columns: Callable[[Link], Sequence[str]]
    before: Before
    meta: dict[str, Any] = field(default_factory=dict)

    def table(self, fold: int | None = None) -> QTable:
        """All rows, as the model of a fold is to see them, or that of all folds."""
        return concatenate([self._part(link, fold) for link in self.links])

    def narrow(self) -> tuple[QTable, np.ndarray]:
        """All rows without the vectors that the stage takes, and the keys of all of its inputs."""
        tables, keys = [], []
        inputs = {f.name for f in self.stage.reads()}
        for link in self.links:
            table = self._part(link, None)
            keys.append(row_keys([np.asarray(table[name]) for name in table.colnames if name in inputs]))
            table.keep_columns([name for name in table.colnames if table[name].ndim == 1 or name not in inputs])
            tables.append(table)
        return concatenate(tables), np.concatenate(keys)

    def parts(self, split: Split, chosen: np.ndarray, fold: int | None) -> Iterator[QTable]:
        """Chosen rows, partition by partition, with their part of the split."""
        start = 0
        for link in self.links:
            table = self._part(link, fold)
            mine = slice(start, start + len(table))
            start += len(table)
            table["split"] = split.part[mine]
            table.meta.update(self.meta)
            yield table[chosen[mine]]

    def redone(self) -> bool:
        """Whether the rows of a fold differ from those of another in more than which they are."""
        return any(self._bases(link) for link in self.links)

    def _bases(self, link: Link) -> list[Trainable]:
        return [s for s in self.before(link) if isinstance(s, Trainable) and s.basis and s.folds]

    def _part(self, link: Link, fold: int | None) -> QTable:
        bases, wanted = self._bases(link), list(dict.fromkeys(self.columns(link)))
        written = {f.name for basis in bases for f in basis.writes()} - {"flags"}
        stages = [basis.of_fold(fold) for basis in bases]
        there = link.columns() if stages else set()
        needed = [f.name for stage in stages for f in stage.needs() if f.name in there]
        out = load(link, [name for name in dict.fromkeys([*wanted, *needed]) if name not in written], final=True)
        for stage in stages:
            out = stage(out)
        out.keep_columns(wanted)
        return out
