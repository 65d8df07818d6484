"""Where layouts find planes of pixels, errors and flags: in an HDU of a number or name, or in another file."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from ..fields import Band
from ..surveys.statement import Statement
from ..surveys.vocabulary import listed
from .image import Pixel

PixelName = Literal[tuple(Pixel.__members__)]


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200), BeforeValidator(_pattern)]
Listed = BeforeValidator(listed, json_schema_input_type=str | tuple[str, ...])
Templates = Annotated[tuple[str, ...], Listed, Field(min_length=1)]


class Companion(Statement):
    """Name of a file that belongs to the image's: in the name, ``replace`` becomes ``by``.

    Parameters
    ----------
    replace : str
        Regular expression; its first match counts.
    by : str
        Replacement; ``\\1`` for a group.
    """

    replace: Pattern
    by: str


class Place(Statement):
    """Where a plane is.

    Parameters
    ----------
    hdu : int, optional
        Number of the HDU.
    extension : str or tuple of str, optional
        Templates of its EXTNAME; the first that is there counts.
    file : Companion, optional
        In another file, whose HDU is ``hdu``, ``extension``, or that of the image.
    """

    hdu: int | None = Field(default=None, ge=0)
    extension: Templates | None = None
    file: Companion | None = None


class ErrorPlace(Place):
    """Plane of errors.

    Parameters
    ----------
    kind : str
        ``sigma``, ``variance``, or ``invvar`` (inverse variance), in units of the pixels.
    zero : str
        What an error without meaning (not positive, or not finite) says of the pixel: ``NO_DATA`` or ``BAD``.
    """

    kind: Literal["sigma", "variance", "invvar"]
    zero: Literal["NO_DATA", "BAD"] = "NO_DATA"


class MaskPlace(Place):
    """Plane of flags.

    Parameters
    ----------
    codes : mapping
        Meaning of its values, where a pixel has one code.
    bits : mapping
        Meaning of its bits, by number from 0, where a pixel has several.
    band_bits : mapping
        Further bits that speak of one band only.
    nonzero : str, optional
        Meaning of every value but 0.
    named_bits : mapping
        Meaning of bits by the names that ``names`` finds.
    names : str, optional
        ``MP_`` : cards ``MP_SAT = 1`` give the number of a bit; ``MSKNAM`` : cards ``MSKNAM05 = 'SAT'`` and
        ``MSKVAL05 = 32`` name a value.
    """

    codes: dict[int, PixelName] = Field(default_factory=dict)
    bits: dict[Annotated[int, Field(ge=0, le=62)], PixelName] = Field(default_factory=dict)
    band_bits: dict[Band, dict[Annotated[int, Field(ge=0, le=62)], PixelName]] = Field(default_factory=dict)
    nonzero: PixelName | None = None
    named_bits: dict[str, PixelName] = Field(default_factory=dict)
    names: Literal["MP_", "MSKNAM"] | None = None

    @model_validator(mode="after")
    def _meaning(self) -> MaskPlace:
        if sum(map(bool, (self.codes, self.bits, self.named_bits, self.nonzero))) != 1:
            raise ValueError("needs one of codes, bits, named_bits and nonzero")
        if bool(self.named_bits) != (self.names is not None):
            raise ValueError("named_bits and names belong together")
        return self


#: Names of extensions in common use.
IMAGES = Place(extension=("SCI", "SCI_{BAND}"))
ERRORS = (
    ErrorPlace(extension=("ERR", "ERR_{BAND}"), kind="sigma"),
    ErrorPlace(extension=("VAR", "VARIANCE", "VAR_{BAND}"), kind="variance"),
    ErrorPlace(
        extension=("IVAR", "INVVAR", "WHT", "IVAR_{BAND}", "WHT_{BAND}"),
        kind="invvar",
        verified=False,
        note="an extension WHT is taken as inverse variances; those of drizzled images are only proportional to them",
    ),
)
MASKS = (MaskPlace(extension=("MASK", "DQ", "MASK_{BAND}", "DQ_{BAND}"), nonzero="BAD"),)
