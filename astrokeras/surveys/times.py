"""Times of observation: how a survey writes them, and the canonical column ``time`` in MJD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator

from ..errors import SurveyError
from ..fields import Field
from .columns import Native, numbers
from .statement import Statement
from .vocabulary import Sentinels, listed

#: Days from the origin of the Julian Date to that of the Modified Julian Date.
MJD_ORIGIN = 2400000.5
_UCDS = {"start": "time.start", "middle": "time.epoch", "end": "time.end"}


class Time(Statement):
    """When an object was observed; becomes the column ``time``, an MJD in the scale of the survey.

    Parameters
    ----------
    column : str
        Name.
    format : str
        ``mjd``, ``jd``, ``jyear`` (Julian years), ``decimalyear``, ``unix`` (seconds) or ``isot`` (text such as
        ``2026-01-31T12:30:45``).
    scale : str
        Time scale, ``unknown`` if nobody says. Times are not taken to another one.
    moment : str
        What of an exposure: ``start``, ``middle`` or ``end``.
    refposition : str
        Where the clock is: ``topocenter``, ``geocenter``, ``heliocenter``, ``barycenter``, or ``unknown``.
    missing : tuple of float
        Further values that mean "none".
    optional : bool
        A file without the column is taken; the times are missing then.
    """

    column: str
    format: Literal["mjd", "jd", "jyear", "decimalyear", "unix", "isot"] = "mjd"
    scale: Literal["tai", "utc", "tt", "tdb", "tcb", "ut1", "unknown"]
    moment: Literal["start", "middle", "end"] = "middle"
    refposition: Literal["topocenter", "geocenter", "heliocenter", "barycenter", "unknown"] = "unknown"
    missing: Annotated[Sentinels, BeforeValidator(listed, json_schema_input_type=float | Sentinels)] = ()
    optional: bool = False

    @property
    def field(self) -> Field:
        """The canonical column."""
        scale = self.scale.upper()
        return Field(
            name="time",
            kind="f8",
            unit="d",
            description=f"Time of observation, MJD ({scale}, {self.moment})",
            ucd=_UCDS[self.moment],
            meta={"timescale": scale, "refposition": self.refposition.upper()},
        )


def times(stated: Time, columns: Mapping[str, Native], n: int, sentinels: tuple[float, ...]) -> np.ndarray:
    """Modified Julian Dates; NaN where there is none.

    Raises
    ------
    SurveyError
        If a text is no time.
    """
    if stated.column not in columns:
        return np.full(n, np.nan)
    if stated.format == "isot":
        return _of_texts(stated, columns[stated.column].data)
    data = np.ma.asanyarray(numbers(columns, stated.column))
    value = np.ma.filled(data.astype(np.float64), np.nan)
    value[np.isin(value, (*sentinels, *stated.missing)) | np.isinf(value)] = np.nan
    if stated.format in ("mjd", "jd"):
        return value - (MJD_ORIGIN if stated.format == "jd" else 0.0)
    return _converted(stated, value, np.isfinite(value))


def _of_texts(stated: Time, data: np.ndarray) -> np.ndarray:
    text = np.char.strip(np.ma.filled(np.ma.asanyarray(data), "").astype(str))
    return _converted(stated, text, text != "")


def _converted(stated: Time, values: np.ndarray, given: np.ndarray) -> np.ndarray:
    from astropy.time import Time as Moments

    out = np.full(len(values), np.nan)
    scale = "tt" if stated.scale == "unknown" else stated.scale
    try:
        out[given] = Moments(values[given], format=stated.format, scale=scale).mjd
    except ValueError as error:
        raise SurveyError(f"column {stated.column!r} holds no times of format {stated.format}: {error}") from None
    return out
