"""Saving, loading, digests, golden rows."""

import json
import os
import re
import shutil
import zipfile

import keras
import numpy as np
import pytest
from test_models_card import make_card

from astrokeras.errors import ModelError, UnsafeModelError
from astrokeras.fields import Field
from astrokeras.layers import DensityLoss
from astrokeras.models import bundle as bundles
from astrokeras.models import golden as golden_rows
from astrokeras.models import inspect as inspector
from astrokeras.models.card import Grid
from astrokeras.models.card_file import read_card
from astrokeras.networks.dense import ensemble, photoz_network
from astrokeras.networks.encoder import photometry_encoder

N_GRID = 21


def toy_rows(n=64, seed=0):
    rng = np.random.default_rng(seed)
    flux = rng.lognormal(5, 1, (n, 3)).astype(np.float32)
    observed = np.ones_like(flux)
    observed[::7, 0] = 0
    return {"flux": flux * observed, "flux_err": (0.05 * flux + 1) * observed, "observed": observed}


def toy_network(seed=0, rows=None, **options):
    rows = rows or toy_rows()
    keras.utils.set_random_seed(seed)
    encoder = photometry_encoder(**rows)
    options = {"width": 8, "depth": 2, "n_grid": N_GRID, "z_min": 0.0, "z_max": 1.0} | options
    return [photoz_network(encoder, **options) for _ in range(2)]


def toy_card(**changes):
    values = {
        "outputs": (Field(name="z_pdf", shape=(N_GRID,), meta={"z_min": 0.0, "z_max": 1.0}),),
        "grid": Grid(z_min=0, z_max=1, n=N_GRID),
        "may_miss": ("g", "r", "i"),
    }
    return make_card(**values | changes)


@pytest.fixture(scope="module")
def model():
    return ensemble(toy_network())


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "toy" / "1.2.3"
    return bundles.save(directory, model, toy_card(), toy_rows())


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved.directory, tmp_path / "copy")


def outputs(model, rows):
    return keras.ops.convert_to_numpy(model(rows, training=False)["z_pdf"])


def test_a_saved_model_comes_back(saved, model):
    again = bundles.load(saved.directory)
    assert sorted(p.name for p in saved.directory.iterdir()) == ["card.json", "golden.npz", "model.keras"]
    assert again.card == saved.card == read_card(saved.directory)
    np.testing.assert_array_equal(outputs(again.model, toy_rows(5, 3)), outputs(model, toy_rows(5, 3)))
    # A density: it integrates to 1, and differs from row to row.
    pdf = outputs(again.model, toy_rows(5, 3))
    np.testing.assert_allclose(np.trapezoid(pdf, dx=1 / (N_GRID - 1)), 1, rtol=1e-5)
    assert np.ptp(pdf, axis=0).max() > 0


def test_golden_rows_are_replayed(saved):
    report = bundles.verify(saved.directory)
    assert report.ok and report.rows == 16 and report.max_difference < 1e-5
    assert report.card.digest == saved.card.digest
    with np.load(saved.directory / "golden.npz") as golden:
        assert set(golden) == {"input_flux", "input_flux_err", "input_observed", "output_z_pdf"}
        np.testing.assert_array_equal(golden["input_flux"], toy_rows()["flux"][:16])


def test_golden_rows_that_differ_are_told(copy):
    with np.load(copy / "golden.npz") as golden:
        z_pdf = golden["output_z_pdf"]
    z_pdf[3, 4] *= 1.01
    resave(copy / "golden.npz", output_z_pdf=z_pdf)
    report = bundles.verify(copy)
    assert not report.ok and 1e-5 < report.max_difference <= 0.01


def resave(path, **changes):
    with np.load(path) as golden:
        arrays = dict(golden)
    np.savez(path, **arrays | changes)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda p: p.unlink(), "no such file; the golden rows are missing"),
        (lambda p: p.write_bytes(b"PK\x03\x04"), "damaged golden rows"),
        (lambda p: np.savez(p, input_flux=np.zeros(3)), "damaged golden rows"),
        (lambda p: np.savez(p, input_flux=np.array([print], object)), "damaged golden rows"),
        (lambda p: resave(p, input_flux=np.zeros((16, 4), "f4")), r"'flux': \(16, 4\).*the card says"),
        (lambda p: resave(p, input_flux=np.float32(1)), "the card says"),
        (lambda p: np.savez_compressed(p, x=np.zeros(golden_rows.MAX_BYTES, "u1")), "golden rows need less"),
    ],
)
def test_damaged_golden_rows(copy, damage, expected):
    damage(copy / "golden.npz")
    with pytest.raises(ModelError, match=expected):
        bundles.verify(copy)


