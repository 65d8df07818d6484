"""Classical classifiers on the folds of a run of `classify`, scored beside it: the numbers to beat.

    python benchmarks/starqso_baseline.py OUT_OF_FOLD.vot [--extra extent_r petro_rad_r] [--only HistGB SVM]

``OUT_OF_FOLD.vot`` is what a pipeline with ``split: {folds: 5}`` wrote: ``class_true``, ``fold``, ``p_<class>``, and
the inputs, ``flux_<band>`` and ``flux_err_<band>``. Inputs of the rivals are asinh magnitudes, neighbouring colours and
the extra columns; missing values are NaN for boosted trees, medians and an indicator for the others. Differences are
paired: mean and standard error, over objects, of the log-loss of the rival minus that of the model.
"""

import argparse
import sys
import warnings

import numpy as np
from astropy.table import Table
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from astrokeras import class_metrics

SEED = 1


def filled(*steps):
    """Pipeline that first fills gaps with medians and says where they were."""
    return make_pipeline(SimpleImputer(strategy="median", add_indicator=True), *steps)


def boosted():
    """XGBoost, where it is installed."""
    from xgboost import XGBClassifier

    settings = {"n_estimators": 300, "learning_rate": 0.05, "max_depth": 5, "subsample": 0.8, "colsample_bytree": 0.8}
    return XGBClassifier(**settings, n_jobs=1, random_state=SEED, tree_method="hist")


RIVALS = {
    "RandomForest": lambda: filled(RandomForestClassifier(500, min_samples_leaf=2, random_state=SEED)),
    "HistGB": lambda: HistGradientBoostingClassifier(
        max_iter=400, learning_rate=0.05, early_stopping=True, random_state=SEED
    ),
    "SVM-RBF": lambda: CalibratedClassifierCV(
        filled(StandardScaler(), SVC(C=10, gamma="scale")), method="sigmoid", ensemble=False
    ),
    "XGBoost": boosted,
}


def inputs(table, extra):
    """Magnitudes, colours and extra columns, ``(rows, features)``."""
    bands = [name.removeprefix("flux_err_") for name in table.colnames if name.startswith("flux_err_")]
    flux, error = (np.stack([dense(table[f"{kind}_{b}"]) for b in bands], 1) for kind in ("flux", "flux_err"))
    mag = -2.5 / np.log(10) * np.arcsinh(flux / (2 * np.nanmedian(error, axis=0)))
    return np.column_stack([mag, mag[:, :-1] - mag[:, 1:], *(dense(table[name]) for name in extra)])


def dense(column):
    """Floats, NaN where masked."""
    return np.ma.filled(np.ma.asarray(column, float), np.nan)


def out_of_fold(make, x, target, fold):
    """Probabilities of each row from a classifier that has not seen its fold."""
    p = np.zeros((len(target), target.max() + 1))
    for k in np.unique(fold):
        p[fold == k] = make().fit(x[fold != k], target[fold != k]).predict_proba(x[fold == k])
    return p


def line(name, p, target, loss):
    """Print one row of the table."""
    mine = class_metrics.log_loss(p, target)
    scores = (
        f"{class_metrics.accuracy(p, target):8.4f} {class_metrics.balanced_accuracy(p, target):8.4f} {mine.mean():8.4f}"
    )
    error, floor = class_metrics.calibration_error(p, target), class_metrics.calibration_floor(p)
    more, spread = (mine - loss).mean(), (mine - loss).std(ddof=1) / np.sqrt(len(loss))
    paired = f"{more:+.4f} +- {spread:.4f} ({more / spread:+.1f})" if spread else ""
    print(f"{name:14} {scores} {error:8.4f} {floor:8.4f}  {paired}", flush=True)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table")
    parser.add_argument("--extra", nargs="*", default=[])
    parser.add_argument("--only", nargs="*", default=list(RIVALS), choices=list(RIVALS))
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    table = Table.read(asked.table, format="votable")
    table = table[(table["fold"] >= 0) & (np.asarray(table["class_true"]).astype(str) != "")]
    names, target = np.unique(np.asarray(table["class_true"]).astype(str), return_inverse=True)
    p = np.stack([dense(table[f"p_{name.lower()}"]) for name in names], 1)
    good = np.isfinite(p).all(axis=1)
    fold = np.asarray(table["fold"])[good]
    print(f"n = {good.sum()} ({(~good).sum()} without a result), folds = {len(set(fold.tolist()))}, seed = {SEED}")
    print(f"{'':14} {'accuracy':>8} {'balanced':>8} {'log-loss':>8} {'ECE':>8} {'ECE 95%':>8}  log-loss - classify")
    x, target, p = inputs(table, asked.extra)[good], target[good], p[good]
    loss = class_metrics.log_loss(p, target)
    line("classify", p, target, loss)
    for name in asked.only:
        line(name, out_of_fold(RIVALS[name], x, target, fold), target, loss)


if __name__ == "__main__":
    sys.exit(main())
