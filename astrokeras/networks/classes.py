"""Networks of classes: the probability of each class of an object from its photometry."""

from dataclasses import dataclass

import keras
import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax

from ..layers import LabelNoise, Pool, PriorCorrection, TemperatureScaling, VectorScaling, WhereComplete
from ..layers.classes import FLOOR
from .dense import dense_trunk, heads
from .encoder import seen_in_training

CALIBRATIONS = {"temperature": TemperatureScaling, "vector": VectorScaling}
#: Standard deviations of what is believed before a calibration: of the logarithms of slopes, and of offsets.
SLOPE_SCATTER, OFFSET_SCATTER = 0.5, 0.5
#: The same for the logarithm of the share of label noise, and the largest share.
NOISE_SCATTER, MOST_NOISE = 1.0, 0.5
#: The same for the logit of the share of the trees, which is believed to be one half.
SHARE_SCATTER = 0.5


def class_network(
    encoder,
    n_classes,
    *,
    band_dropout=0.06,
    error_jitter=0.2,
    limit_rate=0.0,
    instrument_dropout=0.0,
    instruments=(),
    **trunk,
):
    """One trainable member: from photometry to one logit per class.

    Train it with `astrokeras.layers.ClassLoss`. Initial weights follow Keras' global seed.

    Parameters
    ----------
    encoder : keras.Model
        From `astrokeras.networks.photometry_encoder`; members of one ensemble share it.
    n_classes : int
        At least 2.
    band_dropout, error_jitter, limit_rate, instrument_dropout, instruments
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
    inputs, seen = seen_in_training(encoder, band_dropout, error_jitter, limit_rate, instrument_dropout, instruments)
    logits = keras.layers.Identity(name="logits")(head(encoder(seen)))
    return keras.Model(inputs, logits, name="class_member")


def class_ensemble(members, factor=None, calibration="temperature", label_noise=0.0, class_ratio=None, forest=None):
    """One graph of all members for inference: the mean of their probabilities, corrected and calibrated.

    With a forest, the mean of the members is pooled with what its trees say, in equal shares; the trees have no say of
    objects that miss an input. Behind that come the layers ``label_noise``, ``prior_correction`` and ``p_class``, which
    last changes nothing until `set_calibration`.

    Parameters
    ----------
    members : sequence of keras.Model
        Trained models from `class_network`, of one encoder and with equally many classes.
    factor : array-like, optional
        What `astrokeras.layers.PriorCorrection` multiplies the mean with, ``(n_classes,)``; by default 1.
    calibration : {"temperature", "vector"}
        Kind of the last layer.
    label_noise, class_ratio : float, array-like
        What the loss took for granted: see `astrokeras.layers.ClassLoss`.
    forest : Forest, optional
        Trees on the features of the encoder, grown on complete rows.

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
    logits = heads(members, features)
    probabilities = [keras.layers.Softmax(name=f"probability_{i}")(output) for i, output in enumerate(logits)]
    mean = keras.layers.Average(name="mean_probability")(probabilities) if len(members) > 1 else probabilities[0]
    if forest is not None:
        masks = [inputs[name] for name in ("observed", "extra_observed") if name in inputs]
        trees = WhereComplete(name="trees")([forest(features), mean, *masks])
        mean = Pool(name="pool")([mean, trees])
    return class_model(inputs, mean, factor, calibration, label_noise, class_ratio)


def class_model(inputs, mean, factor=None, calibration="temperature", label_noise=0.0, class_ratio=None):
    """Graph that corrects mean probabilities and calibrates them.

    Parameters
    ----------
    inputs : dict of keras.KerasTensor
        Of the graph.
    mean : keras.KerasTensor
        Mean probabilities of the members, ``(batch, n_classes)``.
    factor, calibration, label_noise, class_ratio
        See `class_ensemble`.
    """
    noise, correction = LabelNoise(name="label_noise"), PriorCorrection(name="prior_correction")
    outputs = {"p_class": CALIBRATIONS[calibration](name="p_class")(correction(noise(mean)))}
    noise.set_noise(label_noise, class_ratio)
    if factor is not None:
        correction.set_factor(factor)
    return keras.Model(inputs, outputs, name="classes")


def before_calibration(model):
    """Model with the outputs ``p_class``, as the members alone give it, and of a forest ``p_trees``."""
    if not any(isinstance(layer, Pool) for layer in model.layers):
        return keras.Model(model.input, {"p_class": model.get_layer("label_noise").input})
    members, trees = model.get_layer("pool").input
    return keras.Model(model.input, {"p_class": members, "p_trees": trees})


@dataclass(frozen=True)
class Prepared:
    """What a model from `class_ensemble` does to the mean of its members before the calibration.

    Attributes
    ----------
    label_noise : float
        Share of `astrokeras.layers.LabelNoise`.
    class_ratio, factor : ndarray
        Its ratio; factors of `astrokeras.layers.PriorCorrection`; ``(n_classes,)``.
    """

    label_noise: float
    class_ratio: np.ndarray
    factor: np.ndarray

    @classmethod
    def of(cls, model):
        """Read it from a model."""
        noise, correction = model.get_layer("label_noise"), model.get_layer("prior_correction")
        ratio, factor = (keras.ops.convert_to_numpy(w).astype(float) for w in (noise.ratio, correction.factor))
        return cls(float(noise.rate), ratio, factor)


