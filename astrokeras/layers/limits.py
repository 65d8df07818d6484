"""Layers for upper limits: bands that were observed, without a detection, to a depth that is known."""

import keras
import numpy as np
from keras import ops

from .photometry import PACKAGE


@keras.saving.register_keras_serializable(package=PACKAGE)
class LimitDepths(keras.layers.Layer):
    """Depths of upper limits as features: -1 at the deepest a training could simulate, 1 at the shallowest.

    The feature is linear in the logarithm of the depth and limited to [-1, 1], which keeps what it says true: a flux
    below ``nsigma * depth`` is also below that of a shallower limit, and the shallowest says next to nothing, because
    99.9 % of all training rows are fainter. A band that is no limit gives 0.

    Parameters
    ----------
    nsigma : float
        An object is a non-detection where its flux is below ``nsigma`` times the depth; above 0.

    Notes
    -----
    Call with ``[flux_err, limited]``, each ``(batch, bands)``: the depth, that is the standard deviation of the flux
    (nJy), and 1 where the band is an upper limit, else 0. Returns ``(batch, bands)``.
    """

    def __init__(self, nsigma=5.0, **kwargs):
        super().__init__(**kwargs)
        if not nsigma > 0:
            raise ValueError(f"LimitDepths: nsigma must be above 0, got {nsigma!r}")
        self.nsigma = nsigma

    def build(self, input_shape):
        """Create the range of the logarithms, one per band; until ``adapt`` it is -1 to 1."""
        shape = (input_shape[0][-1],)
        self.low = self.add_weight(
            name="low", shape=shape, initializer=keras.initializers.Constant(-1), trainable=False
        )
        self.high = self.add_weight(name="high", shape=shape, initializer="ones", trainable=False)

    def adapt(self, flux, flux_err, observed, limited):
        """Set the range of each band from training rows.

        It goes from the 1 % quantile of the errors and depths to the depth at which 99.9 % of the measured fluxes, and
        all depths but .1 %, would be no detections; it spans at least a factor of two.

        Parameters
        ----------
        flux, flux_err, observed, limited : array-like
            Shape ``(rows, bands)``, training rows only.

        Raises
        ------
        ValueError
            When a band has no positive error in any row.
        """
        ranges = []
        columns = (np.asarray(x).T for x in (flux, flux_err, observed, limited))
        for number, (f, e, o, u) in enumerate(zip(*columns, strict=True)):
            errors = e[((o > 0) | (u > 0)) & (e > 0)]
            if not errors.size:
                raise ValueError(f"LimitDepths: no training row has a positive flux error in band number {number}")
            low = np.quantile(errors, 0.01)
            shallow = [np.quantile(x, 0.999) for x in (f[o > 0] / self.nsigma, e[u > 0]) if x.size]
            ranges.append(np.log([low, max(2 * low, *shallow)]))
        if not self.built:
            self.build([(None, len(ranges))])
            self.built = True
        self.low.assign(np.array(ranges)[:, 0].astype("float32"))
        self.high.assign(np.array(ranges)[:, 1].astype("float32"))

    def call(self, inputs):
        """Return the normalised depths."""
        depth, limited = inputs
        # JAX takes no variables in `where`, only tensors.
        low, high = ops.convert_to_tensor(self.low), ops.convert_to_tensor(self.high)
        log_depth = ops.log(ops.where(limited > 0, depth, ops.exp(low)))
        normalised = (2 * log_depth - low - high) / (high - low)
        return ops.where(limited > 0, ops.clip(normalised, -1.0, 1.0), 0.0)

    def compute_output_shape(self, input_shape):
        """Shape of the depths."""
        return input_shape[0]

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "nsigma": self.nsigma}


@keras.saving.register_keras_serializable(package=PACKAGE)
class LimitSimulation(keras.layers.Layer):
    r"""Turns bands into upper limits at random while training, as a shallower survey would have.

    For each band of each row, with probability ``rate``, a depth :math:`\sigma` is drawn, its logarithm uniform between
    ``log_low`` and ``log_high``. Had the object been observed to that depth only, its flux would have been

    .. math:: f' = f + \sqrt{\sigma^2 - \sigma_f^2}\,\epsilon, \qquad \epsilon \sim N(0, 1),

    with f and :math:`\sigma_f` its flux and error as measured. Where :math:`\sigma > \sigma_f` and
    :math:`f' < n_\sigma \sigma` the band becomes a limit of depth :math:`\sigma`; otherwise it stays what it is. So the
    network learns :math:`p(z \mid f' < n_\sigma\sigma, \ldots)`.

    The depth must not be drawn around the flux of the object, although then every draw would give a limit: a depth that
    follows the flux tells the network the flux, and real depths do not follow it. Here the only link between the two is
    that the object was not detected.

    A limit in the training rows takes part like a flux of 0 with its depth for an error, and becomes a shallower
    one at times. A row that would lose its last detected band keeps all.

    Parameters
    ----------
    rate : float
        Probability to try one band, from 0 up to but not including 1.
    nsigma : float
        Detection threshold :math:`n_\sigma`, above 0.
    log_low, log_high : list of float
        Natural logarithms of the deepest and the shallowest depth (nJy), per band.
    seed : int, optional
        Seed of the layer's own random numbers.

    Notes
    -----
    Call with ``[flux, flux_err, observed, limited]``; returns ``(flux_err, observed, limited)``, all
    ``(batch, bands)``.
    Outside training they pass unchanged.
    """

    def __init__(self, rate, nsigma, log_low, log_high, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"LimitSimulation: rate must be at least 0 and below 1, got {rate!r}")
        if not nsigma > 0:
            raise ValueError(f"LimitSimulation: nsigma must be above 0, got {nsigma!r}")
        self.rate, self.nsigma, self.seed = rate, nsigma, seed
        self.log_low, self.log_high = [float(x) for x in log_low], [float(x) for x in log_high]
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        """Return errors and masks, with more limits when ``training`` is true."""
        flux, flux_err, observed, limited = inputs
        if not training or self.rate == 0:
            return flux_err, observed, limited
        shape = ops.shape(flux)
        tried = keras.random.uniform(shape, seed=self.seed_generator) < self.rate
        low, high = ops.convert_to_tensor(self.log_low), ops.convert_to_tensor(self.log_high)
        depth = ops.exp(low + (high - low) * keras.random.uniform(shape, seed=self.seed_generator))
        noise = ops.sqrt(ops.maximum(depth**2 - flux_err**2, 0.0)) * keras.random.normal(
            shape, seed=self.seed_generator
        )
        seen = ops.where(observed > 0, flux, 0.0) + noise
        deeper = ops.logical_and(observed + limited > 0, depth > flux_err)
        hidden = ops.logical_and(ops.logical_and(tried, deeper), seen < self.nsigma * depth)
        left = ops.any(ops.logical_and(observed > 0, ops.logical_not(hidden)), axis=-1, keepdims=True)
        hidden = ops.logical_and(hidden, left)
        return (
            ops.where(hidden, depth, flux_err),
            ops.where(hidden, 0.0, observed),
            ops.where(hidden, 1.0, limited),
        )

    def compute_output_shape(self, input_shape):
        """Shapes of errors and masks."""
        return tuple(input_shape[1:])

    def get_config(self):
        """Configuration for saving."""
        own = {name: getattr(self, name) for name in ("rate", "nsigma", "log_low", "log_high", "seed")}
        return {**super().get_config(), **own}
