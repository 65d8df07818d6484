"""Reading 3 of 20 columns of a catalog through the source ``catalog``, beside the libraries that do only the reading.

``python benchmarks/bench_catalog.py`` writes a table as FITS, Parquet and CSV, reads three columns of it, and prints
rows per CPU-second and ratios: to the peer, and to all 20 columns (does leaving out columns reach the file?). One
process, one thread. Ours gives checked columns with units; the peers give bare arrays in native byte order.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.units import Quantity

from astrokeras.ingest.catalog import Catalog
from astrokeras.plan import MAX_ROWS

BANDS = ("u", "g", "r", "i", "z", "y")
CHOSEN = ("ra", "dec", "flux_r")
FORMATS = ("fits", "parquet", "csv")


def make_table(rows, seed=0):
    """Table with the 20 canonical columns of six bands: identifier, position, fluxes, errors and further ones."""
    rng = np.random.default_rng(seed)
    table = QTable({"object_id": np.arange(rows)})
    table["ra"] = Quantity(rng.uniform(0, 360, rows), "deg")
    table["dec"] = Quantity(rng.uniform(-60, 60, rows), "deg")
    for band in BANDS:
        flux = rng.lognormal(8, 1, rows).astype("f4")
        table[f"flux_{band}"] = Quantity(flux, "nJy", copy=False)
        table[f"flux_err_{band}"] = Quantity(0.03 * flux + 10, "nJy", copy=False)
    for k in range(20 - len(table.colnames)):
        table[f"other_{k}"] = rng.random(rows)
    return table


def write(table, folder):
    """Write the table in all formats and return the paths by format."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    paths = {name: str(Path(folder) / f"catalog.{name}") for name in FORMATS}
    Table(table).write(paths["fits"], overwrite=True)
    bare = pa.table({name: np.asarray(getattr(table[name], "value", table[name])) for name in table.colnames})
    pyarrow.parquet.write_table(bare, paths["parquet"])
    pyarrow.csv.write_csv(bare, paths["csv"])
    return paths


def read_ours(path, columns=CHOSEN):
    """Read columns as a pipeline does: partition by partition."""
    source = Catalog(files=path, bands=BANDS)
    return sum(len(source.read(partition, columns)) for partition in source.partitions(MAX_ROWS))


def read_fits(path):
    """Peer: astropy."""
    data = fits.getdata(path, 1)
    return [data[name].astype(data[name].dtype.newbyteorder("=")) for name in CHOSEN]


def read_parquet(path):
    """Peer: pyarrow."""
    from pyarrow import parquet

    return [column.to_numpy() for column in parquet.read_table(path, columns=list(CHOSEN), use_threads=False).columns]


def read_csv(path):
    """Peer: pyarrow's CSV reader."""
    from pyarrow import csv

    kept = csv.ConvertOptions(include_columns=list(CHOSEN))
    table = csv.read_csv(path, csv.ReadOptions(use_threads=False), convert_options=kept)
    return [column.to_numpy() for column in table.columns]


PEERS = {"fits": read_fits, "parquet": read_parquet, "csv": read_csv}


def cpu_seconds(functions, repeats):
    """Least CPU time of each function, measured in turn so that all meet the same machine."""
    times = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            begin = time.process_time()
            function()
            times[name].append(time.process_time() - begin)
    return {name: min(found) for name, found in times.items()}


def measure(form, path, rows, repeats=5):
    """Rows per CPU-second of ours, of the peer, and of ours with all columns that the source has."""
    everything = [field.name for field in Catalog(files=path, bands=BANDS).fields()]
    functions = {
        "ours": lambda: read_ours(path),
        "peer": lambda: PEERS[form](path),
        "all": lambda: read_ours(path, everything),
    }
    return {name: rows / seconds for name, seconds in cpu_seconds(functions, repeats).items()}


class Read:
    """asv: time and peak memory of reading, and ratios to the peer."""

    params = (list(FORMATS),)
    param_names = ("format",)
    rows = 200_000
    timeout = 300

    def setup(self, form):
        """Write the files."""
        self.folder = tempfile.TemporaryDirectory()
        self.path = write(make_table(self.rows), self.folder.name)[form]

    def teardown(self, form):
        """Remove the files."""
        self.folder.cleanup()

    def time_three_columns(self, form):
        """Three columns of twenty."""
        read_ours(self.path)

    def peakmem_three_columns(self, form):
        """The same."""
        read_ours(self.path)

    def track_ratio_to_peer(self, form):
        """Our rate over the peer's."""
        rates = measure(form, self.path, self.rows)
        return rates["ours"] / rates["peer"]

    def track_gain_of_pruning(self, form):
        """Rate with three columns over the rate with all."""
        rates = measure(form, self.path, self.rows)
        return rates["ours"] / rates["all"]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    peers = {"fits": "astropy.io.fits", "parquet": "pyarrow", "csv": "pyarrow.csv"}
    with tempfile.TemporaryDirectory() as folder:
        paths = write(make_table(options.rows), folder)
        print(f"3 of 20 columns of {options.rows:,} rows; rows per CPU-second")
        print(f"{'format':9}{'ours':>13}{'peer':>13}  {'peer is':16}{'ours/peer':>10}{'3 over all':>12}")
        for form, path in paths.items():
            rates = measure(form, path, options.rows, options.repeats)
            ratio, gain = rates["ours"] / rates["peer"], rates["ours"] / rates["all"]
            print(f"{form:9}{rates['ours']:13,.0f}{rates['peer']:13,.0f}  {peers[form]:16}{ratio:10.2f}{gain:12.1f}")


if __name__ == "__main__":
    main()
