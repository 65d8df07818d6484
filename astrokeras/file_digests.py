"""Digests of files read, remembered between runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .errors import StoreError
from .store import digest, receipt, write_json


class FileDigests:
    """Digests (sha256) of files and directories, remembered by path, size and mtime."""

    def __init__(self, path: Path):
        self.path = path
        self.known: dict[str, list] = receipt(path.parent, path.name) or {}

    def __call__(self, path: str) -> str:
        """Digest of a file, or of all files below a directory.

        Raises
        ------
        StoreError
            If it cannot be read.
        """
        target = Path(path)
        if target.is_dir():
            below = sorted(p for p in target.rglob("*") if p.is_file())
            return digest([[str(p.relative_to(target)), self(str(p))] for p in below])
        try:
            facts = target.stat()
            key = str(target.resolve())
            state = [facts.st_size, facts.st_mtime_ns]
            if self.known.get(key, [None])[:2] != state:
                with target.open("rb") as stream:
                    self.known[key] = [*state, hashlib.file_digest(stream, "sha256").hexdigest()]
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from None
        return self.known[key][2]

    def save(self) -> None:
        """Write what is known."""
        write_json(self.path, self.known)
