"""Permutation importance: how much worse a model gets when one of its inputs is shuffled among the objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .card import Card

#: Rows that are looked at, and shufflings of each input.
ROWS, REPEATS = 1000, 5

Tensors = Mapping[str, np.ndarray]


def permutation_importance(
    tensors: Tensors,
    card: Card,
    loss: Callable[[Tensors, np.ndarray], np.ndarray],
    repeats: int = REPEATS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Mean increase of a loss when an input is permuted (Breiman 2001; Fisher, Rudin & Dominici 2019).

    A band is one input: its flux, error and masks move together. Inputs that say the same, such as neighbouring bands,
    share their importance.

    Parameters
    ----------
    tensors : mapping of numpy.ndarray
        Inputs of rows that the model was not trained on, as `astrokeras.models.tensors.encode` gives them; one row
        or more.
    card : Card
        Of the model.
    loss : callable
        Takes tensors, and for each of their rows the number of the row of ``tensors`` it stems from; gives a loss per
        row.
    repeats, seed : int
        Permutations per input, and seed of their random numbers.

    Returns
    -------
    list of dict
        One entry per input: its name ``input``, the mean ``increase`` of the loss, and the standard ``error`` of that
        mean over the rows.
    """
    n = len(tensors["flux"])
    rng = np.random.default_rng(seed)
    names = [*card.bands, *card.extras]
    copies = [np.arange(n)] + [rng.permutation(n) for _ in range(len(names) * repeats)]
    own = np.tile(np.arange(n), len(copies))
    changed = {}
    for tensor, values in tensors.items():
        stacked = values[own].copy()
        first = len(card.bands) if tensor.startswith("extra") else 0
        for column in range(values.shape[1]):
            for repeat in range(repeats):
                copy = 1 + (first + column) * repeats + repeat
                stacked[copy * n : (copy + 1) * n, column] = values[copies[copy], column]
        changed[tensor] = stacked
    losses = np.asarray(loss(changed, own), float).reshape(len(copies), n)
    increases = losses[1:].reshape(len(names), repeats, n).mean(axis=1) - losses[0]
    errors = increases.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else np.full(len(names), np.nan)
    return [
        {"input": name, "increase": float(mean), "error": float(error)}
        for name, mean, error in zip(names, increases.mean(axis=1), errors, strict=True)
    ]
