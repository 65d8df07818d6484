"""Principal components of vectors, stamps and numbers: the stage ``pca``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Parameter

from ..errors import ModelError, TrainingError
from ..fields import FLAGS, Field, by_name
from ..models.bundle import inspected, load, save
from ..models.card import Card
from ..models.card_file import read_card
from ..models.card_parts import Components
from ..models.library import find
from ..models.tensors import match
from ..stage import require
from ..trainable import Trainable
from .pca_fit import Gathered, whole_rows
from .principal_components import MAX_WIDTH, principal_components
from .stamps import ColumnName

if TYPE_CHECKING:
    from astropy.table import QTable, Table


class ComponentsRecipe(BaseModel):
    """How principal components are fitted.

    Parameters
    ----------
    n : int
        Number of components, by falling variance.
    whiten : bool
        Divide each by its standard deviation, so that all have the variance 1 in the training rows.
    scale : bool
        Divide each number by its standard deviation first: for numbers of different units.
    name : str
        Of the model; by default that of the directory it is saved in.
    licence, description : str
        Written into the card.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: ClassVar[str] = "pca"
    steps: ClassVar[int] = 1

    n: int = Parameter(default=32, ge=1, le=4096)
    whiten: bool = False
    scale: bool = False
    name: str = ""
    licence: str = ""
    description: str = ""


