"""Rows to learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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
        Redshift, or number of the class, ``(rows,)``.
    weight : ndarray, optional
        Weight of each row in the loss, ``(rows,)``.
    """

    tensors: Tensors
    target: np.ndarray
    weight: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Examples:
        """Some of the rows."""
        weight = None if self.weight is None else self.weight[rows]
        return Examples({k: v[rows] for k, v in self.tensors.items()}, self.target[rows], weight)

    def __len__(self) -> int:
        return len(self.target)

    def digest(self) -> str:
        """Digest of all values."""
        total = hashlib.sha256()
        for name in sorted(self.tensors):
            total.update(np.ascontiguousarray(self.tensors[name]).tobytes())
        total.update(np.ascontiguousarray(self.target, np.float64).tobytes())
        if self.weight is not None:
            total.update(np.ascontiguousarray(self.weight, np.float64).tobytes())
        return total.hexdigest()
