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

    A band is one input: its flux, error and masks move together; so is a vector, and a stamp. Inputs that say the same,
    such as neighbouring bands, share their importance.

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
    n = len(next(iter(tensors.values())))
    rng = np.random.default_rng(seed)
    inputs = _places(tensors, card)
    orders = {name: [rng.permutation(n) for _ in range(repeats)] for name in inputs}
    everything = np.arange(n)
    before = np.asarray(loss(tensors, everything), float)
    found = []
    for name, places in inputs.items():
        losses = [np.asarray(loss(_shuffled(tensors, places, order), everything), float) for order in orders[name]]
        increase = np.mean(losses, axis=0) - before
        error = float(increase.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
        found.append({"input": name, "increase": float(increase.mean()), "error": error})
    return found


def _places(tensors: Tensors, card: Card) -> dict[str, dict[str, slice]]:
    """Columns of each tensor that belong to an input."""
    fluxes = [name for name in tensors if not name.startswith(("extra", "stamp"))]
    inputs = {band: dict.fromkeys(fluxes, slice(i, i + 1)) for i, band in enumerate(card.bands)}
    further = [name for name in tensors if name.startswith("extra")]
    inputs |= {name: dict.fromkeys(further, place) for name, place in card.extra_places.items()}
    if card.stamp:
        inputs[card.stamp.name] = dict.fromkeys(("stamp", "stamp_observed"), slice(None))
    return inputs


def _shuffled(tensors: Tensors, places: Mapping[str, slice], order: np.ndarray) -> dict[str, np.ndarray]:
    """Tensors with the columns of one input permuted; the others are shared."""
    changed = dict(tensors)
    for name, place in places.items():
        changed[name] = tensors[name].copy()
        changed[name][:, place] = tensors[name][order][:, place]
    return changed
