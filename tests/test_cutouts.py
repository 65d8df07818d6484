"""Stage cutouts: stamps of real files on several grids, against Cutout2D; its flags, errors and parameters."""

import gzip
import shutil

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.table import QTable, Table
from astropy.wcs import WCS
from pydantic import ValidationError

from astrokeras.errors import IngestError
from astrokeras.flags import Flag
from astrokeras.images.footprints import Footprints, world_to_pixel
from astrokeras.images.image import Pixel
from astrokeras.images.reader import open_image, read_image
from astrokeras.ingest import pixel_cache
from astrokeras.ingest.cutouts import Cutouts
from astrokeras.pipeline import Pipeline
from astrokeras.plan import partition_rows
from astrokeras.testing import check_stage

SCALE = 0.3
SHAPE = (90, 110)
SURVEY = "{object_id: object_id, position: {ra: ra, dec: dec}}"


def tan(crval=(150.0, 2.0), angle=0.0, shift=(0.0, 0.0), scale=SCALE, shape=SHAPE, frame="ICRS"):
    """TAN projection around the middle of an image."""
    wcs = WCS(naxis=2)
    names = {"GALACTIC": ("GLON-TAN", "GLAT-TAN")}
    wcs.wcs.ctype = names.get(frame, ("RA---TAN", "DEC--TAN"))
    wcs.wcs.crval = crval
    wcs.wcs.crpix = [shape[1] / 2 + 0.5 + shift[0], shape[0] / 2 + 0.5 + shift[1]]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * scale / 3600
    if frame == "FK5":
        wcs.wcs.radesys, wcs.wcs.equinox = "FK5", 2000.0
    elif frame == "ICRS":
        wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs


def write(path, wcs, data=None, band="g", sigma=True, **masked):
    """An image in the layout of astrokeras; ``masked`` gives pixels by flag."""
    data = np.random.default_rng(len(str(path))).normal(0, 1, SHAPE) if data is None else data
    mask = np.zeros(data.shape, np.int16)
    for name, (row, column) in masked.items():
        mask[row, column] = Pixel[name.upper()]
    cards = wcs.to_header(relax=True)
    cards["BUNIT"], cards["BAND"], cards["ORIGIN"] = "nJy", band, "astrokeras"
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(data.astype(np.float32), cards, name="SCI")]
    if sigma:
        hdus.append(fits.ImageHDU(np.full(data.shape, 2.0, np.float32), cards, name="ERR"))
    hdus.append(fits.ImageHDU(mask, cards, name="MASK"))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return str(path)


def objects(wcs, x, y):
    sky = wcs.pixel_to_world(np.asarray(x, float), np.asarray(y, float)).icrs
    return QTable({"object_id": np.arange(len(sky)), "ra": sky.ra, "dec": sky.dec})


def bits(table):
    return np.asarray(table["flags"])


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """Two bands on grids of their own, and positions all over them."""
    folder = tmp_path_factory.mktemp("field")
    grids = {"g": tan(angle=20), "r": tan(angle=-10, shift=(0.4, -0.84), frame="FK5")}
    for band, wcs in grids.items():
        write(folder / f"im-{band}.fits", wcs, band=band)
    rng = np.random.default_rng(3)
    table = objects(grids["g"], rng.uniform(2, 107, 40), rng.uniform(2, 87, 40))
    return folder, table


@pytest.mark.parametrize("size", [16, 17])
def test_stamps_are_those_of_cutout2d(field, size):
    folder, table = field
    out = Cutouts(images=f"{folder}/im-{{band}}.fits", bands=("g", "r"), size=size)(table)
    assert out["stamp"].unit == u.nJy and out["stamp"].dtype == np.float32
    assert out["stamp"].info.meta == {"bands": "g,r"}
    for b, band in enumerate("gr"):
        image = read_image(f"{folder}/im-{band}.fits", band=band)
        sky = SkyCoord(table["ra"], table["dec"])
        for k in range(len(table)):
            if bits(out)[k] & Flag.NO_IMAGE:
                continue
            cut = Cutout2D(image.data, sky[k], size, wcs=image.wcs, mode="partial", fill_value=np.nan)
            np.testing.assert_array_equal(out["stamp"][k, :, :, b].value, cut.data)
            inside = np.isfinite(cut.data).all()
            assert inside or bits(out)[k] & Flag.EDGE_STAMP


