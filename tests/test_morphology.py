"""The stage `morphology`: what it learns, what it writes, what it refuses, and what its symmetries promise."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from pydantic import ValidationError

from astrokeras import Morphology
from astrokeras.errors import AstrokerasError, ChunkError, ModelError, TrainingError
from astrokeras.flags import Flag
from astrokeras.models.bundle import load, verify
from astrokeras.models.card_file import read_card
from astrokeras.models.columns import decode
from astrokeras.testing import check_stage

SIDE, ROWS = 12, 96
TINY = {"members": 1, "epochs": 1, "threads": 1, "width": 16, "depth": 1, "stamp": {"widths": [4]}}


@pytest.fixture(scope="module")
def table():
    """Galaxies that are round or elongated, in nJy, with noise; features beside them."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    long = np.arange(ROWS) % 2 == 1
    angle = rng.uniform(0, np.pi, ROWS)[:, None, None]
    across = x * np.cos(angle) + y * np.sin(angle)
    along = -x * np.sin(angle) + y * np.cos(angle)
    width = np.where(long, 3.5, 1.4)[:, None, None]
    light = np.exp(-0.5 * ((across / 1.4) ** 2 + (along / width) ** 2))
    stamps = 50 * light[..., None] * [1.0, 0.5] + rng.normal(size=(ROWS, SIDE, SIDE, 2))
    table = QTable({"object_id": np.arange(ROWS), "class_true": np.where(long, "LONG", "ROUND")})
    table["stamp"] = stamps.astype("f4") * u.nJy
    table["stamp"].info.meta = {"bands": "g,r", "pixel_scale": 0.4}
    table["size"] = rng.normal(size=ROWS).astype("f4")
    table["hog"] = rng.normal(size=(ROWS, 3)).astype("f4")
    table["T"] = np.where(long, 5.0, -3.0) + rng.integers(-1, 2, ROWS)
    table["bar"] = np.where(np.arange(ROWS) % 5 == 0, -1, long * 1.0)
    yes = rng.binomial(20, np.where(long, 0.9, 0.2))
    table["n_disk"], table["n_smooth"] = yes, 20 - yes
    table["n_bar"], table["n_none"] = yes // 2, yes - yes // 2
    return table


@pytest.fixture(scope="module")
def classes(table, tmp_path_factory):
    """Stage with a model that looks at stamps and features, whose two classes are said to be mirror images."""
    recipe = {**TINY, "epochs": 2, "auxiliary": ["T"], "imbalance": "weights"}
    stage = Morphology(
        stamps="stamp",
        extra=("size",),
        vectors=("hog",),
        classes=("LONG", "ROUND"),
        mirror={"LONG": "ROUND"},
        train=recipe,
    )
    return stage.fit(table, tmp_path_factory.mktemp("classes") / "model")


def test_classes_have_columns_and_a_card(classes, table):
    check_stage(classes, table[:12], rtol=1e-4)
    found = classes(table)
    p = np.stack([found["p_long"], found["p_round"]], axis=1)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    labels = np.array(["LONG", "ROUND"])[p.argmax(axis=1)]
    assert (np.asarray(found["class_label"]) == labels).all()
    card = classes.card()
    assert (card.bands, card.extras, card.stamp.name) == ((), ("size", "hog"), "stamp")
    assert card.stamp.meta == {"bands": "g,r", "pixel_scale": 0.4} and card.stamp.unit == "nJy"
    assert card.tensors["stamp"] == (SIDE, SIDE, 2) and card.tensors["extra"] == (4,)
    assert {field.ucd for field in classes.writes() if field.name.startswith("p_")} == {
        "stat.probability;src.morph.type"
    }
    report = verify(classes.model)
    assert report.ok and report.rows <= 16


def test_a_mirror_image_is_predicted_as_one_and_a_turned_stamp_as_itself(classes, table):
    """Not nearly: the mean over orientations makes it exact, whatever the network learnt."""
    found = classes(table[:8])
    mirrored, turned = table[:8].copy(), table[:8].copy()
    mirrored["stamp"] = table["stamp"][:8, :, ::-1]
    turned["stamp"] = np.rot90(table["stamp"][:8], axes=(1, 2))
    np.testing.assert_allclose(classes(mirrored)["p_long"], found["p_round"], atol=1e-5)
    np.testing.assert_allclose(classes(turned)["p_long"], found["p_long"], atol=1e-5)
    assert np.ptp(found["p_long"]) > 1e-4


def test_pixels_without_data_are_masked_and_said(classes, table):
    some = table[:6].copy()
    some["stamp"] = some["stamp"].copy()
    some["stamp"][1, 2:4, 3] = np.nan
    some["stamp"][2] = np.nan
    some["stamp"][3, :, :, 0] = np.nan
    found = classes(some)
    flags = np.asarray(found["flags"])
    assert flags[0] == 0 and flags[1] == Flag.MASKED_PIXELS
    assert flags[2] & Flag.NO_DATA and np.isnan(found["p_long"][2]) and found["class_label"][2] == ""
    assert flags[3] & Flag.MISSING_BAND and np.isfinite(found["p_long"][3])
    several = classes(some[[0, 1]])
    np.testing.assert_allclose(several["p_long"], found["p_long"][:2], atol=1e-6)


