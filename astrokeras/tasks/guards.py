"""Guards before a training: inputs that give the answer away, labels that contradict each other, classes too rare."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import TrainingError
from ..models.card import Card

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
    if truth.dtype.kind == "f" and np.array_equal(x, truth.astype(x.dtype)):
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

    def said(self) -> list[str]:
        """Say in words what was withheld, if anything."""
        rows = np.count_nonzero(self.rows)
        if not rows:
            return []
        return [f"{rows} rows of {self.objects} objects have contradictory targets; they are left out of the training"]


def contradictions(target: np.ndarray, group: np.ndarray, agreement: float = 0.0) -> Contradictions:
    """Find objects with several rows whose labels differ.

    Parameters
    ----------
    target : array
        Redshifts or numbers of classes; NaN is no label and contradicts nothing.
    group : array of int
        Rows of one object have one number, see `astrokeras.split.groups`.
    agreement : float
        Two labels agree within this times 1 + the smaller one: of redshifts .005, of classes 0.
    """
    known = np.isfinite(target)
    size = int(group.max(initial=-1)) + 1
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(low, group[known], target[known])
    np.maximum.at(high, group[known], target[known])
    several = high > low
    odd = np.zeros(size, bool)
    odd[several] = high[several] - low[several] > agreement * (1 + low[several])
    return Contradictions(odd[group], int(np.count_nonzero(odd)))


def absent_classes(target: np.ndarray, parts: Mapping[str, np.ndarray], classes: Sequence[str]) -> list[str]:
    """Say which classes have no row in a part of the split that has rows.

    Parameters
    ----------
    target : array of int
        Numbers of the classes of all rows.
    parts : mapping of array of int
        Rows of each part.
    classes : sequence of str
        Names of the classes.
    """
    notes = []
    for name, rows in parts.items():
        lacking = [label for k, label in enumerate(classes) if not np.any(target[rows] == k)]
        if len(rows) and lacking:
            notes.append(f"no row of class {', '.join(lacking)} is in the part {name} of the split ({len(rows)} rows)")
    return notes


def inputs_of(card: Card, tensors: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Scalar input columns of some rows, from the tensors that a network sees; NaN where not observed."""
    columns = {}
    for kind in ("flux", "flux_err") if card.bands else ():
        values = np.where(tensors["observed"][rows] > 0, tensors[kind][rows], np.nan)
        columns |= {f"{kind}_{band}": values[:, i] for i, band in enumerate(card.bands)}
    scalars = {name: place.start for name, place in card.extra_places.items() if place.stop - place.start == 1}
    return columns | {name: tensors["extra"][rows, i] for name, i in scalars.items()}


def check_inputs(columns: Mapping[str, np.ndarray], target: np.ndarray, allow: Iterable[str] = ()) -> list[str]:
    """Refuse copies of the target among the inputs, and say which inputs predict it nearly alone.

    Parameters
    ----------
    columns, target
        As for `refuse_copies`; training rows only.
    allow : iterable of str
        Columns of which nothing is to be said.

    Raises
    ------
    TrainingError
        As `refuse_copies`.
    """
    refuse_copies(columns, target)
    what = (
        "explains {:.0%} of the variance of the ranks of the target"
        if target.dtype.kind == "f"
        else ("tells the classes apart with a balanced accuracy of {:.2f}")
    )
    return [
        f"input {name!r} alone {what.format(score)}: does it come from the same spectrum or from the labels? "
        f"If it is a measurement that every object has, say `allow: [{name}]`"
        for name, score in suspicious(columns, target, allow).items()
    ]


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
