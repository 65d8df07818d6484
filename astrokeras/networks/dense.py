"""Dense networks on photometry: the redshift density of an object from its fluxes."""

import keras
import numpy as np
from scipy.optimize import minimize_scalar

from ..layers import Density, LogDensity, Maxout, MixtureLogits, SplineLogits, Temperature
from .encoder import seen_in_training

NETWORKS = ("spline", "binned", "mixture")


def dense_trunk(
    n_features,
    n_outputs,
    *,
    width=192,
    depth=3,
    activation="swish",
    maxout_pieces=2,
    l1=0.0,
    l2=0.0,
    dropout=0.0,
    batch_norm=False,
    initializer="he_normal",
):
    """Residual network of dense layers: every layer after the first adds to what it was given.

    Parameters
    ----------
    n_features, n_outputs, width, depth : int
        Units of input, output and every hidden layer, and number of hidden layers, all at least 1.
    activation, initializer : str
        Keras names: activation of the hidden layers, or ``maxout``, and initialiser of their kernels.
    maxout_pieces : int
        Linear functions per unit of ``maxout``; see `astrokeras.layers.Maxout`.
    l1, l2, dropout : float
        Regularisation of the kernels; fraction of hidden units dropped after each layer in training.
    batch_norm : bool
        Batch normalisation before each activation.

    Returns
    -------
    keras.Model
        From ``(batch, n_features)`` to ``(batch, n_outputs)``, linear at the end.
    """
    if width < 1 or depth < 1:
        raise ValueError(f"dense_trunk: width and depth must be at least 1, got {width!r} and {depth!r}")
    regularizer = keras.regularizers.L1L2(l1, l2) if l1 or l2 else None
    inputs = keras.Input((n_features,), name="features", dtype="float32")
    x = inputs
    maxout = activation == "maxout"
    for index in range(depth):
        dense = keras.layers.Dense(
            width * maxout_pieces if maxout else width,
            activation=None if batch_norm or maxout else activation,
            kernel_initializer=initializer,
            kernel_regularizer=regularizer,
            name=f"dense_{index}",
        )
        y = dense(x)
        if batch_norm:
            y = keras.layers.BatchNormalization(name=f"batch_norm_{index}")(y)
        if maxout:
            y = Maxout(maxout_pieces, name=f"maxout_{index}")(y)
        elif batch_norm:
            y = keras.layers.Activation(activation, name=f"activation_{index}")(y)
        if dropout:
            y = keras.layers.Dropout(dropout, name=f"dropout_{index}")(y)
        x = keras.layers.Add(name=f"add_{index}")([x, y]) if index else y
    outputs = keras.layers.Dense(n_outputs, kernel_regularizer=regularizer, name="outputs")(x)
    return keras.Model(inputs, outputs, name="trunk")


def photoz_network(
    encoder,
    *,
    z_min,
    z_max,
    n_grid=200,
    network="spline",
    coefficients=36,
    components=6,
    band_dropout=0.06,
    error_jitter=0.2,
    limit_rate=0.0,
    instrument_dropout=0.0,
    instruments=(),
    **trunk,
):
    """One trainable member: from photometry to the log density of the redshift on a uniform grid.

    Train it with `astrokeras.layers.DensityLoss` of the same grid. Initial weights follow Keras' global seed.

    Parameters
    ----------
    encoder : keras.Model
        From `astrokeras.networks.encoder.photometry_encoder`; members of one ensemble share it.
    z_min, z_max, n_grid : float, float, int
        First and last node of the grid, and their number.
    network : {"spline", "binned", "mixture"}
        What the network gives: coefficients of a log-spline density, one output per node (softmax over bins), or a
        mixture of normal distributions. All three are evaluated at the nodes.
    coefficients, components : int
        Coefficients of the splines, at least 4; components of the mixture.
    band_dropout, error_jitter, limit_rate, instrument_dropout, instruments
        See `astrokeras.networks.encoder.seen_in_training`.
    **trunk
        Parameters of `dense_trunk`.

    Returns
    -------
    keras.Model
        Named inputs of the encoder; output ``log_pdf`` of shape ``(batch, n_grid)``.

    Raises
    ------
    ValueError
        When ``network`` is unknown or a parameter is out of range.
    """
    n_features = encoder.output_shape[-1]
    raw = keras.Input((n_features,), name="features", dtype="float32")
    logits = dense_trunk(n_features, density_size(network, n_grid, coefficients, components), **trunk)(raw)
    logits = grid_logits(logits, network, z_min, z_max, n_grid)
    head = keras.Model(raw, logits, name="member")
    inputs, seen = seen_in_training(encoder, band_dropout, error_jitter, limit_rate, instrument_dropout, instruments)
    log_pdf = LogDensity(z_min, z_max, name="log_pdf")(head(encoder(seen)))
    return keras.Model(inputs, log_pdf, name="photoz_member")


def density_size(network, n_grid, coefficients, components):
    """How many numbers describe a density; see `photoz_network`."""
    if network not in NETWORKS:
        raise ValueError(f"photoz_network: network must be one of {', '.join(NETWORKS)}, got {network!r}")
    return {"spline": coefficients, "binned": n_grid, "mixture": 3 * components}[network]


