"""Source stamps: pictures and FITS files of one object each, with their labels."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from PIL import Image
from pydantic import ValidationError
from test_cutouts import tan

from astrokeras.errors import IngestError
from astrokeras.flags import Flag
from astrokeras.images.image import Pixel
from astrokeras.ingest import pictures
from astrokeras.ingest.stamp_files import Pixels, centred, shrunk
from astrokeras.ingest.stamps import Stamps
from astrokeras.pipeline import Pipeline


def read(source, columns=None, max_rows=100):
    """All rows, as the runner reads them."""
    from astrokeras.chunk import concatenate

    names = columns or [f.name for f in source.fields()]
    return concatenate([source.read(part, names) for part in source.partitions(max_rows)])


def ramp(height, width):
    """A picture with red along x and green along y from the top, and blue 51."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0], rgb[..., 1], rgb[..., 2] = np.arange(width), np.arange(height)[:, None] * 2, 51
    return rgb


@pytest.fixture
def pngs(tmp_path):
    folder = tmp_path / "png"
    folder.mkdir()
    for k, (name, size) in enumerate({"b": (20, 30), "a": (20, 30), "c": (12, 16)}.items()):
        Image.fromarray(ramp(*size) + np.uint8(k)).save(folder / f"{name}.png")
    return folder


def test_pictures(pngs):
    source = Stamps(files=f"{pngs}/{{name}}.png", bands=("i", "r", "g"), size="16 pix", pixel_scale=0.4)
    table = read(source)
    assert table["object_id"].tolist() == ["a", "b", "c"]
    assert table["stamp"].shape == (3, 16, 16, 3) and table["stamp"].dtype == np.float32 and table["stamp"].unit is None
    assert table["stamp"].info.meta == {"bands": "i,r,g", "pixel_scale": 0.4}
    # The lowest row of the picture comes first; (20, 30) is cropped about its middle: rows 2 to 17, columns 7 to 22.
    whole = (ramp(20, 30)[::-1] + np.uint8(1)) / np.float32(255)
    np.testing.assert_array_equal(table["stamp"][0], whole[2:18, 7:23])
    small = np.full((16, 16, 3), np.nan, np.float32)
    small[2:14] = (ramp(12, 16)[::-1] + np.uint8(2)) / np.float32(255)
    np.testing.assert_array_equal(table["stamp"][2], small)
    assert table["flags"].tolist() == [0, 0, int(Flag.EDGE_STAMP)]


@pytest.mark.parametrize("files", ["{folder}", "{folder}/*.png", "{folder}/{{name}}.png"])
def test_names_of_files(pngs, files):
    (pngs / "notes.txt").write_text("no stamp")
    source = Stamps(files=files.format(folder=pngs), bands=("i", "r", "g"), size=8)
    assert [p.payload["names"] for p in source.partitions(2)] == [["a", "b"], ["c"]]
    assert [p.key for p in source.partitions(2)] == ["000000000000", "000000000002"]


def test_pictures_of_other_kinds(tmp_path):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    Image.fromarray(deep).save(tmp_path / "b.png")
    Image.fromarray(ramp(8, 8)).convert("RGBA").save(tmp_path / "c.png")
    one = read(Stamps(files=str(tmp_path), bands=("r",), size=8))
    np.testing.assert_array_equal(one["stamp"][0, ..., 0], grey[::-1] / np.float32(255))
    np.testing.assert_allclose(one["stamp"][1, ..., 0], deep[::-1] / 65535, rtol=1e-6)
    three = read(Stamps(files=f"{tmp_path}/c.png", bands=("i", "r", "g"), size=8))
    np.testing.assert_array_equal(three["stamp"][0], ramp(8, 8)[::-1] / np.float32(255))
    rgb = Image.fromarray(np.full((32, 32, 3), (200, 100, 50), np.uint8))
    rgb.save(tmp_path / "d.jpg", quality=95)
    jpg = read(Stamps(files=f"{tmp_path}/*.jpg", bands=("i", "r", "g"), size=32))
    np.testing.assert_allclose(jpg["stamp"].reshape(-1, 3), np.tile([200, 100, 50], (1024, 1)) / 255, atol=0.02)
    parts = Stamps(files={"g": f"{tmp_path}/a.png", "r": f"{tmp_path}/b.png"}, bands=("g", "r"), size=8)
    two = read(parts.model_copy(update={"files": {"g": f"{tmp_path}/{{name}}.png", "r": f"{tmp_path}/{{name}}.png"}}))
    assert np.isnan(two["stamp"]).all(axis=(1, 2, 3)).all() and (two["flags"] == Flag.NO_DATA).all()


