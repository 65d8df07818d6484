"""Rows to learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Examples:
    """Rows to learn from: network inputs and the truth.

    Attributes
    ----------
    tensors : mapping of str to ndarray
        As `astrokeras.models.tensors.encode` gives them, rows first.
    target : ndarray
        Redshift, or number of the class, ``(rows,)``; several numbers of a morphology, ``(rows, k)``.
    weight : ndarray, optional
        Weight of each row in the loss, ``(rows,)``.
    group : ndarray of int, optional
        Rows of one group may be one object, ``(rows,)``.
    beside : ndarray, optional
        Numbers that a network learns along, ``(rows, k)``, NaN where unknown.
    """

    tensors: Tensors
    target: np.ndarray
    weight: np.ndarray | None = None
    group: np.ndarray | None = None
    beside: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Examples:
        """Some of the rows."""
        further = (None if values is None else values[rows] for values in (self.weight, self.group, self.beside))
        return Examples({k: v[rows] for k, v in self.tensors.items()}, self.target[rows], *further)

    def __len__(self) -> int:
        return len(self.target)

    def digest(self) -> str:
        """Digest of all values."""
        total = hashlib.sha256()
        for name in sorted(self.tensors):
            total.update(np.ascontiguousarray(self.tensors[name]).tobytes())
        total.update(np.ascontiguousarray(self.target, np.float64).tobytes())
        for values in (self.weight, self.beside):
            if values is not None:
                total.update(np.ascontiguousarray(values, np.float64).tobytes())
        return total.hexdigest()


@dataclass(frozen=True)
class HeldOut:
    """Predictions, before any calibration, of networks that never saw the rows.

    Attributes
    ----------
    examples : Examples
        Training rows.
    output : ndarray
        First output of the network that was trained without the row, ``(rows, ...)``.
    aside : Examples
        Rows that no network was trained on, the model neither.
    aside_output : ndarray
        First output of the networks of all folds, ``(folds, rows aside, ...)``.
    patches : int
        Patches of sky that were kept in one fold; 0 if the rows tell none apart.
    """

    examples: Examples
    output: np.ndarray
    aside: Examples
    aside_output: np.ndarray
    patches: int = 0


def joined(parts: Sequence[Examples]) -> Examples:
    """Rows of several parts, one after the other, without weights and groups."""
    names = parts[0].tensors
    tensors = {name: np.concatenate([part.tensors[name] for part in parts]) for name in names}
    return Examples(tensors, np.concatenate([part.target for part in parts]))