class Pca(Trainable):
    """Principal components of vectors, stamps or numbers, as one vector: fewer numbers that hold most of the variance.

    Give ``train`` to fit them, on rows of the part ``train`` of the split alone, or ``model`` to apply what was fitted.
    With several inputs, the components are those of all together. The sign of a component makes its largest element
    positive.

    A row in which a number is missing has no components: NaN, and the flag ``MISSING_INPUT`` (with ``MASKED_PIXELS``
    where it is one of a stamp). It has no say in the fit.

    With ``folds``, training rows get the components of the fit without their fold. Models that are trained on them see,
    for each fold, all rows in the components of that one fit.

    Parameters
    ----------
    model : str, optional
        A model directory, or the name and version of a model that astrokeras finds.
    train : ComponentsRecipe, optional
        Fit, and how.
    save : str, optional
        Directory for what was fitted.
    vectors : tuple of str
        Columns whose cells hold several numbers (``pixels``, ``hog``).
    extra : tuple of str
        Columns of numbers.
    stamps : str, optional
        Column of stamps, cells ``(y, x, band)``.
    column : str
        Name of the column that is written.

    Notes
    -----
    Moments of the rows are gathered partition by partition, so that memory does not grow with the rows. It grows with
    the square of the numbers in a row, of which there may be 8192: of larger stamps take the stage ``pixels`` with a
    ``block``. Results are those of `sklearn.decomposition.PCA`, in double precision.

    Examples
    --------
    >>> import tempfile
    >>> from astropy.table import QTable
    >>> rng = np.random.default_rng(0)
    >>> table = QTable({"pixels": rng.normal(size=(50, 1)) * np.ones(64) + rng.normal(0, 0.1, (50, 64))})
    >>> stage = Pca(vectors=["pixels"], train={"n": 2})
    >>> stage = stage.fit(table, tempfile.mkdtemp() + "/pca")
    >>> stage(table)["pca"].shape, stage.card().components.explained_variance_ratio[0].__round__(2)
    ((50, 2), 0.99)
    """

    name: ClassVar[str] = "pca"
    basis: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    train: ComponentsRecipe | None = None
    vectors: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    stamps: str | None = None
    column: ColumnName = "pca"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.model is None) == (self.train is None):
            raise ValueError("pca needs either `model` (to apply one) or `train` (to fit one)")
        names = self.input_names()
        if self.train is None and (names or self.save):
            raise ValueError("`vectors`, `extra`, `stamps` and `save` belong to training; a model brings its own")
        if self.train is not None and (not names or len(set(names)) < len(names)):
            raise ValueError(f"training needs `vectors`, `extra` or `stamps`, each column once; got {list(names)}")
        if self.column in names:
            raise ValueError(f"`column`: {self.column!r} is an input")
        return self

    def input_names(self) -> tuple[str, ...]:
        """Columns to fit on."""
        return (*self.vectors, *self.extra, *((self.stamps,) if self.stamps else ()))

    def card(self) -> Card:
        """Card of the model in use.

        Raises
        ------
        ModelError
            If there is no such model, it cannot be read, or it is for another task.
        """
        return self._for_this(read_card(find(self.model)))

    def _for_this(self, card: Card) -> Card:
        if card.task != self.name:
            raise ModelError(f"model {self.model} ({card.name}) is for {card.task}, not for {self.name}")
        return card

    def model_digest(self) -> str | None:
        """See `Trainable.model_digest`."""
        return None if self.model is None else self.card().digest

    def model_state(self) -> dict[str, Any]:
        """See `Trainable.model_state`: inputs and their units count, and what the description quotes."""
        if self.model is None:
            return {"save": Path(self.save).parts[-2:] if self.save else ()}
        card = self.card()
        return {"digest": card.digest, **card.model_dump(mode="json", include={"inputs", "outputs", "components"})}

    def model_facts(self) -> dict[str, str]:
        """See `Trainable.model_facts`."""
        card = self.card()
        return {"name": card.name, "version": card.version, "digest": card.digest}

    def with_model(self, directory: str | Path) -> Self:
        """See `Trainable.with_model`."""
        nothing = {"train": None, "save": None, "vectors": (), "extra": (), "stamps": None}
        return self.model_copy(update={**nothing, "model": str(directory)})

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        if self.model is not None:
            return self.card().source_inputs()
        shapes = {**dict.fromkeys(self.vectors, (-1,)), **dict.fromkeys(self.extra, ())}
        shapes |= {self.stamps: (-1, -1, -1)} if self.stamps else {}
        return tuple(Field(name=name, unit=None, shape=shape) for name, shape in shapes.items())

    def training_fields(self) -> tuple[Field, ...]:
        """See `Trainable.training_fields`."""
        return self.reads()

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        if self.model is None:
            count, said = self.train.n, f"Principal components of {', '.join(self.input_names())}"
        else:
            card = self.card()
            count, total = card.outputs[0].shape[0], sum(card.components.explained_variance_ratio)
            said = f"Principal components of {', '.join(field.name for field in card.inputs)}, "
            said += f"{total:.3f} of the variance of {card.training.count} training rows"
        return (Field(name=self.column, shape=(count,), description=said, ucd="stat.fit.param"), FLAGS)

    def accepts(self, available: tuple[Field, ...]) -> tuple[str, ...]:
        """See `Stage.accepts`: how many numbers there are is known before any is read."""
        known, card = by_name(available), None
        if self.model is not None:
            card = self._for_this(inspected(find(self.model)))
            match(card, available)
        fields = [known[field.name] for field in self.reads() if field.name in known]
        for field, wanted in ((f, by_name(self.reads())[f.name].shape) for f in fields):
            fits = len(field.shape) == len(wanted) and all(
                -1 in (a, b) or a == b for a, b in zip(field.shape, wanted, strict=True)
            )
            require(fits, f"{field.name!r} has cells of shape {field.shape}, needs {wanted}")
        widths = [math.prod(field.shape) for field in fields if -1 not in field.shape]
        if card is None and len(widths) == len(self.input_names()):
            self.check_width(sum(widths))
            names = ", ".join(self.input_names())
            require(self.train.n <= sum(widths), f"{names}: {sum(widths)} numbers have no {self.train.n} components")
        return ()

    def check_width(self, width: int) -> None:
        """Raise ChunkError if rows have more numbers than their covariance is held of."""
        names = ", ".join(self.input_names())
        require(width <= MAX_WIDTH, f"{names}: {width} numbers in a row; {MAX_WIDTH} at most (`pixels` has a `block`)")

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`."""
        if self.model is None:
            raise TrainingError("pca has no model yet: call fit")
        bundle = load(find(self.model))
        tensors, flags, whole = whole_rows(chunk, self._for_this(bundle.card))
        found = bundle.model(tensors)["pca"]
        found[~whole] = np.nan
        return {self.column: found, FLAGS.name: flags}

    def fit(self, dataset: Table, directory: str | Path, on_epoch: Callable[[str], None] | None = None) -> Self:
        """Fit on a table and return a new stage with the model, saved in ``directory``.

        Parameters
        ----------
        dataset : Table
            Columns of `training_fields`; with a column ``split`` only rows marked ``train`` are used, without one all.
        directory : str or Path
            Where the model goes.
        on_epoch : callable, optional
            Called with a short note at the end.

        Raises
        ------
        TrainingError
            If the rows cannot give so many components.
        """
        return self.fit_parts([dataset], directory, on_epoch)

    def fit_parts(
        self, parts: Iterable[Table], directory: str | Path, on_epoch: Callable[[str], None] | None = None
    ) -> Self:
        """See `Trainable.fit_parts`."""
        gathered = Gathered(self)
        for part in parts:
            gathered.add(part)
        recipe = self.train
        projection, ratios = principal_components(gathered.moments, recipe.n, recipe.whiten, recipe.scale)
        components = Components(
            whiten=recipe.whiten, scale=recipe.scale, explained_variance_ratio=tuple(ratios.tolist())
        )
        card = gathered.card.model_copy(update={"components": components, "training": gathered.training()})
        save(directory, projection, card, gathered.golden, overwrite=True)
        if on_epoch is not None:
            on_epoch(f"{ratios.sum():.1%} of the variance")
        return self.with_model(directory)
