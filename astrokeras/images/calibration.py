"""From the pixels of a file to nJy: units, zero points."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ..errors import ChunkError
from ..units import AB_ZERO_POINT, factor
from .cards import Cards
from .language import Calibration, Layout

_COUNTS = re.compile(
    r"(?i)(adu|dn|counts?|ct|cts|e-?|electrons?|photons?|none|unitless|)( ?(/|per) ?(s|sec|second)|\.s-1| ?s-1)?"
)
_BUNIT = Calibration(unit_cards=("BUNIT",))


@dataclass(frozen=True)
class Scale:
    """What one unit of the pixels is.

    Attributes
    ----------
    unit : str
        ``nJy``, or ``ct`` where nothing tells the flux of a count.
    factor : float
        nJy of one unit of the pixels; 1 for counts.
    """

    unit: str
    factor: float = 1.0

    @property
    def zero_point(self) -> float | None:
        """AB magnitude of one unit of the pixels."""
        return float(AB_ZERO_POINT - 2.5 * np.log10(self.factor)) if self.unit == "nJy" else None


def scale(layout: Layout, cards: Cards, band: str, exposure: float | None, area: float | None) -> Scale:
    """Flux of one unit of the pixels, by the first way of the layout whose cards are there.

    Parameters
    ----------
    exposure : float or None
        Exposure time in s.
    area : float or None
        Area of a pixel by the WCS, in steradian.
    """
    own = layout.bands[band].zero_point if band in layout.bands else None
    ways = [*([Calibration(zero_point=own)] if own is not None else []), *layout.calibration]
    if not any(way.unit_cards for way in ways):
        # What a file says of its unit is heard in any case, if only to find a contradiction.
        ways.append(_BUNIT)
    found = [(way, value) for way in ways if (value := _factor(way, cards, exposure, area)) is not None]
    if not found:
        return Scale("ct")
    way, value = found[0]
    if not way.verified:
        cards.note(f"calibration: {way.note}")
    for other, differing in found[1:]:
        if abs(differing / value - 1) > 0.005:
            cards.note(
                f"zero points differ: {_said(way)} gives {_magnitude(value):.3f}, which was taken, "
                f"{_said(other)} gives {_magnitude(differing):.3f}"
            )
    return Scale("nJy", value)


def _factor(way: Calibration, cards: Cards, exposure: float | None, area: float | None) -> float | None:
    if not all(re.fullmatch(pattern, cards.text([key])) for key, pattern in way.when.items()):
        return None
    if way.unit is not None:
        return factor(way.unit, "nJy")
    if way.unit_cards is not None:
        return _of_unit(way, cards, area)
    if way.flux_zero_cards is not None:
        flux = cards.number(way.flux_zero_cards, positive=True)
        return None if flux is None else flux_of_unit(2.5 * np.log10(flux))
    zero_point = way.zero_point if way.zero_point is not None else cards.number(way.zero_point_cards)
    if zero_point is None:
        return None
    if way.per_second and exposure is None:
        cards.note(f"{_said(way)} holds for a count per second, and the exposure time is unknown; it was left out")
        return None
    return flux_of_unit(zero_point + (2.5 * np.log10(exposure) if way.per_second else 0.0))


def _of_unit(way: Calibration, cards: Cards, area: float | None) -> float | None:
    text = cards.text(way.unit_cards)
    if _COUNTS.fullmatch(text):
        return None
    try:
        return factor(text, "nJy")
    except ChunkError:
        pass
    try:
        per_area = factor(text, "nJy/sr")
    except ChunkError:
        cards.note(f"{'/'.join(way.unit_cards)} = {text!r} is no unit of flux density; it was left out")
        return None
    stated = cards.number(way.area_cards, positive=True)
    if stated is None and area is not None:
        cards.note(f"the pixels are {text}, and no card tells their area; that of the WCS was taken ({area:.4e} sr)")
    return None if (stated or area) is None else per_area * (stated or area)


def flux_of_unit(zero_point: float) -> float:
    """Flux in nJy of one unit of pixels of a zero point (AB mag)."""
    return float(10 ** (0.4 * (AB_ZERO_POINT - zero_point)))


def _magnitude(value: float) -> float:
    return float(AB_ZERO_POINT - 2.5 * np.log10(value))


def _said(way: Calibration) -> str:
    cards = way.unit_cards or way.zero_point_cards or way.flux_zero_cards
    return "/".join(cards) if cards else f"the layout ({way.unit or way.zero_point})"
