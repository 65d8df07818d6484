"""Principal components: how they are found, and the files that hold them, ``components.npz`` and ``card.json``."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic import Field as Parameter

from ..errors import ModelError, TrainingError
from ..fields import Field
from .card_file import CARD, MAX_CARD_BYTES

if TYPE_CHECKING:
    from astropy.table import Column

#: Numbers of an object at most: their covariance is held in memory.
MOST_NUMBERS = 8192
FILE = "components.npz"
#: 4096 components of 8192 numbers, and some.
MAX_BYTES = 300_000_000
ARRAYS = ("mean", "weights", "ratio")


@dataclass(frozen=True)
class Basis:
    """Components.

    Attributes
    ----------
    mean : ndarray, shape (d,)
        Of the training rows.
    weights : ndarray, shape (n, d)
        What each component is of the numbers less their mean.
    ratio : ndarray, shape (n,)
        Share of the variance that each explains.
    rows : int
        Training rows.
    """

    mean: np.ndarray
    weights: np.ndarray
    ratio: np.ndarray
    rows: int

    def of(self, values: np.ndarray) -> np.ndarray:
        """Components of some rows, float32 ``(rows, n)``; NaN where a number is missing."""
        missing = ~np.isfinite(values).all(axis=1)
        found = ((np.where(missing[:, None], self.mean, values) - self.mean) @ self.weights.T).astype(np.float32)
        found[missing] = np.nan
        return found

    def digest(self) -> str:
        """Of the numbers."""
        said = sha256()
        for name in ARRAYS:
            said.update(np.ascontiguousarray(getattr(self, name), "<f8").tobytes())
        return said.hexdigest()


def principal(values: np.ndarray, n: int, *, whiten: bool = False, scale: bool = False) -> Basis:
    """Principal components of the rows that miss nothing, by `sklearn.decomposition.PCA` from their covariance.

    Parameters
    ----------
    values : ndarray, shape (rows, d)
        Rows with a NaN have no say.
    n : int
        Number of components.
    whiten : bool
        Give each component the variance 1.
    scale : bool
        Divide each number by its scatter first.

    Returns
    -------
    Basis
        The largest coefficient of each component is positive.

    Raises
    ------
    TrainingError
        If the rows are too few, or the numbers too few or too many.
    """
    from sklearn.decomposition import PCA

    known = values[np.isfinite(values).all(axis=1)]
    if values.shape[1] > MOST_NUMBERS:
        raise TrainingError(f"pca: an object has {values.shape[1]} numbers; at most {MOST_NUMBERS} are allowed")
    if n > min(len(known) - 1, values.shape[1]):
        raise TrainingError(
            f"pca: {n} components need as many numbers and one more row; there are {values.shape[1]} numbers "
            f"and {len(known)} training rows that miss nothing, of {len(values)}"
        )
    spread = known.std(axis=0) if scale else np.ones(known.shape[1])
    spread[spread == 0] = 1.0
    fitted = PCA(n, svd_solver="covariance_eigh").fit(known / spread)
    variance = fitted.explained_variance_
    if whiten and variance[-1] <= 1e-12 * variance[0]:
        raise TrainingError(f"pca: the rows vary in fewer than {n} directions; `whiten` needs fewer components")
    weights = fitted.components_ / spread / (np.sqrt(variance)[:, None] if whiten else 1.0)
    sign = np.sign(np.take_along_axis(weights, np.abs(weights).argmax(axis=1)[:, None], axis=1))
    return Basis(fitted.mean_ * spread, weights * sign, fitted.explained_variance_ratio_, len(known))


class Input(BaseModel):
    """A column of which the components are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    unit: str = ""
    shape: tuple[int, ...] = ()

    @classmethod
    def of(cls, name: str, column: Column) -> Input:
        """A column of a table."""
        unit = getattr(column, "unit", None)
        return cls(name=name, unit="" if unit is None else unit.to_string(), shape=tuple(column.shape[1:]))

    def field(self) -> Field:
        """As a stage reads it."""
        return Field(name=self.name, unit=self.unit, shape=self.shape)


class Facts(BaseModel):
    """Card of components."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    task: Literal["pca"] = "pca"
    name: str
    version: str = "0.0.0"
    inputs: tuple[Input, ...] = Parameter(min_length=1)
    n: int = Parameter(ge=1, le=4096)
    rows: int
    explained: float
    digest: str


def write_basis(directory: Path, basis: Basis, inputs: tuple[Input, ...], save: str | None) -> None:
    """Write components and their card into a directory, which is made."""
    parts = Path(save).parts if save else ()
    versioned = len(parts) >= 2 and re.fullmatch(r"\d+\.\d+\.\d+", parts[-1]) is not None
    facts = Facts(
        name=parts[-2] if versioned else parts[-1] if parts else "pca",
        version=parts[-1] if versioned else "0.0.0",
        inputs=inputs,
        n=len(basis.weights),
        rows=basis.rows,
        explained=float(basis.ratio.sum()),
        digest=basis.digest(),
    )
    directory.mkdir(parents=True, exist_ok=True)
    np.savez(directory / FILE, **{name: getattr(basis, name) for name in ARRAYS})
    (directory / CARD).write_text(json.dumps(facts.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")


def read_facts(directory: Path) -> Facts:
    """Read the card of components.

    Raises
    ------
    ModelError
        If it is missing, too large, or no such card; names the file.
    """
    path = directory / CARD
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise ModelError(f"{path}: a card of {path.stat().st_size} bytes; at most {MAX_CARD_BYTES} are allowed")
        return Facts.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelError(f"{path}: is no card of principal components ({place}: {first['msg']})") from None


def read_basis(directory: Path) -> Basis:
    """Read components; the shapes and the digest must be those of the card.

    Raises
    ------
    ModelError
        If a file is missing, damaged or too large, or the two do not belong together.
    """
    path = directory / FILE
    try:
        return _read(path, read_facts(directory), path.stat().st_mtime_ns)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None


@lru_cache(maxsize=4)
def _read(path: Path, facts: Facts, _: Any) -> Basis:
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            size = sum(info.file_size for info in archive.infolist())
            if size > MAX_BYTES:
                raise ModelError(f"{path}: holds {size} bytes; components need less than {MAX_BYTES}")
            with np.load(stream, allow_pickle=False) as stored:
                arrays = {name: np.asarray(stored[name], float) for name in ARRAYS}
    except (ValueError, KeyError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: damaged ({error})") from None
    numbers = sum(int(np.prod(one.shape)) for one in facts.inputs)
    wanted = {"mean": (numbers,), "weights": (facts.n, numbers), "ratio": (facts.n,)}
    found = {name: array.shape for name, array in arrays.items()}
    if found != wanted:
        raise ModelError(f"{path}: holds arrays of the shapes {found}, the card says {wanted}")
    basis = Basis(**arrays, rows=facts.rows)
    if basis.digest() != facts.digest:
        raise ModelError(f"{path}: is not what {CARD} beside it describes (another digest)")
    return basis
