"""Numbers drawn from densities on a grid: median, mode and quantiles. Needs numpy only."""

import numpy as np

#: Rows worked on at once, few enough to stay in the cache, and cells summed at once.
ROWS = 1024
GROUP = 8
#: Half width, times 1 + z, of the interval whose probability the ODDS are (Benitez 2000, ApJ 536, 571).
ODDS_WIDTH = 0.03
#: Width of the loss of a redshift that is off (Tanaka et al. 2018, PASJ 70, S9).
RISK_WIDTH = 0.15


def pdf_quantiles(pdf, grid, levels):
    """Quantiles of piecewise linear densities, exact between the nodes.

    Parameters
    ----------
    pdf : numpy.ndarray
        Densities at the nodes, not negative, ``(rows, n_grid)``; need not be normalised.
    grid : numpy.ndarray
        Nodes, rising, ``(n_grid,)``.
    levels : array-like
        Levels between 0 and 1: ``(n_levels,)``, or ``(n_levels, rows)`` for levels that differ between the rows.

    Returns
    -------
    numpy.ndarray
        Shape ``(n_levels, rows)``, float64; NaN where a density is nowhere positive or not finite.
    """
    steps = np.diff(grid)
    wanted = np.asarray(levels, dtype=np.float64)
    wanted = np.broadcast_to(wanted[:, None] if wanted.ndim == 1 else wanted, (len(wanted), len(pdf)))
    quantiles = np.empty((len(wanted), len(pdf)))
    for start in range(0, len(pdf), ROWS):
        part = slice(start, start + ROWS)
        quantiles[:, part] = _quantiles(pdf[part], grid, steps, wanted[:, part])
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


def pdf_odds(pdf, grid, center, width=ODDS_WIDTH):
    """ODDS: the probability within ``width * (1 + center)`` of a redshift (Benitez 2000, ApJ 536, 571).

    Parameters
    ----------
    pdf : numpy.ndarray
        Densities at the nodes, not negative, ``(rows, n_grid)``; need not be normalised.
    grid : numpy.ndarray
        Nodes, uniform, ``(n_grid,)``.
    center : numpy.ndarray
        Redshifts, ``(rows,)``.
    width : float
        Half width of the interval at redshift 0.

    Returns
    -------
    numpy.ndarray
        From 0 to 1, ``(rows,)``, float64; NaN where a density is nowhere positive or not finite, or the center is NaN.
    """
    odds = np.empty(len(pdf))
    center = np.asarray(center, np.float64)
    half = width * (1 + center)
    for start in range(0, len(pdf), ROWS):
        part = slice(start, start + ROWS)
        odds[part] = _between(pdf[part], grid, (center - half)[part], (center + half)[part])
    return odds


def _between(pdf, grid, low, high):
    """Share of the integral of each density between two redshifts."""
    step = (grid[-1] - grid[0]) / (len(grid) - 1)
    rows, last = np.arange(len(pdf)), len(grid) - 1
    # What is no density gives NaN, which `good` finds.
    with np.errstate(invalid="ignore"):
        sums = np.cumsum(pdf, axis=1, dtype=np.float64)
        # The trapezoid rule in units of the step: half of both ends is left out.
        total = sums[:, -1] - 0.5 * (pdf[:, 0] + pdf[:, -1].astype(np.float64))
        good = np.isfinite(total) & (total > 0) & np.isfinite(low)
        reached = []
        for z in (low, high):
            place = np.clip((np.where(good, z, grid[0]) - grid[0]) / step, 0, last)
            cell = np.minimum(place.astype(int), last - 1)
            t = place - cell
            left, right = pdf[rows, cell].astype(np.float64), pdf[rows, cell + 1].astype(np.float64)
            reached.append(sums[rows, cell] - 0.5 * left + t * (left + 0.5 * t * (right - left)))
        share = reached[1] - reached[0]
    return np.divide(share, total, out=np.full(len(pdf), np.nan), where=good)


def pdf_risk(pdf, grid, width=RISK_WIDTH):
    """Redshift of the smallest expected loss, and that loss (Tanaka et al. 2018, PASJ 70, S9, eq. 9 to 11).

    The risk of calling an object's redshift z is the mean over its density of the loss ``1 - 1 / (1 + (dz / width)²)``
    with ``dz = (z - z_true) / (1 + z_true)``: about the probability that z is an outlier.

    Parameters
    ----------
    pdf : numpy.ndarray
        Densities at the nodes, not negative, ``(rows, n_grid)``; need not be normalised.
    grid : numpy.ndarray
        Nodes, uniform, ``(n_grid,)``.
    width : float
        Of the loss.

    Returns
    -------
    best, risk : numpy.ndarray
        ``(rows,)``, float64; NaN where a density is nowhere positive or not finite. The minimum is that of the parabola
        through the best node and its neighbours.
    """
    loss = _loss_matrix(grid, width)
    best, risk = np.empty(len(pdf)), np.empty(len(pdf))
    for start in range(0, len(pdf), ROWS):
        part = slice(start, start + ROWS)
        best[part], risk[part] = _least(pdf[part], grid, loss)
    return best, risk


def _loss_matrix(grid, width):
    """Weights of the nodes (rows) in the risk of every node (columns); a last column gives the integral."""
    dz = (grid - grid[:, None]) / (1 + grid[:, None])
    loss = 1 - 1 / (1 + (dz / width) ** 2)
    masses = np.full((len(grid), 1), grid[1] - grid[0])
    masses[[0, -1]] /= 2
    return np.hstack([loss * masses, masses]).astype(np.float32)


def _least(pdf, grid, loss):
    """Redshift and value of the smallest risk of a few rows."""
    with np.errstate(invalid="ignore", over="ignore"):
        risks = np.asarray(pdf, np.float32) @ loss
    total = risks[:, -1].astype(np.float64)
    good = np.isfinite(total) & (total > 0)
    risks = risks[:, :-1]
    rows, node = np.arange(len(pdf)), np.where(good, risks.argmin(axis=1), 0)
    middle = np.clip(node, 1, len(grid) - 2)
    left, center, right = (risks[rows, middle + k].astype(np.float64) for k in (-1, 0, 1))
    bend = left - 2 * center + right
    inside = good & (node == middle) & (bend > 0)
    shift = np.divide(0.5 * (left - right), bend, out=np.zeros(len(pdf)), where=inside)
    least = np.where(inside, center - 0.25 * (left - right) * shift, risks[rows, node])
    best = grid[node] + shift * (grid[1] - grid[0])
    risk = np.divide(least, total, out=np.full(len(pdf), np.nan), where=good)
    return np.where(good, best, np.nan), risk
