"""Scores as a printed table."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

_NO_LIMIT = 10_000
#: Heading, name, factor, decimals.
_COLUMNS = (
    ("bias", "bias", 1, 4),
    ("sigma_nmad", "sigma_nmad", 1, 4),
    ("outliers %", "outlier_fraction", 100, 2),
    ("coverage", "coverage", 1, 3),
    ("CDE loss", "cde_loss", 1, 2),
    ("PIT KS", "pit_ks", 1, 3),
    ("CRPS", "crps", 1, 4),
    ("LL", "log_likelihood", 1, 2),
    ("odds", "odds", 1, 3),
)


def print_scores(report: Mapping[str, Any], title: str) -> None:
    """Print the scores of a report, one line per sample; in parentheses the errors, in units of the last digit."""
    shown = [c for c in _COLUMNS if c[1] in report["overall"]]
    rows = report["rows"]
    caption = f"{rows['scored']} of {rows['selected']} rows scored ({report['selection']})"
    table = Table(
        title=title, caption=caption, title_justify="left", caption_justify="left", box=SIMPLE, padding=(0, 1)
    )
    table.add_column("sample", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for heading, *_ in shown:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, scores in _samples(report):
        table.add_row(name, str(scores["n"]), *(_cell(scores.get(key), *how) for _, key, *how in shown))
    # Where the table is wider than the terminal, rich would cut cells; a terminal wraps the lines instead.
    console = Console(file=sys.stdout, width=_NO_LIMIT, markup=False, highlight=False)
    console.width = console.measure(table).maximum
    console.print(table)


def _samples(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "all", report["overall"]
    for kind in ("magnitude", "redshift"):
        for part in (report.get(kind) or {}).get("bins", ()):
            yield f"{report[kind]['column']} {part['low']:.4g} to {part['high']:.4g}", part
    yield "baseline", {"n": report["overall"]["n"], **report["baseline"]}


def _cell(score: Any, factor: float, decimals: int) -> str:
    if score is None or (isinstance(score, Mapping) and score["value"] is None):
        return "-"
    if not isinstance(score, Mapping):
        return f"{score * factor:.{decimals}f}"
    value = f"{score['value'] * factor:.{decimals}f}"
    return value if score["error"] is None else f"{value}({score['error'] * factor * 10**decimals:.0f})"
