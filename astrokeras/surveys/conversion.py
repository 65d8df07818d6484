"""Native columns of a survey to canonical columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import SurveyError
from ..fields import Field, by_name
from ..flags import Flag
from .calibrate import AB_ZERO_FLUX, Flux, Measurements, dereddened, flagged, from_fluxes, from_magnitudes, with_ratio
from .columns import Native, flux_factor, numbers, unit_factor
from .language import BandFacts, Label
from .request import LABELS, Channel, Request


def convert(
    request: Request, columns: Mapping[str, Native], n: int, wanted: Iterable[str], first: int = 0
) -> dict[str, Any]:
    """Canonical columns.

    Parameters
    ----------
    request : Request
        What is asked for.
    columns : mapping of str to Native
        The columns of `Request.natives`; absent optional ones give missing values.
    n : int
        Number of rows.
    wanted : iterable of str
        Canonical columns to make.
    first : int
        Number of the first row in the whole catalog: the identifiers of a survey without any.

    Returns
    -------
    dict of str to array, shape (n,)
        In the units of the Fields.

    Raises
    ------
    SurveyError
        If a column does not fit the map.
    """
    wanted = list(wanted)
    flags = np.zeros(n, np.int32)
    out: dict[str, Any] = {}
    if "object_id" in wanted:
        names = request.survey.object_id
        out["object_id"] = identifiers(columns, names, "object_id") if names else np.arange(first, first + n)
    if request.survey.position is not None and {"ra", "dec", "flags"} & set(wanted):
        out["ra"], out["dec"] = positions(request, columns, n)
        # A catalog without positions has no bad ones.
        bad = np.isnan(out["ra"]) & _has_positions(request, columns)
        flags |= np.where(bad, np.int32(Flag.BAD_POSITION), np.int32(0))
    for channel in request.wanted(wanted):
        flux = fluxes(request, channel, columns)
        out[channel.flux_name] = flux.flux
        out[channel.error_name] = flux.error
        if channel.measure == "":
            flags |= np.where(np.isnan(flux.flux), np.int32(Flag.MISSING_BAND), np.int32(0))
            flags |= np.where(flux.bad, np.int32(Flag.BAD_PHOTOMETRY), np.int32(0))
    for name in LABELS.keys() & set(wanted):
        out[name] = label(request, name, columns, n)
    if "group" in wanted:
        out["group"] = identifiers(columns, request.survey.group or (), "group", optional=True)
    for native, kept in request.keep:
        if kept.name in wanted:
            out[kept.name] = copied(columns[native], native, kept)
    out["flags"] = flags
    return {name: out[name] for name in wanted if name in out}


def fluxes(request: Request, channel: Channel, columns: Mapping[str, Native]) -> Flux:
    """Flux and error of a channel in nJy."""
    survey, statement = request.survey, channel.photometry
    facts = survey.bands[channel.band]
    sentinels = survey.missing + statement.missing
    value = _value(channel, columns, sentinels)
    uncertainty = None if channel.error is None else Measurements.of(numbers(columns, channel.error), sentinels)
    error = None if statement.snr is not None else uncertainty
    if statement.constant_error is not None:
        error = Measurements.of(np.full(len(value.data), statement.constant_error), ())
    offset = facts.ab_offset if request.ab_offsets else 0.0
    if statement.flux is None:
        for _, name in channel.terms:
            _no_flux_unit(columns[name], name)
        shift = offset + ((facts.vega_to_ab or 0.0) if statement.system == "Vega" else 0.0)
        result = from_magnitudes(value, error, shift, facts.softening if statement.system == "asinh" else None)
    else:
        scales = (s * 10.0 ** (-0.4 * offset) for s in _scales(request, channel, columns, facts))
        result = from_fluxes(value, error, *scales, ivar=statement.ivar is not None)
    if statement.snr is not None:
        result = with_ratio(result, uncertainty)
    if channel.flag in columns:
        result = flagged(result, numbers(columns, channel.flag))
    if request.deredden:
        result = dereddened(result, transmission(request, channel.band, columns))
    return result


def _value(channel: Channel, columns: Mapping[str, Native], sentinels: tuple[float, ...]) -> Measurements:
    """Values of a channel; a sum is missing where one of its terms is."""
    if channel.photometry.mag_sums is None:
        return Measurements.of(numbers(columns, channel.values[0]), sentinels)
    found = [(sign, Measurements.of(numbers(columns, name), sentinels)) for sign, name in channel.terms]
    data = np.sum([sign * term.data for sign, term in found], axis=0)
    return Measurements(data, np.any([term.missing for _, term in found], axis=0))


def _scales(request: Request, channel: Channel, columns: Mapping[str, Native], facts: BandFacts) -> tuple[float, float]:
    """nJy of a flux and of an error of 1; the error has the unit of the flux unless the file states its own."""
    statement, name = channel.photometry, channel.values[0]
    zero_point = facts.zero_point if statement.zero_point is None else statement.zero_point
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


def transmission(request: Request, band: str, columns: Mapping[str, Native]) -> np.ndarray:
    """Linear transmission of the Galaxy towards every object."""
    stated = request.survey.extinction
    reference = request.extinction(band)
    found = Measurements.of(numbers(columns, reference), request.survey.missing)
    data = np.where(found.missing, np.nan, found.data)
    if stated.transmission is not None:
        return data
    return 10.0 ** (-0.4 * data * (request.survey.bands[band].extinction if stated.ebv is not None else 1.0))


def positions(request: Request, columns: Mapping[str, Native], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination in deg (ICRS); both NaN where either is missing or out of range."""
    stated = request.survey.position
    if not _has_positions(request, columns):
        return np.full(n, np.nan), np.full(n, np.nan)
    ra, dec = (_angle(request, columns, ref, ref is stated.ra) for ref in (stated.ra, stated.dec))
    with np.errstate(invalid="ignore"):
        good = (ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90)
    ra, dec = np.where(good, ra, np.nan), np.where(good, dec, np.nan)
    if stated.frame == "icrs":
        return ra % 360.0, dec
    from astropy.coordinates import SkyCoord

    frame = {"fk5": "fk5", "fk4": "fk4", "galactic": "galactic"}[stated.frame]
    sky = SkyCoord(ra, dec, unit="deg", frame=frame).icrs
    return sky.ra.deg, sky.dec.deg


