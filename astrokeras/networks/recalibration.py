"""Recalibration of redshift densities: the map is fitted to rows that the model never saw, and joined to its graph."""

from dataclasses import dataclass

import keras
import numpy as np
from numpy.polynomial import legendre
from scipy.optimize import minimize

from ..layers import Recalibration, ReferenceMagnitude
from ..layers.recalibration import PIT_FLOOR

#: More rows than these bring nothing to a map of twenty numbers.
MAX_ROWS = 40_000


@dataclass(frozen=True)
class PitMap:
    """A fitted map of the PIT, see `astrokeras.layers.Recalibration`.

    Attributes
    ----------
    nodes : numpy.ndarray
        Quantiles of the magnitude, ``(n_nodes,)``.
    coefficients : numpy.ndarray
        ``(magnitude_degree + 1, degree + 1)``.
    """

    nodes: np.ndarray
    coefficients: np.ndarray

    def layer(self, z_min, z_max, name="recalibrated"):
        """Layer that applies the map to densities on a grid."""
        rows, columns = self.coefficients.shape
        layer = Recalibration(z_min, z_max, columns - 1, rows - 1, len(self.nodes), name=name)
        layer.build(None)
        layer.set_map(self.nodes, self.coefficients)
        return layer

    def apply(self, pdf, grid, magnitude):
        """Recalibrated densities, ``(rows, n_grid)``, float32."""
        layer = self.layer(float(grid[0]), float(grid[-1]))
        starts = range(0, len(pdf), 4096)
        parts = [layer([pdf[i : i + 4096], magnitude[i : i + 4096].astype("float32")]) for i in starts]
        return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts]) if parts else pdf[:0]


class _Likelihood:
    """Penalised likelihood of true redshifts under the tilted densities, and its gradient.

    All products are of ``(rows, n_grid)`` arrays in float32, one feature after the other.
    """

    def __init__(self, pdf, grid, z_true, powers, degree, penalty):
        step = grid[1] - grid[0]
        masses = np.full(len(grid), step, np.float32)
        masses[[0, -1]] /= 2
        position = np.clip((np.asarray(z_true, np.float64) - grid[0]) / step, 0, len(grid) - 1)
        left = np.minimum(position.astype(int), len(grid) - 2)
        t, rows = position - left, np.arange(len(pdf))
        self.features = pit_features(pdf, step, degree)
        self.mass = pdf * masses
        tiny = np.finfo(np.float32).tiny
        self.ends = [
            (np.maximum(pdf[rows, left + k] * weight, tiny), np.stack([f[rows, left + k] for f in self.features], 1))
            for k, weight in ((0, 1 - t), (1, t))
        ]
        self.powers, self.penalty = powers, penalty

    def __call__(self, flat):
        coefficients = flat.reshape(self.powers.shape[1], len(self.features))
        weights = (self.powers @ coefficients).astype(np.float32)
        tilted = np.zeros_like(self.mass)
        for feature, weight in zip(self.features, weights.T, strict=True):
            tilted += feature * weight[:, None]
        top = tilted.max(axis=1, keepdims=True)
        np.exp(tilted - top, out=tilted)
        tilted *= self.mass
        total = tilted.sum(axis=1)
        expected = np.stack([np.einsum("ij,ij->i", tilted, f) for f in self.features], axis=1) / total[:, None]
        low, high = (p * np.exp((f * weights).sum(axis=1) - top[:, 0]) for p, f in self.ends)
        share = (low / (low + high))[:, None]
        at_truth = share * self.ends[0][1] + (1 - share) * self.ends[1][1]
        rows = len(total)
        loss = np.log(total).sum() - np.log(low + high).sum() + 0.5 * (self.penalty * coefficients**2).sum()
        slope = self.powers.T @ (expected - at_truth) + self.penalty * coefficients
        return float(loss) / rows, np.ravel(slope).astype(np.float64) / rows


