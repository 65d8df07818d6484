"""Growing of the trees that stand beside the networks of a classification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .examples import Examples
from .learner import HIDING, Learner

if TYPE_CHECKING:
    import keras

#: Rows of a leaf at least, steps to it and leaves at most: what a tree may cost in time and in the file.
LEAF_ROWS, DEPTH, LEAVES = 2, 16, 512
#: More rows, drawn anew for each tree, would make no other tree of so few leaves.
ROWS = 50_000


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


def grown(learner: Learner, encoder: keras.Model, train: Examples, weight: np.ndarray | None) -> Trees:
    """Grow extremely randomised trees (Geurts et al. 2006) on the features of an encoder.

    Every tree meets the training rows once, with bands and instruments hidden, errors and limits varied by a draw of
    its own, as a network meets them in one epoch: so it knows what to do without a band.

    Parameters
    ----------
    learner : Learner
        Of a classification; its recipe says how many ``trees``.
    encoder : keras.Model
        From photometry to features.
    train : Examples
        Training rows.
    weight : ndarray, optional
        Weight of each row, ``(rows,)``.
    """
    from sklearn.tree import ExtraTreeClassifier

    recipe, n_classes = learner.recipe, len(learner.card.classes)
    draw, rng = _drawing(learner, encoder), np.random.default_rng(recipe.seed)
    found: list[Any] = []
    for number in range(recipe.trees):
        chosen = rng.permutation(len(train))[:ROWS] if len(train) > ROWS else np.arange(len(train))
        tree = ExtraTreeClassifier(
            min_samples_leaf=LEAF_ROWS,
            max_depth=DEPTH,
            max_leaf_nodes=LEAVES,
            max_features=None,
            random_state=recipe.seed + number,
        )
        share = None if weight is None else weight[chosen]
        tree.fit(draw(train.take(chosen)), train.target[chosen].astype(int), sample_weight=share)
        found.append(tree)
    return stacked(found, n_classes)


def stacked(estimators: Sequence[Any], n_classes: int) -> Trees:
    """Trees of scikit-learn, filled up to one size with leaves that nothing reaches.

    Parameters
    ----------
    estimators : sequence
        Fitted trees that classify; the classes are numbers.
    n_classes : int
        Number of all classes, more than some tree may have met.
    """
    found = [_siblings_together(estimator.tree_, estimator.classes_.astype(int), n_classes) for estimator in estimators]
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


def _drawing(learner: Learner, encoder: keras.Model) -> Callable[[Examples], np.ndarray]:
    """Features of rows as training sees them, another draw at every call."""
    import keras

    from ..networks.encoder import seen_in_training

    keras.utils.set_random_seed(learner.recipe.seed)
    inputs, seen = seen_in_training(encoder, **learner.settings(HIDING), instruments=learner.instruments)
    graph = keras.Model(inputs, encoder(seen))

    def draw(rows: Examples) -> np.ndarray:
        starts = range(0, len(rows), 8192)
        parts = [graph({k: v[i : i + 8192] for k, v in rows.tensors.items()}, training=True) for i in starts]
        return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])

    return draw


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
