"""Planes: two-dimensional arrays in FITS files, found by their headers and read whole or in part."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import IngestError
from ..fits_hdus import HDU, check_size, hdus, whole
from ..packing import READ_ERRORS, is_packed, open_packed

if TYPE_CHECKING:
    from astropy.io.fits import Header

#: Pixels of one read: more are to be read in sections.
MAX_BYTES = 4 * 2**30
#: What a packed file may unpack to: it is unpacked in memory.
MAX_UNPACKED = 2**30
_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_DAMAGE = (ValueError, TypeError, KeyError, IndexError, RuntimeError)
_NO_FITS = {
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself with `git lfs pull`",
    b"<!doctype html": "a web page; the download was answered by an error or a login page",
    b"<html": "a web page; the download was answered by an error or a login page",
    b"\x89hdf": "HDF5",
    b"pk\x03\x04": "a zip archive",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x1f\x9d": "packed with compress; unpack it first",
}


@dataclass(frozen=True)
class Plane:
    """A two-dimensional array in a FITS file.

    Attributes
    ----------
    file : FitsFile
        The file.
    hdu : HDU
        Its HDU.
    plane : int or None
        Number of the plane, where the HDU has several.
    """

    file: FitsFile
    hdu: HDU
    plane: int | None = None

    @property
    def what(self) -> str:
        """File and HDU, for messages."""
        return f"{self.file.path}, {self.hdu}"

    @property
    def axes(self) -> tuple[int, ...]:
        """Lengths of the axes as numpy orders them."""
        return axes(self.file.path, self.hdu)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.axes[-2:]

    def floats(self, rows: slice, columns: slice) -> np.ndarray:
        """Physical values of a section, native float32; blank pixels are NaN."""
        raw, scaled = self._raw(rows, columns)
        header = self.hdu.header
        blank = header.get("BLANK") if raw.dtype.kind in "iu" and not scaled else None
        if not scaled and (self._scale(), self._zero()) != (1, 0):
            # Scaled as float64: a float32 has too few digits for 32-bit integers.
            values = raw * np.float64(self._scale()) + self._zero()
        else:
            values = raw
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        if isinstance(blank, (int, np.integer)):
            values[raw == blank] = np.nan
        return values

    def integers(self, rows: slice, columns: slice) -> np.ndarray:
        """Values of a section of a mask, int64.

        Raises
        ------
        IngestError
            If the plane holds other numbers than whole ones.
        """
        raw, scaled = self._raw(rows, columns)
        values = raw if scaled else raw.astype(np.float64) * self._scale() + self._zero()
        # What is not finite becomes a number that differs from it, and is refused with the fractions.
        whole_ones = np.nan_to_num(values).astype(np.int64)
        if not np.array_equal(whole_ones, values):
            raise IngestError(f"{self.what}: is no mask: it holds numbers that are not whole")
        return whole_ones

    def _scale(self) -> float:
        return number_card(self.what, self.hdu.header, "BSCALE", 1.0)

    def _zero(self) -> float:
        return number_card(self.what, self.hdu.header, "BZERO", 0.0)

    def _raw(self, rows: slice, columns: slice) -> tuple[np.ndarray, bool]:
        """Pixels of a section, and whether BSCALE, BZERO and BLANK were applied."""
        wanted = (_length(rows, self.shape[0])) * _length(columns, self.shape[1])
        if 4 * wanted > MAX_BYTES:
            raise IngestError(f"{self.what}: {wanted} pixels are too many to read at once; read sections of it")
        place = (*((0,) * (len(self.axes) - 3)), *(() if len(self.axes) < 3 else (self.plane or 0,)))
        try:
            if self.hdu.header.get("ZIMAGE") is True:
                return self._decompressed((*place, rows, columns)), True
            return np.array(self.file.array(self.hdu, self.axes)[(*place, rows, columns)]), False
        except READ_ERRORS as error:
            raise IngestError(f"{self.what}: cannot be read to its end (damaged or truncated?): {error}") from None

    def _decompressed(self, section: tuple) -> np.ndarray:
        from astropy.io import fits

        # What damaged tiles raise has no public name.
        from astropy.io.fits.hdu.compressed._compression import CfitsioException

        source = io.BytesIO(self.file.unpacked) if self.file.packed else self.file.path
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with fits.open(source) as opened:
                    values = _tiles(opened[self.hdu.index])[section]
        except (*_DAMAGE, fits.VerifyError, CfitsioException) as error:
            raise IngestError(f"{self.what}: the tiles cannot be decompressed: {_one_line(error)}") from None
        return values.astype(values.dtype.newbyteorder("="))


class FitsFile:
    """A FITS file: its headers, and arrays of it.

    Parameters
    ----------
    path : str
        The file; gzip and bzip2 are told by content.

    Raises
    ------
    IngestError
        If it is absent, no FITS file, or shorter than its headers tell.
    """

    def __init__(self, path: str):
        self.path = path
        if not os.path.isfile(path):
            raise IngestError(f"{path}: {'is a folder' if os.path.isdir(path) else 'no such file'}")
        facts = os.stat(path)
        self.packed, self.hdus = _measured(path, facts.st_mtime_ns, facts.st_size)

    @property
    def primary(self) -> Header:
        """Header of the first HDU."""
        return self.hdus[0].header

    @property
    def images(self) -> tuple[HDU, ...]:
        """HDUs with at least two axes and at least one pixel."""
        return tuple(h for h in self.hdus if len(axes(self.path, h)) >= 2)

    @cached_property
    def unpacked(self) -> bytes:
        """All bytes of a packed file."""
        with open_packed(self.path) as stream:
            return stream.read(MAX_UNPACKED)

    def array(self, hdu: HDU, shape: tuple[int, ...]) -> np.ndarray:
        """Array of an HDU as it lies in the file; of a file that is not packed, mapped and not read."""
        dtype = _TYPES[hdu.header["BITPIX"]]
        if not self.packed:
            return np.memmap(self.path, dtype, "r", hdu.offset, shape)
        return np.frombuffer(self.unpacked, dtype, int(np.prod(shape)), hdu.offset).reshape(shape)

    def describe(self) -> str:
        """HDUs for messages."""
        shapes = [" x ".join(map(str, axes(self.path, h))) or "no image" for h in self.hdus]
        return ", ".join(f"{h.index} {h.name or '(no name)'}: {s}" for h, s in zip(self.hdus, shapes, strict=True))


@lru_cache(maxsize=64)
def _measured(path: str, mtime: int, size: int) -> tuple[bool, tuple[HDU, ...]]:
    """Whether a file is packed, and its HDUs, measured against its size; kept until the file changes."""
    try:
        packed = is_packed(path)
        with open_packed(path) as stream:
            _refuse_others(path, stream.read(80))
            found = tuple(hdus(path, stream, MAX_UNPACKED))
            for hdu in found:
                check_size(path, stream, hdu, MAX_UNPACKED)
    except READ_ERRORS as error:
        raise IngestError(f"{path}: cannot be read to its end (damaged or truncated?): {error}") from None
    return packed, found


def _refuse_others(path: str, start: bytes) -> None:
    if start.startswith((b"SIMPLE  =", b"XTENSION=")):
        return
    if not start:
        raise IngestError(f"{path}: is empty")
    known = next((what for magic, what in _NO_FITS.items() if start.lower().startswith(magic)), None)
    raise IngestError(f"{path}: is no FITS file but {known or f'begins with {start[:20]!r}'}")


def axes(path: str, hdu: HDU) -> tuple[int, ...]:
    """Lengths of the axes of an image as numpy orders them; empty for a table, random groups, or no pixels.

    Raises
    ------
    IngestError
        If the header does not tell them.
    """
    header = hdu.header
    if hdu.kind not in ("IMAGE", "PRIMARY") or header.get("GROUPS") is True:
        return ()
    prefix = "Z" if header.get("ZIMAGE") is True else ""
    n = whole(path, header, hdu.index, f"{prefix}NAXIS")
    found = tuple(whole(path, header, hdu.index, f"{prefix}NAXIS{i}") for i in range(n, 0, -1))
    bits = header.get(f"{prefix}BITPIX")
    if found and bits not in _TYPES:
        raise IngestError(f"{path}, {hdu}: BITPIX = {bits!r} is none of {', '.join(map(str, _TYPES))}")
    return found if all(found) else ()


def number_card(what: str, header: Header, key: str, default: float) -> float:
    """Finite number of a header.

    Raises
    ------
    IngestError
        If it is something else.
    """
    value = header.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
        raise IngestError(f"{what}: {key} = {value!r} is no number")
    return value


def planes(file: FitsFile, hdu: HDU) -> Iterator[Plane]:
    """Planes of an HDU: one, or several along the third axis.

    Raises
    ------
    IngestError
        If there are more axes than three that are longer than one.
    """
    shape = axes(file.path, hdu)
    if any(n > 1 for n in shape[:-3]):
        raise IngestError(f"{file.path}, {hdu}: {len(shape)} axes of {shape} pixels are no images of one sky")
    count = shape[-3] if len(shape) > 2 else 1
    yield from (Plane(file, hdu, i if count > 1 else None) for i in range(count))


def _tiles(hdu: Any) -> Any:
    """Section of a compressed image."""
    from astropy.io.fits import CompImageHDU

    if not isinstance(hdu, CompImageHDU):
        raise ValueError("astropy takes the HDU for something else")
    return hdu.section


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _length(part: slice, n: int) -> int:
    return len(range(*part.indices(n)))
