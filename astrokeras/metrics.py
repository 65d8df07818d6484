"""Metrics of redshifts and of their PDFs, with one definition each, used by training, evaluation and model cards.

With dz = (z_phot - z_spec) / (1 + z_spec):

- ``bias``: median of dz;
- ``sigma_nmad``: ``1.4826 median |dz - median dz|`` (Hoaglin et al. 1983; Brammer et al. 2008);
- ``outlier_fraction``: fraction with ``|dz| > 0.15`` (Hildebrandt et al. 2010).

A PDF is given by its densities on a uniform grid, is linear between grid points, and is normalised here (trapezoid). A
true redshift beyond the grid counts as the nearest end of the grid. Then

- ``pit``: the PDF's cumulative probability at z_spec; its distribution is uniform if the PDFs are calibrated;
- ``pit_ks``: Kolmogorov-Smirnov distance of the PITs from uniform;
- ``crps``: integral of (CDF - step at z_spec)^2 (Gneiting & Raftery 2007), in units of redshift;
- ``cde_loss``: mean of the integral of p^2, minus 2 p(z_spec) (Izbicki & Lee 2017), up to a constant;
- ``log_likelihood``: mean of ln max(p(z_spec), 1e-6);
- ``odds``: probability within 0.03 (1 + z_phot) of z_phot (Benitez 2000).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

#: Size of dz beyond which an object is an outlier.
OUTLIER = 0.15
#: Half width of the interval of ``odds``, times 1 + z_phot.
ODDS_WIDTH = 0.03
#: Smallest density that ``log_likelihood`` lets through.
DENSITY_FLOOR = 1e-6
#: Ratio of the standard deviation of a normal distribution to its median absolute deviation.
NMAD_SCALE = 1.4826
# Cells in memory at once; a handful of float64 arrays of this size live together.
_CELLS = 2**19

Statistic = Callable[..., np.ndarray]


def residuals(z_phot: np.ndarray, z_spec: np.ndarray) -> np.ndarray:
    """dz = (z_phot - z_spec) / (1 + z_spec)."""
    z_phot, z_spec = np.asarray(z_phot, float), np.asarray(z_spec, float)
    return (z_phot - z_spec) / (1.0 + z_spec)


def _nmad(dz: np.ndarray, axis: int = -1) -> np.ndarray:
    return NMAD_SCALE * np.median(np.abs(dz - np.median(dz, axis, keepdims=True)), axis)


def _outliers(dz: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean(np.abs(dz) > OUTLIER, axis)


#: Statistics of dz along an axis.
POINT: Mapping[str, Statistic] = {"bias": np.median, "sigma_nmad": _nmad, "outlier_fraction": _outliers}


def bias(z_phot: np.ndarray, z_spec: np.ndarray) -> float:
    """Median of dz."""
    return float(np.median(residuals(z_phot, z_spec)))


def sigma_nmad(z_phot: np.ndarray, z_spec: np.ndarray) -> float:
    """Normalised median absolute deviation of dz."""
    return float(_nmad(residuals(z_phot, z_spec)))


def outlier_fraction(z_phot: np.ndarray, z_spec: np.ndarray, threshold: float = OUTLIER) -> float:
    """Fraction of objects with \\|dz\\| above ``threshold``."""
    return float(np.mean(np.abs(residuals(z_phot, z_spec)) > threshold))


class Densities:
    """PDFs on a uniform grid, normalised.

    Parameters
    ----------
    pdf : ndarray, shape (n, n_grid)
        Densities, in any normalisation. A row that is not finite, is negative somewhere or integrates to zero is no
        PDF: its results are NaN.
    grid : ndarray, shape (n_grid,)
        Uniform and increasing.

    Raises
    ------
    ValueError
        If the grid is not uniform, or the shapes differ.
    """

    def __init__(self, pdf: np.ndarray, grid: np.ndarray):
        self.grid = _uniform(grid)
        self.step = (self.grid[-1] - self.grid[0]) / (len(self.grid) - 1)
        pdf = np.asarray(pdf, float)
        if pdf.ndim != 2 or pdf.shape[1] != len(self.grid):
            raise ValueError(f"pdf has shape {pdf.shape}, the grid {len(self.grid)} points")
        cumulative = np.zeros(pdf.shape)
        with np.errstate(invalid="ignore", over="ignore"):  # infinite densities are found below
            np.cumsum((pdf[:, 1:] + pdf[:, :-1]) * (self.step / 2), axis=1, out=cumulative[:, 1:])
        total = cumulative[:, -1]
        good = np.isfinite(total) & (total > 0) & (pdf.min(axis=1) >= 0)
        scale = np.divide(1.0, total, out=np.full(len(total), np.nan), where=good)[:, None]
        pdf = np.where(good[:, None], pdf, 0.0)
        self.density = pdf * scale
        self.cumulative = np.where(good[:, None], cumulative, 0.0) * scale

    def _cell(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Grid cell of each redshift and the position in it (0 to 1, NaN for no redshift)."""
        place = np.clip((np.asarray(z, float) - self.grid[0]) / self.step, 0, len(self.grid) - 1)
        cell = np.minimum(np.where(np.isnan(place), 0, place).astype(np.intp), len(self.grid) - 2)
        return cell, place - cell

    def at(self, z: np.ndarray) -> np.ndarray:
        """Density at one redshift per object."""
        cell, t = self._cell(z)
        rows = np.arange(len(cell))
        return self.density[rows, cell] * (1 - t) + self.density[rows, cell + 1] * t

    def below(self, z: np.ndarray) -> np.ndarray:
        """Cumulative probability at one redshift per object."""
        cell, t = self._cell(z)
        rows = np.arange(len(cell))
        low, high = self.density[rows, cell], self.density[rows, cell + 1]
        return np.minimum(self.cumulative[rows, cell] + self.step * t * (low + (high - low) * t / 2), 1.0)

    def crps(self, z: np.ndarray) -> np.ndarray:
        """Integral of (CDF - step)^2, exact for a density that is linear between grid points."""
        cell, t = self._cell(z)
        rows = np.arange(len(cell))
        start, low = self.cumulative[:, :-1], self.density[:, :-1] * self.step
        bend = np.diff(self.density, axis=1) * (self.step / 2)
        once, twice = _integrals(1.0, start, low, bend)
        # Below z the integrand is CDF^2, above it is (1 - CDF)^2 = 1 - 2 CDF + CDF^2.
        above = 1 - 2 * once + twice
        below = np.arange(start.shape[1]) < cell[:, None]
        whole = np.where(below, twice, above).sum(axis=1)
        once_to_z, _ = _integrals(t, start[rows, cell], low[rows, cell], bend[rows, cell])
        # The cell of z counted as above; up to z, CDF^2 takes the place of (1 - CDF)^2.
        return self.step * (whole + 2 * once_to_z - t)

    def roughness(self) -> np.ndarray:
        """Integral of the squared density."""
        square = self.density**2
        return (square.sum(1) - (square[:, 0] + square[:, -1]) / 2) * self.step


