"""Guards of catalogs: a magnitude system that colors gainsay, and maps that fit a file in part."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from astrokeras.cli import main
from astrokeras.errors import IngestError, SurveyError
from astrokeras.ingest.catalog import Catalog
from astrokeras.surveys import canonical_table, load
from astrokeras.surveys.magnitude_system import judge, tally
from astrokeras.tallies import merged

#: AB magnitude of a source of Vega magnitude 0.
TO_AB = {"W1": 2.699, "W2": 3.339, "J": 0.91, "H": 1.39, "Ks": 1.85}


def vega(rng, n=400, **colors):
    """Vega magnitudes of objects whose colors scatter by 0.1 mag about the given ones."""
    first = rng.uniform(12, 14, n)
    out = {}
    for color, value in colors.items():
        blue, red = color.split("_")
        out.setdefault(blue, first)
        out[red] = out[blue] - value - rng.normal(0, 0.1, n)
    return out


def survey(mags, system, **more):
    bands = {band: {"vega_to_ab": TO_AB[band]} if system == "Vega" else {} for band in mags}
    statement = {"mag": "m_{band}", "error": "e", "system": system}
    return {"bands": bands, "photometry": {"p": statement}} | more


def table(mags, error=0.02, **columns):
    n = len(next(iter(mags.values())))
    return Table({f"m_{band}": values for band, values in mags.items()} | {"e": np.full(n, error)} | columns)


def warned(mags, system, labels=None, **options):
    columns = {"class": np.full(400, labels)} if labels else {}
    more = {"class_true": "class"} if labels else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        canonical_table(table(mags, **columns, **options), survey(mags, system, **more))
    return [str(w.message) for w in caught]


@pytest.mark.parametrize(
    ("colors", "labels"),
    [({"W1_W2": 0.0}, "STAR"), ({"W1_W2": 0.15}, None), ({"J_Ks": 0.7}, "STAR"), ({"H_Ks": 0.1}, "star")],
)
def test_the_wrong_system_is_told_and_the_right_one_passes(colors, labels):
    rng = np.random.default_rng(1)
    mags = vega(rng, **colors)
    assert warned(mags, "Vega", labels) == []
    [text] = warned(mags, "AB", labels)
    blue, red = next(iter(colors)).split("_")
    # Bins of 0.05 mag, and the scatter of a median.
    median = float(text.split(" is ")[1].split(" mag")[0])
    assert median == pytest.approx(next(iter(colors.values())), abs=0.05)
    assert f"the median {blue} - {red} of 400 " in text
    assert "as if Vega magnitudes had been taken for AB ones" in text
    ab = {band: values + TO_AB[band] for band, values in mags.items()}
    assert warned(ab, "AB", labels) == []
    [text] = warned(ab, "Vega", labels)
    assert "as if AB magnitudes had been taken for Vega ones" in text


def test_few_faint_or_unclassed_objects_say_nothing():
    mags = vega(np.random.default_rng(2), W1_W2=0.0)
    assert warned({band: values[:40] for band, values in mags.items()}, "AB") == []
    assert warned(mags, "AB", error=0.2) == []
    assert warned(mags, "AB", "GALAXY") == []
    # Near-infrared colors of galaxies in AB are those of stars in Vega magnitudes.
    assert warned(vega(np.random.default_rng(3), J_Ks=0.7), "AB") == []


def test_point_like_objects_stand_for_stars():
    rng = np.random.default_rng(4)
    mags = vega(rng, J_Ks=0.7)
    columns = {"ext": np.where(np.arange(400) < 100, 1, 0)}
    stated = survey(mags, "AB", extendedness="ext")
    with pytest.warns(UserWarning, match="the median J - Ks of 300 stars"):
        canonical_table(table(mags, **columns), stated)


def test_bands_are_known_by_their_filters():
    mags = vega(np.random.default_rng(5), W1_W2=0.0)
    renamed = {"a": mags["W1"], "b": mags["W2"]}
    stated = {"bands": {"a": "WISE/WISE.W1", "b": "WISE/WISE.W2"}}
    stated["photometry"] = {"p": {"mag": "m_{band}", "error": "e", "system": "AB"}}
    with pytest.warns(UserWarning, match="the median W1 - W2 of 400 objects"):
        canonical_table(table(renamed), stated)
    # A filter of another name is none of these, whatever the band is called.
    stated["bands"] = {"W1": "Spitzer/IRAC.I1", "W2": "Spitzer/IRAC.I2"}
    canonical_table(table(mags), stated)


PIPELINE = """\
astrokeras: 1
name: system
partition: {rows: 64}
source:
  catalog:
    files: stars.fits
    survey:
      object_id: id
      bands: {W1: WISE/WISE.W1, W2: WISE/WISE.W2}
      photometry: {p: {mag: "m_{band}", error: e, system: AB}}