@dataclass(frozen=True)
class Scaling:
    """Calibration of class probabilities: ``p'_k ~ exp(slope_k ln q_k + offset_k)``.

    q is the mean of the members after label noise and prior correction.

    Attributes
    ----------
    slope, offset : ndarray
        ``(n_classes,)``; of a temperature T all slopes are 1/T and all offsets 0.
    label_noise : float
        Share of `astrokeras.layers.LabelNoise`.
    share : float
        Of the trees, see `astrokeras.layers.Pool`.
    """

    slope: np.ndarray
    offset: np.ndarray
    label_noise: float = 0.0
    share: float = 0.5

    def apply(self, probability, prepared, trees=None):
        """Calibrated probabilities of what `before_calibration` gives; see `fit_calibration`."""
        return np.exp(self.log_probability(probability, prepared, trees))

    def log_probability(self, probability, prepared, trees=None):
        """Logarithm of what `apply` gives."""
        said = probability if trees is None else (1 - self.share) * probability + self.share * trees
        mixed = (1 - self.label_noise) * said + self.label_noise * prepared.class_ratio
        log_q = log_softmax(np.log(np.maximum(mixed, FLOOR)) + np.log(prepared.factor), axis=1)
        return log_softmax(self.slope * log_q + self.offset, axis=1)


def fit_calibration(probability, target, kind="temperature", prepared=None, trees=None):
    """Calibration that rows set aside for it make most probable (Guo et al. 2017, arXiv:1706.04599).

    Fitted are a temperature, or slopes and offsets, the share of label noise if the model was trained with any, and
    that of the trees if there are any. The likelihood of the classes is multiplied by a normal density of the
    parameters around "no change", with the standard deviation `SLOPE_SCATTER` for the logarithm of a temperature or of
    the slopes, `OFFSET_SCATTER` for the offsets, `NOISE_SCATTER` for the logarithm of the share of noise and
    `SHARE_SCATTER` for the logit of that of trees. Some hundred rows outweigh it; a handful, on which a maximum of the
    likelihood alone may run to infinity, changes little, and none changes nothing.

    Parameters
    ----------
    probability : array-like
        What `before_calibration` gives, ``(rows, n_classes)``.
    target : array-like of int
        Numbers of the true classes, ``(rows,)``.
    kind : {"temperature", "vector"}
        One temperature, or slope and offset of each class.
    prepared : Prepared, optional
        Of the model; by default no label noise and no correction.
    trees : array-like, optional
        What `before_calibration` gives of a forest, ``(rows, n_classes)``.

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
    p, target = np.asarray(probability, dtype=np.float64), np.asarray(target, dtype=int)
    n_classes, rows = p.shape[1], np.arange(len(target))
    prepared = prepared or Prepared(0.0, np.full(n_classes, 1 / n_classes), np.ones(n_classes))
    n_slopes = 1 if kind == "temperature" else n_classes
    vector, noisy, pooled = kind == "vector", prepared.label_noise > 0, trees is not None
    other = np.asarray(trees, dtype=np.float64) if pooled else None

    def unpacked(parameters):
        slope = np.exp(parameters[:n_slopes]) * np.ones(n_classes)
        offset = parameters[n_slopes : 2 * n_slopes] if vector else np.zeros(n_classes)
        noise = prepared.label_noise * np.exp(parameters[-1]) if noisy else 0.0
        share = expit(parameters[-1 - noisy]) if pooled else 0.5
        return Scaling(slope, offset, min(noise, MOST_NOISE), float(share))

    def loss(parameters):
        log_p = unpacked(parameters).log_probability(p, prepared, other)
        return -log_p[rows, target].sum() + 0.5 * np.sum((parameters / scatter) ** 2)

    widths = [SLOPE_SCATTER] * n_slopes + [OFFSET_SCATTER] * (n_classes * vector)
    scatter = np.array(widths + [SHARE_SCATTER] * pooled + [NOISE_SCATTER] * noisy)
    return unpacked(minimize(loss, np.zeros(len(scatter)), method="L-BFGS-B").x)


def set_calibration(model, scaling):
    """Put a `Scaling` into the layers of a model from `class_ensemble`.

    Raises
    ------
    ValueError
        When the layer ``p_class`` holds a temperature and the scaling is none.
    """
    layer = model.get_layer("p_class")
    if isinstance(layer, VectorScaling):
        layer.set_scaling(scaling.slope, scaling.offset)
    elif np.ptp(scaling.slope) > 0 or np.any(scaling.offset):
        raise ValueError("set_calibration: the model takes a temperature, equal slopes and no offsets")
    else:
        layer.set_temperature(1 / scaling.slope[0])
    for pool in (layer for layer in model.layers if isinstance(layer, Pool)):
        pool.set_share(scaling.share)
    model.get_layer("label_noise").set_noise(scaling.label_noise)
