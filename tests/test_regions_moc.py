"""Regions of DS9 and coverage maps, read back by the packages that are made for them."""

from pathlib import Path

import numpy as np
import pytest
import scenes
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from pydantic import ValidationError

from astrokeras import Pipeline
from astrokeras.errors import ChunkError, OutputError
from astrokeras.export.moc import Moc
from astrokeras.export.regions import Regions
from astrokeras.fields import DEC, OBJECT_ID, RA, Field
from astrokeras.stage import Product
from astrokeras.synthetic.sky import simulate

CLASS = Field(name="class_phot", kind="str")
AXES = (Field(name="r", unit="arcsec"), Field(name="b", unit="arcsec"), Field(name="q"), Field(name="pa", unit="deg"))
FIELDS = (OBJECT_ID, RA, DEC, CLASS, *AXES)


def table(n=5):
    return QTable(
        {
            "object_id": np.arange(n),
            "ra": (150.0 + 0.01 * np.arange(n)) * u.deg,
            "dec": np.append(np.full(n - 1, 2.0), np.nan) * u.deg,
            "class_phot": np.array(["GALAXY", "STAR", "a{b}#c", "", "QSO"])[:n],
            "r": np.array([3.0, 2.0, np.nan, 1.0, 1.0])[:n] * u.arcsec,
            "b": np.array([1.2, 1.0, np.nan, 1.0, 1.0])[:n] * u.arcsec,
            "q": np.array([0.4, 0.5, 1.0, 1.0, 1.0])[:n],
            "pa": np.array([30.0, 0.0, 0.0, 90.0, 0.0])[:n] * u.deg,
        }
    )


def written(output, tmp_path, *chunks):
    fields = output.reads(FIELDS)
    pieces = []
    for i, chunk in enumerate(chunks):
        piece = tmp_path / f"piece{i}"
        pieces.append((piece, output.write(chunk[[f.name for f in fields]], fields, piece)))
    output.close(pieces, Product(Path(output.path), fields, {"pipeline": "a circle(1,2,3)", "stages": {"x": "é"}}))
    return Path(output.path)


def read_regions(path):
    regions = pytest.importorskip("regions")
    return regions.Regions.read(path, format="ds9")


def test_circles_with_text_and_colour(tmp_path):
    output = Regions(
        path=str(tmp_path / "a.reg"), radius=1.5, label="object_id", color="class_phot", colors={"STAR": "red"}
    )
    found = read_regions(written(output, tmp_path, table()[:2], table()[2:]))
    # The last row has no position.
    assert len(found) == 4
    assert [one.center.ra.deg for one in found] == pytest.approx([150.0, 150.01, 150.02, 150.03])
    assert all(one.center.frame.name == "icrs" and one.radius.to_value("arcsec") == pytest.approx(1.5) for one in found)
    assert [str(one.meta["text"]) for one in found] == ["0", "1", "2", "3"]
    assert [one.visual["edgecolor"] for one in found[:2]] == ["orange", "red"]
    assert found[0].meta["tag"] == ["GALAXY"]


def test_ellipses_lie_along_the_position_angle(tmp_path):
    output = Regions(path=str(tmp_path / "a.reg"), shape="ellipse", major="r", ratio="q", angle="pa", scale=2.0)
    found = read_regions(written(output, tmp_path, table()))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150.0, 2.0], [200.0, 200.0]
    wcs.wcs.cdelt = [-0.1 / 3600, 0.1 / 3600]
    centre = SkyCoord(150.0, 2.0, unit="deg")
    ellipse = found[0]
    for angle, reach in ((30, 6.0), (210, 6.0), (120, 2.4), (300, 2.4)):
        inside, outside = (
            centre.directional_offset_by(angle * u.deg, reach * part * u.arcsec) for part in (0.93, 1.07)
        )
        assert ellipse.contains(inside, wcs)
        assert not ellipse.contains(outside, wcs)
    # Without a size the object gets a circle.
    assert type(found[2]).__name__ == "CircleSkyRegion"


