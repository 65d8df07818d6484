"""Principal components: the numbers of scikit-learn, which rows have a say, what is saved, and mistakes."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.decomposition import PCA

from astrokeras import Pca, Pipeline
from astrokeras.errors import ChunkError, ModelError, TrainingError
from astrokeras.flags import Flag
from astrokeras.models.components import Basis


def vectors(rows=200, seed=1):
    """Correlated numbers in nJy, and a size of another unit."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(rows, 3)) * [5.0, 2.0, 1.0] @ rng.normal(size=(3, 8)) + rng.normal(size=(rows, 8)) + 7
    return QTable({"pixels": mixed * u.nJy, "size": (mixed[:, 0] * 100 + rng.normal(size=rows)) * u.arcsec})


def same(found, expected, **tolerance):
    """Compare components up to their signs."""
    sign = np.sign(np.sum(found * expected, axis=0))
    np.testing.assert_allclose(found * sign, expected, **tolerance)


@pytest.mark.parametrize("whiten", [False, True])
def test_components_are_those_of_scikit_learn(whiten, tmp_path):
    table = vectors()
    stage = Pca(vectors=["pixels"], train={"n": 4, "whiten": whiten}).fit(table, tmp_path / "m")
    other = PCA(4, whiten=whiten, svd_solver="full").fit(table["pixels"].value)
    new = vectors(50, seed=2)
    same(stage(new)["pca"], other.transform(new["pixels"].value), rtol=1e-5, atol=1e-5)
    (field, _) = stage.writes()
    assert f"{other.explained_variance_ratio_.sum():.3f} of the variance" in field.description


def test_numbers_of_different_units_are_scaled(tmp_path):
    table = vectors()
    stage = Pca(vectors=["pixels"], extra=["size"], train={"n": 3, "scale": True}).fit(table, tmp_path / "m")
    values = np.column_stack([table["pixels"].value, table["size"].value])
    other = PCA(3, svd_solver="full").fit_transform(values / values.std(axis=0))
    same(stage(table)["pca"], other, rtol=1e-4, atol=1e-5)


def test_training_rows_alone_have_a_say(tmp_path):
    table = vectors()
    few = Pca(vectors=["pixels"], train={"n": 2}).fit(table[:120], tmp_path / "few")
    table["split"] = ["train"] * 120 + ["test"] * 40 + ["validate"] * 40
    table["pixels"][120:] *= 50
    split = Pca(vectors=["pixels"], train={"n": 2}).fit(table, tmp_path / "split")
    assert split.model_digest() == few.model_digest()
    chosen = Pca(vectors=["pixels"], train={"n": 2}, where="size > 500").fit(table, tmp_path / "where")
    assert chosen.model_digest() != few.model_digest()


def test_objects_that_miss_a_number_are_flagged_and_teach_nothing(tmp_path):
    table = vectors()
    whole = Pca(vectors=["pixels"], train={"n": 2}).fit(table[5:], tmp_path / "whole")
    table["pixels"][:5, 3] = np.nan * u.nJy
    stage = Pca(vectors=["pixels"], train={"n": 2}).fit(table, tmp_path / "holes")
    assert stage.model_digest() == whole.model_digest()
    out = stage(table)
    assert np.isnan(out["pca"][:5]).all()
    assert np.isfinite(out["pca"][5:]).all()
    assert (np.flatnonzero(np.asarray(out["flags"]) & Flag.MISSING_INPUT) == np.arange(5)).all()


def test_units_are_those_of_the_training(tmp_path):
    stage = Pca(vectors=["pixels"], train={"n": 2}).fit(vectors(), tmp_path / "m")
    table = vectors()
    there = stage(table)["pca"]
    table["pixels"] = table["pixels"].to(u.uJy)
    np.testing.assert_allclose(stage(table)["pca"], there, rtol=1e-5, atol=1e-5)
    with pytest.raises(ChunkError, match=r"cells of shape \(5,\), needs \(8,\)"):
        stage(QTable({"pixels": np.ones((3, 5)) * u.nJy}))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 6))
def test_components_are_orthogonal_ordered_and_signed(seed, n, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pca") / "m"
    table = vectors(40, seed)
    out = np.asarray(Pca(vectors=["pixels"], train={"n": n}).fit(table, folder)(table)["pca"], float)
    covariance = np.cov(out.T).reshape(n, n)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-4 * covariance.max())
    assert (np.diff(np.diag(covariance)) <= 1e-4 * covariance.max()).all()
    with np.load(folder / "components.npz") as stored:
        weights = stored["weights"]
    np.testing.assert_allclose(weights @ weights.T, np.eye(n), atol=1e-9)
    assert (np.take_along_axis(weights, np.abs(weights).argmax(axis=1)[:, None], axis=1) > 0).all()


