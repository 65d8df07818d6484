"""Recipes of photo-z beside each other, on training rows of patches of sky that the networks have not seen.

    python benchmarks/photoz_patches.py SOURCE.yaml [--recipe error_jitter=0.2] [--recipe errors=false] ...

``SOURCE.yaml`` holds the ``catalog:`` block of a pipeline; rows marked ``split: test`` are left out. For each recipe
(the default one first; several keys are separated by commas) five networks are trained, each without a fifth of the
patches, as `cross_fit` does it, and predict that; where flux errors tell no patches apart, a fifth of the objects.
Printed are, for the densities as the networks give them, scores with standard errors, and their differences from those
of the first recipe, paired: both errors are those of sums over patches. Then, for the first recipe, how far the mean
PIT of patches scatters, and how often 2500 rows of 15 patches, and 2500 random rows, pass the Kolmogorov-Smirnov test
at .01 over all and in five bins of magnitude, although the densities are recalibrated on all rows together.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import kstest

from astrokeras import PhotoZ, chunk, metrics
from astrokeras.chunk import concatenate
from astrokeras.densities import pdf_summary
from astrokeras.fields import bands_of
from astrokeras.ingest.catalog import Catalog
from astrokeras.models import backend
from astrokeras.models.predict import set_threads
from astrokeras.models.tensors import encode
from astrokeras.networks.recalibration import fit_recalibration
from astrokeras.spec.nodes import plain, read_yaml
from astrokeras.tasks.cross_fit import held_out
from astrokeras.tasks.examples import Examples
from astrokeras.tasks.patches import patches
from astrokeras.tasks.train_model import facts_of

SEED = 1
DRAWS = 400
PATCHES, ROWS, BINS = 15, 2500, 5


def read(path):
    """Rows of a catalog source that are not for tests, and its bands."""
    problems = []
    node = read_yaml(str(Path(path)), problems)
    assert not problems, problems
    source = Catalog(**plain(node)["catalog"])
    bands = bands_of(source.fields())
    has_split = any(field.name == "split" for field in source.fields())
    names = ["object_id", "z_spec", *(f"{kind}_{band}" for band in bands for kind in ("flux", "flux_err"))]
    names += ["split"] if has_split else []
    table = concatenate([source.read(p, names) for p in source.partitions(262_144)])
    return (table[table["split"] != "test"] if has_split else table), bands


def out_of_fold(table, bands, recipe):
    """Rows in the order of their folds, and their densities from networks that have not seen their fold."""
    stage = PhotoZ(bands=bands, train={"seed": SEED, "threads": 1, **recipe})
    set_threads(1)
    backend.start()
    projected = chunk.project(chunk.canonical(table), stage.training_fields(), stage.name)
    target, good = stage.targets(np.asarray(projected["z_spec"]))
    card = stage.provisional(facts_of(projected), target[good])
    rows = Examples(encode(projected, card)[0], target).take(np.flatnonzero(good))
    ends = np.random.default_rng(SEED).random(len(rows)) < 0.05
    parts = {"train": rows.take(np.flatnonzero(~ends)), "validate": rows.take(np.flatnonzero(ends))}
    held = held_out(stage.learner(card), {**parts, "calibrate": rows.take(np.arange(0))})
    return held.examples, held.output, card.grid.nodes()


def scored(pdf, grid, z):
    """Scores of each row."""
    return metrics.pdf_scores(pdf, grid, z, pdf_summary(pdf, grid)["median"])


def told(values, patch):
    """Mean, and its standard error as a sum over patches."""
    off = np.bincount(patch, values - values.mean())
    return f"{values.mean():+.5f} +- {np.sqrt(np.sum(off**2)) / len(values):.5f}"


def passed(pit, order):
    """Whether rows, in the order of their magnitude, pass over all and in every bin."""
    return all(kstest(pit[rows], "uniform").pvalue > 0.01 for rows in (order, *np.array_split(order, BINS)))


def patchy(pdf, grid, rows, patch):
    """Print how far patches scatter, and what that does to the test of independent rows."""
    band = int(np.argmax(np.median(rows.tensors["flux"] / np.maximum(rows.tensors["flux_err"], 1e-9), axis=0)))
    magnitude = -np.arcsinh(rows.tensors["flux"][:, band] / (2 * np.median(rows.tensors["flux_err"][:, band])))
    found = fit_recalibration(pdf, grid, np.clip(rows.target, grid[0], grid[-1]), magnitude)
    pit = metrics.pit(found.apply(pdf, grid, magnitude), grid, rows.target)
    size = np.bincount(patch)
    mean, large = np.bincount(patch, pit) / size, size >= 100
    noise = np.sqrt(np.mean(1 / (12 * size[large])))
    print(f"mean PIT of {large.sum()} patches: scatter {mean[large].std():.4f}, from noise {noise:.4f}")
    rng, counts = np.random.default_rng(SEED), np.zeros(2)
    for _ in range(DRAWS):
        chosen = rng.choice(np.flatnonzero(large), PATCHES, replace=False)
        some = [rng.permutation(np.flatnonzero(patch == k))[: ROWS // PATCHES] for k in chosen]
        for kind, drawn in enumerate((np.concatenate(some), rng.choice(len(pit), ROWS, replace=False))):
            counts[kind] += passed(pit, drawn[np.argsort(magnitude[drawn])])
    print("pass everywhere: {:.1%} of draws of patches, {:.1%} of draws of rows".format(*(counts / DRAWS)))


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("--recipe", action="append", default=[], metavar="KEY=VALUE,...")
    asked = parser.parse_args()
    table, bands = read(asked.source)
    first = None
    for text in ["", *asked.recipe]:
        recipe = dict(item.split("=") for item in text.split(",") if item)
        rows, pdf, grid = out_of_fold(table, bands, recipe)
        found = patches(rows.tensors, 5)
        patch = np.arange(len(rows)) if found is None else found
        scores = scored(pdf, grid, rows.target)
        print(
            f"{text or 'default'}: n = {len(rows)}, {'no' if found is None else patch.max() + 1} patches, seed {SEED}"
        )
        for name in ("log_likelihood", "cde_loss", "crps"):
            beside = "" if first is None else f"  minus default {told(scores[name] - first[name], patch)}"
            print(f"  {name:14} {told(scores[name], patch)}{beside}", flush=True)
        if first is None:
            first = scores
            if found is not None:
                patchy(pdf, grid, rows, patch)


if __name__ == "__main__":
    main()
