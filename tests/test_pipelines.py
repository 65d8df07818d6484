"""Every pipeline that ships runs from end to end, on fewer rows, and leaves valid VOTables."""

import json
import shutil
import subprocess
from pathlib import Path

import frames
import numpy as np
import pytest
import scenes
from astropy.io.votable import parse
from astropy.table import Table

from astrokeras.cli import main
from astrokeras.resources import pipelines_dir

SMALL = []
for parameter in ("width=24", "depth=1", "epochs=12", "members=1", "threads=1"):
    SMALL += ["--set", f"stages.photoz.train.{parameter}"]
PHOTOZ = [*SMALL, "--set", "stages.photoz.train.cross_fit=2"]


def votlint(path):
    """What votlint has to say, empty if all is well."""
    if shutil.which("stilts") is None:
        pytest.skip("stilts is not installed")
    done = subprocess.run(["stilts", "votlint", str(path)], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """Run all of them, in the order in which a user would, and return where."""
    here = tmp_path_factory.mktemp("pipelines")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        pipelines = Path(pipelines_dir())
        stages = ("photoz", "classify", "morphology")
        few = [f"--set=stages.{stage}.train.epochs={n}" for stage, n in zip(stages, (8, 2, 1), strict=True)]
        assert main(["run", str(pipelines / "quickstart.yaml"), "--quiet", *few]) == 0
        assert main(["run", str(pipelines / "field.yaml"), "--quiet"]) == 0
        size = ["--set", "source.synthetic.rows=5000"]
        assert main(["run", str(pipelines / "photoz-train.yaml"), "--quiet", *size, *PHOTOZ]) == 0
        rows = ["source.synthetic.rows=6000", "stages.crossmatch.catalog.synthetic.rows=6000"]
        size = [word for setting in rows for word in ("--set", setting)]
        assert main(["run", str(pipelines / "photoz-from-specz.yaml"), "--quiet", *size, *PHOTOZ]) == 0
        small = [text.replace("photoz", "classify") for text in PHOTOZ]
        size = ["--set", "source.synthetic.rows=3000"]
        assert main(["run", str(pipelines / "starqso-train.yaml"), "--quiet", *size, *small]) == 0
        few = ["width=24", "depth=1", "epochs=8", "members=1", "threads=1", "cross_fit=0"]
        small = ["source.synthetic.rows=1500", "stages.process.train.max_rows=100"]
        small += [f"stages.network.train.{parameter}" for parameter in few]
        size = [word for setting in small for word in ("--set", setting)]
        assert main(["run", str(pipelines / "compare.yaml"), "--quiet", *size]) == 0
        size = ["--set", "source.synthetic.rows=2000", "--set", "source.synthetic.missing=0.2"]
        for name in ("photoz-apply", "starqso-apply"):
            assert main(["run", str(pipelines / f"{name}.yaml"), "--quiet", *size]) == 0
        frames.write(here / "counts.fits").write(here / "stars.ecsv")
        catalog = "stages.calibrate.catalog={files: stars.ecsv, bands: [g, r]}"
        given = ["--set", "vars.images=counts.fits", "--set", catalog]
        assert main(["run", str(pipelines / "calibrate.yaml"), "--quiet", *given]) == 0
        galaxies(here / "efigi")
        small = ["split.folds=2", *(f"stages.morphology.train.{p}" for p in ("epochs=1", "members=1", "threads=1"))]
        small += ["stages.morphology.train.stamp={size: 16, widths: [4]}", "vars.classes=[E, Slate]"]
        size = [word for setting in small for word in ("--set", setting)]
        assert main(["run", str(pipelines / "morphology-train.yaml"), "--quiet", *size]) == 0
        assert main(["run", str(pipelines / "morphology-apply.yaml"), "--quiet"]) == 0
        scenes.write(scenes.field(seed=21, size=240, count=40, faint=300.0)[0], here)
        files = ["images={band}.fits", "bands=[r, i]", "detect=[r]"]
        assert main(["run", str(pipelines / "detect.yaml"), "--quiet", *(f"--set=vars.{text}" for text in files)]) == 0
    return here / "products"


def galaxies(folder, n=40):
    """Pictures of round and of elongated galaxies, and their labels."""
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:88, :88] - 43.5
    for i in range(n):
        light = 200 * np.exp(-0.5 * ((x / 8) ** 2 + (y / (8 + 10 * (i % 2))) ** 2))
        pixels = light[..., None] + rng.uniform(0, 20, (88, 88, 3))
        Image.fromarray(pixels.astype("u1")).save(folder / f"g{i}.jpg")
    names, odd = [f"g{i}" for i in range(n)], np.arange(n) % 2
    labels = Table({"name": names, "class": np.where(odd, "Slate", "E"), "T": np.where(odd, 5.0, -5.0)})
    labels.write(folder / "labels.csv")


