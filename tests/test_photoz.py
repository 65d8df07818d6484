"""Photometric redshifts: training uses only the rows it may, the recipe matters, and bad objects are flagged."""

import json

import astropy.units as u
import numpy as np
import pytest
from pydantic import ValidationError

from astrokeras import PhotoZ
from astrokeras.errors import ChunkError, ModelError, TrainingError
from astrokeras.flags import Flag
from astrokeras.models.bundle import verify
from astrokeras.models.card_file import read_card
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.tasks.photoz_recipe import PhotozRecipe, redshift_range, usable_targets
from astrokeras.tasks.train_model import model_name

TINY = {"width": 8, "depth": 1, "members": 1, "epochs": 2, "n_grid": 32, "threads": 1, "seed": 3, "cross_fit": 0}
BANDS = ("g", "r", "i")


@pytest.fixture(scope="module")
def galaxies():
    source = Synthetic(rows=600, seed=21, bands=BANDS, classes={"galaxy": 1.0})
    return source.read(next(iter(source.partitions(600))), [f.name for f in source.fields()])


def fitted(table, directory, **recipe):
    return PhotoZ(bands=BANDS, train={**TINY, **recipe}).fit(table, directory)


def test_the_small_model_beats_the_baseline_and_its_intervals_cover(small_model):
    source = Synthetic(rows=2000, seed=99, classes={"galaxy": 1.0})
    table = source.read(next(iter(source.partitions(2000))), [f.name for f in source.fields()])
    out = PhotoZ.from_pretrained(small_model)(table)
    z = np.asarray(table["z_spec"])

    def nmad(guess):
        dz = (guess - z) / (1 + z)
        return 1.4826 * np.median(np.abs(dz - np.median(dz)))

    assert nmad(np.asarray(out["z_phot"])) < nmad(np.median(z)) / 1.5
    inside = np.mean((z >= out["z_lo"]) & (z <= out["z_hi"]))
    assert abs(inside - 0.68) < 0.12


def test_a_missing_band_widens_and_is_flagged(small_model, galaxies):
    stage = PhotoZ.from_pretrained(small_model)
    source = Synthetic(rows=500, seed=5, classes={"galaxy": 1.0})
    table = source.read(next(iter(source.partitions(500))), [f.name for f in source.fields()])
    whole = stage(table)
    table["flux_g"][:], table["flux_err_g"][:] = np.nan, np.nan
    without = stage(table)
    width = [np.median(t["z_hi"] - t["z_lo"]) for t in (whole, without)]
    assert width[1] > 1.1 * width[0]
    assert np.all(np.asarray(without["flags"]) & Flag.MISSING_BAND)
    # A catalog that never had the band gives the same.
    absent = stage(table[[n for n in table.colnames if not n.endswith("_g")]])
    np.testing.assert_array_equal(np.asarray(absent["z_phot"]), np.asarray(without["z_phot"]))


def test_an_upper_limit_is_told_from_a_missing_band(small_model):
    stage = PhotoZ.from_pretrained(small_model)
    source = Synthetic(rows=500, seed=5, classes={"galaxy": 1.0})
    table = source.read(next(iter(source.partitions(500))), [f.name for f in source.fields()])
    shallow = np.quantile(table["flux_u"].value, 0.9) * u.nJy
    table["flux_u"][:], table["flux_err_u"][:] = np.nan, np.nan
    missing = stage(table)
    table["flux_err_u"][:] = shallow / 5
    limit = stage(table)
    table["flux_err_u"][:] = shallow / 50
    deep = stage(table)
    either = Flag.MISSING_BAND | Flag.UPPER_LIMIT
    assert np.all(np.asarray(missing["flags"]) & either == Flag.MISSING_BAND)
    assert np.all(np.asarray(limit["flags"]) & either == Flag.UPPER_LIMIT)
    moved = [np.abs(np.asarray(t["z_phot"]) - np.asarray(missing["z_phot"])) for t in (limit, deep)]
    assert 0 < np.median(moved[0]) < np.median(moved[1])


