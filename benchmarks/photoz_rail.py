"""astrokeras beside FlexZBoost and k nearest neighbours, trained, applied in chunks and scored by RAIL itself.

    python benchmarks/photoz_rail.py TRAINING VALIDATION

Both are files of RAIL (HDF5, group ``photometry``), or tables that astropy reads, in AB magnitudes with the names of
RAIL (``mag_u_lsst``, ``mag_err_u_lsst``, ..., ``redshift``), 99 for a non-detection. Needs RAIL with
``pz-rail-flexzboost`` and ``pz-rail-sklearn``; what is not installed is left out. All settings are the defaults, but
for the redshift grid.
"""

import shutil
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
from astropy.table import Table
from rail.core.data import TableHandle
from rail.evaluation.evaluator import OldEvaluator

from astrokeras.metrics import sigma_nmad

METHODS = {
    "FlexZBoost": ("flexzboost", "FlexZBoostInformer", "FlexZBoostEstimator"),
    "KNN": ("k_nearneigh", "KNearNeighInformer", "KNearNeighEstimator"),
    "astrokeras": ("astrokeras", "AstroKerasInformer", "AstroKerasEstimator"),
}
GRID = {"zmin": 0.0, "zmax": 3.0, "nzbins": 301}


def as_hdf5(path, target):
    """Write a table as RAIL wants it, under the group photometry."""
    if str(path).endswith(".hdf5"):
        return shutil.copy(path, target)
    table = Table.read(path)
    with h5py.File(target, "w") as file:
        for name in table.colnames:
            file[f"photometry/{name}"] = np.asarray(table[name])
    return target


def scored(name, module, informer, estimator, folder):
    """Train, estimate in chunks of 5000, and return scores with seconds of the clock and of the processor."""
    try:
        stages = import_module(f"rail.estimation.algos.{module}")
    except ModuleNotFoundError as error:
        return f"not run, {error.name} is not installed"
    model, output = str(folder / f"{name}.pkl"), str(folder / f"{name}.hdf5")
    shared = {"hdf5_groupname": "photometry", **GRID}
    laps = [(time.perf_counter(), time.process_time())]
    inform = getattr(stages, informer).make_stage(name=f"inform_{name}", model=model, **shared)
    inform.inform(TableHandle("training", path=str(folder / "training.hdf5")))
    laps.append((time.perf_counter(), time.process_time()))
    estimate = getattr(stages, estimator).make_stage(
        name=f"estimate_{name}", model=model, output=output, chunk_size=5000, **shared
    )
    ensemble = estimate.estimate(TableHandle("input", path=str(folder / "validation.hdf5"))).data
    laps.append((time.perf_counter(), time.process_time()))
    with h5py.File(folder / "validation.hdf5") as file:
        truth = {"photometry": {"redshift": file["photometry/redshift"][:]}}
    judge = OldEvaluator.make_stage(
        name=f"judge_{name}", output=str(folder / f"judge_{name}.hdf5"), hdf5_groupname="photometry",
        zmin=0.0, zmax=3.0, nzbins=1200,
    )  # fmt: skip
    scores = judge.evaluate(ensemble, TableHandle("truth", data=truth)).data
    z = truth["photometry"]["redshift"]
    density = np.maximum(ensemble.pdf(z[:, None]).ravel(), 1e-6)
    told = {key: float(np.ravel(value)[0]) for key, value in scores.items()}
    told |= {
        "sigma_nmad of the median": sigma_nmad(ensemble.median().ravel(), z),
        "mean log p(z)": np.log(density).mean(),
    }
    for what, before, after in zip(("train", "estimate"), laps[:-1], laps[1:], strict=True):
        told |= {f"{what} s": after[0] - before[0], f"{what} CPU s": after[1] - before[1]}
    return "".join(f"\n  {key:26}{value:.5g}" for key, value in told.items())


def main(training, validation):
    """Print the scores of all methods."""
    with tempfile.TemporaryDirectory() as folder:
        as_hdf5(training, Path(folder) / "training.hdf5")
        as_hdf5(validation, Path(folder) / "validation.hdf5")
        for name, parts in METHODS.items():
            print(f"{name}: {scored(name, *parts, Path(folder))}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
