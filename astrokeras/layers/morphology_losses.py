"""Losses of what morphology models tell besides classes: numbers, attributes, votes; and of several targets at once."""

import keras
import numpy as np
from keras import ops

from .morphology import LOG_RANGE, by_question, concentrations
from .photometry import PACKAGE


@keras.saving.register_keras_serializable(package=PACKAGE)
class NormalLoss(keras.losses.Loss):
    """Negative log-likelihood of a normal distribution, weighted by its own ``sigma^(2 beta)``.

    With beta 0.5 (Seitzer et al. 2022, arXiv:2203.09168) objects with a large error still count for the mean; without,
    a network learns to call them uncertain instead.

    Parameters
    ----------
    center, scale : float
        The number is normalised with them; see `astrokeras.layers.NormalMoments` and `astrokeras.layers.MeanAndError`.
    beta : float
        From 0, the likelihood, to 1, nearly the mean square for the mean.
    """

    def __init__(self, center=0.0, scale=1.0, beta=0.5, name="normal_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.center, self.scale, self.beta = center, scale, beta

    def call(self, y_true, y_pred):
        """Return the loss per row; ``y_true`` is the number ``(batch, 1)``, ``y_pred`` ``(batch, 2)``."""
        log_sigma = ops.clip(y_pred[:, 1], -LOG_RANGE, LOG_RANGE)
        truth = (ops.cast(ops.reshape(y_true, (-1,)), y_pred.dtype) - self.center) / self.scale
        square = (truth - y_pred[:, 0]) ** 2
        weight = ops.stop_gradient(ops.exp(2 * self.beta * log_sigma))
        return weight * (log_sigma + 0.5 * square * ops.exp(-2 * log_sigma))

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "center": self.center, "scale": self.scale, "beta": self.beta}


@keras.saving.register_keras_serializable(package=PACKAGE)
class LevelLoss(keras.losses.Loss):
    """Loss of a number that has one of several levels: cross-entropy plus the ranked probability score.

    The score ``sum (C_i - H_i)^2 (l_(i+1) - l_i)`` (Epstein 1969) of cumulative probabilities C and those of the truth,
    H, knows that a neighbouring level is nearly right, the cross-entropy does not. A truth between two levels belongs
    to both, in proportion.

    Parameters
    ----------
    levels : sequence of float
        Values of the levels, rising.
    score_weight : float
        Of the score, in units of the whole range of levels.
    """

    def __init__(self, levels, score_weight=10.0, name="level_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.levels, self.score_weight = [float(level) for level in levels], score_weight

    def call(self, y_true, y_pred):
        """Return the loss per row; ``y_true`` is the number ``(batch, 1)``, ``y_pred`` logits ``(batch, levels)``."""
        levels = np.array(self.levels, "float32")
        steps = np.diff(levels)
        value = ops.cast(ops.reshape(y_true, (-1, 1)), y_pred.dtype)
        # Share of the truth below the end of each step.
        beyond = ops.clip((value - levels[:-1]) / steps, 0.0, 1.0)
        truth = ops.concatenate([ops.ones_like(value), beyond], axis=-1)
        truth = truth - ops.concatenate([beyond, ops.zeros_like(value)], axis=-1)
        log_p = ops.log_softmax(y_pred, axis=-1)
        below = ops.cumsum(ops.exp(log_p) - truth, axis=-1)[:, :-1]
        score = ops.sum(below**2 * steps, axis=-1) / float(levels[-1] - levels[0])
        return self.score_weight * score - ops.sum(truth * log_p, axis=-1)

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "levels": self.levels, "score_weight": self.score_weight}


