"""The border before a graph: `encode` turns a chunk into tensors; `astrokeras.models.columns` stands behind the graph.

Training and inference use the same `encode`, so that a model sees the same numbers in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..fields import STAMP_FACTS, Field, by_name
from ..flags import Flag
from .card import Card
from .compare import OVERRIDES, differences, lacking_bands, match, same_stamps

if TYPE_CHECKING:
    from astropy.table import QTable

Tensors = dict[str, np.ndarray]

__all__ = ["OVERRIDES", "domain", "encode", "match"]


def encode(chunk: QTable, card: Card, override: Iterable[str] = ()) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Turn a chunk into the inputs of a graph.

    A flux that is NaN is missing, unless its error is finite and positive: then the band is an upper limit, and the
    error its depth (1 sigma); for a model that takes no limits, it is missing too. A flux that is infinite, or whose
    error is not finite or not positive, is taken as missing and flagged. A missing flux and its error become 0, and
    ``observed`` 0.

    Parameters
    ----------
    chunk : QTable
        Columns named in ``card.inputs``, in any unit that converts.
    card : Card
        Of the model.
    override : iterable of str
        See `match`; compared are the facts in ``column.info.meta``, where a column has any.

    Returns
    -------
    tensors : dict of numpy.ndarray
        float32 ``flux`` and ``flux_err`` (nJy) and ``observed`` (1 or 0), each ``(rows, bands)``; with ``card.limits``
        ``limited``, 1 where the band is an upper limit: there ``flux`` is 0, ``flux_err`` the depth, ``observed`` 0;
        with extra inputs ``extra`` ``(rows, width)``, vectors beside scalars, and, if they may be missing,
        ``extra_observed``; with a stamp ``stamp`` ``(rows, y, x, bands)`` and, as uint8, ``stamp_observed``.
    flags : numpy.ndarray
        int32 ``(rows,)``: MISSING_BAND, MISSING_INPUT, UPPER_LIMIT, BAD_PHOTOMETRY, PHOTOMETRY_MISMATCH, MASKED_PIXELS
        where a pixel of a stamp has no data; OUT_OF_DOMAIN
        where no score of the graph will tell it; and NO_DATA where the card allows no result: too few bands detected, a
        band or an extra input missing that may not miss, or nothing at all to look at. The inputs of such a row are 0.

    Raises
    ------
    ModelError
        As `match`.
    ChunkError
        If a column has no unit, or one that does not convert.
    """
    from ..chunk import facts_of

    lacking = lacking_bands(card, chunk.colnames)
    absent = {f"{kind}_{band}" for kind in ("flux", "flux_err") for band in lacking}
    facts = {band: facts_of(chunk[f"flux_{band}"]) for band in card.bands if band not in lacking}
    mismatch = bool(differences(card, facts, override))
    if card.stamp is not None:
        column = chunk[card.stamp.name]
        same_stamps(card, Field(name=card.stamp.name, shape=column.shape[1:], meta=facts_of(column, STAMP_FACTS)))
    absent |= {name for name in card.extras if name not in chunk.colnames}
    arrays = {f.name: _column(chunk, f, f.name in absent) for f in card.inputs}
    flags = np.zeros(len(chunk), np.int32)
    tensors, usable = _photometry(card, arrays, flags)
    further, known = _extras(card, arrays, flags)
    stamps, seen = _stamps(card, arrays, flags)
    # Without photometry, an object needs anything to look at.
    usable &= seen & (known if card.bands or not card.extras_may_miss else known | bool(card.stamp))
    tensors |= further | stamps
    flags[~usable] |= Flag.NO_DATA
    if not card.scores_domain:
        flags[_outside(card, arrays, tensors)] |= Flag.OUT_OF_DOMAIN
    if mismatch:
        flags |= np.int32(Flag.PHOTOMETRY_MISMATCH)
    for values in tensors.values():
        values[~usable] = 0
    return tensors, flags


def _photometry(card: Card, arrays: Mapping[str, np.ndarray], flags: np.ndarray) -> tuple[Tensors, np.ndarray]:
    """Tensors of the fluxes, and which rows the card allows a result; sets ``flags``."""
    if not card.bands:
        return {}, np.ones(len(flags), bool)
    raw, error = (np.stack([arrays[f"{kind}_{b}"] for b in card.bands], axis=1) for kind in ("flux", "flux_err"))
    measurable = np.isfinite(error) & (error > 0)
    bad = np.isinf(raw) | (np.isfinite(raw) & ~measurable)
    observed = np.isfinite(raw) & ~bad
    limited = np.isnan(raw) & measurable & card.limits
    present = observed | limited
    flags[~present.all(axis=1)] |= Flag.MISSING_BAND
    flags[limited.any(axis=1)] |= Flag.UPPER_LIMIT
    flags[bad.any(axis=1)] |= Flag.BAD_PHOTOMETRY
    tensors = {
        "flux": np.where(observed, raw, 0),
        "flux_err": np.where(present, error, 0),
        "observed": observed.astype(np.float32),
    }
    if card.limits:
        tensors["limited"] = limited.astype(np.float32)
    fixed = np.array([band not in card.may_miss for band in card.bands])
    return tensors, (observed.sum(axis=1) >= card.min_bands) & present[:, fixed].all(axis=1)


