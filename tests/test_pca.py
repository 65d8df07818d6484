"""Principal components: those of scikit-learn, of training rows alone, in one basis for each model trained on them."""

import hashlib
import json
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table, vstack
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn import decomposition
from sklearn.preprocessing import StandardScaler

from astrokeras import Pca, Pipeline, registry
from astrokeras.cli import main
from astrokeras.errors import ChunkError, ModelError, SpecError, TrainingError, UnsafeModelError
from astrokeras.features.principal_components import Moments, principal_components
from astrokeras.fields import FLAGS, Field
from astrokeras.flags import Flag
from astrokeras.models.bundle import load, verify
from astrokeras.stage import Stage
from astrokeras.testing import check_stage
from astrokeras.trainable import Trainable


def vectors(n=80, width=12, seed=0):
    """Correlated rows far from zero."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, width)) @ rng.normal(size=(width, width)) + 300).astype(np.float32)


def fitted(tmp_path, table, name="m", **parameters):
    train = {key: parameters.pop(key) for key in ("n", "whiten", "scale") if key in parameters}
    return Pca(train={"n": 4, **train}, **parameters).fit(table, tmp_path / name)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("scale", [False, True])
def test_components_are_those_of_scikit_learn(tmp_path, whiten, scale):
    x = vectors()
    x[:, 3] *= 20
    x[:, 5] = 7
    stage = fitted(tmp_path, QTable({"pixels": x}), vectors=["pixels"], whiten=whiten, scale=scale)
    exact = x.astype(float)
    inputs = StandardScaler().fit(exact).transform(exact) if scale else exact
    expected = decomposition.PCA(4, whiten=whiten, svd_solver="full").fit(inputs)
    other = QTable({"pixels": vectors(seed=1)})
    seen = np.asarray(other["pixels"], float)
    seen = StandardScaler().fit(exact).transform(seen) if scale else seen
    np.testing.assert_allclose(stage(other)["pca"], expected.transform(seen), rtol=1e-5, atol=1e-5)
    ratios = stage.card().components.explained_variance_ratio
    np.testing.assert_allclose(ratios, expected.explained_variance_ratio_, rtol=1e-10)
    assert f"{sum(ratios):.3f} of the variance of 80 training rows" in stage.writes()[0].description


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 40), st.integers(2, 6), st.floats(-1e6, 1e6), st.data())
def test_moments_do_not_depend_on_blocks(n, width, level, data):
    x = np.random.default_rng(n).normal(level, 1, (n, width))
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    moments = Moments(width)
    for part in np.split(x, cuts):
        if len(part):
            moments.add(part)
    assert moments.count == n
    np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(moments.scatter / (n - 1), np.cov(x.T), rtol=1e-7, atol=1e-8)


def test_only_training_rows_without_holes_have_a_say(tmp_path):
    table = QTable({"pixels": vectors()})
    table["split"] = np.where(np.arange(80) < 50, "train", np.where(np.arange(80) < 65, "test", "validate"))
    table["pixels"][7, 3] = np.nan
    stage = fitted(tmp_path, table, vectors=["pixels"])
    used = np.delete(np.asarray(table["pixels"], float)[:50], 7, axis=0)
    expected = decomposition.PCA(4, svd_solver="full").fit(used)
    projection = load(stage.model).model
    np.testing.assert_allclose(projection.components, expected.components_, atol=1e-10)
    np.testing.assert_allclose(projection.mean, used.mean(axis=0), rtol=1e-12)
    assert stage.card().training.counts == {"train": 49, "incomplete": 1}


def test_a_row_with_a_hole_stays_and_is_flagged(tmp_path):
    table = QTable({"pixels": vectors(), "flags": np.full(80, int(Flag.TRUNCATED), np.int32)})
    stage = fitted(tmp_path, table, vectors=["pixels"])
    holed = table.copy()
    holed["pixels"][5, 2] = np.nan
    out = stage(holed)
    assert len(out) == 80 and np.isnan(out["pca"][5]).all()
    assert out["flags"][5] == Flag.MISSING_INPUT | Flag.TRUNCATED
    others = np.arange(80) != 5
    np.testing.assert_array_equal(out["pca"][others], stage(table)["pca"][others])
    assert set(out["flags"][others]) == {Flag.TRUNCATED}


def test_stamps_and_numbers_are_taken_together(tmp_path):
    rng = np.random.default_rng(0)
    stamps = u.Quantity(rng.normal(5, 1, (60, 3, 3, 2)), u.nJy, dtype=np.float32)
    stamps.info.meta = {"bands": "g,r"}
    table = QTable({"stamp": stamps, "radius": rng.uniform(1, 3, 60).astype("f4") * u.arcsec})
    stage = fitted(tmp_path, table, extra=["radius"], stamps="stamp")
    x = np.column_stack([table["radius"].value, table["stamp"].value.reshape(60, -1)]).astype(float)
    np.testing.assert_allclose(stage(table)["pca"], decomposition.PCA(4, svd_solver="full").fit_transform(x), atol=1e-5)
    check_stage(stage, table)
    holed = table.copy()
    holed["stamp"][3, 0, 0, 1] = np.nan
    out = stage(holed)
    assert np.isnan(out["pca"][3]).all() and out["flags"][3] == Flag.MISSING_INPUT | Flag.MASKED_PIXELS
    other = table.copy()
    other["radius"] = other["radius"].to("arcmin")
    np.testing.assert_allclose(stage(other)["pca"], stage(table)["pca"], atol=1e-5)
    other = table.copy()
    other["stamp"].info.meta = {"bands": "r,g"}
    with pytest.raises(ModelError, match="the bands 'g,r', the data have 'r,g'"):
        stage(other)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "either `model`"),
        ({"train": {"n": 2}, "model": "x"}, "either `model`"),
        ({"train": {"n": 2}}, "each column once"),
        ({"train": {"n": 2}, "vectors": ["a"], "extra": ["a"]}, "each column once"),
        ({"train": {"n": 2}, "vectors": ["pca"]}, "'pca' is an input"),
        ({"model": "x", "vectors": ["a"]}, "a model brings its own"),
        ({"train": {"n": 0}, "vectors": ["a"]}, "greater than or equal to 1"),
        ({"train": {"n": 2, "whitening": True}, "vectors": ["a"]}, "Extra inputs"),
    ],
)
def test_parameters_that_cannot_be(parameters, said):
    with pytest.raises(ValidationError, match=said):
        Pca(**parameters)


def test_rows_that_cannot_give_components(tmp_path):
    with pytest.raises(TrainingError, match=r"4 components need as many .* 12 numbers and 3 training rows"):
        fitted(tmp_path, QTable({"pixels": vectors(3)}), vectors=["pixels"])
    flat = vectors()[:, :2] @ np.ones((2, 12), np.float32)
    with pytest.raises(TrainingError, match="fewer than 2 directions, in 1"):
        principal_components(_moments(flat), 2)
    with pytest.raises(TrainingError, match=r"13 components need as many .* 12 numbers and 80 training rows"):
        fitted(tmp_path, QTable({"pixels": vectors()}), vectors=["pixels"], n=13)
    with pytest.raises(ChunkError, match="9000 numbers in a row; 8192 at most"):
        fitted(tmp_path, QTable({"pixels": np.zeros((3, 9000), "f4")}), vectors=["pixels"])
    with pytest.raises(TrainingError, match="no model yet"):
        Pca(train={"n": 2}, vectors=["pixels"])(QTable({"pixels": vectors()}))


def _moments(rows):
    moments = Moments(rows.shape[1])
    moments.add(rows)
    return moments


def test_a_saved_projection_is_the_same_and_is_not_trusted(tmp_path):
    table = QTable({"pixels": vectors()})
    stage = fitted(tmp_path, table, vectors=["pixels"], whiten=True)
    again = Pca(model=str(tmp_path / "m"))
    np.testing.assert_array_equal(again(table)["pca"], stage(table)["pca"])
    report = verify(tmp_path / "m")
    assert report.ok and report.rows == 16
    assert main(["models", "show", str(tmp_path / "m")]) == 0
    assert main(["models", "verify", str(tmp_path / "m")]) == 0
    path = tmp_path / "m" / "projection.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **{**arrays, "mean": arrays["mean"] + 1})
    with pytest.raises(ModelError, match="not the model described"):
        again(table)
    for broken, said in (
        ({**arrays, "more": np.zeros(3)}, "holds"),
        ({**arrays, "mean": np.zeros(13)}, "the card says float64 of shape"),
        ({**arrays, "mean": np.array([{}] * 12)}, "the card says float64 of shape"),
        ({**arrays, "divisor": np.zeros(4)}, "not finite, or not positive"),
    ):
        np.savez(path, **broken)
        with pytest.raises(UnsafeModelError, match=said):
            again(table)
    with zipfile.ZipFile(path, "w") as archive:
        for name in arrays:
            archive.writestr(f"{name}.npy", b"\x93NUMPY")
    with pytest.raises(ModelError, match="is damaged"):
        again(table)
    path.unlink()
    with pytest.raises(ModelError, match="no such file"):
        again(table)


def test_a_model_of_another_task_is_refused():
    with pytest.raises(ModelError, match="is for photoz, not for pca"):
        Pca(model="boss-photoz").reads()


class Disks(Stage):
    """Noisy round and long disks, and which of both they are."""

    name: ClassVar[str] = "disks"

    def reads(self):
        return (Field(name="object_id", kind="id"),)

    def writes(self):
        stamp = Field(name="stamp", unit="nJy", shape=(12, 12, 1), meta={"bands": "r"})
        return (stamp, Field(name="shape_true", kind="str"))

    def run(self, chunk):
        y, x = np.mgrid[:12, :12] - 5.5
        stamps, shapes = np.zeros((len(chunk), 12, 12, 1)), np.full(len(chunk), "round")
        for i, number in enumerate(np.asarray(chunk["object_id"]).tolist()):
            rng = np.random.default_rng(number)
            long = rng.random() < 0.5
            shapes[i] = "long" if long else "round"
            disk = np.exp(-np.hypot(x / rng.uniform(2, 3), y / (1 if long else 3)))
            stamps[i, :, :, 0] = disk + rng.normal(0, 0.05, x.shape)
        return {"stamp": stamps, "shape_true": shapes}


class Spy(Trainable):
    """Keeps what it was trained on and what it was run on."""

    name: ClassVar[str] = "spy"
    train: dict[str, Any] | None = None

    def reads(self):
        return (Field(name="object_id", kind="id"), Field(name="pca", shape=(3,)))

    def writes(self):
        return (Field(name="seen_first", kind="f4"), FLAGS)

    def training_fields(self):
        return self.reads()

    def fit(self, dataset, directory, on_epoch=None):
        Path(directory).mkdir()
        told = dict(zip(np.asarray(dataset["object_id"]).tolist(), np.asarray(dataset["pca"]).tolist(), strict=True))
        said = {"told": told, "fold": dataset.meta["split"].get("fold", -1)}
        (Path(directory) / "card.json").write_text(json.dumps(said))
        return self.with_model(directory)

    def with_model(self, directory):
        return self.model_copy(update={"model": str(directory), "train": None, "save": None})

    def model_digest(self):
        return self.model and hashlib.sha256((Path(self.model) / "card.json").read_bytes()).hexdigest()

    def model_facts(self):
        return {"name": "spy", "version": "1.0.0", "digest": self.model_digest()}

    def run(self, chunk):
        return {"seen_first": np.asarray(chunk["pca"])[:, 0], "flags": np.zeros(len(chunk), np.int32)}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part in (Disks, Spy):
        monkeypatch.setitem(registry.BUILTIN["stages"], part.name, f"{__name__}:{part.__name__}")
    for cached in (registry.names, registry.lookup):
        monkeypatch.setattr(registry, cached.__name__, lru_cache(cached.__wrapped__))
    return tmp_path


TEXT = """astrokeras: 1
name: p
partition: {rows: 32}
split: SPLIT
source:
  synthetic: {rows: 150, seed: 2}
