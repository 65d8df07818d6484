"""Training of a model: which rows, which card, what is measured and saved."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TrainingError
from ..fields import STAMP_FACTS, Field
from ..models.card import DOMAIN_SCORE, Card, Training, versions
from ..models.coverage import count, pairs, write_coverage
from ..models.diagnostics import DIAGNOSTICS, HISTORY
from ..models.tensors import domain
from ..split import assign, groups, row_keys
from .cross_fit import held_out
from .diagnosing import diagnosed
from .estimators import trained
from .examples import Examples
from .extrapolation import scored
from .guards import absent_classes, check_inputs, inputs_of
from .learner import Learner
from .recipe import Recipe
from .reweighting import reweighted
from .search import TRIALS, Found, searched

if TYPE_CHECKING:
    from astropy.table import QTable

LOG = logging.getLogger("astrokeras")

#: Parts of the split whose rows have a say in a model.
TRAINING_PARTS = ("train", "validate", "calibrate")


def facts_of(projected: QTable) -> tuple[Field, ...]:
    """Fields of the columns as they came, with what is known of filter and photometry."""
    out = []
    for name in projected.colnames:
        meta = projected[name].info.meta or {}
        facts = {k: meta[k] for k in ("filter", "photometry", "dereddened") if meta.get(k) is not None}
        unit = getattr(projected[name], "unit", None)
        shape = tuple(projected[name].shape[1:])
        facts["meta"] = {k: meta[k] for k in STAMP_FACTS if k in meta} if len(shape) == 3 else {}
        out.append(Field(name=name, unit="" if unit is None else unit.to_string(), shape=shape, **facts))
    return tuple(out)


def split_of(table: QTable, projected: QTable, inputs: tuple[str, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Part of the split of every row, found here by object where the table does not say; and which object a row is."""
    keys = {"photometry": row_keys([np.asarray(projected[name]) for name in inputs])}
    if "object_id" in table.colnames:
        keys = {"object_id": row_keys([np.asarray(table["object_id"])]), **keys}
    if "group" in table.colnames:
        keys["group"] = row_keys([np.asarray(table["group"])])
    if "split" in table.colnames:
        return np.asarray(table["split"]).astype(str), groups(keys.values())
    found = assign(keys, {"validate": 0.1, "calibrate": 0.1}, seed)
    return found.part, found.group


def provisional_card(
    task: str, save: str | None, recipe: Recipe, inputs: tuple[Field, ...], outputs: tuple[Field, ...], **facts: Any
) -> Card:
    """Card before training; ``facts`` are what the task adds to it."""
    name, version = model_name(save, task)
    bands = tuple(f.name.removeprefix("flux_err_") for f in inputs if f.name.startswith("flux_err_"))
    return Card(
        name=recipe.name or name,
        version=version,
        task=task,
        method=recipe.method,
        description=recipe.description,
        licence=recipe.licence,
        bands=bands,
        inputs=inputs,
        outputs=(*outputs, DOMAIN_SCORE),
        may_miss=bands,
        limits=recipe.limit_rate > 0 and bool(bands),
        extras_may_miss=sum(len(field.shape) < 3 for field in inputs) > 2 * len(bands),
        **facts,
    )


def model_name(save: str | None, task: str) -> tuple[str, str]:
    """Name and version of a model from its directory: ``.../<name>/<version>``, else ``.../<name>`` and 0.0.0."""
    parts = Path(save).parts if save else ()
    if len(parts) >= 2 and re.fullmatch(r"\d+\.\d+\.\d+", parts[-1]):
        return parts[-2], parts[-1]
    return (parts[-1] if parts else task), "0.0.0"


