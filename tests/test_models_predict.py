"""The predictor: batches, padding, memory, threads."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from test_models_bundle import N_GRID, toy_card, toy_network, toy_rows

from astrokeras.errors import ModelError
from astrokeras.models import bundle as bundles
from astrokeras.models.columns import decode
from astrokeras.models.predict import Predictor, predictor, set_threads
from astrokeras.networks.dense import ensemble


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "toy"
    return bundles.save(directory, ensemble(toy_network()), toy_card(), toy_rows())


@pytest.fixture(scope="module")
def ready(saved):
    return predictor(saved.directory, batch=32)


def part(rows, which):
    return {name: values[which] for name, values in rows.items()}


@pytest.mark.parametrize("n", [1, 31, 32, 33, 100])
def test_outputs_are_those_of_the_model(ready, saved, n):
    rows = toy_rows(n, seed=n)
    expected = keras.ops.convert_to_numpy(saved.model(rows, training=False)["z_pdf"])
    np.testing.assert_allclose(ready.run(rows)["z_pdf"], expected, rtol=2e-5, atol=1e-6)


def test_zero_rows(ready):
    outputs = ready.run(toy_rows(0))
    assert outputs["z_pdf"].shape == (0, N_GRID) and outputs["z_pdf"].dtype == np.float32


def test_a_row_gives_the_same_bytes_wherever_it_stands(ready):
    """Any partition of the rows, any place in a batch, any neighbours."""
    rows = toy_rows(150, seed=4)
    whole = ready.run(rows)["z_pdf"]
    for start, stop in ((0, 1), (7, 40), (33, 150), (149, 150)):
        np.testing.assert_array_equal(ready.run(part(rows, slice(start, stop)))["z_pdf"], whole[start:stop])
    order = np.random.default_rng(0).permutation(150)
    np.testing.assert_array_equal(ready.run(part(rows, order))["z_pdf"], whole[order])


def test_rows_are_reduced_batch_by_batch(ready):
    rows = toy_rows(100, seed=2)
    seen = []

    def reduce(outputs):
        seen.append(outputs["z_pdf"].shape)
        return decode(outputs, ready.card, ("z_phot", "z_lo"))

    reduced = ready.run(rows, reduce)
    assert seen == [(32, N_GRID)] * 3 + [(4, N_GRID)]
    expected = decode(ready.run(rows), ready.card, ("z_phot", "z_lo"))
    assert list(reduced) == ["z_phot", "z_lo"]
    for name, values in expected.items():
        np.testing.assert_array_equal(reduced[name], values)


def test_one_predictor_per_model_and_batch(saved, ready, tmp_path):
    assert predictor(saved.directory, batch=32) is ready
    assert predictor(str(saved.directory), batch=16) is not ready
    with pytest.raises(ModelError, match="batch must be at least 1, got 0"):
        Predictor(saved, batch=0)
    with pytest.raises(ModelError, match=r"batch 1000000000 needs tensors of \d+ GB; use at most \d+"):
        Predictor(saved, batch=10**9)


def test_a_replaced_model_is_loaded_again(tmp_path):
    bundles.save(tmp_path / "m", ensemble(toy_network()), toy_card(), toy_rows())
    first = predictor(tmp_path / "m", batch=8).run(toy_rows(8))["z_pdf"]
    bundles.save(tmp_path / "m", ensemble(toy_network(seed=9)), toy_card(), toy_rows(), overwrite=True)
    second = predictor(tmp_path / "m", batch=8).run(toy_rows(8))["z_pdf"]
    assert not np.allclose(first, second)


def test_threads_below_one():
    with pytest.raises(ModelError, match="threads must be at least 1, got 0"):
        set_threads(0)


ELSEWHERE = """
import sys
import numpy as np
from astrokeras.models.predict import predictor, set_threads
assert "tensorflow" not in sys.modules
assert set_threads(2)
ready = predictor(sys.argv[1], batch=32)
np.save(sys.argv[3], ready.run(dict(np.load(sys.argv[2])))["z_pdf"])
assert set_threads(2) and not set_threads(1)
from astrokeras.models.bundle import model_digest
import keras
keras.layers.Dense(2)
keras.Input((2,)) + 1
print(model_digest(ready.model))
"""


def test_another_process_with_more_threads_gives_the_same(saved, ready, tmp_path):
    """The same bytes and, though Keras counts names and addresses differ, the same digest."""
    rows = toy_rows(100, seed=8)
    np.savez(tmp_path / "rows.npz", **rows)
    paths = [saved.directory, tmp_path / "rows.npz", tmp_path / "out.npy"]
    command = [sys.executable, "-c", ELSEWHERE, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).resolve().parents[1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == saved.card.digest
    np.testing.assert_array_equal(np.load(paths[-1]), ready.run(rows)["z_pdf"])
