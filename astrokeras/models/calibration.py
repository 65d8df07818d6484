"""What a card says about the calibration of redshifts: conformal intervals, and cuts in quality with their cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, model_validator

#: Coverages of the conformal intervals.
COVERAGES = (0.68, 0.95)
_CONFIG = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Conformal(BaseModel):
    """Split-conformal intervals of one coverage.

    The interval of an object runs from the ``(1 - s) / 2`` to the ``(1 + s) / 2`` quantile of its density. s is chosen
    such that the interval would have held ``coverage`` of the calibration rows of like magnitude (Vovk, Gammerman &
    Shafer 2005; with the quantiles of a density, Chernozhukov, Wuethrich & Zhu 2021): with exchangeable objects the
    coverage holds whatever the densities are worth. The s of each bin of magnitude is drawn towards that of all rows,
    as much as its noise demands, and interpolated between the bins.

    Parameters
    ----------
    coverage : float
        Fraction of true redshifts that the interval should hold.
    magnitudes : tuple of float
        Median reference magnitude of each bin, rising.
    central : tuple of float
        s of each bin: the probability that the density itself gives the interval.
    """

    model_config = _CONFIG

    coverage: float
    magnitudes: tuple[float, ...]
    central: tuple[float, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Conformal:
        if self.coverage not in COVERAGES:
            raise ValueError(f"coverage must be one of {COVERAGES}, got {self.coverage}")
        if not self.central or len(self.central) != len(self.magnitudes):
            raise ValueError("needs one number in `central` per magnitude, and one at least")
        if not all(0 <= s <= 1 for s in self.central):
            raise ValueError(f"central must lie between 0 and 1, got {list(self.central)}")
        if list(self.magnitudes) != sorted(self.magnitudes):
            raise ValueError(f"magnitudes must rise, got {list(self.magnitudes)}")
        return self


class QualityCut(BaseModel):
    """A cut in ``z_quality``, and what it does to the calibration rows.

    Parameters
    ----------
    quality : int
        Objects of this ``z_quality`` or better are kept.
    max_risk : float
        They are those with a ``z_risk`` up to this.
    completeness : float
        Fraction of the rows kept.
    faint_completeness : float
        The same in the faintest fifth of the rows.
    sigma_nmad, outlier_fraction : float
        Of ``z_phot`` of the rows kept.
    n : int
        Rows kept.
    """

    model_config = _CONFIG

    quality: int
    max_risk: float
    completeness: float
    faint_completeness: float
    sigma_nmad: float
    outlier_fraction: float
    n: int


class Calibration(BaseModel):
    """How the densities were calibrated, on rows that their model had not seen.

    Parameters
    ----------
    band : str
        Band of the reference magnitude.
    rows, folds : int
        Calibration rows: training rows, each predicted by a network that was trained without its fold; with 0 folds,
        rows set aside, predicted by the model itself.
    patches : int
        Patches of sky, told apart by their flux errors, of which none was cut by the folds; 0 if there are none.
    pit_ks, pit_ks_before : float
        Kolmogorov-Smirnov distance of their PIT from uniform, with and without the recalibration; each row with a map
        fitted to the other rows.
    conformal : tuple of Conformal
        One for each of `COVERAGES`.
    quality : tuple of QualityCut
        From the loosest cut to the tightest.
    """

    model_config = _CONFIG

    band: str = ""
    rows: int = 0
    folds: int = 0
    patches: int = 0
    pit_ks: float | None = None
    pit_ks_before: float | None = None
    conformal: tuple[Conformal, ...] = ()
    quality: tuple[QualityCut, ...] = ()
