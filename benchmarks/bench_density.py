"""Objects per CPU-second of ``PhotoZ(model=...)(table)`` with the PDF on 200 points, as a user calls it.

``python benchmarks/bench_density.py`` trains models of the default recipe for one epoch (what they learnt does not
change the time), calls them on a table with units, and prints the rate and where the time goes. One process, one
thread.
"""

import argparse
import tempfile
import time
from typing import get_args

from threadpoolctl import threadpool_limits

from astrokeras.models.columns import decode
from astrokeras.models.predict import predictor, set_threads
from astrokeras.models.tensors import encode
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.tasks.photoz import PhotoZ
from astrokeras.tasks.photoz_recipe import PhotozRecipe

BANDS = ("u", "g", "r", "i", "z")
POINTS = ("z_phot", "z_mode", "z_lo", "z_hi")


def make_table(rows, seed=0):
    """Galaxies of an SDSS-like survey: fluxes with units, their errors, true redshifts."""
    source = Synthetic(rows=rows, seed=seed, classes={"galaxy": 1.0})
    [partition] = source.partitions(rows)
    fluxes = [f"flux_{kind}{band}" for band in BANDS for kind in ("", "err_")]
    return source.read(partition, ["object_id", *fluxes, "z_spec"])


def trained(directory, **recipe):
    """Stage with a model of the default recipe, but for what is given, after one epoch."""
    stage = PhotoZ(bands=BANDS, train={"epochs": 1, "threads": 1, **recipe})
    return stage.fit(make_table(3_000, seed=1), directory)


class Density:
    """asv: objects per CPU-second with the PDF kept and without, and the share that is not the network."""

    params = (list(get_args(PhotozRecipe.model_fields["network"].annotation)),)
    param_names = ("network",)
    timeout = 600
    rows = 65_536

    def setup(self, network, **recipe):
        """Train, load as a pipeline does, warm up."""
        set_threads(1)
        self.limits = threadpool_limits(1)
        self.folder = tempfile.TemporaryDirectory()
        self.stage = trained(f"{self.folder.name}/model", network=network, **recipe)
        self.scalars = self.stage.model_copy(update={"pdf": False})
        self.table = make_table(self.rows)
        self.ready = predictor(self.stage.model, batch=self.stage.batch)
        self.tensors, _ = encode(self.table, self.ready.card)
        self.outputs = self.ready.run(self.tensors)

    def teardown(self, network):
        """Remove the model."""
        self.folder.cleanup()
        self.limits.restore_original_limits()

    def parts(self):
        """What is timed: the calls of a user, and the steps they consist of."""
        step = self.ready.batch
        batches = [{n: v[k : k + step] for n, v in self.outputs.items()} for k in range(0, self.rows, step)]
        return {
            "pdf": lambda: self.stage(self.table),
            "scalars": lambda: self.scalars(self.table),
            "encode": lambda: encode(self.table, self.ready.card),
            "graph": lambda: self.ready.run(self.tensors, lambda outputs: {n: v[:, :1] for n, v in outputs.items()}),
            "decode": lambda: [decode(batch, self.ready.card, POINTS) for batch in batches],
        }

    def measure(self, repeats=5):
        """CPU-seconds of each part, the least of some runs in turn."""
        parts = self.parts()
        times = {name: [] for name in parts}
        for _ in range(repeats):
            for name, part in parts.items():
                begin = time.process_time()
                part()
                times[name].append(time.process_time() - begin)
        return {name: min(found) for name, found in times.items()}

    def track_objects_per_cpu_second(self, network):
        """With the PDF on 200 points kept."""
        return self.rows / self.measure()["pdf"]

    def track_scalars_per_cpu_second(self, network):
        """Redshift and interval only."""
        return self.rows / self.measure()["scalars"]

    def track_share_of_graph(self, network):
        """CPU time of the network over that of the call."""
        found = self.measure()
        return found["graph"] / found["pdf"]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("width", "depth", "members"):
        parser.add_argument(f"--{name}", type=int, help="by default as in the recipe")
    parser.add_argument("--activation", help="by default as in the recipe")
    parser.add_argument("--repeats", type=int, default=5)
    options = vars(parser.parse_args())
    repeats = options.pop("repeats")
    recipe = {name: value for name, value in options.items() if value is not None}
    print(f"{recipe or 'default recipe'}, {Density.rows} rows; objects per CPU-second, then microseconds per object")
    print(f"{'network':10}{'PDF kept':>10}{'scalars':>10} |{'encode':>8}{'graph':>8}{'decode':>8}{'rest':>8}")
    for network in Density.params[0]:
        bench = Density()
        bench.setup(network, **recipe)
        found = bench.measure(repeats)
        each = {name: 1e6 * seconds / bench.rows for name, seconds in found.items()}
        rest = each["pdf"] - each["encode"] - each["graph"] - each["decode"]
        print(f"{network:10}{1e6 / each['pdf']:10,.0f}{1e6 / each['scalars']:10,.0f} |", end="")
        print(f"{each['encode']:8.2f}{each['graph']:8.2f}{each['decode']:8.2f}{rest:8.2f}", flush=True)
        bench.teardown(network)


if __name__ == "__main__":
    main()
