"""The domain of a model, and how far a classifier may be trusted outside of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models.classical import Classical
from .examples import Examples
from .learner import Learner, outputs
from .training import fit_members

if TYPE_CHECKING:
    import keras

#: Rows without which a region says nothing.
FEWEST = 200
#: Features count up to so many scales where rows are told apart by region.
REACH = 3.0
#: Share of the rows beyond a side.
OUTER = 1 / 3
#: Rows that the networks of `extrapolation` see at most: what they find is one number.
ROWS = 6000


def scored(
    learner: Learner,
    model: keras.Model | Classical,
    rows: Mapping[str, Examples],
    on_epoch: Callable[[str], None] | None = None,
) -> keras.Model | Classical:
    """Give a finished model its domain score, and a classifier what follows from it.

    Parameters
    ----------
    learner : Learner
        Of the task; where its recipe asks for ``regions``, probabilities are shrunk to the class fractions out of the
        domain, see `astrokeras.layers.PriorShrinkage`, at the rate that `extrapolation` finds.
    model : keras.Model or Classical
        From `Learner.finish` or `Learner.wrapped`.
    rows : mapping of Examples
        Parts of the split.
    on_epoch : callable, optional
        Called with a short note after every epoch.

    Returns
    -------
    keras.Model or Classical
        With the output ``domain_score``.
    """
    from ..layers.domain import fit_shrinkage
    from ..networks.domain import with_domain

    train = rows["train"]
    domain = _domain(learner, model, train, rows["calibrate"])
    if isinstance(model, Classical):
        return replace(model, encoder=with_domain(model.encoder, domain))
    model = with_domain(model, domain)
    regions = getattr(learner.recipe, "regions", 0)
    # Regions of what stamps show would have to be found in a network first.
    if learner.card.stamp is None and "p_class" in model.output and 1 < regions <= len(train) // FEWEST:
        rate = fit_shrinkage(*extrapolation(learner, train, domain, regions, on_epoch))
        model.get_layer("shrinkage").set(rate, _fractions(train, model.output["p_class"].shape[1]))
    return model


def _domain(learner: Learner, model: keras.Model | Classical, train: Examples, aside: Examples) -> keras.Model:
    """Graph of the domain score, in the features that say most of the inputs there are."""
    from ..networks.domain import domain_network, feature_domain, stamp_domain

    parts, seed = (train.tensors, aside.tensors), learner.recipe.seed
    if learner.card.stamp is not None:
        return stamp_domain(model, *parts, seed=seed)
    if not learner.card.bands:
        return feature_domain(*parts, seed=seed)
    return domain_network(*parts, seed=seed, errors=learner.recipe.errors)


def extrapolation(
    learner: Learner,
    train: Examples,
    domain: keras.Model,
    regions: int,
    on_epoch: Callable[[str], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What happens out of the domain, rehearsed on training rows alone.

    A region is the outermost third of the training rows on one side of a principal component of the features of the
    domain score. For each region one network is trained on all other rows and applied to it: cross-validation by
    blocks (Roberts et al. 2017, Ecography 40, 913), at the edge, so that the networks extrapolate, as one does that
    meets a field fainter, redder or deeper than its training set. Blocks in the midst of the others only interpolate.

    Parameters
    ----------
    learner : Learner
        Of a classification.
    train : Examples
        Training rows.
    domain : keras.Model
        Graph of the domain score of all training rows, for its features.
    regions : int
        Number of regions, at least 2.
    on_epoch : callable, optional
        Called with a short note after every epoch.

    Returns
    -------
    probabilities, score, label, prior : numpy.ndarray
        As `astrokeras.layers.domain.fit_shrinkage` takes them; rows of all regions.
    """
    import keras

    from ..networks.domain import batched

    rng = np.random.default_rng(learner.recipe.seed)
    classes = int(train.target.max()) + 1
    part = train.take(rng.permutation(len(train))[:ROWS])
    features = keras.Model(domain.input, domain.get_layer("features").output)
    sides = _sides(batched(features, part.tensors), regions)
    few = {"members": 1, "epochs": -(-learner.recipe.epochs // 2), "cross_fit": 0}
    recipe = learner.recipe.model_copy(update=few)
    rehearsing = replace(learner, recipe=recipe)
    found = []
    for number, side in enumerate(sides, 1):
        inside, outside = (part.take(np.flatnonzero(which)) for which in (~side, side))
        # A class that lives on one side only cannot be learnt without it.
        if np.bincount(inside.target.astype(int), minlength=classes).min() >= FEWEST // 20:
            notes = None if on_epoch is None else partial(_of_region, on_epoch, f"region {number}/{len(sides)}")
            found.append(_rehearse(rehearsing, inside, outside, notes))
    empty = np.zeros((0, classes)), np.zeros(0), np.zeros(0, int), np.zeros((0, classes))
    return tuple(np.concatenate(arrays) for arrays in zip(empty, *found, strict=True))


def _sides(features: np.ndarray, number: int) -> list[np.ndarray]:
    """Outermost third of the rows on either side of the principal components, the widest component first."""
    # A few rows far out would else make components of their own.
    clipped = np.clip(features, -REACH, REACH)
    _, _, components = np.linalg.svd(clipped - clipped.mean(axis=0), full_matrices=False)
    sides = []
    for component in components[: -(-number // 2)]:
        along = clipped @ component
        low, high = np.quantile(along, (OUTER, 1 - OUTER))
        sides += [along < low, along > high]
    return sides[:number]


def _of_region(on_epoch: Callable[[str], None], region: str, note: str) -> None:
    on_epoch(f"{region}, {note}")


def _rehearse(
    learner: Learner, inside: Examples, outside: Examples, on_epoch: Callable[[str], None] | None
) -> tuple[np.ndarray, ...]:
    """Train without a region, and meet it."""
    from ..networks.domain import batched, domain_network

    # Rows are in random order; a seventh ends the training, calibrates, and sets the unit of the score.
    held = len(inside) // 7
    aside, train = inside.take(np.arange(held)), inside.take(np.arange(held, len(inside)))
    members, _ = fit_members(learner, train, aside, on_epoch)
    model, _ = learner.finish(members, {"train": train, "validate": aside, "calibrate": aside})
    score = batched(
        domain_network(train.tensors, aside.tensors, seed=learner.recipe.seed, errors=learner.recipe.errors),
        outside.tensors,
    )
    p = outputs(model, outside, "p_class")
    label = outside.target.astype(int)
    return p, score, label, np.tile(_fractions(train, p.shape[1]), (len(label), 1))


def _fractions(examples: Examples, classes: int) -> np.ndarray:
    """Share of each class; those with more weight count more."""
    counts: Any = np.bincount(examples.target.astype(int), weights=examples.weight, minlength=classes)
    return counts / counts.sum()
