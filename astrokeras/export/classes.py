"""Scores of classes and of their probabilities."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..class_metrics import BINS, PROBABILITY_FLOOR
from ..errors import ChunkError, OutputError
from ..fields import Field
from ..models.columns import probability_column
from .classified import Classified, trivial_baseline
from .samples import Columns, Sample, floats, texts

DEFINITIONS = {
    "accuracy": "fraction of objects with the right label",
    "balanced_accuracy": "mean of the completeness of the classes that occur",
    "log_loss": f"mean of -ln max(p(true class), {PROBABILITY_FLOOR})",
    "brier": "mean of the sum over classes of (p - 1 for the true class, else 0)^2",
    "ece": f"expected calibration error: mean over {BINS} bins of the highest probability, weighted by objects, of "
    "|fraction that is right - mean probability|",
    "ece_perfect": "mean and 95 % quantile of the ece of a model whose probabilities, these very ones, are exact",
    "completeness": "fraction of the objects of a class that are labelled so",
    "contamination": "fraction of the objects labelled so that are of another class; purity is 1 - contamination",
    "f1": "2 * hits / (objects of the class + objects labelled so)",
    "roc_auc": "probability that an object of the class has the larger probability of it than another object",
    "confusion": "objects by true class (rows) and label (columns)",
    "error": "standard deviation over bootstrap resamples of the objects",
    "reliability": "per bin of the highest probability: objects, mean of that probability, fraction that is right",
    "baseline": "the most frequent class of the evaluated sample for all objects, with the class fractions as p",
}
#: How far from 1 the probabilities of an object may sum to; float32 and printed digits round.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Classes:
    """Classes of one method.

    Attributes
    ----------
    target, estimate : str
        Columns with the true and the estimated class.
    columns : tuple of str
        Columns with the probabilities.
    names : tuple of str
        Of the classes: what follows ``p_`` in these.
    """

    target: str
    estimate: str
    columns: tuple[str, ...]
    names: tuple[str, ...]

    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS
    better: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("log_loss", "brier", "ece", "contamination"), "lower"),
        **dict.fromkeys(("accuracy", "balanced_accuracy", "completeness", "purity", "f1", "roc_auc"), "higher"),
    }

    @classmethod
    def of(
        cls, have: Mapping[str, Field], target: str, estimate: str, owner: str, classes: Iterable[str] | None = None
    ) -> Classes:
        """Find the columns that go with an estimate: ``p_star_rf`` with ``class_label_rf``.

        Parameters
        ----------
        owner : str
            Who asks, for messages.
        classes : iterable of str, optional
            Names of the classes, where somebody named them.

        Raises
        ------
        ChunkError
            If there are less than two classes.
        """
        end = _ending(estimate)
        if classes is not None:
            columns = [probability_column(name) + end for name in classes]
        else:
            columns = [name for name, field in have.items() if _is_probability(field) and _owner(name, have) == end]
        if len(set(columns)) < 2:
            said = f"columns {', '.join(columns)}" if columns else f"no column 'p_<class>{end}'"
            raise ChunkError(f"{owner}: {estimate!r} needs the probabilities of two classes or more, there is {said}")
        return cls(target, estimate, tuple(columns), tuple(c[2 : len(c) - len(end)] for c in columns))

    def needs(self) -> list[str]:
        """See `Estimate`."""
        return [self.target, self.estimate, *self.columns]

    def known(self, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """See `Estimate`."""
        given = np.all([np.isfinite(floats(columns[name])) for name in self.columns], axis=0)
        return texts(columns[self.target]) != "", (texts(columns[self.estimate]) != "") & given

    def sample(self, columns: Columns, rows: np.ndarray) -> Sample:
        """See `Estimate`.

        Raises
        ------
        OutputError
            If an object is of a class without a probability, or its probabilities are none.
        """
        p = np.column_stack([floats(columns[name])[rows] for name in self.columns])
        wrong = (np.abs(p.sum(axis=1) - 1) > TOLERANCE) | (p.min(axis=1, initial=0) < 0)
        if wrong.any():
            shown = ", ".join(f"{name} {value:.4g}" for name, value in zip(self.columns, p[wrong][0], strict=True))
            raise OutputError(f"{wrong.sum()} rows have no probabilities that sum to 1, the first of them {shown}")
        truth, label = (self._numbers(name, texts(columns[name])[rows]) for name in (self.target, self.estimate))
        return {"truth": truth, "label": label, "p": p}

    def _numbers(self, column: str, names: np.ndarray) -> np.ndarray:
        found, inverse, counts = np.unique(names, return_inverse=True, return_counts=True)
        known = {f"p_{name}": number for number, name in enumerate(self.names)}
        numbers = np.array([known.get(probability_column(name), -1) for name in found.tolist()], np.intp)
        if np.any(numbers < 0):
            odd = int(np.argmin(numbers))
            raise OutputError(
                f"column {column!r} is {str(found[odd])!r} in {counts[odd]} rows, a class without a probability "
                f"(there are {', '.join(self.columns)}); leave such rows out with `where`"
            )
        return numbers[inverse]

    def values(self, sample: Sample) -> dict[str, float]:
        """See `Estimate`."""
        if not len(sample["truth"]):
            # The names are those of any sample.
            return dict.fromkeys(self._flat(_any(len(self.names)), None), float("nan"))
        return self._flat(Classified(**_arguments(sample)), None)

    def _flat(self, classified: Classified, weights: np.ndarray | None) -> dict[str, float]:
        flat = classified.scores(weights)
        for score, values in classified.class_scores(weights).items():
            flat |= {f"{score}.{name}": float(v) for name, v in zip(self.names, values, strict=True)}
        return flat

    def draws(self, sample: Sample, n: int, seed: int) -> dict[str, np.ndarray]:
        """See `Estimate`."""
        classified = Classified(**_arguments(sample))
        drawn = [self._flat(classified, weights) for weights in classified.resamples(n, seed)]
        return {name: np.array([scores[name] for scores in drawn]) for name in drawn[0]}

    def nested(self, scores: Mapping[str, Any], sample: Sample) -> dict[str, Any]:
        """See `Estimate`."""
        out = {name: value for name, value in scores.items() if "." not in name}
        classified = Classified(**_arguments(sample))
        out["ece_perfect"] = classified.perfect_ece() if classified.n else {"mean": None, "quantile_95": None}
        counts = classified.confusion()
        out["classes"] = {
            name: {"n": int(n), "n_labelled": int(labelled)}
            for name, n, labelled in zip(self.names, counts.sum(axis=1), counts.sum(axis=0), strict=True)
        }
        for flat in scores.keys() - out.keys():
            kind, name = flat.split(".", 1)
            out["classes"][name][kind] = scores[flat]
        out["reliability"] = classified.reliability()
        return out | {"confusion": {"classes": list(self.names), "counts": counts.astype(int).tolist()}}

    def baseline(self, sample: Sample) -> dict[str, Any]:
        """See `Estimate`."""
        truth = sample["truth"].astype(np.intp)
        frequent = self.names[int(np.bincount(truth).argmax())]
        return {"label": frequent, **trivial_baseline(truth, len(self.names))}

    def facts(self) -> dict[str, Any]:
        """See `Estimate`."""
        return {"target": self.target, "estimate": self.estimate, "classes": list(self.names)}


def _arguments(sample: Sample) -> dict[str, np.ndarray]:
    return {"truth": sample["truth"], "label": sample["label"], "probability": sample["p"]}


def _any(n_classes: int) -> Classified:
    one = np.zeros(1, int)
    return Classified(one, one, np.full((1, n_classes), 1.0))


def _is_probability(field: Field) -> bool:
    return field.name.startswith("p_") and field.kind in ("f4", "f8") and not field.shape


def _ending(estimate: str) -> str:
    """Suffix that a method gave to its columns, with the line before it."""
    end = re.fullmatch(r"class_label(_\w+)", estimate)
    return end[1] if end else ""


def _owner(column: str, have: Mapping[str, Field]) -> str:
    """Suffix of the method that wrote a probability: the longest of those of all methods that fits."""
    ends = [_ending(name) for name in have if name.startswith("class_label")]
    return max((end for end in ends if end and column.endswith(end)), key=len, default="")
