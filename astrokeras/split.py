"""Splitting by object: rows that may be one object stay on one side, which is settled before anything is fitted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from .errors import TrainingError

PARTS = ("train", "validate", "calibrate", "test")


@dataclass(frozen=True)
class Split:
    """Result of `assign`.

    Attributes
    ----------
    part : ndarray of str
        One of `PARTS` per row, or empty for a row that may not be used.
    group : ndarray of int
        Rows of one group are taken for one object.
    repeated : int
        Rows that share their group with an earlier one.
    withheld : int
        Rows set aside because their object is also in a fixed test part.
    fold : ndarray of int32 or None
        Fold of each row, from 0; -1 for test rows and for those that may not be used. None if there are no folds.
    """

    part: np.ndarray
    group: np.ndarray
    repeated: int
    withheld: int
    fold: np.ndarray | None = None

    def apart(self, k: int) -> np.ndarray:
        """Rows whose object has no row in fold ``k``: those that its model may see."""
        held = np.zeros(self.group.max(initial=-1) + 1, bool)
        held[self.group[self.fold == k]] = True
        return ~held[self.group]


def row_keys(columns: Iterable[np.ndarray]) -> np.ndarray:
    """Key (uint64) per row of several columns: equal rows, NaN included, have equal keys; rows of NaN have none (0)."""
    arrays = [np.asarray(c) for c in columns]
    empty = np.ones(len(arrays[0]), bool)
    total = np.zeros(len(arrays[0]), np.uint64)
    for array in arrays:
        bits, missing = _bits(array)
        empty &= missing
        total = _mix(total ^ _mix(bits + np.uint64(0x9E3779B97F4A7C15)))
    return np.where(empty, np.uint64(0), total | np.uint64(1))


def _bits(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint64 per row of a column, equal for equal cells, and which rows are missing."""
    if array.ndim > 1:
        keys = _cell_keys(array)
        return keys, keys == 0
    if array.dtype.kind == "f":
        # + 0.0 makes -0.0 equal to 0.0.
        bits = (np.where(np.isnan(array), np.nan, array).astype(np.float64) + 0.0).view(np.uint64)
        return bits, np.isnan(array)
    if array.dtype.kind in "iub":
        return array.astype(np.int64).view(np.uint64), np.zeros(len(array), bool)
    return text_keys(array), array.astype(str) == ""


def _cell_keys(array: np.ndarray) -> np.ndarray:
    """64-bit keys of cells that hold several numbers: the first 8 bytes of their blake2b; 0 where all are NaN."""
    known = ~np.isnan(array).reshape(len(array), -1).all(axis=1)
    # + 0.0 makes -0.0 equal to 0.0, and where all NaN alike.
    raw = (hashlib.blake2b(np.where(np.isnan(cell), np.nan, cell) + 0.0, digest_size=8).digest() for cell in array)
    return np.where(known, np.frombuffer(b"".join(raw), np.uint64) | np.uint64(1), np.uint64(0))


def text_keys(texts: np.ndarray) -> np.ndarray:
    """64-bit keys of texts: the first 8 bytes of their blake2b."""
    unique, inverse = np.unique(texts.astype(str), return_inverse=True)
    raw = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in unique)
    return np.frombuffer(raw, np.uint64)[inverse]


def _mix(x: np.ndarray) -> np.ndarray:
    """Finaliser of splitmix64 (Steele, Lea & Flood 2014): a bijection that scatters neighbouring keys."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def groups(keys: Iterable[np.ndarray]) -> np.ndarray:
    """Number the groups of rows that share any key (connected components; a key of 0 joins nothing).

    Parameters
    ----------
    keys : iterable of ndarray of uint64, shape (n,)
        For example of the identifier, of the photometry, of a user's group column.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    keys = [np.asarray(k) for k in keys]
    n = len(keys[0])
    rows, nodes, offset = [], [], n
    for key in keys:
        used = np.flatnonzero(key != 0)
        unique, inverse = np.unique(key[used], return_inverse=True)
        rows.append(used)
        nodes.append(inverse + offset)
        offset += len(unique)
    row, node = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(row), np.int8), (row, node)), shape=(offset, offset))
    return connected_components(graph, directed=False)[1][:n]


