"""The layouts that come with astrokeras, those in files of a user, and which one a file has."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..resources import catalogs_dir
from ..surveys.statement_files import find_file, load_file
from .fits_planes import FitsFile
from .language import Layout, Sign


def names() -> tuple[str, ...]:
    """Names of the layouts that come with astrokeras."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def find(layout: str) -> Path:
    """Return the file of a layout: of a name, or of a path (with a ``/`` or ending in ``.yaml``).

    Raises
    ------
    SurveyError
        If there is none; suggests a near name.
    """
    return find_file(layout, _folder(), "layout of images")


def load(layout: str) -> Layout:
    """Load a layout by name or path.

    Raises
    ------
    SurveyError
        If there is none, or it is wrong; names file, line and column of every mistake.
    """
    return load_file(find(layout), Layout, "a layout of images")


def _folder() -> Path:
    return catalogs_dir() / "images"


@dataclass(frozen=True)
class Chosen:
    """A layout, its name, and why it was taken (empty where the user named it)."""

    name: str
    layout: Layout
    why: str = ""


def choose(file: FitsFile, layout: str | Layout | None) -> Chosen:
    """Return the layout that the user names, or the one whose signs a file shows best; ``plain`` where none does.

    Raises
    ------
    SurveyError
        As `load`.
    """
    if isinstance(layout, Layout):
        return Chosen(layout.title or "given in place", layout)
    if layout is not None:
        return Chosen(layout, load(layout))
    known = [(name, load(name)) for name in names()]
    shown = [(sign.strength, name, sign) for name, kind in known for sign in kind.signs if shows(file, sign)]
    if not shown:
        return Chosen("plain", load("plain"), "no sign of a survey was found")
    # The greatest number of conditions; then the first name.
    _, name, sign = min(shown, key=lambda found: (-found[0], found[1]))
    return Chosen(name, load(name), _reason(sign))


def shows(file: FitsFile, sign: Sign) -> bool:
    """Whether a file shows a sign in full."""
    if sign.name is not None and not re.search(sign.name, os.path.basename(file.path)):
        return False
    extensions = [h.name for h in file.images]
    if not all(any(re.fullmatch(template(t), e) for e in extensions) for t in sign.extensions):
        return False
    headers = [file.primary, *(h.header for h in file.images)]
    return all(any(matches(header, {key: wanted}) for header in headers) for key, wanted in sign.cards.items())


def matches(header: Mapping, cards: Mapping[str, str]) -> bool:
    """Whether all cards of a header match their regular expressions as a whole."""
    return all(key in header and re.fullmatch(pattern, str(header[key]).strip()) for key, pattern in cards.items())


def template(text: str, band: str = r"(?P<band>[A-Za-z][A-Za-z0-9]*)") -> str:
    """Regular expression of an EXTNAME template; upper and lower case are the same."""
    parts = re.split(r"\{(?:band|BAND)\}", text)
    return "(?i)" + band.join(map(re.escape, parts))


def _reason(sign: Sign) -> str:
    said = [f"name like {sign.name}"] if sign.name else []
    said += [f"{key} like {pattern}" for key, pattern in sign.cards.items()]
    said += [f"extension {name}" for name in sign.extensions]
    return ", ".join(said)
