"""What a training leaves beside its model: the reading of made-up curves, gradient norms, importance, pictures."""

import json
import logging

import keras
import numpy as np
import pytest
from test_models_card import make_card

from astrokeras import PhotoZ
from astrokeras.cli import main
from astrokeras.errors import ModelError
from astrokeras.export.training_plots import training_plots
from astrokeras.fields import Field
from astrokeras.models.bundle import load
from astrokeras.models.card import photometry_inputs
from astrokeras.models.diagnostics import diagnose, gradient_warnings, read_curves, read_diagnostics, told
from astrokeras.models.importance import permutation_importance
from astrokeras.models.kernels import first_kernels
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.tasks.gradients import CURVES, GradientCurves, watched

EPOCHS = np.arange(40)
FALLING = np.exp(-EPOCHS / 5)


@pytest.mark.parametrize(
    ("loss", "val_loss", "verdict", "reason"),
    [
        (FALLING, FALLING + 0.05, "fine", "settled at 0.05"),
        (FALLING - 3, 0.9 * FALLING - 3.02, "fine", "settled at -3.02"),
        (FALLING - EPOCHS * 0.02, FALLING + EPOCHS * 0.01, "over-fitting", "rises after epoch 16, its best"),
        (FALLING, 0.4 * FALLING + 0.6, "over-fitting", "0.6 above the training loss"),
        (1 - EPOCHS / 40, 1.5 - EPOCHS / 40, "under-fitting", "still falling in the last 4 of 40 epochs"),
        (1 + 0 * EPOCHS, 1 + 0.001 * EPOCHS, "under-fitting", "never fell below that of the first epoch"),
        # A validation loss that scatters about its lowest value is no over-fitting.
        (FALLING, FALLING + 0.03 * (EPOCHS % 2), "fine", "settled"),
        (FALLING[:4], FALLING[:4], "unknown", "too few epochs to tell: 4"),
        (FALLING, None, "unknown", "no validation rows"),
    ],
)
def test_loss_curves_are_read(loss, val_loss, verdict, reason):
    curves = {"loss": list(loss)} | ({} if val_loss is None else {"val_loss": list(val_loss)})
    found = read_curves(curves)
    assert found[0] == verdict and reason in found[1]


def norms(mean=1.0, largest=2.0, first=0.5, last=0.8, epochs=10):
    given = dict(zip(CURVES, (mean, largest, first, last), strict=True))
    return {name: list(np.broadcast_to(value, epochs).astype(float)) for name, value in given.items()}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"largest": [2.0] * 6 + [99.0] + [2.0] * 3}, []),
        ({"largest": [2.0] * 6 + [101.0] + [2.0] * 3}, ["exploding gradients: a norm of 101 in epoch 7"]),
        ({"first": 8e-4, "last": 0.7}, ["vanishing gradients: the first layer has 0.0011 times"][:0]),
        ({"first": 6e-4, "last": 0.7}, ["vanishing gradients: the first layer has 0.00086 times"]),
        ({"first": 800.0, "last": 0.7}, ["exploding gradients: the first layer has 1.1e+03 times"]),
        ({"mean": [1.0] * 9 + [9e-8]}, ["vanishing gradients: a mean norm of 9e-08 in epoch 10"]),
    ],
)
def test_gradients_are_judged(changes, expected):
    found = gradient_warnings(norms(**changes))
    assert len(found) == len(expected)
    assert all(text.startswith(start) for text, start in zip(found, expected, strict=True))


def test_curves_without_gradients_have_no_warnings():
    assert gradient_warnings({"loss": [1.0]}) == []


def test_a_dead_network_is_told():
    assert any("vanishing" in text for text in gradient_warnings(norms(0.0, 0.0, 0.0, 0.0)))


def test_every_member_is_diagnosed():
    bad = {"loss": list(1 - EPOCHS / 40), "val_loss": list(1.1 - EPOCHS / 40)} | norms(first=1e-9, epochs=40)
    found = diagnose([{"loss": list(FALLING), "val_loss": list(FALLING)}, bad])
    assert [c["reading"] for c in found["curves"]] == ["fine", "under-fitting"]
    assert [w[:25] for w in found["warnings"]] == ["member 2: under-fitting: ", "member 2: vanishing gradi"]
    json.dumps(found)


