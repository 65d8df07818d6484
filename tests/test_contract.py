"""Every stage that ships keeps its contract, a plug-in is found, and the contract test itself can fail."""

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from astrokeras import Colors, Crossmatch, Magnitudes, registry
from astrokeras.errors import ChunkError
from astrokeras.fields import Field
from astrokeras.stage import Stage
from astrokeras.synthetic.catalog import Synthetic
from astrokeras.testing import check_stage

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")
def table():
    source = Synthetic(rows=64, seed=5, missing=0.1)
    return source.read(next(iter(source.partitions(64))), [f.name for f in source.fields()])


@pytest.fixture(scope="module")
def stages(small_model, table, tmp_path_factory):
    from astrokeras import Classify, Extent, PhotoZ

    for kind in ("flux", "flux_err"):
        table[f"{kind}_psf_r"] = table[f"{kind}_r"] * 0.7
    tiny = {"width": 8, "depth": 1, "members": 1, "epochs": 2, "threads": 1, "class_sets": {}}
    classes = Classify(bands=("u", "g", "r", "i", "z"), classes=("STAR", "GALAXY", "QSO"), train=tiny)
    path = tmp_path_factory.mktemp("other") / "other.ecsv"
    table["ra", "dec", "z_spec"][::2].write(path)
    other = {"files": str(path), "survey": {"position": {"ra": "ra", "dec": "dec"}, "z_spec": "z_spec"}}
    return {
        "classify": [classes.fit(table, tmp_path_factory.mktemp("classes") / "m")],
        "colors": [Colors(bands=("u", "g", "r")), Colors(bands=("g", "z"), where="flux_g > 100")],
        "crossmatch": [Crossmatch(catalog=other, radius=1.0, bring=["z_spec"], offset=1.0)],
        "extent": [Extent(bands=("r",))],
        "magnitudes": [Magnitudes(bands=("u", "z"))],
        "morphology": [small_morphology(table, tmp_path_factory.mktemp("morphology") / "m")],
        "photoz": [PhotoZ.from_pretrained(small_model), PhotoZ.from_pretrained(small_model, pdf=False, batch=7)],
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
