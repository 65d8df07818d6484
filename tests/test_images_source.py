"""The source ``images`` and the stage ``forced_photometry``: files, tiles as partitions, errors, pipelines."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import scenes
from astropy.io import fits
from astropy.io.votable import parse
from astropy.table import QTable
from astropy.wcs import Sip
from pydantic import ValidationError

from astrokeras import PhotoZ
from astrokeras.cli import main
from astrokeras.errors import IngestError, ModelError
from astrokeras.fields import by_name
from astrokeras.flags import Flag
from astrokeras.ingest.forced import ForcedPhotometry
from astrokeras.ingest.images import Images
from astrokeras.photometry import forced_photometry
from astrokeras.photometry.detection import detect
from astrokeras.photometry.psf_model import Psf
from astrokeras.testing import check_stage


@pytest.fixture(scope="module")
def field():
    return scenes.field(seed=2, size=300, count=40, faint=200.0)


@pytest.fixture(scope="module")
def folder(field, tmp_path_factory):
    """Folder with ``r.fits`` and ``i.fits``."""
    path = tmp_path_factory.mktemp("images")
    scenes.write(field[0], path)
    return path


def read(source, columns=None):
    """All rows of a source, its partitions stacked."""
    names = columns or [f.name for f in source.fields()]
    return [source.read(part, names) for part in source.partitions(1000)]


@pytest.fixture(scope="module")
def source(folder):
    return Images(files=f"{folder}/{{band}}.fits", bands=("r", "i"), filters={"r": "SLOAN/SDSS.r"})


@pytest.fixture(scope="module")
def table(source):
    return read(source)[0]


def test_files_give_the_catalog_of_their_pixels(field, table, source):
    expected = detect(field[0])
    assert list(table["object_id"]) == list(expected["object_id"])
    for name in ("ra", "flux_r", "flux_psf_i", "flux_total_i", "flux_err_i", "semi_major"):
        np.testing.assert_allclose(table[name].value, expected[name].value, rtol=1e-5)
        assert table[name].unit == expected[name].unit
    declared = by_name(source.fields())
    assert list(declared) == table.colnames
    assert declared["flux_r"].filter == "SLOAN/SDSS.r"
    assert declared["flux_psf_r"].photometry == "psf"


def test_tiles_are_partitions(source, table):
    tiled = source.model_copy(update={"tile": 150, "overlap": 60})
    parts = read(tiled, ["object_id", "flux_r", "flags"])
    assert len(parts) == 4
    assert all(len(part) for part in parts)
    ids = np.concatenate([part["object_id"] for part in parts])
    assert sorted(ids) == sorted(table["object_id"])
    flux = dict(zip(ids, np.concatenate([part["flux_r"].value for part in parts]), strict=True))
    np.testing.assert_allclose([flux[i] for i in table["object_id"]], table["flux_r"].value, rtol=1e-4)


def test_where_selects_rows(source, table):
    chosen = source.model_copy(update={"where": "flux_r > 2000 and snr > 10"})
    rows = read(chosen, ["object_id", "flux_r"])[0]
    assert rows.meta["rows_read"] == len(table)
    assert len(rows) == np.sum((table["flux_r"].value > 2000) & (table["snr"] > 10))
    assert rows.colnames == ["object_id", "flux_r"]


def test_notes_reach_the_user(field, tmp_path):
    data = np.random.default_rng(1).normal(0, 1, (90, 90)) + scenes.stars((90, 90), [40.0], [45.0], [3000.0], 3.0)
    scenes.write([scenes.image(data, "r", field[0][0].wcs)], tmp_path)
    lonely = Images(files=f"{tmp_path}/{{band}}.fits", bands=("r",))
    rows = read(lonely)[0]
    said = lonely.judge(lonely.tally(rows))
    assert any("PSF: a Moffat profile fitted to 1 star, too few to be stacked (FWHM 3.0" in text for text in said)
    assert lonely.findings(lonely.tally(rows))["objects"] == len(rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detect": ("g",)}, "no band 'g'"),
        ({"bands": ("r", "r")}, "names a band twice"),
        ({"files": {"r": "r.fits"}}, "no file for band 'i'"),
        ({"files": "one.fits"}, r"needs \{band\} in the path"),
        ({"psf": {"z": "psf.fits"}}, "no band 'z'"),
        ({"combine": "median"}, "mean"),
        ({"apertures": (1.2, 2.0, 1.24)}, "1.2 and 1.24 would both be ap12"),
        ({"thresh": 3}, "thresh"),
    ],
)
def test_mistakes_are_found_without_a_file(change, message):
    settings = {"files": "{band}.fits", "bands": ("r", "i")} | change
    with pytest.raises(ValidationError, match=message):
        Images(**settings)


def test_files_that_cannot_serve_are_named(source, folder, tmp_path):
    with pytest.raises(IngestError, match=r"y\.fits: no such file"):
        list(Images(files=f"{folder}/{{band}}.fits", bands=("y",)).partitions(10))
    with pytest.raises(IngestError, match=r"2 files match, where band 'r' needs one"):
        list(Images(files=f"{folder}/?.fits", bands=("r",)).partitions(10))
    data = np.random.default_rng(0).normal(0, 1, (40, 40)).astype("f4")
    header = scenes.grid((40, 40)).to_header()
    fits.PrimaryHDU(data, header).writeto(tmp_path / "r.fits")
    counts = Images(files=f"{tmp_path}/{{band}}.fits", bands=("r",))
    with pytest.raises(IngestError, match=r"`layout:` with `calibration: \[\{zero_point"):
        list(counts.partitions(10))
    stated = Images(files=counts.files, bands=("r",), layout={"calibration": [{"zero_point": 31.4}]})
    assert len(list(stated.partitions(10))) == 1


def test_a_psf_from_a_file_is_used(field, folder, table):
    y, x = np.mgrid[-25:26, -25:26]
    fits.PrimaryHDU(scenes.moffat(x, y, 0, 0, 3.0)).writeto(folder / "psf_r.fits")
    given = Images(files=f"{folder}/{{band}}.fits", bands=("r",), psf={"r": f"{folder}/psf_r.fits"})
    parts = list(given.partitions(10))
    assert f"{folder}/psf_r.fits" in parts[0].files
    rows = given.read(parts[0], ["x", "y", "flux_psf_r"])
    _, px, py, flux = field
    found, near = scenes.matched(rows, px, py)
    bright = near & (flux > 3000)
    assert np.median(rows["flux_psf_r"][found[bright]].value / flux[bright]) == pytest.approx(1, abs=0.004)
    fits.PrimaryHDU(np.eye(31)[::-1] * 0 - 1.0).writeto(folder / "bad.fits")
    with pytest.raises(IngestError, match="sum is positive"):
        read(given.model_copy(update={"psf": f"{folder}/bad.fits"}))


def psfield(path):
    """A psField file whose PSF in u grows with the column of the frame."""
    y, x = np.mgrid[-25:26, -25:26]
    planes = [np.exp(-(x**2 + y**2) / (2 * sigma**2)) for sigma in (2.0, 4.0)]
    one = np.zeros((2, 3, 3))
    one[0, 0, 0] = one[1, 0, 1] = 1.0
    columns = [fits.Column("RROWS", "2601E", array=np.array(planes, np.float32).reshape(2, -1))]
    for name, value in (("RNROW", 51), ("RNCOL", 51), ("NROW_B", 1), ("NCOL_B", 2)):
        columns.append(fits.Column(name, "J", array=[value, value]))
    columns.append(fits.Column("C", "9E", dim="(3,3)", array=one.astype(np.float32)))
    last = fits.BinTableHDU.from_columns([fits.Column("PSF_NSTAR", "5J", array=[[9] * 5])])
    empty = [fits.ImageHDU() for _ in range(4)]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns), *empty, last]).writeto(path)
    return planes


def test_psf_of_a_frame_is_that_of_the_middle_of_the_part_that_is_left(tmp_path):
    planes = psfield(tmp_path / "psField.fit")
    header = fits.Header({"FILTER": "u", "BUNIT": "nJy", "CRPIX1": 1025.0, "CRPIX2": 745.0})
    fits.PrimaryHDU(np.ones((20, 101), np.float32), header).writeto(tmp_path / "whole.fits")
    header["CRPIX1"] = 75.0
    fits.PrimaryHDU(np.ones((20, 101), np.float32), header).writeto(tmp_path / "cut.fits")
    for name, column in (("whole", 50), ("cut", 1000)):
        source = Images(files=f"{tmp_path}/{name}.fits", bands=("u",), psf=f"{tmp_path}/psField.fit")
        wanted = planes[0] + column / 1000 * planes[1]
        found = source.read_psfs([source.open("u")])["u"].data
        middle = slice(25 - len(found) // 2, 26 + len(found) // 2)
        np.testing.assert_allclose(found, (wanted / wanted.sum())[middle, middle], atol=1e-6)


def test_forced_photometry_keeps_the_contract(folder, table):
    stage = ForcedPhotometry(files=f"{folder}/{{band}}.fits", bands=("r", "i"))
    check_stage(stage, table["object_id", "ra", "dec"][:12])
    assert set(stage.inputs()) == {f"{folder}/r.fits", f"{folder}/i.fits"}


def test_forced_fluxes_are_those_of_detected_stars_and_zero_on_empty_sky(field, folder):
    images, x, y, flux = field
    distance = np.hypot(x[:, None] - x, y[:, None] - y) + 1e9 * np.eye(len(x))
    alone = (distance.min(axis=1) > 20) & (np.minimum.reduce([x, y, 299 - x, 299 - y]) > 12)
    sky = images[0].wcs.pixel_to_world(x[alone], y[alone])
    stage = ForcedPhotometry(files=f"{folder}/{{band}}.fits", bands=("r", "i"), measure="deep")
    rows = stage(QTable({"ra": sky.ra, "dec": sky.dec}))
    for band, color in (("r", 1.0), ("i", 1.5)):
        pull = (rows[f"flux_deep_{band}"].value - color * flux[alone]) / rows[f"flux_err_deep_{band}"].value
        bright = flux[alone] > 1000
        ratio = rows[f"flux_deep_{band}"].value[bright] / (color * flux[alone][bright])
        assert np.median(ratio) == pytest.approx(1, abs=0.01)
        assert np.abs(np.median(pull[~bright])) < 1.0
    rng = np.random.default_rng(4)
    ex, ey = rng.uniform(10, 290, (2, 4000))
    empty = np.hypot(ex[:, None] - x, ey[:, None] - y).min(axis=1) > 14
    sky = images[0].wcs.pixel_to_world(ex[empty], ey[empty])
    rows = stage(QTable({"ra": sky.ra, "dec": sky.dec}))
    pull = rows["flux_deep_r"].value / rows["flux_err_deep_r"].value
    assert empty.sum() > 500
    assert 0.85 < 1.4826 * np.median(np.abs(pull - np.median(pull))) < 1.15
    assert np.abs(np.median(pull)) < 0.3
    off = stage(QTable({"ra": [151.0, np.nan], "dec": [2.0, 2.0]}, units={"ra": "deg", "dec": "deg"}))
    assert np.isnan(off["flux_deep_r"]).all()
    assert list(off["flags"]) == [Flag.NO_IMAGE, Flag.NO_IMAGE | Flag.BAD_POSITION]


def test_a_distortion_leads_no_object_far_away_onto_the_image():
    wcs = scenes.grid((100, 100), scale=0.36)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    a = np.zeros((3, 3))
    a[2, 0] = 3e-4
    wcs.sip = Sip(a, a.T.copy(), None, None, wcs.wcs.crpix)
    image = scenes.image(np.random.default_rng(0).normal(0, 1, (100, 100)), "r", wcs)
    ra, dec = (v.ravel() for v in np.meshgrid(np.linspace(147, 153, 61), np.linspace(-1, 5, 61)))
    table = QTable({"object_id": np.arange(len(ra)), "ra": ra, "dec": dec}, units={"ra": "deg", "dec": "deg"})
    found = forced_photometry([image], table, {"r": Psf.moffat(3.0, 3.0, 12)}, box=50)
    near = np.hypot(ra - 150, dec - 2) < 0.02
    assert near.sum() == 1
    np.testing.assert_array_equal(np.isfinite(found["flux_forced_r"]), near)


def test_forced_photometry_together_separates_a_pair():
    rng = np.random.default_rng(12)
    data = scenes.stars((120, 120), [60.0, 63.5], [60.0, 60.0], [3000.0, 1000.0], 3.0) + rng.normal(0, 1, (120, 120))
    image = scenes.image(data, "r")
    psf = {"r": Psf.moffat(3.0, 3.0, 25)}
    table = QTable({"x": [60.0, 63.5], "y": [60.0, 60.0]})
    alone, both = (
        forced_photometry([image], table, psf, together=t, box=60, pixel_scale=0.4)["flux_forced_r"].value
        for t in (False, True)
    )
    np.testing.assert_allclose(both, [3000, 1000], rtol=0.03)
    assert alone[1] > 1500
    fluxes = forced_photometry([replace(image, unit="ct")], table, psf, box=60, pixel_scale=0.4)
    assert fluxes["flux_forced_r"].unit == "ct"


def test_a_pipeline_runs_on_images_alone(folder, tmp_path, capsys):
    file = tmp_path / "p.yaml"
    file.write_text(
        f"astrokeras: 1\nname: alone\nsource:\n  images: {{files: '{folder}/{{band}}.fits', bands: [r, i], "
        f"detect: [r], tile: 160, overlap: 60}}\nstages:\n  - colors: {{bands: [r, i]}}\n  - extent: {{bands: [r]}}\n"
        f"outputs:\n  - votable: {{path: '{tmp_path}/out.vot'}}\n"
    )
    assert main(["check", str(file)]) == 0
    assert main(["run", str(file), "--work", str(tmp_path / "work"), "--quiet"]) == 0
    table = parse(tmp_path / "out.vot").get_first_table().to_table()
    assert len(table) > 30
    assert len(set(table["object_id"])) == len(table)
    color = np.ma.filled(table["color_r_i"].astype(float), np.nan)
    assert np.nanmedian(color) == pytest.approx(2.5 * np.log10(1.5), abs=0.02)
    assert {"extent_r", "flux_total_r", "theta", "flags"} <= set(table.colnames)


def test_photo_z_runs_on_an_image_alone(small_model):
    bands = dict(zip("ugriz", (0.3, 0.6, 1.0, 1.4, 1.7), strict=True))
    images, *_ = scenes.field(
        seed=6,
        size=200,
        count=12,
        faint=3e4,
        bright=2e5,
        noise=60.0,
        fwhm=dict.fromkeys(bands, 3.0),
        shifts={band: (0.2 * i, 0.0) for i, band in enumerate(bands)},
        colors=bands,
    )
    psf = {band: Psf.moffat(3.0, 3.0, 20) for band in bands}
    table = detect(images, detect=["r", "i"], psf=psf, box=100)
    with pytest.raises(ModelError, match="photometry"):
        PhotoZ.from_pretrained(small_model)(table)
    redshifts = PhotoZ.from_pretrained(small_model, override=("photometry", "dereddened"))(table)
    assert len(redshifts) >= 10
    assert np.isfinite(redshifts["z_phot"]).all()
    assert np.all(np.asarray(redshifts["flags"]) & Flag.PHOTOMETRY_MISMATCH)


def test_import_is_light():
    code = (
        "import sys; from astrokeras.ingest.images import Images; import astrokeras.ingest.forced;"
        "Images(files='{band}.fits', bands=('r',), layout='sdss-frame').fields();"
        "heavy = {'photutils', 'scipy', 'tensorflow', 'astropy.table', 'pandas', 'reproject', 'numba'};"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
