"""The work directory: the one place that knows names on disk.

::

    .astrokeras/<pipeline>/
      parts/<digest>/       table.parquet (scalars), <column>.npy (cells), ids.npy, receipt.json
      pieces/<digest>/      piece, receipt.json                       of an output, removed when the product is there
      splits/<digest>/      <n>.npy, receipt.json
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
from .split import text_keys

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
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
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
            leftovers = [path for path in self.root.glob("*/.new-*") if not _alive(path.name)]
            for path in leftovers:
                shutil.rmtree(path)
        except OSError as error:
            raise StoreError(f"{self.root}: cannot use the work directory ({error.strerror})") from None


def _alive(name: str) -> bool:
    """Whether the process that makes ``.new-<pid>-...`` still lives on this host."""
    pid = name.split("-")[1]
    return pid.isdigit() and int(pid) != os.getpid() and Path(f"/proc/{pid}").exists()


def receipt(directory: Path, name: str = RECEIPT) -> dict[str, Any] | None:
    """Receipt of a finished directory, or None; one that a crash of the machine left damaged is none."""
    try:
        return json.loads((directory / name).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


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
        new = Path(tempfile.mkdtemp(prefix=f".new-{os.getpid()}-", dir=directory.parent))
    except OSError as error:
        raise StoreError(f"{directory.parent}: cannot write ({error.strerror})") from None
    try:
        yield new
        _settle(new, directory)
    except OSError as error:
        raise StoreError(f"{directory}: cannot write ({error.strerror or error})") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


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
                np.save(new / f"{field.name}.npy", array, allow_pickle=False)
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
            array = np.load(directory / f"{name}.npy") if fields[name].shape else _from_arrow(table[name])
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


def id_hashes(ids: np.ndarray) -> np.ndarray:
    """64-bit keys of identifiers; equal for equal ones. Integers are their own key."""
    return ids.astype(np.int64).view(np.uint64) if ids.dtype.kind in "iu" else text_keys(ids)


def duplicates(directories: Iterable[Path]) -> np.ndarray:
    """Keys that occur more than once in all parts together, sorted; memory stays bounded.

    The sorted keys of each part are merged in 64 ranges of equal width, so that one range at a time is in memory.
    """
    maps = [np.load(d / "ids.npy", mmap_mode="r") for d in directories if (d / "ids.npy").exists()]
    maps = [m for m in maps if len(m)]
    if not maps:
        return np.empty(0, np.uint64)
    ordered = np.concatenate([m[:: max(1, len(m) // 64)] for m in maps])
    edges = np.unique(np.quantile(ordered.astype(np.longdouble), np.linspace(0, 1, 65)[1:-1]).astype(np.uint64))
    cuts = [np.concatenate([[0], np.searchsorted(m, edges), [len(m)]]) for m in maps]
    found = []
    for k in range(len(edges) + 1):
        keys = np.sort(np.concatenate([m[c[k] : c[k + 1]] for m, c in zip(maps, cuts, strict=True)]))
        found.append(np.unique(keys[1:][keys[1:] == keys[:-1]]))
    return np.concatenate(found)


def made_once(directory: Path, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Receipt of ``directory``; where it is not there yet, ``make(new)`` fills it and returns the facts."""
    done = receipt(directory)
    if done is None:
        with making(directory) as new:
            done = make(new)
            write_json(new / RECEIPT, done)
    return done
