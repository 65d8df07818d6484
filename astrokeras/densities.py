"""Numbers drawn from densities on a grid: median, mode and quantiles. Needs numpy only."""

import numpy as np

#: Rows worked on at once, few enough to stay in the cache, and cells summed at once.
ROWS = 1024
GROUP = 8


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
    wanted = np.asarray(levels, dtype=np.float64)[:, None]
    quantiles = np.empty((len(wanted), len(pdf)))
    for start in range(0, len(pdf), ROWS):
        part = slice(start, start + ROWS)
        quantiles[:, part] = _quantiles(pdf[part], grid, steps, wanted)
    return quantiles


def _quantiles(pdf, grid, steps, levels):
    """Quantiles of a few rows: the group of cells in which a level is reached is found first, then the cell in it."""
    groups = -(-len(steps) // GROUP)
    areas = np.zeros((len(pdf), groups * GROUP), dtype=np.result_type(pdf, np.float32))
    np.multiply(pdf[:, 1:] + pdf[:, :-1], (0.5 * steps).astype(areas.dtype), out=areas[:, : len(steps)])
    areas = areas.reshape(len(pdf), groups, GROUP)
    before = np.zeros((len(pdf), groups + 1))
    # Added in the order in which the cells of a group are, so that both sums agree to the last bit.
    for cell in range(GROUP):
        before[:, 1:] += areas[:, :, cell]
    np.cumsum(before, axis=1, out=before)
    total = before[:, -1]
    good = np.isfinite(total) & (total > 0)
    rows = np.arange(len(pdf))
    target = levels * np.where(good, total, 1.0)
    group = np.maximum((before >= target[..., None]).argmax(axis=-1) - 1, 0)
    reached = np.zeros((*target.shape, GROUP))
    np.cumsum(areas[rows, group][..., :-1], axis=-1, dtype=np.float64, out=reached[..., 1:])
    reached += before[rows, group][..., None]
    inside = np.maximum((reached < target[..., None]).sum(axis=-1) - 1, 0)
    area = target - np.take_along_axis(reached, inside[..., None], axis=-1)[..., 0]
    cell = np.minimum(group * GROUP + inside, len(steps) - 1)
    low, high = pdf[rows, cell].astype(np.float64), pdf[rows, cell + 1].astype(np.float64)
    quantiles = grid[cell] + steps[cell] * _within_cell(area, low, high, steps[cell])
    return np.where(good, quantiles, np.nan)


def _within_cell(area, low, high, step):
    """Fraction t of a cell below which a linear density (low to high) holds ``area``: root of a quadratic."""
    area = np.maximum(area, 0.0) / step
    root = np.sqrt(np.maximum(low**2 + 2 * (high - low) * area, 0.0))
    # This form of the root stays exact when the slope vanishes.
    denominator = low + root
    return np.minimum(np.divide(2 * area, denominator, out=np.zeros_like(area), where=denominator > 0), 1.0)


def pdf_mode(pdf, grid):
    """Node at which each density is highest, ``(rows,)``; NaN where a density is not finite or nowhere positive."""
    node = pdf.argmax(axis=1)
    # Where there is a NaN, argmax finds it.
    highest = pdf[np.arange(len(pdf)), node]
    return np.where(np.isfinite(highest) & (highest > 0), grid[node], np.nan)


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
