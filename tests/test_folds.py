"""Folds: every row is predicted by a model that has not seen its object, and every model is made once."""

import hashlib
import json
import pickle
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from astropy.table import QTable, Table
from pydantic import ValidationError

from astrokeras import PhotoZ, Pipeline, barrier, registry
from astrokeras.chunk import canonical
from astrokeras.cli import main
from astrokeras.errors import ChunkError, RunError, SpecError, TrainingError
from astrokeras.fields import FLAGS, Field
from astrokeras.models.card_file import read_card
from astrokeras.spec import Split
from astrokeras.split import assign, divide, row_keys
from astrokeras.stage import Stage
from astrokeras.trainable import Trainable


class Memory(Trainable):
    """Remembers the redshift of every value of a column that it was fitted on, and knows no other."""

    name: ClassVar[str] = "memory"
    column: str = "host"
    further: tuple[str, ...] = ("object_number",)
    train: dict[str, Any] | None = None

    def reads(self):
        return (Field(name=self.column, kind="f8"), *(Field(name=name, kind="f8") for name in self.further))

    def writes(self):
        prefix = f"{self.id}_" if self.id else ""
        known = Field(name=f"{prefix}known", kind="i4")
        return (Field(name=f"{prefix}z", kind="f8"), known, Field(name=f"{prefix}word", kind="str"), FLAGS)

    def training_fields(self):
        return (*self.reads(), Field(name="z_spec", kind="f8"))

    def fit(self, dataset, directory, on_epoch=None):
        used = np.isin(np.asarray(dataset["split"]), ("train", "validate", "calibrate"))
        Path(directory).mkdir()
        seen = {f"{c:g}": float(z) for c, z in zip(dataset[self.column][used], dataset["z_spec"][used], strict=True)}
        said = {"seen": seen, "split": dataset.meta["split"], "parts": list(np.unique(dataset["split"]))}
        (Path(directory) / "card.json").write_text(json.dumps(said))
        if on_epoch is not None:
            on_epoch("done")
        return self.with_model(directory)

    def with_model(self, directory):
        return self.model_copy(update={"model": str(directory), "train": None, "save": None})

    def card(self):
        return json.loads((Path(self.model) / "card.json").read_text())

    def model_digest(self):
        return self.model and hashlib.sha256((Path(self.model) / "card.json").read_bytes()).hexdigest()

    def model_facts(self):
        return {"name": "memory", "version": "1.0.0", "digest": self.model_digest()}

    def run(self, chunk):
        seen = self.card()["seen"]
        z = np.array([seen.get(f"{c:g}", np.nan) for c in chunk[self.column]])
        known = np.ma.MaskedArray(np.isfinite(z).astype(np.int32), mask=~np.isfinite(z))
        words = np.array(["seen before" if k else "new" for k in np.isfinite(z)], dtype=str)
        values = (z, known, words, np.zeros(len(z), np.int32))
        return dict(zip([f.name for f in self.writes()], values, strict=True))


class Doubled(Stage):
    """Twice a redshift."""

    name: ClassVar[str] = "doubled"

    def reads(self):
        return (Field(name="z", kind="f8"),)

    def writes(self):
        return (Field(name="twice", kind="f8"),)

    def run(self, chunk):
        return {"twice": 2 * np.asarray(chunk["z"])}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for part in (Memory, Doubled):
        monkeypatch.setitem(registry.BUILTIN["stages"], part.name, f"{__name__}:{part.__name__}")
    for cached in (registry.names, registry.lookup):
        monkeypatch.setattr(registry, cached.__name__, lru_cache(cached.__wrapped__))
    return tmp_path


@pytest.fixture
def fits(monkeypatch):
    """List of the fold of each model that is fitted; None for that of all rows."""
    done = []
    real = Memory.fit

    def counted(self, dataset, *rest):
        done.append(dataset.meta["split"].get("fold"))
        return real(self, dataset, *rest)

    monkeypatch.setattr(Memory, "fit", counted)
    return done


