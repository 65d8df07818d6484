"""Rows of a synthetic catalog: a pure function of a recipe and the numbers of the rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np

from ..flags import Flag
from ..units import AB_ZERO_POINT
from .grid import load_grid
from .objects import INTRINSIC_SCATTER, galaxy_mixture, quasar_mixture, star_mixture
from .population import CLASSES, draws
from .systems import SYSTEMS

#: Rows made together. Part of the definition of a row, as are the streams below: never changed.
BLOCK = 8192
STREAM_TYPE, STREAM_PLACE, STREAM_MISSING, STREAM_SED, STREAM_NOISE = 0, 1, 2, 8, 16
#: Share of sky noise in the random error: gamma of Ivezic et al. (2019), and the systematic floor in mag.
GAMMA = 0.039
SYSTEMATIC = 0.005
#: Scatter of the depth from place to place, in mag.
DEPTH_SCATTER = 0.1


class Recipe(Protocol):
    """What decides the rows; the parameters of `astrokeras.synthetic.catalog.Synthetic`, completed."""

    seed: int
    system: str
    bands: tuple[str, ...]
    classes: Mapping[str, float]
    missing: float

    @property
    def depths(self) -> Mapping[str, float]:
        """5 sigma magnitudes by band."""

    @property
    def faintest(self) -> float:
        """Magnitude limit in the reference band."""


def generate(recipe: Recipe, start: int, stop: int, columns: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Rows ``start`` to ``stop`` of a synthetic catalog.

    Parameters
    ----------
    recipe : Recipe
        What to make.
    start, stop : int
        Half-open range of row numbers.
    columns : collection of str, optional
        Columns wanted, all by default; the values of a column do not depend on this.

    Returns
    -------
    dict
        Plain arrays by column: ``object_id`` int64 (the row number), ``ra``, ``dec`` float64 in deg, ``flux_{band}``,
        ``flux_err_{band}`` float32 in nJy, ``z_spec`` float64 (0 for stars), ``class_true`` (GALAXY, STAR, QSO),
        ``flags`` int32.
    """
    fluxes = [name for band in recipe.bands for name in (f"flux_{band}", f"flux_err_{band}")]
    every = ["object_id", "ra", "dec", *fluxes, "z_spec", "class_true", "flags"]
    wanted = [name for name in every if columns is None or name in columns]
    parts = [
        _block(recipe, number, wanted, slice(max(start - number * BLOCK, 0), stop - number * BLOCK))
        for number in range(start // BLOCK, -(-stop // BLOCK))
    ] or [_block(recipe, 0, wanted, slice(0, 0))]
    return {name: np.concatenate([part[name] for part in parts]) for name in wanted}


def _stream(recipe: Recipe, stream: int, number: int) -> np.random.Generator:
    """Random numbers of one purpose and block: a counter-based generator, so that blocks need no order."""
    return np.random.Generator(np.random.Philox(key=[recipe.seed, stream], counter=[0, number, 0, 0]))


def _block(recipe: Recipe, number: int, wanted: list[str], rows: slice) -> dict[str, np.ndarray]:
    """The wanted columns of some rows of a block."""
    grid, system = load_grid(), SYSTEMS[recipe.system]
    columns = [grid.filters.index(system.filters[band]) for band in recipe.bands]
    kind, z, true = _objects(recipe, number, columns)
    place = _stream(recipe, STREAM_PLACE, number).random((2, BLOCK))
    west, east, south, north = system.sky
    sine = np.sin(np.radians(south)) + place[1] * (np.sin(np.radians(north)) - np.sin(np.radians(south)))
    out: dict[str, Any] = {
        "object_id": number * BLOCK + np.arange(BLOCK),
        "ra": west + place[0] * (east - west),
        "dec": np.degrees(np.arcsin(sine)),
        "z_spec": z,
        "class_true": np.array(CLASSES)[kind],
        "flags": np.zeros(BLOCK, np.int32),
    }
    gap = _stream(recipe, STREAM_MISSING, number).random((2, BLOCK))
    lost = np.where(gap[0] < recipe.missing, (gap[1] * len(recipe.bands)).astype(int), -1)
    out["flags"][lost >= 0] = Flag.MISSING_BAND
    for j, band in enumerate(recipe.bands):
        if {f"flux_{band}", f"flux_err_{band}"} & set(wanted):
            rng = _stream(recipe, STREAM_NOISE + columns[j], number)
            flux, error = measure(true[:, j], recipe.depths[band], rng)
            flux[lost == j] = error[lost == j] = np.nan
            out |= {f"flux_{band}": flux, f"flux_err_{band}": error}
    return {name: out[name][rows] for name in wanted}


def _objects(recipe: Recipe, number: int, columns: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class (index in `CLASSES`), redshift and true fluxes (nJy, shape (row, band)) of a block."""
    grid, system = load_grid(), SYSTEMS[recipe.system]
    reference = grid.filters.index(system.filters[system.reference])
    made = draws(reference, system.bright, recipe.faintest)
    shares = np.cumsum([recipe.classes.get(name.lower(), 0.0) for name in CLASSES])
    u = _stream(recipe, STREAM_TYPE, number).random((2, BLOCK))
    kind = np.searchsorted(shares / shares[-1], u[0], side="right")
    # The flux in the reference filter comes last.
    every = [*columns, reference]
    z, fluxes = np.zeros(BLOCK), np.empty((BLOCK, len(every)), np.float32)
    mag = np.empty(BLOCK)
    for code, name in enumerate(CLASSES):
        rows = kind == code
        mag[rows] = made.magnitudes(name, u[1, rows])
        rng = _stream(recipe, STREAM_SED + code, number)
        if name == "GALAXY":
            z[rows], fluxes[rows], _ = galaxy_mixture(grid, made, mag[rows], rng, every)
        elif name == "QSO":
            z[rows], fluxes[rows] = quasar_mixture(grid, made, mag[rows], rng, every, reference)
        else:
            fluxes[rows] = star_mixture(grid, mag[rows], rng, every)
    scale = 10 ** (-0.4 * (mag - AB_ZERO_POINT)) / fluxes[:, -1]
    return kind, z, fluxes[:, :-1] * scale[:, None]


def measure(true: np.ndarray, depth: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Measured fluxes and their errors in one band, float32 in the unit of ``true`` (nJy).

    The variance is that of Ivezic et al. (2019, ApJ 873, 111, eq. 4-5) written in fluxes, so that it holds for faint
    and negative ones: with F5 the flux at the 5 sigma depth, ``(0.04 - gamma) F5 F + gamma F5^2`` (photon and sky
    noise) plus ``(s F)^2``, s the systematic floor; gamma = 0.039, s = 0.005 mag. The depth scatters by 0.1 mag from
    object to object. The error is the one the noise was drawn with. The true flux scatters by 0.02 mag about the
    templates, which the error does not know of.

    Parameters
    ----------
    true : ndarray
        True fluxes in nJy.
    depth : float
        AB magnitude at which S/N = 5.
    rng : Generator
        Three normal variates per object are taken.
    """
    normal = rng.standard_normal((3, len(true)), dtype=np.float32)
    flux = true * np.exp(-0.4 * np.log(10) * INTRINSIC_SCATTER * normal[0])
    five = 10 ** (-0.4 * (depth + DEPTH_SCATTER * normal[1] - AB_ZERO_POINT))
    floor = 0.4 * np.log(10) * SYSTEMATIC
    error = np.sqrt((0.04 - GAMMA) * five * flux + GAMMA * five**2 + (floor * flux) ** 2)
    return (flux + error * normal[2]).astype(np.float32), error.astype(np.float32)
