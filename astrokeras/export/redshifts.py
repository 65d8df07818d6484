"""Scores of redshifts and of their densities."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import metrics
from ..errors import ChunkError, OutputError, did_you_mean
from ..fields import Field
from .samples import Columns, Sample, floats

DEFINITIONS = {
    "dz": "(z_phot - z_spec) / (1 + z_spec)",
    "bias": "median of dz",
    "sigma_nmad": "1.4826 * median of |dz - median of dz|",
    "outlier_fraction": f"fraction with |dz| > {metrics.OUTLIER}",
    "coverage": "fraction with z_spec within the interval that should hold 68 %",
    "cde_loss": "mean of integral of p^2 - 2 p(z_spec)",
    "crps": "mean of integral of (CDF - step at z_spec)^2",
    "log_likelihood": f"mean of ln max(p(z_spec), {metrics.DENSITY_FLOOR})",
    "odds": f"mean probability within {metrics.ODDS_WIDTH} (1 + z_phot) of z_phot",
    "pit_ks": "Kolmogorov-Smirnov distance from uniform of the cumulative probabilities at z_spec",
    "pit_ks_95": "distance that perfect PDFs of as many objects exceed in 5 % of draws, 1.358 / sqrt(n)",
    "pit_histogram": "numbers of objects by these probabilities, in bins of equal width from 0 to 1",
    "pit_outlier_fraction": "fraction of these probabilities below 0.0001 or above 0.9999",
    "error": "standard deviation over bootstrap resamples of the objects",
    "baseline": "the median z_spec of the evaluated sample as z_phot of every object",
    "pdf": "linear between grid points and normalised; z_spec beyond the grid counts as its end",
}
# Scores of a sample that are means over its objects.
_MEANS = ("coverage", "cde_loss", "crps", "log_likelihood", "odds")


def _pit_outliers(pit: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean((pit < 1e-4) | (pit > 1 - 1e-4), axis)


#: Bins of the histogram of cumulative probabilities.
PIT_BINS = 20

_PIT: Mapping[str, Callable[..., np.ndarray]] = {"pit_ks": metrics.pit_ks, "pit_outlier_fraction": _pit_outliers}


@dataclass(frozen=True)
class Redshifts:
    """Redshifts of one method.

    Attributes
    ----------
    target, estimate : str
        Columns with the true and the estimated redshift.
    pdf : Field, optional
        Column with the density.
    interval : tuple of str, optional
        Columns with the ends of the interval that should hold 68 %.
    """

    target: str
    estimate: str
    pdf: Field | None = None
    interval: tuple[str, str] | None = None

    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS
    better: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("sigma_nmad", "outlier_fraction", "cde_loss", "crps", "pit_ks"), "lower"),
        "log_likelihood": "higher",
    }

    @classmethod
    def of(
        cls,
        have: Mapping[str, Field],
        target: str,
        estimate: str,
        owner: str,
        given: Mapping[str, Any] | None = None,
    ) -> Redshifts:
        """Find the columns that go with an estimate: ``z_pdf_rf`` with ``z_phot_rf``.

        Parameters
        ----------
        owner : str
            Who asks, for messages.
        given : mapping, optional
            ``pdf`` and ``interval``, where somebody named them; None for neither.

        Raises
        ------
        ChunkError
            If a column is missing, or is no density.
        """
        given = {} if given is None else given
        end = re.fullmatch(r"z_(?:phot|mode)(_\w+)?", estimate)
        found = [f"{name}{end[1] or ''}" for name in ("z_pdf", "z_lo", "z_hi")] if end else [None] * 3
        pdf = given.get("pdf", found[0] if found[0] in have else None)
        if pdf is not None and pdf not in have:
            raise ChunkError(f"{owner}: no column {pdf!r}{did_you_mean(pdf, have)}")
        if pdf is not None and len(have[pdf].shape) != 1:
            raise ChunkError(f"{owner}: column {pdf!r} has cells of shape {have[pdf].shape}, not one PDF per row")
        ends = tuple(found[1:]) if all(name in have for name in found[1:]) else None
        return cls(target, estimate, pdf and have[pdf], given.get("interval", ends))

    def needs(self) -> list[str]:
        """See `Estimate`."""
        return [self.target, self.estimate, *([self.pdf.name] if self.pdf else []), *(self.interval or ())]

    def known(self, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """See `Estimate`."""
        z_spec = floats(columns[self.target])
        return np.isfinite(z_spec) & (z_spec > -1), np.isfinite(floats(columns[self.estimate]))

    def sample(self, columns: Columns, rows: np.ndarray) -> Sample:
        """See `Estimate`; what depends on a density is NaN for an object without one.

        Raises
        ------
        OutputError
            If the PDF does not say its grid.
        """
        sample = {"z_spec": floats(columns[self.target])[rows], "z_phot": floats(columns[self.estimate])[rows]}
        if self.interval is not None:
            low, high = (floats(columns[name])[rows] for name in self.interval)
            inside = (low <= sample["z_spec"]) & (sample["z_spec"] <= high)
            sample["coverage"] = np.where(np.isfinite(low) & np.isfinite(high), inside, np.nan)
        if self.pdf is not None:
            pdf = columns[self.pdf.name]
            sample |= metrics.pdf_scores(pdf[rows], self._grid(pdf.shape[1]), sample["z_spec"], sample["z_phot"])
        return sample

    def _grid(self, size: int) -> np.ndarray:
        low, high = (self.pdf.meta.get(key) for key in ("z_min", "z_max"))
        if not isinstance(low, float | int) or not isinstance(high, float | int) or not low < high:
            raise OutputError(f"column {self.pdf.name!r} does not say its grid (z_min, z_max), so it cannot be scored")
        return np.linspace(low, high, size)

    def _groups(self, sample: Sample) -> list[tuple[np.ndarray, Mapping[str, Callable[..., np.ndarray]]]]:
        """Numbers per object, and the statistics of them."""
        dz = metrics.residuals(sample["z_phot"], sample["z_spec"])
        means = [(sample[name], {name: np.mean}) for name in _MEANS if name in sample]
        pit = [(sample["pit"], _PIT)] if "pit" in sample else []
        return [(values[np.isfinite(values)], of) for values, of in [(dz, metrics.POINT), *means, *pit]]

    def values(self, sample: Sample) -> dict[str, float]:
        """See `Estimate`."""
        return {
            name: float(statistic(values, axis=-1)) if len(values) else float("nan")
            for values, statistics in self._groups(sample)
            for name, statistic in statistics.items()
        }

    def draws(self, sample: Sample, n: int, seed: int) -> dict[str, np.ndarray]:
        """See `Estimate`."""
        drawn: dict[str, np.ndarray] = {}
        for values, statistics in self._groups(sample):
            drawn |= metrics.bootstrap_draws(values, statistics, n, seed) if len(values) > 1 else {}
        return drawn

    def nested(self, scores: Mapping[str, Any], sample: Sample) -> dict[str, Any]:
        """See `Estimate`."""
        if "pit" not in sample:
            return dict(scores)
        pit = sample["pit"][np.isfinite(sample["pit"])]
        counts = np.histogram(pit, PIT_BINS, (0, 1))[0].tolist()
        known = {"n_pdf": len(pit), "pit_ks_95": 1.358 / math.sqrt(len(pit)) if len(pit) else None}
        return {**scores, **known, "pit_histogram": counts}

    def baseline(self, sample: Sample) -> dict[str, Any]:
        """See `Estimate`."""
        return metrics.trivial_baseline(sample["z_spec"])

    def facts(self) -> dict[str, Any]:
        """See `Estimate`."""
        pdf = None if self.pdf is None else {"column": self.pdf.name, **self.pdf.meta}
        return {"target": self.target, "estimate": self.estimate, "pdf": pdf}
