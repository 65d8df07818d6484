"""Networks of classes: the probability of each class of an object from its photometry."""

from dataclasses import dataclass

import keras
import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from ..layers import PriorCorrection, TemperatureScaling, VectorScaling
from ..layers.classes import FLOOR
from .dense import dense_trunk
from .encoder import seen_in_training

CALIBRATIONS = {"temperature": TemperatureScaling, "vector": VectorScaling}
#: Standard deviations of what is believed before a calibration: of the logarithms of slopes, and of offsets.
SLOPE_SCATTER, OFFSET_SCATTER = 0.5, 0.5


def class_network(encoder, n_classes, *, band_dropout=0.06, error_jitter=0.2, limit_rate=0.0, **trunk):
    """One trainable member: from photometry to one logit per class.

    Train it with `astrokeras.layers.ClassLoss`. Initial weights follow Keras' global seed.

    Parameters
    ----------
    encoder : keras.Model
        From `astrokeras.networks.photometry_encoder`; members of one ensemble share it.
    n_classes : int
        At least 2.
    band_dropout, error_jitter, limit_rate : float
        See `astrokeras.networks.encoder.seen_in_training`.
    **trunk
        Parameters of `astrokeras.networks.dense.dense_trunk`.

    Returns
    -------
    keras.Model
        Named inputs of the encoder; output ``logits`` of shape ``(batch, n_classes)``.

    Raises
    ------
    ValueError
        When a parameter is out of range.
    """
    if n_classes < 2:
        raise ValueError(f"class_network: n_classes must be at least 2, got {n_classes!r}")
    n_features = encoder.output_shape[-1]
    raw = keras.Input((n_features,), name="features", dtype="float32")
    head = keras.Model(raw, dense_trunk(n_features, n_classes, **trunk)(raw), name="member")
    inputs, seen = seen_in_training(encoder, band_dropout, error_jitter, limit_rate)
    logits = keras.layers.Identity(name="logits")(head(encoder(seen)))
    return keras.Model(inputs, logits, name="class_member")


def class_ensemble(members, factor=None, calibration="temperature"):
    """One graph of all members for inference: the mean of their probabilities, corrected and calibrated.

    Parameters
    ----------
    members : sequence of keras.Model
        Trained models from `class_network`, of one encoder and with equally many classes.
    factor : array-like, optional
        What `astrokeras.layers.PriorCorrection` multiplies the mean with, ``(n_classes,)``; by default 1.
    calibration : {"temperature", "vector"}
        Kind of the last layer, ``p_class``, which changes nothing until `set_calibration`.

    Returns
    -------
    keras.Model
        Named inputs of the encoder; output ``{"p_class": probabilities}``, ``(batch, n_classes)``, rows of sum 1.

    Raises
    ------
    ValueError
        When there is no member, members differ in encoder or classes, or a parameter is out of range.
    """
    if not members:
        raise ValueError("class_ensemble: at least one member is needed")
    if calibration not in CALIBRATIONS:
        raise ValueError(f"class_ensemble: calibration must be one of {', '.join(CALIBRATIONS)}, got {calibration!r}")
    encoder = members[0].get_layer("encoder")
    for member in members[1:]:
        if member.get_layer("encoder") is not encoder:
            raise ValueError("class_ensemble: all members must share one encoder")
        if member.output_shape != members[0].output_shape:
            raise ValueError("class_ensemble: all members must have equally many classes")
    inputs = {name: keras.Input(x.shape[1:], name=name, dtype="float32") for name, x in encoder.input.items()}
    features = encoder(inputs)
    probabilities = []
    for index, member in enumerate(members):
        head = keras.models.clone_model(member.get_layer("member"))
        head.set_weights(member.get_layer("member").get_weights())
        head.name = f"member_{index}"
        probabilities.append(keras.layers.Softmax(name=f"probability_{index}")(head(features)))
    mean = keras.layers.Average(name="mean_probability")(probabilities) if len(members) > 1 else probabilities[0]
    correction = PriorCorrection(name="prior_correction")
    outputs = {"p_class": CALIBRATIONS[calibration](name="p_class")(correction(mean))}
    if factor is not None:
        correction.set_factor(factor)
    return keras.Model(inputs, outputs, name="classes")