def test_all_that_ship_are_here():
    names = {
        "quickstart",
        "field",
        "compare",
        "photoz-train",
        "photoz-apply",
        "photoz-from-specz",
        "starqso-train",
        "starqso-apply",
        "morphology-train",
        "morphology-apply",
        "detect",
        "calibrate",
    }
    assert {p.stem for p in Path(pipelines_dir()).glob("*.yaml")} == names


@pytest.mark.parametrize(
    "path",
    [
        "quickstart/objects.vot",
        "field/objects.vot",
        "photoz-train/test.vot",
        "photoz-apply/photoz.vot",
        "photoz-from-specz/photoz.vot",
        "starqso-train/test.vot",
        "starqso-apply/classes.vot",
        "compare/test.vot",
        "morphology-train/out-of-fold.vot",
        "morphology-apply/morphology.vot",
        "detect/objects.vot",
        "calibrate/exposures.vot",
    ],
)
def test_votables_are_valid(products, path):
    assert votlint(products / path) == ""


def test_the_density_agrees_with_the_columns(products):
    votable = parse(products / "photoz-apply/photoz.vot").get_first_table()
    table = votable.to_table()
    params = {p.name: p.value for g in votable.groups for p in g.entries if hasattr(p, "value")}
    grid = np.linspace(params["z_min"], params["z_max"], table["z_pdf"].shape[1])
    pdf = np.asarray(table["z_pdf"], float)
    np.testing.assert_allclose(np.trapezoid(pdf, grid), 1, rtol=1e-4)
    below = np.concatenate(
        [np.zeros((len(pdf), 1)), np.cumsum((pdf[:, 1:] + pdf[:, :-1]) / 2, 1) * np.diff(grid)[0]], 1
    )
    for column, level in (("z_lo", 0.16), ("z_phot", 0.5), ("z_hi", 0.84)):
        found = np.array([np.interp(z, grid, c) for z, c in zip(table[column], below, strict=True)])
        # Linear interpolation of the cumulative within one cell errs by at most a quarter of the cell's probability.
        cell = np.diff(below, axis=1).max(axis=1)
        assert np.all(np.abs(found - level) < 0.26 * cell + 1e-4)
    assert np.all(table["z_lo"] < table["z_phot"])
    assert np.all(table["z_phot"] < table["z_hi"])
    assert len(set(np.asarray(table["z_mode"]).round(4))) > 10


def test_missing_bands_are_flagged_and_widen_the_density(products):
    table = parse(products / "photoz-apply/photoz.vot").get_first_table().to_table()
    missing = (np.asarray(table["flags"]) & 1) > 0
    assert 0.15 < missing.mean() < 0.25
    width = np.asarray(table["z_hi"] - table["z_lo"])
    assert np.isfinite(width).all()
    assert np.median(width[missing]) > np.median(width[~missing])


def test_scores_are_of_test_rows_and_beat_the_baseline(products):
    scores = json.loads((products / "photoz-train/metrics.json").read_text())
    table = Table.read(products / "photoz-train/test.vot")
    assert scores["overall"]["n"] == len(table)
    assert scores["overall"]["sigma_nmad"]["value"] < scores["baseline"]["sigma_nmad"] / 1.5


def test_quickstart_covers_the_whole_chain(products):
    table = Table.read(products / "quickstart/objects.vot")
    scored = json.loads((products / "quickstart/redshifts.json").read_text())
    galaxies = np.isfinite(np.ma.filled(table["z_phot"].astype(float), np.nan))
    assert 0 < scored["overall"]["n"] <= np.sum(galaxies & (table["split"] == "test"))
    assert scored["overall"]["sigma_nmad"]["value"] < scored["baseline"]["sigma_nmad"] / 1.5
    # Stars have the size of the PSF; galaxies are larger.
    size = np.ma.filled(table["r50_i"].astype(float), np.nan)
    truth = Table.read(products / "quickstart/field/truth.fits", hdu=1)
    named = np.char.strip(np.asarray(truth["class_true"]).astype(str)) == "STAR"
    is_star = dict(zip(truth["object_id"].tolist(), named, strict=True))
    star = np.array([is_star[i] for i in table["object_id"].tolist()])
    assert np.nanmedian(size[star]) < np.nanmedian(size[~star])
    page = (products / "quickstart/report.html").read_text()
    # Galleries of 12: one of a class at least, the most uncertain, those least like the training rows.
    stamps = page.count('alt="stamp of ')
    assert stamps >= 3 * 12
    # The field, its positions and magnitudes; redshifts, their scatter and PIT; of two kinds of classes the numbers,
    # the confusion and the reliability.
    assert page.count("<img ") - stamps == 3 + 3 + 2 * 3
    assert len((products / "quickstart/objects.reg").read_text().splitlines()) > len(table)


