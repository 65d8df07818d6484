"""Which survey map fits a table: told from the names of its columns alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import SurveyError
from ..expression import Expression
from .columns import locate
from .library import load
from .library import names as shipped
from .request import LABELS, Channel, Request
from .survey import SurveyMap
from .tables import request

#: A map of which less is found says nothing about a table: `ra` and `dec` are everywhere.
LEAST_PART = 0.5


@dataclass(frozen=True)
class Guess:
    """How well a survey map fits the columns of a table.

    Attributes
    ----------
    name, title : str
        The map.
    photometry : str
        Kind of photometry of which most was found.
    bands : tuple of str
        Bands that the table has in it, with their errors.
    matched : tuple of str
        Columns of the table that the map needs.
    lacking : tuple of str
        What the map needs and the table lacks.
    further : tuple of str
        Columns that the map knows and does not need: other kinds of photometry, extinction, classes, flags.
    absent : tuple of str
        Those of them that the table lacks.
    """

    name: str
    title: str
    photometry: str
    bands: tuple[str, ...]
    matched: tuple[str, ...]
    lacking: tuple[str, ...]
    further: tuple[str, ...]
    absent: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether nothing is lacking."""
        return not self.lacking

    @property
    def part(self) -> float:
        """Part of the needed columns that were found."""
        return len(self.matched) / (len(self.matched) + len(self.lacking))

    @property
    def reason(self) -> str:
        """Why, in words."""
        total = len(self.matched) + len(self.lacking)
        bands = ", ".join(self.bands) if self.bands else "no whole band"
        text = f"{len(self.matched)} of {total} needed columns; photometry {self.photometry}: {bands}"
        return text if self.fits else f"{text}; lacking {', '.join(self.lacking)}"


def guess(columns: Iterable[str], maps: Mapping[str, SurveyMap] | None = None) -> tuple[Guess, ...]:
    """Find the survey maps that fit a table.

    A map fits if its identifier, its positions and one kind of its photometry with all bands are there, names compared
    as in reading. Maps that fit come first, then those of which at least half was found, two bands among it; more
    columns known come before fewer. Columns cannot tell apart surveys that name them alike.

    Parameters
    ----------
    columns : iterable of str
        Names of the columns of a table.
    maps : mapping of str to SurveyMap, optional
        Maps to choose from; those that come with astrokeras by default.

    Returns
    -------
    tuple of Guess
        Best first; empty if nothing comes near.

    Examples
    --------
    >>> from astrokeras import surveys
    >>> [best, *others] = surveys.guess(["designation", "ra", "dec", *(f"w{i}mpro" for i in (1, 2, 3, 4)),
    ...                                  *(f"w{i}sigmpro" for i in (1, 2, 3, 4))])
    >>> print(best.name, "-", best.reason)
    allwise - 11 of 11 needed columns; photometry profile: W1, W2, W3, W4
    """
    columns = tuple(columns)
    maps = {name: load(name) for name in shipped()} if maps is None else maps
    found = [g for name, stated in maps.items() if (g := _compare(name, stated, columns)) is not None]
    return tuple(sorted(found, key=_rank))


def _rank(one: Guess) -> tuple[bool, float, int, int, str]:
    """Sorting key: best first."""
    return not one.fits, -one.part, -len(one.matched) - len(one.further), len(one.absent), one.name


