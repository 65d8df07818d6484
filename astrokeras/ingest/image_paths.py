"""Paths of images as a user writes them: patterns with ``{band}``, ``{BAND}`` and ``{name}``."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

from pydantic import Field as Parameter

from ..errors import IngestError
from ..fields import Band

Paths = Annotated[str, Parameter(min_length=1)] | Annotated[tuple[str, ...], Parameter(min_length=1)]
#: One pattern or several for all bands, or by band.
Images = Paths | Annotated[dict[Band, Paths], Parameter(min_length=1)]
_ENDING = re.compile(r"\.(jpe?g|png|fits?|fts)(\.(gz|bz2|fz))?$", re.IGNORECASE)
#: The place of the name of an object, or of an image.
NAME = "{name}"
_GROUP = "(?P<name>[^/]+?)"


def patterns(images: Images, band: str) -> tuple[str, ...]:
    """Patterns of a band, in which only ``{name}`` is left."""
    chosen = images[band] if isinstance(images, Mapping) else images
    several = (chosen,) if isinstance(chosen, str) else chosen
    return tuple(filled(os.path.expanduser(pattern), band) for pattern in several)


def filled(text: str, band: str) -> str:
    """Text with the band in place of ``{band}``, in upper case in place of ``{BAND}``."""
    return text.replace("{band}", band).replace("{BAND}", band.upper())


def matches(pattern: str) -> tuple[str, ...]:
    """Files of a pattern, in the order of their names; ``{name}`` stands for anything.

    Raises
    ------
    IngestError
        If there are none.
    """
    wild = pattern.replace(NAME, "*")
    literal = os.path.exists(wild) or not glob.has_magic(wild)
    found = [wild] if literal else sorted(glob.glob(wild))
    for path in found:
        if not os.path.isfile(path):
            raise IngestError(f"{path}: {'is no file' if os.path.exists(path) else 'no such file'}")
    if not found:
        raise IngestError(f"{wild}: no file matches")
    return tuple(found)


def files_of(images: Images, band: str) -> tuple[str, ...]:
    """All images of a band, each once.

    Raises
    ------
    IngestError
        If a file is missing, or a pattern matches nothing.
    """
    return tuple(dict.fromkeys(path for pattern in patterns(images, band) for path in matches(pattern)))


def named(images: Images, band: str, known: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Images of a band by the names that stand in the place of ``{name}``."""
    expressions = [re.compile(_expression(pattern)) for pattern in patterns(images, band)]
    out: dict[str, tuple[str, ...]] = {}
    for path in known:
        for name in {m["name"] for e in expressions if (m := e.fullmatch(path))}:
            out[name] = (*out.get(name, ()), path)
    return out


def by_name(images: Images, bands: Iterable[str]) -> dict[str, dict[str, str]]:
    """Files of objects by the names that stand in the place of ``{name}``, and by band.

    Where a pattern has no ``{name}``, a file is named after its object, without its endings; a folder is all of its
    images.

    Raises
    ------
    IngestError
        If there are no files, or an object has two in one band.
    """
    out: dict[str, dict[str, str]] = {}
    for band in bands:
        for name, path in _names(images, band):
            files = out.setdefault(name, {})
            if band in files:
                raise IngestError(f"{files[band]} and {path} are both named {name!r} (band {band})")
            files[band] = path
    return out


def _names(images: Images, band: str) -> Iterator[tuple[str, str]]:
    for pattern in patterns(images, band):
        if NAME in pattern:
            found = named(pattern, band, matches(pattern))
            yield from ((name, path) for name, several in found.items() for path in several)
            continue
        inside = os.path.isdir(pattern)
        paths = [p for p in matches(os.path.join(pattern, "*")) if _ENDING.search(p)] if inside else matches(pattern)
        if not paths:
            raise IngestError(f"{pattern}: the folder has no JPEG, PNG or FITS files")
        yield from ((_ENDING.sub("", os.path.basename(path)), path) for path in paths)


def _expression(pattern: str) -> str:
    """Regular expression of a pattern: ``{name}`` is a group, the same text wherever it stands."""
    out = "".join(_piece(piece) for piece in re.split(r"(\{name\}|\*+|\?|\[[^]]+\])", pattern))
    first, *others = out.split(_GROUP)
    return first + _GROUP + "(?P=name)".join(others) if others else first


def _piece(piece: str) -> str:
    known = {NAME: _GROUP, "?": "[^/]"}
    if piece in known:
        return known[piece]
    if piece.startswith("*"):
        return "[^/]*"
    return piece.replace("[!", "[^", 1) if re.fullmatch(r"\[.+\]", piece) else re.escape(piece)
