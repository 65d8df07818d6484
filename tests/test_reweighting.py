"""Reweighting: a known ratio of densities is found, support is respected, and a training follows the weights."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import norm

from astrokeras import Classify, PhotoZ, Pipeline
from astrokeras.errors import SpecError, TrainingError
from astrokeras.networks.domain import batched, domain_features
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.tasks.examples import Examples
from astrokeras.tasks.reweighting import Reweight, density_ratio, effective_sample_size

BANDS = ("g", "r", "i")
TINY = {"width": 8, "depth": 1, "members": 1, "epochs": 2, "n_grid": 32, "threads": 1}


def samples(n_train=20_000, n_target=30_000):
    rng = np.random.default_rng(1)
    return rng.normal(0, 1, (n_train, 2)), rng.normal(0.5, 0.7, (n_target, 2))


def test_the_ratio_of_two_gaussians_is_found():
    train, target = samples()
    found = density_ratio(train, train, target, 50)
    true = (norm.pdf(train, 0.5, 0.7) / norm.pdf(train, 0, 1)).prod(axis=1)
    inner = (np.abs(train) < 1.5).all(axis=1)
    assert np.median(np.abs(found.weight[inner] / true[inner] - 1)) < 0.15
    assert found.weight.mean() == pytest.approx(1, abs=0.03)
    # The weighted rows have the moments of the field.
    for k in range(2):
        mean = np.average(train[:, k], weights=found.weight)
        assert mean == pytest.approx(0.5, abs=0.02)
        assert np.sqrt(np.average((train[:, k] - mean) ** 2, weights=found.weight)) == pytest.approx(0.7, abs=0.03)
    assert found.outside.mean() < 0.005


def test_rows_set_aside_are_weighed_by_the_same_densities():
    train, target = samples(5000, 5000)
    query = np.random.default_rng(7).normal(0, 1, (5000, 2))
    found = density_ratio(train, query, target, 50)
    assert np.average(query[:, 0], weights=found.weight) == pytest.approx(0.5, abs=0.05)


def test_no_weight_where_the_field_has_no_object_and_no_stand_in_where_training_has_none():
    rng = np.random.default_rng(2)
    train = np.concatenate([rng.uniform(0, 1, (500, 2)), rng.uniform(10, 11, (500, 2))])
    target = np.concatenate([rng.uniform(0, 1, (300, 2)), rng.uniform(-11, -10, (100, 2))])
    found = density_ratio(train, train, target, 10)
    assert np.all(found.weight[500:] == 0)
    assert found.weight[:500].mean() == pytest.approx(2 * 0.75, rel=0.1)
    np.testing.assert_array_equal(found.outside, np.arange(400) >= 300)


def test_no_rows_to_weigh_have_no_weights():
    train, target = samples(100, 100)
    assert density_ratio(train, train[:0], target, 5).weight.shape == (0,)


def test_the_same_sample_weighs_one():
    train, _ = samples(800, 10)
    found = density_ratio(train, train, train, 20)
    np.testing.assert_allclose(found.weight, 1)
    assert not found.outside.any()


@settings(max_examples=30)
@given(n=st.integers(1, 50), scale=st.floats(0.1, 10), zeros=st.integers(0, 20))
def test_effective_sample_size_counts_equal_weights(n, scale, zeros):
    weight = np.concatenate([np.full(n, scale), np.zeros(zeros)])
    assert effective_sample_size(weight) == pytest.approx(n)


def test_effective_sample_size_by_the_formula():
    assert effective_sample_size(np.array([1.0, 2.0, 3.0])) == pytest.approx(36 / 14)
    assert effective_sample_size(np.zeros(3)) == 0


def test_features_of_distances_have_a_scale():
    """Errors that are a fixed share of the flux make no distance; magnitudes are in units of their scatter."""
    rng = np.random.default_rng(5)
    flux = 10 ** rng.normal(3, 0.4, (2000, 3)).astype("f4")
    given_rows = {"flux": flux, "flux_err": 0.001 * flux, "observed": np.ones_like(flux)}
    features = batched(domain_features(given_rows), given_rows)
    assert features.shape == (2000, 3 + 2 + 3)
    np.testing.assert_allclose(features[:, :5].std(axis=0), 1, rtol=0.1)
    assert features[:, 5:].std(axis=0).max() < 0.2


@pytest.fixture(scope="module")
def galaxies():
    return table_of({"rows": 1500, "seed": 21})


def table_of(parameters):
    source = Synthetic(bands=BANDS, classes={"galaxy": 1.0}, **parameters)
    return source.read(next(iter(source.partitions(parameters["rows"]))), [f.name for f in source.fields()])


def faint(where):
    return {"synthetic": {"rows": 2000, "seed": 5, "bands": list(BANDS), "classes": {"galaxy": 1}, "where": where}}


def fitted(table, directory, reweight=None):
    return PhotoZ(bands=BANDS, train={**TINY, "reweight": reweight}).fit(table, directory)


def test_a_training_follows_the_field_and_the_card_says_so(galaxies, tmp_path, caplog):
    source = faint("flux_r < 40000")
    stage = fitted(galaxies, tmp_path / "m", {"source": source, "neighbours": 10})
    training = stage.card().training
    n = training.counts["train"]
    bright = np.mean(galaxies["flux_r"].value > 40000)
    told = training.weighting
    assert 0 < told["effective_sample_size"] < n
    assert told["rows_without_weight"] > 0.5 * bright * n
    (note,) = training.notes
    assert f"effective sample size {told['effective_sample_size']:.0f} of {n} training rows" in note
    assert note in caplog.text
    assert "reweight" not in training.recipe
    plain = fitted(galaxies, tmp_path / "n")
    assert plain.card().training.weighting == {}
    assert plain.model_digest() != stage.model_digest()
    assert plain.card().training.data != training.data


def test_a_field_without_training_rows_is_refused(galaxies, tmp_path):
    far = galaxies.copy()
    for band in BANDS:
        far[f"flux_{band}"] *= 1e6
    far.write(tmp_path / "far.ecsv")
    source = {"catalog": {"files": str(tmp_path / "far.ecsv"), "bands": list(BANDS)}}
    with pytest.raises(TrainingError, match=r"none of \d+ training rows lies where the field has objects"):
        fitted(galaxies, tmp_path / "m", {"source": source})


def test_the_files_of_the_field_count(tmp_path, galaxies):
    galaxies.write(tmp_path / "field.ecsv")
    wanted = {"source": {"catalog": {"files": str(tmp_path / "field.ecsv"), "bands": list(BANDS)}}}
    stage = PhotoZ(bands=BANDS, train={**TINY, "reweight": wanted})
    assert stage.inputs() == (str(tmp_path / "field.ecsv"),)
    assert PhotoZ(bands=BANDS, train=TINY).inputs() == ()


def test_bad_sources_are_refused():
    with pytest.raises(ValidationError, match=r"no source named 'catalogue'; did you mean 'catalog'"):
        Reweight(source={"catalogue": {}})
    with pytest.raises(ValidationError, match="one source is needed"):
        Reweight(source={})
    with pytest.raises(ValidationError, match="files"):
        Reweight(source={"catalog": {"survey": "sdss-casjobs"}})


def test_class_fractions_are_those_of_the_weighted_rows():
    stage = Classify(bands=BANDS, classes=("STAR", "QSO"), train={})
    learner = stage.learner(stage.provisional((), None))
    rows = Examples({}, np.array([0, 0, 0, 1]), np.array([1.0, 1.0, 2.0, 4.0]))
    assert learner.class_fractions(rows) == (0.5, 0.5)
    assert learner.class_fractions(Examples({}, rows.target)) == (0.75, 0.25)


PIPELINE = """astrokeras: 1
name: weighted
source:
  synthetic: {rows: 500, seed: 3, classes: {galaxy: 1}}
split: {validate: 0.1}
stages:
  - photoz:
      bands: [g, r, i]
      train:
        reweight: {source: {synthetic: {rows: 400}}}
        width: 8
        depth: 1
        members: 1
        epochs: 1
        n_grid: 32
      pdf: false
outputs:
  - parquet: {path: out.parquet, columns: [ids, z_phot]}
"""


def test_a_run_says_what_the_weights_cost(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(PIPELINE)
    record = Pipeline.read("p.yaml").run()
    (told,) = record["training"]
    (note,) = told["notes"]
    assert note.startswith("reweighted to a field of 400 rows: effective sample size")
    assert f"warning: photoz: {note}" in capsys.readouterr().err
    bad = PIPELINE.replace("rows: 400", "rowz: 400")
    Path("p.yaml").write_text(bad)
    with pytest.raises(SpecError, match=r"p\.yaml:10:"):
        Pipeline.read("p.yaml")
