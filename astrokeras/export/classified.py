"""Objects with their true and predicted classes: what is scored, for the sample and for its resamples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..class_metrics import BINS, brier, calibration_draws, log_loss, ratio

#: Simulated samples behind the calibration error of a perfect model.
DRAWS = 1000


class Classified:
    """Objects with their true and predicted classes, counted once so that resamples are scored fast.

    Parameters
    ----------
    truth, label : ndarray of int, shape (n,)
        Positions of the true and of the predicted class among the classes.
    probability : ndarray, shape (n, n_classes)
        Not negative, rows of any positive sum; they are normalised here.

    Raises
    ------
    ValueError
        If shapes differ, a class is out of range, or a row is no distribution.
    """

    def __init__(self, truth: np.ndarray, label: np.ndarray, probability: np.ndarray):
        p = np.asarray(probability, float)
        self.truth, self.label = np.asarray(truth, np.intp), np.asarray(label, np.intp)
        if p.ndim != 2 or not len(p) == len(self.truth) == len(self.label):
            raise ValueError(f"{len(self.truth)} true and {len(self.label)} predicted classes, probability {p.shape}")
        total = p.sum(axis=1)
        if not np.all(np.isfinite(total) & (total > 0)) or p.min(initial=0) < 0:
            raise ValueError("probabilities must not be negative, and no row may be zero or missing")
        self.n, self.n_classes = p.shape
        for classes in (self.truth, self.label):
            if self.n and not 0 <= classes.min() <= classes.max() < self.n_classes:
                raise ValueError(f"classes must be in 0 to {self.n_classes - 1}")
        self.p = p / total[:, None]
        self.top = self.p.max(axis=1, initial=0)
        self._right = self.p.argmax(axis=1) == self.truth
        self._bin = np.minimum((self.top * BINS).astype(np.intp), BINS - 1)
        self._log_loss, self._brier = log_loss(self.p, self.truth), brier(self.p, self.truth)
        self._ranked = [_ranks(self.p[:, k]) for k in range(self.n_classes)]

    def confusion(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Objects by true (rows) and predicted (columns) class, shape (n_classes, n_classes)."""
        k = self.n_classes
        return np.bincount(self.truth * k + self.label, weights, k * k).reshape(k, k)

    def scores(self, weights: np.ndarray | None = None) -> dict[str, float]:
        """Scores of the whole sample: ``accuracy balanced_accuracy log_loss brier ece``.

        Parameters
        ----------
        weights : ndarray, shape (n,), optional
            How often each object counts (in a resample); once by default.
        """
        counts = self.confusion(weights)
        weights = np.ones(self.n) if weights is None else weights
        total = weights.sum()
        right, sure = (np.bincount(self._bin, weights * v, BINS) for v in (self._right, self.top))
        return {
            "accuracy": float(np.trace(counts) / total),
            "balanced_accuracy": float(np.nanmean(ratio(np.diag(counts), counts.sum(axis=1)))),
            "log_loss": float(weights @ self._log_loss / total),
            "brier": float(weights @ self._brier / total),
            "ece": float(np.abs(right - sure).sum() / total),
        }

    def class_scores(self, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Scores of each class, shape (n_classes,); NaN where they are not defined.

        ``completeness`` and ``roc_auc`` need objects of the class, ``purity`` and ``contamination`` need objects that
        are taken for it, ``f1`` either.
        """
        counts = self.confusion(weights)
        hits, true, taken = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
        purity = ratio(hits, taken)
        auc = [_auc(order, last, self.truth == k, weights) for k, (order, last) in enumerate(self._ranked)]
        return {
            "completeness": ratio(hits, true),
            "contamination": 1 - purity,
            "purity": purity,
            "f1": ratio(2 * hits, true + taken),
            "roc_auc": np.array(auc),
        }

    def resamples(self, n: int, seed: int) -> Iterator[np.ndarray]:
        """Weights of ``n`` samples drawn with replacement; those of equal numbers of objects and seeds are equal."""
        rng = np.random.default_rng(seed)
        for _ in range(n):
            yield np.bincount(rng.integers(0, self.n, self.n), minlength=self.n).astype(float)

    def perfect_ece(self, draws: int = DRAWS, seed: int = 0) -> dict[str, float]:
        """``ece`` of a model with the same probabilities that are exactly right: ``mean`` and ``quantile_95``."""
        drawn = calibration_draws(self.p, draws, seed)
        return {"mean": float(drawn.mean()), "quantile_95": float(np.quantile(drawn, 0.95))}

    def reliability(self) -> dict[str, list[float | None]]:
        """Per bin of the highest probability ``n``, mean ``confidence`` and ``accuracy``; None in an empty bin."""
        n = np.bincount(self._bin, minlength=BINS)
        sums = {"confidence": self.top, "accuracy": self._right}
        means = {name: ratio(np.bincount(self._bin, values, BINS), n) for name, values in sums.items()}
        shown = {name: [None if np.isnan(v) else float(v) for v in values] for name, values in means.items()}
        return {"n": n.tolist(), **shown}


def trivial_baseline(truth: np.ndarray, n_classes: int) -> dict[str, float]:
    """Scores of calling all objects of this very sample its most frequent class, with the class fractions for p.

    What any method must beat. ``log_loss`` is the entropy of the fractions, ``ece`` 0.
    """
    fraction = np.bincount(truth, minlength=n_classes) / len(truth)
    label = np.full(len(truth), fraction.argmax())
    return Classified(truth, label, np.broadcast_to(fraction, (len(truth), n_classes))).scores()


def _ranks(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order of a score, and for each of its distinct values the place in it of the first object."""
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    return order, np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(score)])


def _auc(order: np.ndarray, first: np.ndarray, positive: np.ndarray, weights: np.ndarray | None) -> float:
    """Probability that an object of the class has the larger score than another one, ties counted half."""
    weights = np.ones(len(order)) if weights is None else weights
    inside = (weights * positive)[order]
    hits, others = (np.add.reduceat(w, first) if len(first) else w for w in (inside, weights[order] - inside))
    pairs = hits.sum() * others.sum()
    return float(hits @ (np.cumsum(others) - others / 2) / pairs) if pairs > 0 else float("nan")
