"""Layers that recalibrate densities: the magnitude of an object, and a map of the PIT that varies with it."""

import keras
import numpy as np
from keras import ops
from numpy.polynomial import legendre

from .mixture import GridLayer, node_masses
from .photometry import MAGNITUDES_PER_E_FOLD, PACKAGE, masked_quantiles

#: AB magnitude of 1 nJy.
ZERO_POINT = 31.4
#: Keeps the logarithmic feature finite at PITs of 0 and 1.
PIT_FLOOR = 1e-3


@keras.saving.register_keras_serializable(package=PACKAGE)
class ReferenceMagnitude(keras.layers.Layer):
    """Asinh magnitude (AB) of an object in one band, also where that band is missing.

    The asinh magnitude (Lupton, Gunn & Szalay 1999, AJ 118, 1406) is defined for fluxes of either sign and equals the
    ordinary one of a bright object. Where the band is missing, the mean of what the other bands say takes its place:
    their magnitudes plus the median color of the training rows.

    Parameters
    ----------
    band : int
        Number of the reference band.

    Notes
    -----
    Call with ``[flux, observed]``, each ``(batch, bands)``, the flux in nJy; returns ``(batch,)``. An object without
    any band has the magnitude 0.
    """

    def __init__(self, band=0, **kwargs):
        super().__init__(**kwargs)
        self.band = band

    def build(self, input_shape):
        """Create softening (nJy) and offset (mag) of every band; until ``adapt`` they are 1 and the zero point."""
        bands = input_shape[0][-1]
        if not 0 <= self.band < bands:
            raise ValueError(f"ReferenceMagnitude: band must be 0 to {bands - 1}, got {self.band!r}")
        zero = keras.initializers.Constant(ZERO_POINT)
        self.softening = self.add_weight(name="softening", shape=(bands,), initializer="ones", trainable=False)
        self.offset = self.add_weight(name="offset", shape=(bands,), initializer=zero, trainable=False)

    def adapt(self, flux, flux_err, observed):
        """Set the softening of each band to its median error, and the offsets to median colors.

        Parameters
        ----------
        flux, flux_err, observed : array-like
            Shape ``(rows, bands)``, training rows only.

        Raises
        ------
        ValueError
            When a band has no positive error in any row.
        """
        flux, flux_err = np.asarray(flux, np.float64), np.asarray(flux_err, np.float64)
        observed = np.asarray(observed) > 0
        softening = masked_quantiles(flux_err, observed & (flux_err > 0), [0.5])[0]
        if not np.all(np.isfinite(softening)):
            missing = np.flatnonzero(~np.isfinite(softening)).tolist()
            raise ValueError(f"ReferenceMagnitude: no training row has a positive flux error in band number {missing}")
        if not self.built:
            self.build([(None, flux.shape[1])])
            self.built = True
        scaled = np.where(observed, flux, 0) / (2 * softening)
        magnitudes = ZERO_POINT - MAGNITUDES_PER_E_FOLD * (np.arcsinh(scaled) + np.log(softening))
        own = magnitudes[:, [self.band]]
        both = observed & observed[:, [self.band]]
        color = masked_quantiles(own - magnitudes, both, [0.5])[0]
        # A band never seen together with the reference: the difference of what is typical of each.
        typical = masked_quantiles(magnitudes, observed, [0.5])[0]
        color = np.where(np.isfinite(color), color, typical[self.band] - typical)
        offset = ZERO_POINT - MAGNITUDES_PER_E_FOLD * np.log(softening) + color
        self.softening.assign(softening.astype("float32"))
        self.offset.assign(offset.astype("float32"))

    def call(self, inputs):
        """Return the magnitude."""
        flux, observed = inputs
        flux = ops.where(observed > 0, flux, 0.0)
        magnitudes = self.offset - MAGNITUDES_PER_E_FOLD * ops.arcsinh(flux / (2 * self.softening))
        others = ops.sum(observed * magnitudes, axis=-1) / ops.maximum(ops.sum(observed, axis=-1), 1.0)
        return ops.where(observed[:, self.band] > 0, magnitudes[:, self.band], others)

    def compute_output_shape(self, input_shape):
        """Shape of the magnitude."""
        return (input_shape[0][0],)

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "band": self.band}


