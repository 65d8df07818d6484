"""Rows in batches, cut from arrays as a training asks for them, so that no second copy of all stamps is made."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


class _Batches(keras.utils.PyDataset):
    """Batches of tuples of arrays, or of mappings of arrays; with a seed in another order every epoch."""

    def __init__(self, given: tuple[Any, ...], size: int, seed: int | None):
        super().__init__()
        self.given, self.size, self.seed, self.epoch = given, size, seed, 0
        self.rows = len(given[1])
        self.order = np.arange(self.rows)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        rows = self.order[number * self.size : (number + 1) * self.size]
        # The mask of stamps is kept in bytes.
        inputs = {name: values[rows].astype(np.float32, copy=False) for name, values in self.given[0].items()}
        return (inputs, *(values[rows] for values in self.given[1:]))

    def on_epoch_end(self) -> None:
        """Shuffle."""
        if self.seed is not None:
            self.order = np.random.default_rng((self.seed, self.epoch)).permutation(self.rows)
            self.epoch += 1


def batches(given: tuple[Any, ...], size: int, seed: int | None = None) -> keras.utils.PyDataset:
    """Batches for ``keras.Model.fit``.

    Parameters
    ----------
    given : tuple
        A mapping of input arrays, the truth, and possibly weights.
    size : int
        Rows of a batch; the last one may have fewer.
    seed : int, optional
        Of the order of the rows, which changes from epoch to epoch; by default they stay in order.
    """
    return _Batches(given, size, seed)
