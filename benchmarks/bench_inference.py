"""Objects per CPU-second of a photo-z ensemble, against the limit that the matrix products set.

Run as a script, ``python benchmarks/bench_inference.py``, or through asv. One thread, one process. The limit is the
time of the matrix products of the network's dense layers alone, with NumPy's BLAS and with TensorFlow's own, measured
in turn with the network. The defaults are those of the recipe.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from astrokeras.fields import Field
from astrokeras.models.backend import start
from astrokeras.models.card import Card, Grid, photometry_inputs
from astrokeras.models.columns import decode
from astrokeras.models.predict import BATCH, Predictor, predictor, set_threads
from astrokeras.tasks.photoz_recipe import PhotozRecipe

BANDS = ("u", "g", "r", "i", "z")
Z_MAX, N_GRID = 1.1, 200
POINTS = ("z_phot", "z_mode", "z_lo", "z_hi")


def photometry(rows, seed=0):
    """Tensors of made-up objects: what the values are does not change the time."""
    rng = np.random.default_rng(seed)
    flux = rng.lognormal(8, 1, (rows, len(BANDS))).astype(np.float32)
    return {"flux": flux, "flux_err": 0.03 * flux + 10, "observed": np.ones_like(flux)}


def make_model(directory, **options):
    """Save an untrained ensemble and return nothing: its time does not depend on its weights."""
    start()
    from astrokeras.models.bundle import save
    from astrokeras.networks.dense import ensemble, photoz_network
    from astrokeras.networks.encoder import photometry_encoder

    members = options.pop("members", 2)
    rows = photometry(1000)
    encoder = photometry_encoder(**rows)
    made = [photoz_network(encoder, z_min=0.0, z_max=Z_MAX, n_grid=N_GRID, **options) for _ in range(members)]
    card = Card(
        name="benchmark",
        version="0.0.0",
        task="photoz",
        bands=BANDS,
        inputs=photometry_inputs(BANDS),
        outputs=(Field(name="z_pdf", shape=(N_GRID,)),),
        may_miss=BANDS,
        grid=Grid(z_min=0, z_max=Z_MAX, n=N_GRID),
    )
    save(directory, ensemble(made), card, rows)


def dense_shapes(model):
    """Shapes of all matrices in a model, nested models included."""
    shapes = []
    for layer in model.layers:
        if hasattr(layer, "layers"):
            shapes += dense_shapes(layer)
        elif hasattr(layer, "kernel"):
            shapes.append(tuple(layer.kernel.shape))
    return shapes


def products(shapes, batch):
    """Functions that do the matrix products of one batch, and nothing else: NumPy's and TensorFlow's."""
    import tensorflow as tf

    rng = np.random.default_rng(1)
    inputs = {n: rng.random((batch, n), np.float32) for n in {a for a, _ in shapes}}
    kernels = [rng.random(shape, np.float32) for shape in shapes]
    outputs = {n: np.empty((batch, n), np.float32) for n in {b for _, b in shapes}}
    constants = {n: tf.constant(values) for n, values in inputs.items()}
    matrices = [tf.constant(kernel) for kernel in kernels]

    def numpy_products():
        for kernel in kernels:
            np.dot(inputs[kernel.shape[0]], kernel, out=outputs[kernel.shape[1]])

    def tensorflow_products():
        for matrix in matrices:
            tf.matmul(constants[matrix.shape[0]], matrix)

    return {"numpy": numpy_products, "tensorflow": tensorflow_products}


def forward_alone(ready):
    """Predictor of the same network without mixtures and densities: encoder and dense layers."""
    import keras

    from astrokeras.models.bundle import Bundle

    inputs = {name: keras.Input(tensor.shape[1:], name=name) for name, tensor in ready.model.input.items()}
    features = ready.model.get_layer("encoder")(inputs)
    members = [layer for layer in ready.model.layers if layer.name.startswith("member_")]
    outputs = {}
    for member in members:
        # Every member calls its dense layers "trunk"; in one graph names are unique.
        raw = keras.Input(features.shape[1:])
        trunk = keras.Model(raw, member.get_layer("trunk")(raw), name=member.name)
        outputs[member.name] = trunk(features)
    bare = keras.Model(inputs, outputs)
    return Predictor(Bundle(Path(), bare, ready.card))


def cpu_seconds(functions, repeats):
    """Median CPU time of each function, measured in turn so that all meet the same machine."""
    times = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            begin = time.process_time()
            function()
            times[name].append(time.process_time() - begin)
    return {name: float(np.median(found)) for name, found in times.items()}


class Inference:
    """asv: objects per CPU-second, and the fraction of the BLAS limit that the forward pass reaches."""

    params = (["spline", "binned", "mixture"],)
    param_names = ("network",)
    timeout = 300

    def setup(self, network, rows=4 * BATCH, **options):
        """Save a model, load it as a pipeline does, warm up."""
        self.rows = rows
        set_threads(1)
        self.limits = threadpool_limits(1)
        self.folder = tempfile.TemporaryDirectory()
        make_model(f"{self.folder.name}/model", network=network, **options)
        self.predictor = predictor(f"{self.folder.name}/model")
        self.tensors = photometry(rows)
        self.one = photometry(BATCH)
        self.bare = forward_alone(self.predictor)
        self.products = products(dense_shapes(self.predictor.model), BATCH)
        for warm_up in (self.forward, self.density, *self.products.values()):
            warm_up()

    def teardown(self, network):
        """Remove the model."""
        self.folder.cleanup()
        self.limits.restore_original_limits()

    def forward(self):
        """Run one batch through the graph up to the last dense layers."""
        self.bare.run(self.one)

    def density(self):
        """Run one batch through the graph, densities included."""
        self.predictor.run(self.one)

    def points(self):
        """Redshift and interval of all rows; every PDF is computed, none is kept."""
        self.predictor.run(self.tensors, lambda outputs: decode(outputs, self.predictor.card, POINTS))

    def pdfs(self):
        """The same, and the PDFs are kept."""
        self.predictor.run(self.tensors, lambda outputs: decode(outputs, self.predictor.card))

    def measure(self, repeats=7):
        """Objects per CPU-second: the limits, forward pass, with densities, with point estimates, with PDFs kept."""
        batch = self.products | {"forward": self.forward, "density": self.density}
        every = {"points": self.points, "pdfs": self.pdfs}
        seconds = cpu_seconds(batch | every, repeats)
        rates = {name: (BATCH if name in batch else self.rows) / found for name, found in seconds.items()}
        return rates

    def track_forward_over_blas(self, network):
        """Fraction of the rate of NumPy's BLAS that the forward pass reaches."""
        rates = self.measure()
        return rates["forward"] / rates["numpy"]

    def track_objects_per_cpu_second(self, network):
        """Objects per CPU-second with the PDF on 200 points kept."""
        return self.measure()["pdfs"]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=PhotozRecipe().width)
    parser.add_argument("--depth", type=int, default=PhotozRecipe().depth)
    parser.add_argument("--members", type=int, default=PhotozRecipe().members)
    parser.add_argument("--activation", default=PhotozRecipe().activation)
    parser.add_argument("--repeats", type=int, default=7)
    options = vars(parser.parse_args())
    repeats = options.pop("repeats")
    print(f"{options}, batch {BATCH}, PDF on {N_GRID} points; objects per CPU-second")
    columns = ("numpy", "tensorflow", "forward", "density", "points", "pdfs")
    heads = ("BLAS numpy", "matmul TF", "forward", "+ PDF", "+ points", "PDF kept")
    print(f"{'network':8}", *(f"{head:>11}" for head in heads), "  forward / numpy, / TF")
    for network in Inference.params[0]:
        bench = Inference()
        bench.setup(network, **options)
        rates = bench.measure(repeats)
        shares = (f"{rates['forward'] / rates[limit]:6.1%}" for limit in ("numpy", "tensorflow"))
        print(f"{network:8}", *(f"{rates[name]:11,.0f}" for name in columns), "  ", *shares)
        bench.teardown(network)


if __name__ == "__main__":
    main()