def test_all_columns(field):
    folder, table = field
    stage = Cutouts(
        images=f"{folder}/im-{{band}}.fits", bands=("g", "r"), size="16 pix", errors=True, masks=True, offsets=True,
        column="cut", pixel_scale=SCALE,
    )  # fmt: skip
    out = stage(table)
    assert [f.name for f in stage.writes()] == ["cut", "cut_err", "cut_mask", "cut_dx", "cut_dy", "flags"]
    there = np.isfinite(out["cut"].value)
    assert (out["cut_err"].value[there] == 2).all() and np.isnan(out["cut_err"].value[~there]).all()
    np.testing.assert_array_equal(np.asarray(out["cut_mask"]), np.where(there, 0, int(Pixel.NO_DATA)))
    assert out["cut_mask"].dtype == np.int32
    x, _ = world_to_pixel(open_image(f"{folder}/im-g.fits", band="g").wcs, table["ra"].value, table["dec"].value)
    # Pixels of a stamp count from its first one: ceil(x - 8); its middle is 7.5 pixels on.
    np.testing.assert_allclose(out["cut_dx"][:, 0].value, x - np.ceil(x - 8) - 7.5, atol=1e-5)
    assert out["cut"].info.meta["pixel_scale"] == SCALE


@pytest.mark.parametrize(
    "options", [{"errors": True, "masks": True, "offsets": True}, {"core": 1.0}, {"where": "ra > 150"}]
)
def test_contract(field, options):
    folder, table = field
    check_stage(Cutouts(images=f"{folder}/im-{{band}}.fits", bands=("g", "r"), size=12, **options), table)


@pytest.mark.parametrize("resample", [{"to": "g"}, {"pixel_scale": 0.4}])
def test_contract_of_resampling(field, resample):
    folder, table = field
    stage = Cutouts(images=f"{folder}/im-{{band}}.fits", bands=("g", "r"), size=12, resample=resample, errors=True)
    check_stage(stage, table)


def test_flags_and_the_image_with_the_farthest_edge(tmp_path):
    wide = tan()
    first = write(tmp_path / "a.fits", wide, np.full(SHAPE, 1.0), saturated=(20, 60), bad=(70, 60), no_data=(45, 20))
    # The second one begins where the first has 40 columns left.
    write(tmp_path / "b.fits", tan(shift=(-70.0, 0.0)), np.full(SHAPE, 2.0))
    x = np.array([30.0, 100.0, 88.0, 60.0, 61.0, 20.2, 4.0, 500.0, np.nan, 60.0])
    y = np.array([45.0, 45.0, 45.0, 20.0, 71.0, 46.2, 45.0, 45.0, 45.0, 65.0])
    table = objects(wide, x, y)
    out = Cutouts(images=f"{tmp_path}/*.fits", bands=("g",), size=16)(table)
    assert out["stamp"][:, 8, 8, 0].value[:3].tolist() == [1.0, 2.0, 1.0]
    edge, none, masked, saturated = Flag.EDGE_STAMP, Flag.NO_IMAGE, Flag.MASKED_PIXELS, Flag.SATURATED
    expected = [0, 0, 0, saturated, masked, masked, edge, none, none | Flag.BAD_POSITION, 0]
    assert bits(out).tolist() == [int(f) for f in expected]
    assert np.isnan(out["stamp"][7]).all() and np.isnan(out["stamp"][5, 6, 7, 0])
    # The bad pixel lies in the last stamp, but not in its core.
    whole = Cutouts(images=first, bands=("g",), size=16, core=1.0)(table)
    assert bits(whole)[9] == masked
    # In one band there is no image: the other one is cut.
    far = write(tmp_path / "far.fit", tan((10.0, 5.0)), band="r")
    got = Cutouts(images={"g": first, "r": far}, bands=("g", "r"), size=16)(table[:1])
    assert bits(got)[0] == none
    assert (got["stamp"][0, :, :, 0].value == 1).all() and np.isnan(got["stamp"][0, :, :, 1]).all()


