"""Methods of scikit-learn behind the same stages: same rows, same inputs, same columns; nothing of the test rows."""

import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from astropy.table import Column
from pydantic import ValidationError

from astrokeras import Classify, PhotoZ
from astrokeras.densities import pdf_quantiles
from astrokeras.errors import SpecError, TrainingError
from astrokeras.flags import Flag
from astrokeras.metrics import pit, pit_ks, sigma_nmad
from astrokeras.models.bundle import load, verify
from astrokeras.models.card_file import read_card
from astrokeras.models.classical import FLOOR, calibrated
from astrokeras.models.residuals import fit_residuals, residual_density
from astrokeras.spec import load as load_pipeline
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.tasks.classify_recipe import ClassifyRecipe
from astrokeras.tasks.estimators import drawn, make_estimator
from astrokeras.tasks.methods import METHODS, RESERVED
from astrokeras.tasks.photoz_recipe import PhotozRecipe
from astrokeras.walk import check_pipeline

BANDS = ("g", "r", "i", "z")
CLASSES = ("STAR", "GALAXY", "QSO")
SMALL = {
    "random_forest": {"n_estimators": 12},
    "hist_gradient_boosting": {"max_iter": 20, "max_leaf_nodes": 8},
    "gaussian_process": {"optimizer": None},
}
RECIPES = {m: {"method": m, "parameters": SMALL.get(m, {}), "threads": 1, "seed": 5} for m in METHODS}


def rows_of(n, seed, **options):
    source = Synthetic(rows=n, seed=seed, bands=BANDS, **options)
    return source.read(next(iter(source.partitions(n))), [f.name for f in source.fields()])


@pytest.fixture(scope="module")
def galaxies():
    table = rows_of(700, 3, classes={"galaxy": 1})
    table["split"] = np.array(["train"] * 350 + ["calibrate"] * 150 + ["test"] * 200)
    return table


@pytest.fixture(scope="module")
def objects():
    table = rows_of(600, 4, classes={"star": 0.4, "galaxy": 0.35, "qso": 0.25})
    table["split"] = np.array(["train"] * 300 + ["calibrate"] * 150 + ["test"] * 150)
    return table


def photoz(table, directory, **recipe):
    return PhotoZ(bands=BANDS, train={"n_grid": 48, **recipe}).fit(table, directory)


def classify(table, directory, **recipe):
    return Classify(bands=BANDS, classes=CLASSES, train=recipe).fit(table, directory)


@pytest.mark.parametrize("method", METHODS)
def test_redshifts_of_every_method(method, galaxies, tmp_path):
    stage = photoz(galaxies, tmp_path / "m", **RECIPES[method])
    test = galaxies[galaxies["split"] == "test"]
    out = stage(test)
    assert {"z_phot", "z_mode", "z_lo", "z_hi", "z_pdf", "domain_score"} <= set(out.colnames)
    assert [f.name for f in PhotoZ(bands=BANDS, train=RECIPES[method]).writes()] == [f.name for f in stage.writes()]
    assert 0 < np.median(out["domain_score"]) < 1
    z = np.asarray(test["z_spec"])
    assert sigma_nmad(out["z_phot"], z) < sigma_nmad(np.full(len(z), np.median(z)), z) / 1.5
    np.testing.assert_allclose(np.trapezoid(out["z_pdf"], stage.card().grid.nodes()), 1, rtol=1e-4)
    assert 0.5 < np.mean((z >= out["z_lo"]) & (z <= out["z_hi"])) < 0.85
    card = read_card(tmp_path / "m")
    assert card.method == card.training.recipe["method"] == method
    assert "width" not in card.training.recipe
    assert {"scikit-learn", "skops"} <= set(card.training.versions)
    assert verify(tmp_path / "m").max_difference == 0


@pytest.mark.parametrize("method", METHODS)
def test_classes_of_every_method(method, objects, tmp_path):
    few = {"max_rows": 90} if method == "gaussian_process" else {}
    stage = classify(objects, tmp_path / "m", **RECIPES[method], **few, class_sets={"coverage": 0.9})
    test = objects[objects["split"] == "test"]
    out = stage(test)
    assert {"p_star", "p_galaxy", "p_qso", "class_label", "class_entropy", "class_set"} <= set(out.colnames)
    p = np.stack([out[f"p_{name.lower()}"] for name in CLASSES], axis=1)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    commonest = max(np.mean(test["class_true"] == name) for name in CLASSES)
    assert np.mean(out["class_label"] == test["class_true"]) > commonest + 0.15
    truth = np.array([CLASSES.index(name) for name in test["class_true"]])
    assert -np.log(p[np.arange(len(p)), truth]).mean() < 0.9 * np.log(3)
    assert verify(tmp_path / "m").ok


def test_what_is_missing_is_no_number_to_the_estimator(galaxies, tmp_path):
    table = galaxies.copy()
    for column in ("flux_g", "flux_err_g"):
        table[column][::3] = np.nan
    for band in BANDS:
        table[f"flux_{band}"][5] = np.nan
    out = photoz(table, tmp_path / "m", **RECIPES["linear"])(table)
    assert np.isfinite(np.delete(np.asarray(out["z_phot"]), 5)).all()
    assert np.isnan(out["z_phot"][5])
    assert out["flags"][5] & Flag.NO_DATA
    assert out["flags"][3] & Flag.MISSING_BAND


