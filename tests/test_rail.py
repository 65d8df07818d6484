"""The plug-in for RAIL, run by RAIL itself: in memory, from files in chunks, and by its pipelines."""

import pickletools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from test_docs import code_blocks
from test_layers import check_shape, parse

from astrokeras import PhotoZ
from astrokeras.errors import ModelError
from astrokeras.flags import Flag
from astrokeras.synthetic.catalog import Synthetic

qp = pytest.importorskip("qp")
pytest.importorskip("rail.core", reason="RAIL is not installed (pip install 'astrokeras[rail]')")

from rail.core.data import ModelHandle, TableHandle  # noqa: E402
from rail.core.model import Model  # noqa: E402
from rail.estimation.algos import astrokeras as plugin  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
BANDS = ["mag_u_lsst", "mag_g_lsst", "mag_r_lsst", "mag_i_lsst", "mag_z_lsst", "mag_y_lsst"]
ERRORS = [name.replace("mag_", "mag_err_") for name in BANDS]
RECIPE = {"width": 24, "depth": 1, "members": 1, "epochs": 12, "seed": 1, "threads": 1}
GRID = {"zmin": 0.0, "zmax": 2.0, "nzbins": 101}


def magnitudes(rows, seed):
    """Return a mock catalog as RAIL has it: AB magnitudes, 99 where nothing was detected."""
    source = Synthetic(rows=rows, seed=seed, system="lsst", classes={"galaxy": 1})
    table = source.read(next(iter(source.partitions(rows))), [f.name for f in source.fields()])
    data = {"object_id": np.asarray(table["object_id"]), "redshift": np.asarray(table["z_spec"], float)}
    for column, error in zip(BANDS, ERRORS, strict=True):
        band = column[4]
        flux, flux_err = (np.asarray(table[f"{name}_{band}"].value, float) for name in ("flux", "flux_err"))
        faint = flux < flux_err
        with np.errstate(divide="ignore", invalid="ignore"):
            data[column] = np.where(faint, 99.0, 31.4 - 2.5 * np.log10(flux))
            data[error] = np.where(faint, 99.0, 2.5 / np.log(10) * flux_err / flux)
    return data


@pytest.fixture(scope="module")
def training():
    return magnitudes(1500, 1)


@pytest.fixture(scope="module")
def targets():
    return magnitudes(250, 2)


@pytest.fixture(scope="module")
def model(training, tmp_path_factory):
    """Return the model file that RAIL has written."""
    path = tmp_path_factory.mktemp("rail") / "model.pkl"
    stage = plugin.AstroKerasInformer.make_stage(
        name="inform", model=str(path), recipe=RECIPE, hdf5_groupname="photometry", **GRID
    )
    stage.inform(TableHandle("training", data={"photometry": training}))
    return path


def estimate(model, data, **more):
    options = {
        "name": "estimate",
        "model": str(model) if isinstance(model, Path) else model,
        "hdf5_groupname": "",
        "output_mode": "return",
        **GRID,
    }
    handle = plugin.AstroKerasEstimator.make_stage(**{**options, **more}).estimate(data)
    return handle.data


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (BANDS, "ugrizy"),
        (["u", "g"], "ug"),
        (["LSST_obs_u", "LSST_obs_zY"], ["u", "zY"]),
        (["mag_w1", "mag_w2"], ["magw1", "magw2"]),
        (["mag_r_lsst"], ["magrlsst"]),
        (["J_1", "H_2"], ["J1", "H2"]),
    ],
)
def test_names_of_bands(columns, names):
    assert plugin.band_names(columns) == tuple(names)


def test_columns_that_give_no_names():
    for columns in (["1", "2"], ["mag_g", "mag-g"]):
        with pytest.raises(ValueError, match="give no distinct names of bands"):
            plugin.band_names(columns)


def config(**more):
    names = {"bands": ["mag_g", "mag_r"], "err_bands": ["err_g", "err_r"], "id_col": "id"}
    values = {"mag_limits": {"mag_g": 29.0}, "nondetect_val": 99.0, "nonobserved_val": -99.0}
    return SimpleNamespace(**names | values | more)


