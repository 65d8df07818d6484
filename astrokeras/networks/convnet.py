"""Convolutional networks on stamps, small enough to be trained on a few cores, and those that others have trained."""

import keras
import numpy as np

#: Factor by which the trunk shrinks a stamp: one step of the stem, one before each stage but the first.
SMALLEST_SIDE = 8


def stamp_trunk(
    size,
    channels,
    *,
    widths=(24, 48, 96, 160),
    blocks=1,
    activation="swish",
    dropout=0.0,
    initializer="he_normal",
):
    """Residual network of convolutions (He et al. 2016, arXiv:1512.03385) from a stamp to features.

    A 5x5 convolution of stride 2, then stages of residual blocks of two 3x3 convolutions, with batch normalisation;
    before every stage but the first the mean of 2x2 pixels is taken; at the end the mean over all pixels. Pooling by
    means instead of strides hardly changes under shifts (Zhang 2019, arXiv:1904.11486).

    Parameters
    ----------
    size, channels : int
        Pixels on a side, at least 8; bands, and masks that the network sees.
    widths : sequence of int
        Filters of each stage.
    blocks : int
        Residual blocks per stage.
    activation, initializer : str
        Keras names.
    dropout : float
        Fraction of the features dropped in training.

    Returns
    -------
    keras.Model
        From ``(batch, size, size, channels)`` to ``(batch, widths[-1])``.

    Raises
    ------
    ValueError
        When the stamp is too small for the stages, or a parameter is out of range.
    """
    if size < SMALLEST_SIDE or size < 2 ** len(widths):
        raise ValueError(f"stamp_trunk: {len(widths)} stages need {2 ** len(widths)} pixels on a side, got {size}")
    if not widths or min(widths) < 1 or blocks < 1:
        raise ValueError(f"stamp_trunk: widths and blocks must be at least 1, got {tuple(widths)} and {blocks}")

    def convolution(x, width, kernel, name, stride=1):
        options = {"padding": "same", "use_bias": False, "kernel_initializer": initializer}
        x = keras.layers.Conv2D(width, kernel, stride, name=f"{name}_conv", **options)(x)
        return keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)

    def activated(x, name):
        return keras.layers.Activation(activation, name=f"{name}_activation")(x)

    inputs = keras.Input((size, size, channels), name="stamp", dtype="float32")
    x = activated(convolution(inputs, widths[0], 5, "stem", stride=2), "stem")
    for stage, width in enumerate(widths):
        if stage:
            x = keras.layers.AveragePooling2D(2, name=f"pool_{stage}")(x)
        for block in range(blocks):
            name = f"stage_{stage}_{block}"
            y = activated(convolution(x, width, 3, f"{name}_first"), f"{name}_first")
            y = convolution(y, width, 3, f"{name}_second")
            # Where the width changes, the shortcut needs a projection.
            x = x if x.shape[-1] == width else convolution(x, width, 1, f"{name}_shortcut")
            x = activated(keras.layers.Add(name=f"{name}_add")([x, y]), name)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x) if dropout else x
    return keras.Model(inputs, x, name="stamp_trunk")


def backbone_trunk(backbone, channels):
    """Trunk of a network that was trained on pictures of three colors, such as those of ``keras.applications``.

    A 1x1 convolution, to be trained, makes three channels of all there are; at first it takes the first three as they
    are. Where the network gives a map, its mean over all pixels is taken.

    Parameters
    ----------
    backbone : keras.Model
        From ``(batch, size, size, 3)`` to ``(batch, y, x, features)`` or ``(batch, features)``.
    channels : int
        As for `stamp_trunk`.

    Returns
    -------
    keras.Model
        From ``(batch, size, size, channels)`` to ``(batch, features)``.

    Raises
    ------
    ValueError
        When the network takes no square pictures of three colors, or gives something else.
    """
    taken, given = backbone.input_shape, backbone.output_shape
    square = isinstance(taken, tuple) and len(taken) == 4 and taken[1] == taken[2] and taken[3] == 3
    if not square or not isinstance(given, tuple) or len(given) not in (2, 4):
        raise ValueError(f"backbone_trunk: needs (batch, size, size, 3) to maps or features, got {taken} to {given}")
    inputs = keras.Input((*taken[1:3], channels), name="stamp", dtype="float32")
    mixing = keras.layers.Conv2D(3, 1, use_bias=False, name="three_channels")
    x = backbone(mixing(inputs))
    mixing.set_weights([np.eye(channels, 3, dtype="float32")[None, None]])
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x) if len(given) == 4 else x
    return keras.Model(inputs, x, name="stamp_trunk")