def _has_positions(request: Request, columns: Mapping[str, Native]) -> bool:
    stated = request.survey.position
    return stated.ra in columns and stated.dec in columns


def _angle(request: Request, columns: Mapping[str, Native], reference: str, longitude: bool) -> np.ndarray:
    unit = request.survey.position.unit
    hours = unit == "hourangle" and longitude
    native = columns[reference]
    if native.data.dtype.kind in "SUOT" and unit == "hourangle":
        return _sexagesimal(native.data, "hourangle" if hours else "deg", reference)
    found = Measurements.of(numbers(columns, reference), request.survey.missing)
    data = np.where(found.missing, np.nan, found.data)
    stated = {"rad": "rad", "deg": "deg"}.get(unit, "hourangle" if hours else "deg")
    return data * unit_factor(native, reference, stated, "deg")


def _sexagesimal(data: np.ndarray, unit: str, reference: str) -> np.ndarray:
    from astropy.coordinates import Angle

    text = np.ma.filled(data, "").astype(str)
    out = np.full(len(text), np.nan)
    given = np.char.strip(text) != ""
    try:
        out[given] = Angle(text[given], unit=unit).deg
    except ValueError as error:
        raise SurveyError(f"column {reference!r} holds no angles: {error}") from None
    return out


def label(request: Request, name: str, columns: Mapping[str, Native], n: int) -> np.ndarray:
    """Values of ``z_spec``, ``class_true`` or ``extendedness``."""
    stated = request.label(name)
    text = by_name(LABELS.values())[name].kind == "str"
    if stated is None or stated.column not in columns:
        return np.full(n, "", "U1") if text else np.full(n, np.nan)
    data = columns[stated.column].data
    if stated.codes is not None:
        return _decoded(data, stated, text)
    if text:
        return _texts(data)
    found = Measurements.of(numbers(columns, stated.column), request.survey.missing + stated.missing)
    values = np.where(found.missing | np.isinf(found.data), np.nan, found.data)
    return values if name == "z_spec" else values.astype(np.float32)


