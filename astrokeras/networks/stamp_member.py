"""Networks on stamps and features: one trainable member, and the mean of several over all orientations of a stamp."""

from collections.abc import Mapping

import keras

from ..layers import (
    BandDropout,
    DihedralMean,
    DihedralStack,
    MeanAndError,
    MirrorLabels,
    RandomBlur,
    RandomDihedral,
    RandomMask,
    RandomNoise,
    RandomWarp,
)
from .convnet import backbone_trunk, stamp_trunk
from .dense import dense_trunk
from .encoder import seen_in_training
from .stamp_encoder import STAMP


def stamp_member(
    encoder, n_outputs, changes, *, mirror=None, trunk=None, dense=None, hiding=None, n_auxiliary=0, backbone=None
):
    """One trainable member: from stamps, and what stands beside them, to outputs; random changes in training.

    Parameters
    ----------
    encoder : keras.Model
        From `astrokeras.networks.stamp_encoder.stamp_encoder`, or, where there is no stamp, `feature_encoder`; members
        of one ensemble share it.
    n_outputs : int
        Outputs, linear.
    changes : mapping
        What training does to stamps: the keys of `astrokeras.layers.RandomWarp`, `astrokeras.layers.RandomNoise`
        (``noise`` in units of that of the stamps) and `astrokeras.layers.RandomMask`; ``blur`` and ``blur_rate`` of
        `astrokeras.layers.RandomBlur`; and ``dihedral``.
    mirror : sequence of int, optional
        Outputs that a mirror image exchanges; see `astrokeras.layers.MirrorLabels`.
    trunk, dense : mapping, optional
        Parameters of `astrokeras.networks.convnet.stamp_trunk`, and of `astrokeras.networks.dense.dense_trunk` on the
        features beside the stamp.
    hiding : mapping, optional
        Parameters of `astrokeras.networks.encoder.seen_in_training`, for what stands beside the stamp.
    n_auxiliary : int
        Further outputs, which only the training needs.
    backbone : keras.Model, optional
        Network on pictures that takes the place of the convolutions: see `backbone_trunk`.

    Returns
    -------
    keras.Model
        Named inputs of the encoder; output ``(batch, n_outputs + n_auxiliary)``. Its layer ``member`` is the network
        behind the encoder, with the outputs ``outputs`` and ``last``, the features that the former are made of.

    Raises
    ------
    ValueError
        When a parameter is out of range.
    """
    inputs = {name: keras.Input(x.shape[1:], name=name, dtype="float32") for name, x in encoder.input.items()}
    seen, mirrored = _changed(encoder, inputs, changes) if "stamp" in inputs else ({}, None)
    seen |= _hidden(encoder, inputs, hiding or {})

    def convolutions(size, channels):
        return stamp_trunk(size, channels, **(trunk or {})) if backbone is None else backbone_trunk(backbone, channels)

    found = _head(_named(encoder.output), n_outputs, convolutions, dense or {})(_named(encoder(seen)))
    outputs = found["outputs"]
    if mirror is not None and mirrored is not None:
        outputs = MirrorLabels(mirror, name="mirror_labels")([outputs, mirrored])
    if n_auxiliary:
        aside = keras.layers.Dense(n_auxiliary, name="auxiliary")(found["last"])
        outputs = keras.layers.Concatenate(name="all_outputs")([outputs, aside])
    return keras.Model(inputs, outputs, name="stamp_member")


def _named(encoded):
    """What an encoder gives, by name; one without stamps gives features alone."""
    return dict(encoded) if isinstance(encoded, Mapping) else {"features": encoded}


def _head(encoded, n_outputs, convolutions, dense):
    """From what the encoder gives to ``outputs`` and ``last``."""
    given = {name: keras.Input(x.shape[1:], name=name, dtype="float32") for name, x in encoded.items()}
    parts = []
    if "stamp" in given:
        *_, size, channels = given["stamp"].shape
        parts.append(convolutions(size, channels)(given["stamp"]))
    if "features" in given:
        parts.append(dense_trunk(given["features"].shape[-1], dense["width"], **dense)(given["features"]))
    last = keras.layers.Concatenate(name="joined")(parts) if len(parts) > 1 else parts[0]
    outputs = keras.layers.Dense(n_outputs, name="outputs")(last)
    return keras.Model(given, {"outputs": outputs, "last": last}, name="member")


