"""A comparison as printed tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .score_table import COLUMNS, add_columns, bin_name, cell, new_table, print_table

_ARROWS = {"lower": " ↓", "higher": " ↑"}


def print_comparison(report: Mapping[str, Any], title: str) -> None:
    """Print the scores of each method, and a table of differences to the reference with their significance."""
    overall, rows = report["overall"], report["rows"]
    shown = [c for c in COLUMNS if any(c[1] in scores for scores in overall["methods"].values())]
    lacking = ", ".join(f"{name} {count}" for name, count in rows["without_estimate"].items() if count)
    caption = f"{rows['scored']} of {rows['selected']} rows compared ({report['selection']})"
    table = new_table(title, caption + (f"; without a result: {lacking}" if lacking else ""))
    headings = [heading + _ARROWS.get(report["better"].get(name, ""), "") for heading, name, *_ in shown]
    add_columns(table, ["sample", "method"], ["n", *headings])
    for sample, part in _samples(report):
        for name, scores in part["methods"].items():
            cells = [cell(scores.get(key), *how) for _, key, *how in shown]
            table.add_row(sample, name, str(part["n"]), *cells)
    cells = [cell(report["baseline"].get(key), *how) for _, key, *how in shown]
    table.add_row("all", "baseline", str(overall["n"]), *cells)
    print_table(table)
    _print_differences(report, shown)


def _print_differences(report: Mapping[str, Any], shown: list[tuple]) -> None:
    caption = "in brackets the paired error in units of the last digit, then the difference in units of it"
    table = new_table(f"difference to {report['reference']}", caption)
    add_columns(table, ["sample", "method"], [heading for heading, *_ in shown])
    for sample, part in _samples(report):
        for name, differences in part["differences"].items():
            table.add_row(sample, name, *(_difference(differences.get(key), *how) for _, key, *how in shown))
    print_table(table)


def _difference(found: Mapping[str, float | None] | None, factor: float, decimals: int) -> str:
    if found is None or found["value"] is None:
        return "-"
    text = cell(found, factor, decimals)
    sign = "" if text.startswith("-") else "+"
    return f"{sign}{text}" + ("" if found["sigma"] is None else f" {found['sigma']:+.1f}\N{GREEK SMALL LETTER SIGMA}")


def _samples(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "all", report["overall"]
    for kind in ("magnitude", "redshift"):
        for part in (report.get(kind) or {}).get("bins", ()):
            yield bin_name(report[kind]["column"], part), part