def train_and_save(
    learner: Learner,
    everything: Examples,
    parts: Mapping[str, np.ndarray],
    directory: Path,
    facts: Mapping[str, Any],
    on_epoch: Callable[[str], None] | None,
) -> None:
    """Train, calibrate on rows set aside for that, measure on the validation rows, save.

    Parameters
    ----------
    learner : Learner
        Of the task.
    everything : Examples
        Inputs and truth of all rows.
    parts : mapping of ndarray of int
        Rows of each of `TRAINING_PARTS`.
    directory : Path
        Where the model goes.
    facts : mapping
        For the card: ``split``, ``source``, ``where``, further ``counts`` of rows, and ``notes``.
    on_epoch : callable, optional
        Called with a short note after every epoch.

    Raises
    ------
    TrainingError
        If the rows cannot give a model.
    """
    from ..models.bundle import save
    from ..store import write_json

    rows = {name: everything.take(part) for name, part in parts.items()}
    _check(learner, rows)
    notes = [*facts["notes"], *_warnings(learner, everything, parts)]
    weighting: dict[str, Any] = {}
    if learner.recipe.reweight is not None:
        rows, weighting, said = reweighted(learner.recipe.reweight, learner.card, rows, learner.recipe.seed)
        notes.append(said)
    for note in notes:
        LOG.warning("%s", note)
    found = None if learner.recipe.search is None else searched(learner, rows, on_epoch)
    if found is not None:
        learner = replace(learner, recipe=found.recipe)
    model, card, histories = trained(learner, rows, on_epoch)
    if learner.folds:
        model, card = learner.recalibrate(model, card, held_out(learner, rows, on_epoch))
    seen = diagnosed(learner, model, histories, rows["validate"]) if histories else {}
    model = scored(learner, model, rows, on_epoch)
    done = card.model_copy(
        update={
            "training": _training(learner.recipe, rows, {**facts, "notes": notes, "weighting": weighting}, found),
            "metrics": learner.metrics(model, rows["validate"]),
            "domain": domain(rows["train"].tensors, card),
        }
    )
    save(directory, model, done, rows["train"].take(np.arange(min(16, len(rows["train"])))).tensors, overwrite=True)
    if histories:
        write_json(directory / HISTORY, histories)
        write_json(directory / DIAGNOSTICS, seen)
    if found is not None:
        write_json(directory / TRIALS, found.table())
    if not card.bands:
        return
    fluxes = inputs_of(card, everything.tensors, parts["train"])
    write_coverage(count({band: fluxes[f"flux_{band}"] for band in card.bands}, pairs(card.bands)), directory)


def _check(learner: Learner, rows: Mapping[str, Examples]) -> None:
    train = rows["train"]
    if len(train) < 2:
        raise TrainingError(f"train: {len(train)} usable training rows are too few")
    seen = train.tensors["observed"].any(axis=0) if learner.card.bands else ()
    unseen = [band for band, has in zip(learner.card.bands, seen, strict=True) if not has]
    if unseen:
        raise TrainingError(f"train: none of {len(train)} training rows has data in {', '.join(unseen)}")
    learner.checked(rows)


def _warnings(learner: Learner, everything: Examples, parts: Mapping[str, np.ndarray]) -> list[str]:
    """What the user should know of the rows; raises TrainingError where an input holds the target."""
    card, rows = learner.card, parts["train"]
    columns = inputs_of(card, everything.tensors, rows)
    if not learner.recipe.errors:
        # The network does not see them.
        columns = {name: values for name, values in columns.items() if not name.startswith("flux_err_")}
    target = everything.target[rows]
    notes = [
        note for one in target.reshape(len(rows), -1).T for note in check_inputs(columns, one, learner.recipe.allow)
    ]
    return [*notes, *(absent_classes(everything.target, parts, card.classes) if card.classes else ())]


def _training(recipe: Recipe, rows: Mapping[str, Examples], facts: Mapping[str, Any], found: Found | None) -> Training:
    from ..models.predict import set_threads

    return Training(
        data=rows["train"].digest(),
        count=sum(map(len, rows.values())),
        counts={name: len(part) for name, part in rows.items()} | facts["counts"],
        notes=tuple(facts["notes"]),
        weighting=facts["weighting"],
        source=facts["source"],
        split=facts["split"],
        where=facts["where"],
        seed=recipe.seed,
        # 0: the backend had started already, with a number of its own.
        threads=recipe.threads if set_threads(recipe.threads) else 0,
        versions=versions() if recipe.method == "keras" else versions("scikit-learn", "skops"),
        recipe=recipe.stated(),
        search={} if found is None else found.summary,
    )
