"""A search for settings: drawn by its seed, judged on validation rows alone, with a table of every trial."""

import json
from collections import Counter
from importlib.util import find_spec

import numpy as np
import pytest
from pydantic import ValidationError

from astrokeras import Classify, PhotoZ
from astrokeras.errors import SpecError, TrainingError
from astrokeras.models.bundle import load, verify
from astrokeras.models.card_file import read_card
from astrokeras.spec import load as load_pipeline
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.tasks.classify_recipe import ClassifyRecipe
from astrokeras.tasks.examples import Examples
from astrokeras.tasks.photoz_recipe import PhotozRecipe
from astrokeras.tasks.search import combinations, halves
from astrokeras.tasks.search_recipe import MAX_GRID, METRICS, Range, Search

BANDS = ("g", "r", "i")
TINY = {"width": 8, "depth": 1, "epochs": 2, "n_grid": 32, "threads": 1, "seed": 3, "cross_fit": 0}


@pytest.fixture(scope="module")
def galaxies():
    source = Synthetic(rows=600, seed=31, bands=BANDS, classes={"galaxy": 1.0})
    table = source.read(next(iter(source.partitions(600))), [f.name for f in source.fields()])
    table["split"] = np.array(["train"] * 300 + ["validate"] * 120 + ["calibrate"] * 80 + ["test"] * 100)
    return table


def neighbours(table, directory, **search):
    recipe = {"method": "knn", "n_grid": 32, "threads": 1, "search": {"over": {"n_neighbors": [1, 5, 25]}, **search}}
    stage = PhotoZ(bands=BANDS, train=recipe).fit(table, directory)
    return stage, json.loads((directory / "trials.json").read_text())


def test_a_grid_tries_everything_and_keeps_the_best(galaxies, tmp_path):
    over = {"n_neighbors": [1, 8, 290], "weights": ["uniform", "distance"]}
    stage, trials = neighbours(galaxies, tmp_path / "m", method="grid", over=over, metric="sigma_nmad")
    assert [trial["values"] for trial in trials] == [
        {"n_neighbors": n, "weights": w} for n in (1, 8, 290) for w in ("uniform", "distance")
    ]
    assert all(set(trial["scores"]) == set(METRICS["photoz"]) for trial in trials)
    best = min(trials, key=lambda trial: trial["scores"]["sigma_nmad"])
    assert best["values"]["n_neighbors"] == 8
    card = read_card(tmp_path / "m")
    assert card.training.search["values"] == best["values"]
    assert card.training.search["score"] == best["scores"]["sigma_nmad"]
    assert (card.training.search["trials"], card.training.search["failed"]) == (6, 0)
    assert card.training.search["judged_on"] == 60
    assert card.training.recipe["parameters"] == best["values"]
    assert load(tmp_path / "m").model.estimator.n_neighbors == 8
    assert verify(tmp_path / "m").ok
    plain = {"method": "knn", "n_grid": 32, "threads": 1, "parameters": best["values"]}
    assert PhotoZ(bands=BANDS, train=plain).fit(galaxies, tmp_path / "n").model_digest() == card.digest
    lines = stage.training_table()
    assert len(lines) == 6
    assert lines[0].startswith("trial 1: n_neighbors 1, weights uniform: cde_loss ")


def test_test_and_calibrate_rows_have_no_say(galaxies, tmp_path):
    _, first = neighbours(galaxies, tmp_path / "a")
    table = galaxies.copy()
    others = np.isin(table["split"], ("test", "calibrate"))
    rng = np.random.default_rng(0)
    table["z_spec"][others] = rng.uniform(0, 1, others.sum())
    table["flux_r"][others] *= rng.uniform(0.1, 10, others.sum())
    assert neighbours(table, tmp_path / "b")[1] == first
    held = np.flatnonzero(galaxies["split"] == "validate")
    table["z_spec"][held] = galaxies["z_spec"][held[::-1]]
    assert neighbours(table, tmp_path / "c")[1] != first


def test_a_network_is_searched_like_an_estimator(galaxies, tmp_path):
    # A rate of 1e-7 learns nothing in these epochs.
    search = {"trials": 2, "seed": 1, "over": {"learning_rate": [1e-7, 0.05]}}
    recipe = {**TINY, "epochs": 3, "members": 2, "search": search}
    PhotoZ(bands=BANDS, train=recipe).fit(galaxies, tmp_path / "m")
    card = read_card(tmp_path / "m")
    assert card.training.recipe["learning_rate"] == 0.05
    assert card.training.recipe["members"] == 2
    assert len(json.loads((tmp_path / "m" / "trials.json").read_text())) == 2
    # The best has all members, each with its history; a trial has one.
    assert len(json.loads((tmp_path / "m" / "history.json").read_text())) == 2