def test_a_model_without_limits_takes_them_for_missing_bands(galaxies, tmp_path):
    stage = fitted(galaxies, tmp_path / "m", limit_rate=0)
    assert not stage.card().limits and '"limits"' not in (tmp_path / "m" / "card.json").read_text()
    table = galaxies[:20].copy()
    table["flux_g"][:] = np.nan
    limits = stage(table)
    table["flux_err_g"][:] = np.nan
    missing = stage(table)
    np.testing.assert_array_equal(np.asarray(limits["z_pdf"]), np.asarray(missing["z_pdf"]))
    assert np.all(np.asarray(limits["flags"]) & (Flag.MISSING_BAND | Flag.UPPER_LIMIT) == Flag.MISSING_BAND)
    assert verify(tmp_path / "m").ok


def test_limits_of_the_training_rows_are_learnt_from(galaxies, tmp_path):
    table = galaxies.copy()
    faint = table["flux_g"].value < np.quantile(table["flux_g"].value, 0.3)
    table["flux_g"][faint], table["flux_err_g"][faint] = np.nan, np.nan
    digests = [fitted(table, tmp_path / "missing").model_digest()]
    table["flux_err_g"][faint] = 20 * u.nJy
    stage = fitted(table, tmp_path / "limits")
    assert stage.model_digest() != digests[0]
    out = stage(table)
    np.testing.assert_array_equal((np.asarray(out["flags"]) & Flag.UPPER_LIMIT) != 0, faint)
    assert np.isfinite(np.asarray(out["z_phot"])).all()


def test_an_object_without_data_is_missing_and_flagged(small_model, galaxies):
    table = Synthetic(rows=10, seed=1).read(
        next(iter(Synthetic(rows=10, seed=1).partitions(10))), ["flux_u", "flux_err_u"]
    )
    table["flux_u"][3], table["flux_err_u"][3] = np.nan, np.nan
    out = PhotoZ.from_pretrained(small_model)(table)
    assert np.isnan(out["z_phot"][3])
    assert np.isnan(out["z_pdf"][3]).all()
    assert out["flags"][3] & Flag.NO_DATA
    assert np.isfinite(np.delete(np.asarray(out["z_phot"]), 3)).all()


def test_test_rows_have_no_influence(galaxies, tmp_path):
    table = galaxies.copy()
    table["split"] = np.where(
        np.arange(len(table)) % 4 == 0, "test", np.where(np.arange(len(table)) % 4 == 1, "validate", "train")
    )
    first = fitted(table, tmp_path / "a").model_digest()
    table["z_spec"][::4] = 0.123
    table["flux_r"][::4] *= 7
    assert fitted(table, tmp_path / "b").model_digest() == first
    table["z_spec"][2::4] += 0.01
    assert fitted(table, tmp_path / "c").model_digest() != first


def test_equal_seeds_give_equal_models(galaxies, tmp_path):
    digests = [fitted(galaxies, tmp_path / str(k), seed=s).model_digest() for k, s in enumerate((3, 3, 4))]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_the_card_and_the_history_tell_what_was_done(galaxies, tmp_path):
    table = galaxies.copy()
    table["z_spec"][:7] = np.nan
    stage = fitted(table, tmp_path / "m", epochs=3, members=2)
    card = read_card(tmp_path / "m")
    counts = card.training.counts
    assert counts["unusable_target"] == 7
    assert counts["train"] + counts["validate"] + counts["calibrate"] == len(table) - 7
    assert card.training.recipe["epochs"] == 3
    assert card.training.seed == 3
    assert [f.filter for f in card.inputs if f.name == "flux_g"] == ["SLOAN/SDSS.g"]
    histories = json.loads((tmp_path / "m" / "history.json").read_text())
    assert [len(h["loss"]) for h in histories] == [3, 3]
    assert stage.model_facts()["digest"] == card.digest


@pytest.mark.parametrize(
    "recipe",
    [
        {"network": "mixture", "components": 3, "learning_rate": 0.05},
        {"network": "mixture", "clipnorm": 1.0},
        {"batch_norm": True, "dropout": 0.1, "l1": 1e-5, "l2": 1e-5},
        {
            "optimizer": "sgd",
            "schedule": "constant",
            "weight_decay": 0.0,
            "activation": "tanh",
            "initializer": "glorot_uniform",
        },
        {"crps_weight": 2.0, "band_dropout": 0.3},
        {"limit_rate": 0.3},
        {"activation": "maxout", "maxout_pieces": 3},
        {"limit_nsigma": 2.0},
    ],
)
def test_every_part_of_the_recipe_changes_the_model(recipe, galaxies, tmp_path):
    plain = fitted(galaxies, tmp_path / "plain").model_digest()
    stage = fitted(galaxies, tmp_path / "other", **recipe)
    assert stage.model_digest() != plain
    pdf = np.asarray(stage(galaxies[:20])["z_pdf"])
    assert np.all(pdf >= 0)
    assert np.isfinite(pdf).all()


