"""Request: what is wanted from a survey, as Fields, and the native columns that it takes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial

from ..fields import DEC, FLAGS, OBJECT_ID, RA, Field, flux_field
from .extinction import Extinction
from .language import Label, Photometry
from .limits import Depth
from .survey import SurveyMap
from .times import Time
from .vocabulary import signed

#: Measures of a canonical table: color fluxes have plain names, the others carry theirs (``flux_psf_g``).
MEASURES = {"color": "", "total": "total", "psf": "psf"}
LABELS = {
    "z_spec": Field(name="z_spec", kind="f8", description="Spectroscopic redshift", ucd="src.redshift"),
    "class_true": Field(name="class_true", kind="str", description="True class of the object", ucd="src.class"),
    "extendedness": Field(
        name="extendedness", description="1 for an extended, 0 for a point-like object", ucd="src.class.starGalaxy"
    ),
}
GROUP = Field(name="group", kind="id", description="Equal for observations of one object", ucd="meta.id.assoc")
SPLIT = Field(
    name="split", kind="str", description="Use in training: train, validate, calibrate or test", ucd="meta.code"
)


@dataclass(frozen=True)
class Channel:
    """One measure in one band: the canonical names, and the columns and statements they come from.

    ``values`` are the terms of a sum, nearly always one; a term in front of which a ``-`` stands is taken away.
    """

    measure: str
    band: str
    photometry: Photometry
    values: tuple[str, ...]
    error: str | None
    flag: str | None
    limit_flag: str | None = None
    depth: Depth | None = None
    depth_column: str | None = None

    @property
    def terms(self) -> tuple[tuple[float, str], ...]:
        """Signs and columns that add up to the value."""
        if self.photometry.mag_sums is None:
            return tuple((1.0, name) for name in self.values)
        return tuple(signed(term) for term in self.values)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns without which there is no measurement."""
        return (*(name for _, name in self.terms), *((self.error,) if self.error is not None else ()))

    @property
    def limit_columns(self) -> dict[str, bool]:
        """Columns that tell of upper limits, and whether a file must have each."""
        out = {self.limit_flag: True} if self.limit_flag is not None else {}
        return out | ({self.depth_column: not self.depth.optional} if self.depth_column is not None else {})

    @property
    def has_error(self) -> bool:
        """Whether errors are known."""
        return self.error is not None or self.photometry.constant_error is not None

    @property
    def flux_name(self) -> str:
        """Canonical name of the flux."""
        return flux_field(self.band, self.measure).name

    @property
    def error_name(self) -> str:
        """Canonical name of the error."""
        return flux_field(self.band, _err(self.measure)).name


def _err(measure: str) -> str:
    return f"err_{measure}" if measure else "err"


