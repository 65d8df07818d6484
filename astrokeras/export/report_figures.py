"""Figures of a report, drawn on a given matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..units import njy_to_ab
from .calibration_plots import draw_pit, draw_reliability
from .samples import floats, texts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Mapping[str, np.ndarray]


def new_figure(width: float = 5.0, height: float = 3.6) -> Figure:
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def sky_figure(rows: Rows, labels: np.ndarray | None) -> Figure:
    """Positions, colours by class; east is left, as on the sky."""
    figure = new_figure()
    ax = figure.subplots()
    ra, dec = floats(rows["ra"]), floats(rows["dec"])
    for name, chosen in _groups(labels, len(ra)):
        ax.plot(ra[chosen], dec[chosen], ".", markersize=3 if len(ra) < 3000 else 1.5, label=name)
    if labels is not None:
        ax.legend(fontsize="small", markerscale=2)
    middle = np.nanmedian(dec)
    if np.isfinite(middle):
        ax.set_aspect(1 / max(np.cos(np.radians(middle)), 0.05), adjustable="datalim")
    ax.invert_xaxis()
    ax.ticklabel_format(useOffset=False)
    ax.set(xlabel="right ascension (deg)", ylabel="declination (deg)")
    return figure


def field_figure(picture: np.ndarray, x: np.ndarray, y: np.ndarray, labels: np.ndarray | None) -> Figure:
    """Image of the field ``(y, x, 3)`` with a ring around each object, in pixels of the picture."""
    height, width = picture.shape[:2]
    figure = new_figure(7, 7 * min(max(height / width, 0.3), 2.0))
    ax = figure.subplots()
    ax.imshow(picture, origin="lower", interpolation="nearest")
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    for number, (name, chosen) in enumerate(_groups(labels, len(x))):
        chosen = chosen & inside
        ring = {"mfc": "none", "mec": f"C{(number + 1) % 10}", "mew": 0.8, "markersize": 6}
        ax.plot(x[chosen], y[chosen], "o", label=name, **ring)
    if labels is not None:
        ax.legend(fontsize="small")
    ax.set_axis_off()
    return figure


def _groups(labels: np.ndarray | None, n: int) -> list[tuple[str, np.ndarray]]:
    if labels is None:
        return [("", np.ones(n, bool))]
    return [(name or "none", labels == name) for name in np.unique(labels).tolist()]


def magnitude_figure(rows: Rows, bands: Sequence[str]) -> Figure:
    """Histograms of AB magnitude in each band, of positive fluxes (nJy)."""
    figure = new_figure()
    ax = figure.subplots()
    drawn = False
    for band in bands:
        flux = floats(rows[f"flux_{band}"])
        magnitude = njy_to_ab(flux[np.isfinite(flux) & (flux > 0)])
        if len(magnitude):
            ax.hist(magnitude, bins=40, range=_range(magnitude), histtype="step", label=band)
            drawn = True
    if drawn:
        ax.legend(fontsize="small")
    ax.set(xlabel="AB magnitude", ylabel="objects")
    return figure


def _range(values: np.ndarray) -> tuple[float, float]:
    """Where all but a few values lie."""
    low, high = (float(v) for v in np.quantile(values, (0.002, 0.998)))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def distribution_figure(z: np.ndarray) -> Figure:
    """Histogram of redshifts."""
    figure = new_figure()
    ax = figure.subplots()
    good = z[np.isfinite(z)]
    if len(good):
        ax.hist(good, bins=50, range=_range(good), color="C0", alpha=0.8)
    ax.set(xlabel="photometric redshift", ylabel="objects")
    return figure


def scatter_figure(rows: Rows) -> Figure:
    """Photometric against true redshift, with the limits of outliers."""
    figure = new_figure(4.6, 4.4)
    ax = figure.subplots()
    z_spec, z_phot = rows["z_spec"], rows["z_phot"]
    low, high = _range(np.concatenate([z_spec, z_phot]))
    line = np.array([low, high])
    ax.plot(z_spec, z_phot, ".", markersize=2, alpha=0.5, rasterized=True)
    ax.plot(line, line, color="0.3", linewidth=1)
    for sign in (-1, 1):
        ax.plot(line, line + sign * 0.15 * (1 + line), color="0.6", linestyle="--", linewidth=1)
    ax.set(xlabel="true redshift", ylabel="photometric redshift", xlim=(low, high), ylim=(low, high))
    return figure


def pit_figure(scores: Mapping[str, Any]) -> Figure:
    """Histogram of the PIT."""
    return _one(draw_pit, scores)


def reliability_figure(scores: Mapping[str, Any]) -> Figure:
    """Reliability of class probabilities."""
    return _one(draw_reliability, scores)


def _one(draw: Any, scores: Mapping[str, Any]) -> Figure:
    figure = new_figure(4.6, 3.6)
    draw(figure.subplots(), scores)
    return figure


def confusion_figure(confusion: Mapping[str, Any]) -> Figure:
    """Objects by true class (rows) and label (columns), coloured by their share of the row."""
    names, counts = confusion["classes"], np.asarray(confusion["counts"], float)
    size = 1.8 + 0.62 * len(names)
    figure = new_figure(size + 0.5, size)
    ax = figure.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(counts):
        ax.text(j, i, f"{value:.0f}", ha="center", va="center", color="w" if share[i, j] > 0.6 else "k", fontsize=9)
    _ticks(ax, names)
    return figure


def _ticks(ax: Axes, names: Sequence[str]) -> None:
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="label", ylabel="true class")


def label_counts_figure(counts: Mapping[str, int]) -> Figure:
    """Objects by label."""
    names = [name for name, _ in sorted(counts.items(), key=lambda item: -item[1])]
    figure = new_figure(5, 1.2 + 0.32 * len(names))
    ax = figure.subplots()
    bars = ax.barh([name or "none" for name in names], [counts[name] for name in names], color="C0")
    ax.bar_label(bars, padding=3, fontsize="small")
    ax.margins(x=0.15)
    ax.invert_yaxis()
    ax.set(xlabel="objects")
    return figure


def labels_of(rows: Rows, column: str | None) -> np.ndarray | None:
    """Labels of the rows, or None."""
    return None if column is None or column not in rows else texts(rows[column])
