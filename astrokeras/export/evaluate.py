"""Evaluation of redshifts against the truth."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import model_validator

from .. import metrics
from ..errors import ChunkError, OutputError, did_you_mean
from ..fields import Field, by_name
from ..stage import Output, Product
from .atomic import replacing
from .bins import Bootstrap, EvaluationBins
from .scores import DEFINITIONS, bin_edges, score, score_bins

if TYPE_CHECKING:
    from astropy.table import QTable


class Evaluate(Output):
    """Metrics of redshifts against true ones, as JSON and as a printed table.

    Scores rows that no model has seen: those with ``split`` equal to ``test`` and, where there is a column ``fold``,
    those predicted out of fold (``fold`` is not missing and not negative). Point metrics, PDF metrics (if there is a
    PDF), bootstrap errors, and a trivial baseline: the median true redshift of the sample for every object. Definitions
    are in `astrokeras.metrics`, and in the file. Rows without target or estimate are counted, not scored.

    Parameters
    ----------
    path : str
        The JSON file.
    target, estimate : str
        Columns with the true and the estimated redshift.
    pdf : str, optional
        Column with the PDF, used if it is there; its field says its grid (``z_min``, ``z_max``).
    interval : tuple of str
        Columns with the ends of the interval that should hold 68 %, used if both are there.
    bins : EvaluationBins
        Bins of magnitude and of redshift.
    bootstrap : Bootstrap
        Number of resamples and seed.
    all_rows : bool
        Score all rows of a table without a column ``split``: says that no model was trained on any of them.
    show : bool
        Print the table.
    where : str, optional
        Rows to look at.
    """

    name: ClassVar[str] = "evaluate"

    target: str = "z_spec"
    estimate: str = "z_phot"
    pdf: str | None = "z_pdf"
    interval: tuple[str, str] = ("z_lo", "z_hi")
    bins: EvaluationBins = EvaluationBins()
    bootstrap: Bootstrap = Bootstrap()
    all_rows: bool = False
    show: bool = True

    @model_validator(mode="after")
    def _no_columns(self) -> Self:
        if self.columns is not None:
            raise ValueError("evaluate takes no columns: it knows which it needs")
        return self

    def reads(self, available: tuple[Field, ...]) -> tuple[Field, ...]:
        """Fields needed, of those available.

        Raises
        ------
        ChunkError
            If a column is missing, or nothing says which rows the model has not seen.
        """
        have = by_name(available)
        needed = [self.target, self.estimate]
        if self.bins.magnitude is not None:
            needed.append(self.bins.magnitude.reads)
        if self.pdf is not None and ("pdf" in self.model_fields_set or self.pdf in have):
            needed.append(self.pdf)
        if "interval" in self.model_fields_set or all(name in have for name in self.interval):
            needed += self.interval
        for name in needed:
            if name not in have:
                raise ChunkError(f"evaluate: no column {name!r}{did_you_mean(name, have)}")
        if self.pdf in needed and len(have[self.pdf].shape) != 1:
            raise ChunkError(
                f"evaluate: column {self.pdf!r} has cells of shape {have[self.pdf].shape}, not one PDF per row"
            )
        marks = [name for name in ("split", "fold") if name in have]
        if marks and self.all_rows:
            raise ChunkError(
                f"evaluate: all_rows would score rows that column {marks[0]!r} says a model was trained on"
            )
        if not marks and not self.all_rows:
            raise ChunkError(
                "evaluate: no column 'split' says which rows the model has not seen; "
                "if it has seen none of them, say all_rows: true"
            )
        return tuple(have[name] for name in dict.fromkeys(needed + marks))

    def write(self, chunk: QTable, fields: tuple[Field, ...], piece: Path) -> dict[str, Any]:
        """Score the objects of a partition one by one; return counts.

        Raises
        ------
        OutputError
            If the PDF does not say its grid.
        """
        from ..chunk import values

        known = by_name(fields)
        columns = {n: values(chunk[n], f.unit, f"evaluate: column {n!r}") for n, f in known.items()}
        chosen = self._chosen(columns, len(chunk))
        z_spec, z_phot = (_floats(columns[name]) for name in (self.target, self.estimate))
        truth = np.isfinite(z_spec) & (z_spec > -1)
        scored = chosen & truth & np.isfinite(z_phot)
        sample = {"z_spec": z_spec[scored], "z_phot": z_phot[scored]}
        if all(name in columns for name in self.interval):
            low, high = (_floats(columns[name])[scored] for name in self.interval)
            inside = (low <= sample["z_spec"]) & (sample["z_spec"] <= high)
            sample["coverage"] = np.where(np.isfinite(low) & np.isfinite(high), inside, np.nan)
        if self.pdf in columns:
            grid = _grid(known[self.pdf], columns[self.pdf].shape[1])
            sample |= metrics.pdf_scores(columns[self.pdf][scored], grid, sample["z_spec"], sample["z_phot"])
        if self.bins.magnitude is not None:
            sample["magnitude"] = self.bins.magnitude.values(columns[self.bins.magnitude.reads][scored])
        with replacing(piece, sync=False) as stream:
            np.savez(stream, **sample)
        return {
            "rows": len(chunk),
            "selected": int(chosen.sum()),
            "scored": int(scored.sum()),
            "without_target": int((chosen & ~truth).sum()),
            "without_estimate": int((chosen & truth & ~scored).sum()),
            "splits": dict(Counter(np.asarray(columns["split"]).astype(str).tolist())) if "split" in columns else {},
        }

    def _chosen(self, columns: dict[str, np.ndarray], n: int) -> np.ndarray:
        if self.all_rows:
            return np.ones(n, bool)
        chosen = np.zeros(n, bool)
        if "split" in columns:
            chosen |= np.ma.filled(np.ma.asanyarray(columns["split"]) == "test", False)
        if "fold" in columns:
            chosen |= np.ma.filled(np.ma.asanyarray(columns["fold"]) >= 0, False)
        return chosen

    def close(self, pieces: list[tuple[Path, dict[str, Any]]], product: Product) -> None:
        """Score the sample, write the JSON file and print the table.

        Raises
        ------
        OutputError
            If there is nothing to score, or the file cannot be written.
        """
        rows = _total([facts for _, facts in pieces])
        if not rows["scored"]:
            raise OutputError(f"{product.path}: nothing to score: {_why_nothing(rows)}")
        report = self.report(_load(pieces), rows, product)
        with replacing(product.path) as stream:
            stream.write(
                json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False, default=str).encode() + b"\n"
            )
        if self.show:
            from .score_table import print_scores

            print_scores(report, product.path.name)

    def report(self, sample: dict[str, np.ndarray], rows: dict[str, Any], product: Product) -> dict[str, Any]:
        """Everything that goes into the JSON file."""
        n, seed = self.bootstrap.n, self.bootstrap.seed
        magnitude = sample.pop("magnitude", None)
        fields = by_name(product.fields)
        folds = " or fold >= 0" if "fold" in fields else ""
        report: dict[str, Any] = {
            "selection": "all rows" if self.all_rows else f"split == 'test'{folds}",
            "where": self.where,
            "rows": rows,
            "target": self.target,
            "estimate": self.estimate,
            "pdf": {"column": self.pdf, **fields[self.pdf].meta} if self.pdf in fields else None,
            "bootstrap": {"n": n, "seed": seed},
            "overall": score(sample, n, seed),
        }
        if magnitude is not None and self.bins.magnitude is not None:
            edges = bin_edges(magnitude, self.bins.magnitude.edges, self.bins.magnitude.n)
            label = self.bins.magnitude.column or f"{self.bins.magnitude.band} (AB)"
            report["magnitude"] = {"column": label, **score_bins(sample, magnitude, edges, n, seed)}
        if self.bins.redshift is not None:
            edges = bin_edges(sample["z_spec"], self.bins.redshift.edges, self.bins.redshift.n)
            report["redshift"] = {"column": self.target, **score_bins(sample, sample["z_spec"], edges, n, seed)}
        report["baseline"] = metrics.trivial_baseline(sample["z_spec"])
        return report | {"definitions": DEFINITIONS, "provenance": dict(product.provenance)}


def _floats(column: np.ndarray) -> np.ndarray:
    return np.ma.filled(np.ma.asanyarray(column, dtype=float), np.nan)


def _grid(field: Field, size: int) -> np.ndarray:
    low, high = (field.meta.get(key) for key in ("z_min", "z_max"))
    if not isinstance(low, float | int) or not isinstance(high, float | int) or not low < high:
        raise OutputError(
            f"evaluate: column {field.name!r} does not say its grid (z_min, z_max), so it cannot be scored"
        )
    return np.linspace(low, high, size)


def _total(facts: list[dict[str, Any]]) -> dict[str, Any]:
    keys = ("rows", "selected", "scored", "without_target", "without_estimate")
    splits: Counter[str] = sum((Counter(f["splits"]) for f in facts), Counter())
    total: dict[str, Any] = {key: sum(f[key] for f in facts) for key in keys}
    return total | {"splits": {name or "unused": count for name, count in sorted(splits.items())}}


def _why_nothing(rows: dict[str, Any]) -> str:
    if not rows["selected"]:
        found = ", ".join(f"{name} {count}" for name, count in rows["splits"].items()) or "none"
        return f"of {rows['rows']} rows none is a test row (split: {found})"
    return (
        f"of {rows['selected']} rows {rows['without_target']} have no target and "
        f"{rows['without_estimate']} others no estimate"
    )


def _load(pieces: list[tuple[Path, dict[str, Any]]]) -> dict[str, np.ndarray]:
    parts = []
    for path, facts in pieces:
        if facts["scored"]:
            with np.load(path, allow_pickle=False) as piece:
                parts.append(dict(piece))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
