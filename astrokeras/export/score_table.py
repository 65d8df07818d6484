"""Scores as printed tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

_NO_LIMIT = 10_000
#: Heading, name, factor, decimals.
COLUMNS = (
    ("bias", "bias", 1, 4),
    ("sigma_nmad", "sigma_nmad", 1, 4),
    ("outliers %", "outlier_fraction", 100, 2),
    ("coverage", "coverage", 1, 3),
    ("CDE loss", "cde_loss", 1, 2),
    ("PIT KS", "pit_ks", 1, 3),
    ("CRPS", "crps", 1, 4),
    ("LL", "log_likelihood", 1, 2),
    ("odds", "odds", 1, 3),
    ("accuracy", "accuracy", 1, 4),
    ("balanced", "balanced_accuracy", 1, 4),
    ("log-loss", "log_loss", 1, 4),
    ("Brier", "brier", 1, 4),
    ("ECE", "ece", 1, 4),
)
_CLASS_COLUMNS = (
    ("completeness", "completeness", 1, 4),
    ("contamination", "contamination", 1, 4),
    ("F1", "f1", 1, 4),
    ("ROC AUC", "roc_auc", 1, 4),
)


def print_scores(report: Mapping[str, Any], title: str) -> None:
    """Print the scores of a report, one line per sample; in parentheses the errors, in units of the last digit."""
    overall, rows = report["overall"], report["rows"]
    shown = [c for c in COLUMNS if c[1] in overall]
    table = new_table(title, f"{rows['scored']} of {rows['selected']} rows scored ({report['selection']})")
    perfect = "ece_perfect" in overall
    add_columns(table, ["sample"], ["n", *(c[0] for c in shown), *(["ECE if perfect <"] if perfect else [])])
    for name, scores in _samples(report):
        limit = (scores.get("ece_perfect") or {}).get("quantile_95")
        cells = [cell(scores.get(key), *how) for _, key, *how in shown]
        table.add_row(name, str(scores["n"]), *cells, *([cell(limit, 1, 4)] if perfect else []))
    print_table(table)
    if "classes" in overall:
        _print_classes(overall)


def _print_classes(overall: Mapping[str, Any]) -> None:
    """Scores of each class, and where its objects went."""
    names, counts = overall["confusion"]["classes"], overall["confusion"]["counts"]
    table = new_table("", "n → class: objects of the class in the line with this label")
    add_columns(table, ["class"], ["n", *(c[0] for c in _CLASS_COLUMNS), *(f"n → {name}" for name in names)])
    for name, line in zip(names, counts, strict=True):
        scores = overall["classes"][name]
        cells = [cell(scores[key], *how) for _, key, *how in _CLASS_COLUMNS]
        table.add_row(name, str(scores["n"]), *cells, *map(str, line))
    print_table(table)


def new_table(title: str, caption: str) -> Table:
    """An empty table."""
    return Table(
        title=title or None,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE,
        padding=(0, 1),
    )


def add_columns(table: Table, names: Iterable[str], numbers: Iterable[str]) -> None:
    """Columns of names, then of numbers."""
    for heading in names:
        table.add_column(heading, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)


def print_table(table: Table) -> None:
    """Print a whole table: where it is wider than the terminal, rich would cut cells; a terminal wraps the lines."""
    console = Console(file=sys.stdout, width=_NO_LIMIT, markup=False, highlight=False)
    console.width = console.measure(table).maximum
    console.print(table)


def _samples(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "all", report["overall"]
    for kind in ("magnitude", "redshift"):
        for part in (report.get(kind) or {}).get("bins", ()):
            yield bin_name(report[kind]["column"], part), part
    yield "baseline", {"n": report["overall"]["n"], **report["baseline"]}


def bin_name(column: str, part: Mapping[str, Any]) -> str:
    """Name of a bin, for people."""
    return f"{column} {part['low']:.4g} to {part['high']:.4g}"


def cell(score: Any, factor: float, decimals: int) -> str:
    """A score, with its error in units of the last digit."""
    if score is None or (isinstance(score, Mapping) and score["value"] is None):
        return "-"
    if not isinstance(score, Mapping):
        return f"{score * factor:.{decimals}f}"
    value = f"{score['value'] * factor:.{decimals}f}"
    return value if score["error"] is None else f"{value}({score['error'] * factor * 10**decimals:.0f})"
