"""Guards before a training: inputs that give the answer away, labels that contradict each other, classes too rare."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import TrainingError

#: Columns that come from a spectrum, or from whoever chose the target of one, without case and underscores.
SPECTROSCOPIC = frozenset(
    name
    for line in (
        "redshift redshifterr zspec zspecerr zerr zwarn zwarning zconf zqual zqso znoqso zpipe zvi ztrue truez specz",
        "specobjid bestobjid specclass spectype subclass class classtrue classperson classnoqso labelclass objclass",
        "plate plateid platerun mjd fiber fiberid tile tileid run1d run2d runspec targetid programname sourcetype",
        "rchi2 deltachi2 rchi2diff snmedian snmedianall primtarget sectarget specprimary scienceprimary elodiez",
        "veldisp veldisperr",
    )
    for name in line.split()
)
PREFIXES = ("redshift", "zspec", "specz", "zwarn", "spectro")

#: Rank correlation with the target above which a column is a transform of it; noise in a measurement stays below.
COPY = 0.9999
#: Rows without which nothing is said about a single column.
FEWEST = 100
#: Held-out score of one column alone (balanced accuracy; explained variance of the ranks) that is suspicious.
ALONE = 0.9
#: Two redshifts of one object agree within this times 1 + z.
SAME_REDSHIFT = 0.005


def spectroscopic(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that are known columns of spectroscopic catalogs, whatever their case and underscores."""
    plain = {name: re.sub(r"[^a-z0-9]", "", name.lower()) for name in names}
    return tuple(n for n, p in plain.items() if p in SPECTROSCOPIC or p.startswith(PREFIXES))


def refuse_names(inputs: Iterable[str], target: str) -> None:
    """Refuse inputs that, by their name, hold what is to be found.

    Parameters
    ----------
    inputs : iterable of str
        Columns that the network would see, under their names here and in the files they come from.
    target : str
        Column with the truth.

    Raises
    ------
    ValueError
        If the target is among them, or a column of a spectroscopic catalog.
    """
    inputs = tuple(inputs)
    if target in inputs:
        raise ValueError(f"the target {target!r} is among the inputs")
    found = spectroscopic(inputs)
    if found:
        raise ValueError(
            f"input {found[0]!r} is a column of spectroscopic catalogs, which objects without a spectrum do not have; "
            "a photometric quantity of that name needs another one (`columns:` of the survey map)"
        )


def refuse_copies(columns: Mapping[str, np.ndarray], target: np.ndarray) -> None:
    """Refuse inputs that are the target, or a one-to-one transform of it.

    Parameters
    ----------
    columns : mapping of str to array
        Inputs of the training rows, NaN where missing.
    target : array
        Redshifts, or classes as text or integers.

    Raises
    ------
    TrainingError
        If a column equals the target, or (from `FEWEST` rows on) its ranks are those of the target, forwards or
        backwards, or its values are as many as the classes and name one each.
    """
    for name, column in columns.items():
        used = _finite(column, target)
        if len(used) < 2:
            continue
        x, truth = column[used], target[used]
        if _copies(x, truth):
            raise TrainingError(
                f"train: input {name!r} is the target, or a one-to-one transform of it, in {len(used)} training rows; "
                "a model would learn to copy it"
            )


def _copies(x: np.ndarray, truth: np.ndarray) -> bool:
    if truth.dtype.kind == "f" and np.array_equal(x, truth):
        return np.ptp(truth) > 0
    if len(x) < FEWEST:
        return False
    if truth.dtype.kind == "f":
        return abs(_rank_correlation(x, truth)) > COPY
    values, which = np.unique(x, return_inverse=True)
    classes, label = np.unique(truth, return_inverse=True)
    pairs = len(np.unique(which * len(classes) + label))
    return 1 < len(classes) == len(values) == pairs


def suspicious(
    columns: Mapping[str, np.ndarray], target: np.ndarray, allow: Iterable[str] = (), seed: int = 0
) -> dict[str, float]:
    """Inputs that predict the target nearly alone.

    A column is cut into up to 64 bins of equal numbers by one half of the rows, which also give each bin its answer:
    the class that is most common there in proportion to its own number, or the median rank of the target. The other
    half is predicted. Suspicious is a balanced accuracy (a variance of the ranks explained) of at least `ALONE`.

    Parameters
    ----------
    columns, target
        As for `refuse_copies`; training rows only.
    allow : iterable of str
        Columns that are known to be legitimate, such as the difference of PSF and model magnitude.
    seed : int
        Of the halves.

    Returns
    -------
    dict of str to float
        Suspicious columns with their scores.
    """
    scores = {name: _alone(column, target, seed) for name, column in columns.items() if name not in set(allow)}
    return {name: score for name, score in scores.items() if score >= ALONE}


