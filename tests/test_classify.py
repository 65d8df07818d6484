"""Classification: probabilities, labels, sets, imbalance, and what is refused."""

import json

import astropy.units as u
import numpy as np
import pytest
from pydantic import ValidationError

from astrokeras import Classify, PhotoZ
from astrokeras.errors import ChunkError, ModelError, TrainingError
from astrokeras.flags import Flag
from astrokeras.models.card_file import read_card
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.tasks.classify_recipe import ClassifyRecipe, class_weights, resampled

BANDS = ("u", "g", "r", "i", "z")
CLASSES = ("STAR", "GALAXY", "QSO")
MIXED = {"star": 0.4, "galaxy": 0.4, "qso": 0.2}
RATIO = {"star": 0.75, "galaxy": 0.2, "qso": 0.05}
TINY = {"width": 16, "depth": 1, "members": 1, "epochs": 8, "threads": 1, "seed": 3, "batch_size": 64, "cross_fit": 0}


def catalog(rows, seed, **parameters):
    source = Synthetic(rows=rows, seed=seed, **parameters)
    return source.read(next(iter(source.partitions(rows))), [f.name for f in source.fields()])


@pytest.fixture(scope="module")
def objects():
    return catalog(900, 31, classes=MIXED)


def fitted(table, directory, **recipe):
    return Classify(bands=BANDS, classes=CLASSES, train={**TINY, **recipe}).fit(table, directory)


@pytest.fixture(scope="module")
def stage(objects, tmp_path_factory):
    return fitted(objects, tmp_path_factory.mktemp("classes") / "m", class_sets={"coverage": 0.9}, epochs=25)


def test_probabilities_sum_to_one_and_beat_the_class_ratio(stage):
    table = catalog(1500, 99, classes=MIXED)
    out = stage(table)
    p = np.stack([out[f"p_{name.lower()}"] for name in CLASSES], axis=1).astype(float)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    assert list(out["class_label"]) == [CLASSES[k] for k in p.argmax(axis=1)]
    np.testing.assert_allclose(out["class_entropy"], -(p * np.log(p)).sum(axis=1), atol=1e-4)
    truth = np.array([CLASSES.index(name) for name in table["class_true"]])
    ratio = np.bincount(truth) / len(truth)
    loss = -np.log(p[np.arange(len(p)), truth]).mean()
    assert loss < 0.6 * -(ratio * np.log(ratio)).sum()
    # The card of a model remembers the ratio its probabilities refer to.
    np.testing.assert_allclose(sum(stage.card().class_fractions), 1)
    assert np.abs(np.array(stage.card().class_fractions) - ratio).max() < 0.08


def test_sets_hold_the_class_as_often_as_promised(stage):
    table = catalog(2000, 77, classes=MIXED)
    out = stage(table)
    sets = [set(text.split()) for text in out["class_set"]]
    held = np.mean([name in found for name, found in zip(table["class_true"], sets, strict=True)])
    # 90 rows of calibration: the coverage itself scatters by .03.
    assert abs(held - 0.9) < 0.09
    assert all(text.split()[0] == label for text, label in zip(out["class_set"], out["class_label"], strict=True))
    assert 1 <= np.mean([len(found) for found in sets]) < 2.5


def test_folds_of_the_training_rows_calibrate_without_rows_set_aside(objects, tmp_path):
    table = objects.copy()
    table["split"] = "train"
    recipe = {"class_sets": {"coverage": 0.9}, "trees": 12, "regions": 0}
    with pytest.raises(TrainingError, match="rows to calibrate on"):
        fitted(table, tmp_path / "none", **recipe)
    stage = fitted(table, tmp_path / "folds", cross_fit=3, **recipe)
    assert stage.card().class_sets.n == len(table)
    other = catalog(2000, 78, classes=MIXED)
    sets = stage(other)["class_set"]
    held = np.mean([name in text.split() for name, text in zip(other["class_true"], sets, strict=True)])
    # Coverage scatters by .01 with the rows; sets from trees that had seen them would hold it far less often.
    assert abs(held - 0.9) < 0.04


def test_a_class_that_lives_in_one_fold_says_how_to_go_on(objects, tmp_path):
    table = objects.copy()
    rows = np.flatnonzero(table["class_true"] == "QSO")
    table["class_true"][rows[2:]] = ""
    table["split"] = "train"
    with pytest.raises(
        TrainingError, match=r"'QSO' has [01] training rows .* without fold \d of cross_fit; 0 does without"
    ):
        fitted(table, tmp_path / "m", cross_fit=2, regions=0, trees=0, epochs=1)


