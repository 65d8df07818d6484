"""The recipe of a photo-z training, and what follows from it for the redshifts."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator
from pydantic import Field as Parameter

from ..errors import TrainingError
from ..fields import Band
from .recipe import Recipe, fold_count

#: Redshifts just below zero are galaxies with peculiar velocities; below this they are failures.
LOWEST_REDSHIFT = -0.02


class PhotozRecipe(Recipe):
    """How a photo-z model is built and trained, besides what `Recipe` says; the defaults serve every survey.

    Parameters
    ----------
    target : str
        Column with the true redshift.
    network : str
        ``spline`` (the logarithm of the density is a cubic spline, Kooperberg & Stone 1991), ``binned`` (a softmax over
        the nodes of the redshift grid) or ``mixture`` (Gaussian mixture density network, Bishop 1994); all three are
        evaluated at the nodes, and linear in between.
    coefficients, components : int
        Coefficients of a spline, Gaussians of a mixture.
    crps_weight : float
        Weight of the continuous ranked probability score beside the log-likelihood in the loss.
    z_min, z_max : float, optional
        Range of the redshift grid; by default from 0 to just beyond the largest training redshift.
    n_grid : int
        Nodes of the grid.
    cross_fit : int
        Folds of the training rows, each predicted by one more network that has not seen it: on these predictions the
        densities are recalibrated, and intervals and cuts in quality are found. 0 does without: then there is only one
        temperature, fitted on the rows ``calibrate``.
    magnitude_band : str, optional
        Band whose magnitude the recalibration follows; by default that of the highest signal to noise.
    error_jitter : float
        As in `Recipe`; more here, because redshifts of a patch of sky have its clusters of galaxies and zero points in
        common.
    """

    task: ClassVar[str] = "photoz"
    any_method: ClassVar[frozenset[str]] = Recipe.any_method | {"z_min", "z_max", "n_grid"}

    target: str = "z_spec"
    network: Literal["spline", "binned", "mixture"] = "spline"
    coefficients: int = Parameter(default=36, ge=4, le=512)
    components: int = Parameter(default=6, ge=1, le=64)
    crps_weight: float = Parameter(default=5.0, ge=0)
    z_min: float | None = None
    z_max: float | None = None
    n_grid: int = Parameter(default=200, ge=16, le=4096)
    cross_fit: Annotated[int, AfterValidator(fold_count)] = Parameter(default=5, ge=0, le=50)
    magnitude_band: Band | None = None
    error_jitter: float = Parameter(default=0.5, ge=0, le=5)

    @property
    def folds(self) -> int:
        """Folds to calibrate with: an estimator has its densities from the rows ``calibrate`` alone."""
        return self.cross_fit if self.method == "keras" else 0


def redshift_range(recipe: PhotozRecipe, target: np.ndarray) -> tuple[float, float]:
    """Ends of the redshift grid: as the recipe says, else 0 and 2 % beyond the largest redshift, rounded up to .05."""
    if not len(target):
        raise TrainingError(f"train: no row of the training part has a usable {recipe.target!r}")
    z_min = 0.0 if recipe.z_min is None else recipe.z_min
    z_max = float(np.ceil(target.max() * 1.02 / 0.05) * 0.05) if recipe.z_max is None else recipe.z_max
    if not z_max > z_min:
        raise TrainingError(f"train: the redshift grid from {z_min} to {z_max} is empty")
    return z_min, round(z_max, 6)


def usable_targets(target: np.ndarray, recipe: PhotozRecipe) -> np.ndarray:
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
