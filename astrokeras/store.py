"""The work directory: the one place that knows names on disk.

::

    .astrokeras/<pipeline>/
      parts/<digest>/       table.parquet (scalars), <column>[.mask].npy (cells), ids.npy, receipt.json
      pieces/<digest>/      piece, receipt.json                       of an output, removed when the product is there
      splits/<digest>/      <n>.npy, <n>.fold.npy, receipt.json
      ids/<digest>/         repeated.npy (keys of object ids that occur more than once), receipt.json
      models/<digest>/      model/ (a model directory), receipt.json
      products/<digest>.json
      runs/<time>.json      provenance records;  logs/<time>.log
      files.json            digests of files read, by path, size and mtime

Whatever is a directory is written beside its target and renamed, receipt last; the loser of a race discards.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable

from .chunk import as_column, values
from .errors import StoreError
from .fields import Field, by_name
from .identifiers import id_hashes

RECEIPT = "receipt.json"


def digest(value: Any) -> str:
    """Digest of a JSON value: sha256 of its canonical text."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file beside its target, then rename.

    Raises
    ------
    StoreError
        If it cannot be written; nothing is left then.
    """
    new = path.with_name(_new(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
            os.replace(new, path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path}: cannot write ({error.strerror or error})") from error


@dataclass(frozen=True)
class Store:
    """The work directory of one pipeline.

    Parameters
    ----------
    root : Path
        Usually ``.astrokeras/<pipeline name>``.
    """

    root: Path

    def part(self, key: str) -> Path:
        """Directory of a part."""
        return self.root / "parts" / key

    def piece(self, key: str) -> Path:
        """Directory of a piece of a product."""
        return self.root / "pieces" / key

    def split(self, key: str) -> Path:
        """Directory of a split."""
        return self.root / "splits" / key

    def ids(self, key: str) -> Path:
        """Directory of the keys of repeated object ids."""
        return self.root / "ids" / key

    def model(self, key: str) -> Path:
        """Directory that holds a model trained here and its receipt."""
        return self.root / "models" / key

    def product(self, key: str) -> Path:
        """Receipt of a finished product."""
        return self.root / "products" / f"{key}.json"

    def run(self, stamp: str) -> Path:
        """Provenance record of a run."""
        return self.root / "runs" / f"{stamp}.json"

    def log(self, stamp: str) -> Path:
        """Log of a run."""
        return self.root / "logs" / f"{stamp}.log"

    def prepare(self) -> None:
        """Make the root, remove what an interrupted run left half-written.

        Raises
        ------
        StoreError
            If the directory cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for folder in (self.root, *self.root.glob("*/")):
                sweep(folder)
        except OSError as error:
            raise StoreError(f"{self.root}: cannot use the work directory ({error.strerror})") from None


def _new(name: str = "") -> str:
    """Name of something that this process makes."""
    return f".new-{socket.gethostname()}-{os.getpid()}-{name}"


