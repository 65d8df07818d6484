"""Zero points of a calibration run make nJy of counts, wherever images are read."""

import os

import frames
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable, Table

from astrokeras import Cutouts
from astrokeras.chunk import concatenate
from astrokeras.errors import IngestError
from astrokeras.exposures.calibrate import Calibrate
from astrokeras.flags import Flag
from astrokeras.images.image import NJY_ZERO_POINT
from astrokeras.images.reader import open_image
from astrokeras.ingest.exposures import Exposures
from astrokeras.ingest.forced import ForcedPhotometry
from astrokeras.ingest.images import Images

ZERO_POINTS = {"r": 27.0, "g": 26.3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Frames in counts of two bands, their stars, and the table of their zero points."""
    path = tmp_path_factory.mktemp("frames")
    for seed, (band, zero_point) in enumerate(ZERO_POINTS.items()):
        stars = frames.write(path / f"{band}.fits", seed, band=band, zero_point=zero_point)
    # The stars of both frames have the same fluxes.
    stars["flux_g"], stars["flux_err_g"] = stars["flux_r"], stars["flux_err_r"]
    stars.write(path / "stars.ecsv")
    source = Exposures(files=str(path / "?.fits"))
    rows = concatenate([source.read(part, [f.name for f in source.fields()]) for part in source.partitions(10)])
    found = Calibrate(catalog={"files": str(path / "stars.ecsv"), "bands": ["g", "r"]})(rows)
    found.write(path / "exposures.vot", format="votable")
    return path


@pytest.fixture(scope="module")
def stars(folder):
    table = QTable.read(folder / "stars.ecsv")
    for name in ("ra", "dec"):
        table[name].unit = "deg"
    return table


def table_of(folder):
    return Table.read(folder / "exposures.vot")


def changed(folder, path, change):
    """Table of zero points after a change; its path."""
    table = table_of(folder)
    change(table)
    table.write(path, format="votable", overwrite=True)
    return str(path)


def read(source):
    names = [field.name for field in source.fields()]
    return concatenate([source.read(part, names) for part in source.partitions(1 << 20)])


def test_catalog_of_counts_has_true_fluxes(folder, stars):
    files = {"files": str(folder / "{band}.fits"), "bands": ("r", "g"), "box": 60}
    with pytest.raises(IngestError, match=r"photometry needs fluxes.*`calibration:`"):
        read(Images(**files))
    source = Images(**files, calibration=str(folder / "exposures.vot"))
    assert str(folder / "exposures.vot") in next(source.partitions(1)).files
    table = read(source)
    near = np.hypot(*((table[n][:, None] - stars[n]).to_value("arcsec") for n in ("ra", "dec")))
    rows, bright = near.argmin(axis=0), (near.min(axis=0) < 0.5) & (stars["flux_r"] > 1e5)
    assert bright.sum() > 20
    for name in ("flux_psf_r", "flux_psf_g", "flux_r", "flux_g"):
        ratio = table[name][rows[bright]].value / stars["flux_r"][bright]
        assert np.median(ratio) == pytest.approx(1, abs=0.01), name


def test_forced_fluxes_are_true(folder, stars):
    stage = ForcedPhotometry(
        files=str(folder / "{band}.fits"), bands=("g",), box=60, calibration=str(folder / "exposures.vot")
    )
    assert stage.inputs() == (str(folder / "g.fits"), str(folder / "exposures.vot"))
    bright = stars[stars["flux_r"] > 1e5]
    ratio = stage(bright)["flux_forced_g"].value / bright["flux_r"]
    assert np.median(ratio) == pytest.approx(1, abs=0.01)


def test_stamps_are_counts_times_the_flux_of_a_count(folder, stars):
    options = {"images": str(folder / "{band}.fits"), "bands": ("r", "g"), "size": "16 pix"}
    counts = Cutouts(**options, unit="ct")(stars)["stamp"]
    stage = Cutouts(**options, calibration=str(folder / "exposures.vot"))
    assert str(folder / "exposures.vot") in stage.inputs()
    stamps = stage(stars)["stamp"]
    assert stamps.unit == "nJy"
    fitted = dict(zip(table_of(folder)["band"], table_of(folder)["zero_point_fit"], strict=True))
    for b, band in enumerate("rg"):
        assert fitted[band] == pytest.approx(ZERO_POINTS[band], abs=0.01)
        factor = 10 ** (0.4 * (NJY_ZERO_POINT - fitted[band]))
        np.testing.assert_allclose(stamps[..., b].value, counts[..., b].value * factor, rtol=1e-5)


def test_a_new_calibration_counts_in_the_same_process(folder, stars, tmp_path):
    def fainter(table):
        table["zero_point_fit"] += 1.0

    path = changed(folder, tmp_path / "z.vot", lambda table: None)
    forced = ForcedPhotometry(files=str(folder / "{band}.fits"), bands=("r",), box=60, calibration=path)
    cutouts = Cutouts(images=str(folder / "{band}.fits"), bands=("r",), size="8 pix", calibration=path)
    few = stars[:3]
    before = forced(few)["flux_forced_r"].value, cutouts(few)["stamp"].value
    changed(folder, path, fainter)
    os.utime(path, ns=(1, 1))
    after = forced(few)["flux_forced_r"].value, cutouts(few)["stamp"].value
    for old, new in zip(before, after, strict=True):
        np.testing.assert_allclose(new, old * 10**-0.4, rtol=1e-4)


def test_zero_point_of_a_call_comes_before_that_of_the_file(folder, tmp_path):
    frames.write(tmp_path / "r.fits", MAGZERO=25.0)
    for path, notes in ((folder / "r.fits", 0), (tmp_path / "r.fits", 1)):
        image = open_image(path, zero_point=27.0)
        assert (image.unit, image.zero_point) == ("nJy", 27.0)
        assert sum("27.000 was given and taken" in note for note in image.notes) == notes
        np.testing.assert_allclose(
            image.read().data, fits.getdata(path) * 10 ** (0.4 * (NJY_ZERO_POINT - 27)), rtol=1e-6
        )
    with pytest.raises(IngestError, match=r"r\.fits, HDU 0: a zero point is a number of mag, not nan"):
        open_image(folder / "r.fits", zero_point=float("nan"))


def only_g(table):
    table.remove_row(list(table["band"]).index("r"))


def other_hdu(table):
    table["hdu"] = ["7"] * len(table)


def twice(table):
    table["path"], table["band"] = ["elsewhere/r.fits"] * 2, ["r"] * 2


def flagged(table):
    table["flags"] = Flag.NO_DATA
    table["problem_calibrate"] = ["has 2 reference stars"] * len(table)


def empty(table):
    table["zero_point_fit"] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (only_g, r"has no row for .*r\.fits, HDU 0, band 'r'; it has no file of this name"),
        (other_hdu, "has no row for .*; of this file it has HDU 7, band 'r'"),
        (twice, "has 2 rows for .*; one is needed"),
        (flagged, "gives no zero point for .*: has 2 reference stars"),
        (empty, "gives no zero point for .*: zero_point_fit is nan"),
        (lambda table: table.remove_column("zero_point_err"), "lacks the column 'zero_point_err'.*stage `calibrate`"),
        (lambda table: table.replace_column("zero_point_fit", table["path"]), "holds text, numbers are needed"),
    ],
)
def test_what_gives_no_zero_point_is_said(folder, tmp_path, change, message):
    path = changed(folder, tmp_path / "z.vot", change)
    source = Images(files=str(folder / "{band}.fits"), bands=("r",), calibration=path)
    with pytest.raises(IngestError, match=rf"z\.vot.*{message}"):
        list(source.partitions(1))


def test_the_same_path_comes_before_the_same_name(folder, tmp_path):
    def two(table):
        table["path"] = ["elsewhere/r.fits", str(folder / "r.fits")]
        table["band"], table["zero_point_fit"] = ["r"] * 2, [20.0, 21.0]

    path = changed(folder, tmp_path / "z.vot", two)
    assert Images(files=str(folder / "{band}.fits"), bands=("r",), calibration=path).open("r").zero_point == 21.0


def test_a_table_that_is_not_there_is_named(folder):
    source = Images(files=str(folder / "{band}.fits"), bands=("r",), calibration="nowhere.vot")
    with pytest.raises(IngestError, match=r"nowhere\.vot: No such file"):
        list(source.partitions(1))
