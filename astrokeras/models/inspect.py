"""Looks into a ``.keras`` archive before Keras does, and refuses whatever a network of ours has no use for.

``safe_mode`` of Keras has been bypassed (CVE-2025-1550, CVE-2025-9906), does not cover ``.h5`` (CVE-2025-9905) and
bounds no memory. Here: three members, stored and not compressed; classes, functions and ops from allow-lists
(`astrokeras.models.allowed`); no weight that the file does not hold; HDF5 without links, virtual or external storage
and filters. Needs no Keras.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import ModelError, UnsafeModelError
from . import allowed

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
#: Largest size of each member in bytes; 1 GiB of weights are 268 million parameters.
MEMBERS = {METADATA: 1 << 16, CONFIG: 1 << 24, WEIGHTS: 1 << 30}
MAX_DEPTH = 64
MAX_OBJECTS = 20_000

# What files that are no .keras archive begin with; a pickle of protocol 2 to 5 begins with its number.
_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file; Keras' .h5 format can run code when loaded"),
    (b"\x80\x02", "a pickle, which runs code when loaded"),
    (b"\x80\x03", "a pickle, which runs code when loaded"),
    (b"\x80\x04", "a pickle, which runs code when loaded"),
    (b"\x80\x05", "a pickle, which runs code when loaded"),
    (b"\x78", "zlib data, such as joblib writes around a pickle"),
    (b"\x1f\x8b", "gzip data"),
    (b"version https://git-lfs", "a git-LFS pointer; fetch the file itself with `git lfs pull`"),
    (b"<", "HTML or XML"),
)


@dataclass(frozen=True)
class Inspection:
    """What a safe archive holds.

    Attributes
    ----------
    digest : str
        sha256 of the architecture and the weights; equal for equal models, whatever the date and process of saving.
    parameters, nbytes : int
        Number of weights, and their bytes.
    classes : mapping
        Class name to how often it occurs.
    """

    digest: str
    parameters: int
    nbytes: int
    classes: Counter[str]


def inspect(path: str | Path) -> Inspection:
    """Inspect a ``.keras`` file.

    Raises
    ------
    UnsafeModelError
        If it holds anything not allowed; names the file and what was found.
    ModelError
        If it is missing or damaged.
    """
    path = Path(path)
    config, weights = _members(path)
    architecture = _json(path, CONFIG, config)
    objects = _objects(path, architecture)
    datasets = _datasets(path, weights)
    _weights_fit(path, objects, datasets)
    return Inspection(
        digest=_digest(_canonical(path, architecture), datasets),
        parameters=sum(array.size for array in datasets.values()),
        nbytes=sum(array.nbytes for array in datasets.values()),
        classes=Counter(found["class_name"] for found in objects),
    )


def _members(path: Path) -> tuple[bytes, bytes]:
    """Text of the architecture and bytes of the weights file."""
    _is_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _only_known(path, archive.infolist())
            _json(path, METADATA, archive.read(METADATA))
            return archive.read(CONFIG), archive.read(WEIGHTS)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, OSError, RuntimeError) as error:
        raise ModelError(f"{path}: damaged archive ({error})") from None


def _is_archive(path: Path) -> None:
    if path.is_dir():
        kind = "a TensorFlow SavedModel" if (path / "saved_model.pb").exists() else "a directory"
        raise UnsafeModelError(f"{path}: is {kind}; astrokeras loads .keras archives only")
    try:
        size = path.stat().st_size
        if size > 2 * sum(MEMBERS.values()):
            raise UnsafeModelError(f"{path}: has {size} bytes; at most {2 * sum(MEMBERS.values())} are allowed")
        with path.open("rb") as stream:
            head = stream.read(32)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    if path.suffix != ".keras":
        raise UnsafeModelError(f"{path}: has the suffix {path.suffix!r}; astrokeras loads .keras archives only")
    if head.startswith(b"PK\x03\x04"):
        return
    for magic, what in _MAGIC:
        if head.startswith(magic):
            raise UnsafeModelError(f"{path}: is {what}; astrokeras loads .keras archives only")
    what = "text" if head and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head) else "no zip archive"
    raise UnsafeModelError(f"{path}: is {what if head else 'empty'}; astrokeras loads .keras archives only")


def _only_known(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Exactly the three members, each once, stored as Keras stores them, none too large."""
    names = [info.filename for info in infos]
    for info in infos:
        if info.filename not in MEMBERS:
            raise UnsafeModelError(f"{path}: member {info.filename!r} is not allowed; only {', '.join(MEMBERS)} are")
        if names.count(info.filename) > 1:
            raise UnsafeModelError(f"{path}: member {info.filename!r} occurs {names.count(info.filename)} times")
        if info.file_size > MEMBERS[info.filename]:
            limit = MEMBERS[info.filename]
            raise UnsafeModelError(
                f"{path}: member {info.filename!r} has {info.file_size} bytes; at most {limit} are allowed"
            )
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise UnsafeModelError(
                f"{path}: member {info.filename!r} is compressed or encrypted; Keras stores it plainly"
            )
    for name in MEMBERS:
        if name not in names:
            raise ModelError(f"{path}: member {name!r} is missing; this is no Keras model")