def test_field_gives_what_the_models_gave_where_they_were_trained(products):
    """Models and images are those of the quickstart; only its `where` of stages is not in field.yaml."""
    trained, applied = (Table.read(products / f"{name}/objects.vot") for name in ("quickstart", "field"))
    assert trained["object_id"].tolist() == applied["object_id"].tolist()
    z, again = (np.ma.filled(t["z_phot"].astype(float), np.nan) for t in (trained, applied))
    known = np.isfinite(z)
    np.testing.assert_allclose(again[known], z[known], rtol=1e-5)
    np.testing.assert_array_equal(trained["concentration_i"], applied["concentration_i"])


def test_only_test_rows_are_delivered_by_photoz_train(products):
    table = Table.read(products / "photoz-train/test.vot")
    assert set(table["split"]) == {"test"}
    dz = np.asarray((table["z_phot"] - table["z_spec"]) / (1 + table["z_spec"]), float)
    assert 1.4826 * np.median(np.abs(dz - np.median(dz))) < 0.12


def test_matched_redshifts_train_a_model_for_all(products):
    votable = parse(products / "photoz-from-specz/photoz.vot")
    table = votable.get_first_table().to_table()
    z_spec, z_phot = (np.ma.filled(table[name].astype(float), np.nan) for name in ("z_spec", "z_phot"))
    matched = np.isfinite(z_spec)
    assert 0.2 < matched.mean() < 0.5
    assert np.isfinite(z_phot).all()
    infos = {info.name: info.value for info in votable.resources[0].infos}
    found = json.loads(infos["findings.crossmatch"])
    assert (found["rows"], found["matched"]) == (6000, np.sum(matched))
    assert found["false_match_rate"] < 0.01
    scores = json.loads((products / "photoz-from-specz/metrics.json").read_text())
    assert scores["overall"]["n"] == np.sum(matched & (table["split"] == "test"))
    assert scores["overall"]["sigma_nmad"]["value"] < scores["baseline"]["sigma_nmad"]


def test_classes_are_better_than_their_ratio(products):
    report = json.loads((products / "starqso-train/metrics.json").read_text())
    assert report["overall"]["log_loss"]["value"] < 0.6 * report["baseline"]["log_loss"]
    table = parse(products / "starqso-apply/classes.vot").get_first_table().to_table()
    p = np.stack([np.asarray(table[name], float) for name in ("p_star", "p_galaxy", "p_qso")], axis=1)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    assert {str(label) for label in table["class_label"]} == {"STAR", "GALAXY", "QSO"}
    assert all(label in text.split() for label, text in zip(table["class_label"], table["class_set"], strict=True))


def test_images_give_a_catalog(products):
    table = parse(products / "detect/objects.vot").get_first_table().to_table()
    color = np.ma.filled(table["color_r_i"].astype(float), np.nan)
    assert len(table) > 25
    assert np.nanmedian(color) == pytest.approx(2.5 * np.log10(1.5), abs=0.03)


def test_images_are_calibrated(products):
    row = parse(products / "calibrate/exposures.vot").get_first_table().to_table()[0]
    assert row["flags"] == 0
    assert abs(row["zero_point_fit"] - frames.ZERO_POINT) < 4 * row["zero_point_err"] + 0.005
    assert row["psf_fwhm"] == pytest.approx(2.3548 * frames.SIGMA * frames.SCALE, rel=0.03)
    assert row["sky"] == pytest.approx(frames.SKY, abs=0.3)


@pytest.mark.parametrize("name", ["boss-photoz", "lsst-photoz", "sdss-starqso", "atlas-wise-starqso"])
def test_pipelines_of_shipped_models_hold_no_mistake(name, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ASTRO_DATA", str(tmp_path))
    assert main(["check", str(Path(pipelines_dir()) / "models" / f"{name}.yaml")]) == 0
    assert "fine" in capsys.readouterr().out


def test_methods_are_compared_on_the_same_rows(products):
    scores = json.loads((products / "compare/compare.json").read_text())
    table = Table.read(products / "compare/test.vot")
    methods = {"network", "forest", "boosting", "vectors", "process", "neighbours", "linear"}
    assert set(scores["methods"]) == methods
    assert scores["overall"]["n"] == len(table)
    crps = {name: found["crps"]["value"] for name, found in scores["overall"]["methods"].items()}
    # The network of this test has no time to learn.
    assert all(crps[name] < scores["baseline"]["crps"] / 1.5 for name in methods - {"network"})
    assert crps["forest"] < crps["linear"]
    trials = json.loads((products / "compare/knn/trials.json").read_text())
    assert [trial["values"]["n_neighbors"] for trial in trials] == [5, 10, 20, 40, 80]
