"""Coverage: counts in cells by hand, the shares they give, and what a product says of a field that lies elsewhere."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io.votable import parse
from hypothesis import given, settings
from hypothesis import strategies as st

from astrokeras import Pipeline
from astrokeras.errors import AstrokerasError, ChunkError, ModelError
from astrokeras.export.coverage import Coverage
from astrokeras.fields import OBJECT_ID, flux_field
from astrokeras.models.coverage import compare, count, pairs, read_coverage, write_coverage
from astrokeras.units import ab_to_njy

PLANES = [("g", "r")]


def fluxes(*magnitudes):
    """Fluxes of objects with magnitudes (g, r)."""
    g, r = np.array(magnitudes, float).T
    return {"g": ab_to_njy(g), "r": ab_to_njy(r)}


def test_objects_are_counted_in_their_cells():
    given_fluxes = fluxes((20.6, 20.1), (20.7, 20.1), (20.1, 20.4), (19.9, 20.6), (18.0, 17.9))
    given_fluxes["g"][4] = np.nan
    (plane,) = count(given_fluxes, PLANES).planes
    # r = 20.1 lies in cell 40 of 0.5 mag, g - r = 0.5 and 0.6 in cell 2 of 0.25 mag.
    assert plane.counts() == {(40, 2): 2, (40, -2): 1, (41, -3): 1}
    assert plane.rows == 4
    given_fluxes["r"][:] = [-1, 0, np.inf, np.nan, 1]
    assert count(given_fluxes, PLANES).planes[0].rows == 0


def test_neighbouring_bands_make_the_planes():
    assert pairs("ugri") == [("u", "g"), ("g", "r"), ("r", "i")]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), cut=st.integers(0, 50))
def test_parts_add_up_to_the_whole(seed, cut):
    rng = np.random.default_rng(seed)
    whole = {band: ab_to_njy(rng.normal(20, 1, 50)) for band in "gri"}
    parts = [{band: v[piece] for band, v in whole.items()} for piece in (slice(cut), slice(cut, None))]
    planes = pairs("gri")
    assert count(parts[0], planes) + count(parts[1], planes) == count(whole, planes)


def test_shares_outside_are_those_of_cells_without_training_rows():
    training = count(fluxes((20.6, 20.1), (20.7, 20.1), (20.1, 20.4)), PLANES)
    target = count(fluxes((20.8, 20.2), (22.6, 22.1), (22.7, 22.1), (25.0, 22.1)), PLANES)
    (report,) = compare(training, target)
    assert report["outside"] == 3 / 4
    assert report["expected_outside"] == 1 / 3
    assert [20.0, 0.5, 2, 1] in report["cells"]
    assert [22.0, 0.5, 0, 2] in report["cells"]
    assert sum(cell[2] for cell in report["cells"]) == report["training"] == 3
    assert sum(cell[3] for cell in report["cells"]) == report["target"] == 4
    (same,) = compare(training, training)
    assert same["outside"] == 0


def test_rows_drawn_alike_lie_outside_as_often_as_expected():
    rng = np.random.default_rng(3)
    training, target = (count({b: ab_to_njy(rng.normal(20, 1, 3000)) for b in "gr"}, PLANES) for _ in range(2))
    (report,) = compare(training, target)
    assert report["outside"] == pytest.approx(report["expected_outside"], abs=0.006)
    assert report["outside"] > 0


def test_what_lies_beside_a_model_is_read_again(tmp_path):
    training = count(fluxes((20.6, 20.1), (20.1, 20.4)), PLANES)
    write_coverage(training, tmp_path)
    assert read_coverage(tmp_path) == training
    with pytest.raises(ModelError, match=r"coverage\.json: no such file"):
        read_coverage(tmp_path / "none")
    (tmp_path / "coverage.json").write_text('{"planes": [{"bands": ["g"]}]}')
    with pytest.raises(ModelError, match=r"coverage\.json: planes\.0\.bands"):
        read_coverage(tmp_path)


def test_the_output_needs_two_bands(tmp_path):
    with pytest.raises(ChunkError, match="needs the fluxes of two bands or more, found \\['flux_g'\\]"):
        Coverage(path="c.json", model="m").reads((OBJECT_ID, flux_field("g")))


HEAD = "astrokeras: 1\nname: {name}\nsource:\n  synthetic: {{rows: 1200, seed: 8, classes: {{galaxy: 1}}, {more}}}\n"
APPLY = """stages:
  - photoz: {{model: {model}, pdf: false}}
outputs:
  - votable: {{path: out.vot, columns: [ids, "z_*", domain_score, flags]}}
  - coverage: {{path: coverage.json, model: {model}}}
"""


def run(model, name, more=""):
    Path(f"{name}.yaml").write_text(HEAD.format(name=name, more=more) + APPLY.format(model=model))
    record = Pipeline.read(f"{name}.yaml").run(quiet=True)
    infos = {info.name: info.value for info in parse("out.vot").resources[0].infos}
    log = next(Path(".astrokeras", name, "logs").glob("*")).read_text()
    return record["products"], json.loads(Path("coverage.json").read_text()), infos, log


def test_a_field_like_the_training_set_is_silent(small_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (product, _), report, infos, log = run(small_model, "like")
    assert product["flags"].get("OUT_OF_DOMAIN", 0) < 0.05 * 1200
    assert "warnings" not in product and "warnings" not in infos
    assert report["warnings"] == []
    assert [plane["magnitude"] for plane in report["planes"]] == ["g", "r", "i", "z"]
    assert all(plane["outside"] < 0.06 for plane in report["planes"])
    assert "WARNING" not in log


def test_a_field_that_lies_elsewhere_says_so(small_model, tmp_path, monkeypatch):
    """Two magnitudes fainter than the training set."""
    monkeypatch.chdir(tmp_path)
    (product, _), report, infos, log = run(small_model, "faint", "mag_limit: 24.5")
    share = product["flags"]["OUT_OF_DOMAIN"] / 1200
    assert share > 0.3
    (warning,) = product["warnings"]
    assert warning.startswith(f"{share:.0%} of 1200 rows are OUT_OF_DOMAIN")
    assert infos["warnings"] == warning
    assert warning in log
    assert report["out_of_domain"] == product["flags"]["OUT_OF_DOMAIN"]
    assert report["warnings"]
    assert all("rows lie where there is no training row in" in w for w in report["warnings"])
    assert max(plane["outside"] for plane in report["planes"]) > 0.3


def test_a_model_without_counts_is_told(small_model, tmp_path, monkeypatch):
    import shutil

    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_model, "old")
    Path("old/coverage.json").unlink()
    with pytest.raises(AstrokerasError, match=r"coverage\.json"):
        run("old", "old")