def write_bands(folder, name="1", unit="nJy", shape=(20, 20), bands="gr", sigma=True):
    for k, band in enumerate(bands):
        cards = tan(shape=shape).to_header()
        cards["BUNIT"], cards["BAND"], cards["ORIGIN"] = unit, band, "astrokeras"
        mask = np.zeros(shape, np.int16)
        mask[9, 9] = Pixel.SATURATED
        hdus = [
            fits.PrimaryHDU(),
            fits.ImageHDU(np.full(shape, k + 1.0, np.float32), cards, name="SCI"),
            fits.ImageHDU(np.full(shape, 0.5, np.float32), cards, name="ERR"),
            fits.ImageHDU(mask, cards, name="MASK"),
        ]
        fits.HDUList(hdus if sigma else hdus[:2]).writeto(folder / f"s_{band}_{name}.fits")


def test_fits_files_of_several_bands(tmp_path):
    write_bands(tmp_path, "7")
    write_bands(tmp_path, "10", shape=(15, 15))
    (tmp_path / "s_r_7.fits").unlink()
    options = {"bands": ("g", "r"), "size": 16, "unit": "nJy", "errors": True, "masks": True, "column": "cut"}
    table = read(Stamps(files=f"{tmp_path}/s_{{band}}_{{name}}.fits", **options))
    assert table["object_id"].tolist() == ["10", "7"]
    assert table["cut"].unit == "nJy" and np.nanmax(table["cut"][0, ..., 1].value) == 2
    edge, gone, full = Flag.EDGE_STAMP | Flag.SATURATED, Flag.NO_IMAGE | Flag.SATURATED, np.isnan
    assert table["flags"].tolist() == [int(edge), int(gone | Flag.MASKED_PIXELS)]
    assert full(table["cut"][1, ..., 1].value).all() and (table["cut"][1, ..., 0].value == 1).all()
    assert full(table["cut_err"][0, 15].value).all() and (table["cut_err"][0, :15, :15].value == 0.5).all()
    assert table["cut_mask"][1, 7, 7, 0] == Pixel.SATURATED and (table["cut_mask"][1, ..., 1] == Pixel.NO_DATA).all()


def test_one_file_with_all_bands(tmp_path):
    data = np.arange(2 * 64, dtype=np.float32).reshape(2, 8, 8)
    hdus = [fits.ImageHDU(plane, name=f"SCI_{band}") for plane, band in zip(data, "GR", strict=True)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "a.fits")
    table = read(Stamps(files=str(tmp_path), bands=("g", "r"), size=8, unit="ct", hdu="SCI_{BAND}"))
    np.testing.assert_array_equal(table["stamp"][0].value, np.moveaxis(data, 0, -1))


def labels_file(folder, names=("a", "b", "x"), classes=("E", "S0", "Irr")):
    Table({"PGC": list(names), "class": list(classes), "T": [1.0, -2.0, 9.0]}).write(
        folder / "labels.csv", overwrite=True
    )
    return {
        "files": str(folder / "labels.csv"),
        "survey": {"object_id": "PGC", "class_true": "class"},
        "keep": {"t_type": {"column": "T", "description": "Hubble type"}},
    }


def test_labels(pngs):
    labels = labels_file(pngs)
    options = {"files": f"{pngs}/{{name}}.png", "bands": ("i", "r", "g"), "size": 8}
    table = read(Stamps(labels=labels, **options))
    assert table["class_true"].tolist() == ["E", "S0", ""]
    np.testing.assert_array_equal(table["t_type"], [1.0, -2.0, np.nan])
    cut = Stamps(labels=labels, where="class_true == 'S0'", **options)
    assert read(cut)["object_id"].tolist() == ["b"] and read(cut).meta["rows_read"] == 3
    assert read(Stamps(labels=labels, where="t_type < 5 and flags == 0", **options))["object_id"].tolist() == ["a", "b"]
    [part] = Stamps(labels=labels, **options).partitions(10)
    assert part.files[-1].endswith("labels.csv") and len(part.files) == 4


def test_labels_alone_open_no_stamp(pngs, monkeypatch):
    monkeypatch.setattr(pictures, "read_picture", None)
    source = Stamps(files=f"{pngs}/{{name}}.png", bands=("i", "r", "g"), size=8, labels=labels_file(pngs))
    assert read(source, ["object_id", "class_true"])["class_true"].tolist() == ["E", "S0", ""]


