"""Histograms of oriented gradients: those of scikit-image, on every stamp, and what holes do."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Column, QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError
from skimage.feature import hog as reference

from astrokeras.errors import ChunkError
from astrokeras.features.compiled import compiled
from astrokeras.features.hog import Hog, hog
from astrokeras.flags import Flag
from astrokeras.testing import check_stage

RNG = np.random.default_rng(20)


def expected(stamps, **options):
    axis = -1 if stamps.ndim == 4 else None
    options = {"cells_per_block": (2, 2)} | options
    return np.array([reference(stamp, channel_axis=axis, **options) for stamp in stamps])


def smooth(shape, kind):
    """Stamps of a blob in noise; as floats, as integers of 8 bits, or as these over 255."""
    y, x = np.mgrid[: shape[1], : shape[2]]
    blob = np.exp(-np.hypot(y - shape[1] / 2, x - shape[2] / 3) / 6)
    stamps = blob.reshape(1, *blob.shape, *[1] * (len(shape) - 3)) * 9 + RNG.normal(size=shape)
    if kind == "f8":
        return stamps
    levels = np.clip(stamps * 20 + 30, 0, 255).astype(np.uint8)
    return levels if kind == "u1" else (levels / np.float32(255)).astype(kind)


@pytest.mark.parametrize("kind", ["f8", "f4", "f2", "u1"])
@pytest.mark.parametrize("bands", [(), (1,), (3,), (5,)])
def test_equals_scikit_image(kind, bands):
    stamps = smooth((60, 40, 48, *bands), kind)
    found, wanted = hog(stamps), expected(stamps)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-7)
    assert found.std() > 0.05


@pytest.mark.parametrize("norm", ["L1", "L1-sqrt", "L2", "L2-Hys"])
@pytest.mark.parametrize("bands", [(), (3,)])
@pytest.mark.parametrize(
    ("orientations", "cell", "block"),
    [(9, (8, 8), (1, 1)), (1, (4, 6), (3, 2)), (8, (7, 5), (2, 3)), (13, (5, 9), (1, 2)), (36, (30, 29), (1, 1))],
)
def test_all_orientations_cells_blocks_and_norms(norm, bands, orientations, cell, block):
    stamps = np.abs(RNG.normal(size=(4, 34, 31, *bands)))
    options = {"orientations": orientations, "pixels_per_cell": cell, "cells_per_block": block, "block_norm": norm}
    np.testing.assert_allclose(hog(stamps, **options), expected(stamps, **options), rtol=0, atol=1e-7)
    options["transform_sqrt"] = True
    np.testing.assert_allclose(hog(stamps, **options), expected(stamps, **options), rtol=0, atol=1e-7)


@pytest.mark.parametrize("orientations", [1, 2, 4, 6, 7, 9, 12, 49])
def test_directions_on_the_edges_of_bins_fall_on_the_same_side(orientations):
    dy, dx = (grid.ravel() for grid in np.mgrid[-12:13, -12:13])
    # Only the middle pixel of each stamp has a gradient.
    stamps = np.zeros((len(dy) + 3, 3, 3))
    stamps[: len(dy), 2, 1], stamps[: len(dy), 1, 2] = dy, dx
    # A hair below 0 degrees, which rounds to 180: in no bin.
    stamps[-3:, 1, 2], stamps[-3:, 2, 1] = 1, [-1e-20, 1e-20, -1e-13]
    options = {"orientations": orientations, "pixels_per_cell": (3, 3), "cells_per_block": (1, 1)}
    np.testing.assert_array_equal(hog(stamps, **options) > 0, expected(stamps, **options) > 0)
    for scale in (1 / 255, 1 / 3):
        np.testing.assert_array_equal(hog(stamps * scale, **options) > 0, expected(stamps * scale, **options) > 0)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["f4", "f8"]),
        st.tuples(st.just(2), st.integers(6, 9), st.integers(6, 9), st.integers(1, 3)),
        elements=st.one_of(st.integers(-3, 3), st.floats(-1e3, 1e3, width=32)),
    )
)
def test_equals_scikit_image_on_anything(stamps):
    options = {"orientations": 4, "pixels_per_cell": (3, 3), "block_norm": "L2"}
    np.testing.assert_allclose(hog(stamps, **options, cells_per_block=(2, 2)), expected(stamps, **options), atol=1e-7)


def test_a_hole_makes_no_edge():
    y, x = np.mgrid[:32, :32]
    plain = (3.0 * x + y)[None]
    holed = plain.copy()
    holed[0, 10:14, 9:15] = np.nan
    options = {"pixels_per_cell": (32, 32), "cells_per_block": (1, 1), "block_norm": "L1"}
    # All gradients point the same way but those at the border.
    both = hog(np.concatenate([plain, holed]), **options)
    assert both.argmax(axis=1).tolist() == [0, 0]
    np.testing.assert_allclose(both[0], both[1], atol=0.02)
    assert np.isnan(hog(np.full((1, 32, 32), np.nan), **options)).all()


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 15, 64), {}, "smaller than a block, 16 x 16"),
        ((64, 64), {}, "axes"),
        ((2, 64, 64), {"block_norm": "L3"}, "block_norm"),
        ((2, 64, 64), {"orientations": 0}, "positive"),
    ],
)
def test_what_cannot_be_is_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        hog(np.zeros(shape), **options)


def table(n=12, size=24, bands="g,r,i"):
    stamps = RNG.normal(size=(n, size, size, len(bands.split(",")))).astype(np.float32)
    return QTable({"stamp": Column(stamps, meta={"bands": bands})})


def test_the_stage_writes_the_vectors_of_its_bands():
    data = table()
    data["stamp"][3, 5, 5, 1] = np.nan
    out = Hog(size=24, bands=["i", "g"], column="edges")(data)
    np.testing.assert_array_equal(out["edges"], hog(np.asarray(data["stamp"])[..., [2, 0]]))
    # The hole is in another band.
    assert not np.any(out["flags"])
    out = Hog(size=24)(data)
    assert out["flags"].tolist() == [Flag.MASKED_PIXELS if i == 3 else 0 for i in range(12)]
    assert out["hog"].shape[1:] == Hog(size=24).writes()[0].shape == (2 * 2 * 4 * 9,)


@pytest.mark.parametrize("options", [{}, {"bands": ["r"], "transform_sqrt": True}])
def test_keeps_the_contract(options):
    check_stage(Hog(size=24, **options), table())


def test_another_size_or_band_is_an_error():
    with pytest.raises(ChunkError, match=r"have 24 x 24 pixels .*says 32 x 32"):
        Hog(size=32)(table())
    with pytest.raises(ChunkError, match=r"no band \['z'\]"):
        Hog(size=24, bands=["z"])(table())
    with pytest.raises(ChunkError, match="does not say which bands"):
        Hog(size=24, bands=["r"])(QTable({"stamp": np.zeros((4, 24, 24, 3), "f4")}))
    with pytest.raises(ValidationError, match="smaller than a block"):
        Hog(size=12)


def test_a_plan_knows_the_size_of_the_stamps():
    (field,) = Hog(size=24).reads()
    known = field.model_copy(update={"shape": (32, 32, 3), "meta": {"bands": "g,r,i"}})
    with pytest.raises(ChunkError, match="32 x 32"):
        Hog(size=24).accepts((known,))
    with pytest.raises(ChunkError, match="no band"):
        Hog(size=32, bands=["z"]).accepts((known,))
    assert Hog(size=32, bands=["r"]).accepts((known,)) == ()


def test_a_module_where_nothing_can_be_written_is_compiled_all_the_same():
    scope = {}
    exec(compile("def twice(x):\n    return 2 * x\n", "<nowhere>", "exec"), scope)
    assert compiled(scope["twice"])(21) == 42


def test_checking_a_pipeline_compiles_nothing():
    parts = "Hog(size=64), Shapes(bands=['r']), Texture(bands=['r']), ColorProfile(bands=['r'])"
    code = f"import sys; from astrokeras import *; [part.writes() for part in ({parts})]"
    code += "; print({'numba', 'scipy'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_equals_scikit_image_on_real_galaxies(shared_data):
    from PIL import Image

    paths = sorted((shared_data / "morphology" / "efigi").glob("*.jpg"))[:400]
    stamps = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    for pixels in (stamps, (stamps / 255).astype(np.float32), stamps[..., 1]):
        np.testing.assert_allclose(hog(pixels), expected(pixels), rtol=0, atol=1e-6)
