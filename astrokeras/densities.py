"""Numbers drawn from densities on a grid: median, mode and quantiles. Needs numpy only."""

import numpy as np


def pdf_quantiles(pdf, grid, levels):
    """Quantiles of piecewise linear densities, exact between the nodes.

    Parameters
    ----------
    pdf : numpy.ndarray
        Densities at the nodes, not negative, ``(rows, n_grid)``; need not be normalised.
    grid : numpy.ndarray
        Nodes, rising, ``(n_grid,)``.
    levels : sequence of float
        Levels between 0 and 1.

    Returns
    -------
    numpy.ndarray
        Shape ``(len(levels), rows)``, float64; NaN where a density is nowhere positive or not finite.
    """
    steps = np.diff(grid)
    cumulative = np.zeros(pdf.shape, dtype=np.float64)
    np.cumsum((pdf[:, 1:] + pdf[:, :-1]) * (0.5 * steps), axis=1, out=cumulative[:, 1:])
    total = cumulative[:, -1]
    good = np.isfinite(total) & (total > 0)
    rows = np.arange(len(pdf))
    quantiles = np.full((len(levels), len(pdf)), np.nan)
    for index, level in enumerate(levels):
        target = level * np.where(good, total, 1.0)
        cell = np.clip((cumulative < target[:, None]).sum(axis=1) - 1, 0, len(steps) - 1)
        low, high = pdf[rows, cell].astype(np.float64), pdf[rows, cell + 1].astype(np.float64)
        quantiles[index] = grid[cell] + steps[cell] * _within_cell(
            target - cumulative[rows, cell], low, high, steps[cell]
        )
    quantiles[:, ~good] = np.nan
    return quantiles


def _within_cell(area, low, high, step):
    """Fraction t of a cell below which a linear density (low to high) holds ``area``: root of a quadratic."""
    area = np.maximum(area, 0.0) / step
    root = np.sqrt(np.maximum(low**2 + 2 * (high - low) * area, 0.0))
    # This form of the root stays exact when the slope vanishes.
    denominator = low + root
    return np.minimum(np.divide(2 * area, denominator, out=np.zeros_like(area), where=denominator > 0), 1.0)


def pdf_mode(pdf, grid):
    """Node at which each density is highest, ``(rows,)``; NaN where a density is not finite or nowhere positive."""
    highest = pdf.max(axis=1)
    good = np.isfinite(highest) & (highest > 0)
    return np.where(good, grid[pdf.argmax(axis=1)], np.nan)


def pdf_summary(pdf, grid):
    """Median, mode and the 16 and 84 % quantiles of densities on a grid.

    Parameters
    ----------
    pdf : numpy.ndarray
        Densities at the nodes, ``(rows, n_grid)``.
    grid : numpy.ndarray
        Nodes, rising, ``(n_grid,)``.

    Returns
    -------
    dict of numpy.ndarray
        ``median``, ``mode``, ``q16`` and ``q84``, each ``(rows,)``, float64.
    """
    q16, median, q84 = pdf_quantiles(pdf, grid, (0.16, 0.5, 0.84))
    return {"median": median, "mode": pdf_mode(pdf, grid), "q16": q16, "q84": q84}
