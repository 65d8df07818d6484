"""Numbers of a survey to fluxes in nJy: magnitude systems, units, missing values, extinction. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..units import AB_ZERO_POINT, MAG_ERROR_SCALE

#: Flux of AB magnitude 0 in nJy (Oke & Gunn 1983).
AB_ZERO_FLUX = 3631e9
#: A magnitude beyond is none: the Sun has -27, and no survey reaches 50.
ABSURD_MAGNITUDE = 50.0


@dataclass(frozen=True)
class Measurements:
    """Raw numbers with the places where there are none.

    Attributes
    ----------
    data : array, shape (n,)
        Numbers.
    missing : array of bool, shape (n,)
        Masked, NaN, or one of the survey's sentinels.
    """

    data: np.ndarray
    missing: np.ndarray

    @classmethod
    def of(cls, column: np.ndarray, sentinels: tuple[float, ...]) -> Measurements:
        """Tell missing values apart."""
        data = np.ma.getdata(column)
        missing = np.array(np.ma.getmaskarray(column)) if np.ma.isMaskedArray(column) else np.zeros(len(data), bool)
        for value in sentinels:
            # In the type of the column: -99.9 as float32 is not -99.9 as float64.
            missing |= data == (data.dtype.type(value) if data.dtype.kind == "f" else value)
        data = data.astype(np.float64)
        return cls(data, missing | np.isnan(data))


@dataclass(frozen=True)
class Flux:
    """Fluxes in nJy.

    Attributes
    ----------
    flux : array of float32, shape (n,)
        NaN where there is no usable measurement.
    error : array of float32, shape (n,), or None
        Standard error. Where the flux is NaN: the 1-sigma depth of an upper limit, or NaN if nothing was observed.
    bad : array of bool, shape (n,)
        A value or error that cannot be: infinite, absurd, not positive, or bearing the survey's flag.
    """

    flux: np.ndarray
    error: np.ndarray | None
    bad: np.ndarray

    @property
    def limited(self) -> np.ndarray:
        """Rows that were observed and not detected."""
        none = np.zeros(len(self.flux), bool)
        return none if self.error is None else np.isnan(self.flux) & ~np.isnan(self.error)


def ab_flux(mag: np.ndarray) -> np.ndarray:
    """Flux in nJy of AB magnitudes."""
    # exp is several times faster than a power of 10.
    return np.exp(-MAG_ERROR_SCALE * (mag - AB_ZERO_POINT))


def asinh_flux(mag: np.ndarray, softening: float) -> np.ndarray:
    """Flux in nJy of asinh magnitudes (Lupton, Gunn & Szalay 1999): ``2 b f0 sinh(-m ln(10) / 2.5 - ln b)``."""
    return 2.0 * softening * AB_ZERO_FLUX * np.sinh(-MAG_ERROR_SCALE * mag - np.log(softening))


def pogson_error(flux: np.ndarray, mag_error: np.ndarray) -> np.ndarray:
    """Flux error of logarithmic magnitudes, to first order."""
    return MAG_ERROR_SCALE * mag_error * np.abs(flux)


def asinh_error(flux: np.ndarray, mag_error: np.ndarray, softening: float) -> np.ndarray:
    """Flux error of asinh magnitudes: ``(ln 10 / 2.5) sigma_m sqrt(f^2 + (2 b f0)^2)``."""
    return MAG_ERROR_SCALE * mag_error * np.hypot(flux, 2.0 * softening * AB_ZERO_FLUX)


def from_magnitudes(
    value: Measurements, error: Measurements | None, shift: float = 0.0, softening: float | None = None
) -> Flux:
    """Fluxes of magnitudes.

    Parameters
    ----------
    value, error : Measurements
        Magnitudes and their errors.
    shift : float
        Added to make them AB.
    softening : float, optional
        ``b`` of asinh magnitudes; logarithmic ones without.
    """
    absurd = np.abs(value.data) > ABSURD_MAGNITUDE
    mag = np.where(value.missing | absurd, np.nan, value.data)
    if softening is None:
        flux = ab_flux(mag + shift)
        sigma = None if error is None else pogson_error(flux, error.data)
    else:
        scale = 10.0 ** (-0.4 * shift)
        flux = asinh_flux(mag, softening) * scale
        sigma = None if error is None else asinh_error(flux / scale, error.data, softening) * scale
    return _settle(flux, sigma, value, error, absurd)


def from_fluxes(
    value: Measurements, error: Measurements | None, scale: float, error_scale: float, ivar: bool = False
) -> Flux:
    """Fluxes in nJy of linear fluxes.

    Parameters
    ----------
    value, error : Measurements
        Fluxes and their standard errors, or with ``ivar`` their inverse variances (0 or less: no data).
    scale, error_scale : float
        nJy of a flux, and of an error, of 1; with ``ivar``, of the error whose inverse variance is 1.
    """
    flux = value.data * scale
    if error is None:
        return _settle(flux, None, value, None, np.zeros(len(flux), bool))
    if ivar:
        error = Measurements(error.data, error.missing | (error.data <= 0))
        sigma = error_scale / np.sqrt(np.where(error.missing, np.nan, error.data))
    else:
        sigma = error.data * error_scale
    return _settle(flux, sigma, value, error, np.zeros(len(flux), bool))


def _settle(
    flux: np.ndarray, sigma: np.ndarray | None, value: Measurements, error: Measurements | None, bad: np.ndarray
) -> Flux:
    """Cast, and set what is missing or bad to NaN; a missing error takes its flux along."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        flux = flux.astype(np.float32)
        bad = (bad | np.isinf(flux)) & ~value.missing
        gone = bad | value.missing
        if sigma is None or error is None:
            return Flux(np.where(gone, np.float32(np.nan), flux), None, bad)
        sigma = sigma.astype(np.float32)
        # NaN in the error column beside a value is a defect; a sentinel or a mask is how the survey says "none".
        defect = np.isnan(error.data) | (~error.missing & ~((sigma > 0) & np.isfinite(sigma)))
        bad |= defect & ~gone
        gone |= defect | error.missing
    nan = np.float32(np.nan)
    return Flux(np.where(gone, nan, flux), np.where(gone, nan, sigma), bad)