stages:
  - colors: {bands: [W1, W2]}
outputs:
  - parquet: {path: out.parquet}
"""


def test_a_run_warns_once_for_all_partitions(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    mags = vega(np.random.default_rng(6), W1_W2=0.0)
    table(mags, id=np.arange(400)).write("stars.fits")
    Path("p.yaml").write_text(PIPELINE)
    assert main(["run", "p.yaml", "--work", "w"]) == 0
    said = capsys.readouterr().err
    assert said.count("source: warning: the median W1 - W2 of 400 objects is") == 1
    [log] = Path("w/system/logs").glob("*.log")
    assert "the median W1 - W2 of 400 objects" in log.read_text()
    [record] = [json.loads(p.read_text()) for p in Path("w/system/runs").glob("*.json")]
    assert record["products"][0]["rows"] == 400


def test_parts_add_up_to_the_whole():
    mags = vega(np.random.default_rng(7), W1_W2=0.0)
    out = canonical_table(table(mags), survey(mags, "Vega"))
    assert merged(tally(out[k::3], []) for k in range(3)) == tally(out, [])
    assert sum(tally(out, []).values()) == 400
    assert judge({}) == ()


def test_the_shipped_map_agrees_with_a_real_catalog(shared_data):
    """Stars, galaxies and quasars of VST ATLAS and WISE, of which AB magnitudes are said."""
    path = str(shared_data / "starqso" / "vstatlas_wise.csv")
    stated = load("vst-atlas-wise").model_dump(exclude_defaults=True)
    stated["photometry"]["color_sums"]["constant_error"] = 0.05
    native = Table.read(path)
    canonical_table(native, stated)
    # The same in Vega magnitudes.
    native["w1m2"] += 3.339 - 2.699
    native["rmw1"] += 2.699
    with pytest.warns(UserWarning, match="the median W1 - W2 of .* stars is 0.0"):
        canonical_table(native, stated)


def casjobs(folder, **columns):
    made = {"objID": [1], "ra": [1.0], "dec": [2.0]}
    made |= {f"psfMag_{b}": [20.0] for b in "ugriz"} | {f"psfMagErr_{b}": [0.1] for b in "ugriz"} | columns
    Table(made).write(folder / "photo.fits")
    return str(folder / "photo.fits")


def lacking(path, **options):
    source = Catalog(files=path, **options)
    with pytest.raises(IngestError) as caught:
        list(source.partitions(10))
    return str(caught.value)


def test_a_map_that_fits_in_part_says_what_is_there(tmp_path):
    said = lacking(casjobs(tmp_path, modelMag_u=[20.0]), survey="sdss-casjobs")
    assert "no column 'modelMagErr_u'" in said
    assert "'modelMag_g'" in said
    assert "of the needed columns there are objID, ra, dec, modelMag_u" in said
    assert "photometry 'psf' of the map is there whole: `photometry: psf`" in said


def test_a_map_that_fits_better_is_named(tmp_path):
    made = {"objID": [1], "raMean": [1.0], "decMean": [2.0]}
    Table(made | {f"{b}MeanKronMag{e}": [20.0] for b in "grizy" for e in ("", "Err")}).write(tmp_path / "ps1.fits")
    said = lacking(str(tmp_path / "ps1.fits"), survey="sdss-casjobs")
    assert "of the needed columns there are objID" in said
    assert "the survey map 'ps1-dr2' fits the file" in said
    assert "none of the needed columns is there" in lacking(
        str(tmp_path / "ps1.fits"), survey={"bands": ["u"], "photometry": {"p": {"mag": "u", "system": "AB"}}}
    )


def test_a_table_in_memory_says_what_lacks():
    with pytest.raises(SurveyError, match="no column 'modelMag_u'"):
        canonical_table(Table({"objID": [1], "ra": [1.0], "dec": [0.0]}), "sdss-casjobs")
