"""What columns of stamps are: their size, names and fields, known before any image is opened."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from ..features.colors import Bands
from ..fields import Field

__all__ = ["Bands", "ColumnName", "Size", "pixels_of", "stamp_field", "stamp_fields"]

ColumnName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]\w*$", max_length=48)]
#: Pixels on a side, at most.
MAX_SIZE = 4096
_SIZE = re.compile(r"\s*(?P<number>\d+(\.\d*)?)\s*(?P<unit>[A-Za-z]*)\s*")
_ARCSEC = {"arcsec": 1.0, "arcmin": 60.0}


def _sized(text: int | str) -> int | str:
    _number(text)
    return text


#: ``64``, ``64 pix`` or ``20 arcsec``.
Size = Annotated[int | str, AfterValidator(_sized)]


def _number(size: int | str) -> tuple[float, str]:
    found = _SIZE.fullmatch(str(size))
    unit = found["unit"].removesuffix("s") if found else ""
    if not found or unit not in ("", "pix", "pixel", *_ARCSEC):
        raise ValueError(f"{size!r} is no size; write '64 pix', '20 arcsec' or '1 arcmin'")
    return float(found["number"]), unit


def pixels_of(size: int | str, pixel_scale: float | None) -> int:
    """Pixels on a side of a stamp of a size; of an angle the next whole number above.

    Raises
    ------
    ValueError
        If the size is an angle and the scale unknown, no whole number of pixels, or beyond 4096 pixels.
    """
    number, unit = _number(size)
    if unit in _ARCSEC:
        if pixel_scale is None:
            raise ValueError(
                f"size {size!r} needs `pixel_scale`, the arcsec of a pixel; or give it in pixels: '64 pix'"
            )
        number = math.ceil(number * _ARCSEC[unit] / pixel_scale - 1e-6)
    if number != int(number) or not 1 <= number <= MAX_SIZE:
        raise ValueError(f"size {size!r} is {number:g} pixels; a whole number from 1 to {MAX_SIZE} is needed")
    return int(number)


def stamp_field(column: str, bands: tuple[str, ...], pixels: int, unit: str, pixel_scale: float | None) -> Field:
    """Field of a column of stamps, cells ``(y, x, band)``."""
    meta = {"bands": ",".join(bands)} | ({} if pixel_scale is None else {"pixel_scale": pixel_scale})
    said = {"nJy": "flux per pixel", "ct": "counts per pixel, not calibrated"}.get(
        unit, "pixels without a physical unit"
    )
    shape = (pixels, pixels, len(bands))
    ucd = "phot.flux.density;instr.pixel" if unit == "nJy" else "phot.count;instr.pixel" if unit == "ct" else ""
    return Field(
        name=column, unit=unit, shape=shape, meta=meta, description=f"Stamp of the object: {said} (y, x, band)", ucd=ucd
    )


def stamp_fields(
    column: str,
    bands: tuple[str, ...],
    pixels: int,
    unit: str,
    pixel_scale: float | None = None,
    errors: bool = False,
    masks: bool = False,
    offsets: bool = False,
) -> tuple[Field, ...]:
    """Fields of stamps, and of what is wanted beside them."""
    stamp = stamp_field(column, bands, pixels, unit, pixel_scale)
    meta = stamp.meta
    out = [stamp]
    if errors:
        said = {"description": "Standard error of the pixels of the stamp", "ucd": "stat.error;instr.pixel"}
        out.append(stamp.model_copy(update={"name": f"{column}_err", **said}))
    if masks:
        said = "Mask of the pixels: 1 no data, 2 bad, 4 saturated, 8 cosmic ray, 16 interpolated"
        out.append(
            Field(
                name=f"{column}_mask", kind="i4", shape=stamp.shape, meta=meta, description=said, ucd="meta.code.qual"
            )
        )
    for axis in ("x", "y") if offsets else ():
        said = f"Place of the object from the middle of the stamp, along {axis}, in each band"
        out.append(
            Field(
                name=f"{column}_d{axis}",
                unit="pix",
                shape=(len(bands),),
                meta=meta,
                description=said,
                ucd=f"pos.cartesian.{axis};instr.pixel",
            )
        )
    return tuple(out)