def fitted(wrap, clipnorm=None):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 3)).astype("float32")
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
    optimizer = keras.optimizers.AdamW(1e-2, weight_decay=0.1, global_clipnorm=clipnorm)
    model.compile(watched(optimizer) if wrap else optimizer, loss="mse", steps_per_execution=2, jit_compile=False)
    callbacks = [GradientCurves()] if wrap else []
    y = x.sum(axis=1, keepdims=True)
    return model, model.fit(x, y, batch_size=64, epochs=3, shuffle=False, verbose=0, callbacks=callbacks).history


def test_measuring_gradients_changes_no_weight():
    (plain, _), (watching, history) = fitted(False), fitted(True)
    for a, b in zip(plain.get_weights(), watching.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert {len(history[name]) for name in CURVES} == {3}
    mean, largest, first, last = (np.array(history[name]) for name in CURVES)
    assert (largest >= mean).all() and (mean > first).all() and (mean > last).all()


def test_gradient_norms_are_those_of_the_loss():
    """Of y = w x with squared loss the gradient is 2 mean(x (w x - y)); nothing moves at a learning rate of 0."""
    x = np.array([[1.0], [2.0], [3.0], [4.0]], "float32")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(watched(keras.optimizers.SGD(0.0, clipnorm=0.1)), loss="mse", jit_compile=False)
    history = model.fit(
        x, 3 * x, batch_size=2, epochs=2, shuffle=False, verbose=0, callbacks=[GradientCurves()]
    ).history
    steps = np.array([2 * 3 * (1 + 4) / 2, 2 * 3 * (9 + 16) / 2])
    np.testing.assert_allclose(history["gradient_norm"], steps.mean(), rtol=1e-5)
    np.testing.assert_allclose(history["gradient_norm_max"], steps.max(), rtol=1e-5)
    np.testing.assert_allclose(history["gradient_norm_first"], steps.mean(), rtol=1e-5)


def test_importance_is_the_loss_that_a_permutation_costs():
    """Of the loss (flux of g + 3 extra)^2 the increase is known: 2 (a_i a_j of other rows) averaged out."""
    rng = np.random.default_rng(3)
    n = 4000
    inputs = (*photometry_inputs(("g", "r")), Field(name="size"))
    card = make_card(bands=("g", "r"), inputs=inputs)
    g, size = rng.normal(size=n), rng.normal(size=n)
    target = g + 3 * size
    tensors = {
        "flux": np.stack([g, rng.normal(size=n)], 1),
        "flux_err": np.ones((n, 2)),
        "observed": np.ones((n, 2)),
        "extra": size[:, None],
    }

    def loss(given, own):
        return (given["flux"][:, 0] + 3 * given["extra"][:, 0] - target[own]) ** 2

    found = permutation_importance(tensors, card, loss, seed=1)
    assert [entry["input"] for entry in found] == ["g", "r", "size"]
    np.testing.assert_allclose([entry["increase"] for entry in found], [2, 0, 18], rtol=0.1, atol=1e-9)
    assert found[1]["error"] == 0
    assert abs(found[0]["increase"] - 2) < 4 * found[0]["error"] < 0.3


def test_a_band_moves_with_its_error_and_masks():
    card = make_card(bands=("g", "r"), inputs=photometry_inputs(("g", "r")), limits=True)
    rng = np.random.default_rng(4)
    flux = rng.normal(size=(50, 2))
    tensors = {"flux": flux, "flux_err": 2 * flux, "observed": 3 * flux, "limited": 4 * flux}

    def loss(given, own):
        for factor, name in ((2, "flux_err"), (3, "observed"), (4, "limited")):
            np.testing.assert_array_equal(given[name], factor * given["flux"])
        moved = given["flux"] != flux[own]
        assert not moved.all(axis=1).any()
        return moved.any(axis=1).astype(float)

    found = permutation_importance(tensors, card, loss, repeats=2)
    assert all(entry["increase"] > 0.9 for entry in found)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    source = Synthetic(rows=600, seed=21, bands=("g", "r", "i"), classes={"galaxy": 1.0})
    table = source.read(next(iter(source.partitions(600))), [f.name for f in source.fields()])
    directory = tmp_path_factory.mktemp("trained") / "m"
    recipe = {"width": 8, "depth": 1, "members": 2, "epochs": 5, "n_grid": 32, "threads": 1, "learning_rate": 1e-5}
    recipe |= {"schedule": "constant", "cross_fit": 0}
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logging.getLogger("astrokeras").addHandler(handler)
    PhotoZ(bands=("g", "r", "i"), train=recipe).fit(table, directory)
    logging.getLogger("astrokeras").removeHandler(handler)
    return directory, records


def test_a_training_leaves_its_diagnostics_and_warns_in_the_log(model):
    directory, records = model
    found = read_diagnostics(directory)
    # So small a learning rate leaves the loss falling to the end.
    assert [c["reading"] for c in found["curves"]] == ["under-fitting"] * 2
    assert sum("training: member" in text and "under-fitting" in text for text in records) == 2
    assert [entry["input"] for entry in found["importance"]] == ["g", "r", "i"]
    assert 40 < found["n"] < 80
    histories = read_diagnostics(directory, "history.json")
    assert all({"loss", "val_loss", *CURVES} == set(history) for history in histories)


def test_models_show_tells_how_the_training_went(model, capsys):
    assert main(["models", "show", str(model[0])]) == 0
    out = capsys.readouterr().out
    assert "2 under-fitting" in out and "importance" in out and "+-" in out


@pytest.mark.parametrize("form", ["png", "svg"])
def test_pictures_are_drawn_and_equal_for_equal_models(model, form, tmp_path):
    first = training_plots(model[0], tmp_path / "a", form)
    assert [path.name for path in first] == [f"{n}.{form}" for n in ("gradients", "importance", "kernels", "losses")]
    start = {"png": b"\x89PNG", "svg": b"<?xml"}[form]
    for path, again in zip(first, training_plots(model[0], tmp_path / "b", form), strict=True):
        assert path.read_bytes().startswith(start) and path.read_bytes() == again.read_bytes()


def test_the_command_draws_what_there_is(model, tmp_path, capsys):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(model[0], copy)
    (copy / "history.json").unlink()
    (copy / "diagnostics.json").unlink()
    assert main(["models", "plot", str(copy), "--out", str(tmp_path / "out"), "--format", "svg"]) == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["kernels.svg"]
    assert "kernels.svg" in capsys.readouterr().out
    (copy / "history.json").write_text('[{"loss": 3}]')
    assert main(["models", "plot", str(copy), "--out", str(tmp_path / "out")]) != 0
    assert "history.json, diagnostics.json or evaluation.json is damaged" in capsys.readouterr().err


def test_kernels_are_named_by_feature(model):
    bundle = load(model[0])
    names, kernels = first_kernels(bundle)
    assert len(kernels) == 2 and kernels[0].shape == (len(names), 8)
    assert names[:5] == ["g", "r", "i", "g - r", "r - i"] and names[-1] == "i depth"
    # The feature "g missing" is what the encoder gives there for an object without g.
    encoder = bundle.model.get_layer("photoz").get_layer("encoder")
    rows = {name: np.ones((1, 3), "float32") for name in bundle.card.tensors}
    rows["limited"][:] = 0
    rows["observed"][0, 0] = 0
    features = keras.ops.convert_to_numpy(encoder(rows))[0]
    assert features[names.index("g missing")] == 1 and features[names.index("r missing")] == 0


@pytest.mark.parametrize("text", ["[", '{"curves": 3}', '{"warnings": []}', "[1]"])
def test_damaged_diagnostics_are_told(text, tmp_path):
    (tmp_path / "diagnostics.json").write_text(text)
    with pytest.raises(ModelError, match=r"diagnostics\.json: (is no JSON|not the diagnostics)"):
        told(read_diagnostics(tmp_path), tmp_path)


def test_a_model_without_diagnostics_has_none(tmp_path):
    assert read_diagnostics(tmp_path) is None
