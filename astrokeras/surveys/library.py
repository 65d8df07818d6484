"""The survey maps that come with astrokeras, and those in files of a user."""

from __future__ import annotations

from pathlib import Path

from ..resources import catalogs_dir
from .statement_files import find_file, load_file
from .survey import SurveyMap


def names() -> tuple[str, ...]:
    """Names of the maps that come with astrokeras."""
    return tuple(sorted(path.stem for path in catalogs_dir().glob("*.yaml")))


def find(survey: str) -> Path:
    """Return the file of a survey: of a name, or of a path (with a ``/`` or ending in ``.yaml``).

    Raises
    ------
    SurveyError
        If there is none; suggests a near name.
    """
    return find_file(survey, catalogs_dir(), "survey")


def load(survey: str) -> SurveyMap:
    """Load a survey map by name or path.

    Raises
    ------
    SurveyError
        If there is none, or it is wrong; names file, line and column of every mistake.
    """
    return load_file(find(survey), SurveyMap, "a survey map")
