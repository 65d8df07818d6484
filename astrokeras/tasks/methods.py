"""The methods of ``train: {method: ...}`` besides networks: estimators of scikit-learn, and their parameters.

Names are listed here so that a pipeline is checked without importing scikit-learn; a test compares them with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import did_you_mean

Value = bool | int | float | str | None
Name = Literal["keras", "random_forest", "hist_gradient_boosting", "svm_rbf", "gaussian_process", "knn", "linear"]

#: Kernels of a Gaussian process; each with an amplitude before it and white noise beside it.
KERNELS = ("matern", "rational_quadratic", "rbf")
#: Parameters that are set by `seed` and `threads`, concern only what is printed, take objects, or would bring
#: structures into a model that are not inspected when it is loaded.
RESERVED = frozenset(
    [
        *("algorithm", "break_ties", "categorical_features", "coef0", "copy_X", "copy_X_train"),
        *("decision_function_shape", "degree", "interaction_cst", "leaf_size", "loss", "metric_params"),
        *("monotonic_cst", "multi_class", "n_jobs", "n_targets", "penalty", "probability", "quantile"),
        *("random_state", "scoring", "verbose", "warm_start"),
    ]
)


@dataclass(frozen=True)
class Method:
    """A method of scikit-learn.

    Attributes
    ----------
    photoz, classify : str
        Module and class of the estimator.
    defaults : dict
        By task: parameters that are not left to scikit-learn.
    names : dict
        By task: parameters that may be set.
    max_rows : dict
        By task: rows it is trained on at most, unless the recipe says otherwise; no entry for no limit.
    """

    photoz: str
    classify: str
    defaults: dict[str, dict[str, Any]]
    names: dict[str, tuple[str, ...]]
    max_rows: dict[str, int] = field(default_factory=dict)


def _names(both: str, photoz: str = "", classify: str = "") -> dict[str, tuple[str, ...]]:
    """Sorted names by task, of texts with spaces between the names."""
    return {
        "photoz": tuple(sorted(f"{both} {photoz}".split(), key=str.lower)),
        "classify": tuple(sorted(f"{both} {classify}".split(), key=str.lower)),
    }


METHODS = {
    "random_forest": Method(
        "sklearn.ensemble:RandomForestRegressor",
        "sklearn.ensemble:RandomForestClassifier",
        {"photoz": {"min_samples_leaf": 3, "max_features": 0.5}, "classify": {"min_samples_leaf": 3}},
        _names(
            "bootstrap ccp_alpha criterion max_depth max_features max_leaf_nodes max_samples min_impurity_decrease "
            "min_samples_leaf min_samples_split min_weight_fraction_leaf n_estimators oob_score",
            classify="class_weight",
        ),
    ),
    "hist_gradient_boosting": Method(
        "sklearn.ensemble:HistGradientBoostingRegressor",
        "sklearn.ensemble:HistGradientBoostingClassifier",
        # What scikit-learn would set aside to stop early is random rows, not objects.
        {task: {"early_stopping": False, "max_iter": 200, "learning_rate": 0.06} for task in ("photoz", "classify")},
        _names(
            "early_stopping l2_regularization learning_rate max_bins max_depth max_features max_iter max_leaf_nodes "
            "min_samples_leaf n_iter_no_change tol validation_fraction",
            classify="class_weight",
        ),
    ),
    "svm_rbf": Method(
        "sklearn.svm:SVR",
        "sklearn.svm:SVC",
        {"photoz": {"C": 3.0, "epsilon": 0.01}, "classify": {"C": 10.0}},
        _names("C cache_size gamma max_iter shrinking tol", "epsilon", "class_weight"),
        max_rows={"photoz": 20_000, "classify": 20_000},
    ),
    "gaussian_process": Method(
        "sklearn.gaussian_process:GaussianProcessRegressor",
        "sklearn.gaussian_process:GaussianProcessClassifier",
        {"photoz": {"normalize_y": True, "kernel": "rbf"}, "classify": {"kernel": "rbf"}},
        _names("kernel n_restarts_optimizer optimizer", "alpha normalize_y", "max_iter_predict"),
        max_rows={"photoz": 1000, "classify": 400},
    ),
    "knn": Method(
        "sklearn.neighbors:KNeighborsRegressor",
        "sklearn.neighbors:KNeighborsClassifier",
        {task: {"n_neighbors": 20, "weights": "distance"} for task in ("photoz", "classify")},
        _names("metric n_neighbors p weights"),
    ),
    "linear": Method(
        "sklearn.linear_model:Ridge",
        "sklearn.linear_model:LogisticRegression",
        {"photoz": {}, "classify": {"max_iter": 1000}},
        _names("fit_intercept max_iter solver tol", "alpha positive", "C class_weight dual intercept_scaling l1_ratio"),
    ),
}


def check_parameters(method: str, task: str, names: list[str]) -> None:
    """Raise ValueError for a parameter that a method does not have, or that is not to be set."""
    known = METHODS[method].names[task]
    for name in names:
        if name in RESERVED and name not in known:
            raise ValueError(f"`parameters`: {name!r} of {method} cannot be set; possible are {', '.join(known)}")
        if name not in known:
            raise ValueError(f"`parameters`: {method} has no {name!r}{did_you_mean(name, known)}")
