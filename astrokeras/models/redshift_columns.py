"""Columns that a photo-z model gives: what each is, and how it follows from the density."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..densities import ODDS_WIDTH, RISK_WIDTH, pdf_mode, pdf_odds, pdf_quantiles, pdf_risk
from ..fields import Field
from .calibration import Calibration, Conformal
from .card import Card, Grid

#: Null of ``z_quality``.
MISSING = -1
_Z = "src.redshift.phot"
#: Columns that are quantiles of the density.
_QUANTILES = {"z_phot": 0.5, "z_lo": 0.16, "z_hi": 0.84}


def redshift_fields(grid: Grid, calibration: Calibration | None = None) -> tuple[Field, ...]:
    """Fields of a density on a grid, and of what is drawn from it; with a calibration, of its intervals and quality."""
    return (
        Field(name="z_phot", description="Photometric redshift: median of the PDF", ucd=_Z),
        Field(name="z_mode", description="Photometric redshift: highest node of the PDF", ucd=_Z),
        Field(
            name="z_best",
            description=f"Photometric redshift of the smallest risk: the mean over the PDF of the loss "
            f"1 - 1 / (1 + (dz / {RISK_WIDTH})^2), dz = (z_best - z) / (1 + z)",
            ucd=f"{_Z};stat.value",
        ),
        Field(name="z_lo", description="16 % quantile of the redshift PDF", ucd=f"{_Z};stat.min"),
        Field(name="z_hi", description="84 % quantile of the redshift PDF", ucd=f"{_Z};stat.max"),
        Field(
            name="z_risk",
            description="Risk of z_best, 0 to 1: about the probability that it is an outlier",
            ucd=f"stat.fit.goodness;{_Z}",
        ),
        Field(
            name="z_odds",
            description=f"ODDS: probability within {ODDS_WIDTH} (1 + z_phot) of z_phot",
            ucd=f"stat.confidenceLevel;{_Z}",
        ),
        *(() if calibration is None else _calibrated_fields(calibration)),
        Field(
            name="z_pdf",
            shape=(grid.n,),
            description="Redshift probability density on the uniform grid from z_min to z_max",
            ucd=f"stat.probability;{_Z}",
            meta={"z_min": grid.z_min, "z_max": grid.z_max},
        ),
    )


def _calibrated_fields(calibration: Calibration) -> tuple[Field, ...]:
    fields = []
    for percent, kind in ((68, "stat.interval"), (95, "stat.percentile")):
        said = f"of the conformal interval, which holds the redshift with a probability of {percent} %"
        fields += [
            Field(name=f"z_lo{percent}", description=f"Lower end {said}", ucd=f"{_Z};stat.min;{kind}"),
            Field(name=f"z_hi{percent}", description=f"Upper end {said}", ucd=f"{_Z};stat.max;{kind}"),
        ]
    cuts = "; ".join(f"{c.quality}: z_risk <= {c.max_risk:.4g}" for c in calibration.quality if c.quality)
    text = f"Quality of the redshift, 0 (worst) to 4 (best){'; at least ' if cuts else ''}{cuts}"
    return (*fields, Field(name="z_quality", kind="i2", null=MISSING, description=text, ucd=f"meta.code.qual;{_Z}"))


def density_columns(pdf: np.ndarray, grid: np.ndarray, wanted: set[str]) -> dict[str, np.ndarray]:
    """Columns that follow from densities alone, those ``wanted`` and what they are made of.

    Parameters
    ----------
    pdf : ndarray
        Densities at the nodes, ``(rows, n_grid)``.
    grid : ndarray
        Nodes, uniform.
    wanted : set of str
        Names out of `redshift_fields`.
    """
    found: dict[str, np.ndarray] = {}
    if "z_pdf" in wanted:
        found["z_pdf"] = pdf
    if "z_mode" in wanted:
        found["z_mode"] = pdf_mode(pdf, grid)
    if wanted & {*_QUANTILES, "z_odds"}:
        found |= zip(_QUANTILES, pdf_quantiles(pdf, grid, tuple(_QUANTILES.values())), strict=True)
    if "z_odds" in wanted:
        found["z_odds"] = pdf_odds(pdf, grid, found["z_phot"])
    if wanted & {"z_best", "z_risk", "z_quality"}:
        found["z_best"], found["z_risk"] = pdf_risk(pdf, grid)
    return found


def redshift_columns(outputs: Mapping[str, np.ndarray], card: Card, names: list[str]) -> dict[str, np.ndarray]:
    """Columns among ``names`` from the outputs of the graph; nothing is computed that is not asked for."""
    wanted = set(names)
    found = density_columns(outputs["z_pdf"], card.grid.nodes(), wanted)
    if card.calibration is not None:
        found |= _calibrated_columns(outputs, card, wanted, found.get("z_risk"))
    return {k: v if v.dtype.kind == "i" else np.asarray(v, np.float32) for k, v in found.items() if k in wanted}


def _calibrated_columns(
    outputs: Mapping[str, np.ndarray], card: Card, wanted: set[str], risk: np.ndarray | None
) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    levels = {}
    for interval in card.calibration.conformal:
        percent = round(100 * interval.coverage)
        if wanted & {f"z_lo{percent}", f"z_hi{percent}"}:
            half = central(interval, outputs["magnitude"]) / 2
            levels |= {f"z_lo{percent}": 0.5 - half, f"z_hi{percent}": 0.5 + half}
    if levels:
        found |= zip(levels, pdf_quantiles(outputs["z_pdf"], card.grid.nodes(), list(levels.values())), strict=True)
    if risk is not None and "z_quality" in wanted:
        limits = np.array([cut.max_risk for cut in card.calibration.quality if cut.quality])
        passed = (risk[:, None] <= limits.astype(np.float64)).sum(axis=1)
        found["z_quality"] = np.where(np.isfinite(risk), passed, MISSING).astype(np.int16)
    return found


def central(interval: Conformal, magnitude: np.ndarray) -> np.ndarray:
    """Probability that the density gives the conformal interval of each object, ``(rows,)``."""
    return np.interp(np.asarray(magnitude, np.float64), interval.magnitudes, interval.central)