def pit_features(pdf, step, degree):
    """Features of the map at every node: ``ln 4C(1-C)``, and Legendre polynomials 1 ... degree of 2C - 1.

    Parameters
    ----------
    pdf : numpy.ndarray
        Normalised densities, ``(rows, n_grid)``.
    step : float
        Distance of the nodes.
    degree : int
        Largest degree.

    Returns
    -------
    list of numpy.ndarray
        ``degree + 1`` arrays of the shape of ``pdf``, float32.
    """
    half = 0.5 * step * pdf
    x = 2 * np.clip(np.cumsum(pdf, axis=1, dtype=np.float64) * step - half - half[:, :1], 0, 1) - 1
    found = [np.ones_like(x), x]
    for k in range(1, degree):
        found.append(((2 * k + 1) * x * found[k] - k * found[k - 1]) / (k + 1))
    return [f.astype(np.float32) for f in (np.log(1 + PIT_FLOOR - x * x), *found[1 : degree + 1])]


def fit_recalibration(
    pdf, grid, z_true, magnitude, *, degree=4, magnitude_degree=3, n_nodes=9, strength=10.0, start=None
):
    """Fit the map that makes the PIT uniform at every magnitude, by penalised maximum likelihood.

    The likelihood is that of the recalibrated, normalised, piecewise linear density, so that a grid that is coarse
    against the width of the densities is allowed for. The penalty, ``strength * (1 + k²) / 2`` times the square of the
    coefficient of degree k in magnitude, makes the map smooth and keeps it near identity where rows are few. A tilt by
    a bounded function of the PIT cannot chase catastrophic redshifts.

    Parameters
    ----------
    pdf : numpy.ndarray
        Normalised densities of rows that the model never saw, ``(rows, n_grid)``.
    grid : numpy.ndarray
        Nodes, uniform, ``(n_grid,)``.
    z_true, magnitude : numpy.ndarray
        True redshifts, clipped to the grid, and reference magnitudes, ``(rows,)``.
    degree, magnitude_degree, n_nodes : int
        See `astrokeras.layers.Recalibration`.
    strength : float
        Of the penalty, in rows; above 0.
    start : PitMap, optional
        Where the search starts.

    Returns
    -------
    PitMap

    Raises
    ------
    ValueError
        Without rows.
    """
    if not len(pdf):
        raise ValueError("fit_recalibration: at least one row is needed")
    if len(pdf) > MAX_ROWS:
        chosen = np.random.default_rng(0).choice(len(pdf), MAX_ROWS, replace=False)
        pdf, z_true, magnitude = pdf[chosen], z_true[chosen], magnitude[chosen]
    levels = np.linspace(-1, 1, n_nodes)
    nodes = np.quantile(magnitude, (levels + 1) / 2)
    powers = legendre.legvander(rank(magnitude, nodes), magnitude_degree)
    shape = (magnitude_degree + 1, degree + 1)
    penalty = strength * (1 + np.arange(shape[0], dtype=np.float64)[:, None] ** 2)
    loss = _Likelihood(np.asarray(pdf, np.float32), grid, z_true, powers, degree, penalty)
    first = np.zeros(shape) if start is None else start.coefficients
    found = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 100})
    return PitMap(nodes, found.x.reshape(shape))


def rank(magnitude, nodes):
    """Rank of magnitudes among the nodes, from -1 to 1, as the layer has it."""
    steps = np.maximum(np.diff(nodes), 1e-6)
    return 2 * np.clip((np.asarray(magnitude)[:, None] - nodes[:-1]) / steps, 0, 1).mean(axis=1) - 1


def recalibrated(model, pit_map, reference):
    """Graph of a model whose densities go through a fitted map.

    Parameters
    ----------
    model : keras.Model
        From `astrokeras.networks.ensemble`.
    pit_map : PitMap
        The map.
    reference : ReferenceMagnitude
        Layer with the magnitude that the map was fitted with.

    Returns
    -------
    keras.Model
        Same inputs; outputs ``z_pdf``, recalibrated, and ``magnitude``, the reference magnitude, ``(batch,)``.
    """
    grid = model.get_layer("z_pdf")
    copy = ReferenceMagnitude.from_config({**reference.get_config(), "name": "reference_magnitude"})
    magnitude = copy([model.input["flux"], model.input["observed"]])
    copy.set_weights(reference.get_weights())
    layer = pit_map.layer(grid.z_min, grid.z_max)
    outputs = {"z_pdf": layer([model.output["z_pdf"], magnitude]), "magnitude": magnitude}
    return keras.Model(model.input, outputs, name=model.name)