def test_images_by_a_column(tmp_path):
    for k, name in enumerate(("0959p805", "0960p805")):
        (tmp_path / name).mkdir()
        write(tmp_path / name / f"ls-{name}-g.fits", tan(), np.full(SHAPE, k + 1.0))
    table = objects(tan(), [50.0, 50.0, 60.0, 50.0], [40.0] * 4)
    table["brick"] = ["0960p805", "0959p805", "0960p805", "none"]
    stage = Cutouts(images=f"{tmp_path}/{{name}}/ls-{{name}}-{{band}}.fits", bands=("g",), size=8, by="brick")
    out = stage(table)
    assert out["stamp"][:, 4, 4, 0].value[:3].tolist() == [2.0, 1.0, 2.0]
    assert bits(out).tolist() == [0, 0, 0, int(Flag.NO_IMAGE)]
    assert len(stage.inputs()) == 2
    check_stage(stage, table)


def test_positions_in_pixels(tmp_path):
    data = np.arange(30 * 40, dtype=np.float32).reshape(30, 40)
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(data + k, name=f"SCI_{b}") for k, b in enumerate("GR"))]).writeto(
        tmp_path / "a.fits"
    )
    with gzip.open(tmp_path / "a.fits.gz", "wb") as packed:
        packed.write((tmp_path / "a.fits").read_bytes())
    table = QTable({"object_id": [1, 2, 3, 4], "px": [10.0, 0.0, -3.0, np.nan], "py": [5.0, 0.0, 5.0, 5.0]})
    options = {"bands": ("g", "r"), "size": 3, "hdu": "SCI_{BAND}", "positions": {"x": "px", "y": "py"}, "unit": "ct"}
    for name in ("a.fits", "a.fits.gz"):
        stage = Cutouts(images=f"{tmp_path}/{name}", **options)
        out = stage(table)
        np.testing.assert_array_equal(out["stamp"][0, :, :, 1].value, data[4:7, 9:12] + 1)
        assert out["stamp"].unit == u.ct
        empty = int(Flag.NO_IMAGE)
        assert bits(out).tolist() == [0, int(Flag.EDGE_STAMP), empty, empty]
    check_stage(stage, table)


def sip(wcs):
    """A distortion of several pixels."""
    from astropy.wcs import Sip

    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    a[2, 0], a[1, 1], b[0, 2], b[3, 0] = 4e-4, -2e-4, 5e-4, 2e-6
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


def tpv():
    cards = tan().to_header()
    cards["CTYPE1"], cards["CTYPE2"] = "RA---TPV", "DEC--TPV"
    for axis in (1, 2):
        cards[f"PV{axis}_1"], cards[f"PV{axis}_4"], cards[f"PV{axis}_7"] = 1.0, 3.0, 900.0
    return WCS(cards)


@pytest.mark.parametrize(
    "wcs", [tan(frame="GALACTIC", crval=(200.0, 40.0)), sip(tan(angle=30)), tpv(), tan((0.0001, 89.999))]
)
def test_world_to_pixel_inverts_every_projection(wcs):
    rng = np.random.default_rng(4)
    x, y = rng.uniform(0, 109, 50), rng.uniform(0, 89, 50)
    sky = wcs.pixel_to_world(x, y).icrs
    found = world_to_pixel(wcs, sky.ra.deg, sky.dec.deg)
    np.testing.assert_allclose(found, (x, y), atol=2e-5)
    image = type("Image", (), {"wcs": wcs, "shape": SHAPE})()
    number, *there = Footprints([image]).place(sky.ra.deg, sky.dec.deg)
    assert (number == 0).all()
    np.testing.assert_allclose(there, (x, y), atol=2e-5)
    far = SkyCoord(sky.ra + 1 * u.deg, sky.dec - 40 * u.deg)
    assert (Footprints([image]).place(far.ra.deg, far.dec.deg)[0] == -1).all()


