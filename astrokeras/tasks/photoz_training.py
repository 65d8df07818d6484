"""Training of a photo-z model: which rows, which card, what is measured and saved."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TrainingError
from ..fields import Field
from ..models.card import Card, Grid, Metric, Training, versions
from ..models.tensors import domain
from ..split import assign, row_keys
from .recipe import Recipe
from .training import Examples, fit_members

if TYPE_CHECKING:
    from astropy.table import QTable


def facts_of(projected: QTable) -> tuple[Field, ...]:
    """Fields of the columns as they came, with what is known of filter and photometry."""
    out = []
    for name in projected.colnames:
        meta = projected[name].info.meta or {}
        facts = {k: meta[k] for k in ("filter", "photometry", "dereddened") if meta.get(k) is not None}
        unit = getattr(projected[name], "unit", None)
        out.append(Field(name=name, unit="" if unit is None else unit.to_string(), **facts))
    return tuple(out)


def split_of(table: QTable, projected: QTable, inputs: tuple[str, ...], seed: int) -> np.ndarray:
    """Part of the split of every row; found here, by object, where the table does not say."""
    if "split" in table.colnames:
        return np.asarray(table["split"]).astype(str)
    photometry = row_keys([np.asarray(projected[name]) for name in inputs])
    keys = {"photometry": photometry}
    if "object_id" in table.colnames:
        keys = {"object_id": row_keys([np.asarray(table["object_id"])]), **keys}
    return assign(keys, {"validate": 0.1, "calibrate": 0.1}, seed).part


def provisional_card(save: str | None, recipe: Recipe, inputs: tuple[Field, ...], grid: Grid) -> Card:
    """Card before training."""
    name, version = model_name(save)
    bands = tuple(f.name.removeprefix("flux_err_") for f in inputs if f.name.startswith("flux_err_"))
    meta = {"z_min": grid.z_min, "z_max": grid.z_max}
    return Card(
        name=recipe.name or name,
        version=version,
        task="photoz",
        description=recipe.description,
        licence=recipe.licence,
        bands=bands,
        inputs=inputs,
        outputs=(Field(name="z_pdf", shape=(grid.n,), meta=meta),),
        may_miss=bands,
        grid=grid,
    )


def model_name(save: str | None) -> tuple[str, str]:
    """Name and version of a model from its directory: ``.../<name>/<version>``, else ``.../<name>`` and 0.0.0."""
    parts = Path(save).parts if save else ()
    if len(parts) >= 2 and re.fullmatch(r"\d+\.\d+\.\d+", parts[-1]):
        return parts[-2], parts[-1]
    return (parts[-1] if parts else "photoz"), "0.0.0"


def train_and_save(
    recipe: Recipe,
    card: Card,
    rows: dict[str, Examples],
    directory: Path,
    facts: Mapping[str, Any],
    on_epoch: Callable[[str], None] | None,
) -> None:
    """Train, calibrate on rows set aside for that, measure on the validation rows, save; ``facts`` go into the card."""
    from ..models.bundle import save
    from ..models.predict import set_threads
    from ..networks.dense import ensemble, fit_temperature
    from ..store import write_json

    grid = card.grid.nodes()
    if len(rows["train"]) < 2:
        raise TrainingError(f"train: {len(rows['train'])} usable training rows are too few")
    seen = rows["train"].tensors["observed"].any(axis=0)
    unseen = [band for band, has in zip(card.bands, seen, strict=True) if not has]
    if unseen:
        raise TrainingError(f"train: none of {len(rows['train'])} training rows has data in {', '.join(unseen)}")
    members, histories = fit_members(recipe, rows["train"], rows["validate"], grid, on_epoch)
    model = ensemble(members)
    if len(rows["calibrate"]):
        pdf = _predict(model, rows["calibrate"].tensors)
        temperature = fit_temperature(pdf, grid, rows["calibrate"].target)
        model.get_layer("z_pdf").set_temperature(temperature)
    training = Training(
        data=rows["train"].digest(),
        count=sum(map(len, rows.values())),
        counts={name: len(part) for name, part in rows.items()} | {"unusable_target": facts["unusable_target"]},
        source=facts["source"],
        split=facts["split"],
        where=facts["where"],
        seed=recipe.seed,
        # 0: the backend had started already, with a number of its own.
        threads=recipe.threads if set_threads(recipe.threads) else 0,
        versions=versions(),
        recipe=recipe.model_dump(mode="json"),
    )
    done = card.model_copy(
        update={
            "training": training,
            "metrics": _metrics(model, rows["validate"], grid),
            "domain": domain(rows["train"].tensors, card),
        }
    )
    save(directory, model, done, rows["train"].take(np.arange(min(16, len(rows["train"])))).tensors, overwrite=True)
    write_json(directory / "history.json", histories)


def _predict(model: Any, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """Densities of all rows, in batches."""
    import keras

    n = len(tensors["flux"])
    parts = [
        model({k: v[i : i + 4096] for k, v in tensors.items()}, training=False)["z_pdf"] for i in range(0, n, 4096)
    ]
    return np.concatenate([keras.ops.convert_to_numpy(p) for p in parts])


def _metrics(model: Any, validate: Examples, grid: np.ndarray) -> tuple[Metric, ...]:
    """Numbers of the validation rows, which also ended the training: a first look, not a score."""
    from .. import metrics
    from ..densities import pdf_summary

    if not len(validate):
        return ()
    pdf = _predict(model, validate.tensors)
    z_phot, z_spec = pdf_summary(pdf, grid)["median"], validate.target
    values = {
        "sigma_nmad": metrics.sigma_nmad(z_phot, z_spec),
        "outlier_fraction": metrics.outlier_fraction(z_phot, z_spec),
    }
    said = "validation rows, which also ended the training"
    return tuple(Metric(name=k, value=float(v), n=len(validate), definition=said) for k, v in values.items())
