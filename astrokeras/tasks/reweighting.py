"""Training rows weighted so that they look like the field a model is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator
from pydantic import Field as Parameter

from .. import registry
from ..errors import AstrokerasError, TrainingError
from ..flags import Flag
from ..models.card import Card
from ..models.tensors import encode
from .examples import Examples

if TYPE_CHECKING:
    from ..stage import Source

#: Rows read at once.
ROWS = 1 << 16


class Reweight(BaseModel):
    """Weight training rows by the density of a target field over their own, in magnitude and color (Lima et al. 2008).

    Parameters
    ----------
    source : dict
        Rows of the field, as a ``source:`` of a pipeline: ``{catalog: {files: field.fits, survey: sdss-casjobs}}``.
        They need the inputs of the network, and no truth.
    neighbours : int
        Training rows that make the neighbourhood of one. More give smoother weights, and less detail.
    max_rows : int
        Rows of the field that are used, a random sample if there are more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: dict[str, dict[str, Any]]
    neighbours: int = Parameter(default=20, ge=2, le=1000)
    max_rows: int = Parameter(default=50_000, ge=100, le=1_000_000)

    @field_validator("source")
    @classmethod
    def _is_one(cls, source: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if len(source) != 1:
            raise ValueError(f"one source is needed, found {sorted(source)}")
        ((name, parameters),) = source.items()
        try:
            registry.lookup("sources", name).model_validate(parameters)
        except AstrokerasError as error:
            raise ValueError(str(error)) from None
        return source

    def opened(self) -> Source:
        """The source itself."""
        ((name, parameters),) = self.source.items()
        return registry.lookup("sources", name).model_validate(parameters)

    def files(self) -> tuple[str, ...]:
        """Files that hold the field."""
        return tuple(dict.fromkeys(path for part in self.opened().partitions(ROWS) for path in part.files))


@dataclass(frozen=True)
class Weights:
    """Result of `density_ratio`.

    Attributes
    ----------
    weight : ndarray
        Of the query rows, ``(rows,)``; their mean over training rows is 1 where the field lies within them.
    outside : ndarray of bool
        Rows of the field that lie in the neighbourhood of no training row: nothing can stand for them.
    """

    weight: np.ndarray
    outside: np.ndarray


def density_ratio(train: np.ndarray, query: np.ndarray, target: np.ndarray, neighbours: int) -> Weights:
    """Density of the field over that of the training rows, by counting in the same spheres.

    The sphere of a row reaches to its k-th nearest training row (itself included, where it is one). With N_t of T rows
    of the field in it, and N training rows in all, the weight is ``(N_t / T) / (k / N)`` (Lima et al. 2008, MNRAS 390,
    118, eq. 24). A row without any object of the field around it weighs nothing.

    Parameters
    ----------
    train, query, target : ndarray
        Features of training rows, of the rows to weigh and of the field, ``(rows, features)``.
    neighbours : int
        k, at most the number of training rows.
    """
    from scipy.spatial import cKDTree

    k = min(neighbours, len(train))
    tree, field = cKDTree(train), cKDTree(target)
    # Rounding must not leave the outermost neighbour outside.
    radius = tree.query(query, k=[k])[0][:, 0] * (1 + 1e-9)
    found = field.query_ball_point(query, radius, return_length=True)
    reach = tree.query(train, k=[k])[0][:, 0]
    distance, near = tree.query(target, k=range(1, k + 1))
    return Weights(found / len(target) * len(train) / k, (distance > reach[near] * (1 + 1e-9)).all(axis=1))


def effective_sample_size(weight: np.ndarray) -> float:
    """Equally weighted rows that would leave as much noise in a mean: ``(sum w)^2 / sum w^2`` (Kish 1965)."""
    total = float(np.sum(np.square(weight, dtype=float)))
    return float(np.sum(weight, dtype=float)) ** 2 / total if total > 0 else 0.0


def reweighted(
    wanted: Reweight, card: Card, rows: Mapping[str, Examples], seed: int
) -> tuple[dict[str, Examples], dict[str, Any], str]:
    """Examples with weights, what the card says of them, and that in words.

    Training and validation rows are weighted, rows for calibration are not.

    Raises
    ------
    TrainingError
        If no training row lies where the field has objects, or the field has no usable row.
    """
    from ..networks.domain import batched, domain_features

    train = rows["train"]
    # Magnitudes, colors and extra inputs; errors follow from magnitudes and depth.
    features = partial(batched, domain_features(train.tensors, errors=False))
    field = features(_read(wanted, card, seed))
    found = {
        name: density_ratio(features(train.tensors), features(rows[name].tensors), field, wanted.neighbours)
        for name in ("train", "validate")
    }
    mean = found["train"].weight.mean()
    if mean == 0:
        raise TrainingError(f"train: reweight: none of {len(train)} training rows lies where the field has objects")
    weighted = {name: replace(rows[name], weight=weights.weight / mean) for name, weights in found.items()}
    told = {
        "files": sorted({Path(path).name for path in wanted.files()}),
        "neighbours": wanted.neighbours,
        "field_rows": len(field),
        "field_rows_outside": int(found["train"].outside.sum()),
        "rows_without_weight": int(np.count_nonzero(found["train"].weight == 0)),
        "effective_sample_size": round(effective_sample_size(found["train"].weight), 1),
    }
    return {**rows, **weighted}, told, _said(told, len(train))


def _said(told: Mapping[str, Any], rows: int) -> str:
    size, none, field = (told[k] for k in ("effective_sample_size", "rows_without_weight", "field_rows"))
    return (
        f"reweighted to a field of {field} rows: effective sample size {size:.0f} of {rows} training rows, "
        f"{none} without weight; no training row is like {told['field_rows_outside'] / field:.1%} of the field"
    )


def _read(wanted: Reweight, card: Card, seed: int) -> dict[str, np.ndarray]:
    """Tensors of a random sample of the field."""
    source = wanted.opened()
    names = {f.name for f in source.fields()} & {f.name for f in card.inputs}
    rng = np.random.default_rng(seed)
    kept: dict[str, np.ndarray] = {}
    for partition in source.partitions(ROWS):
        tensors, flags = encode(source.read(partition, sorted(names)), card)
        usable = (flags & Flag.NO_DATA) == 0
        new = {name: values[usable] for name, values in tensors.items()} | {"draw": rng.random(usable.sum())}
        kept = {name: np.concatenate([kept[name], values]) for name, values in new.items()} if kept else new
        # The smallest of random numbers, one per row, are a random sample, however many rows there are.
        first = np.argsort(kept["draw"], kind="stable")[: wanted.max_rows]
        kept = {name: values[np.sort(first)] for name, values in kept.items()}
    if not len(kept.get("draw", ())):
        raise TrainingError("train: reweight: the field has no row with photometry")
    return {name: values for name, values in kept.items() if name != "draw"}