def test_only_the_rows_of_the_training_count(galaxies, tmp_path):
    recipe = RECIPES["hist_gradient_boosting"]
    first = photoz(galaxies, tmp_path / "a", **recipe).model_digest()
    assert photoz(galaxies, tmp_path / "b", **recipe).model_digest() == first
    table = galaxies.copy()
    table["z_spec"][table["split"] == "test"] = 0.123
    table["flux_r"][table["split"] == "test"] *= 3
    assert photoz(table, tmp_path / "c", **recipe).model_digest() == first
    table["z_spec"][table["split"] == "train"] += 0.01
    assert photoz(table, tmp_path / "d", **recipe).model_digest() != first


def test_an_estimator_sees_what_a_network_sees(galaxies, tmp_path):
    from astrokeras.models.tensors import encode

    stage = photoz(galaxies, tmp_path / "m", **RECIPES["linear"])
    model = load(tmp_path / "m").model
    tensors, _ = encode(galaxies[:20], stage.card())
    features = model.features(tensors)
    network = PhotoZ(
        bands=BANDS, train={"width": 4, "depth": 1, "members": 1, "epochs": 1, "n_grid": 48, "cross_fit": 0}
    )
    network.fit(galaxies, tmp_path / "n")
    encoder = load(tmp_path / "n").model.get_layer("photoz").get_layer("encoder")
    np.testing.assert_allclose(features, np.asarray(encoder(tensors)), rtol=1e-5, atol=1e-6)
    weights = model.estimator.coef_
    expected = features.astype(float) @ weights + model.estimator.intercept_
    np.testing.assert_allclose(model.estimator.predict(features), expected, rtol=1e-4)


def test_an_estimator_needs_rows_set_aside(galaxies, objects, tmp_path):
    table = galaxies[galaxies["split"] == "train"]
    with pytest.raises(TrainingError, match="no error bars without rows to calibrate on"):
        photoz(table, tmp_path / "m", **RECIPES["knn"])
    kept = objects[(objects["split"] == "train") | (objects["class_true"] != "QSO")]
    with pytest.raises(TrainingError, match="class 'QSO' has 0"):
        classify(kept, tmp_path / "m", **RECIPES["svm_rbf"])
    # Other methods have probabilities of their own.
    assert classify(kept, tmp_path / "k", **RECIPES["knn"]).card().classes == CLASSES


def test_wrong_values_are_told_in_the_words_of_scikit_learn(galaxies, tmp_path):
    recipe = {**RECIPES["random_forest"], "parameters": {"n_estimators": -3}}
    with pytest.raises(TrainingError, match="random_forest: The 'n_estimators' parameter"):
        photoz(galaxies, tmp_path / "m", **recipe)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("task", ["photoz", "classify"])
@pytest.mark.parametrize("method", METHODS)
def test_the_parameters_are_those_of_scikit_learn(method, task):
    module, name = getattr(METHODS[method], task).split(":")
    own = set(getattr(import_module(module), name)().get_params())
    listed = METHODS[method].names[task]
    without = {"kernel"} if method == "svm_rbf" else set()
    assert set(listed) == own - RESERVED - without
    assert set(METHODS[method].defaults[task]) <= set(listed)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"method": "knn", "width": 64, "epochs": 3}, "`epochs`, `width` describe a network; knn takes `parameters`"),
        ({"parameters": {"n_neighbors": 3}}, "`parameters` belongs to the methods of scikit-learn"),
        ({"max_rows": 100}, "`max_rows` belongs to the methods of scikit-learn"),
        ({"method": "knn", "parameters": {"n_neighbours": 3}}, "no 'n_neighbours'.*did you mean 'n_neighbors'"),
        (
            {"method": "svm_rbf", "parameters": {"kernel": "linear"}},
            "svm_rbf has no 'kernel' .allowed: C, ",
        ),
        ({"method": "knn", "parameters": {"algorithm": "kd_tree"}}, "'algorithm' of knn cannot be set"),
        ({"method": "random_forest", "parameters": {"n_jobs": 3}}, "'n_jobs' of random_forest cannot be set"),
        ({"method": "gaussian_process", "parameters": {"kernel": "dot"}}, "kernel must be one of matern, "),
        ({"method": "forest"}, "Input should be 'keras', 'random_forest'"),
    ],
)
def test_keys_that_do_not_belong_are_refused(recipe, expected):
    with pytest.raises(ValidationError, match=expected):
        PhotozRecipe(**recipe)


def test_a_parameter_of_the_other_task_is_refused():
    assert PhotozRecipe(method="svm_rbf", parameters={"epsilon": 0.1}).parameters == {"epsilon": 0.1}
    with pytest.raises(ValidationError, match="svm_rbf has no 'epsilon'"):
        ClassifyRecipe(method="svm_rbf", parameters={"epsilon": 0.1})


