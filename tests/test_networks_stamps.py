"""Convolutional trunks, members, and networks that others have trained."""

import keras
import numpy as np
import pytest

from astrokeras.errors import TrainingError
from astrokeras.models.inspect import inspect
from astrokeras.networks.convnet import backbone_trunk, stamp_trunk
from astrokeras.networks.stamp_encoder import stamp_encoder
from astrokeras.networks.stamp_member import averaged, stamp_member
from astrokeras.tasks.stamp_recipe import StampRecipe
from astrokeras.tasks.transfer import freeze_layers, read_backbone

RNG = np.random.default_rng(2)
SHAPE = (6, 8, 8, 2)


@pytest.fixture(scope="module")
def tensors():
    return {"stamp": RNG.normal(size=SHAPE).astype("f4"), "stamp_observed": np.ones(SHAPE, "u1")}


@pytest.fixture(scope="module")
def encoder(tensors):
    return stamp_encoder(tensors, size=8)


def test_the_trunk_has_the_shape_asked_for_and_a_bounded_size():
    assert stamp_trunk(16, 3, widths=(4, 8), blocks=2, dropout=0.1).output_shape == (None, 8)
    assert 100_000 < stamp_trunk(64, 4).count_params() < 600_000
    for size, widths in ((4, (4,)), (8, (4, 4, 4, 4)), (8, ())):
        with pytest.raises(ValueError, match="stamp_trunk"):
            stamp_trunk(size, 3, widths=widths)


def test_members_share_an_encoder(encoder, tensors):
    settings = {"trunk": {"widths": (4,)}}
    changes = StampRecipe().changes()
    one, two = (stamp_member(encoder, 3, changes, n_auxiliary=2, **settings) for _ in range(2))
    assert one.output_shape == (None, 5)
    inputs, mean = averaged([one, two], lambda name: keras.layers.Softmax(name=name))
    p = np.asarray(keras.Model(inputs, mean)(tensors))
    assert p.shape == (6, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    other = stamp_member(stamp_encoder(tensors, size=8), 3, changes, **settings)
    with pytest.raises(ValueError, match="share one encoder"):
        averaged([one, other], lambda name: keras.layers.Softmax(name=name))
    with pytest.raises(ValueError, match="at least one"):
        averaged([], lambda name: keras.layers.Softmax(name=name))


def pictures(size=8):
    inputs = keras.Input((size, size, 3))
    return keras.Model(inputs, keras.layers.Conv2D(5, 3, activation="relu")(inputs))


def test_a_network_on_pictures_sees_the_first_three_channels_at_first():
    backbone = pictures()
    trunk = backbone_trunk(backbone, 4)
    stamp = RNG.normal(size=(2, 8, 8, 4)).astype("f4")
    expected = np.asarray(backbone(stamp[..., :3])).mean(axis=(1, 2))
    np.testing.assert_allclose(trunk(stamp), expected, rtol=1e-5)
    # Two bands and the mask are three channels as they are.
    np.testing.assert_allclose(backbone_trunk(backbone, 3)(stamp[..., :3]), expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"\(batch, size, size, 3\)"):
        backbone_trunk(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]), 4)


def test_a_file_of_keras_is_inspected_before_it_is_read(tmp_path, encoder):
    pictures().save(tmp_path / "small.keras")
    backbone = read_backbone(str(tmp_path / "small.keras"), encoder)
    freeze_layers(backbone, True)
    assert not backbone.trainable_variables
    pictures(16).save(tmp_path / "large.keras")
    with pytest.raises(TrainingError, match=r"8 pixels on a side, which `stamp: \{size: ...\}` changes"):
        read_backbone(str(tmp_path / "large.keras"), encoder)
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).save(tmp_path / "lambda.keras")
    with pytest.raises(TrainingError, match="Lambda"):
        read_backbone(str(tmp_path / "lambda.keras"), encoder)
    with pytest.raises(TrainingError, match="cannot be read"):
        read_backbone(str(tmp_path / "none.keras"), encoder)


def test_a_network_of_keras_applications_passes_the_inspection(tmp_path):
    network = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    network.save(tmp_path / "m.keras")
    assert inspect(tmp_path / "m.keras").parameters >= network.count_params()
