"""Training of density estimators: the recipe (what a ``train:`` block says) and the loop that follows it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Parameter

from ..errors import TrainingError

if TYPE_CHECKING:
    import keras

Tensors = Mapping[str, np.ndarray]
#: Redshifts just below zero are galaxies with peculiar velocities; below this they are failures.
LOWEST_REDSHIFT = -0.02


class Recipe(BaseModel):
    """How a photo-z network is built and trained; the defaults serve every survey.

    Parameters
    ----------
    target : str
        Column with the true redshift.
    network : str
        ``binned`` (a softmax over the nodes of the redshift grid, densities linear in between) or ``mixture`` (Gaussian
        mixture density network, Bishop 1994).
    width, depth, members : int
        Units of a layer, residual layers, networks whose densities are averaged (Lakshminarayanan et al. 2017).
    components : int
        Gaussians of a mixture.
    activation, initializer : str
        Keras names.
    l1, l2, dropout : float
        Regularisation of the dense layers.
    batch_norm : bool
        Batch normalisation in every residual layer.
    band_dropout : float
        Probability to hide a band during training, so that a missing one widens the PDF instead of breaking it.
    crps_weight : float
        Weight of the continuous ranked probability score beside the log-likelihood in the loss.
    z_min, z_max : float, optional
        Range of the redshift grid; by default from 0 to just beyond the largest training redshift.
    n_grid : int
        Nodes of the grid.
    optimizer : str
        Keras name.
    learning_rate, weight_decay : float
        Of the optimizer; ``weight_decay`` needs an optimizer that has it.
    schedule : str
        ``cosine`` (warm-up over 5 %, then to zero) or ``constant``.
    batch_size, epochs, patience : int
        ``patience`` epochs without a better validation loss end the training; the best weights are kept.
    seed : int
        Of initial weights, order of rows, dropout.
    threads : int
        Threads of the numerical library: results depend on it in the last bits.
    licence, description : str
        Written into the card.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str = "z_spec"
    network: Literal["binned", "mixture"] = "binned"
    width: int = Parameter(default=128, ge=1, le=4096)
    depth: int = Parameter(default=3, ge=1, le=64)
    members: int = Parameter(default=3, ge=1, le=32)
    components: int = Parameter(default=6, ge=1, le=64)
    activation: str = "relu"
    initializer: str = "he_normal"
    l1: float = Parameter(default=0.0, ge=0)
    l2: float = Parameter(default=0.0, ge=0)
    dropout: float = Parameter(default=0.0, ge=0, lt=1)
    batch_norm: bool = False
    band_dropout: float = Parameter(default=0.05, ge=0, lt=1)
    crps_weight: float = Parameter(default=0.0, ge=0)
    z_min: float | None = None
    z_max: float | None = None
    n_grid: int = Parameter(default=200, ge=16, le=4096)
    optimizer: str = "adamw"
    learning_rate: float = Parameter(default=2e-3, gt=0)
    weight_decay: float = Parameter(default=1e-3, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    batch_size: int = Parameter(default=256, ge=1)
    epochs: int = Parameter(default=60, ge=1)
    patience: int = Parameter(default=15, ge=1)
    seed: int = Parameter(default=0, ge=0, lt=2**31)
    threads: int = Parameter(default=2, ge=1, le=256)
    licence: str = ""
    description: str = ""


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


def redshift_range(recipe: Recipe, target: np.ndarray) -> tuple[float, float]:
    """Ends of the redshift grid: as the recipe says, else 0 and 2 % beyond the largest redshift, rounded up to .05."""
    if not len(target):
        raise TrainingError(f"train: no row of the training part has a usable {recipe.target!r}")
    z_min = 0.0 if recipe.z_min is None else recipe.z_min
    z_max = float(np.ceil(target.max() * 1.02 / 0.05) * 0.05) if recipe.z_max is None else recipe.z_max
    if not z_max > z_min:
        raise TrainingError(f"train: the redshift grid from {z_min} to {z_max} is empty")
    return z_min, round(z_max, 6)


def usable_targets(target: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Rows whose redshift can be learnt from: finite and inside the grid.

    Raises
    ------
    TrainingError
        If there is none, or all have the same redshift.
    """
    low = LOWEST_REDSHIFT if recipe.z_min is None else recipe.z_min
    high = np.inf if recipe.z_max is None else recipe.z_max
    with np.errstate(invalid="ignore"):
        good = np.isfinite(target) & (target >= low) & (target <= high)
    if not good.any():
        found = f"{np.count_nonzero(~np.isfinite(target))} are missing, the others outside {low:g} to {high:g}"
        raise TrainingError(f"train: none of {len(target)} rows has a usable {recipe.target!r}; {found}")
    if np.ptp(target[good]) == 0:
        value = target[good][0]
        raise TrainingError(
            f"train: {recipe.target!r} is {value:g} in all {good.sum()} rows; there is nothing to learn"
        )
    return good


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
