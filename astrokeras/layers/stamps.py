"""Layers on stamps, images of one object ``(batch, y, x, bands)``: resampling, stretch, averages over orientations."""

import keras
import numpy as np
from keras import ops

from .photometry import PACKAGE

#: Elements of the dihedral group: quarter turns, then the same after a reflection of x.
DIHEDRAL = 8
#: Pixels that statistics are taken of, at most.
SAMPLE = 4_000_000


@keras.saving.register_keras_serializable(package=PACKAGE)
class StampResize(keras.layers.Layer):
    """Central part of a stamp on a grid of ``size`` x ``size`` pixels, averaged where pixels become larger.

    Each new pixel is the mean of the old ones under a triangle as wide as two new pixels, or two old ones where those
    are larger (the filter of an antialiased bilinear resampling), which leaves out pixels without data.

    Parameters
    ----------
    size : int
        Pixels on a side afterwards.
    crop : float
        Side of the central part, as a fraction of the stamp: above 0, at most 1.

    Notes
    -----
    Call with ``[stamp, observed]``, both ``(batch, y, x, bands)``; returns both. A new pixel is observed where at least
    half of its weight lies on pixels with data; without data it is 0. A value per pixel stays one per old pixel: it is
    averaged, not summed.
    """

    def __init__(self, size, crop=1.0, **kwargs):
        super().__init__(**kwargs)
        if size < 1 or not 0 < crop <= 1:
            raise ValueError(f"StampResize: size must be at least 1 and crop in (0, 1], got {size!r} and {crop!r}")
        self.size, self.crop = size, crop

    def call(self, inputs):
        """Return stamp and mask on the new grid."""
        stamp, observed = inputs
        n_y, n_x = stamp.shape[1:3]
        if (n_y, n_x) == (self.size, self.size) and self.crop == 1:
            return [stamp * observed, observed]
        rows, columns = (ops.convert_to_tensor(resampling(n, self.size, self.crop)) for n in (n_y, n_x))

        def resampled(values):
            return ops.einsum("ay,bx,nyxc->nabc", rows, columns, values)

        seen = resampled(observed)
        return [resampled(stamp * observed) / ops.maximum(seen, 1e-6), ops.cast(seen >= 0.5, stamp.dtype)]

    def compute_output_shape(self, input_shape):
        """Shapes of stamp and mask."""
        shape = (input_shape[0][0], self.size, self.size, input_shape[0][-1])
        return [shape, shape]

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "size": self.size, "crop": self.crop}


