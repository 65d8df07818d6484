"""Which pixels of a stamp are the object: segments above the sky, and pieces that hang together."""

from __future__ import annotations

import numpy as np

from .compiled import compiled

#: Clips of the sky, in standard deviations and at most so often; side of the mean filter before the threshold.
_CLIP = 3.0
_CLIPS = 20
_SMOOTHING = 3


@compiled
def piece(above, y, x):
    """Pixels of a boolean image that hang together with ``(y, x)``, over sides and corners."""
    height, width = above.shape
    out = np.zeros((height, width), np.bool_)
    if not above[y, x]:
        return out
    stack = np.empty((height * width, 2), np.int64)
    stack[0] = y, x
    out[y, x] = True
    count = 1
    while count:
        count -= 1
        y, x = stack[count]
        for step in range(9):
            i, j = y + step // 3 - 1, x + step % 3 - 1
            if 0 <= i < height and 0 <= j < width and above[i, j] and not out[i, j]:
                out[i, j] = True
                stack[count] = i, j
                count += 1
    return out


def sky_level(pixels: np.ndarray) -> tuple[float, float]:
    """Median and standard deviation of the pixels that are no source: clipped at 3 standard deviations until stable."""
    pixels = pixels[np.isfinite(pixels)]
    for _ in range(_CLIPS):
        middle, spread = np.median(pixels), pixels.std()
        kept = np.abs(pixels - middle) <= _CLIP * spread
        if kept.all():
            break
        pixels = pixels[kept]
    return float(middle), float(spread)


def segment(image: np.ndarray, threshold: float = 1.5) -> np.ndarray:
    """Segments of an image ``(y, x)``: 0 sky, 1 the object in the middle, 2 all others; missing pixels are sky.

    Pixels, averaged over 3 x 3, that are more than ``threshold`` standard deviations of single pixels above the median
    of the sky. Those that hang together, over sides and corners, are one segment; the object is the segment nearest to
    the middle of the stamp. Objects that touch are not taken apart.
    """
    from scipy import ndimage

    out = np.zeros(image.shape, np.int32)
    known = np.isfinite(image)
    if not known.any():
        return out
    level, sigma = sky_level(image)
    mean = ndimage.uniform_filter(np.where(known, image, level), _SMOOTHING)
    above = known & (mean - level > threshold * sigma)
    out[above] = 2
    if above.any():
        out[piece(above, *nearest(above))] = 1
    return out


def nearest(pixels: np.ndarray) -> tuple[int, int]:
    """Pixel ``(y, x)`` of a boolean image that is nearest to its middle."""
    y, x = np.nonzero(pixels)
    middle = (np.array(pixels.shape) - 1) / 2
    k = np.argmin((y - middle[0]) ** 2 + (x - middle[1]) ** 2)
    return int(y[k]), int(x[k])
