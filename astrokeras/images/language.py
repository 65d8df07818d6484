"""The language of layouts: what ``catalogs/images/*.yaml`` say of the files of a survey.

A template of an EXTNAME holds ``{band}`` or ``{BAND}`` (upper case): ``SCI_{BAND}``. Card names are those of FITS.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from ..fields import Band
from ..surveys.statement import Statement
from ..surveys.vocabulary import FluxUnit
from .places import ERRORS, IMAGES, MASKS, ErrorPlace, Listed, MaskPlace, Pattern, Place

Card = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\- ]+$", max_length=68)]
CardNames = Annotated[tuple[Card, ...], Listed]


class Sign(Statement):
    """What tells a file: all that is said must hold.

    Parameters
    ----------
    name : str, optional
        Regular expression found in the name of the file.
    cards : mapping
        Regular expressions found in cards, of any HDU with pixels or the primary one.
    extensions : tuple of str
        EXTNAME templates of which the file has one each.
    """

    name: Pattern | None = None
    cards: dict[Card, Pattern] = Field(default_factory=dict)
    extensions: Annotated[tuple[str, ...], Listed] = ()

    @model_validator(mode="after")
    def _something(self) -> Sign:
        if not (self.name or self.cards or self.extensions):
            raise ValueError("needs name, cards or extensions")
        return self

    @property
    def strength(self) -> int:
        """How many things must hold."""
        return (self.name is not None) + len(self.cards) + len(self.extensions)


class Calibration(Statement):
    """One way to the flux of one unit of the pixels; of several the first counts whose cards are there.

    Parameters
    ----------
    unit : str, optional
        The pixels are fluxes in this unit.
    unit_cards : str or tuple of str, optional
        Card with the unit; counts where it is a unit of flux density, or of surface brightness.
    zero_point : float, optional
        AB magnitude of one unit of the pixels.
    zero_point_cards : str or tuple of str, optional
        Card with it.
    flux_zero_cards : str or tuple of str, optional
        Card with the pixel value of AB magnitude 0.
    area_cards : str or tuple of str, optional
        Card with the area of a pixel in steradian; the WCS gives it otherwise.
    per_second : bool
        The zero point is that of one count per second, and the pixels hold counts of the whole exposure.
    when : mapping
        Only where these cards match the regular expressions.
    """

    unit: FluxUnit | None = None
    unit_cards: CardNames | None = None
    zero_point: float | None = None
    zero_point_cards: CardNames | None = None
    flux_zero_cards: CardNames | None = None
    area_cards: CardNames = ()
    per_second: bool = False
    when: dict[Card, Pattern] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_way(self) -> Calibration:
        ways = ("unit", "unit_cards", "zero_point", "zero_point_cards", "flux_zero_cards")
        if sum(getattr(self, way) is not None for way in ways) != 1:
            raise ValueError(f"needs one of {', '.join(ways)}")
        if self.area_cards and self.unit_cards is None:
            raise ValueError("area_cards belong to unit_cards")
        if self.per_second and self.zero_point is None and self.zero_point_cards is None:
            raise ValueError("per_second belongs to zero_point and zero_point_cards")
        return self


class ImageBand(Statement):
    """A band.

    Parameters
    ----------
    filter : str, optional
        SVO filter identifier.
    spelled : str or tuple of str
        Regular expressions that match the whole of what cards say; the band itself always matches.
    zero_point : float, optional
        AB magnitude of one unit of the pixels, in place of `Layout.calibration`.
    """

    filter: str | None = None
    spelled: Annotated[tuple[Pattern, ...], Listed] = ()
    zero_point: float | None = None


def _bands(value: Any) -> Any:
    """Accept ``{g: SLOAN/SDSS.g}`` for the full form."""
    return (
        {b: {"filter": f} if isinstance(f, str) else f for b, f in value.items()} if isinstance(value, dict) else value
    )


class Layout(Statement):
    """How the image files of a survey are laid out.

    Parameters
    ----------
    title, description : str
        For people.
    sources, notes : tuple of str
        Where it was read; what a user should know.
    signs : tuple of Sign
        What tells such a file; one is enough. None: the layout is used where it is named.
    image : Place
        Where the pixels are; by default in extensions SCI or SCI_{BAND}, or else in every HDU with pixels.
    any_image : bool
        Where ``image`` names an extension that is not there, every HDU with pixels is an image (the CCDs of a mosaic).
    planes : tuple of str, optional
        Bands of the planes along a third axis.
    errors, masks : tuple
        Where errors and flags are; the first that is there counts. By default extensions ERR, VAR or IVAR, and MASK or
        DQ, with the band if SCI has it.
    rebuilt_noise : str, optional
        ``sdss-frame``: errors are made of the calibration, the sky and the constants of the camera.
    stretch : str, optional
        ``asinh``: pixels are scaled by BSOFTEN and BOFFSET where the header has them.
    band_cards : str or tuple of str
        Cards that name the filter.
    filter_cards : str or tuple of str
        Cards with an SVO filter identifier, of which the bands know none.
    band_name : str, optional
        Regular expression with a group ``band``, found in the name of the file. Where a card says another band, the
        name counts: headers are copied along.
    bands : mapping
        Filters and spellings of the bands.
    calibration : tuple of Calibration
        Ways to fluxes.
    exposure, gain, saturation : str or tuple of str
        Cards with exposure time in s, electrons per unit of the pixels, and the pixel value of saturation.
    start : str
        Where the beginning of the exposure is: ``DATE-OBS`` (or MJD-OBS) or ``TAI`` (seconds since MJD 0); ``none``
        for a stack.
    no_data : tuple of float
        Values of pixels that mean "no data", besides NaN.
    sky : str
        Whether the pixels still contain the sky: ``subtracted``, ``included`` or ``unknown``.
    """

    title: str = ""
    description: str = ""
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    signs: tuple[Sign, ...] = ()
    image: Place = IMAGES
    any_image: bool = True
    planes: tuple[Band, ...] | None = None
    errors: tuple[ErrorPlace, ...] = ERRORS
    masks: tuple[MaskPlace, ...] = MASKS
    rebuilt_noise: Literal["sdss-frame"] | None = None
    stretch: Literal["asinh"] | None = None
    band_cards: CardNames = ("BAND", "FILTER")
    filter_cards: CardNames = ("FILTERID",)
    band_name: Pattern | None = None
    bands: Annotated[dict[Band, ImageBand], BeforeValidator(_bands)] = Field(default_factory=dict)
    calibration: tuple[Calibration, ...] = ()
    exposure: CardNames = ("EXPTIME",)
    gain: CardNames = ("GAIN",)
    saturation: CardNames = ("SATURATE",)
    start: Literal["DATE-OBS", "TAI", "none"] = "DATE-OBS"
    no_data: tuple[float, ...] = ()
    sky: Literal["subtracted", "included", "unknown"] = "unknown"

    @model_validator(mode="after")
    def _band_is_named(self) -> Layout:
        if self.band_name is not None and "band" not in re.compile(self.band_name).groupindex:
            raise ValueError("band_name needs a group: (?P<band>[ugriz])")
        return self