def assign(
    keys: Mapping[str, np.ndarray], fractions: Mapping[str, float], seed: int, fixed: np.ndarray | None = None
) -> Split:
    """Give every row its part.

    The part of a group follows from a hash of the seed and of the smallest first key in it, so that it depends neither
    on the order of the rows nor on what else is in the catalog.

    Parameters
    ----------
    keys : mapping of str to ndarray of uint64
        Keys of `row_keys`; the first one names the object.
    fractions : mapping
        Of `PARTS` but ``train``; what remains is for training.
    seed : int
        Of the hash.
    fixed : ndarray of str, optional
        Parts already given (from the files), empty where not.

    Raises
    ------
    TrainingError
        If a fraction is out of range or nothing is left for training.
    """
    wanted = [(part, float(fractions.get(part, 0.0))) for part in ("test", "validate", "calibrate")]
    if any(not 0 <= f < 1 for _, f in wanted) or sum(f for _, f in wanted) >= 1:
        raise TrainingError(f"split: fractions {dict(wanted)} must be in [0, 1) and leave something for training")
    group = groups(keys.values())
    part = _drawn(_names(keys.values()), group, wanted, seed)
    withheld = np.zeros(len(group), bool)
    if fixed is not None:
        part, withheld = _respect(part, group, np.asarray(fixed).astype(str))
    if len(part) and not np.any(part == "train"):
        raise TrainingError(f"split: no row of {len(part)} is left for training")
    repeated = len(group) - len(np.unique(group))
    return Split(part, group, repeated, int(withheld.sum()))


def _names(keys: Iterable[np.ndarray]) -> np.ndarray:
    """First key of each row that is one: rows without (0) would all be drawn alike."""
    first, *others = (np.asarray(key) for key in keys)
    for other in others:
        first = np.where(first == 0, other, first)
    return first


def _drawn(first: np.ndarray, group: np.ndarray, wanted: list[tuple[str, float]], seed: int) -> np.ndarray:
    uniform = _uniform(first, group, f"split {seed}")
    edges = np.cumsum([f for _, f in wanted])
    names = np.array([name for name, _ in wanted] + ["train"])
    return names[np.searchsorted(edges, uniform, side="right")]


def _uniform(first: np.ndarray, group: np.ndarray, salt: str) -> np.ndarray:
    """Number in [0, 1) per row, the same in a group: a hash of the smallest key in it."""
    smallest = np.full(group.max(initial=-1) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, group, first)
    bits = np.frombuffer(hashlib.sha256(salt.encode()).digest()[:8], np.uint64)
    return ((_mix(smallest ^ bits) >> np.uint64(11)).astype(np.float64) / 2.0**53)[group]


def divide(keys: Mapping[str, np.ndarray], split: Split, count: int, seed: int) -> Split:
    """Divide all but the test rows into folds, by the rule of `assign` and with a draw of its own.

    Parameters
    ----------
    keys : mapping of str to ndarray of uint64
        As for `assign`.
    split : Split
        Result of `assign`.
    count, seed : int
        Number of folds, and seed of the hash.

    Raises
    ------
    TrainingError
        If there are fewer objects than folds, or a fold is empty.
    """
    inside = (split.part != "test") & (split.part != "")
    objects = len(np.unique(split.group[inside]))
    if count > objects:
        raise TrainingError(f"split: {count} folds of {objects} objects; there must be an object for each fold")
    drawn = _uniform(_names(keys.values()), split.group, f"fold {seed}")
    fold = np.where(inside, np.minimum((drawn * count).astype(np.int32), count - 1), np.int32(-1)).astype(np.int32)
    empty = sorted(set(range(count)) - set(fold.tolist()))
    if empty:
        raise TrainingError(
            f"split: of {objects} objects none fell into fold {empty[0]} of {count}; take fewer folds or another seed"
        )
    return replace(split, fold=fold)


def _respect(part: np.ndarray, group: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fixed rows keep their part; other rows of an object with fixed test rows are withheld."""
    unknown = sorted(set(fixed.tolist()) - {*PARTS, ""})
    if unknown:
        raise TrainingError(f"split: {unknown[0]!r} is no part (allowed: {', '.join(PARTS)})")
    part = np.where(fixed != "", fixed, part)
    tested = np.zeros(group.max(initial=-1) + 1, bool)
    tested[group[fixed == "test"]] = True
    withheld = tested[group] & (part != "test")
    return np.where(withheld, "", part), withheld
