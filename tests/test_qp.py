"""Densities to qp and back, and files that qp reads."""

import importlib.util
import re

import h5py
import numpy as np
import pytest
from astropy.table import Column, QTable, Table
from pydantic import ValidationError
from scipy import stats

from astrokeras import Pipeline
from astrokeras.errors import ChunkError, OutputError
from astrokeras.export import qp as ours
from astrokeras.export.qp import Qp, from_qp, to_qp
from astrokeras.fields import FLAGS, OBJECT_ID, Field
from astrokeras.stage import Product

qp = pytest.importorskip("qp")

GRID = np.linspace(0.0, 2.0, 101)
CENTRES = np.array([0.4, 0.8, 1.1, 1.5])


def densities(centres=CENTRES, width=0.1):
    pdf = stats.norm.pdf(GRID, centres[:, None], width)
    return (pdf / np.trapezoid(pdf, GRID, axis=1)[:, None]).astype("f4")


def photoz_table(rows=4):
    table = QTable({"object_id": [f"gal-{i}" for i in range(rows)], "flags": np.arange(rows, dtype="i4")})
    table["z_phot"] = CENTRES[:rows].astype("f4")
    table["z_mode"] = CENTRES[:rows].astype("f4") + 0.01
    table["z_pdf"] = Column(densities()[:rows], meta={"z_min": 0.0, "z_max": 2.0})
    return table


