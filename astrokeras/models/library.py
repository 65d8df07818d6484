"""Where models lie: ``name@version`` to a directory. Needs no Keras."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import ModelError, did_you_mean
from ..resources import PACKAGE
from .card_file import CARD

#: Directories with ``<name>/<version>/`` inside, separated as in PATH; searched after the models that come along.
VARIABLE = "ASTROKERAS_MODELS"

_REFERENCE = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)(?:@(?P<version>\d+(?:\.\d+){0,2}))?")


def shelves() -> list[Path]:
    """Directories that are searched for models, in order."""
    further = [Path(text).expanduser() for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    return [PACKAGE / "pretrained", *further]


def listing() -> list[Path]:
    """Directories of all models found, by name and version; the first shelf that holds one wins."""
    found: dict[tuple[str, tuple[int, ...]], Path] = {}
    for shelf in shelves():
        for card in sorted(shelf.glob(f"*/*/{CARD}")):
            name, version = card.parent.parent.name, card.parent.name
            if re.fullmatch(r"\d+\.\d+\.\d+", version):
                found.setdefault((name, _numbers(version)), card.parent)
    return [found[key] for key in sorted(found)]


def find(model: str | Path, base: str | Path | None = None) -> Path:
    """Return the directory of a model.

    Parameters
    ----------
    model : str or Path
        A directory, or ``name``, ``name@1``, ``name@1.2``, ``name@1.2.3``: the newest version that fits.
    base : str or Path, optional
        What a relative directory is relative to; by default the current directory.

    Raises
    ------
    ModelError
        If there is none, or the path is no model directory.
    """
    path = Path(base or ".") / Path(model).expanduser()
    if path.is_dir():
        if not (path / CARD).is_file():
            raise ModelError(
                f"{path}: holds no {CARD}; a model is a directory with model.keras and {CARD}{_foreign(path)}"
            )
        return path
    if path.exists():
        raise ModelError(f"{path}: is a file; a model is a directory with model.keras and {CARD}")
    match = _REFERENCE.fullmatch(str(model))
    if match is None:
        known = {directory.parent.name for directory in listing()}
        named = f"; {path.name!r} is the name of a model that astrokeras has" if path.name in known else ""
        raise ModelError(f"{path}: no such model directory{named}")
    return _newest(str(model), match["name"], match["version"])


def _newest(text: str, name: str, version: str | None) -> Path:
    known: dict[str, dict[tuple[int, ...], Path]] = {}
    for directory in listing():
        known.setdefault(directory.parent.name, {})[_numbers(directory.name)] = directory
    if name not in known:
        hint = did_you_mean(name, known) or f" (no model is installed; ${VARIABLE} names further directories)"
        raise ModelError(f"no model {text!r}: neither a directory nor a known name{hint}")
    wanted = _numbers(version) if version else ()
    fitting = [key for key in known[name] if key[: len(wanted)] == wanted]
    if not fitting:
        have = ", ".join(".".join(map(str, key)) for key in sorted(known[name]))
        raise ModelError(f"no model {text!r}: {name} has the versions {have}")
    return known[name][max(fitting)]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _foreign(path: Path) -> str:
    if (path / "saved_model.pb").exists():
        return "; this is a TensorFlow SavedModel, which astrokeras does not load"
    if (path / "config.json").exists():
        return "; this is an unpacked Keras model, which astrokeras does not load"
    return ""
