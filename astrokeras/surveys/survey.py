"""SurveyMap: how the columns of a survey become canonical columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from ..errors import did_you_mean
from .extinction import Extinction
from .language import Bands, Labelled, Photometry, Position
from .limits import Depth, Limits
from .skymap import SkyMap
from .times import Time
from .vocabulary import PLACEHOLDERS, Condition, KindName, Names, Sentinels, Template, listed


class SurveyMap(BaseModel):
    """Map from a survey's columns to canonical ones.

    Parameters
    ----------
    title, description : str
        For people.
    sources : tuple of str
        Documents the statements were taken from.
    notes : tuple of str
        Traps.
    object_id : str or tuple of str, optional
        Column, or columns that are joined with ``-``. Without it, rows are numbered.
    position : Position, optional
        Columns of the coordinates.
    missing : tuple of float
        Values that mean "none" in every number column.
    bands : mapping
        Bands by their canonical name; a list, or ``band: filter id``, for short. A catalog without photometry (of
        spectra) has neither bands nor photometry.
    photometry : mapping
        Kinds of photometry by name (psf, model, cmodel, kron, gaap, ...).
    default : str, optional
        Kind taken when none is named; needed where there are several.
    extinction : Extinction, optional
        Galactic extinction.
    z_spec, class_true, extendedness : str or Label, optional
        Spectroscopic redshift; true class; 1 for extended and 0 for point-like objects.
    time : Time, optional
        When the objects were observed.
    group : str or tuple of str, optional
        Columns that are equal for observations of one object, joined with ``-``.
    quality : str, optional
        Condition that the survey recommends; documentation, never applied unasked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = ""
    description: str = ""
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    object_id: Names | None = None
    position: Position | None = None
    missing: Annotated[Sentinels, BeforeValidator(listed, json_schema_input_type=float | Sentinels)] = ()
    bands: Bands = Field(default_factory=dict)
    photometry: dict[KindName, Photometry] = Field(default_factory=dict)
    default: str | None = None
    extinction: Extinction | None = None
    z_spec: Labelled | None = None
    class_true: Labelled | None = None
    extendedness: Labelled | None = None
    time: Time | None = None
    group: Names | None = None
    quality: Condition | None = None

    @model_validator(mode="after")
    def _templates_fit(self) -> SurveyMap:
        if bool(self.bands) != bool(self.photometry):
            lacking = "photometry" if self.bands else "bands"
            raise located((lacking,), "needs at least one; a map has `bands` and `photometry`, or neither", None)
        for kind, photometry in self.photometry.items():
            self._fits(kind, photometry)
        if self.extinction is not None:
            fault = self.extinction_fault(self.extinction, tuple(self.bands))
            if fault is not None:
                raise located(("extinction",), fault, None)
        if self.default is None and len(self.photometry) > 1:
            raise located(("default",), f"name the default photometry: one of {', '.join(self.photometry)}", None)
        if self.default is not None and self.default not in self.photometry:
            message = f"no photometry {self.default!r}{did_you_mean(self.default, self.photometry)}"
            raise located(("default",), message, self.default)
        return self

    def _fits(self, kind: str, photometry: Photometry) -> None:
        place = ("photometry", kind)
        key = "bands" if photometry.mag_sums is None else "mag_sums"
        for band in photometry.own_bands or ():
            if band not in self.bands:
                raise located((*place, key), f"no band {band!r}{did_you_mean(band, self.bands)}", band)
        bands = photometry.own_bands or tuple(self.bands)
        for text in (photometry.value, photometry.uncertainty, photometry.flag):
            self._expands(text, bands, place)
        if photometry.limits is not None:
            self._limits_fit(photometry.limits, bands, place)
        if photometry.system == "asinh":
            self._every_band("softening", bands, place, "asinh magnitudes")
        if photometry.system == "Vega":
            self._every_band("vega_to_ab", bands, place, "Vega magnitudes")
        columns = [self.values(photometry, b) for b in bands]
        if len(set(columns)) < len(columns):
            raise located(place, f"{photometry.value!r} names one column for several bands", photometry.value)

    def _limits_fit(self, limits: Limits, bands: tuple[str, ...], place: tuple[str, ...]) -> None:
        place = (*place, "limits")
        self._expands(limits.flag, bands, place)
        if clash := set(limits.code) & set(self.missing):
            raise located((*place, "code"), f"{clash.pop():g} cannot mean both a limit and `missing`", limits.code)
        fault = self.depth_fault(limits.depth, bands) if limits.depth is not None else None
        if fault is not None:
            raise located((*place, "depth"), fault, None)

    def depth_fault(self, depth: Depth, bands: tuple[str, ...]) -> str | None:
        """What is wrong with a depth for these bands, in words; None if nothing."""
        for band in depth.bands or ():
            if band not in self.bands:
                return f"no band {band!r}{did_you_mean(band, self.bands)}"
        lacking = [band for band in bands if band not in depth.bands] if depth.bands is not None else []
        if lacking:
            return f"needs a limit of every band; absent for {', '.join(lacking)}"
        if depth.map is not None and self.position is None:
            return "a map needs positions, and the survey map states none"
        for text in (depth.column, *((depth.map.path, depth.map.column) if depth.map else ())):
            lacking = self._unexpanded(text, bands)
            if lacking:
                return f"{text!r} needs the {lacking[0]!r} of band {lacking[1]}"
        return None

    def extinction_fault(self, stated: Extinction, bands: tuple[str, ...]) -> str | None:
        """What is wrong with a statement on extinction for these bands, in words; None if nothing."""
        lacking = [b for b in bands if self.coefficient(stated, b) is None] if stated.by_ebv else []
        if lacking:
            wanted = "extinction by E(B-V) needs 'extinction' of every band, or `coefficients`"
            return f"{wanted}; absent for {', '.join(lacking)}"
        for band in stated.coefficients or ():
            if band not in self.bands:
                return f"no band {band!r}{did_you_mean(band, self.bands)}"
        if stated.map is not None and self.position is None:
            return "a map needs positions, and the survey map states none"
        sky = (stated.map.path, stated.map.column) if isinstance(stated.map, SkyMap) else ()
        for text in (stated.magnitudes, stated.transmission, *sky):
            unknown = self._unexpanded(text, bands)
            if unknown:
                return f"{text!r} needs the {unknown[0]!r} of band {unknown[1]}"
        return None

    def coefficient(self, stated: Extinction, band: str) -> float | None:
        """A / E(B-V) of a band."""
        own = self.bands[band].extinction
        return own if stated.coefficients is None else stated.coefficients.get(band, own)

    def _every_band(self, attribute: str, bands: tuple[str, ...], place: tuple[str, ...], what: str) -> None:
        lacking = [b for b in bands if getattr(self.bands[b], attribute) is None]
        if lacking:
            raise located(place, f"{what} need {attribute!r} of every band; absent for {', '.join(lacking)}", lacking)

    def _expands(self, text: str | None, bands: tuple[str, ...], place: tuple[str, ...]) -> None:
        lacking = self._unexpanded(text, bands)
        if lacking:
            raise located(place, f"{text!r} needs the {lacking[0]!r} of band {lacking[1]}", text)

    def _unexpanded(self, text: str | None, bands: tuple[str, ...]) -> tuple[str, str] | None:
        """The fact that a template names, and the band that does not state it; None if all do."""
        for band in bands if text else ():
            try:
                self.expand(text or "", band)
            except KeyError as error:
                return str(error.args[0]), band
        return None

    def expand(self, template: Template, band: str) -> str:
        """Column that a template names for a band."""
        facts = self.bands[band]
        for placeholder in PLACEHOLDERS:
            if f"{{{placeholder}}}" not in template:
                continue
            value = {"band": band, "BAND": band.upper(), "name": facts.name, "index": facts.index}[placeholder]
            if value is None:
                raise KeyError(placeholder)
            template = template.replace(f"{{{placeholder}}}", str(value))
        return template

    def values(self, photometry: Photometry, band: str) -> tuple[str, ...]:
        """Columns that give the flux or magnitude of a band: one, or the terms of its sum."""
        if photometry.mag_sums is None:
            return (self.expand(photometry.value, band),)
        return photometry.mag_sums[band]

    @property
    def default_photometry(self) -> str | None:
        """Kind taken when none is named; None of a map without photometry."""
        return self.default or next(iter(self.photometry), None)


def located(place: tuple[str, ...], message: str, value: object) -> ValidationError:
    """Make a validation error that points at a key."""
    return all_located([(place, message, value)])


def all_located(problems: Iterable[tuple[tuple[str, ...], str, object]]) -> ValidationError:
    """Make one validation error of several problems: place, message and value."""
    details = [
        InitErrorDetails(type=PydanticCustomError("value_error", "{error}", {"error": message}), loc=place, input=value)
        for place, message, value in problems
    ]
    return ValidationError.from_exception_data("survey", details)
