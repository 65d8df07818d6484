"""Galaxies and point sources as Gaussians on the sky: bulge, disk, bar, spiral arms, clumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .mixture import Mixture, sersic
from .render import Gaussians, joined
from .shapes import KINDS, TYPES, Shapes

#: Half-light radius of an exponential disk in scale lengths.
SCALE = 1.678
#: Gaussians that make up the arms of a spiral, and the clumps of an irregular.
BLOBS, CLUMPS = 60, 9
POINT = len(KINDS)
#: Steps of the mixtures of de Vaucouleurs and exponential profiles: for bright objects, and for faint ones.
STEPS = {True: (0.6, 0.6), False: (1.1, 0.8)}


@dataclass(frozen=True)
class Parts:
    """Gaussians of all objects of a field, sorted by object.

    Attributes
    ----------
    gaussians : Gaussians
        On the sky: ``x`` east and ``y`` north of the object's centre, in arcsec; the fluxes of one part of an object
        sum up to 1.
    owner : ndarray of int, shape (k,)
        Row of the object.
    kind : ndarray of int, shape (k,)
        Index in `astrokeras.synthetic.shapes.KINDS`, or `POINT`.
    """

    gaussians: Gaussians
    owner: np.ndarray
    kind: np.ndarray

    def __getitem__(self, rows) -> Parts:
        return Parts(self.gaussians[rows], self.owner[rows], self.kind[rows])


def make_parts(
    shapes: Shapes, owner: np.ndarray, points: np.ndarray, fine: np.ndarray, resolved: float, rng: np.random.Generator
) -> Parts:
    """Gaussians of galaxies and of point sources.

    Parameters
    ----------
    shapes : Shapes
        Of the galaxies.
    owner : ndarray of int
        Rows of the galaxies.
    points : ndarray of int
        Rows of the point sources.
    fine : ndarray of bool
        By galaxy: bright enough to need profiles of good accuracy.
    resolved : float
        Arms and clumps of galaxies whose disk has a smaller half-light radius (arcsec) are drawn as a smooth disk.
    rng : Generator
        Random numbers of clumps and of the brightness along arms.
    """
    parts = [_points(points)]
    for level in (True, False):
        rows = np.flatnonzero(fine == level)
        steep, flat = sersic(4.0, STEPS[level][0]), sersic(1.0, STEPS[level][1])
        smooth = rows[(shapes.shares[rows, 3] > 0) & (shapes.disk_radius[rows] <= resolved)]
        bulges, disks = rows[shapes.shares[rows, 0] > 0], rows[shapes.shares[rows, 1] > 0]
        parts.append(_profile(shapes, owner, bulges, 0, steep, (shapes.bulge_radius, shapes.bulge_ratio)))
        for chosen, kind in ((disks, 1), (smooth, 3)):
            parts.append(_profile(shapes, owner, chosen, kind, flat, (shapes.disk_radius, shapes.disk_ratio)))
    large = (shapes.shares[:, 3] > 0) & (shapes.disk_radius > resolved)
    irregular = shapes.type == TYPES.index("irregular")
    parts.append(_bars(shapes, owner, np.flatnonzero(shapes.shares[:, 2] > 0)))
    parts.append(_arms(shapes, owner, np.flatnonzero(large & ~irregular), rng))
    parts.append(_clumps(shapes, owner, np.flatnonzero(large & irregular), rng))
    whole = Parts(
        joined([part.gaussians for part in parts]),
        np.concatenate([part.owner for part in parts]),
        np.concatenate([part.kind for part in parts]),
    )
    return whole[np.argsort(whole.owner, kind="stable")]


def _points(rows: np.ndarray) -> Parts:
    zero = np.zeros(len(rows))
    return Parts(Gaussians(np.ones(len(rows)), zero, zero, zero, zero, zero), rows, np.full(len(rows), POINT))


def _profile(
    shapes: Shapes, owner: np.ndarray, rows: np.ndarray, kind: int, mixture: Mixture, size: tuple[np.ndarray, ...]
) -> Parts:
    """Elliptical profiles: each Gaussian of the mixture, as wide and as flat as the galaxy is."""
    n = len(mixture.weights)
    radius, ratio = (values[rows] for values in size)
    major = np.outer(radius**2, mixture.variances).ravel()
    minor = np.outer((radius * ratio) ** 2, mixture.variances).ravel()
    zero = np.zeros(n * len(rows))
    plane = Gaussians(np.tile(mixture.weights, len(rows)), zero, zero, major, zero, minor)
    return _seen(plane, shapes.angle[np.repeat(rows, n)], np.repeat(owner[rows], n), kind)


def _seen(plane: Gaussians, angle: np.ndarray, owner: np.ndarray, kind: int) -> Parts:
    """From the axes of the galaxy (major, then minor a quarter turn from north to east) to east and north."""
    sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    turned = Gaussians(
        plane.flux,
        sine * plane.x + cosine * plane.y,
        cosine * plane.x - sine * plane.y,
        sine**2 * plane.xx + 2 * sine * cosine * plane.xy + cosine**2 * plane.yy,
        sine * cosine * (plane.xx - plane.yy) + (cosine**2 - sine**2) * plane.xy,
        cosine**2 * plane.xx - 2 * sine * cosine * plane.xy + sine**2 * plane.yy,
    )
    return Parts(turned, owner, np.full(len(owner), kind))


def _bars(shapes: Shapes, owner: np.ndarray, rows: np.ndarray) -> Parts:
    """Bars: two concentric Gaussians of axis ratio 0.3, at the angle at which the arms begin, in the plane."""
    length = shapes.disk_radius[rows] / SCALE
    sigma = np.concatenate([0.45 * length, 0.8 * length])
    phase, ratio, angle = (np.tile(v[rows], 2) for v in (shapes.phase, shapes.disk_ratio, shapes.angle))
    sine, cosine = np.sin(phase), np.cos(phase)
    zero, flat = np.zeros(len(sigma)), 0.3**2
    plane = Gaussians(
        np.full(len(sigma), 0.5),
        zero,
        zero,
        sigma**2 * (cosine**2 + flat * sine**2),
        sigma**2 * (1 - flat) * sine * cosine * ratio,
        sigma**2 * (sine**2 + flat * cosine**2) * ratio**2,
    )
    return _seen(plane, angle, np.tile(owner[rows], 2), 2)


def _arms(shapes: Shapes, owner: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> Parts:
    """Arms: round Gaussians along logarithmic spirals in the plane of the disk, then projected."""
    number = np.arange(BLOBS)
    arms = shapes.arms[rows, None]
    # Of each arm the blobs are equidistant in the logarithm of the radius, in scale lengths; bars end where arms begin.
    start = np.where(shapes.shares[rows, 2] > 0, 1.0, 0.5)[:, None]
    along = (number // arms + 0.5) / (BLOBS / arms)
    radius = start * (3.4 / start) ** along
    turn = np.log(radius / start) / np.tan(np.radians(shapes.pitch[rows, None]))
    angle = shapes.phase[rows, None] + 2 * np.pi * (number % arms) / arms + shapes.winding[rows, None] * turn
    weight = radius**2 * np.exp(-radius) * rng.lognormal(0.0, 0.3, radius.shape)
    return _blobs(shapes, owner, rows, radius, angle, weight, 0.1 * radius + 0.06)


def _clumps(shapes: Shapes, owner: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> Parts:
    """Clumps of irregulars: round Gaussians anywhere in the disk."""
    radius = rng.gamma(2.0, 0.8, (len(rows), CLUMPS))
    angle = rng.uniform(0, 2 * np.pi, radius.shape)
    return _blobs(shapes, owner, rows, radius, angle, rng.lognormal(0, 0.7, radius.shape), 0.15 + 0 * radius)


def _blobs(
    shapes: Shapes,
    owner: np.ndarray,
    rows: np.ndarray,
    radius: np.ndarray,
    angle: np.ndarray,
    weight: np.ndarray,
    sigma: np.ndarray,
) -> Parts:
    """Round Gaussians in the plane of the disk at polar coordinates; lengths in scale lengths, shape (row, blob)."""
    n = radius.shape[1]
    length, ratio = shapes.disk_radius[rows, None] / SCALE, shapes.disk_ratio[rows, None]
    variance = (sigma * length) ** 2
    plane = Gaussians(
        (weight / weight.sum(axis=1, keepdims=True)).ravel(),
        (radius * np.cos(angle) * length).ravel(),
        (radius * np.sin(angle) * length * ratio).ravel(),
        variance.ravel(),
        np.zeros(variance.size),
        (variance * ratio**2).ravel(),
    )
    return _seen(plane, shapes.angle[np.repeat(rows, n)], np.repeat(owner[rows], n), 3)