def test_training_state_is_not_saved(tmp_path):
    (member, _) = toy_network()
    member.compile("adam", loss=DensityLoss(0.0, 1.0))
    member.fit(toy_rows(), np.linspace(0, 1, 64, dtype=np.float32), verbose=0)
    card = toy_card(outputs=(Field(name="log_pdf", shape=(N_GRID,)),))
    saved = bundles.save(tmp_path / "m", member, card, toy_rows())
    again = bundles.load(tmp_path / "m")
    assert not again.model.compiled
    np.testing.assert_array_equal(again.model(toy_rows()), member(toy_rows()))
    assert saved.card.digest == bundles.model_digest(again.model)


class TestDigest:
    def test_equal_models_have_equal_digests(self, saved, model):
        """Built again in the same process: other automatic names, another address in memory, another date."""
        keras.layers.Dense(3)
        assert bundles.model_digest(ensemble(toy_network())) == saved.card.digest
        assert bundles.model_digest(bundles.load(saved.directory).model) == saved.card.digest
        assert bundles.model_digest(model) == saved.card.digest

    def test_the_date_in_the_archive_does_not_count(self, copy, saved):
        rewrite(copy / "model.keras", "metadata.json", lambda text: text.replace(b"20", b"19"))
        assert inspector.inspect(copy / "model.keras").digest == saved.card.digest

    def test_one_bit_of_one_weight_counts(self, copy, saved):
        def flip(data):
            at = data.index(np.float32(saved.model.get_layer("member_0").get_weights()[0][0, 0]).tobytes())
            return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

        rewrite(copy / "model.keras", "model.weights.h5", flip)
        with pytest.raises(ModelError, match=r"model\.keras: has the digest .*not the model described"):
            bundles.load(copy)

    def test_the_architecture_counts(self, copy, saved):
        rewrite(copy / "model.keras", "config.json", lambda text: text.replace(b'"silu"', b'"selu"', 1))
        assert inspector.inspect(copy / "model.keras").digest != saved.card.digest

    def test_wiring_counts(self):
        """Same layers, same weights; the second dense layer takes another tensor."""
        digests = set()
        for swap in (False, True):
            keras.utils.set_random_seed(1)
            inputs = {name: keras.Input((3,), name=name) for name in ("flux", "flux_err", "observed")}
            first = keras.layers.Dense(3, name="first")(inputs["flux"])
            second = keras.layers.Dense(3, name="second")(inputs["flux"] if swap else first)
            digests.add(bundles.model_digest(keras.Model(inputs, keras.layers.Add()([first, second]))))
        assert len(digests) == 2


def rewrite(path, member, change):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[member] = change(members[member])
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


class TestSave:
    def test_another_model_is_not_overwritten(self, copy, saved):
        other = ensemble(toy_network(seed=5))
        with pytest.raises(ModelError, match=r"holds another model, toy-photoz 1\.2\.3 .*overwrite=True"):
            bundles.save(copy, other, toy_card(), toy_rows())
        assert bundles.load(copy).card.digest == saved.card.digest
        bundles.save(copy, other, toy_card(), toy_rows(), overwrite=True)
        assert bundles.load(copy).card.digest == bundles.model_digest(other) != saved.card.digest
        assert [p.name for p in copy.parent.iterdir()] == ["copy"]

    def test_the_same_model_may_get_a_new_card(self, copy, model):
        bundles.save(copy, model, toy_card(description="better words"), toy_rows())
        assert read_card(copy).description == "better words"

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_directory_of_something_else_stays(self, tmp_path, model, overwrite):
        (tmp_path / "m").mkdir()
        (tmp_path / "m" / "thesis.tex").write_text("precious")
        with pytest.raises(ModelError, match=r"card\.json: no such file"):
            bundles.save(tmp_path / "m", model, toy_card(), toy_rows(), overwrite)
        assert [p.name for p in tmp_path.rglob("*")] == ["m", "thesis.tex"]

    def test_nothing_half_written_remains(self, tmp_path, model):
        with pytest.raises(ModelError, match="golden rows: at least one row"):
            bundles.save(tmp_path / "m", model, toy_card(), {k: v[:0] for k, v in toy_rows().items()})
        with pytest.raises(ModelError, match="golden rows lack the inputs observed"):
            bundles.save(tmp_path / "m", model, toy_card(), {k: v for k, v in toy_rows().items() if k != "observed"})
        assert list(tmp_path.iterdir()) == []

    def test_unwritable_place(self, tmp_path, model):
        (tmp_path / "file").write_text("")
        with pytest.raises(ModelError, match="cannot be written"):
            bundles.save(tmp_path / "file" / "m", model, toy_card(), toy_rows())

    def test_a_model_that_could_not_be_loaded_is_not_saved(self, tmp_path):
        inputs = {name: keras.Input((3,), name=name) for name in ("flux", "flux_err", "observed")}
        z_pdf = keras.layers.Lambda(lambda x: x * 2, output_shape=(N_GRID,))(keras.layers.Dense(N_GRID)(inputs["flux"]))
        with pytest.raises(UnsafeModelError, match="Lambda"):
            bundles.save(tmp_path / "m", keras.Model(inputs, {"z_pdf": z_pdf}), toy_card(), toy_rows())
        assert list(tmp_path.iterdir()) == []

    def test_card_and_graph_must_agree(self, tmp_path, model):
        with pytest.raises(ModelError, match=r"the graph takes .*its card says"):
            bundles.save(tmp_path / "m", model, toy_card(bands=("g", "r"), may_miss=()), toy_rows())
        with pytest.raises(ModelError, match=r"the graph gives .*\(21,\).*its card says .*\(11,\)"):
            bundles.save(tmp_path / "m", model, make_card(), toy_rows())


