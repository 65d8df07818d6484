"""Native columns of a survey to canonical columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..flags import Flag
from .calibrate import Flux, Measurements, dereddened, flagged, with_limits
from .calibration import Calibration
from .columns import Native, numbers
from .depths import depths, not_detected
from .plain import copied, identifiers, label
from .positions import has_positions, positions
from .request import LABELS, Channel, Request
from .times import times


def convert(
    request: Request, columns: Mapping[str, Native], n: int, wanted: Iterable[str], first: int = 0
) -> dict[str, Any]:
    """Canonical columns.

    Parameters
    ----------
    request : Request
        What is asked for.
    columns : mapping of str to Native
        The columns of `Request.natives`; absent optional ones give missing values.
    n : int
        Number of rows.
    wanted : iterable of str
        Canonical columns to make.
    first : int
        Number of the first row in the whole catalog: the identifiers of a survey without any.

    Returns
    -------
    dict of str to array, shape (n,)
        In the units of the Fields.

    Raises
    ------
    SurveyError
        If a column does not fit the map.
    """
    wanted = list(wanted)
    flags = np.zeros(n, np.int32)
    out: dict[str, Any] = {}
    if "object_id" in wanted:
        names = request.survey.object_id
        out["object_id"] = identifiers(columns, names, "object_id") if names else np.arange(first, first + n)
    if request.survey.position is not None and {"ra", "dec", "flags"} & set(wanted):
        out["ra"], out["dec"] = positions(request, columns, n)
        # A catalog without positions has no bad ones.
        bad = np.isnan(out["ra"]) & has_positions(request, columns)
        flags |= np.where(bad, np.int32(Flag.BAD_POSITION), np.int32(0))
    for channel in request.wanted(wanted):
        flux = fluxes(request, channel, columns)
        out[channel.flux_name] = flux.flux
        out[channel.error_name] = flux.error
        if channel.measure == "":
            missing = np.isnan(flux.flux) & ~flux.limited
            flags |= np.where(missing, np.int32(Flag.MISSING_BAND), np.int32(0))
            flags |= np.where(flux.limited, np.int32(Flag.UPPER_LIMIT), np.int32(0))
            flags |= np.where(flux.bad, np.int32(Flag.BAD_PHOTOMETRY), np.int32(0))
    for name in LABELS.keys() & set(wanted):
        out[name] = label(request, name, columns, n)
    if "time" in wanted and request.time is not None:
        out["time"] = times(request.time, columns, n, request.survey.missing)
    if "group" in wanted:
        out["group"] = identifiers(columns, request.survey.group or (), "group", optional=True)
    for native, kept in request.keep:
        if kept.name in wanted:
            out[kept.name] = copied(columns[native], native, kept)
    out["flags"] = flags
    return {name: out[name] for name in wanted if name in out}


def fluxes(request: Request, channel: Channel, columns: Mapping[str, Native]) -> Flux:
    """Flux and error of a channel in nJy."""
    survey, statement = request.survey, channel.photometry
    sentinels = survey.missing + statement.missing
    value = _value(channel, columns, sentinels)
    uncertainty = None if channel.error is None else Measurements.of(numbers(columns, channel.error), sentinels)
    calibration = Calibration.of(request, channel, columns)
    undetected = None
    if statement.limits is not None:
        undetected = not_detected(channel, columns, value, uncertainty)
        own, value = value, Measurements(value.data, value.missing | undetected)
    result = calibration.flux(value, uncertainty)
    if channel.flag in columns:
        flag = numbers(columns, channel.flag)
        result = flagged(result, flag)
        undetected = None if undetected is None else undetected & ~np.ma.filled(np.ma.asanyarray(flag) != 0, True)
    if undetected is not None and channel.depth is not None:
        result = with_limits(result, undetected, depths(request, channel, columns, own, calibration))
    if request.deredden:
        result = dereddened(result, transmission(request, channel.band, columns, len(value.data)))
    return result


def _value(channel: Channel, columns: Mapping[str, Native], sentinels: tuple[float, ...]) -> Measurements:
    """Values of a channel; a sum is missing where one of its terms is."""
    if channel.photometry.mag_sums is None:
        return Measurements.of(numbers(columns, channel.values[0]), sentinels)
    found = [(sign, Measurements.of(numbers(columns, name), sentinels)) for sign, name in channel.terms]
    data = np.sum([sign * term.data for sign, term in found], axis=0)
    return Measurements(data, np.any([term.missing for _, term in found], axis=0))


def transmission(request: Request, band: str, columns: Mapping[str, Native], n: int) -> np.ndarray:
    """Linear transmission of the Galaxy towards every object."""
    stated, survey = request.corrected, request.survey
    if stated.map is not None:
        data = stated.reddening(partial(survey.expand, band=band), *positions(request, columns, n))
    else:
        found = Measurements.of(numbers(columns, request.extinction_column(band)), survey.missing)
        data = np.where(found.missing, np.nan, found.data)
    if stated.transmission is not None:
        return data
    return 10.0 ** (-0.4 * data * (survey.coefficient(stated, band) if stated.by_ebv else 1.0))
