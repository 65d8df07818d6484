"""Methods side by side: the scores of each on the same objects, and paired differences to a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .samples import Estimate, Sample, number, spread, with_errors

#: Score that says which method is the best: the first one that all have.
HEADLINES = ("log_loss", "crps", "sigma_nmad")


def compared(
    kinds: Mapping[str, Estimate], samples: Mapping[str, Sample], reference: str, n: int, seed: int
) -> dict[str, Any]:
    """Scores of all methods on the same objects, and their differences to one of them.

    Parameters
    ----------
    kinds, samples : mapping
        By name of the method; samples of the same objects in the same order.
    reference : str
        Name of a method, ``first`` or ``best``.
    n, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``n``, ``reference``, ``methods`` (scores by name) and ``differences`` (``value``, ``error`` and ``sigma`` of
        each score by name of the other methods; scores that only one of the two has are left out).
    """
    count = len(next(iter(next(iter(samples.values())).values())))
    values = {name: kind.values(samples[name]) for name, kind in kinds.items()}
    draws = {name: kind.draws(samples[name], n, seed) if count > 1 else {} for name, kind in kinds.items()}
    chosen = _reference(reference, values)
    scores = {name: with_errors(values[name], draws[name]) for name in kinds}
    return {
        "n": count,
        "reference": chosen,
        "methods": {name: kind.nested(scores[name], samples[name]) for name, kind in kinds.items()},
        "differences": {
            name: _differences(values[name], draws[name], values[chosen], draws[chosen])
            for name in kinds
            if name != chosen
        },
    }


def _reference(wanted: str, values: Mapping[str, Mapping[str, float]]) -> str:
    if wanted in values:
        return wanted
    if wanted == "first":
        return next(iter(values))
    headline = next(h for h in HEADLINES if all(h in scores for scores in values.values()))
    return min(values, key=lambda name: values[name][headline])


def _differences(
    values: Mapping[str, float],
    draws: Mapping[str, np.ndarray],
    reference: Mapping[str, float],
    reference_draws: Mapping[str, np.ndarray],
) -> dict[str, dict[str, float | None]]:
    out = {}
    for name in (name for name in values if name in reference):
        difference = values[name] - reference[name]
        paired = name in draws and name in reference_draws
        error = spread(draws[name] - reference_draws[name]) if paired else float("nan")
        # Two methods that agree on every object differ by nothing, with no error.
        sigma = difference / error if error > 0 else float("nan")
        out[name] = {"value": number(difference), "error": number(error), "sigma": number(sigma)}
    return out
