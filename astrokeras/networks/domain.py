"""The domain of a model: a graph from photometry to the domain score, and the graph of a model with it."""

import keras
import numpy as np

from ..layers import AsinhMagnitudes, Colors, DomainScore, MaskedNormalization, PriorShrinkage
from .encoder import INPUTS, photometry_inputs

#: Smallest scale of a magnitude, a color or the logarithm of an error: errors that hardly differ make no distance.
SMALLEST = 0.1
#: Distances are told apart up to this many scales, farther than a network needs its features.
LIMIT = 20.0


def domain_network(train, calibrate, n_references=1024, seed=0, errors=True):
    """Graph from photometry to the domain score, all of its weights taken from the given rows.

    The features are those of `photometry_encoder`: asinh magnitudes, colors of neighbouring bands, logarithms of the
    magnitude errors, and the extra inputs, each in units of its own scatter; indicators of missing bands are left out,
    because what is missing is no distance.

    Parameters
    ----------
    train, calibrate : mapping of array-like
        ``flux``, ``flux_err``, ``observed`` ``(rows, n_bands)`` and possibly ``extra`` and ``extra_observed``,
        ``(rows, n_extra)``: training
        rows, and rows set aside (may be none).
    n_references, seed : int
        See `DomainScore`.
    errors : bool
        Whether flux errors are among the features.

    Returns
    -------
    keras.Model
        From the inputs of `photometry_inputs` to ``(batch,)``.

    Raises
    ------
    ValueError
        When there is no training row, or a band has no positive error in any of them.
    """
    features = domain_features(train, errors)
    rows, held = ({name: np.asarray(part[name], "float32") for name in features.input} for part in (train, calibrate))
    n_bands, n_extra = rows["flux"].shape[1], rows["extra"].shape[1] if "extra" in rows else 0
    score = DomainScore(n_references, name="score")
    n_masks = n_extra if "extra_observed" in rows else 0
    of_bands = np.concatenate([np.eye(n_bands), _pairs(n_bands), *([np.eye(n_bands)] if errors else [])], axis=1)
    needs = np.zeros((n_bands + n_masks, of_bands.shape[1] + n_extra))
    needs[:n_bands, : of_bands.shape[1]] = of_bands
    needs[n_bands:, of_bands.shape[1] :] = np.eye(n_masks, n_extra)
    pairs = [(batched(features, given), _masks(given)) for given in (rows, held)]
    score.adapt(*pairs, needs, np.ones(needs.shape[1]), seed)
    return keras.Model(features.input, score([features.output, _masks(features.input)]), name="domain")


def feature_domain(train, calibrate, n_references=1024, seed=0):
    """Graph from further scalars and vectors alone to the domain score, as `domain_network` is from photometry.

    Parameters
    ----------
    train, calibrate : mapping of array-like
        ``extra`` and possibly ``extra_observed``, ``(rows, n_extra)``: training rows, and rows set aside (may be none).
    n_references, seed : int
        See `DomainScore`.

    Returns
    -------
    keras.Model
        From these inputs to ``(batch,)``.
    """
    names = [name for name in ("extra", "extra_observed") if name in train]
    inputs = {name: keras.Input(train[name].shape[1:], name=name, dtype="float32") for name in names}
    normalised = MaskedNormalization(LIMIT, name="features")
    masks = [given.get("extra_observed", np.ones_like(given["extra"])) for given in (train, calibrate)]
    normalised.adapt(train["extra"], masks[0])
    mask = inputs.get("extra_observed", keras.ops.ones_like(inputs["extra"]))
    features = keras.Model(inputs, normalised([inputs["extra"], mask]), name="domain_features")
    pairs = [(batched(features, given), own) for given, own in zip((train, calibrate), masks, strict=True)]
    score = DomainScore(n_references, name="score")
    n_extra = train["extra"].shape[1]
    score.adapt(*pairs, np.eye(n_extra), np.ones(n_extra), seed)
    return keras.Model(features.input, score([features.output, mask]), name="domain")


def stamp_domain(model, train, calibrate, n_references=1024, seed=0):
    """Graph to the domain score of a model that looks at stamps, in the last features of its first member.

    Distances between pixels mean little; those between deep features tell what a network has not seen (Sun et al.
    2022, ICML). Rows are taken as they lie, in one orientation.

    Parameters
    ----------
    model : keras.Model
        With the layers ``encoder`` and ``member_0``.
    train, calibrate : mapping of array-like
        All inputs of the model: training rows, and rows set aside (may be none).
    n_references, seed : int
        See `DomainScore`.

    Returns
    -------
    keras.Model
        From the inputs of the model to ``(batch,)``.
    """
    inputs = {name: keras.Input(x.shape[1:], name=name, dtype="float32") for name, x in model.input.items()}
    copies = []
    for name in ("encoder", "member_0"):
        copies.append(keras.models.clone_model(model.get_layer(name)))
        copies[-1].set_weights(model.get_layer(name).get_weights())
    encoder, member = copies
    seen = encoder(inputs)
    last = member(seen if isinstance(seen, dict) else {"features": seen})["last"]
    deep = keras.Model(inputs, last, name="domain_features")
    values = [batched(deep, given) for given in (train, calibrate)]
    normalised = MaskedNormalization(LIMIT, name="normalised")
    normalised.adapt(values[0], np.ones_like(values[0]))
    masked = [(keras.ops.convert_to_numpy(normalised([v, np.ones_like(v)])), np.ones_like(v)) for v in values]
    n_features = values[0].shape[1]
    score = DomainScore(n_references, name="score")
    score.adapt(*masked, np.zeros((n_features, n_features)), np.ones(n_features), seed)
    ones = keras.ops.ones_like(last)
    return keras.Model(inputs, score([normalised([last, ones]), ones]), name="domain")


