"""Calibration of one channel of a survey: what its numbers are, and how they become fluxes in nJy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import SurveyError
from .calibrate import AB_ZERO_FLUX, Flux, Measurements, from_fluxes, from_magnitudes, with_ratio
from .columns import Native, flux_factor, unit_factor
from .language import Photometry
from .limits import Quantity
from .request import Channel, Request


@dataclass(frozen=True)
class Calibration:
    """How the numbers of a channel become fluxes.

    Attributes
    ----------
    photometry : Photometry
        What the map says of them.
    shift : float
        Added to magnitudes to make them AB.
    softening : float or None
        Of asinh magnitudes.
    scale, error_scale : float
        nJy of a flux and of an error of 1.
    offset : float
        Added to AB magnitudes of the survey.
    """

    photometry: Photometry
    shift: float = 0.0
    softening: float | None = None
    scale: float = 1.0
    error_scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def of(cls, request: Request, channel: Channel, columns: Mapping[str, Native]) -> Calibration:
        """Take what map and file say.

        Raises
        ------
        SurveyError
            If they contradict each other, or none states a unit.
        """
        statement, facts = channel.photometry, request.survey.bands[channel.band]
        offset = facts.ab_offset if request.ab_offsets else 0.0
        if statement.flux is None:
            for _, name in channel.terms:
                _no_flux_unit(columns[name], name)
            shift = offset + ((facts.vega_to_ab or 0.0) if statement.system == "Vega" else 0.0)
            return cls(statement, shift, facts.softening if statement.system == "asinh" else None, offset=offset)
        scale, error_scale = (s * 10.0 ** (-0.4 * offset) for s in _scales(request, channel, columns))
        return cls(statement, scale=scale, error_scale=error_scale, offset=offset)

    def flux(self, value: Measurements, uncertainty: Measurements | None) -> Flux:
        """Fluxes of values and errors, in whatever form the survey states both."""
        statement = self.photometry
        error = None if statement.snr is not None else uncertainty
        if statement.constant_error is not None:
            error = Measurements.of(np.full(len(value.data), statement.constant_error), ())
        if statement.flux is None:
            result = from_magnitudes(value, error, self.shift, self.softening)
        else:
            result = from_fluxes(value, error, self.scale, self.error_scale, ivar=statement.ivar is not None)
        return result if statement.snr is None else with_ratio(result, uncertainty)

    def depth(self, limit: Measurements, quantity: Quantity) -> np.ndarray:
        """Flux in nJy of limits; NaN where there is none."""
        if quantity == "mag" and self.photometry.flux is None:
            return from_magnitudes(limit, None, self.shift, self.softening).flux
        if quantity == "mag":
            return from_magnitudes(limit, None, self.offset).flux
        if quantity == "flux":
            return from_fluxes(limit, None, self.scale, self.scale).flux
        with np.errstate(divide="ignore", invalid="ignore"):
            sigma = Measurements(1.0 / np.sqrt(limit.data), limit.missing | ~(limit.data > 0))
        return from_fluxes(sigma, None, self.scale, self.scale).flux


def _scales(request: Request, channel: Channel, columns: Mapping[str, Native]) -> tuple[float, float]:
    """nJy of a flux and of an error of 1; the error has the unit of the flux unless the file states its own."""
    statement, name = channel.photometry, channel.values[0]
    stated = request.survey.bands[channel.band].zero_point
    zero_point = stated if statement.zero_point is None else statement.zero_point
    if statement.unit is None and zero_point is not None:
        return (AB_ZERO_FLUX * 10.0 ** (-0.4 * zero_point),) * 2
    scale = unit_factor(columns[name], name, statement.unit, "nJy", request.unit)
    if statement.error is None or flux_factor(columns[channel.error].unit) is None:
        return scale, scale
    return scale, unit_factor(columns[channel.error], channel.error, statement.unit, "nJy")


def _no_flux_unit(native: Native, reference: str) -> None:
    if flux_factor(native.unit) is not None:
        raise SurveyError(
            f"column {reference!r} is a flux in {native.unit!r} by the file, and a magnitude by the survey map"
        )
