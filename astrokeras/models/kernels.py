"""Learned kernels of the first layer of a model: what each hidden unit makes of each feature."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError
from .bundle import Bundle

if TYPE_CHECKING:
    import keras


def first_kernels(bundle: Bundle) -> tuple[list[str], list[np.ndarray]]:
    """Kernels of the first dense layer of every member of a model.

    Parameters
    ----------
    bundle : Bundle
        Of a model that `astrokeras.networks` built.

    Returns
    -------
    names : list of str
        Of the features.
    kernels : list of numpy.ndarray
        One per member, ``(features, units)``.

    Raises
    ------
    ModelError
        If the model is built otherwise.
    """
    import keras

    from ..networks.encoder import feature_names

    nested = list(_nested(bundle.model))
    encoder = next((m for m in nested if m.name == "encoder"), None)
    trunks = [m for m in nested if m.name == "trunk"]
    if encoder is None or not trunks:
        raise ModelError(f"{bundle.directory}: not built by astrokeras.networks; its first layer is not known")
    try:
        names = feature_names(encoder, bundle.card.bands, bundle.card.extras)
        kernels = [keras.ops.convert_to_numpy(trunk.get_layer("dense_0").kernel) for trunk in trunks]
    except ValueError as error:
        raise ModelError(f"{bundle.directory}: {error}") from None
    return names, kernels


def _nested(model: keras.Model) -> Iterator[keras.Model]:
    """All models inside a model, in the order of its layers."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield layer
            yield from _nested(layer)
