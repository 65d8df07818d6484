"""Kernels of texture: local binary patterns, and how often two levels lie side by side."""

from __future__ import annotations

import math

import numpy as np

from .compiled import compiled


@compiled
def pattern_histogram(image, points, radius):
    """Numbers of pixels ``(points + 2,)`` by uniform local binary pattern, where all points of the circle are known."""
    angles = 2 * np.pi * np.arange(points) / points
    down, along = np.empty(points), np.empty(points)
    for p in range(points):
        # Five decimals, as in scikit-image: a point that should be a pixel is one.
        down[p], along[p] = round(-radius * math.sin(angles[p]), 5), round(radius * math.cos(angles[p]), 5)
    reach = math.ceil(radius)
    out = np.zeros(points + 2)
    for i in range(reach, image.shape[0] - reach):
        for j in range(reach, image.shape[1] - reach):
            pattern = _pattern(image, i, j, down, along)
            out[max(pattern, 0)] += pattern >= 0
    return out


@compiled
def _pattern(image, i, j, down, along):
    """Number of points on the circle that are not fainter than the pixel; points + 1 if they change more than twice."""
    points = len(down)
    brighter = changes = 0
    before = False
    for p in range(points):
        y, x = i + down[p], j + along[p]
        top, left, bottom, right = math.floor(y), math.floor(x), math.ceil(y), math.ceil(x)
        dy, dx = y - top, x - left
        above = (1 - dx) * image[top, left] + dx * image[top, right]
        value = (1 - dy) * above + dy * ((1 - dx) * image[bottom, left] + dx * image[bottom, right])
        if not abs(value - image[i, j]) < np.inf:
            return -1
        bright = value - image[i, j] >= 0
        changes += p > 0 and bright != before
        brighter += bright
        before = bright
    return brighter if changes <= 2 else points + 1


@compiled
def co_occurrence(levels, count, down, along):
    """How often levels (-1: missing) lie ``(down, along)`` from each other: symmetric ``(count, count)``, sum 1."""
    out = np.zeros((count, count))
    height, width = levels.shape
    for i in range(max(0, -down), min(height, height - down)):
        for j in range(max(0, -along), min(width, width - along)):
            a, b = levels[i, j], levels[i + down, j + along]
            if a >= 0 and b >= 0:
                out[a, b] += 1
                out[b, a] += 1
    total = out.sum()
    return out / total if total > 0 else out
