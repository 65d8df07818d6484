"""The border of a stage: units, types, masks, missing columns, and what is appended."""

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

from astrokeras import chunk
from astrokeras.errors import ChunkError
from astrokeras.fields import FLAGS, Field
from astrokeras.flags import Flag

FLUX = Field(name="flux_g", unit="nJy", filter="SLOAN/SDSS.g", meta={"note": "x"})


def test_units_are_converted_and_bytes_made_native():
    table = QTable({"flux_g": np.array([1.0, 2.0], ">f4") * u.uJy})
    taken = chunk.project(table, [FLUX], "test")["flux_g"]
    assert taken.unit == u.nJy
    assert taken.dtype == np.dtype("=f4")
    np.testing.assert_allclose(taken.value, [1000.0, 2000.0])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1.0, 2.0], "has no unit; it needs one that converts to 'nJy'"),
        ([1.0, 2.0] * u.mag, "does not convert to 'nJy'"),
        ([[1.0], [2.0]] * u.nJy, r"cells of shape \(1,\), needs \(\)"),
    ],
)
def test_columns_that_do_not_fit_are_named(column, message):
    with pytest.raises(ChunkError, match=message) as caught:
        chunk.project(QTable({"flux_g": column}), [FLUX], "test")
    assert "flux_g" in str(caught.value)


def test_missing_column_is_named_with_a_near_one():
    table = QTable({"Flux_G": [1.0] * u.nJy})
    with pytest.raises(ChunkError, match="test reads 'flux_g', which the table does not have; did you mean 'Flux_G'"):
        chunk.project(table, [FLUX], "test")
    optional = FLUX.model_copy(update={"optional": True})
    assert "flux_g" not in chunk.project(table, [optional], "test").colnames


def test_masked_floats_become_nan_and_masked_integers_stay_masked():
    table = QTable(
        {
            "flux_g": Masked(np.array([1.0, 2.0]) * u.nJy, mask=[False, True]),
            "n": MaskedColumn([5, 6], mask=[True, False]),
        }
    )
    taken = chunk.project(table, [FLUX, Field(name="n", kind="i4")], "test")
    np.testing.assert_array_equal(taken["flux_g"].value, [1.0, np.nan])
    assert list(taken["n"].mask) == [True, False]


def test_a_float_is_no_integer():
    with pytest.raises(ChunkError, match="column 'n' has type float64, needs int32"):
        chunk.project(QTable({"n": [1.5]}), [Field(name="n", kind="i4")], "test")


def test_large_identifiers_are_exact():
    ids = np.array([2**62 + 1, -5])
    field = Field(name="object_id", kind="id")
    assert list(chunk.project(QTable({"object_id": ids}), [field], "test")["object_id"]) == list(ids)


def test_sky_coordinates_give_ra_and_dec_in_icrs():
    galactic = SkyCoord(l=[0.0] * u.deg, b=[0.0] * u.deg, frame="galactic")
    table = chunk.canonical(Table({"sky": galactic}))
    # The galactic centre: J2000 17h45m37.2s -28d56m10s (Blaauw et al. 1960, as in the IAU system).
    np.testing.assert_allclose([table["ra"][0].value, table["dec"][0].value], [266.405, -28.936], atol=1e-3)


def test_append_keeps_class_and_shares_nothing_back():
    for kind in (Table, QTable):
        table = kind({"a": [1, 2]})
        out = chunk.append(table, {"flux_g": np.array([1.0, 2.0])}, [FLUX], "test")
        assert type(out) is kind
        assert table.colnames == ["a"]
        assert out["flux_g"].unit == u.nJy
        assert out["flux_g"].info.meta["filter"] == "SLOAN/SDSS.g"
    frame = pd.DataFrame({"a": [1, 2]})
    out = chunk.append(frame, {"x": np.array([1.0, 2.0])}, [Field(name="x")], "test")
    assert isinstance(out, pd.DataFrame)
    assert list(out["x"]) == [1.0, 2.0]
    assert list(frame) == ["a"]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"flux_g": np.zeros(3)}, "has 3 rows for 2 objects"),
        ({"flux_r": np.zeros(2)}, r"declared \['flux_g'\] and delivered \['flux_r'\]"),
        ({"flux_g": np.zeros((2, 2))}, r"cells of shape \(2,\)"),
    ],
)
def test_a_stage_delivers_what_it_declares(result, message):
    with pytest.raises(ChunkError, match=message):
        chunk.append(QTable({"a": [1, 2]}), result, [FLUX], "test")


def test_flags_add_up():
    table = QTable({"flags": np.array([1, 0], np.int32)})
    out = chunk.append(table, {"flags": np.array([4, 4], np.int32)}, [FLAGS], "test")
    assert list(out["flags"]) == [5, 4]


