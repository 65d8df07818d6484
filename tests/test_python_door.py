"""Stages called from Python: on whatever table an astronomer has at hand, and the same class comes back."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from pydantic import ValidationError

from astrokeras import Colors, Magnitudes, PhotoZ, Pipeline, canonical_table
from astrokeras.errors import ChunkError, ModelError, SpecError, SurveyError, TrainingError
from astrokeras.flags import Flag
from astrokeras.models.card_file import read_card
from astrokeras.synthetic.catalog import Synthetic

BANDS = ("u", "g", "r", "i", "z")
RECIPE = {"width": 8, "depth": 1, "members": 1, "epochs": 2, "n_grid": 24, "threads": 1, "seed": 3, "cross_fit": 0}


def synthetic(rows=60, seed=5):
    """Galaxies in nJy, without anything that the source knows about its columns."""
    source = Synthetic(rows=rows, seed=seed, classes={"galaxy": 1.0})
    made = source.read(next(iter(source.partitions(rows))), [f.name for f in source.fields() if f.name != "flags"])
    plain = QTable()
    for name in made.colnames:
        plain[name] = made[name].copy()
        plain[name].info.meta = {}
    return plain


@pytest.fixture(scope="module")
def photoz(small_model):
    return PhotoZ.from_pretrained(small_model)


@pytest.fixture
def table():
    return synthetic()


@pytest.fixture(scope="module")
def expected(photoz):
    return photoz(synthetic())


def fluxes(table):
    return [name for name in table.colnames if name.startswith("flux_")]


def in_unit(table, unit, cls):
    """The same measurements in another unit and another class of table."""
    out = cls(table)
    for name in fluxes(table):
        out[name] = table[name].to(unit)
    return out


def same(found, expected, **tolerance):
    for name in ("z_phot", "z_mode", "z_lo", "z_hi", "z_pdf"):
        np.testing.assert_allclose(np.asarray(found[name]), np.asarray(expected[name]), **tolerance)
    np.testing.assert_array_equal(np.asarray(found["flags"]), np.asarray(expected["flags"]))


def test_import_loads_nothing():
    code = "import sys, astrokeras; print([n for n in ('numpy', 'astropy', 'pydantic', 'keras') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_are_found_and_others_are_not():
    import astrokeras

    assert {"Pipeline", "PhotoZ", "Colors", "Magnitudes", "canonical_table"} <= set(dir(astrokeras))
    assert astrokeras.PhotoZ is PhotoZ
    with pytest.raises(AttributeError, match="PhotoX"):
        _ = astrokeras.PhotoX


def test_what_comes_out(expected, small_model):
    z = {name: np.asarray(expected[name]) for name in ("z_lo", "z_phot", "z_hi", "z_spec")}
    assert np.all((z["z_lo"] < z["z_phot"]) & (z["z_phot"] < z["z_hi"]))
    # The model knows something: better than the best constant.
    assert np.mean(np.abs(z["z_phot"] - z["z_spec"])) < 0.85 * np.mean(np.abs(np.median(z["z_spec"]) - z["z_spec"]))
    grid = read_card(small_model).grid
    nodes = np.linspace(grid.z_min, grid.z_max, grid.n)
    np.testing.assert_allclose(np.trapezoid(np.asarray(expected["z_pdf"]), nodes, axis=1), 1, rtol=1e-4)
    assert expected["z_pdf"].info.meta == {"z_min": grid.z_min, "z_max": grid.z_max}


@pytest.mark.parametrize("cls", [Table, QTable])
@pytest.mark.parametrize("unit", ["nJy", "uJy", "Jy", "erg / (s cm2 Hz)"])
def test_class_and_unit_of_the_table(photoz, table, expected, cls, unit):
    given = in_unit(table, unit, cls)
    before = given.copy()
    found = photoz(given)
    assert type(found) is cls
    assert found is not given
    same(found, expected, rtol=2e-3, atol=2e-4)
    # The input is as it was; its columns come first, in their own unit.
    assert given.colnames == before.colnames
    assert found.colnames[: len(given.colnames)] == given.colnames
    for name in given.colnames:
        np.testing.assert_array_equal(np.asarray(given[name]), np.asarray(before[name]))
    assert found["flux_g"].unit == u.Unit(unit)


def test_a_subclass_comes_back(photoz, table):
    class Mine(QTable):
        pass

    assert type(photoz(Mine(table))) is Mine


def test_a_table_of_single_precision_and_foreign_byte_order(photoz, table, expected):
    swapped = Table(table)
    for name in fluxes(table):
        swapped[name] = MaskedColumn(table[name].value.astype(">f4"), unit="nJy")
    same(photoz(swapped), expected, rtol=1e-5, atol=1e-6)


def test_other_columns_are_kept(photoz, table, expected):
    table["note"] = [f"object {i}" for i in range(len(table))]
    table["stamp"] = np.arange(len(table) * 4).reshape(-1, 2, 2)
    table["position"] = SkyCoord(table["ra"], table["dec"])
    found = photoz(table)
    same(found, expected)
    assert list(found["note"]) == list(table["note"])
    assert found["stamp"].shape == (len(table), 2, 2)
    assert isinstance(found["position"], SkyCoord)


def test_a_skycoord_column_gives_positions(table):
    from astrokeras.chunk import canonical

    sky = SkyCoord(table["ra"], table["dec"]).galactic
    table.remove_columns(["ra", "dec"])
    table["sky"] = sky
    taken = canonical(table)
    np.testing.assert_allclose(taken["ra"].to_value("deg"), sky.icrs.ra.deg)
    np.testing.assert_allclose(taken["dec"].to_value("deg"), sky.icrs.dec.deg)
    # A stage that selects by position finds them.
    limit = float(np.median(sky.icrs.ra.deg))
    chosen = np.asarray(Colors(bands=("g", "r"), where=f"ra < {limit}")(table)["color_g_r"])
    np.testing.assert_array_equal(np.isfinite(chosen), sky.icrs.ra.deg < limit)


def test_a_masked_column(photoz, table, expected):
    hidden = np.arange(len(table)) % 3 == 0
    for given in (Table(table), QTable(table)):
        for name in ("flux_r", "flux_err_r"):
            given[name] = MaskedColumn(table[name].value, unit="nJy", mask=hidden)
        found = photoz(given)
        flags = np.asarray(found["flags"])
        np.testing.assert_array_equal((flags & Flag.MISSING_BAND) > 0, hidden)
        np.testing.assert_array_equal(np.asarray(found["z_phot"])[~hidden], np.asarray(expected["z_phot"])[~hidden])
        assert np.all(np.asarray(found["z_phot"])[hidden] != np.asarray(expected["z_phot"])[hidden])
        assert np.isfinite(found["z_phot"]).all()


def test_a_band_that_is_not_there(photoz, table, expected, small_model, tmp_path):
    del table["flux_u"]
    found = photoz(table)
    assert np.all(np.asarray(found["flags"]) & Flag.MISSING_BAND)
    assert np.isfinite(found["z_phot"]).all()
    assert np.any(np.asarray(found["z_phot"]) != np.asarray(expected["z_phot"]))
    # NaN says the same as no column, unless the error beside it makes it an upper limit.
    errors = table["flux_err_u"].copy()
    table["flux_u"] = table["flux_err_u"] = np.full(len(table), np.nan) * u.nJy
    same(photoz(table), found)
    table["flux_err_u"] = errors
    assert np.all(np.asarray(photoz(table)["flags"]) & Flag.UPPER_LIMIT)
    strict = tmp_path / "strict"
    shutil.copytree(small_model, strict)
    card = strict / "card.json"
    card.write_text(card.read_text().replace('"may_miss": [\n  "u",', '"may_miss": ['))
    del table["flux_u"]
    with pytest.raises(ChunkError, match="photoz reads 'flux_u', which the table does not have"):
        PhotoZ.from_pretrained(strict)(table)


def test_flags_of_the_table_are_kept_and_text_is_none(photoz, table, expected):
    table["flags"] = np.full(len(table), Flag.BAD_POSITION, np.int64)
    np.testing.assert_array_equal(photoz(table)["flags"], np.asarray(expected["flags"]) | Flag.BAD_POSITION)
    table["flags"] = ["good"] * len(table)
    with pytest.raises(ChunkError, match=r"photoz: column 'flags' has type <U4, needs int32"):
        photoz(table)


def test_no_rows(photoz, table):
    found = photoz(table[:0])
    assert len(found) == 0
    assert found["z_phot"].dtype == np.float32
    assert found["z_pdf"].shape[1:] == photoz(table[:2])["z_pdf"].shape[1:]


def test_twice_is_as_once(photoz, expected):
    same(photoz(expected), expected)


def test_without_the_density_and_in_small_batches(small_model, table, expected):
    found = PhotoZ.from_pretrained(small_model, pdf=False, batch=7)(table)
    assert "z_pdf" not in found.colnames
    np.testing.assert_allclose(np.asarray(found["z_phot"]), np.asarray(expected["z_phot"]), rtol=1e-5)


def test_where_selects(small_model, table, expected):
    found = PhotoZ.from_pretrained(small_model, where="z_spec > 0.2")(table)
    chosen = np.asarray(table["z_spec"]) > 0.2
    assert 0 < chosen.sum() < len(table)
    np.testing.assert_allclose(found["z_phot"][chosen], expected["z_phot"][chosen], rtol=1e-5)
    assert np.isnan(np.asarray(found["z_phot"])[~chosen]).all()
    np.testing.assert_array_equal((np.asarray(found["flags"]) & Flag.NOT_SELECTED) > 0, ~chosen)


def as_magnitudes(table):
    """AB magnitudes of a table of fluxes, as most published tables have them."""
    out = Table({"id": table["object_id"]})
    for band in BANDS:
        flux, error = (table[f"{name}_{band}"].to_value("nJy").astype(float) for name in ("flux", "flux_err"))
        out[f"{band}mag"] = -2.5 * np.log10(flux / 3631e9)
        out[f"e_{band}mag"] = 2.5 / np.log(10) * error / flux
    return out


MAP = {
    "object_id": "id",
    "bands": list(BANDS),
    "photometry": {"model": {"mag": "{band}mag", "error": "e_{band}mag", "system": "AB", "dereddened": "unverified"}},
}


@pytest.mark.parametrize("unit", [u.mag, u.ABmag, u.STmag])
def test_magnitudes_are_no_fluxes(photoz, table, unit):
    table["flux_g"] = np.full(len(table), 20.0) * unit
    expected = (
        r"photoz: column 'flux_g': unit 'mag.*' does not convert to 'nJy'; magnitudes need a survey map that names "
        r"their system: \{mag: COLUMN, system: AB\}"
    )
    for given in (table, Table(table)):
        with pytest.raises(ChunkError, match=expected):
            photoz(given)


def test_magnitudes_with_their_system(photoz, table, expected):
    bright = np.all([table[f"flux_{b}"].value > 0 for b in BANDS], axis=0)
    given = as_magnitudes(table[bright])
    same(photoz(canonical_table(given, MAP)), expected[bright], rtol=2e-3, atol=2e-4)
    # As magnitudes that know their own system, too.
    known = QTable(given)
    for band in BANDS:
        known[f"{band}mag"] = given[f"{band}mag"].data * u.ABmag
    same(photoz(canonical_table(known, MAP)), expected[bright], rtol=2e-3, atol=2e-4)
    nameless = {**MAP, "photometry": {"model": {"mag": "{band}mag", "error": "e_{band}mag"}}}
    with pytest.raises(SurveyError, match=r"survey.photometry.model: a magnitude needs its system: AB, Vega or asinh"):
        canonical_table(given, nameless)


def test_a_frame_through_a_survey_map(photoz, table, expected):
    bright = np.all([table[f"flux_{b}"].value > 0 for b in BANDS], axis=0)
    frame = as_magnitudes(table[bright]).to_pandas()
    same(photoz(canonical_table(frame, MAP)), expected[bright], rtol=2e-3, atol=2e-4)
    frame["rmag"] = frame["rmag"].where(frame.index > 2, np.nan)
    flags = np.asarray(photoz(canonical_table(frame, MAP))["flags"])
    np.testing.assert_array_equal((flags & Flag.MISSING_BAND) > 0, frame.index <= 2)


def test_a_frame_without_units(photoz, table, expected):
    frame = pd.DataFrame({name: np.asarray(table[name]) for name in ["object_id", *fluxes(table)]})
    with pytest.raises(
        ChunkError, match=r"column 'flux_u' has no unit; .* a survey map that states it \(canonical_table\)"
    ):
        photoz(frame)
    # Without a map the columns are canonical, in nJy.
    found = photoz(canonical_table(frame, None, bands=BANDS))
    same(found, expected)
    assert list(found["object_id"]) == list(frame["object_id"])
    # A stage that needs no units takes the frame itself, and gives one back.
    magnitudes = Magnitudes(bands=("r",))(canonical_table(frame, None, bands=BANDS))
    np.testing.assert_allclose(magnitudes["mag_r"].value, -2.5 * np.log10(frame["flux_r"] / 3631e9), rtol=1e-6)


@pytest.mark.parametrize("thing", [[1, 2], {"flux_g": [1.0]}, np.ones(3), None])
def test_what_is_no_table(photoz, thing):
    with pytest.raises(ChunkError, match="expected an astropy Table or a pandas DataFrame, got"):
        photoz(thing)


def test_a_table_without_any_band(photoz):
    with pytest.raises(ModelError, match="needs at least 1 of its bands 'u', 'g', 'r', 'i', 'z'"):
        photoz(Table({"g": [20.0]}))


def test_wrong_models():
    with pytest.raises(ModelError, match="no such model directory"):
        PhotoZ.from_pretrained("no/such/model")
    with pytest.raises(ValidationError, match="either `model`"):
        PhotoZ()
    with pytest.raises(ValidationError, match="batsch"):
        PhotoZ(model="m", batsch=3)
    untrained = PhotoZ(bands=("g", "r"), train=RECIPE)
    with pytest.raises(TrainingError, match="no model yet: call fit"):
        untrained(synthetic(5))


def test_fit_then_apply(tmp_path):
    train = synthetic(400)
    untrained = PhotoZ(bands=("g", "r", "i"), train=RECIPE)
    fitted = untrained.fit(train, tmp_path / "first")
    assert untrained.model is None
    assert fitted.model == str(tmp_path / "first")
    found = fitted(train)
    assert np.isfinite(found["z_phot"]).all()
    card = read_card(tmp_path / "first")
    assert card.bands == ("g", "r", "i")
    assert card.training.count == 400
    # The same seed gives the same model, in other units and another class of table too.
    again = untrained.fit(Table(train), tmp_path / "second")
    assert again.model_digest() == fitted.model_digest() == card.digest
    same(again(train), found)
    other = untrained.model_copy(update={"train": untrained.train.model_copy(update={"seed": 4})})
    assert other.fit(train, tmp_path / "third").model_digest() != card.digest
    # Applying it again from its directory, under any path.
    shutil.move(tmp_path / "first", tmp_path / "elsewhere")
    same(PhotoZ.from_pretrained(tmp_path / "elsewhere")(train), found)


def test_fit_needs_its_columns(tmp_path):
    table = synthetic(30)
    with pytest.raises(ChunkError, match="photoz reads 'z_true', which the table does not have"):
        PhotoZ(bands=("g", "r"), train={**RECIPE, "target": "z_true"}).fit(table, tmp_path / "m")
    table["split"] = ["test"] * 30
    with pytest.raises(TrainingError, match="no row of the training part has a usable 'z_spec'"):
        PhotoZ(bands=("g", "r"), train=RECIPE).fit(table, tmp_path / "m")
    del table["flux_g"]
    with pytest.raises(ChunkError, match="photoz reads 'flux_g'"):
        PhotoZ(bands=("g", "r"), train=RECIPE).fit(table, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_pipeline(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (
        "astrokeras: 1\nname: door\nsource:\n  synthetic: {rows: 500, seed: 1}\nstages:\n  - colors: {bands: [g, r]}\n"
        "outputs:\n  - votable: {path: out.vot, columns: [ids, color_g_r]}\n"
    )
    Path("p.yaml").write_text(text)
    pipeline = Pipeline.read("p.yaml", sets=["source.synthetic.rows=70"])
    assert pipeline.name == "door"
    assert "color_g_r" in [field.name for field in pipeline.columns]
    record = pipeline.run(quiet=True)
    assert record["rows_selected"] == 70
    assert record["products"][0]["path"] == "out.vot"
    # The same numbers as the stage gives in memory.
    source = Synthetic(rows=70, seed=1)
    chunk = source.read(next(iter(source.partitions(70))), ["flux_g", "flux_err_g", "flux_r", "flux_err_r"])
    mine = np.asarray(Colors(bands=("g", "r"))(chunk)["color_g_r"])
    np.testing.assert_array_equal(np.ma.filled(Table.read("out.vot")["color_g_r"], np.nan), mine)
    Path("p.yaml").write_text(text.replace("[g, r]", "[g, q]"))
    with pytest.raises(SpecError, match=r"p.yaml:6:5: colors reads 'flux_q'"):
        Pipeline.read("p.yaml")


def test_a_source_gives_all_its_rows_as_a_table(monkeypatch):
    monkeypatch.setattr("astrokeras.stage._ROWS", 70)
    source = Synthetic(rows=150, seed=2, where="flux_r > 20000")
    whole = source.read(next(iter(source.partitions(150))), [field.name for field in source.fields()])
    table = source.read_table()
    assert table.colnames == [field.name for field in source.fields()]
    assert 0 < len(table) < 150 and table.meta["rows_read"] == 150
    for name in table.colnames:
        np.testing.assert_array_equal(table[name], whole[name])
    assert table["flux_r"].info.meta == whole["flux_r"].info.meta
    assert source.read_table(["z_spec", "ra"]).colnames == ["z_spec", "ra"]


def test_every_name_of_the_door_leads_somewhere():
    import astrokeras

    assert set(astrokeras.__all__) == set(astrokeras._HOMES)
    for name in astrokeras.__all__:
        assert getattr(astrokeras, name).__name__ == name
