"""Layers and the loss of redshift densities on a uniform grid.

Everywhere a density is piecewise linear between the nodes of the grid, so that the trapezoid rule is exact: the loss
that trains, the normalisation and the PDF that is delivered are one and the same function.
"""

import keras
import numpy as np
from keras import ops

from .photometry import PACKAGE


def check_grid(name, z_min, z_max):
    """Raise ValueError unless ``z_min`` and ``z_max`` are finite and rising."""
    if not (np.isfinite(z_min) and np.isfinite(z_max) and z_min < z_max):
        raise ValueError(f"{name}: z_min must be below z_max and both finite, got {z_min!r} and {z_max!r}")


def node_masses(z_min, z_max, n_grid):
    """Integrals of the hat functions at the nodes: the weights of the trapezoid rule, a tensor ``(n_grid,)``."""
    masses = np.full(n_grid, (z_max - z_min) / (n_grid - 1), dtype="float32")
    masses[[0, -1]] /= 2
    return ops.convert_to_tensor(masses)


class GridLayer(keras.layers.Layer):
    """Base of the layers that know a uniform redshift grid from ``z_min`` to ``z_max``."""

    def __init__(self, z_min, z_max, **kwargs):
        super().__init__(**kwargs)
        check_grid(type(self).__name__, z_min, z_max)
        self.z_min = float(z_min)
        self.z_max = float(z_max)

    def compute_output_shape(self, input_shape):
        """Shape of the density: the same as of the input."""
        return input_shape

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "z_min": self.z_min, "z_max": self.z_max}


@keras.saving.register_keras_serializable(package=PACKAGE)
class LogDensity(GridLayer):
    """Normalises log densities known up to a constant, so that the trapezoid rule over the grid gives 1.

    Parameters
    ----------
    z_min, z_max : float
        First and last node of the grid.

    Notes
    -----
    Input and output have the shape ``(batch, n_grid)``. With unconstrained inputs this is the softmax over bins.
    """

    def call(self, logits):
        """Return the normalised log density at the nodes."""
        masses = node_masses(self.z_min, self.z_max, logits.shape[-1])
        logits = logits - ops.max(logits, axis=-1, keepdims=True)
        return logits - ops.log(ops.sum(ops.exp(logits) * masses, axis=-1, keepdims=True))


@keras.saving.register_keras_serializable(package=PACKAGE)
class Density(GridLayer):
    """As `LogDensity`, but gives the density itself, with one exponential per node: for inference."""

    def call(self, logits):
        """Return the normalised density at the nodes."""
        masses = node_masses(self.z_min, self.z_max, logits.shape[-1])
        unnormalised = ops.exp(logits - ops.max(logits, axis=-1, keepdims=True))
        return unnormalised / ops.sum(unnormalised * masses, axis=-1, keepdims=True)


def spline_basis(positions, n_coefficients, degree=3):
    """Values of the clamped uniform B-splines on [0, 1] (de Boor 1978, "A practical guide to splines").

    Parameters
    ----------
    positions : numpy.ndarray
        Where to evaluate, from 0 to 1, ``(n,)``.
    n_coefficients : int
        Number of splines, above ``degree``.
    degree : int
        Degree of the polynomials.

    Returns
    -------
    numpy.ndarray
        Shape ``(n_coefficients, n)``, float64; every column sums to 1.
    """
    cells = n_coefficients - degree
    knots = np.concatenate([np.zeros(degree), np.linspace(0, 1, cells + 1), np.ones(degree)])
    cell = np.minimum((positions * cells).astype(int), cells - 1) + degree
    basis = (np.arange(len(knots) - 1)[:, None] == cell).astype(np.float64)
    for order in range(1, degree + 1):
        low, high = knots[: -order - 1, None], knots[order + 1 :, None]
        left, right = knots[order:-1, None] - low, high - knots[1:-order, None]
        rising = np.divide(positions - low, left, out=np.zeros_like(basis[:-1]), where=left > 0)
        falling = np.divide(high - positions, right, out=np.zeros_like(basis[:-1]), where=right > 0)
        basis = rising * basis[:-1] + falling * basis[1:]
    return basis