def _compare(name: str, stated: SurveyMap, columns: tuple[str, ...]) -> Guess | None:
    """The guess for one map, or None if too little of it is there."""
    kinds = {kind: _channels(stated, kind) for kind in stated.photometry}
    order = sorted(kinds, key=lambda kind: kind != stated.default_photometry)
    best = max(order, key=lambda kind: _presence(kinds[kind], columns))
    needed = dict.fromkeys((*_plain_needs(stated), *(c for channel in kinds[best] for c in channel.columns)))
    places = {reference: _find(reference, columns) for reference in needed}
    matched = tuple(dict.fromkeys(column for column in places.values() if column is not None))
    values = {_find(c, columns) for channel in kinds[best] for _, c in channel.terms} - {None}
    bands = tuple(c.band for c in kinds[best] if all(places[reference] is not None for reference in c.columns))
    known = {reference: _find(reference, columns) for reference in _known(stated, kinds) if reference not in needed}
    further = tuple(dict.fromkeys(c for c in known.values() if c is not None and c not in matched))
    absent = tuple(reference for reference, column in known.items() if column is None)
    lacking = tuple(reference for reference, column in places.items() if column is None)
    made = Guess(name, stated.title, best, bands, matched, lacking, further, absent)
    near = made.part >= LEAST_PART and len(values) >= 2
    return made if made.fits or near else None


def _channels(stated: SurveyMap, kind: str) -> tuple[Channel, ...]:
    return request(stated, kind, stated.photometry[kind].own_bands).channels


def _presence(channels: tuple[Channel, ...], columns: tuple[str, ...]) -> tuple[int, int]:
    """Whole bands, and columns, that are there."""
    found = [[_find(reference, columns) is not None for reference in c.columns] for c in channels]
    return sum(all(channel) for channel in found), sum(sum(channel) for channel in found)


def _plain_needs(stated: SurveyMap) -> list[str]:
    """Columns needed whatever the photometry."""
    out = list(stated.object_id or ())
    if stated.position is not None and not stated.position.optional:
        out += [stated.position.ra, stated.position.dec]
    labels = (getattr(stated, name) for name in (*LABELS, "time"))
    return out + [label.column for label in labels if label is not None and not label.optional]


def _known(stated: SurveyMap, kinds: Mapping[str, tuple[Channel, ...]]) -> list[str]:
    """All other columns that the map names."""
    out = [stated.position.ra, stated.position.dec] if stated.position is not None else []
    for channel in (c for channels in kinds.values() for c in channels):
        out += [*channel.columns, *([channel.flag] if channel.flag is not None else []), *channel.limit_columns]
    if stated.extinction is not None:
        template = stated.extinction.template
        out += [stated.expand(template, b) for b in stated.bands] if template else []
    out += [label.column for name in (*LABELS, "time") if (label := getattr(stated, name)) is not None]
    out += stated.group or ()
    return out + (sorted(Expression.parse(stated.quality).names) if stated.quality is not None else [])


def half_fit(columns: Iterable[str], asked: Request, found: Iterable[str], survey: SurveyMap | str | None) -> str:
    """What a file has of the columns that a map needs, and what would fit it, in words.

    Parameters
    ----------
    columns : iterable of str
        Names of the columns of the file.
    asked : Request
        What was wanted of the map.
    found : iterable of str
        Needed columns that are there.
    survey : SurveyMap, str or None
        The map, by its name if it has one.
    """
    columns, found = tuple(columns), tuple(found)
    shown = ", ".join([*found[:8], *["..."] * (len(found) > 8)])
    out = [f"of the needed columns there are {shown}" if found else "none of the needed columns is there"]
    taken = set(asked.photometry.values())
    for kind, stated in asked.survey.photometry.items():
        bands = [b for b in asked.bands if b in (stated.own_bands or asked.survey.bands)]
        if kind in taken or asked.unit is not None or not bands:
            continue
        channels = request(asked.survey, kind, bands).channels
        if len(bands) == len(asked.bands) and all(_find(c, columns) for channel in channels for c in channel.columns):
            out.append(f"photometry {kind!r} of the map is there whole: `photometry: {kind}`")
    fitting = [g.name for g in guess(columns) if g.fits and g.name != survey]
    out += [f"the survey map {' or '.join(map(repr, fitting[:3]))} fits the file"] if fitting else []
    return "; " + "; ".join(out)


def _find(reference: str, columns: tuple[str, ...]) -> str | None:
    try:
        return locate(reference, columns)[0]
    except SurveyError:
        return None
