"""Regions for DS9, Aladin and CARTA: where the objects are, coloured by class."""

from __future__ import annotations

import re
import shutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field as Parameter
from pydantic import StringConstraints, model_validator

from ..errors import ChunkError, did_you_mean
from ..fields import DEC, RA, Field, by_name
from ..stage import Output, Product
from ..units import converts
from .atomic import replacing

if TYPE_CHECKING:
    from astropy.table import QTable

Color = Annotated[str, StringConstraints(pattern=r"^([A-Za-z]+[0-9]*|#[0-9A-Fa-f]{6})$", max_length=20)]
#: Colours of common classes, and those that other values take by their checksum: the same in every file.
CLASSES = {"GALAXY": "orange", "STAR": "cyan", "QSO": "magenta"}
PALETTE = ("green", "red", "yellow", "#4488ff", "#ff8866", "#66ddaa", "#cc88ff", "white")
HEAD = "# Region file format: DS9 version 4.1\n"


class Regions(Output):
    """Objects as a region file of DS9, in ICRS: circles, ellipses or points, with text, coloured by class.

    Rows without a position are left out.

    Parameters
    ----------
    path : str
        The file, usually ``*.reg``.
    shape : {"circle", "ellipse", "point"}
        What marks an object. An ellipse needs the columns ``major``, ``ratio`` and ``angle``; where one of these has no
        value, the object gets a circle.
    radius : float
        Radius of circles, in arcsec.
    major, minor, angle : str, optional
        Columns with the semi-axes (angles), and the position angle of the major axis, east of north.
    ratio : str, optional
        Column with the axis ratio, in place of ``minor``.
    scale : float
        Factor on the semi-major axis: 2 draws ellipses of twice the half-light radius.
    label : str, optional
        Column whose values are written beside the objects.
    color : str
        Column whose values give the colour (a class), or else the colour of all (``green``, ``#ff8800``).
    colors : dict, optional
        Colours of the values of that column. Others: orange galaxies, cyan stars, magenta quasars, and for what else
        there is a colour each.
    where : str, optional
        Rows to write.
    """

    name: ClassVar[str] = "regions"

    shape: Literal["circle", "ellipse", "point"] = "circle"
    radius: float = Parameter(default=2.0, gt=0, le=3600)
    major: str | None = None
    minor: str | None = None
    ratio: str | None = None
    angle: str | None = None
    scale: float = Parameter(default=1.0, gt=0, le=100)
    label: str | None = None
    color: str = Parameter(default="green", min_length=1)
    colors: dict[str, Color] = Parameter(default={})

    @model_validator(mode="after")
    def _what_belongs_together(self) -> Self:
        if self.columns is not None:
            raise ValueError("regions takes no columns: name them as label, color, major, minor, ratio, angle")
        given = [name for name in ("major", "minor", "ratio", "angle") if getattr(self, name) is not None]
        if self.shape == "ellipse" and set(given) not in ({"major", "minor", "angle"}, {"major", "ratio", "angle"}):
            found = ", ".join(given) or "none"
            raise ValueError(f"an ellipse needs the columns major, angle, and either minor or ratio; given: {found}")
        if self.shape != "ellipse" and given:
            raise ValueError(f"{given[0]} belongs to the shape ellipse, not to {self.shape}")
        return self

    def reads(self, available: tuple[Field, ...]) -> tuple[Field, ...]:
        """Positions, and the columns that are named.

        Raises
        ------
        ChunkError
            If a column is unknown, or its unit is not that of what it shall be.
        """
        have = by_name(available)
        named = [n for n in (self.label, self.major, self.minor, self.ratio, self.angle) if n is not None]
        if self.color in have:
            named.append(self.color)
        elif self.colors or not re.fullmatch(r"([A-Za-z]+[0-9]*|#[0-9A-Fa-f]{6})", self.color):
            raise ChunkError(f"regions.color: no column {self.color!r}{did_you_mean(self.color, have)}")
        for name in (RA.name, DEC.name, *named):
            if name not in have:
                raise ChunkError(f"regions: no column {name!r}{did_you_mean(name, have)}")
        for name, unit in ((self.major, "arcsec"), (self.minor, "arcsec"), (self.angle, "deg")):
            if name is not None and not converts(have[name].unit or "", unit):
                raise ChunkError(f"regions: column {name!r} has unit {have[name].unit!r}, needs one like {unit!r}")
        return tuple(have[name] for name in dict.fromkeys((RA.name, DEC.name, *named)))

    def write(self, chunk: QTable, fields: tuple[Field, ...], piece: Path) -> dict[str, Any]:
        """Write the lines of a partition."""
        lines = self._lines(chunk, by_name(fields))
        with replacing(piece, sync=False) as stream:
            stream.write("".join(f"{line}\n" for line in lines).encode())
        return {"rows": len(chunk), "written": len(lines)}

    def _lines(self, chunk: QTable, known: dict[str, Field]) -> list[str]:
        from ..chunk import values

        def column(name: str, unit: str) -> np.ndarray:
            found = values(chunk[name], unit, f"regions: column {name!r}")
            return np.ma.filled(np.ma.asanyarray(found, dtype=float), np.nan)

        ra, dec = column(RA.name, "deg"), column(DEC.name, "deg")
        there = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
        shapes = self._circles(len(chunk)) if self.shape != "point" else ["point"] * len(chunk)
        if self.shape == "ellipse":
            major = column(self.major, "arcsec")
            minor = column(self.minor, "arcsec") if self.minor else major * column(self.ratio, "")
            shapes = self._ellipses(shapes, major * self.scale, minor * self.scale, column(self.angle, "deg"))
        texts = _texts(chunk[self.label]) if self.label else None
        kinds = _texts(chunk[self.color]) if self.color in known else None
        lines = []
        for i in there:
            # The name of the shape, and what follows the position.
            name, _, size = shapes[i].partition(" ")
            marks = [f"color={self._color(kinds[i]) if kinds else self.color}"]
            marks += ["point=cross"] if self.shape == "point" else []
            marks += [f"text={{{texts[i]}}}"] if texts and texts[i] else []
            marks += [f"tag={{{kinds[i]}}}"] if kinds and kinds[i] else []
            lines.append(f"{name}({ra[i]:.7f},{dec[i]:.7f}{size}) # {' '.join(marks)}")
        return lines

    def _circles(self, n: int) -> list[str]:
        return [f'circle ,{self.radius:.3f}"'] * n

    def _ellipses(self, circles: list[str], major: np.ndarray, minor: np.ndarray, angle: np.ndarray) -> list[str]:
        good = np.isfinite(major) & np.isfinite(minor) & np.isfinite(angle) & (major > 0) & (minor > 0)
        # The first axis of DS9 lies along right ascension at angle 0; both angles run from north to east.
        return [
            f'ellipse ,{major[i]:.3f}",{minor[i]:.3f}",{(angle[i] + 90) % 360:.2f}' if good[i] else circle
            for i, circle in enumerate(circles)
        ]

    def _color(self, value: str) -> str:
        known = CLASSES | self.colors
        return known.get(value) or PALETTE[zlib.crc32(value.encode()) % len(PALETTE)]

    def close(self, pieces: list[tuple[Path, dict[str, Any]]], product: Product) -> None:
        """Put the pieces together.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        from .facts import flatten

        facts = [f"# {name}: {' '.join(text.split())}\n" for name, text in flatten(product.provenance)]
        with replacing(product.path) as stream:
            stream.write((HEAD + "".join(facts) + "global color=green width=1\nicrs\n").encode())
            for path, _ in pieces:
                with open(path, "rb") as piece:
                    shutil.copyfileobj(piece, stream)


def _texts(column: Any) -> list[str]:
    """Values as text that no brace or line end cuts short; empty where there is none."""
    column = getattr(column, "value", column)
    filled = np.ma.asanyarray(column)
    missing = np.ma.getmaskarray(filled)
    raw = np.asarray(filled.data)
    if raw.dtype.kind == "f":
        missing = missing | np.isnan(raw)
        shown = [f"{value:.4g}" for value in raw.tolist()]
    else:
        shown = [str(value) for value in raw.tolist()]
    return [
        "" if gone else " ".join(re.sub(r"[{}#;|]", " ", text).split())
        for text, gone in zip(shown, missing, strict=True)
    ]
