"""Celestial coordinates of pixels, from headers that may be wrong."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import numpy as np

from .cards import Cards

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from ..fits_hdus import HDU
    from .fits_planes import Plane

_NUMBERS = [f"{key}{i}" for key in ("CRVAL", "CRPIX", "CDELT") for i in (1, 2)]
_NUMBERS += [f"CD{i}_{j}" for i in (1, 2) for j in (1, 2)]
_COORDINATES = re.compile(
    r"C(TYPE|RVAL|RPIX|DELT|UNIT)\d|CD\d|PC\d|PV\d|CROTA|LONPOLE|LATPOLE|RADE|EQUINOX|[AB]P?_|WCSAXES"
)
#: Cards of distortions that are kept in further HDUs (WCS paper IV).
_TABLES = ("CPDIS1", "CPDIS2", "D2IMDIS1", "D2IMDIS2", "CPERR1", "D2IMARR1")


def celestial(plane: Plane, cards: Cards) -> WCS | None:
    """WCS of an image: TAN, SIP, TPV, ZPN and whatever wcslib knows; None, and a note, where there is none to be used.

    Parameters
    ----------
    plane : Plane
        The image.
    cards : Cards
        Takes the note.
    """
    reason, wcs = _not_numbers(plane.hdu), None
    if not reason:
        wcs, reason = _built(plane)
    reason = reason or _fault(wcs, plane.shape)
    if reason:
        cards.note(f"{plane.hdu} has no celestial coordinates to be used: {reason}")
        return None
    return wcs


def _not_numbers(hdu: HDU) -> str:
    """What is wrong with cards of coordinates; wcslib takes the default for those that are no numbers."""
    lost = [key for key in hdu.unreadable if _COORDINATES.match(key)]
    if lost:
        return f"{', '.join(lost)} cannot be read"
    for key in _NUMBERS:
        value = hdu.header.get(key, 0.0)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"{key} = {value!r} is no number"
    return ""


def _built(plane: Plane) -> tuple[WCS | None, str]:
    from astropy.io import fits
    from astropy.wcs import WCS, WcsError

    header = plane.hdu.header.copy()
    further = any(key in header for key in _TABLES)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # Cards that wcslib mends are mended; what remains unusable is told below.
            warnings.simplefilter("ignore")
            if not further:
                return WCS(header, naxis=2), ""
            with fits.open(plane.file.path) as opened:
                return WCS(header, opened, naxis=2), ""
    except (WcsError, ValueError, KeyError, TypeError, AssertionError, MemoryError, fits.VerifyError) as error:
        return None, _plain(str(error)) or type(error).__name__


def _plain(text: str) -> str:
    """First sentence of an error of wcslib, without the place in its source."""
    lines = [re.sub(r"^ERROR \d+ in \w+\(\) at line \d+ of file \S+:\s*", "", x.strip()) for x in text.splitlines()]
    return next((re.sub(r"^ERROR.*", "", x).rstrip(".") for x in lines if not re.match(r"ERROR|$", x)), "")


def _fault(wcs: WCS, shape: tuple[int, int]) -> str:
    if not wcs.has_celestial:
        found = ", ".join(filter(None, wcs.wcs.ctype)) or "none"
        return f"the axes are {found}"
    with np.errstate(all="ignore"):
        matrix = wcs.pixel_scale_matrix
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) <= 1e-12 * np.abs(matrix).max() ** 2:
            return "the CD matrix is singular"
        if not abs(wcs.wcs.crval[wcs.wcs.lat]) <= 90:
            return f"the reference point has the latitude {wcs.wcs.crval[wcs.wcs.lat]:g}"
        if not np.isfinite(vectors(wcs, _center(shape))).all():
            return "the center of the image has no position"
    return ""


def section(wcs: WCS, rows: slice, columns: slice) -> WCS:
    """WCS of a section; `WCS.slice` of astropy 8.0 is off by a pixel where a section is one pixel long."""
    from astropy.wcs import Sip

    shift = np.array([columns.start, rows.start], float)
    cut = wcs.deepcopy()
    cut.wcs.crpix = wcs.wcs.crpix - shift
    if wcs.sip is not None:
        cut.sip = Sip(wcs.sip.a, wcs.sip.b, wcs.sip.ap, wcs.sip.bp, wcs.sip.crpix - shift)
    for table in (cut.cpdis1, cut.cpdis2, cut.det2im1, cut.det2im2):
        if table is not None:
            table.crval = tuple(np.array(table.crval) - shift)
    cut.pixel_shape = (columns.stop - columns.start, rows.stop - rows.start)
    return cut


def _center(shape: tuple[int, int]) -> np.ndarray:
    return np.array([[(shape[1] - 1) / 2, (shape[0] - 1) / 2]])


def vectors(wcs: WCS, pixels: np.ndarray) -> np.ndarray:
    """Unit vectors ``(n, 3)`` of pixels ``(n, 2)`` in x and y, counted from 0; NaN where there is no position."""
    with np.errstate(all="ignore"):
        lon, lat = np.radians(wcs.all_pix2world(pixels, 0)).T
    if wcs.wcs.lat == 0:
        lon, lat = lat, lon
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def pixel_area(wcs: WCS, shape: tuple[int, int]) -> float:
    """Area in steradian of the pixel in the middle of an image, distortions included."""
    middle = _center(shape)
    corners = vectors(wcs, middle + np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, -0.5], [0.0, 0.5]]))
    return float(np.linalg.norm(np.cross(corners[1] - corners[0], corners[3] - corners[2])))


def pixel_scale(wcs: WCS, shape: tuple[int, int]) -> float:
    """Square root of the area of the pixel in the middle, in arcsec."""
    return float(np.degrees(np.sqrt(pixel_area(wcs, shape))) * 3600)


def center(wcs: WCS, shape: tuple[int, int]) -> tuple[float, float]:
    """Right ascension and declination (ICRS, deg) of the middle of an image."""
    ra, dec = positions(wcs, *_center(shape)[0])
    return float(ra), float(dec)


def positions(wcs: WCS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Right ascensions and declinations (ICRS, deg) of 0-based pixels, whatever the frame of the WCS."""
    sky = wcs.pixel_to_world(x, y).icrs
    return sky.ra.deg, sky.dec.deg
