"""Stamps of single simulated galaxies, with the truth: a sample to try morphology on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .cameras import BETA, CAMERAS, Conditions, conditions
from .field import scaled
from .grid import load_grid
from .mixture import moffat
from .objects import galaxy_mixture
from .parts import Parts, make_parts
from .population import draws
from .render import Gaussians, draw
from .scene import PSF_STEPS
from .shapes import draw_shapes, part_fluxes, type_names, whole_radius, winding_names
from .systems import SYSTEMS

if TYPE_CHECKING:
    from astropy.table import QTable


def galaxy_stamps(
    rows: int,
    size: int = 64,
    system: str = "lsst",
    bands: tuple[str, ...] = ("g", "r", "i"),
    mag: tuple[float, float] = (16.5, 19.0),
    seed: int = 0,
) -> QTable:
    """Simulate stamps of galaxies, each alone in the middle of its own.

    Parameters
    ----------
    rows : int
        Number of galaxies.
    size : int
        Pixels on a side.
    system : {"sdss", "lsst", "decam"}
        Filters, pixels, seeing, sky and depth.
    bands : sequence of str
        Bands, in the order of the stamps.
    mag : tuple of float
        Range of the magnitude in the reference band of the system, from which magnitudes are drawn evenly.
    seed : int
        Seed.

    Returns
    -------
    QTable
        ``object_id``; ``stamp``, cells ``(y, x, band)`` in nJy, north up and east to the left; ``morphology_true`` and
        ``winding_true`` as in a simulated field; ``z_spec``, ``mag``, ``r_half``, ``inclination``.

    Notes
    -----
    Galaxies are those of the simulated sky, with its PSF and noise, but without neighbours, masks and cosmic rays.
    They are cartoons: scores on them are not scores on the sky.
    """
    from astropy import units as u
    from astropy.table import QTable

    survey, camera, grid = SYSTEMS[system], CAMERAS[system], load_grid()
    rng = np.random.default_rng(seed)
    reference = grid.filters.index(survey.filters[survey.reference])
    columns = [grid.filters.index(survey.filters[band]) for band in bands]
    brightness = rng.uniform(*mag, rows)
    made = draws(reference, survey.bright, mag[1])
    z, relative, red = galaxy_mixture(grid, made, brightness, rng, [*columns, reference])
    shapes = draw_shapes(brightness, z, red, grid, reference, rng)
    fluxes = part_fluxes(scaled(relative, brightness), z, shapes, grid, columns, reference)
    parts = make_parts(
        shapes, np.arange(rows), np.zeros(0, int), np.ones(rows, bool), 0.8 * min(camera.seeing.values()), rng
    )
    places = rng.uniform(-0.5, 0.5, (2, rows)) + (size - 1) / 2
    stamps = np.empty((rows, size, size, len(bands)), np.float32)
    for column, band in enumerate(bands):
        given = conditions(system, band)
        stamps[..., column] = _exposed(parts, fluxes[:, :, column], places, given, size, rng)
    table = QTable({"object_id": np.arange(rows), "stamp": stamps * u.nJy})
    table["stamp"].info.meta = {"bands": ",".join(bands), "pixel_scale": camera.pixel_scale}
    table["morphology_true"], table["winding_true"] = type_names(shapes), winding_names(shapes)
    table["z_spec"], table["mag"] = z, brightness * u.ABmag
    table["r_half"], table["inclination"] = whole_radius(shapes) * u.arcsec, shapes.inclination * u.deg
    return table


def _exposed(
    parts: Parts, flux: np.ndarray, places: np.ndarray, given: Conditions, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Stamps in one band, with the noise of the sky, of the light and of the readout."""
    scale, sky = given.pixel_scale, parts.gaussians
    # Pixels run west and north.
    x, y = places[0][parts.owner] - sky.x / scale, places[1][parts.owner] + sky.y / scale
    matrix = np.array([[-1 / scale, 0.0], [0.0, 1 / scale]])
    light = Gaussians(sky.flux * flux[parts.owner, parts.kind], x, y, sky.xx, sky.xy, sky.yy).mapped(matrix, x, y)
    psf = moffat(given.fwhm / scale, BETA, PSF_STEPS[True])
    bounds = np.searchsorted(parts.owner, np.arange(len(flux) + 1))
    model = np.zeros((len(flux), size, size))
    for stamp, start, stop in zip(model, bounds[:-1], bounds[1:], strict=True):
        draw(stamp, light[start:stop].blurred(psf), 0.01 * given.sigma)
    expected = (model + given.sky) * given.gain
    electrons = rng.poisson(expected) + rng.normal(0.0, given.read_noise, model.shape)
    return electrons / given.gain - given.sky
