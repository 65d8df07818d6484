"""From a redshift without error bar to a density: how far rows set aside lay from their predictions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

#: Rows whose residuals make one density, at least; and the share of all rows.
NEIGHBOURS, SHARE = 100, 0.1
#: Predicted redshifts at which densities are tabulated, at most.
REFERENCES = 24

Arrays = dict[str, np.ndarray]


def fit_residuals(predicted: np.ndarray, true: np.ndarray, step: float) -> Arrays:
    """Densities of the residual (z - predicted) / (1 + predicted), conditional on the predicted redshift.

    At quantiles of the predicted redshifts, the residuals of the rows nearest in predicted redshift (a tenth of all, at
    least 100, if there are as many) are smoothed by a Gaussian of Silverman's width.

    Parameters
    ----------
    predicted, true : ndarray
        Redshifts of rows that were not trained on, ``(rows,)``, at least 2.
    step : float
        Width of the redshift grid's cells; the smoothing is not finer.

    Returns
    -------
    dict of ndarray
        ``at`` ``(references,)``, predicted redshifts, rising; ``nodes`` ``(n,)``, uniform; ``table``
        ``(references, n)``, densities, linear in between; ``rows`` ``()``, how many rows stand behind each density.

    Raises
    ------
    ValueError
        If there are fewer than 2 rows, or any value is not finite.
    """
    predicted, true = np.asarray(predicted, float), np.asarray(true, float)
    if len(predicted) < 2 or not (np.isfinite(predicted).all() and np.isfinite(true).all()):
        raise ValueError(f"fit_residuals: needs 2 or more rows, all finite, got {len(predicted)}")
    order = np.argsort(predicted, kind="stable")
    predicted = predicted[order]
    residual = (true[order] - predicted) / (1 + predicted)
    n = len(residual)
    k = min(n, max(NEIGHBOURS, int(SHARE * n)))
    ranks = np.unique(np.linspace(0, n - 1, min(REFERENCES, max(1, 2 * n // k))).astype(int))
    starts = np.clip(ranks - k // 2, 0, n - k)
    groups = [residual[start : start + k] for start in starts]
    at = np.array([np.median(predicted[start : start + k]) for start in starts])
    at, kept = np.unique(at, return_index=True)
    floor = step / (1 + max(float(predicted[-1]), 0.0))
    widths = [max(_silverman(groups[i]), floor) for i in kept]
    low, high = residual.min() - 4 * max(widths), residual.max() + 4 * max(widths)
    nodes = np.linspace(low, high, int(np.clip(np.ceil((high - low) / (min(widths) / 2)), 16, 4096)))
    table = np.stack([_smoothed(groups[i], nodes, width) for i, width in zip(kept, widths, strict=True)])
    return {"at": at, "nodes": nodes, "table": table.astype(np.float32), "rows": np.asarray(k)}


def _silverman(values: np.ndarray) -> float:
    low, high = np.quantile(values, (0.25, 0.75))
    spread = min(float(np.std(values)), (high - low) / 1.349) if high > low else float(np.std(values))
    return 0.9 * spread * len(values) ** -0.2


def _smoothed(values: np.ndarray, nodes: np.ndarray, width: float) -> np.ndarray:
    density = np.zeros(len(nodes))
    for part in np.array_split(values, -(-len(values) // 256)):
        density += np.exp(-0.5 * ((nodes - part[:, None]) / width) ** 2).sum(axis=0)
    return density / np.trapezoid(density, nodes)


def residual_density(predicted: np.ndarray, residuals: Mapping[str, np.ndarray], grid: np.ndarray) -> np.ndarray:
    """Densities at the nodes of a redshift grid, around predicted redshifts.

    One part in ``rows + 1`` is spread evenly over the grid: what so many rows cannot exclude.

    Parameters
    ----------
    predicted : ndarray
        Redshifts, ``(rows,)``.
    residuals : mapping of ndarray
        From `fit_residuals`.
    grid : ndarray
        Nodes, rising, ``(n_grid,)``.

    Returns
    -------
    ndarray
        float32 ``(rows, n_grid)``, integral 1 by the trapezoid rule.
    """
    at, nodes, table = (residuals[name] for name in ("at", "nodes", "table"))
    predicted = np.asarray(predicted, float)
    place = np.interp(predicted, at, np.arange(len(at)))
    left = np.minimum(place.astype(int), max(len(at) - 2, 0))
    share = (place - left)[:, None]
    step = nodes[1] - nodes[0]
    offset = ((grid - predicted[:, None]) / (1 + predicted[:, None]) - nodes[0]) / step
    inside = (offset >= 0) & (offset <= len(nodes) - 1)
    cell = np.where(inside, offset, 0).astype(int).clip(0, len(nodes) - 2)
    fraction = np.where(inside, offset - cell, 0)
    right = np.minimum(left + 1, len(at) - 1)
    density = 0.0
    for row, weight in ((left[:, None], 1 - share), (right[:, None], share)):
        density = density + weight * (table[row, cell] * (1 - fraction) + table[row, cell + 1] * fraction)
    density = np.where(inside, density, 0)
    total = np.trapezoid(density, grid, axis=1)[:, None]
    # Predictions far outside the grid leave nothing on it: then only the even part is left.
    density = np.divide(density, total, out=np.zeros_like(density), where=total > 0)
    even = np.where(total > 0, 1 / (float(residuals["rows"]) + 1), 1.0)
    return ((1 - even) * density + even / (grid[-1] - grid[0])).astype(np.float32)