def _decoded(data: np.ndarray, stated: Label, text: bool) -> np.ndarray:
    """Meaning of codes; a value without one is missing."""
    codes, places = np.unique(_texts(data), return_inverse=True)
    meanings = [stated.codes.get(code, "" if text else np.nan) for code in codes.tolist()]
    return (
        np.array(meanings, str if text else np.float32)[places] if len(codes) else np.empty(0, "U1" if text else "f4")
    )


def _texts(data: np.ndarray) -> np.ndarray:
    """Text of every value: integers without a point, nothing where masked."""
    plain = np.ma.getdata(data)
    if plain.dtype.kind == "f" and np.all(plain[np.isfinite(plain)] % 1 == 0):
        whole = np.where(np.isfinite(plain), plain, 0).astype(np.int64).astype(str)
        plain = np.where(np.isfinite(plain), whole, "")
    if plain.dtype.kind == "b":
        plain = plain.astype(np.int8)
    text = np.char.strip(plain.astype(str))
    return np.where(np.ma.getmaskarray(data), "", text) if np.ma.isMaskedArray(data) else text


def identifiers(columns: Mapping[str, Native], names: Iterable[str], what: str, optional: bool = False) -> np.ndarray:
    """One identifier per object: int64, or text if the column is text or several are joined with ``-``.

    Raises
    ------
    SurveyError
        If a value is missing, or a column holds fractions.
    """
    parts = [_identifier(columns[name].data, name, what, optional) for name in names]
    if len(parts) == 1:
        return parts[0]
    joined = _texts(parts[0])
    for part in parts[1:]:
        joined = np.char.add(np.char.add(joined, "-"), _texts(part))
    return joined


def _identifier(data: np.ndarray, name: str, what: str, optional: bool) -> np.ndarray:
    if data.ndim != 1:
        raise SurveyError(f"column {name!r} has several values per object; {what} needs one")
    masked = np.ma.getmaskarray(data)
    plain = np.ma.getdata(data)
    if plain.dtype.kind == "f":
        masked = masked | ~np.isfinite(plain)
        plain = np.where(masked, 0.0, plain)
    if np.any(masked) and not optional:
        raise SurveyError(f"column {name!r} is missing in row {int(np.argmax(masked))}; {what} must be known")
    if plain.dtype.kind == "f":
        if np.any(plain % 1) or np.any(np.abs(plain) >= 2**53):
            raise SurveyError(f"column {name!r} holds fractions; {what} needs integers or text")
        plain = plain.astype(np.int64)
    elif plain.dtype.kind == "u" and plain.dtype.itemsize == 8 and np.any(plain >= 2**63):
        plain = plain.astype(str)
    elif plain.dtype.kind in "iub":
        plain = plain.astype(np.int64)
    else:
        return np.char.strip(plain.astype(str))
    return np.ma.MaskedArray(plain, masked) if np.any(masked) else plain


def copied(native: Native, reference: str, kept: Field) -> np.ndarray:
    """A column that is only carried along, in the type and unit that were declared for it."""
    data = native.data
    if kept.kind in ("str", "id"):
        return _texts(data) if kept.kind == "str" else _identifier(data, reference, kept.name, True)
    if data.dtype.kind in "SUOT":
        data = numbers({reference: native}, reference)
    if kept.kind in ("f4", "f8"):
        values = np.ma.filled(data.astype(kept.kind), np.nan)
        return (
            values * np.asarray(unit_factor(native, reference, None, kept.unit, kept.unit), values.dtype)
            if kept.unit
            else values
        )
    if data.dtype.kind == "f" and kept.kind != "bool":
        whole = np.isfinite(data)
        if np.any(np.ma.getdata(data)[np.ma.filled(whole, False)] % 1):
            raise SurveyError(f"column {reference!r} holds fractions; keep it as f8, not {kept.kind}")
        data = np.ma.MaskedArray(np.where(whole, data, 0), ~whole | np.ma.getmaskarray(data))
    return data.astype(np.bool_ if kept.kind == "bool" else kept.kind)
