"""What is scored: a kind of estimate says which columns it needs, and makes of rows a sample that can be scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import OutputError
from ..fields import Field

if TYPE_CHECKING:
    from astropy.table import QTable

Columns = Mapping[str, np.ndarray]
Sample = dict[str, np.ndarray]


class Estimate(Protocol):
    """Estimates of one kind by one method (`astrokeras.export.redshifts`, `astrokeras.export.classes`)."""

    #: Scores by name, and whether a ``lower`` or a ``higher`` one is better.
    better: Mapping[str, str]
    #: What the scores are.
    definitions: Mapping[str, str]
    target: str
    estimate: str

    def needs(self) -> list[str]:
        """Columns to read."""

    def known(self, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """Rows with a truth, and rows with an estimate."""

    def sample(self, columns: Columns, rows: np.ndarray) -> Sample:
        """Arrays of one value (or row of values) per selected row, all that scores need."""

    def values(self, sample: Sample) -> dict[str, float]:
        """Scores of a sample, flat; NaN where one is not defined."""

    def draws(self, sample: Sample, n: int, seed: int) -> dict[str, np.ndarray]:
        """Scores of ``n`` bootstrap resamples; samples of one length are resampled alike."""

    def nested(self, scores: Mapping[str, Any], sample: Sample) -> dict[str, Any]:
        """Scores as the file has them, with what has no error: counts, levels of a perfect model."""

    def baseline(self, sample: Sample) -> dict[str, Any]:
        """Scores of a trivial method."""

    def facts(self) -> dict[str, Any]:
        """What a reader of the file should know of the columns."""


def columns_of(chunk: QTable, fields: Iterable[Field], owner: str) -> dict[str, np.ndarray]:
    """Columns of a chunk in the units of their fields, for an output that errors name."""
    from ..chunk import values

    return {f.name: values(chunk[f.name], f.unit, f"{owner}: column {f.name!r}") for f in fields}


def sampled(kind: Estimate, columns: Columns, rows: np.ndarray, owner: str) -> Sample:
    """Sample of some rows, for an output.

    Raises
    ------
    OutputError
        If columns are not what they should be; names the owner.
    """
    try:
        return kind.sample(columns, rows)
    except OutputError as error:
        raise OutputError(f"{owner}: {error}") from None


def floats(column: np.ndarray) -> np.ndarray:
    """float64 values; NaN for masked ones."""
    return np.ma.filled(np.ma.asanyarray(column, dtype=float), np.nan)


def texts(column: np.ndarray) -> np.ndarray:
    """Texts without blanks at their ends; empty for masked ones."""
    filled = column.filled("") if np.ma.isMA(column) else column
    return np.char.strip(np.asarray(filled).astype(str))


def number(value: float) -> float | None:
    """JSON value: None for NaN."""
    return float(value) if np.isfinite(value) else None


def with_errors(values: Mapping[str, float], draws: Mapping[str, np.ndarray]) -> dict[str, dict[str, float | None]]:
    """Scores with their errors: standard deviations over the resamples in which they are defined."""
    return {
        name: {"value": number(value), "error": number(spread(draws[name])) if name in draws else None}
        for name, value in values.items()
    }


def spread(draws: np.ndarray) -> float:
    """Standard deviation of the draws that are defined; NaN for less than two."""
    good = draws[np.isfinite(draws)]
    return float(np.std(good, ddof=1)) if len(good) > 1 else float("nan")


def score(kind: Estimate, sample: Sample, n: int, seed: int) -> dict[str, Any]:
    """Scores of one sample with bootstrap errors, as the file has them.

    Parameters
    ----------
    n, seed : int
        Of the bootstrap.
    """
    count = len(next(iter(sample.values())))
    draws = kind.draws(sample, n, seed) if count > 1 else {}
    return {"n": count, **kind.nested(with_errors(kind.values(sample), draws), sample)}


def bin_edges(values: np.ndarray, edges: tuple[float, ...] | None, n: int | None) -> np.ndarray:
    """The edges given, or those of ``n`` bins with as many objects each; equal edges become one."""
    if edges is not None:
        return np.asarray(edges, float)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.empty(0)
    return np.unique(np.quantile(finite, np.linspace(0, 1, (n or 1) + 1)))


def binned(values: np.ndarray, edges: np.ndarray) -> list[tuple[float, float, np.ndarray]]:
    """Lower edge, upper edge and rows of each bin; a bin holds its lower edge, the last one its upper edge, too."""
    bins = []
    for k in range(len(edges) - 1):
        low, high = edges[k], edges[k + 1]
        inside = (values >= low) & ((values < high) | ((values == high) & (k == len(edges) - 2)))
        bins.append((float(low), float(high), inside))
    return bins


def left_out(values: np.ndarray, bins: list[dict[str, Any]]) -> dict[str, int]:
    """Objects that are in no bin: without a value, or beyond the edges."""
    missing = int(np.count_nonzero(~np.isfinite(values)))
    return {"n_missing": missing, "n_outside": len(values) - missing - sum(b["n"] for b in bins)}


def take(sample: Sample, rows: np.ndarray) -> Sample:
    """Rows of a sample."""
    return {name: column[rows] for name, column in sample.items()}
