"""Sizes, inclinations, morphological types and the colours of the parts of galaxies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .grid import REDSHIFTS, Grid
from .mixture import sersic
from .objects import redshift_position
from .population import BLUE, RED, Galaxies, distances

TYPES = ("elliptical", "lenticular", "spiral", "barred", "irregular")
#: Name of a disk that is seen at an inclination above this one, in deg, whatever its type.
EDGE_ON, EDGE_ON_FROM = "edge-on", 80.0
#: Parts of a galaxy; a point source is of its own kind.
KINDS = ("bulge", "disk", "bar", "arms")
#: Thickness of disks, and the range of pitch angles of arms in deg (Kennicutt 1981 finds 5 to 30).
THICKNESS = 0.18
PITCH = (10.0, 28.0)


@dataclass(frozen=True)
class Shapes:
    """Galaxies as they are seen; arrays of shape (n,), radii in arcsec along the major axis.

    Attributes
    ----------
    type : ndarray of int
        Index in `TYPES`.
    bulge_radius, disk_radius : ndarray
        Half-light radii.
    bulge_ratio, disk_ratio : ndarray
        Axis ratios.
    inclination, angle : ndarray
        Of the disk, in deg: 0 is face-on; position angle, east of north.
    arms : ndarray of int
        Number of arms; 0 for none.
    winding : ndarray of int
        1 where the arms trail as in a Z, -1 as in an S (north up, east left); 0 without arms.
    pitch, phase : ndarray
        Of the arms: pitch angle in deg, and angle at which the first one begins, in rad.
    shares : ndarray, shape (n, kind)
        Shares of `KINDS` in the flux of the reference band.
    """

    type: np.ndarray
    bulge_radius: np.ndarray
    disk_radius: np.ndarray
    bulge_ratio: np.ndarray
    disk_ratio: np.ndarray
    inclination: np.ndarray
    angle: np.ndarray
    arms: np.ndarray
    winding: np.ndarray
    pitch: np.ndarray
    phase: np.ndarray
    shares: np.ndarray


def draw_shapes(
    mag: np.ndarray, z: np.ndarray, red: np.ndarray, grid: Grid, reference: int, rng: np.random.Generator
) -> Shapes:
    """Shapes of galaxies.

    Three of four red galaxies are ellipticals, the others lenticular. Of the blue ones those fainter than M_r = -18 are
    mostly irregular, the others spirals, four of ten barred (Masters et al. 2011, MNRAS 411, 2026, find 0.3 to 0.5).
    Disks are inclined at random.

    Parameters
    ----------
    mag, z : ndarray, shape (n,)
        Magnitude in the reference filter, and redshift.
    red : ndarray of bool, shape (n,)
        Member of the red population.
    grid : Grid
        Template fluxes.
    reference : int
        Index of the reference filter in the grid.
    rng : Generator
        Random numbers.
    """
    n = len(mag)
    absolute = absolute_magnitude(mag, z, red, grid, reference)
    u = rng.random((9, n))
    irregular = u[0] < np.interp(absolute, [-20.0, -18.0, -16.0], [0.03, 0.35, 0.8])
    kind = np.where(irregular, 4, np.where(u[1] < 0.4, 3, 2))
    kind = np.where(red, np.where(u[1] < 0.75, 0, 1), kind)
    size = half_light_radius(absolute, z, red, rng)
    disk = kind > 0
    inclination = np.degrees(np.arccos(u[2])) * disk
    cosine = np.cos(np.radians(inclination))
    disk_ratio = np.sqrt(cosine**2 + THICKNESS**2 * (1 - cosine**2))
    # Roundness of bulges: ellipticals are between E0 and E5; bulges of disks are rounder than what surrounds them.
    bulge_ratio = np.where(disk, 1 - 0.5 * (1 - disk_ratio), 0.5 + 0.5 * u[3])
    # Radii were measured in circles; that of a flat galaxy is the geometric mean of its axes.
    size = size / np.sqrt(np.where(disk, disk_ratio, bulge_ratio))
    shares = _shares(kind, u[4], u[5])
    spiral = (kind == 2) | (kind == 3)
    return Shapes(
        type=kind,
        bulge_radius=np.where(disk, size * (0.2 + 0.2 * u[6]), size),
        # The disk reaches farther than the half-light radius of the whole, the more so the larger the bulge.
        disk_radius=size * (1 + 0.5 * shares[:, 0]),
        bulge_ratio=bulge_ratio,
        disk_ratio=disk_ratio,
        inclination=inclination,
        angle=180 * rng.random(n),
        arms=np.where(spiral, np.where((kind == 3) | (u[7] < 0.6), 2, 3 + (u[7] > 0.85)), 0),
        winding=np.where(spiral, np.where(u[8] < 0.5, 1, -1), 0),
        pitch=rng.uniform(*PITCH, n),
        phase=rng.uniform(0, 2 * np.pi, n),
        shares=shares,
    )


def type_names(shapes: Shapes) -> np.ndarray:
    """Types as they are seen: a disk at a high inclination is edge-on."""
    return np.where((shapes.type > 0) & (shapes.inclination > EDGE_ON_FROM), EDGE_ON, np.array(TYPES)[shapes.type])


def winding_names(shapes: Shapes) -> np.ndarray:
    """Z, S, or an empty text without arms."""
    return np.array(["", "Z", "S"])[shapes.winding]


def _shares(kind: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Shares of `KINDS` by type: early types and early spirals have the larger bulges."""
    bulge = np.select([kind == 0, kind == 1, kind == 4], [1.0 + 0 * u, 0.4 + 0.4 * u, 0.0 * u], 0.02 + 0.45 * u**1.5)
    bar = np.where(kind == 3, 0.08 + 0.14 * v, 0.0)
    # Brighter arms where the bulge is small (late types); clumps in place of arms in irregulars.
    arms = np.select([kind <= 1, kind == 4], [0.0 * u, 0.2 + 0.3 * v], (0.25 + 0.25 * v) * (1 - bulge - bar))
    return np.column_stack([bulge, 1 - bulge - bar - arms, bar, arms])


