"""How a training went: what its curves say, and what each input is worth. Kept beside the model; needs no Keras.

The rules are those that a lecturer would give; their thresholds are the constants below.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelError

DIAGNOSTICS, HISTORY = "diagnostics.json", "history.json"
#: These files hold a few numbers per epoch and input; anything larger is something else.
MAX_BYTES = 16 << 20

#: Shorter curves are not read.
FEWEST_EPOCHS = 5
#: Over-fitting: the validation loss rises by this fraction of all it had gained, while the training loss falls.
RISE = 0.05
#: Over-fitting: at the best epoch the validation loss is higher by this fraction of what the training loss had gained.
GAP = 0.25
#: Under-fitting: in the last tenth of the epochs the validation loss gains this fraction of all it gained.
STILL = 0.02
#: Exploding: the largest gradient norm of a step, in medians of the mean norms of all epochs.
EXPLODING = 100.0
#: Vanishing: gradient norm of the first layer over that of the last, median over the epochs; exploding: 1 over it.
VANISHING = 1e-3
#: Vanishing: mean gradient norm of an epoch.
NO_GRADIENT = 1e-7

Curves = Mapping[str, Sequence[float]]


def read_curves(curves: Curves) -> tuple[str, str]:
    """Verdict on loss curves, and the reason in words.

    Parameters
    ----------
    curves : mapping of sequences of float
        ``loss``, and ``val_loss`` where there were validation rows, one number per epoch.

    Returns
    -------
    verdict : str
        ``over-fitting``, ``under-fitting``, ``fine``, or ``unknown``.
    reason : str
        A sentence.

    Notes
    -----
    With the best epoch that of the lowest validation loss, and gains measured from the first epoch, the first of these
    that holds:

    - over-fitting: after the best epoch the validation loss rose by more than 5 % of its gain while the training loss
      fell;
    - under-fitting: the validation loss gained nothing; or it gained more than 2 % of its gain in the last tenth of the
      epochs (at least two), so was still falling when the training ended;
    - over-fitting: at the best epoch the validation loss is above the training loss by more than 25 % of what the
      training loss gained;
    - fine.
    """
    loss, held = (np.asarray(curves.get(name, ()), float) for name in ("loss", "val_loss"))
    if not len(held):
        return "unknown", "there were no validation rows"
    if len(held) < FEWEST_EPOCHS:
        return "unknown", f"too few epochs to tell: {len(held)}"
    best = int(np.argmin(held))
    gain, rise = held[0] - held[best], held[-1] - held[best]
    if rise > RISE * gain and loss[-1] < loss[best]:
        return "over-fitting", (
            f"the validation loss rises after epoch {best + 1}, its best, whose weights were kept, while the training "
            "loss falls"
        )
    if gain <= 0:
        return "under-fitting", "the validation loss never fell below that of the first epoch"
    last = max(2, len(held) // 10)
    late = held[:-last].min() - held[-last:].min()
    if late > STILL * gain:
        return "under-fitting", f"the validation loss was still falling in the last {last} of {len(held)} epochs"
    gap = held[best] - loss[best]
    if gap > GAP * (loss[0] - loss.min()):
        return "over-fitting", f"the validation loss of the best epoch is {gap:.3g} above the training loss"
    return "fine", f"the validation loss settled at {held[best]:.4g}"


def gradient_warnings(curves: Curves) -> list[str]:
    """What is wrong with the gradients of a training; empty if nothing is.

    Parameters
    ----------
    curves : mapping of sequences of float
        ``gradient_norm`` (mean over the steps of an epoch), ``gradient_norm_max``, and those of the first and of the
        last layer, ``gradient_norm_first`` and ``gradient_norm_last``.

    Notes
    -----
    Gradients explode where a step has a norm above 100 times the median of the epochs' means, or where the first layer
    has more than 1000 times that of the last (median over the epochs). They vanish where the first layer has less than
    1/1000 of that of the last, or where an epoch's mean norm is below 1e-7.
    """
    if "gradient_norm" not in curves:
        return []
    mean, largest, first, last = (
        np.asarray(curves[f"gradient_norm{kind}"], float) for kind in ("", "_max", "_first", "_last")
    )
    found = []
    usual = float(np.median(mean))
    if largest.max() > EXPLODING * usual:
        found.append(
            f"exploding gradients: a norm of {largest.max():.3g} in epoch {int(np.argmax(largest)) + 1}, usual are "
            f"{usual:.3g}; a clipnorm or a smaller learning_rate may help"
        )
    if mean.min() < NO_GRADIENT:
        found.append(f"vanishing gradients: a mean norm of {mean.min():.3g} in epoch {int(np.argmin(mean)) + 1}")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.nanmedian(first / last)) if np.any(first + last > 0) else 1.0
    if ratio < VANISHING:
        found.append(f"vanishing gradients: the first layer has {ratio:.2g} times the norm of the last")
    if ratio > 1 / VANISHING:
        found.append(f"exploding gradients: the first layer has {ratio:.2g} times the norm of the last")
    return found


def diagnose(histories: Sequence[Curves]) -> dict[str, Any]:
    """Verdicts on all members of an ensemble, as plain JSON: ``curves``, one entry per member, and ``warnings``."""
    curves, warnings = [], []
    for number, history in enumerate(histories, 1):
        verdict, reason = read_curves(history)
        curves.append({"member": number, "reading": verdict, "reason": reason, "epochs": len(history["loss"])})
        said = gradient_warnings(history)
        if verdict in ("over-fitting", "under-fitting"):
            said.insert(0, f"{verdict}: {reason}")
        warnings += [f"member {number}: {text}" for text in said]
    return {"curves": curves, "warnings": warnings}


def read_diagnostics(directory: str | Path, name: str = DIAGNOSTICS) -> Any:
    """Content of ``diagnostics.json`` or ``history.json`` beside a model; None if there is no such file.

    Raises
    ------
    ModelError
        If it cannot be read or is no JSON.
    """
    path = Path(directory) / name
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path}: holds {path.stat().st_size} bytes; at most {MAX_BYTES} are allowed")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelError(f"{path}: is no JSON ({error})") from None


def told(found: Any, path: str | Path) -> list[tuple[str, str]]:
    """Lines for people, as pairs of a name and a text.

    Raises
    ------
    ModelError
        If the content is not that of a ``diagnostics.json``.
    """
    try:
        readings = [entry["reading"] for entry in found["curves"]]
        lines = [("loss curves", "; ".join(f"{readings.count(r)} {r}" for r in dict.fromkeys(readings)))]
        ranked = sorted(found.get("importance", ()), key=lambda entry: -entry["increase"])
        worth = ", ".join(f"{e['input']} {e['increase']:.3f} +- {e['error']:.3f}" for e in ranked)
        if worth:
            lines.append(("importance", f"{worth} (loss when permuted, n = {found['n']})"))
        return [*lines, *(("warning", str(text)) for text in found["warnings"])]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ModelError(f"{Path(path) / DIAGNOSTICS}: not the diagnostics of a training") from None