def test_magnitudes_become_fluxes_limits_and_gaps():
    data = {
        "id": np.array([7, 8, 9, 10]),
        "mag_g": np.array([31.4, 99.0, -99.0, np.nan]),
        "err_g": np.array([0.1, 99.0, 0.1, 0.1]),
        "mag_r": np.array([23.9, 99.0, 23.9, np.inf]),
        "err_r": np.array([0.02, 0.1, 0.02, 0.1]),
    }
    before = {name: values.copy() for name, values in data.items()}
    table = plugin.photometry(data, config())
    assert list(table["object_id"]) == [7, 8, 9, 10]
    nan, limit = np.nan, 3631e9 * 10 ** (-0.4 * 29.0)
    # 31.4 is 1 nJy, to three decimals.
    np.testing.assert_allclose(table["flux_g"].value, [1.0, nan, nan, nan], rtol=1e-3)
    np.testing.assert_allclose(table["flux_err_g"].value, [0.1 * np.log(10) / 2.5, limit, nan, nan], rtol=1e-3)
    np.testing.assert_allclose(table["flux_r"].value, [1000.0, nan, 1000.0, nan], rtol=1e-3)
    # No limit is known of r.
    np.testing.assert_allclose(
        table["flux_err_r"].value, [20 * np.log(10) / 2.5, nan, 20 * np.log(10) / 2.5, nan], rtol=1e-3
    )
    assert all(np.array_equal(data[name], before[name], equal_nan=True) for name in data)
    as_nan = plugin.photometry(data, config(nondetect_val=np.nan))
    np.testing.assert_allclose(as_nan["flux_err_g"].value[3], limit, rtol=1e-5)
    with pytest.raises(ValueError, match="2 bands and 1 err_bands"):
        plugin.photometry(data, config(err_bands=["err_g"]))


def test_the_model_file_holds_bytes_and_no_class_of_ours(model):
    found = Model.read(str(model))
    found.validate("AstroKerasInformer", 1)
    assert set(found.data) == {"model.keras", "card.json", "golden.npz"}
    assert {type(content) for content in found.data.values()} == {bytes}
    named = [
        text for op, text, _ in pickletools.genops(model.read_bytes()) if op.name in ("SHORT_BINUNICODE", "GLOBAL")
    ]
    assert "rail.core.model" in named
    assert not [
        text for text in named if isinstance(text, str) and text.split(".")[0] in ("keras", "astrokeras", "tensorflow")
    ]


def test_the_densities_are_those_of_the_model(model, targets, tmp_path):
    plugin.unpack(Model.read(str(model)), tmp_path)
    stage = PhotoZ.from_pretrained(tmp_path)
    assert stage.card().bands == tuple("ugrizy")
    assert (stage.card().grid.z_min, stage.card().grid.z_max, stage.card().grid.n) == tuple(GRID.values())
    wanted = stage(plugin.photometry(targets, plugin.AstroKerasEstimator.make_stage(name="any").config))
    ensemble = estimate(model, targets)
    grid = np.linspace(0, 2, 101)
    np.testing.assert_allclose(ensemble.pdf(grid), wanted["z_pdf"], rtol=1e-4, atol=1e-6)
    assert np.array_equal(ensemble.ancil["zmedian"], wanted["z_phot"])
    assert np.array_equal(ensemble.ancil["zmode"], wanted["z_mode"])
    assert np.array_equal(ensemble.ancil["zbest"], wanted["z_best"])
    assert np.array_equal(ensemble.ancil["flags"], wanted["flags"])
    assert (np.asarray(wanted["flags"]) & Flag.UPPER_LIMIT).any(), "some u band should be undetected"
    assert np.array_equal(ensemble.ancil["id"], targets["object_id"])
    assert np.array_equal(ensemble.ancil["redshift"], targets["redshift"])
    assert set(ensemble.ancil["distribution_type"]) == {1}
    dz = (ensemble.ancil["zmedian"] - targets["redshift"]) / (1 + targets["redshift"])
    trivial = (np.median(targets["redshift"]) - targets["redshift"]) / (1 + targets["redshift"])
    assert np.median(np.abs(dz)) < np.median(np.abs(trivial)) / 1.3


def test_files_in_chunks_give_what_memory_gives(model, targets, tmp_path):
    path = tmp_path / "targets.hdf5"
    with h5py.File(path, "w") as file:
        for name, values in targets.items():
            file[f"photometry/{name}"] = values
    whole = estimate(model, targets)
    options = {"name": "chunks", "output": str(tmp_path / "out.hdf5"), "chunk_size": 64, "output_mode": "default"}
    chunked = estimate(model, TableHandle("input", path=str(path)), hdf5_groupname="photometry", **options)
    written = qp.read(str(tmp_path / "out.hdf5"))
    grid = np.linspace(0, 2, 50)
    for ensemble in (chunked, written):
        assert ensemble.npdf == 250
        np.testing.assert_allclose(ensemble.pdf(grid), whole.pdf(grid), rtol=1e-5, atol=1e-7)
        assert np.array_equal(ensemble.ancil["flags"], whole.ancil["flags"])
        assert np.array_equal(ensemble.ancil["id"], targets["object_id"])


