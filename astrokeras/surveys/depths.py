"""Upper limits of a channel: which rows were observed and not detected, and the 1-sigma depth there."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from .calibrate import Measurements
from .calibration import Calibration
from .columns import Native, numbers
from .healpix import at
from .plain import texts
from .positions import positions
from .request import Channel, Request


def not_detected(
    channel: Channel, columns: Mapping[str, Native], value: Measurements, error: Measurements | None
) -> np.ndarray:
    """Rows that the survey calls limits, in any of the ways that its map states.

    Parameters
    ----------
    value, error : Measurements
        As the survey writes them.

    Returns
    -------
    array of bool, shape (n,)
    """
    limits = channel.photometry.limits
    coded = Measurements.of(numbers(columns, channel.values[0]), limits.code).missing if limits.code else value.missing
    out = coded & ~value.missing
    if limits.no_error:
        out |= error.missing & ~value.missing
    if limits.no_value:
        out |= value.missing
    if channel.limit_flag is not None:
        out |= _told(columns[channel.limit_flag].data, limits.flag_values)
    return out


def _told(flag: np.ndarray, values: tuple[str | int, ...]) -> np.ndarray:
    if values:
        return np.isin(texts(flag), [str(value) for value in values])
    return np.ma.filled(np.ma.asanyarray(flag) != 0, False)


def depths(
    request: Request, channel: Channel, columns: Mapping[str, Native], own: Measurements, calibration: Calibration
) -> np.ndarray:
    """1-sigma depth of every row in nJy, before any correction for extinction; NaN where it is not known.

    Parameters
    ----------
    own : Measurements
        Values of the rows: the limits themselves, if the map states no other.
    """
    depth, survey = channel.depth, request.survey
    by_photometry = "mag" if channel.photometry.flux is None else "flux"
    quantity = depth.quantity or (by_photometry if depth.own or depth.column is not None else "mag")
    n = len(own.data)
    if depth.own:
        limit = own
    elif channel.depth_column is not None:
        if channel.depth_column not in columns:
            return np.full(n, np.nan)
        limit = Measurements.of(numbers(columns, channel.depth_column), survey.missing + channel.photometry.missing)
    elif depth.bands is not None:
        limit = Measurements.of(np.full(n, depth.bands.get(channel.band, np.nan)), ())
    else:
        path, column = (survey.expand(text, channel.band) for text in (depth.map.path, depth.map.column))
        limit = Measurements.of(at(depth.map, os.path.expanduser(path), column, *positions(request, columns, n)), ())
    return calibration.depth(limit, quantity) / depth.nsigma
