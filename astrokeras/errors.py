"""Exceptions of astrokeras.

Policy: a bad *pipeline* or *file* raises one of these, with one sentence that names the place (file, HDU, column, row
or YAML line), what was found and what is allowed; a bad *object* gets a flag and stays in the output. All of them
pickle, because workers send them home.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class AstrokerasError(Exception):
    """Root of all errors raised on purpose by astrokeras."""


class ChunkError(AstrokerasError):
    """A table breaks its contract: a column is missing, has another unit, shape or length."""


class IngestError(AstrokerasError):
    """An input file cannot be read as what it is said to be."""


class SurveyError(AstrokerasError):
    """A survey map is wrong, or does not fit the file it is used on."""


class ExpressionError(AstrokerasError):
    """A ``where`` expression cannot be parsed or evaluated."""


class ModelError(AstrokerasError):
    """A model is missing, damaged, or does not fit the data."""


class UnsafeModelError(ModelError):
    """A model file holds something that astrokeras refuses to load."""


class TrainingError(AstrokerasError):
    """The training data cannot give a model."""


class OutputError(AstrokerasError):
    """A product cannot be written."""


class StoreError(AstrokerasError):
    """The work directory cannot be used."""


class RunError(AstrokerasError):
    """A stage failed; says which, on which partition and objects."""


@dataclass(frozen=True, order=True)
class Problem:
    """One problem of a pipeline file, at a place of it (line and column count from 1)."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class SpecError(AstrokerasError):
    """A pipeline file has problems; all of them, in order of their place.

    Parameters
    ----------
    problems : iterable of Problem
        What was found.
    """

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(sorted(set(problems)))
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'near'?"``, or the allowed names when none is near.

    Parameters
    ----------
    name : str
        What was found.
    allowed : iterable of str
        What is allowed.
    """
    names = sorted(set(allowed))
    # Case counts for little: FLUX_G for flux_g is a near name.
    near = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{next(n for n in names if n.lower() == near[0])}'?"
    if not names:
        return ""
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f" (allowed: {shown})"
