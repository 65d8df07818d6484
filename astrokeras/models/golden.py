"""Golden rows: a few inputs and the outputs that the model gave for them when it was saved. Needs no Keras."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import ModelError
from .card import Card

ROWS = 16
#: Golden rows are few; anything larger is something else.
MAX_BYTES = 1 << 26
#: Of stamps there are as many golden rows as take so many bytes, two at least.
STAMP_BYTES = 1 << 19

Arrays = dict[str, np.ndarray]


def rows(tensors: Mapping[str, np.ndarray], card: Card) -> Arrays:
    """First rows of all inputs of a model: 16, or fewer where it takes stamps.

    Raises
    ------
    ModelError
        If an input is missing, or there is no row.
    """
    lacking = sorted(set(card.tensors) - set(tensors))
    if lacking:
        raise ModelError(f"golden rows lack the inputs {', '.join(lacking)}")
    width = 8 * math.prod(card.stamp.shape) if card.stamp else 1
    number = min(ROWS, max(2, STAMP_BYTES // width))
    chosen = {name: np.asarray(tensors[name][:number], np.float32) for name in card.tensors}
    if not len(next(iter(chosen.values()))):
        raise ModelError("golden rows: at least one row is needed")
    return chosen


def write(path: Path, inputs: Arrays, outputs: Arrays) -> None:
    """Write inputs and outputs to an npz file; stamps are compressed."""
    (np.savez_compressed if "stamp" in inputs else np.savez)(
        path, **{f"input_{k}": v for k, v in inputs.items()}, **{f"output_{k}": v for k, v in outputs.items()}
    )


def read(path: Path, card: Card) -> tuple[Arrays, Arrays]:
    """Read inputs and outputs.

    Raises
    ------
    ModelError
        If the file is missing, damaged or too large, or holds other rows than the card says.
    """
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            size = sum(info.file_size for info in archive.infolist())
            if size > MAX_BYTES:
                raise ModelError(f"{path}: holds {size} bytes; golden rows need less than {MAX_BYTES}")
            with np.load(stream, allow_pickle=False) as stored:
                inputs = {name: stored[f"input_{name}"] for name in card.tensors}
                outputs = {field.name: stored[f"output_{field.name}"] for field in card.outputs}
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; the golden rows are missing") from None
    except (OSError, ValueError, KeyError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: damaged golden rows ({error})") from None
    n = len(next(iter(inputs.values()))) if all(array.ndim for array in inputs.values()) else 0
    wanted = {name: (n, *shape) for name, shape in card.tensors.items()}
    wanted |= {field.name: (n, *field.shape) for field in card.outputs}
    found = {name: array.shape for name, array in (inputs | outputs).items()}
    if found != wanted:
        raise ModelError(f"{path}: golden rows have the shapes {found}, the card says {wanted}")
    return inputs, outputs