def _integrals(t: Any, start: np.ndarray, low: np.ndarray, bend: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integrals of c and c^2 from 0 to t, of a CDF c(s) = start + low s + bend s^2 in a cell."""
    once = t * (start + t * (low / 2 + t * bend / 3))
    square = start * start + t * (start * low + t * ((low * low + 2 * start * bend) / 3))
    return once, t * (square + t**3 * (low * bend / 2 + t * bend * bend / 5))


def _uniform(grid: np.ndarray) -> np.ndarray:
    grid = np.asarray(grid, float)
    steps = np.diff(grid) if grid.ndim == 1 else np.empty(0)
    if len(steps) < 1 or not np.all(steps > 0) or not np.allclose(steps, steps.mean(), rtol=1e-3, atol=0):
        raise ValueError("the grid of a PDF must be one-dimensional, increasing and uniform, with two points or more")
    return grid


def _batches(pdf: np.ndarray, grid: np.ndarray) -> Iterator[tuple[slice, Densities]]:
    rows = max(1, _CELLS // max(1, np.shape(grid)[0]))
    for start in range(0, len(pdf), rows):
        part = slice(start, min(start + rows, len(pdf)))
        yield part, Densities(pdf[part], grid)


def _per_object(pdf: np.ndarray, grid: np.ndarray, measure: Callable[[Densities, slice], np.ndarray]) -> np.ndarray:
    _uniform(grid)
    out = np.empty(len(pdf))
    for part, densities in _batches(pdf, grid):
        out[part] = measure(densities, part)
    return out


def pit(pdf: np.ndarray, grid: np.ndarray, z_spec: np.ndarray) -> np.ndarray:
    """Probability integral transform of each object, shape (n,)."""
    z_spec = np.asarray(z_spec, float)
    return _per_object(pdf, grid, lambda d, part: d.below(z_spec[part]))


def crps(pdf: np.ndarray, grid: np.ndarray, z_spec: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of each object, shape (n,)."""
    z_spec = np.asarray(z_spec, float)
    return _per_object(pdf, grid, lambda d, part: d.crps(z_spec[part]))


def cde_loss(pdf: np.ndarray, grid: np.ndarray, z_spec: np.ndarray) -> np.ndarray:
    """Conditional density loss of each object, shape (n,); the loss of a sample is the mean."""
    z_spec = np.asarray(z_spec, float)
    return _per_object(pdf, grid, lambda d, part: d.roughness() - 2 * d.at(z_spec[part]))


def log_likelihood(pdf: np.ndarray, grid: np.ndarray, z_spec: np.ndarray, floor: float = DENSITY_FLOOR) -> np.ndarray:
    """ln max(p(z_spec), floor) of each object, shape (n,)."""
    z_spec = np.asarray(z_spec, float)
    return _per_object(pdf, grid, lambda d, part: np.log(np.maximum(d.at(z_spec[part]), floor)))


def odds(pdf: np.ndarray, grid: np.ndarray, z_phot: np.ndarray, width: float = ODDS_WIDTH) -> np.ndarray:
    """Probability within ``width * (1 + z_phot)`` of z_phot, shape (n,)."""
    z_phot = np.asarray(z_phot, float)
    half = width * (1 + z_phot)
    return _per_object(pdf, grid, lambda d, part: d.below((z_phot + half)[part]) - d.below((z_phot - half)[part]))


def pdf_scores(pdf: np.ndarray, grid: np.ndarray, z_spec: np.ndarray, z_phot: np.ndarray) -> dict[str, np.ndarray]:
    """All PDF metrics of each object in one pass: ``pit crps cde_loss log_likelihood odds``, each of shape (n,)."""
    _uniform(grid)
    z_spec, z_phot = np.asarray(z_spec, float), np.asarray(z_phot, float)
    half = ODDS_WIDTH * (1 + z_phot)
    out = {name: np.empty(len(pdf)) for name in ("pit", "crps", "cde_loss", "log_likelihood", "odds")}
    for part, densities in _batches(pdf, grid):
        z = z_spec[part]
        at = densities.at(z)
        out["pit"][part] = densities.below(z)
        out["crps"][part] = densities.crps(z)
        out["cde_loss"][part] = densities.roughness() - 2 * at
        out["log_likelihood"][part] = np.log(np.maximum(at, DENSITY_FLOOR))
        out["odds"][part] = densities.below((z_phot + half)[part]) - densities.below((z_phot - half)[part])
    return out


def pit_ks(pit: np.ndarray, axis: int = -1) -> np.ndarray:
    """Kolmogorov-Smirnov distance of PITs from uniform.

    A perfect model of n objects exceeds ``1.358 / sqrt(n)`` in 5 % of draws.
    """
    ordered = np.moveaxis(np.sort(pit, axis=axis), axis, -1)
    n = ordered.shape[-1]
    above = np.arange(1, n + 1) / n - ordered
    return np.maximum(above.max(axis=-1), (1 / n - above).max(axis=-1))


def bootstrap_errors(
    values: np.ndarray, statistics: Mapping[str, Statistic], n: int = 200, seed: int = 0
) -> dict[str, float]:
    """Standard errors of statistics of one array, by resampling objects with replacement (Efron 1979).

    Parameters
    ----------
    values : ndarray, shape (n_objects,)
        One number per object, finite.
    statistics : mapping of str to callable
        Each takes an array and ``axis``.
    n, seed : int
        Number of resamples (two or more), and seed of their random numbers: equal seeds draw equal objects.

    Returns
    -------
    dict of str to float
        Standard deviation of each statistic over the resamples; NaN for less than two objects.
    """
    if len(values) < 2:
        return dict.fromkeys(statistics, float("nan"))
    drawn = bootstrap_draws(values, statistics, n, seed)
    return {name: float(np.std(draws, ddof=1)) for name, draws in drawn.items()}


def bootstrap_draws(
    values: np.ndarray, statistics: Mapping[str, Statistic], n: int = 200, seed: int = 0
) -> dict[str, np.ndarray]:
    """Statistics of resamples, each of shape (n,); parameters as for `bootstrap_errors`.

    With equal seeds, arrays of equal length are resampled alike, so that differences of their statistics are paired.
    """
    values = np.asarray(values)
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    rows = max(1, _CELLS // len(values))
    for start in range(0, n, rows):
        sample = values[rng.integers(0, len(values), (min(rows, n - start), len(values)))]
        for name, statistic in statistics.items():
            drawn[name].append(np.atleast_1d(statistic(sample, axis=-1)))
    return {name: np.concatenate(parts) for name, parts in drawn.items()}


def trivial_baseline(z_spec: np.ndarray) -> dict[str, float]:
    """Metrics of predicting the median z_spec of this very sample for every object.

    What any method must beat. The ``crps`` of such a prediction without width is its mean absolute error.
    """
    z_spec = np.asarray(z_spec, float)
    guess = float(np.median(z_spec))
    dz = residuals(guess, z_spec)
    scores = {name: float(statistic(dz, axis=-1)) for name, statistic in POINT.items()}
    return {"z_phot": guess, **scores, "crps": float(np.mean(np.abs(guess - z_spec)))}