@dataclass(frozen=True)
class Scaling:
    """Calibration of class probabilities: ``p'_k ~ exp(slope_k ln p_k + offset_k)``, each ``(n_classes,)``.

    Of a temperature T all slopes are 1/T and all offsets 0.
    """

    slope: np.ndarray
    offset: np.ndarray

    def __call__(self, probability):
        """Return calibrated probabilities, ``(rows, n_classes)``."""
        return np.exp(log_softmax(self.slope * _log(probability) + self.offset, axis=1))


def _log(probability):
    return np.log(np.maximum(np.asarray(probability, dtype=np.float64), FLOOR))


def fit_calibration(probability, target, kind="temperature"):
    """Calibration that rows set aside for it make most probable (Guo et al. 2017, arXiv:1706.04599).

    The likelihood of the classes is multiplied by a normal density of the parameters around "no change", with the
    standard deviation `SLOPE_SCATTER` for the logarithm of a temperature or of the slopes, and `OFFSET_SCATTER` for the
    offsets. Some hundred rows outweigh it; a handful, on which a maximum of the likelihood alone may run to infinity,
    changes little, and none changes nothing.

    Parameters
    ----------
    probability : array-like
        What the model gives before calibration, ``(rows, n_classes)``.
    target : array-like of int
        Numbers of the true classes, ``(rows,)``.
    kind : {"temperature", "vector"}
        One temperature, or slope and offset of each class.

    Returns
    -------
    Scaling

    Raises
    ------
    ValueError
        When the kind is unknown.
    """
    if kind not in CALIBRATIONS:
        raise ValueError(f"fit_calibration: kind must be one of {', '.join(CALIBRATIONS)}, got {kind!r}")
    log_p, target = _log(probability), np.asarray(target, dtype=int)
    n_classes, rows = log_p.shape[1], np.arange(len(target))
    n_slopes = 1 if kind == "temperature" else n_classes
    at_truth = np.eye(n_classes)[target]

    def unpacked(parameters):
        slope = np.exp(parameters[:n_slopes]) * np.ones(n_classes)
        return slope, parameters[n_slopes:] if kind == "vector" else np.zeros(n_classes)

    def loss(parameters):
        slope, offset = unpacked(parameters)
        log_q = log_softmax(slope * log_p + offset, axis=1)
        excess = np.exp(log_q) - at_truth
        by_slope = (excess * log_p).sum(axis=0) * slope
        gradient = [[by_slope.sum()]] if kind == "temperature" else [by_slope, excess.sum(axis=0)]
        belief = parameters / scatter**2
        value = -log_q[rows, target].sum() + 0.5 * np.sum(parameters * belief)
        return value, np.concatenate(gradient) + belief

    scatter = np.repeat([SLOPE_SCATTER, OFFSET_SCATTER], [n_slopes, n_classes if kind == "vector" else 0])
    best = minimize(loss, np.zeros(len(scatter)), jac=True, method="L-BFGS-B")
    return Scaling(*unpacked(best.x))


def set_calibration(model, scaling):
    """Put a `Scaling` into the layer ``p_class`` of a model from `class_ensemble`.

    Raises
    ------
    ValueError
        When the layer holds a temperature and the scaling is none.
    """
    layer = model.get_layer("p_class")
    if isinstance(layer, VectorScaling):
        layer.set_scaling(scaling.slope, scaling.offset)
        return
    if np.ptp(scaling.slope) > 0 or np.any(scaling.offset):
        raise ValueError("set_calibration: the model takes a temperature, equal slopes and no offsets")
    layer.set_temperature(1 / scaling.slope[0])
