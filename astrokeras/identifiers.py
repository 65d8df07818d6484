"""Identifiers of objects as 64-bit keys, and those that occur more than once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .split import text_keys

#: Keys that are compared at once (8 bytes each).
RANGE = 1 << 22


def id_hashes(ids: np.ndarray) -> np.ndarray:
    """64-bit keys of identifiers; equal for equal ones. Integers are their own key."""
    return ids.astype(np.int64).view(np.uint64) if ids.dtype.kind in "iu" else text_keys(ids)


def duplicates(files: Iterable[Path]) -> np.ndarray:
    """Keys that occur more than once in all files of sorted keys together, sorted; memory stays bounded.

    Files are merged in ranges of about `RANGE` keys, one range at a time. A file is open only while it is read: a
    survey has more partitions than a process may have open files.
    """
    files = tuple(files)
    edges = _edges(files)
    found = []
    for k in range(len(edges) + 1):
        keys = np.sort(np.concatenate([np.empty(0, np.uint64), *(_between(file, edges, k) for file in files)]))
        found.append(np.unique(keys[1:][keys[1:] == keys[:-1]]))
    return np.concatenate(found)


def _edges(files: Iterable[Path]) -> np.ndarray:
    """Keys at which to cut, from a sample of every file."""
    sample, total = [np.empty(0, np.uint64)], 0
    for file in files:
        keys = np.load(file, mmap_mode="r")
        sample.append(np.array(keys[:: max(1, len(keys) // 64)]))
        total += len(keys)
    ordered = np.sort(np.concatenate(sample))
    count = min(-(-total // RANGE), len(ordered))
    return np.unique(ordered[[len(ordered) * i // count for i in range(1, count)]])


def _between(file: Path, edges: np.ndarray, k: int) -> np.ndarray:
    """Keys of a file from the edge before range ``k`` (included) to the one behind it."""
    keys = np.load(file, mmap_mode="r")
    cuts = [0, *np.searchsorted(keys, edges), len(keys)]
    return np.array(keys[cuts[k] : cuts[k + 1]])
