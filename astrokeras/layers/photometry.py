"""Layers which turn fluxes, their errors and a mask of observed bands into the features of a network.

They take physical units (nJy, or any unit, as long as it stays the same). Their statistics are weights, set by
``adapt`` from training rows only, so that a saved model needs nothing but fluxes. A band that is missing gives zeros
behind every normalisation, and an indicator.
"""

import keras
import numpy as np
from keras import ops

PACKAGE = "astrokeras"
MAGNITUDES_PER_E_FOLD = 2.5 / np.log(10)
#: Smallest scale of log errors. Where a catalog states one error for all objects they do not scatter; divided by that,
#: the random factors of `ErrorJitter` would drown all else.
LOG_ERROR_FLOOR = 0.2


def masked_quantiles(values, mask, levels):
    """Quantiles of every column over the rows whose mask is set.

    Parameters
    ----------
    values, mask : array-like
        Shape ``(rows, columns)``; the value counts where the mask is above zero and the value is finite.
    levels : sequence of float
        Levels between 0 and 1.

    Returns
    -------
    numpy.ndarray
        Shape ``(len(levels), columns)``; a column without a value gives NaN.
    """
    values, mask = np.asarray(values, dtype=np.float64), np.asarray(mask)
    columns = [column[(keep > 0) & np.isfinite(column)] for column, keep in zip(values.T, mask.T, strict=True)]
    return np.array([np.quantile(c, levels) if c.size else np.full(len(levels), np.nan) for c in columns]).T


@keras.saving.register_keras_serializable(package=PACKAGE)
class BandDropout(keras.layers.Layer):
    """Hides observed bands at random while training, so that a network learns what a missing band costs.

    Every band of every row is hidden with probability ``rate``, independently; a row that would lose all its bands
    keeps them. Outside training the mask passes unchanged.

    Parameters
    ----------
    rate : float
        Probability to hide one band, from 0 up to but not including 1.
    seed : int, optional
        Seed of the layer's own random numbers.
    keep_one : bool
        Whether a row that would lose all keeps them.

    Raises
    ------
    ValueError
        When ``rate`` lies outside [0, 1).

    Notes
    -----
    Input and output have the shape ``(batch, bands)``: 1 where a band was observed, 0 where it is missing. Called with
    ``[observed, limited]``, where ``limited`` marks upper limits, it hides both alike and returns both; the band that a
    row keeps is then a detected one.
    """

    def __init__(self, rate=0.05, seed=None, keep_one=True, **kwargs):
        super().__init__(**kwargs)
        self.keep_one = keep_one
        if not 0 <= rate < 1:
            raise ValueError(f"{type(self).__name__}: rate must be at least 0 and below 1, got {rate!r}")
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, masks, training=False):
        """Return the mask or masks, with bands hidden when ``training`` is true."""
        if not training or self.rate == 0:
            return masks
        several = isinstance(masks, list | tuple)
        observed = masks[0] if several else masks
        keep = self.kept(observed)
        some = ops.max(observed * keep, axis=-1, keepdims=True) > (0 if self.keep_one else -1)
        hidden = [ops.where(some, mask * keep, mask) for mask in (masks if several else [masks])]
        return hidden if several else hidden[0]

    def kept(self, observed):
        """Draw 1 for every band that stays, 0 for one that is hidden."""
        draws = keras.random.uniform(ops.shape(observed), seed=self.seed_generator)
        return ops.cast(draws >= self.rate, observed.dtype)

    def compute_output_shape(self, input_shape):
        """Shape of the mask: the same as of the input."""
        return input_shape

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed, "keep_one": self.keep_one}


@keras.saving.register_keras_serializable(package=PACKAGE)
class ErrorJitter(keras.layers.Layer):
    """Multiplies flux errors by random factors while training, so that no network learns them by heart.

    Within one patch of sky the errors of a survey hardly vary: a network that reads them exactly recognises the patch,
    with the redshifts of its clusters, and fails on another. Each factor is ``exp(scale * N(0, 1))``.

    Parameters
    ----------
    scale : float
        Standard deviation of the logarithm of the factors, at least 0.
    seed : int, optional
        Seed of the layer's own random numbers.

    Notes
    -----
    Input and output have the shape ``(batch, bands)``. Outside training the errors pass unchanged.
    """

    def __init__(self, scale=0.2, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not scale >= 0:
            raise ValueError(f"ErrorJitter: scale must be at least 0, got {scale!r}")
        self.scale = scale
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, flux_err, training=False):
        """Return the errors, jittered when ``training`` is true."""
        if not training or self.scale == 0:
            return flux_err
        return flux_err * ops.exp(self.scale * keras.random.normal(ops.shape(flux_err), seed=self.seed_generator))

    def compute_output_shape(self, input_shape):
        """Shape of the errors: the same as of the input."""
        return input_shape

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "scale": self.scale, "seed": self.seed}


