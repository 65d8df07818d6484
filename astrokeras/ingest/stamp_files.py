"""Reading one stamp from its file or files: pixels, errors and masks of all bands, of the size that is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import IngestError
from ..flags import Flag
from ..images.image import LOST, Pixel
from .band_images import check_unit
from .image_paths import filled
from .pictures import is_picture, read_picture

if TYPE_CHECKING:
    from ..images.language import Layout

#: Pixels of one band of a file, at most.
MAX_PIXELS = 2**26


@dataclass(frozen=True)
class Reading:
    """What is read of the files of a stamp.

    Attributes
    ----------
    bands : tuple of str
        In order.
    unit : str
        That the pixels must have.
    errors : bool
        Whether errors are wanted.
    layout, hdu
        How FITS files are laid out, and the HDU with the pixels.
    """

    bands: tuple[str, ...]
    unit: str
    errors: bool
    layout: str | Layout | None
    hdu: int | str | None


@dataclass
class Pixels:
    """Pixels of a stamp.

    Attributes
    ----------
    data : ndarray
        ``(y, x, band)`` float32.
    sigma : ndarray or None
        Errors.
    mask : ndarray
        uint8.
    """

    data: np.ndarray
    sigma: np.ndarray | None
    mask: np.ndarray


def read_stamp(source: Reading, paths: Mapping[str, str]) -> Pixels:
    """Read a stamp as its files hold it.

    Parameters
    ----------
    paths : mapping
        Files by band; a band without one has no data.

    Raises
    ------
    IngestError
        If a file cannot be read, the bands differ in shape, or the pixels are in another unit.
    """
    first = next(iter(paths.values()))
    if is_picture(first):
        return _pictures(source, paths)
    planes = {band: _plane(source, path, band) for band, path in paths.items()}
    shapes = {plane.data.shape for plane in planes.values()}
    if len(shapes) > 1:
        raise IngestError(f"{first}: the bands have images of {' and '.join(map(str, sorted(shapes)))} pixels")
    return _stacked([planes.get(band) for band in source.bands], shapes.pop())


def _pictures(source: Reading, paths: Mapping[str, str]) -> Pixels:
    path = next(iter(paths.values()))
    check_unit(path, "", source.unit)
    if len(set(paths.values())) == 1 and len(source.bands) in (1, 3):
        data = read_picture(path, len(source.bands))
        return Pixels(data, None, np.zeros(data.shape, np.uint8))
    if len(set(paths.values())) < len(paths):
        raise IngestError(f"{path}: a picture has one band (grey) or three (red, green, blue), not {len(source.bands)}")
    parts = {band: read_picture(path, 1)[..., 0] for band, path in paths.items()}
    shapes = {part.shape for part in parts.values()}
    if len(shapes) > 1:
        raise IngestError(f"{path}: the bands have pictures of {' and '.join(map(str, sorted(shapes)))} pixels")
    planes = [Pixels(parts[b], None, np.zeros(parts[b].shape, np.uint8)) if b in parts else None for b in source.bands]
    return _stacked(planes, shapes.pop())


def _plane(source: Reading, path: str, band: str) -> Pixels:
    from ..images.reader import open_image

    hdu = filled(source.hdu, band) if isinstance(source.hdu, str) else source.hdu
    file = open_image(path, layout=source.layout, band=band, hdu=hdu)
    check_unit(f"{path}, HDU {file.hdu}", file.unit, source.unit)
    if file.shape[0] * file.shape[1] > MAX_PIXELS:
        raise IngestError(f"{path}, HDU {file.hdu}: {file.shape} pixels are no stamp; use the stage `cutouts`")
    image = file.read()
    if source.errors and image.sigma is None:
        raise IngestError(
            f"{path}, HDU {file.hdu}: has no errors of its pixels; leave `errors` out, or name a `layout`"
        )
    return Pixels(image.data, image.sigma if source.errors else None, image.mask.astype(np.uint8))


def _stacked(planes: list[Pixels | None], shape: tuple[int, int]) -> Pixels:
    lacking = Pixels(
        np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32), np.full(shape, 1, np.uint8)
    )
    given = [plane if plane is not None else lacking for plane in planes]
    sigma = None
    if any(plane is not None and plane.sigma is not None for plane in planes):
        sigma = np.stack([plane.sigma for plane in given], axis=-1)
    return Pixels(np.stack([p.data for p in given], axis=-1), sigma, np.stack([p.mask for p in given], axis=-1))


def shrunk(pixels: Pixels, by: int, mean: bool) -> Pixels:
    """Sum (or mean) of ``by`` x ``by`` pixels, about the middle of the stamp; rows and columns that are left over go.

    NaN where one of them has no data; errors of independent pixels.
    """
    if by == 1:
        return pixels
    size = [n // by * by for n in pixels.data.shape[:2]]
    if not all(size):
        raise IngestError(f"a stamp of {pixels.data.shape[:2]} pixels cannot be shrunk by {by}")

    def grouped(array: np.ndarray) -> np.ndarray:
        rows, columns = ((n - s) // 2 for n, s in zip(array.shape, size, strict=False))
        part = array[rows : rows + size[0], columns : columns + size[1]]
        return part.reshape(size[0] // by, by, size[1] // by, by, -1)

    divisor = np.float32(by**2 if mean else 1)
    data = grouped(pixels.data).sum(axis=(1, 3)) / divisor
    sigma = None if pixels.sigma is None else np.sqrt((grouped(pixels.sigma) ** 2).sum(axis=(1, 3))) / divisor
    return Pixels(data, sigma, np.bitwise_or.reduce(np.bitwise_or.reduce(grouped(pixels.mask), axis=3), axis=1))


def centred(array: np.ndarray, size: int, fill: float) -> np.ndarray:
    """Crop and pad to ``size`` about the middle; of an odd difference the one more row goes at the end."""
    out = np.full((size, size, array.shape[2]), fill, array.dtype)
    take, put = [], []
    for n in array.shape[:2]:
        first = (size - n) // 2
        put.append(slice(max(first, 0), min(first + n, size)))
        take.append(slice(max(-first, 0), max(-first, 0) + min(n, size)))
    out[tuple(put)] = array[tuple(take)]
    return out


def flags_of(pixels: Pixels, size: int, core: int, lacking: bool) -> int:
    """Flags of a stamp before it is brought to its size."""
    middle = centred(pixels.mask, core, 0)
    bits = int(np.bitwise_or.reduce(middle, axis=None))
    flags = Flag.NO_IMAGE if lacking else Flag(0)
    if min(pixels.data.shape[:2]) < size:
        flags |= Flag.EDGE_STAMP
    if bits & LOST:
        flags |= Flag.MASKED_PIXELS
    if bits & Pixel.SATURATED:
        flags |= Flag.SATURATED
    if not np.isfinite(pixels.data).any():
        flags |= Flag.NO_DATA
    return int(flags)
