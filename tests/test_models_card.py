"""Card and library: what is read without Keras."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from astrokeras.errors import ModelError
from astrokeras.fields import Field
from astrokeras.models import card as cards
from astrokeras.models import card_file, library
from astrokeras.models.card import Card, Grid, Metric, Training, photometry_inputs
from astrokeras.models.card_file import read_card, write_card


def make_card(bands=("g", "r", "i"), **changes):
    facts = {"photometry": "model", "dereddened": "yes"}
    source = [Field(name=f"flux_{b}", unit="nJy", filter=f"SLOAN/SDSS.{b}", **facts) for b in bands]
    values = {
        "name": "toy-photoz",
        "version": "1.2.3",
        "task": "photoz",
        "bands": bands,
        "inputs": photometry_inputs(bands, source),
        "outputs": (Field(name="z_pdf", shape=(11,)),),
        "grid": Grid(z_min=0, z_max=1, n=11),
    }
    return Card(**values | changes)


def shelve(root, name, version, **changes):
    directory = root / name / version
    directory.mkdir(parents=True)
    write_card(make_card(name=name, version=version, **changes), directory / "card.json")
    return directory


def test_card_comes_back_as_it_was_written(tmp_path):
    card = make_card(
        may_miss=("g",),
        domain={"flux_r": (-1.5, 2e4)},
        description="ünïcode",
        training=Training(
            data="ab", where="r > 3", count=9, split={"test": 0.2}, recipe={"l2": 1e-5, "deep": [1, None]}
        ),
        metrics=(Metric(name="cde_loss", value=-11.4, n=2500, definition="anchors", error=0.1),),
    )
    write_card(card, tmp_path / "card.json")
    assert read_card(tmp_path) == card == read_card(tmp_path / "card.json")
    assert json.loads((tmp_path / "card.json").read_text())["format"] == 1
    assert (
        card.inputs[0].filter == "SLOAN/SDSS.g"
        and card.inputs[3].name == "flux_err_g"
        and card.inputs[3].filter is None
    )


def test_infinite_numbers_survive(tmp_path):
    card = make_card(domain={"flux_r": (-np.inf, np.inf)}, metrics=(Metric(name="x", value=float("nan"), n=0),))
    write_card(card, tmp_path / "card.json")
    again = read_card(tmp_path)
    assert again.domain == card.domain
    assert np.isnan(again.metrics[0].value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d.update(bnads=["g"]), r"bnads: unknown key; did you mean 'bands'\?"),
        (lambda d: d.pop("bands"), r"card\.json: bands: Field required"),
        (lambda d: d.update(format=2), r"format 2; this astrokeras reads format 1"),
        (lambda d: d["inputs"][0].update(kind="f16"), r"inputs\.0\.kind: .*'f16'"),
        (lambda d: d["inputs"].pop(0), r"inputs lack 'flux_g' for band 'g'"),
        (lambda d: d.update(version="one"), r"version: .*'one'"),
        (lambda d: d.update(name="../../etc"), r"name: .*etc"),
        (lambda d: d.update(may_miss=["q"]), r"may_miss: no band 'q'"),
        (lambda d: d.update(domain={"flux_x": [0, 1]}), r"domain: no input 'flux_x'; did you mean 'flux_"),
        (lambda d: d.update(min_bands=4), r"min_bands must be 1 to 3, got 4"),
        (lambda d: d.pop("grid"), r"a photoz model needs a grid"),
        (lambda d: d.update(grid={"z_min": 1, "z_max": 1, "n": 5}), r"grid: z_min must be below z_max"),
        (lambda d: d.update(bands=["g", "g", "r", "i"]), r"occurs twice"),
    ],
)
def test_a_broken_card_is_one_sentence_naming_file_and_key(tmp_path, change, expected):
    data = json.loads(card_file.card_text(make_card()))
    change(data)
    (tmp_path / "card.json").write_text(json.dumps(data))
    with pytest.raises(ModelError, match=expected) as raised:
        read_card(tmp_path)
    assert str(raised.value).startswith(str(tmp_path / "card.json")) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "is no JSON"),
        (b"[1]", "holds a list, a card is an object"),
        (b"{" * 20_000, "is no JSON"),
        (b'{"a":' * 100_000, "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b" " * (card_file.MAX_CARD_BYTES + 1), "at most"),
    ],
)
def test_text_that_is_no_card(tmp_path, text, expected):
    (tmp_path / "card.json").write_bytes(text)
    with pytest.raises(ModelError, match=expected):
        read_card(tmp_path)


def test_missing_card_says_what_a_model_is(tmp_path):
    with pytest.raises(ModelError, match=r"card\.json: no such file; a model is a directory"):
        read_card(tmp_path)


def test_cards_are_immutable():
    with pytest.raises(ValidationError):
        make_card().bands = ("u",)


def test_source_inputs_leave_facts_to_the_data_and_mark_optional_bands():
    card = make_card(may_miss=("g",))
    fields = {f.name: f for f in card.source_inputs()}
    assert [n for n, f in fields.items() if f.optional] == ["flux_g", "flux_err_g"]
    assert all(f.facts == {} for f in fields.values())
    assert fields["flux_g"].unit == "nJy"


def test_extras_follow_the_fluxes():
    inputs = photometry_inputs(("g", "r"), [Field(name="ebv"), Field(name="flux_g", unit="nJy")], extras=("ebv",))
    card = make_card(bands=("g", "r"), inputs=inputs)
    assert card.extras == ("ebv",)
    assert card.tensors == {"flux": (2,), "flux_err": (2,), "observed": (2,), "extra": (1,)}
    with pytest.raises(ModelError, match="'ebw' is no column; did you mean 'ebv'"):
        photometry_inputs(("g",), [Field(name="ebv")], extras=("ebw",))


def test_grid_nodes_include_both_ends():
    np.testing.assert_allclose(Grid(z_min=0.5, z_max=1.5, n=5).nodes(), [0.5, 0.75, 1.0, 1.25, 1.5])


def test_date_obeys_source_date_epoch(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert cards.created() == "1970-01-02"
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert cards.created() > "2026"


def test_versions_name_what_decides_a_training():
    found = cards.versions()
    assert {"astrokeras", "keras", "numpy", "backend"} <= set(found)
    assert found["numpy"] == np.__version__


def test_write_error_is_ours(tmp_path):
    with pytest.raises(ModelError, match="cannot be written"):
        write_card(make_card(), tmp_path / "absent" / "card.json")


class TestFind:
    @pytest.fixture(autouse=True)
    def shelf(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ASTROKERAS_MODELS", os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "two")]))
        self.old = shelve(tmp_path / "one", "own-photoz", "1.9.0")
        self.new = shelve(tmp_path / "two", "own-photoz", "1.10.0")
        self.next = shelve(tmp_path / "two", "own-photoz", "2.0.0")
        shelve(tmp_path / "two", "own-photoz", "1.9.0")
        (tmp_path / "two" / "own-photoz" / "draft").mkdir()
        self.root = tmp_path

    @pytest.mark.parametrize(
        ("text", "which"),
        [("own-photoz", "next"), ("own-photoz@1", "new"), ("own-photoz@1.9", "old"), ("own-photoz@2.0.0", "next")],
    )
    def test_newest_version_that_fits(self, text, which):
        assert library.find(text) == getattr(self, which)

    def test_a_directory_wins(self, monkeypatch):
        monkeypatch.chdir(self.root)
        directory = shelve(self.root / "here", "own-photoz", "0.1.0")
        directory.rename(self.root / "own-photoz")
        assert library.find("own-photoz").resolve() == self.root / "own-photoz"
        assert library.find(self.old) == self.old
        assert library.find("own-photoz", base=self.root) == self.root / "own-photoz"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("onw-photoz", r"no model 'onw-photoz'.*did you mean 'own-photoz'\?"),
            ("own-photoz@3", r"own-photoz has the versions 1\.9\.0, 1\.10\.0, 2\.0\.0"),
            ("models/absent", r"absent: no such model directory"),
        ],
    )
    def test_unknown(self, text, expected):
        with pytest.raises(ModelError, match=expected):
            library.find(text)

    def test_listing_counts_each_once_in_order(self):
        assert [d for d in library.listing() if d.parent.name == "own-photoz"] == [self.old, self.new, self.next]

    def test_things_that_are_no_model(self, tmp_path):
        (tmp_path / "model.h5").write_bytes(b"")
        with pytest.raises(ModelError, match=r"model\.h5: is a file; a model is a directory"):
            library.find(tmp_path / "model.h5")
        (tmp_path / "empty").mkdir()
        with pytest.raises(ModelError, match=r"holds no card\.json"):
            library.find(tmp_path / "empty")
        (tmp_path / "empty" / "saved_model.pb").write_bytes(b"")
        with pytest.raises(ModelError, match="SavedModel, which astrokeras does not load"):
            library.find(tmp_path / "empty")


def test_reading_cards_loads_nothing_heavy():
    heavy = ["keras", "tensorflow", "h5py", "pandas", "astropy", "pyarrow", "sklearn"]
    code = (
        "import sys; from astrokeras.models import card, library, tensors; library.listing();"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