def test_a_pipeline_tells_at_its_line(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "astrokeras: 1\nname: p\nsource:\n  synthetic: {rows: 100}\nstages:\n  - photoz:\n      bands: [g, r]\n"
        "      train: {method: knn, parameters: {weight: uniform}}\noutputs:\n  - votable: {path: p.vot}\n"
    )
    with pytest.raises(SpecError, match=r"p.yaml:8:7: photoz.train: `parameters`: knn has no 'weight'.*'weights'"):
        load_pipeline(path)
    path.write_text(path.read_text().replace("weight:", "weights:"))
    assert check_pipeline(load_pipeline(path))


def test_a_check_imports_no_scikit_learn():
    code = (
        "import sys; from astrokeras.tasks.photoz_recipe import PhotozRecipe as P\n"
        "P(method='random_forest', parameters={'n_estimators': 5})\n"
        "assert not {'sklearn', 'skops', 'keras', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_limit_of_rows_keeps_the_ratio_of_the_classes():
    target = np.repeat([0, 1, 2], [900, 97, 3])
    recipe = ClassifyRecipe(method="knn", max_rows=100, seed=2)
    rows = drawn(target, recipe)
    assert np.bincount(target[rows]).tolist() == [90, 10, 2]
    assert len(np.unique(rows)) == len(rows)
    assert not np.array_equal(rows, drawn(target, ClassifyRecipe(method="knn", max_rows=100, seed=3)))
    assert len(drawn(target, ClassifyRecipe(method="knn"))) == 1000
    assert len(drawn(target, PhotozRecipe(method="gaussian_process", max_rows=50))) == 50


def test_seed_and_threads_reach_the_estimator():
    estimator = make_estimator(PhotozRecipe(method="random_forest", seed=7, threads=3))
    assert (estimator.random_state, estimator.n_jobs) == (7, 3)
    assert make_estimator(PhotozRecipe(method="knn")).algorithm == "brute"


def test_residuals_give_the_scatter_where_it_is():
    rng = np.random.default_rng(8)
    predicted = rng.uniform(0.1, 1.5, 6000)
    sigma = 0.02 + 0.05 * predicted
    true = predicted + (1 + predicted) * (0.03 + sigma * rng.normal(size=6000))
    grid = np.linspace(-0.5, 3, 800)
    arrays = fit_residuals(predicted[:3000], true[:3000], grid[1] - grid[0])
    density = residual_density(predicted[3000:], arrays, grid)
    np.testing.assert_allclose(np.trapezoid(density, grid), 1, rtol=1e-5)
    # A perfect density of 3000 objects has a distance above 0.025 in one draw of twenty.
    assert pit_ks(pit(density, grid, true[3000:])) < 0.04
    low, median, high = pdf_quantiles(density, grid, (0.16, 0.5, 0.84))
    width = (high - low) / 2 / (1 + predicted[3000:])
    inner = (predicted[3000:] > 0.2) & (predicted[3000:] < 1.4)
    np.testing.assert_allclose(width[inner], sigma[3000:][inner], rtol=0.3)
    assert np.corrcoef(width[inner], sigma[3000:][inner])[0, 1] > 0.9
    np.testing.assert_allclose(np.median((median - predicted[3000:]) / (1 + predicted[3000:])), 0.03, atol=0.005)


def test_a_prediction_off_the_grid_says_nothing():
    arrays = fit_residuals(np.linspace(0, 1, 50), np.linspace(0.01, 1, 50), 0.01)
    grid = np.linspace(0, 1, 101)
    far, inside = residual_density(np.array([40.0, 0.5]), arrays, grid)
    np.testing.assert_allclose(far, 1)
    assert inside.max() > 5
    # One part in fifty-one is spread evenly.
    np.testing.assert_allclose(inside.min(), 1 / 51, rtol=1e-4)
    with pytest.raises(ValueError, match="2 or more rows"):
        fit_residuals(np.ones(1), np.ones(1), 0.1)


def test_votes_are_no_certainty():
    arrays = {"slope": np.ones(1), "offset": np.zeros(1), "voters": np.asarray(9.0)}
    np.testing.assert_allclose(calibrated([[1.0, 0.0], [0.5, 0.5]], arrays), [[0.95, 0.05], [0.5, 0.5]])
    sharper = {"slope": np.full(2, 2.0), "offset": np.array([0.0, 1.0]), "voters": np.asarray(0.0)}
    expected = np.array([0.6**2, 0.4**2 * np.e])
    np.testing.assert_allclose(calibrated([[0.6, 0.4]], sharper), [expected / expected.sum()])
    assert 0 < calibrated([[1.0, 0.0]], {**sharper, "offset": np.zeros(2)})[0, 1] < 2 * FLOOR**2


def test_text_in_other_widths_is_no_other_class(objects, tmp_path):
    table = objects.copy()
    table.replace_column("class_true", Column(np.asarray(objects["class_true"]).astype("U24")))
    digests = {classify(t, tmp_path / "m", **RECIPES["knn"]).model_digest() for t in (objects, table)}
    assert len(digests) == 1
