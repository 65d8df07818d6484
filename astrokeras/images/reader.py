"""Images of surveys: opened by their headers, read whole or in part as nJy, errors and flags."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ..errors import IngestError, did_you_mean
from . import sky_grid
from .calibration import flux_of_unit, scale
from .fits_planes import FitsFile
from .image import Image
from .layouts import Chosen, choose
from .parts import KINDS, error_plane, mask_plane, parts, select
from .pixels import Recipe, read_pixels

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from .language import Layout

#: Difference of two zero points in mag that is not worth a note.
_AGREE = 0.005

__all__ = ["ImageFile", "bands_in", "images_in", "open_image", "read_image"]


@dataclass(frozen=True)
class ImageFile:
    """An image in a file: what its headers say; `read` gives pixels.

    Attributes
    ----------
    path, hdu : str
        File, and EXTNAME or number of the HDU.
    shape : tuple of int
        Rows and columns.
    wcs : WCS or None
        Celestial coordinates; None, and a note, where there are none to be used.
    band : str
        Band; empty if nothing tells.
    filter : str or None
        SVO filter identifier.
    unit : str
        ``nJy``, or ``ct`` where nothing tells the flux of a count.
    zero_point : float or None
        AB magnitude of one unit of the pixels in the file.
    exposure, gain, mjd : float or None
        Exposure time in s, electrons per unit of the pixels in the file, middle of the exposure as MJD (UTC).
    layout : str
        Layout of the file.
    notes : tuple of str
        What a user should know.
    pixel_scale : float or None
        Square root of the area of the pixel in the middle, in arcsec.
    sky : str
        Whether the pixels still contain the sky: ``subtracted``, ``included`` or ``unknown``.
    files : tuple of str
        All files that are read: the image's, and those of its errors and flags.
    """

    path: str
    hdu: str
    shape: tuple[int, int]
    wcs: WCS | None
    band: str
    filter: str | None
    unit: Literal["nJy", "ct"]
    zero_point: float | None
    exposure: float | None
    gain: float | None
    mjd: float | None
    layout: str
    notes: tuple[str, ...]
    pixel_scale: float | None
    sky: str
    files: tuple[str, ...]
    recipe: Recipe

    def read(self, rows: slice | None = None, columns: slice | None = None) -> Image:
        """Read a section, or all.

        Parameters
        ----------
        rows, columns : slice, optional
            Of step 1. Beyond the image there is nothing: a section ends at its edge.

        Raises
        ------
        IngestError
            If the pixels cannot be read.
        """
        place = tuple(_section(part, n) for part, n in zip((rows, columns), self.shape, strict=True))
        data, sigma, mask, said = read_pixels(self.recipe, *place)
        whole = all(part == slice(0, n) for part, n in zip(place, self.shape, strict=True))
        wcs = self.wcs if self.wcs is None or whole else sky_grid.section(self.wcs, *place)
        return Image(
            data=data,
            unit=self.unit,
            mask=mask,
            band=self.band,
            sigma=sigma,
            wcs=wcs,
            filter=self.filter,
            zero_point=self.zero_point,
            exposure=self.exposure,
            gain=self.gain,
            mjd=self.mjd,
            path=self.path,
            hdu=self.hdu,
            notes=(*self.notes, *said),
        )

    def with_zero_point(self, zero_point: float) -> ImageFile:
        """Open image whose pixels are in nJy by another zero point, the AB magnitude of one unit in the file.

        Raises
        ------
        IngestError
            If it is no number.
        """
        if not math.isfinite(zero_point):
            raise IngestError(f"{self.path}, HDU {self.hdu}: a zero point is a number of mag, not {zero_point}")
        notes = self.notes
        if self.zero_point is not None and abs(self.zero_point - zero_point) > _AGREE:
            notes = (
                *notes,
                f"the file gives the zero point {self.zero_point:.3f}; {zero_point:.3f} was given and taken",
            )
        recipe = replace(self.recipe, factor=flux_of_unit(zero_point))
        return replace(self, unit="nJy", zero_point=float(zero_point), recipe=recipe, notes=notes)


def open_image(
    path: str | os.PathLike | Mapping[str, Any],
    *,
    layout: str | Layout | None = None,
    band: str | None = None,
    hdu: int | str | None = None,
    zero_point: float | None = None,
) -> ImageFile:
    """Open an image; only headers are read, and measured against the size of the file.

    Parameters
    ----------
    path : str or mapping
        A FITS file, plain, tile-compressed (.fz) or packed with gzip or bzip2; or ``{image: ..., mask: ...}`` and one
        of ``sigma``, ``variance``, ``invvar`` (or ``error``, ``weight``) where the layout does not find these files by
        their names; null for "without".
    layout : str or Layout, optional
        Name or path of a layout; found by the header and the name of the file otherwise.
    band : str, optional
        Band, where a file has several, or where its header says none or a wrong one.
    hdu : int or str, optional
        Number or EXTNAME, where a file has several images.
    zero_point : float, optional
        AB magnitude of one unit of the pixels in the file, in place of what the file says.

    Raises
    ------
    IngestError
        If the file cannot be read as an image; names file, HDU and reason.
    SurveyError
        If there is no such layout.

    Examples
    --------
    >>> image = open_image("frame-r-001000-1-0100.fits.bz2")  # doctest: +SKIP
    >>> image.layout, image.band, image.unit  # doctest: +SKIP
    ('sdss-frame', 'r', 'nJy')
    >>> stamp = image.read(rows=slice(40, 60), columns=slice(0, 20))  # doctest: +SKIP
    """
    name, given = _named(path)
    file = FitsFile(name)
    chosen = choose(file, layout)
    part = select(file, parts(file, chosen.layout), band, hdu)
    cards, plane = part.cards, part.plane
    if band is not None and part.band and part.band != band:
        cards.note(f"the file says band {part.band!r}; {band!r} was asked for and taken")
    said = band or part.band
    exposure = cards.number(chosen.layout.exposure, positive=True)
    wcs = sky_grid.celestial(plane, cards)
    area = None if wcs is None else sky_grid.pixel_area(wcs, plane.shape)
    flux = scale(chosen.layout, cards, said, exposure, area)
    recipe = Recipe(
        plane=plane,
        error=error_plane(part, chosen.layout, given),
        mask=mask_plane(part, chosen.layout, given),
        layout=chosen.layout,
        band=said,
        factor=flux.factor,
        saturation=cards.number(chosen.layout.saturation, positive=True),
    )
    facts = chosen.layout.bands.get(said)
    opened = ImageFile(
        path=name,
        hdu=part.label,
        shape=plane.shape,
        wcs=wcs,
        band=said,
        filter=(facts.filter if facts else None) or _stated_filter(cards.text(chosen.layout.filter_cards)),
        unit=flux.unit,
        zero_point=flux.zero_point,
        exposure=exposure,
        gain=cards.number(chosen.layout.gain, positive=True),
        mjd=_time(chosen.layout, cards, exposure),
        layout=chosen.name,
        notes=(*_of_layout(chosen), *cards.notes),
        pixel_scale=None if wcs is None else sky_grid.pixel_scale(wcs, plane.shape),
        sky=chosen.layout.sky,
        files=recipe.files,
        recipe=recipe,
    )
    return opened if zero_point is None else opened.with_zero_point(zero_point)


def read_image(path: str | os.PathLike | Mapping[str, Any], **options: Any) -> Image:
    """Read all pixels of an image; parameters and errors as of `open_image`."""
    return open_image(path, **options).read()


def bands_in(path: str | os.PathLike | Mapping[str, Any], *, layout: str | Layout | None = None) -> tuple[str, ...]:
    """Bands of a file, in its order, each once; empty if nothing tells.

    Raises
    ------
    IngestError
        If the file cannot be read as images.
    """
    return tuple(dict.fromkeys(band for _, band in images_in(path, layout=layout) if band))


def images_in(path: str | os.PathLike | Mapping[str, Any], *, layout: str | Layout | None = None) -> tuple:
    """HDU and band of every image of a file, as pairs of str, in the order of the file.

    Raises
    ------
    IngestError
        If the file cannot be read as images.
    """
    file = FitsFile(_named(path)[0])
    return tuple((part.label, part.band) for part in parts(file, choose(file, layout).layout))


def _named(path: str | os.PathLike | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if not isinstance(path, Mapping):
        return os.path.expanduser(os.fspath(path)), {}
    allowed = ("image", "mask", *KINDS)
    for key in path:
        if key not in allowed:
            raise IngestError(f"files of an image: unknown key {key!r}{did_you_mean(key, allowed)}")
    if "image" not in path or sum(key in path for key in KINDS) > 1:
        raise IngestError(f"files of an image: needs `image`, and at most one of {', '.join(KINDS)}")
    others = {key: value if value is None else os.path.expanduser(os.fspath(value)) for key, value in path.items()}
    return others.pop("image"), others


def _section(part: slice | None, n: int) -> slice:
    start, stop, step = (part or slice(None)).indices(n)
    if step != 1:
        raise IngestError(f"a section has the step 1, not {step}")
    return slice(start, max(start, stop))


def _stated_filter(text: str) -> str | None:
    return text if "/" in text else None


def _time(layout: Layout, cards: Any, exposure: float | None) -> float | None:
    return None if layout.start == "none" else cards.middle(exposure, tai=layout.start == "TAI")


def _of_layout(chosen: Chosen) -> tuple[str, ...]:
    if not chosen.why:
        return ()
    return (f"layout {chosen.name} ({chosen.why})",)