def test_halving_goes_on_with_the_best_third(galaxies, tmp_path):
    over = {"n_neighbors": {"low": 2, "high": 250, "log": True}}
    _, trials = neighbours(galaxies, tmp_path / "m", method="halving", trials=9, over=over, seed=4)
    shares = Counter(trial["share"] for trial in trials)
    assert shares == {round(1 / 9, 6): 9, round(1 / 3, 6): 3, 1.0: 1}
    assert all(2 <= trial["values"]["n_neighbors"] <= 250 for trial in trials)
    # With a ninth of 300 rows, more than 33 neighbours cannot be; that ends those trials alone.
    failed = [trial for trial in trials if trial["error"]]
    assert failed
    assert all(trial["values"]["n_neighbors"] > 33 and not trial["scores"] for trial in failed)
    first = sorted((t for t in trials[:9] if not t["error"]), key=lambda trial: trial["scores"]["crps"])
    assert [t["values"] for t in trials[9:12]] == [t["values"] for t in first[:3]]
    last = min(trials[9:12], key=lambda trial: trial["scores"]["crps"])
    assert trials[12]["values"] == last["values"]


def test_classes_are_searched_by_their_log_loss(tmp_path):
    source = Synthetic(rows=400, seed=8, bands=BANDS, classes={"star": 0.5, "galaxy": 0.5})
    table = source.read(next(iter(source.partitions(400))), [f.name for f in source.fields()])
    recipe = {"method": "linear", "threads": 1, "search": {"method": "grid", "over": {"C": [1e-6, 1.0]}}}
    Classify(bands=BANDS, classes=("STAR", "GALAXY"), train=recipe).fit(table, tmp_path / "m")
    trials = json.loads((tmp_path / "m" / "trials.json").read_text())
    assert set(trials[0]["scores"]) == {"log_loss", "brier", "accuracy", "balanced_accuracy"}
    assert trials[0]["scores"]["log_loss"] > trials[1]["scores"]["log_loss"]
    assert read_card(tmp_path / "m").training.recipe["parameters"] == {"C": 1.0}


def test_more_is_better_where_it_is(galaxies, tmp_path):
    _, trials = neighbours(galaxies, tmp_path / "m", method="grid", metric="log_likelihood")
    best = max(trials, key=lambda trial: trial["scores"]["log_likelihood"])
    assert read_card(tmp_path / "m").training.search["values"] == best["values"]


def test_one_failing_trial_is_told_and_ends_nothing(galaxies, tmp_path):
    _, trials = neighbours(galaxies, tmp_path / "m", method="grid", over={"n_neighbors": [-1, 5]})
    assert "The 'n_neighbors' parameter" in trials[0]["error"]
    assert trials[0]["scores"] == {}
    assert trials[1]["error"] == ""
    assert read_card(tmp_path / "m").training.search["failed"] == 1


