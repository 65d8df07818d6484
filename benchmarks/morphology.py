"""Morphology by cross-validation on folders of JPG stamps, beside classical methods on the same folds.

    python benchmarks/morphology.py efigi FOLDER [--folds 5] [--jobs 2] [--rivals] [--out FILE.npz]

``FOLDER`` holds ``efigi/`` and ``efigi_labels.csv`` (Baillard et al. 2011: T-type, attributes, ``class``), or ``gz1/``
and ``gz1_labels.csv`` (Galaxy Zoo 1, Lintott et al. 2011: ``objid``, ``class``). What is measured:

- ``efigi``: E, S0, Searly, Slate and Irr told apart (dwarf ellipticals, ``dE``, are left out); T-type and attributes
  are learnt along, from training rows alone.
- ``ttype``: T-types of the same galaxies, as an ordinal.
- ``gz1``: elliptical, spiral, edge-on and merger, and the sense of rotation of the spirals, by one model of five
  classes of which a mirror image exchanges two.

Every galaxy is predicted by a model that was trained without its fold; of the other rows 5 % end the training and 10 %
calibrate. The rivals are a support vector machine on histograms of oriented gradients, and one, and boosted trees, on
64 simple features: profiles in color, concentration, asymmetry, Gini, M20, shape, texture.
"""

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from astropy.table import QTable

SEED = 1
SIZE = 64
#: The key `label_balance` of a recipe, for the last two numbers of a line.
BALANCE = 0.5
SPIRALS = ("spiral_cw", "spiral_acw")
CLASSES = {
    "efigi": ("E", "S0", "Searly", "Slate", "Irr"),
    "gz1": ("elliptical", "edge_on", "merger", *SPIRALS),
}
RECIPES = {
    "efigi": {"target": "class_true", "epochs": 25},
    "ttype": {"target": "T", "epochs": 25},
    "gz1": {"target": "class_true", "epochs": 50},
}


