"""What all outputs that score share: which rows count, what is gathered from partitions, where the numbers go."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from ..errors import ChunkError, OutputError, did_you_mean
from ..fields import Field
from ..stage import Output, Product
from .atomic import replacing
from .bins import Bootstrap, EvaluationBins
from .samples import Columns, Sample

#: Columns that say which rows a model has not seen.
MARKS = ("split", "fold")


class Scoring(Output):
    """Base of the outputs that compare estimates with the truth.

    Scores rows that no model has seen: those with ``split`` equal to ``test`` and, where there is a column ``fold``,
    those predicted out of fold (``fold`` is not missing and not negative).

    Parameters
    ----------
    path : str
        The JSON file.
    target : str, optional
        Column with the truth; by default ``z_spec`` or ``class_true``.
    classes : tuple of str, optional
        Classes to score, each with a column ``p_<class in lower case>``; by default those of all such columns.
    bins : EvaluationBins
        Bins of magnitude and, for redshifts, of the true redshift.
    bootstrap : Bootstrap
        Number of resamples and seed.
    all_rows : bool
        Score all rows of a table without a column ``split``: says that no model was trained on any of them.
    show : bool
        Print the table, unless a run is quiet.
    where : str, optional
        Rows to look at.
    """

    target: str | None = None
    classes: tuple[str, ...] | None = None
    bins: EvaluationBins = EvaluationBins()
    bootstrap: Bootstrap = Bootstrap()
    all_rows: bool = False
    show: bool = True

    @model_validator(mode="after")
    def _no_columns(self) -> Self:
        if self.columns is not None:
            raise ValueError(f"{self.name} takes no columns: it knows which it needs")
        return self

    def _needed(self, names: list[str], have: Mapping[str, Field]) -> tuple[Field, ...]:
        """Fields of the columns named, of the magnitude, and of what marks unseen rows."""
        if self.bins.magnitude is not None:
            names = [*names, self.bins.magnitude.reads]
        for name in names:
            if name not in have:
                raise ChunkError(f"{self.name}: no column {name!r}{did_you_mean(name, have)}")
        marks = [name for name in MARKS if name in have]
        if marks and self.all_rows:
            raise ChunkError(
                f"{self.name}: all_rows would score rows that column {marks[0]!r} says a model was trained on"
            )
        if not marks and not self.all_rows:
            raise ChunkError(
                f"{self.name}: no column 'split' says which rows the model has not seen; "
                "if it has seen none of them, say all_rows: true"
            )
        return tuple(have[name] for name in dict.fromkeys([*names, *marks]))

    def _chosen(self, columns: Columns, n: int) -> np.ndarray:
        return np.ones(n, bool) if self.all_rows else unseen(columns, n)

    def _magnitude(self, columns: Columns, rows: np.ndarray) -> dict[str, np.ndarray]:
        bins = self.bins.magnitude
        return {} if bins is None else {"magnitude": bins.values(columns[bins.reads][rows])}

    def _selection(self, fields: Mapping[str, Field]) -> dict[str, Any]:
        """Which rows were scored, for the file."""
        folds = " or fold >= 0" if "fold" in fields else ""
        said = "all rows" if self.all_rows else f"split == 'test'{folds}"
        return {"selection": said, "where": self.where}

    def close(self, pieces: list[tuple[Path, dict[str, Any]]], product: Product) -> None:
        """Score the samples, write the JSON file and print the table.

        Raises
        ------
        OutputError
            If there is nothing to score, or the file cannot be written.
        """
        rows = total([facts for _, facts in pieces])
        if not rows["scored"]:
            raise OutputError(f"{product.path}: {self.nothing(rows)}")
        report = self.report(load(pieces), rows, product)
        write_report(report, product)
        if self.show and not product.quiet:
            self.show_report(report, product.path.name)

    def report(self, sample: Sample, rows: dict[str, Any], product: Product) -> dict[str, Any]:
        """Everything that goes into the JSON file."""
        raise NotImplementedError

    def nothing(self, rows: Mapping[str, Any]) -> str:
        """Why there is nothing to score, from the counts."""
        raise NotImplementedError

    def show_report(self, report: Mapping[str, Any], title: str) -> None:
        """Print the table."""
        raise NotImplementedError

    def _magnitude_label(self) -> str:
        return self.bins.magnitude.column or f"{self.bins.magnitude.band} (AB)"


def unseen(columns: Columns, n: int) -> np.ndarray:
    """Rows, of ``n``, that no model has seen: those of the test split, and those predicted out of fold."""
    chosen = np.zeros(n, bool)
    if "split" in columns:
        chosen |= np.ma.filled(np.ma.asanyarray(columns["split"]) == "test", False)
    if "fold" in columns:
        chosen |= np.ma.filled(np.ma.asanyarray(columns["fold"]) >= 0, False)
    return chosen


def splits(columns: Columns) -> dict[str, int]:
    """Rows by part of the split."""
    return dict(Counter(np.asarray(columns["split"]).astype(str).tolist())) if "split" in columns else {}


def total(facts: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums of the counts of all partitions; counts by name are summed name by name."""
    out: dict[str, Any] = {}
    for key, first in facts[0].items() if facts else ():
        if isinstance(first, dict):
            names = sorted({name for f in facts for name in f[key]})
            out[key] = {name or "unused": sum(f[key].get(name, 0) for f in facts) for name in names}
        else:
            out[key] = sum(f[key] for f in facts)
    return out


def nothing_selected(rows: Mapping[str, Any]) -> str:
    """Why there is nothing to score where no row was selected."""
    found = ", ".join(f"{name} {count}" for name, count in rows["splits"].items()) or "none"
    return f"of {rows['rows']} rows none is a test row (split: {found})"


def save(piece: Path, sample: Mapping[str, np.ndarray]) -> None:
    """Write the sample of a partition."""
    with replacing(piece, sync=False) as stream:
        np.savez(stream, **sample)


def load(pieces: list[tuple[Path, dict[str, Any]]]) -> dict[str, np.ndarray]:
    """Samples of all partitions, one behind the other.

    Raises
    ------
    OutputError
        If partitions hold densities on different grids, or different classes.
    """
    parts = []
    for path, facts in pieces:
        if facts["scored"]:
            with np.load(path, allow_pickle=False) as piece:
                parts.append(dict(piece))
    if any(set(part) != set(parts[0]) for part in parts):
        raise OutputError("the partitions do not hold the same columns")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def write_report(report: Mapping[str, Any], product: Product) -> None:
    """Write the JSON file."""
    with replacing(product.path) as stream:
        stream.write(json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False, default=str).encode() + b"\n")
