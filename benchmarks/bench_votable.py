"""Writing VOTables: ours beside astropy's BINARY2 writer and the raw limit, in one process.

``python benchmarks/bench_votable.py`` prints the rates, their ratio and the growth of memory. Rates are rows per second
of processor time of one core; trust the ratios. The table has 20 columns and 92 bytes per row, its values start as an
astropy QTable with units, as a stage leaves them.
"""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.table import QTable, Table
from astropy.units import Quantity

from astrokeras.export.votable import VOTable
from astrokeras.fields import DEC, FLAGS, OBJECT_ID, RA, Field, flux_field
from astrokeras.stage import Product

BANDS = ("u", "g", "r", "i", "z", "y")
FIELDS = (
    OBJECT_ID,
    RA,
    DEC,
    *(flux_field(band, measure) for band in BANDS for measure in ("", "err")),
    *(Field(name=name, ucd="src.redshift.phot") for name in ("z_phot", "z_mode", "z_lo", "z_hi")),
    FLAGS,
)


def make_chunk(rows, seed=0):
    """QTable of random values; one in a hundred fluxes is missing."""
    rng = np.random.default_rng(seed)
    chunk = QTable({"object_id": np.arange(rows)})
    for field in FIELDS[1:-1]:
        values = rng.random(rows, "f4" if field.kind == "f4" else "f8")
        if field.unit == "nJy":
            values[rng.random(rows) < 0.01] = np.nan
        chunk[field.name] = Quantity(values, field.unit, copy=False) if field.unit else values
    chunk["flags"] = np.zeros(rows, "i4")
    return chunk


def write_ours(chunk, directory, partitions=1):
    """Write a VOTable, the chunk once per partition."""
    path = Path(directory) / "ours.vot"
    output = VOTable(path=str(path))
    pieces = [Path(directory) / f"piece{k}" for k in range(partitions)]
    facts = [output.write(chunk, FIELDS, piece) for piece in pieces]
    output.close(list(zip(pieces, facts, strict=True)), Product(path, FIELDS, {"date": "2026-01-01T00:00:00"}))
    for piece in pieces:
        piece.unlink()
    return path


def write_astropy(chunk, directory):
    """Write a VOTable with astropy."""
    Table(chunk).write(Path(directory) / "astropy.vot", format="votable", tabledata_format="binary2", overwrite=True)


def write_raw(records, directory):
    """Write records as they are in memory: nothing can be faster."""
    records.tofile(Path(directory) / "raw")


def rate(function, rows, repeats=3):
    """Rows per CPU-second, the best of some runs."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return rows / min(times)


class VOTableSuite:
    """For asv."""

    rows = 200_000
    few = 2_000

    def setup(self):
        self.directory = tempfile.TemporaryDirectory()
        self.chunk = make_chunk(self.rows)

    def teardown(self):
        self.directory.cleanup()

    def time_write(self):
        write_ours(self.chunk, self.directory.name)

    def peakmem_write(self):
        write_ours(self.chunk, self.directory.name, partitions=5)

    def time_astropy_a_hundredth(self):
        write_astropy(self.chunk[: self.few], self.directory.name)

    def track_rows_per_cpu_second(self):
        return rate(lambda: write_ours(self.chunk, self.directory.name), self.rows)

    def track_ratio_to_astropy(self):
        peer = rate(lambda: write_astropy(self.chunk[: self.few], self.directory.name), self.few)
        return rate(lambda: write_ours(self.chunk, self.directory.name), self.rows) / peer


def main(rows=1_000_000, few=10_000):
    """Print the comparison."""
    chunk = make_chunk(rows)
    records = np.asarray(chunk.as_array())
    with tempfile.TemporaryDirectory() as directory:
        write_ours(chunk[:1000], directory)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ours = rate(lambda: write_ours(chunk, directory), rows)
        write_ours(chunk, directory, partitions=10)
        growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        small = chunk[:few]
        peer = rate(lambda: write_astropy(small, directory), few, repeats=2)
        raw = rate(lambda: write_raw(records, directory), rows)
    print(f"columns {len(FIELDS)}, bytes per row {records.dtype.itemsize}")
    print(f"astrokeras       {ours:12,.0f} rows/CPU-s ({rows:,} rows)")
    print(f"astropy BINARY2  {peer:12,.0f} rows/CPU-s ({few:,} rows)")
    print(f"raw tofile       {raw:12,.0f} rows/CPU-s")
    print(f"ratio            {ours / peer:12.0f}")
    print(f"memory grew by   {growth:12.1f} MB beyond the table while writing 1 and 10 million rows")


if __name__ == "__main__":
    main()
