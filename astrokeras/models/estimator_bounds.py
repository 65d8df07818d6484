"""Whether the indices in the arrays of an estimator stay in bounds: compiled code follows them unchecked.

Trees of forests and of gradient boosting, support vectors, and the labels of neighbours. See scikit-learn's pull
request 34558 for what happens otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UnsafeModelError

Json = dict[str, Any]
Arrays = Mapping[str, np.ndarray]

_VECTORS = ("SVC", "SVR")


def check(path: Path, nodes: Sequence[Json], arrays: Arrays) -> None:
    """Check all objects of a file.

    Parameters
    ----------
    path : Path
        For messages.
    nodes : sequence of dict
        Objects, as in ``schema.json``.
    arrays : mapping of ndarray
        Arrays by their name in the file.

    Raises
    ------
    UnsafeModelError
        If an index leads out of its array, or arrays do not fit together.
    """
    try:
        widths = {_value(node["content"], "n_features_in_", arrays) for node in _having(nodes, "n_features_in_")}
        if len(widths) != 1:
            raise UnsafeModelError(
                f"{path}: its estimators take {sorted(map(str, widths))} features; one number is due"
            )
        (n_features,) = widths
        _require(type(n_features) is int and 0 < n_features < 1 << 16, path, f"{n_features!r} features")
        for node in nodes:
            checker = _CHECKS.get(node["__class__"])
            if checker is not None:
                checker(path, node, arrays, n_features)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise UnsafeModelError(f"{path}: an estimator lacks what it should hold ({error})") from None


def _having(nodes: Sequence[Json], attribute: str) -> list[Json]:
    objects = [node for node in nodes if node["__loader__"] == "ObjectNode"]
    return [node for node in objects if attribute in (node.get("content") or {}).get("content", {})]


def _value(state: Json, name: str, arrays: Arrays) -> Any:
    """Attribute of an object: a number, a text, or an array."""
    node = state["content"][name]
    if node["__loader__"] == "JsonNode":
        return json.loads(node["content"])
    return arrays[node["file"]]


def _require(condition: Any, path: Path, what: str) -> None:
    if not condition:
        raise UnsafeModelError(f"{path}: {what}: an index out of bounds, or arrays that do not fit together")


def _forest_tree(path: Path, node: Json, arrays: Arrays, n_features: int) -> None:
    state = node["content"]
    nodes, values = (_value(state, name, arrays) for name in ("nodes", "values"))
    arguments = node["__reduce__"]["args"]["content"]
    features, outputs = (json.loads(arguments[i]["content"]) for i in (0, 2))
    classes = arrays[arguments[1]["file"]]
    count, depth = (_value(state, name, arrays) for name in ("node_count", "max_depth"))
    fits = features == n_features and outputs == 1 and count == len(nodes) > 0 and 0 <= depth < count + 1
    fits = fits and classes.shape == (1,) and 0 < classes[0] < 1 << 16 and values.shape == (count, 1, classes[0])
    _require(fits, path, "a decision tree")
    left, right = nodes["left_child"], nodes["right_child"]
    inner = left != -1
    _descend(path, left[inner], right[inner], np.flatnonzero(inner), len(nodes))
    _require(_within(nodes["feature"][inner], n_features), path, "a decision tree")


def _boosted_tree(path: Path, node: Json, arrays: Arrays, n_features: int) -> None:
    state = node["content"]
    nodes = _value(state, "nodes", arrays)
    _require(nodes.ndim == 1 and len(nodes), path, "a boosted tree")
    inner = nodes["is_leaf"] == 0
    fits = _within(nodes["feature_idx"][inner], n_features) and not nodes["is_categorical"].any()
    _require(fits, path, "a boosted tree")
    _descend(path, nodes["left"][inner], nodes["right"][inner], np.flatnonzero(inner), len(nodes))


def _descend(path: Path, left: np.ndarray, right: np.ndarray, own: np.ndarray, count: int) -> None:
    """Children come after their parent, so that a walk ends, and inside the tree."""
    for child in (left.astype(np.int64), right.astype(np.int64)):
        _require(np.all(child > own) and _within(child, count), path, "a tree")


def _within(values: np.ndarray, stop: int) -> bool:
    values = values.astype(np.int64)
    return bool(np.all((values >= 0) & (values < stop)))


def _support_vectors(path: Path, node: Json, arrays: Arrays, n_features: int) -> None:
    state = node["content"]
    names = ("support_", "support_vectors_", "_n_support", "_dual_coef_", "_intercept_")
    support, vectors, numbers, weights, intercept = (_value(state, name, arrays) for name in names)
    n, classes = len(support), len(numbers)
    fits = vectors.shape == (n, n_features) and weights.shape == (classes - 1, n) and numbers.shape == (classes,)
    pairs = classes * (classes - 1) // 2
    # Of a regression both numbers are that of all vectors.
    total = numbers[0] if node["__class__"] == "SVR" else numbers.sum()
    fits = fits and classes >= 2 and intercept.shape == (pairs,) and total == n and np.all(numbers >= 0)
    fits = fits and _value(state, "kernel", arrays) == "rbf" and _value(state, "_sparse", arrays) is False
    _require(fits and "_impl" not in state["content"], path, "support vectors")


def _neighbours(path: Path, node: Json, arrays: Arrays, n_features: int) -> None:
    state = node["content"]
    rows, labels = (_value(state, name, arrays) for name in ("_fit_X", "_y"))
    n, k = len(rows), _value(state, "n_neighbors", arrays)
    fits = rows.shape == (n, n_features) and labels.shape == (n,) and _value(state, "_fit_method", arrays) == "brute"
    fits = fits and type(k) is int and 0 < k <= n
    if node["__class__"] == "KNeighborsClassifier":
        fits = fits and _within(labels, len(_value(state, "classes_", arrays)))
    _require(fits, path, "neighbours")


_CHECKS = {
    "Tree": _forest_tree,
    "TreePredictor": _boosted_tree,
    **dict.fromkeys(_VECTORS, _support_vectors),
    **dict.fromkeys(("KNeighborsClassifier", "KNeighborsRegressor"), _neighbours),
}
