"""Running a graph over many rows: one predictor per process and model, with batches of one fixed size.

This is the only place that knows which backend Keras has. On TensorFlow a ``tf.function`` of fixed signature reaches
the speed of the matrix products; ``model.predict`` costs 37 ms per call, and changing shapes leak memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError
from .backend import start
from .bundle import Bundle, largest_tensor, load, named_outputs
from .card_file import read_card
from .classical import Classical

if TYPE_CHECKING:
    import keras

BATCH = 8192
#: No tensor of a batch has more elements: 4 GB.
MAX_BATCH_ELEMENTS = 1 << 30

Columns = dict[str, np.ndarray]


def set_threads(n: int) -> bool:
    """Set the number of threads of the backend in this process; training depends on it, inference does not.

    Returns
    -------
    bool
        Whether it holds now. A backend that has computed already keeps the number it has.

    Raises
    ------
    ModelError
        If ``n`` is below 1.
    """
    if n < 1:
        raise ModelError(f"threads must be at least 1, got {n}")
    started_so = os.environ.get("TF_NUM_INTRAOP_THREADS") == str(n)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n)
    if "tensorflow" in sys.modules and not started_so:
        threading = sys.modules["tensorflow"].config.threading
        try:
            threading.set_intra_op_parallelism_threads(n)
        except RuntimeError:
            return False
    os.environ.update({"TF_NUM_INTRAOP_THREADS": str(n), "OMP_NUM_THREADS": str(n)})
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    return True


class Predictor:
    """Runs a model over rows in batches of one size, the last one padded.

    Parameters
    ----------
    bundle : Bundle
        The model and its card.
    batch : int
        Rows per call.

    Raises
    ------
    ModelError
        If the batch is below 1, or so large that one of its tensors takes more than 4 GB.
    """

    def __init__(self, bundle: Bundle, batch: int = BATCH):
        if batch < 1:
            raise ModelError(f"batch must be at least 1, got {batch}")
        needed = batch * largest_tensor(bundle.model)
        if needed > MAX_BATCH_ELEMENTS:
            fitting = max(1, MAX_BATCH_ELEMENTS * batch // needed)
            raise ModelError(f"batch {batch} needs tensors of {4 * needed / 1e9:.0f} GB; use at most {fitting}")
        self.card = bundle.card
        self.model = bundle.model
        self.batch = batch
        self._call = _compiled(bundle, batch)

    def run(self, tensors: Mapping[str, np.ndarray], reduce: Callable[[Columns], Columns] | None = None) -> Columns:
        """Outputs of the graph for all rows.

        Parameters
        ----------
        tensors : mapping of numpy.ndarray
            From `astrokeras.models.tensors.encode`.
        reduce : callable, optional
            Applied to the outputs of every batch, so that a PDF of all rows is never held; must keep the rows.

        Returns
        -------
        dict of numpy.ndarray
            One row per row of ``tensors``.
        """
        rows = len(next(iter(tensors.values())))
        starts = range(0, rows, self.batch) if rows else (0,)
        # Each batch is copied into its place: only results, not pieces of all batches, are held.
        out: Columns = {}
        for begin in starts:
            part = self._batch(tensors, begin, min(self.batch, rows - begin))
            part = part if reduce is None else reduce(part)
            for name, values in part.items():
                if name not in out:
                    out[name] = np.empty((rows, *values.shape[1:]), values.dtype)
                out[name][begin : begin + len(values)] = values
        return out

    def _batch(self, tensors: Mapping[str, np.ndarray], begin: int, n: int) -> Columns:
        inputs = {}
        # An estimator takes any number of rows but none.
        rows = max(n, 1) if isinstance(self.model, Classical) else self.batch
        for name, shape in self.card.tensors.items():
            part = tensors[name][begin : begin + n]
            if n < rows:
                padded = np.zeros((rows, *shape), np.float32)
                padded[:n] = part
                part = padded
            # The mask of stamps is kept in bytes.
            inputs[name] = part.astype(np.float32, copy=False)
        return {name: values[:n] for name, values in self._call(inputs).items()}


def predictor(directory: str | Path, batch: int = BATCH) -> Predictor:
    """Predictor of a model, loaded once per process.

    Raises
    ------
    ModelError
        As `astrokeras.models.bundle.load`.
    """
    directory = Path(directory).resolve()
    return _cached(directory, read_card(directory).digest, batch)


@lru_cache(maxsize=32)
def _cached(directory: Path, digest: str, batch: int) -> Predictor:
    """The digest is part of the key: a model that was replaced is loaded again."""
    return Predictor(load(directory), batch)


def _compiled(bundle: Bundle, batch: int) -> Callable[[Columns], Columns]:
    if isinstance(bundle.model, Classical):
        return bundle.model
    start()
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _tensorflow(bundle, batch)
    makers = {"jax": _jax, "torch": _torch}
    if backend not in makers:
        raise ModelError(f"Keras runs on {backend!r}; models need the backend tensorflow, jax or torch (KERAS_BACKEND)")
    return makers[backend](bundle)


def _tensorflow(bundle: Bundle, batch: int) -> Callable[[Columns], Columns]:
    import tensorflow as tf

    shapes = bundle.card.tensors
    signature = {n: tf.TensorSpec((batch, *shape), tf.float32, name=n) for n, shape in shapes.items()}

    # Trees are hundreds of small operations, which XLA joins; the large products of densities gain nothing by it.
    on_catalogs = bundle.card.task == "classify" and bundle.card.stamp is None
    joined = on_catalogs and not tf.config.list_physical_devices("GPU")

    @tf.function(input_signature=[signature], jit_compile=joined)
    def graph(inputs: dict[str, Any]) -> dict[str, Any]:
        return named_outputs(bundle.model(inputs, training=False), bundle.card)

    concrete = graph.get_concrete_function()

    def host(values: Any) -> np.ndarray:
        # In main memory the buffer is read in place; numpy() would copy it.
        return np.asarray(memoryview(values)) if "CPU" in values.backing_device else values.numpy()

    def call(inputs: Columns) -> Columns:
        given = {name: tf.convert_to_tensor(values) for name, values in inputs.items()}
        return {name: host(values) for name, values in concrete(given).items()}

    return call


def _jax(bundle: Bundle) -> Callable[[Columns], Columns]:
    import jax

    model: keras.Model = bundle.model
    trained, other = ([v.value for v in group] for group in (model.trainable_variables, model.non_trainable_variables))

    @jax.jit
    def graph(trained: list[Any], other: list[Any], inputs: dict[str, Any]) -> dict[str, Any]:
        outputs, _ = model.stateless_call(trained, other, inputs, training=False)
        return named_outputs(outputs, bundle.card)

    return lambda inputs: {name: np.asarray(values) for name, values in graph(trained, other, inputs).items()}


def _torch(bundle: Bundle) -> Callable[[Columns], Columns]:
    import torch

    def call(inputs: Columns) -> Columns:
        with torch.inference_mode():
            given = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in inputs.items()}
            outputs = named_outputs(bundle.model(given, training=False), bundle.card)
            return {name: values.cpu().numpy() for name, values in outputs.items()}

    return call
