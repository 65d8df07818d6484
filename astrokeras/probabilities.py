"""Class probabilities: entropy, another class ratio, and sets of classes with a stated coverage. Pure functions."""

from __future__ import annotations

from typing import Literal

import numpy as np

#: How far from 1 the sum of a class ratio may be; more is an error, less is normalised away.
RATIO_TOLERANCE = 1e-3

Conformal = Literal["lac", "aps"]


def entropy(probability: np.ndarray) -> np.ndarray:
    """Shannon entropy of each row of ``(rows, classes)``, in nats: 0 for certainty, ln(classes) for ignorance."""
    p = np.asarray(probability, float)
    # 0 ln 0 is 0; + 0.0 turns -0.0 into 0.
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=-1) + 0.0


def change_prior(probability: np.ndarray, train: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Probabilities as they are where classes have another ratio: ``p' ~ p new / train``, normalised.

    Holds where objects of one class look alike in both places and only the ratio of the classes differs (Saerens,
    Latinne & Decaestecker 2002, Neural Computation 14, 21).

    Parameters
    ----------
    probability : ndarray, shape (rows, classes)
        Given the training set's ratio.
    train : ndarray, shape (classes,)
        Ratio of the classes in the training set, above 0, sum 1.
    new : ndarray, shape (classes,) or (rows, classes)
        Ratio where the objects are; a class may have 0. Sums 1.

    Returns
    -------
    ndarray, shape (rows, classes)
        NaN in a row whose new ratio is not finite.

    Raises
    ------
    ValueError
        If a ratio has a wrong shape, is negative or does not sum to 1, or a class had no training rows.
    """
    p = np.asarray(probability, float)
    train, new = np.asarray(train, float), np.asarray(new, float)
    if train.shape != p.shape[1:] or new.shape not in (p.shape, p.shape[1:]):
        raise ValueError(f"change_prior: probabilities {p.shape}, ratios {train.shape} and {new.shape} do not fit")
    _check_ratio("train", train)
    _check_ratio("new", new[np.isfinite(new).all(axis=-1)] if new.ndim == 2 else new)
    if not (train > 0).all():
        raise ValueError("change_prior: a class without training rows has no probability to change")
    # The largest first: a product of small numbers must not vanish.
    with np.errstate(divide="ignore"):
        log_p = np.log(p) + np.log(new) - np.log(train)
    top = log_p.max(axis=-1, keepdims=True)
    relative = np.exp(log_p - np.where(np.isneginf(top), 0.0, top))
    total = relative.sum(axis=-1, keepdims=True)
    # Where the new ratio has ruled out all that the network had thought possible, the ratio alone is left.
    return np.where(total > 0, relative / np.where(total > 0, total, 1.0), np.where(np.isnan(total), np.nan, new))


def _check_ratio(name: str, ratio: np.ndarray) -> None:
    if np.any(ratio < 0) or np.any(np.abs(ratio.sum(axis=-1) - 1) > RATIO_TOLERANCE * (1 + 1e-6)):
        raise ValueError(f"change_prior: {name}: a class ratio is not negative and sums to 1, got {ratio.tolist()}")


def _scores(probability: np.ndarray, method: Conformal) -> np.ndarray:
    """Nonconformity of every class of every row, ``(rows, classes)``, from 0 to 1."""
    p = np.asarray(probability, float)
    if method == "lac":
        return 1 - p
    if method != "aps":
        raise ValueError(f"conformal method must be lac or aps, got {method!r}")
    order = np.argsort(-p, axis=1, kind="stable")
    cumulative = np.minimum(np.cumsum(np.take_along_axis(p, order, axis=1), axis=1), 1.0)
    cumulative[:, -1] = 1.0
    out = np.empty_like(p)
    np.put_along_axis(out, order, cumulative, axis=1)
    return out


def conformal_quantile(
    probability: np.ndarray, target: np.ndarray, coverage: float, method: Conformal = "lac"
) -> float:
    """Threshold of split-conformal class sets, from rows set aside for it (Vovk et al. 2005).

    The sets of `conformal_sets` hold the true class of a new object, exchangeable with these rows, with a probability
    of at least ``coverage``, however wrong the probabilities are. That is an average over objects, not a promise for
    each class.

    Parameters
    ----------
    probability : ndarray, shape (rows, classes)
        Of the rows set aside, calibrated.
    target : ndarray of int, shape (rows,)
        Numbers of their true classes.
    coverage : float
        Between 0 and 1, for example 0.95.
    method : str
        ``lac``: classes of a probability of at least some threshold, the smallest sets on average (Sadinle, Lei &
        Wasserman 2019, JASA 114, 223). ``aps``: the most probable classes until their sum reaches a threshold, larger
        sets, of a coverage that varies less between easy and difficult objects (Romano, Sesia & Candes 2020,
        arXiv:2006.02544, without its randomisation).

    Returns
    -------
    float
        From 0 to 1; 1 where the rows are too few for the coverage, so that every set holds all classes.

    Raises
    ------
    ValueError
        If the coverage lies outside (0, 1) or the method is unknown.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"conformal_quantile: coverage must be between 0 and 1, got {coverage!r}")
    scores = _scores(probability, method)
    n = len(scores)
    # Without the small number a coverage of 0.9 and 9 rows would ask for the tenth: 0.9 * 10 is above 9 in floats.
    rank = int(np.ceil((n + 1) * coverage - 1e-9))
    if rank > n:
        return 1.0
    return float(np.sort(scores[np.arange(n), np.asarray(target, int)])[rank - 1])


def conformal_sets(probability: np.ndarray, quantile: float, method: Conformal = "lac") -> np.ndarray:
    """Classes in the set of each object.

    Parameters
    ----------
    probability : ndarray, shape (rows, classes)
        As given to `conformal_quantile`.
    quantile : float
        From `conformal_quantile`.
    method : str
        The same as there.

    Returns
    -------
    ndarray of bool, shape (rows, classes)
        The most probable class is always in, which only adds to the coverage.
    """
    p = np.asarray(probability, float)
    sets = _scores(p, method) <= quantile
    sets[np.arange(len(p)), p.argmax(axis=1)] = True
    return sets
