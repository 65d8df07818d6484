"""Which image an object lies on, and where: world to pixel coordinates for all objects at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from astropy.wcs import WCS

#: Pixels to which the inverse of a distortion (SIP, lookup table) is iterated.
_TOLERANCE = 1e-6
#: Pixels to which the way there and back must lead to the same place.
_RETURN = 1e-3


class OnSky(Protocol):
    """An image with celestial coordinates."""

    shape: tuple[int, int]
    wcs: WCS | None


def world_to_pixel(wcs: WCS, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """0-based pixel coordinates of ICRS positions, distortions (SIP, TPV, lookup tables) included.

    Parameters
    ----------
    wcs : WCS
        Celestial, in whatever frame.
    ra, dec : ndarray
        In deg, finite, on the hemisphere that the projection shows.

    Returns
    -------
    x, y : ndarray
        NaN where a distortion cannot be inverted.
    """
    lon, lat = _in_frame(wcs, ra, dec)
    world = np.empty((len(lon), 2))
    world[:, wcs.wcs.lng], world[:, wcs.wcs.lat] = lon, lat
    if not len(world):
        return world[:, 0], world[:, 1]
    with np.errstate(all="ignore"):
        pixels = wcs.all_world2pix(world, 0, tolerance=_TOLERANCE, maxiter=50, quiet=True)
        if wcs.has_distortion:
            # Far from the image a polynomial may lead anywhere.
            again = wcs.wcs_world2pix(wcs.all_pix2world(pixels, 0), 0) - wcs.wcs_world2pix(world, 0)
            pixels[~(np.abs(again).max(axis=1) < _RETURN)] = np.nan
    return pixels[:, 0], pixels[:, 1]


def _in_frame(wcs: WCS, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from astropy import units as u
    from astropy.coordinates import ICRS, SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    frame = wcs_to_celestial_frame(wcs)
    if isinstance(frame, ICRS):
        return ra, dec
    sky = SkyCoord(ra, dec, unit=u.deg, frame="icrs").transform_to(frame).spherical
    return sky.lon.deg, sky.lat.deg


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Unit vectors ``(n, 3)`` of positions in deg."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def pixels_near(wcs: WCS, shape: tuple[int, int], ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """0-based pixel coordinates of positions on an image and just beyond its edge.

    Parameters
    ----------
    wcs : WCS
        Of the image, celestial.
    shape : tuple of int
        Rows and columns.
    ra, dec : ndarray
        In deg, ICRS.

    Returns
    -------
    x, y : ndarray
        NaN far from the image, where a projection or a distortion may lead back onto it.
    """
    x, y = np.full((2, len(ra)), np.nan)
    centre, cosine = _circle(wcs, shape)
    near = np.flatnonzero(_points(ra, dec) @ centre >= cosine)
    x[near], y[near] = world_to_pixel(wcs, ra[near], dec[near])
    return x, y


def _points(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Unit vectors of positions; NaN of those that are none."""
    good = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90)
    return unit_vectors(np.where(good, ra, np.nan), np.where(good, dec, np.nan))


class Footprints:
    """Images that an object may lie on.

    Parameters
    ----------
    images : sequence
        With ``shape`` (rows, columns) and ``wcs``.
    """

    def __init__(self, images: Sequence[OnSky]):
        self.images = tuple(images)
        circles = [_circle(image.wcs, image.shape) for image in self.images]
        self._centres = np.array([centre for centre, _ in circles]).reshape(-1, 3)
        self._cosines = np.array([cosine for _, cosine in circles])

    def place(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find for each position the image on which it lies farthest from the edge.

        Parameters
        ----------
        ra, dec : ndarray
            In deg, ICRS; NaN lies on no image.

        Returns
        -------
        number : ndarray
            Of the image; -1 where there is none. Of two that are equally good, the first.
        x, y : ndarray
            0-based pixel coordinates there; NaN where there is none.
        """
        number = np.full(len(ra), -1)
        x, y, margin = (np.full(len(ra), np.nan) for _ in range(3))
        points = _points(ra, dec)
        for k, image in enumerate(self.images):
            near = np.flatnonzero(points @ self._centres[k] >= self._cosines[k])
            if not len(near):
                continue
            here = world_to_pixel(image.wcs, ra[near], dec[near])
            distance = to_edge(*here, image.shape)
            better = (distance >= 0) & ~(distance <= margin[near])
            rows = near[better]
            number[rows], margin[rows] = k, distance[better]
            x[rows], y[rows] = here[0][better], here[1][better]
        return number, x, y


def to_edge(x: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Distance of positions from the edge of an image, in pixels; negative outside."""
    rows, columns = shape
    return np.minimum(np.minimum(x + 0.5, columns - 0.5 - x), np.minimum(y + 0.5, rows - 0.5 - y))


def _circle(wcs: WCS, shape: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Circle on the sky around an image: direction of its centre, and cosine of a generous radius."""
    rows, columns = shape
    side = np.linspace(0, 1, 9)
    edge_x = np.concatenate([side * 0 - 0.5, side * 0 + columns - 0.5, side * columns, side * columns])
    edge_y = np.concatenate([side * rows, side * rows, side * 0 - 0.5, side * 0 + rows - 0.5])
    sky = wcs.pixel_to_world(np.append(edge_x, (columns - 1) / 2), np.append(edge_y, (rows - 1) / 2)).icrs
    points = unit_vectors(sky.ra.deg, sky.dec.deg)
    cosine = (points[:-1] @ points[-1]).min()
    if not np.isfinite(cosine):
        # A map of the whole sky: no circle is too large.
        return np.array([1.0, 0.0, 0.0]), -1.0
    return points[-1], np.cos(min(np.pi, 1.05 * np.arccos(np.clip(cosine, -1, 1)) + 1e-6))
