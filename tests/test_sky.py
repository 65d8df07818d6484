"""The simulated field: files, positions, fluxes, noise, masks, transients, the source and the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import mad_std
from astropy.table import QTable
from astropy.wcs import WCS
from pydantic import ValidationError

from astrokeras import Pipeline
from astrokeras.cli import main
from astrokeras.errors import ExpressionError, IngestError
from astrokeras.images.image import Pixel
from astrokeras.images.reader import read_image
from astrokeras.synthetic import field
from astrokeras.synthetic.detector import edge_width
from astrokeras.synthetic.scene import Scene
from astrokeras.synthetic.shapes import TYPES
from astrokeras.synthetic.sky import Sky, simulate
from astrokeras.units import ab_to_njy


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("sky"), size=256, bands=("g", "r", "z"), seed=4, transients=4)


@pytest.fixture(scope="module")
def scene(sky):
    return Scene(sky)


@pytest.fixture(scope="module")
def shot(scene):
    return scene.expose("r", 1)


@pytest.fixture(scope="module")
def rich():
    """Return a deep field with many galaxies."""
    return Scene(Sky(path="unused", size=512, system="lsst", seed=2))


def rows_of(sky):
    return sky.read(next(iter(sky.partitions(10**6))), [f.name for f in sky.fields()])


def test_files_say_what_they_hold(sky):
    for band in "grz":
        for epoch in (1, 2):
            with fits.open(sky.image(band, epoch)) as hdus:
                assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "ERR", "MASK", "PSF"]
                header = hdus["SCI"].header
                assert (header["BUNIT"], header["BAND"], header["FILTER"]) == ("nJy", band, f"SLOAN/SDSS.{band}")
                assert hdus["SCI"].shape == hdus["ERR"].shape == hdus["MASK"].shape == (256, 256)
                assert header["MJD-AVG"] == pytest.approx(60000 + 30 * (epoch - 1), abs=0.1)
                assert header["MJD-AVG"] - header["MJD-OBS"] == pytest.approx(53.9 / 2 / 86400, abs=1e-9)
                assert hdus["PSF"].data.sum() == pytest.approx(1, rel=1e-5)
    record = json.loads((Path(sky.path) / "simulation.json").read_text())
    assert record["parameters"]["seed"] == 4
    assert record["mask"] == {bit.name: bit.value for bit in Pixel}


def test_reader_of_images_takes_them_as_they_are_meant(sky, shot):
    image = read_image(sky.image("r"))
    assert (image.unit, image.band, image.filter) == ("nJy", "r", "SLOAN/SDSS.r")
    np.testing.assert_array_equal(image.data, shot.science)
    np.testing.assert_array_equal(image.sigma, shot.error)
    np.testing.assert_array_equal(image.mask, shot.mask)
    assert image.mjd == pytest.approx(shot.mjd, abs=1e-7)
    assert image.gain == pytest.approx(shot.given.gain)


def test_truth_lies_where_the_light_is(sky, scene):
    rows = rows_of(sky)
    for band in "gz":
        model, wcs = scene.expose(band).model, WCS(fits.getheader(sky.image(band), "SCI"))
        x, y = wcs.world_to_pixel_values(rows["ra"].value, rows["dec"].value)
        flux = rows[f"flux_true_{band}"].value
        inside = (np.minimum(x, y) > 8) & (np.maximum(x, y) < 247)
        alone = [
            i for i in np.flatnonzero(inside) if (np.hypot(x - x[i], y - y[i])[flux > 0.02 * flux[i]] < 20).sum() == 1
        ]
        assert len(alone) >= 3
        for i in alone:
            j, k = round(y[i]), round(x[i])
            stamp = model[j - 3 : j + 4, k - 3 : k + 4]
            yy, xx = np.indices(stamp.shape)
            if rows["class_true"][i] != "GALAXY":
                assert (stamp * xx).sum() / stamp.sum() + k - 3 == pytest.approx(x[i], abs=0.15)
                assert (stamp * yy).sum() / stamp.sum() + j - 3 == pytest.approx(y[i], abs=0.15)
            assert stamp.argmax() in (17, 23, 24, 25, 31)


def test_bands_and_epochs_are_dithered_by_less_than_a_pixel(sky):
    centres = [WCS(fits.getheader(sky.image(band, epoch), "SCI")).wcs.crpix for band in "grz" for epoch in (1, 2)]
    assert len({tuple(centre) for centre in centres}) == 6
    assert np.abs(np.array(centres) - 128.5).max() <= 0.5


def test_noise_is_what_the_error_says(scene, shot):
    for one in (shot, scene.expose("g", 2)):
        good = one.mask == 0
        pull = ((one.science - one.model) / one.error)[good]
        assert pull.size > 60000
        assert pull.mean() == pytest.approx(0, abs=0.015)
        assert (pull**2).mean() == pytest.approx(1, abs=0.03)
        sky_noise = mad_std((one.science - one.model)[good & (one.model < 0.05 * one.given.sigma)])
        assert sky_noise == pytest.approx(one.given.sigma, rel=0.03)


def test_depth_is_that_of_the_survey(shot):
    # The error of a point source weighted with its PSF; one fifth of the flux at the 5 sigma depth.
    error = shot.given.sigma / np.sqrt((shot.psf**2).sum())
    assert error == pytest.approx(float(ab_to_njy(22.70)) / 5, rel=0.03)


def test_flaws_are_marked(shot, sky):
    edge = edge_width(shot.mask.shape)
    outside = (shot.mask & Pixel.NO_DATA) > 0
    assert outside[:, :edge].all()
    assert not outside[:, edge:].any()
    assert np.isnan(shot.science[outside]).all()
    assert np.isnan(shot.error[outside]).all()
    assert np.isfinite(shot.science[~outside]).all()
    full = (shot.mask & Pixel.SATURATED) > 0
    assert 3 < full.sum() < 400
    level = fits.getheader(sky.image("r"), "SCI")["SATURATE"]
    assert shot.science[full & (shot.mask & Pixel.BAD == 0)] == pytest.approx(level, rel=1e-5)
    assert np.nanmax(shot.science[~full]) < level
    dead = np.unique(np.nonzero(shot.mask & Pixel.BAD)[1])
    assert len(dead) == 1
    assert np.median(shot.science[:, dead]) == pytest.approx(-shot.given.sky, rel=0.02)


def test_cosmic_rays_are_few_and_marked(rich):
    one = rich.expose("r", 1)
    hit = (one.mask & Pixel.COSMIC_RAY) > 0
    assert 5 < hit.sum() < 200
    assert np.median(((one.science - one.model) / one.error)[hit]) > 0
    assert mad_std(((one.science - one.model) / one.error)[one.mask == 0]) == pytest.approx(1, abs=0.02)


def test_light_is_conserved(rich):
    model = rich.expose("i", 1).model
    inside = (np.minimum(rich.x, rich.y) > 60) & (np.maximum(rich.x, rich.y) < 452)
    flux = rich.objects.flux[:, rich.bands.index("i")]
    # What lies in the middle is in the image, but for wings; what lies in the rim, in part.
    assert flux[inside].sum() * 0.98 < model.sum() < flux.sum()


def test_parts_of_a_galaxy_are_its_flux_and_the_bulge_is_red(rich):
    objects = rich.objects
    galaxies = len(objects.shapes.type)
    assert objects.parts.min() >= 0
    np.testing.assert_allclose(objects.parts.sum(axis=1), objects.flux[:galaxies], rtol=1e-5)
    spiral = np.isin(objects.shapes.type, [TYPES.index("spiral"), TYPES.index("barred")])
    g, i = rich.bands.index("g"), rich.bands.index("i")
    bulge, disk, arms = (objects.parts[spiral][:, kind] for kind in (0, 1, 3))
    colors = [np.median(-2.5 * np.log10(part[:, g] / part[:, i])) for part in (bulge, disk, arms)]
    assert colors[0] > colors[1] + 0.3 > colors[2] + 0.3


def test_second_epoch_is_less_sharp_and_less_deep(scene):
    first, second = scene.conditions("r", 1), scene.conditions("r", 2)
    assert second.fwhm == pytest.approx(1.25 * first.fwhm)
    area = [1 / (scene.expose("r", epoch).psf ** 2).sum() for epoch in (1, 2)]
    # 0.3 mag less deep for point sources.
    ratio = second.sigma * np.sqrt(area[1]) / (first.sigma * np.sqrt(area[0]))
    assert ratio == pytest.approx(10 ** (0.4 * 0.3), rel=0.03)


def test_transients_are_in_the_second_epoch_only(sky, scene):
    without = Scene(sky.model_copy(update={"transients": 0}))
    assert np.array_equal(without.expose("r", 1).model, scene.expose("r", 1).model)
    light = scene.expose("r", 2).model - without.expose("r", 2).model
    table = QTable.read(sky.truth, hdu="TRANSIENTS")
    assert len(table) == 4
    assert not table["flux_r_1"].value.any()
    x, y = WCS(fits.getheader(sky.image("r", 2), "SCI")).world_to_pixel_values(table["ra"].value, table["dec"].value)
    yy, xx = np.indices(light.shape)
    for i in range(4):
        near = np.hypot(xx - x[i], yy - y[i]) < 9
        others = table["flux_r_2"].value[np.hypot(x - x[i], y - y[i]) < 9].sum()
        assert light[near].sum() == pytest.approx(others, rel=0.06)
    rows = rows_of(sky)
    hosts = table[table["host_id"] > 0]
    assert (table["host_id"] == -1).sum() + len(hosts) == 4
    for host in hosts:
        row = rows[rows["object_id"] == host["host_id"]]
        assert row["class_true"][0] == "GALAXY"
        offset = [(row["ra"] - host["ra"]) * np.cos(row["dec"]), row["dec"] - host["dec"]]
        distance = np.hypot(*(one.to_value("arcsec")[0] for one in offset))
        assert distance < 10 * row["r_half"].to_value("arcsec")[0]


def test_fluxes_scatter_as_their_errors_say(tmp_path):
    rows = rows_of(simulate(tmp_path, size=512, system="lsst", bands=("r",), seed=1, epochs=1))
    pull = ((rows["flux_r"] - rows["flux_true_r"]) / rows["flux_err_r"]).value
    assert len(pull) > 300
    assert pull.std() == pytest.approx(1, abs=0.12)
    assert abs(pull.mean()) < 0.2


def test_error_of_a_star_is_that_of_a_psf_fit(scene, shot):
    stars = np.flatnonzero(scene.objects.kind == 1)
    flux = scene.objects.flux[stars, scene.bands.index("r")]
    variance = shot.given.sigma**2 / (shot.psf**2).sum() + flux / shot.given.gain
    np.testing.assert_allclose(scene.flux_errors("r")[stars], np.sqrt(variance), rtol=0.02)


def test_equal_seeds_give_equal_fields(sky, tmp_path):
    again = simulate(tmp_path / "again", size=256, bands=("r",), seed=4, transients=4)
    assert again.image("r", 2).read_bytes() == sky.image("r", 2).read_bytes()
    other = simulate(tmp_path / "other", size=256, bands=("r",), seed=5, transients=4)
    assert not np.array_equal(fits.getdata(other.image("r"), "SCI"), fits.getdata(sky.image("r"), "SCI"))


def test_a_field_is_made_once_and_again_when_a_parameter_changes(tmp_path):
    sky = simulate(tmp_path, size=256, bands=("r",), epochs=1)
    before = sky.image("r").stat().st_mtime_ns
    simulate(tmp_path, size=256, bands=("r",), epochs=1)
    assert sky.image("r").stat().st_mtime_ns == before
    simulate(tmp_path, size=256, bands=("r",), epochs=1, seed=1)
    assert sky.image("r").stat().st_mtime_ns != before
    (tmp_path / "simulation.json").unlink()
    with pytest.raises(IngestError, match="not replaced"):
        simulate(tmp_path, size=256, bands=("r",), epochs=1)
    (tmp_path / "simulation.json").write_text("[1")
    with pytest.raises(IngestError, match="is no record"):
        simulate(tmp_path, size=256, bands=("r",), epochs=1)


def test_rows_of_the_source(sky):
    parts = list(sky.partitions(10))
    rows = rows_of(sky)
    assert sum(part.rows for part in parts) == len(rows) == parts[-1].payload["stop"]
    assert list(rows["object_id"]) == list(range(1, len(rows) + 1))
    bright = sky.model_copy(update={"where": "flux_r > 1e4"})
    chosen = bright.read(next(iter(bright.partitions(10**6))), ["object_id", "flux_g"])
    assert list(chosen["object_id"]) == list(rows["object_id"][rows["flux_r"].value > 1e4])
    assert chosen.meta["rows_read"] == len(rows)
    assert chosen["flux_g"].info.meta["filter"] == "SLOAN/SDSS.g"
    assert (rows["r_half"][rows["class_true"] != "GALAXY"] == 0).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"bands": ("q",)}, "no band 'q'"),
        ({"bands": ("g", "g")}, "named twice"),
        ({"transients": 2, "epochs": 1}, "second epoch"),
        ({"size": 300}, "256, 512, 1024 or 2048"),
        ({"system": "hst"}, "system"),
    ],
)
def test_wrong_parameters_are_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        Sky(path="x", **given)


def test_unknown_column_in_a_condition():
    with pytest.raises(ExpressionError, match="z_spec"):
        Sky(path="x", where="zspec > 1")


def test_counts_are_those_of_the_sky():
    mags, counts = field.density("sdss")
    # Yasuda et al. (2001, AJ 122, 1104): 10^2.8 galaxies per square degree and half a mag at r = 20, within 0.1 dex.
    at_20 = np.interp(20.0, mags, counts["GALAXY"])
    assert np.log10(at_20 / 2) == pytest.approx(2.8, abs=0.1)
    # Richards et al. (2006): about 30 quasars per square degree brighter than i = 20.
    brighter = mags < 20
    assert 15 < np.trapezoid(counts["QSO"][brighter], mags[brighter]) < 50


def test_star_density_makes_more_stars_and_nothing_else():
    few, many = (field.populate("sdss", 0.5, None, np.random.default_rng(3), times) for times in (1.0, 6.0))
    mags, counts = field.density("sdss")
    galaxy, star = (list(field.CLASSES).index(name) for name in ("GALAXY", "STAR"))
    expected = 0.5 * np.trapezoid(counts["STAR"], mags)
    for found, times in ((few, 1), (many, 6)):
        assert np.sum(found.kind == star) == pytest.approx(times * expected, abs=4 * np.sqrt(times * expected))
    assert np.sum(many.kind == galaxy) == np.sum(few.kind == galaxy)


def test_pipeline_starts_from_a_field(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(
        "astrokeras: 1\nname: simulated\nsource:\n  sky: {path: field, size: 256, epochs: 1, bands: [g, r]}\n"
        "stages:\n  - colors: {bands: [g, r]}\noutputs:\n  - "
        "votable: {path: out.vot, columns: [ids, 'color_*', class_true]}"
    )
    assert main(["check", "p.yaml"]) == 0
    assert not Path("field").exists()
    Pipeline.read("p.yaml").run(work="work", quiet=True)
    assert Path("field/sky-r-1.fits").exists()
    rows = QTable.read("out.vot")
    assert {"object_id", "color_g_r", "class_true"} <= set(rows.colnames)
    assert len(rows) == len(QTable.read("field/truth.fits", hdu="OBJECTS"))


def test_command(tmp_path, capsys):
    assert main(["simulate", "--out", str(tmp_path / "a"), "--preset", "256", "--epochs", "1", "--bands", "r"]) == 0
    assert "1 images" in capsys.readouterr().out
    assert (tmp_path / "a" / "sky-r-1.fits").exists()
    assert main(["simulate", "--out", str(tmp_path / "a"), "--bands", "r,q"]) == 1
    assert "bands: sdss has no band 'q'" in capsys.readouterr().err


def test_stamps_of_galaxies_have_the_light_of_their_magnitude_and_the_noise_of_the_sky():
    from astrokeras.synthetic.cameras import conditions
    from astrokeras.synthetic.galaxies import galaxy_stamps

    table = galaxy_stamps(60, size=80, system="lsst", bands=("r", "i"), mag=(19, 22), seed=4)
    assert table["stamp"].shape == (60, 80, 80, 2)
    assert table["stamp"].info.meta == {"bands": "r,i", "pixel_scale": 0.2}
    small = table["r_half"].to_value("arcsec") < 1.0
    assert small.sum() > 20
    # The reference band of LSST is i; wings of de Vaucouleurs profiles reach beyond the stamp.
    total = table["stamp"][small, :, :, 1].sum(axis=(1, 2)).to_value("nJy")
    lost = -2.5 * np.log10(total / 10 ** ((31.4 - table["mag"].value[small]) / 2.5))
    assert abs(np.median(lost)) < 0.05 and np.abs(lost).max() < 0.5
    corners = np.asarray(table["stamp"])[small][:, :10, :10, 1]
    assert corners.std() == pytest.approx(conditions("lsst", "i").sigma, rel=0.1)
    again = galaxy_stamps(60, size=80, system="lsst", bands=("r", "i"), mag=(19, 22), seed=4)
    assert (again["stamp"] == table["stamp"]).all() and (again["morphology_true"] == table["morphology_true"]).all()


def test_arms_of_stamps_wind_as_the_truth_says():
    """The phase of two arms grows outwards, or falls: seen with east to the left, one is a Z and the other an S."""
    from astrokeras.synthetic.galaxies import galaxy_stamps

    table = galaxy_stamps(300, size=64, bands=("i",), mag=(15.5, 17.5), seed=2)
    winding, radius = np.asarray(table["winding_true"]), table["r_half"].to_value("arcsec")
    round_ = (winding != "") & (table["inclination"].to_value("deg") < 40) & (radius > 1.5) & (radius < 3)
    y, x = np.mgrid[:64, :64] - 31.5
    r, wave = np.hypot(x, y), np.exp(2j * np.arctan2(y, x))
    rings = [(r > low) & (r < low + 3) for low in np.arange(5, 20, 3)]
    turns = []
    for stamp in np.asarray(table["stamp"])[round_, :, :, 0]:
        phase = np.unwrap([np.angle((stamp * wave)[ring].sum()) for ring in rings])
        turns.append(np.sign(np.median(np.diff(phase))))
    turns, seen = np.array(turns), winding[round_]
    assert len(seen) > 15 and set(seen) == {"S", "Z"}
    # From the middle of a Z up and then to the left: counterclockwise.
    assert np.mean(turns == np.where(seen == "Z", 1, -1)) > 0.8