class TestLoad:
    def test_wrong_digest_in_the_card(self, copy):
        card = json.loads((copy / "card.json").read_text())
        (copy / "card.json").write_text(json.dumps(card | {"digest": "0" * 64}))
        with pytest.raises(ModelError, match="its card says 000000000000; not the model described"):
            bundles.load(copy)
        (copy / "card.json").write_text(json.dumps(card | {"digest": ""}))
        with pytest.raises(ModelError, match="its card says none"):
            bundles.load(copy)

    def test_a_card_for_other_bands(self, copy):
        card = json.loads((copy / "card.json").read_text())
        card["bands"], card["may_miss"] = ["g", "r"], ["g"]
        (copy / "card.json").write_text(json.dumps(card))
        with pytest.raises(ModelError, match="the graph takes"):
            bundles.load(copy)

    def test_foreign_model_without_a_card(self, copy):
        (copy / "card.json").unlink()
        for place in (copy, copy / "model.keras"):
            with pytest.raises(ModelError, match=r"card\.json: no such file; a model is a directory"):
                bundles.load(place)

    def test_weights_are_missing(self, copy):
        (copy / "model.keras").unlink()
        with pytest.raises(ModelError, match=r"model\.keras: cannot be read \(No such file"):
            bundles.load(copy)

    @pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
    def test_truncated(self, copy, keep):
        path = copy / "model.keras"
        os.truncate(path, int(path.stat().st_size * keep))
        with pytest.raises(ModelError, match=r"model\.keras: damaged archive"):
            bundles.load(copy)

    def test_every_corrupted_byte_is_noticed(self, copy, saved):
        """A flipped byte anywhere gives an error, or changes nothing that counts (dates, padding)."""
        path = copy / "model.keras"
        data = path.read_bytes()
        rng = np.random.default_rng(0)
        for at in rng.integers(0, len(data), 200):
            path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
            try:
                digest = inspector.inspect(path).digest
            except ModelError:
                continue
            assert digest == saved.card.digest


def test_largest_tensor_looks_into_nested_models():
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(50), keras.layers.Dense(1)])
    outer = keras.Input((2,))
    assert bundles.largest_tensor(keras.Model(outer, inner(outer))) == 50


def test_a_graph_that_grows_without_weights_is_refused(copy):
    """Each concatenation doubles the tensor, up to 2^20 times; the file lies about the shapes in between."""
    inputs = {name: keras.Input((3,), name=name) for name in ("flux", "flux_err", "observed")}
    x = keras.layers.Dense(N_GRID)(inputs["flux"])
    for _ in range(20):
        x = keras.layers.Concatenate()([x, x])
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Reshape((1024, -1, N_GRID))(x))
    path = copy / "model.keras"
    keras.Model(inputs, {"z_pdf": x}).save(path)
    with pytest.raises(UnsafeModelError, match="too large"):
        inspector.inspect(path)

    def lie(text):
        config = json.loads(text)
        for layer in config["config"]["layers"]:
            if layer["class_name"] != "Dense":
                layer.pop("build_config", None)
        return re.sub(r'"shape": \[null, [^]]*\]', '"shape": [null, 3]', json.dumps(config)).encode()

    rewrite(path, "config.json", lie)
    card = json.loads((copy / "card.json").read_text())
    (copy / "card.json").write_text(json.dumps(card | {"digest": inspector.inspect(path).digest}))
    with pytest.raises(UnsafeModelError, match="makes a tensor of 22020096 elements per object"):
        bundles.load(copy)
