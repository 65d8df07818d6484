"""From light to counts: Poisson noise, readout, saturation, cosmic rays, and what is broken."""

from __future__ import annotations

import numpy as np

from ..images.image import Pixel
from .cameras import Conditions

#: Cosmic rays per 256 x 256 pixels, their electrons per pixel, and the longest track in pixels.
RAYS, RAY_ELECTRONS, RAY_LENGTH = 1.5, (500.0, 6000.0), 18


def expose(model: np.ndarray, given: Conditions, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expose a detector to light.

    Electrons have Poisson noise and the noise of the readout; the sky is subtracted at its true level. Pixels at the
    full well are clipped. A strip at the left is beyond the edge of the chip, one column is dead.

    Parameters
    ----------
    model : ndarray, shape (y, x)
        Light without noise and sky, in nJy per pixel.
    given : Conditions
        Sky and detector.
    rng : Generator
        Random numbers.

    Returns
    -------
    science, error : ndarray, shape (y, x)
        float32, nJy per pixel; NaN beyond the edge. The error is that of the noise drawn: it knows the true light, as
        no survey does, but not the cosmic rays.
    mask : ndarray, shape (y, x)
        int32, bits of `astrokeras.images.image.Pixel`.
    """
    shape = model.shape
    expected = (np.maximum(model, 0.0) + given.sky) * given.gain
    electrons = rng.poisson(expected) + rng.normal(0.0, given.read_noise, shape)
    mask = np.zeros(shape, np.int32)
    for y, x, charge in _tracks(shape, rng):
        electrons[y, x] += charge
        mask[y, x] |= Pixel.COSMIC_RAY
    full = electrons >= given.full_well
    electrons[full] = given.full_well
    mask[full] |= Pixel.SATURATED
    dead = int(rng.integers(shape[1] // 4, shape[1]))
    electrons[:, dead] = rng.normal(0.0, given.read_noise, shape[0])
    mask[:, dead] |= Pixel.BAD
    science = (electrons / given.gain - given.sky).astype(np.float32)
    error = (np.sqrt(expected + given.read_noise**2) / given.gain).astype(np.float32)
    edge = edge_width(shape)
    science[:, :edge] = error[:, :edge] = np.nan
    mask[:, :edge] = Pixel.NO_DATA
    return science, error, mask


def edge_width(shape: tuple[int, int]) -> int:
    """Columns at the left that lie beyond the edge of the chip."""
    return max(3, shape[1] // 64)


def _tracks(shape: tuple[int, int], rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pixels and electrons of cosmic rays: straight tracks, most of them short."""
    tracks = []
    for _ in range(rng.poisson(RAYS * shape[0] * shape[1] / 256**2)):
        length = 1 + min(rng.geometric(0.25), RAY_LENGTH)
        angle, place = rng.uniform(0, np.pi), rng.uniform(0, 1, 2) * shape
        along = np.arange(0, length, 0.5)
        points = np.unique(
            np.column_stack([place[0] + along * np.sin(angle), place[1] + along * np.cos(angle)]).astype(int), axis=0
        )
        y, x = points[((points >= 0) & (points < shape)).all(axis=1)].T
        tracks.append((y, x, rng.uniform(*RAY_ELECTRONS) * rng.uniform(0.6, 1.4, len(y))))
    return tracks