@keras.saving.register_keras_serializable(package=PACKAGE)
class AttributeLoss(keras.losses.Loss):
    """Binary cross-entropy of attributes from 0 to 1, the mean over those that are known; NaN is undetermined."""

    def __init__(self, name="attribute_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        """Return the loss per row; ``y_true`` and the logits ``y_pred`` are ``(batch, attributes)``."""
        y_true = ops.cast(y_true, y_pred.dtype)
        known = ops.cast(y_true == y_true, y_pred.dtype)
        truth = ops.where(known > 0, y_true, ops.zeros_like(y_true))
        loss = ops.softplus(y_pred) - truth * y_pred
        return ops.sum(known * loss, axis=-1) / ops.maximum(ops.sum(known, axis=-1), 1.0)


@keras.saving.register_keras_serializable(package=PACKAGE)
class VoteLoss(keras.losses.Loss):
    """Negative log-likelihood of vote counts, Dirichlet-multinomial question by question.

    Of N volunteers who were asked a question, k_i gave answer i. With the concentrations alpha and their sum A,
    ``-ln P = ln B(A, N) + ln N - sum ln k_i + ln B(alpha_i, k_i)`` over the k_i above 0 (Walmsley et al. 2020). A
    question that nobody was asked says nothing, so that a decision tree needs no further rule.

    Parameters
    ----------
    sizes : sequence of int
        Number of answers of each question.
    """

    def __init__(self, sizes, name="vote_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.sizes = [int(size) for size in sizes]

    def call(self, y_true, y_pred):
        """Return the loss per row; ``y_true`` holds votes and ``y_pred`` outputs, ``(batch, answers)``."""
        votes, alpha = ops.cast(y_true, y_pred.dtype), concentrations(y_pred)
        pairs = zip(by_question(votes, self.sizes), by_question(alpha, self.sizes), strict=True)
        return sum(_dirichlet_multinomial(k, a) for k, a in pairs)

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "sizes": self.sizes}


def _dirichlet_multinomial(votes, alpha):
    """Negative log-likelihood of one question without what depends on the votes alone, ``(batch,)``."""
    total, all_alpha = ops.sum(votes, axis=-1), ops.sum(alpha, axis=-1)
    each = _log_gamma(votes + alpha) - _log_gamma(alpha)
    return _log_gamma(total + all_alpha) - _log_gamma(all_alpha) - ops.sum(each, axis=-1)


def _log_gamma(x):
    """Logarithm of the gamma function at x >= 1, by Stirling's series after a shift by 7 (Abramowitz & Stegun 6.1.40).

    ``keras.ops`` has none.
    """
    shifted = x + 7.0
    product = x
    for k in range(1, 7):
        product = product * (x + k)
    series = 1 / (12 * shifted) - 1 / (360 * shifted**3) + 1 / (1260 * shifted**5)
    return (shifted - 0.5) * ops.log(shifted) - shifted + 0.5 * float(np.log(2 * np.pi)) + series - ops.log(product)


@keras.saving.register_keras_serializable(package=PACKAGE)
class JointLoss(keras.losses.Loss):
    """Loss of a target and, beside it, of auxiliary numbers that a network learns along.

    Parameters
    ----------
    main : keras.losses.Loss
        Of the target.
    truths, outputs : int
        How many columns of truth and of output belong to it; the others are auxiliary.
    weight : float
        Of the mean square of the auxiliary numbers, over those that are known (not NaN).
    """

    def __init__(self, main, truths, outputs, weight=1.0, name="joint_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.main, self.truths, self.outputs, self.weight = main, truths, outputs, weight

    def call(self, y_true, y_pred):
        """Return the loss per row."""
        truth, found = ops.cast(y_true[:, self.truths :], y_pred.dtype), y_pred[:, self.outputs :]
        known = ops.cast(truth == truth, y_pred.dtype)
        square = known * (ops.where(known > 0, truth, ops.zeros_like(truth)) - found) ** 2
        aside = ops.sum(square, axis=-1) / ops.maximum(ops.sum(known, axis=-1), 1.0)
        return self.main.call(y_true[:, : self.truths], y_pred[:, : self.outputs]) + self.weight * aside

    def get_config(self):
        """Configuration for saving."""
        main = keras.saving.serialize_keras_object(self.main)
        own = {"main": main, "truths": self.truths, "outputs": self.outputs, "weight": self.weight}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config):
        """Make one of its configuration."""
        return cls(**{**config, "main": keras.saving.deserialize_keras_object(config["main"])})
