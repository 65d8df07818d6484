"""Columns of morphology models besides classes: numbers with errors, attributes, fractions of votes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..fields import Field
from .card_parts import Morphology

Arrays = dict[str, np.ndarray]

_TYPE = "src.morph.type"


def morphology_fields(told: Morphology) -> tuple[Field, ...]:
    """Fields of what `morphology_columns` gives."""
    if told.kind == "attributes":
        return tuple(
            Field(name=f"attr_{name}", description=f"Strength of {name}, 0 to 1", ucd="src.morph")
            for name in told.attributes
        )
    if told.kind == "votes":
        return _vote_fields(told)
    name = told.column
    return (
        Field(name=name, description="Morphological type" if name == "t_type" else name, ucd=_TYPE),
        Field(name=f"{name}_err", description=f"Standard error of {name}", ucd=f"stat.error;{_TYPE}"),
        Field(name=f"{name}_lo", description=f"Lower end of the 68 % interval of {name}", ucd=f"{_TYPE};stat.min"),
        Field(name=f"{name}_hi", description=f"Upper end of the 68 % interval of {name}", ucd=f"{_TYPE};stat.max"),
    )


def _vote_fields(told: Morphology) -> tuple[Field, ...]:
    fields = []
    for question in told.questions:
        for answer in question.answers:
            name = f"f_{question.name}_{answer}"
            said = f"Fraction of those asked {question.name} who would answer {answer}"
            fields.append(Field(name=name, description=said, ucd="stat.probability;src.morph"))
            fields.append(
                Field(name=f"{name}_err", description=f"Standard error of {name}", ucd="stat.error;src.morph")
            )
        if question.after is not None:
            said = f"Expected fraction of volunteers who are asked {question.name}"
            fields.append(Field(name=f"asked_{question.name}", description=said, ucd="stat.probability;src.morph"))
    return tuple(fields)


def morphology_columns(outputs: Mapping[str, np.ndarray], told: Morphology) -> Arrays:
    """Turn the outputs of a graph into columns.

    Parameters
    ----------
    outputs : mapping of numpy.ndarray
        ``p_attribute`` ``(rows, attributes)``, or ``value`` and ``value_error`` ``(rows, k)``.
    told : Morphology
        What the model tells.

    Returns
    -------
    dict of numpy.ndarray
        float32.
    """
    if told.kind == "attributes":
        p = np.asarray(outputs["p_attribute"], np.float32)
        return {f"attr_{name}": p[:, i] for i, name in enumerate(told.attributes)}
    value, error = (np.asarray(outputs[name], np.float32) for name in ("value", "value_error"))
    if told.kind == "votes":
        return _vote_columns(value, error, told)
    value, error, name = value[:, 0], error[:, 0], told.column
    reach = np.float32(told.interval) * error
    return {name: value, f"{name}_err": error, f"{name}_lo": value - reach, f"{name}_hi": value + reach}


def _vote_columns(value: np.ndarray, error: np.ndarray, told: Morphology) -> Arrays:
    columns: Arrays = {}
    #: Expected fraction of volunteers who come to an answer, along the tree.
    reached: Arrays = {}
    place = {pair: i for i, pair in enumerate(told.answers)}
    for question in told.questions:
        asked = np.ones(len(value), np.float32) if question.after is None else reached[question.after]
        for answer in question.answers:
            i = place[question.name, answer]
            columns[f"f_{question.name}_{answer}"] = value[:, i]
            columns[f"f_{question.name}_{answer}_err"] = error[:, i]
            reached[f"{question.name}.{answer}"] = asked * value[:, i]
        if question.after is not None:
            columns[f"asked_{question.name}"] = asked
    return columns
