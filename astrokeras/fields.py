"""Field: what a column is (name, type, unit, cell shape, meaning), known before any data is read."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from .errors import ChunkError, did_you_mean

#: A band as a column suffix: ``g``, ``w1``, ``Ks``, ``F814W``.
Band = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=16)]
Kind = Literal["f4", "f8", "i2", "i4", "i8", "bool", "str", "id"]
Dereddened = Literal["yes", "no", "unverified"]

#: What a flux is besides its band: attributes of `Field`, and keys of ``column.info.meta``.
FACTS = ("filter", "photometry", "dereddened")

#: What a stamp is besides its pixels: names of its bands (``"g,r,i"``) and arcsec of a pixel, in ``column.info.meta``.
STAMP_FACTS = ("bands", "pixel_scale")

#: Groups that ``columns:`` of an output may name.
GROUPS = {"ids": ("object_id", "field"), "positions": ("ra", "dec"), "flags": ("flags",)}


class Field(BaseModel):
    """Description of one column.

    Parameters
    ----------
    name : str
        Column name.
    kind : str
        ``f4 f8 i2 i4 i8 bool str``, or ``id`` (int64 or text: what the survey uses).
    unit : str or None
        Unit in the VOUnit spelling, empty for none. None, in ``reads()`` only: whichever the column has.
    shape : tuple of int
        Shape of one cell; ``()`` for a scalar.
    description, ucd : str
        For people, and for the Virtual Observatory (UCD1+ vocabulary 1.6).
    null : int, optional
        The value that means "missing" for an integer column. Floats use NaN, text the empty string.
    optional : bool
        In ``reads()``: the stage runs without it.
    filter, photometry, dereddened : str, optional
        Of a flux: SVO filter id, kind of photometry (psf, model, cmodel, kron, ...), extinction state.
    meta : dict
        Further facts as text or numbers, such as ``z_min`` and ``z_max`` of a PDF grid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind = "f4"
    unit: str | None = ""
    shape: tuple[int, ...] = ()
    description: str = ""
    ucd: str = ""
    null: int | None = None
    optional: bool = False
    filter: str | None = None
    photometry: str | None = None
    dereddened: Dereddened | None = None
    meta: dict[str, str | float] = {}

    @property
    def facts(self) -> dict[str, str]:
        """Filter, photometry and extinction state, as far as they are known."""
        return {fact: value for fact in FACTS if (value := getattr(self, fact)) is not None}

    @property
    def nbytes(self) -> int:
        """Bytes of one cell (a text counts as 16)."""
        width = {"f4": 4, "f8": 8, "i2": 2, "i4": 4, "i8": 8, "bool": 1, "str": 16, "id": 8}[self.kind]
        cells = 1
        for n in self.shape:
            cells *= n
        return width * cells


OBJECT_ID = Field(
    name="object_id", kind="id", description="Identifier of the object in its survey", ucd="meta.id;meta.main"
)
RA = Field(name="ra", kind="f8", unit="deg", description="Right ascension (ICRS)", ucd="pos.eq.ra;meta.main")
DEC = Field(name="dec", kind="f8", unit="deg", description="Declination (ICRS)", ucd="pos.eq.dec;meta.main")
FLAGS = Field(name="flags", kind="i4", description="Bit mask of astrokeras flags", ucd="meta.code.qual")
FOLD = Field(
    name="fold",
    kind="i4",
    description="Predicted by a model trained without this fold, hence without this object; -1: in no fold",
    ucd="meta.code",
)


def flux_field(band: str, measure: str = "", **facts) -> Field:
    """Field of a flux, ``flux_g`` or with a measure ``flux_psf_g``; ``facts`` are further Field attributes."""
    prefix = f"flux_{measure}_" if measure else "flux_"
    kind = measure.removeprefix("err").lstrip("_")
    what = ("Error of the flux" if measure.startswith("err") else "Flux") + (f" ({kind})" if kind else "")
    ucd = "stat.error;phot.flux.density" if measure.startswith("err") else "phot.flux.density"
    return Field(name=f"{prefix}{band}", unit="nJy", description=f"{what} in band {band}", ucd=ucd, **facts)


def by_name(fields: Iterable[Field]) -> dict[str, Field]:
    """Map names to fields, the last of a name winning (a stage may replace a column)."""
    return {field.name: field for field in fields}


def select(patterns: Iterable[str], fields: Iterable[Field], where: str = "columns") -> tuple[Field, ...]:
    """Fields named by patterns (``z_*``, ``ids``, ``ra``), in the order of the patterns, each once.

    Raises
    ------
    ChunkError
        If a name is unknown, or a pattern matches nothing.
    """
    known = by_name(fields)
    chosen: dict[str, Field] = {}
    for pattern in patterns:
        names = [n for n in GROUPS.get(pattern, ()) if n in known] or fnmatch.filter(known, pattern)
        # fnmatch reads [ ] as a set; a plain name is taken literally.
        if not names and pattern in known:
            names = [pattern]
        if not names:
            raise ChunkError(f"{where}: no column {pattern!r}{did_you_mean(pattern, known)}")
        chosen |= {n: known[n] for n in names}
    return tuple(chosen.values())


def bands_of(fields: Iterable[Field]) -> tuple[str, ...]:
    """Bands that have a ``flux_{band}`` column, in order."""
    names = [f.name for f in fields]
    return tuple(m[1] for n in names if (m := re.fullmatch(r"flux_([A-Za-z][A-Za-z0-9]*)", n)))
