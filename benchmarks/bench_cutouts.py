"""Cutting stamps: ours beside astropy's Cutout2D and slices of compressed images, in one process.

``python benchmarks/bench_cutouts.py`` prints stamps per second of processor time, and ratios; ``--memory`` the peak
resident memory of a million positions on an image of 10 000 x 10 000 pixels (a fresh process, 400 MB on disk).
Stamps have 64 x 64 pixels, at random positions; those of Cutout2D are compared with ours bit for bit.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.table import QTable
from astropy.wcs import WCS

from astrokeras import Cutouts
from astrokeras.images.gather import gather
from astrokeras.ingest.pixel_cache import CACHE

SIZE = 64


def projection(side):
    """TAN projection with pixels of 0.2 arcsec."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [side / 2, side / 2]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    wcs.wcs.set()
    return wcs


def rate(function, stamps, repeats=3):
    """Stamps per CPU-second, the best of some runs."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return stamps / min(times)


class Sky:
    """An image in memory and in files, and positions on it."""

    def __init__(self, directory, side=4096, stamps=20_000, seed=0):
        self.directory = Path(directory)
        self.wcs = projection(side)
        rng = np.random.default_rng(seed)
        self.data = rng.normal(0, 20, (side, side)).astype(np.float32)
        self.x, self.y = rng.uniform(0, side - 1, (2, stamps))
        ra, dec = self.wcs.all_pix2world(self.x, self.y, 0)
        self.table = QTable({"object_id": np.arange(stamps), "ra": ra * u.deg, "dec": dec * u.deg})
        self.sky = SkyCoord(ra, dec, unit="deg")

    def header(self):
        cards = self.wcs.to_header()
        cards["BUNIT"] = "nJy"
        return cards

    def write(self, name="plain.fits"):
        path = self.directory / name
        fits.PrimaryHDU(self.data, self.header()).writeto(path)
        return str(path)

    def compress(self, tiles):
        path = self.directory / f"{'x'.join(map(str, tiles))}.fits.fz"
        hdu = fits.CompImageHDU(
            self.data, self.header(), compression_type="RICE_1", tile_shape=tiles, quantize_level=16
        )
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
        return str(path)

    def with_sky_coordinates(self, n):
        for k in range(n):
            Cutout2D(self.data, self.sky[k], SIZE, wcs=self.wcs, mode="partial", fill_value=np.nan)

    def with_pixels(self, n):
        return [
            Cutout2D(self.data, (self.x[k], self.y[k]), SIZE, mode="partial", fill_value=np.nan).data for k in range(n)
        ]

    def sections(self, path, n):
        """Slices of a compressed image, decompressed stamp by stamp."""
        with fits.open(path) as opened:
            section = opened[1].section
            for k in range(n):
                y, x = (int(max(p - SIZE // 2, 0)) for p in (self.y[k], self.x[k]))
                section[y : y + SIZE, x : x + SIZE]


def stage(path):
    return Cutouts(images=path, bands=("g",), size=SIZE)


def cold(path, table):
    """Cut with nothing in memory."""
    CACHE.clear()
    stage(path)(table)


class CutoutsSuite:
    """For asv."""

    def setup(self):
        self.folder = tempfile.TemporaryDirectory()
        self.sky = Sky(self.folder.name, side=2048, stamps=5_000)
        self.path = self.sky.write()
        self.packed = self.sky.compress((1, 2048))
        stage(self.path)(self.sky.table)

    def teardown(self):
        self.folder.cleanup()

    def time_gather(self):
        gather(self.sky.data, self.sky.x, self.sky.y, SIZE)

    def time_stage_in_memory(self):
        stage(self.path)(self.sky.table)

    def time_stage_compressed(self):
        cold(self.packed, self.sky.table)

    def track_ratio_to_cutout2d(self):
        peer = rate(lambda: self.sky.with_sky_coordinates(200), 200)
        return rate(lambda: stage(self.path)(self.sky.table), 5_000) / peer

    def track_ratio_to_compressed_slices(self):
        peer = rate(lambda: self.sky.sections(self.packed, 50), 50)
        return rate(lambda: cold(self.packed, self.sky.table), 5_000) / peer


def speed(side, stamps):
    """Print the comparison."""
    with tempfile.TemporaryDirectory() as directory:
        sky = Sky(directory, side, stamps)
        path = sky.write()
        gathered = gather(sky.data, sky.x, sky.y, SIZE)
        few = min(2_000, stamps)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(gathered, sky.with_pixels(few), strict=False))
        out = stage(path)(sky.table)
        del gathered
        rows = [("gather, in memory", rate(lambda: gather(sky.data, sky.x, sky.y, SIZE), stamps))]
        rows.append(("stage, image in the cache", rate(lambda: stage(path)(sky.table), stamps)))
        rows.append(("stage, image read each time", rate(lambda: cold(path, sky.table), stamps)))
        rows.append(("Cutout2D, SkyCoord", rate(lambda: sky.with_sky_coordinates(few // 4), few // 4)))
        rows.append(("Cutout2D, pixels", rate(lambda: sky.with_pixels(few), few)))
        del out
        peers = {name: value for name, value in rows if name.startswith("Cutout2D")}
        for name, value in rows:
            ratios = "  ".join(f"{value / peer:7.1f} x {other}" for other, peer in peers.items())
            print(f"{name:30s} {value:10,.0f} stamps/CPU-s   {ratios}")
        for tiles in ((1, side), (100, 100)):
            packed = sky.compress(tiles)
            peer = rate(lambda p=packed: sky.sections(p, 100), 100, repeats=1)
            ours = rate(lambda p=packed: cold(p, sky.table), stamps, repeats=2)
            name = "rows" if tiles[0] == 1 else "100 x 100"
            print(f"RICE, tiles of {name:15s} {ours:10,.0f} stamps/CPU-s   {ours / peer:7.1f} x slices ({peer:,.0f})")


def memory(side, positions, rows):
    """Cut a million positions, partition by partition, and print the peak of resident memory."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "large.fits"
        rng = np.random.default_rng(0)
        cards = projection(side).to_header()
        cards["BUNIT"] = "nJy"
        hdu = fits.PrimaryHDU(np.zeros((1, 1), np.float32), cards)
        hdu.header["NAXIS1"], hdu.header["NAXIS2"] = side, side
        hdu.header.tofile(path)
        with open(path, "ab") as stream:
            for _ in range(side // 100):
                stream.write(rng.normal(0, 1, (100, side)).astype(">f4").tobytes())
            stream.write(b"\0" * (-stream.tell() % 2880))
        code = f"from bench_cutouts import cut_all; cut_all({str(path)!r}, {side}, {positions}, {rows})"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)


def cut_all(path, side, positions, rows):
    """Cut all positions, in random order; print rate and peak."""
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, side - 1, (2, positions))
    ra, dec = projection(side).all_pix2world(x, y, 0)
    table = QTable({"object_id": np.arange(positions), "ra": ra * u.deg, "dec": dec * u.deg})
    cutouts = stage(path)
    start = time.process_time()
    total = 0
    for first in range(0, positions, rows):
        total += len(cutouts(table[first : first + rows]))
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{total:,} stamps of a {side} x {side} image: {total / seconds:,.0f} per CPU-s, peak {peak:,.0f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--stamps", type=int, default=20_000)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    if options.memory:
        # Rows of a partition of the runner: 64 MB of stamps.
        memory(10_000, 1_000_000, 64 * 2**20 // (4 * SIZE**2))
    else:
        speed(options.side, options.stamps)


if __name__ == "__main__":
    main()
