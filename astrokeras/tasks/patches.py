"""Patches of sky among training rows, told apart by their flux errors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

#: Natural logarithms of errors closer than this are the same error, computed from rounded numbers.
TOLERANCE = 3e-4
#: Fewer rows with the same errors are no patch.
LEAST_ROWS = 10
#: Share of the rows that lie in patches, where the errors are those of patches at all.
COVERED = 0.9


def patches(tensors: Mapping[str, np.ndarray], folds: int) -> np.ndarray | None:
    """Number of the patch of each row, where flux errors are those of a patch of sky and not of the object.

    Many catalogs state one depth per exposure, tile or plate: the flux error of a band is the same for all objects of a
    patch, bright and faint. Such rows share more than the error: its zero points, and the clusters of galaxies in it.

    Errors that depend on the flux have no two rows with the same in every band but by chance, and then a large sample
    is one chain of small steps. Both are told from patches by their sizes.

    Parameters
    ----------
    tensors : mapping of ndarray
        Inputs of the network: ``flux_err`` and ``observed``, ``(rows, bands)``.
    folds : int
        Into which patches are to be put; they must be twice as many, and none larger than a fold.

    Returns
    -------
    ndarray of int or None
        Rows in no patch have a number of their own. None if the errors tell no patches.
    """
    errors = np.where(tensors["observed"] > 0, tensors["flux_err"], 0).astype(np.float64)
    levels = np.stack([_levels(column) for column in errors.T], axis=1)
    number, size = np.unique(levels, axis=0, return_inverse=True, return_counts=True)[1:]
    number = number.reshape(-1)
    large = size >= LEAST_ROWS
    if large.sum() < 2 * folds or size[large].sum() < COVERED * len(errors) or size.max() * folds > len(errors):
        return None
    alone = ~large[number]
    number[alone] = len(size) + np.arange(alone.sum())
    return np.unique(number, return_inverse=True)[1].reshape(-1)


def _levels(errors: np.ndarray) -> np.ndarray:
    """Number of the value of each error, the same for values that steps of `TOLERANCE` connect."""
    logs = np.log(np.maximum(errors, np.finfo(np.float32).tiny))
    order = np.argsort(logs, kind="stable")
    levels = np.empty(len(logs), np.int64)
    levels[order] = np.cumsum(np.diff(logs[order], prepend=logs[order[:1]]) > TOLERANCE)
    return levels
