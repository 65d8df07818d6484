"""Training of density estimators: the loop that follows a recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TrainingError
from .recipe import Recipe

if TYPE_CHECKING:
    import keras

Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Examples:
    """Rows to learn from: network inputs and true redshifts.

    Attributes
    ----------
    tensors : mapping of str to ndarray
        As `astrokeras.models.tensors.encode` gives them, rows first.
    target : ndarray
        Redshift, ``(rows,)``.
    """

    tensors: Tensors
    target: np.ndarray

    def take(self, rows: np.ndarray) -> Examples:
        """Some of the rows."""
        return Examples({k: v[rows] for k, v in self.tensors.items()}, self.target[rows])

    def __len__(self) -> int:
        return len(self.target)

    def digest(self) -> str:
        """Digest of all values."""
        total = hashlib.sha256()
        for name in sorted(self.tensors):
            total.update(np.ascontiguousarray(self.tensors[name]).tobytes())
        total.update(np.ascontiguousarray(self.target, np.float64).tobytes())
        return total.hexdigest()


def fit_members(
    recipe: Recipe,
    train: Examples,
    validate: Examples,
    grid: np.ndarray,
    on_epoch: Callable[[str], None] | None = None,
) -> tuple[list[keras.Model], list[dict[str, list[float]]]]:
    """Train the members of an ensemble.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    train, validate : Examples
        Statistics and weights come from ``train`` alone; ``validate`` (may be empty) ends the training early.
    grid : ndarray
        Redshift nodes, ``(n_grid,)``.
    on_epoch : callable, optional
        Called with a short note after every epoch.

    Returns
    -------
    members : list of keras.Model
    histories : list of dict
        Loss curves of each.

    Raises
    ------
    TrainingError
        If a band has no data or the loss is not finite.
    """
    from ..networks.dense import photometry_encoder

    t = train.tensors
    try:
        encoder = photometry_encoder(t["flux"], t["flux_err"], t["observed"], t.get("extra"))
    except ValueError as error:
        raise TrainingError(f"train: {error}") from None
    members, histories = [], []
    for number in range(recipe.members):
        member = _member(recipe, encoder, grid, number, len(train))
        histories.append(_fit(recipe, member, train, validate, _Notes(on_epoch, number, recipe)))
        members.append(member)
    return members, histories


def _member(recipe: Recipe, encoder: Any, grid: np.ndarray, number: int, rows: int) -> keras.Model:
    import keras

    from ..layers import DensityLoss
    from ..networks.dense import photoz_network

    keras.utils.set_random_seed(recipe.seed + number)
    shape = (
        "network",
        "width",
        "depth",
        "coefficients",
        "components",
        "activation",
        "initializer",
        "l1",
        "l2",
        "dropout",
        "batch_norm",
    )
    try:
        member = photoz_network(
            encoder,
            z_min=float(grid[0]),
            z_max=float(grid[-1]),
            n_grid=len(grid),
            band_dropout=recipe.band_dropout,
            error_jitter=recipe.error_jitter,
            **{name: getattr(recipe, name) for name in shape},
        )
        optimizer = _optimizer(recipe, -(-rows // recipe.batch_size))
    except ValueError as error:
        raise TrainingError(f"train: {error}") from None
    loss = DensityLoss(float(grid[0]), float(grid[-1]), crps_weight=recipe.crps_weight)
    member.compile(optimizer, loss=loss, steps_per_execution=8, jit_compile=False)
    return member


def _optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.Optimizer:
    import keras

    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine":
        steps = steps_per_epoch * recipe.epochs
        warm = max(1, steps // 20)
        rate = keras.optimizers.schedules.CosineDecay(
            rate * 0.05, max(1, steps - warm), alpha=1e-3, warmup_target=rate, warmup_steps=warm
        )
    config = {"learning_rate": rate}
    if recipe.clipnorm is not None:
        config["global_clipnorm"] = recipe.clipnorm
    if recipe.weight_decay:
        config["weight_decay"] = recipe.weight_decay
    return keras.optimizers.get({"class_name": recipe.optimizer, "config": config})


class _Notes:
    """Passes the loss of each epoch on, in the words of a progress line."""

    def __init__(self, on_epoch: Callable[[str], None] | None, number: int, recipe: Recipe):
        self.on_epoch, self.number, self.recipe = on_epoch, number, recipe

    def __call__(self, epoch: int, logs: dict[str, float]) -> None:
        if self.on_epoch is not None:
            losses = ", ".join(f"{name} {value:.4f}" for name, value in logs.items() if "loss" in name)
            self.on_epoch(f"member {self.number + 1}/{self.recipe.members}, epoch {epoch + 1}: {losses}")


def _fit(
    recipe: Recipe, member: keras.Model, train: Examples, validate: Examples, notes: _Notes
) -> dict[str, list[float]]:
    import keras

    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LambdaCallback(on_epoch_end=notes),
    ]
    held = None
    if len(validate):
        held = (dict(validate.tensors), validate.target.astype(np.float32))
        callbacks.append(keras.callbacks.EarlyStopping(patience=recipe.patience, restore_best_weights=True))
    history = member.fit(
        dict(train.tensors),
        train.target.astype(np.float32),
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        validation_data=held,
        validation_batch_size=4096,
        callbacks=callbacks,
        verbose=0,
    ).history
    if not all(np.isfinite(loss).all() for loss in history.values()):
        raise TrainingError("train: the loss became infinite or NaN; a smaller learning_rate may help")
    return {name: [float(x) for x in losses] for name, losses in history.items()}