def test_a_distortion_leads_nobody_onto_the_image():
    # Far from the middle this polynomial turns back.
    wcs = sip(tan())
    wcs.sip.a[3, 0] = -8e-5
    wcs = WCS(wcs.to_header(relax=True))
    image = type("Image", (), {"wcs": wcs, "shape": SHAPE})()
    ra, dec = np.meshgrid(np.linspace(149.9, 150.1, 60), np.linspace(1.9, 2.1, 60))
    number, x, y = Footprints([image]).place(ra.ravel(), dec.ravel())
    back = wcs.pixel_to_world(x[number == 0], y[number == 0])
    assert number.max() == 0
    assert back.separation(SkyCoord(ra.ravel()[number == 0], dec.ravel()[number == 0], unit="deg")).arcsec.max() < 1e-3


def test_blocks_of_rows_give_the_same_stamps(field, monkeypatch):
    folder, table = field
    stage = Cutouts(images=f"{folder}/im-{{band}}.fits", bands=("g", "r"), size=20, masks=True, errors=True)
    whole = stage(table)
    monkeypatch.setattr(pixel_cache, "BLOCK", 7 * SHAPE[1])
    monkeypatch.setattr(pixel_cache, "CACHE", pixel_cache.PixelCache(3 * 7 * SHAPE[1] * 9))
    parts = stage(table)
    for name in ("stamp", "stamp_err", "stamp_mask", "flags"):
        np.testing.assert_array_equal(np.asarray(parts[name]), np.asarray(whole[name]))
    kept = pixel_cache.CACHE._kept.values()
    assert 1 <= len(kept) <= 3 and sum(block.nbytes for block in kept) <= pixel_cache.CACHE.room


def test_a_compressed_image_is_read_once_for_neighbours(tmp_path, monkeypatch):
    data = np.random.default_rng(0).normal(0, 30, (120, 150)).round().astype(np.float32)
    cards = tan(shape=data.shape).to_header()
    cards["BUNIT"] = "nJy"
    fits.HDUList(
        [fits.PrimaryHDU(), fits.CompImageHDU(data, cards, quantize_level=0, compression_type="GZIP_2")]
    ).writeto(tmp_path / "a.fits.fz")
    table = objects(tan(shape=data.shape), np.linspace(20, 120, 30), np.linspace(20, 100, 30))
    reads = []
    image_file = type(open_image(tmp_path / "a.fits.fz"))
    original = image_file.read
    monkeypatch.setattr(image_file, "read", lambda self, **where: reads.append(where) or original(self, **where))
    out = Cutouts(images=f"{tmp_path}/a.fits.fz", bands=("g",), size=9)(table)
    assert len(reads) == 1
    x, y = np.linspace(20, 120, 30), np.linspace(20, 100, 30)
    for k in (0, 17):
        cut = Cutout2D(data, (round(x[k], 6), round(y[k], 6)), 9)
        np.testing.assert_array_equal(out["stamp"][k, :, :, 0].value, cut.data)