def absolute_magnitude(mag: np.ndarray, z: np.ndarray, red: np.ndarray, grid: Grid, reference: int) -> np.ndarray:
    """Absolute magnitude in the rest-frame r band of SDSS, with the mean spectrum of the population."""
    rest = grid.filters.index("SLOAN/SDSS.r")
    modulus = np.interp(z, REDSHIFTS, distances()[0])
    out = np.empty(len(mag))
    for population, rows in ((BLUE, ~red), (RED, red)):
        seen = mean_flux(population, z[rows], grid, reference) / (1 + z[rows])
        here = population.shares(z[rows]) @ grid.galaxy[0, :, rest]
        out[rows] = mag[rows] - modulus[rows] + 2.5 * np.log10(seen / here)
    return out


def mean_flux(population: Galaxies, z: np.ndarray, grid: Grid, column: int) -> np.ndarray:
    """Flux of the mean spectrum of a population in a filter of the grid, 1 at 5500 Angstrom in the rest frame."""
    place = redshift_position(z)
    low = np.clip(place.astype(int), 0, len(grid.galaxy) - 2)
    part = (place - low)[:, None]
    fluxes = grid.galaxy[low, :, column] * (1 - part) + grid.galaxy[low + 1, :, column] * part
    return np.einsum("nk,nk->n", population.shares(z), fluxes)


