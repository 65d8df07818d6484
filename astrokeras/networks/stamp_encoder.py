"""From stamps, and what stands beside them, to what a network with a convolutional trunk sees."""

import keras
import numpy as np

from ..layers import MaskedNormalization, StampResize, StampStretch
from .encoder import photometry_encoder

STAMP = ("stamp", "stamp_observed")


def feature_encoder(tensors, nsigma=5.0, errors=True):
    """Model from all inputs but stamps to normalised features, its statistics taken from the given training rows.

    Parameters
    ----------
    tensors : mapping of array-like
        Training rows, as `astrokeras.models.tensors.encode` gives them.
    nsigma, errors
        See `astrokeras.networks.encoder.photometry_encoder`.

    Returns
    -------
    keras.Model
        To ``(batch, n_features)``.

    Raises
    ------
    ValueError
        When a band has no positive error in any row.
    """
    if "flux" in tensors:
        return photometry_encoder(**tensors, nsigma=nsigma, errors=errors)
    names = [name for name in ("extra", "extra_observed") if name in tensors]
    inputs = {name: keras.Input(tensors[name].shape[1:], name=name, dtype="float32") for name in names}
    known = inputs.get("extra_observed", keras.ops.ones_like(inputs["extra"]))
    normalised = MaskedNormalization(name="extra_values")
    normalised.adapt(tensors["extra"], tensors.get("extra_observed", np.ones_like(tensors["extra"])))
    features = [normalised([inputs["extra"], known]), *([1 - known] if len(names) > 1 else [])]
    features = keras.layers.Concatenate(name="features")(features) if len(names) > 1 else features[0]
    return keras.Model(inputs, features, name="encoder", trainable=False)


def stamp_encoder(tensors, *, size, crop=1.0, stretch="asinh", nsigma=5.0, errors=True):
    """Model from stamps and all other inputs to stretched stamps and normalised features.

    Parameters
    ----------
    tensors : mapping of array-like
        Training rows, as `astrokeras.models.tensors.encode` gives them, with ``stamp`` and ``stamp_observed``.
    size, crop, stretch
        See `astrokeras.layers.StampResize` and `astrokeras.layers.StampStretch`.
    nsigma, errors
        See `feature_encoder`.

    Returns
    -------
    keras.Model
        To ``stamp``, ``(batch, size, size, bands + 1)``, and, if there are further inputs, ``features``,
        ``(batch, n_features)``. No weight of it is trainable.

    Raises
    ------
    ValueError
        When a band has no pixel, or no positive error, in any row.
    """
    shape = tensors["stamp"].shape[1:]
    inputs = {name: keras.Input(shape, name=name, dtype="float32") for name in STAMP}
    small = StampResize(size, crop, name="resize")([inputs[name] for name in STAMP])
    stretched = StampStretch(stretch, name="stretch")
    stretched.adapt(tensors["stamp"], tensors["stamp_observed"])
    outputs = {"stamp": stretched(small)}
    others = {name: values for name, values in tensors.items() if name not in STAMP}
    if others:
        features = feature_encoder(others, nsigma, errors)
        features.name = "features"
        further = {name: keras.Input(x.shape[1:], name=name, dtype="float32") for name, x in features.input.items()}
        inputs |= further
        outputs["features"] = features(further)
    return keras.Model(inputs, outputs, name="encoder", trainable=False)
