"""Files packed with gzip or bzip2, told by their content."""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable
from typing import BinaryIO

#: A packed file that declares more than this is to be unpacked by its owner: each partition reads it from the start.
MAX_UNPACKED = 8 * 2**30
#: What reading a damaged or truncated file may raise.
READ_ERRORS = (OSError, EOFError, zlib.error)
_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open}


def is_packed(path: str) -> bool:
    """Whether a file is packed."""
    return _opener(path) is not None


def open_packed(path: str) -> BinaryIO:
    """Open a file for reading; a packed one is unpacked on the way."""
    return (_opener(path) or open)(path, "rb")


def _opener(path: str) -> Callable[..., BinaryIO] | None:
    with open(path, "rb") as stream:
        head = stream.read(3)
    return next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
