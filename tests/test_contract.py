"""Every stage that ships keeps its contract, a plug-in is found, and the contract test itself can fail."""

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import scenes
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

from astrokeras import Colors, Crossmatch, Cutouts, Magnitudes, registry
from astrokeras.errors import ChunkError
from astrokeras.fields import Field
from astrokeras.ingest.forced import ForcedPhotometry
from astrokeras.stage import Stage
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.testing import check_stage

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")
def table():
    source = Synthetic(rows=64, seed=5, missing=0.1)
    return source.read(next(iter(source.partitions(64))), [f.name for f in source.fields()])


def stamps_of(n, size=48):
    """Stamps of noisy blobs in two bands."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    rng = np.random.default_rng(0)
    blobs = np.exp(-np.hypot(x, y) / rng.uniform(2, 4, (n, 1, 1)))[..., None] * np.array([3.0, 9.0])
    stamps = u.Quantity(blobs + rng.normal(0, 0.02, blobs.shape), u.nJy, dtype=np.float32)
    stamps.info.meta = {"bands": "g,r"}
    return stamps


def write_images(folder, table):
    """Images in two bands that show the middle of the objects, and cut some stamps at their edges."""
    rng = np.random.default_rng(0)
    for band, angle in (("g", 0.3), ("r", -0.2)):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [np.median(table["ra"].value), np.median(table["dec"].value)]
        wcs.wcs.crpix = [60, 50]
        spread = np.ptp(table["dec"].value) / 90
        wcs.wcs.cd = spread * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        cards = wcs.to_header()
        cards["BUNIT"], cards["BAND"], cards["ORIGIN"] = "nJy", band, "astrokeras"
        planes = {"SCI": rng.normal(0, 9, (100, 120)), "ERR": np.full((100, 120), 9.0)}
        planes["MASK"] = (rng.random((100, 120)) < 0.01).astype(np.int16) * 4
        hdus = [
            fits.ImageHDU(p.astype("f4" if name != "MASK" else "i2"), cards, name=name) for name, p in planes.items()
        ]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(folder / f"im-{band}.fits")
    return f"{folder}/im-{{band}}.fits"


@pytest.fixture(scope="module")
def stages(small_model, table, tmp_path_factory):
    from astrokeras import (
        Classify,
        ColorHistogram,
        ColorProfile,
        Extent,
        Hog,
        Pca,
        PhotoZ,
        Shapes,
        StampPixels,
        Texture,
    )

    table["stamp"] = stamps_of(len(table))
    for kind in ("flux", "flux_err"):
        table[f"{kind}_psf_r"] = table[f"{kind}_r"] * 0.7
    table["noise_stamp_pixels"] = np.random.default_rng(2).normal(size=(len(table), 6))
    tiny = {"width": 8, "depth": 1, "members": 1, "epochs": 2, "threads": 1, "class_sets": {}, "cross_fit": 0}
    classes = Classify(bands=("u", "g", "r", "i", "z"), classes=("STAR", "GALAXY", "QSO"), train=tiny)
    path = tmp_path_factory.mktemp("other") / "other.ecsv"
    table["ra", "dec", "z_spec"][::2].write(path)
    images, *_ = scenes.field(size=120, count=12, faint=2000.0)
    # Positions of the table, on the images of a small field.
    for name, middle in (("ra", 150), ("dec", 2)):
        table[name] = (middle + (table[name].value % 1 - 0.5) * 0.01) * u.deg
    scenes.write(images[:1], path.parent)
    forced = ForcedPhotometry(files=f"{path.parent}/{{band}}.fits", bands=("r",), box=60)
    other = {"files": str(path), "survey": {"position": {"ra": "ra", "dec": "dec"}, "z_spec": "z_spec"}}
    images = write_images(tmp_path_factory.mktemp("images"), table)
    cutouts = {"images": images, "bands": ("g", "r"), "size": 12}
    return {
        # On rows that are images: tests/test_exposures.py.
        **dict.fromkeys(("background", "calibrate", "psf"), ()),
        "classify": [classes.fit(table, tmp_path_factory.mktemp("classes") / "m")],
        "color_histogram": [ColorHistogram(bands=("g", "r"))],
        "color_profile": [ColorProfile(bands=("r", "g"))],
        "colors": [Colors(bands=("u", "g", "r")), Colors(bands=("g", "z"), where="flux_g > 100")],
        "crossmatch": [Crossmatch(catalog=other, radius=1.0, bring=["z_spec"], offset=1.0)],
        "cutouts": [
            Cutouts(**cutouts, errors=True, masks=True, offsets=True),
            Cutouts(**cutouts, resample={"to": "r"}, errors=True, where="dec > 20"),
        ],
        "extent": [Extent(bands=("r",))],
        "forced_photometry": [forced],
        "hog": [Hog(size=48), Hog(size=(48, 48), bands=("r",), orientations=8)],
        "magnitudes": [Magnitudes(bands=("u", "z"))],
        "morphology": [small_morphology(table, tmp_path_factory.mktemp("morphology") / "m")],
        "pca": [
            Pca(vectors=("noise_stamp_pixels",), train={"n": 3}).fit(table, path.parent / "pca"),
            Pca(stamps="noise_stamp", train={"n": 4, "whiten": True}).fit(table, path.parent / "stamp_pca"),
        ],
        "photoz": [PhotoZ.from_pretrained(small_model), PhotoZ.from_pretrained(small_model, pdf=False, batch=7)],
        "pixels": [StampPixels(size=48, bands=("g", "r"), block=3)],
        "shapes": [Shapes(bands=("r",))],
        "texture": [Texture(bands=("g", "r"))],
    }


def small_morphology(table, directory):
    """Classes of random stamps in nJy, beside a band of photometry."""
    from astrokeras import Morphology

    stamps = np.random.default_rng(1).normal(size=(len(table), 8, 8, 2))
    table["noise_stamp"] = stamps.astype("f4") * u.nJy
    recipe = {"members": 1, "epochs": 1, "threads": 1, "width": 8, "depth": 1, "stamp": {"widths": [4]}}
    inputs = {"stamps": "noise_stamp", "bands": ("g", "r")}
    return Morphology(**inputs, classes=("STAR", "GALAXY", "QSO"), train=recipe).fit(table, directory)


@pytest.mark.parametrize("name", registry.BUILTIN["stages"])
def test_shipped_stage(name, stages, table):
    for stage in stages[name]:
        check_stage(stage, table, rtol=2e-4)


class Double(Stage):
    """Broken in one way or another."""

    name: ClassVar[str] = "double"
    how: str = "well"

    def reads(self):
        return (Field(name="flux_g", unit="nJy"),)

    def writes(self):
        return (Field(name="twice", unit="nJy"),)

    def run(self, chunk):
        flux = chunk["flux_g"].value
        results = {
            "well": lambda: 2 * flux,
            "fills": lambda: np.nan_to_num(2 * flux),
            "mixes": lambda: 2 * flux + np.nanmean(flux) if len(flux) else flux,
            "order": lambda: 2 * np.sort(flux),
            "rows": lambda: 2 * flux[1:],
            "empty": lambda: 2 * flux / len(flux) * len(flux) if flux.max() is not None else flux,
            "name": lambda: None,
        }
        return {"other" if self.how == "name" else "twice": results.get(self.how, results["well"])()}


def test_a_good_stage_passes(table):
    check_stage(Double(), table)


@pytest.mark.parametrize("how", ["fills", "mixes", "order", "rows", "empty", "name"])
def test_a_broken_stage_fails(how, table):
    with pytest.raises((AssertionError, ChunkError, ValueError)):
        check_stage(Double(how=how), table)


def test_a_plug_in_is_found_by_its_entry_point(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(
        "astrokeras: 1\nname: plugged\nsource:\n  synthetic: {rows: 50, seed: 1}\nstages:\n  - redder: {over: 2}\n"
        f"outputs:\n  - parquet: {{path: {tmp_path}/out.parquet, columns: [ids, flux_g, flux_r, ratio, red]}}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PLUGIN)}
    command = [sys.executable, "-m", "astrokeras", "run", str(file), "--work", str(tmp_path / "work")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    from pyarrow import parquet

    out = parquet.read_table(tmp_path / "out.parquet").to_pandas()
    good = out.flux_g > 0
    np.testing.assert_allclose(out.ratio[good], out.flux_r[good] / out.flux_g[good], rtol=1e-6)
    assert out.ratio[~good].isna().all()
    listed = subprocess.run(
        [sys.executable, "-m", "astrokeras", "stages", "redder"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert "Ratios above it count as red" in listed.stdout


def test_the_plug_in_keeps_the_contract(table, monkeypatch):
    monkeypatch.syspath_prepend(str(PLUGIN))
    from redder import Redder

    check_stage(Redder(over=2.0), table)


def test_a_flux_that_is_no_number_has_no_magnitude():
    table = QTable({"flux_g": [np.inf, 1e-30] * u.nJy, "flux_err_g": [1.0, 1e12] * u.nJy})
    out = Magnitudes(bands=["g"])(table)
    assert np.isnan([out["mag_g"][0].value, out["mag_err_g"][0].value]).all()
    assert out["mag_g"][1].value == pytest.approx(31.4 + 75, abs=0.01)
    for stage in (Magnitudes, Colors):
        with pytest.raises(ValueError, match="bands must be distinct"):
            stage(bands=["g", "g"])
