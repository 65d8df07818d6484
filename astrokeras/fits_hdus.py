"""HDUs of a FITS file: found, and measured against the size of the file, before any data is read."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from .errors import IngestError
from .packing import MAX_UNPACKED, is_packed

if TYPE_CHECKING:
    from astropy.io.fits import Header

BLOCK = 2880
#: A header of 20 000 blocks (58 MB) is damage.
MAX_BLOCKS = 20_000
#: Cards without which the data cannot be found or understood.
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|Z?BITPIX|Z?NAXIS\d*|[PG]COUNT|GROUPS|ZIMAGE|ZTABLE|ZTILE\d+|ZCMPTYPE|ZBLANK|ZQUANTIZ|ZDITHER0"
    r"|TFIELDS|T(FORM|TYPE|SCAL|ZERO|NULL|DIM|BCOL)\d+|BSCALE|BZERO|BLANK"
)


@dataclass(frozen=True)
class HDU:
    """One HDU: its number, header without the cards that cannot be read, and where its data lie."""

    index: int
    header: Header
    offset: int
    size: int
    unreadable: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """``BINTABLE``, ``TABLE``, ``IMAGE``, ... or ``PRIMARY``."""
        if self.header.get("ZIMAGE") is True:
            # A compressed image is kept in a table.
            return "IMAGE"
        return str(self.header.get("XTENSION", "PRIMARY")).strip().upper()

    @property
    def name(self) -> str:
        """EXTNAME."""
        return str(self.header.get("EXTNAME", "")).strip()

    def __str__(self) -> str:
        return f"HDU {self.index}{f' ({self.name})' if self.name else ''}"


def hdus(path: str, stream: BinaryIO, max_unpacked: int = MAX_UNPACKED) -> Iterator[HDU]:
    """Walk the headers of a FITS file; what follows the last may be garbage.

    Parameters
    ----------
    stream : file
        The file, unpacked.
    max_unpacked : int
        A packed file is not followed beyond so many bytes.

    Raises
    ------
    IngestError
        If a header ends early or cannot be understood.
    """
    offset, index = 0, 0
    packed = is_packed(path)
    total = None if packed else os.path.getsize(path)
    while total is None or offset < total:
        stream.seek(offset)
        header = _header(path, stream, index)
        if header is None:
            return
        unreadable = _without_unreadable(path, header, index)
        begin, size = stream.tell(), _data_size(path, header, index)
        yield HDU(index, header, begin, size, unreadable)
        offset, index = begin + -(-size // BLOCK) * BLOCK, index + 1
        if packed and offset > max_unpacked:
            return


def _header(path: str, stream: BinaryIO, index: int) -> Header | None:
    """Header at the place of the stream; None where the file has ended (what follows may be garbage)."""
    from astropy.io import fits
    from astropy.io.fits.verify import VerifyError

    blocks = []
    for _ in range(MAX_BLOCKS):
        block = stream.read(BLOCK)
        if not blocks and not block.startswith((b"SIMPLE  =", b"XTENSION=")):
            return None
        if len(block) < BLOCK:
            raise IngestError(f"{path}, HDU {index}: the file ends within the header; it is truncated")
        blocks.append(block)
        if any(block[i : i + 80].rstrip() == b"END" for i in range(0, BLOCK, 80)):
            break
    else:
        raise IngestError(f"{path}, HDU {index}: the header has no END")
    try:
        with warnings.catch_warnings():
            # Cards that break the standard are common; those that matter here are checked one by one.
            warnings.simplefilter("ignore")
            header = fits.Header.fromstring(b"".join(blocks).decode("latin-1"))
            return header.copy() if header else header
    except (ValueError, VerifyError) as error:
        raise IngestError(f"{path}, HDU {index}: the header cannot be understood: {error}") from None


def _without_unreadable(path: str, header: Header, index: int) -> tuple[str, ...]:
    """Take the cards out of a header that cannot be read, and return their names.

    Raises
    ------
    IngestError
        If the data cannot be found or understood without one.
    """
    from astropy.io.fits.verify import VerifyError

    # A card is parsed when its value is asked for.
    broken = [(number, card.keyword) for number, card in enumerate(header.cards) if not _readable(card, VerifyError)]
    if vital := next((name for _, name in broken if _STRUCTURE.fullmatch(name)), None):
        raise IngestError(
            f"{path}, HDU {index}: the card {vital} cannot be read, and the data cannot be found without it"
        )
    for number, _ in reversed(broken):
        del header[number]
    return tuple(name for _, name in broken)


def _readable(card: Any, error: type[Exception]) -> bool:
    try:
        _ = card.value
    except error:
        return False
    return True


def whole(path: str, header: Header, index: int, key: str, default: int | None = None) -> int:
    """Non-negative integer of a header.

    Raises
    ------
    IngestError
        If it is absent or something else.
    """
    value = header.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise IngestError(f"{path}, HDU {index}: {key} = {value!r} is no number of things")
    return int(value)


def _data_size(path: str, header: Header, index: int) -> int:
    axes = [whole(path, header, index, f"NAXIS{i + 1}") for i in range(whole(path, header, index, "NAXIS"))]
    if not axes:
        return 0
    if header.get("GROUPS") is True and axes[0] == 0:
        axes = axes[1:]
    cells = 1
    for n in axes:
        cells *= n
    bits = abs(header.get("BITPIX", 8)) if isinstance(header.get("BITPIX", 8), int) else 8
    groups = whole(path, header, index, "GCOUNT", 1) or 1
    return bits // 8 * groups * (whole(path, header, index, "PCOUNT", 0) + cells)


def check_size(path: str, stream: BinaryIO, hdu: HDU, max_unpacked: int = MAX_UNPACKED) -> None:
    """Compare what a header tells of with the file.

    Raises
    ------
    IngestError
        If the file ends before the data, or unpacks to more than is allowed.
    """
    end = hdu.offset + hdu.size
    if is_packed(path):
        if end > max_unpacked:
            raise IngestError(f"{path}, {hdu}: unpacks to {end} bytes; unpack it first (at most {max_unpacked} are)")
        stream.seek(max(end - 1, 0))
        found = end if stream.read(1) else stream.tell()
    else:
        found = os.path.getsize(path)
    if found < end:
        raise IngestError(f"{path}, {hdu}: the header tells of data up to byte {end}, the file has {found}; truncated?")
