"""From a table to a trained model: which rows have a say, and what of them goes into the card.

``stage`` is a `astrokeras.tasks.model_stage.ModelStage`, which imports this module.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..flags import Flag
from ..models.tensors import encode
from .examples import Examples
from .train_model import TRAINING_PARTS, facts_of, split_of, train_and_save

if TYPE_CHECKING:
    from astropy.table import Table


def targets_of(stage: Any, dataset: Table) -> np.ndarray:
    """Targets of all rows that may have a say in a model; needs a column ``split``."""
    from .. import chunk as border

    table = border.canonical(dataset)
    projected = border.project(table, stage.training_fields(), stage.name)
    used = stage.chosen(projected, table) & np.isin(table["split"], TRAINING_PARTS)
    target, good = stage.truth(projected, used)
    return target[good]


def fit(stage: Any, dataset: Table, directory: Path, on_epoch: Callable[[str], None] | None) -> None:
    """Train a model on a table and save it; see `ModelStage.fit`.

    Raises
    ------
    TrainingError
        If the rows cannot give a model.
    """
    from .. import chunk as border
    from ..models import backend
    from ..models.predict import set_threads

    set_threads(stage.train.threads)
    backend.start()
    table = border.canonical(dataset)
    projected = border.project(table, stage.training_fields(), stage.name)
    chosen = stage.chosen(projected, table)
    target, good = stage.truth(projected, chosen)
    target, good = _scattered(target, chosen), _scattered(good, chosen)
    part, group = split_of(table, projected, stage.input_names(), stage.train.seed)
    odd = stage.contradicted(target, good, group)
    known = good & np.isin(part, TRAINING_PARTS) & ~odd.rows
    card = stage.provisional(facts_of(projected), target[known & (part == "train")])
    tensors, flags = encode(projected, card)
    known &= (flags & Flag.NO_DATA) == 0
    facts = {
        **{name: table.meta.get(name, {}) for name in ("split", "source")},
        "where": table.meta.get("where", ""),
        "counts": {"unusable_target": int(np.count_nonzero(chosen & ~good)), "contradictory": int(odd.rows.sum())},
        "notes": odd.said(),
    }
    parts = {name: np.flatnonzero(known & (part == name)) for name in TRAINING_PARTS}
    beside = _standardised(stage.beside(projected), parts["train"])
    everything = Examples(tensors, target, group=group, beside=beside)
    train_and_save(stage.learner(card), everything, parts, directory, facts, on_epoch)


def _scattered(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Values of the chosen rows among all rows, the others 0 or False."""
    out = np.zeros((len(chosen), *values.shape[1:]), values.dtype)
    out[chosen] = values
    return out


def _standardised(beside: np.ndarray | None, train: np.ndarray) -> np.ndarray | None:
    """Auxiliary numbers with the mean 0 and the scatter 1 in the training rows, as far as they are known there."""
    if beside is None:
        return None
    known = np.ma.masked_invalid(beside[train].astype(float))
    scale = np.ma.filled(known.std(axis=0), 1.0)
    return (beside - np.ma.filled(known.mean(axis=0), 0.0)) / np.where(scale > 0, scale, 1.0)
