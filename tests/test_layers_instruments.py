"""Whole instruments hidden in training."""

import keras
import numpy as np
import pytest

from astrokeras.fields import Field, flux_field
from astrokeras.layers import InstrumentDropout
from astrokeras.models.card import photometry_inputs
from astrokeras.tasks.class_learner import ClassLearner
from astrokeras.tasks.classify_recipe import ClassifyRecipe
from astrokeras.tasks.train_model import provisional_card

INSTRUMENTS = [0, 0, 0, 1, 1]


def hidden(observed, rate=0.3, **call):
    layer = InstrumentDropout(INSTRUMENTS, rate, seed=5)
    return keras.ops.convert_to_numpy(layer(np.asarray(observed, "float32"), **call))


def test_bands_of_an_instrument_vanish_together_as_often_as_stated():
    found = hidden(np.ones((20000, 5)), training=True)
    assert set(map(tuple, found.astype(int).tolist())) == {(1, 1, 1, 1, 1), (0, 0, 0, 1, 1), (1, 1, 1, 0, 0)}
    # A row that would lose both keeps both: .3 * .7 of the rows lose one or the other.
    for column in (0, 4):
        assert np.mean(found[:, column] == 0) == pytest.approx(0.21, abs=0.012)


def test_what_is_missing_stays_missing_and_no_row_loses_all():
    observed = np.tile([1, 0, 1, 0, 0], (5000, 1))
    np.testing.assert_array_equal(hidden(observed, training=True), observed)


def test_outside_training_nothing_changes():
    observed = np.random.default_rng(1).integers(0, 2, (100, 5))
    np.testing.assert_array_equal(hidden(observed), observed)


def test_limits_vanish_with_the_detections():
    layer = InstrumentDropout(INSTRUMENTS, 0.5, seed=2)
    observed = np.tile(np.float32([1, 1, 0, 1, 0]), (2000, 1))
    limited = np.tile(np.float32([0, 0, 1, 0, 1]), (2000, 1))
    seen, limits = (keras.ops.convert_to_numpy(x) for x in layer([observed, limited], training=True))
    np.testing.assert_array_equal(seen[:, 0], limits[:, 2])
    np.testing.assert_array_equal(seen[:, 3], limits[:, 4])
    assert 0.2 < np.mean(limits[:, 4] == 0) < 0.3


def test_a_rate_out_of_range_is_refused():
    with pytest.raises(ValueError, match="rate must be at least 0 and below 1"):
        InstrumentDropout(INSTRUMENTS, 1.0)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("SLOAN/SDSS.g", "SLOAN/SDSS.r", "WISE/WISE.W1"), (0, 0, 1)),
        (("SLOAN/SDSS.g", "SLOAN/SDSS.r", "SLOAN/SDSS.i"), ()),
        ((None, None, None), ()),
    ],
)
def test_instruments_are_told_from_the_filters(filters, expected):
    bands = ("g", "r", "x")
    fields = [flux_field(band, filter=name) for band, name in zip(bands, filters, strict=True)]
    recipe = ClassifyRecipe()
    output = (Field(name="p_class", shape=(2,)),)
    card = provisional_card("classify", None, recipe, photometry_inputs(bands, fields), output, classes=("A", "B"))
    assert ClassLearner(recipe, card).instruments == expected
