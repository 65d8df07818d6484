"""HistGradientBoosting on the rows of a catalog, scored like `evaluate` scores a model: the number to beat.

    python benchmarks/photoz_baseline.py SOURCE.yaml

``SOURCE.yaml`` holds the ``catalog:`` block of a pipeline, with the evaluation file marked ``split: test``; all other
rows are trained on. Inputs are magnitudes, neighbouring colours and magnitude errors; a missing band is NaN, which the
trees take as such.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from astrokeras import metrics
from astrokeras.chunk import concatenate
from astrokeras.features.colors import magnitude_error
from astrokeras.fields import bands_of
from astrokeras.ingest.catalog import Catalog
from astrokeras.spec.nodes import plain, read_yaml
from astrokeras.units import njy_to_ab

SEED = 1


def rows(source):
    """All rows of a catalog source: inputs ``(n, features)``, redshifts and split."""
    bands = bands_of(source.fields())
    names = [f"{kind}_{band}" for band in bands for kind in ("flux", "flux_err")]
    table = concatenate([source.read(p, [*names, "z_spec", "split"]) for p in source.partitions(262_144)])
    flux, error = (np.stack([table[f"{kind}_{b}"].value for b in bands], 1) for kind in ("flux", "flux_err"))
    mag = njy_to_ab(flux)
    inputs = np.concatenate([mag, mag[:, :-1] - mag[:, 1:], np.log(magnitude_error(flux, error))], axis=1)
    return inputs, np.asarray(table["z_spec"]), np.asarray(table["split"])


def main(path):
    """Print the scores of the baseline and of the trivial guess, with bootstrap errors."""
    problems = []
    node = read_yaml(str(Path(path)), problems)
    assert not problems, problems
    inputs, z_spec, split = rows(Catalog(**plain(node)["catalog"]))
    good = np.isfinite(z_spec)
    train, test = good & (split != "test"), good & (split == "test")
    model = HistGradientBoostingRegressor(max_iter=500, learning_rate=0.06, early_stopping=True, random_state=SEED)
    z_phot = model.fit(inputs[train], z_spec[train]).predict(inputs[test])
    print(f"n_train = {train.sum()}, n_test = {test.sum()}, seed = {SEED}")
    for name, guess in (("HistGB", z_phot), ("median z of train", np.full(test.sum(), np.median(z_spec[train])))):
        dz = metrics.residuals(guess, z_spec[test])
        errors = metrics.bootstrap_errors(dz, metrics.POINT, n=200, seed=0)
        said = (f"{key} {f(dz, axis=0):.5f} +- {errors[key]:.5f}" for key, f in metrics.POINT.items())
        print(f"{name:18}", *said)


if __name__ == "__main__":
    main(sys.argv[1])
