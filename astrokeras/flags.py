"""The one registry of per-object flags: bits of the int32 column ``flags``."""

from __future__ import annotations

from enum import IntFlag


class Flag(IntFlag):
    """What can be wrong with an object; a good one has 0. Bits never change their meaning."""

    MISSING_BAND = 1
    BAD_PHOTOMETRY = 2
    BAD_POSITION = 4
    DUPLICATE_ID = 8
    NO_DATA = 16
    PHOTOMETRY_MISMATCH = 32
    NOT_SELECTED = 64
    OUT_OF_DOMAIN = 128
    AMBIGUOUS_MATCH = 256
    UPPER_LIMIT = 512
    NO_PRIOR = 1024
    MISSING_INPUT = 2048
    EDGE_STAMP = 4096
    NO_IMAGE = 8192
    MASKED_PIXELS = 16384
    SATURATED = 32768
    BLENDED = 65536
    BAD_SHAPE = 131072
    TRUNCATED = 262144


DESCRIPTIONS: dict[Flag, str] = {
    Flag.MISSING_BAND: "at least one band has no measurement",
    Flag.BAD_PHOTOMETRY: "a flux or its error was not finite or not positive where it must be; taken as missing",
    Flag.BAD_POSITION: "right ascension or declination is missing or out of range",
    Flag.DUPLICATE_ID: "object_id occurs more than once in the catalog",
    Flag.NO_DATA: "no usable input at all; model columns are missing",
    Flag.PHOTOMETRY_MISMATCH: "filter or photometry differs from the model's and was overridden",
    Flag.NOT_SELECTED: "left out by the `where` of a stage; its columns are missing",
    Flag.OUT_OF_DOMAIN: "outside the domain in which the model was trained",
    Flag.AMBIGUOUS_MATCH: "several objects of a matched catalog lie within the radius; the nearest was taken",
    Flag.UPPER_LIMIT: "at least one band is an upper limit: observed, but not detected",
    Flag.MISSING_INPUT: "a further input of the model, such as a size, is missing; it is masked",
    Flag.NO_PRIOR: "no magnitude or position for the prior of the field; probabilities refer to the training set",
    Flag.EDGE_STAMP: "part of a stamp lies outside of its image; NaN there",
    Flag.NO_IMAGE: "in at least one band there is no pixel of the object: none has data there",
    Flag.MASKED_PIXELS: "pixels of the object are masked or have no data",
    Flag.SATURATED: "pixels of the object are saturated",
    Flag.BLENDED: "the object was separated from a neighbour that overlaps it",
    Flag.BAD_SHAPE: "the shape could not be measured as it is defined",
    Flag.TRUNCATED: "the object reaches the edge of its image",
}


def describe(value: int) -> tuple[str, ...]:
    """Names of the flags set in ``value``, lowest bit first."""
    return tuple(flag.name for flag in Flag if value & flag)
