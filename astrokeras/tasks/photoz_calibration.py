"""Calibration of redshift densities on rows that the networks never saw: the map of the PIT, intervals, quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from scipy.stats import chi2

from .. import metrics
from ..conformal import levels_by_magnitude
from ..densities import pdf_risk, pdf_summary
from ..models.calibration import COVERAGES, Calibration, Conformal, QualityCut
from ..networks.dense import fit_temperature
from ..networks.recalibration import PitMap, fit_recalibration

#: Fractions of the calibration rows that the cuts in quality keep.
COMPLETENESS = (0.95, 0.9, 0.75, 0.5)
#: A calibration out of fold is given up where rows set aside contradict it with a p-value below this.
REFUSED_BELOW = 1e-3
#: Parts into which the rows are split to apply maps to rows they were not fitted to.
_PARTS = 5


@dataclass(frozen=True)
class Sample:
    """Rows to calibrate with.

    Attributes
    ----------
    pdf : ndarray
        Densities at the nodes, of models that never saw the rows, ``(rows, n_grid)``.
    target, magnitude : ndarray
        True redshifts and reference magnitudes, ``(rows,)``.
    grid : ndarray
        Nodes, ``(n_grid,)``.
    """

    pdf: np.ndarray
    target: np.ndarray
    magnitude: np.ndarray
    grid: np.ndarray

    def fitted(self, rows: np.ndarray, start: PitMap | None = None) -> PitMap:
        """Map fitted to some of the rows."""
        return fit_recalibration(self.pdf[rows], self.grid, self.target[rows], self.magnitude[rows], start=start)


def relative_temperature(pdf: np.ndarray, folds: np.ndarray, grid: np.ndarray, target: np.ndarray) -> float:
    """Temperature that gives a model the calibration of the networks of the folds.

    A mean of several networks is broader, for what it knows, than one that was trained on fewer rows. Both are measured
    on the same rows, which none of them saw, so that the ratio of their temperatures is several times less noisy than
    either.

    Parameters
    ----------
    pdf : ndarray
        Densities of the model, ``(rows, n_grid)``.
    folds : ndarray
        Densities of the networks, ``(folds, rows, n_grid)``.
    grid : ndarray
        Nodes.
    target : ndarray
        True redshifts, ``(rows,)``.
    """
    alone = fit_temperature(folds.reshape(-1, len(grid)), grid, np.tile(target, len(folds)))
    return fit_temperature(pdf, grid, target) / alone


def tempered(pdf: np.ndarray, grid: np.ndarray, temperature: float) -> np.ndarray:
    """Densities at a temperature, normalised, as `astrokeras.layers.Temperature` gives them."""
    powered = (pdf / pdf.max(axis=1, keepdims=True)) ** (1 / temperature)
    return (powered / np.trapezoid(powered, grid, axis=1)[:, None]).astype(np.float32)


@dataclass(frozen=True)
class Found:
    """A calibration.

    Attributes
    ----------
    temperature : float
        To apply before the map.
    pit_map : PitMap
        The map of the PIT.
    facts : Calibration
        For the card.
    """

    temperature: float
    pit_map: PitMap
    facts: Calibration


def calibration(sample: Sample, folds: int, own: Sample | None, beside: np.ndarray) -> Found:
    """Calibrate a model on predictions out of fold, unless the rows set aside speak against it.

    Networks that end their training early are unlike the model, which had more rows and more steps, and their
    calibration is not its own. Then the PIT of rows that neither has seen is not uniform after it, and these rows alone
    calibrate.

    Parameters
    ----------
    sample : Sample
        Training rows, predicted out of fold.
    folds : int
        Their number.
    own : Sample, optional
        Rows set aside, predicted by the model.
    beside : ndarray
        The same rows, predicted by the networks of the folds, ``(folds, rows, n_grid)``.
    """
    if own is None:
        return Found(1.0, *calibrated(sample, folds))
    temperature = relative_temperature(own.pdf, beside, own.grid, own.target)
    found = Found(temperature, *calibrated(sample, folds))
    return found if _holds(found, own) else Found(1.0, *calibrated(own, 0))


def _holds(found: Found, own: Sample) -> bool:
    """Whether the PIT of rows is uniform after a calibration: Neyman's smooth test (1937) of order 4."""
    pdf = found.pit_map.apply(tempered(own.pdf, own.grid, found.temperature), own.grid, own.magnitude)
    pit = metrics.pit(pdf, own.grid, own.target)
    moments = legendre.legvander(2 * pit - 1, 4)[:, 1:].mean(axis=0) * np.sqrt(2 * np.arange(1, 5) + 1)
    return bool(len(pit) * np.sum(moments**2) < chi2.isf(REFUSED_BELOW, 4))