def test_progress_counts_members_folds_and_regions():
    recipe = ClassifyRecipe(members=4, epochs=63, cross_fit=5, regions=6)
    assert recipe.steps == (4 + 5) * 63 + 6 * 32
    assert ClassifyRecipe(members=2, epochs=10, cross_fit=0, regions=1).steps == 20


def test_one_fold_is_refused():
    with pytest.raises(ValidationError, match="one fold"):
        Classify(bands=BANDS, classes=CLASSES, train={"cross_fit": 1})


def test_an_object_without_data_has_no_class(stage):
    table = catalog(20, 8)
    for band in BANDS:
        table[f"flux_{band}"][4] = np.nan
    out = stage(table)
    assert np.isnan([out["p_star"][4], out["class_entropy"][4]]).all()
    assert out["class_label"][4] == out["class_set"][4] == ""
    assert out["flags"][4] & Flag.NO_DATA
    assert np.isfinite(np.delete(np.asarray(out["p_star"]), 4)).all()


@pytest.mark.parametrize("imbalance", ["weights", "focal", "resample"])
def test_probabilities_refer_to_the_training_ratio_whatever_is_done_for_rare_classes(imbalance, tmp_path):
    table = catalog(1500, 5, classes=RATIO)
    out = fitted(table, tmp_path / "m", imbalance=imbalance)(catalog(1500, 6, classes=RATIO))
    mean = [np.mean(out[f"p_{name.lower()}"]) for name in CLASSES]
    # Equal weights without a correction would give the rare class several times its share.
    np.testing.assert_allclose(mean, [0.75, 0.2, 0.05], atol=0.06)
    assert json.loads((tmp_path / "m" / "card.json").read_text())["training"]["recipe"]["imbalance"] == imbalance


def test_weights_and_resampling_make_all_classes_count_the_same():
    target = np.repeat([0, 1, 2], [70, 21, 9])
    counts = np.bincount(target)
    weights = class_weights(counts)
    np.testing.assert_allclose(weights * counts, 100 / 3)
    rows = resampled(target, seed=4)
    np.testing.assert_array_equal(np.bincount(target[rows]), [70, 70, 70])
    times = np.bincount(rows)
    assert set(times[target == 1].tolist()) == {3, 4}
    assert set(times[target == 2].tolist()) == {7, 8}
    assert (np.diff(target[rows]) != 0).sum() > 100


def test_the_prior_of_a_field_changes_probabilities_as_bayes_says(stage):
    table = catalog(400, 12, classes=MIXED)
    table["flux_r"][3] = np.nan
    rows = [
        {"mag": [None, 20], "ratio": {"STAR": 0.9, "GALAXY": 0.08, "QSO": 0.02}},
        {"mag": [20, None], "ratio": {"STAR": 0.2, "GALAXY": 0.75, "QSO": 0.05}},
    ]
    prior = {"band": "r", "table": rows, "interpolate": "none"}
    plain, out = stage(table), Classify(model=stage.model, prior=prior)(table)
    p = np.stack([plain[f"p_{name.lower()}"] for name in CLASSES], axis=1).astype(float)
    magnitude = 31.4 - 2.5 * np.log10(np.asarray(table["flux_r"].value, float))
    new = np.where((magnitude < 20)[:, None], [0.9, 0.08, 0.02], [0.2, 0.75, 0.05])
    expected = p * new / np.array(stage.card().class_fractions)
    expected /= expected.sum(axis=1, keepdims=True)
    expected[3] = p[3]
    found = np.stack([out[f"p_{name.lower()}"] for name in CLASSES], axis=1)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    flagged = (np.asarray(out["flags"]) & Flag.NO_PRIOR) > 0
    assert np.flatnonzero(flagged).tolist() == [3]
    # The promise of a set holds for objects drawn like the calibration rows.
    assert "class_set" not in out.colnames
    said = {f.name: f.meta.get("prior") for f in Classify(model=stage.model, prior=prior).writes()}
    assert said["p_star"] == "class ratio over magnitude r"
    assert {f.meta.get("prior") for f in stage.writes() if f.name != "flags"} == {"training set"}


