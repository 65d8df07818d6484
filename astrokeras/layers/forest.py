"""Trees of decisions inside a graph, and the pool of what they say with what networks say."""

import keras
import numpy as np
from keras import ops

from .photometry import PACKAGE

#: Most steps from a root to a leaf: each is a part of the graph.
DEEPEST = 64


@keras.saving.register_keras_serializable(package=PACKAGE)
class Forest(keras.layers.Layer):
    """Class fractions of the leaves that an object falls into, averaged over trees.

    The trees are weights, so that a model with a forest is one file, which is read as safely as any other. A node asks
    whether one feature is larger than a threshold. All trees take one step at a time, for all objects of a batch; a
    leaf leads to itself, and after ``depth`` steps every object has arrived.

    Parameters
    ----------
    n_trees, n_nodes : int
        Trees, and nodes of the largest one, at least 1.
    depth : int
        Steps from the root to the farthest leaf.
    n_classes : int
        At least 2.

    Notes
    -----
    Call with features ``(batch, n_features)``; returns ``(batch, n_classes)``, rows of sum 1. Of the nodes
    ``(n_trees * n_nodes, 3)`` each row holds the number of a feature, the threshold, and the row of the node for "not
    larger"; the one for "larger" is the next. Numbers of rows are exact in float32 up to 2^24.
    """

    def __init__(self, n_trees, n_nodes, depth, n_classes, **kwargs):
        super().__init__(**kwargs)
        if min(n_trees, n_nodes) < 1 or not 0 <= depth <= DEEPEST or n_classes < 2:
            raise ValueError(
                f"Forest: needs a tree, a node, a depth from 0 to {DEEPEST} and two classes, got n_trees {n_trees!r}, "
                f"n_nodes {n_nodes!r}, depth {depth!r}, n_classes {n_classes!r}"
            )
        if n_trees * n_nodes > 1 << 24:
            raise ValueError(f"Forest: {n_trees} trees of {n_nodes} nodes are more than {1 << 24} nodes")
        self.n_trees, self.n_nodes, self.depth, self.n_classes = n_trees, n_nodes, depth, n_classes

    def build(self, input_shape):
        """Create the nodes, all of them leaves that say nothing until ``set_trees``."""
        rows = self.n_trees * self.n_nodes
        self.nodes = self.add_weight(name="nodes", shape=(rows, 3), initializer="zeros", trainable=False)
        even = keras.initializers.Constant(1 / self.n_classes)
        self.fractions = self.add_weight(
            name="fractions", shape=(rows, self.n_classes), initializer=even, trainable=False
        )
        self.n_features = input_shape[-1]

    def set_trees(self, feature, threshold, child, fractions):
        """Set the trees.

        Parameters
        ----------
        feature, threshold, child : array-like
            ``(n_trees, n_nodes)``: number of the feature, threshold, and number within the tree of the first of two
            children; that of the node itself marks a leaf.
        fractions : array-like
            ``(n_trees, n_nodes, n_classes)``; of leaves, sum 1.

        Raises
        ------
        ValueError
            If a feature or child does not exist, or a leaf lies deeper than ``depth``.
        """
        feature, child, own = np.asarray(feature, dtype=int), np.asarray(child, dtype=int), np.arange(self.n_nodes)
        leaf = child == own
        last = np.where(leaf, child, child + 1)
        if feature.min() < 0 or feature.max() >= self.n_features or (child < own).any() or last.max() >= self.n_nodes:
            raise ValueError("Forest: a node names a feature or a child that does not exist")
        deep = np.zeros_like(child)
        for node in np.flatnonzero(~leaf.all(axis=0)):
            trees = np.flatnonzero(~leaf[:, node])
            for side in (0, 1):
                deep[trees, child[trees, node] + side] = deep[trees, node] + 1
        if deep.max() > self.depth:
            raise ValueError(f"Forest: a leaf lies {deep.max()} steps from the root, more than {self.depth}")
        # Nothing is larger: a leaf keeps what has arrived.
        threshold = np.where(leaf, np.finfo(np.float32).max, threshold)
        first = np.arange(self.n_trees)[:, None] * self.n_nodes
        self.nodes.assign(np.stack([feature, threshold, first + child], axis=-1).reshape(-1, 3))
        self.fractions.assign(np.asarray(fractions, dtype="float32").reshape(-1, self.n_classes))

    def call(self, features):
        """Return the fractions; see the class."""
        rows = ops.shape(features)[0]
        width = self.n_features
        values = ops.reshape(features, (-1,))
        start = ops.expand_dims(ops.arange(rows, dtype="int32") * width, 1)
        first = np.arange(self.n_trees, dtype="int32") * self.n_nodes
        at = ops.zeros((rows, self.n_trees), dtype="int32") + ops.convert_to_tensor(first)
        nodes = ops.convert_to_tensor(self.nodes)
        for _ in range(self.depth):
            node = ops.take(nodes, at, axis=0)
            value = ops.take(values, start + ops.cast(node[..., 0], "int32"))
            at = ops.cast(node[..., 2], "int32") + ops.cast(value > node[..., 1], "int32")
        return ops.mean(ops.take(ops.convert_to_tensor(self.fractions), at, axis=0), axis=1)

    def compute_output_shape(self, input_shape):
        """Fractions of each row."""
        return (input_shape[0], self.n_classes)

    def get_config(self):
        """Configuration for saving."""
        names = ("n_trees", "n_nodes", "depth", "n_classes")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package=PACKAGE)
class Pool(keras.layers.Layer):
    """Linear pool of two probabilities, ``(1 - w) p + w q`` (Stone 1961, Ann. Math. Statist. 32, 1339).

    Call with ``[p, q]``, ``(batch, classes)`` each. The share w is a weight that no training changes.
    """

    def build(self, input_shape):
        """Create the share, one half until it is set."""
        half = keras.initializers.Constant(0.5)
        self.share = self.add_weight(name="share", shape=(), initializer=half, trainable=False)

    def set_share(self, share):
        """Set w, from 0 to 1.

        Raises
        ------
        ValueError
            When it is out of range.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"Pool: share must be from 0 to 1, got {share!r}")
        self.share.assign(share)

    def call(self, inputs):
        """Return the pooled probabilities."""
        first, second = inputs
        return (1 - self.share) * first + self.share * second

    def compute_output_shape(self, input_shape):
        """Shape of the probabilities: the same as of either."""
        return input_shape[0]


@keras.saving.register_keras_serializable(package=PACKAGE)
class WhereComplete(keras.layers.Layer):
    """Takes one probability where nothing is missing, and another one elsewhere.

    Call with ``[complete, gaps, mask, ...]``: two probabilities ``(batch, classes)``, and masks ``(batch, n)``, 1 where
    an input is known. Returns the first where all masks are 1, else the second.
    """

    def call(self, inputs):
        """Return the chosen probabilities."""
        first, second, *masks = inputs
        known = ops.min(ops.concatenate([ops.cast(mask, "float32") for mask in masks], axis=-1), axis=-1, keepdims=True)
        return ops.where(known > 0, first, second)

    def compute_output_shape(self, input_shape):
        """Shape of the probabilities: the same as of either."""
        return input_shape[0]
