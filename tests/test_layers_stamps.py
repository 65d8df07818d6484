"""Layers on stamps: resampling, stretch, orientations, augmentation."""

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from astrokeras.layers import (
    DihedralMean,
    DihedralStack,
    MirrorLabels,
    RandomBlur,
    RandomDihedral,
    RandomMask,
    RandomNoise,
    RandomWarp,
    StampResize,
    StampStretch,
)
from astrokeras.layers.augmentation import interpolated
from astrokeras.layers.stamps import DIHEDRAL, resampling, turned

RNG = np.random.default_rng(0)


def pair(n=3, side=9, bands=2, missing=0.0):
    """Stamps of either sign, and a mask."""
    rng = np.random.default_rng(n * side)
    stamp = rng.normal(size=(n, side, side, bands)).astype("float32")
    return stamp, (rng.random(stamp.shape) >= missing).astype("float32")


def arrays(outputs):
    return [ops.convert_to_numpy(x) for x in outputs]


RANDOM = [
    RandomDihedral(seed=1),
    RandomWarp(seed=1),
    RandomBlur(1.0, 1.0, seed=1),
    RandomNoise([0.1, 0.2], seed=1),
    RandomMask(0.3, 1.0, 0.5, seed=1),
]


@pytest.mark.parametrize("layer", RANDOM, ids=lambda layer: type(layer).__name__)
def test_only_training_changes_stamps(layer):
    stamp, observed = pair(8, missing=0.1)
    same = arrays(layer([stamp, observed], training=False))
    np.testing.assert_array_equal(same[0], stamp)
    np.testing.assert_array_equal(same[1], observed)
    changed = arrays(layer([stamp, observed], training=True))
    assert np.abs(changed[0] - stamp).max() > 0.01
    assert changed[0].shape == stamp.shape and np.isfinite(changed[0]).all()
    assert set(np.unique(changed[1])) <= {0, 1}
    again = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize("layer", RANDOM, ids=lambda layer: type(layer).__name__)
def test_objects_do_not_mix_and_pixels_without_data_say_nothing(layer):
    stamp, observed = pair(6, missing=0.2)
    one = type(layer).from_config(layer.get_config())
    two = type(layer).from_config(layer.get_config())
    first = arrays(one([stamp, observed], training=True))
    spoilt = np.where(observed > 0, stamp, 1e6)
    spoilt[0] = 77
    second = arrays(two([spoilt, observed], training=True))
    np.testing.assert_allclose(first[0][1:] * first[1][1:], second[0][1:] * second[1][1:], rtol=1e-5, atol=1e-6)


def test_the_eight_orientations_are_those_of_numpy():
    stamp, _ = pair(1, 4, 1)
    expected = {np.rot90(f, k).tobytes() for f in (stamp[0], stamp[0][:, ::-1]) for k in range(4)}
    found = {ops.convert_to_numpy(turned(ops.convert_to_tensor(stamp), k))[0].tobytes() for k in range(DIHEDRAL)}
    assert found == expected and len(found) == 8
    for element in range(DIHEDRAL):
        mirrored = ops.convert_to_numpy(turned(ops.convert_to_tensor(stamp), element))[0, ..., 0]
        turns = [np.rot90(stamp[0, ..., 0], k) for k in range(4)]
        assert any(np.array_equal(mirrored, t) for t in turns) == (element < 4)


def test_the_mean_over_orientations_is_the_same_for_all_of_them():
    stamp, _ = pair(2, 6, 1)
    weights = RNG.normal(size=(36, 3)).astype("float32")
    mean = DihedralMean()

    def predict(values):
        stack = DihedralStack()(ops.convert_to_tensor(values))
        return ops.convert_to_numpy(mean(ops.matmul(ops.reshape(stack, (-1, 36)), weights)))

    expected = predict(stamp)
    for element in range(DIHEDRAL):
        np.testing.assert_allclose(predict(turned(ops.convert_to_tensor(stamp), element)), expected, atol=1e-5)
    features = np.arange(4.0).reshape(2, 2)
    np.testing.assert_array_equal(arrays([mean(DihedralStack()(features))])[0], features)


def test_a_mirror_image_has_the_mirrored_prediction():
    """What a linear network says of a stamp becomes, for its mirror image, the same with two outputs exchanged."""
    stamp, _ = pair(2, 6, 1)
    weights = RNG.normal(size=(36, 3)).astype("float32")
    mean = DihedralMean([1, 0, 2])

    def predict(values):
        stack = DihedralStack()(ops.convert_to_tensor(values))
        return ops.convert_to_numpy(mean(ops.matmul(ops.reshape(stack, (-1, 36)), weights)))

    np.testing.assert_allclose(predict(stamp[:, :, ::-1]), predict(stamp)[:, [1, 0, 2]], atol=1e-5)
    np.testing.assert_allclose(predict(stamp[:, ::-1]), predict(stamp)[:, [1, 0, 2]], atol=1e-5)
    np.testing.assert_allclose(predict(np.rot90(stamp, axes=(1, 2))), predict(stamp), atol=1e-5)