@keras.saving.register_keras_serializable(package=PACKAGE)
class SplineLogits(keras.layers.Layer):
    """Evaluates a log density, given by the coefficients of cubic B-splines, on a uniform grid.

    The conditional form of log-spline density estimation (Kooperberg & Stone 1991, CSDA 12, 327): a normal
    distribution of any width is a parabola in the logarithm, hence exact, while fewer coefficients than nodes keep the
    density smooth. On redshifts that beats a softmax over bins, which learns the noise of every bin.

    Parameters
    ----------
    n_grid : int
        Number of nodes, at least 2.

    Notes
    -----
    Input ``(batch, coefficients)``, at least 4; output ``(batch, n_grid)``: log densities up to a constant.
    """

    def __init__(self, n_grid=200, **kwargs):
        super().__init__(**kwargs)
        if n_grid < 2:
            raise ValueError(f"SplineLogits: n_grid must be at least 2, got {n_grid!r}")
        self.n_grid = n_grid

    def build(self, input_shape):
        """Evaluate the splines at the nodes."""
        if input_shape[-1] < 4:
            raise ValueError(f"SplineLogits: cubic splines need at least 4 coefficients, got {input_shape[-1]}")
        self._basis = spline_basis(np.linspace(0, 1, self.n_grid), input_shape[-1]).astype("float32")

    def call(self, coefficients):
        """Return the log density at the nodes."""
        return ops.matmul(coefficients, self._basis)

    def compute_output_shape(self, input_shape):
        """Shape of the log density."""
        return (input_shape[0], self.n_grid)

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "n_grid": self.n_grid}


@keras.saving.register_keras_serializable(package=PACKAGE)
class MixtureLogits(GridLayer):
    """Evaluates a mixture of normal distributions on the grid (Bishop 1994, "Mixture density networks").

    Truncation to the grid is left to the normalisation that follows (`LogDensity`).

    Parameters
    ----------
    z_min, z_max : float
        First and last node of the grid.
    n_grid : int
        Number of nodes, at least 2.

    Notes
    -----
    Input ``(batch, 3 * components)``: logits of the weights, means and log widths, the latter two in raw units that
    this layer scales: the means at 0 are spread evenly over the grid, 1 moves them by about a quarter of it, and a log
    width of 0 is a twentieth of it. Both level off (4 tanh(x / 4)). Widths never fall below half a step, where a grid
    could not show them. Output ``(batch, n_grid)``: log densities.
    """

    def __init__(self, z_min, z_max, n_grid=200, **kwargs):
        super().__init__(z_min, z_max, **kwargs)
        if n_grid < 2:
            raise ValueError(f"MixtureLogits: n_grid must be at least 2, got {n_grid!r}")
        self.n_grid = n_grid

    def parameters(self, raw):
        """Log weights, means and widths, each ``(batch, components)``, from the raw outputs of a network."""
        logits, means, log_widths = ops.split(raw, 3, axis=-1)
        span = self.z_max - self.z_min
        floor = 0.5 * span / (self.n_grid - 1)
        components = raw.shape[-1] // 3
        even = ops.linspace(self.z_min, self.z_max, 2 * components + 1, dtype="float32")[1::2]
        # Bounded, as an object far from all others must not give a density that float32 cannot hold.
        means = even + 0.25 * span * 4 * ops.tanh(means / 4)
        return ops.log_softmax(logits), means, floor + 0.05 * span * ops.exp(4 * ops.tanh(log_widths / 4))

    def call(self, raw):
        """Return the log density of the mixture at the nodes."""
        log_weights, means, widths = (ops.expand_dims(x, -1) for x in self.parameters(raw))
        nodes = ops.linspace(self.z_min, self.z_max, self.n_grid, dtype="float32")
        log_terms = log_weights - ops.log(widths) - 0.5 * ((nodes - means) / widths) ** 2
        return ops.logsumexp(log_terms, axis=1)

    def compute_output_shape(self, input_shape):
        """Shape of the log density."""
        return (input_shape[0], self.n_grid)

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "n_grid": self.n_grid}