def _extras(card: Card, arrays: Mapping[str, np.ndarray], flags: np.ndarray) -> tuple[Tensors, np.ndarray]:
    """Tensors of the further scalars and vectors, and which rows have what they need; sets ``flags``."""
    if not card.extras:
        return {}, np.ones(len(flags), bool)
    extra = np.zeros((len(flags), card.tensors["extra"][0]), np.float32)
    for name, place in card.extra_places.items():
        extra[:, place] = arrays[name].reshape(len(flags), place.stop - place.start)
    known = np.isfinite(extra)
    flags[~known.all(axis=1)] |= Flag.MISSING_INPUT
    tensors = {"extra": np.where(known, extra, 0)}
    if not card.extras_may_miss:
        return tensors, known.all(axis=1)
    tensors["extra_observed"] = known.astype(np.float32)
    return tensors, known.any(axis=1) | bool(card.bands)


def _stamps(card: Card, arrays: Mapping[str, np.ndarray], flags: np.ndarray) -> tuple[Tensors, np.ndarray]:
    """Tensors of the stamp, and which rows have one pixel or more; sets ``flags``."""
    if card.stamp is None:
        return {}, np.ones(len(flags), bool)
    stamp = arrays[card.stamp.name]
    known = np.isfinite(stamp)
    whole, any_pixel = known.all(axis=(1, 2, 3)), known.any(axis=(1, 2, 3))
    flags[~whole] |= Flag.MASKED_PIXELS
    flags[~known.any(axis=(1, 2)).all(axis=1)] |= Flag.MISSING_BAND
    tensors = {"stamp": np.where(known, stamp, np.float32(0)), "stamp_observed": known.astype(np.uint8)}
    return tensors, any_pixel | bool(card.bands)


def domain(tensors: Mapping[str, np.ndarray], card: Card, tail: float = 1e-3) -> dict[str, tuple[float, float]]:
    """Ranges for ``card.domain``: what all but the fraction ``tail`` at either end of the training rows cover.

    Parameters
    ----------
    tensors : mapping of numpy.ndarray
        From `encode`, training rows only.
    card : Card
        Of the model.
    tail : float
        Fraction of the observed values left out at either end.
    """
    ranges = {}
    known = by_name(card.inputs)
    for index, band in enumerate(card.bands):
        values = tensors["flux"][tensors["observed"][:, index] > 0, index]
        if len(values):
            ranges[f"flux_{band}"] = tuple(float(q) for q in np.quantile(values, (tail, 1 - tail)))
    for name, place in card.extra_places.items():
        if known[name].shape:
            # The elements of a vector have no range in common.
            continue
        values = tensors["extra"][:, place.start]
        values = values[tensors["extra_observed"][:, place.start] > 0] if card.extras_may_miss else values
        if len(values):
            ranges[name] = tuple(float(q) for q in np.quantile(values, (tail, 1 - tail)))
    return ranges


def _column(chunk: QTable, field: Field, absent: bool) -> np.ndarray:
    """float32 values; NaN in all rows if the column is absent."""
    from ..chunk import values

    if absent:
        return np.full((len(chunk), *field.shape), np.nan, np.float32)
    array = values(chunk[field.name], field.unit, f"column {field.name!r}")
    array = array.filled(np.nan) if np.ma.isMA(array) and array.dtype.kind == "f" else array
    if np.ma.isMA(array):
        array = array.astype(np.float64).filled(np.nan)
    with np.errstate(over="ignore"):
        # Beyond float32 is infinite, which is flagged.
        return array.astype(np.float32)


def _outside(card: Card, arrays: Mapping[str, np.ndarray], tensors: Tensors) -> np.ndarray:
    """Rows with an observed input outside the range of the training rows."""
    outside = np.zeros(len(next(iter(arrays.values()))), bool)
    counts = {f"flux_{band}": index for index, band in enumerate(card.bands)}
    for name, (low, high) in card.domain.items():
        beyond = (arrays[name] < low) | (arrays[name] > high)
        index = counts.get(name.replace("flux_err_", "flux_"))
        outside |= beyond & (tensors["observed"][:, index] > 0) if index is not None else beyond
    return outside