@dataclass(frozen=True)
class Request:
    """What is wanted from a survey.

    Attributes
    ----------
    survey : SurveyMap
        The map.
    photometry : mapping
        Measure (``color``, ``total``, ``psf``) to the kind of the map.
    bands : tuple of str
        Bands, in order.
    deredden : bool or str
        Correct for Galactic extinction; ``"unverified"``: also where the map does not know whether that was done.
    ab_offsets : bool
        Add the map's offsets to the AB system.
    keep : tuple
        Further fields, each with the native column it is copied from.
    split : bool
        Whether there is a column ``split``, given from outside.
    unit : str, optional
        Unit of fluxes where neither map nor file states one.
    depth : Depth, optional
        Depth of undetected objects, in place of the map's.
    extinction : Extinction, optional
        Galactic extinction, in place of the map's.
    without : tuple of str
        Labels of the map that are not wanted, or ``time``.
    """

    survey: SurveyMap
    photometry: dict[str, str]
    bands: tuple[str, ...]
    deredden: bool | str = False
    ab_offsets: bool = False
    keep: tuple[tuple[str, Field], ...] = ()
    split: bool = False
    unit: str | None = None
    depth: Depth | None = None
    extinction: Extinction | None = None
    without: tuple[str, ...] = ()

    @cached_property
    def channels(self) -> tuple[Channel, ...]:
        """All measures in all bands."""
        out = []
        for measure, kind in self.photometry.items():
            statement = self.survey.photometry[kind]
            have = [b for b in self.bands if b in (statement.own_bands or self.survey.bands)]
            out += [self._channel(MEASURES[measure], band, statement) for band in have]
        return tuple(out)

    def _channel(self, measure: str, band: str, statement: Photometry) -> Channel:
        limits = statement.limits
        depth = (self.depth or limits.depth) if limits is not None else None
        templates = (statement.uncertainty, statement.flag, limits and limits.flag, depth and depth.column)
        error, flag, limit_flag, depth_column = (t and self.survey.expand(t, band) for t in templates)
        values = self.survey.values(statement, band)
        return Channel(measure, band, statement, values, error, flag, limit_flag, depth, depth_column)

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """Canonical fields, in order."""
        survey = self.survey
        out = [OBJECT_ID]
        if survey.position is not None:
            out += [RA, DEC]
        for channel in self.channels:
            facts = self._facts(channel)
            out.append(flux_field(channel.band, channel.measure, **facts))
            if channel.has_error:
                out.append(flux_field(channel.band, _err(channel.measure), **facts))
        out += [made for name, made in LABELS.items() if self.label(name) is not None]
        out += [self.time.field] if self.time is not None else []
        out += [GROUP] if survey.group is not None else []
        out += [kept for _, kept in self.keep]
        out += [SPLIT] if self.split else []
        return (*out, FLAGS)

    def _facts(self, channel: Channel) -> dict[str, str | None]:
        if self.unit is not None:
            # Canonical columns of unknown origin.
            return {}
        kind = next(k for m, k in self.photometry.items() if MEASURES[m] == channel.measure)
        state = "yes" if self.deredden else channel.photometry.dereddened
        return {"filter": self.survey.bands[channel.band].filter, "photometry": kind, "dereddened": state}

    def label(self, name: str) -> Label | None:
        """The map's statement on ``z_spec``, ``class_true`` or ``extendedness``, if that is wanted."""
        return None if name in self.without else getattr(self.survey, name)

    @property
    def time(self) -> Time | None:
        """The map's statement on times, if they are wanted."""
        return None if "time" in self.without else self.survey.time

    def wanted(self, columns: Iterable[str]) -> tuple[Channel, ...]:
        """Channels needed for canonical columns; ``flags`` tells of all colors, whoever else is read."""
        columns = set(columns)
        flags = "flags" in columns
        return tuple(c for c in self.channels if {c.flux_name, c.error_name} & columns or (flags and c.measure == ""))

    @property
    def corrected(self) -> Extinction | None:
        """Extinction that is corrected."""
        return (self.extinction or self.survey.extinction) if self.deredden else None

    def extinction_column(self, band: str) -> str | None:
        """Column that the extinction of a band is taken from, if it is corrected and no map is asked."""
        stated = self.corrected
        return self.survey.expand(stated.template, band) if stated is not None and stated.template else None

    @property
    def files(self) -> tuple[str, ...]:
        """Maps that are read besides the tables."""
        out: list[str] = []
        for channel in self.channels:
            expand = partial(self.survey.expand, band=channel.band)
            if channel.depth is not None and channel.depth.map is not None:
                out.append(os.path.expanduser(expand(channel.depth.map.path)))
            out += self.corrected.files(expand) if self.corrected is not None else ()
        return tuple(dict.fromkeys(out))

    def natives(self, columns: Iterable[str]) -> dict[str, bool]:
        """Native columns needed for canonical ones, and whether a file must have each."""
        columns = set(columns)
        out: dict[str, bool] = {}
        survey = self.survey
        if "object_id" in columns:
            out |= dict.fromkeys(survey.object_id or (), True)
        channels = self.wanted(columns)
        placed = any(c.depth is not None and c.depth.map is not None for c in channels)
        placed |= bool(channels) and self.corrected is not None and self.corrected.map is not None
        if survey.position is not None and (placed or columns & {"ra", "dec", "flags"}):
            out |= dict.fromkeys((survey.position.ra, survey.position.dec), not survey.position.optional)
        for channel in channels:
            out |= {channel.flag: False} if channel.flag is not None else {}
            references = (*channel.columns, self.extinction_column(channel.band))
            out |= dict.fromkeys((r for r in references if r is not None), True)
            out |= {name: needed or out.get(name, False) for name, needed in channel.limit_columns.items()}
        for name in LABELS.keys() & columns:
            label = self.label(name)
            out |= {label.column: not label.optional} if label else {}
        if "time" in columns and self.time is not None:
            out |= {self.time.column: not self.time.optional}
        if "group" in columns:
            out |= dict.fromkeys(survey.group or (), True)
        out |= {native: True for native, kept in self.keep if kept.name in columns}
        return out
