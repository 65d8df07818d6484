"""Layers of what morphology models tell besides classes: moments of numbers and of vote fractions."""

import keras
import numpy as np
from keras import ops

from .photometry import PACKAGE

#: Logarithms of concentrations and of standard errors stay within this range, so that no loss is infinite.
LOG_RANGE = 8.0
#: Smallest concentration of a Dirichlet distribution: with 1, no fraction is excluded (Walmsley et al. 2022).
FIRST_CONCENTRATION = 1.0


class Moments(keras.layers.Layer):
    """Base of the layers that give first and second moments of ``k`` numbers, ``(batch, 2 k)``.

    Moments of a mixture are means of those of its parts, so that orientations and members of an ensemble can be
    averaged; `MeanAndError` turns them into means and standard errors.
    """

    def call(self, outputs):
        """Return the moments: all first ones, then all second ones."""
        mean, variance = self.moments(outputs)
        return ops.concatenate([mean, variance + mean * mean], axis=-1)

    def moments(self, outputs):
        """Return means and variances, each ``(batch, k)``."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape):
        """Shape of the moments."""
        return (input_shape[0], 2 * self.count(input_shape[-1]))

    def count(self, width):
        """How many numbers ``width`` outputs of a network describe."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package=PACKAGE)
class NormalMoments(Moments):
    """Moments of a normal distribution from ``(batch, 2)``: mean and logarithm of the standard error, normalised.

    They are about the center of the number, which `MeanAndError` adds. Its scale is a weight that no training changes.
    """

    def set_scale(self, scale):
        """Set the scale.

        Raises
        ------
        ValueError
            Unless it is finite and above 0.
        """
        if not (np.isfinite(scale) and scale > 0):
            raise ValueError(f"NormalMoments: the scale must be finite and above 0, got {scale!r}")
        self.scale.assign(scale)

    def build(self, input_shape):
        """Create the scale, 1 until it is set."""
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones", trainable=False)

    def moments(self, outputs):
        """See `Moments.moments`."""
        log_sigma = ops.clip(outputs[:, 1:], -LOG_RANGE, LOG_RANGE)
        return self.scale * outputs[:, :1], self.scale**2 * ops.exp(2 * log_sigma)

    def count(self, width):
        """See `Moments.count`."""
        return 1


@keras.saving.register_keras_serializable(package=PACKAGE)
class LevelMoments(Moments):
    """Moments of a number that has one of several levels, from logits ``(batch, levels)``.

    Parameters
    ----------
    levels : sequence of float
        Values of the levels.
    """

    def __init__(self, levels, **kwargs):
        super().__init__(**kwargs)
        self.levels = [float(level) for level in levels]

    def moments(self, outputs):
        """See `Moments.moments`."""
        p, levels = ops.softmax(outputs, axis=-1), ops.convert_to_tensor(np.array(self.levels, "float32"))
        mean = ops.sum(p * levels, axis=-1, keepdims=True)
        return mean, ops.sum(p * (levels - mean) ** 2, axis=-1, keepdims=True)

    def count(self, width):
        """See `Moments.count`."""
        return 1

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "levels": self.levels}


@keras.saving.register_keras_serializable(package=PACKAGE)
class DirichletMoments(Moments):
    """Moments of the fractions of votes for each answer, from one output per answer.

    The fractions of each question follow a Dirichlet distribution of the concentrations `concentrations` gives
    (Walmsley et al. 2020, MNRAS 491, 1554; 2022, MNRAS 509, 3966).

    Parameters
    ----------
    sizes : sequence of int
        Number of answers of each question.
    """

    def __init__(self, sizes, **kwargs):
        super().__init__(**kwargs)
        self.sizes = [int(size) for size in sizes]

    def moments(self, outputs):
        """See `Moments.moments`."""
        means, variances = [], []
        for alpha in by_question(concentrations(outputs), self.sizes):
            total = ops.sum(alpha, axis=-1, keepdims=True)
            means.append(alpha / total)
            variances.append(means[-1] * (1 - means[-1]) / (total + 1))
        return ops.concatenate(means, axis=-1), ops.concatenate(variances, axis=-1)

    def count(self, width):
        """See `Moments.count`."""
        return width

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "sizes": self.sizes}


def concentrations(outputs):
    """Concentrations of a Dirichlet distribution, at least `FIRST_CONCENTRATION`, from outputs of a network."""
    return FIRST_CONCENTRATION + ops.exp(ops.clip(outputs, -LOG_RANGE, LOG_RANGE))


def by_question(values, sizes):
    """Columns of each question, one tensor after another."""
    ends = np.cumsum(sizes)
    return [values[:, end - size : end] for end, size in zip(ends, sizes, strict=True)]


@keras.saving.register_keras_serializable(package=PACKAGE)
class MeanAndError(keras.layers.Layer):
    """Means and standard errors ``[(batch, k), (batch, k)]`` from the moments ``(batch, 2 k)`` of `Moments`.

    The errors are multiplied by a factor, which rows set aside have shown, and a center is added to the means: moments
    are to be about it, for the square of a large mean leaves no digits to a small error. Both are weights that no
    training changes.
    """

    def build(self, input_shape):
        """Create factor and center, 1 and 0 until they are set."""
        self.factor = self.add_weight(name="factor", shape=(), initializer="ones", trainable=False)
        self.center = self.add_weight(name="center", shape=(), initializer="zeros", trainable=False)

    def set_center(self, center):
        """Set the center.

        Raises
        ------
        ValueError
            Unless it is finite.
        """
        if not np.isfinite(center):
            raise ValueError(f"MeanAndError: the center must be finite, got {center!r}")
        self.center.assign(center)

    def set_factor(self, factor):
        """Set the factor of the errors.

        Raises
        ------
        ValueError
            Unless it is finite and above 0.
        """
        if not (np.isfinite(factor) and factor > 0):
            raise ValueError(f"MeanAndError: the factor must be finite and above 0, got {factor!r}")
        self.factor.assign(factor)

    def call(self, moments):
        """Return means and errors."""
        k = moments.shape[-1] // 2
        mean, square = moments[:, :k], moments[:, k:]
        return [self.center + mean, self.factor * ops.sqrt(ops.maximum(square - mean * mean, 1e-12))]

    def compute_output_shape(self, input_shape):
        """Shapes of means and errors."""
        shape = (input_shape[0], input_shape[-1] // 2)
        return [shape, shape]
