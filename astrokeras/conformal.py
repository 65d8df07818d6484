"""Split-conformal levels: how much probability an interval must hold to hold the truth as often as it says."""

from __future__ import annotations

import numpy as np


def conformal_level(scores: np.ndarray, coverage: float) -> float:
    """Score that a new object stays below with the given probability at least (Vovk, Gammerman & Shafer 2005).

    Parameters
    ----------
    scores : ndarray, shape (n,)
        Scores of calibration objects, exchangeable with the new one.
    coverage : float
        Probability, between 0 and 1.

    Returns
    -------
    float
        The ``ceil((n + 1) coverage)``-th smallest score; infinite where n is too small for that.
    """
    n = len(scores)
    place = int(np.ceil((n + 1) * coverage - 1e-9))
    return float(np.sort(scores)[place - 1]) if place <= n else float("inf")


def levels_by_magnitude(
    scores: np.ndarray, magnitude: np.ndarray, coverage: float, bins: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Conformal levels in bins of magnitude with as many objects each, drawn towards the level of all objects.

    A level from a few hundred objects is noisier than most real differences between bins. So the variance of the bins'
    coverages at the common level is split into the binomial one and a rest; the level of a bin counts as the rest's
    share of both (empirical Bayes, Efron & Morris 1973).

    Parameters
    ----------
    scores, magnitude : ndarray, shape (n,)
        Of the calibration objects.
    coverage : float
        Between 0 and 1.
    bins : int
        At most this many; every bin has 100 objects at least.

    Returns
    -------
    magnitudes, levels : ndarray
        Median magnitude and level of each bin; levels are infinite where there are too few objects.
    """
    overall = conformal_level(scores, coverage)
    bins = max(1, min(bins, len(scores) // 100))
    parts = np.array_split(np.argsort(magnitude, kind="stable"), bins)
    middle = np.array([np.median(magnitude[part]) for part in parts])
    if bins == 1:
        return middle, np.array([overall])
    local = np.array([conformal_level(scores[part], coverage) for part in parts])
    reached = np.array([np.mean(scores[part] <= overall) for part in parts])
    noise = coverage * (1 - coverage) * bins / len(scores)
    excess = max(0.0, np.var(reached, ddof=1) - noise)
    return middle, overall + excess / (excess + noise) * (local - overall)
