"""What all stages with a model behind them share: what they take, and that they are trained or apply a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field as Parameter
from pydantic import StringConstraints, model_validator

from ..errors import ModelError, TrainingError, did_you_mean
from ..fields import FLAGS, Field
from ..flags import Flag
from ..models.bundle import inspected
from ..models.card import DOMAIN_SCORE, Card
from ..models.card_file import read_card
from ..models.columns import blank, decode, output_fields
from ..models.library import find
from ..models.tensors import encode, match
from .guards import Contradictions, contradictions, refuse_names
from .model_inputs import ModelInputs
from .recipe import Recipe

if TYPE_CHECKING:
    from astropy.table import QTable, Table

    from .learner import Learner

#: What a card decides beside the graph.
RULES = {
    "task",
    "bands",
    "inputs",
    "outputs",
    "may_miss",
    "extras_may_miss",
    "min_bands",
    "limits",
    "grid",
    "classes",
    "class_fractions",
    "class_sets",
    "label_balance",
    "morphology",
    "calibration",
    "domain",
}
#: Objects at once of a model that looks at stamps, at most.
STAMP_BATCH = 32
Override = Literal["filter", "photometry", "dereddened"]
Suffix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]?[A-Za-z0-9_]*$", max_length=32)]
Columns = dict[str, np.ndarray]


class ModelStage(ModelInputs):
    """Base of the stages with a model: give ``model`` to apply one, or ``bands`` and ``train`` to make one.

    Parameters
    ----------
    model : str, optional
        A model directory, or the name and version of a model that astrokeras finds (``boss-photoz@1``).
    save : str, optional
        Directory for the trained model.
    suffix : str
        Ending of the names of all columns written, so that several models stand side by side: ``rf`` gives
        ``z_phot_rf``.
    override : tuple of str
        Use the model although ``filter``, ``photometry`` or ``dereddened`` differ from what it was trained on; such
        objects are flagged PHOTOMETRY_MISMATCH.
    batch : int
        Objects that go through the network at once; at most 32 where it looks at stamps.
    """

    task: ClassVar[str]
    suffix: Suffix = ""
    override: tuple[Override, ...] = ()
    batch: int = Parameter(default=8192, ge=1, le=1_048_576)
    #: Two labels of one object agree within this times 1 + z.
    agreement: ClassVar[float] = 0.0
    #: Parameters that a model brings itself.
    of_training: ClassVar[tuple[str, ...]] = ("bands", "extra", "vectors", "stamps", "save")
    #: Whether a model needs photometry.
    needs_bands: ClassVar[bool] = True

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.model is None) == (self.train is None):
            raise ValueError(f"{self.name} needs either `model` (to apply one) or `train` (to make one)")
        if self.train is None:
            for name in self.of_training:
                if getattr(self, name):
                    raise ValueError(f"`{name}` belongs to training; a model brings its own")
            return self
        if (self.needs_bands and not self.bands) or len(set(self.bands)) < len(self.bands):
            raise ValueError(f"training needs distinct `bands`, got {list(self.bands)}")
        names = self.input_names()
        if not names or len(set(names)) < len(names):
            raise ValueError(f"training needs `stamps`, `bands`, `extra` or `vectors`, each once; got {list(names)}")
        for field in self.target_fields():
            refuse_names(names, field.name)
        for name in self.train.allow:
            if name not in names:
                raise ValueError(f"`allow`: no input {name!r}{did_you_mean(name, names)}")
        return self

    def truth(self, projected: QTable, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Targets of the chosen rows, and which of them have one; from the columns of `target_fields`."""
        return self.targets(np.asarray(projected[self.train.target])[chosen])

    def beside(self, projected: QTable) -> np.ndarray | None:
        """Numbers that a network learns along with the target, ``(rows, k)``, NaN where unknown; None for none."""
        return None

    def contradicted(self, target: np.ndarray, good: np.ndarray, group: np.ndarray) -> Contradictions:
        """Rows whose targets contradict those of another row of the same object."""
        return contradictions(np.where(good, target, np.nan), group, self.agreement)

    def _columns(self) -> tuple[str, ...] | None:
        """Names of the columns asked for, without suffix; None for all that the model gives."""
        return None

    def provisional(self, fields: tuple[Field, ...], target: np.ndarray | None) -> Card:
        """Card before training; ``target`` of the training rows, or None when no data are there yet."""
        raise NotImplementedError

    def targets(self, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers to learn from the column of the target, and which rows have one."""
        raise NotImplementedError

    def learner(self, card: Card) -> Learner:
        """Make what trains the network."""
        raise NotImplementedError

    def _settled(self, target: np.ndarray) -> Recipe:
        """Recipe with all settled that decides the columns, from the targets of all rows to train on."""
        return self.train

    def _finished(self, columns: Columns, flags: np.ndarray, card: Card, chunk: QTable) -> Columns:
        """Last word on the columns of a chunk; may set bits of ``flags``."""
        return columns

    @classmethod
    def from_pretrained(cls, model: str | Path, **parameters: Any) -> Self:
        """Stage that applies a saved model.

        Parameters
        ----------
        model : str or Path
            See ``model`` of the class.
        **parameters
            Other parameters of the class.

        Raises
        ------
        ModelError
            If there is no such model, it cannot be read, or it is for another task.
        """
        stage = cls(model=str(model), **parameters)
        stage.card()
        return stage

    def card(self) -> Card:
        """Card of the model in use.

        Raises
        ------
        ModelError
            If there is no such model, it cannot be read, or it is for another task.
        """
        return self._for_this(read_card(find(self.model)))

    def _for_this(self, card: Card) -> Card:
        if card.task != self.task:
            raise ModelError(f"model {self.model} ({card.name}) is for {card.task}, not for {self.name}")
        return card

    def model_digest(self) -> str | None:
        """See `Trainable.model_digest`."""
        return None if self.model is None else self.card().digest

    def model_state(self) -> dict[str, Any]:
        """See `Trainable.model_state`: the rules of the card count, and the name that training writes into it."""
        from .train_model import model_name

        if self.model is None:
            return {"name": model_name(self.save, self.name)}
        card = self.card()
        return {"digest": card.digest, **card.model_dump(mode="json", include=RULES)}

    def with_model(self, directory: str | Path) -> Self:
        """See `Trainable.with_model`."""
        without = {name: type(self).model_fields[name].get_default() for name in self.of_training}
        return self.model_copy(update={**without, "model": str(directory), "train": None})

    def model_facts(self) -> dict[str, str]:
        """See `Trainable.model_facts`."""
        card = self.card()
        return {"name": card.name, "version": card.version, "digest": card.digest}

    def inputs(self) -> tuple[str, ...]:
        """See `Configured.inputs`: the field that training rows are weighted to look like."""
        return () if self.train is None or self.train.reweight is None else self.train.reweight.files()

    def training_notes(self) -> tuple[str, ...]:
        """See `Trainable.training_notes`."""
        return () if self.model is None else self.card().training.notes

    def training_table(self) -> tuple[str, ...]:
        """See `Trainable.training_table`: the trials of a search."""
        from .search import trial_lines

        return () if self.model is None else trial_lines(find(self.model))

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        return self.training_inputs() if self.model is None else self.card().source_inputs()

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        card = self.provisional((), None) if self.model is None else self.card()
        named = output_fields(card, self._wanted(card))
        return (*(f.model_copy(update={"name": self._named(f.name)}) for f in named), FLAGS)

    def _named(self, column: str) -> str:
        return f"{column}_{self.suffix}" if self.suffix else column

    def accepts(self, available: tuple[Field, ...]) -> tuple[str, ...]:
        """See `Stage.accepts`."""
        if self.model is None:
            return ()
        return match(self._for_this(inspected(find(self.model))), available, self.override)

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`."""
        from ..models import backend
        from ..models.predict import predictor

        backend.start()
        if self.model is None:
            raise TrainingError(f"{self.name} has no model yet: call fit")
        # The predictor is kept by the digest of the graph; the card may have changed since.
        card = self.card()
        ready = predictor(find(self.model), batch=self._batch_of(card))
        tensors, flags = encode(chunk, card, self.override)
        columns = ready.run(tensors, lambda outputs: self._decoded(outputs, card))
        columns = blank(self._finished(columns, flags, card, chunk), flags)
        if card.scores_domain:
            flags[columns[DOMAIN_SCORE.name] > 1] |= Flag.OUT_OF_DOMAIN
        return {**{self._named(name): values for name, values in columns.items()}, FLAGS.name: flags}

    def _batch_of(self, card: Card) -> int:
        """Objects at once: convolutions take memory."""
        return self.batch if card.stamp is None else min(self.batch, STAMP_BATCH)

    def _decoded(self, outputs: Columns, card: Card) -> Columns:
        return decode(outputs, card, self._wanted(card))

    def _wanted(self, card: Card) -> tuple[str, ...] | None:
        """Columns asked for; the score that sets a flag is always among them."""
        columns = self._columns()
        if columns is None or DOMAIN_SCORE.name in columns or not card.scores_domain:
            return columns
        return (*columns, DOMAIN_SCORE.name)

    def training_fields(self) -> tuple[Field, ...]:
        """See `Trainable.training_fields`."""
        return (*self.reads(), *self.target_fields())

    def settled(self, dataset: Table) -> Self:
        """See `Trainable.settled`; needs a column ``split``."""
        from .fitting import targets_of

        return self.model_copy(update={"train": self._settled(targets_of(self, dataset))})

    def fit(self, dataset: Table, directory: str | Path, on_epoch: Callable[[str], None] | None = None) -> Self:
        """Train on a table and return a new stage with the model, saved in ``directory``.

        Parameters
        ----------
        dataset : Table
            Columns of `training_fields`; with a column ``split`` only rows marked ``train``, ``validate`` and
            ``calibrate`` are used, without one a tenth each is set aside by object to validate and calibrate.
        directory : str or Path
            Where the model goes.
        on_epoch : callable, optional
            Called with a short note after every epoch.

        Raises
        ------
        TrainingError
            If the rows cannot give a model.
        """
        from .fitting import fit

        fit(self, dataset, Path(directory), on_epoch)
        return self.with_model(directory)
