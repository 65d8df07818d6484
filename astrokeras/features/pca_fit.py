"""Fitting of principal components on tables that come one after the other, and what their card says."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ..fields import Field
from ..flags import Flag
from ..models.card import Card, photometry_inputs, versions
from ..models.card_parts import Components, Training
from ..models.projection import vectors, width_of
from ..models.tensors import encode
from ..stage import require
from .principal_components import Moments

if TYPE_CHECKING:
    from astropy.table import QTable, Table

_GOLDEN = 16


def whole_rows(chunk: QTable, card: Card) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Tensors of the inputs, flags, and which rows lack nothing."""
    tensors, flags = encode(chunk, card)
    whole = (flags & Flag.NO_DATA) == 0
    if card.stamp is not None:
        whole &= tensors["stamp_observed"].all(axis=(1, 2, 3))
    # What is missing here need not be all that there is of an object.
    flags &= ~np.int32(Flag.NO_DATA)
    flags[~whole] |= Flag.MISSING_INPUT
    return tensors, flags, whole


class Gathered:
    """What is kept of the training rows: their moments, and what goes into the card.

    ``stage`` is an `astrokeras.features.pca.Pca`, which imports this module.

    Attributes
    ----------
    card : Card or None
        Before the fit; None while there was no table.
    moments : Moments or None
        Of the rows in which no number is missing.
    golden : dict of ndarray
        Inputs of the first of them.
    """

    def __init__(self, stage: Any):
        self.stage = stage
        self.card: Card | None = None
        self.moments: Moments | None = None
        self.golden: dict[str, np.ndarray] = {}
        self.incomplete = 0
        self.meta: dict[str, Any] = {}
        self._digest = hashlib.sha256()

    def add(self, part: Table) -> None:
        """Take the training rows of a table into account."""
        from .. import chunk as border
        from ..tasks.train_model import facts_of

        table = border.canonical(part)
        projected = border.project(table, self.stage.training_fields(), self.stage.name)
        used = self.stage.chosen(projected, table)
        if "split" in table.colnames:
            used &= np.asarray(table["split"]).astype(str) == "train"
        fields = facts_of(projected)
        if self.card is None:
            self.card, self.meta = self._blank(fields), dict(table.meta)
            self.stage.check_width(width_of(self.card))
            self.moments = Moments(width_of(self.card))
        shapes = {field.name: field.shape for field in fields}
        for field in self.card.inputs:
            require(
                shapes[field.name] == field.shape, f"{field.name!r} has cells of {shapes[field.name]} and {field.shape}"
            )
        tensors, _, whole = whole_rows(projected[used], self.card)
        self.incomplete += int(np.count_nonzero(~whole))
        tensors = {name: values[whole] for name, values in tensors.items()}
        if not whole.any():
            return
        self.moments.add(vectors(tensors))
        for name, values in tensors.items():
            self._digest.update(values.tobytes())
            kept = self.golden.get(name, values[:0])
            self.golden[name] = np.concatenate([kept, values[: _GOLDEN - len(kept)]])

    def _blank(self, fields: tuple[Field, ...]) -> Card:
        """Card before the fit."""
        from ..tasks.train_model import model_name

        stage, recipe = self.stage, self.stage.train
        name, version = model_name(stage.save, stage.name)
        return Card(
            name=recipe.name or name,
            version=version,
            task="pca",
            method="pca",
            description=recipe.description,
            licence=recipe.licence,
            bands=(),
            inputs=photometry_inputs((), fields, stage.input_names()),
            outputs=(Field(name="pca", shape=(recipe.n,)),),
            components=Components(),
        )

    def training(self) -> Training:
        """What the card says of the rows."""
        return Training(
            data=self._digest.hexdigest(),
            count=self.moments.count,
            counts={"train": self.moments.count, "incomplete": self.incomplete},
            source=self.meta.get("source", {}),
            split=self.meta.get("split", {}),
            where=self.meta.get("where", ""),
            versions=versions("scipy"),
            recipe=self.stage.train.model_dump(mode="json"),
        )
