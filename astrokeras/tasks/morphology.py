"""Morphology of galaxies from stamps, features, or both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator
from pydantic import Field as Parameter

from ..errors import TrainingError
from ..fields import Field
from ..models.card import Card
from ..models.card_parts import Morphology as Told
from ..models.card_parts import Question
from ..models.columns import probability_column
from .classify_recipe import class_numbers
from .guards import Contradictions, contradictions
from .model_stage import ModelStage
from .morphology_recipe import MorphologyRecipe
from .train_model import provisional_card

if TYPE_CHECKING:
    from astropy.table import QTable

    from .learner import Learner

Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]


class Votes(BaseModel):
    """A question of a decision tree, and the columns with the number of votes for each answer.

    Parameters
    ----------
    question : str
        Its name.
    answers : dict of str to str
        Answers and their columns.
    after : str, optional
        The earlier answer, ``question.answer``, after which it is asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: Word
    answers: dict[Word, str]
    after: str | None = None


class Morphology(ModelStage):
    """Morphology of galaxies, from stamps (``stamps``), from features (``extra``, ``vectors``), or from both.

    Give ``model`` to apply one, or inputs, ``kind`` and ``train`` to make one.

    Parameters
    ----------
    kind : str
        ``classes``: ``p_<class>``, ``class_label`` and ``class_entropy``, as `Classify` writes them.
        ``ordinal`` (one of several levels, as T-types are) and ``regression``: the number ``t_type``, its standard
        error ``t_type_err`` and an interval ``t_type_lo`` to ``t_type_hi`` that holds 68 % of the true ones.
        ``attributes``: ``attr_<name>`` from 0 to 1, learnt from grades or labels, of which some may be undetermined.
        ``votes``: ``f_<question>_<answer>``, the fraction of volunteers who would answer so, its standard error
        ``f_<question>_<answer>_err``, and for questions that only some are asked ``asked_<question>``.
    classes : tuple of str
        Classes to tell apart, as the target column names them.
    mirror : dict of str to str
        Classes that a mirror image exchanges: ``{spiral_cw: spiral_acw}``.
    column : str
        Name of the number of ``ordinal`` and ``regression``.
    levels : tuple of float
        Values that an ordinal may have, rising; by default all whole numbers of the training rows' range.
    attributes : dict of str to str
        Names and columns; a value below 0 or above 1, or NaN, is undetermined.
    votes : tuple of Votes
        Questions, each after the one it depends on.
    train : MorphologyRecipe, optional
        How to train.

    Notes
    -----
    A network sees each stamp in random orientations and sizes, with noise, worse seeing and bad pixels, and predicts
    the mean over its 8 orientations. Pixels without data (NaN) are masked and flagged MASKED_PIXELS; an object without
    any gets no result and the flag NO_DATA. Stamps without a unit, such as those of a JPG, are taken as stretched
    already.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import QTable
    >>> from tempfile import TemporaryDirectory
    >>> rng = np.random.default_rng(0)
    >>> kinds = np.array(["dim", "bright"])[np.arange(60) % 2]
    >>> pixels = rng.normal(size=(60, 16, 16, 1)) + 5 * (kinds == "bright")[:, None, None, None]
    >>> table = QTable({"object_id": np.arange(60), "stamp": pixels.astype("f4"), "class_true": kinds})
    >>> recipe = {"members": 1, "epochs": 1, "stamp": {"widths": [4, 8]}}
    >>> with TemporaryDirectory() as directory:
    ...     stage = Morphology(stamps="stamp", classes=("dim", "bright"), train=recipe)
    ...     found = stage.fit(table, f"{directory}/model")(table)
    >>> found.colnames[3:]
    ['p_dim', 'p_bright', 'class_label', 'class_entropy', 'domain_score', 'flags']
    """

    name: ClassVar[str] = "morphology"
    task: ClassVar[str] = "morphology"
    needs_bands: ClassVar[bool] = False
    of_training: ClassVar[tuple[str, ...]] = (
        *ModelStage.of_training,
        *("classes", "mirror", "levels", "attributes", "votes"),
    )
    kind: Literal["classes", "ordinal", "regression", "attributes", "votes"] = "classes"
    classes: tuple[str, ...] = ()
    mirror: dict[str, str] = Parameter(default={})
    column: Word = "t_type"
    levels: tuple[float, ...] = ()
    attributes: dict[Word, str] = Parameter(default={})
    votes: tuple[Votes, ...] = ()
    train: MorphologyRecipe | None = None
    batch: int = Parameter(default=1024, ge=1, le=1_048_576)

    def inputs(self) -> tuple[str, ...]:
        """See `Configured.inputs`: also the model that a network starts from."""
        start = None if self.train is None else self.train.start
        return (*super().inputs(), *((start,) if start and Path(start).exists() else ()))

    @model_validator(mode="after")
    def _something_to_tell(self) -> Self:
        if self.train is None:
            return self
        of_kind = {"classes": ("classes", "mirror"), "ordinal": ("levels",), "attributes": ("attributes",)}
        own = {**of_kind, "votes": ("votes",)}.get(self.kind, ())
        for name in ("classes", "mirror", "levels", "attributes", "votes"):
            if getattr(self, name) and name not in own:
                raise ValueError(f"`{name}` does not belong to the kind {self.kind!r}")
        if self.kind == "classes":
            self._check_classes()
        self.told(self.levels or (0.0, 1.0))
        if self.train.method != "keras" and (self.stamps or self.kind != "classes"):
            raise ValueError(f"the method {self.train.method} tells classes by features: no `stamps`, `kind: classes`")
        if self.train.search is not None and self.kind != "classes":
            raise ValueError("`search` is for classes")
        return self

    def _check_classes(self) -> None:
        columns = [probability_column(name) for name in self.classes]
        if len(columns) < 2:
            raise ValueError(f"training needs two or more `classes`, got {list(self.classes)}")
        if len(set(columns)) < len(columns) or "p_" in columns:
            raise ValueError(f"`classes` need distinct names of letters and digits, got {list(self.classes)}")
        for name in (*self.mirror, *self.mirror.values()):
            if name not in self.classes:
                raise ValueError(f"`mirror`: no class {name!r}; there are {', '.join(self.classes)}")
        if self.mirror and self.train.calibration != "temperature":
            raise ValueError("`mirror` needs `calibration: temperature`, which is the same for all classes")

    def told(self, levels: tuple[float, ...] = ()) -> Told:
        """What the model tells, for its card."""
        questions = (Question(name=v.question, answers=tuple(v.answers), after=v.after) for v in self.votes)
        number = self.kind in ("ordinal", "regression")
        return Told(
            kind=self.kind,
            column=self.column if number else "",
            levels=levels if self.kind == "ordinal" else (),
            attributes=tuple(self.attributes),
            questions=tuple(questions),
        )

    def provisional(self, fields: tuple[Field, ...], target: np.ndarray | None) -> Card:
        levels = self.levels
        if self.kind == "ordinal" and not levels:
            levels = (0.0, 1.0) if target is None else whole_numbers(target)
        told = self.told(levels)
        size = len(told.answers) or 1
        outputs = {
            "classes": (Field(name="p_class", shape=(len(self.classes),)),),
            "attributes": (Field(name="p_attribute", shape=(len(self.attributes),)),),
        }.get(self.kind, (Field(name="value", shape=(size,)), Field(name="value_error", shape=(size,))))
        facts = {"classes": self.classes, "morphology": told, "label_balance": self.train.label_balance}
        return provisional_card(self.task, self.save, self.train, self.card_inputs(fields), outputs, **facts)

    def target_fields(self) -> tuple[Field, ...]:
        """See `ModelInputs.target_fields`: also the columns of attributes and votes, and auxiliary ones."""
        further = tuple(Field(name=name, kind="f8", unit=None) for name in self.train.auxiliary)
        if self.kind == "attributes":
            return (*(Field(name=name, kind="f8", unit=None) for name in self.attributes.values()), *further)
        if self.kind == "votes":
            names = (name for question in self.votes for name in question.answers.values())
            return (*(Field(name=name, kind="f8", unit=None) for name in names), *further)
        kind = "str" if self.kind == "classes" else "f8"
        return (Field(name=self.train.target, kind=kind, unit="" if kind == "str" else None), *further)

    def truth(self, projected: QTable, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ModelStage.truth`."""
        if self.kind == "classes":
            return class_numbers(np.asarray(projected[self.train.target])[chosen], self.classes, self.train.target)
        fields = self.target_fields()[: len(self.target_fields()) - len(self.train.auxiliary)]
        columns = np.stack([plain(projected[field.name])[chosen] for field in fields], axis=1)
        if self.kind == "attributes":
            target = np.where((columns >= 0) & (columns <= 1), columns, np.nan)
            return target, np.isfinite(target).any(axis=1)
        if self.kind == "votes":
            target = np.where(columns > 0, columns, 0.0)
            return target, (target.sum(axis=1) > 0) & np.isfinite(target).all(axis=1)
        return columns[:, 0], np.isfinite(columns[:, 0])

    def beside(self, projected: QTable) -> np.ndarray | None:
        """See `ModelStage.beside`."""
        if not self.train.auxiliary:
            return None
        return np.stack([plain(projected[name]) for name in self.train.auxiliary], axis=1)

    def contradicted(self, target: np.ndarray, good: np.ndarray, group: np.ndarray) -> Contradictions:
        """See `ModelStage.contradicted`: only classes contradict each other; numbers of two observers differ."""
        if self.kind == "classes":
            return super().contradicted(target, good, group)
        return contradictions(np.full(len(group), np.nan), group)

    def learner(self, card: Card) -> Learner:
        from .morphology_learner import AttributeLearner, MorphologyClassLearner, NumberLearner, VoteLearner

        if self.kind == "classes":
            exchanged = {**self.mirror, **{b: a for a, b in self.mirror.items()}}
            mirror = tuple(self.classes.index(exchanged.get(name, name)) for name in self.classes)
            return MorphologyClassLearner(self.train, card, mirror if self.mirror else None)
        makers = {"attributes": AttributeLearner, "votes": VoteLearner}
        return makers.get(self.kind, NumberLearner)(self.train, card)


def plain(column: np.ndarray) -> np.ndarray:
    """Numbers of a column, float64, NaN where masked."""
    column = getattr(column, "value", column)
    return np.ma.filled(np.ma.asarray(column).astype(float), np.nan)


def whole_numbers(target: np.ndarray) -> tuple[float, ...]:
    """Whole numbers from the smallest to the largest of the targets.

    Raises
    ------
    TrainingError
        If they are fewer than two, or more than 64.
    """
    if not len(target):
        raise TrainingError("train: no row of the training part has a usable target")
    low, high = np.floor(target.min()), np.ceil(target.max())
    if not 1 <= high - low < 64:
        raise TrainingError(
            f"train: targets run from {target.min():g} to {target.max():g}; say which `levels` there are"
        )
    return tuple(np.arange(low, high + 1).tolist())
