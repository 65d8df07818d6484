"""What a training leaves beside its model: the reading of its curves, and the importance of its inputs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models.diagnostics import Curves, diagnose
from ..models.importance import REPEATS, ROWS, permutation_importance
from .examples import Examples
from .learner import Learner

if TYPE_CHECKING:
    import keras

#: Rows on which the importance of inputs beside a stamp is measured, at most, and shufflings of each input.
STAMP_ROWS, STAMP_REPEATS = 64, 2

LOG = logging.getLogger("astrokeras")


def diagnosed(learner: Learner, model: keras.Model, histories: Sequence[Curves], validate: Examples) -> dict[str, Any]:
    """Content of ``diagnostics.json``; its warnings go into the log.

    Parameters
    ----------
    learner : Learner
        Of the task.
    model : keras.Model
        Finished.
    histories : sequence of mapping
        Curves of its members.
    validate : Examples
        Rows on which the importance of the inputs is measured, at most `ROWS` of them; may be none.
    """
    found = diagnose(histories)
    for text in found["warnings"]:
        LOG.warning("training: %s", text)
    stamp = learner.card.stamp is not None
    if not len(validate) or len(learner.card.inputs) == 1:
        return found
    rng = np.random.default_rng(learner.recipe.seed)
    rows = validate.take(np.sort(rng.permutation(len(validate))[: STAMP_ROWS if stamp else ROWS]))
    repeats = STAMP_REPEATS if stamp else REPEATS

    def loss(tensors: Mapping[str, np.ndarray], own: np.ndarray) -> np.ndarray:
        return learner.row_losses(model, Examples(tensors, rows.target[own]))

    importance = permutation_importance(rows.tensors, learner.card, loss, repeats, learner.recipe.seed)
    return found | {"importance": importance, "n": len(rows), "repeats": repeats}
