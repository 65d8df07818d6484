"""Kernels of the histograms of oriented gradients: gradients, votes of the pixels of a cell, norms of blocks."""

from __future__ import annotations

import math

import numpy as np

from .compiled import compiled

#: Codes of the norms of blocks.
NORMS = {"L1": 0, "L1-sqrt": 1, "L2": 2, "L2-Hys": 3}
_EPSILON = 1e-5
_CLIP = 0.2
_DEGREES = 180 / np.pi
#: Closer to the edge of a bin than this (relative to the gradient), rounding decides: the angle itself is compared.
_NEAR = 1e-12
#: Squares of lengths that differ less, in units of the precision of the stamps, may be of equal lengths once rounded.
_CLOSE = 8


@compiled
def descriptors(stamps, cell, block, orientations, norm):
    """Normalised blocks ``(n, blocks_y, blocks_x, block_y, block_x, orientations)`` of stamps ``(n, y, x, band)``."""
    n, height, width, bands = stamps.shape
    cells = (height // cell[0], width // cell[1])
    blocks = (cells[0] - block[0] + 1, cells[1] - block[1] + 1)
    angles = np.arange(orientations) * np.pi / orientations
    cosines, sines = np.cos(angles), np.sin(angles)
    histogram = np.empty((*cells, orientations), np.float32)
    out = np.empty((n, *blocks, *block, orientations), stamps.dtype)
    planes = np.empty((bands, height, width), stamps.dtype)
    for i in range(n):
        for band in range(bands):
            planes[band] = stamps[i, :, :, band]
        _cell_histograms(planes, cell, cosines, sines, histogram)
        for y in range(blocks[0]):
            for x in range(blocks[1]):
                _normalise(histogram[y : y + block[0], x : x + block[1]], norm, out[i, y, x])
    return out


@compiled
def _cell_histograms(planes, cell, cosines, sines, out):
    """Mean gradient of the pixels of each cell, by orientation; in single precision, as scikit-image adds them."""
    bands, _, width = planes.shape
    gradient, other = np.empty((2, width), planes.dtype), np.empty((2, width), planes.dtype)
    square, further = np.empty(width), np.empty(width)
    closest, bins = np.empty(width), np.empty(width, np.int64)
    edges = 180.0 / len(cosines) * np.arange(len(cosines) + 1)
    out[:] = 0
    for y in range(out.shape[0] * cell[0]):
        _differences(planes[0], y, gradient, square)
        for band in range(1, bands):
            _differences(planes[band], y, other, further)
            _keep_longer(gradient, square, other, further, bins)
        _votes(gradient[0], gradient[1], cosines, sines, edges, bins, closest)
        _add(bins, square, cell[1], out[y // cell[0]])
    out /= np.float32(cell[0] * cell[1])


@compiled
def _differences(image, y, out, square):
    """Central differences along y and x at row ``y``, and their squared length; 0 at the border.

    Where a pixel of a difference is missing there is no direction: no gradient.
    """
    height, width = image.shape
    dy, dx = out
    out[:] = 0
    if 0 < y < height - 1:
        _subtract(image[y + 1], image[y - 1], dy)
    _subtract(image[y, 2:], image[y, :-2], dx[1:-1])
    for x in range(width):
        found = np.float64(dy[x]) * dy[x] + np.float64(dx[x]) * dx[x]
        square[x] = found if found < np.inf else 0.0


@compiled
def _subtract(a, b, out):
    for x in range(len(out)):
        out[x] = a[x] - b[x]


@compiled
def _keep_longer(gradient, square, other, further, take):
    """Replace gradients by those of a further band where these are longer."""
    limit = _CLOSE * np.finfo(gradient.dtype).eps
    close = 0
    for x in range(len(square)):
        old, new = square[x], further[x]
        take[x] = new > old
        close += abs(new - old) < limit * old
    if close:
        _break_ties(gradient, square, other, further, limit, take)
    _select(take, further, square)
    _select(take, other[0], gradient[0])
    _select(take, other[1], gradient[1])


@compiled
def _break_ties(gradient, square, other, further, limit, take):
    """Compare lengths rounded to the precision of the stamps: where they are equal, the first band counts."""
    for x in range(len(square)):
        if abs(further[x] - square[x]) < limit * square[x]:
            dy, dx, new_dy, new_dx = abs(gradient[0, x]), abs(gradient[1, x]), abs(other[0, x]), abs(other[1, x])
            same = (dy == new_dy and dx == new_dx) or (dy == new_dx and dx == new_dy)
            take[x] = not same and math.hypot(new_dy, new_dx) > math.hypot(dy, dx)


@compiled
def _select(take, new, values):
    # Both are loaded, so that there is no branch.
    for x in range(len(values)):
        a, b = values[x], new[x]
        values[x] = b if take[x] else a


@compiled
def _votes(dy, dx, cosines, sines, edges, bins, closest):
    """Bin of the direction of each gradient, modulo 180 degrees.

    A direction lies behind an edge if its cross product with the edge is not negative, which takes no arctangent.
    """
    width = len(bins)
    for x in range(width):
        bins[x] = 0
        closest[x] = abs(dy[x])
    for k in range(1, len(cosines)):
        cosine, sine = cosines[k], sines[k]
        for x in range(width):
            cross = dy[x] * cosine - dx[x] * sine
            # Turned by 180 degrees if it points up.
            cross = cross if dy[x] > 0 else -cross
            bins[x] += cross >= 0
            closest[x] = min(closest[x], abs(cross))
    for x in range(width):
        if dy[x] == 0:
            bins[x] = 0
        elif closest[x] < _NEAR * (abs(dy[x]) + abs(dx[x])):
            angle = math.atan2(np.float64(dy[x]), np.float64(dx[x])) * _DEGREES % 180
            bins[x] = np.sum(angle >= edges[1:])


@compiled
def _add(bins, square, columns, histogram):
    """Add the lengths of the gradients of a row to the cells that it crosses."""
    x = 0
    for k in range(len(histogram)):
        for _ in range(columns):
            # What rounds up to 180 degrees is in no bin.
            if bins[x] < histogram.shape[1]:
                histogram[k, bins[x]] += math.sqrt(square[x])
            x += 1


@compiled
def _normalise(block, norm, out):
    """Divide the histograms of a block by their norm."""
    total = 0.0
    for value in block.flat:
        total += value if norm < 2 else np.float64(value) * value
    scale = total + _EPSILON if norm < 2 else math.sqrt(total + _EPSILON**2)
    if norm == 3:
        total = 0.0
        for value in block.flat:
            total += min(value / scale, _CLIP) ** 2
        again = math.sqrt(total + _EPSILON**2)
    for index, value in np.ndenumerate(block):
        if norm == 1:
            out[index] = math.sqrt(value / scale)
        elif norm == 3:
            out[index] = min(value / scale, _CLIP) / again
        else:
            out[index] = value / scale