def test_wrong_parameters_are_refused(tmp_path):
    for wrong, said in (
        ({"train": {}}, "needs `vectors` or `extra`"),
        ({"vectors": ["a", "a"], "train": {}}, "each column once"),
        ({"vectors": ["a"]}, "needs either `model`"),
        ({"model": "m", "vectors": ["a"]}, "a model brings its own"),
        ({"vectors": ["a"], "train": {"n": 0}}, "greater than or equal to 1"),
    ):
        with pytest.raises(ValidationError, match=said):
            Pca(**wrong)
    with pytest.raises(TrainingError, match=r"9 components .* 8 numbers and 200 training rows"):
        Pca(vectors=["pixels"], train={"n": 9}).fit(vectors(), tmp_path / "m")
    table = vectors()
    table["pixels"][:, 4:] = 0 * u.nJy
    with pytest.raises(TrainingError, match="fewer than 6 directions"):
        Pca(vectors=["pixels"], train={"n": 6, "whiten": True}).fit(table, tmp_path / "m")


def test_damaged_files_are_named(tmp_path):
    model = tmp_path / "m"
    stage = Pca(vectors=["pixels"], train={"n": 2}).fit(vectors(), model)
    facts = json.loads((model / "card.json").read_text())
    assert (facts["rows"], facts["inputs"][0]["unit"], facts["inputs"][0]["shape"]) == (200, "nJy", [8])
    stored = dict(np.load(model / "components.npz"))
    np.savez(model / "components.npz", **stored | {"weights": stored["weights"] * 2})
    with pytest.raises(ModelError, match=r"components\.npz: is not what card\.json"):
        stage(vectors())
    np.savez(model / "components.npz", **stored | {"weights": stored["weights"][:, :3]})
    with pytest.raises(ModelError, match=r"components\.npz: holds arrays of the shapes"):
        stage(vectors())
    (model / "components.npz").write_bytes(b"PK nothing")
    with pytest.raises(ModelError, match=r"components\.npz: damaged"):
        stage(vectors())
    (model / "card.json").write_text('{"task": "photoz"}')
    with pytest.raises(ModelError, match=r"card\.json: is no card of principal components \(task"):
        stage.reads()


def test_a_row_without_data_changes_no_other():
    basis = Basis(np.zeros(2), np.eye(2), np.array([0.6, 0.4]), 5)
    out = basis.of(np.array([[1.0, 2.0], [np.inf, 3.0]]))
    np.testing.assert_array_equal(out, [[1, 2], [np.nan, np.nan]])


PIPELINE = """astrokeras: 1
name: components
source:
  synthetic: {rows: 600, seed: 3, classes: {star: 0.5, galaxy: 0.5}}
split: SPLIT
stages:
  - colors: {bands: [u, g, r, i, z]}
  - pca: {extra: [color_u_g, color_g_r, color_r_i, color_i_z], train: {n: 2, scale: true}, save: basis}
  - morphology: {vectors: [pca], classes: [STAR, GALAXY], train: {method: random_forest, target: class_true, seed: 1}}
outputs:
  - fits: {path: out.fits, columns: [ids, class_true, "color_?_?", pca, "p_*", class_label, split, flags]}
"""


@pytest.mark.parametrize("split", ["{test: 0.3, seed: 1}", "{folds: 3, seed: 1}"])
def test_a_pipeline_learns_from_components(split, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(PIPELINE.replace("SPLIT", split))
    Pipeline.read("p.yaml").run(work="work", quiet=True)
    out = QTable.read("out.fits")
    assert len(out) == 600
    part = np.char.strip(np.asarray(out["split"]).astype(str))
    test = part == "test" if "test" in split else np.isfinite(out["p_star"])
    label, truth = (np.char.strip(np.asarray(out[name]).astype(str)) for name in ("class_label", "class_true"))
    assert np.mean((label == truth)[test]) > 0.65
    values = np.column_stack([np.asarray(out[f"color_{a}_{b}"], float) for a, b in ("ug", "gr", "ri", "iz")])
    train = (part == "train") & np.isfinite(values).all(axis=1)
    spread = values[train].std(axis=0)
    other = PCA(2, svd_solver="full").fit(values[train] / spread)
    whole = np.isfinite(values).all(axis=1)
    same(out["pca"][whole], other.transform(values[whole] / spread), rtol=1e-3, atol=1e-3)
