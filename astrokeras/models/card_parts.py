"""The parts of a card that stand for themselves: grid, scores, class sets, what a morphology model tells, training."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, JsonValue, model_validator


class Part(BaseModel):
    """Base of the parts of a card: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), ser_json_inf_nan="constants")


class Grid(Part):
    """A uniform redshift grid: ``n`` nodes from ``z_min`` to ``z_max``, both included."""

    z_min: float
    z_max: float
    n: int

    @model_validator(mode="after")
    def _rises(self) -> Grid:
        if not (np.isfinite(self.z_min) and np.isfinite(self.z_max) and self.z_min < self.z_max and self.n >= 2):
            raise ValueError(f"z_min must be below z_max and n at least 2, got {self.z_min}, {self.z_max}, {self.n}")
        return self

    def nodes(self) -> np.ndarray:
        """Nodes, float64 ``(n,)``."""
        return np.linspace(self.z_min, self.z_max, self.n)


class Metric(Part):
    """A score with its number of rows, its definition and, if known, its standard error."""

    name: str
    value: float
    n: int
    definition: str = ""
    error: float | None = None


class ClassSetRule(Part):
    """Split-conformal class sets: see `astrokeras.probabilities.conformal_quantile`.

    Parameters
    ----------
    coverage, method : float, str
        Probability that a set holds the true class; how sets are made.
    quantile, n : float, int
        Threshold, and number of rows it comes from.
    """

    coverage: float
    method: Literal["lac", "aps"]
    quantile: float
    n: int


class Training(Part):
    """Where a model comes from.

    Parameters
    ----------
    data, source : str, dict
        Digest of the training rows; where they came from.
    where : str
        Selection; empty for none.
    count, counts : int, dict
        Rows used to fit; rows of each part of the split.
    split : dict
        The rule of the split: fractions, group, seed.
    seed, threads : int
        The result changes with both.
    versions : dict
        See `versions`.
    recipe : dict
        The ``train:`` block, plain JSON, with the settings that a search found.
    search : dict
        What was searched and found: ``over``, ``metric``, ``values``, ``score`` and how many rows judged it.
    notes : tuple of str
        What was suspicious about the training rows.
    weighting : dict
        The field that training rows were weighted to look like, how many of its rows have no training row near them,
        and the effective sample size; empty where all rows weigh the same.
    """

    data: str = ""
    source: dict[str, JsonValue] = {}
    where: str = ""
    count: int = 0
    counts: dict[str, int] = {}
    split: dict[str, JsonValue] = {}
    seed: int = 0
    threads: int = 0
    versions: dict[str, str] = {}
    recipe: dict[str, JsonValue] = {}
    search: dict[str, JsonValue] = {}
    notes: tuple[str, ...] = ()
    weighting: dict[str, JsonValue] = {}


class Components(Part):
    """What principal components were fitted, and what they hold.

    Parameters
    ----------
    whiten, scale : bool
        Whether they are divided by their standard deviations, and whether the numbers were before.
    explained_variance_ratio : tuple of float
        Share of the variance of the training rows that each component explains.
    """

    whiten: bool = False
    scale: bool = False
    explained_variance_ratio: tuple[float, ...] = ()


class Question(Part):
    """A question of a decision tree, as Galaxy Zoo asks them.

    Parameters
    ----------
    name : str
        ``bar``
    answers : tuple of str
        Two or more: ``strong``, ``weak``, ``none``.
    after : str, optional
        Who is asked: those who answered an earlier question so, ``smooth_or_featured.featured``; by default all.
    """

    name: str
    answers: tuple[str, ...]
    after: str | None = None

    @model_validator(mode="after")
    def _named(self) -> Question:
        for name in (self.name, *self.answers):
            if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name):
                raise ValueError(f"questions and answers are named by lower-case letters, digits and _, got {name!r}")
        if len(set(self.answers)) < 2 or len(set(self.answers)) < len(self.answers):
            raise ValueError(f"question {self.name!r} needs two or more distinct answers, got {list(self.answers)}")
        return self


class Morphology(Part):
    """What a morphology model tells.

    Parameters
    ----------
    kind : str
        ``classes``; ``ordinal`` or ``regression``, a number with its error; ``attributes``, several numbers from 0 to
        1; ``votes``, the fractions of volunteers who give each answer.
    column : str
        Name of the number: ``t_type``.
    levels : tuple of float
        Values that an ordinal may have, rising.
    interval : float
        Half width, in standard errors, of the interval that holds 68 % of the true numbers.
    attributes : tuple of str
        Their names.
    questions : tuple of Question
        In an order in which each comes after the one it depends on.
    """

    kind: Literal["classes", "ordinal", "regression", "attributes", "votes"]
    column: str = ""
    levels: tuple[float, ...] = ()
    interval: float = 1.0
    attributes: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()

    @model_validator(mode="after")
    def _told(self) -> Morphology:
        if self.kind in ("ordinal", "regression") and not self.column:
            raise ValueError(f"{self.kind} needs the name of a `column`")
        if self.kind == "ordinal" and (len(self.levels) < 2 or np.any(np.diff(self.levels) <= 0)):
            raise ValueError(f"ordinal needs two or more rising `levels`, got {list(self.levels)}")
        if self.kind == "attributes" and not self.attributes:
            raise ValueError("attributes need their names")
        if self.kind == "votes":
            check_questions(self.questions)
        return self

    @property
    def answers(self) -> tuple[tuple[str, str], ...]:
        """Question and answer of each number of the output ``fraction``."""
        return tuple((question.name, answer) for question in self.questions for answer in question.answers)


def check_questions(questions: tuple[Question, ...]) -> None:
    """Raise ValueError unless there are questions, each named once and after the one that it depends on."""
    if not questions:
        raise ValueError("votes need `questions`")
    known: set[str] = set()
    names: set[str] = set()
    for question in questions:
        if question.name in names:
            raise ValueError(f"question {question.name!r} is asked twice")
        if question.after is not None and question.after not in known:
            raise ValueError(
                f"question {question.name!r}: no earlier answer {question.after!r}; known are {sorted(known)}"
            )
        names.add(question.name)
        known |= {f"{question.name}.{answer}" for answer in question.answers}
