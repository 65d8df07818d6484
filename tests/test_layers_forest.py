"""Trees in a graph: they say what scikit-learn's say, and are as safe to load as any other layer."""

import json
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from astrokeras.errors import UnsafeModelError
from astrokeras.layers import Forest, Pool, WhereComplete
from astrokeras.models.inspect import inspect
from astrokeras.tasks.trees import stacked


def rows(n, seed, features=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features)).astype("float32")
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] * x[:, 2] > 0.5)


def given_by(layer, x):
    return keras.ops.convert_to_numpy(layer(x))


@pytest.mark.parametrize("kind", [ExtraTreesClassifier, RandomForestClassifier])
def test_it_says_what_the_trees_say(kind):
    x, y = rows(600, 1)
    forest = kind(12, min_samples_leaf=2, random_state=0).fit(x, y)
    layer = stacked(forest.estimators_, forest.classes_, 3).layer(4)
    other = rows(500, 2)[0]
    np.testing.assert_allclose(given_by(layer, other), forest.predict_proba(other), atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([-1.5, -0.1, 0.1, 0.2, 0.3, 1e-7, 1e9]), min_size=6, max_size=40), st.integers(0, 99))
def test_values_at_a_threshold_go_the_same_way(values, seed):
    x = np.array(values, "float32")[:, None]
    y = np.random.default_rng(seed).integers(0, 2, len(x))
    y[:2] = 0, 1
    tree = DecisionTreeClassifier(random_state=seed).fit(x, y)
    layer = stacked([tree], tree.classes_, 2).layer(1)
    thresholds = tree.tree_.threshold.astype("float32")[:, None]
    near = np.concatenate([x, thresholds, np.nextafter(thresholds, np.float32(np.inf))])
    # TensorFlow takes numbers below the smallest normal one for 0.
    near[np.abs(near) < np.finfo(np.float32).tiny] = 0
    np.testing.assert_allclose(given_by(layer, near), tree.predict_proba(near), atol=1e-6)


def test_a_class_that_a_tree_never_met_gets_nothing():
    x, y = rows(100, 3)
    some = y != 1
    tree = DecisionTreeClassifier().fit(x[some], y[some])
    p = given_by(stacked([tree], tree.classes_, 3).layer(4), x)
    assert np.all(p[:, 1] == 0)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)


def test_trees_that_cannot_be_walked_are_refused():
    layer = Forest(1, 3, 1, 2)
    layer.build((None, 2))
    fractions = np.full((1, 3, 2), 0.5)
    layer.set_trees([[0, 0, 0]], [[0.0, 0, 0]], [[1, 1, 2]], fractions)
    for feature, child in ([[2, 0, 0]], [[1, 1, 2]]), ([[0, 0, 0]], [[2, 1, 2]]), ([[0, 0, 0]], [[1, 0, 2]]):
        with pytest.raises(ValueError, match="does not exist"):
            layer.set_trees(feature, [[0.0, 0, 0]], child, fractions)
    shallow = Forest(1, 5, 1, 2)
    shallow.build((None, 1))
    with pytest.raises(ValueError, match="2 steps from the root, more than 1"):
        shallow.set_trees([[0] * 5], [[0.0] * 5], [[1, 1, 3, 3, 4]], np.full((1, 5, 2), 0.5))


@pytest.mark.parametrize("arguments", [(0, 1, 1, 2), (1, 1, 65, 2), (1, 1, 1, 1), (1 << 13, 1 << 12, 1, 2)])
def test_sizes_that_make_no_sense(arguments):
    with pytest.raises(ValueError, match="Forest"):
        Forest(*arguments)


@pytest.fixture
def saved(tmp_path):
    x, y = rows(300, 4)
    layer = stacked(ExtraTreesClassifier(5, random_state=0).fit(x, y).estimators_, np.arange(3), 3).layer(4)
    inputs = keras.Input((4,))
    path = tmp_path / "model.keras"
    keras.Model(inputs, Pool()([keras.layers.Dense(3, activation="softmax")(inputs), layer(inputs)])).save(path)
    return path


def test_a_saved_forest_is_safe_and_says_the_same(saved):
    assert inspect(saved).classes["Forest"] == 1
    again = keras.models.load_model(saved, safe_mode=True, compile=False)
    x, y = rows(300, 4)
    expected = ExtraTreesClassifier(5, random_state=0).fit(x, y).predict_proba(x)
    (layer,) = (layer for layer in again.layers if isinstance(layer, Forest))
    np.testing.assert_allclose(given_by(layer, x), expected, atol=1e-6)


def test_a_forest_larger_than_its_file_is_refused(saved, tmp_path):
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    (layer,) = (layer for layer in config["config"]["layers"] if layer["class_name"] == "Forest")
    layer["config"]["n_trees"] = 16_000
    members["config.json"] = json.dumps(config).encode()
    other = tmp_path / "large.keras"
    with zipfile.ZipFile(other, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(UnsafeModelError, match="Forest"):
        inspect(other)


def test_a_pool_is_a_weighted_mean():
    pool, p, q = Pool(), np.array([[0.2, 0.8]], "float32"), np.array([[0.6, 0.4]], "float32")
    np.testing.assert_allclose(given_by(pool, [p, q]), [[0.4, 0.6]], rtol=1e-6)
    pool.set_share(0.25)
    np.testing.assert_allclose(given_by(pool, [p, q]), [[0.3, 0.7]], rtol=1e-6)
    with pytest.raises(ValueError, match="from 0 to 1"):
        pool.set_share(1.5)


def test_trees_are_not_asked_where_something_is_missing():
    p, q = np.array([[0.2, 0.8]] * 3, "float32"), np.array([[0.6, 0.4]] * 3, "float32")
    bands, extra = np.array([[1, 1], [1, 0], [1, 1]], "float32"), np.array([[1], [1], [0]], "float32")
    np.testing.assert_array_equal(given_by(WhereComplete(), [p, q, bands, extra]), [p[0], q[1], q[2]])
