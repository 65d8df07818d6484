"""The difference of two magnitudes of one band."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from astrokeras import Extent


def table(psf, model, error=1.0):
    n = len(psf)
    columns = {"flux_psf_r": psf, "flux_r": model, "flux_err_psf_r": np.full(n, error), "flux_err_r": np.full(n, error)}
    return QTable({name: np.asarray(values, float) * u.nJy for name, values in columns.items()})


@given(st.floats(1000, 1e6), st.floats(0.5, 3))
def test_bright_objects_have_the_difference_of_their_magnitudes(psf, ratio):
    (found,) = Extent(bands=["r"])(table([psf], [psf * ratio]))["extent_r"].value
    assert found == pytest.approx(2.5 * np.log10(ratio), abs=2e-4)


def test_the_difference_of_faint_and_negative_fluxes_is_finite_and_small():
    found = Extent(bands=["r"])(table([-0.1, 0.0, 0.1], [0.1, 0.0, -0.1], error=10.0))["extent_r"]
    np.testing.assert_allclose(found.value, 2.5 / np.log(10) * np.array([0.01, 0, -0.01]), rtol=1e-3)


def test_a_missing_flux_gives_none():
    found = Extent(bands=["r"])(table([1.0, np.nan, 1.0], [np.nan, 1.0, 1.0]))["extent_r"]
    assert np.isnan(found.value).tolist() == [True, True, False]


def test_one_kind_of_photometry_has_no_extent():
    with pytest.raises(ValidationError, match="must differ"):
        Extent(bands=["r"], narrow="psf", wide="psf")
