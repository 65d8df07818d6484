"""The recipe of a morphology training."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, model_validator
from pydantic import Field as Parameter

from .classify_recipe import ClassifyRecipe
from .recipe import fold_count


class MorphologyRecipe(ClassifyRecipe):
    """How a morphology model is built and trained, besides what `ClassifyRecipe` and `Recipe` say.

    Parameters
    ----------
    target : str
        Column with the true class or number; attributes and votes name columns of their own.
    auxiliary : tuple of str
        Columns with numbers that the network learns along, a T-type or the strength of a bar beside the class: what it
        has to see for them helps. A model never needs them.
    auxiliary_weight : float
        Of their mean square error, in units of their scatter, beside the loss of the target.
    label_balance : float
        ``class_label`` is the class with the largest ``p / share^label_balance``, with the share of the class among the
        training rows: 0 gives the most probable one, which is right most often; 1 the one that would be if all classes
        were equally frequent, which finds most of the rare ones. Probabilities stay what they are.
    start : str, optional
        Model whose convolutions the network starts from: any model of astrokeras that looks at stamps; or a ``.keras``
        file with a network on pictures of three colors, such as one of ``keras.applications`` without its top.
    freeze : bool or int
        Of a network with a ``start``: true, its convolutions stay as they are; a number, those of the stem and of so
        many stages stay, or so many layers of a network on pictures.
    """

    width: int = Parameter(default=64, ge=1, le=4096)
    depth: int = Parameter(default=2, ge=1, le=64)
    members: int = Parameter(default=2, ge=1, le=32)
    dropout: float = Parameter(default=0.3, ge=0, lt=1)
    learning_rate: float = Parameter(default=2e-3, gt=0)
    weight_decay: float = Parameter(default=0.05, ge=0)
    batch_size: int = Parameter(default=32, ge=1)
    epochs: int = Parameter(default=30, ge=1)
    patience: int = Parameter(default=20, ge=1)
    regions: int = Parameter(default=0, ge=0, le=0)
    cross_fit: Annotated[int, AfterValidator(fold_count)] = Parameter(default=0, ge=0, le=50)
    auxiliary: tuple[str, ...] = ()
    auxiliary_weight: float = Parameter(default=1.0, ge=0)
    label_balance: float = Parameter(default=0.0, ge=0, le=1)
    start: str | None = None
    freeze: bool | Annotated[int, Parameter(ge=0, le=10_000)] = False

    @model_validator(mode="after")
    def _start(self) -> Self:
        if self.freeze and not self.start:
            raise ValueError("`freeze` needs a model to `start` from")
        stages = self.start is not None and not self.start.endswith(".keras")
        if stages and self.freeze is not True and not 0 <= int(self.freeze) <= len(self.stamp.widths):
            raise ValueError(f"`freeze` must be true, false or 0 to {len(self.stamp.widths)} stages, got {self.freeze}")
        return self
