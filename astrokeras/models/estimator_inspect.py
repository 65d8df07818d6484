"""Looks into a ``model.skops`` file before skops does, and refuses whatever an estimator of ours has no use for.

skops checks the types in a file but neither their content nor its size: indices in the nodes of a tree lead
scikit-learn beyond its arrays, and earlier versions of skops could be passed (CVE-2024-37065). Here: members stored and
not compressed; types from a list (`astrokeras.models.estimator_allowed`); arrays as large as the file says; indices
within bounds (`astrokeras.models.estimator_bounds`). Needs neither skops nor scikit-learn.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelError, UnsafeModelError
from . import estimator_bounds
from .estimator_allowed import ALLOWED
from .inspect import Inspection

SCHEMA = "schema.json"
PROTOCOL = 2
MAX_SCHEMA_BYTES = 1 << 27
MAX_BYTES = 1 << 30
MAX_NODES = 2_000_000
MAX_DEPTH = 160
MAX_TEXT = 1 << 16

_ARRAY_NAME = re.compile(r"\d{1,20}\.npy")
_MARKS = ("__class__", "__module__", "__loader__")

Json = dict[str, Any]


def inspect_estimator(path: str | Path) -> Inspection:
    """Inspect a ``.skops`` file.

    Raises
    ------
    UnsafeModelError
        If it holds anything not allowed; names the file and what was found.
    ModelError
        If it is missing or damaged.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive.infolist())
            schema = json.loads(archive.read(SCHEMA))
            arrays = {n: _array(path, n, archive.read(n)) for n in archive.namelist() if n != SCHEMA}
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except RecursionError:
        raise UnsafeModelError(f"{path}: {SCHEMA} is nested too deeply") from None
    except (zipfile.BadZipFile, EOFError, ValueError, KeyError, NotImplementedError, OSError, RuntimeError) as error:
        raise ModelError(f"{path}: damaged archive ({error})") from None
    if not isinstance(schema, dict) or schema.get("protocol") != PROTOCOL or schema["protocol"] is True:
        raise UnsafeModelError(f"{path}: {SCHEMA} is not of skops protocol {PROTOCOL}")
    nodes = _nodes(path, schema)
    contents = {name: _content(array) for name, array in arrays.items()}
    try:
        _same_once(path, nodes, contents)
        text = json.dumps(_canonical(schema, contents), sort_keys=True, separators=(",", ":"))
    except (KeyError, TypeError):
        raise ModelError(f"{path}: {SCHEMA} names an array that is not there") from None
    estimator_bounds.check(path, nodes, arrays)
    return Inspection(
        digest=hashlib.sha256(text.encode()).hexdigest(),
        parameters=sum(array.size for array in arrays.values()),
        nbytes=sum(array.nbytes for array in arrays.values()),
        classes=Counter(node["__class__"] for node in nodes if node["__loader__"] in ("ObjectNode", "TreeNode")),
    )