def test_an_ellipse_has_a_minor_axis_or_an_axis_ratio(tmp_path):
    shape = {"shape": "ellipse", "major": "r", "angle": "pa"}
    ratio = Regions(path=str(tmp_path / "a.reg"), ratio="q", **shape)
    minor = Regions(path=str(tmp_path / "b.reg"), minor="b", **shape)
    one, other = (written(output, tmp_path, table()).read_text() for output in (ratio, minor))
    assert "ellipse(" in one and one == other


def test_points_and_one_colour(tmp_path):
    output = Regions(path=str(tmp_path / "a.reg"), shape="point", color="#ff8800", label="class_phot")
    path = written(output, tmp_path, table(), table(3)[:0])
    found = read_regions(path)
    assert [type(one).__name__ for one in found] == ["PointSkyRegion"] * 4
    assert "text={a b c}" in path.read_text()
    assert "# pipeline: a circle(1,2,3)\n" in path.read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"shape": "ellipse", "major": "r"}, "needs the columns major, angle, and either minor or ratio; given: major"),
        ({"shape": "ellipse", "major": "r", "minor": "b", "ratio": "q", "angle": "a"}, "either minor or ratio"),
        ({"minor": "r"}, "minor belongs to the shape ellipse"),
        ({"columns": ["ra"]}, "takes no columns"),
        ({"colors": {"STAR": "red; rm"}}, "colors.STAR"),
    ],
)
def test_wrong_regions_are_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        Regions(path="a.reg", **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"label": "objectid"}, "no column 'objectid'; did you mean 'object_id'"),
        ({"color": "class_phto", "colors": {"STAR": "red"}}, "no column 'class_phto'; did you mean 'class_phot'"),
        (
            {"shape": "ellipse", "major": "q", "ratio": "q", "angle": "pa"},
            "column 'q' has unit '', needs one like 'arcsec'",
        ),
    ],
)
def test_regions_need_their_columns(given, said):
    with pytest.raises(ChunkError, match=said):
        Regions(path="a.reg", **given).reads(FIELDS)


# Coverage

mocpy = pytest.importorskip("mocpy")


def read_moc(path):
    kind = {".fits": "fits", ".json": "json"}.get(path.suffix, "ascii")
    return mocpy.MOC.load(path, format=kind)


@pytest.mark.parametrize("end", ["fits", "json", "txt"])
def test_coverage_of_rows(tmp_path, end):
    path = written(Moc(path=str(tmp_path / f"a.{end}"), order=14), tmp_path, table()[:2], table()[2:], table()[:0])
    moc = read_moc(path)
    rows = table()[:4]
    assert moc.contains_lonlat(rows["ra"], rows["dec"]).all()
    assert not moc.contains_lonlat(rows["ra"] + 0.005 * u.deg, rows["dec"]).any()
    # Four cells of order 14.
    assert moc.sky_fraction == pytest.approx(4 / (12 * 4**14))


def test_coverage_around_rows(tmp_path):
    moc = read_moc(written(Moc(path=str(tmp_path / "a.fits"), order=16, radius=60.0), tmp_path, table()[:1]))
    area = moc.sky_fraction * 4 * np.pi * np.degrees(1) ** 2 * 3600
    assert area == pytest.approx(np.pi, rel=0.15)
    assert area > np.pi