def domain_features(train, errors=True):
    """Graph from photometry to the features of `domain_network`, in units of their scatter in the given rows.

    Parameters
    ----------
    train, errors : mapping of array-like, bool
        As for `domain_network`.

    Returns
    -------
    keras.Model
        From the inputs of `photometry_inputs` to magnitudes ``(batch, n_bands)``, colors, log errors and extra inputs
        one after another, 0 where missing.

    Raises
    ------
    ValueError
        When a band has no positive error in any row.
    """
    names = (*INPUTS, *(name for name in ("extra", "extra_observed") if name in train))
    rows = {name: np.asarray(train[name], dtype="float32") for name in names}
    n_bands, n_extra = rows["flux"].shape[1], rows["extra"].shape[1] if "extra" in rows else 0
    inputs = photometry_inputs(n_bands, n_extra, extra_mask="extra_observed" in rows)
    asinh = AsinhMagnitudes(name="asinh_magnitudes")
    asinh.adapt(rows["flux_err"], rows["observed"])
    values, mask = _values(asinh, rows, errors)
    normalised = MaskedNormalization(LIMIT, name="features")
    normalised.adapt(values, mask)
    floor = np.repeat([SMALLEST, 0.0], [values.shape[1] - n_extra, n_extra])
    normalised.scale.assign(np.maximum(keras.ops.convert_to_numpy(normalised.scale), floor))
    return keras.Model(inputs, normalised(_values(asinh, inputs, errors)), name="domain_features")


def _values(asinh, given, errors):
    """Features before they are normalised, and which of them are known."""
    observed = given["observed"]
    magnitudes, log_errors = asinh([given[name] for name in INPUTS])
    colors, both = Colors()([magnitudes, observed])
    values, mask = [magnitudes, colors], [observed, both]
    if errors:
        values, mask = [*values, log_errors], [*mask, observed]
    if "extra" in given:
        known = given["extra_observed"] if "extra_observed" in given else keras.ops.ones_like(given["extra"])
        values, mask = [*values, given["extra"]], [*mask, known]
    return [keras.layers.Concatenate()(values), keras.layers.Concatenate()(mask)]


def _masks(given):
    """Which bands and, if they may be missing, which further inputs are known."""
    masks = [given[name] for name in ("observed", "extra_observed") if name in given]
    if len(masks) == 1:
        return masks[0]
    return np.concatenate(masks, axis=1) if isinstance(masks[0], np.ndarray) else keras.layers.Concatenate()(masks)


def _pairs(n_bands):
    """Which bands each color of neighbours needs, ``(n_bands, n_bands - 1)``."""
    return np.eye(n_bands)[:, :-1] + np.eye(n_bands)[:, 1:]


def batched(model, tensors, batch=8192):
    """Output of a graph for all rows; further tensors than it takes are left out."""
    # Keras would take them by their order.
    given = {name: tensors[name] for name in model.input}
    # Convolutions take memory.
    batch = 32 if "stamp" in given else batch
    starts = range(0, len(next(iter(given.values()))), batch)
    parts = [model({k: v[i : i + batch] for k, v in given.items()}, training=False) for i in starts]
    none = np.zeros((0, *model.output.shape[1:]))
    return np.concatenate([none, *(keras.ops.convert_to_numpy(part) for part in parts)])


def with_domain(model, domain):
    """A model that gives its domain score beside its other outputs; class probabilities pass a `PriorShrinkage`.

    Parameters
    ----------
    model : keras.Model
        From the inputs of `photometry_inputs`, and further ones, to a mapping; a probability of classes is called
        ``p_class``.
    domain : keras.Model
        From `domain_network`.

    Returns
    -------
    keras.Model
        With the further output ``domain_score``, ``(batch,)``; what shrinks the probabilities is its layer
        ``shrinkage``, which changes nothing before it is set.
    """
    inputs = {name: keras.Input(x.shape[1:], name=name, dtype="float32") for name, x in model.input.items()}
    outputs = dict(model(inputs))
    score = domain({name: inputs[name] for name in domain.input})
    if "p_class" in outputs:
        outputs["p_class"] = PriorShrinkage(name="shrinkage")([outputs["p_class"], score])
    return keras.Model(inputs, {**outputs, "domain_score": score}, name=f"{model.name}_with_domain")