def sweep(folder: Path) -> None:
    """Remove what processes of this host that were killed left half-written in a folder."""
    start = f".new-{socket.gethostname()}-"
    for path in folder.glob(f"{start}*"):
        pid = path.name.removeprefix(start).split("-")[0]
        if not pid.isdigit() or (int(pid) != os.getpid() and Path(f"/proc/{pid}").exists()):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def receipt(directory: Path, name: str = RECEIPT) -> dict[str, Any] | None:
    """Receipt of a finished directory, or None; one that a crash of the machine left damaged is none."""
    try:
        return json.loads((directory / name).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yield a new directory beside a path, and remove it at the end; `sweep` knows it if this process is killed."""
    new = Path(tempfile.mkdtemp(prefix=_new(), dir=path.parent))
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextmanager
def making(directory: Path) -> Iterator[Path]:
    """Yield a new directory that becomes ``directory`` if the body ends well.

    Raises
    ------
    StoreError
        If it cannot be written (disk full, no permission).
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with beside(directory) as new:
            yield new
            _settle(new, directory)
    except OSError as error:
        raise StoreError(f"{directory}: cannot write ({error.strerror or error})") from error


def _settle(new: Path, directory: Path) -> None:
    """Rename; where another process was faster, or a receipt is lacking, keep the finished one."""
    if directory.exists() and receipt(directory) is None:
        shutil.rmtree(directory)
    try:
        os.rename(new, directory)
    except OSError:
        if receipt(directory) is None:
            raise


def write_part(directory: Path, chunk: QTable, fields: Iterable[Field], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Store the columns of ``fields`` and return the receipt (facts, rows, fields)."""
    import pyarrow as pa
    from pyarrow import parquet

    fields = tuple(by_name(fields).values())
    with making(directory) as new:
        scalars = {}
        for field in fields:
            array = values(chunk[field.name], field.unit, field.name)
            if array.ndim > 1:
                _save_cells(new, field.name, array)
            else:
                scalars[field.name] = pa.array(np.ma.getdata(array), mask=_mask(array))
        # Numbers hardly repeat: a dictionary of them takes three times as long and makes the file larger.
        texts = [name for name, array in scalars.items() if pa.types.is_string(array.type)]
        parquet.write_table(
            pa.table(scalars), new / "table.parquet", compression="zstd", compression_level=1, use_dictionary=texts
        )
        if "object_id" in chunk.colnames:
            np.save(new / "ids.npy", np.sort(id_hashes(np.asarray(chunk["object_id"]))))
        made = {**facts, "rows": len(chunk), "fields": [f.model_dump(mode="json") for f in fields]}
        write_json(new / RECEIPT, made)
    return made


def _save_cells(directory: Path, name: str, array: np.ndarray) -> None:
    np.save(directory / f"{name}.npy", np.ma.getdata(array), allow_pickle=False)
    if np.ma.isMA(array):
        np.save(directory / f"{name}.mask.npy", np.ma.getmaskarray(array))


def _load_cells(directory: Path, name: str) -> np.ndarray:
    array, mask = np.load(directory / f"{name}.npy"), directory / f"{name}.mask.npy"
    return np.ma.MaskedArray(array, np.load(mask)) if mask.exists() else array


def _mask(array: np.ndarray) -> np.ndarray | None:
    return np.ma.getmaskarray(array) if isinstance(array, np.ma.MaskedArray) else None


def read_part(directory: Path, columns: Iterable[str]) -> QTable:
    """Read columns of a stored part.

    Raises
    ------
    StoreError
        If the part or a column is not there, or damaged.
    """
    from pyarrow import parquet

    made = receipt(directory)
    if made is None:
        raise StoreError(f"{directory}: no finished part")
    fields = by_name(Field.model_validate(f) for f in made["fields"])
    lacking = [c for c in columns if c not in fields]
    if lacking:
        raise StoreError(f"{directory}: the part has no columns {lacking}")
    scalars = [c for c in columns if not fields[c].shape]
    out = QTable()
    try:
        table = parquet.read_table(directory / "table.parquet", columns=scalars, memory_map=True)
        for name in columns:
            array = _load_cells(directory, name) if fields[name].shape else _from_arrow(table[name])
            out[name] = as_column(array, fields[name])
    except (OSError, ValueError) as error:
        raise StoreError(f"{directory}: the stored part is damaged ({error}); remove it and run again") from error
    return out


def _from_arrow(column: Any) -> np.ndarray:
    array = column.to_numpy(zero_copy_only=False) if not column.null_count else column.fill_null(0).to_numpy()
    if array.dtype.kind in "OT":
        return array.astype(str)
    # Arrow hands out read-only views of the file; stages may not care, numpy code of users does.
    array = np.array(array)
    return np.ma.MaskedArray(array, column.is_null().to_numpy()) if column.null_count else array


def made_once(directory: Path, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Receipt of ``directory``; where it is not there yet, ``make(new)`` fills it and returns the facts."""
    done = receipt(directory)
    if done is None:
        with making(directory) as new:
            done = make(new)
            write_json(new / RECEIPT, done)
    return done