def _json(path: Path, member: str, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ModelError(f"{path}: {member} is no JSON ({error})") from None
    except RecursionError:
        raise UnsafeModelError(f"{path}: {member} is nested too deeply") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path}: {member} holds a {type(value).__name__} instead of an object")
    return value


def _objects(path: Path, architecture: dict[str, Any]) -> list[dict[str, Any]]:
    """All objects that Keras would make, checked against the allow-lists; one that is shared counts once."""
    where = f"{path}: {CONFIG}"
    if architecture.get("compile_config"):
        raise UnsafeModelError(f"{where}: compile_config is not allowed; save the model uncompiled")
    if architecture.get("class_name") not in allowed.MODELS:
        raise UnsafeModelError(f"{where}: holds a {architecture.get('class_name')!r}; {allowed.MODELS} are allowed")
    objects: list[dict[str, Any]] = []
    shared: dict[Any, dict[str, Any]] = {}
    for key, value, depth in _walk(architecture):
        problem = f"nested deeper than {MAX_DEPTH}" if depth > MAX_DEPTH else allowed.problem(key, value)
        if problem:
            raise UnsafeModelError(f"{where}: {problem}")
        if not isinstance(value, dict) or value.get("class_name", "__keras_tensor__") == "__keras_tensor__":
            continue
        identity = value.get("shared_object_id")
        if not isinstance(identity, int | None):
            raise UnsafeModelError(f"{where}: shared_object_id {str(identity)[:80]} is no integer")
        if identity is None or shared.setdefault(identity, value) is value:
            objects.append(value)
        elif _content(shared[identity]) != _content(value):
            raise UnsafeModelError(f"{where}: shared_object_id {identity!r} names two different objects")
    if len(objects) > MAX_OBJECTS:
        raise UnsafeModelError(f"{where}: holds {len(objects)} objects; at most {MAX_OBJECTS} are allowed")
    return objects


def _content(value: dict[str, Any]) -> dict[str, Any]:
    """What an object is, without the place where it is used."""
    return {key: child for key, child in value.items() if key != "inbound_nodes"}


def _walk(root: dict[str, Any]) -> Iterator[tuple[str, Any, int]]:
    """Every value of a JSON tree with its key (that of the list, inside a list) and its depth."""
    stack: list[tuple[str, Any, int]] = [("", root, 0)]
    while stack:
        key, value, depth = stack.pop()
        yield key, value, depth
        if isinstance(value, dict):
            stack += [(name, child, depth + 1) for name, child in reversed(value.items())]
        elif isinstance(value, list):
            stack += [(key, child, depth + 1) for child in reversed(value)]


