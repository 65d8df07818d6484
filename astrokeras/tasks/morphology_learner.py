"""Training of morphology models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TrainingError
from ..models.card import Card, Metric
from .class_learner import ClassLearner
from .examples import Examples
from .learner import MEASURED_ON, outputs
from .stamp_learner import StampLearner

if TYPE_CHECKING:
    import keras

#: Fraction of true numbers that the interval holds.
COVERAGE = 0.68


@dataclass(frozen=True)
class MorphologyClassLearner(ClassLearner):
    """Classes, possibly of stamps whose mirror images belong to another class.

    Attributes
    ----------
    exchanged : tuple of int, optional
        Class of the mirror image of each class.
    """

    exchanged: tuple[int, ...] | None = None

    @property
    def mirror(self) -> list[int] | None:
        """See `StampLearner.mirror`."""
        return None if self.exchanged is None else list(self.exchanged)

    def _counts(self, examples: Examples) -> np.ndarray:
        """Rows of each class; those of mirror images are alike, because a mirrored sky would be no other one."""
        counts = super()._counts(examples)
        return counts if self.exchanged is None else (counts + counts[list(self.exchanged)]) / 2


class _ValueLearner(StampLearner):
    """What the kinds besides classes share: one graph of all members, and its losses."""

    #: Output whose error decides.
    n_outputs: int

    def member(self, encoder: keras.Model) -> keras.Model:
        """See `Learner.member`."""
        return self.any_member(encoder, self.n_outputs)

    def truth(self, examples: Examples) -> np.ndarray:
        """See `Learner.truth`."""
        return self.joint_truth(examples.target.reshape(len(examples), -1).astype(np.float32), examples)

    def checked(self, rows: Mapping[str, Examples]) -> None:
        """See `Learner.checked`."""
        target = rows["train"].target
        if not np.nanmax(np.ptp(np.where(np.isfinite(target), target, np.nanmin(target)), axis=0)) > 0:
            raise TrainingError(f"train: all {len(target)} training rows have one target; there is nothing to learn")


class NumberLearner(_ValueLearner):
    """A number with its error: T-types as levels, or any number."""

    @property
    def ordinal(self) -> bool:
        """Whether the number has levels."""
        return self.card.morphology.kind == "ordinal"

    @property
    def n_outputs(self) -> int:
        """Outputs of a member."""
        return len(self.card.morphology.levels) if self.ordinal else 2

    def loss(self, train: Examples) -> Any:
        """See `Learner.loss`."""
        from ..layers import LevelLoss, NormalLoss

        main = LevelLoss(self.card.morphology.levels) if self.ordinal else NormalLoss(*self._place(train))
        return self.joint_loss(main, 1, self.n_outputs)

    @staticmethod
    def _place(train: Examples) -> tuple[float, float]:
        return float(train.target.mean()), float(train.target.std()) or 1.0

    def finish(self, members: Sequence[keras.Model], rows: Mapping[str, Examples]) -> tuple[keras.Model, Card]:
        """See `Learner.finish`: errors are rescaled and the interval is found on the rows ``calibrate``."""
        from ..conformal import conformal_level
        from ..layers import LevelMoments, NormalMoments
        from ..networks.stamp_member import with_errors

        center, scale = (0.0, 1.0) if self.ordinal else self._place(rows["train"])

        def behind(name: str) -> Any:
            if self.ordinal:
                return LevelMoments(self.card.morphology.levels, name=name)
            layer = NormalMoments(name=name)
            layer.build((None, 2))
            layer.set_scale(scale)
            return layer

        model = with_errors(*self.mean(members, behind), center)
        held, card = rows["calibrate"], self.card
        if len(held):
            pull = self._pulls(model, held)
            factor = float(np.sqrt(np.mean(pull**2)))
            model.get_layer("mean_and_error").set_factor(max(factor, 1e-3))
            interval = conformal_level(np.abs(pull) / max(factor, 1e-3), COVERAGE)
            # A handful of rows cannot tell.
            interval = interval if np.isfinite(interval) else 1.0
            card = card.model_copy(update={"morphology": card.morphology.model_copy(update={"interval": interval})})
        return model, card

    def _pulls(self, model: keras.Model, examples: Examples) -> np.ndarray:
        found = outputs(model, examples, "value")[:, 0], outputs(model, examples, "value_error")[:, 0]
        return (found[0] - examples.target) / found[1]

    def row_losses(self, model: keras.Model, examples: Examples) -> np.ndarray:
        """See `Learner.row_losses`: of a normal distribution."""
        error = outputs(model, examples, "value_error")[:, 0]
        return 0.5 * self._pulls(model, examples) ** 2 + np.log(error * np.sqrt(2 * np.pi))

    def metrics(self, model: keras.Model, validate: Examples) -> tuple[Metric, ...]:
        """See `Learner.metrics`."""
        if not len(validate):
            return ()
        residual = outputs(model, validate, "value")[:, 0] - validate.target
        values = {"rmse": np.sqrt(np.mean(residual**2)), "bias": residual.mean(), "mae": np.abs(residual).mean()}
        return _metrics(values, len(validate))


class AttributeLearner(_ValueLearner):
    """Several numbers from 0 to 1 of which some are undetermined."""

    @property
    def n_outputs(self) -> int:
        """Outputs of a member."""
        return len(self.card.morphology.attributes)

    def loss(self, train: Examples) -> Any:
        """See `Learner.loss`."""
        from ..layers import AttributeLoss

        return self.joint_loss(AttributeLoss(), self.n_outputs, self.n_outputs)

    def finish(self, members: Sequence[keras.Model], rows: Mapping[str, Examples]) -> tuple[keras.Model, Card]:
        """See `Learner.finish`."""
        import keras

        inputs, mean = self.mean(members, lambda name: keras.layers.Activation("sigmoid", name=name))
        return keras.Model(inputs, {"p_attribute": keras.layers.Identity(name="p_attribute")(mean)}), self.card

    def row_losses(self, model: keras.Model, examples: Examples) -> np.ndarray:
        """See `Learner.row_losses`."""
        p, target = np.clip(outputs(model, examples, "p_attribute"), 1e-6, 1 - 1e-6), examples.target
        known = np.isfinite(target)
        truth = np.where(known, target, 0)
        loss = -np.where(known, truth * np.log(p) + (1 - truth) * np.log1p(-p), 0)
        return loss.sum(axis=1) / np.maximum(known.sum(axis=1), 1)

    def metrics(self, model: keras.Model, validate: Examples) -> tuple[Metric, ...]:
        """See `Learner.metrics`: the root mean square error of each attribute."""
        if not len(validate):
            return ()
        residual = outputs(model, validate, "p_attribute") - validate.target
        known = np.isfinite(residual).sum(axis=0)
        names = self.card.morphology.attributes
        return tuple(
            Metric(name=f"rmse_{name}", value=float(np.sqrt(np.nanmean(column**2))), n=int(n), definition=MEASURED_ON)
            for name, column, n in zip(names, residual.T, known, strict=True)
            if n
        )


class VoteLearner(_ValueLearner):
    """Fractions of votes for the answers of a decision tree."""

    @property
    def sizes(self) -> list[int]:
        """Answers of each question."""
        return [len(question.answers) for question in self.card.morphology.questions]

    @property
    def n_outputs(self) -> int:
        """Outputs of a member."""
        return sum(self.sizes)

    def loss(self, train: Examples) -> Any:
        """See `Learner.loss`."""
        from ..layers import VoteLoss

        return self.joint_loss(VoteLoss(self.sizes), self.n_outputs, self.n_outputs)

    def finish(self, members: Sequence[keras.Model], rows: Mapping[str, Examples]) -> tuple[keras.Model, Card]:
        """See `Learner.finish`."""
        from ..layers import DirichletMoments
        from ..networks.stamp_member import with_errors

        return with_errors(*self.mean(members, lambda name: DirichletMoments(self.sizes, name=name))), self.card

    def _fractions(self, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
        """Fractions of the volunteers who answered a question, NaN for none, and how many they were; per answer."""
        starts = np.cumsum([0, *self.sizes[:-1]])
        total = np.repeat(np.add.reduceat(examples.target, starts, axis=1), self.sizes, axis=1)
        return np.where(total > 0, examples.target / np.maximum(total, 1), np.nan), total

    def row_losses(self, model: keras.Model, examples: Examples) -> np.ndarray:
        """See `Learner.row_losses`: cross-entropy of the votes, per vote."""
        p = np.clip(outputs(model, examples, "value"), 1e-6, 1)
        return -(examples.target * np.log(p)).sum(axis=1) / np.maximum(examples.target.sum(axis=1), 1)

    def metrics(self, model: keras.Model, validate: Examples) -> tuple[Metric, ...]:
        """See `Learner.metrics`: the root mean square error of each question's fractions."""
        if not len(validate):
            return ()
        residual = outputs(model, validate, "value") - self._fractions(validate)[0]
        ends = np.cumsum(self.sizes)
        found = []
        for question, end in zip(self.card.morphology.questions, ends, strict=True):
            own = residual[:, end - len(question.answers) : end]
            n = int(np.isfinite(own[:, 0]).sum())
            if n:
                value = float(np.sqrt(np.nanmean(own**2)))
                found.append(Metric(name=f"rmse_{question.name}", value=value, n=n, definition=MEASURED_ON))
        return tuple(found)


def _metrics(values: Mapping[str, float], n: int) -> tuple[Metric, ...]:
    return tuple(Metric(name=k, value=float(v), n=n, definition=MEASURED_ON) for k, v in values.items())