@keras.saving.register_keras_serializable(package=PACKAGE)
class Temperature(GridLayer):
    """Sharpens or broadens densities: p^(1/T), normalised again.

    T is a weight that no training changes; `set_temperature` sets it from rows set aside for calibration (Guo et al.
    2017, arXiv:1706.04599). Averages of networks tend to be too broad, which T < 1 mends.

    Notes
    -----
    Input and output are densities at the nodes, ``(batch, n_grid)``.
    """

    def build(self, input_shape):
        """Create the temperature, 1 until it is set."""
        self.temperature = self.add_weight(name="temperature", shape=(), initializer="ones", trainable=False)

    def set_temperature(self, temperature):
        """Set T.

        Raises
        ------
        ValueError
            Unless the temperature is finite and above 0.
        """
        if not (np.isfinite(temperature) and temperature > 0):
            raise ValueError(f"Temperature: must be finite and above 0, got {temperature!r}")
        self.temperature.assign(temperature)

    def call(self, density):
        """Return the density at temperature T."""
        masses = node_masses(self.z_min, self.z_max, density.shape[-1])
        relative = density / ops.max(density, axis=-1, keepdims=True)
        # Several times faster than ops.power; the logarithm of 0 comes back as 0.
        powered = ops.exp(ops.log(relative) / self.temperature)
        return powered / ops.sum(powered * masses, axis=-1, keepdims=True)


@keras.saving.register_keras_serializable(package=PACKAGE)
class DensityLoss(keras.losses.Loss):
    """Proper scores of a log density on a grid: negative log-likelihood plus ``crps_weight`` times the CRPS.

    The likelihood is that of the piecewise linear density. The continuous ranked probability score (Gneiting & Raftery
    2007, JASA 102, 359) is summed over the nodes and divided by the length of the grid.

    Parameters
    ----------
    z_min, z_max : float
        First and last node of the grid; a redshift outside counts as the nearer end.
    crps_weight : float
        Weight of the CRPS, at least 0.
    """

    def __init__(self, z_min, z_max, crps_weight=0.0, name="density_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        check_grid("DensityLoss", z_min, z_max)
        self.z_min = float(z_min)
        self.z_max = float(z_max)
        self.crps_weight = crps_weight

    def call(self, y_true, y_pred):
        """Return the loss per row; ``y_true`` is ``(batch,)`` or ``(batch, 1)``, ``y_pred`` ``(batch, n_grid)``."""
        n_grid = y_pred.shape[-1]
        z = ops.reshape(ops.cast(y_true, y_pred.dtype), (-1, 1))
        position = ops.clip((z - self.z_min) / (self.z_max - self.z_min), 0.0, 1.0) * (n_grid - 1)
        hats = ops.relu(1 - ops.abs(position - ops.arange(n_grid, dtype="float32")))
        near = ops.where(hats > 0, y_pred, -np.inf)
        top = ops.max(near, axis=-1, keepdims=True)
        loss = -ops.squeeze(top, -1) - ops.log(ops.sum(hats * ops.exp(ops.minimum(y_pred - top, 0.0)), axis=-1))
        if self.crps_weight:
            loss = loss + self.crps_weight * self._crps(position, y_pred)
        return loss

    def _crps(self, position, log_density):
        """CRPS in units of the grid's length; ``position`` counts nodes."""
        n_grid = log_density.shape[-1]
        density = ops.exp(log_density) * (self.z_max - self.z_min) / (n_grid - 1)
        cumulative = ops.cumsum(density, axis=-1) - 0.5 * density - 0.5 * density[:, :1]
        reached = ops.clip(ops.arange(n_grid, dtype="float32") - position + 0.5, 0.0, 1.0)
        # The step lies inside a cell: the second term is what the mean of the squares has over the square of the mean.
        return ops.sum((cumulative - reached) ** 2 + reached * (1 - reached), axis=-1) / (n_grid - 1)

    def get_config(self):
        """Configuration for saving."""
        config = {"z_min": self.z_min, "z_max": self.z_max, "crps_weight": self.crps_weight}
        return {**super().get_config(), **config}
