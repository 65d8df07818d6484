"""Growing of the trees that stand beside the networks of a classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .examples import Examples
from .learner import Learner
from .recipe import Recipe

if TYPE_CHECKING:
    import keras

#: How far a tree may grow, which bounds its time and its bytes; and the share of the features that each node tries.
SETTINGS = {"min_samples_leaf": 2, "max_depth": 10, "max_features": 0.5, "criterion": "entropy"}
#: Complete rows without which there are no trees.
FEWEST = 100
#: More rows would make trees of this depth no better.
ROWS = 100_000


@dataclass(frozen=True)
class Trees:
    """Trees, as `astrokeras.layers.Forest.set_trees` takes them.

    Attributes
    ----------
    feature, threshold, child : ndarray
        ``(n_trees, n_nodes)``.
    fractions : ndarray
        ``(n_trees, n_nodes, n_classes)``.
    depth : int
        Steps to the farthest leaf.
    """

    feature: np.ndarray
    threshold: np.ndarray
    child: np.ndarray
    fractions: np.ndarray
    depth: int

    def layer(self, n_features: int, name: str = "forest") -> keras.layers.Layer:
        """Layer with these trees."""
        from ..layers import Forest

        n_trees, n_nodes, n_classes = self.fractions.shape
        forest = Forest(n_trees, n_nodes, self.depth, n_classes, name=name)
        forest.build((None, n_features))
        forest.built = True
        forest.set_trees(self.feature, self.threshold, self.child, self.fractions)
        return forest


def grown(learner: Learner, encoder: keras.Model, train: Examples) -> Trees | None:
    """Grow a random forest (Breiman 2001) on the features of an encoder.

    The trees learn from complete rows: they have no say where something is missing. Where flux errors are inputs, they
    are rescaled row by row as in the training of networks.

    Parameters
    ----------
    learner : Learner
        Of a classification; its recipe says how many ``trees``.
    encoder : keras.Model
        From photometry to features.
    train : Examples
        Training rows.

    Returns
    -------
    Trees or None
        None where too few rows are complete.
    """
    from sklearn.ensemble import RandomForestClassifier

    recipe = learner.recipe
    masks = [train.tensors[name] for name in ("observed", "extra_observed") if name in train.tensors]
    rows = np.flatnonzero(np.concatenate(masks, axis=1).min(axis=1) > 0)
    if len(rows) < FEWEST:
        return None
    if len(rows) > ROWS:
        rows = np.sort(np.random.default_rng(recipe.seed).choice(rows, ROWS, replace=False))
    part = train.take(rows)
    forest = RandomForestClassifier(recipe.trees, random_state=recipe.seed, **SETTINGS)
    forest.fit(_features(encoder, part, recipe), part.target.astype(int), sample_weight=part.weight)
    # The trees of a forest count the classes that it met.
    return stacked(forest.estimators_, forest.classes_, len(learner.card.classes))


def _features(encoder: keras.Model, rows: Examples, recipe: Recipe) -> np.ndarray:
    from ..networks.domain import batched

    error = rows.tensors["flux_err"]
    jitter = np.random.default_rng(recipe.seed).normal(0, recipe.error_jitter, (len(rows), 1))
    given = {**rows.tensors, "flux_err": (error * np.exp(jitter)).astype(np.float32)}
    return batched(encoder, given)


def stacked(estimators: Sequence[Any], labels: np.ndarray, n_classes: int) -> Trees:
    """Trees of scikit-learn, filled up to one size with leaves that nothing reaches.

    Parameters
    ----------
    estimators : sequence
        Fitted trees that classify.
    labels : ndarray of int
        Classes that the trees tell apart.
    n_classes : int
        Number of all classes.
    """
    found = [_siblings_together(estimator.tree_, labels, n_classes) for estimator in estimators]
    n_nodes = max(len(feature) for feature, *_ in found)
    shape = len(found), n_nodes
    feature, threshold = np.zeros(shape, int), np.zeros(shape, np.float32)
    child = np.tile(np.arange(n_nodes), (len(found), 1))
    fractions = np.full((*shape, n_classes), 1 / n_classes, np.float32)
    for row, (features, thresholds, children, shares, _) in enumerate(found):
        n = len(features)
        feature[row, :n], threshold[row, :n] = features, thresholds
        child[row, :n], fractions[row, :n] = children, shares
    return Trees(feature, threshold, child, fractions, max(depth for *_, depth in found))


def _siblings_together(tree: Any, labels: np.ndarray, n_classes: int) -> tuple[Any, ...]:
    """Nodes of a tree of scikit-learn, level by level, so that the second child follows the first; and its depth."""
    order, depths = [0], [0]
    first = []
    for number, node in enumerate(order):
        inner = tree.children_left[node] >= 0
        first.append(len(order) if inner else number)
        if inner:
            order += [tree.children_left[node], tree.children_right[node]]
            depths += [depths[number] + 1] * 2
    nodes, child = np.array(order), np.array(first)
    fractions = np.zeros((len(nodes), n_classes), np.float32)
    counts = tree.value[nodes, 0]
    fractions[:, labels] = counts / counts.sum(axis=1, keepdims=True)
    # scikit-learn asks whether a float32 is at most a float64: rounded down, the answer stays the same.
    threshold = tree.threshold[nodes]
    rounded = threshold.astype(np.float32)
    rounded = np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    return np.maximum(tree.feature[nodes], 0), rounded, child, fractions, max(depths)
