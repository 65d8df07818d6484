"""State of a file: what tells a process that it changed since it was read."""

from __future__ import annotations

import os

from ..errors import IngestError


def state(path: str) -> tuple[str, int, int]:
    """Path, size and time of the last change.

    Raises
    ------
    IngestError
        If there is no such file.
    """
    try:
        facts = os.stat(path)
    except OSError as error:
        raise IngestError(f"{path}: {error.strerror}") from None
    return path, facts.st_size, facts.st_mtime_ns
