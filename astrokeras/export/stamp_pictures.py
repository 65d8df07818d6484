"""Stamps and images as pictures for people: asinh stretch (Lupton et al. 2004), up to three bands as colours."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Softening of the stretch, in units of the noise: linear below it, logarithmic above.
SOFTENING = 3.0
#: Colour of a pixel without data.
NO_DATA = np.array([0.55, 0.35, 0.45], np.float32)


def three_bands(n_bands: int) -> tuple[int, int, int]:
    """Bands to show as red, green and blue: the last (reddest), the middle and the first one."""
    return (n_bands - 1, (n_bands - 1) // 2, 0)


def noise(pixels: np.ndarray) -> float:
    """Scatter of pixels about their median: 1.4826 times the median absolute deviation, of those with data.

    Where more than half of the pixels are equal, their standard deviation; 1 where there is none.
    """
    good = pixels[np.isfinite(pixels)]
    if not len(good):
        return 1.0
    robust = 1.4826 * float(np.median(np.abs(good - np.median(good))))
    return robust or float(good.std()) or 1.0


def colours(cube: np.ndarray, plain: bool = False) -> np.ndarray:
    """Picture of an image cube.

    Parameters
    ----------
    cube : ndarray
        ``(y, x, band)``, bands by rising wavelength, any unit; NaN where there is no data.
    plain : bool
        The cube is a picture already (red, green, blue), such as a JPG: it is scaled to its largest value only.

    Returns
    -------
    ndarray
        float32 ``(y, x, 3)`` from 0 to 1. Each band is measured in units of its noise above its median; the mean of the
        three is stretched, and their ratios are kept, so that bright pixels have colours (Lupton et al. 2004, PASP 116,
        133).
    """
    order = [0, cube.shape[-1] // 2, cube.shape[-1] - 1] if plain else three_bands(cube.shape[-1])
    chosen = cube[..., list(order)].astype(np.float32)
    bad = ~np.isfinite(chosen).all(axis=-1)
    chosen = np.where(np.isfinite(chosen), chosen, 0)
    if plain:
        picture = chosen / max(float(chosen.max(initial=0)), 1e-30)
    else:
        picture = _stretched(np.stack([_standard(chosen[..., band], ~bad) for band in range(3)], axis=-1))
    # A colour beyond white keeps its hue: all three are scaled down together.
    picture = np.maximum(picture, 0) / np.maximum(picture.max(axis=-1, keepdims=True), 1)
    picture[bad] = NO_DATA
    return picture.astype(np.float32)


def _standard(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Values above their median in units of their noise."""
    return (values - np.median(values[good])) / noise(values[good]) if good.any() else values


def _stretched(chosen: np.ndarray) -> np.ndarray:
    mean = chosen.mean(axis=-1, keepdims=True)
    top = max(float(np.quantile(mean, 0.995)), 10.0)
    bright = np.maximum(mean, 1e-3)
    ratio = np.arcsinh(bright / SOFTENING) / bright
    return chosen * ratio / np.arcsinh(top / SOFTENING) + 0.06


def png(picture: np.ndarray) -> str:
    """Picture ``(y, x, 3)``, row 0 at the bottom, as a data URI."""
    from matplotlib.image import imsave

    stream = io.BytesIO()
    imsave(stream, np.ascontiguousarray(picture[::-1]), format="png", metadata={"Software": None})
    return _uri(stream, "png")


def drawn(figure: Figure) -> str:
    """Figure as a data URI; equal figures give equal text with the same matplotlib."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return _uri(stream, "png")


def _uri(stream: io.BytesIO, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
