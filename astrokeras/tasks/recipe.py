"""The recipe of a training: what a ``train:`` block says, and what follows from it for the targets."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic import Field as Parameter

from ..errors import TrainingError, did_you_mean
from ..models.allowed import ACTIVATIONS, INITIALIZERS

_OPTIMIZERS = frozenset(
    ["adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "lamb", "lion", "nadam", "rmsprop", "sgd"]
)
_INITIALIZERS = frozenset(re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in INITIALIZERS)


def _one_of(names: frozenset[str]) -> AfterValidator:
    """A Keras name, known without importing Keras."""

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"no {name!r} in Keras{did_you_mean(name, names)}")
        return name

    return AfterValidator(check)


#: Redshifts just below zero are galaxies with peculiar velocities; below this they are failures.
LOWEST_REDSHIFT = -0.02


class Recipe(BaseModel):
    """How a photo-z network is built and trained; the defaults serve every survey.

    Parameters
    ----------
    target : str
        Column with the true redshift.
    network : str
        ``spline`` (the logarithm of the density is a cubic spline, Kooperberg & Stone 1991), ``binned`` (a softmax over
        the nodes of the redshift grid) or ``mixture`` (Gaussian mixture density network, Bishop 1994); all three are
        evaluated at the nodes, and linear in between.
    width, depth, members : int
        Units of a layer, residual layers, networks whose densities are averaged (Lakshminarayanan et al. 2017).
    coefficients, components : int
        Coefficients of a spline, Gaussians of a mixture.
    activation, initializer : str
        Keras names.
    l1, l2, dropout : float
        Regularisation of the dense layers.
    batch_norm : bool
        Batch normalisation in every residual layer.
    band_dropout : float
        Probability to hide a band during training, so that a missing one widens the PDF instead of breaking it.
    error_jitter : float
        Scatter (natural logarithm) by which flux errors are rescaled during training, object by object: errors follow
        the sky and the exposure, and a network that knows a field by them fails on other fields.
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
    clipnorm : float, optional
        Largest norm of the gradient of all weights together.
    schedule : str
        ``cosine`` (warm-up over 5 %, then to zero) or ``constant``.
    batch_size, epochs, patience : int
        ``patience`` epochs without a better validation loss end the training; the best weights are kept.
    seed : int
        Of initial weights, order of rows, dropout.
    threads : int
        Threads of the numerical library: results depend on it in the last bits.
    name : str
        Name of the model; by default that of the directory it is saved in.
    licence, description : str
        Written into the card.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str = "z_spec"
    network: Literal["spline", "binned", "mixture"] = "spline"
    width: int = Parameter(default=192, ge=1, le=4096)
    depth: int = Parameter(default=3, ge=1, le=64)
    members: int = Parameter(default=4, ge=1, le=32)
    coefficients: int = Parameter(default=36, ge=4, le=512)
    components: int = Parameter(default=6, ge=1, le=64)
    activation: Annotated[str, _one_of(ACTIVATIONS)] = "swish"
    initializer: Annotated[str, _one_of(_INITIALIZERS)] = "he_normal"
    l1: float = Parameter(default=0.0, ge=0)
    l2: float = Parameter(default=0.0, ge=0)
    dropout: float = Parameter(default=0.0, ge=0, lt=1)
    batch_norm: bool = False
    band_dropout: float = Parameter(default=0.06, ge=0, lt=1)
    error_jitter: float = Parameter(default=0.2, ge=0, le=5)
    crps_weight: float = Parameter(default=5.0, ge=0)
    z_min: float | None = None
    z_max: float | None = None
    n_grid: int = Parameter(default=200, ge=16, le=4096)
    optimizer: Annotated[str, _one_of(_OPTIMIZERS)] = "adamw"
    learning_rate: float = Parameter(default=4e-3, gt=0)
    weight_decay: float = Parameter(default=0.2, ge=0)
    clipnorm: float | None = Parameter(default=None, gt=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    batch_size: int = Parameter(default=256, ge=1)
    epochs: int = Parameter(default=60, ge=1)
    patience: int = Parameter(default=15, ge=1)
    seed: int = Parameter(default=0, ge=0, lt=2**31)
    threads: int = Parameter(default=2, ge=1, le=256)
    name: str = ""
    licence: str = ""
    description: str = ""


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