def test_labels_that_do_not_fit(pngs):
    options = {"files": f"{pngs}/{{name}}.png", "bands": ("i", "r", "g"), "size": 8}
    stranger = labels_file(pngs, names=("u", "v", "w"))
    with pytest.raises(IngestError, match=r"none of 3 labels \('u', 'v', ...\) is of one of the 3 stamps \('a', 'b'"):
        read(Stamps(labels=stranger, **options))
    labels = labels_file(pngs, names=("a", "b", "a"))
    with pytest.raises(IngestError, match=r"labels\.csv: the labels name 'a' more than once"):
        read(Stamps(labels=labels, **options))


def test_files_that_cannot_be_read(pngs, tmp_path):
    (pngs / "a.png").write_bytes((pngs / "a.png").read_bytes()[:60])
    (pngs / "d.png").write_text("<html>no picture</html>")
    options = {"files": f"{pngs}/{{name}}.png", "bands": ("i", "r", "g"), "size": 8}
    source = Stamps(**options)
    table = read(source)
    assert [int(f) for f in table["flags"]] == [int(Flag.NO_DATA), 0, 0, int(Flag.NO_DATA)]
    assert np.isnan(table["stamp"][0]).all() and np.isfinite(table["stamp"][1]).all()
    [said] = source.judge(source.tally(table))
    assert said.startswith("warning: 2 of 4 stamps")
    with pytest.raises(IngestError, match="none of 4 stamps"):
        source.judge({"stamps": 4, "without_data": 4})
    assert source.judge({"stamps": 4, "without_data": 0}) == ()
    with pytest.raises(IngestError, match=r"a\.png: cannot be read as a picture"):
        read(Stamps(if_unreadable="error", **options))
    with pytest.raises(IngestError, match=r"none-\*\.png: no file matches"):
        read(Stamps(**options | {"files": f"{tmp_path}/none-{{name}}.png"}))
    (tmp_path / "void").mkdir()
    with pytest.raises(IngestError, match=r"void"):
        read(Stamps(**options | {"files": f"{tmp_path}/void"}))
    (tmp_path / "two").mkdir()
    for ending in ("jpg", "png"):
        Image.fromarray(ramp(8, 8)).save(tmp_path / "two" / f"a.{ending}")
    with pytest.raises(IngestError, match=r"both named 'a'"):
        read(Stamps(**options | {"files": f"{tmp_path}/two"}))


def test_pixels_in_another_unit(tmp_path, pngs):
    write_bands(tmp_path, bands="g")
    with pytest.raises(IngestError, match=r"s_g_1\.fits, HDU SCI: its pixels are in nJy.*say `unit: nJy`"):
        read(Stamps(files=f"{tmp_path}/s_{{band}}_{{name}}.fits", bands=("g",), size=8))
    with pytest.raises(IngestError, match=r"a\.png: its pixels are without a physical unit.*leave out `unit`"):
        read(Stamps(files=f"{pngs}/*.png", bands=("i", "r", "g"), size=8, unit="nJy"))


def test_a_huge_picture_is_not_unpacked(tmp_path, monkeypatch):
    Image.new("L", (3000, 3000)).save(tmp_path / "a.png")
    monkeypatch.setattr(pictures, "MAX_PIXELS", 8_000_000)
    with pytest.raises(IngestError, match=r"a\.png: 3000 by 3000 pixels are more than the 8000000"):
        pictures.read_picture(str(tmp_path / "a.png"), 1)
    # Pillow itself warns above 89 million pixels, and refuses twice as many.
    Image.new("1", (20_000, 9_500)).save(tmp_path / "b.png")
    with pytest.raises(IngestError, match=r"b\.png"):
        pictures.read_picture(str(tmp_path / "b.png"), 1)


def test_shrinking():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(7, 9, 2)).astype(np.float32)
    data[3, 2, 1] = np.nan
    mask = np.where(np.isnan(data), 1, 0).astype(np.uint8)
    pixels = Pixels(data, np.full(data.shape, 2.0, np.float32), mask)
    total, mean = shrunk(pixels, 3, mean=False), shrunk(pixels, 3, mean=True)
    from skimage.measure import block_reduce

    expected = block_reduce(data[:6], (3, 3, 1), np.sum)
    np.testing.assert_allclose(total.data, expected, rtol=1e-5)
    np.testing.assert_allclose(mean.data, expected / 9, rtol=1e-5)
    np.testing.assert_allclose(total.sigma, 6)
    np.testing.assert_allclose(mean.sigma, 2 / 3)
    assert total.mask.sum() == 1 and total.mask[1, 0, 1] == 1
    assert shrunk(pixels, 1, mean=True) is pixels
    with pytest.raises(IngestError, match=r"cannot be shrunk by 8"):
        shrunk(pixels, 8, mean=True)


