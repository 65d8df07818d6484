"""The border behind a graph: `decode` turns its outputs into columns, `output_fields` says which there are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from ..errors import ModelError, did_you_mean
from ..fields import FLAGS, Field, by_name
from ..flags import Flag
from ..probabilities import conformal_sets, entropy
from .card import DOMAIN_SCORE, Card
from .morphology_columns import morphology_columns, morphology_fields
from .redshift_columns import MISSING, redshift_columns, redshift_fields

Arrays = dict[str, np.ndarray]
#: Smallest share of a class where labels are balanced.
FEWEST = 1e-6


def probability_column(name: str) -> str:
    """Column with the probability of a class: ``p_qso`` of ``QSO``."""
    return "p_" + re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def output_fields(card: Card, columns: Iterable[str] | None = None) -> tuple[Field, ...]:
    """Fields of what `decode` gives.

    Parameters
    ----------
    card : Card
        Of the model.
    columns : iterable of str, optional
        Which of them; by default all.

    Raises
    ------
    ModelError
        If the model gives no such column.
    """
    known = _task_fields(card)
    known += (DOMAIN_SCORE,) if card.scores_domain else ()
    if columns is None:
        return known
    named = by_name(known)
    for name in (columns := tuple(columns)):
        if name not in named:
            raise ModelError(f"model {card.name} gives no column {name!r}{did_you_mean(name, named)}")
    return tuple(named[name] for name in columns)


def _task_fields(card: Card) -> tuple[Field, ...]:
    if card.tells_classes:
        return _class_fields(card)
    if card.morphology is not None:
        return morphology_fields(card.morphology)
    return redshift_fields(card.grid, card.calibration)


def _class_fields(card: Card) -> tuple[Field, ...]:
    of_class = "src.morph.type" if card.task == "morphology" else "src.class"
    ucd = f"stat.probability;{of_class}"
    return (
        *(Field(name=probability_column(c), description=f"Probability of class {c}", ucd=ucd) for c in card.classes),
        Field(name="class_label", kind="str", description=_label_said(card), ucd=of_class),
        Field(
            name="class_entropy",
            description="Entropy of the class probabilities, in nats: 0 is certain",
            ucd=f"stat.value;{of_class}",
        ),
        *((_class_set(card),) if card.class_sets else ()),
    )


def _label_said(card: Card) -> str:
    if not card.label_balance:
        return "Most probable class"
    return f"Class with the largest probability / (share of the training rows)^{card.label_balance:g}"


def _class_set(card: Card) -> Field:
    said = f"Classes of which one is true with a probability of {card.class_sets.coverage:g}, the most probable first"
    return Field(name="class_set", kind="str", description=said, ucd="src.class;stat.interval")


def decode(outputs: Mapping[str, np.ndarray], card: Card, columns: Iterable[str] | None = None) -> Arrays:
    """Turn the outputs of a graph into columns.

    Parameters
    ----------
    outputs : mapping of numpy.ndarray
        ``z_pdf`` ``(rows, grid)``, density at the nodes of ``card.grid``, and ``magnitude`` ``(rows,)`` of a model that
        is calibrated; or ``p_class`` ``(rows, classes)``, probabilities in the order of ``card.classes``; what
        `astrokeras.models.morphology_columns.morphology_columns` takes; and ``domain_score`` ``(rows,)``.
    card : Card
        Of the model.
    columns : iterable of str, optional
        Which of the columns in `output_fields`; by default all.

    Returns
    -------
    dict of numpy.ndarray
        float32, int16 or text, one entry per column.
    """
    names = [f.name for f in output_fields(card, columns)]
    if card.tells_classes:
        found = _class_columns(outputs, card)
    elif card.morphology is not None:
        found = morphology_columns(outputs, card.morphology)
    else:
        found = redshift_columns(outputs, card, names)
    if DOMAIN_SCORE.name in names:
        found[DOMAIN_SCORE.name] = np.asarray(outputs[DOMAIN_SCORE.name], np.float32)
    return {name: found[name] for name in names}


def _class_columns(outputs: Mapping[str, np.ndarray], card: Card) -> Arrays:
    p, classes = np.asarray(outputs["p_class"], np.float64), np.array(card.classes)
    columns = {probability_column(c): p[:, i].astype(np.float32) for i, c in enumerate(card.classes)}
    share = np.asarray(card.class_fractions or np.ones(p.shape[1]))
    label = (p / np.maximum(share, FEWEST) ** card.label_balance).argmax(axis=1)
    columns |= {"class_label": classes[label], "class_entropy": entropy(p).astype(np.float32)}
    rule = card.class_sets
    if rule is not None:
        columns["class_set"] = _set_names(p, conformal_sets(p, rule.quantile, rule.method), classes)
    return columns


def _set_names(p: np.ndarray, sets: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Names of the classes in each set, the most probable first, with spaces between."""
    order = np.argsort(-p, axis=1, kind="stable")
    names = np.where(np.take_along_axis(sets, order, axis=1), classes[order], "")
    width = sum(len(name) + 1 for name in classes.tolist())
    joined = np.zeros(len(p), f"U{width}")
    for column in names.T:
        joined = np.strings.strip(np.strings.add(np.strings.add(joined, " "), column))
    return joined.astype(f"U{width}")


def blank(columns: Mapping[str, np.ndarray], flags: np.ndarray) -> Arrays:
    """Columns with NaN, the null of an integer or no text in the rows whose flags hold NO_DATA."""
    hidden = (flags & Flag.NO_DATA) != 0
    return {name: _hide(values, hidden) for name, values in columns.items()}


def _hide(values: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    missing = {"U": np.str_(""), "f": np.float32(np.nan), "i": np.int16(MISSING)}[values.dtype.kind]
    return np.where(hidden.reshape(-1, *[1] * (values.ndim - 1)), missing, values)


def written_fields(card: Card, columns: Iterable[str] | None = None) -> tuple[Field, ...]:
    """Fields for `Stage.writes`: those of `output_fields`, and the flags."""
    return (*output_fields(card, columns), FLAGS)
