"""A few rows out of many, chosen the same way whatever the partitions: those with the highest scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..identifiers import id_hashes
from .atomic import replacing

#: Columns of the rows of one pick; ``score`` is among them.
Pick = dict[str, np.ndarray]
Picks = dict[str, Pick]


def lots(ids: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) drawn for each identifier, always the same for the same one, ``(rows,)``.

    The finalizer of SplitMix64 (Steele, Lea & Flood 2014) of `astrokeras.identifiers.id_hashes`.
    """
    x = id_hashes(ids)
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)) * 2.0**-53


def pick(columns: Mapping[str, np.ndarray], score: np.ndarray, lot: np.ndarray, count: int) -> Pick:
    """Rows of the ``count`` highest scores, highest first; of equal ones those of the highest lot.

    Parameters
    ----------
    columns : mapping of ndarray
        Columns, rows first.
    score, lot : ndarray
        ``(rows,)``; a row with a NaN score is not chosen.
    count : int
        Rows to choose.
    """
    good = np.flatnonzero(np.isfinite(score))
    rows = good[np.lexsort((lot[good], score[good]))[::-1][:count]]
    return {"score": score[rows], "lot": lot[rows], **{name: column[rows] for name, column in columns.items()}}


def merged(first: Pick | None, second: Pick, count: int) -> Pick:
    """The best rows of two picks."""
    if first is None:
        return second
    both = {name: np.concatenate([first[name], column]) for name, column in second.items()}
    score, lot = both.pop("score"), both.pop("lot")
    return pick(both, score, lot, count)


def save_picks(path: Path, picks: Picks) -> None:
    """Write picks into one file."""
    with replacing(path, sync=False) as stream:
        np.savez(stream, **{f"{name}/{column}": v for name, rows in picks.items() for column, v in rows.items()})


def load_picks(path: Path) -> Picks:
    """Read what `save_picks` wrote."""
    out: Picks = {}
    with np.load(path, allow_pickle=False) as stored:
        for key in stored.files:
            name, column = key.rsplit("/", 1)
            out.setdefault(name, {})[column] = stored[key]
    return out