def test_labels_follow_the_mirror():
    outputs = np.array([[1.0, 2, 3], [1, 2, 3]], "float32")
    found = ops.convert_to_numpy(MirrorLabels([1, 0, 2])([outputs, np.array([0.0, 1.0], "float32")]))
    np.testing.assert_array_equal(found, [[1, 2, 3], [2, 1, 3]])
    stamp, observed = pair(200, 4, 1)
    turned_, _, mirrored = arrays(RandomDihedral(seed=3)([stamp, observed], training=True))
    assert 60 < mirrored.sum() < 140
    for row in range(20):
        turns = [np.rot90(stamp[row, ..., 0], k) for k in range(4)]
        assert any(np.array_equal(turned_[row, ..., 0], t) for t in turns) == (mirrored[row] == 0)
    for wrong in ([1, 2, 0], [0, 0], [0, 3]):
        with pytest.raises(ValueError, match="in pairs"):
            MirrorLabels(wrong)


def test_interpolation_is_that_of_scipy():
    from scipy.ndimage import map_coordinates

    stamp, observed = pair(2, 7, 2)
    y, x = RNG.uniform(-3, 9, (2, 2, 49)).astype("float32")
    found, seen = arrays(interpolated(ops.convert_to_tensor(stamp), ops.convert_to_tensor(observed), y, x))
    for row in range(2):
        for band in range(2):
            expected = map_coordinates(stamp[row, ..., band], [y[row], x[row]], order=1, mode="mirror")
            np.testing.assert_allclose(found[row, ..., band].ravel(), expected, atol=1e-5)
    assert seen.all()


def test_a_pixel_made_of_one_without_data_has_none():
    stamp, observed = pair(1, 5, 1)
    observed[0, 2, 2] = 0
    y, x = np.meshgrid(np.arange(5.0, dtype="f4"), np.arange(5, dtype="f4") + 0.5, indexing="ij")
    _, seen = arrays(
        interpolated(ops.convert_to_tensor(stamp), ops.convert_to_tensor(observed), y.reshape(1, -1), x.reshape(1, -1))
    )
    assert (seen[0, ..., 0] == 0).sum() == 2 and seen[0, 2, 1, 0] == seen[0, 2, 2, 0] == 0


def test_a_warp_without_changes_is_none_and_keeps_a_round_galaxy():
    stamp, observed = pair(2)
    found, seen = arrays(RandomWarp(0, 0, 0, 0)([stamp, observed], training=True))
    np.testing.assert_allclose(found, stamp, atol=1e-5)
    assert seen.all()
    y, x = np.mgrid[:33, :33] - 16.0
    round_ = np.exp(-(x**2 + y**2) / 50)[None, ..., None].astype("float32")
    found, _ = arrays(RandomWarp(180, 0, 0, 0, seed=5)([round_, np.ones_like(round_)], training=True))
    # Corners beyond the edge are mirror images of what lies inside.
    inside = x**2 + y**2 < 14**2
    np.testing.assert_allclose(found[0, inside], round_[0, inside], atol=0.01)


def test_blur_is_a_gaussian_and_keeps_the_flux():
    from scipy.ndimage import gaussian_filter

    point = np.zeros((1, 21, 21, 1), "float32")
    point[0, 10, 10] = 1
    found, _ = arrays(RandomBlur(1.5, 1.0, seed=2)([point, np.ones_like(point)], training=True))
    assert found.sum() == pytest.approx(1, abs=1e-4)
    rows = np.arange(21) - 10
    sigma = np.sqrt((found[0, ..., 0].sum(axis=1) * rows**2).sum())
    assert 0.1 < sigma <= 1.5
    np.testing.assert_allclose(found[0, ..., 0], gaussian_filter(point[0, ..., 0], sigma, truncate=4), atol=0.01)


def test_noise_and_gain_have_the_scatter_asked_for():
    stamp = np.full((400, 16, 16, 2), -5.0, "float32")
    found, _ = arrays(RandomNoise([0.0, 3.0], gain=0.2, seed=1)([stamp, np.ones_like(stamp)], training=True))
    factor = np.log(found[:, 0, 0, 0] / -5)
    assert np.std(factor) == pytest.approx(0.2, rel=0.1)
    np.testing.assert_allclose(found[..., 0], np.broadcast_to(found[:, :1, :1, 0], found.shape[:3]))
    level = found[..., 1].std(axis=(1, 2))
    assert level.max() < 3.3 and level.mean() == pytest.approx(1.5, rel=0.1)


