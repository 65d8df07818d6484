"""The maxout unit."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrokeras.layers import Maxout
from astrokeras.models.inspect import inspect
from astrokeras.networks.dense import dense_trunk


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.integers(1, 6), st.integers(0, 1000))
def test_each_unit_is_the_largest_of_its_pieces(pieces, units, seed):
    values = np.random.default_rng(seed).normal(size=(7, 3, units * pieces)).astype("float32")
    found = keras.ops.convert_to_numpy(Maxout(pieces)(values))
    np.testing.assert_array_equal(found, values.reshape(7, 3, units, pieces).max(axis=-1))


def test_a_dense_layer_before_it_gives_the_units_of_goodfellow_2013():
    """h_i = max_j (x . W_ij + b_ij)."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6 * 3), Maxout(3)])
    kernel, bias = rng.normal(size=(4, 18)).astype("float32"), rng.normal(size=18).astype("float32")
    model.set_weights([kernel, bias])
    units = [np.max([x @ kernel[:, k] + bias[k] for k in range(3 * i, 3 * i + 3)], axis=0) for i in range(6)]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(x)), np.stack(units, 1), rtol=1e-4, atol=1e-5)
    assert model.output_shape == (None, 6)


@pytest.mark.parametrize("pieces", [1, 0, -2])
def test_fewer_than_two_pieces_are_refused(pieces):
    with pytest.raises(ValueError, match="pieces must be at least 2"):
        Maxout(pieces)


def test_pieces_that_do_not_divide():
    with pytest.raises(ValueError, match="3 pieces do not divide 8 values"):
        Maxout(3)(np.zeros((2, 8), "float32"))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_trunk_of_maxout_units_is_saved_and_read_back(batch_norm, tmp_path):
    trunk = dense_trunk(5, 3, width=8, depth=2, activation="maxout", maxout_pieces=3, batch_norm=batch_norm)
    assert trunk.get_layer("dense_1").units == 24 and trunk.get_layer("add_1").output.shape == (None, 8)
    x = np.random.default_rng(2).normal(size=(9, 5)).astype("float32")
    trunk.save(tmp_path / "model.keras")
    assert "Maxout" in inspect(tmp_path / "model.keras").classes
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True, compile=False)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(loaded(x)), keras.ops.convert_to_numpy(trunk(x)))
