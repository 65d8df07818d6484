"""Parts of an image file: its images by band and HDU, and the planes of errors and flags that belong to one."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import IngestError, did_you_mean
from ..fits_hdus import HDU
from .cards import Cards
from .fits_planes import FitsFile, Plane, planes
from .language import Layout
from .layouts import template
from .places import Companion, ErrorPlace, MaskPlace, Place

#: What a user may call planes of errors.
KINDS = {"sigma": "sigma", "error": "sigma", "variance": "variance", "invvar": "invvar", "weight": "invvar"}


@dataclass(frozen=True)
class Part:
    """One image of a file.

    Attributes
    ----------
    plane : Plane
        Its pixels.
    label : str
        What names it: EXTNAME, or number of the HDU; ``0[2]`` for a plane of a cube.
    band : str
        Band; empty if nothing tells.
    cards : Cards
        Its cards, and what was noticed.
    """

    plane: Plane
    label: str
    band: str
    cards: Cards


def parts(file: FitsFile, layout: Layout) -> tuple[Part, ...]:
    """Images of a file.

    Raises
    ------
    IngestError
        If it has none, or not where the layout says.
    """
    found = []
    for hdu, stem in _image_hdus(file, layout):
        for plane in planes(file, hdu):
            cards = Cards(_headers(file, hdu), _unreadable(file, hdu))
            found.append(Part(plane, _label(file, hdu, plane), _band(plane, stem, layout, cards), cards))
    return tuple(found)


def select(file: FitsFile, found: tuple[Part, ...], band: str | None, hdu: int | str | None) -> Part:
    """Return the image of a band or HDU, or the only one.

    Raises
    ------
    IngestError
        If there is no such image, or several.
    """
    chosen = [p for p in found if hdu is None or str(hdu) in (p.label, str(p.plane.hdu.index))]
    have = ", ".join(f"{p.label}{f' (band {p.band})' if p.band and p.band != p.label else ''}" for p in found)
    if not chosen:
        raise IngestError(f"{file.path}: has no image in HDU {hdu!r}; images: {have}")
    if band is not None and any(p.band for p in chosen):
        same = [p for p in chosen if p.band == band]
        # A user knows better than the card of a single image.
        if not same and len(chosen) > 1:
            bands = [p.band for p in chosen if p.band]
            raise IngestError(f"{file.path}: has no band {band!r}{did_you_mean(band, bands)}")
        chosen = same or chosen
    if len(chosen) > 1:
        raise IngestError(f"{file.path}: has several images; name one with `band` or `hdu` ({have})")
    return chosen[0]


def _image_hdus(file: FitsFile, layout: Layout) -> Iterator[tuple[HDU, str]]:
    """HDUs of images, and the band in their EXTNAME (empty if it holds none)."""
    place = layout.image
    if not file.images:
        raise IngestError(f"{file.path}: holds no image with pixels; HDUs: {file.describe()}")
    if place.hdu is not None:
        chosen = [h for h in file.images if h.index == place.hdu]
        if not chosen:
            raise IngestError(f"{file.path}: the image should be in HDU {place.hdu}; HDUs: {file.describe()}")
        yield chosen[0], ""
        return
    named = [
        (h, match) for h in file.images for t in place.extension or () if (match := re.fullmatch(template(t), h.name))
    ]
    if place.extension and not named and not layout.any_image:
        wanted = " or ".join(place.extension)
        raise IngestError(f"{file.path}: has no image named {wanted}; HDUs: {file.describe()}")
    if named:
        yield from ((h, match.groupdict().get("band") or "") for h, match in named)
        return
    yield from ((h, "") for h in file.images)


def _unreadable(file: FitsFile, hdu: HDU) -> list[str]:
    own = [hdu] if hdu.index == 0 else [hdu, file.hdus[0]]
    return [f"{', '.join(one.unreadable)} in {one} cannot be read; left out" for one in own if one.unreadable]


def _headers(file: FitsFile, hdu: HDU) -> tuple[tuple[str, Any], ...]:
    own = ((str(hdu), hdu.header),)
    return own if hdu.index == 0 else (*own, ("the primary HDU", file.primary))


def _label(file: FitsFile, hdu: HDU, plane: Plane) -> str:
    same = [h for h in file.hdus if h.name.upper() == hdu.name.upper()]
    name = hdu.name if hdu.name and hdu.name != "COMPRESSED_IMAGE" and len(same) == 1 else str(hdu.index)
    return name if plane.plane is None else f"{name}[{plane.plane}]"


def _band(plane: Plane, stem: str, layout: Layout, cards: Cards) -> str:
    if plane.plane is not None:
        names = layout.planes or ()
        return names[plane.plane] if plane.plane < len(names) else f"plane{plane.plane}"
    card, found = cards.text(layout.band_cards), None
    if card:
        found = _known(card, layout)
    if stem:
        return found if found and found.lower() == stem.lower() else (_known(stem.lower(), layout) or stem.lower())
    named = re.search(layout.band_name, os.path.basename(plane.file.path)) if layout.band_name else None
    stated = (_known(named["band"], layout) or named["band"]) if named else ""
    if stated and found and stated != found:
        cards.note(f"the header says band {found!r}, the name of the file {stated!r}, which was taken")
    if card and not found and not stated:
        cards.note(f"{'/'.join(layout.band_cards)} = {card!r} names no band that the layout knows")
    return stated or found or ""


def _known(text: str, layout: Layout) -> str | None:
    for band, facts in layout.bands.items():
        if text == band or any(re.fullmatch(pattern, text) for pattern in facts.spelled):
            return band
    return text if not layout.bands and re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,15}", text) else None


def error_plane(part: Part, layout: Layout, given: Mapping[str, Any]) -> tuple[Plane, str, str] | None:
    """Plane of errors of an image, its kind, and what a pixel without one is; None if there is none.

    Parameters
    ----------
    given : mapping
        Files that the user names: one of `KINDS`; None for "without".

    Raises
    ------
    IngestError
        If it has another shape.
    """
    named = [key for key in KINDS if key in given]
    if named:
        path = given[named[0]]
        return None if path is None else (_fitting(_companion_plane(path, Place(), part), part), KINDS[named[0]], "BAD")
    plane, place = _first(part, layout.errors)
    return None if plane is None else (_fitting(plane, part, "sigma"), place.kind, place.zero)


def mask_plane(part: Part, layout: Layout, given: Mapping[str, Any]) -> tuple[Plane, MaskPlace] | None:
    """Plane of flags of an image, and what they mean; None if there is none.

    Raises
    ------
    IngestError
        If it has another shape.
    """
    if "mask" in given:
        if given["mask"] is None:
            return None
        meaning = layout.masks[0] if layout.masks else MaskPlace(nonzero="BAD")
        return _fitting(_companion_plane(given["mask"], Place(), part), part), meaning
    plane, place = _first(part, layout.masks)
    return None if plane is None else (_fitting(plane, part, "mask"), place)


def _first(part: Part, places: tuple[Any, ...]) -> tuple[Plane | None, ErrorPlace | MaskPlace | None]:
    for place in places:
        plane = _plane(part, place)
        if plane is not None:
            if not place.verified:
                part.cards.note(f"{plane.what}: {place.note}")
            return plane, place
    return None, None


def _plane(part: Part, place: Place) -> Plane | None:
    if place.file is None:
        return _in_file(part.plane.file, place, part)
    path = companion(part.plane.file.path, place.file)
    if path is None:
        return None
    return _companion_plane(path, place, part)


def _companion_plane(path: Any, place: Place, part: Part) -> Plane:
    file = FitsFile(os.fspath(path))
    found = _in_file(file, place, part)
    if found is None:
        raise IngestError(f"{path}: has no plane for {part.plane.what}; HDUs: {file.describe()}")
    return found


def _in_file(file: FitsFile, place: Place, part: Part) -> Plane | None:
    """Plane at a place of a file: of a number or name, or else where the image is in its own."""
    own, elsewhere = part.plane.hdu, file is not part.plane.file
    if place.hdu is not None:
        chosen = [h for h in file.images if h.index == place.hdu]
    elif place.extension is not None:
        patterns = [template(t, re.escape(part.band)) for t in place.extension]
        chosen = [h for pattern in patterns for h in file.images if re.fullmatch(pattern, h.name)]
        # Of several sets, that with the image's EXTVER.
        version = own.header.get("EXTVER", 1)
        chosen = [h for h in chosen if h.header.get("EXTVER", 1) == version] or chosen
    elif elsewhere:
        chosen = [h for h in file.images if own.name and h.name == own.name]
        chosen = chosen or [h for h in file.images if h.index == own.index] or list(file.images)
    else:
        chosen = []
    if not chosen:
        return None
    several = list(planes(file, chosen[0]))
    return several[part.plane.plane or 0] if len(several) > (part.plane.plane or 0) else several[0]


def companion(path: str, rule: Companion) -> str | None:
    """File that belongs to an image's by the rule of a layout; None where there is none.

    Raises
    ------
    IngestError
        If several match.
    """
    folder, name = os.path.split(path)
    made = re.sub(rule.replace, rule.by, name, count=1)
    if made == name:
        return None
    if "*" not in made:
        return os.path.join(folder, made) if os.path.isfile(os.path.join(folder, made)) else None
    found = sorted(glob.glob(os.path.join(glob.escape(folder), made)))
    if len(found) > 1:
        raise IngestError(f"{path}: several files match its companion {made}: {', '.join(found)}; name one")
    return found[0] if found else None


def _fitting(plane: Plane, part: Part, remedy: str = "") -> Plane:
    if plane.shape == part.plane.shape:
        return plane
    advice = f"; to read the image without it, give {{image: ..., {remedy}: null}}" if remedy else ""
    shapes = " and ".join(" x ".join(map(str, p.shape)) for p in (plane, part.plane))
    raise IngestError(f"{plane.what}: belongs to {part.plane.hdu}, but they have {shapes} pixels{advice}")