def test_scatter_leaves_the_others_missing_and_flagged():
    fields = [Field(name="x"), Field(name="n", kind="i2"), Field(name="t", kind="str"), FLAGS]
    part = {"x": [1.5], "n": [7], "t": np.array(["abc"], object), "flags": [int(Flag.MISSING_BAND)]}
    part = chunk.delivered(part, fields, "test", 1)
    out = chunk.scatter(part, np.array([False, True]), fields, Flag.NOT_SELECTED)
    np.testing.assert_array_equal(out["x"], np.array([np.nan, 1.5], np.float32))
    assert list(np.ma.getmaskarray(out["n"])) == [True, False]
    assert list(out["t"]) == ["", "abc"]
    assert list(out["flags"]) == [Flag.NOT_SELECTED, Flag.MISSING_BAND]


def test_where_is_evaluated_on_any_column():
    table = QTable({"flux_g": [1.0, np.nan, 3.0] * u.nJy, "name": ["a", "b", "b"]})
    assert list(chunk.evaluate("flux_g > 0 and name == 'b'", dict(table.items()), 3)) == [False, False, True]


def test_not_a_table():
    with pytest.raises(ChunkError, match="expected an astropy Table or a pandas DataFrame, got list"):
        chunk.canonical([1, 2])


def test_concatenate_skips_empty_chunks():
    one, none = QTable({"a": [1.0] * u.nJy}), QTable({"a": [] * u.nJy})
    assert len(chunk.concatenate([none, one, one])) == 2
    assert len(chunk.concatenate([none, none])) == 0


def test_integers_with_a_unit_stay_integers():
    field = Field(name="n", kind="i4", unit="d")
    table = chunk.append(
        QTable({"a": [1, 2]}), {"n": np.ma.MaskedArray([3, 4], [False, True], np.int32)}, [field], "test"
    )
    taken = chunk.project(table, [field], "test")["n"]
    assert taken.dtype == np.int32
    assert taken.unit == u.d
    assert list(taken.mask) == [False, True]


@pytest.mark.parametrize(("value", "kind"), [(70000, "i2"), (-(2**31) - 1, "i4"), (np.uint64(2**63), "id")])
def test_integers_that_do_not_fit_are_refused_not_wrapped(value, kind):
    with pytest.raises(ChunkError, match=rf"column 'n' holds {value}; int\d+ goes from"):
        chunk.typed(np.array([0, value], np.uint64 if value > 0 else np.int64), Field(name="n", kind=kind), "test")


def test_floats_beyond_float32_are_infinite_without_a_warning():
    assert np.isposinf(chunk.typed(np.array([1e300]), Field(name="x"), "test")).all()


def test_missing_texts_are_empty():
    frame = pd.DataFrame({"a": ["x", None], "b": pd.array(["y", None], dtype="string")})
    table = QTable({"c": Column(["z", None], dtype=object), "d": Column([b"w", b"\xc3\xa9"])})
    for name, source in (("a", frame), ("b", frame), ("c", table)):
        projected = chunk.project(chunk.canonical(source), [Field(name=name, kind="str")], "test")
        assert projected[name][1] == ""
    assert list(chunk.project(table, [Field(name="d", kind="str")], "test")["d"]) == ["w", "é"]
    with pytest.raises(ChunkError, match="bytes that are no UTF-8 text"):
        chunk.typed(np.array([b"\xff"]), Field(name="d", kind="str"), "test")


def test_a_quantity_that_a_stage_delivers_is_converted():
    field = Field(name="flux_g", unit="nJy", kind="f8")
    assert chunk.delivered({"flux_g": [2.0] * u.uJy}, [field], "test", 1)["flux_g"] == pytest.approx([2000.0])
    with pytest.raises(ChunkError, match="does not convert"):
        chunk.delivered({"flux_g": [2.0] * u.deg}, [field], "test", 1)


def test_an_identifier_of_the_chosen_rows_stays_what_it_is():
    field = Field(name="match_id", kind="id")
    for values in (np.array([123456]), np.array(["SDSS-1"])):
        part = chunk.delivered({"match_id": values}, [field], "test", 1)
        out = chunk.scatter(part, np.array([False, True]), [field], Flag.NOT_SELECTED)
        assert out["match_id"][1] == values[0]


def test_positions_under_the_name_of_an_axis():
    sky = SkyCoord([1.0] * u.deg, [2.0] * u.deg)
    table = chunk.canonical(Table({"ra": sky}))
    assert (table["ra"][0].to_value(u.deg), table["dec"][0].to_value(u.deg)) == pytest.approx((1.0, 2.0))