def test_errors_name_the_file(tmp_path, field):
    folder, table = field
    one = {"bands": ("g",), "size": 8}
    with pytest.raises(IngestError, match=r"absent\.fits: no such file"):
        Cutouts(images=f"{tmp_path}/absent.fits", **one)(table)
    with pytest.raises(IngestError, match=r"absent-\*\.fits: no file matches"):
        Cutouts(images=f"{tmp_path}/absent-*.fits", **one).inputs()
    image = write(tmp_path / "a.fits", tan(), sigma=False)
    with pytest.raises(IngestError, match=r"a\.fits, HDU SCI: has no errors of its pixels"):
        Cutouts(images=image, errors=True, **one)(table)
    with pytest.raises(IngestError, match=r"a\.fits, HDU SCI: its pixels have 0\.3 arcsec, `pixel_scale` says 0\.4"):
        Cutouts(images=image, pixel_scale=0.4, **one)(table)
    with pytest.raises(IngestError, match=r"a\.fits, HDU SCI: its pixels are in nJy, and stamps counts.*`unit: nJy`"):
        Cutouts(images=image, unit="ct", **one)(table)
    fits.PrimaryHDU(np.zeros((9, 9), np.float32), tan().to_header()).writeto(tmp_path / "counts.fits")
    with pytest.raises(IngestError, match=r"counts\.fits, HDU 0: its pixels are counts.*calibrate the image"):
        Cutouts(images=f"{tmp_path}/counts.fits", **one)(table)
    fits.PrimaryHDU(np.zeros((9, 9), np.float32)).writeto(tmp_path / "nowhere.fits")
    with pytest.raises(IngestError, match=r"nowhere\.fits, HDU 0: has no celestial coordinates.*positions"):
        Cutouts(images=f"{tmp_path}/nowhere.fits", unit="ct", **one)(table)
    shutil.copy(tmp_path / "a.fits", tmp_path / "half.fits")
    with open(tmp_path / "half.fits", "r+b") as stream:
        stream.truncate(20_000)
    with pytest.raises(IngestError, match=r"half\.fits"):
        Cutouts(images=f"{tmp_path}/half.fits", **one).inputs()
    positions = {"x": "ra", "y": "dec"}
    with pytest.raises(IngestError, match=r"need one image per band"):
        Cutouts(images=[image, f"{folder}/im-g.fits"], positions=positions, **one)(table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "20 arcsec"}, "needs `pixel_scale`"),
        ({"size": "12.5 pix"}, "a whole number"),
        ({"size": 0}, "a whole number"),
        ({"size": "20 parsec"}, "is no size"),
        ({"size": 5000}, "from 1 to 4096"),
        ({"images": {"g": "a.fits"}}, "names the bands"),
        ({"by": "brick"}, r"\{name\}"),
        ({"images": "{name}.fits"}, "`by`"),
        ({"bands": ("g", "g")}, "distinct"),
        ({"resample": {}}, "either"),
        ({"resample": {"to": "z"}}, "none of"),
        ({"resample": {"to": "g"}, "positions": {"x": "x", "y": "y"}}, "celestial"),
        ({"column": "a b"}, "pattern"),
        ({"core": 0}, "greater than 0"),
    ],
)
def test_parameters_that_do_not_fit(options, message):
    with pytest.raises(ValidationError, match=message):
        Cutouts(**{"images": "im-{band}.fits", "bands": ("g", "r"), "size": 8} | options)


def test_sizes():
    images = {"images": "im-{band}.fits", "bands": ("g",)}
    for size, pixels in (("20 arcsec", 77), ("26.2 arcsec", 100), ("1 arcmin", 230), ("64 pix", 64), (31, 31)):
        assert Cutouts(size=size, pixel_scale=0.262, **images).pixels == pixels
    stage = Cutouts(size="20 arcsec", resample={"pixel_scale": 0.5}, **images)
    assert stage.pixels == 40 and stage.writes()[0].meta["pixel_scale"] == 0.5


def test_shipped_survey_files(shared_data):
    """Four SDSS bands, offset from each other by up to 0.84 pixels."""
    folder = shared_data / "fields" / "sdss_2010H_uriz"
    known = Table.read(folder / "derived_sep_catalog.fits")
    table = QTable({"object_id": np.arange(len(known)), "ra": known["ra"] * u.deg, "dec": known["dec"] * u.deg})
    stage = Cutouts(
        images=f"{folder}/SDSS_{{band}}.fits", bands=("u", "r", "i", "z"), size=21, errors=True, offsets=True
    )
    out = stage(table)
    whole = bits(out) & (Flag.EDGE_STAMP | Flag.NO_IMAGE) == 0
    assert whole.sum() > 150 and np.isfinite(out["stamp"][whole]).all()
    spread = np.ptp(out["stamp_dx"].value[whole], axis=1)
    assert spread.max() > 0.5
    # The brightest pixel of a detection lies in the middle of its stamp.
    bright = np.argsort(np.asarray(known["mag_r"], float) + 99 * ~whole)[:40]
    peak = [np.unravel_index(np.nanargmax(out["stamp"][k, 6:15, 6:15, 1].value), (9, 9)) for k in bright]
    assert np.mean(np.abs(np.array(peak) - 4).max(axis=1) <= 1) > 0.8


