"""Links: where the rows of a partition are, from the source through all parts made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.table import QTable

from .chunk import append, as_column
from .errors import StoreError
from .fields import FLAGS, FOLD, Field
from .flags import Flag
from .identifiers import id_hashes
from .stage import Partition, Source
from .store import read_part, receipt

TEXT = Field(name="text", kind="str")


@dataclass(frozen=True)
class Link:
    """A partition on its way.

    Attributes
    ----------
    source : Source
        Where it came from.
    partition : Partition
        Which rows.
    field : str or None
        Field of the fan-out.
    number : int
        Place in the order of all partitions of the run.
    digest : str
        Digest of the latest part (or of the source's rows).
    parts : tuple of Path
        Parts made so far, latest last.
    split, fold : Path or None
        Arrays with the part of the split of each row, and with its fold.
    repeated : Path or None
        Array of the keys of object ids that occur more than once in the run.
    """

    source: Source
    partition: Partition
    field: str | None
    number: int
    digest: str
    parts: tuple[Path, ...] = ()
    split: Path | None = None
    fold: Path | None = None
    repeated: Path | None = None

    def with_part(self, part: Path, digest: str) -> Link:
        """Link that goes on from a new part."""
        return replace(self, parts=(*self.parts, part), digest=digest)

    def columns(self) -> set[str]:
        """Names of all columns that `load` finds."""
        found = {f.name for f in self.source.fields()} | {"flags"}
        found |= {f["name"] for part in self.parts for f in receipt(part)["fields"]}
        return found | set(self.own())

    def own(self) -> dict[str, Path | str]:
        """Columns that the link has itself: a value for all rows, or the file of an array."""
        mine = {"field": self.field, "split": self.split, "fold": self.fold}
        return {name: value for name, value in mine.items() if value is not None}

    def name(self) -> str:
        """Name for people."""
        return f"{self.field}/{self.partition.key}" if self.field else self.partition.key


def load(link: Link, columns: Iterable[str], final: bool = False) -> QTable:
    """Read columns of a partition, each from the latest part that has it, else from the source.

    Parameters
    ----------
    columns : iterable of str
        What to read; ``field``, ``split`` and ``fold`` come from the link.
    final : bool
        Set the flag DUPLICATE_ID (it is known only when all identifiers were seen).

    Raises
    ------
    StoreError
        If source and parts disagree on the number of rows.
    """
    wanted, own = list(dict.fromkeys(columns)), link.own()
    stored = [n for n in wanted if n not in own and n != "field"]
    marks = final and "flags" in stored and link.repeated is not None
    out = _gather(link, [*stored, "object_id"] if marks and "object_id" not in stored else stored)
    for name, value in own.items():
        if name in wanted:
            array = np.load(value) if isinstance(value, Path) else np.full(_rows(link, out), value)
            out[name] = as_column(array, FOLD if name == "fold" else TEXT)
    if marks:
        repeated = np.isin(id_hashes(np.asarray(out["object_id"])), np.load(link.repeated))
        bits = np.where(repeated, np.int32(Flag.DUPLICATE_ID), np.int32(0)).astype(np.int32)
        out = append(out, {"flags": bits}, [FLAGS], "identity")
    # table[[names]] would make a reference cycle, and the chunk outlive its use until the garbage collector runs.
    out.keep_columns(wanted)
    return out


def _rows(link: Link, out: QTable) -> int:
    return receipt(link.parts[-1])["rows"] if link.parts else len(out)


def _gather(link: Link, columns: list[str]) -> QTable:
    pieces, left = [], list(columns)
    for part in reversed(link.parts):
        have = {f["name"] for f in receipt(part)["fields"]}
        found = [n for n in left if n in have]
        if found:
            pieces.append(read_part(part, found))
            left = [n for n in left if n not in have]
    if left or not pieces:
        pieces.append(_read_source(link, left))
    out = pieces[0]
    for more in pieces[1:]:
        _join(out, more, link)
    return out


def _read_source(link: Link, columns: Iterable[str]) -> QTable:
    """Read columns from the source; ``flags`` are zero where the source has none."""
    names = list(columns)
    known = {f.name for f in link.source.fields()}
    chunk = link.source.read(link.partition, [n for n in names if n in known])
    if "flags" in names and "flags" not in known:
        chunk["flags"] = as_column(np.zeros(len(chunk), np.int32), FLAGS)
    return chunk


def _join(out: QTable, more: QTable, link: Link) -> None:
    if len(out) != len(more):
        raise StoreError(f"partition {link.name()}: its source has changed since the stored parts were made")
    for name in more.colnames:
        out[name] = more[name]
