"""Where the files that come with astrokeras lie: the pipelines and the survey maps.

A wheel holds both folders inside the package. An editable install has them at the root of the repository, beside the
package.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path

from .errors import AstrokerasError

PACKAGE = Path(__file__).resolve().parent


def catalogs_dir() -> Path:
    """Return the folder of the survey maps (``sdss-casjobs.yaml``, ...).

    Raises
    ------
    AstrokerasError
        If neither the package nor a repository around it has the folder.
    """
    return _shipped("catalogs", PACKAGE)


def pipelines_dir() -> Path:
    """Return the folder of the pipelines (``quickstart.yaml``, ...).

    Raises
    ------
    AstrokerasError
        If neither the package nor a repository around it has the folder.
    """
    return _shipped("pipelines", PACKAGE)


def _shipped(folder: str, package: Path) -> Path:
    inside = package / folder
    if inside.is_dir():
        return inside
    beside = package.parent / folder
    if beside.is_dir() and _is_repository(package.parent):
        return beside
    raise AstrokerasError(
        f"the folder '{folder}' of astrokeras was found neither at {inside} (wheel) "
        f"nor at {beside} (editable install); install astrokeras again"
    )


def _is_repository(root: Path) -> bool:
    """Whether ``root`` is our repository, not just a folder that holds something of the same name."""
    try:
        return _project((root / "pyproject.toml").read_text(encoding="utf-8")) == "astrokeras"
    except (OSError, tomllib.TOMLDecodeError):
        return False


@lru_cache(maxsize=4)
def _project(text: str) -> str | None:
    """Name of the project; parsed once, since every image that is opened asks for the folders."""
    return tomllib.loads(text).get("project", {}).get("name")