def stamps_of(paths, crop):
    """Pixels 0 to 255 of the central part of each picture, float32 ``(rows, SIZE, SIZE, 3)``."""
    from PIL import Image

    out = np.empty((len(paths), SIZE, SIZE, 3), np.float32)
    for row, path in enumerate(paths):
        with Image.open(path) as picture:
            side = int(min(picture.size) * crop)
            left, top = ((n - side) // 2 for n in picture.size)
            part = picture.convert("RGB").crop((left, top, left + side, top + side))
            out[row] = part.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    return out


def data(task, folder):
    """Table with ``object_id``, ``stamp``, ``class_true`` and, of EFIGI, ``T`` and the attributes; their names."""
    name = "gz1" if task == "gz1" else "efigi"
    with (folder / f"{name}_labels.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["class"] != "dE"]
    key, suffix, crop = ("objid", "jpeg", 0.5) if name == "gz1" else ("PGC", "jpg", 1.0)
    ids = [row[key] for row in rows]
    table = QTable({"object_id": ids, "class_true": [row["class"] for row in rows]})
    table["stamp"] = stamps_of([folder / name / f"{i}.{suffix}" for i in ids], crop)
    further = [c for c in rows[0] if c not in (key, "class") and not c.endswith(("_inf", "_sup"))]
    for column in further:
        values = np.array([float(row[column]) for row in rows])
        # -1 is "undetermined" of an attribute, and a T-type.
        table[column] = values if column == "T" else np.where(values < 0, np.nan, values)
    return table, further


def folds_of(n, folds):
    """Fold of each row."""
    return np.random.default_rng(SEED).permutation(n) % folds


def parts(fold, k):
    """Part of the split of each row where fold ``k`` is left out."""
    draw = np.random.default_rng(SEED + 1).random(len(fold))
    part = np.where(draw < 0.05, "validate", np.where(draw < 0.15, "calibrate", "train"))
    return np.where(fold == k, "test", part)


def stage_of(task, further, settings):
    """Stage to train."""
    from astrokeras.tasks.morphology import Morphology

    others = [name for name in further if name != RECIPES[task]["target"]]
    recipe = {"seed": SEED, "threads": 1, "auxiliary": others, **RECIPES[task], **settings}
    if task == "ttype":
        return Morphology(stamps="stamp", kind="ordinal", train=recipe)
    mirror = {SPIRALS[0]: SPIRALS[1]} if task == "gz1" else {}
    return Morphology(stamps="stamp", classes=CLASSES[task], mirror=mirror, train=recipe)


def features(stamps):
    """Simple features of each stamp, ``(rows, 64)``."""
    return np.stack([_features(stamp) for stamp in stamps])


def _features(stamp):
    from skimage.feature import local_binary_pattern

    n = stamp.shape[0]
    sky = np.median(np.concatenate([stamp[:4].reshape(-1, 3), stamp[-4:].reshape(-1, 3)]), axis=0)
    light = stamp - sky
    gray = light.mean(axis=-1)
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    r = np.hypot(y, x)
    edges = np.linspace(0, n / 2, 13)
    rings = [light[(r >= a) & (r < b)].mean(axis=0) for a, b in pairwise(edges)]
    rings = np.arcsinh(np.array(rings) / 5)
    colors = np.diff(rings, axis=1)[[0, 2, 4, 7]]
    inside = (r < n / 2) * np.maximum(gray, 0)
    total = inside.sum() + 1e-6
    order = np.argsort(r.ravel())
    growth = np.cumsum(inside.ravel()[order]) / total
    radii = [r.ravel()[order][np.searchsorted(growth, f)] + 0.5 for f in (0.2, 0.5, 0.8)]
    moment = inside * r**2
    bright = np.argsort(-inside.ravel())
    m20 = moment.ravel()[bright[: np.searchsorted(np.cumsum(inside.ravel()[bright]), 0.2 * total) + 1]].sum()
    pixels = np.sort(inside[r < n / 2])
    gini = ((2 * np.arange(1, len(pixels) + 1) - len(pixels) - 1) * pixels).sum() / (pixels.sum() * len(pixels) + 1e-6)
    asymmetry = np.abs(gray - gray[::-1, ::-1])[r < n / 2].sum() / (np.abs(gray)[r < n / 2].sum() + 1e-6)
    xx, yy, xy = ((inside * q).sum() / total for q in (x * x, y * y, x * y))
    ellipticity = np.hypot(xx - yy, 2 * xy) / (xx + yy + 1e-6)
    shape = [5 * np.log10(radii[2] / radii[0]), *radii, np.log10((m20 + 1e-6) / (moment.sum() + 1e-6)), gini]
    pattern = local_binary_pattern(np.clip(gray, 0, 255).astype(np.uint8), 8, 1, "uniform")
    histogram = np.bincount(pattern[r < n / 2].astype(int), minlength=10) / (r < n / 2).sum()
    return np.concatenate([rings.ravel(), colors.ravel(), shape, [asymmetry, ellipticity], [*sky[:2]], histogram])


def gradients(stamps):
    """Histograms of oriented gradients of each stamp."""
    from skimage.feature import hog

    settings = {"orientations": 9, "pixels_per_cell": (8, 8), "cells_per_block": (2, 2)}
    return np.stack([hog(stamp.mean(axis=-1), **settings) for stamp in stamps])


def rivals(task, table, fold):
    """Name and out-of-fold prediction of each classical method: probabilities, or T-types."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, SVR

    stamps = np.asarray(table["stamp"])
    inputs = {"HoG": gradients(stamps), "64 features": features(stamps)}
    number = task == "ttype"
    target = np.asarray(table["T"] if number else codes(task, table))
    svm = (lambda: SVR(C=10)) if number else (lambda: CalibratedClassifierCV(SVC(C=10), ensemble=False))
    trees = HistGradientBoostingRegressor if number else HistGradientBoostingClassifier
    methods = [("SVM", lambda: make_pipeline(StandardScaler(), svm())), ("HistGB", lambda: trees(random_state=SEED))]
    for what, x in inputs.items():
        for name, make in methods if what != "HoG" else methods[:1]:
            found = None
            for k in np.unique(fold):
                model = make().fit(x[fold != k], target[fold != k])
                values = model.predict(x[fold == k]) if number else model.predict_proba(x[fold == k])
                found = np.zeros((len(x), *values.shape[1:])) if found is None else found
                found[fold == k] = values
            yield f"{what} + {name}", found


def codes(task, table):
    """Number of the class of each row."""
    return np.array([CLASSES[task].index(name) for name in np.asarray(table["class_true"])])


def report(task, name, found, table):
    """Print the scores of one method."""
    from astrokeras import class_metrics

    if task == "ttype":
        residual = found - np.asarray(table["T"])
        error = np.sqrt(np.mean(residual**2))
        spread = np.std(residual**2) / (2 * error * np.sqrt(len(residual)))
        print(f"{name:22} n {len(residual)}  RMSE {error:.3f} +- {spread:.3f}  bias {residual.mean():+.3f}", flush=True)
        return
    target = codes(task, table)
    if task == "gz1":
        spiral = target >= 3
        right = (found[:, 4] > found[:, 3])[spiral] == (target[spiral] == 4)
        spread = np.sqrt(right.mean() * (1 - right.mean()) / len(right))
        print(f"{name:22} n {len(right)}  spin accuracy {right.mean():.3f} +- {spread:.3f}")
        found, target = np.column_stack([found[:, :3], found[:, 3:].sum(axis=1)]), np.minimum(target, 3)
    accuracy = class_metrics.accuracy(found, target)
    even = found / (np.bincount(target) / len(target)) ** BALANCE
    print(
        f"{name:22} n {len(target)}  accuracy {accuracy:.3f} +- {np.sqrt(accuracy * (1 - accuracy) / len(target)):.3f}"
        f"  balanced {class_metrics.balanced_accuracy(found, target):.3f}"
        f"  log-loss {class_metrics.log_loss(found, target).mean():.3f}"
        f"  ECE {class_metrics.calibration_error(found, target):.3f}"
        f" (floor {class_metrics.calibration_floor(found):.3f})"
        f"  balanced labels: {class_metrics.accuracy(even, target):.3f}"
        f" {class_metrics.balanced_accuracy(even, target):.3f}",
        flush=True,
    )


def one_fold(task, folder, folds, k, changed):
    """Numbers of a fold that its model gives for the rows of that fold, and how many CPU-minutes it took."""
    os.environ.update(OMP_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
    start = time.process_time()
    table, further = data(task, folder)
    fold = folds_of(len(table), folds)
    table["split"] = parts(fold, k)
    stage = stage_of(task, further, changed)
    with tempfile.TemporaryDirectory() as directory:
        fitted = stage.fit(
            table, f"{directory}/model", lambda note: print(f"  {k}: {note}", file=sys.stderr, flush=True)
        )
        rows = fitted(table[fold == k])
    columns = ["t_type"] if task == "ttype" else [f"p_{c.lower()}" for c in CLASSES[task]]
    values = np.stack([np.asarray(rows[c], float) for c in columns], axis=1)
    return k, values, (time.process_time() - start) / 60


def main():
    """Print the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=list(RECIPES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", type=int, nargs="*", help="folds to train for; by default all; none: rivals alone")
    parser.add_argument("--jobs", type=int, default=2, help="folds at once, one thread each")
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--out", type=Path, help="keep the predictions here")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the recipe, as JSON")
    asked = parser.parse_args()
    table, _ = data(asked.task, asked.folder)
    fold = folds_of(len(table), asked.folds)
    if asked.rivals:
        for name, found in rivals(asked.task, table, fold):
            report(asked.task, name, found, table)
    only = range(asked.folds) if asked.only is None else asked.only
    found = np.full((len(table), 1 if asked.task == "ttype" else len(CLASSES[asked.task])), np.nan)
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        todo = [pool.submit(one_fold, asked.task, asked.folder, asked.folds, k, settings(asked.set)) for k in only]
        for done in as_completed(todo):
            k, values, minutes = done.result()
            found[fold == k] = values
            said = values[:, 0] if asked.task == "ttype" else values
            report(asked.task, f"fold {k} ({minutes:.1f} CPU-min)", said, table[fold == k])
            if asked.out is not None:
                np.savez(asked.out, found=found, fold=fold, object_id=np.asarray(table["object_id"]))
    done = np.isfinite(found).all(axis=1)
    if done.any():
        report(asked.task, "morphology", found[done, 0] if asked.task == "ttype" else found[done], table[done])


def settings(pairs):
    """Settings of a recipe from ``key=value`` pairs; a value may be JSON."""
    out = {}
    for key, value in (pair.split("=", 1) for pair in pairs):
        try:
            out[key] = json.loads(value)
        except ValueError:
            out[key] = value
    return out


if __name__ == "__main__":
    sys.exit(main())
