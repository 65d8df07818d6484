"""How many objects of which magnitude, redshift and type: tables drawn from by inverting cumulative distributions.

Galaxies: a blue and a red population in the form of Herbel et al. (2017, JCAP 08, 035): Schechter functions in B with
evolution, spectra as Dirichlet-distributed mixtures of templates. M* and the density of blue galaxies are the published
ones (found from images by approximate Bayesian computation). Ours: beyond z = 1 the density falls as exp(-1.3 (z - 1))
and beyond z = 2.2 M* stays, because the published evolution runs away there; the faint slope of blue galaxies is -1.4
instead of -1.3, which counts of faint galaxies ask for. Density of the red galaxies, template shares and
concentrations were found by a random search: at the redshifts and magnitudes of bright SDSS DR14 galaxies (r < 16.6)
and of the training part of a cosmoDC2 mock (i < 24.5), the 10 to 90 % quantiles of the colours had to be theirs, with
the red sequence held near the luminous red galaxies of BOSS.

Quasars: the double power law of Ross et al. (2013, ApJ 773, 14). Stars: exponential counts, a mixture of turn-off
stars, K and M dwarfs and hot stars. Flat cosmology, H0 = 70 km/s/Mpc, Omega_m = 0.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .grid import REDSHIFTS, load_grid

CLASSES = ("GALAXY", "STAR", "QSO")
MAG_STEP = 0.05
#: Levels at which redshift distributions are tabulated, dense in both tails.
QUANTILE_PHASES = np.linspace(0.0, 1.0, 513)


@dataclass(frozen=True)
class Galaxies:
    """One galaxy population.

    Attributes
    ----------
    alpha, m_star, m_slope, phi_star, phi_rate : float
        Schechter function in rest-frame B: faint slope, M* = m_star + m_slope z, phi* = phi_star exp(phi_rate z).
    shares_0, shares_1 : tuple of float
        Mean share of each template in the flux at 5500 Angstrom (relative), at z = 0 and from z = 1.5 on.
    concentration : float
        Shape of the gamma distributions about these means (a Dirichlet distribution): small = galaxies differ much.
    """

    alpha: float
    m_star: float
    m_slope: float
    phi_star: float
    phi_rate: float
    shares_0: tuple[float, ...]
    shares_1: tuple[float, ...]
    concentration: float

    def shares(self, z: np.ndarray) -> np.ndarray:
        """Mean template shares at redshifts, shape (z, template): geometric between the two anchors."""
        phase = np.minimum(z / 1.5, 1.0)[:, None]
        first, last = np.array(self.shares_0), np.array(self.shares_1)
        return first * (last / first) ** phase

    def density(self, z: np.ndarray, mag: np.ndarray) -> np.ndarray:
        """Schechter function at redshifts and absolute B magnitudes, per Mpc3 and mag up to a constant."""
        late = np.maximum(z - 1.0, 0.0)
        phi = self.phi_star * np.exp(self.phi_rate * z - 1.3 * late)
        excess = 10 ** (-0.4 * (mag - self.m_star - self.m_slope * np.minimum(z, 2.2)))
        return phi * excess ** (self.alpha + 1) * np.exp(-excess)


BLUE = Galaxies(
    alpha=-1.4,
    m_star=-20.40492365,
    m_slope=-0.9408582,
    phi_star=0.00370253,
    phi_rate=-0.10268436,
    shares_0=(0.41, 0.012, 1.0, 1.0, 0.37),
    shares_1=(0.01, 1.4, 3.4, 1.0, 0.14),
    concentration=1.35,
)
RED = Galaxies(
    alpha=-0.5,
    m_star=-20.37196157,
    m_slope=-0.70798041,
    phi_star=0.00400,
    phi_rate=-1.42,
    shares_0=(0.13, 0.00013, 0.028, 1.0, 0.00075),
    shares_1=(0.27, 0.0081, 0.22, 1.0, 0.026),
    concentration=7.07,
)


@lru_cache(maxsize=1)
def distances() -> tuple[np.ndarray, np.ndarray]:
    """Distance modulus (mag) and comoving volume per redshift and steradian (Mpc3) on `REDSHIFTS`."""
    fine = np.linspace(0.0, REDSHIFTS[-1], 20001)
    rate = 299792.458 / (70.0 * np.sqrt(0.3 * (1 + fine) ** 3 + 0.7))
    comoving = np.append(0.0, np.cumsum(np.diff(fine) * (rate[1:] + rate[:-1]) / 2))
    distance = np.interp(REDSHIFTS, fine, comoving)
    luminosity = np.maximum((1 + REDSHIFTS) * distance, 1e-3)
    return 5 * np.log10(luminosity) + 25, distance**2 * np.interp(REDSHIFTS, fine, rate)


def galaxy_counts(kind: Galaxies, mags: np.ndarray, reference: int) -> np.ndarray:
    """Galaxies per magnitude and redshift (arbitrary common units), shape (mag, z).

    Parameters
    ----------
    kind : Galaxies
        Population.
    mags : ndarray
        Apparent magnitudes in the reference filter.
    reference : int
        Index of that filter in the grid.
    """
    grid = load_grid()
    modulus, volume = distances()
    mean = kind.shares(REDSHIFTS)
    observed = np.einsum("zk,zk->z", mean, grid.galaxy[:, :, reference]) / (1 + REDSHIFTS)
    offset = modulus - 2.5 * np.log10(observed / (mean @ grid.galaxy_rest))
    return kind.density(REDSHIFTS, mags[:, None] - offset) * volume


def quasar_offset(reference: int) -> np.ndarray:
    """Apparent minus absolute magnitude M_i(z=2) of a quasar of slope -0.6 on `REDSHIFTS`, the host left out."""
    grid = load_grid()
    spectrum = grid.qso[:, 2] + grid.qso[:, 4]
    i_band = grid.filters.index("SLOAN/SDSS.i")
    at_two = np.interp(2.0, REDSHIFTS, spectrum[:, i_band]) / 3.0
    return distances()[0] - 2.5 * np.log10(spectrum[:, reference] / (1 + REDSHIFTS) / at_two)


def quasar_counts(mags: np.ndarray, reference: int) -> np.ndarray:
    """Quasars per magnitude and redshift (arbitrary units), shape (mag, z): Ross et al. (2013), table 8.

    Pure luminosity evolution up to z = 2.2, luminosity and density evolution above; none below z = 0.1.
    """
    z = REDSHIFTS
    late = z < 2.2
    m_star = np.where(late, -22.85 - 2.5 * (1.241 * z - 0.249 * z**2), -26.57 - 0.809 * (z - 2.2))
    density = np.where(late, 10**-5.96, 10 ** (-5.93 - 0.689 * (z - 2.2)))
    bright, faint = np.where(late, -3.37, -3.51), np.where(late, -1.16, -1.29)
    excess = mags[:, None] - quasar_offset(reference) - m_star
    shape = 10 ** (0.4 * (bright + 1) * excess) + 10 ** (0.4 * (faint + 1) * excess)
    return density / shape * distances()[1] * (z > 0.1)


def star_counts(mags: np.ndarray) -> np.ndarray:
    """Stars per magnitude at high Galactic latitude (arbitrary units), flattening where the Galaxy ends."""
    return 10 ** (0.2 * (mags - 20)) / (1 + 10 ** (0.12 * (mags - 21)))


@dataclass(frozen=True)
class Draws:
    """Inverted distributions of one selection: magnitudes of each class, redshifts at each magnitude.

    Attributes
    ----------
    mags : ndarray, shape (mag,)
        Nodes of the reference magnitude.
    cumulative : dict
        By class: cumulative distribution over ``mags``.
    red_fraction : ndarray, shape (mag,)
        Fraction of red among galaxies.
    redshift : dict
        ``BLUE RED QSO``: redshift at each (mag, `QUANTILE_PHASES`), float32.
    """

    mags: np.ndarray
    cumulative: dict[str, np.ndarray]
    red_fraction: np.ndarray
    redshift: dict[str, np.ndarray]

    def magnitudes(self, kind: str, u: np.ndarray) -> np.ndarray:
        """Magnitudes of a class from uniform numbers."""
        return np.interp(u, self.cumulative[kind], self.mags)

    def redshifts(self, kind: str, mag: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Redshifts of a population from magnitudes and uniform numbers."""
        table = self.redshift[kind]
        row, down = _cell((mag - self.mags[0]) / MAG_STEP, len(self.mags))
        column, right = _cell(np.arcsin(np.sqrt(u)) * (2 / np.pi) * (table.shape[1] - 1), table.shape[1])
        upper = table[row, column] * (1 - right) + table[row, column + 1] * right
        lower = table[row + 1, column] * (1 - right) + table[row + 1, column + 1] * right
        return upper * (1 - down) + lower * down


