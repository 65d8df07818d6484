"""Features of stamps in a pipeline: stamps that are stored, vectors in products, and mistakes at their line."""

from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from astropy.table import QTable

from astrokeras import Hog, Pipeline, Shapes, registry
from astrokeras.errors import SpecError
from astrokeras.fields import Field
from astrokeras.stage import Stage


class Paint(Stage):
    """Stamps of disks, as bright as the objects."""

    name: ClassVar[str] = "paint"

    def reads(self):
        return (Field(name="flux_g", unit="nJy"), Field(name="flux_r", unit="nJy"))

    def writes(self):
        return (Field(name="stamp", unit="nJy", shape=(48, 48, 2), meta={"bands": "g,r", "pixel_scale": 0.2}),)

    def run(self, chunk):
        y, x = np.mgrid[:48, :48] - 23.5
        fluxes = np.stack([chunk["flux_g"].value, chunk["flux_r"].value], axis=-1)[:, None, None]
        noise = np.random.default_rng(0).normal(0, 1e-3, (48, 48, 1))
        return {"stamp": (np.exp(-np.hypot(x, 1.5 * y) / 3)[:, :, None] + noise) * fluxes}


TEXT = """astrokeras: 1
name: disks
source:
  synthetic: {rows: 12, seed: 2}
stages:
  - paint: {checkpoint: true}
  - shapes: {bands: [r], pixel_scale: 0.2}
  - hog: {size: 48, bands: [r, g]}
  - color_profile: {bands: [g, r], edges: [0, 2, 4]}
  - texture: {bands: [g]}
outputs:
  - fits: {path: out.fits, columns: [ids, flux_g, stamp, hog, "*_r", "profile_*", "color_profile_*", "lbp_*", flags]}
  - votable: {path: out.vot, columns: [ids, hog, "gini_*", "r50_*", flags]}
"""


@pytest.fixture
def paint(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(registry.BUILTIN["stages"], "paint", f"{__name__}:Paint")
    for cached in (registry.names, registry.lookup):
        monkeypatch.setattr(registry, cached.__name__, lru_cache(cached.__wrapped__))


def test_a_stage_on_stamps_may_be_added_after_a_run(paint):
    """The first run stored no stamps: nothing wanted them."""
    head = TEXT[: TEXT.index("  - paint")] + "  - paint: {}\n"
    tail = "outputs:\n  - fits: {path: out.fits, columns: [ids, flags COLUMNS]}\n"
    added = "  - shapes: {bands: [r], pixel_scale: 0.2}\n"
    for stages, columns in (("", ""), (added, ", '*_r'"), (added + "  - hog: {size: 48, bands: [r, g]}\n", ", hog")):
        Path("p.yaml").write_text(head + stages + tail.replace(" COLUMNS", columns))
        Pipeline.read("p.yaml").run(work="work", quiet=True)
    assert np.isfinite(np.asarray(QTable.read("out.fits")["hog"])).all()


def test_products_hold_what_the_stages_give(paint):
    Path("p.yaml").write_text(TEXT)
    Pipeline.read("p.yaml").run(quiet=True)
    out = QTable.read("out.fits")
    good = np.asarray(out["flux_r"] > 0)
    assert good.sum() > 8
    stamps = out["stamp", "object_id"][good]
    stamps["stamp"].info.meta = {"bands": "g,r"}
    np.testing.assert_allclose(out["hog"][good], Hog(size=48, bands=["r", "g"])(stamps)["hog"], atol=1e-6)
    wanted = Shapes(bands=["r"], pixel_scale=0.2)(stamps)
    assert out["r50_r"].unit == "arcsec"
    np.testing.assert_allclose(out["r50_r"][good].value, wanted["r50_r"].value, rtol=1e-5)
    np.testing.assert_allclose(out["ellipticity_r"][good], 1 / 3, atol=0.02)
    colors = -2.5 * np.log10(out["flux_g"] / out["flux_r"])[good]
    np.testing.assert_allclose(out["color_profile_g_r"][good].value, np.stack([colors, colors], axis=1), atol=1e-3)
    votable = QTable.read("out.vot")
    np.testing.assert_array_equal(votable["hog"], out["hog"])
    assert votable["gini_r"].description == "Gini coefficient of the pixels of the galaxy, in band r"


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("size: 48", "size: 64", 8, "have 48 x 48 pixels (y, x), `size` says 64 x 64"),
        ("bands: [r, g]}", "bands: [z]}", 8, "have no band ['z']"),
        ("pixel_scale: 0.2}", "pixel_scale: 0.4}", 7, "have 0.2 arcsec, `pixel_scale` says 0.4"),
        ("edges: [0, 2, 4]", "unit: ct, edges: [0, 2]", 9, "reads 'stamp' in 'ct', but it comes in 'nJy'"),
        ("bands: [g]}", "bands: [g], stamp: image}", 10, "reads 'image', which nothing before it writes"),
    ],
)
def test_a_mistake_is_told_at_its_line(paint, old, new, line, message):
    Path("p.yaml").write_text(TEXT.replace(old, new, 1))
    with pytest.raises(SpecError) as caught:
        Pipeline.read("p.yaml")
    problem = min(caught.value.problems, key=lambda p: p.line)
    assert problem.line == line
    assert message in problem.message
