"""A saved model: the directory with ``model.keras``, ``card.json`` and ``golden.npz``.

A model of scikit-learn has ``encoder.keras`` and ``model.skops`` instead of ``model.keras``, principal components have
``projection.npz``. Saving is atomic, loading is safe: the card is read, the files inspected and their digest compared
before Keras or scikit-learn sees them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError, UnsafeModelError
from . import golden
from .allowed import MAX_ELEMENTS
from .card import Card, created
from .card_file import CARD, read_card, write_card
from .classical import Classical
from .estimator_file import ESTIMATOR, written_with
from .files import NETWORK, digest_of, largest_tensor, read_classical, read_keras, uncompiled, write_model
from .inspect import inspect
from .projection import PROJECTION, Projection, read_projection

if TYPE_CHECKING:
    import keras

GOLDEN = "golden.npz"
RTOL = 1e-5


@dataclass(frozen=True)
class Bundle:
    """A loaded model.

    Attributes
    ----------
    directory : Path
        Where it lies.
    model : keras.Model, Classical or Projection
        Uncompiled.
    card : Card
        Its card; ``card.digest`` is the digest of the model.
    """

    directory: Path
    model: keras.Model | Classical | Projection
    card: Card


@dataclass(frozen=True)
class Report:
    """What replaying the golden rows gave.

    Attributes
    ----------
    directory : Path
        Of the model.
    card : Card
        Of the model.
    rows : int
        Golden rows.
    max_difference : float
        Largest difference of any output, relative to the largest absolute value of that output.
    ok : bool
        Whether all outputs agree within rtol 1e-5.
    """

    directory: Path
    card: Card
    rows: int
    max_difference: float
    ok: bool


def save(
    directory: str | Path,
    model: keras.Model | Classical | Projection,
    card: Card,
    golden_inputs: Mapping[str, np.ndarray],
    overwrite: bool = False,
) -> Bundle:
    """Save a model with its card and golden rows.

    Parameters
    ----------
    directory : str or Path
        Made, its parents too.
    model : keras.Model, Classical or Projection
        Saved without optimizer and loss.
    card : Card
        ``digest`` and, if empty, ``created`` are filled in.
    golden_inputs : mapping of numpy.ndarray
        Inputs from `astrokeras.models.tensors.encode`; the first 16 rows are used.
    overwrite : bool
        Replace another model that lies there; a directory with anything else in it is never touched.

    Raises
    ------
    ModelError
        If another model lies there, the model does not fit its card, or nothing can be written.
    UnsafeModelError
        If the model could not be loaded again, say because of a Lambda layer.
    """
    directory = Path(directory)
    _fits(model, card, str(directory))
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise ModelError(f"{directory}: cannot be written ({error.strerror})") from None
    try:
        write_model(new, model)
        card = card.model_copy(update={"digest": digest_of(new, card), "created": card.created or created()})
        write_card(card, new / CARD)
        inputs = golden.rows(golden_inputs, card)
        golden.write(new / GOLDEN, inputs, _run(model, inputs, card))
        new.chmod(0o755)
        _settle(new, directory, card, overwrite)
    except OSError as error:
        raise ModelError(f"{directory}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return Bundle(directory, model, card)


def _settle(new: Path, directory: Path, card: Card, overwrite: bool) -> None:
    """Rename onto the target; an old model is moved away first, and removed last or moved back."""
    old = new.with_name(f"{new.name}.old")
    exists = directory.exists()
    if exists:
        if any(directory.iterdir()):
            _replaceable(directory, card, overwrite)
        directory.rename(old)
    try:
        new.rename(directory)
    except OSError:
        if exists:
            old.rename(directory)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _replaceable(directory: Path, card: Card, overwrite: bool) -> None:
    """Raise unless a model lies there that is this one, or may be overwritten."""
    there = read_card(directory)
    if there.digest != card.digest and not overwrite:
        raise ModelError(
            f"{directory}: holds another model, {there.name} {there.version} ({there.digest[:12]}); "
            f"save elsewhere, or replace it with overwrite=True"
        )


def inspected(directory: str | Path) -> Card:
    """Card of a model whose file is safe to load and is the one described; needs no Keras.

    Raises
    ------
    ModelError, UnsafeModelError
        As `load`.
    """
    folder, path = _place(directory)
    card = read_card(folder)
    if card.method != "keras":
        path = folder / (PROJECTION if card.method == "pca" else ESTIMATOR)
    found = inspect(path).digest if card.method == "keras" else digest_of(folder, card)
    if found != card.digest:
        raise ModelError(
            f"{path}: has the digest {found[:12]}, its card says {card.digest[:12] or 'none'}; not the model described"
        )
    return card


def _place(directory: str | Path) -> tuple[Path, Path]:
    """Folder of a model, and the file of its network: either may be given."""
    path = Path(directory)
    return (path, path / NETWORK) if path.is_dir() else (path.parent, path)


def load(directory: str | Path) -> Bundle:
    """Load a model, safely.

    A model that another version of scikit-learn made is loaded if its golden rows come out the same.

    Raises
    ------
    ModelError
        If it is missing or damaged, its digest is not that of its card, or it does not fit the card.
    UnsafeModelError
        If the archive holds something not allowed.
    """
    card = inspected(directory)
    folder, path = _place(directory)
    if card.method == "pca":
        return Bundle(Path(directory), read_projection(folder, card), card)
    model = read_keras(path) if card.method == "keras" else read_classical(folder)
    _fits(model, card, str(path if card.method == "keras" else folder / ESTIMATOR))
    if largest_tensor(model) > MAX_ELEMENTS:
        raise UnsafeModelError(
            f"{path}: makes a tensor of {largest_tensor(model)} elements per object; at most {MAX_ELEMENTS} are allowed"
        )
    bundle = Bundle(Path(directory), model, card)
    if isinstance(model, Classical):
        _same_as_then(bundle, folder)
    return bundle


def _same_as_then(bundle: Bundle, folder: Path) -> None:
    """Raise unless an estimator made with another scikit-learn still gives what it gave."""
    made, here = written_with(folder / ESTIMATOR), version("scikit-learn")
    if made == here:
        return
    report = _replay(bundle, folder)
    if not report.ok:
        raise ModelError(
            f"{folder / ESTIMATOR}: was made with scikit-learn {made or 'unknown'} and gives something else with "
            f"{here} (largest difference {report.max_difference:.2g}); install that version, or train again"
        )


def model_digest(model: keras.Model) -> str:
    """Digest of the architecture and the weights, as in the card of a saved model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NETWORK
        uncompiled(model).save(path)
        return inspect(path).digest