def _changed(encoder, inputs, changes):
    """Stamp and mask as training changes them, and which were mirrored (None where none is)."""
    pair, mirrored = [inputs[name] for name in STAMP], None
    if changes["dihedral"]:
        *pair, mirrored = RandomDihedral(name="dihedral")(pair)
    warp = {name: changes[name] for name in ("rotation", "zoom", "shear", "shift")}
    if any(warp.values()):
        pair = RandomWarp(**warp, name="warp")(pair)
    if changes["blur"] and changes["blur_rate"]:
        pair = RandomBlur(changes["blur"], changes["blur_rate"], name="blur")(pair)
    level = changes["noise"] * keras.ops.convert_to_numpy(encoder.get_layer("stretch").softening)
    pair = RandomNoise(level.tolist(), changes["gain"], changes["color"], name="noise")(pair)
    hidden = {name: changes[name] for name in ("band_rate", "mask_rate", "mask_size")}
    pair = RandomMask(**hidden, name="mask")(pair)
    return dict(zip(STAMP, pair, strict=True)), mirrored


def _hidden(encoder, inputs, hiding):
    """What stands beside the stamp, as training changes it."""
    seen = {name: x for name, x in inputs.items() if name not in STAMP}
    if "flux" in inputs:
        features = encoder.get_layer("features") if "stamp" in inputs else encoder
        return seen_in_training(features, **hiding, inputs=seen)[1]
    if "extra_observed" in seen:
        drop = BandDropout(hiding.get("band_dropout", 0.0), keep_one=False, name="extra_dropout")
        seen["extra_observed"] = drop(seen["extra_observed"])
    return seen


def averaged(members, behind, mirror=None, dihedral=True):
    """Mean over members, and over the 8 orientations of each stamp, of what a layer makes of their outputs.

    Parameters
    ----------
    members : sequence of keras.Model
        Trained models from `stamp_member`, of one encoder.
    behind : callable
        Makes the layer that turns outputs into what may be averaged: probabilities, moments.
    mirror : sequence of int, optional
        As for `stamp_member`, of what ``behind`` gives.
    dihedral : bool
        Whether to average over orientations.

    Returns
    -------
    inputs : dict of keras.KerasTensor
        Of the encoder.
    mean : keras.KerasTensor

    Raises
    ------
    ValueError
        When there is no member, or members differ in encoder or outputs.
    """
    if not members:
        raise ValueError("averaged: at least one member is needed")
    encoder = members[0].get_layer("encoder")
    for member in members[1:]:
        if member.get_layer("encoder") is not encoder:
            raise ValueError("averaged: all members must share one encoder")
        if member.output_shape != members[0].output_shape:
            raise ValueError("averaged: all members must have equally many outputs")
    inputs = {name: keras.Input(x.shape[1:], name=name, dtype="float32") for name, x in encoder.input.items()}
    seen, dihedral = _named(encoder(inputs)), dihedral and "stamp" in inputs
    if dihedral:
        seen = {name: DihedralStack(name=f"orientations_{name}")(x) for name, x in seen.items()}
    found = []
    for index, member in enumerate(members):
        head = keras.models.clone_model(member.get_layer("member"))
        head.set_weights(member.get_layer("member").get_weights())
        head.name = f"member_{index}"
        values = behind(f"behind_{index}")(head(seen)["outputs"])
        found.append(DihedralMean(mirror, name=f"mean_{index}")(values) if dihedral else values)
    return inputs, keras.layers.Average(name="mean")(found) if len(found) > 1 else found[0]


def with_errors(inputs, moments, center=0.0):
    """Graph with the outputs ``value`` and ``value_error``, ``(batch, k)``, from mean moments ``(batch, 2 k)``.

    Parameters
    ----------
    center : float
        That the moments are about.
    """
    layer = MeanAndError(name="mean_and_error")
    value, error = layer(moments)
    layer.set_center(center)
    return keras.Model(inputs, {"value": value, "value_error": error}, name="values")
