"""Principal components of feature vectors: few numbers for many."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Parameter

from ..errors import TrainingError
from ..fields import FLAGS, Field
from ..flags import Flag
from ..models.components import Input, principal, read_basis, read_facts, write_basis
from ..models.library import find
from ..trainable import Trainable
from .stamps import ColumnName

if TYPE_CHECKING:
    from astropy.table import QTable, Table


class Components(BaseModel):
    """How components are found.

    Parameters
    ----------
    n : int
        Number of components.
    whiten : bool
        Give each component the variance 1.
    scale : bool
        Divide each number by its scatter first: for numbers that have different units.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    #: What makes the model, for the messages of a run.
    method: ClassVar[str] = "pca"

    n: int = Parameter(default=32, ge=1, le=4096)
    whiten: bool = False
    scale: bool = False


class Pca(Trainable):
    """Principal components of columns that hold numbers or vectors: of ``pixels``, of ``hog``, of colors.

    Components are those of the training rows that miss nothing, the largest first, found by
    `sklearn.decomposition.PCA` from their covariance; the sign is such that the largest coefficient of each is
    positive. A target has no say in them. Where a pipeline splits into folds all rows share one set of components,
    because components of different folds could not be compared; they have then seen the inputs of every fold.

    An object that misses one of the numbers gets NaN and the flag ``MISSING_INPUT``.

    Parameters
    ----------
    vectors : tuple of str
        Columns whose cells hold several numbers; with ``extra`` 8192 numbers in all.
    extra : tuple of str
        Columns of single numbers.
    train : Components, optional
        Find components: ``{n: 32}``.
    model : str, optional
        Directory of components that were found before.
    save : str, optional
        Directory for those that are found.
    column : str
        Name of the column that is written.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> table = QTable({"hog": np.random.default_rng(1).normal(size=(50, 36))})
    >>> stage = Pca(vectors=["hog"], train={"n": 4}).fit(table, "products/hog-pca")
    >>> stage(table)["pca"].shape
    (50, 4)
    """

    name: ClassVar[str] = "pca"

    vectors: tuple[ColumnName, ...] = ()
    extra: tuple[ColumnName, ...] = ()
    train: Components | None = None
    column: ColumnName = "pca"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.model is None) == (self.train is None):
            raise ValueError("pca needs either `model` (components found before) or `train` (to find some)")
        names = (*self.vectors, *self.extra)
        if self.model is not None and (names or self.save):
            raise ValueError("`vectors`, `extra` and `save` belong to training; a model brings its own")
        if self.train is not None and (not names or len(set(names)) < len(names)):
            raise ValueError(f"training needs `vectors` or `extra`, each column once; got {list(names)}")
        return self

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        if self.model is None:
            vectors = (Field(name=name, unit=None, shape=(-1,)) for name in self.vectors)
            return (*vectors, *(Field(name=name, unit=None) for name in self.extra))
        return tuple(one.field() for one in read_facts(find(self.model)).inputs)

    def training_fields(self) -> tuple[Field, ...]:
        """See `Trainable.training_fields`."""
        return self.reads()

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        facts = None if self.model is None else read_facts(find(self.model))
        n = self.train.n if facts is None else facts.n
        of = ", ".join((*self.vectors, *self.extra) if facts is None else [one.name for one in facts.inputs])
        share = "" if facts is None else f", {facts.explained:.3f} of the variance"
        field = Field(name=self.column, shape=(n,), kind="f4", description=f"Principal components of {of}{share}")
        return (field, FLAGS)

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`."""
        if self.model is None:
            raise TrainingError("pca has no components yet: call fit")
        basis = read_basis(find(self.model))
        values = basis.of(together([np.asarray(chunk[field.name]) for field in self.reads()]))
        lacking = ~np.isfinite(values).all(axis=1)
        return {self.column: values, "flags": np.where(lacking, int(Flag.MISSING_INPUT), 0).astype(np.int32)}

    def fit(self, dataset: Table, directory: str | Path, on_epoch: Callable[[str], None] | None = None) -> Self:
        """Find components in a table and return a stage with them, saved in ``directory``.

        Parameters
        ----------
        dataset : Table
            The ``columns``; where there is a column ``split``, rows marked ``train`` alone have a say.
        directory : str or Path
            Where the components go.
        on_epoch : callable, optional
            Called once.

        Raises
        ------
        TrainingError
            If the rows are too few or the numbers too many.
        """
        from .. import chunk as border

        table = border.canonical(dataset)
        projected = border.project(table, self.training_fields(), self.name)
        rows = self.chosen(projected, table)
        if "split" in table.colnames:
            rows &= np.asarray(table["split"]).astype(str) == "train"
        names = [field.name for field in self.reads()]
        values = together([np.asarray(projected[name]) for name in names])[rows]
        inputs = tuple(Input.of(name, projected[name]) for name in names)
        basis = principal(values, self.train.n, whiten=self.train.whiten, scale=self.train.scale)
        write_basis(Path(directory), basis, inputs, self.save)
        if on_epoch is not None:
            on_epoch(f"{self.train.n} components of {values.shape[1]} numbers")
        return self.with_model(directory)

    def with_model(self, directory: str | Path) -> Self:
        """See `Trainable.with_model`."""
        return self.model_copy(
            update={"vectors": (), "extra": (), "save": None, "model": str(directory), "train": None}
        )

    def with_folds(self, stages: Iterable[Trainable]) -> Self:
        """All rows go through the components of all training rows."""
        return self

    def model_digest(self) -> str | None:
        """See `Trainable.model_digest`."""
        return None if self.model is None else read_facts(find(self.model)).digest

    def model_facts(self) -> dict[str, str]:
        """See `Trainable.model_facts`."""
        facts = read_facts(find(self.model))
        return {"name": facts.name, "version": facts.version, "digest": facts.digest}

    def accepts(self, available: tuple[Field, ...]) -> tuple[str, ...]:
        """See `Stage.accepts`: the directory holds components."""
        if self.model is not None:
            read_basis(find(self.model))
        return ()


def together(columns: list[np.ndarray]) -> np.ndarray:
    """Numbers of all columns side by side, float64 ``(rows, numbers)``."""
    numbers = [np.ma.filled(column.astype(float), np.nan) for column in columns]
    return np.concatenate([array[:, None] if array.ndim == 1 else array for array in numbers], axis=1)