def test_stamps_of_other_bands_scales_units_or_sizes_are_refused(classes, table):
    other = table[:4].copy()
    other["stamp"].info.meta = {"bands": "r,i"}
    with pytest.raises(ModelError, match=r"bands 'g,r', the data have 'r,i'"):
        classes(other)
    other["stamp"].info.meta = {"pixel_scale": 0.2}
    with pytest.raises(ModelError, match=r"pixels of 0.4 arcsec, the data have 0.2"):
        classes(other)
    other["stamp"] = other["stamp"][:, :8]
    with pytest.raises(ChunkError, match="shape"):
        classes(other)
    other["stamp"] = table["stamp"][:4].value * u.ct
    with pytest.raises(ChunkError, match="ct"):
        classes(other)


def test_rotated_galaxies_are_told_apart(table, tmp_path):
    recipe = {**TINY, "epochs": 12, "batch_size": 16, "learning_rate": 0.01, "stamp": {"widths": [8, 16]}}
    stage = Morphology(stamps="stamp", classes=("LONG", "ROUND"), train=recipe)
    split = np.where(np.arange(ROWS) < 64, "train", np.where(np.arange(ROWS) < 72, "calibrate", "test"))
    rows = table.copy()
    rows["split"] = split
    found = stage.fit(rows, tmp_path / "m")(rows[split == "test"])
    assert np.mean(np.asarray(found["class_label"]) == np.asarray(found["class_true"])) > 0.9


def test_numbers_have_errors_and_an_interval(table, tmp_path):
    stage = Morphology(stamps="stamp", kind="ordinal", train={**TINY, "target": "T"})
    assert [f.name for f in stage.writes()][:4] == ["t_type", "t_type_err", "t_type_lo", "t_type_hi"]
    fitted = stage.fit(table, tmp_path / "m")
    found, told = fitted(table), fitted.card().morphology
    assert told.levels == tuple(np.arange(-4.0, 7.0)) and told.interval > 0
    value, error = (np.asarray(found[name]) for name in ("t_type", "t_type_err"))
    assert (error > 0).all() and value.min() >= -4 and value.max() <= 6
    np.testing.assert_allclose(found["t_type_hi"] - found["t_type_lo"], 2 * told.interval * error, rtol=1e-4)
    check_stage(fitted, table[:6], rtol=1e-4)


def test_any_number_from_features_alone(table, tmp_path):
    """Without stamps and photometry the network sees the vector; the number is shifted and scaled."""
    rows = table.copy()
    rows["size"] = (np.asarray(table["T"]) + 0.1 * np.asarray(table["size"])).astype("f4")
    rows["far"] = 1e5 + np.asarray(table["T"])
    recipe = {**TINY, "target": "far", "epochs": 40, "batch_size": 16, "dropout": 0.0, "learning_rate": 0.01}
    stage = Morphology(extra=("size",), vectors=("hog",), kind="regression", column="mass", train=recipe)
    found = stage.fit(rows, tmp_path / "m")(rows)
    residual = np.asarray(found["mass"]) - rows["far"]
    assert np.std(residual) < 0.3 * np.std(rows["far"]) and abs(np.mean(residual)) < 1
    # Objects have errors of their own, though a float32 knows the square of such a number to 1024 only.
    error = np.asarray(found["mass_err"])
    assert len(np.unique(error)) > 3 and error.max() < 10 * error.min()


def test_attributes_are_learnt_from_those_that_are_determined(table, tmp_path):
    attributes = {"bar": "bar", "disk": "disk"}
    stage = Morphology(vectors=("hog",), kind="attributes", attributes=attributes, train=TINY)
    rows = table.copy()
    rows["disk"] = np.where(np.arange(ROWS) % 3, np.nan, 0.25)
    fitted = stage.fit(rows, tmp_path / "m")
    found = fitted(rows)
    for name in ("attr_bar", "attr_disk"):
        assert (np.asarray(found[name]) > 0).all() and (np.asarray(found[name]) < 1).all()
    assert {m.name for m in fitted.card().metrics} <= {"rmse_bar", "rmse_disk"}
    target, good = stage.truth(rows, np.ones(ROWS, bool))
    assert np.isnan(target[0, 0]) and target[3, 0] == 1 and np.isnan(target[1, 1]) and good.sum() == ROWS - 13