def _cell(position: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Cell of a position on a grid of ``n`` nodes, and the place within it."""
    index = np.clip(position.astype(np.intp), 0, n - 2)
    return index, position - index


@lru_cache(maxsize=8)
def draws(reference: int, bright: float, mag_limit: float) -> Draws:
    """Tables for objects between two magnitudes in a reference filter (its index in the grid)."""
    n = max(round((mag_limit - bright) / MAG_STEP), 1) + 1
    mags = mag_limit - MAG_STEP * np.arange(n)[::-1]
    blue, red = galaxy_counts(BLUE, mags, reference), galaxy_counts(RED, mags, reference)
    quasars = quasar_counts(mags, reference)
    dz = np.gradient(REDSHIFTS)
    n_blue, n_red = (blue * dz).sum(axis=1), (red * dz).sum(axis=1)
    counts = {"GALAXY": n_blue + n_red, "STAR": star_counts(mags), "QSO": (quasars * dz).sum(axis=1)}
    return Draws(
        mags=mags,
        cumulative={kind: _cumulative(number, mags) for kind, number in counts.items()},
        red_fraction=n_red / (n_blue + n_red),
        redshift={"BLUE": _quantiles(blue), "RED": _quantiles(red), "QSO": _quantiles(quasars)},
    )


def _cumulative(density: np.ndarray, x: np.ndarray) -> np.ndarray:
    total = np.append(0.0, np.cumsum(np.diff(x) * (density[1:] + density[:-1]) / 2))
    return total / total[-1]


def _quantiles(counts: np.ndarray) -> np.ndarray:
    """Redshifts at the levels sin^2(pi/2 phase) of the distribution at each magnitude."""
    levels = np.sin(np.pi / 2 * QUANTILE_PHASES) ** 2
    out = np.empty((len(counts), len(levels)), np.float32)
    for row, density in enumerate(counts):
        cumulative = _cumulative(density, REDSHIFTS)
        # Flat parts (no object there) are left out: the inverse is not unique on them.
        rises = np.append(np.diff(cumulative) > 0, True)
        first = np.argmax(cumulative > 0) - 1
        keep = rises & (np.arange(len(rises)) >= first)
        out[row] = np.interp(levels, cumulative[keep], REDSHIFTS[keep])
    return out
