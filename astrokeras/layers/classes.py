"""Layers and the loss of class probabilities: training for rare classes, and what makes its result calibrated."""

import keras
import numpy as np
from keras import ops

from .photometry import PACKAGE

#: Smallest probability whose logarithm is taken: that of float32 softmax can be exactly 0.
FLOOR = 1e-12


def _positive(name, values, shape):
    """Array of finite numbers above 0, of the given shape."""
    values = np.asarray(values, dtype="float32")
    if values.shape != shape or not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError(f"{name}: needs {shape} finite numbers above 0, got {values.tolist()!r}")
    return values


class ProbabilityLayer(keras.layers.Layer):
    """Base of the layers that turn class probabilities ``(batch, classes)`` into others of the same shape."""

    def call(self, probability):
        """Return the changed probabilities; every row sums to 1."""
        return ops.softmax(self.changed(ops.log(ops.maximum(probability, FLOOR))), axis=-1)

    def changed(self, log_probability):
        """Return the changed logarithms, up to a constant per row."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape):
        """Shape of the probabilities: the same as of the input."""
        return input_shape


def _ratio(name, ratio, n_classes):
    """Class ratio, ``(n_classes,)``, normalised."""
    ratio = _positive(name, ratio, (n_classes,))
    return ratio / ratio.sum()


@keras.saving.register_keras_serializable(package=PACKAGE)
class LabelNoise(keras.layers.Layer):
    """Allows for objects whose photometry says nothing of their class: ``p' = (1 - rate) p + rate * ratio``.

    A blend, a bad measurement or a wrong label is such an object; their share is ``rate``, and their classes have the
    ratio of the training rows. `ClassLoss` takes the same for granted with its ``label_noise``. Rate and ratio are
    weights that no training changes.
    """

    def build(self, input_shape):
        """Create the rate, 0, and the ratio, uniform, until they are set."""
        n_classes = input_shape[-1]
        self.rate = self.add_weight(name="rate", shape=(), initializer="zeros", trainable=False)
        even = keras.initializers.Constant(1 / n_classes)
        self.ratio = self.add_weight(name="ratio", shape=(n_classes,), initializer=even, trainable=False)

    def set_noise(self, rate, ratio=None):
        """Set the rate and, if given, the ratio of the classes ``(classes,)``.

        Raises
        ------
        ValueError
            Unless the rate is in [0, 1) and the ratio has a number above 0 per class.
        """
        if not 0 <= rate < 1:
            raise ValueError(f"LabelNoise: rate must be at least 0 and below 1, got {rate!r}")
        if ratio is not None:
            self.ratio.assign(_ratio("LabelNoise", ratio, self.ratio.shape[0]))
        self.rate.assign(rate)

    def call(self, probability):
        """Return the changed probabilities; every row sums to 1."""
        return (1 - self.rate) * probability + self.rate * self.ratio

    def compute_output_shape(self, input_shape):
        """Shape of the probabilities: the same as of the input."""
        return input_shape


@keras.saving.register_keras_serializable(package=PACKAGE)
class PriorCorrection(ProbabilityLayer):
    """Multiplies probabilities by one factor per class, normalised again: ``p' ~ p * factor``.

    A network trained with class weights w, or on rows resampled by factors w, gives ``q ~ w p``; the factors 1/w give p
    back (Elkan 2001, IJCAI 17, 973). The factors are weights that no training changes.
    """

    def build(self, input_shape):
        """Create the factors, 1 until they are set."""
        self.factor = self.add_weight(name="factor", shape=(input_shape[-1],), initializer="ones", trainable=False)

    def set_factor(self, factor):
        """Set the factors, ``(classes,)``; only their ratios count.

        Raises
        ------
        ValueError
            Unless there is one number above 0 per class.
        """
        self.factor.assign(_positive("PriorCorrection", factor, tuple(self.factor.shape)))

    def changed(self, log_probability):
        """See `ProbabilityLayer.changed`."""
        return log_probability + ops.log(ops.convert_to_tensor(self.factor))


@keras.saving.register_keras_serializable(package=PACKAGE)
class TemperatureScaling(ProbabilityLayer):
    """Sharpens or softens class probabilities: ``p' ~ p^(1/T)`` (Guo et al. 2017, arXiv:1706.04599).

    The order of the classes of an object stays. T is a weight that no training changes.
    """

    def build(self, input_shape):
        """Create the temperature, 1 until it is set."""
        self.temperature = self.add_weight(name="temperature", shape=(), initializer="ones", trainable=False)

    def set_temperature(self, temperature):
        """Set T.

        Raises
        ------
        ValueError
            Unless the temperature is finite and above 0.
        """
        self.temperature.assign(_positive("TemperatureScaling", temperature, ()))

    def changed(self, log_probability):
        """See `ProbabilityLayer.changed`."""
        return log_probability / self.temperature


@keras.saving.register_keras_serializable(package=PACKAGE)
class VectorScaling(ProbabilityLayer):
    """One slope and one offset per class: ``p'_k ~ exp(a_k ln p_k + b_k)`` (Guo et al. 2017, arXiv:1706.04599).

    Slopes and offsets are weights that no training changes.
    """

    def build(self, input_shape):
        """Create slopes and offsets, 1 and 0 until they are set."""
        shape = (input_shape[-1],)
        self.slope = self.add_weight(name="slope", shape=shape, initializer="ones", trainable=False)
        self.offset = self.add_weight(name="offset", shape=shape, initializer="zeros", trainable=False)

    def set_scaling(self, slope, offset):
        """Set slopes and offsets, ``(classes,)`` each.

        Raises
        ------
        ValueError
            Unless slopes are above 0 and offsets finite, one per class.
        """
        slope = _positive("VectorScaling", slope, tuple(self.slope.shape))
        offset = np.asarray(offset, dtype="float32")
        if offset.shape != slope.shape or not np.isfinite(offset).all():
            raise ValueError(f"VectorScaling: needs {slope.shape} finite offsets, got {offset.tolist()!r}")
        self.slope.assign(slope)
        self.offset.assign(offset)

    def changed(self, log_probability):
        """See `ProbabilityLayer.changed`."""
        return log_probability * self.slope + self.offset


@keras.saving.register_keras_serializable(package=PACKAGE)
class ClassLoss(keras.losses.Loss):
    """Cross-entropy of classes, robust, optionally weighted by class, and focal.

    ``-w_y (1 - p_y)^focus ln p_y`` with the probability p_y that the network gives to the true class y, after
    ``p = (1 - label_noise) softmax + label_noise * class_ratio``: a network that had to explain every object would
    learn those by heart of which the photometry says nothing. That is a likelihood, of which `LabelNoise` is a part,
    and the loss of no object exceeds that of guessing by the ratio by more than ``-ln label_noise``. ``focus`` 0 and
    no weights is the ordinary cross-entropy, a proper score: its minimum is the true probability. With weights the
    minimum is ``~ w p`` (Elkan 2001), which `PriorCorrection` undoes. The focal loss (Lin et al. 2017,
    arXiv:1708.02002) is not proper: its probabilities are too cautious (Charoenphakdee et al. 2021, arXiv:2011.09172)
    and need a calibration.

    Parameters
    ----------
    class_weights : sequence of float, optional
        One number above 0 per class; by default all 1.
    focus : float
        Exponent of the focal loss, at least 0.
    label_noise : float
        Share of objects whose photometry says nothing of their class, from 0 up to but not including 1.
    class_ratio : sequence of float, optional
        Ratio of the classes of these objects; by default all are equally frequent.
    """

    def __init__(self, class_weights=None, focus=0.0, label_noise=0.0, class_ratio=None, name="class_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        if not focus >= 0:
            raise ValueError(f"ClassLoss: focus must be at least 0, got {focus!r}")
        if class_weights is not None:
            class_weights = _positive("ClassLoss", class_weights, (len(class_weights),)).tolist()
        if not 0 <= label_noise < 1:
            raise ValueError(f"ClassLoss: label_noise must be at least 0 and below 1, got {label_noise!r}")
        if class_ratio is not None:
            class_ratio = _ratio("ClassLoss", class_ratio, len(class_ratio)).tolist()
        self.class_weights = class_weights
        self.focus = focus
        self.label_noise = label_noise
        self.class_ratio = class_ratio

    def call(self, y_true, y_pred):
        """Return the loss per row; ``y_true`` is the number of the class, ``y_pred`` logits ``(batch, classes)``."""
        y_true = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        at_truth = ops.one_hot(y_true, y_pred.shape[-1], dtype=y_pred.dtype)
        log_p = ops.sum(ops.log_softmax(y_pred, axis=-1) * at_truth, axis=-1)
        if self.label_noise:
            ratio = self.class_ratio or [1 / y_pred.shape[-1]] * y_pred.shape[-1]
            chance = ops.sum(ops.convert_to_tensor(ratio, y_pred.dtype) * at_truth, axis=-1)
            log_p = ops.log((1 - self.label_noise) * ops.exp(log_p) + self.label_noise * chance)
        loss = -log_p
        if self.focus:
            loss = loss * (1 - ops.exp(log_p)) ** self.focus
        if self.class_weights is not None:
            loss = loss * ops.sum(ops.convert_to_tensor(self.class_weights, y_pred.dtype) * at_truth, axis=-1)
        return loss

    def get_config(self):
        """Configuration for saving."""
        names = ("class_weights", "focus", "label_noise", "class_ratio")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