def test_coverage_of_images_is_where_they_have_data(tmp_path):
    sky = simulate(tmp_path / "sky", size=256, bands=("g", "r"), epochs=1)
    pattern = str(tmp_path / "sky" / "sky-*-1.fits")
    moc = read_moc(written(Moc(path=str(tmp_path / "a.fits"), order=17, images=[pattern]), tmp_path, table()))
    rows = QTable.read(sky.truth, hdu="OBJECTS")
    wcs = WCS(fits.getheader(sky.image("r"), "SCI"))
    x, y = wcs.world_to_pixel_values(rows["ra"].value, rows["dec"].value)
    covered = moc.contains_lonlat(rows["ra"], rows["dec"])
    inside = (x > 8) & (x < 250) & (y > 5) & (y < 250)
    assert covered[inside].all()
    assert not moc.contains_lonlat(*(v * u.deg for v in wcs.pixel_to_world_values([1.0, 270.0], [128.0, 128.0]))).any()
    # 252 of 256 columns have data.
    area = moc.sky_fraction * 4 * np.pi * np.degrees(1) ** 2 * 3600**2
    assert area == pytest.approx(252 * 256 * 0.396**2, rel=0.05)


def test_coverage_of_an_image_in_galactic_coordinates(tmp_path):
    wcs = scenes.galactic((60, 60))
    image = scenes.image(np.ones((60, 60)) + np.eye(60), "r", wcs)
    scenes.write([image], tmp_path)
    output = Moc(path=str(tmp_path / "a.fits"), order=14, images=[str(tmp_path / "r.fits")])
    moc = read_moc(written(output, tmp_path, table()))
    sky = wcs.pixel_to_world(30.0, 30.0).icrs
    assert moc.contains_lonlat(sky.ra, sky.dec).all()


def test_cells_smaller_than_two_pixels_would_have_holes(tmp_path):
    scenes.write([scenes.image(np.eye(60), "r", scenes.grid((60, 60)))], tmp_path)
    # Cells of order 18 have 0.805 arcsec, pixels 0.4.
    written(Moc(path=str(tmp_path / "a.fits"), order=18, images=[str(tmp_path / "r.fits")]), tmp_path, table())
    moc = read_moc(tmp_path / "a.fits")
    x, y = np.random.default_rng(0).uniform(2, 57, (2, 4000))
    sky = scenes.grid((60, 60)).pixel_to_world(x, y)
    assert moc.contains_lonlat(sky.ra, sky.dec).all()
    with pytest.raises(OutputError, match=r"r\.fits, HDU 0: pixels of 0\.4 arcsec .* say order: 18, or less"):
        written(Moc(path=str(tmp_path / "b.fits"), order=19, images=[str(tmp_path / "r.fits")]), tmp_path, table())


def test_equal_coverage_gives_equal_bytes(tmp_path):
    first = written(Moc(path=str(tmp_path / "a.fits")), tmp_path, table()[:2], table()[2:])
    second = written(Moc(path=str(tmp_path / "b.fits")), tmp_path, table())
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"path": "a.vot"}, "needs to end in"),
        ({"path": "a.fits", "images": ["x.fits"], "radius": 3.0}, "are for rows"),
        ({"path": "a.fits", "columns": ["ra"]}, "takes no columns"),
        ({"path": "a.fits", "order": 40}, "less than or equal to 20"),
    ],
)
def test_wrong_coverage_is_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        Moc(**given)


def test_images_must_exist(tmp_path):
    with pytest.raises(OutputError, match="no file matches"):
        Moc(path=str(tmp_path / "a.fits"), images=[str(tmp_path / "*.fits")]).inputs()


def test_both_in_a_pipeline(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    Path("p.yaml").write_text(
        "astrokeras: 1\nname: where\nsource:\n  synthetic: {rows: 300, seed: 1}\npartition: {rows: 100}\noutputs:\n"
        "  - regions: {path: a.reg, color: class_true, label: object_id, where: flux_r > 3e4}\n"
        "  - moc: {path: a.fits, order: 8}\n"
    )
    Pipeline.read("p.yaml").run(work="work", quiet=True)
    assert len(read_regions("a.reg")) > 5
    before = Path("a.fits").read_bytes()
    assert read_moc(Path("a.fits")).max_order == 8
    Pipeline.read("p.yaml").run(work="other", quiet=True)
    assert Path("a.fits").read_bytes() == before
