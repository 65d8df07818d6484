"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import OutputError


@contextmanager
def replacing(path: Path, sync: bool = True) -> Iterator[BinaryIO]:
    """Yield a binary file beside ``path`` that takes its place if the body ends well, and vanishes if not.

    Parameters
    ----------
    path : Path
        The product; its directory is made if it is missing.
    sync : bool
        Wait until the bytes are on disk, so that a full disk shows before the old product is replaced.

    Raises
    ------
    OutputError
        If the file cannot be written (no permission, disk full, path is a directory).
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{_owner()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        with open(beside, "wb") as stream:
            yield stream
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
        os.replace(beside, path)
    except FileExistsError as error:
        raise OutputError(f"{path}: cannot be written: {error.filename} is no directory") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True) if _is_file(beside) else None


def _owner() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


def _is_file(path: Path) -> bool:
    # A parent that is no directory, or may not be searched, holds nothing to remove.
    try:
        return path.is_file()
    except OSError:
        return False


def _remove_leftovers(path: Path) -> None:
    """Remove what processes of this host that were killed while writing ``path`` left beside it."""
    start, end = f".{path.name}.{socket.gethostname()}-", ".part"
    for name in os.listdir(path.parent):
        pid = name.removeprefix(start).removesuffix(end)
        if name == f"{start}{pid}{end}" and pid.isdigit() and not _alive(int(pid)):
            (path.parent / name).unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
