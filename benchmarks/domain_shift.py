"""A model on objects unlike those it was trained on: are its errors among those flagged, and is it still calibrated?

    python benchmarks/domain_shift.py SOURCE.yaml --target TARGET.yaml [--train errors=false ...]
    python benchmarks/domain_shift.py SOURCE.yaml --faint r [--train members=2 ...]

The files hold the ``catalog:`` block of a pipeline. Where the rows of SOURCE have a class (``class_true``) a classifier
is trained, else a photo-z model; on all of them, or, with ``--faint``, on those brighter than the median in a band. It
is applied to the rows of TARGET (less those within 1 arcsec of a training row), or to the fainter half.

An error is a wrong class, or a redshift off by more than .15 (1 + z). For classes also given: accuracy, mean log-loss
and expected calibration error of the probabilities, and of what they were before `astrokeras.layers.PriorShrinkage`.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from astrokeras import Classify, PhotoZ, class_metrics
from astrokeras.chunk import concatenate
from astrokeras.fields import bands_of
from astrokeras.flags import Flag
from astrokeras.ingest.catalog import Catalog
from astrokeras.models.bundle import load
from astrokeras.models.columns import probability_column
from astrokeras.spec.nodes import plain, read_yaml


def read(path):
    """Rows of a catalog source, and its bands."""
    problems = []
    node = read_yaml(str(Path(path)), problems)
    assert not problems, problems
    source = Catalog(**plain(node)["catalog"])
    names = [f.name for f in source.fields() if f.name not in ("flags", "split", "group")]
    return concatenate([source.read(p, names) for p in source.partitions(262_144)]), bands_of(source.fields())


def apart(table, other):
    """Rows of a table that are none of another."""
    if not {"ra", "dec"} <= set(table.colnames) & set(other.colnames):
        return table
    here, there = (SkyCoord(t["ra"], t["dec"]) for t in (table, other))
    return table[here.match_to_catalog_sky(there)[1] > 1 * u.arcsec]


def trained(table, bands, recipe, directory):
    """Fit with the default recipe, but for what is asked."""
    recipe = {"threads": 1, "name": "shift", **recipe}
    if "class_true" in table.colnames:
        classes = tuple(sorted(set(table["class_true"].tolist()) - {""}))
        return Classify(bands=bands, classes=classes, train=recipe).fit(table, directory)
    return PhotoZ(bands=bands, train=recipe, pdf=False).fit(table, directory)


def wrong(stage, out):
    """Which rows have a wrong class or redshift, and which have a truth."""
    if stage.name == "classify":
        return np.asarray(out["class_label"] != out["class_true"]), np.asarray(out["class_true"] != "")
    z = np.asarray(out["z_spec"])
    return np.abs(np.asarray(out["z_phot"]) - z) > 0.15 * (1 + z), np.isfinite(z)


def told(stage, out):
    """Scores of class probabilities, as given and before they were shrunk."""
    classes = stage.card().classes
    p = np.stack([np.asarray(out[probability_column(c)], float) for c in classes], axis=1)
    target = np.array([classes.index(c) for c in out["class_true"]])
    layer = load(stage.model).model.get_layer("shrinkage")
    rate, prior = float(layer.rate.numpy()), layer.prior.numpy()
    share = np.maximum(np.asarray(out["domain_score"], float), 1)[:, None] ** -rate
    before = np.clip((p - (1 - share) * prior) / share, 0, 1)
    print(f"rate {rate:.3f}, class fractions {np.round(prior, 3).tolist()}")
    for name, q in (("before shrinkage", before), ("as given", p)):
        loss = class_metrics.log_loss(q, target).mean()
        ece = class_metrics.calibration_error(q, target)
        print(f"{name:17s} accuracy {class_metrics.accuracy(q, target):.3f}, log-loss {loss:.3f}, ECE {ece:.3f}")


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--target")
    parser.add_argument("--faint", metavar="BAND")
    parser.add_argument("--train", nargs="*", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    table, bands = read(given.source)
    if given.faint:
        flux = table[f"flux_{given.faint}"].value
        table, target = table[flux >= np.nanmedian(flux)], table[flux < np.nanmedian(flux)]
    else:
        target = apart(read(given.target)[0], table)
    with tempfile.TemporaryDirectory() as folder:
        stage = trained(table, bands, dict(item.split("=", 1) for item in given.train), Path(folder) / "model")
        out = stage(target)
        error, known = wrong(stage, out)
        if stage.name == "classify":
            told(stage, out[known])
    outside = (np.asarray(out["flags"]) & Flag.OUT_OF_DOMAIN) > 0
    error, outside = error[known], outside[known]
    found = error[outside].sum() / error.sum()
    print(f"{len(error)} rows, {outside.mean():.1%} OUT_OF_DOMAIN; {error.sum()} errors, {found:.1%} of them there")
    print(f"error rate in the domain {error[~outside].mean():.4f}, outside {error[outside].mean():.4f}")


if __name__ == "__main__":
    main()
