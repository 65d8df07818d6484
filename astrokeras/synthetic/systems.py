"""Surveys that the synthetic catalog imitates: filters, depths, footprints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """A survey: its filters and how deep it is.

    Attributes
    ----------
    filters : dict
        SVO identifier by band.
    depth : dict
        5 sigma AB magnitude of a point source by band.
    bands : tuple of str
        Taken when none are named.
    reference : str
        Band of the magnitude limit.
    bright : float
        Magnitude of the brightest objects.
    sky : tuple of float
        Right ascension from, to, declination from, to, in deg.
    """

    filters: dict[str, str]
    depth: dict[str, float]
    bands: tuple[str, ...]
    reference: str
    bright: float
    sky: tuple[float, float, float, float]


SYSTEMS = {
    "sdss": System(
        filters={band: f"SLOAN/SDSS.{band}" for band in "ugriz"},
        depth={"u": 22.15, "g": 23.13, "r": 22.70, "i": 22.20, "z": 20.71},
        bands=tuple("ugriz"),
        reference="r",
        bright=14.0,
        sky=(130.0, 230.0, 0.0, 55.0),
    ),
    "lsst": System(
        filters={band: f"LSST/LSST.{band}" for band in "ugrizy"},
        depth={"u": 26.1, "g": 27.4, "r": 27.5, "i": 26.8, "z": 26.1, "y": 24.9},
        bands=tuple("ugrizy"),
        reference="i",
        bright=17.0,
        sky=(0.0, 90.0, -60.0, 0.0),
    ),
    "decam": System(
        filters={band: f"CTIO/DECam.{band}" for band in "grizY"},
        depth={"g": 24.0, "r": 23.4, "i": 23.0, "z": 22.5, "Y": 21.4},
        bands=tuple("grz"),
        reference="r",
        bright=15.0,
        sky=(0.0, 90.0, -60.0, 0.0),
    ),
}
