"""Splitting by object."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrokeras.errors import TrainingError
from astrokeras.split import assign, groups, row_keys, text_keys


def keys_of(ids):
    return row_keys([np.asarray(ids)])


def test_equal_rows_have_equal_keys_and_missing_rows_none():
    a = np.array([1.0, 1.0, np.nan, np.nan, 0.0, -0.0, 2.0])
    b = np.array([5.0, 5.0, np.nan, 1.0, 3.0, 3.0, 5.0])
    keys = row_keys([a, b])
    assert keys[0] == keys[1]
    assert keys[2] == 0
    assert keys[4] == keys[5]
    assert len(set(keys[[0, 3, 4, 6]])) == 4


def test_keys_depend_on_which_column_holds_a_value():
    assert row_keys([np.array([1.0]), np.array([2.0])])[0] != row_keys([np.array([2.0]), np.array([1.0])])[0]


def test_text_keys_do_not_depend_on_what_else_is_there():
    assert text_keys(np.array(["b", "a"]))[0] == text_keys(np.array(["b"]))[0]


def test_groups_join_through_any_key():
    # 0-1 share the first key, 1-2 the second: one object. 3 shares nothing; 4 and 5 have no key at all.
    first = np.array([7, 7, 8, 9, 0, 0], np.uint64)
    second = np.array([1, 2, 2, 3, 0, 0], np.uint64)
    group = groups([first, second])
    assert group[0] == group[1] == group[2]
    assert len({group[0], group[3], group[4], group[5]}) == 4


def test_fractions_are_those_asked_for():
    n = 40_000
    split = assign({"id": keys_of(np.arange(n))}, {"test": 0.2, "validate": 0.1, "calibrate": 0.05}, seed=1)
    for part, fraction in (("test", 0.2), ("validate", 0.1), ("calibrate", 0.05), ("train", 0.65)):
        # Five standard errors of a binomial draw.
        assert abs(np.mean(split.part == part) - fraction) < 5 * np.sqrt(fraction * (1 - fraction) / n)


def test_part_of_an_object_depends_neither_on_order_nor_on_others():
    ids = np.arange(1000)
    whole = assign({"id": keys_of(ids)}, {"test": 0.3}, seed=4).part
    order = np.random.default_rng(0).permutation(1000)
    assert np.array_equal(assign({"id": keys_of(ids[order])}, {"test": 0.3}, seed=4).part, whole[order])
    assert np.array_equal(assign({"id": keys_of(ids[:100])}, {"test": 0.3}, seed=4).part, whole[:100])


def test_seed_changes_the_draw():
    ids = keys_of(np.arange(1000))
    one, other = (assign({"id": ids}, {"test": 0.5}, seed=s).part for s in (1, 2))
    # Two independent draws agree on half of the objects.
    assert 0.4 < np.mean(one == other) < 0.6


@given(st.lists(st.integers(0, 20), min_size=2, max_size=60), st.integers(0, 2**31 - 1))
def test_equal_photometry_stays_on_one_side(photometry, seed):
    n = len(photometry)
    flux = row_keys([np.asarray(photometry, float)])
    try:
        split = assign({"id": keys_of(np.arange(n)), "photometry": flux}, {"test": 0.4}, seed)
    except TrainingError:
        return
    for value in set(photometry):
        assert len(set(split.part[np.asarray(photometry) == value])) == 1
    assert split.repeated == n - len(set(photometry))


def test_fixed_test_rows_stay_and_their_twins_are_withheld():
    flux = row_keys([np.array([1.0, 2.0, 1.0, 3.0])])
    fixed = np.array(["test", "", "train", "train"])
    split = assign({"id": keys_of(np.arange(4)), "photometry": flux}, {}, 0, fixed)
    assert list(split.part) == ["test", "train", "", "train"]
    assert split.withheld == 1


def test_unknown_part_is_refused_by_name():
    with pytest.raises(TrainingError, match=r"'eval' is no part \(allowed: train"):
        assign({"id": keys_of(np.arange(2))}, {}, 0, np.array(["eval", ""]))


@pytest.mark.parametrize("fractions", [{"test": 1.0}, {"test": -0.1}, {"test": 0.6, "validate": 0.4}])
def test_impossible_fractions(fractions):
    with pytest.raises(TrainingError, match="leave something for training"):
        assign({"id": keys_of(np.arange(9))}, fractions, 0)


def test_nothing_left_to_train_on():
    with pytest.raises(TrainingError, match="no row of 2 is left"):
        assign({"id": keys_of(np.arange(2))}, {}, 0, np.array(["test", "test"]))


def test_rows_without_the_first_key_are_drawn_one_by_one():
    """A group column that is empty for most rows must not send all of these to one part."""
    n = 2000
    keys = {"group": row_keys([np.array([""] * n)]), "photometry": row_keys([np.arange(n)])}
    part = assign(keys, {"test": 0.3}, seed=1).part
    assert np.mean(part == "test") == pytest.approx(0.3, abs=0.05)
