"""Transfer learning: a network on stamps that starts from one that was trained for something else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AstrokerasError, TrainingError

if TYPE_CHECKING:
    import keras


def start_from(member: keras.Model, encoder: keras.Model, start: str, freeze: bool | int) -> None:
    """Copy the convolutions and the stretch of a saved model into a member, and freeze some of them.

    The head stays new, whatever the other model tells. So that the convolutions see what they have learnt from, the
    encoder gets the stretch of the other model, too.

    Parameters
    ----------
    member, encoder : keras.Model
        From `astrokeras.networks.stamp_member.stamp_member`, and its encoder.
    start : str
        Directory, or name and version, of a model of astrokeras that looks at stamps of as many bands.
    freeze : bool or int
        True: none of the convolutions is trained further; a number: those of the stem and of so many stages are not.

    Raises
    ------
    TrainingError
        If there is no such model, or it has other convolutions.
    """
    from ..models.bundle import load
    from ..models.library import find

    try:
        other = load(find(start)).model
    except AstrokerasError as error:
        raise TrainingError(f"train: start: {error}") from None
    found = {model.name: model for model in reversed(list(nested(other)))}
    trunk, mine = found.get("stamp_trunk"), member.get_layer("member").get_layer("stamp_trunk")
    if trunk is None:
        raise TrainingError(f"train: start: {start} looks at no stamps")
    shapes, own = ([tuple(w.shape) for w in model.weights] for model in (trunk, mine))
    if shapes != own:
        sizes = f"{trunk.input_shape[1:]} with {trunk.output_shape[-1]} features"
        raise TrainingError(
            f"train: start: the convolutions of {start} take {sizes}; these take {mine.input_shape[1:]} with "
            f"{mine.output_shape[-1]} features: `stamp` needs the widths, blocks and number of bands of that model"
        )
    mine.set_weights(trunk.get_weights())
    stretch, theirs = encoder.get_layer("stretch"), found["encoder"].get_layer("stretch")
    if stretch.stretch != theirs.stretch:
        raise TrainingError(f"train: start: {start} has the stretch {theirs.stretch}; say so in `stamp`")
    stretch.set_weights(theirs.get_weights())
    _freeze(mine, freeze)


def is_backbone(start: str | None) -> bool:
    """Whether a network is to start from a file of Keras, not from a model of astrokeras."""
    return start is not None and start.endswith(".keras")


def read_backbone(start: str, encoder: keras.Model) -> keras.Model:
    """Read a network on pictures, such as one of ``keras.applications``, from a ``.keras`` file, after its inspection.

    Parameters
    ----------
    start : str
        The file.
    encoder : keras.Model
        Of the members; its stamps have to be as large as the pictures that the network takes.

    Raises
    ------
    TrainingError
        If the file cannot be read, holds what is not allowed, or takes pictures of another size.
    """
    from ..models.files import read_keras
    from ..models.inspect import inspect

    try:
        inspect(start)
        backbone = read_keras(Path(start))
    except AstrokerasError as error:
        raise TrainingError(f"train: start: {error}") from None
    side, taken = encoder.output["stamp"].shape[1], backbone.input_shape
    if not isinstance(taken, tuple) or taken[1:3] != (side, side):
        raise TrainingError(
            f"train: start: {start} takes inputs of shape {taken}; stamps have {side} pixels on a side, "
            "which `stamp: {size: ...}` changes"
        )
    backbone.name = "backbone"
    return backbone


def freeze_layers(backbone: keras.Model, freeze: bool | int) -> None:
    """Leave all layers of a network as they are, or its first ``freeze``."""
    number = len(backbone.layers) if freeze is True else int(freeze)
    for layer in backbone.layers[:number]:
        layer.trainable = False


def nested(model: keras.Model) -> Iterator[keras.Model]:
    """All models inside a model, at any depth."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield layer
            yield from nested(layer)


def _freeze(trunk: keras.Model, freeze: bool | int) -> None:
    if freeze is True:
        trunk.trainable = False
        return
    names = ("stem", *(f"stage_{k}_" for k in range(int(freeze)))) if freeze else ()
    for layer in trunk.layers:
        if layer.name.startswith(names) and names:
            layer.trainable = False