def calibrated(sample: Sample, folds: int) -> tuple[PitMap, Calibration]:
    """Fit the map of the PIT, and measure what it gives.

    Parameters
    ----------
    sample : Sample
        The rows.
    folds : int
        In which the rows were predicted; 0 if the model itself has not seen them.
    """
    pit_map = sample.fitted(np.arange(len(sample.target)))
    pdf = _applied_out_of_part(sample, pit_map)
    pit = metrics.pit(pdf, sample.grid, sample.target)
    facts = Calibration(
        rows=len(pit),
        folds=folds,
        pit_ks=float(metrics.pit_ks(pit)),
        pit_ks_before=float(metrics.pit_ks(metrics.pit(sample.pdf, sample.grid, sample.target))),
        conformal=tuple(conformal(pit, sample.magnitude, coverage) for coverage in COVERAGES),
        quality=quality_cuts(pdf, sample),
    )
    return pit_map, facts


def _applied_out_of_part(sample: Sample, pit_map: PitMap) -> np.ndarray:
    """Densities recalibrated by maps that were fitted without them."""
    rows = len(sample.target)
    part = np.random.default_rng(0).permutation(rows) % _PARTS
    pdf = np.empty_like(sample.pdf)
    for k in np.unique(part):
        others = np.flatnonzero(part != k) if rows > 1 else np.arange(rows)
        chosen = part == k
        found = sample.fitted(others, start=pit_map)
        pdf[chosen] = found.apply(sample.pdf[chosen], sample.grid, sample.magnitude[chosen])
    return pdf


def conformal(pit: np.ndarray, magnitude: np.ndarray, coverage: float) -> Conformal:
    """Conformal intervals of one coverage from the PIT of calibration rows."""
    magnitudes, levels = levels_by_magnitude(np.abs(2 * pit - 1), magnitude, coverage)
    central = np.clip(levels, 0.0, 1.0)
    return Conformal(
        coverage=coverage, magnitudes=tuple(map(float, magnitudes)), central=tuple(round(float(s), 6) for s in central)
    )


def quality_cuts(pdf: np.ndarray, sample: Sample) -> tuple[QualityCut, ...]:
    """Cuts in the risk that keep `COMPLETENESS` of the rows; before them, as ``quality`` 0, all rows."""
    z_phot = pdf_summary(pdf, sample.grid)["median"]
    risk = pdf_risk(pdf, sample.grid)[1]
    faint = sample.magnitude >= np.quantile(sample.magnitude, 0.8)
    cuts = []
    for quality, completeness in enumerate((1.0, *COMPLETENESS)):
        limit = float(np.quantile(risk, completeness, method="inverted_cdf"))
        kept = risk <= limit
        cuts.append(
            QualityCut(
                quality=quality,
                max_risk=limit,
                completeness=float(kept.mean()),
                faint_completeness=float(kept[faint].mean()),
                sigma_nmad=metrics.sigma_nmad(z_phot[kept], sample.target[kept]),
                outlier_fraction=metrics.outlier_fraction(z_phot[kept], sample.target[kept]),
                n=int(kept.sum()),
            )
        )
    return tuple(cuts)
