"""Norms of the gradients during a training, epoch by epoch, on every backend of Keras.

Keras hands the gradients of every step to the optimizer, whatever the backend, so they are measured there, before the
optimizer clips them.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

#: Curves in a history: mean and largest norm of the gradient of all weights over the steps of an epoch, and mean norms
#: of the kernels of the first and of the last layer.
CURVES = ("gradient_norm", "gradient_norm_max", "gradient_norm_first", "gradient_norm_last")


class _Watch:
    """Mixed into an optimizer: sums the norms of the gradients it is given."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.norm_sums = self.add_variable(shape=(3,), dtype="float32", name="gradient_norm_sums")
        self.norm_max = self.add_variable(shape=(), dtype="float32", name="gradient_norm_max")
        self.norm_steps = self.add_variable(shape=(), dtype="float32", name="gradient_norm_steps")

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        squares = [None if g is None else ops.sum(ops.square(ops.cast(g, "float32"))) for g in grads]
        given = [square for square in squares if square is not None]
        kernels = [s for g, s in zip(grads, squares, strict=True) if s is not None and len(g.shape) > 1] or given
        norms = ops.sqrt(ops.stack([sum(given), kernels[0], kernels[-1]]))
        self.norm_sums.assign_add(norms)
        self.norm_max.assign(ops.maximum(ops.convert_to_tensor(self.norm_max), norms[0]))
        self.norm_steps.assign_add(1.0)
        return super().apply(grads, trainable_variables)


def watched(optimizer: keras.Optimizer) -> keras.Optimizer:
    """An optimizer that does the same and measures the gradients.

    Parameters
    ----------
    optimizer : keras.Optimizer
        Not used yet.
    """
    kind = type(f"Watched{type(optimizer).__name__}", (_Watch, type(optimizer)), {})
    return kind.from_config(optimizer.get_config())


class GradientCurves(keras.callbacks.Callback):
    """Adds the `CURVES` to the logs of every epoch, and so to its history; the optimizer is from `watched`."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the sums of the epoch."""
        optimizer = self.model.optimizer
        for variable in (optimizer.norm_sums, optimizer.norm_max, optimizer.norm_steps):
            variable.assign(np.zeros(variable.shape, "float32"))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Read the sums of the epoch."""
        optimizer = self.model.optimizer
        sums, largest, steps = (
            np.asarray(ops.convert_to_numpy(v)) for v in (optimizer.norm_sums, optimizer.norm_max, optimizer.norm_steps)
        )
        mean = sums / steps
        logs.update(zip(CURVES, (float(mean[0]), float(largest), float(mean[1]), float(mean[2])), strict=True))
