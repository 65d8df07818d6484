"""Stamps and vectors as inputs: cards, tensors, golden rows, keys of rows; redshifts and classes with them."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from test_models_card import make_card

from astrokeras import Classify, PhotoZ
from astrokeras.errors import ModelError
from astrokeras.fields import Field
from astrokeras.flags import Flag
from astrokeras.models import golden
from astrokeras.models.card import photometry_inputs
from astrokeras.models.card_parts import Morphology
from astrokeras.models.importance import permutation_importance
from astrokeras.models.tensors import domain, encode
from astrokeras.split import row_keys
from astrokeras.synthetic.catalog import Synthetic

STAMP = Field(name="stamp", unit="nJy", shape=(4, 4, 2), meta={"bands": "g,r", "pixel_scale": 0.2})
HOG = Field(name="hog", shape=(3,))
SIZE = Field(name="size")
MORPHOLOGY = {"task": "morphology", "morphology": Morphology(kind="regression", column="t_type"), "grid": None}


def card_of(*inputs, bands=(), **facts):
    fields = photometry_inputs(bands, inputs, [field.name for field in inputs])
    return make_card(**{**MORPHOLOGY, "bands": bands, "inputs": fields, "may_miss": bands, "domain": {}, **facts})


def test_a_card_may_do_without_photometry():
    card = card_of(SIZE, HOG, STAMP, extras_may_miss=True)
    assert card.extras == ("size", "hog") and card.stamp == STAMP
    assert card.extra_places == {"size": slice(0, 1), "hog": slice(1, 4)}
    assert card.tensors == {"extra": (4,), "extra_observed": (4,), "stamp": (4, 4, 2), "stamp_observed": (4, 4, 2)}
    assert [f.optional for f in card.source_inputs()] == [True, True, False]
    again = type(card).model_validate_json(card.model_dump_json())
    assert again == card


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((), "needs bands, a stamp or further inputs"),
        ((STAMP, STAMP.model_copy(update={"name": "other"})), "one stamp, got stamp, other"),
        ((Field(name="image", shape=(4, 4)),), r"cells of shape \(4, 4\)"),
        ((Field(name="hog", shape=(-1,)),), r"cells of shape \(-1,\)"),
    ],
)
def test_what_no_graph_takes_is_refused(inputs, said):
    with pytest.raises(ValueError, match=said):
        card_of(*inputs)


def objects():
    rng = np.random.default_rng(1)
    table = QTable({"size": rng.normal(size=5).astype("f4"), "hog": rng.normal(size=(5, 3)).astype("f4")})
    table["stamp"] = rng.normal(size=(5, 4, 4, 2)).astype("f4") * u.nJy
    return table


def test_stamps_and_vectors_become_tensors():
    table = objects()
    table["stamp"][1, 0, 0, 0] = np.nan
    table["stamp"][2] = np.nan
    table["hog"][3, 1] = np.nan
    table["stamp"][4] = np.inf
    tensors, flags = encode(table, card_of(SIZE, HOG, STAMP, extras_may_miss=True))
    np.testing.assert_array_equal(tensors["extra"][0], [table["size"][0], *table["hog"][0]])
    np.testing.assert_array_equal(tensors["extra_observed"][3], [1, 1, 0, 1])
    assert tensors["stamp"][1, 0, 0, 0] == 0 and tensors["stamp_observed"][1].sum() == 31
    np.testing.assert_array_equal(tensors["stamp"][0], table["stamp"][0].value)
    assert all(np.isfinite(values).all() for values in tensors.values())
    masked = Flag.MASKED_PIXELS | Flag.MISSING_BAND | Flag.NO_DATA
    assert flags.tolist() == [0, Flag.MASKED_PIXELS, masked, Flag.MISSING_INPUT, masked]
    assert tensors["extra"][2].tolist() == [0, 0, 0, 0]


def test_units_of_stamps_convert():
    table, card = objects(), card_of(STAMP)
    expected, _ = encode(table, card)
    table["stamp"] = table["stamp"].to("uJy")
    np.testing.assert_allclose(encode(table, card)[0]["stamp"], expected["stamp"], rtol=1e-6)


def test_features_alone_need_one_of_them():
    table = objects()
    table["size"][1], table["hog"][1] = np.nan, np.nan
    table["size"][2] = np.nan
    _, flags = encode(table, card_of(SIZE, HOG, extras_may_miss=True))
    assert flags[:3].tolist() == [0, Flag.MISSING_INPUT | Flag.NO_DATA, Flag.MISSING_INPUT]
    _, flags = encode(table, card_of(SIZE, HOG))
    assert flags[2] == Flag.MISSING_INPUT | Flag.NO_DATA


def test_a_missing_stamp_beside_photometry_is_masked():
    table = objects()
    table["stamp"][0] = np.nan
    for name in ("flux_g", "flux_r", "flux_err_g", "flux_err_r"):
        table[name] = np.ones(5, "f4") * u.nJy
    tensors, flags = encode(table, card_of(STAMP, bands=("g", "r")))
    assert not flags[0] & Flag.NO_DATA and tensors["flux"][0].tolist() == [1, 1]


def test_the_domain_of_a_card_is_of_scalars():
    table, card = objects(), card_of(SIZE, HOG, STAMP, extras_may_miss=True)
    assert list(domain(encode(table, card)[0], card)) == ["size"]


def test_golden_rows_of_large_stamps_are_few_and_small(tmp_path):
    large = STAMP.model_copy(update={"shape": (64, 64, 3)})
    card = card_of(large, outputs=(Field(name="value", shape=(1,)),))
    tensors = {"stamp": np.zeros((40, 64, 64, 3), "f4"), "stamp_observed": np.ones((40, 64, 64, 3), np.uint8)}
    chosen = golden.rows(tensors, card)
    assert len(chosen["stamp"]) == 5
    golden.write(tmp_path / "golden.npz", chosen, {"value": np.zeros((5, 1), "f4")})
    inputs, _ = golden.read(tmp_path / "golden.npz", card)
    np.testing.assert_array_equal(inputs["stamp_observed"], 1)
    assert (tmp_path / "golden.npz").stat().st_size < 100_000
    assert len(golden.rows({k: v[:, :4, :4, :2] for k, v in tensors.items()}, card_of(STAMP))["stamp"]) == 16


def test_a_vector_and_a_stamp_are_one_input_each():
    card = card_of(SIZE, HOG, STAMP, extras_may_miss=True)
    rng = np.random.default_rng(0)
    tensors = {"extra": rng.normal(size=(400, 4)), "extra_observed": np.ones((400, 4))}
    tensors |= {"stamp": rng.normal(size=(400, 4, 4, 2)), "stamp_observed": np.ones((400, 4, 4, 2))}
    truth = tensors["extra"][:, 2] + tensors["stamp"][:, 0, 0, 0]

    def loss(given, own):
        return (given["extra"][:, 2] + given["stamp"][:, 0, 0, 0] - truth[own]) ** 2

    found = permutation_importance(tensors, card, loss)
    assert [entry["input"] for entry in found] == ["size", "hog", "stamp"]
    np.testing.assert_allclose([entry["increase"] for entry in found], [0, 2, 2], rtol=0.2, atol=1e-9)


def test_rows_with_equal_stamps_have_equal_keys():
    stamps = np.random.default_rng(0).normal(size=(4, 3, 3, 1)).astype("f4")
    stamps[1] = stamps[0]
    stamps[2, 0, 0, 0], stamps[3] = np.nan, np.nan
    keys = row_keys([stamps])
    assert keys[0] == keys[1] != keys[2] and keys[3] == 0
    stamps[0][stamps[0] == 0] = -0.0
    assert len(set(row_keys([stamps, np.arange(4)]).tolist())) == 4


@pytest.fixture(scope="module")
def survey():
    """Synthetic photometry, and stamps whose brightness is that of the object."""
    source = Synthetic(rows=90, seed=3)
    table = source.read(next(iter(source.partitions(90))), [f.name for f in source.fields()])
    y, x = np.mgrid[:8, :8] - 3.5
    light = np.exp(-(x**2 + y**2) / 4) / 12.5
    flux = np.stack([np.nan_to_num(table[f"flux_{band}"].value) for band in ("g", "r")], axis=1)
    table["stamp"] = (flux[:, None, None, :] * light[..., None]).astype("f4") * u.nJy
    return table


@pytest.mark.parametrize("task", ["photoz", "classify"])
def test_redshifts_and_classes_take_stamps_beside_photometry(task, survey, tmp_path):
    recipe = {"width": 8, "depth": 1, "members": 1, "epochs": 1, "threads": 1, "stamp": {"widths": [4]}}
    inputs = {"bands": ("g", "r", "i"), "stamps": "stamp"}
    if task == "photoz":
        stage = PhotoZ(**inputs, train={**recipe, "n_grid": 32, "cross_fit": 0})
    else:
        stage = Classify(**inputs, classes=("STAR", "GALAXY", "QSO"), train=recipe)
    fitted = stage.fit(survey, tmp_path / "m")
    assert "stamp" in {f.name for f in fitted.reads()}
    found = fitted(survey[:8])
    if task == "photoz":
        np.testing.assert_allclose(np.trapezoid(found["z_pdf"], fitted.card().grid.nodes(), axis=1), 1, rtol=1e-3)
    other = survey[:8].copy()
    other["stamp"] = 30 * other["stamp"][::-1]
    name = "z_phot" if task == "photoz" else "p_star"
    assert not np.allclose(fitted(other)[name], found[name])
    with pytest.raises(ModelError, match="cells of shape"):
        fitted.accepts((*(f for f in fitted.reads() if f.name != "stamp"), Field(name="stamp", shape=(9, 8, 2))))
