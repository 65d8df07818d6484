"""Reading and writing of ``projection.npz``: the arrays of a linear projection on principal components, without pickle.

Needs neither Keras nor scikit-learn.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ModelError, UnsafeModelError
from .card import Card

PROJECTION = "projection.npz"
#: Bytes that the header of an array may take.
_HEADER = 4096


@dataclass(frozen=True, eq=False)
class Projection:
    """Rows on principal components: ``((x - mean) / scale) @ components.T / divisor``.

    Attributes
    ----------
    mean, scale : ndarray of float64, shape (width,)
        Of the training rows; the scale is 1 where nothing is standardised.
    components : ndarray of float64, shape (count, width)
        Orthonormal.
    divisor : ndarray of float64, shape (count,)
        Standard deviations of the training rows along the components if they are whitened, else 1.
    """

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    divisor: np.ndarray

    def __call__(self, tensors: Mapping[str, np.ndarray], **_: bool) -> dict[str, np.ndarray]:
        """Components ``(rows, count)``, float32, of the tensors that `astrokeras.models.tensors.encode` gives."""
        found = ((vectors(tensors) - self.mean) / self.scale) @ self.components.T / self.divisor
        return {"pca": found.astype(np.float32)}

    @property
    def digest(self) -> str:
        """sha256 of the arrays."""
        found = hashlib.sha256()
        for name, array in vars(self).items():
            found.update(f"{name} {array.shape}".encode())
            found.update(np.ascontiguousarray(array, "<f8").tobytes())
        return found.hexdigest()


def vectors(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Rows ``(rows, width)``, float64: the further inputs, then the pixels of the stamp in the order (y, x, band)."""
    parts = [tensors[name] for name in ("extra", "stamp") if name in tensors]
    return np.concatenate([part.reshape(len(part), math.prod(part.shape[1:])) for part in parts], axis=1, dtype=float)


def width_of(card: Card) -> int:
    """Numbers in a row that a projection takes."""
    return sum(math.prod(shape) for name, shape in card.tensors.items() if name in ("extra", "stamp"))


def write_projection(folder: Path, projection: Projection) -> None:
    """Write the arrays."""
    np.savez(folder / PROJECTION, **{name: array.astype("<f8") for name, array in vars(projection).items()})


def read_projection(folder: Path, card: Card) -> Projection:
    """Read what `write_projection` wrote; nothing is read that is not as large as the card says.

    Raises
    ------
    ModelError
        If the file is missing or damaged.
    UnsafeModelError
        If it holds other arrays than the card says, or numbers that are none.
    """
    path = folder / PROJECTION
    width, count = width_of(card), card.outputs[0].shape[0]
    shapes = {"mean": (width,), "scale": (width,), "components": (count, width), "divisor": (count,)}
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            if set(sizes) != {f"{name}.npy" for name in shapes}:
                raise UnsafeModelError(f"{path}: holds {sorted(sizes)}, a projection {sorted(shapes)}")
            arrays = {name: _array(path, name, archive, shape) for name, shape in shapes.items()}
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except (OSError, EOFError, NotImplementedError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: is damaged ({error})") from None
    for name, array in arrays.items():
        if not np.isfinite(array).all() or (name in ("scale", "divisor") and not (array > 0).all()):
            raise UnsafeModelError(f"{path}: {name} holds numbers that are not finite, or not positive")
    return Projection(**arrays)


def _array(path: Path, name: str, archive: zipfile.ZipFile, shape: tuple[int, ...]) -> np.ndarray:
    """An array of float64 whose header says that it has the shape."""
    with archive.open(f"{name}.npy") as member:
        stream = io.BytesIO(member.read(8 * math.prod(shape) + _HEADER))
    if np.lib.format.read_magic(stream) != (1, 0):
        raise UnsafeModelError(f"{path}: {name} is no array of format 1.0")
    found, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=_HEADER)
    data = stream.read()
    if found != shape or dtype != np.dtype("<f8") or fortran or len(data) != 8 * math.prod(shape):
        raise UnsafeModelError(f"{path}: {name} holds {dtype} of shape {found}; the card says float64 of shape {shape}")
    return np.frombuffer(data, "<f8").reshape(shape)
