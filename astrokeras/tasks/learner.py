"""What a task adds to training: its network, its loss, what is fitted afterwards, and what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..fields import by_name
from ..models.card import Card, Metric
from .examples import Examples, HeldOut
from .recipe import Recipe

if TYPE_CHECKING:
    import keras

    from ..models.classical import Classical

#: What the numbers in a card were measured on.
MEASURED_ON = "validation rows, which also ended the training"


@dataclass(frozen=True)
class Learner:
    """Training of one task.

    Attributes
    ----------
    recipe : Recipe
        What the user asks for.
    card : Card
        Before training.
    """

    recipe: Recipe
    card: Card

    def member(self, encoder: keras.Model) -> keras.Model:
        """One network to train, from the inputs of ``encoder``."""
        raise NotImplementedError

    def loss(self, train: Examples) -> Any:
        """Make the Keras loss of a member."""
        raise NotImplementedError

    def truth(self, examples: Examples) -> np.ndarray:
        """Targets as the loss takes them."""
        return examples.target.astype(np.float32)

    def learnt_from(self, train: Examples) -> Examples:
        """Rows as the loop takes them."""
        return train

    def checked(self, rows: Mapping[str, Examples]) -> None:
        """Raise TrainingError if the rows cannot give a model of this task."""

    def finish(self, members: Sequence[keras.Model], rows: Mapping[str, Examples]) -> tuple[keras.Model, Card]:
        """Join the members and calibrate them on the rows ``calibrate``; what that gives may go into the card."""
        raise NotImplementedError

    @property
    def folds(self) -> int:
        """Folds of the training rows to calibrate with; 0 for none."""
        return 0

    def before_calibration(self, model: keras.Model, rows: Examples) -> np.ndarray:
        """What a model that is not calibrated says of some rows, ``(rows, ...)``, for `recalibrate`."""
        return outputs(model, rows, self.card.outputs[0].name)

    def recalibrate(self, model: keras.Model, card: Card, held: HeldOut) -> tuple[keras.Model, Card]:
        """Calibrate a finished model on predictions out of fold; needed where ``folds`` is not 0."""
        raise NotImplementedError

    def row_losses(self, model: keras.Model, examples: Examples) -> np.ndarray:
        """Negative log-likelihood of each row, ``(rows,)``."""
        raise NotImplementedError

    def wrapped(self, encoder: keras.Model, estimator: Any, rows: Mapping[str, Examples]) -> tuple[Classical, Card]:
        """As `finish`, of an estimator of scikit-learn that was fitted on what ``encoder`` gives."""
        raise NotImplementedError

    def metrics(self, model: keras.Model | Classical, validate: Examples) -> tuple[Metric, ...]:
        """Numbers of the validation rows, which also ended the training: a first look, not a score."""
        raise NotImplementedError

    @property
    def instruments(self) -> tuple[int, ...]:
        """Number of the instrument of each band, by its filter (``WISE/WISE`` of ``WISE/WISE.W1``); empty for one."""
        known = by_name(self.card.inputs)
        names = [(known[f"flux_{band}"].filter or "").split(".")[0] for band in self.card.bands]
        order = list(dict.fromkeys(names))
        return tuple(order.index(name) for name in names) if len(order) > 1 else ()

    def settings(self, names: Sequence[str]) -> dict[str, Any]:
        """Some entries of the recipe."""
        return {name: getattr(self.recipe, name) for name in names}


#: Entries of the recipe for what a training does to the photometry.
HIDING = ("band_dropout", "instrument_dropout", "error_jitter", "limit_rate")
#: Entries of the recipe that shape the trunk of every dense network.
TRUNK = ("width", "depth", "activation", "maxout_pieces", "initializer", "l1", "l2", "dropout", "batch_norm")


def outputs(model: keras.Model | Classical, examples: Examples, name: str) -> np.ndarray:
    """One output of a graph for all rows, in batches."""
    import keras

    tensors = examples.tensors
    batch = 32 if "stamp" in tensors else 4096
    starts = range(0, len(examples), batch)
    parts = [model({k: v[i : i + batch] for k, v in tensors.items()}, training=False)[name] for i in starts]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])