@keras.saving.register_keras_serializable(package=PACKAGE)
class Recalibration(GridLayer):
    """Makes the PIT uniform: multiplies a density by a smooth function of its own cumulative probability.

    With C(z) the cumulative probability of the density p, the result is ``p(z) r(C(z) | m)``, normalised. If r is the
    density of the PIT of objects of magnitude m, the PIT of the result is uniform (Bordoloi, Lilly & Amara 2010, MNRAS
    406, 881; Dey et al. 2022, arXiv:2205.14568). Its logarithm is a polynomial of C plus a multiple of
    ``ln 4C(1-C)``, which alone makes a Beta distribution; the coefficients are a polynomial of the magnitude's rank
    among the calibration rows. With all coefficients 0 nothing changes.

    Parameters
    ----------
    z_min, z_max : float
        First and last node of the grid.
    degree : int
        Degree of the polynomial of C, at least 1.
    magnitude_degree : int
        Degree of the polynomial of the magnitude's rank, at least 0.
    n_nodes : int
        Quantiles of the magnitude that define its rank, at least 2.

    Notes
    -----
    Call with ``[density, magnitude]`` of shapes ``(batch, n_grid)`` and ``(batch,)``; returns the density, whose
    integral by the trapezoid rule is 1. The weights, which no training changes, come from
    `astrokeras.networks.recalibration.fit_recalibration`.
    """

    def __init__(self, z_min, z_max, degree=4, magnitude_degree=3, n_nodes=9, **kwargs):
        super().__init__(z_min, z_max, **kwargs)
        for name, value, least in (("degree", degree, 1), ("magnitude_degree", magnitude_degree, 0)):
            if value < least:
                raise ValueError(f"Recalibration: {name} must be at least {least}, got {value!r}")
        if n_nodes < 2:
            raise ValueError(f"Recalibration: n_nodes must be at least 2, got {n_nodes!r}")
        self.degree, self.magnitude_degree, self.n_nodes = degree, magnitude_degree, n_nodes

    def build(self, input_shape):
        """Create the nodes of the magnitude and the coefficients, 0 until they are set."""
        shape = (self.magnitude_degree + 1, self.degree + 1)
        self.nodes = self.add_weight(name="nodes", shape=(self.n_nodes,), initializer="zeros", trainable=False)
        self.coefficients = self.add_weight(name="coefficients", shape=shape, initializer="zeros", trainable=False)

    def set_map(self, nodes, coefficients):
        """Set the map.

        Parameters
        ----------
        nodes : numpy.ndarray
            Quantiles of the magnitude at equidistant levels from 0 to 1, not falling, ``(n_nodes,)``.
        coefficients : numpy.ndarray
            ``(magnitude_degree + 1, degree + 1)``: Legendre coefficients in the rank; of ``ln 4C(1-C)`` in the first
            column, of the Legendre polynomials of degree 1, 2, ... of 2C - 1 in the others.

        Raises
        ------
        ValueError
            When nodes fall, or anything is not finite.
        """
        if not (np.all(np.isfinite(nodes)) and np.all(np.diff(nodes) >= 0) and np.all(np.isfinite(coefficients))):
            raise ValueError("Recalibration: nodes must not fall, and all numbers must be finite")
        self.nodes.assign(np.asarray(nodes, "float32"))
        self.coefficients.assign(np.asarray(coefficients, "float32"))

    def call(self, inputs):
        """Return the recalibrated density at the nodes."""
        density, magnitude = inputs
        masses = node_masses(self.z_min, self.z_max, density.shape[-1])
        weights = ops.matmul(self._rank_powers(magnitude), self.coefficients)
        below = cumulative(density, (self.z_max - self.z_min) / (density.shape[-1] - 1))
        x = 2 * below - 1
        # From Legendre to powers, for Horner's rule; the constant term would not outlive the normalisation.
        powers = ops.matmul(weights[:, 1:], legendre_to_powers(self.degree))
        tilt = powers[:, -1:] * x
        for power in range(self.degree - 2, -1, -1):
            tilt = (tilt + powers[:, power : power + 1]) * x
        tilt = tilt + weights[:, :1] * ops.log(1 + PIT_FLOOR - x * x)
        tilted = density * ops.exp(tilt)
        return tilted / ops.sum(tilted * masses, axis=-1, keepdims=True)

    def _rank_powers(self, magnitude):
        """Legendre polynomials of the rank of the magnitude, scaled to -1 ... 1, ``(batch, magnitude_degree + 1)``."""
        nodes = ops.convert_to_tensor(self.nodes)
        steps = ops.maximum(nodes[1:] - nodes[:-1], 1e-6)
        passed = ops.clip((magnitude[:, None] - nodes[:-1]) / steps, 0.0, 1.0)
        rank = 2 * ops.mean(passed, axis=-1) - 1
        found = [ops.ones_like(rank), rank]
        for k in range(1, self.magnitude_degree):
            found.append(((2 * k + 1) * rank * found[k] - k * found[k - 1]) / (k + 1))
        return ops.stack(found[: self.magnitude_degree + 1], axis=-1)

    def compute_output_shape(self, input_shape):
        """Shape of the density."""
        return input_shape[0]

    def get_config(self):
        """Configuration for saving."""
        shape = {"degree": self.degree, "magnitude_degree": self.magnitude_degree, "n_nodes": self.n_nodes}
        return {**super().get_config(), **shape}


def cumulative(density, step):
    """Cumulative probabilities at the nodes of normalised, piecewise linear densities, ``(batch, n_grid)``."""
    half = (0.5 * step) * density
    sums = ops.cumsum(density, axis=-1) * step - half - half[:, :1]
    return ops.clip(sums, 0.0, 1.0)


def legendre_to_powers(degree):
    """Matrix from coefficients of Legendre polynomials 1 ... degree to those of the powers 1 ... degree."""
    matrix = np.zeros((degree, degree), "float32")
    for row in range(degree):
        powers = legendre.leg2poly(np.eye(degree + 1)[row + 1])
        matrix[row, : len(powers) - 1] = powers[1:]
    return ops.convert_to_tensor(matrix)
