"""Further inputs that are missing are masked, and flux errors may be left out of a network."""

import numpy as np
import pytest

from astrokeras import PhotoZ
from astrokeras.errors import ModelError
from astrokeras.flags import Flag
from astrokeras.synthetic.catalog import Synthetic

TINY = {"width": 16, "depth": 1, "members": 1, "epochs": 25, "n_grid": 32, "threads": 1, "seed": 3, "band_dropout": 0.2}
BANDS = ("g", "r", "i")


def catalog(rows, seed):
    source = Synthetic(rows=rows, seed=seed, bands=BANDS, classes={"galaxy": 1.0})
    table = source.read(next(iter(source.partitions(rows))), [f.name for f in source.fields()])
    # A size that tells the redshift nearly, but not alone.
    table["size"] = (table["z_spec"] + 0.02 * np.random.default_rng(seed).normal(size=rows)).astype(np.float32)
    return table


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    table = catalog(1500, 3)
    table["size"][::5] = np.nan
    return PhotoZ(bands=BANDS, extra=("size",), train=TINY).fit(table, tmp_path_factory.mktemp("sized") / "m")


def test_a_missing_size_is_masked_flagged_and_widens(stage):
    table = catalog(800, 9)
    known = stage(table)
    table["size"][:400] = np.nan
    out = stage(table)
    flagged = (np.asarray(out["flags"]) & Flag.MISSING_INPUT) > 0
    np.testing.assert_array_equal(flagged, np.arange(800) < 400)
    assert np.isfinite(out["z_phot"]).all()
    np.testing.assert_array_equal(out["z_phot"][400:], known["z_phot"][400:])
    width = [np.median((t["z_hi"] - t["z_lo"])[:400]) for t in (out, known)]
    assert width[0] > 1.03 * width[1]


def test_a_catalog_without_sizes_is_one_of_missing_sizes(stage):
    table = catalog(100, 4)
    table["size"][:] = np.nan
    nothing = stage(table)
    absent = stage(table[[name for name in table.colnames if name != "size"]])
    np.testing.assert_array_equal(absent["z_phot"], nothing["z_phot"])
    np.testing.assert_array_equal(absent["flags"], nothing["flags"])
    assert any("'size' is not in the data" in note for note in stage.accepts(Synthetic(rows=1, bands=BANDS).fields()))


def test_a_card_of_old_needs_its_inputs(stage):
    from astrokeras.models.compare import lacking_bands

    card = stage.card()
    assert lacking_bands(card, [f.name for f in card.inputs if f.name != "size"]) == []
    with pytest.raises(ModelError, match="needs 'size'"):
        lacking_bands(card.model_copy(update={"extras_may_miss": False}), [f"flux_{b}" for b in BANDS])


def test_a_network_without_errors_does_not_see_them(tmp_path):
    table = catalog(300, 5)
    recipe = {**TINY, "epochs": 2}
    for errors in (True, False):
        stage = PhotoZ(bands=BANDS, train={**recipe, "errors": errors}).fit(table, tmp_path / str(errors))
        before = stage(table)
        other = table.copy()
        for band in BANDS:
            other[f"flux_err_{band}"] = other[f"flux_err_{band}"] * 3
        after = stage(other)
        same = np.array_equal(after["z_phot"], before["z_phot"])
        assert same != errors
        assert np.array_equal(after["domain_score"], before["domain_score"]) != errors