def with_ratio(result: Flux, ratio: Measurements) -> Flux:
    """Give fluxes the errors of their ratios to the error, which must be positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.abs(result.flux) / ratio.data.astype(np.float32)
    known = ~np.isnan(result.flux) & ~ratio.missing
    good = known & (error > 0) & np.isfinite(error)
    nan = np.float32(np.nan)
    return Flux(np.where(good, result.flux, nan), np.where(good, error, nan), result.bad | (known & ~good))


def flagged(result: Flux, flag: np.ndarray) -> Flux:
    """Take measurements that bear the survey's flag as bad."""
    bad = np.ma.filled(np.ma.asanyarray(flag) != 0, True) & ~np.isnan(result.flux)
    nan = np.float32(np.nan)
    error = None if result.error is None else np.where(bad, nan, result.error)
    return Flux(np.where(bad, nan, result.flux), error, result.bad | bad)


def with_limits(result: Flux, where: np.ndarray, depth: np.ndarray) -> Flux:
    """Give rows that were not detected the 1-sigma depth (nJy) as error, where it is a number above 0."""
    if result.error is None:
        return result
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        depth = np.asarray(depth, np.float32)
        known = where & np.isnan(result.flux) & (depth > 0) & np.isfinite(depth)
    return Flux(result.flux, np.where(known, depth, result.error), result.bad & ~known)


def dereddened(result: Flux, transmission: np.ndarray) -> Flux:
    """Divide flux and error (or limit) by the linear transmission; where that is no number above 0, they are bad."""
    usable = np.isfinite(transmission) & (transmission > 0)
    scale = np.where(usable, transmission, np.nan).astype(np.float32)
    corrected = Flux(result.flux / scale, None if result.error is None else result.error / scale, result.bad)
    lost = ~usable & (~np.isnan(result.flux) | result.limited)
    return Flux(corrected.flux, corrected.error, result.bad | lost)