def test_a_band_is_always_left():
    stamp, observed = pair(300, 4, 2)
    observed[0, ..., 1] = 0
    found, seen = arrays(RandomMask(0.9, 0.0, seed=1)([stamp, observed], training=True))
    left = seen.max(axis=(1, 2))
    assert left.sum(axis=1).min() == 1 and (left.sum(axis=1) == 1).mean() > 0.7 and left[0, 0] == 1
    np.testing.assert_array_equal(found, stamp * seen)
    _, seen = arrays(RandomMask(0.0, 1.0, 0.5, seed=1)([stamp, np.ones_like(stamp)], training=True))
    assert (seen[..., 0] == seen[..., 1]).all() and 0.02 < 1 - seen.mean() < 0.3


@settings(max_examples=20, deadline=None)
@given(n=st.integers(4, 40), size=st.integers(2, 40), crop=st.floats(0.3, 1.0))
def test_resampling_keeps_constants_and_lines(n, size, crop):
    weights = resampling(n, size, crop)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    step = n * crop / size
    inside = slice(int(np.ceil(1 + 1 / step)), size - int(np.ceil(1 + 1 / step)))
    centers = (n - n * crop) / 2 + step * (np.arange(size) + 0.5)
    if inside.stop > inside.start and step >= 1 and step == round(step):
        np.testing.assert_allclose((weights @ (np.arange(n) + 0.5))[inside], centers[inside], rtol=1e-4)


def test_resize_leaves_out_pixels_without_data():
    stamp = np.ones((1, 8, 8, 1), "float32")
    observed = np.ones_like(stamp)
    stamp[0, :, :4], observed[0, :, :4] = 1e9, 0
    found, seen = arrays(StampResize(4)([stamp, observed]))
    np.testing.assert_allclose(found * seen, seen)
    assert seen[0, :, 0].sum() == 0 and seen[0, :, 3].sum() == 4
    same, _ = arrays(StampResize(8)([stamp, observed]))
    np.testing.assert_array_equal(same, stamp * observed)
    inner, _ = arrays(StampResize(4, 0.5)([np.arange(64.0).reshape(1, 8, 8, 1), np.ones((1, 8, 8, 1))]))
    np.testing.assert_allclose(inner[0, ..., 0], np.arange(64.0).reshape(8, 8)[2:6, 2:6], rtol=1e-6)
    with pytest.raises(ValueError, match="crop"):
        StampResize(4, 0)


@pytest.mark.parametrize("stretch", ["asinh", "linear"])
def test_the_stretch_measures_noise_and_normalises(stretch):
    rng = np.random.default_rng(3)
    stamps = rng.normal(scale=[2.0, 20.0], size=(50, 16, 16, 2)).astype("float32")
    observed = (rng.random(stamps.shape) > 0.1).astype("uint8")
    stamps[observed == 0] = 1e7
    layer = StampStretch(stretch)
    layer.adapt(stamps, observed)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.softening), [2, 20], rtol=0.05)
    found = ops.convert_to_numpy(layer([stamps, observed.astype("float32")]))
    seen = observed > 0
    assert found.shape == (50, 16, 16, 3)
    np.testing.assert_allclose([found[..., b][seen[..., b]].std() for b in (0, 1)], 1, rtol=1e-3)
    np.testing.assert_allclose([found[..., b][seen[..., b]].mean() for b in (0, 1)], 0, atol=1e-3)
    assert (found[..., :2][~seen] == 0).all()
    np.testing.assert_allclose(found[..., 2], seen.mean(axis=-1))
    with pytest.raises(ValueError, match="band number 1"):
        layer.adapt(stamps, observed * [1, 0])


def test_the_layers_are_saved_with_a_model(tmp_path):
    inputs = [keras.Input((8, 8, 1)), keras.Input((8, 8, 1))]
    x = RandomMask()(RandomNoise([1.0])(RandomBlur()(RandomWarp()(RandomDihedral()(inputs)[:2]))))
    x = StampStretch()(StampResize(4)(x))
    x = DihedralMean()(keras.layers.Flatten()(DihedralStack()(x)))
    model = keras.Model(inputs, x)
    model.save(tmp_path / "m.keras")
    stamp, observed = pair(2, 8, 1)
    again = keras.saving.load_model(tmp_path / "m.keras", compile=False)
    np.testing.assert_array_equal(again([stamp, observed]), model([stamp, observed]))
