"""Spectral mixtures of single objects: from class, magnitude and redshift to true fluxes."""

from __future__ import annotations

import numpy as np

from .grid import REDSHIFTS, STAR_COLORS, Grid
from .population import BLUE, RED, Draws, quasar_offset
from .sed import QUASAR_SLOPES

#: Scatter of each band about the templates, in mag: what no mixture of templates describes.
INTRINSIC_SCATTER = 0.02
#: Stars: mean and width in g-i of turn-off stars, K dwarfs, M dwarfs; their shares at reference magnitudes 15 and 22.
STAR_GROUPS = ((0.55, 0.17), (1.1, 0.35), (2.4, 0.45))
STAR_SHARES = ((0.55, 0.27, 0.18), (0.25, 0.15, 0.60))
#: Share of stars bluer than the turn-off; every second of them a white dwarf, the others on the locus of A stars.
HOT_STARS = 0.03


def galaxy_mixture(
    grid: Grid, made: Draws, mag: np.ndarray, rng: np.random.Generator, columns: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Redshifts, relative fluxes (row, column) and whether red, of galaxies of given magnitudes."""
    u = rng.random((2, len(mag)))
    red = u[0] < np.interp(mag, made.mags, made.red_fraction)
    z, fluxes = np.empty(len(mag)), np.empty((len(mag), len(columns)), np.float32)
    for name, kind, rows in (("BLUE", BLUE, ~red), ("RED", RED, red)):
        z[rows] = made.redshifts(name, mag[rows], u[1, rows])
        # A Dirichlet vector is a normalised vector of gamma variates; the flux is normalised later anyway.
        shares = kind.shares(z[rows])
        weights = rng.standard_gamma(kind.concentration, shares.shape) * shares
        fluxes[rows] = mix(grid.galaxy[:, :, columns], redshift_position(z[rows]), weights)
    return z, fluxes, red


def quasar_mixture(
    grid: Grid, made: Draws, mag: np.ndarray, rng: np.random.Generator, columns: list[int], reference: int
) -> tuple[np.ndarray, np.ndarray]:
    """Redshifts and relative fluxes (row, column) of quasars of given magnitudes.

    Slopes scatter by 0.35 about -0.5 with a red tail (15 %), lines by 0.3 in ln; the host galaxy is 0.7 times the
    nucleus at 5500 Angstrom for M_i(z=2) = -22, less for brighter ones (as L^-0.6), with a scatter of 0.3 dex.
    """
    n = len(mag)
    z = made.redshifts("QSO", mag, rng.random(n))
    slope = rng.normal(-0.5, 0.35, n) - np.where(rng.random(n) < 0.15, rng.exponential(0.6, n), 0.0)
    lines = np.exp(rng.normal(0.0, 0.3, n))
    absolute = mag - np.interp(z, REDSHIFTS, quasar_offset(reference))
    host = 0.7 * 10 ** (0.24 * (absolute + 22.0) + rng.normal(0.0, 0.3, n))
    # The nucleus is 1 at 3000 Angstrom; at 5500 Angstrom it is fainter by this factor.
    host *= (5500.0 / 3000.0) ** (-(slope + 2))
    weights = np.column_stack([hat_weights(slope, np.array(QUASAR_SLOPES)), lines, host])
    return z, mix(grid.qso[:, :, columns], redshift_position(z), weights)


def star_mixture(grid: Grid, mag: np.ndarray, rng: np.random.Generator, columns: list[int]) -> np.ndarray:
    """Relative fluxes (row, column) of stars of given magnitudes."""
    n = len(mag)
    phase = np.clip((mag - 15.0) / 7.0, 0.0, 1.0)[:, None]
    shares = np.cumsum(np.array(STAR_SHARES[0]) * (1 - phase) + np.array(STAR_SHARES[1]) * phase, axis=1)
    group = (rng.random(n)[:, None] > shares[:, :-1]).sum(axis=1)
    mean, width = np.array(STAR_GROUPS)[group].T
    # Mirrored at the ends of the locus.
    color = STAR_COLORS[-1] - np.abs(STAR_COLORS[-1] - 0.1 - np.abs(rng.normal(mean, width) - 0.1))
    u = rng.random(n)
    hot, dwarf = u < HOT_STARS, u < HOT_STARS / 2
    color = np.where(hot, rng.uniform(-0.6, 0.5, n), color)
    # Halo stars take over towards faint magnitudes.
    poor = np.clip(rng.normal((mag - 15.5) / 6.0, 0.25), 0.0, 1.0)
    weights = np.column_stack([1 - poor, poor, np.zeros(n)])
    weights[dwarf] = (0.0, 0.0, 1.0)
    step = STAR_COLORS[1] - STAR_COLORS[0]
    return mix(grid.star[:, :, columns], (color - STAR_COLORS[0]) / step, weights)


def redshift_position(z: np.ndarray) -> np.ndarray:
    """Places of redshifts on the grid, in nodes."""
    return np.log1p(z) / np.log1p(REDSHIFTS[1])


def hat_weights(x: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Weights of linear interpolation, shape (x, node); beyond the ends the last node counts alone."""
    place = np.interp(x, nodes, np.arange(len(nodes)))
    return np.maximum(0.0, 1 - np.abs(place[:, None] - np.arange(len(nodes))))


def mix(table: np.ndarray, position: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum of template fluxes at places of a table, linearly interpolated.

    Parameters
    ----------
    table : ndarray, shape (node, template, column)
        Fluxes.
    position : ndarray, shape (row,)
        Place along the nodes.
    weights : ndarray, shape (row, template)
        Amount of each template.
    """
    index = np.clip(position.astype(np.intp), 0, len(table) - 2)
    right = (position - index).astype(np.float32)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    low = np.einsum("nk,nkb->nb", weights * (1 - right)[:, None], table[index])
    return low + np.einsum("nk,nkb->nb", weights * right[:, None], table[index + 1])