def test_an_ensemble_has_the_densities_and_the_columns():
    ensemble = to_qp(photoz_table())
    np.testing.assert_allclose(ensemble.pdf(GRID), densities(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ensemble.median().ravel(), CENTRES, atol=2e-3)
    assert list(ensemble.ancil["object_id"]) == ["gal-0", "gal-1", "gal-2", "gal-3"]
    assert np.array_equal(ensemble.ancil["zmode"], photoz_table()["z_mode"])
    assert np.array_equal(ensemble.ancil["zmedian"], photoz_table()["z_phot"])


def test_the_grid_may_be_given():
    table = photoz_table()
    table["z_pdf"].info.meta = {}
    with pytest.raises(ChunkError, match=r"'z_pdf' does not say its grid \(z_min, z_max\); give z_min and z_max"):
        to_qp(table)
    np.testing.assert_allclose(to_qp(table, z_min=1.0, z_max=3.0).median().ravel(), 1 + CENTRES / 2 * 2, atol=2e-3)


def test_what_has_no_densities_is_refused():
    with pytest.raises(ChunkError, match="no column 'z_pfd'; did you mean 'z_pdf'"):
        to_qp(photoz_table(), pdf="z_pfd")
    with pytest.raises(ChunkError, match=r"'z_phot' has cells of shape \(\)"):
        to_qp(photoz_table(), pdf="z_phot")


def test_there_and_back():
    back = from_qp(to_qp(photoz_table()))
    np.testing.assert_allclose(back["z_pdf"], densities(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(back["z_phot"], CENTRES, atol=2e-3)
    assert back["z_pdf"].info.meta == {"z_min": 0.0, "z_max": 2.0}
    assert list(back["object_id"]) == ["gal-0", "gal-1", "gal-2", "gal-3"]
    assert not back["flags"].any()


def test_other_kinds_of_ensembles_get_a_grid():
    normal = qp.stats.norm.create_ensemble({"loc": CENTRES[:, None], "scale": np.full((4, 1), 0.1)})
    with pytest.raises(ChunkError, match="has no uniform grid of its own; give z_min and z_max"):
        from_qp(normal)
    table = from_qp(normal, 0.0, 2.0)
    assert table["z_pdf"].shape == (4, 301)
    np.testing.assert_allclose(table["z_lo"], CENTRES + 0.1 * stats.norm.ppf(0.16), atol=1e-3)
    np.testing.assert_allclose(table["z_hi"], CENTRES + 0.1 * stats.norm.ppf(0.84), atol=1e-3)
    np.testing.assert_allclose(table["z_mode"], CENTRES, atol=0.004)
    np.testing.assert_allclose(table["z_best"], CENTRES, atol=0.01)
    # Half of the last density lies beyond 1.5: what is left is normalised.
    cut = from_qp(normal, 0.0, 1.5, 151)
    np.testing.assert_allclose(np.trapezoid(cut["z_pdf"], np.linspace(0, 1.5, 151), axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(cut["z_phot"][3], 1.5 + 0.1 * stats.norm.ppf(0.25), atol=2e-3)


def test_an_object_without_a_density_is_flagged():
    normal = qp.stats.norm.create_ensemble({"loc": np.array([[0.5], [60.0]]), "scale": np.full((2, 1), 0.1)})
    table = from_qp(normal, 0.0, 2.0)
    assert list(table["flags"]) == [0, 16]
    assert np.isfinite(table["z_phot"][0]) and np.isnan(table["z_phot"][1]) and np.isnan(table["z_pdf"][1]).all()
    assert list(table["object_id"]) == [0, 1]


FIELDS = (
    Field(name="z_pdf", shape=(101,), meta={"z_min": 0.0, "z_max": 2.0}),
    OBJECT_ID,
    FLAGS,
    Field(name="z_phot"),
    Field(name="z_mode"),
)


def product(tmp_path, tables, fields=FIELDS):
    output = Qp(path=str(tmp_path / "out.hdf5"))
    pieces = [tmp_path / f"piece{i}" for i in range(len(tables))]
    written = [(p, output.write(t, fields, p)) for p, t in zip(pieces, tables, strict=True)]
    output.close(written, Product(tmp_path / "out.hdf5", fields, {"pipeline": "here", "models": [{"name": "m"}]}))
    return tmp_path / "out.hdf5"


def test_a_file_in_pieces_is_read_by_qp(tmp_path):
    table = photoz_table()
    table["object_id"] = ["a", "galaxy-é", "c", "dd"]
    table["z_pdf"][2] = np.nan
    path = product(tmp_path, [table[:1], table[:0], table[1:3], table[3:]])
    assert qp.is_qp_file(str(path))
    with pytest.warns(RuntimeWarning, match="non-finite"):
        ensemble = qp.read(str(path))
    good = [0, 1, 3]
    np.testing.assert_allclose(ensemble.pdf(GRID)[good], densities()[good], rtol=1e-4, atol=1e-6)
    assert np.isnan(ensemble.pdf(GRID)[2]).all()
    assert list(ensemble.ancil["object_id"]) == ["a", "galaxy-é", "c", "dd"]
    assert list(ensemble.ancil["flags"]) == [0, 1, 2, 3]
    np.testing.assert_allclose(ensemble.ancil["zmode"], CENTRES + 0.01, rtol=1e-6)
    with h5py.File(path) as file:
        assert file.attrs["astrokeras.pipeline"] == "here"


def test_equal_rows_give_equal_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = (product(tmp_path / name, [photoz_table()]).read_bytes() for name in "ab")
    assert one == two


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="no rows to write"):
        product(tmp_path, [photoz_table()[:0]])
    with pytest.raises(OutputError, match=r"'z_pdf' does not say its grid"):
        product(tmp_path, [photoz_table()], (FIELDS[0].model_copy(update={"meta": {}}), *FIELDS[1:]))
    assert not (tmp_path / "out.hdf5").exists()
    with pytest.raises(ValidationError, match=re.escape("must end in .hdf5")):
        Qp(path="out.fits")


def test_mistakes_are_found_before_anything_runs(monkeypatch):
    with pytest.raises(ChunkError, match="qp: no column 'z_pdf'"):
        Qp(path="o.hdf5").reads(FIELDS[1:])
    with pytest.raises(ChunkError, match=r"'z_phot' has cells of shape \(\)"):
        Qp(path="o.hdf5", pdf="z_phot").reads(FIELDS)
    other = Field(name="other_pdf", shape=(7,))
    assert [f.name for f in Qp(path="o.hdf5").reads((*FIELDS, other))] == [f.name for f in FIELDS]
    with pytest.raises(ChunkError, match="'other_pdf' has several values per row"):
        Qp(path="o.hdf5", columns=("other_*",)).reads((*FIELDS, other))
    assert [f.name for f in Qp(path="o.hdf5", columns=("z_*",)).reads(FIELDS)] == ["z_pdf", "z_phot", "z_mode"]
    monkeypatch.setattr(ours, "find_spec", lambda name: importlib.util.find_spec("no_such_package"))
    with pytest.raises(ChunkError, match=re.escape("pip install 'astrokeras[qp]'")):
        Qp(path="o.hdf5").reads(FIELDS)


def test_a_pipeline_writes_a_qp_file(small_model, tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(
        "astrokeras: 1\nname: to-qp\nsource:\n  synthetic: {rows: 300, seed: 4}\npartition: {rows: 128}\n"
        f"stages:\n  - photoz: {{model: {small_model}}}\n"
        f"outputs:\n  - qp: {{path: {tmp_path}/z.hdf5, columns: [ids, 'z_*']}}\n"
        f"  - parquet: {{path: {tmp_path}/z.parquet, columns: [ids, 'z_*']}}\n"
    )
    Pipeline.read(file).run(work=tmp_path / "work", quiet=True)
    ensemble, table = qp.read(str(tmp_path / "z.hdf5")), Table.read(tmp_path / "z.parquet")
    assert np.array_equal(ensemble.ancil["object_id"], table["object_id"])
    assert np.array_equal(ensemble.ancil["zmedian"], table["z_phot"])
    np.testing.assert_allclose(ensemble.median().ravel(), table["z_phot"], atol=0.01)