def test_extra_columns_are_inputs(galaxies, tmp_path):
    table = galaxies.copy()
    noise = np.random.default_rng(1).normal(size=len(table))
    table["size"] = np.asarray(table["z_spec"] + 0.3 * noise, np.float32)
    stage = PhotoZ(bands=BANDS, extra=("size",), train=TINY).fit(table, tmp_path / "m")
    assert "size" in {f.name for f in stage.reads()}
    a = stage(table)
    table["size"][:] = 0
    assert not np.allclose(a["z_phot"], stage(table)["z_phot"])


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"optimizer": "adamx"}, "no 'adamx' in Keras; did you mean 'adamax'"),
        ({"activation": "swishh"}, "no 'swishh' in Keras; did you mean 'swish'"),
        ({"initializer": "he"}, "no 'he' in Keras"),
        ({"z_min": 2.0, "z_max": 1.0}, "train: "),
        ({"target": "z_true"}, "z_true"),
    ],
)
def test_what_cannot_be_trained_is_said(recipe, message, galaxies, tmp_path):
    with pytest.raises((TrainingError, ChunkError, ValidationError), match=message):
        fitted(galaxies, tmp_path / "m", **recipe)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "needs either `model`"),
        ({"model": "a", "train": {}, "bands": ("g", "r")}, "needs either `model`"),
        ({"train": {}}, "needs distinct `bands`"),
        ({"train": {}, "bands": ("g", "g")}, "needs distinct `bands`"),
        ({"model": "a", "bands": ("g",)}, "`bands` belongs to training"),
        ({"train": {"target": "flux_g"}, "bands": ("g", "r")}, "the target 'flux_g' is among the inputs"),
        ({"train": {"epoch": 5}, "bands": ("g", "r")}, "epoch"),
    ],
)
def test_wrong_parameters_are_said(parameters, message):
    with pytest.raises(ValidationError, match=message):
        PhotoZ(**parameters)


def test_another_filter_is_refused_unless_overridden(small_model):
    source = Synthetic(rows=20, seed=1, system="decam", bands=("g", "r", "i", "z"))
    table = source.read(next(iter(source.partitions(20))), [f.name for f in source.fields()])
    with pytest.raises(ModelError, match=r"SLOAN/SDSS\.g"):
        PhotoZ.from_pretrained(small_model)(table)
    out = PhotoZ.from_pretrained(small_model, override=("filter",))(table)
    assert np.all(np.asarray(out["flags"]) & Flag.PHOTOMETRY_MISMATCH)


def test_grid_range_and_usable_targets():
    recipe = PhotozRecipe()
    assert redshift_range(recipe, np.array([0.1, 0.98])) == (0.0, 1.0)
    assert redshift_range(PhotozRecipe(z_max=2.5, z_min=0.1), np.array([1.0])) == (0.1, 2.5)
    good = usable_targets(np.array([0.5, np.nan, -0.01, -9999.0, np.inf, 1.0]), recipe)
    assert list(good) == [True, False, True, False, False, True]


def test_model_names_come_from_their_directory():
    assert model_name("a/boss/1.2.0", "photoz") == ("boss", "1.2.0")
    assert model_name("a/boss", "photoz") == ("boss", "0.0.0")
    assert model_name(None, "photoz") == ("photoz", "0.0.0")


def test_positions_as_a_user_has_them_are_left_alone(small_model, galaxies):
    table = galaxies[:5]
    table["note"] = ["a"] * 5
    for band in BANDS:
        for kind in ("flux", "flux_err"):
            table[f"{kind}_{band}"] = table[f"{kind}_{band}"].to(u.uJy)
    out = PhotoZ.from_pretrained(small_model)(table)
    assert out["flux_g"].unit == u.uJy
    assert list(out["note"]) == ["a"] * 5
