"""Finding the reader of a table file by its content."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from ..errors import IngestError
from ..packing import READ_ERRORS, open_packed
from .tablefile import TableFile, TableOptions

_HEAD = 4096


def open_table(path: str, options: TableOptions | None = None) -> TableFile:
    """Open a table file, whatever its format.

    Parameters
    ----------
    path : str
        FITS, Parquet, VOTable, ECSV, SExtractor's ASCII_HEAD, or text with a header line; gzip and bzip2 too.
    options : TableOptions, optional
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
    return _opened(path, options or TableOptions(), stat.st_mtime_ns, stat.st_size)


# A VOTable may be held in memory: few are kept.
@lru_cache(maxsize=2)
def _opened(path: str, options: TableOptions, mtime: int, size: int) -> TableFile:
    if size == 0:
        raise IngestError(f"{path}: the file is empty")
    try:
        with open_packed(path) as stream:
            head = stream.read(_HEAD)
        return _reader(path, head)(path, options)
    except READ_ERRORS as error:
        raise IngestError(f"{path}: cannot be read (damaged or truncated?): {error}") from None


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
        return _votable
    _refuse_binary(path, head)
    from .text_tables import TextTable

    return TextTable


def _votable(path: str, options: TableOptions) -> TableFile:
    from .votable_streams import stream_of
    from .votables import VOTableFile

    return stream_of(path, options.table) or VOTableFile(path, options)


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
