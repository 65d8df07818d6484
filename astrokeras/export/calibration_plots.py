"""Pictures of a calibration, from the file that `evaluate` wrote: PIT histograms and reliability of classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Scores of a model, beside it.
EVALUATION = "evaluation.json"


def read_evaluation(directory: Path) -> dict[str, Any] | None:
    """Scores that lie beside a model; None if there are none.

    Raises
    ------
    ModelError
        If the file is damaged.
    """
    path = directory / EVALUATION
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from None


def calibration_figure(figure: Figure, report: Mapping[str, Any]) -> Figure:
    """How probabilities come true: of all objects, and in bins of magnitude.

    Of redshifts the histogram of the cumulative probabilities at the true redshift, which is flat, within the grey band
    in 95 % of the bins, where densities are right (Dawid 1984). Of classes how often the most probable one is right,
    against its probability (DeGroot & Fienberg 1983).
    """
    magnitude = report.get("magnitude", {})
    label = magnitude.get("column", "")
    parts = [("all", report["overall"])]
    parts += [(f"{label} {b['low']:.4g} to {b['high']:.4g}", b) for b in magnitude.get("bins", ()) if b["n"]]
    figure.set_size_inches(3.2 * min(3, len(parts)), 2.9 * -(-len(parts) // 3))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(-(-len(parts) // 3), min(3, len(parts)), squeeze=False).flat
    for ax, (title, scores) in zip(axes, parts, strict=False):
        (draw_reliability if "reliability" in scores else draw_pit)(ax, scores)
        ax.set_title(f"{title} (n = {scores['n']})", fontsize="small")
    for ax in list(axes)[len(parts) :]:
        ax.set_axis_off()
    return figure


def draw_pit(ax: Axes, scores: Mapping[str, Any]) -> None:
    """Histogram of the cumulative probabilities at the true redshift, and where 95 % of flat bins lie."""
    counts = np.asarray(scores["pit_histogram"], float)
    expected = counts.sum() / len(counts)
    # Of a count with many trials 95 % lie within 1.96 standard deviations.
    half = 1.96 * np.sqrt(expected * (1 - 1 / len(counts)))
    ax.axhspan(expected - half, expected + half, color="0.85")
    ax.stairs(counts, np.linspace(0, 1, len(counts) + 1))
    ax.set(xlabel="cumulative probability at z_spec", ylabel="objects", ylim=(0, None))


def draw_reliability(ax: Axes, scores: Mapping[str, Any]) -> None:
    """How often the most probable class is right, against its probability."""
    found = scores["reliability"]
    rows = [(c, a, n) for c, a, n in zip(found["confidence"], found["accuracy"], found["n"], strict=True) if n]
    confidence, accuracy, n = np.array(rows, float).T
    ax.plot([0, 1], [0, 1], color="0.7")
    ax.errorbar(confidence, accuracy, np.sqrt(confidence * (1 - confidence) / n), fmt="o", markersize=3)
    low = 1 / max(2, len(scores.get("classes", {})))
    ax.set(xlabel="highest probability", ylabel="fraction right", xlim=(low - 0.05, 1.02), ylim=(0, 1.02))