def _check_members(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    """One schema and arrays, each once, stored as astrokeras stores them, none too large."""
    names = Counter(info.filename for info in infos)
    if SCHEMA not in names:
        raise ModelError(f"{path}: member {SCHEMA!r} is missing; this is no skops file")
    for info in infos:
        where = f"{path}: member {info.filename[:80]!r}"
        if info.filename != SCHEMA and not _ARRAY_NAME.fullmatch(info.filename):
            raise UnsafeModelError(f"{where} is not allowed; only {SCHEMA} and arrays are")
        if names[info.filename] > 1:
            raise UnsafeModelError(f"{where} occurs {names[info.filename]} times")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise UnsafeModelError(f"{where} is compressed or encrypted; astrokeras stores it plainly")
    sizes = sum(info.file_size for info in infos)
    schema = next(info.file_size for info in infos if info.filename == SCHEMA)
    if schema > MAX_SCHEMA_BYTES or sizes > MAX_BYTES:
        raise UnsafeModelError(f"{path}: holds {sizes} bytes; at most {MAX_BYTES} are allowed")


def _array(path: Path, name: str, data: bytes) -> np.ndarray:
    """Read an array whose header promises what is there: numpy would make room for whatever it promises."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise UnsafeModelError(f"{path}: {name} has the format {version}; arrays of ours have (1, 0)")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    stored = len(data) - stream.tell()
    if dtype.hasobject or dtype.kind not in "biufUV":
        raise UnsafeModelError(f"{path}: {name} has the type {dtype}; numbers and text are allowed")
    expected = dtype.itemsize
    for n in shape:
        expected *= int(n)
    if expected != stored:
        raise UnsafeModelError(f"{path}: {name} has the shape {shape}, {expected} bytes, of which {stored} are there")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _walk(root: Json) -> Iterator[tuple[Any, int]]:
    stack: list[tuple[Any, int]] = [(root, 0)]
    while stack:
        value, depth = stack.pop()
        yield value, depth
        if isinstance(value, dict):
            stack += [(child, depth + 1) for child in value.values()]
        elif isinstance(value, list):
            stack += [(child, depth + 1) for child in value]


def _nodes(path: Path, schema: Json) -> list[Json]:
    """All objects that skops would make, checked against the list."""
    found = []
    for value, depth in _walk(schema):
        if depth > MAX_DEPTH or len(found) > MAX_NODES:
            raise UnsafeModelError(f"{path}: {SCHEMA} holds more than {MAX_NODES} objects, or they are nested too deep")
        if isinstance(value, dict) and any(mark in value for mark in _MARKS):
            found.append(_allowed(path, value))
    return found


def _allowed(path: Path, node: Json) -> Json:
    loader, module, name = (node.get(mark) for mark in ("__loader__", "__module__", "__class__"))
    if not all(isinstance(text, str) for text in (loader, module, name)):
        raise UnsafeModelError(f"{path}: {SCHEMA}: an object says not what it is")
    if (loader, f"{module}.{name}") not in ALLOWED:
        raise UnsafeModelError(f"{path}: {SCHEMA}: {loader} of {module}.{name} is not allowed"[:300])
    if loader == "JsonNode" and not (isinstance(node.get("content"), str) and len(node["content"]) <= MAX_TEXT):
        raise UnsafeModelError(f"{path}: {SCHEMA}: a JsonNode holds no text, or more than {MAX_TEXT} characters")
    if not isinstance(node.get("__id__"), int):
        raise UnsafeModelError(f"{path}: {SCHEMA}: {module}.{name} has no number")
    return node


def _same_once(path: Path, nodes: list[Json], contents: dict[str, str]) -> None:
    """Two objects with one number are one object to skops, which looks at the first alone."""
    first: dict[int, Json] = {}
    for node in nodes:
        other = first.setdefault(node["__id__"], node)
        if other is not node and _canonical(other, contents) != _canonical(node, contents):
            raise UnsafeModelError(f"{path}: {SCHEMA}: two different objects have the number {node['__id__']}")


def _canonical(value: Any, contents: dict[str, str]) -> Any:
    """What is said, without the numbers of objects, which are addresses, and with digests of arrays for their names."""
    if isinstance(value, dict):
        kept = {k: _canonical(v, contents) for k, v in value.items() if k not in ("__id__", "_skops_version", "file")}
        return kept | ({"file": contents[value["file"]]} if "file" in value else {})
    return [_canonical(child, contents) for child in value] if isinstance(value, list) else value


def _content(array: np.ndarray) -> str:
    """Sha256 of an array; field by field, because the bytes between fields mean nothing."""
    names = array.dtype.names
    total = hashlib.sha256(f"{array.dtype.fields or array.dtype.str} {array.shape}\n".encode())
    for part in (array[name] for name in names) if names else (array,):
        total.update(np.ascontiguousarray(part).tobytes())
    return total.hexdigest()
