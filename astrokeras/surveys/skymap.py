"""The language of maps on the sky."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .statement import Statement
from .vocabulary import Template


class SkyMap(Statement):
    """A map on the sky, of depths or of E(B-V): a FITS table of HEALPix pixels.

    A table with a column of pixel numbers holds the pixels that it names; one without it holds all of them in order. An
    object outside has no value. Reading needs ``astropy-healpix``.

    Parameters
    ----------
    path : str
        Template of the file: one for all bands, or one each.
    column : str
        Template of the column of values.
    pixel : str
        Column of pixel numbers.
    nside : int, optional
        Resolution; by default ``NSIDE`` of the header.
    order : str, optional
        ``nested`` or ``ring``; by default ``ORDERING`` of the header.
    frame : str, optional
        ``icrs`` or ``galactic``; by default ``COORDSYS`` of the header (C or G).
    """

    path: Template
    column: Template
    pixel: str = "PIXEL"
    nside: int | None = Field(default=None, ge=1, le=2**29)
    order: Literal["nested", "ring"] | None = None
    frame: Literal["icrs", "galactic"] | None = None