def test_a_search_without_a_success_says_why(galaxies, tmp_path):
    with pytest.raises(TrainingError, match="all 2 trials of the search failed: train: knn: The 'n_neighbors' param"):
        neighbours(galaxies, tmp_path / "m", method="grid", over={"n_neighbors": [-1, -2]})
    with pytest.raises(TrainingError, match="trials of the search failed"):
        neighbours(galaxies, tmp_path / "m", method="halving", trials=3, over={"n_neighbors": [-1, -2, -3]})
    few = galaxies[galaxies["split"] != "validate"]
    with pytest.raises(TrainingError, match="20 or more rows to validate on, there are 0"):
        neighbours(few, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_one_object_is_on_one_side():
    group = np.repeat(np.arange(40), 3)
    held = Examples({"flux": np.arange(120.0)[:, None]}, np.arange(120.0), group=group)
    first, second = halves(held, seed=1)
    assert len(set(first.group)) == len(set(second.group)) == 20
    assert not set(first.group) & set(second.group)
    assert sorted([*first.target, *second.target]) == list(range(120))
    assert set(halves(held, seed=2)[0].group) != set(first.group)


OVER = {
    "width": (16, 32, 64),
    "learning_rate": Range(low=1e-4, high=1e-2, log=True),
    "depth": Range(low=1, high=4),
    "dropout": Range(low=0.0, high=0.5),
}


def test_draws_stay_in_their_ranges_and_follow_the_seed():
    search = Search(trials=300, over=OVER, seed=5)
    drawn = list(combinations(search))
    assert len(drawn) == 300
    assert len({repr(values) for values in drawn}) == 300
    assert drawn == list(combinations(search))
    assert drawn != list(combinations(Search(trials=300, over=OVER, seed=6)))
    assert {values["width"] for values in drawn} == {16, 32, 64}
    assert Counter(type(values["depth"]) for values in drawn) == {int: 300}
    assert {values["depth"] for values in drawn} == {1, 2, 3, 4}
    rates = np.array([values["learning_rate"] for values in drawn])
    assert rates.min() >= 1e-4
    assert rates.max() <= 1e-2
    # Half of them below the geometric mean, within four standard errors of 300 draws.
    assert abs(np.mean(rates < 1e-3) - 0.5) < 4 * 0.5 / np.sqrt(300)
    dropouts = np.array([values["dropout"] for values in drawn])
    assert abs(dropouts.mean() - 0.25) < 4 * 0.5 / np.sqrt(12 * 300)


def test_small_spaces_run_out():
    assert len(list(combinations(Search(trials=50, over={"width": (8, 16), "depth": Range(low=1, high=3)})))) == 6


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({"over": {"widht": [8]}}, "keras has no 'widht' to search.*did you mean 'width'"),
        ({"over": {"seed": [1, 2]}}, "keras has no 'seed' to search"),
        ({"over": {}}, "at least 1 item"),
        ({"over": {"width": []}}, "'width' needs one value or more, each once"),
        ({"over": {"width": [8, 8]}}, "each once, got .8, 8."),
        ({"over": {"width": {"low": 8, "high": 8}}}, "low below high, got 8 and 8"),
        ({"over": {"dropout": {"low": 0, "high": 0.5, "log": True}}}, "low above 0, got 0"),
        ({"over": {"width": [8, 0]}}, "width cannot be 0: Input should be greater than or equal to 1"),
        ({"over": {"dropout": {"low": 0.5, "high": 1.5}}}, "dropout cannot be 1.5"),
        ({"over": {"width": [8]}, "metric": "log_loss"}, "no 'log_loss' for photoz; did you mean 'cde_loss'"),
        ({"over": {"width": {"low": 8, "high": 9}}, "method": "grid"}, "a grid takes lists, 'width' is a range"),
        ({"over": {"width": list(range(1, MAX_GRID + 2))}, "method": "grid"}, "a grid of 1001 combinations; at most"),
        ({"over": {"width": [8]}, "method": "anneal"}, "Input should be 'random'"),
        ({"over": {"width": [8]}, "trials": 1}, "greater than or equal to 2"),
    ],
)
def test_wrong_searches_are_refused_at_once(search, expected):
    with pytest.raises(ValidationError, match=expected):
        PhotozRecipe(search=search)


def test_a_search_knows_the_parameters_of_its_method():
    recipe = {"method": "svm_rbf", "search": {"over": {"C": {"low": 0.1, "high": 100, "log": True}}}}
    assert ClassifyRecipe(**recipe).search.score("classify") == "log_loss"
    with pytest.raises(ValidationError, match="svm_rbf has no 'width' to search"):
        ClassifyRecipe(method="svm_rbf", search={"over": {"width": [8]}})


def test_a_pipeline_tells_at_its_line(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "astrokeras: 1\nname: p\nsource:\n  synthetic: {rows: 100}\nstages:\n  - photoz:\n      bands: [g, r]\n"
        "      train:\n        search:\n          over:\n            widht: [8, 16]\n"
        "            learning_rate: {low: 1e-4, high: 1e-2, log: true}\noutputs:\n  - votable: {path: p.vot}\n"
    )
    with pytest.raises(SpecError, match=r"p.yaml:8:7: photoz.train: `search.over`: keras has no 'widht'.*'width'"):
        load_pipeline(path)
    path.write_text(path.read_text().replace("widht", "width"))
    (stage,) = load_pipeline(path).stages
    assert stage.train.search.over["width"] == (8, 16)
    assert stage.train.search.over["learning_rate"] == Range(low=1e-4, high=1e-2, log=True)


def test_optuna_is_an_extra(galaxies, tmp_path):
    search = {"method": "optuna", "trials": 8, "over": {"n_neighbors": {"low": 1, "high": 280}, "p": [1, 2]}}
    if find_spec("optuna") is None:
        with pytest.raises(ValidationError, match=r"pip install 'astrokeras\[optuna\]'"):
            PhotozRecipe(method="knn", search=search)
        pytest.skip("optuna is not installed")
    _, trials = neighbours(galaxies, tmp_path / "m", **search)
    assert len(trials) == 8
    assert neighbours(galaxies, tmp_path / "n", **search)[1] == trials
    best = min(trials, key=lambda trial: trial["scores"]["crps"])
    assert read_card(tmp_path / "m").training.search["values"] == best["values"]
