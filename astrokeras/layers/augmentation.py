"""Random orientations, sizes and positions of stamps in training, for pixels of any sign, unit and number of bands.

These layers and those in `astrokeras.layers.degradation` draw their numbers object by object, and do nothing outside
of training. Unlike the layers of Keras for photographs they clip nothing and know which pixels have data.
"""

import math

import keras
import numpy as np
from keras import ops

from .photometry import PACKAGE
from .stamps import turned


class StampAugmentation(keras.layers.Layer):
    """Base of the layers that change ``[stamp, observed]``, both ``(batch, y, x, bands)``, in training.

    Parameters
    ----------
    seed : int, optional
        Of the random numbers; by default Keras' global one.
    """

    #: Parameters of the layer, for its configuration.
    parameters = ()

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        """Return stamp and mask, changed in training."""
        stamp, observed = inputs
        return list(self.changed(stamp, observed)) if training else [stamp, observed]

    def changed(self, stamp, observed):
        """Return the changed stamp and mask."""
        raise NotImplementedError

    def uniform(self, shape, low=0.0, high=1.0):
        """Random numbers of the layer."""
        return keras.random.uniform(shape, low, high, seed=self.seed_generator)

    def normal(self, shape):
        """Random numbers of the layer, of mean 0 and scatter 1."""
        return keras.random.normal(shape, seed=self.seed_generator)

    def compute_output_shape(self, input_shape):
        """Shapes of stamp and mask."""
        return list(input_shape)

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "seed": self.seed, **{name: getattr(self, name) for name in self.parameters}}


def checked(layer, name, value, low, high):
    if not low <= value <= high:
        raise ValueError(f"{type(layer).__name__}: {name} must be {low:g} to {high:g}, got {value!r}")
    return value


@keras.saving.register_keras_serializable(package=PACKAGE)
class RandomDihedral(StampAugmentation):
    """Turns each stamp by quarters of a circle and mirrors it, each of the 8 ways as often as another.

    Notes
    -----
    Returns ``[stamp, observed, mirrored]``; the last, ``(batch,)``, is 1 where the stamp was mirrored, for
    `MirrorLabels`. Stamps must be square.
    """

    def call(self, inputs, training=False):
        """See the class."""
        stamp, observed = inputs
        n = ops.shape(stamp)[0]
        if not training:
            return [stamp, observed, ops.zeros((n,), stamp.dtype)]
        flipped, half, quarter = (self.uniform((n, 1, 1, 1)) < 0.5 for _ in range(3))

        def chosen(values):
            values = ops.where(flipped, turned(values, 4), values)
            values = ops.where(half, turned(values, 2), values)
            return ops.where(quarter, turned(values, 1), values)

        return [chosen(stamp), chosen(observed), ops.cast(flipped[:, 0, 0, 0], stamp.dtype)]

    def compute_output_shape(self, input_shape):
        """Shapes of stamp, mask and ``mirrored``."""
        return [*input_shape, (input_shape[0][0],)]