def _weights_fit(path: Path, objects: list[dict[str, Any]], datasets: dict[str, np.ndarray]) -> None:
    """Every weight that the architecture implies must be in the file: loading makes none larger than what is there."""
    held = Counter(array.shape for array in datasets.values())
    for found in objects:
        for shape in allowed.weight_shapes(found, f"{path}: {CONFIG}"):
            held[shape] -= 1
            if held[shape] < 0:
                layer = f"{found['class_name']} {found['config'].get('name')!r}"
                raise UnsafeModelError(
                    f"{path}: {CONFIG}: {layer} implies a weight of shape {shape}, which {WEIGHTS} does not hold"
                )


def _datasets(path: Path, weights: bytes) -> dict[str, np.ndarray]:
    """All arrays by path; the file is opened from memory and may hold groups and plain arrays only."""
    where = f"{path}: {WEIGHTS}"
    try:
        with h5py.File(io.BytesIO(weights), "r") as root:
            return _arrays(root, len(weights), where)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{where}: damaged ({error})") from None


def _arrays(root: h5py.Group, room: int, where: str) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    seen: set[tuple[int, int]] = set()
    stack: list[tuple[str, h5py.Group | h5py.Dataset]] = [("", root)]
    while stack:
        name, node = stack.pop()
        if isinstance(node, h5py.Dataset):
            found[name] = _array(node, room, f"{where}: {name}")
            room -= found[name].nbytes
        else:
            children = [(f"{name}/{child.decode()}", child) for child in node.id]
            stack += [(text, _child(node, child, f"{where}: {text}", seen)) for text, child in children]
    return found


def _child(group: h5py.Group, name: bytes, where: str, seen: set[tuple[int, int]]) -> h5py.Group | h5py.Dataset:
    link = group.id.links.get_info(name).type
    if link != h5py.h5l.TYPE_HARD:
        kind = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}.get(link, "a link")
        raise UnsafeModelError(f"{where} is {kind}; only groups and plain arrays are allowed")
    child = group[name]
    if not isinstance(child, (h5py.Group, h5py.Dataset)):
        raise UnsafeModelError(f"{where} is a {type(child).__name__}; only groups and plain arrays are allowed")
    info = h5py.h5o.get_info(child.id)
    if (info.fileno, info.addr) in seen:
        raise UnsafeModelError(f"{where} is a second name of something else in the file")
    seen.add((info.fileno, info.addr))
    if len(seen) > MAX_OBJECTS:
        raise UnsafeModelError(f"{where} is one group or array too many; at most {MAX_OBJECTS} are allowed")
    return child


def _array(dataset: h5py.Dataset, room: int, where: str) -> np.ndarray:
    properties = dataset.id.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise UnsafeModelError(f"{where} is a virtual or external dataset, which reads other files")
    if layout == h5py.h5d.CHUNKED or properties.get_nfilters():
        raise UnsafeModelError(f"{where} is chunked or compressed; Keras stores weights plainly")
    if dataset.id.get_type().get_class() not in (h5py.h5t.FLOAT, h5py.h5t.INTEGER):
        raise UnsafeModelError(f"{where} has the type {dataset.dtype}; numbers are allowed")
    if dataset.shape is None:
        raise UnsafeModelError(f"{where} is an empty dataset")
    nbytes = dataset.dtype.itemsize
    for n in dataset.shape:
        nbytes *= int(n)
    if (stored := dataset.id.get_storage_size()) != nbytes:
        raise UnsafeModelError(
            f"{where} has the shape {dataset.shape}, {nbytes} bytes, of which the file holds {stored}"
        )
    if nbytes > room:
        raise UnsafeModelError(f"{where} has {nbytes} bytes; with the others more than the whole file")
    return dataset[()] if dataset.shape else np.asarray(dataset[()])


def _canonical(path: Path, architecture: dict[str, Any]) -> str:
    try:
        canonical = allowed.canonical(architecture)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise ModelError(f"{path}: {CONFIG} has not the layout of a Keras model") from None
    return json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _digest(architecture: str, datasets: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(architecture.encode())
    for name in sorted(datasets):
        array = np.ascontiguousarray(datasets[name])
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array)
    return digest.hexdigest()