def resampling(n, size, crop):
    """Weights of ``n`` old pixels in each of ``size`` new ones, float32 ``(size, n)``, rows of sum 1."""
    step = n * crop / size
    centers = (n - n * crop) / 2 + step * (np.arange(size) + 0.5)
    width = max(step, 1.0)
    weights = np.maximum(1 - np.abs(np.arange(n) + 0.5 - centers[:, None]) / width, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype("float32")


@keras.saving.register_keras_serializable(package=PACKAGE)
class StampStretch(keras.layers.Layer):
    """Brings pixels into the range of a network, band by band: ``(asinh(pixel / softening) - center) / scale``.

    The inverse hyperbolic sine (Lupton, Gunn & Szalay 1999, AJ 118, 1406) is defined for pixels of either sign, linear
    in the noise and logarithmic above it. Softening, center and scale are weights that no training changes.

    Parameters
    ----------
    stretch : {"asinh", "linear"}
        ``linear`` for pixels that have been stretched already, as those of a JPG.

    Notes
    -----
    Call with ``[stamp, observed]``; returns ``(batch, y, x, bands + 1)``: the stretched stamp, 0 (the mean) where not
    observed, and in the last channel the fraction of bands observed.
    """

    def __init__(self, stretch="asinh", **kwargs):
        super().__init__(**kwargs)
        if stretch not in ("asinh", "linear"):
            raise ValueError(f"StampStretch: stretch must be asinh or linear, got {stretch!r}")
        self.stretch = stretch

    def build(self, input_shape):
        """Create the weights; until ``adapt`` they change nothing but the asinh."""
        bands = (input_shape[0][-1],)
        self.softening = self.add_weight(name="softening", shape=bands, initializer="ones", trainable=False)
        self.center = self.add_weight(name="center", shape=bands, initializer="zeros", trainable=False)
        self.scale = self.add_weight(name="scale", shape=bands, initializer="ones", trainable=False)

    def adapt(self, stamps, observed):
        """Set the softening of each band to the noise of its pixels, center and scale to mean and scatter after it.

        The noise is that of neighbouring pixels, ``1.4826 median |x_i - x_(i+1)| / sqrt(2)``, which a smooth galaxy
        changes little; where most neighbours are equal, the mean absolute difference takes its place.

        Parameters
        ----------
        stamps, observed : array-like
            ``(rows, y, x, bands)``, training rows only.

        Raises
        ------
        ValueError
            When no pixel of a band is observed.
        """
        every = max(1, stamps.size // SAMPLE)
        # A copy of every k-th row bounds the memory.
        stamps, observed = np.asarray(stamps[::every], np.float64), np.asarray(observed[::every]) > 0
        if not self.built:
            self.build([(None, *stamps.shape[1:])])
            self.built = True
        found = [self._statistics(stamps[..., b], observed[..., b], b) for b in range(stamps.shape[-1])]
        for weight, values in zip((self.softening, self.center, self.scale), zip(*found, strict=True), strict=True):
            weight.assign(np.asarray(values, "float32"))

    def _statistics(self, pixels, observed, band):
        if not observed.any():
            raise ValueError(f"StampStretch: no pixel of band number {band} is observed in any training row")
        both = observed[:, :, 1:] & observed[:, :, :-1]
        steps = np.abs(np.diff(pixels, axis=2))[both]
        noise = 1.4826 * np.median(steps) / np.sqrt(2) if steps.size else 0.0
        noise = noise or (steps.mean() if steps.size else 0.0) or 1.0
        values = pixels[observed]
        values = np.arcsinh(values / noise) if self.stretch == "asinh" else values / noise
        return noise, values.mean(), max(values.std(), 1e-6)

    def call(self, inputs):
        """Return the stretched stamp and what is observed of it."""
        stamp, observed = inputs
        scaled = stamp / self.softening
        scaled = ops.arcsinh(scaled) if self.stretch == "asinh" else scaled
        seen = ops.mean(observed, axis=-1, keepdims=True)
        return ops.concatenate([observed * (scaled - self.center) / self.scale, seen], axis=-1)

    def compute_output_shape(self, input_shape):
        """Shape with one channel more."""
        *shape, bands = input_shape[0]
        return (*shape, bands + 1)

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "stretch": self.stretch}


def turned(stamps, element):
    """Stamps after one of the 8 elements of the dihedral group: ``element % 4`` quarter turns after, from 4 on, a flip.

    Parameters
    ----------
    stamps : tensor
        ``(batch, y, x, bands)``, square if turned by an odd number of quarters.
    element : int
        0 to 7.
    """
    stamps = ops.flip(stamps, axis=2) if element >= 4 else stamps
    if element % 2:
        stamps = ops.flip(ops.transpose(stamps, (0, 2, 1, 3)), axis=1)
    return ops.flip(stamps, axis=(1, 2)) if element % 4 >= 2 else stamps


@keras.saving.register_keras_serializable(package=PACKAGE)
class DihedralStack(keras.layers.Layer):
    """Each stamp in its 8 orientations, one after another along the batch: ``(8 * batch, y, x, bands)``.

    What is no image is repeated. `DihedralMean` takes the mean of what a network makes of them.
    """

    def call(self, values):
        """Return the stack: first the whole batch in one orientation, then in the next."""
        if len(values.shape) < 4:
            return ops.concatenate([values] * DIHEDRAL, axis=0)
        return ops.concatenate([turned(values, element) for element in range(DIHEDRAL)], axis=0)

    def compute_output_shape(self, input_shape):
        """Shape with an unknown batch."""
        batch = input_shape[0]
        return (None if batch is None else DIHEDRAL * batch, *input_shape[1:])


@keras.saving.register_keras_serializable(package=PACKAGE)
class DihedralMean(keras.layers.Layer):
    """Mean over the orientations of `DihedralStack`, where a mirror image exchanges outputs.

    Parameters
    ----------
    mirror : sequence of int, optional
        Which output of the original each output of a mirror image stands for; by default the same.
    """

    def __init__(self, mirror=None, **kwargs):
        super().__init__(**kwargs)
        self.mirror = None if mirror is None else checked_mirror(mirror)

    def call(self, values):
        """Return the mean, ``(batch, outputs)``."""
        # Elements 4 to 7 are the mirror images.
        groups = ops.reshape(values, (2, DIHEDRAL // 2, -1, values.shape[-1]))
        means = ops.mean(groups, axis=1)
        upright, mirrored = means[0], means[1]
        if self.mirror is not None:
            mirrored = ops.take(mirrored, np.array(self.mirror, "int32"), axis=-1)
        return (upright + mirrored) / 2

    def compute_output_shape(self, input_shape):
        """Shape with the batch as it was."""
        batch = input_shape[0]
        return (None if batch is None else batch // DIHEDRAL, *input_shape[1:])

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "mirror": self.mirror}


@keras.saving.register_keras_serializable(package=PACKAGE)
class MirrorLabels(keras.layers.Layer):
    """Exchanges outputs where the stamp was mirrored, so that the label of the original is the truth.

    A mirrored clockwise spiral is an anticlockwise one. To exchange what the network says of it, instead of its label,
    is the same to the loss, and needs no label inside the graph.

    Parameters
    ----------
    mirror : sequence of int
        As for `DihedralMean`.

    Notes
    -----
    Call with ``[outputs, mirrored]``, ``(batch, n)`` and ``(batch,)``, the latter from `RandomDihedral`.
    """

    def __init__(self, mirror, **kwargs):
        super().__init__(**kwargs)
        self.mirror = checked_mirror(mirror)

    def call(self, inputs):
        """Return the outputs, those of mirrored rows exchanged."""
        outputs, mirrored = inputs
        exchanged = ops.take(outputs, np.array(self.mirror, "int32"), axis=-1)
        return ops.where(mirrored[:, None] > 0, exchanged, outputs)

    def compute_output_shape(self, input_shape):
        """Shape of the outputs."""
        return input_shape[0]

    def get_config(self):
        """Configuration for saving."""
        return {**super().get_config(), "mirror": self.mirror}


def checked_mirror(mirror):
    """List of the exchanged outputs; raises ValueError unless exchanging them twice changes nothing."""
    mirror = [int(n) for n in mirror]
    if sorted(mirror) != list(range(len(mirror))) or any(mirror[mirror[i]] != i for i in range(len(mirror))):
        raise ValueError(f"mirror must exchange outputs in pairs, got {mirror}")
    return mirror
