"""Classes of objects with their probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from pydantic import model_validator

from ..errors import ModelError
from ..fields import FLAGS, Field, by_name
from ..flags import Flag
from ..models.card import Card
from ..models.columns import decode, output_fields, probability_column
from .class_learner import ClassLearner
from .classify_recipe import ClassifyRecipe, class_numbers
from .field_prior import FieldPrior
from .model_stage import Columns, ModelStage
from .train_model import provisional_card

if TYPE_CHECKING:
    from astropy.table import QTable


class Classify(ModelStage):
    """Classes of objects: ``p_<class>``, ``class_label`` (the most probable one) and ``class_entropy``.

    Give ``model`` to apply one, or ``bands``, ``classes`` and ``train`` to make one.

    Parameters
    ----------
    classes : tuple of str
        Classes to tell apart, as the target column names them; ``p_<class>`` has the name in lower case.
    train : ClassifyRecipe, optional
        How to train.
    prior : FieldPrior, optional
        Class ratio of the field, for objects that are not drawn like the training set.

    Notes
    -----
    Without ``prior`` probabilities refer to objects drawn like the training rows, which are rarely drawn like a field
    of the sky; the columns say ``prior`` in their metadata. With one there is no ``class_set``, whose promise holds for
    objects drawn like the calibration rows.

    A missing band (NaN) is masked in the network, which was trained with bands hidden at random; flags say which
    objects that concerns. An object without any usable band gets NaN, no label and the flag NO_DATA.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from astrokeras.synthetic.catalog import Synthetic
    >>> source = Synthetic(rows=300, seed=1)
    >>> (rows,) = source.partitions(300)
    >>> objects = source.read(rows, [field.name for field in source.fields()])
    >>> recipe = {"width": 8, "depth": 1, "members": 1, "epochs": 1}
    >>> with TemporaryDirectory() as directory:
    ...     stage = Classify(bands=("g", "r", "i"), classes=("STAR", "GALAXY", "QSO"), train=recipe)
    ...     table = stage.fit(objects, f"{directory}/model")(objects)
    >>> table.colnames[-5:]
    ['p_galaxy', 'p_qso', 'class_label', 'class_entropy', 'domain_score']
    """

    name: ClassVar[str] = "classify"
    task: ClassVar[str] = "classify"
    target_kind: ClassVar[str] = "str"
    of_training: ClassVar[tuple[str, ...]] = (*ModelStage.of_training, "classes")
    classes: tuple[str, ...] = ()
    train: ClassifyRecipe | None = None
    prior: FieldPrior | None = None

    @model_validator(mode="after")
    def _classes_to_tell_apart(self) -> Self:
        if self.train is None:
            return self
        columns = [probability_column(name) for name in self.classes]
        if len(columns) < 2:
            raise ValueError(f"training needs two or more `classes`, got {list(self.classes)}")
        if len(set(columns)) < len(columns) or "p_" in columns:
            raise ValueError(f"`classes` need distinct names of letters and digits, got {list(self.classes)}")
        return self

    def provisional(self, fields: tuple[Field, ...], target: np.ndarray | None) -> Card:
        inputs = self.card_inputs(fields)
        output = Field(name="p_class", shape=(len(self.classes),))
        return provisional_card(self.task, self.save, self.train, inputs, (output,), classes=self.classes)

    def _columns(self) -> tuple[str, ...] | None:
        if self.prior is None:
            return None
        card = self.provisional((), None) if self.model is None else self.card()
        return tuple(f.name for f in output_fields(card) if f.name != "class_set")

    def accepts(self, available: tuple[Field, ...]) -> tuple[str, ...]:
        """See `Stage.accepts`."""
        if self.prior is not None:
            self._checked_prior()
        return super().accepts(available)

    def _checked_prior(self) -> None:
        try:
            self.prior.read().check_classes(self.classes or self.card().classes)
        except ValueError as error:
            raise ModelError(f"{self.name}: {error}") from None

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        own = super().reads()
        return own if self.prior is None else tuple(by_name((*self.prior.needs(), *own)).values())

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        said = "training set" if self.prior is None else self.prior.described()
        fields = super().writes()
        return tuple(f if f.name == FLAGS.name else f.model_copy(update={"meta": {"prior": said}}) for f in fields)

    def _decoded(self, outputs: Columns, card: Card) -> Columns:
        return super()._decoded(outputs, card) if self.prior is None else dict(outputs)

    def _finished(self, columns: Columns, flags: np.ndarray, card: Card, chunk: QTable) -> Columns:
        if self.prior is None:
            return columns
        train = dict(zip(card.classes, card.class_fractions, strict=True))
        p, applied = self.prior.apply(columns["p_class"], train, chunk)
        flags[~applied] |= Flag.NO_PRIOR
        return decode({**columns, "p_class": p}, card, self._columns())

    def targets(self, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return class_numbers(column, self.classes, self.train.target)

    def learner(self, card: Card) -> ClassLearner:
        return ClassLearner(self.train, card)
