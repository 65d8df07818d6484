"""Training of scikit-learn's estimators on what a network would see."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TrainingError
from ..models.card import Card
from .examples import Examples
from .learner import Learner
from .methods import METHODS
from .recipe import Recipe
from .training import fit_members, fitted_encoder

if TYPE_CHECKING:
    import keras

    from ..models.classical import Classical


def fit_estimator(
    learner: Learner, rows: Mapping[str, Examples], on_epoch: Callable[[str], None] | None = None
) -> tuple[Classical, Card]:
    """Train the estimator that the recipe names, and calibrate it.

    Parameters
    ----------
    learner : Learner
        Of the task; its recipe has a method of scikit-learn.
    rows : mapping of Examples
        ``train``, ``validate`` (of no use here) and ``calibrate``.
    on_epoch : callable, optional
        Called with what scikit-learn warns of.

    Raises
    ------
    TrainingError
        If scikit-learn refuses the parameters or the rows.
    """
    import keras
    from threadpoolctl import threadpool_limits

    recipe, train = learner.recipe, rows["train"]
    fitted = fitted_encoder(learner, train)
    encoder = keras.Model(fitted.input, {"features": fitted.output}, name="encoder")
    estimator = make_estimator(recipe)
    part = train.take(drawn(train.target, recipe))
    features = _features(encoder, part)
    try:
        with warnings.catch_warnings(record=True) as caught, threadpool_limits(recipe.threads):
            warnings.simplefilter("always")
            estimator.fit(features, part.target, **_weights(estimator, part, recipe))
    except (ArithmeticError, TypeError, ValueError) as error:
        raise TrainingError(f"train: {recipe.method}: {' '.join(str(error).split())}") from None
    for text in dict.fromkeys(str(warning.message).splitlines()[0] for warning in caught):
        if on_epoch is not None:
            on_epoch(f"{recipe.method}: {text}")
    if on_epoch is not None:
        on_epoch(f"{recipe.method}: {len(part)} rows")
    if "n_jobs" in estimator.get_params(deep=False):
        # Sums over threads come in no fixed order; predictions must not depend on it.
        estimator.set_params(n_jobs=None)
    return learner.wrapped(encoder, estimator, rows)


def _weights(estimator: Any, part: Examples, recipe: Recipe) -> dict[str, np.ndarray]:
    if part.weight is None:
        return {}
    if "sample_weight" not in signature(estimator.fit).parameters:
        raise TrainingError(f"train: {recipe.method} takes no weights of rows; leave `reweight` out")
    return {"sample_weight": part.weight}


def make_estimator(recipe: Recipe) -> Any:
    """Return the estimator of a recipe, not fitted."""
    method = METHODS[recipe.method]
    module, name = getattr(method, recipe.task).split(":")
    chosen = method.defaults[recipe.task] | recipe.parameters
    if recipe.method == "gaussian_process":
        chosen["kernel"] = _kernel(chosen["kernel"])
    if recipe.method == "knn":
        # A tree of neighbours holds indices that cannot be checked when it is loaded; 15 features and more have none.
        chosen["algorithm"] = "brute"
    if recipe.method == "svm_rbf" and recipe.task == "classify":
        # Decisions between pairs, of which the probabilities are made.
        chosen["decision_function_shape"] = "ovo"
    estimator = getattr(import_module(module), name)(**chosen)
    own = estimator.get_params(deep=False)
    given = {"random_state": recipe.seed, "n_jobs": recipe.threads}
    return estimator.set_params(**{key: value for key, value in given.items() if key in own})


def _kernel(name: str) -> Any:
    from sklearn.gaussian_process import kernels

    shape = {"rbf": kernels.RBF, "matern": kernels.Matern, "rational_quadratic": kernels.RationalQuadratic}[name]
    # Features have the scale 1, and there are some twenty of them.
    length = kernels.ConstantKernel(1.0, (1e-3, 1e3)) * shape(length_scale=4.0)
    return length + kernels.WhiteKernel(0.1, (1e-6, 1e1))


def drawn(target: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Rows to train on: all, or ``max_rows`` of them at random, every class in its ratio and twice at least."""
    limit = METHODS[recipe.method].max_rows.get(recipe.task) if recipe.max_rows is None else recipe.max_rows
    n = len(target)
    if limit is None or n <= limit:
        return np.arange(n)
    rng = np.random.default_rng(recipe.seed)
    if recipe.task != "classify":
        return np.sort(rng.permutation(n)[:limit])
    parts = []
    for number in np.unique(target):
        own = np.flatnonzero(target == number)
        parts.append(rng.permutation(own)[: max(2, round(limit * len(own) / n))])
    return np.sort(np.concatenate(parts))


def _features(encoder: Any, examples: Examples) -> np.ndarray:
    import keras

    return keras.ops.convert_to_numpy(encoder(dict(examples.tensors), training=False)["features"])


def trained(
    learner: Learner, rows: Mapping[str, Examples], on_epoch: Callable[[str], None] | None
) -> tuple[keras.Model | Classical, Card, list[dict[str, list[float]]]]:
    """Train a network, or an estimator of scikit-learn, and calibrate it.

    Returns
    -------
    model : keras.Model or Classical
    card : Card
        With what the calibration gave.
    histories : list of dict
        Loss curves of the members of a network.

    Raises
    ------
    TrainingError
        If the rows cannot give a model.
    """
    if learner.recipe.method != "keras":
        return *fit_estimator(learner, rows, on_epoch), []
    members, histories = fit_members(learner, rows["train"], rows["validate"], on_epoch)
    return *learner.finish(members, rows), histories