def test_votes_follow_the_tree(table, tmp_path):
    votes = [
        {"question": "disk", "answers": {"yes": "n_disk", "no": "n_smooth"}},
        {"question": "bar", "answers": {"yes": "n_bar", "no": "n_none"}, "after": "disk.yes"},
    ]
    rows = table.copy()
    rows["size"] = np.asarray(table["n_disk"], "f4") + 0.3 * table["size"]
    recipe = {**TINY, "epochs": 40, "batch_size": 16, "dropout": 0.0, "learning_rate": 0.01}
    fitted = Morphology(extra=("size",), kind="votes", votes=votes, train=recipe).fit(rows, tmp_path / "m")
    found = fitted(rows)
    for question in ("disk", "bar"):
        total = np.asarray(found[f"f_{question}_yes"]) + np.asarray(found[f"f_{question}_no"])
        np.testing.assert_allclose(total, 1, rtol=1e-5)
    np.testing.assert_array_equal(found["asked_bar"], found["f_disk_yes"])
    assert "asked_disk" not in found.colnames and (np.asarray(found["f_bar_yes_err"]) > 0).all()
    assert np.corrcoef(found["f_disk_yes"], rows["n_disk"])[0, 1] > 0.9
    assert np.asarray(found["f_bar_yes"]).mean() == pytest.approx(0.5, abs=0.1)


def test_a_network_starts_from_another_model(classes, table, tmp_path):
    recipe = {**TINY, "start": classes.model, "freeze": True, "target": "T"}
    fitted = Morphology(stamps="stamp", kind="ordinal", train=recipe).fit(table, tmp_path / "m")

    def trunk(path):
        from astrokeras.tasks.transfer import nested

        return next(m for m in nested(load(path).model) if m.name == "stamp_trunk")

    for old, new in zip(trunk(classes.model).get_weights(), trunk(fitted.model).get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    other = {**recipe, "stamp": {"widths": [8]}}
    with pytest.raises(TrainingError, match="widths, blocks and number of bands"):
        Morphology(stamps="stamp", kind="ordinal", train=other).fit(table, tmp_path / "n")
    with pytest.raises(TrainingError, match="start"):
        missing = {**recipe, "start": str(tmp_path / "none")}
        Morphology(stamps="stamp", kind="ordinal", train=missing).fit(table, tmp_path / "n")


def test_methods_of_scikit_learn_see_features(table, tmp_path):
    rows = table.copy()
    rows["hog"][:, 0] += 3 * (np.asarray(table["class_true"]) == "LONG")
    stage = Morphology(vectors=("hog",), classes=("LONG", "ROUND"), train={"method": "svm_rbf", "threads": 1})
    fitted = stage.fit(rows, tmp_path / "m")
    found = fitted(rows)
    assert np.mean(np.asarray(found["class_label"]) == np.asarray(rows["class_true"])) > 0.8
    check_stage(fitted, rows[:6], rtol=1e-4)


def test_labels_may_be_balanced(classes):
    card = classes.card().model_copy(update={"class_fractions": (0.9, 0.1)})
    p = {"p_class": np.array([[0.6, 0.4], [0.95, 0.05]]), "domain_score": np.zeros(2)}
    assert decode(p, card)["class_label"].tolist() == ["LONG", "LONG"]
    balanced = decode(p, card.model_copy(update={"label_balance": 0.5}))
    # .6 / .9^.5 = .632 is below .4 / .1^.5 = 1.265; .95 / .9^.5 = 1.001 above .05 / .1^.5 = .158.
    assert balanced["class_label"].tolist() == ["ROUND", "LONG"]
    assert balanced["p_long"].tolist() == decode(p, card)["p_long"].tolist()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "each once"),
        ({"stamps": "stamp", "classes": ("A",)}, "two or more `classes`"),
        ({"stamps": "stamp", "classes": ("A", "a")}, "distinct names"),
        ({"stamps": "stamp", "classes": ("A", "B"), "mirror": {"A": "C"}}, "no class 'C'"),
        ({"stamps": "stamp", "kind": "ordinal", "classes": ("A", "B")}, "does not belong to the kind 'ordinal'"),
        ({"stamps": "stamp", "kind": "ordinal", "levels": (2, 1)}, "rising"),
        ({"stamps": "stamp", "kind": "attributes"}, "need their names"),
        ({"stamps": "stamp", "kind": "votes"}, "need `questions`"),
        ({"stamps": "stamp", "kind": "votes", "votes": [{"question": "bar", "answers": {"a": "x"}}]}, "two or more"),
        (
            {
                "stamps": "stamp",
                "kind": "votes",
                "votes": [{"question": "bar", "answers": {"a": "x", "b": "y"}, "after": "disk.yes"}],
            },
            "no earlier answer 'disk.yes'",
        ),
        ({"stamps": "stamp", "classes": ("A", "B"), "train": {"method": "knn"}}, "no `stamps`"),
        ({"extra": ("class_true",), "classes": ("A", "B")}, "among the inputs"),
        ({"stamps": "stamp", "classes": ("A", "B"), "train": {"freeze": True}}, "`start`"),
        (
            {"stamps": "stamp", "classes": ("A", "B"), "train": {"start": "m", "freeze": 9}},
            "0 to 4 stages",
        ),
    ],
)
def test_what_cannot_be_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        Morphology(**{"train": {}, **wrong})


def test_a_model_for_something_else_is_refused(small_model, classes):
    from astrokeras import PhotoZ

    with pytest.raises(AstrokerasError, match="is for photoz"):
        Morphology.from_pretrained(small_model)
    with pytest.raises(AstrokerasError, match="is for morphology"):
        PhotoZ.from_pretrained(classes.model)
    assert read_card(classes.model).task == "morphology"
