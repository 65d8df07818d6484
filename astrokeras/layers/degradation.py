"""What makes stamps worse in training: seeing, noise, other calibrations, bad pixels and missing bands."""

import math

import keras
import numpy as np
from keras import ops

from .augmentation import StampAugmentation, checked
from .photometry import PACKAGE


@keras.saving.register_keras_serializable(package=PACKAGE)
class RandomBlur(StampAugmentation):
    """Smooths each stamp as a worse seeing would, with a Gaussian of a random width.

    Parameters
    ----------
    sigma : float
        Largest standard deviation in pixels, at most 4.
    rate : float
        Probability to smooth a stamp at all.
    """

    parameters = ("sigma", "rate")

    def __init__(self, sigma=1.0, rate=0.5, **kwargs):
        super().__init__(**kwargs)
        self.sigma = checked(self, "sigma", sigma, 0, 4)
        self.rate = checked(self, "rate", rate, 0, 1)

    def changed(self, stamp, observed):
        """See `StampAugmentation.changed`."""
        shape = (ops.shape(stamp)[0], 1, 1, 1)
        sigma = self.sigma * self.uniform(shape) * ops.cast(self.uniform(shape) < self.rate, stamp.dtype)
        reach = max(1, math.ceil(2.5 * self.sigma))
        variance = ops.maximum(sigma, 1e-3) ** 2
        weights = [ops.exp(-0.5 * k * k / variance) for k in range(reach + 1)]
        light, seen = stamp * observed, observed
        for axis in (1, 2):
            light, seen = (_smoothed(values, weights, axis) for values in (light, seen))
        return observed * light / ops.maximum(seen, 1e-6), observed


def _smoothed(values, weights, axis):
    """Sum over shifts along an axis, weighted, with nothing beyond the edge."""
    reach, n = len(weights) - 1, values.shape[axis]
    padding = [[0, 0]] * 4
    padding[axis] = [reach, reach]
    padded = ops.pad(values, padding)

    def shifted(k):
        index = [slice(None)] * 4
        index[axis] = slice(reach + k, reach + k + n)
        return padded[tuple(index)]

    return weights[0] * values + sum(weights[k] * (shifted(k) + shifted(-k)) for k in range(1, reach + 1))


@keras.saving.register_keras_serializable(package=PACKAGE)
class RandomNoise(StampAugmentation):
    """Adds normal noise, of a random level for each object, and rescales its brightness.

    Parameters
    ----------
    noise : sequence of float
        Largest standard deviation in each band, in the unit of the pixels.
    gain : float
        Scatter of the logarithm of a factor on all bands.
    color : float
        Scatter of the logarithm of a factor on each band.
    """

    parameters = ("noise", "gain", "color")

    def __init__(self, noise, gain=0.1, color=0.0, **kwargs):
        super().__init__(**kwargs)
        self.noise = [checked(self, "noise", float(level), 0, math.inf) for level in noise]
        self.gain = checked(self, "gain", gain, 0, 5)
        self.color = checked(self, "color", color, 0, 5)

    def changed(self, stamp, observed):
        """See `StampAugmentation.changed`."""
        n, bands = ops.shape(stamp)[0], stamp.shape[-1]
        factor = self.gain * self.normal((n, 1, 1, 1))
        factor = factor + self.color * self.normal((n, 1, 1, bands)) if self.color else factor
        level = ops.convert_to_tensor(np.array(self.noise, "float32")) * self.uniform((n, 1, 1, 1))
        return observed * (stamp * ops.exp(factor) + level * self.normal(ops.shape(stamp))), observed


@keras.saving.register_keras_serializable(package=PACKAGE)
class RandomMask(StampAugmentation):
    """Hides whole bands, or a rectangle of all bands, as bad pixels and missing images do.

    Parameters
    ----------
    band_rate : float
        Probability to hide a band; one that is observed is always left.
    mask_rate, mask_size : float
        Probability of a rectangle, and its longest side as a fraction of the stamp.
    """

    parameters = ("band_rate", "mask_rate", "mask_size")

    def __init__(self, band_rate=0.0, mask_rate=0.2, mask_size=0.4, **kwargs):
        super().__init__(**kwargs)
        self.band_rate = checked(self, "band_rate", band_rate, 0, 1)
        self.mask_rate = checked(self, "mask_rate", mask_rate, 0, 1)
        self.mask_size = checked(self, "mask_size", mask_size, 0, 1)

    def changed(self, stamp, observed):
        """See `StampAugmentation.changed`."""
        n, n_y, n_x, bands = ops.shape(stamp)[0], *stamp.shape[1:]
        kept = observed * (1 - self._rectangle(n, n_y, n_x))
        if self.band_rate and bands > 1:
            there = ops.cast(ops.max(observed, axis=(1, 2), keepdims=True) > 0, stamp.dtype)
            lot = self.uniform((n, 1, 1, bands)) * there
            # The band with the largest number stays.
            keep = ops.logical_or(lot >= self.band_rate, lot >= ops.max(lot, axis=-1, keepdims=True))
            kept = kept * ops.cast(keep, stamp.dtype)
        return stamp * kept, kept

    def _rectangle(self, n, n_y, n_x):
        """1 inside of the rectangle of an object, ``(n, n_y, n_x, 1)``."""
        hides = ops.cast(self.uniform((n, 1)) < self.mask_rate, "float32")

        def inside(length):
            size = self.mask_size * length * self.uniform((n, 1))
            center = self.uniform((n, 1), 0.0, float(length))
            pixels = ops.arange(length, dtype="float32")[None] + 0.5
            return ops.cast(ops.abs(pixels - center) < size / 2, "float32")

        return (hides * inside(n_y))[:, :, None, None] * inside(n_x)[:, None, :, None]
