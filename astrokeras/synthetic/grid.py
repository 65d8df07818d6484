"""Table of template fluxes through the filters of all systems: how it is made, and how it is read.

Made by ``python -m astrokeras.synthetic.grid [kcorrect-default-v4.fits]``, which needs the package speclite for the
filter curves; with the template file of the package kcorrect it remakes ``galaxy_templates.npz`` first. Reading needs
numpy only.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from . import sed

#: Name in speclite of each filter, by its SVO identifier (Gunn et al. 1998 and Doi et al. 2010; LSST 2023; DECam 2014).
FILTERS = (
    {f"SLOAN/SDSS.{band}": f"sdss2010-{band}" for band in "ugriz"}
    | {f"LSST/LSST.{band}": f"lsst2023-{band}" for band in "ugrizy"}
    | {f"CTIO/DECam.{band}": f"decam2014-{band}" for band in "grizY"}
)
#: Redshifts of the table, equidistant in log(1 + z), and g-i of its stars.
REDSHIFTS = np.expm1(np.arange(0.0, np.log(7.0), 0.004))
STAR_COLORS = np.linspace(-0.7, 3.6, 87)
#: The luminosity functions of galaxies are given in this rest-frame band.
REST_FILTER = "bessell-B"


@dataclass(frozen=True)
class Grid:
    """Fluxes of templates in units of the AB zero point, before luminosity and distance.

    Attributes
    ----------
    filters : tuple of str
        SVO identifiers, in the order of the last axis of the tables.
    galaxy, qso : ndarray, shape (redshift, template, filter), float32
        On `REDSHIFTS`.
    star : ndarray, shape (colour, template, filter), float32
        On `STAR_COLORS`.
    galaxy_rest : ndarray, shape (template,)
        Galaxies in the rest-frame Bessell B band.
    """

    filters: tuple[str, ...]
    galaxy: np.ndarray
    star: np.ndarray
    qso: np.ndarray
    galaxy_rest: np.ndarray


@lru_cache(maxsize=1)
def load_grid() -> Grid:
    """Read the table that ships with the package."""
    with np.load(sed.DATA / "grid.npz", allow_pickle=False) as stored:
        tables = {name: stored[name] for name in ("galaxy", "star", "qso", "galaxy_rest")}
        return Grid(filters=tuple(str(name) for name in stored["filters"]), **tables)


def filter_curve(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Wavelengths (Angstrom) and throughput of a filter of speclite, sampled every 2 Angstrom."""
    import speclite.filters

    response = speclite.filters.load_filter(name)
    wave = np.arange(response.wavelength[0], response.wavelength[-1] + 2.0, 2.0)
    return wave, np.asarray(response.interpolator(wave), float)


def fluxes(templates: np.ndarray, curves: list[tuple[np.ndarray, np.ndarray]], z: float) -> np.ndarray:
    """Fluxes of templates (shape (template, n)) at a redshift, shape (template, filter)."""
    return np.stack([sed.band_flux(templates, *curve, z=z) for curve in curves], axis=-1)


def build(redshifts: np.ndarray = REDSHIFTS, colors: np.ndarray = STAR_COLORS) -> Grid:
    """Compute the table from spectra and filter curves (needs speclite)."""
    curves = {identifier: filter_curve(name) for identifier, name in FILTERS.items()}
    every = list(curves.values())
    sdss = {band: curves[f"SLOAN/SDSS.{band}"] for band in "ugriz"}
    galaxies, quasars = sed.galaxy_templates(), sed.quasar_templates()
    stars = [sed.star_templates(color, sdss) for color in colors]
    return Grid(
        filters=tuple(curves),
        galaxy=np.stack([fluxes(galaxies, every, z) for z in redshifts]).astype(np.float32),
        star=np.stack([fluxes(star, every, 0.0) for star in stars]).astype(np.float32),
        qso=np.stack([fluxes(quasars, every, z) for z in redshifts]).astype(np.float32),
        galaxy_rest=sed.band_flux(galaxies, *filter_curve(REST_FILTER)),
    )


def resample_templates(path: str) -> None:
    """Write ``galaxy_templates.npz`` from the template file of kcorrect, averaging photons within each bin."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        wave, flux = hdus["FLUX"].data["wave"][0].astype(float), hdus["FLUX"].data["flux"][0].astype(float)
    edges = np.exp(np.append(np.log(sed.WAVE) - 0.0005, np.log(sed.WAVE[-1]) + 0.0005))
    integral = [np.append(0.0, np.cumsum(np.diff(wave) * (f[1:] + f[:-1]) / 2)) for f in flux]
    binned = np.stack([np.diff(np.interp(edges, wave, total)) / np.diff(edges) for total in integral])
    scale = np.array([np.interp(5500.0, sed.WAVE, one) for one in binned])
    np.savez_compressed(sed.DATA / "galaxy_templates.npz", flux=(binned / scale[:, None]).astype(np.float32))


def main() -> None:
    """Remake the data files of the package."""
    if len(sys.argv) > 1:
        resample_templates(sys.argv[1])
    grid = build()
    np.savez_compressed(
        sed.DATA / "grid.npz",
        filters=np.array(grid.filters),
        galaxy=grid.galaxy,
        star=grid.star,
        qso=grid.qso,
        galaxy_rest=grid.galaxy_rest,
    )


if __name__ == "__main__":
    main()
