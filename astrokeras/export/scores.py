"""Scores of a sample of redshifts as JSON values: overall, in bins, and beside a trivial baseline."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import metrics

DEFINITIONS = {
    "dz": "(z_phot - z_spec) / (1 + z_spec)",
    "bias": "median of dz",
    "sigma_nmad": "1.4826 * median of |dz - median of dz|",
    "outlier_fraction": f"fraction with |dz| > {metrics.OUTLIER}",
    "coverage": "fraction with z_spec within the interval that should hold 68 %",
    "cde_loss": "mean of integral of p^2 - 2 p(z_spec)",
    "crps": "mean of integral of (CDF - step at z_spec)^2",
    "log_likelihood": f"mean of ln max(p(z_spec), {metrics.DENSITY_FLOOR})",
    "odds": f"mean probability within {metrics.ODDS_WIDTH} (1 + z_phot) of z_phot",
    "pit_ks": "Kolmogorov-Smirnov distance from uniform of the cumulative probabilities at z_spec",
    "pit_ks_95": "distance that perfect PDFs of as many objects exceed in 5 % of draws, 1.358 / sqrt(n)",
    "pit_outlier_fraction": "fraction of these probabilities below 0.0001 or above 0.9999",
    "error": "standard deviation over bootstrap resamples of the objects",
    "baseline": "the median z_spec of the evaluated sample as z_phot of every object",
    "pdf": "linear between grid points and normalised; z_spec beyond the grid counts as its end",
}
# Scores of a sample that are means over its objects.
_MEANS = ("coverage", "cde_loss", "crps", "log_likelihood", "odds")


def _pit_outliers(pit: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean((pit < 1e-4) | (pit > 1 - 1e-4), axis)


_PIT: Mapping[str, Callable[..., np.ndarray]] = {"pit_ks": metrics.pit_ks, "pit_outlier_fraction": _pit_outliers}


def score(sample: Mapping[str, np.ndarray], n: int, seed: int) -> dict[str, Any]:
    """Scores of one sample.

    Parameters
    ----------
    sample : mapping of str to ndarray, shape (n_objects,)
        ``z_spec`` and ``z_phot``, finite, and what there is of ``coverage pit crps cde_loss log_likelihood odds`` (NaN
        for an object without a PDF).
    n, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``n``, ``n_pdf`` and per metric a ``value`` and an ``error``; None where there is no object.
    """
    dz = metrics.residuals(sample["z_phot"], sample["z_spec"])
    scores: dict[str, Any] = {"n": len(dz)}
    scores |= _measure(dz, metrics.POINT, n, seed)
    for name in (k for k in _MEANS if k in sample):
        scores |= _measure(sample[name], {name: np.mean}, n, seed)
    if "pit" in sample:
        known = int(np.isfinite(sample["pit"]).sum())
        scores |= _measure(sample["pit"], _PIT, n, seed)
        scores |= {"n_pdf": known, "pit_ks_95": 1.358 / math.sqrt(known) if known else None}
    return scores


def _measure(
    values: np.ndarray, statistics: Mapping[str, Callable[..., np.ndarray]], n: int, seed: int
) -> dict[str, Any]:
    values = values[np.isfinite(values)]
    if not len(values):
        return {name: {"value": None, "error": None} for name in statistics}
    errors = metrics.bootstrap_errors(values, statistics, n, seed)
    return {
        name: {"value": float(statistic(values, axis=-1)), "error": errors[name] if len(values) > 1 else None}
        for name, statistic in statistics.items()
    }


def bin_edges(values: np.ndarray, edges: tuple[float, ...] | None, n: int | None) -> np.ndarray:
    """The edges given, or those of ``n`` bins with as many objects each; equal edges become one."""
    if edges is not None:
        return np.asarray(edges, float)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.empty(0)
    return np.unique(np.quantile(finite, np.linspace(0, 1, (n or 1) + 1)))


def score_bins(
    sample: Mapping[str, np.ndarray], values: np.ndarray, edges: np.ndarray, n: int, seed: int
) -> dict[str, Any]:
    """Scores in bins of ``values``, and how many objects are in none.

    A bin holds its lower edge, the last one its upper edge, too.
    """
    bins = []
    for k in range(len(edges) - 1):
        low, high = edges[k], edges[k + 1]
        inside = (values >= low) & ((values < high) | ((values == high) & (k == len(edges) - 2)))
        part = {name: column[inside] for name, column in sample.items()}
        bins.append({"low": float(low), "high": float(high), **score(part, n, seed)})
    missing = int(np.count_nonzero(~np.isfinite(values)))
    return {"bins": bins, "n_missing": missing, "n_outside": len(values) - missing - sum(b["n"] for b in bins)}
