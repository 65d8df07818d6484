"""Comparison of several methods on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator
from pydantic import Field as Parameter

from ..errors import ChunkError, did_you_mean
from ..fields import Field, by_name
from ..stage import Product
from .classes import Classes
from .paired import compared
from .redshifts import Redshifts
from .samples import Columns, Estimate, Sample, bin_edges, binned, columns_of, left_out, sampled, take
from .scoring import Scoring, nothing_selected, save, splits

if TYPE_CHECKING:
    from astropy.table import QTable

_KINDS = {"redshift": ("z_phot", "z_spec"), "class": ("class_label", "class_true")}


def _by_suffix(value: Any) -> Any:
    """A list of suffixes, each named by itself; the one without is ``default``."""
    if not isinstance(value, list | tuple):
        return value
    names = [suffix or "default" for suffix in value if isinstance(suffix, str)]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ValueError(f"{twice[0]!r} is listed twice")
    return dict(zip(names, value, strict=True)) if len(names) == len(value) else value


class Compare(Scoring):
    """Scores of several methods on the same rows, with paired differences, as JSON and as a printed table.

    For stages that differ in ``suffix``: redshifts (``z_phot_rf``) or classes (``class_label_rf``, ``p_*_rf``). Only
    rows for which all methods give a result count; what each one lacks is counted. Differences to the reference come
    with their own errors, from bootstrap resamples of objects that are the same for all methods (a paired bootstrap):
    methods that fail on the same objects differ by less than the error of each. Which rows are scored, and the scores
    themselves, are as for `Evaluate`.

    Parameters
    ----------
    methods : dict of str
        Suffix of the columns of each method by the name to show; a list of suffixes names them by themselves. An empty
        suffix stands for columns without one.
    of : str, optional
        ``redshift`` or ``class``; by default what the target or the columns of the first method say.
    reference : str
        Method that the others are compared with: its name, ``first``, or ``best`` (smallest log-loss of classes; of
        redshifts smallest CRPS if all have densities, else smallest sigma_nmad).
    """

    name: ClassVar[str] = "compare"

    methods: Annotated[
        dict[str, str],
        BeforeValidator(_by_suffix, json_schema_input_type=dict[str, str] | list[str]),
        Parameter(min_length=2),
    ]
    of: Literal["redshift", "class"] | None = None
    reference: str = "first"

    def reads(self, available: tuple[Field, ...]) -> tuple[Field, ...]:
        """Fields needed, of those available.

        Raises
        ------
        ChunkError
            If a column is missing, or nothing says which rows the models have not seen.
        """
        have = by_name(available)
        if self.reference not in ("first", "best", *self.methods):
            near = did_you_mean(self.reference, ["first", "best", *self.methods])
            raise ChunkError(f"compare: no method {self.reference!r}{near}")
        kinds = self._kinds(have)
        return self._needed([name for kind in kinds.values() for name in kind.needs()], have)

    def _kinds(self, have: Mapping[str, Field]) -> dict[str, Estimate]:
        of = self.of or self._guessed(have)
        if of == "class" and self.bins.redshift is not None:
            raise ChunkError("compare: `bins.redshift` belongs to redshifts, not to classes")
        if of == "redshift" and self.classes is not None:
            raise ChunkError("compare: `classes` belongs to classes, not to redshifts")
        stem, truth = _KINDS[of]
        kinds: dict[str, Estimate] = {}
        for name, suffix in self.methods.items():
            estimate = f"{stem}_{suffix}" if suffix else stem
            if estimate not in have:
                raise ChunkError(f"compare: no column {estimate!r} of method {name!r}{did_you_mean(estimate, have)}")
            extra = (self.classes,) if of == "class" else ()
            kinds[name] = (Classes if extra else Redshifts).of(have, self.target or truth, estimate, self.name, *extra)
        if len({kind.names for kind in kinds.values() if isinstance(kind, Classes)}) > 1:
            told = "; ".join(f"{name}: {', '.join(kind.names)}" for name, kind in kinds.items())
            raise ChunkError(f"compare: the methods do not have the same classes ({told}); name them with `classes`")
        return kinds

    def _guessed(self, have: Mapping[str, Field]) -> str:
        if self.target in have:
            return "class" if have[self.target].kind == "str" else "redshift"
        suffix = next(iter(self.methods.values()))
        found = [of for of, (stem, _) in _KINDS.items() if (f"{stem}_{suffix}" if suffix else stem) in have]
        if len(found) == 2:
            raise ChunkError("compare: there are redshifts and classes; say `of: redshift` or `of: class`")
        return found[0] if found else "redshift"

    def write(self, chunk: QTable, fields: tuple[Field, ...], piece: Path) -> dict[str, Any]:
        """Score the objects of a partition one by one; return counts.

        Raises
        ------
        OutputError
            If a PDF does not say its grid, or a class has no probability.
        """
        known = by_name(fields)
        columns = columns_of(chunk, fields, self.name)
        kinds = self._kinds(known)
        chosen = self._chosen(columns, len(chunk))
        truth, _ = next(iter(kinds.values())).known(columns)
        wanted = np.flatnonzero(chosen & truth)
        samples = {name: self._whole(kind, columns, wanted) for name, kind in kinds.items()}
        given = {name: _complete(sample) for name, sample in samples.items()}
        good = np.logical_and.reduce(list(given.values()))
        parts = {f"{i} {k}": v[good] for i, sample in enumerate(samples.values()) for k, v in sample.items()}
        save(piece, parts | self._magnitude(columns, wanted[good]))
        return {
            "rows": len(chunk),
            "selected": int(chosen.sum()),
            "scored": int(good.sum()),
            "without_target": int((chosen & ~truth).sum()),
            "without_all_estimates": int((~good).sum()),
            "without_estimate": {name: int((~mask).sum()) for name, mask in given.items()},
            "splits": splits(columns),
        }

    def _whole(self, kind: Estimate, columns: Columns, wanted: np.ndarray) -> Sample:
        """Sample of all wanted rows; NaN in those without a result."""
        _, given = kind.known(columns)
        rows = np.zeros(len(given), bool)
        rows[wanted] = given[wanted]
        out = {}
        for name, values in sampled(kind, columns, rows, self.name).items():
            out[name] = np.full((len(wanted), *values.shape[1:]), np.nan)
            out[name][given[wanted]] = values
        return out

    def nothing(self, rows: Mapping[str, Any]) -> str:
        """See `Scoring.nothing`."""
        if not rows["selected"]:
            return f"nothing to compare: {nothing_selected(rows)}"
        lacking = ", ".join(f"{name} lacks {count}" for name, count in rows["without_estimate"].items())
        without = f"of {rows['selected']} rows {rows['without_target']} have no target"
        return f"nothing to compare: {without}; of the others {lacking}"

    def show_report(self, report: Mapping[str, Any], title: str) -> None:
        """See `Scoring.show_report`."""
        from .compare_table import print_comparison

        print_comparison(report, title)

    def report(self, gathered: Sample, rows: dict[str, Any], product: Product) -> dict[str, Any]:
        """Everything that goes into the JSON file."""
        fields = by_name(product.fields)
        kinds = self._kinds(fields)
        samples = {
            name: {k.split(" ", 1)[1]: v for k, v in gathered.items() if k.startswith(f"{i} ")}
            for i, name in enumerate(kinds)
        }
        first = next(iter(kinds.values()))
        n, seed = self.bootstrap.n, self.bootstrap.seed
        overall = compared(kinds, samples, self.reference, n, seed)
        report: dict[str, Any] = {
            **self._selection(fields),
            "rows": rows,
            "target": first.target,
            "methods": {name: kind.facts() for name, kind in kinds.items()},
            "reference": overall["reference"],
            "bootstrap": {"n": n, "seed": seed},
            "overall": overall,
        }
        if "magnitude" in gathered:
            edges = bin_edges(gathered["magnitude"], self.bins.magnitude.edges, self.bins.magnitude.n)
            bins = self._bins(kinds, samples, gathered["magnitude"], edges, overall["reference"])
            report["magnitude"] = {"column": self._magnitude_label(), **bins}
        if self.bins.redshift is not None:
            truth = next(iter(samples.values()))["z_spec"]
            edges = bin_edges(truth, self.bins.redshift.edges, self.bins.redshift.n)
            bins = self._bins(kinds, samples, truth, edges, overall["reference"])
            report["redshift"] = {"column": first.target, **bins}
        report["baseline"] = first.baseline(next(iter(samples.values())))
        return report | {
            "better": dict(first.better),
            "definitions": {**first.definitions, **DEFINITIONS},
            "provenance": dict(product.provenance),
        }

    def _bins(
        self,
        kinds: Mapping[str, Estimate],
        samples: Mapping[str, Sample],
        values: np.ndarray,
        edges: np.ndarray,
        reference: str,
    ) -> dict[str, Any]:
        n, seed = self.bootstrap.n, self.bootstrap.seed
        bins = []
        for low, high, rows in binned(values, edges):
            part = {name: take(sample, rows) for name, sample in samples.items()}
            bins.append({"low": low, "high": high, **compared(kinds, part, reference, n, seed)})
        return {"bins": bins, **left_out(values, bins)}


DEFINITIONS = {
    "differences": "score of the method minus that of the reference, on the same objects",
    "differences.error": "standard deviation of the difference over bootstrap resamples, the same for both methods",
    "differences.sigma": "difference in units of its error",
}


def _complete(sample: Sample) -> np.ndarray:
    """Rows in which nothing is missing."""
    return np.logical_and.reduce([np.isfinite(v).all(axis=tuple(range(1, v.ndim))) for v in sample.values()])