def catalog(n=600, per_host=3):
    """Objects of which three are in one host; equal photometry only where the host is the same, too."""
    draw = np.random.default_rng(0)
    table = Table({"object_id": np.arange(n), "host": np.arange(n) // per_host + 1})
    table["flux_g"], table["flux_err_g"] = draw.uniform(1, 9, n), np.ones(n)
    table["z_spec"] = draw.uniform(0, 1, n)
    table["object_number"] = np.arange(n)
    table["other"] = draw.permutation(n) + 1
    table["other"][draw.permutation(n)[:40]] = np.arange(40) // 2 + 10_000
    return table


HEAD = "astrokeras: 1\nname: t\npartition: {rows: 256}\n"
SOURCE = "source:\n  catalog: {files: c.parquet, bands: [g], keep: [host, object_number, other]}\n"
STAGES = "stages:\n  - memory: {train: {}, save: saved}\n"
OUTPUT = "outputs:\n  - parquet: {path: out.parquet, columns: [ids, host, split, fold, '*z', '*known', '*word']}\n"
FOLDS = "split: {folds: 5, test: 0.2, validate: 0.1, group: host}\n"


def run(text, table=None, **options):
    if table is not None or not Path("c.parquet").exists():
        (catalog() if table is None else table).write("c.parquet", overwrite=True)
    Path("p.yaml").write_text(text)
    record = Pipeline.read("p.yaml").run(quiet=True, **options)
    return Table.read("out.parquet"), record


def test_no_row_is_predicted_by_a_model_that_has_seen_its_object(here):
    table, record = run(HEAD + FOLDS + SOURCE + STAGES + OUTPUT)
    fold, part = np.asarray(table["fold"]), np.asarray(table["split"])
    assert set(fold) == {-1, 0, 1, 2, 3, 4}
    np.testing.assert_array_equal(fold == -1, part == "test")
    assert 0.1 < np.mean(part == "test") < 0.3
    assert 0.05 < np.mean(part == "validate") < 0.15
    # All hosts have three members, so a model that had seen any of them would know.
    assert np.isnan(table["z"]).all()
    assert set(table["word"]) == {"new"}
    for host in range(1, 201):
        assert len(set(fold[table["host"] == host])) == 1
    assert record["training"][0]["folds"] == [int(np.sum(fold == k)) for k in range(5)]


def test_without_the_group_the_memory_gives_the_leak_away(here):
    """The check of the test above: objects of one host that are taken for different ones are recognised."""
    table, _ = run(HEAD + FOLDS.replace(", group: host", "") + SOURCE + STAGES + OUTPUT)
    assert np.isfinite(table["z"]).mean() > 0.5


def test_each_model_has_seen_all_that_it_may(here):
    table, _ = run(HEAD + FOLDS + SOURCE + STAGES + OUTPUT)
    models = [json.loads(path.read_text()) for path in Path(".astrokeras/t/models").glob("*/model/card.json")]
    fold, host = np.asarray(table["fold"]), np.asarray(table["host"])
    assert sorted(m["split"].get("fold", -1) for m in models) == [-1, 0, 1, 2, 3, 4]
    for model in models:
        left_out = [model["split"]["fold"]] if "fold" in model["split"] else []
        allowed = (fold >= 0) & ~np.isin(fold, left_out)
        assert {int(name) for name in model["seen"]} == set(host[allowed])
        assert {"train", "validate", "test"} == set(model["parts"])
    # The model for others to use has seen all but the test rows.
    saved = json.loads(Path("saved/card.json").read_text())
    assert "fold" not in saved["split"] and len(saved["seen"]) == len(set(host[fold >= 0]))


def test_rows_of_no_fold_get_the_final_model(here):
    """Of two files, one is for tests only; a host that is in both is withheld from all training, and known to none."""
    table = catalog()
    table[:300].write("a.parquet")
    table[297:].write("b.parquet")
    source = SOURCE.replace("c.parquet", "[a.parquet, {path: b.parquet, split: test}]")
    table, _ = run(HEAD + "split: {folds: 3, group: host}\n" + source + STAGES + OUTPUT)
    fold, part, host = (np.asarray(table[name]) for name in ("fold", "split", "host"))
    assert set(fold[part == "test"]) == {-1} and np.sum(part == "test") == 303
    assert list(np.flatnonzero(part == "")) == [297, 298, 299]
    assert set(fold[part == ""]) == {-1}
    assert np.isnan(table["z"]).all() and len(set(host[fold >= 0])) == 99


def test_later_stages_and_outputs_see_values_out_of_fold(here):
    stages = STAGES + "  - doubled: {}\n"
    table, _ = run(HEAD + FOLDS.replace(", group: host", "") + SOURCE + stages + OUTPUT.replace("'*z'", "'*z', twice"))
    np.testing.assert_array_equal(table["twice"], 2 * np.asarray(table["z"]))
    assert np.isfinite(table["twice"]).any() and np.isnan(table["twice"]).any()
    plain, _ = run(HEAD + "split: {test: 0.2, validate: 0.1}\n" + SOURCE + stages + OUTPUT.replace("fold, ", ""))
    # What the model of all rows knows of itself is not what stands in the columns.
    assert np.isfinite(plain["z"]).sum() > np.isfinite(table["z"]).sum()


def test_stages_share_the_folds_and_none_sees_what_its_own_inputs_say_is_one_object(here):
    stages = STAGES + "  - memory: {id: second, column: other, further: [], train: {}}\n"
    table, _ = run(HEAD + FOLDS + SOURCE + stages + OUTPUT)
    fold = np.asarray(table["fold"])
    assert set(fold) == {-1, 0, 1, 2, 3, 4}
    assert np.isnan(table["z"]).all()
    # `other` joins objects of different folds: neither may be in the training of the other.
    pairs = Table.read("c.parquet")["other"]
    mixed = sum(len(set(fold[pairs == pair])) > 1 for pair in set(pairs))
    assert mixed > 5
    assert np.isnan(table["second_z"]).all()


def test_what_is_made_is_not_made_again(here, fits, monkeypatch):
    text = HEAD + FOLDS + SOURCE + STAGES + OUTPUT
    run(text)
    assert fits == [0, 1, 2, 3, 4, None]
    before = Path("out.parquet").read_bytes()
    run(text)
    assert len(fits) == 6
    (lost,) = [
        path.parents[1]
        for path in Path(".astrokeras/t/models").glob("*/model/card.json")
        if json.loads(path.read_text())["split"].get("fold") == 3
    ]
    shutil.rmtree(lost)
    run(text)
    assert fits[6:] == [3]
    assert Path("out.parquet").read_bytes() == before
    run(text.replace("folds: 5", "folds: 4"))
    assert fits[7:] == [0, 1, 2, 3, None]


def test_a_run_that_is_stopped_goes_on_at_the_next_fold(here, fits, monkeypatch):
    text = HEAD + FOLDS + SOURCE + STAGES + OUTPUT
    real = Memory.with_model
    with monkeypatch.context() as patch:
        patch.setattr(Memory, "with_model", lambda self, path: real(self, path) if len(fits) < 3 else 1 / 0)
        with pytest.raises(RunError, match="ZeroDivisionError"):
            run(text)
    assert fits == [0, 1, 2]
    assert not Path("saved").exists()
    run(text)
    # The third was interrupted after it was fitted, before it was stored.
    assert fits == [0, 1, 2, 2, 3, 4, None]


def test_from_a_training_makes_all_its_models_again(here, fits):
    run(HEAD + FOLDS + SOURCE + STAGES + OUTPUT)
    assert main(["run", "p.yaml", "--from", "memory", "--quiet"]) == 0
    assert fits == [0, 1, 2, 3, 4, None] * 2


def test_processes_give_the_same_bytes(here):
    text = HEAD + FOLDS.replace(", group: host", "") + SOURCE + STAGES + OUTPUT
    run(text)
    serial = Path("out.parquet").read_bytes()
    Path("site.yaml").write_text("executor: processes\nworkers: 2\n")
    Path("out.parquet").unlink()
    run(text, work="other", site="site.yaml")
    assert Path("out.parquet").read_bytes() == serial


def test_products_name_all_models(here):
    text = HEAD + FOLDS + SOURCE + STAGES + OUTPUT
    _, record = run(text)
    (product,) = record["products"]
    names = [facts["stage"] for facts in product["models"]]
    assert names == ["memory", *(f"memory.fold{k}" for k in range(5))]
    assert len({facts["digest"] for facts in product["models"]}) == 6


def test_plan_and_status_tell_of_folds(here, capsys):
    run(HEAD + FOLDS + SOURCE + STAGES + OUTPUT)
    assert main(["plan", "p.yaml"]) == 0
    assert "train memory (5 models without a fold each, and one of all rows)" in capsys.readouterr().out
    assert main(["status", "p.yaml"]) == 0
    said = capsys.readouterr().out
    assert "; 5 folds" in said and "6 trained model(s)" in said


def test_fields_of_a_survey_are_pooled(here):
    table = catalog()
    table[:300].write("a.parquet")
    table[300:].write("b.parquet")
    source = "fields: [a, b]\n" + SOURCE.replace("c.parquet", "'{field}.parquet'")
    pooled, _ = run(HEAD + FOLDS + source + STAGES + OUTPUT)
    assert set(pooled["field"]) == {"a", "b"}
    whole, _ = run(HEAD + FOLDS + SOURCE + STAGES + OUTPUT)
    # The fold of an object follows from the object.
    np.testing.assert_array_equal(pooled["fold"], whole["fold"])


def test_redshifts_of_all_folds_are_on_one_grid(here):
    """The object with the largest redshift is in one fold only, and sets the end of the grid of all."""
    recipe = "{width: 8, depth: 1, members: 1, epochs: 1, n_grid: 16, threads: 1, cross_fit: 0}"
    text = HEAD + "split: {folds: 2, seed: 1}\nsource:\n  catalog: {files: c.parquet, bands: [g, r]}\n"
    text += f"stages:\n  - photoz: {{bands: [g, r], save: saved, train: {recipe}}}\n"
    text += "outputs:\n  - parquet: {path: out.parquet, columns: [ids, fold, z_phot, z_pdf]}\n"
    text += "  - evaluate: {path: scores.json, show: false, bootstrap: {n: 2}}\n"
    table = catalog(200)
    table["flux_r"], table["flux_err_r"] = table["flux_g"] * 1.1, table["flux_err_g"]
    table["z_spec"][7] = 2.0
    found, _ = run(text, table)
    card = read_card("saved")
    assert card.grid.z_max == pytest.approx(2.05)
    assert card.training.counts["train"] == 200
    assert set(found["fold"]) == {0, 1}
    assert np.isfinite(found["z_phot"]).all()
    scores = json.loads(Path("scores.json").read_text())
    assert scores["selection"] == "split == 'test' or fold >= 0" and scores["overall"]["n"] == 200
    halves = [read_card(path.parent) for path in Path(".astrokeras/t/models").glob("*/model/card.json")]
    sizes = np.bincount(found["fold"])
    assert sorted(h.training.count for h in halves) == [*sorted(sizes), 200]


def test_models_of_folds_must_write_the_same(tmp_path):
    stages = []
    for k in range(2):
        (tmp_path / f"{k}").mkdir()
        (tmp_path / f"{k}/card.json").write_text("{}")
        stages.append(Memory(model=str(tmp_path / f"{k}"), id=f"m{k}"))
    with pytest.raises(TrainingError, match="memory: the models of the folds do not write the same columns"):
        stages[0].with_folds(stages[1:])


def test_a_stage_with_folds_is_as_good_as_any(tmp_path):
    def remember(name, *hosts):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(json.dumps({"seen": {str(h): 0.5 for h in hosts}}))
        return Memory(model=str(tmp_path / name))

    stage = remember("final", 1, 2, 3).with_folds([remember("a", 1), remember("b", 2)])
    assert stage.folds and not remember("plain").folds
    table = QTable({"object_id": np.arange(6), "host": [1, 1, 1, 2, 2, 3], "fold": [0, 1, -1, 1, 0, -1]})
    table["object_number"] = table["object_id"]
    expected = [0.5, np.nan, 0.5, 0.5, np.nan, 0.5]
    np.testing.assert_array_equal(stage(table)["z"], expected)
    np.testing.assert_array_equal(stage(table)["known"].mask, np.isnan(expected))
    assert list(stage(table)["word"]) == ["seen before", "new"] * 1 + ["seen before"] * 2 + ["new", "seen before"]
    np.testing.assert_array_equal(stage(table[::-1])["z"], expected[::-1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(stage))(table)["z"], expected)
    assert len(stage(table[:0])) == 0
    chosen = stage.model_copy(update={"where": "host > 1"})
    assert [f.name for f in chosen.needs()] == ["host", "object_number", "fold"]
    table.remove_column("fold")
    with pytest.raises(ChunkError, match="no column 'fold' says which model has not seen an object"):
        stage(table)


def test_rows_left_out_by_where_stay_missing(here):
    stages = STAGES.replace("{train", "{where: host > 100, train")
    table, _ = run(HEAD + FOLDS.replace(", group: host", "") + SOURCE + stages + OUTPUT)
    assert np.isnan(np.asarray(table["z"])[np.asarray(table["host"]) <= 100]).all()
    assert np.isfinite(table["z"]).any()


def keys_of(n):
    return {"id": row_keys([np.arange(n)])}


def test_folds_are_of_one_size_and_independent_of_the_split():
    n, count = 40_000, 8
    part = assign(keys_of(n), {"test": 0.2, "validate": 0.25}, seed=1)
    fold = divide(keys_of(n), part, count, seed=1).fold
    assert np.all((fold == -1) == (part.part == "test"))
    inside = np.sum(fold >= 0)
    for k in range(count):
        # Five standard errors of a binomial draw.
        assert abs(np.mean(fold[fold >= 0] == k) - 1 / count) < 5 * np.sqrt((1 / count) * (1 - 1 / count) / inside)
        of_fold = part.part[fold == k] == "validate"
        assert abs(of_fold.mean() - 0.25 / 0.8) < 5 * np.sqrt(0.22 / of_fold.size)


def test_fold_of_an_object_depends_neither_on_order_nor_on_others():
    whole = divide(keys_of(1000), assign(keys_of(1000), {}, 0), 5, 4).fold
    np.testing.assert_array_equal(divide(keys_of(100), assign(keys_of(100), {}, 0), 5, 4).fold, whole[:100])
    order = np.random.default_rng(0).permutation(1000)
    mixed = {"id": keys_of(1000)["id"][order]}
    np.testing.assert_array_equal(divide(mixed, assign(mixed, {}, 0), 5, 4).fold, whole[order])
    other = divide(keys_of(1000), assign(keys_of(1000), {}, 0), 5, 5).fold
    assert np.mean(other == whole) < 0.3


def test_more_folds_than_objects():
    keys = {"id": keys_of(9)["id"], "host": row_keys([np.arange(9) // 3])}
    part = assign(keys, {}, 0)
    with pytest.raises(TrainingError, match="split: 4 folds of 3 objects; there must be an object for each fold"):
        divide(keys, part, 4, 0)
    failed = [seed for seed in range(20) if "none fell into fold" in said(keys, part, 3, seed)]
    # Three objects fall into three folds with probability 2/9.
    assert 8 <= len(failed) <= 20


def said(keys, part, count, seed):
    try:
        divide(keys, part, count, seed)
    except TrainingError as error:
        return str(error)
    return ""


def test_more_folds_than_objects_in_a_run(here):
    with pytest.raises(RunError, match=r"p.yaml:\d+:\d+: memory: split: 300 folds of \d+ objects"):
        run(HEAD + FOLDS.replace("folds: 5", "folds: 300") + SOURCE + STAGES + OUTPUT)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"folds": 1}, "greater than or equal to 2"),
        ({"folds": 0}, "greater than or equal to 2"),
        ({"folds": 3, "by": "set"}, "give either 'folds' or 'by'"),
        ({"folds": "many"}, "valid integer"),
    ],
)
def test_wrong_folds_are_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        Split(**given)


def test_wrong_folds_are_told_with_their_line(here):
    catalog().write("c.parquet")
    for text, message in (
        (FOLDS.replace("5", "1"), r"p.yaml:4:16: split.folds"),
        (FOLDS.replace("folds: 5", "folds: 5, by: host"), r"p.yaml:4:\d+: split: give either 'folds' or 'by'"),
    ):
        Path("p.yaml").write_text(HEAD + text + SOURCE + STAGES + OUTPUT)
        with pytest.raises(SpecError, match=message):
            Pipeline.read("p.yaml")


def test_a_column_of_that_name_is_not_replaced(here):
    table = catalog()
    table["fold"] = 1
    with pytest.raises(SpecError, match=r"p.yaml:4:16: the source has a column 'fold' already"):
        run(HEAD + FOLDS + SOURCE.replace("other]", "other, fold]") + STAGES + OUTPUT, table)


def test_unused_rows_of_a_first_training_stay_unused():
    table = QTable({"object_id": np.arange(4), "split": ["test", "", "train", "train"]})
    table["flux_g"] = table["flux_err_g"] = [1.0, 2.0, 3.0, 4.0]
    stage = PhotoZ(bands=["g"], train={})
    part = barrier._assigned(stage, canonical(table), Split(test=0.5), "split").part
    assert list(part) == ["test", "", "train", "train"]
