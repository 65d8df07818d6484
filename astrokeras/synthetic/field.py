"""Objects of a field: how many, where, what, and how bright."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..units import AB_ZERO_POINT, ab_to_njy
from .grid import REDSHIFTS, load_grid
from .objects import galaxy_mixture, mix, quasar_mixture, star_mixture
from .population import BLUE, CLASSES, RED, draws, galaxy_counts, quasar_counts, star_counts
from .shapes import Shapes, draw_shapes, part_fluxes
from .systems import SYSTEMS

#: Stars per square degree and mag at 20 mag in the reference band, near the Galactic poles (Bahcall & Soneira 1980).
STARS_AT_20 = 700.0
#: Objects are made down to this many mag below the 5 sigma depth; all are in the images, few can be found.
BELOW_DEPTH = 1.0
#: Order of the classes among the objects.
ORDER = ("GALAXY", "QSO", "STAR")
_STERADIAN = (np.pi / 180) ** 2


@dataclass(frozen=True)
class Objects:
    """Objects of a field, galaxies first.

    Attributes
    ----------
    kind : ndarray of int, shape (n,)
        Index in `astrokeras.synthetic.population.CLASSES`.
    z : ndarray, shape (n,)
        Redshift, 0 for stars.
    flux : ndarray, shape (n, band)
        True flux in nJy in every band of the system.
    parts : ndarray, shape (galaxy, kind, band)
        Flux of the parts of galaxies.
    shapes : Shapes
        Of the galaxies.
    """

    kind: np.ndarray
    z: np.ndarray
    flux: np.ndarray
    parts: np.ndarray
    shapes: Shapes


def density(system: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Objects per square degree and mag in the reference band.

    Galaxies and quasars as the luminosity functions of `astrokeras.synthetic.population` say; stars at high Galactic
    latitude.

    Returns
    -------
    mags : ndarray, shape (m,)
        Magnitudes, from the brightest of the system to `BELOW_DEPTH` below its depth.
    counts : dict
        By class, shape (m,).
    """
    survey = SYSTEMS[system]
    reference = load_grid().filters.index(survey.filters[survey.reference])
    mags = np.arange(survey.bright, survey.depth[survey.reference] + BELOW_DEPTH + 1e-6, 0.05)
    dz = np.gradient(REDSHIFTS)
    # The functions of the population leave out 0.4 ln 10 of a Schechter function per magnitude.
    galaxies = sum((galaxy_counts(kind, mags, reference) * dz).sum(axis=1) for kind in (BLUE, RED))
    return mags, {
        "GALAXY": 0.4 * np.log(10) * galaxies * _STERADIAN,
        "STAR": STARS_AT_20 * star_counts(mags) / star_counts(np.array([20.0])),
        "QSO": (quasar_counts(mags, reference) * dz).sum(axis=1) * _STERADIAN,
    }


def populate(
    system: str, area: float, saturated: float | None, rng: np.random.Generator, star_density: float = 1.0
) -> Objects:
    """Draw the objects of an area.

    Parameters
    ----------
    system : str
        Filter system.
    area : float
        In square degrees.
    saturated : float, optional
        Reference magnitude of one more star, the last object: so that even a small field has a saturated one.
    rng : Generator
        Random numbers.
    star_density : float
        Stars, in units of their number near the Galactic poles.
    """
    grid, survey = load_grid(), SYSTEMS[system]
    columns = [grid.filters.index(name) for name in survey.filters.values()]
    reference = grid.filters.index(survey.filters[survey.reference])
    mags, counts = density(system)
    counts["STAR"] *= star_density
    made = draws(reference, survey.bright, float(mags[-1]))
    numbers = {name: rng.poisson(area * np.trapezoid(counts[name], mags)) for name in CLASSES}
    mag = {name: made.magnitudes(name, rng.random(numbers[name])) for name in CLASSES}
    if saturated is not None:
        mag["STAR"] = np.append(mag["STAR"], saturated)
    every = [*columns, reference]
    z, relative, red = galaxy_mixture(grid, made, mag["GALAXY"], rng, every)
    galaxies = scaled(relative, mag["GALAXY"])
    shapes = draw_shapes(mag["GALAXY"], z, red, grid, reference, rng)
    stars = scaled(star_mixture(grid, mag["STAR"], rng, every), mag["STAR"])
    z_qso, relative = quasar_mixture(grid, made, mag["QSO"], rng, every, reference)
    quasars = scaled(relative, mag["QSO"])
    return Objects(
        kind=np.repeat([CLASSES.index(name) for name in ORDER], [len(mag[name]) for name in ORDER]),
        z=np.concatenate([z, z_qso, np.zeros(len(stars))]),
        flux=np.concatenate([galaxies, quasars, stars])[:, :-1],
        parts=part_fluxes(galaxies, z, shapes, grid, columns, reference),
        shapes=shapes,
    )


def scaled(relative: np.ndarray, mag: np.ndarray) -> np.ndarray:
    """Fluxes in nJy: the last column, the reference band, has the magnitude."""
    return relative * (10 ** (-0.4 * (mag - AB_ZERO_POINT)) / relative[:, -1])[:, None]


def explosions(system: str, count: int, brightest: float, rng: np.random.Generator) -> np.ndarray:
    """Fluxes of transients in nJy, shape (count, band): black bodies of 5000 to 20 000 K as seen.

    Magnitudes in the reference band are uniform from ``brightest`` to 0.5 mag above the depth of the survey.
    """
    grid, survey = load_grid(), SYSTEMS[system]
    columns = [grid.filters.index(survey.filters[b]) for b in (*survey.filters, survey.reference)]
    mag = rng.uniform(brightest, survey.depth[survey.reference] - 0.5, count)
    # The third template of stars is a black body of the colour g - i, -0.6 to 0.9.
    place = (rng.uniform(-0.6, 0.9, count) + 0.7) / 0.05
    relative = mix(grid.star[:, :, columns], place, np.tile([0.0, 0.0, 1.0], (count, 1)))
    return (relative / relative[:, -1:] * ab_to_njy(mag)[:, None])[:, :-1]
