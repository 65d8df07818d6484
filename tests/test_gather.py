"""Stamps out of arrays, against astropy's Cutout2D."""

import numpy as np
import pytest
from astropy.nddata import Cutout2D, NoOverlapError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from astrokeras.images.gather import gather, offsets, origins, outside, paste

IMAGE = np.random.default_rng(0).normal(size=(37, 29)).astype(np.float32)
IMAGE[5, 7] = np.nan
POSITIONS = st.tuples(
    st.floats(-60, 90, allow_nan=False) | st.integers(-80, 180).map(lambda k: k / 2),
    st.floats(-60, 90, allow_nan=False) | st.integers(-80, 180).map(lambda k: k / 2),
)


def expected(image, x, y, size):
    try:
        cut = Cutout2D(image, (x, y), size, mode="partial", fill_value=np.nan)
    except NoOverlapError:
        return np.full((size, size), np.nan, image.dtype), None
    return cut.data, cut.origin_original


@settings(max_examples=150, deadline=None)
@given(st.lists(POSITIONS, min_size=1, max_size=12), st.integers(1, 45))
@example([(0.0, 0.0), (28.5, 36.5), (-0.5, 36.0), (14.0, 18.0)], 8)
@example([(0.0, 0.0), (28.5, 36.5), (-0.5, 36.0), (14.0, 18.0)], 7)
def test_stamps_are_those_of_cutout2d_bit_for_bit(positions, size):
    x, y = np.transpose(positions)
    for image in (IMAGE, IMAGE.astype(">f8")):
        found = gather(image, x, y, size)
        assert found.dtype == image.dtype.newbyteorder("=")
        for k, position in enumerate(positions):
            stamp, _ = expected(image, *position, size)
            np.testing.assert_array_equal(found[k], stamp)
            partial = np.isnan(stamp).all() or Cutout2D(image, position, size, mode="partial").shape != (size, size)
            cut = outside(x, y, size, image.shape)[k]
            assert cut or not partial


@settings(max_examples=60, deadline=None)
@given(st.lists(POSITIONS, min_size=1, max_size=8), st.integers(1, 20), st.integers(1, 36))
def test_sections_together_give_the_whole(positions, size, cut):
    x, y = np.transpose(positions)
    y0, x0 = origins(y, size), origins(x, size)
    out = np.full((len(x), size, size), np.nan, np.float32)
    for start, stop in ((0, cut), (cut, len(IMAGE))):
        paste(out, IMAGE[start:stop], y0 - start, x0)
    np.testing.assert_array_equal(out, gather(IMAGE, x, y, size))


@pytest.mark.parametrize("size", [6, 7])
def test_the_offset_is_where_the_object_lies_in_its_stamp(size):
    position = np.random.default_rng(1).uniform(-9, 60, 500)
    position[:3] = 3.0, 3.5, np.nan
    found = offsets(position, size)
    assert np.nanmin(found) > -0.5 and np.nanmax(found) <= 0.5
    assert np.isnan(found[2]) and np.isfinite(np.delete(found, 2)).all()
    cut = Cutout2D(np.zeros((80, 80)), (position[5] + 12, 40.0), size)
    middle = (size - 1) / 2
    assert cut.to_cutout_position((position[5] + 12, 40.0))[0] - middle == pytest.approx(found[5])


def test_what_is_nowhere_is_filled():
    x = np.array([np.nan, np.inf, -1e30, 1e300, 3.0])
    found = gather(IMAGE, x, np.full(5, 3.0), 4)
    assert np.isnan(found[:4]).all() and np.isfinite(found[4]).all()
    mask = gather((IMAGE > 0).astype(np.int32), x, np.full(5, 3.0), 4, fill=9)
    assert (mask[:4] == 9).all() and mask.dtype == np.int32
    assert gather(IMAGE, [], [], 4).shape == (0, 4, 4)