def _alone(column: np.ndarray, target: np.ndarray, seed: int) -> float:
    used = _finite(column, target)
    if len(used) < FEWEST:
        return 0.0
    x, truth = column[used], target[used]
    first = np.random.default_rng(seed).permutation(len(x)) < len(x) // 2
    edges = np.unique(np.quantile(x[first], np.linspace(0, 1, min(64, len(x) // 20) + 1)[1:-1]))
    bins = np.searchsorted(edges, x)
    if truth.dtype.kind == "f":
        return _ranks_explained(bins, _ranks(truth), first)
    return _balanced_accuracy(bins, np.unique(truth, return_inverse=True)[1], first)


def _balanced_accuracy(bins: np.ndarray, label: np.ndarray, first: np.ndarray) -> float:
    counts = np.zeros((bins.max() + 1, label.max() + 1))
    np.add.at(counts, (bins[first], label[first]), 1)
    answer = np.argmax(counts / np.maximum(counts.sum(axis=0), 1), axis=1)[bins[~first]]
    truth = label[~first]
    return float(np.mean([np.mean(answer[truth == k] == k) for k in np.unique(truth)]))


def _ranks_explained(bins: np.ndarray, ranks: np.ndarray, first: np.ndarray) -> float:
    middle = np.full(bins.max() + 1, np.median(ranks[first]))
    for b in np.unique(bins[first]):
        middle[b] = np.median(ranks[first][bins[first] == b])
    spread = np.var(ranks[~first])
    return float(1 - np.mean((ranks[~first] - middle[bins[~first]]) ** 2) / spread) if spread > 0 else 0.0


@dataclass(frozen=True)
class Contradictions:
    """Rows whose labels contradict those of another row of the same object.

    Attributes
    ----------
    rows : ndarray of bool
        All rows of such objects: none of their labels can be trusted.
    objects : int
        Number of such objects.
    """

    rows: np.ndarray
    objects: int


def contradictions(target: np.ndarray, group: np.ndarray) -> Contradictions:
    """Find objects with several rows whose labels differ: classes at all, redshifts by more than .005 (1 + z).

    Parameters
    ----------
    target : array
        Redshifts, or classes as text or integers; NaN or empty is no label and contradicts nothing.
    group : array of int
        Rows of one object have one number, see `astrokeras.split.groups`.
    """
    if target.dtype.kind == "f":
        known = np.isfinite(target)
        value, tolerance = np.where(known, target, 0.0), SAME_REDSHIFT
    else:
        known = target.astype(str) != ""
        value, tolerance = np.unique(target, return_inverse=True)[1].astype(float), 0.0
    size = int(group.max(initial=-1)) + 1
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(low, group[known], value[known])
    np.maximum.at(high, group[known], value[known])
    with np.errstate(invalid="ignore"):
        odd = high - low > tolerance * (1 + low)
    return Contradictions(odd[group], int(np.count_nonzero(odd)))


def check_classes(label: np.ndarray, part: np.ndarray, target: str) -> list[str]:
    """Refuse classes that cannot be learnt, and tell which ones a part of the split lacks.

    Parameters
    ----------
    label : array of str
        Classes of the usable rows.
    part : array of str
        Part of the split of each.
    target : str
        Column, for messages.

    Returns
    -------
    list of str
        Warnings.

    Raises
    ------
    TrainingError
        If there are fewer than two classes, or a class has a single row, or none in the training part.
    """
    names, counts = np.unique(label, return_counts=True)
    if len(names) < 2:
        found = f"only {names[0]}" if len(names) else "no class"
        raise TrainingError(f"train: {target!r} holds {found} in {len(label)} usable rows; a classifier needs two")
    if counts.min() == 1:
        raise TrainingError(
            f"train: class {names[counts.argmin()]} has one row of {len(label)}; nothing can be learnt from it: "
            "leave it out with `where`, or find more"
        )
    warnings = []
    for name in ("train", "validate", "calibrate"):
        lacking = [str(n) for n in names if not np.any(label[part == name] == n)]
        if lacking and name == "train":
            raise TrainingError(
                f"train: no row of class {', '.join(lacking)} is in the training part; "
                "another seed of the split may serve, or leave the class out with `where`"
            )
        if lacking and np.any(part == name):
            warnings.append(f"no row of class {', '.join(lacking)} is in the part {name}")
    return warnings


def _finite(column: np.ndarray, target: np.ndarray) -> np.ndarray:
    known = np.isfinite(target) if target.dtype.kind == "f" else np.ones(len(target), bool)
    return np.flatnonzero(known & np.isfinite(column))


def _ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return rankdata(values)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    ranks = _ranks(a), _ranks(b)
    if min(np.ptp(r) for r in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])
