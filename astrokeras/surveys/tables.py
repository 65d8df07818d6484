"""Doors: a request from what a user asks for, and a canonical table from a table in memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from ..errors import SurveyError, did_you_mean
from ..fields import Field
from .columns import Native, element, locate
from .conversion import convert
from .library import load
from .limits import Depth
from .magnitude_system import judge, tally
from .request import MEASURES, Request
from .survey import SurveyMap

if TYPE_CHECKING:
    from astropy.table import QTable


def _canonical(name: str) -> dict[str, Any]:
    """Photometry of a measure in a table that is canonical already; an error without a flux is an upper limit."""
    error = f"flux_err_{name}{{band}}"
    limits = {"no_value": True, "depth": {"column": error, "nsigma": 1, "quantity": "flux"}}
    return {"flux": f"flux_{name}{{band}}", "error": error, "limits": limits, "dereddened": "unverified"}


#: Map of tables that are canonical already, without their bands.
_CANONICAL = {
    "object_id": "object_id",
    "position": {"optional": True},
    "photometry": {"flux": _canonical(""), "total": _canonical("total_"), "psf": _canonical("psf_")},
    "default": "flux",
    "z_spec": {"column": "z_spec", "optional": True},
    "class_true": {"column": "class_true", "optional": True},
}


def request(
    survey: SurveyMap | Mapping[str, Any] | str | None,
    photometry: str | Mapping[str, str] | None = None,
    bands: Iterable[str] | None = None,
    **options: Any,
) -> Request:
    """Check what is asked for against a survey map.

    Parameters
    ----------
    survey : SurveyMap, mapping, str or None
        Map, what a file of one would say, its name or path; None: columns are canonical already.
    photometry : str or mapping, optional
        Kind of the color photometry, or kinds by measure: ``{color: model, total: cmodel, psf: psf}``.
    bands : iterable of str, optional
        Bands to take; all of the map by default. Needed without a map.
    **options
        ``deredden``, ``ab_offsets``, ``keep``, ``split``, ``depth``, ``extinction`` and ``without`` of `Request`.

    Raises
    ------
    SurveyError
        If the map does not have it.
    """
    bands = None if bands is None else tuple(bands)
    stated = stated_map(survey, bands)
    options |= {"unit": "nJy"} if survey is None else {}
    taken = choose_bands(stated, bands)
    asked = {"color": photometry} if isinstance(photometry, str) else dict(photometry or {})
    kinds = ({"color": stated.default_photometry} if stated.photometry else {}) | asked
    for measure, kind in kinds.items():
        _known(measure, MEASURES, "measure of photometry")
        _known(kind, stated.photometry, "photometry")
    made = Request(stated, kinds, taken, **options)
    if made.depth is not None:
        _fits_depth(made, made.depth)
    _has_colors(made)
    _no_clash(made)
    if made.extinction is not None and not made.deredden:
        raise SurveyError("extinction: nothing is corrected by it; say `deredden: true` as well")
    if made.deredden:
        _can_deredden(made)
    return made


def stated_map(survey: SurveyMap | Mapping[str, Any] | str | None, bands: tuple[str, ...] | None) -> SurveyMap:
    """The map itself, of its name, or of canonical columns in some bands.

    Raises
    ------
    SurveyError
        If there is none of the name, or there are no bands.
    """
    if isinstance(survey, Mapping):
        return _validated(survey)
    if survey is not None:
        return load(survey) if isinstance(survey, str) else survey
    if not bands:
        raise SurveyError("without a survey map, `bands` must be named")
    return SurveyMap.model_validate(_CANONICAL | {"bands": bands})


def _validated(survey: Mapping[str, Any]) -> SurveyMap:
    try:
        return SurveyMap.model_validate(survey)
    except ValidationError as error:
        problems = [(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.errors()]
        raise SurveyError("; ".join(f"survey.{key}: {message}" for key, message in problems)) from None


def _known(name: str, allowed: Iterable[str], what: str) -> None:
    if name not in allowed:
        raise SurveyError(f"no {what} {name!r}{did_you_mean(name, allowed)}")


def choose_bands(survey: SurveyMap, bands: tuple[str, ...] | None) -> tuple[str, ...]:
    """Bands asked for, or all of the map.

    Raises
    ------
    SurveyError
        If the map lacks one.
    """
    for band in bands or ():
        _known(band, survey.bands, "band")
    if bands is not None and (len(set(bands)) < len(bands) or not bands):
        raise SurveyError(f"bands must be different and at least one, found {list(bands)}")
    return tuple(survey.bands) if bands is None else bands


def _has_colors(made: Request) -> None:
    have = {c.band for c in made.channels if c.measure == ""}
    lacking = [b for b in made.bands if b not in have]
    if lacking:
        raise SurveyError(f"photometry {made.photometry['color']!r} has no band {', '.join(lacking)}; restrict `bands`")


def _no_clash(made: Request) -> None:
    names = [f.name for f in made.fields]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise SurveyError(f"two columns would be named {', '.join(twice)}; `keep` must not repeat canonical names")


def _can_deredden(made: Request) -> None:
    stated = made.corrected
    if stated is None:
        raise SurveyError(
            "deredden: the survey map states no extinction; a source takes `extinction:`, a column or a map of dust"
        )
    for kind in made.photometry.values():
        state = made.survey.photometry[kind].dereddened
        if state == "yes":
            raise SurveyError(f"deredden: photometry {kind!r} is dereddened by the survey map, and must not be twice")
        if state == "unverified" and made.deredden != "unverified":
            raise SurveyError(
                f"deredden: photometry {kind!r} is dereddened: unverified by the survey map; if you know that it is "
                "not, say `deredden: unverified`"
            )
    fault = made.survey.extinction_fault(stated, made.bands)
    if fault is not None:
        raise SurveyError(f"extinction: {fault}")


def _fits_depth(made: Request, depth: Depth) -> None:
    for kind in made.photometry.values():
        limits = made.survey.photometry[kind].limits
        if limits is None or made.unit is not None:
            raise SurveyError(f"depth: the survey map does not say which rows of {kind!r} are upper limits (`limits:`)")
        if depth.own and (limits.code or limits.no_value):
            raise SurveyError("depth: a row without a value of its own needs a column, bands or a map")
    fault = made.survey.depth_fault(depth, made.bands)
    if fault is not None:
        raise SurveyError(f"depth: {fault}")


def canonical_table(
    table: Any,
    survey: SurveyMap | Mapping[str, Any] | str | None,
    photometry: str | Mapping[str, str] | None = None,
    bands: Iterable[str] | None = None,
    **options: Any,
) -> QTable:
    """Take a table in a survey's columns to canonical columns.

    Parameters
    ----------
    table : Table, QTable or pandas.DataFrame
        One row per object.
    survey, photometry, bands, **options
        As in `request`.

    Returns
    -------
    QTable
        The same rows, canonical columns.

    Raises
    ------
    SurveyError
        If map and table do not fit.

    Warns
    -----
    UserWarning
        If colors say that the map names another magnitude system than the table has.

    Examples
    --------
    >>> from astropy.table import Table
    >>> mags = Table({"id": [1], "mag_r": [20.0], "err_r": [0.1]})
    >>> survey = {"object_id": "id", "bands": ["r"],
    ...           "photometry": {"total": {"mag": "mag_{band}", "error": "err_{band}", "system": "AB"}}}
    >>> from astrokeras import canonical_table
    >>> print(canonical_table(mags, survey)["flux_r"][0])
    36310.0 nJy
    """
    made = request(survey, photometry, bands, **options)
    frame = hasattr(table, "to_records") and not hasattr(table, "colnames")
    if not frame:
        from .. import chunk as border

        table = border.canonical(table)
    names = [str(name) for name in (table.columns if frame else table.colnames)]
    columns: dict[str, Native] = {}
    wanted = [f.name for f in made.fields]
    for reference, needed in made.natives(wanted).items():
        try:
            name, index = locate(reference, names)
        except SurveyError:
            if needed:
                raise
            continue
        if made.deredden and not frame:
            _not_corrected(table[name], name)
        native = _from_series(table[name]) if frame else _from_column(table[name], name)
        columns[reference] = element(native, reference, index)
    out = assemble(convert(made, columns, len(table), wanted), made.fields)
    for line in judge(tally(out, made.fields)):
        warnings.warn(line.removeprefix("warning: "), stacklevel=2)
    return out


def _not_corrected(column: Any, name: str) -> None:
    if column.info.meta and column.info.meta.get("dereddened") == "yes":
        raise SurveyError(f"deredden: column {name!r} is dereddened, as it says itself, and must not be twice")


def _from_column(column: Any, name: str) -> Native:
    from .. import chunk as border

    unit = getattr(column, "unit", None)
    stated = "" if unit is None else unit.to_string()
    return Native(border.values(column, stated, f"column {name!r}"), stated)


def _from_series(series: Any) -> Native:
    """A column of a pandas frame; its own types for missing values become masks."""
    kind, missing = series.dtype.kind, np.asarray(series.isna())
    if kind == "f":
        return Native(series.to_numpy(dtype=np.float32 if series.dtype.itemsize == 4 else np.float64, na_value=np.nan))
    if kind in "iub":
        data = series.fillna(0).to_numpy(dtype={"i": np.int64, "u": np.uint64, "b": np.bool_}[kind])
    else:
        data = np.array(["" if gone else str(x) for x, gone in zip(series, missing, strict=True)], dtype=str)
    return Native(np.ma.MaskedArray(data, missing) if np.any(missing) else data)


def assemble(columns: Mapping[str, Any], fields: Iterable[Field]) -> QTable:
    """QTable of canonical columns, with the units and descriptions of their Fields."""
    from astropy.table import QTable

    from ..chunk import as_column, typed

    known = {f.name: f for f in fields}
    return QTable({n: as_column(typed(values, known[n], "survey"), known[n]) for n, values in columns.items()})
