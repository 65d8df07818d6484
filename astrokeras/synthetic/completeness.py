"""How many of the injected sources were found, and how well they were measured."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import ChunkError, did_you_mean
from ..units import ab_to_njy

if TYPE_CHECKING:
    from astropy.table import QTable, Table

#: A detection that had more than this share of its flux before the injection is of what was there before.
OLD_SHARE = 0.5
#: What completeness is counted by, and the default width of a bin.
KEYS = {"mag": 0.5, "surface_brightness": 0.5}


def recovered(
    truth: Table, detected: Table, before: Table | None = None, radius: float = 1.0, flux: str | None = None
) -> np.ndarray:
    """Row of the detection of each injected source, -1 where it was not found.

    A source is found if a detection lies within ``radius``, and nothing that was there before the injection explains
    it: no object within ``radius`` of the detection had more than half of its flux. A detection counts once, for the
    nearest source.

    Parameters
    ----------
    truth, detected, before : Table
        Injected sources, the catalog of the injected image, and that of the image as it was, with ``ra`` and ``dec``.
    radius : float
        In arcsec.
    flux : str, optional
        Column to compare with ``before``; the first ``flux_total_*`` or ``flux_*`` by default.

    Returns
    -------
    ndarray of int, shape (len(truth),)

    Raises
    ------
    ChunkError
        If a column is missing.
    """
    from ..ingest.skymatch import Sky

    points, found = _points(truth), _points(detected)
    nearest = Sky(found).nearest(points, radius)
    row, separation = nearest.index.copy(), nearest.separation
    # Of several sources with one detection the nearest keeps it.
    order = np.lexsort((separation, row))
    again = np.append(False, row[order][1:] == row[order][:-1])
    row[order[again]] = -1
    if before is None or not len(before) or not len(detected):
        return row
    name = flux or _flux_column(detected)
    old = Sky(_points(before)).nearest(found, radius).index
    had = np.where(old >= 0, _values(before, name)[old], 0.0)
    was_there = had > OLD_SHARE * _values(detected, name)
    row[(row >= 0) & was_there[row]] = -1
    return row


def completeness(
    truth: Table,
    detected: Table,
    before: Table | None = None,
    *,
    radius: float = 1.0,
    by: Literal["mag", "surface_brightness"] = "mag",
    edges: Sequence[float] | None = None,
    measure: str = "total",
    row: np.ndarray | None = None,
) -> QTable:
    """Completeness and bias of fluxes, by magnitude or surface brightness and by half-light radius.

    Parameters
    ----------
    truth : Table
        Injected sources: ``ra``, ``dec``, ``mag``, ``r_half``, ``surface_brightness``, and ``mag_{band}`` where that
        differs from ``mag``.
    detected, before : Table
        Catalogs of the image with and without them; see `recovered`.
    radius : float
        In arcsec.
    by : {"mag", "surface_brightness"}
        What the bins are of; AB mag, or AB mag per square arcsec.
    edges : sequence of float, optional
        Edges of the bins; by default half a mag wide.
    measure : str
        Flux whose bias is wanted: ``total``, ``psf``, or empty for the colour photometry.
    row : ndarray of int, optional
        Detections of the sources, where they are known; of several catalogs joined, for example.

    Returns
    -------
    QTable
        One row per bin and radius: ``r_half`` (arcsec), ``low``, ``high``, ``n``, ``n_found``, ``completeness`` with
        ``completeness_lo`` and ``completeness_hi`` (68 %, Wilson), and for each band ``flux_bias_{band}``, the median
        of measured over true flux minus 1, its error ``flux_bias_err_{band}``, and the scatter ``flux_scatter_{band}``
        (1.4826 times the median absolute deviation). NaN where nothing was found.

    Raises
    ------
    ChunkError
        If a column is missing.
    """
    from astropy import units as u
    from astropy.table import QTable, vstack

    row = recovered(truth, detected, before, radius) if row is None else row
    values = _values(truth, by)
    edges = np.asarray(edges, float) if edges is not None else _edges(values, KEYS[by])
    sizes = _values(truth, "r_half")
    prefix = f"flux_{measure}_" if measure else "flux_"
    ratios = _ratios(truth, detected, row, prefix)
    lines = []
    for size in np.unique(sizes):
        for low, high in pairwise(edges):
            inside = (sizes == size) & (values >= low) & (values < high)
            if inside.any():
                lines.append(_bin(size, low, high, inside, row >= 0, ratios))
    names = ("low", "high", "n", "n_found")
    empty = {name: np.zeros(0) for name in ("r_half", *names)}
    table = vstack([QTable([line]) for line in lines]) if lines else QTable(empty)
    table["r_half"].unit = "arcsec"
    unit = u.mag if by == "mag" else u.mag / u.arcsec**2
    for name in ("low", "high"):
        table[name].unit = unit
    table.meta |= {"by": by, "radius": radius, "measure": measure}
    return table


def _bin(
    size: float, low: float, high: float, inside: np.ndarray, found: np.ndarray, ratios: dict[str, np.ndarray]
) -> dict[str, Any]:
    from astropy.stats import binom_conf_interval

    n, k = int(inside.sum()), int((inside & found).sum())
    interval = binom_conf_interval(k, n, interval="wilson")
    line = {"r_half": size, "low": low, "high": high, "n": n, "n_found": k, "completeness": k / n}
    line |= {"completeness_lo": float(interval[0]), "completeness_hi": float(interval[1])}
    for band, ratio in ratios.items():
        some = ratio[inside & found & np.isfinite(ratio)]
        median = np.median(some) if len(some) else np.nan
        scatter = 1.4826 * np.median(np.abs(some - median)) if len(some) else np.nan
        line[f"flux_bias_{band}"] = median - 1
        # The error of a median of normal variates.
        line[f"flux_bias_err_{band}"] = 1.2533 * scatter / np.sqrt(len(some)) if len(some) > 1 else np.nan
        line[f"flux_scatter_{band}"] = scatter
    return line


def limit(table: QTable, share: float = 0.5) -> dict[float, float]:
    """Magnitude or surface brightness at which the completeness falls below a share, by half-light radius.

    Interpolated between the middles of bins, from the bright end; NaN where it is below from the beginning, or never.
    """
    out = {}
    for size in np.unique(_values(table, "r_half")):
        rows = table[_values(table, "r_half") == size]
        middle = (_values(rows, "low") + _values(rows, "high")) / 2
        order = np.argsort(middle)
        middle, values = middle[order], _values(rows, "completeness")[order]
        below = np.flatnonzero(values < share)
        first = below[0] if len(below) else 0
        out[float(size)] = np.nan
        if first:
            part = (values[first - 1] - share) / (values[first - 1] - values[first])
            out[float(size)] = float(middle[first - 1] + part * (middle[first] - middle[first - 1]))
    return out


def _ratios(truth: Table, detected: Table, row: np.ndarray, prefix: str) -> dict[str, np.ndarray]:
    """Measured over true fluxes of the sources found, by band; NaN of the others."""
    bands = [name.removeprefix(prefix) for name in detected.colnames if name.startswith(prefix)]
    bands = [band for band in bands if "_" not in band]
    out = {}
    for band in bands:
        mag = _values(truth, f"mag_{band}" if f"mag_{band}" in truth.colnames else "mag")
        measured = _values(detected, f"{prefix}{band}")
        out[band] = np.full(len(truth), np.nan)
        out[band][row >= 0] = measured[row[row >= 0]] / ab_to_njy(mag[row >= 0])
    return out


def _edges(values: np.ndarray, width: float) -> np.ndarray:
    good = values[np.isfinite(values)]
    if not len(good):
        return np.zeros(1)
    return np.arange(np.floor(good.min() / width), np.floor(good.max() / width) + 2) * width


def _flux_column(table: Table) -> str:
    for start in ("flux_total_", "flux_"):
        names = [n for n in table.colnames if n.startswith(start) and not n.startswith("flux_err")]
        if names:
            return names[0]
    raise ChunkError(f"a catalog needs a flux; it has {', '.join(table.colnames)}")


def _values(table: Table, name: str) -> np.ndarray:
    if name not in table.colnames:
        raise ChunkError(f"no column {name!r}{did_you_mean(name, table.colnames)}")
    column = table[name]
    return np.ma.filled(np.ma.asanyarray(getattr(column, "value", column), dtype=float), np.nan)


def _points(table: Table) -> np.ndarray:
    from ..ingest.skymatch import unit_vectors

    return unit_vectors(_values(table, "ra"), _values(table, "dec"))
