"""Bands that no object has at test time: `classify` beside boosted trees, by cross-validation.

    python benchmarks/missing_instrument.py SOURCE.yaml --missing W1 W2 [--only HistGB] [--train errors=false regions=0]

``SOURCE.yaml`` holds the ``catalog:`` block of a pipeline, with ``class_true``. For each of five folds of objects
a model is trained on the other four (``--calibrate`` of them set aside) and applied to it twice: as it is, and with
the bands missing in every row. Rivals, inputs and scores are those of ``starqso_baseline.py``; they learn from all of
the other four folds, and are met with the same gaps.
"""

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import numpy as np
from domain_shift import read
from starqso_baseline import RIVALS, SEED, inputs, line

from astrokeras import Classify, class_metrics
from astrokeras.models.columns import probability_column
from astrokeras.split import assign, divide, row_keys


def without(table, bands):
    """The table with some bands missing in every row."""
    out = table.copy()
    for name in (f"{kind}_{band}" for band in bands for kind in ("flux", "flux_err")):
        out[name][:] = np.nan * out[name].unit
    return out


def probabilities(stage, table, classes):
    """Class probabilities of a table, ``(rows, classes)``."""
    out = stage(table)
    return np.stack([np.asarray(out[probability_column(name)], float) for name in classes], axis=1)


def main():
    """Print a table for the rows as they are, and one for those with the bands missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--missing", nargs="+", required=True, metavar="BAND")
    parser.add_argument("--only", nargs="*", default=["HistGB", "XGBoost"], choices=list(RIVALS))
    parser.add_argument("--train", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--calibrate", type=float, default=0.0, metavar="FRACTION")
    parser.add_argument("--folds", type=int, default=5)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    table, bands = read(asked.source)
    table = table[np.asarray(table["class_true"]) != ""]
    classes, target = np.unique(np.asarray(table["class_true"]).astype(str), return_inverse=True)
    fluxes = [np.asarray(table[f"{kind}_{band}"]) for band in bands for kind in ("flux", "flux_err")]
    keys = {"photometry": row_keys(fluxes)}
    part = divide(keys, assign(keys, {"calibrate": asked.calibrate}, SEED), asked.folds, SEED)
    seen = {"as it is": table, f"without {', '.join(asked.missing)}": without(table, asked.missing)}
    x = {name: inputs(rows, ()) for name, rows in seen.items()}
    # Magnitudes are those of the training rows: with a band missing its column is empty.
    for name in x:
        x[name] = np.where(np.isfinite(x[name]), x["as it is"], np.nan)
    methods = ["classify", *asked.only]
    p = {name: {method: np.zeros((len(table), len(classes))) for method in methods} for name in seen}
    for k in range(asked.folds):
        train, test = part.fold != k, part.fold == k
        rows = table[train]
        rows["split"] = part.part[train]
        recipe = {"seed": SEED, "threads": 1, **dict(item.split("=", 1) for item in asked.train)}
        with tempfile.TemporaryDirectory() as folder:
            stage = Classify(bands=bands, classes=tuple(classes.tolist()), train=recipe).fit(rows, Path(folder) / "m")
            for name in seen:
                p[name]["classify"][test] = probabilities(stage, seen[name][test], classes)
        for method in asked.only:
            rival = RIVALS[method]().fit(x["as it is"][train], target[train])
            for name in seen:
                p[name][method][test] = rival.predict_proba(x[name][test])
        print(f"fold {k + 1} of {asked.folds}", file=sys.stderr)
    for name in seen:
        print(f"{name}: n = {len(table)}, folds = {asked.folds}, seed = {SEED}")
        print(f"{'':14} {'accuracy':>8} {'balanced':>8} {'log-loss':>8} {'ECE':>8} {'ECE 95%':>8}  log-loss - classify")
        loss = class_metrics.log_loss(p[name]["classify"], target)
        for method in methods:
            line(method, p[name][method], target, loss)


if __name__ == "__main__":
    sys.exit(main())
