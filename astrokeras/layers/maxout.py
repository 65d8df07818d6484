"""The maxout unit, an activation that Keras lacks."""

import keras
from keras import ops

from .photometry import PACKAGE


@keras.saving.register_keras_serializable(package=PACKAGE)
class Maxout(keras.layers.Layer):
    """Largest of ``pieces`` neighbouring values: with a linear layer before it, a convex function learnt from the data.

    A dense layer of ``units * pieces`` outputs and this one are the maxout units of Goodfellow et al. (2013, ICML 28,
    1319): each unit is the maximum of ``pieces`` linear functions. It has no weights of its own.

    Parameters
    ----------
    pieces : int
        Linear functions per unit, at least 2.

    Raises
    ------
    ValueError
        When ``pieces`` is less than 2 or does not divide the size of the last axis.

    Notes
    -----
    Input ``(..., units * pieces)``, output ``(..., units)``: unit k is the maximum of the values from
    ``k * pieces`` up to ``(k + 1) * pieces``.
    """

    def __init__(self, pieces=2, **kwargs):
        super().__init__(**kwargs)
        if pieces < 2:
            raise ValueError(f"Maxout: pieces must be at least 2, got {pieces!r}")
        self.pieces = pieces

    def call(self, values):
        """Return the maxima."""
        units = self.compute_output_shape(values.shape)[-1]
        return ops.max(ops.reshape(values, (*ops.shape(values)[:-1], units, self.pieces)), axis=-1)

    def compute_output_shape(self, input_shape):
        """Shape with the last axis divided by ``pieces``."""
        units, rest = divmod(input_shape[-1], self.pieces)
        if rest:
            raise ValueError(f"Maxout: {self.pieces} pieces do not divide {input_shape[-1]} values")
        return (*input_shape[:-1], units)

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "pieces": self.pieces}