def grid_logits(values, network, z_min, z_max, n_grid):
    """Logits at the nodes of a redshift grid, from the numbers that describe a density."""
    if network == "spline":
        return SplineLogits(n_grid, name="spline")(values)
    return MixtureLogits(z_min, z_max, n_grid, name="mixture")(values) if network == "mixture" else values


def density_model(network, size, z_min, z_max, n_grid, name):
    """Graph from ``size`` numbers that describe a density to the density at the nodes of a grid."""
    values = keras.Input((size,), dtype="float32")
    density = Density(z_min, z_max, name="density")(grid_logits(values, network, z_min, z_max, n_grid))
    return keras.Model(values, density, name=name)


def heads(members, features):
    """Outputs of the members' heads, copied and numbered, one after another for the features of a shared encoder."""
    for index, member in enumerate(members):
        head = keras.models.clone_model(member.get_layer("member"))
        head.set_weights(member.get_layer("member").get_weights())
        head.name = f"member_{index}"
        yield head(features)


def ensemble(members, temperature=1.0):
    """One graph of all members for inference: the mean of their densities, at one temperature.

    Parameters
    ----------
    members : sequence of keras.Model
        Trained models from `photoz_network`, of one encoder and one grid.
    temperature : float
        See `astrokeras.layers.Temperature`; 1 changes nothing.

    Returns
    -------
    keras.Model
        Named inputs of the encoder; output ``{"z_pdf": density}``, ``(batch, n_grid)``, whose integral by
        the trapezoid rule over the grid is 1.

    Raises
    ------
    ValueError
        When there is no member, or members differ in encoder or grid.
    """
    if not members:
        raise ValueError("ensemble: at least one member is needed")
    encoder, last = members[0].get_layer("encoder"), members[0].get_layer("log_pdf")
    for member in members[1:]:
        other = member.get_layer("log_pdf")
        if member.get_layer("encoder") is not encoder:
            raise ValueError("ensemble: all members must share one encoder")
        if (other.z_min, other.z_max, member.output_shape) != (last.z_min, last.z_max, members[0].output_shape):
            raise ValueError("ensemble: all members must share one redshift grid")
    inputs = {name: keras.Input(x.shape[1:], name=name, dtype="float32") for name, x in encoder.input.items()}
    outputs = heads(members, encoder(inputs))
    densities = [Density(last.z_min, last.z_max, name=f"density_{i}")(output) for i, output in enumerate(outputs)]
    mean = keras.layers.Average(name="mean_density")(densities) if len(densities) > 1 else densities[0]
    return photoz_model(inputs, mean, last.z_min, last.z_max, temperature)


def photoz_model(inputs, mean, z_min, z_max, temperature=1.0):
    """Graph with the output ``z_pdf``, a mean density at one temperature."""
    final = Temperature(z_min, z_max, name="z_pdf")
    outputs = {"z_pdf": final(mean)}
    final.set_temperature(temperature)
    return keras.Model(inputs, outputs, name="photoz")


def fit_temperature(pdf, grid, z_true, outlier_fraction=0.02):
    """Temperature that maximises a robust likelihood of true redshifts under p^(1/T).

    The likelihood is that of the density mixed with a uniform one, which owns ``outlier_fraction``: without it a few
    catastrophic redshifts, which no temperature can mend, would broaden the PDFs of all objects. Where there are no
    outliers it costs a bias of T of -2 %.

    Parameters
    ----------
    pdf : numpy.ndarray
        Densities at temperature 1 of rows set aside for calibration, ``(rows, n_grid)``.
    grid : numpy.ndarray
        Nodes, uniform, ``(n_grid,)``.
    z_true : numpy.ndarray
        True redshifts, ``(rows,)``; clipped to the grid.
    outlier_fraction : float
        Share of the uniform density, from 0 up to but not including 1.

    Returns
    -------
    float
        Temperature between 0.4 and 2.5, to 0.1 %.
    """
    step = grid[1] - grid[0]
    position = np.clip((np.asarray(z_true, dtype=np.float64) - grid[0]) / step, 0, len(grid) - 1)
    left = np.minimum(position.astype(int), len(grid) - 2)
    t, rows = position - left, np.arange(len(pdf))
    log_pdf = np.log(np.maximum(pdf / pdf.max(axis=1, keepdims=True), np.finfo(np.float32).tiny))

    def loss(log_temperature):
        powered = np.exp(log_pdf * np.exp(-log_temperature))
        total = step * (powered.sum(axis=1) - 0.5 * (powered[:, 0] + powered[:, -1]))
        at_truth = ((1 - t) * powered[rows, left] + t * powered[rows, left + 1]) / total
        mixed = (1 - outlier_fraction) * at_truth + outlier_fraction / (grid[-1] - grid[0])
        return -np.mean(np.log(np.maximum(mixed, np.finfo(np.float32).tiny)))

    best = minimize_scalar(loss, bounds=np.log([0.4, 2.5]), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(best.x))
