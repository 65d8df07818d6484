"""Texture: what scikit-image finds, and what missing pixels do."""

import numpy as np
import pytest
from astropy.table import QTable
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

from astrokeras.features.texture import (
    PROPERTIES,
    Texture,
    co_occurrence_properties,
    local_binary_patterns,
    quantised,
)
from astrokeras.flags import Flag
from astrokeras.testing import check_stage

RNG = np.random.default_rng(4)
STAMPS = np.cumsum(RNG.integers(-9, 10, (5, 30, 26)), axis=2) + 100


@pytest.mark.parametrize(("points", "radius"), [(8, 1.0), (16, 2.0), (24, 3.0), (5, 1.7)])
def test_patterns_are_those_of_scikit_image(points, radius):
    reach = int(np.ceil(radius))
    found = local_binary_patterns(STAMPS, points, radius)
    for stamp, histogram in zip(STAMPS, found, strict=True):
        patterns = local_binary_pattern(stamp, points, radius, method="uniform")[reach:-reach, reach:-reach]
        wanted = np.bincount(patterns.astype(int).ravel(), minlength=points + 2) / patterns.size
        np.testing.assert_allclose(histogram, wanted, atol=1e-12)
    assert (found > 0).sum() > 5 * points // 2


@pytest.mark.parametrize(("levels", "distance"), [(16, 1), (8, 3), (32, 2)])
def test_co_occurrence_is_that_of_scikit_image(levels, distance):
    found = co_occurrence_properties(STAMPS, levels, distance)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    for k, stamp in enumerate(STAMPS):
        grey = quantised(stamp, levels).astype(np.uint8)
        matrix = graycomatrix(grey, [distance], angles, levels, symmetric=True, normed=True)
        for name in PROPERTIES:
            assert found[name][k] == pytest.approx(graycoprops(matrix, name).mean(), rel=1e-9), name


def test_levels_are_equal_steps_between_quantiles():
    image = np.arange(1000.0).reshape(20, 50)
    image[0, 0] = np.nan
    found = quantised(image, 10)
    assert found[0, 0] == -1
    assert np.unique(found[found >= 0]).tolist() == list(range(10))
    np.testing.assert_allclose(np.bincount(found[found >= 0]), 100, atol=11)
    assert not quantised(np.full((4, 4), 3.0), 8).any()


def test_a_hole_is_no_texture():
    plain = np.tile(np.arange(30.0), (30, 1))[None]
    holed = plain.copy()
    holed[0, 10:13, 11:16] = np.nan
    np.testing.assert_allclose(local_binary_patterns(plain), local_binary_patterns(holed))
    both = [co_occurrence_properties(stamps, levels=30) for stamps in (plain, holed)]
    for name in PROPERTIES:
        assert both[0][name][0] == pytest.approx(both[1][name][0], abs=0.03), name
    nothing = np.full((1, 9, 9), np.nan)
    assert np.isnan(local_binary_patterns(nothing)).all()
    assert np.isnan([v[0] for v in co_occurrence_properties(nothing).values()]).all()


def test_scale_and_turn_do_not_matter():
    turned = np.rot90(STAMPS, axes=(1, 2)) * 3.5
    for name, values in co_occurrence_properties(STAMPS).items():
        np.testing.assert_allclose(co_occurrence_properties(turned)[name], values, rtol=1e-9)


def test_keeps_the_contract():
    data = QTable({"stamp": RNG.normal(size=(6, 24, 24, 2)).astype(np.float32)})
    check_stage(Texture(bands=["g", "r"], points=12, radius=2.0), data)
    data["stamp"][1, 3, 3, 0] = np.nan
    out = Texture(bands=["g", "r"])(data)
    assert out["flags"].tolist() == [0, Flag.MASKED_PIXELS, 0, 0, 0, 0]
    np.testing.assert_allclose(out["lbp_r"], local_binary_patterns(data["stamp"][..., 1]), rtol=1e-6)
