"""Magnitudes and colours as columns, for people and for models of other tools; our networks compute their own."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator
from pydantic import Field as Parameter

from ..fields import Band, Field, flux_field
from ..stage import Stage
from ..units import MAG_ERROR_SCALE, njy_to_ab

Measure = Literal["", "psf", "total"]


def flux_fields(bands: tuple[str, ...], measure: str) -> tuple[Field, ...]:
    """Fields of fluxes and their errors, of one kind of photometry."""
    kinds = (measure, f"err_{measure}" if measure else "err")
    return tuple(flux_field(band, kind) for band in bands for kind in kinds)


def read_fluxes(chunk, band: str, measure: str) -> tuple[np.ndarray, np.ndarray]:
    """Flux and error of a band, NaN where they are no numbers."""
    middle = f"{measure}_" if measure else ""
    both = (np.asarray(chunk[f"{name}_{middle}{band}"].value, float) for name in ("flux", "flux_err"))
    return tuple(np.where(np.isfinite(values), values, np.nan) for values in both)


def _distinct(bands: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(bands)) < len(bands):
        raise ValueError(f"bands must be distinct, got {list(bands)}")
    return bands


Bands = Annotated[tuple[Band, ...], AfterValidator(_distinct)]


def magnitude_error(flux: np.ndarray, flux_err: np.ndarray) -> np.ndarray:
    """Error of a magnitude, ``2.5 / ln(10) * sigma_f / f``; NaN where the flux is not positive."""
    return flux_err / np.where(flux > 0, flux, np.nan) / MAG_ERROR_SCALE


class Magnitudes(Stage):
    """AB magnitudes of fluxes, ``mag_{band}`` and ``mag_err_{band}``.

    A flux that is not positive has no magnitude: NaN. Use fluxes where faint objects matter.

    Parameters
    ----------
    bands : tuple of str
        Bands with columns ``flux_{band}`` and ``flux_err_{band}``.
    measure : str
        ``psf`` or ``total`` takes ``flux_psf_{band}`` and so on; empty for the colour photometry.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> import astropy.units as u
    >>> table = QTable({"flux_g": [3631.0, -1.0] * u.Jy, "flux_err_g": [36.31, 1.0] * u.Jy})
    >>> print(Magnitudes(bands=["g"])(table)["mag_g"].round(3))
    [-0. nan] mag
    """

    name: ClassVar[str] = "magnitudes"
    bands: Bands = Parameter(min_length=1)
    measure: Measure = ""

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        return flux_fields(self.bands, self.measure)

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        middle = f"{self.measure}_" if self.measure else ""
        out = []
        for band in self.bands:
            out.append(
                Field(
                    name=f"mag_{middle}{band}", unit="mag", description=f"AB magnitude in band {band}", ucd="phot.mag"
                )
            )
            out.append(
                Field(
                    name=f"mag_err_{middle}{band}",
                    unit="mag",
                    description=f"Error of the AB magnitude in band {band}",
                    ucd="stat.error;phot.mag",
                )
            )
        return tuple(out)

    def run(self, chunk) -> dict[str, np.ndarray]:
        """See `Stage.run`."""
        middle = f"{self.measure}_" if self.measure else ""
        out = {}
        for band in self.bands:
            flux, error = read_fluxes(chunk, band, self.measure)
            out[f"mag_{middle}{band}"] = njy_to_ab(flux).astype(np.float32)
            out[f"mag_err_{middle}{band}"] = magnitude_error(flux, error)
        return out


class Colors(Stage):
    """Magnitude differences of neighbouring bands, ``color_{a}_{b}`` = m_a - m_b, with errors.

    Parameters
    ----------
    bands : tuple of str
        At least two, in order of wavelength.
    measure : str
        ``psf`` or ``total``; empty for the colour photometry.

    Notes
    -----
    AB colours, -2.5 log10(f_a / f_b); NaN where a flux is not positive. Errors are those of independent fluxes.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> import astropy.units as u
    >>> table = QTable({"flux_g": [100.0] * u.nJy, "flux_err_g": [1.0] * u.nJy,
    ...                 "flux_r": [1000.0] * u.nJy, "flux_err_r": [1.0] * u.nJy})
    >>> print(Colors(bands=["g", "r"])(table)["color_g_r"])
    [2.5] mag
    """

    name: ClassVar[str] = "colors"
    bands: Bands = Parameter(min_length=2)
    measure: Measure = ""

    def _pairs(self) -> list[tuple[str, str]]:
        return list(zip(self.bands, self.bands[1:], strict=False))

    def reads(self) -> tuple[Field, ...]:
        """See `Stage.reads`."""
        return flux_fields(self.bands, self.measure)

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        out = []
        for a, b in self._pairs():
            out.append(Field(name=f"color_{a}_{b}", unit="mag", description=f"AB colour {a} - {b}", ucd="phot.color"))
            out.append(
                Field(
                    name=f"color_err_{a}_{b}",
                    unit="mag",
                    description=f"Error of the colour {a} - {b}",
                    ucd="stat.error;phot.color",
                )
            )
        return tuple(out)

    def run(self, chunk) -> dict[str, np.ndarray]:
        """See `Stage.run`."""
        out = {}
        for a, b in self._pairs():
            (flux_a, error_a), (flux_b, error_b) = (
                read_fluxes(chunk, a, self.measure),
                read_fluxes(chunk, b, self.measure),
            )
            out[f"color_{a}_{b}"] = (njy_to_ab(flux_a) - njy_to_ab(flux_b)).astype(np.float32)
            errors = np.hypot(magnitude_error(flux_a, error_a), magnitude_error(flux_b, error_b))
            out[f"color_err_{a}_{b}"] = np.where(np.isnan(out[f"color_{a}_{b}"]), np.nan, errors)
        return out
