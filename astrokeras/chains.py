"""Chains: the stages of one field in one segment, and the tasks that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .fields import Field, by_name
from .links import Link
from .provenance import identity
from .stage import Stage
from .store import Store, digest, receipt
from .walk import needed
from .work import PartTask

#: Columns of every part.
ALWAYS = ("object_id", "flags")


@dataclass(frozen=True)
class Chain:
    """Stages that a partition goes through, looked at once for all partitions.

    Attributes
    ----------
    stages : tuple of (str, Stage)
        Where each stands in the pipeline file, and the stage.
    identities : tuple
        What decides the result of each (`astrokeras.provenance.identity`).
    reads : tuple of set of str
        Columns that each needs, to run or to be fitted.
    writes : tuple of tuple of Field
        Columns of each that are stored.
    passes : tuple of frozenset of str
        Columns of each, stored or not.
    keeps : frozenset of str
        Columns wanted after the segment.
    """

    stages: tuple[tuple[str, Stage], ...]
    identities: tuple[Any, ...]
    reads: tuple[set[str], ...]
    writes: tuple[tuple[Field, ...], ...]
    passes: tuple[frozenset[str], ...]
    keeps: frozenset[str]

    @classmethod
    def of(cls, stages: Iterable[tuple[str, Stage]], keeps: Iterable[str], digest_of: Callable[[str], str]) -> Chain:
        """Look at stages; ``digest_of`` gives digests of files."""
        stages, keeps = tuple(stages), frozenset(keeps)
        return cls(
            stages,
            tuple(identity(stage, digest_of) for _, stage in stages),
            tuple({f.name for f in needed(stage)} for _, stage in stages),
            # Stamps are large: they are stored only where something wants them.
            tuple(tuple(f for f in s.writes() if len(f.shape) < 2 or f.name in keeps) for _, s in stages),
            tuple(frozenset(f.name for f in s.writes()) for _, s in stages),
            keeps,
        )

    def task(self, link: Link, store: Store, known: Mapping[str, Field], forced: bool) -> tuple[PartTask | None, Link]:
        """Task of a partition (None: it is done), and its link behind the segment.

        Keys are folded stage by stage, so that a part does not depend on where the chain was cut: what an earlier run
        stored after some of the stages (``--to``, ``checkpoint``) is where this one goes on.

        Parameters
        ----------
        known : mapping of str to Field
            Fields of the source, at least.
        forced : bool
            Do it again, from the first stage on.
        """
        keys = [link.digest]
        for facts in self.identities:
            keys.append(digest([keys[-1], facts]))
        directory = store.part(keys[-1])
        behind = link.with_part(directory, keys[-1])
        done = self._done([store.part(key) for key in keys], forced)
        if done == len(self.stages):
            return None, behind
        passed = set() if link.parts else set(self.keeps)
        if done > 0:
            link = link.with_part(store.part(keys[done]), keys[done])
        return self._task(link, max(done, 0), passed, known, directory), behind

    def _done(self, parts: Sequence[Path], forced: bool) -> int:
        """Number of stages whose result is stored; -1 if not even the rows of the source are."""
        if forced:
            return -1
        for k in range(len(self.stages), -1, -1):
            made = receipt(parts[k]) if k or not self.stages else None
            have = {f["name"] for f in made["fields"]} if made else set()
            wanted = {f.name for writes in self.writes[:k] for f in writes}
            # Stamps that nothing wanted were not stored; the stages that are left may want them now.
            wanted |= set().union(*self.passes[:k]) & set().union(*self.reads[k:])
            if made and wanted <= have:
                return k
        return -1

    def _task(self, link: Link, done: int, passed: set[str], known: Mapping[str, Field], directory: Path) -> PartTask:
        before, after = (by_name(f for writes in part for f in writes) for part in _cut(self.writes, done))
        read = set().union(*self.reads[done:]) - set(after)
        columns = [*ALWAYS, *sorted(((read | passed | set(before)) & link.columns()) - set(ALWAYS))]
        stored = {n: known[n] for n in columns if n in passed and n in known} | before | after
        return PartTask(link, self.stages[done:], tuple(columns), tuple(stored.values()), directory)


def _cut(writes: Sequence[Any], k: int) -> tuple[Sequence[Any], Sequence[Any]]:
    return writes[:k], writes[k:]