def test_another_grid(model, targets):
    fine, coarse = estimate(model, targets), estimate(model, targets, zmin=0.1, zmax=2.5, nzbins=61)
    grid = np.linspace(0.1, 2.5, 61)
    wanted = fine.pdf(grid)
    assert np.all(wanted[:, grid > 2] == 0)
    wanted /= np.trapezoid(wanted, grid, axis=1)[:, None]
    np.testing.assert_allclose(coarse.pdf(grid), wanted, rtol=1e-4, atol=1e-6)


def test_an_object_without_data_has_a_flat_density(model, targets):
    data = {name: values[:3].copy() for name, values in targets.items()}
    for column in BANDS:
        data[column][1] = -99.0
    ensemble = estimate(model, data)
    np.testing.assert_allclose(ensemble.pdf(np.linspace(0, 2, 11))[1], 0.5, rtol=0.02)
    assert np.isnan([ensemble.ancil["zmode"][1], ensemble.ancil["zmedian"][1]]).all()
    assert ensemble.ancil["flags"][1] & 16
    assert not (ensemble.ancil["flags"][[0, 2]] & 16).any()


def test_a_model_trained_elsewhere_is_packed(small_model, tmp_path):
    path = tmp_path / "packed.pkl"
    plugin.pack(small_model).write(str(path))
    rng = np.random.default_rng(1)
    data = {f"mag_{band}": rng.uniform(18, 20, 20) for band in "ugriz"}
    data |= {f"err_{band}": np.full(20, 0.05) for band in "ugriz"}
    bands = {"bands": [f"mag_{b}" for b in "ugriz"], "err_bands": [f"err_{b}" for b in "ugriz"]}
    ensemble = estimate(path, data, **bands)
    assert np.array_equal(
        ensemble.ancil["zmedian"],
        PhotoZ.from_pretrained(small_model)(plugin.photometry(data, config(**bands)))["z_phot"],
    )
    with pytest.raises(ModelError, match="has the bands u, g, r, i, z, in this order; bands gives u, g, r, i, z, y"):
        estimate(path, magnitudes(10, 3))


def test_what_is_no_model_of_ours(tmp_path, targets):
    for data, what in (
        ({"weights": 1}, "weights"),
        ([1, 2], "list"),
        ({"model.keras": 1, "card.json": 2, "golden.npz": 3}, "model.keras"),
    ):
        Model(data, "KNearNeighInformer").write(str(tmp_path / "other.pkl"))
        with pytest.raises(ModelError, match=f"no model of AstroKerasInformer: holds {what}"):
            estimate(tmp_path / "other.pkl", targets)


def test_a_model_that_was_tampered_with_is_refused(model, targets, tmp_path):
    found = Model.read(str(model))
    found.data["model.keras"] = found.data["model.keras"][:-40]
    found.write(str(tmp_path / "bad.pkl"))
    with pytest.raises(ModelError):
        estimate(tmp_path / "bad.pkl", targets)


def test_a_missing_column_is_named(model, targets):
    data = {name: values for name, values in targets.items() if name != "mag_g_lsst"}
    with pytest.raises(KeyError, match="mag_g_lsst"):
        estimate(model, data)


def test_a_handle_in_memory_serves_as_the_model(model, targets):
    handle = ModelHandle("model", data=Model.read(str(model)))
    ensemble = estimate(handle, targets)
    assert np.array_equal(ensemble.ancil["zmode"], estimate(model, targets).ancil["zmode"])


def test_the_page_shows_what_runs(training, targets, small_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, data in (("training", training), ("targets", targets)):
        with h5py.File(f"{name}.hdf5", "w") as file:
            for column, values in data.items():
                file[f"photometry/{column}"] = values
    page = (ROOT / "docs" / "neighbours.rst").read_text(encoding="utf-8")
    for block in (block for block in code_blocks(page, "python") if "rail" in block):
        block = block.replace('{"seed": 1}', str({**RECIPE, "epochs": 1})).replace(
            "products/lsst-photoz", str(small_model)
        )
        exec(compile(block, "neighbours.rst", "exec"), {})
    assert "250 [" in capsys.readouterr().out
    Model.read("lsst-photoz.pkl").validate("AstroKerasInformer", 1)


def test_rail_finds_the_plug_in():
    code = (
        "from rail.core import RailEnv; print('rail.astrokeras' in RailEnv.list_rail_packages());"
        "import rail.astrokeras; from rail.core.stage import RailStage;"
        "print([RailStage.get_stage(f'AstroKeras{k}').__name__ for k in ('Informer', 'Estimator')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["True", "['AstroKerasInformer', 'AstroKerasEstimator']"]


def test_the_plug_in_keeps_the_shape_of_the_package():
    assert not (ROOT / "rail" / "__init__.py").exists()
    modules = parse(ROOT / "rail")
    assert {"astrokeras", "estimation.algos.astrokeras"} == set(modules)
    assert check_shape(modules) == []
