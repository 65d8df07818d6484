"""Which files a model consists of, by the method that made it: a network, or an estimator behind an encoder."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError, UnsafeModelError
from .backend import start
from .card import Card
from .classical import CALIBRATION, DECISIONS, DENSITY, Classical
from .estimator_file import ESTIMATOR, read_estimator, write_estimator
from .estimator_inspect import inspect_estimator
from .inspect import inspect
from .projection import Projection, read_projection, write_projection

if TYPE_CHECKING:
    import keras

NETWORK, ENCODER = "model.keras", "encoder.keras"


def digest_of(folder: Path, card: Card) -> str:
    """Inspect the files of a model and return the digest of what they hold.

    Raises
    ------
    ModelError, UnsafeModelError
        See `astrokeras.models.inspect.inspect`, `astrokeras.models.estimator_inspect.inspect_estimator` and
        `astrokeras.models.projection.read_projection`.
    """
    if card.method == "keras":
        return inspect(folder / NETWORK).digest
    if card.method == "pca":
        return read_projection(folder, card).digest
    both = f"{inspect(folder / ENCODER).digest} {inspect_estimator(folder / ESTIMATOR).digest}"
    return hashlib.sha256(both.encode()).hexdigest()


def read_keras(path: Path) -> keras.Model:
    """Read a graph; only after its inspection.

    Raises
    ------
    ModelError
        If Keras cannot load it.
    """
    start()
    import keras

    from .. import layers  # noqa: F401  registers the layers of astrokeras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: Keras cannot load it ({str(error).splitlines()[0]})") from error


def read_classical(folder: Path) -> Classical:
    """Read an estimator and its encoder; only after the inspection of both.

    Raises
    ------
    ModelError
        If a file is damaged, or they do not fit together.
    """
    encoder, content = read_keras(folder / ENCODER), read_estimator(folder / ESTIMATOR)
    estimator = content.pop("estimator")
    given = encoder.output if isinstance(encoder.output, dict) else {}
    width = given["features"].shape[-1] if "features" in given else None
    if getattr(estimator, "n_features_in_", None) != width:
        raise UnsafeModelError(f"{folder / ESTIMATOR}: takes other features than {ENCODER} gives ({width})")
    wanted = DENSITY if "grid" in content else DECISIONS if "weights" in content else CALIBRATION
    if set(content) != wanted:
        raise ModelError(f"{folder / ESTIMATOR}: holds {sorted(content)}, not {sorted(wanted)}")
    return Classical(encoder, estimator, content)


def write_model(folder: Path, model: keras.Model | Classical | Projection) -> None:
    """Write the files of a model, without optimizer and loss."""
    if isinstance(model, Projection):
        return write_projection(folder, model)
    if isinstance(model, Classical):
        model.encoder.save(folder / ENCODER)
        write_estimator(folder / ESTIMATOR, {"estimator": model.estimator, **model.arrays})
    else:
        uncompiled(model).save(folder / NETWORK)
    return None


def largest_tensor(model: keras.Model | Classical) -> int:
    """Elements per object of the largest tensor between the layers of a model."""
    import keras

    if isinstance(model, Classical):
        return max([largest_tensor(model.encoder), *map(math.prod, model.output_shapes().values())])
    sizes = []
    for operation in getattr(model, "operations", model.layers):
        if isinstance(operation, keras.Model):
            sizes.append(largest_tensor(operation))
        sizes += [math.prod(tensor.shape[1:]) for tensor in keras.tree.flatten(operation.output)]
    return max(sizes)


def uncompiled(model: keras.Model) -> keras.Model:
    """The same layers without optimizer, loss and metrics."""
    import keras

    return keras.Model(model.input, model.output, name=model.name) if model.compiled else model
