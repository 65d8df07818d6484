"""Table files: what every reader offers, and finding the reader of a file by its content."""

from __future__ import annotations

import bz2
import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, ClassVar

from ..errors import IngestError
from ..surveys.columns import Native

#: A packed file that declares more than this is to be unpacked by its owner: each partition reads it from the start.
MAX_UNPACKED = 8 * 2**30
_HEAD = 4096
PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open}
READ_ERRORS = (OSError, EOFError, zlib.error)


@dataclass(frozen=True)
class TableOptions:
    """What a user says about his files: HDU, VOTable table, and how text is written."""

    hdu: int | str | None = None
    table: int | str | None = None
    delimiter: str | None = None
    decimal: str | None = None


@dataclass(frozen=True)
class Cut:
    """Rows ``start`` to ``stop`` of a file; ``place`` is what the reader needs to find them (JSON values)."""

    start: int
    stop: int
    place: tuple[int, ...] = ()


class TableFile:
    """A table in a file.

    Attributes
    ----------
    path : str
        The file.
    what : str
        File and part of it, for messages.
    names : tuple of str
        Columns.
    """

    kind: ClassVar[str] = "table"

    def __init__(self, path: str, names: Sequence[str], part: str = ""):
        self.path = path
        self.what = f"{path}{f', {part}' if part else ''}"
        self.names = tuple(names)
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise IngestError(f"{self.what}: column {', '.join(twice)} occurs more than once; rename one")
        if not self.names:
            raise IngestError(f"{self.what}: the table has no columns")

    def cuts(self, max_rows: int) -> Iterator[Cut]:
        """Cut the rows into pieces of at most ``max_rows``; a table without rows gives one empty piece."""
        raise NotImplementedError

    def read(self, names: Sequence[str], cut: Cut) -> dict[str, Native]:
        """Read columns of some rows."""
        raise NotImplementedError


def even_cuts(rows: int, max_rows: int) -> Iterator[Cut]:
    """Pieces of ``max_rows`` rows and a rest."""
    for start in range(0, max(rows, 1), max_rows):
        yield Cut(start, min(start + max_rows, rows))


def open_packed(path: str) -> BinaryIO:
    """Open a file for reading; gzip and bzip2 are told by content and unpacked on the way."""
    stream = open(path, "rb")  # noqa: SIM115 - the caller closes it
    opener = next((o for magic, o in PACKED.items() if stream.read(len(magic)) == magic or stream.seek(0)), None)
    if opener is None:
        stream.seek(0)
        return stream
    stream.close()
    return opener(path, "rb")


def is_packed(path: str) -> bool:
    """Whether a file is packed."""
    with open(path, "rb") as stream:
        head = stream.read(3)
    return any(head.startswith(magic) for magic in PACKED)


def open_table(path: str, options: TableOptions = TableOptions()) -> TableFile:
    """Open a table file, whatever its format.

    Parameters
    ----------
    path : str
        FITS, Parquet, VOTable, ECSV, SExtractor's ASCII_HEAD, or text with a header line; gzip and bzip2 too.
    options : TableOptions
        What cannot be told from the file.

    Raises
    ------
    IngestError
        If it is missing, empty, truncated or no table.
    """
    try:
        stat = os.stat(path)
    except OSError as error:
        raise IngestError(f"{path}: {error.strerror.lower() if error.strerror else error}") from None
    if not os.path.isfile(path):
        raise IngestError(f"{path}: is no file")
    return _opened(path, options, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _opened(path: str, options: TableOptions, mtime: int, size: int) -> TableFile:
    if size == 0:
        raise IngestError(f"{path}: the file is empty")
    try:
        with open_packed(path) as stream:
            head = stream.read(_HEAD)
    except READ_ERRORS as error:
        raise IngestError(f"{path}: cannot be read: {error}") from None
    return _reader(path, head)(path, options)


def _reader(path: str, head: bytes) -> Any:
    """Class that reads what begins with ``head``."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    low = text[:512].lower()
    if head.startswith(b"SIMPLE  ="):
        from .fits_tables import FitsTable

        return FitsTable
    if head.startswith(b"PAR1"):
        from .parquet_tables import ParquetTable

        return ParquetTable
    if low.startswith(b"version https://git-lfs"):
        raise IngestError(f"{path}: is a git-LFS pointer, not the file itself; run `git lfs pull`")
    if low.startswith((b"<!doctype html", b"<html")):
        raise IngestError(f"{path}: is an HTML page (an error page or a login?), not a catalog; download it again")
    if b"<votable" in head.lower() or low.startswith(b"<?xml"):
        from .votables import VOTableFile

        return VOTableFile
    _refuse_binary(path, head)
    from .text_tables import TextTable

    return TextTable


def _refuse_binary(path: str, head: bytes) -> None:
    if head.startswith(b"XTENSION="):
        raise IngestError(f"{path}: is a FITS extension or header without its file")
    known = {b"\x89HDF": "HDF5", b"PK\x03\x04": "a zip archive", b"\x93NUMPY": "a numpy array", b"ARROW1": "Arrow IPC"}
    for magic, what in known.items():
        if head.startswith(magic):
            raise IngestError(f"{path}: is {what}; convert the table to FITS, Parquet, VOTable, ECSV or CSV")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise IngestError(f"{path}: is UTF-16 text; convert it to UTF-8")
    if b"\0" in head:
        raise IngestError(f"{path}: is no catalog in a format that is read (FITS, Parquet, VOTable, ECSV, text)")
