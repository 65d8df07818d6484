"""Metrics of class probabilities, with one definition each.

Probabilities have the shape (n, classes); ``target`` holds the numbers of the true classes, (n,).

- ``log_loss``: -ln of the probability of the true class, at least 1e-12;
- ``brier``: sum over the classes of (p - 1 for the true class, else 0)^2 (Brier 1950), from 0 to 2;
- ``accuracy``: fraction whose most probable class is the true one; ``balanced_accuracy``: mean completeness;
- ``completeness`` of a class: fraction of its objects that are given it; ``contamination``: fraction of the objects
  given a class that are of another one;
- ``calibration_error``: of the highest probability, in 15 bins of equal width (Naeini et al. 2015).
"""

from __future__ import annotations

import numpy as np

#: Smallest probability that ``log_loss`` lets through.
PROBABILITY_FLOOR = 1e-12
BINS = 15


def log_loss(probability: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of each object, shape (n,); the loss of a sample is the mean."""
    p = np.asarray(probability, float)
    return -np.log(np.maximum(p[np.arange(len(p)), target], PROBABILITY_FLOOR))


def brier(probability: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Brier score of each object, shape (n,)."""
    p = np.asarray(probability, float)
    return np.sum((p - np.eye(p.shape[1])[np.asarray(target, int)]) ** 2, axis=1)


def accuracy(probability: np.ndarray, target: np.ndarray) -> float:
    """Fraction of objects whose most probable class is the true one."""
    return float(np.mean(np.argmax(probability, axis=1) == target))


def confusion(probability: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Numbers of objects, shape (classes, classes): the true class in rows, the most probable one in columns."""
    n = np.shape(probability)[1]
    found = np.argmax(probability, axis=1)
    return np.bincount(np.asarray(target, int) * n + found, minlength=n * n).reshape(n, n)


def completeness(probability: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Completeness of each class, shape (classes,); NaN for a class without objects."""
    table = confusion(probability, target)
    return ratio(np.diag(table), table.sum(axis=1))


def contamination(probability: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Contamination of each class, shape (classes,); NaN for a class that no object is given."""
    table = confusion(probability, target)
    return 1 - ratio(np.diag(table), table.sum(axis=0))


def balanced_accuracy(probability: np.ndarray, target: np.ndarray) -> float:
    """Mean completeness of the classes that occur."""
    return float(np.nanmean(completeness(probability, target)))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Quotient; NaN for nothing of nothing."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def calibration_error(probability: np.ndarray, target: np.ndarray) -> float:
    """Expected calibration error: mean distance, over the bins, of the accuracy from the highest probability."""
    confidence = np.max(probability, axis=1)
    return _gap(confidence, np.argmax(probability, axis=1) == target)


def _gap(confidence: np.ndarray, right: np.ndarray) -> float:
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(place, right - confidence, minlength=BINS)).sum() / len(confidence))


def calibration_floor(probability: np.ndarray, level: float = 0.95, n: int = 500, seed: int = 0) -> float:
    """Quantile of the `calibration_error` that the same probabilities would have if they were exactly right.

    A finite sample never scores 0: only an error above this tells of a fault.

    Parameters
    ----------
    probability : ndarray, shape (n, classes)
        Of the sample.
    level : float
        Of the quantile.
    n, seed : int
        Number of simulated samples, and seed of their random numbers.
    """
    return float(np.quantile(calibration_draws(probability, n, seed), level))


def calibration_draws(probability: np.ndarray, n: int = 500, seed: int = 0) -> np.ndarray:
    """`calibration_error` of samples whose true classes are drawn from the probabilities themselves, shape (n,)."""
    confidence = np.max(probability, axis=1)
    rng = np.random.default_rng(seed)
    return np.array([_gap(confidence, rng.random(len(confidence)) < confidence) for _ in range(n)])
