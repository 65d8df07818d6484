"""Images in the layout of astrokeras: extensions SCI, ERR and MASK."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import IngestError
from ..export.atomic import replacing
from ..images.image import NJY_ZERO_POINT, Image, Pixel

if TYPE_CHECKING:
    from astropy.io import fits

Cards = Iterable[tuple[str, Any, str]]
#: Seconds of a day, twice: half an exposure in days.
_TWO_DAYS = 172800.0


def image_hdus(image: Image, gain: float | None, cards: Cards = (), about: Cards = ()) -> fits.HDUList:
    """HDUs of an image: ``SCI``, ``ERR`` (if known) and ``MASK`` (bits of `Pixel`).

    Parameters
    ----------
    image : Image
        In nJy.
    gain : float or None
        Electrons per nJy.
    cards : iterable of (keyword, value, comment)
        Further cards of the image, and ``about`` of the primary HDU.

    Raises
    ------
    IngestError
        If a header does not hold its coordinates: a distortion in lookup tables.
    """
    from astropy.io import fits

    wcs = image.wcs
    if wcs is not None and any(t is not None for t in (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)):
        raise IngestError(
            f"{image.path or 'image'}: its coordinates have lookup tables of a distortion, which are not written; "
            "resample the image, or fit SIP polynomials to them"
        )
    primary = fits.PrimaryHDU()
    primary.header.extend([("ORIGIN", "astrokeras", ""), *about])
    hdus = fits.HDUList([primary])
    header = wcs.to_header(relax=True) if wcs is not None else fits.Header()
    for name, data in (("SCI", image.data), ("ERR", image.sigma), ("MASK", image.mask.astype(np.uint8))):
        if data is None:
            continue
        hdu = fits.ImageHDU(data, header.copy(), name=name)
        if name != "MASK":
            hdu.header["BUNIT"] = "nJy"
        hdu.header.extend([*_facts(image, gain), *cards])
        hdus.append(hdu)
    for bit in Pixel:
        hdus["MASK"].header[f"MP_{bit.name}"[:8]] = (int(bit).bit_length() - 1, f"bit of {bit.name}")
    return hdus


def _facts(image: Image, gain: float | None) -> list[tuple[str, Any, str]]:
    begin = None if image.mjd is None else image.mjd - (image.exposure or 0.0) / _TWO_DAYS
    facts = [
        ("BAND", image.band, "band"),
        ("FILTER", image.filter, "SVO filter identifier"),
        ("MAGZERO", NJY_ZERO_POINT, "AB magnitude of 1 nJy"),
        ("EXPTIME", image.exposure, "[s] exposure time"),
        ("GAIN", gain, "[electron/nJy]"),
        ("MJD-OBS", begin, "[d] begin of the exposure"),
        ("MJD-AVG", image.mjd, "[d] middle of the exposure"),
        ("TIMESYS", "UTC" if image.mjd is not None else None, ""),
    ]
    return [card for card in facts if card[1] not in (None, "")]


def write_hdus(path: Path, hdus: fits.HDUList) -> None:
    """Write a FITS file that is there whole, or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with replacing(path, sync=False) as stream:
        hdus.writeto(stream)