stages:
  - disks: {checkpoint: true}
  - pixels: {size: 12, bands: [r], block: 2}
  - pca: {vectors: [pixels], train: {n: 3}, save: basis}
  - LAST
outputs:
  - parquet: {path: out.parquet, columns: [ids, split, FOLD pixels, pca, shape_true, "WRITTEN", flags]}
"""


def run(split, last, written, fold="fold,"):
    text = TEXT.replace("SPLIT", split).replace("LAST", last).replace("WRITTEN", written).replace("FOLD", fold)
    Path("p.yaml").write_text(text)
    Pipeline.read("p.yaml").run(quiet=True)
    return Table.read("out.parquet")


def reference(table, chosen):
    chosen = chosen & (np.asarray(table["split"]) == "train")
    return decomposition.PCA(3, svd_solver="full").fit(np.asarray(table["pixels"], float)[chosen])


def test_with_folds_nothing_of_a_fold_is_in_its_components(here):
    table = run("{folds: 3, test: 0.2, validate: 0.1}", "spy: {train: {}}", "seen_first")
    fold, x = np.asarray(table["fold"]), np.asarray(table["pixels"], float)
    assert set(fold) == {-1, 0, 1, 2}
    bases = {k: reference(table, fold != k) for k in (-1, 0, 1, 2)}
    # That of all folds has not seen the test rows, which are in none.
    bases[-1] = reference(table, fold >= 0)
    for k, basis in bases.items():
        np.testing.assert_allclose(table["pca"][fold == k], basis.transform(x[fold == k]), atol=1e-5)
    assert np.abs(bases[0].components_ - bases[1].components_).max() > 1e-3
    np.testing.assert_array_equal(table["seen_first"], table["pca"][:, 0])
    # What is trained on components sees, for each fold, all rows in those of one fit.
    spies = [json.loads(p.read_text()) for p in Path(".astrokeras/p/models").glob("*/model/card.json")]
    spies = {spy["fold"]: spy["told"] for spy in spies if "told" in spy}
    assert set(spies) == set(bases)
    ids = np.asarray(table["object_id"])
    for k, told in spies.items():
        rows = np.ones(len(table), bool) if k < 0 else fold != k
        assert set(told) == set(map(str, ids[rows]))
        seen = np.array([told[str(name)] for name in ids[rows]])
        np.testing.assert_allclose(seen, bases[k].transform(x[rows]), atol=1e-5)
    # What is saved is that of all folds.
    np.testing.assert_allclose(load("basis").model.components, bases[-1].components_, atol=1e-8)


@pytest.mark.parametrize("split", ["{test: 0.3, calibrate: 0.2}", "{test: 0.3, calibrate: 0.2, folds: 2}"])
def test_a_support_vector_machine_learns_shapes_from_components(here, split):
    last = (
        "morphology: {vectors: [pca], classes: [long, round], train: {target: shape_true, method: svm_rbf, threads: 1}}"
    )
    table = run(split, last, "class_label", "" if "folds" not in split else "fold,")
    test = np.asarray(table["split"]) == "test"
    assert test.sum() > 30
    right = np.asarray(table["class_label"]) == np.asarray(table["shape_true"])
    assert np.mean(right[test]) > 0.95
    assert np.mean(right) > 0.95
    if "folds" not in split:
        # A second pipeline applies what the first one saved.
        text = TEXT.replace("split: SPLIT\n", "").replace("  - LAST\n", "").replace("split, FOLD ", "")
        text = text.replace("vectors: [pixels], train: {n: 3}, save: basis", "model: basis")
        Path("q.yaml").write_text(text.replace("name: p", "name: q").replace('"WRITTEN", ', "").replace("out.", "q."))
        Pipeline.read("q.yaml").run(quiet=True)
        np.testing.assert_array_equal(Table.read("q.parquet")["pca"], table["pca"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n: 3", "n: 40", "36 numbers have no 40 components"),
        ("vectors: [pixels]", "vectors: [shape_true]", "has cells of shape (), needs (-1,)"),
        ("vectors: [pixels]", "vectors: [hog]", "reads 'hog', which nothing before it writes"),
        ("vectors: [pixels]", "vectors: [pixels], column: pixels", "'pixels' is an input"),
    ],
)
def test_a_mistake_is_told_at_its_line(here, old, new, message):
    text = TEXT.replace("SPLIT", "{test: 0.2}")
    for unused in ("  - LAST\n", "FOLD ", '"WRITTEN", '):
        text = text.replace(unused, "")
    Path("p.yaml").write_text(text.replace(old, new))
    with pytest.raises(SpecError) as caught:
        Pipeline.read("p.yaml")
    assert any(p.line == 10 and message in p.message for p in caught.value.problems), str(caught.value)


def test_tables_that_come_in_parts_give_the_fit_of_the_whole(tmp_path):
    parts = [QTable({"pixels": vectors(n, seed=n)}) for n in (30, 0, 50)]
    stage = Pca(vectors=["pixels"], train={"n": 4})
    whole = stage.fit(vstack([parts[0], parts[2]]), tmp_path / "whole")
    found = stage.fit_parts(iter(parts), tmp_path / "parts")
    a, b = load(whole.model).model, load(found.model).model
    np.testing.assert_allclose(a.components, b.components, atol=1e-10)
    assert whole.card().training.data == found.card().training.data
    with pytest.raises(ChunkError, match="cells of"):
        stage.fit_parts(iter([parts[0], QTable({"pixels": vectors(5, 11)})]), tmp_path / "other")


def test_units_are_those_of_the_training(tmp_path):
    table = QTable({"pixels": vectors() * u.nJy})
    stage = fitted(tmp_path, table, vectors=["pixels"])
    there = stage(table)["pca"]
    table["pixels"] = table["pixels"].to(u.uJy)
    np.testing.assert_allclose(stage(table)["pca"], there, rtol=1e-4, atol=1e-3)
    with pytest.raises(ChunkError, match=r"cells of shape \(5,\), needs \(12,\)"):
        stage(QTable({"pixels": np.ones((3, 5)) * u.nJy}))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 6))
def test_components_are_orthogonal_ordered_and_signed(seed, n):
    x = vectors(40, 8, seed).astype(float)
    projection, ratios = principal_components(_moments(x), n)
    components = projection.components
    np.testing.assert_allclose(components @ components.T, np.eye(n), atol=1e-9)
    assert (components[np.arange(n), np.abs(components).argmax(axis=1)] > 0).all()
    assert (np.diff(ratios) <= 1e-12).all() and ratios.sum() <= 1 + 1e-12
    covariance = np.cov(((x - projection.mean) @ components.T).T).reshape(n, n)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-9 * covariance.max())


COLORS = """astrokeras: 1
name: c
source:
  synthetic: {rows: 600, seed: 3, classes: {star: 0.5, galaxy: 0.5}}