@pytest.mark.parametrize(("n", "size"), [(10, 4), (10, 5), (9, 4), (4, 10), (5, 8), (6, 6)])
def test_middles_stay_within_half_a_pixel(n, size):
    array = np.add.outer(np.arange(n), np.zeros(n))[..., None].astype(np.float32)
    out = centred(array, size, np.nan)[..., 0]
    there = np.isfinite(out[:, size // 2])
    assert there.sum() == min(n, size)
    first = out[there, size // 2][0] - np.flatnonzero(there)[0]
    assert abs(first + (size - 1) / 2 - (n - 1) / 2) <= 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "5 arcsec"}, "pixel_scale"),
        ({"files": {"g": "a"}}, "names the bands"),
        ({"shrink": 0}, "greater than or equal to 1"),
        ({"unit": "mag"}, "nJy"),
    ],
)
def test_parameters_that_do_not_fit(options, message):
    with pytest.raises(ValidationError, match=message):
        Stamps(**{"files": "a", "bands": ("g", "r"), "size": 8} | options)


def test_a_pipeline_of_stamps(pngs, tmp_path):
    """From files to products that hold the stamps: N-D columns through the store and both formats."""
    labels_file(pngs)
    file = tmp_path / "p.yaml"
    file.write_text(
        f"astrokeras: 1\nname: stamps\npartition: {{rows: 2}}\nvars: {{data: '{pngs}'}}\nsource:\n  stamps:\n"
        "    files: '{data}/{name}.png'\n    bands: [i, r, g]\n    size: 12 pix\n"
        "    labels: {files: '{data}/labels.csv', survey: {object_id: PGC, class_true: class}}\n"
        f"outputs:\n  - fits: {{path: '{tmp_path}/o.fits', columns: [ids, class_true, stamp, flags]}}\n"
        f"  - votable: {{path: '{tmp_path}/o.vot', columns: [ids, stamp]}}\n"
        f"  - parquet: {{path: '{tmp_path}/o.parquet'}}\n"
    )
    Pipeline.read(file).run(work=tmp_path / "work")
    source = Stamps(files=f"{pngs}/{{name}}.png", bands=("i", "r", "g"), size=12)
    expected = np.asarray(read(source)["stamp"])
    table = Table.read(tmp_path / "o.fits")
    np.testing.assert_array_equal(np.asarray(table["stamp"]), expected)
    assert table["class_true"].tolist() == ["E", "S0", ""]
    votable = Table.read(tmp_path / "o.vot", format="votable")
    np.testing.assert_array_equal(np.ma.filled(votable["stamp"], np.nan), expected)
    assert Table.read(tmp_path / "o.parquet").colnames == ["object_id", "class_true", "flags"]


def test_shipped_sets_of_stamps(shared_data):
    folder = shared_data / "morphology"
    labels = {"files": str(folder / "efigi_labels.csv"), "survey": {"object_id": "PGC", "class_true": "class"}}
    efigi = Stamps(files=f"{folder}/efigi/{{name}}.jpg", bands=("i", "r", "g"), size="64 pix", labels=labels)
    first, *others = efigi.partitions(200)
    assert 200 + sum(part.rows for part in others) == 3120
    table = efigi.read(first, [f.name for f in efigi.fields()])
    assert np.isfinite(table["stamp"]).all() and not table["flags"].any() and (table["class_true"] != "").all()
    bands = ("f115w", "f150w", "f200w", "f277w", "f356w", "f410m", "f444w")
    survey = {"object_id": "id", "z_spec": "redshift"}
    ceers = Stamps(
        files=f"{folder}/ceers_fits/ceers_{{band}}_{{name}}.fits", bands=bands, size=100, unit="ct",
        labels={"files": str(folder / "ceers_redshift.csv"), "survey": survey},
    )  # fmt: skip
    table = read(ceers)
    assert table["stamp"].shape == (15, 100, 100, 7) and (table["z_spec"] > 0.9).all()
    data = fits.getdata(folder / "ceers_fits" / f"ceers_f444w_{table['object_id'][3]}.fits")
    np.testing.assert_array_equal(table["stamp"][3, ..., 6].value, data.astype(np.float32))
