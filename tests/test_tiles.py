"""Cores of tiles cover an image once; margins stay within it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from astrokeras.photometry.tiles import cut, spread

SHAPES = st.tuples(st.integers(1, 90), st.integers(1, 90))


@given(SHAPES, st.integers(7, 100), st.integers(0, 40))
def test_every_pixel_has_one_owner(shape, size, overlap):
    owners = np.zeros(shape, int)
    y, x = np.indices(shape)
    for tile in cut(shape, size, overlap):
        owners += tile.owns(x, y)
        rows, columns = tile.rows, tile.columns
        assert 0 <= rows.start <= tile.core_rows.start < tile.core_rows.stop <= rows.stop <= shape[0]
        assert 0 <= columns.start <= tile.core_columns.start < tile.core_columns.stop <= columns.stop <= shape[1]
        assert rows.start == max(tile.core_rows.start - overlap, 0)
        assert columns.stop == min(tile.core_columns.stop + overlap, shape[1])
        assert tile.shape == (rows.stop - rows.start, columns.stop - columns.start)
    assert (owners == 1).all()


@given(SHAPES, st.integers(1, 100), st.integers(1, 9))
def test_keys_sort_as_tiles_come_and_a_spread_is_part_of_them(shape, size, count):
    tiles = list(cut(shape, size, 0))
    keys = [tile.key for tile in tiles]
    assert keys == sorted(set(keys))
    chosen = spread(shape, size, count)
    assert len(chosen) == min(count, len(tiles))
    assert chosen[0] == tiles[0]
    assert {tile.key for tile in chosen} <= set(keys)
