"""Cards of FITS headers as they are found: numbers that are text, dates of several manners, two HDUs that disagree."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: Seconds of a day.
_DAY = 86400.0


@dataclass(frozen=True)
class Cards:
    """Cards of an image: those of its HDU first, then those of the primary HDU.

    Attributes
    ----------
    headers : tuple of (str, Header)
        Place, for messages, and header.
    notes : list of str
        What was noticed on the way.
    """

    headers: tuple[tuple[str, Any], ...]
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep a sentence for the user, once."""
        if text not in self.notes:
            self.notes.append(text)

    def get(self, key: str) -> Any:
        """Value of a card, None where it is absent or empty; two HDUs that disagree are noted."""
        from astropy.io.fits.card import Undefined

        found = []
        for place, header in self.headers:
            value = header.get(key)
            self._twice(key, place, header)
            if value is not None and not isinstance(value, Undefined) and value != "":
                found.append((place, value))
        for place, value in found[1:]:
            if value != found[0][1]:
                self.note(f"{key} = {value!r} in {place}, {found[0][1]!r} in {found[0][0]}, which was taken")
        return found[0][1] if found else None

    def _twice(self, key: str, place: str, header: Any) -> None:
        values = {str(card.value) for card in header.cards if card.keyword == key} if key in header else set()
        if len(values) > 1:
            self.note(f"{key} occurs more than once in {place} ({', '.join(sorted(values))}); the first was taken")

    def text(self, keys: Iterable[str]) -> str:
        """Text of the first card that is there; empty for none."""
        for key in keys:
            value = self.get(key)
            if value is not None:
                return str(value).strip()
        return ""

    def number(self, keys: Iterable[str], positive: bool = False) -> float | None:
        """Finite number of the first card that has one; a text is read as a number, and noted."""
        for key in keys:
            value = self.get(key)
            if value is None:
                continue
            number = _number(value)
            if number is None or (positive and number <= 0):
                self.note(f"{key} = {value!r} is no {'positive ' if positive else ''}number; it was left out")
                continue
            if isinstance(value, str):
                self.note(f"{key} = {value!r} is text; read as {number:g}")
            return number
        return None

    def start(self) -> float | None:
        """Beginning of the exposure as MJD, from MJD-OBS or DATE-OBS; UTC if TIMESYS does not say otherwise."""
        scale = (self.text(["TIMESYS"]) or "UTC").lower()
        mjd = self.number(["MJD-OBS", "MJD_OBS"])
        text = self.text(["DATE-OBS"])
        exact = mjd is not None and (mjd % 1 != 0 or "T" not in text)
        if exact:
            return self._utc(mjd, "mjd", scale)
        if not text:
            return self._utc(mjd, "mjd", scale) if mjd is not None else None
        return self._date(text, scale)

    def _date(self, text: str, scale: str) -> float | None:
        old = re.fullmatch(r"(\d\d)/(\d\d)/(\d\d)", text)
        if old:
            day, month, year = old.groups()
            self.note(f"DATE-OBS = {text!r} is of the old form DD/MM/YY; read as 19{year}-{month}-{day}")
            text = f"19{year}-{month}-{day}"
        if "T" not in text:
            clock = self.text(["UTC-OBS", "TIME-OBS", "UT"])
            text = f"{text}T{clock}" if re.fullmatch(r"\d\d:\d\d:\d\d(\.\d*)?", clock) else text
        if "T" not in text:
            self.note(f"DATE-OBS = {text!r} has no time of day; mjd is that of 0 h")
        return self._utc(text, "isot" if "T" in text else "iso", scale)

    def _utc(self, value: float | str, kind: str, scale: str) -> float | None:
        from astropy.time import Time

        if scale not in Time.SCALES:
            self.note(f"TIMESYS = {scale.upper()!r} is no time scale; UTC was taken")
            scale = "utc"
        try:
            return float(Time(value, format=kind, scale=scale).utc.mjd)
        except ValueError:
            self.note(f"the date {value!r} cannot be read; it was left out")
            return None

    def middle(self, exposure: float | None, tai: bool = False) -> float | None:
        """Middle of the exposure as MJD (UTC); the beginning where the exposure time is unknown.

        Parameters
        ----------
        exposure : float or None
            Exposure time in s.
        tai : bool
            The card TAI holds the beginning in seconds since MJD 0.
        """
        seconds = self.number(["TAI"]) if tai else None
        start = self._utc(seconds / _DAY, "mjd", "tai") if seconds else self.start()
        return None if start is None else start + 0.5 * (exposure or 0.0) / _DAY


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
