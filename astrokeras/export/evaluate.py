"""Evaluation of estimates against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ChunkError, did_you_mean
from ..fields import Field, by_name
from ..stage import Product
from .classes import Classes
from .redshifts import Redshifts
from .samples import Estimate, Sample, bin_edges, binned, columns_of, left_out, sampled, score, take
from .scoring import Scoring, nothing_selected, save, splits

if TYPE_CHECKING:
    from astropy.table import QTable


class Evaluate(Scoring):
    """Metrics of redshifts or classes against true ones, as JSON and as a printed table.

    The estimate decides which: ``z_phot`` with its density, or ``class_label`` with the probabilities ``p_*``. Scores
    rows that no model has seen: those with ``split`` equal to ``test`` and, where there is a column ``fold``, those
    predicted out of fold (``fold`` is not missing and not negative). Every score comes with a bootstrap error and
    beside that of a trivial baseline: the median true redshift of the sample, or its most frequent class, for every
    object. Definitions are in `astrokeras.metrics` and `astrokeras.class_metrics`, and in the file. Rows without target
    or estimate are counted, not scored.

    Parameters
    ----------
    estimate : str, optional
        Column with the estimate; by default ``z_phot`` or ``class_label``, whichever there is or fits the target. With
        a suffix (``z_phot_rf``) the other columns are those with this suffix.
    pdf : str, optional
        Column with the PDF of a redshift, by default ``z_pdf`` if it is there; its field says its grid (``z_min``,
        ``z_max``).
    interval : tuple of str, optional
        Columns with the ends of the interval that should hold 68 %, by default ``z_lo`` and ``z_hi`` if they are there.
    """

    name: ClassVar[str] = "evaluate"

    estimate: str | None = None
    pdf: str | None = None
    interval: tuple[str, str] | None = None

    def reads(self, available: tuple[Field, ...]) -> tuple[Field, ...]:
        """Fields needed, of those available.

        Raises
        ------
        ChunkError
            If a column is missing, or nothing says which rows the model has not seen.
        """
        have = by_name(available)
        return self._needed(self._kind(have).needs(), have)

    def _kind(self, have: Mapping[str, Field]) -> Estimate:
        estimate = self.estimate or guessed(self.target, have, self.name)
        if estimate not in have:
            raise ChunkError(f"evaluate: no column {estimate!r}{did_you_mean(estimate, have)}")
        if have[estimate].kind == "str":
            for key in ("pdf", "interval"):
                if key in self.model_fields_set:
                    raise ChunkError(f"evaluate: `{key}` belongs to redshifts, and {estimate!r} holds classes")
            if self.bins.redshift is not None:
                raise ChunkError(f"evaluate: `bins.redshift` belongs to redshifts, and {estimate!r} holds classes")
            return Classes.of(have, self.target or "class_true", estimate, self.name, self.classes)
        if self.classes is not None:
            raise ChunkError(f"evaluate: `classes` belongs to classes, and {estimate!r} holds numbers")
        given = {key: getattr(self, key) for key in ("pdf", "interval") if key in self.model_fields_set}
        return Redshifts.of(have, self.target or "z_spec", estimate, self.name, given)

    def write(self, chunk: QTable, fields: tuple[Field, ...], piece: Path) -> dict[str, Any]:
        """Score the objects of a partition one by one; return counts.

        Raises
        ------
        OutputError
            If a PDF does not say its grid, or a class has no probability.
        """
        known = by_name(fields)
        kind = self._kind(known)
        columns = columns_of(chunk, fields, self.name)
        chosen = self._chosen(columns, len(chunk))
        truth, given = kind.known(columns)
        scored = chosen & truth & given
        save(piece, sampled(kind, columns, scored, self.name) | self._magnitude(columns, scored))
        return {
            "rows": len(chunk),
            "selected": int(chosen.sum()),
            "scored": int(scored.sum()),
            "without_target": int((chosen & ~truth).sum()),
            "without_estimate": int((chosen & truth & ~given).sum()),
            "splits": splits(columns),
        }

    def nothing(self, rows: Mapping[str, Any]) -> str:
        """See `Scoring.nothing`."""
        if not rows["selected"]:
            return f"nothing to score: {nothing_selected(rows)}"
        lacking = f"{rows['without_target']} have no target and {rows['without_estimate']} others no estimate"
        return f"nothing to score: of {rows['selected']} rows {lacking}"

    def show_report(self, report: Mapping[str, Any], title: str) -> None:
        """See `Scoring.show_report`."""
        from .score_table import print_scores

        print_scores(report, title)

    def report(self, sample: Sample, rows: dict[str, Any], product: Product) -> dict[str, Any]:
        """Everything that goes into the JSON file."""
        n, seed = self.bootstrap.n, self.bootstrap.seed
        magnitude = sample.pop("magnitude", None)
        fields = by_name(product.fields)
        kind = self._kind(fields)
        report: dict[str, Any] = {
            **self._selection(fields),
            "rows": rows,
            **kind.facts(),
            "bootstrap": {"n": n, "seed": seed},
            "overall": score(kind, sample, n, seed),
        }
        if magnitude is not None:
            edges = bin_edges(magnitude, self.bins.magnitude.edges, self.bins.magnitude.n)
            report["magnitude"] = {"column": self._magnitude_label(), **self._bins(kind, sample, magnitude, edges)}
        if self.bins.redshift is not None:
            edges = bin_edges(sample["z_spec"], self.bins.redshift.edges, self.bins.redshift.n)
            report["redshift"] = {"column": kind.target, **self._bins(kind, sample, sample["z_spec"], edges)}
        report["baseline"] = kind.baseline(sample)
        return report | {"definitions": dict(kind.definitions), "provenance": dict(product.provenance)}

    def _bins(self, kind: Estimate, sample: Sample, values: np.ndarray, edges: np.ndarray) -> dict[str, Any]:
        n, seed = self.bootstrap.n, self.bootstrap.seed
        bins = [
            {"low": low, "high": high, **score(kind, take(sample, rows), n, seed)}
            for low, high, rows in binned(values, edges)
        ]
        return {"bins": bins, **left_out(values, bins)}


def guessed(target: str | None, have: Mapping[str, Field], owner: str) -> str:
    """Column of the estimate where nobody named it: of the kind of the target, else what there is.

    Raises
    ------
    ChunkError
        If there are both redshifts and classes, and no target decides.
    """
    if target in have:
        return "class_label" if have[target].kind == "str" else "z_phot"
    if target is None and "z_phot" in have and "class_label" in have:
        raise ChunkError(
            f"{owner}: there are 'z_phot' and 'class_label'; say `estimate`, or `target: z_spec` or "
            "`target: class_true`"
        )
    return "class_label" if "class_label" in have and "z_phot" not in have else "z_phot"
