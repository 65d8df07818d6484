"""Pictures of a model: loss curves, gradient norms, importance of the inputs, first kernels, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import ModelError
from ..models.diagnostics import DIAGNOSTICS, HISTORY, read_curves, read_diagnostics
from .atomic import replacing
from .calibration_plots import EVALUATION, calibration_figure, read_evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Format = Literal["png", "svg"]


def training_plots(directory: str | Path, out: str | Path, format: Format = "png") -> list[Path]:
    """Draw what is known of the training of a model.

    ``losses`` and ``gradients`` come from ``history.json``, ``importance`` from ``diagnostics.json``, ``kernels`` from
    the model itself, ``calibration`` from the scores that lie beside it as ``evaluation.json``; what has no file is
    left out.

    Parameters
    ----------
    directory, out : str or Path
        Model directory; where the pictures go, made if it is missing.
    format : {"png", "svg"}
        Of the pictures.

    Returns
    -------
    list of Path
        Pictures written. Equal models give equal bytes with the same matplotlib.

    Raises
    ------
    ModelError
        If the model cannot be read, or a file beside it is damaged.
    OutputError
        If a picture cannot be written.
    """
    from matplotlib.figure import Figure

    from ..models.bundle import load
    from ..models.kernels import first_kernels

    directory, out = Path(directory), Path(out)
    bundle = load(directory)
    if bundle.card.method == "pca":
        raise ModelError(f"{directory}: principal components have no training to draw")
    names, kernels = first_kernels(bundle)
    figures = {"kernels": kernel_figure(Figure(), names, kernels)}
    report = read_evaluation(directory)
    histories, found = read_diagnostics(directory, HISTORY), read_diagnostics(directory)
    try:
        if histories:
            figures["losses"] = loss_figure(Figure(), histories)
        if histories and all("gradient_norm" in history for history in histories):
            figures["gradients"] = gradient_figure(Figure(), histories)
        if found and found.get("importance"):
            figures["importance"] = importance_figure(Figure(), found["importance"], found["n"])
        if report:
            figures["calibration"] = calibration_figure(Figure(), report)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        files = f"{HISTORY}, {DIAGNOSTICS} or {EVALUATION}"
        raise ModelError(f"{directory}: {files} is damaged ({error})") from None
    return [_written(figure, out / f"{name}.{format}", format) for name, figure in sorted(figures.items())]


def loss_figure(figure: Figure, histories: Sequence[Mapping[str, Sequence[float]]]) -> Figure:
    """Training and validation loss of every member, the best epoch marked, with the reading of the curves."""
    axes = _axes(figure, histories)
    for number, (ax, history) in enumerate(zip(axes, histories, strict=True), 1):
        epochs = np.arange(1, len(history["loss"]) + 1)
        ax.plot(epochs, history["loss"], label="training")
        if "val_loss" in history:
            ax.plot(epochs, history["val_loss"], label="validation")
            best = int(np.argmin(history["val_loss"]))
            ax.plot(best + 1, history["val_loss"][best], "k.", label=f"best: epoch {best + 1}")
        ax.set(title=f"member {number}: {read_curves(history)[0]}", xlabel="epoch", ylabel="loss")
        ax.legend(fontsize="small")
    return figure


def gradient_figure(figure: Figure, histories: Sequence[Mapping[str, Sequence[float]]]) -> Figure:
    """Gradient norms of every member: mean and largest of all weights, means of the first and of the last layer."""
    axes = _axes(figure, histories)
    for number, (ax, history) in enumerate(zip(axes, histories, strict=True), 1):
        epochs = np.arange(1, len(history["gradient_norm"]) + 1)
        for ending, label in (
            ("", "all, mean"),
            ("_max", "all, largest"),
            ("_first", "first layer"),
            ("_last", "last layer"),
        ):
            ax.plot(epochs, history[f"gradient_norm{ending}"], label=label)
        ax.set(title=f"member {number}", xlabel="epoch", ylabel="gradient norm", yscale="log")
        ax.legend(fontsize="small")
    return figure


def importance_figure(figure: Figure, importance: Sequence[Mapping[str, Any]], n: int) -> Figure:
    """Increase of the loss when an input is permuted, with its standard error."""
    names = [str(entry["input"]) for entry in importance]
    figure.set_size_inches(6, 1 + 0.35 * len(names))
    ax = figure.subplots()
    bars = [float(entry["increase"]) for entry in importance]
    ax.barh(names, bars, xerr=[float(entry["error"]) for entry in importance], color="0.6")
    ax.invert_yaxis()
    ax.set(xlabel=f"increase of the negative log-likelihood when permuted (n = {n})")
    figure.set_layout_engine("constrained")
    return figure


def kernel_figure(figure: Figure, names: Sequence[str], kernels: Sequence[np.ndarray]) -> Figure:
    """Kernels of the first layer: features down, units across, ordered by the feature they weigh most."""
    figure.set_size_inches(4 * len(kernels) + 1.5, 1.5 + 0.18 * len(names))
    figure.set_layout_engine("constrained")
    axes = np.atleast_1d(figure.subplots(1, len(kernels), sharey=True))
    largest = max(float(np.abs(kernel).max()) for kernel in kernels)
    for number, (ax, kernel) in enumerate(zip(axes, kernels, strict=True), 1):
        order = np.argsort(np.abs(kernel).argmax(axis=0), kind="stable")
        image = ax.imshow(
            kernel[:, order], cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest"
        )
        ax.set(title=f"member {number}", xlabel="unit")
    axes[0].set_yticks(range(len(names)), names, fontsize="x-small")
    figure.colorbar(image, ax=list(axes), label="weight")
    return figure


def _axes(figure: Figure, histories: Sequence[Any]) -> list[Axes]:
    figure.set_size_inches(4 * len(histories), 3.2)
    figure.set_layout_engine("constrained")
    return list(np.atleast_1d(figure.subplots(1, len(histories))))


def _written(figure: Figure, path: Path, format: Format) -> Path:
    from matplotlib import rc_context

    # Neither a date nor random identifiers, so that equal pictures are equal files.
    with rc_context({"svg.hashsalt": path.stem}), replacing(path) as stream:
        figure.savefig(
            stream, format=format, dpi=120, metadata={"Date": None} if format == "svg" else {"Software": None}
        )
    return path
