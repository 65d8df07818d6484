"""Training of classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TrainingError
from ..models.card import Card, ClassSetRule, Metric
from .classify_recipe import class_weights, resampled
from .examples import Examples, HeldOut
from .learner import HIDING, MEASURED_ON, TRUNK, outputs
from .stamp_learner import StampLearner

if TYPE_CHECKING:
    import keras

    from ..models.classical import Classical

#: Exponent of the focal loss (Lin et al. 2017).
FOCUS = 2.0


class ClassLearner(StampLearner):
    """Members give logits; the mean of their probabilities is corrected for ``imbalance`` and calibrated."""

    def member(self, encoder: keras.Model) -> keras.Model:
        """See `Learner.member`."""
        from ..networks.classes import class_network

        if self.looks:
            return self.any_member(encoder, len(self.card.classes))
        settings = self.settings((*HIDING, *TRUNK)) | {"instruments": self.instruments}
        return class_network(encoder, len(self.card.classes), **settings)

    def loss(self, train: Examples) -> Any:
        """See `Learner.loss`."""
        from ..layers import ClassLoss

        counts, imbalance = self._counts(train), self.recipe.imbalance
        main = ClassLoss(
            class_weights=class_weights(counts) if imbalance == "weights" else None,
            focus=FOCUS if imbalance == "focal" else 0.0,
            label_noise=self.recipe.label_noise,
            class_ratio=self._learnt_ratio(counts),
        )
        return self.joint_loss(main, 1, len(counts))

    def _learnt_ratio(self, counts: np.ndarray) -> np.ndarray:
        """Ratio of the classes as the loss counts them."""
        even = self.recipe.imbalance in ("weights", "resample")
        return np.full(len(counts), 1 / len(counts)) if even else counts / counts.sum()

    def learnt_from(self, train: Examples) -> Examples:
        """See `Learner.learnt_from`: with ``resample``, rows of rare classes come several times."""
        if self.recipe.imbalance != "resample":
            return train
        return train.take(resampled(train.target, self.recipe.seed))

    def checked(self, rows: Mapping[str, Examples]) -> None:
        """See `Learner.checked`: each class needs rows to learn from."""
        counts = self._counts(rows["train"])
        for name, count in zip(self.card.classes, counts, strict=True):
            if count < 2:
                raise TrainingError(
                    f"train: class {name!r} has {count} training rows of {len(rows['train'])}; at least 2 are needed"
                )

    def finish(self, members: Sequence[keras.Model], rows: Mapping[str, Examples]) -> tuple[keras.Model, Card]:
        """See `Learner.finish`."""
        from ..networks.classes import Prepared, fit_calibration, set_calibration

        counts, kind = self._counts(rows["train"]), self.recipe.calibration
        model = self._joined(members, counts, rows["train"])
        held, found = rows["calibrate"], {"class_fractions": self.class_fractions(rows["train"])}
        if self.folds:
            return model, self.card.model_copy(update=found)
        if len(held):
            p, trees = self.before_calibration(model, held).swapaxes(0, 1)
            set_calibration(model, fit_calibration(p, held.target, kind, Prepared.of(model), trees))
        return model, self.card.model_copy(update=found | self._sets(model, held))

    @property
    def folds(self) -> int:
        """See `Learner.folds`: networks on stamps, which learn for long, calibrate on rows set aside."""
        return 0 if self.looks or self.recipe.method != "keras" else self.recipe.cross_fit

    def before_calibration(self, model: keras.Model, rows: Examples) -> np.ndarray:
        """Probabilities of the networks and of the trees, ``(rows, 2, classes)``; without trees, twice the former."""
        from ..networks.classes import before_calibration

        raw = before_calibration(model)
        last = "p_trees" if "p_trees" in raw.output else "p_class"
        return np.stack([outputs(raw, rows, name) for name in ("p_class", last)], axis=1)

    def recalibrate(self, model: keras.Model, card: Card, held: HeldOut) -> tuple[keras.Model, Card]:
        """See `Learner.recalibrate`: rows set aside, as the model says, count beside those of the folds."""
        from ..networks.classes import Prepared, fit_calibration, set_calibration

        said, target = held.output, held.examples.target
        if len(held.aside):
            said = np.concatenate([said, self.before_calibration(model, held.aside)])
            target = np.concatenate([target, held.aside.target])
        prepared = Prepared.of(model)
        p, trees = said.swapaxes(0, 1)
        scaling = fit_calibration(p, target, self.recipe.calibration, prepared, trees)
        set_calibration(model, scaling)
        return model, card.model_copy(update=self._rule(scaling.apply(p, prepared, trees), target))

    def _joined(self, members: Sequence[keras.Model], counts: np.ndarray, train: Examples) -> keras.Model:
        """One graph of all members, not calibrated."""
        import keras

        from ..networks.classes import class_ensemble, class_model

        noise = self.recipe.label_noise, self._learnt_ratio(counts)
        settings = (self._factor(counts), self.recipe.calibration, *noise)
        if not self.looks:
            return class_ensemble(members, *settings, self._forest(members[0].get_layer("encoder"), train))
        return class_model(*self.mean(members, lambda name: keras.layers.Softmax(name=name)), *settings)

    def _forest(self, encoder: keras.Model, train: Examples) -> keras.layers.Layer | None:
        """Trees beside the networks; None where the recipe has none, or networks learn another class ratio."""
        from .trees import grown

        if not self.recipe.trees or self.recipe.imbalance != "none":
            return None
        trees = grown(self, encoder, train)
        return None if trees is None else trees.layer(encoder.output_shape[-1])

    def wrapped(self, encoder: keras.Model, estimator: Any, rows: Mapping[str, Examples]) -> tuple[Classical, Card]:
        """See `Learner.wrapped`: support vectors get a logistic regression, others the calibration of networks."""
        from ..models.classical import Classical

        counts, held = self._counts(rows["train"]), rows["calibrate"]
        model = Classical(
            encoder, estimator, {"slope": np.ones(1), "offset": np.zeros(1), "voters": _voters(estimator)}
        )
        if self.recipe.method == "svm_rbf":
            features = model.features(held.tensors)
            model = replace(model, arrays=self._from_decisions(estimator, features, held.target))
        elif len(held):
            model = replace(model, arrays={**model.arrays, **self._scaling(model, held)})
        found = {"class_fractions": tuple((counts / counts.sum()).tolist())}
        return model, self.card.model_copy(update=found | self._sets(model, held))

    def _scaling(self, model: Classical, held: Examples) -> dict[str, np.ndarray]:
        from ..networks.classes import fit_calibration

        scaling = fit_calibration(outputs(model, held, "p_class"), held.target, self.recipe.calibration)
        return {"slope": np.asarray(scaling.slope, float), "offset": np.asarray(scaling.offset, float)}

    def _from_decisions(self, estimator: Any, features: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
        """Logistic regression on the decisions between pairs of classes: Platt (1999), for any number of classes."""
        from sklearn.linear_model import LogisticRegression

        counts = np.bincount(target.astype(int), minlength=len(self.card.classes))
        for name, count in zip(self.card.classes, counts, strict=True):
            if count < 2:
                raise TrainingError(
                    f"train: {self.recipe.method} needs 2 or more rows of each class to calibrate its probabilities "
                    f"on, class {name!r} has {count}; give `split: {{calibrate: ...}}`"
                )
        decisions = estimator.decision_function(features).reshape(len(features), -1)
        fitted = LogisticRegression(max_iter=1000).fit(decisions, target)
        weights, offset = fitted.coef_.T, fitted.intercept_
        if weights.shape[1] == 1:
            # Of two classes it gives the odds of the second.
            weights, offset = np.hstack([np.zeros_like(weights), weights]), np.array([0.0, offset[0]])
        return {"weights": np.ascontiguousarray(weights), "offset": offset}

    def _sets(self, model: keras.Model | Classical, held: Examples) -> dict[str, Any]:
        if self.recipe.class_sets is None:
            return {}
        if not len(held):
            others = "" if self.looks else " or `cross_fit`"
            raise TrainingError(
                f"train: class_sets need rows to calibrate on; give `split: {{calibrate: ...}}`{others}"
            )
        return self._rule(outputs(model, held, "p_class"), held.target)

    def _rule(self, p: np.ndarray, target: np.ndarray) -> dict[str, Any]:
        """Rule of ``class_sets`` from probabilities of rows that had no say in them."""
        from ..probabilities import conformal_quantile

        wanted = self.recipe.class_sets
        if wanted is None:
            return {}
        quantile = conformal_quantile(p, target, wanted.coverage, wanted.method)
        rule = ClassSetRule(coverage=wanted.coverage, method=wanted.method, quantile=quantile, n=len(target))
        return {"class_sets": rule}

    def _factor(self, counts: np.ndarray) -> np.ndarray | None:
        """What brings probabilities back to the class ratio of the training rows."""
        if self.recipe.imbalance == "weights":
            return 1 / class_weights(counts)
        # Resampling draws every class as often as the largest: rate n_max / n_k.
        return counts / counts.max() if self.recipe.imbalance == "resample" else None

    def class_fractions(self, examples: Examples) -> tuple[float, ...]:
        """Class ratio that probabilities refer to: where rows have weights, that of the weighted rows."""
        total = np.bincount(examples.target.astype(int), examples.weight, minlength=len(self.card.classes))
        return tuple((total / total.sum()).tolist())

    def _counts(self, examples: Examples) -> np.ndarray:
        return np.bincount(examples.target.astype(int), minlength=len(self.card.classes))

    def truth(self, examples: Examples) -> np.ndarray:
        """See `Learner.truth`."""
        return self.joint_truth(examples.target.astype(np.int32), examples)

    def row_losses(self, model: keras.Model, examples: Examples) -> np.ndarray:
        """See `Learner.row_losses`."""
        from ..class_metrics import log_loss

        return log_loss(outputs(model, examples, "p_class"), examples.target)

    def metrics(self, model: keras.Model | Classical, validate: Examples) -> tuple[Metric, ...]:
        """See `Learner.metrics`."""
        from .. import class_metrics

        if not len(validate):
            return ()
        p, target = outputs(model, validate, "p_class"), validate.target
        values = {
            "log_loss": class_metrics.log_loss(p, target).mean(),
            "accuracy": class_metrics.accuracy(p, target),
            "balanced_accuracy": class_metrics.balanced_accuracy(p, target),
        }
        return tuple(Metric(name=k, value=float(v), n=len(validate), definition=MEASURED_ON) for k, v in values.items())


def _voters(estimator: Any) -> np.ndarray:
    """Number of trees or neighbours whose votes a probability counts; 0 where it is no share."""
    return np.asarray(float(getattr(estimator, "n_estimators", getattr(estimator, "n_neighbors", 0))))
