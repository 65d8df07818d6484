"""The recipe of a classification, and what follows from it for the classes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic import Field as Parameter

from ..errors import TrainingError, did_you_mean
from .recipe import Recipe, fold_count


class ClassSets(BaseModel):
    """Sets of classes that hold the true one with a stated probability (split-conformal prediction).

    Parameters
    ----------
    coverage : float
        Probability that the set of an object holds its class, if the object is drawn like the calibration rows.
    method : str
        ``lac`` gives the smallest sets on average, ``aps`` sets whose coverage varies less from object to object: see
        `astrokeras.probabilities.conformal_quantile`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    coverage: float = Parameter(default=0.95, gt=0, lt=1)
    method: Literal["lac", "aps"] = "lac"


class ClassifyRecipe(Recipe):
    """How a classifier is built and trained, besides what `Recipe` says; the defaults serve every survey.

    Parameters
    ----------
    target : str
        Column with the true class, text.
    imbalance : str
        What is done for rare classes: ``none``; ``weights``, each class weighs the same in the loss; ``focal``, the
        focal loss (Lin et al. 2017), which attends to difficult objects; ``resample``, objects of rare classes are
        repeated. Afterwards probabilities refer to the class ratio of the training rows again (Elkan 2001).
    label_noise : float
        Share of objects of whose class the photometry says nothing (blends, bad measurements, wrong labels): the loss
        lets them be instead of learning them by heart. The share that the probabilities assume is fitted again with the
        calibration.
    calibration : str
        ``temperature`` or ``vector``, fitted on the rows ``calibrate`` (Guo et al. 2017). ``svm_rbf``, which gives no
        probabilities, gets a logistic regression (Platt 1999) on the same rows.
    class_sets : ClassSets, optional
        Write ``class_set``.
    trees : int
        Trees of a random forest (Breiman 2001) that stands beside the networks in the graph: where nothing is missing,
        its probabilities and those of the networks are pooled. 0, an ``imbalance`` or stamps leave the networks alone.
    cross_fit : int
        Folds of the training rows, each predicted by one more network, and trees, that have not seen it: these
        predictions calibrate beside the rows ``calibrate``, as they do ``class_sets``. 0 leaves it to the rows
        ``calibrate``, as do networks on stamps; without any the probabilities stay as the loss and the pool give them.
    regions : int
        Probabilities of objects out of the domain go back to the class ratio of the training rows, at a rate that is
        found by leaving regions of the input space out of the training, one after the other: so many of them. 0 leaves
        the probabilities as they are, and so do fewer than 200 training rows per region.
    """

    task: ClassVar[str] = "classify"
    any_method: ClassVar[frozenset[str]] = Recipe.any_method | {"calibration", "class_sets"}

    target: str = "class_true"
    width: int = Parameter(default=128, ge=1, le=4096)
    depth: int = Parameter(default=5, ge=1, le=64)
    dropout: float = Parameter(default=0.2, ge=0, lt=1)
    learning_rate: float = Parameter(default=1e-2, gt=0)
    weight_decay: float = Parameter(default=0.1, ge=0)
    epochs: int = Parameter(default=64, ge=1)
    imbalance: Literal["none", "weights", "focal", "resample"] = "none"
    label_noise: float = Parameter(default=0.02, ge=0, lt=0.5)
    calibration: Literal["temperature", "vector"] = "temperature"
    class_sets: ClassSets | None = None
    trees: int = Parameter(default=48, ge=0, le=200)
    cross_fit: Annotated[int, AfterValidator(fold_count)] = Parameter(default=5, ge=0, le=50)
    regions: int = Parameter(default=6, ge=0, le=64)

    @property
    def steps(self) -> int:
        """See `Recipe.steps`; each region is learnt for half as long."""
        rehearsals = self.regions * -(-self.epochs // 2) if self.method == "keras" and self.regions > 1 else 0
        return super().steps + rehearsals


def class_numbers(column: np.ndarray, classes: tuple[str, ...], target: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the classes in a column, and which rows have one; an empty text is none.

    Raises
    ------
    TrainingError
        If a class is unknown, or fewer than two occur.
    """
    column = np.char.strip(np.asarray(column).astype(str))
    found, counts = np.unique(column, return_counts=True)
    number = dict(zip(found.tolist(), counts.tolist(), strict=True))
    number.pop("", None)
    unknown = [name for name in number if name not in classes]
    if unknown:
        name = unknown[0]
        raise TrainingError(
            f"train: {target!r} is {name!r} in {number[name]} rows, which is not among the classes "
            f"({', '.join(classes)}){did_you_mean(name, classes)}; leave such rows out with `where`"
        )
    if len(number) < 2:
        only = f"is {next(iter(number))!r} in all {sum(number.values())} rows" if number else "is empty in all rows"
        raise TrainingError(f"train: {target!r} {only}; there is nothing to learn")
    codes = np.full(len(column), -1)
    for code, name in enumerate(classes):
        codes[column == name] = code
    return codes, codes >= 0


def class_weights(counts: np.ndarray) -> np.ndarray:
    """Weights with which all classes count the same, of mean 1 over the rows: ``N / (K n_k)``, shape ``(K,)``."""
    counts = np.asarray(counts, float)
    return counts.sum() / (len(counts) * counts)


def resampled(target: np.ndarray, seed: int) -> np.ndarray:
    """Rows, in random order, with which all classes are as frequent as the largest.

    Each row comes once at least; rows of a smaller class come again as often as it takes, the last round drawn without
    replacement.

    Parameters
    ----------
    target : ndarray of int, shape (n,)
        Numbers of the classes.
    seed : int
        Of the draws.

    Returns
    -------
    ndarray of int
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(target == number) for number in np.unique(target)]
    largest = max(map(len, members))
    rows = []
    for own in members:
        rounds, rest = divmod(largest, len(own))
        rows += [np.repeat(own, rounds), rng.choice(own, rest, replace=False)]
    return rng.permutation(np.concatenate(rows))
