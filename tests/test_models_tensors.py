"""The border between chunk and graph."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_models_card import make_card

from astrokeras import chunk as border
from astrokeras.errors import ChunkError, ModelError
from astrokeras.fields import Field
from astrokeras.flags import Flag
from astrokeras.models.card import photometry_inputs
from astrokeras.models.columns import blank, decode, output_fields, written_fields
from astrokeras.models.tensors import domain, encode, match

BANDS = ("g", "r", "i")


def table(flux, error=None, bands=BANDS, unit="nJy"):
    flux = np.asarray(flux, np.float32)
    error = np.full_like(flux, 0.5) if error is None else np.asarray(error, np.float32)
    columns = {f"flux_{b}": flux[:, k] * u.Unit(unit) for k, b in enumerate(bands)}
    columns |= {f"flux_err_{b}": error[:, k] * u.Unit(unit) for k, b in enumerate(bands)}
    return QTable(columns)


def stamped(chunk, **facts):
    """The chunk with facts on its fluxes, the way a source writes them."""
    for name in chunk.colnames:
        if not name.startswith("flux_err"):
            chunk[name].info.meta = {"filter": f"SLOAN/SDSS.{name[-1]}"} | facts
    return chunk


def fields(bands=BANDS, **facts):
    made = [Field(name=f"flux_{b}", unit="nJy", **{"filter": f"SLOAN/SDSS.{b}"} | facts) for b in bands]
    return (*made, *(Field(name=f"flux_err_{b}", unit="nJy") for b in bands))


def test_bands_follow_the_card_whatever_the_table():
    chunk = table([[1, 2, 3]], [[0.1, 0.2, 0.3]], bands=("i", "g", "r"))
    tensors, flags = encode(chunk, make_card())
    np.testing.assert_array_equal(tensors["flux"], np.float32([[2, 3, 1]]))
    np.testing.assert_array_equal(tensors["flux_err"], np.float32([[0.2, 0.3, 0.1]]))
    np.testing.assert_array_equal(tensors["observed"], [[1, 1, 1]])
    assert flags.dtype == np.int32 and flags.tolist() == [0]
    assert {t.dtype for t in tensors.values()} == {np.dtype("f4")}


@pytest.mark.parametrize(("unit", "factor"), [("uJy", 1e3), ("Jy", 1e9), ("mJy", 1e6)])
def test_units_convert(unit, factor):
    tensors, _ = encode(table([[1, 2, 3]], unit=unit), make_card())
    np.testing.assert_allclose(tensors["flux"], np.array([[1, 2, 3]]) * factor, rtol=1e-6)


def test_unit_that_is_no_flux():
    with pytest.raises(ChunkError, match=r"flux_g.*'mag' does not convert to 'nJy'"):
        encode(table([[1, 2, 3]], unit="mag"), make_card())


def test_missing_and_bad_values():
    nan, inf = np.nan, np.inf
    flux = [[1, 2, 3], [nan, 2, 3], [inf, 2, 3], [1, -2, 3], [1, 2, 3], [1, 2, 3], [nan, nan, nan], [1, nan, 3]]
    error = [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 1, 1], [nan, 1, 1], [1, 1, 1], [1, nan, 1]]
    tensors, flags = encode(table(flux, error), make_card(may_miss=BANDS))
    gone = Flag.MISSING_BAND
    bad = Flag.MISSING_BAND | Flag.BAD_PHOTOMETRY
    assert flags.tolist() == [0, gone, bad, 0, bad, bad, gone | Flag.NO_DATA, gone]
    expected = [[1, 1, 1], [0, 1, 1], [0, 1, 1], [1, 1, 1], [0, 1, 1], [0, 1, 1], [0, 0, 0], [1, 0, 1]]
    np.testing.assert_array_equal(tensors["observed"], expected)
    np.testing.assert_array_equal(tensors["flux"][3], [1, -2, 3])
    for name in ("flux", "flux_err"):
        assert np.all(tensors[name][tensors["observed"] == 0] == 0)


def test_upper_limits():
    nan = np.nan
    flux = [[nan, 2, 3], [nan, 2, 3], [nan, 2, nan], [nan, nan, nan], [nan, nan, 3], [np.inf, 2, 3], [nan, 2, 3]]
    error = [[7, 1, 1], [nan, 1, 1], [7, 1, nan], [7, 8, 9], [7, 8, 9], [7, 1, 1], [-7, 1, 1]]
    card = make_card(may_miss=BANDS, limits=True, min_bands=1, domain={"flux_g": (5.0, 9.0)})
    tensors, flags = encode(table(flux, error), card)
    limit, gone = Flag.UPPER_LIMIT, Flag.MISSING_BAND
    assert flags.tolist() == [
        limit,
        gone,
        limit | gone,
        limit | Flag.NO_DATA,
        limit,
        gone | Flag.BAD_PHOTOMETRY,
        gone,
    ]
    np.testing.assert_array_equal(
        tensors["limited"], [[1, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0]]
    )
    np.testing.assert_array_equal(tensors["flux"][0], [0, 2, 3])
    np.testing.assert_array_equal(tensors["flux_err"][[0, 1, 3, 4]], [[7, 1, 1], [0, 1, 1], [0, 0, 0], [7, 8, 9]])
    np.testing.assert_array_equal(tensors["observed"][4], [0, 0, 1])
    assert set(tensors) == set(card.tensors) and tensors["limited"].dtype == np.float32


def test_a_limit_is_missing_for_a_model_without_limits():
    chunk = table([[np.nan, 2, 3]], [[7, 1, 1]])
    tensors, flags = encode(chunk, make_card(may_miss=("g",)))
    assert "limited" not in tensors and flags.tolist() == [Flag.MISSING_BAND]
    np.testing.assert_array_equal(tensors["flux_err"], [[0, 1, 1]])
    _, flags = encode(chunk, make_card(may_miss=("r",)))
    assert flags.tolist() == [Flag.MISSING_BAND | Flag.NO_DATA]
    # A band that may not be missing may be a limit.
    _, flags = encode(chunk, make_card(may_miss=("r",), limits=True))
    assert flags.tolist() == [Flag.UPPER_LIMIT]


def test_the_domain_ignores_limits():
    flux = np.array([[10.0, 20, 30], [11, 21, 31], [np.nan, 22, 32]])
    card = make_card(may_miss=BANDS, limits=True)
    tensors, _ = encode(table(flux, np.full_like(flux, 500.0)), card)
    ranges = domain(tensors, card, tail=0)
    assert ranges == {"flux_g": (10.0, 11.0), "flux_r": (20.0, 22.0), "flux_i": (30.0, 32.0)}
    _, flags = encode(table(flux, np.full_like(flux, 500.0)), card.model_copy(update={"domain": ranges}))
    assert flags.tolist() == [0, 0, Flag.UPPER_LIMIT]


def test_masked_values_are_missing():
    chunk = table([[1, 2, 3], [4, 5, 6]])
    from astropy.utils.masked import Masked

    chunk["flux_r"] = Masked(chunk["flux_r"], mask=[False, True])
    tensors, flags = encode(chunk, make_card(may_miss=("r",)))
    np.testing.assert_array_equal(tensors["observed"], [[1, 1, 1], [1, 0, 1]])
    assert flags.tolist() == [0, Flag.MISSING_BAND]


def test_a_band_that_may_not_miss_takes_the_object_out():
    tensors, flags = encode(table([[np.nan, 2, 3], [1, 2, np.nan], [1, 2, 3]]), make_card(may_miss=("g",)))
    assert flags.tolist() == [Flag.MISSING_BAND, Flag.MISSING_BAND | Flag.NO_DATA, 0]
    assert not tensors["observed"][1].any() and not tensors["flux"][1].any()


def test_too_few_bands():
    _, flags = encode(table([[np.nan, np.nan, 3], [np.nan, 2, 3]]), make_card(may_miss=BANDS, min_bands=2))
    assert [bool(f & Flag.NO_DATA) for f in flags] == [True, False]


def test_a_band_that_the_table_lacks():
    chunk = table([[1, 2, 3]])
    chunk.remove_column("flux_err_g")
    tensors, flags = encode(chunk, make_card(may_miss=("g",)))
    np.testing.assert_array_equal(tensors["observed"], [[0, 1, 1]])
    assert flags.tolist() == [Flag.MISSING_BAND]
    with pytest.raises(ModelError, match=r"needs the bands 'g' .*only 'r', 'i' may be missing"):
        encode(chunk, make_card(may_miss=("r", "i")))
    with pytest.raises(ModelError, match="at least 3 of its bands 'g', 'r', 'i'; the data lack 'g'"):
        encode(chunk, make_card(may_miss=BANDS, min_bands=3))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"filter": "CTIO/DECam.g"}, "trained on filter 'SLOAN/SDSS.g', the data have 'CTIO/DECam.g'"),
        ({"photometry": "cmodel"}, "trained on photometry 'model', the data have 'cmodel'"),
        ({"dereddened": "no"}, "trained on dereddened 'yes', the data have 'no'"),
    ],
)
def test_other_photometry_is_refused_or_flagged(facts, expected):
    (fact,) = facts
    chunk = stamped(table([[1, 2, 3]]), **facts)
    with pytest.raises(ModelError, match=expected) as raised:
        encode(chunk, make_card())
    assert f"override: [{fact}]" in str(raised.value)
    with pytest.raises(ModelError, match=expected):
        match(make_card(), fields(**facts))
    _, flags = encode(chunk, make_card(), override=(fact,))
    assert flags.tolist() == [Flag.PHOTOMETRY_MISMATCH]
    assert any(expected in note and "overridden" in note for note in match(make_card(), fields(**facts), (fact,)))


def test_what_agrees_or_is_not_stated_passes():
    assert encode(stamped(table([[1, 2, 3]]), photometry="model"), make_card())[1].tolist() == [0]
    assert encode(stamped(table([[1, 2, 3]]), dereddened="unverified"), make_card())[1].tolist() == [0]
    assert encode(table([[1, 2, 3]]), make_card())[1].tolist() == [0]
    assert match(make_card(), fields(photometry="model", dereddened="yes")) == ()
    notes = match(make_card(), fields(photometry="model"))
    assert notes == ("the data do not state dereddened of 'g', 'r', 'i'; not compared with the model's",)


def test_match_knows_bands_extras_and_overrides():
    assert match(make_card(may_miss=("g",)), fields(("r", "i"), photometry="model", dereddened="yes")) == (
        "band 'g' is not in the data and is masked",
    )
    with pytest.raises(ModelError, match=r"needs the bands 'g', 'r'.*none of its bands may be missing"):
        match(make_card(), fields(("i",)))
    with pytest.raises(ModelError, match="no fact 'filtre'; did you mean 'filter'"):
        match(make_card(), fields(), ("filtre",))
    card = make_card(inputs=photometry_inputs(BANDS, [Field(name="ebv")], ("ebv",)))
    with pytest.raises(ModelError, match="needs 'ebv', which the data do not have"):
        match(card, fields())


def test_facts_travel_from_the_writer_to_encode():
    """A source stamps facts; a stage that reads the column neither loses nor restates them."""
    declared = fields(photometry="cmodel")
    chunk = QTable({f.name: border.as_column(np.ones(2, np.float32), f) for f in declared})
    projected = border.project(chunk, make_card().source_inputs(), "photoz")
    assert projected["flux_g"].info.meta == {"filter": "SLOAN/SDSS.g", "photometry": "cmodel"}
    assert projected[[True, False]]["flux_g"].info.meta["photometry"] == "cmodel"
    with pytest.raises(ModelError, match="cmodel"):
        encode(projected, make_card())


def test_extra_inputs():
    card = make_card(inputs=photometry_inputs(BANDS, [Field(name="ebv"), Field(name="n", kind="i4")], ("ebv", "n")))
    chunk = table(np.ones((3, 3)))
    chunk["ebv"] = [0.1, np.nan, 0.3]
    chunk["n"] = np.ma.MaskedArray([1, 2, 3], mask=[False, False, True])
    tensors, flags = encode(chunk, card)
    np.testing.assert_allclose(tensors["extra"], [[0.1, 1], [0, 0], [0, 0]], rtol=1e-6)
    lost = Flag.NO_DATA | Flag.MISSING_INPUT
    assert flags.tolist() == [0, lost, lost]
    # A card that allows it: the input is masked, and the object keeps its result.
    tensors, flags = encode(chunk, card.model_copy(update={"extras_may_miss": True}))
    np.testing.assert_allclose(tensors["extra"], [[0.1, 1], [0, 2], [0.3, 0]], rtol=1e-6)
    assert tensors["extra_observed"].tolist() == [[1, 1], [0, 1], [1, 0]]
    assert flags.tolist() == [0, Flag.MISSING_INPUT, Flag.MISSING_INPUT]


def test_domain_is_flagged_only_where_observed():
    card = make_card(may_miss=BANDS, domain={"flux_g": (0, 10), "flux_i": (-5, 5)})
    _, flags = encode(table([[5, 1e9, 0], [11, 1, 0], [5, 1, -6], [np.inf, 1, 0]]), card)
    assert [bool(f & Flag.OUT_OF_DOMAIN) for f in flags] == [False, True, True, False]


def test_domain_of_training_rows():
    rng = np.random.default_rng(1)
    flux = rng.normal(size=(4000, 3))
    flux[:10, 1] = np.nan
    card = make_card(may_miss=BANDS)
    ranges = domain(encode(table(flux), card)[0], card, tail=0.025)
    # 2.5 % of a normal distribution lie beyond 1.96 sigma on either side.
    np.testing.assert_allclose(list(ranges.values()), [[-1.96, 1.96]] * 3, atol=0.15)
    _, flags = encode(table(flux), card.model_copy(update={"domain": {"flux_g": ranges["flux_g"]}}))
    assert np.mean(flags & Flag.OUT_OF_DOMAIN > 0) == pytest.approx(0.05, abs=1e-3)


def test_zero_rows():
    tensors, flags = encode(table(np.zeros((0, 3))), make_card())
    assert tensors["flux"].shape == (0, 3) and flags.shape == (0,)
    assert decode({"z_pdf": np.zeros((0, 11), np.float32)}, make_card())["z_phot"].shape == (0,)


wild = st.floats(width=32) | st.sampled_from([99.0, -99.0, -9999.0, 1e4, 0.0])


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, (4, 3), elements=wild), arrays(np.float32, (4, 3), elements=wild), st.permutations(range(4)))
def test_tensors_are_finite_and_rows_independent(flux, error, order):
    card = make_card(may_miss=BANDS)
    tensors, flags = encode(table(flux, error), card)
    assert all(np.isfinite(t).all() for t in tensors.values())
    np.testing.assert_array_equal(tensors["observed"] > 0, np.isfinite(flux) & np.isfinite(error) & (error > 0))
    again, other = encode(table(flux[order], error[order]), card)
    np.testing.assert_array_equal(other, flags[order])
    for name, values in tensors.items():
        np.testing.assert_array_equal(again[name], values[order])


def test_decode_gives_quantiles_of_the_pdf():
    nodes = make_card().grid.nodes()
    # Uniform from 0 to 1: the quantiles are the levels. A triangle on [0, 1] rising from 0: z = sqrt(level).
    pdf = np.float32([np.ones(11), 2 * nodes])
    columns = decode({"z_pdf": pdf}, make_card())
    np.testing.assert_allclose(columns["z_phot"], [0.5, np.sqrt(0.5)], rtol=1e-6)
    np.testing.assert_allclose(columns["z_lo"], [0.16, 0.4], rtol=1e-6)
    np.testing.assert_allclose(columns["z_hi"], [0.84, np.sqrt(0.84)], rtol=1e-6)
    assert columns["z_mode"][1] == 1
    np.testing.assert_array_equal(columns["z_pdf"], pdf)
    assert {c.dtype for c in columns.values()} == {np.dtype("f4")}


def test_decode_of_some_columns():
    pdf = np.ones((2, 11), np.float32)
    assert list(decode({"z_pdf": pdf}, make_card(), ("z_hi", "z_phot"))) == ["z_hi", "z_phot"]
    assert list(decode({"z_pdf": pdf}, make_card(), ("z_pdf",))) == ["z_pdf"]
    with pytest.raises(ModelError, match="no column 'z_phto'; did you mean 'z_phot'"):
        output_fields(make_card(), ("z_phto",))


def test_output_fields_describe_what_decode_gives():
    card = make_card()
    columns = decode({"z_pdf": np.ones((2, 11), np.float32)}, card)
    described = output_fields(card)
    assert [f.name for f in described] == list(columns)
    assert all(columns[f.name].shape[1:] == f.shape for f in described)
    assert described[-1].meta == {"z_min": 0.0, "z_max": 1.0}
    assert [f.name for f in written_fields(card, ("z_phot",))] == ["z_phot", "flags"]


def test_output_ucds_are_in_the_vocabulary():
    from astropy.io.votable.ucd import check_ucd

    for field in output_fields(make_card()):
        assert check_ucd(field.ucd, check_controlled_vocabulary=True), field.ucd


def test_blank_hides_rows_without_data():
    flags = np.int32([0, Flag.NO_DATA | Flag.MISSING_BAND, Flag.MISSING_BAND])
    columns = blank({"z_phot": np.float32([1, 2, 3]), "z_pdf": np.ones((3, 2), np.float32)}, flags)
    np.testing.assert_array_equal(columns["z_phot"], [1, np.nan, 3])
    np.testing.assert_array_equal(np.isnan(columns["z_pdf"]).all(axis=1), [False, True, False])
    assert columns["z_pdf"].dtype == np.float32