@keras.saving.register_keras_serializable(package=PACKAGE)
class RandomWarp(StampAugmentation):
    """Turns each stamp by any angle, changes its size, stretches and shifts it, in one bilinear interpolation.

    Beyond the edge the stamp is continued by its mirror image. A pixel is observed where all pixels it is made of are.

    Parameters
    ----------
    rotation : float
        Largest angle, degrees.
    zoom : float
        Scatter of the logarithm of the scale.
    shear : float
        Scatter of the logarithm of the axis ratio, along a random direction; 0 keeps shapes.
    shift : float
        Largest shift along either axis, pixels.
    """

    parameters = ("rotation", "zoom", "shear", "shift")

    def __init__(self, rotation=180.0, zoom=0.1, shear=0.0, shift=2.0, **kwargs):
        super().__init__(**kwargs)
        self.rotation = checked(self, "rotation", rotation, 0, 180)
        self.zoom = checked(self, "zoom", zoom, 0, 1)
        self.shear = checked(self, "shear", shear, 0, 1)
        self.shift = checked(self, "shift", shift, 0, 1024)

    def changed(self, stamp, observed):
        """See `StampAugmentation.changed`."""
        n, (n_y, n_x) = ops.shape(stamp)[0], stamp.shape[1:3]
        y, x = np.meshgrid(np.arange(n_y) - (n_y - 1) / 2, np.arange(n_x) - (n_x - 1) / 2, indexing="ij")
        grid = ops.convert_to_tensor(np.stack([y.ravel(), x.ravel()]).astype("float32"))
        shift = self.uniform((n, 2, 1), -self.shift, self.shift)
        middle = ops.convert_to_tensor(np.array([[(n_y - 1) / 2], [(n_x - 1) / 2]], "float32"))
        at = ops.matmul(self._matrices(n), grid) + shift + middle
        return interpolated(stamp, observed, at[:, 0], at[:, 1])

    def _matrices(self, n):
        """From pixels of the new stamp to pixels of the old one, ``(n, 2, 2)``."""
        limit = math.radians(self.rotation)
        angle = self.uniform((n,), -limit, limit)
        scale = ops.exp(self.zoom * self.normal((n,)))
        matrix = scale[:, None, None] * _rotation(angle)
        if not self.shear:
            return matrix
        direction = _rotation(self.uniform((n,), 0.0, math.pi))
        stretch = ops.exp(0.5 * self.shear * self.normal((n,)))
        axes = ops.stack([stretch, 1 / stretch], axis=-1)
        along = ops.matmul(direction * axes[:, None, :], ops.transpose(direction, (0, 2, 1)))
        return ops.matmul(matrix, along)


def _rotation(angle):
    """Rotation matrices ``(n, 2, 2)``."""
    cos, sin = ops.cos(angle), ops.sin(angle)
    return ops.stack([ops.stack([cos, -sin], axis=-1), ops.stack([sin, cos], axis=-1)], axis=-2)


def interpolated(stamp, observed, y, x):
    """Bilinear interpolation of stamps and masks at pixel positions, the stamp mirrored beyond its edges.

    Parameters
    ----------
    stamp, observed : tensor
        ``(batch, n_y, n_x, bands)``.
    y, x : tensor
        Positions for each object, ``(batch, n_y * n_x)``, 0 at the center of the first pixel.

    Returns
    -------
    stamp, observed : tensor
        Of the same shape; a pixel is observed, 1, where all pixels it is made of are, else 0.
    """
    n_y, n_x, bands = stamp.shape[1:]
    both = ops.reshape(ops.concatenate([stamp * observed, observed], axis=-1), (-1, n_y * n_x, 2 * bands))
    y, x = _mirrored(y, n_y), _mirrored(x, n_x)
    top, left = ops.minimum(ops.floor(y), max(n_y - 2, 0)), ops.minimum(ops.floor(x), max(n_x - 2, 0))
    down, right = (y - top)[..., None], (x - left)[..., None]
    first = ops.cast(top * n_x + left, "int32")
    rows = n_y * n_x * ops.arange(ops.shape(stamp)[0], dtype="int32")[:, None]
    flat = ops.reshape(both, (-1, 2 * bands))

    def corner(step):
        return ops.take(flat, rows + first + step, axis=0)

    below, beside = min(1, n_y - 1) * n_x, min(1, n_x - 1)
    upper = corner(0) * (1 - right) + corner(beside) * right
    lower = corner(below) * (1 - right) + corner(below + beside) * right
    mixed = ops.reshape(upper * (1 - down) + lower * down, (-1, n_y, n_x, 2 * bands))
    seen = ops.cast(mixed[..., bands:] > 0.999, stamp.dtype)
    return mixed[..., :bands] * seen, seen


def _mirrored(position, n):
    """Position inside ``0 ... n - 1``, reflected at the centers of the outermost pixels."""
    if n == 1:
        return ops.zeros_like(position)
    period = 2.0 * (n - 1)
    folded = position - period * ops.floor(position / period)
    return ops.minimum(folded, period - folded)