@keras.saving.register_keras_serializable(package=PACKAGE)
class AsinhMagnitudes(keras.layers.Layer):
    """Asinh magnitudes of fluxes, and the logarithms of their errors.

    The magnitude is ``-2.5/ln 10 * asinh(f / 2b)`` (Lupton, Gunn & Szalay 1999, AJ 118, 1406) without its zero point,
    which a later normalisation would remove. The softening b of a band is the median flux error of its training rows:
    negative and zero fluxes keep their information, bright ones are ordinary magnitudes.

    Notes
    -----
    Call with ``[flux, flux_err, observed]``, each ``(batch, bands)``, both fluxes in one unit (nJy). Returns
    ``(magnitudes, log_errors)`` of the same shape: magnitudes, and natural logarithms of the magnitude errors
    ``2.5/ln 10 * flux_err / sqrt(f^2 + 4b^2)``. A missing band is filled with flux 0 and the error b; an observed band
    without a positive error takes b as well.
    """

    def build(self, input_shape):
        """Create the softening, one per band; until ``adapt`` it is 1."""
        shape = (input_shape[0][-1],)
        self.softening = self.add_weight(name="softening", shape=shape, initializer="ones", trainable=False)

    def adapt(self, flux_err, observed):
        """Set the softening of each band to the median error of the rows that observe it.

        Parameters
        ----------
        flux_err, observed : array-like
            Shape ``(rows, bands)``, training rows only.

        Raises
        ------
        ValueError
            When a band has no positive error in any row.
        """
        flux_err = np.asarray(flux_err, dtype=np.float64)
        median = masked_quantiles(flux_err, (np.asarray(observed) > 0) & (flux_err > 0), [0.5])[0]
        if not np.all(np.isfinite(median)):
            bands = np.flatnonzero(~np.isfinite(median)).tolist()
            raise ValueError(f"AsinhMagnitudes: no training row has a positive flux error in band number {bands}")
        if not self.built:
            self.build([(None, len(median))])
            self.built = True
        self.softening.assign(median.astype("float32"))

    def call(self, inputs):
        """Return magnitudes and log errors; see the class."""
        flux, flux_err, observed = inputs
        present = observed > 0
        flux = ops.where(present, flux, 0.0)
        # JAX takes no variables in `where`, only tensors.
        softening = ops.convert_to_tensor(self.softening)
        flux_err = ops.where(ops.logical_and(present, flux_err > 0), flux_err, softening)
        scaled = flux / (2 * softening)
        magnitudes = -MAGNITUDES_PER_E_FOLD * ops.arcsinh(scaled)
        log_errors = ops.log(MAGNITUDES_PER_E_FOLD * flux_err / (2 * softening)) - 0.5 * ops.log1p(scaled**2)
        return magnitudes, log_errors

    def compute_output_shape(self, input_shape):
        """Shapes of magnitudes and log errors."""
        return input_shape[0], input_shape[0]


@keras.saving.register_keras_serializable(package=PACKAGE)
class Colors(keras.layers.Layer):
    """Differences of neighbouring bands, with a mask that is 1 where both bands were observed.

    Notes
    -----
    Call with ``[magnitudes, observed]``, each ``(batch, bands)``; returns ``(colors, observed)``, each
    ``(batch, bands - 1)``, the first band minus the second.
    """

    def call(self, inputs):
        """Return the colors and their mask."""
        magnitudes, observed = inputs
        return magnitudes[:, :-1] - magnitudes[:, 1:], observed[:, :-1] * observed[:, 1:]

    def compute_output_shape(self, input_shape):
        """Shapes of the colors and of their mask."""
        shape = (input_shape[0][0], input_shape[0][-1] - 1)
        return shape, shape


@keras.saving.register_keras_serializable(package=PACKAGE)
class MaskedNormalization(keras.layers.Layer):
    """Centers and scales features by robust statistics of the values that were observed; the others become 0.

    The center is the median, the scale half the distance of the 16 and 84 % quantiles. Real tables hold magnitude
    errors of 1e4, which no mean survives; for the same reason the result is limited to ``limit`` scales on
    either side, where a network has seen no training row and would extrapolate.

    Parameters
    ----------
    limit : float
        Largest absolute value of a feature, in scales; above 0.
    floor : float
        Smallest scale, for features that may hardly scatter; at least 0.

    Notes
    -----
    Call with ``[values, mask]``, each ``(batch, features)``; returns the same shape.
    """

    def __init__(self, limit=6.0, floor=0.0, **kwargs):
        super().__init__(**kwargs)
        if not limit > 0:
            raise ValueError(f"MaskedNormalization: limit must be above 0, got {limit!r}")
        if not floor >= 0:
            raise ValueError(f"MaskedNormalization: floor must be at least 0, got {floor!r}")
        self.limit = limit
        self.floor = floor

    def build(self, input_shape):
        """Create center and scale, one per feature; until ``adapt`` they are 0 and 1."""
        shape = (input_shape[0][-1],)
        self.center = self.add_weight(name="center", shape=shape, initializer="zeros", trainable=False)
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones", trainable=False)

    def adapt(self, values, mask):
        """Set center and scale from training rows.

        Parameters
        ----------
        values, mask : array-like
            Shape ``(rows, features)``. A feature without any value, or, if the floor is 0, with only one,
            keeps the scale 1.
        """
        low, median, high = masked_quantiles(values, mask, [0.16, 0.5, 0.84])
        scale = np.maximum((high - low) / 2, self.floor)
        if not self.built:
            self.build([(None, len(median))])
            self.built = True
        self.center.assign(np.where(np.isfinite(median), median, 0).astype("float32"))
        self.scale.assign(np.where(scale > 0, scale, 1).astype("float32"))

    def call(self, inputs):
        """Return the normalised values."""
        values, mask = inputs
        normalised = ops.clip((values - self.center) / self.scale, -self.limit, self.limit)
        return ops.where(mask > 0, normalised, 0.0)

    def compute_output_shape(self, input_shape):
        """Shape of the values."""
        return input_shape[0]

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "limit": self.limit, "floor": self.floor}
