"""Predictions of training rows by networks that never saw them (cross-fitting): calibration without losing rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import TrainingError
from ..split import groups
from .examples import Examples, HeldOut, joined
from .learner import Learner
from .patches import patches
from .training import fit_members

if TYPE_CHECKING:
    import keras

#: Predictions of more rows are not needed, and would fill the memory.
MAX_ROWS = 100_000
MAX_ASIDE = 10_000
#: Seeds of the networks of different folds are this far apart.
_SEED_STEP = 1009


def held_out(learner: Learner, rows: Mapping[str, Examples], on_epoch: Callable[[str], None] | None = None) -> HeldOut:
    """Predict the training rows out of fold, and the rows set aside by the networks of all folds.

    One network per fold, trained as the members of the model are, on the other folds. Rows of one patch of sky stay in
    one fold, where flux errors tell patches apart: a calibration is for objects of other patches, and what the zero
    points of a patch do to redshifts shows only in patches that a network has not seen.

    Parameters
    ----------
    learner : Learner
        Of the task; ``learner.folds`` says how many.
    rows : mapping of Examples
        Parts ``train``, ``validate`` and ``calibrate``.
    on_epoch : callable, optional
        Called with a short note after every epoch.

    Raises
    ------
    TrainingError
        If the training rows are too few or too uneven for the folds.
    """
    train, aside = rows["train"], joined([rows["calibrate"], rows["validate"]])
    aside = aside.take(np.arange(min(len(aside), MAX_ASIDE)))
    patch = patches(train.tensors, learner.folds)
    fold = folds_of(train if patch is None else together(train, patch), learner.folds, learner.recipe.seed)
    kept = np.random.default_rng(learner.recipe.seed).random(len(train)) < MAX_ROWS / len(train)
    parts, predicted, beside = [], [], []
    for k in range(learner.folds):
        network = _without(learner, rows, fold != k, k, on_epoch)
        parts.append(train.take(np.flatnonzero((fold == k) & kept)))
        predicted.append(learner.before_calibration(network, parts[-1]))
        if len(aside):
            beside.append(learner.before_calibration(network, aside))
    count = 0 if patch is None else int(patch.max()) + 1
    return HeldOut(joined(parts), np.concatenate(predicted), aside, np.array(beside), count)


def together(train: Examples, patch: np.ndarray) -> Examples:
    """The rows, those of one patch in one group."""
    keys = [patch] if train.group is None else [patch, train.group]
    return replace(train, group=groups([key.astype(np.uint64) + np.uint64(1) for key in keys]))


def folds_of(train: Examples, folds: int, seed: int) -> np.ndarray:
    """Fold of each row, 0 to ``folds - 1``, of equal size but for groups, which stay together.

    Raises
    ------
    TrainingError
        If there are fewer groups than folds.
    """
    group = np.arange(len(train)) if train.group is None else np.unique(train.group, return_inverse=True)[1]
    count = int(group.max(initial=-1)) + 1
    if count < folds:
        raise TrainingError(f"train: {count} different training objects are too few for cross_fit: {folds}")
    return (np.random.default_rng(seed).permutation(count) % folds)[group]


def _without(
    learner: Learner,
    rows: Mapping[str, Examples],
    chosen: np.ndarray,
    number: int,
    on_epoch: Callable[[str], None] | None,
) -> keras.Model:
    """Uncalibrated network trained without one fold."""
    part = rows["train"].take(np.flatnonzero(chosen))
    unseen = ~part.tensors["observed"].any(axis=0) if learner.card.bands else np.zeros(0, bool)
    if unseen.any():
        bands = ", ".join(np.array(learner.card.bands)[unseen])
        raise TrainingError(
            f"train: all rows with data in {bands} are in one fold; more rows are needed, or cross_fit: 0"
        )
    seed = (learner.recipe.seed + _SEED_STEP * (number + 1)) % 2**31
    alone = replace(learner, recipe=learner.recipe.model_copy(update={"members": 1, "seed": seed}))
    try:
        alone.checked({**rows, "train": part})
    except TrainingError as error:
        raise TrainingError(f"{error} without fold {number + 1} of cross_fit; 0 does without folds") from None
    notes = None if on_epoch is None else lambda note: on_epoch(f"fold {number + 1}/{learner.folds}, {note}")
    members, _ = fit_members(alone, part, rows["validate"], notes)
    return alone.finish(members, {**rows, "train": part, "calibrate": part.take(np.arange(0))})[0]