def verify(directory: str | Path) -> Report:
    """Load a model and replay its golden rows.

    Raises
    ------
    ModelError
        As `load`; and if the golden rows are missing or damaged.
    """
    return _replay(load(directory), Path(directory))


def _replay(bundle: Bundle, folder: Path) -> Report:
    inputs, expected = golden.read(folder / GOLDEN, bundle.card)
    outputs = _run(bundle.model, inputs, bundle.card)
    rows = len(next(iter(inputs.values())))
    worst, ok = 0.0, True
    for name, wanted in expected.items():
        scale = np.max(np.abs(wanted), initial=np.finfo(np.float32).tiny)
        worst = max(worst, float(np.max(np.abs(outputs[name] - wanted), initial=0.0) / scale))
        ok = ok and np.allclose(outputs[name], wanted, rtol=RTOL, atol=RTOL * scale)
    return Report(bundle.directory, bundle.card, rows, worst, bool(ok))


def _run(model: keras.Model | Classical | Projection, inputs: Mapping[str, np.ndarray], card: Card) -> golden.Arrays:
    if isinstance(model, Projection):
        return model(inputs)
    import keras

    return {
        k: keras.ops.convert_to_numpy(v) for k, v in named_outputs(model(dict(inputs), training=False), card).items()
    }


def named_outputs(outputs: object, card: Card) -> dict[str, object]:
    """Outputs of a graph by name; a graph with a single output may give it bare."""
    return dict(outputs) if isinstance(outputs, Mapping) else {card.outputs[0].name: outputs}


def _fits(model: keras.Model | Classical | Projection, card: Card, where: str) -> None:
    """Check names and widths of the graph's inputs and outputs against the card."""
    if isinstance(model, Projection):
        return
    classical = isinstance(model, Classical)
    taken = {tensor.name: tuple(tensor.shape[1:]) for tensor in (model.encoder if classical else model).inputs}
    wanted = card.tensors
    if taken != wanted:
        raise ModelError(f"{where}: the graph takes {taken}, its card says {wanted}")
    if classical:
        given = model.output_shapes()
    else:
        given = {name: tuple(tensor.shape[1:]) for name, tensor in named_outputs(model.output, card).items()}
    promised = {field.name: field.shape for field in card.outputs}
    if given != promised:
        raise ModelError(f"{where}: the graph gives {given}, its card says {promised}")