def half_light_radius(absolute: np.ndarray, z: np.ndarray, red: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Circular half-light radius in arcsec from the absolute r magnitude: Shen et al. (2003, MNRAS 343, 978).

    Their equations 14 to 16 with the parameters of figure 4 (by Sersic index). Radii shrink with redshift as
    ``(1 + z)^-1.48`` (red) and ``(1 + z)^-0.75`` (blue), which van der Wel et al. (2014, ApJ 788, 28) find at fixed
    mass; the luminosity of a mass rises with redshift, which makes the radii at fixed luminosity a little too small.
    """
    late = 10 ** (-0.4 * 0.21 * absolute + 0.32 * np.log10(1 + 10 ** (-0.4 * (absolute + 20.52))) - 1.31)
    early = 10 ** (-0.4 * 0.6 * absolute - 4.63)
    # The relation of early types was measured for M_r < -19; dwarfs do not go on shrinking.
    early = np.maximum(early, 10 ** (-0.4 * 0.6 * -18.5 - 4.63))
    scatter = 0.25 + 0.23 / (1 + 10 ** (-0.8 * (absolute + 20.52)))
    kiloparsec = np.where(red, early * (1 + z) ** -1.48, late * (1 + z) ** -0.75)
    kiloparsec = kiloparsec * np.exp(scatter * rng.standard_normal(len(z)))
    luminosity = 10 ** (np.interp(z, REDSHIFTS, distances()[0]) / 5 - 5 + 3)
    # 1e3 pc in a kpc; the modulus gives the luminosity distance in Mpc as 10^(mu / 5 - 5), above in kpc.
    return np.degrees(kiloparsec * (1 + z) ** 2 / luminosity) * 3600


def part_fluxes(
    flux: np.ndarray, z: np.ndarray, shapes: Shapes, grid: Grid, columns: list[int], reference: int
) -> np.ndarray:
    """Split the fluxes of galaxies over their parts, shape (n, kind, band): red bulges and bars, blue arms.

    Bulge and bar have the colours of the mean red galaxy at the redshift, as far as the galaxy has the light, and the
    rest makes the disk. Arms are bluer than the disk by as much as the square root of what the disk is bluer than the
    bulge. The sum over the parts is the flux of the galaxy in every band.

    Parameters
    ----------
    flux : ndarray, shape (n, band)
        Fluxes in the bands ``columns`` (indices in the grid), and in the reference band as the last.
    """
    total, middle = flux[:, :-1], flux[:, -1:]
    colors = np.stack([mean_flux(RED, z, grid, c) for c in columns], axis=-1)
    colors = colors / mean_flux(RED, z, grid, reference)[:, None]
    inner = (shapes.shares[:, 0] + shapes.shares[:, 2])[:, None]
    alone = inner >= 1
    old = np.where(alone, total, np.minimum(inner * middle * colors, np.minimum(1.0, 0.5 + 0.5 * inner) * total))
    young = total - old
    tilt = np.sqrt(np.maximum(young, 1e-30) / np.maximum(total, 1e-30) / np.maximum(1 - inner, 1e-3))
    outer = (shapes.shares[:, 1] + shapes.shares[:, 3])[:, None]
    arms = np.clip(shapes.shares[:, 3:] / np.maximum(outer, 1e-9) * tilt, 0.0, 0.9)
    bar = shapes.shares[:, 2:3] / np.maximum(inner, 1e-9)
    return np.stack([old * (1 - bar), young * (1 - arms), old * bar, young * arms], axis=1)


def whole_radius(shapes: Shapes) -> np.ndarray:
    """Half-light radius of bulge and disk together along the major axis, in arcsec, by bisection.

    Of the reference band; arms and bar count to the disk, and all parts as equally flat.
    """
    bulge, disk = sersic(4.0), sersic(1.0)
    share = shapes.shares[:, 0]
    low, high = np.zeros(len(share)), 3 * np.maximum(shapes.bulge_radius, shapes.disk_radius)
    for _ in range(40):
        middle = (low + high) / 2
        inside = share * bulge.enclosed(middle / shapes.bulge_radius)
        inside += (1 - share) * disk.enclosed(middle / shapes.disk_radius)
        low, high = np.where(inside < 0.5, middle, low), np.where(inside < 0.5, high, middle)
    return (low + high) / 2