split: {test: 0.3, seed: 1}
stages:
  - colors: {bands: [u, g, r, i, z]}
  - pca: {extra: [color_u_g, color_g_r, color_r_i, color_i_z], train: {n: 2, scale: true}, save: basis}
  - morphology: {vectors: [pca], classes: [STAR, GALAXY], train: {method: random_forest, target: class_true, seed: 1}}
outputs:
  - parquet: {path: out.parquet, columns: [ids, class_true, "color_?_?", pca, class_label, split, flags]}
"""


def test_colors_of_which_some_are_missing(here):
    Path("p.yaml").write_text(COLORS)
    Pipeline.read("p.yaml").run(quiet=True)
    out = Table.read("out.parquet")
    test = np.asarray(out["split"]) == "test"
    assert np.mean((np.asarray(out["class_label"]) == np.asarray(out["class_true"]))[test]) > 0.65
    values = np.column_stack([np.asarray(out[f"color_{a}_{b}"], float) for a, b in ("ug", "gr", "ri", "iz")])
    whole = np.isfinite(values).all(axis=1)
    assert 0 < np.sum(~whole) < 300 and len(out) == 600
    train = (np.asarray(out["split"]) == "train") & whole
    spread = values[train].std(axis=0)
    expected = decomposition.PCA(2, svd_solver="full").fit(values[train] / spread)
    np.testing.assert_allclose(out["pca"][whole], expected.transform(values[whole] / spread), rtol=1e-3, atol=1e-3)
    assert np.isnan(np.asarray(out["pca"])[~whole]).all()
    assert (np.asarray(out["flags"])[~whole] & Flag.MISSING_INPUT).all()