def test_a_pipeline_over_fields(tmp_path):
    """Catalog and images of each field, through the store into a product; another image makes it anew."""
    for k, name in enumerate(("east", "west")):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "im-g.fits", tan(), np.full(SHAPE, k + 1.0))
        table = objects(tan(), [30.0 + k, 60.0], [40.0, 3.0])
        QTable({"object_id": table["object_id"] + 10 * k, "ra": table["ra"], "dec": table["dec"]}).write(
            tmp_path / name / "cat.ecsv"
        )
    file = tmp_path / "p.yaml"
    text = (
        f"astrokeras: 1\nname: cut\nvars: {{data: '{tmp_path}'}}\nfields: [east, west]\n"
        "source:\n  catalog: {files: '{data}/{field}/cat.ecsv', survey: SURVEY}\nstages:\n"
        "  - cutouts: {images: '{data}/{field}/im-{band}.fits', bands: [g], size: 9 pix, masks: true}\n"
        "outputs:\n  - fits: {path: '{data}/out.fits', columns: [ids, stamp, stamp_mask, flags]}\n"
        "  - parquet: {path: '{data}/out.parquet'}\n"
    )
    file.write_text(text.replace("SURVEY", SURVEY))

    def run():
        Pipeline.read(file).run(work=tmp_path / "work", quiet=True)
        return Table.read(tmp_path / "out.fits")

    made = run()
    assert made["stamp"].shape == (4, 9, 9, 1) and made["stamp_mask"].shape == (4, 9, 9, 1)
    assert np.nanmax(made["stamp"], axis=(1, 2, 3)).tolist() == [1.0, 1.0, 2.0, 2.0]
    assert np.asarray(made["flags"]).tolist() == [0, int(Flag.EDGE_STAMP)] * 2
    assert not {"stamp", "stamp_mask"} & set(Table.read(tmp_path / "out.parquet").colnames)
    write(tmp_path / "west" / "im-g.fits", tan(), np.full(SHAPE, 7.0))
    assert np.nanmax(run()["stamp"], axis=(1, 2, 3)).tolist() == [1.0, 1.0, 7.0, 7.0]


def test_images_of_another_sky_are_told(tmp_path, capsys):
    write(tmp_path / "im-g.fits", tan(), np.ones(SHAPE))
    table = objects(tan(), [30.0, 60.0], [40.0, 3.0])
    file = tmp_path / "p.yaml"
    file.write_text(
        f"astrokeras: 1\nname: cut\nsource:\n  catalog: {{files: '{tmp_path}/cat.ecsv', survey: {SURVEY}}}\nstages:\n"
        f"  - cutouts: {{images: '{tmp_path}/im-{{band}}.fits', bands: [g], size: 9 pix}}\n"
        f"outputs:\n  - fits: {{path: '{tmp_path}/out.fits'}}\n"
    )
    said = "all 2 rows have NO_IMAGE in a band: do the images cover this part of the sky?"
    for moved in (0.0, 5.0):
        rows = QTable({"object_id": table["object_id"], "ra": table["ra"] + moved * u.deg, "dec": table["dec"]})
        rows.write(tmp_path / "cat.ecsv", overwrite=True)
        Pipeline.read(file).run(work=tmp_path / "work")
        assert (said in capsys.readouterr().err) == (moved > 0)


def test_wide_rows_make_small_partitions(tmp_path):
    file = tmp_path / "p.yaml"
    text = (
        "astrokeras: 1\nname: cut\nsource:\n  catalog: {files: cat.ecsv, survey: SURVEY}\nstages:\n"
        "  - cutouts: {images: 'im-{band}.fits', bands: [g, r, i, z], size: SIZE, errors: true}\n"
        "outputs:\n  - parquet: {path: out.parquet}\n"
    )
    for size, rows in ((64, 64 * 2**20 // (64 * 64 * 4 * 8)), (1024, 16)):
        file.write_text(text.replace("SIZE", str(size)).replace("SURVEY", SURVEY))
        parsed = Pipeline.read(file).parsed
        fields = [*parsed.source.fields(), *parsed.stages[0].writes()]
        assert partition_rows(parsed, fields) == pytest.approx(rows, rel=0.01)
