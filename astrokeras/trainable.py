"""Trainable: the stage with a model, which a ``train:`` block makes and ``model:`` names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import PrivateAttr

from .errors import TrainingError
from .fields import FOLD, Field
from .stage import Stage, require

if TYPE_CHECKING:
    from astropy.table import QTable, Table


class Trainable(Stage):
    """A stage with a model, which a ``train:`` block makes and ``model:`` names."""

    #: Whether its columns are coordinates, which mean nothing beside those of another model: with folds, what is
    #: trained on them sees, for each fold, all rows in the coordinates of one model.
    basis: ClassVar[bool] = False
    #: Whether it is fitted on one partition after the other (`fit_parts`), for rows that memory does not hold at once.
    streams: ClassVar[bool] = False

    model: str | None = None
    save: str | None = None
    _folds: tuple[Trainable, ...] = PrivateAttr(())

    @property
    def trains(self) -> bool:
        """Whether this stage has to be fitted before it can run."""
        return getattr(self, "train", None) is not None

    def training_fields(self) -> tuple[Field, ...]:
        """Fields needed to fit, the target included."""
        raise NotImplementedError

    def model_digest(self) -> str | None:
        """Digest of the model's architecture and weights; None before it is trained."""
        raise NotImplementedError

    def model_state(self) -> Any:
        """What of the model decides the result, as JSON: more than the digest if its card has a say."""
        return self.model_digest()

    def with_model(self, directory: str | Path) -> Self:
        """Return the stage that applies a model, with all that concerns training left out."""
        raise NotImplementedError

    def model_facts(self) -> dict[str, str]:
        """Name, version and digest of the model in use, for provenance."""
        raise NotImplementedError

    def training_notes(self) -> tuple[str, ...]:
        """What the training of the model in use found suspicious."""
        return ()

    def training_table(self) -> tuple[str, ...]:
        """What the training tried, line by line."""
        return ()

    def fit(self, dataset: Table, directory: str | Path, on_epoch: Callable[[str], None] | None = None) -> Self:
        """Fit on a table and return a **new** stage which uses the model saved in ``directory``."""
        raise NotImplementedError

    def fit_parts(
        self, parts: Iterable[Table], directory: str | Path, on_epoch: Callable[[str], None] | None = None
    ) -> Self:
        """As `fit`, on tables that come one after the other, once; needed where ``streams``."""
        raise NotImplementedError

    def settled(self, dataset: Table) -> Self:
        """Stage with all settled that decides which columns its models write (a grid of redshifts, the classes).

        Called with all rows before models are fitted on parts of them, so that these write the same columns.
        """
        return self

    @property
    def folds(self) -> tuple[Trainable, ...]:
        """Stages with the models of the folds; empty if there are none."""
        return self._folds

    def with_folds(self, stages: Iterable[Trainable]) -> Self:
        """Return the stage that takes the row of fold k through the k-th of ``stages``, rows of no fold (-1) itself.

        Raises
        ------
        TrainingError
            If these write other columns.
        """
        stage, stages = self.model_copy(), tuple(stages)
        if any(_columns(other) != _columns(self) for other in stages):
            raise TrainingError(f"{self.name}: the models of the folds do not write the same columns")
        stage._folds = stages
        return stage

    def of_fold(self, k: int | None) -> Trainable:
        """Stage with the model of fold k for all rows, or with that of all folds (None)."""
        return self.with_folds(()) if k is None else self._folds[k]

    def needs(self) -> tuple[Field, ...]:
        """See `Stage.needs`; and the fold of each row, where there are models of folds."""
        return (*super().needs(), *((FOLD,) if self._folds else ()))

    def _run_selected(self, projected: QTable, taken: QTable) -> dict[str, Any]:
        if not self._folds or not len(taken):
            return super()._run_selected(projected, taken)
        from . import chunk as border

        require(FOLD.name in taken.colnames, f"{self.name}: no column 'fold' says which model has not seen an object")
        fold = np.asarray(taken[FOLD.name])
        runs = (super()._run_selected, *(stage._run_selected for stage in self._folds))
        chosen = (np.flatnonzero(fold == k) for k in range(-1, len(self._folds)))
        return border.gather(zip(runs, chosen, strict=True), projected, taken, self.writes(), self.name)


def _columns(stage: Stage) -> list[Field]:
    """Columns without their descriptions, which may quote the numbers of a model."""
    return [field.model_copy(update={"description": ""}) for field in stage.writes()]