def test_a_prior_of_other_classes_is_refused(stage):
    prior = {"band": "r", "table": [{"ratio": {"STAR": 0.5, "GALAXY": 0.5}}]}
    with pytest.raises(ModelError, match="no ratio for QSO"):
        Classify(model=stage.model, prior=prior).accepts(())
    with pytest.raises(ValidationError, match=r"sums to 0\.9, not to 1"):
        Classify(model="m", prior={"band": "r", "table": [{"ratio": {"STAR": 0.5, "GALAXY": 0.4}}]})
    with pytest.raises(ValidationError, match="either `table` or `path`"):
        Classify(model="m", prior={"band": "r"})


def test_extra_inputs_bring_their_unit(tmp_path):
    table = catalog(400, 7, classes=MIXED)
    size = np.where(table["class_true"] == "GALAXY", 2.0, 1.0) + np.random.default_rng(1).normal(0, 0.05, 400)
    table["size"] = size * u.arcsec
    recipe = {**TINY, "epochs": 20}
    stage = Classify(bands=BANDS, extra=("size",), classes=CLASSES, train=recipe).fit(table, tmp_path / "m")
    assert next(f for f in stage.card().inputs if f.name == "size").unit == "arcsec"
    galaxies = np.mean(stage(table)["p_galaxy"][table["class_true"] == "GALAXY"])
    assert galaxies > 0.9
    table["size"] = (size / 60) * u.arcmin
    assert np.mean(stage(table)["p_galaxy"][table["class_true"] == "GALAXY"]) == pytest.approx(galaxies, abs=1e-3)
    table["size"] = size * u.mag
    with pytest.raises(ChunkError, match="'size': unit 'mag' does not convert to 'arcsec'"):
        stage(table)


def test_two_stages_stand_side_by_side(stage, objects):
    other = Classify(model=stage.model, suffix="b")
    out = other(stage(objects))
    np.testing.assert_array_equal(out["p_qso"], out["p_qso_b"])
    assert [f.name for f in other.writes()][:2] == ["p_star_b", "p_galaxy_b"]


def test_unlabelled_rows_are_counted_not_used(objects, tmp_path):
    table = objects.copy()
    table["class_true"][:50] = ""
    stage = fitted(table, tmp_path / "m", epochs=1)
    counts = stage.card().training.counts
    assert counts["unusable_target"] == 50
    assert sum(counts[k] for k in ("train", "validate", "calibrate")) == len(table) - 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_true": "WD"}, r"'WD' in 900 rows, which is not among the classes \(STAR, GALAXY, QSO\)"),
        ({"class_true": "GALAXIE"}, "did you mean 'GALAXY'"),
        ({"class_true": "STAR"}, "is 'STAR' in all 900 rows; there is nothing to learn"),
        ({"class_true": ""}, "is empty in all rows"),
    ],
)
def test_classes_that_cannot_be_learnt(objects, tmp_path, change, message):
    table = objects.copy()
    for name, value in change.items():
        table[name] = np.full(len(table), value, "U10")
    with pytest.raises(TrainingError, match=message):
        fitted(table, tmp_path / "m")


def test_a_class_with_one_member_is_refused(objects, tmp_path):
    table = objects.copy()
    keep = np.flatnonzero(table["class_true"] != "QSO")
    one = np.flatnonzero(table["class_true"] == "QSO")[:1]
    table = table[np.sort(np.concatenate([keep, one]))]
    table["split"] = "train"
    with pytest.raises(TrainingError, match=r"class 'QSO' has 1 training rows of \d+; at least 2"):
        fitted(table, tmp_path / "m")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"classes": ["STAR"]}, "two or more `classes`"),
        ({"classes": ["A b", "a_b"]}, "distinct names"),
        ({"classes": ["STAR", "QSO"], "train": {"target": "flux_g"}}, "among the inputs"),
        ({"classes": ["STAR", "QSO"], "train": {"imbalance": "weigths"}}, "weights"),
        ({"classes": ["STAR", "QSO"], "model": "x"}, "either `model`"),
    ],
)
def test_parameters_that_make_no_sense(parameters, message):
    with pytest.raises(ValidationError, match=message):
        Classify(**{"bands": ("g", "r"), "train": {}, **parameters})


def test_a_model_of_another_task_is_refused(small_model, stage):
    with pytest.raises(ModelError, match="is for photoz, not for classify"):
        Classify.from_pretrained(small_model)
    with pytest.raises(ModelError, match="is for classify, not for photoz"):
        PhotoZ.from_pretrained(stage.model)


def test_the_card_names_the_task(stage):
    card = read_card(stage.model)
    assert (card.task, card.classes) == ("classify", CLASSES)
    assert card.class_sets.coverage == 0.9
    assert {m.name for m in card.metrics} == {"log_loss", "accuracy", "balanced_accuracy"}
