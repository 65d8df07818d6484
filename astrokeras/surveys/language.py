"""The language of survey maps: what ``catalogs/*.yaml`` and an inline ``survey:`` may say.

A column template holds ``{band}``, ``{BAND}`` (upper case), ``{name}`` (the band's own ``name``) and ``{index}``
(its place in a vector column): ``modelMag_{band}``, ``MAG_{BAND}``, ``MODELFLUX[{index}]``. Names of columns match
whatever their case, unless two differ in nothing else.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ..fields import Band, Dereddened
from .limits import Limits
from .statement import Statement
from .vocabulary import FluxUnit, Sentinels, Sum, System, Template, listed


class BandFacts(Statement):
    """A band.

    Parameters
    ----------
    filter : str, optional
        SVO filter id, such as ``SLOAN/SDSS.g``.
    name : str, optional
        How columns spell it, if not like the band: ``{name}`` of a template.
    index : int, optional
        Its place in vector columns, from 0: ``{index}`` of a template.
    softening : float, optional
        ``b`` of asinh magnitudes, in units of the zero flux.
    zero_point : float, optional
        AB magnitude of a flux of 1, for fluxes in counts.
    vega_to_ab : float, optional
        AB magnitude of a source of Vega magnitude 0.
    ab_offset : float
        To be added to catalogued magnitudes to make them AB; applied on request only (``ab_offsets: true``).
    extinction : float, optional
        ``A / E(B-V)``.
    """

    filter: str | None = None
    name: str | None = None
    index: int | None = Field(default=None, ge=0)
    softening: float | None = Field(default=None, gt=0)
    zero_point: float | None = None
    vega_to_ab: float | None = None
    ab_offset: float = 0.0
    extinction: float | None = Field(default=None, ge=0)


class Photometry(Statement):
    """One kind of photometry.

    Parameters
    ----------
    flux, mag : str, optional
        Template of the columns; one of the two, or ``mag_sums``.
    mag_sums : mapping, optional
        Instead: the columns that add up to the magnitude of each band, those to be taken away with a ``-`` in front;
        for catalogs of one magnitude and colors: ``{r: r, g: [r, gmr], i: [r, -rmi]}``. They have no errors, or a
        ``constant_error``.
    error, ivar, snr : str, optional
        Template of the columns of standard errors (same unit), inverse variances, or ratios of flux to error; none: no
        errors are known.
    constant_error : float, optional
        Instead: one error in mag for all magnitudes, of a catalog that has no errors.
    flag : str, optional
        Template of boolean or integer columns; where not 0, the measurement is bad. Used where a file has it.
    limits : Limits, optional
        Which rows are upper limits.
    unit : str, optional
        Of fluxes. Without it the file must state the unit.
    zero_point : float, optional
        Instead of a unit: AB magnitude of a flux of 1, for all bands.
    system : str
        Of magnitudes: AB, asinh or Vega.
    missing : tuple of float
        Further values that mean "no measurement", in the value and error columns.
    dereddened : str
        Whether the columns are corrected for Galactic extinction: yes, no, unverified.
    bands : tuple of str, optional
        Bands that have it; all by default.
    """

    flux: Template | None = None
    mag: Template | None = None
    mag_sums: dict[Band, Sum] | None = None
    error: Template | None = None
    ivar: Template | None = None
    snr: Template | None = None
    constant_error: Annotated[float, Field(gt=0)] | None = None
    flag: Template | None = None
    limits: Limits | None = None
    unit: FluxUnit | None = None
    zero_point: float | None = None
    system: System | None = None
    missing: Annotated[Sentinels, BeforeValidator(listed, json_schema_input_type=float | Sentinels)] = ()
    dereddened: Dereddened = "no"
    bands: tuple[Band, ...] | None = None

    @property
    def value(self) -> str:
        """Template of the measured values; empty for sums."""
        return self.flux or self.mag or ""

    @property
    def own_bands(self) -> tuple[Band, ...] | None:
        """Bands that have it, if not all of the map."""
        return self.bands if self.mag_sums is None else tuple(self.mag_sums)

    @property
    def uncertainty(self) -> str | None:
        """Template of the errors, in whatever form."""
        return self.error or self.ivar or self.snr

    @model_validator(mode="after")
    def _consistent(self) -> Photometry:
        if sum(x is not None for x in (self.flux, self.mag, self.mag_sums)) != 1:
            raise ValueError("needs either flux or mag, or mag_sums")
        if self.mag_sums is not None:
            self._plain_sums()
        if self.flux is None and self.system is None:
            raise ValueError("a magnitude needs its system: AB, Vega or asinh")
        if self.flux is None and (self.unit is not None or self.zero_point is not None):
            raise ValueError("unit and zero_point belong to flux columns; a magnitude has a system")
        if self.flux is not None and self.system is not None:
            raise ValueError("system belongs to magnitudes; a flux has a unit or a zero_point")
        if sum(x is not None for x in (self.error, self.ivar, self.snr, self.constant_error)) > 1:
            raise ValueError("needs one of error, ivar and snr, or a constant_error")
        if self.flux is not None and self.constant_error is not None:
            raise ValueError("constant_error belongs to magnitudes; a flux has error, ivar or snr")
        if self.flux is None and self.ivar is not None:
            raise ValueError("ivar belongs to fluxes; a magnitude has an error or snr")
        if self.unit is not None and self.zero_point is not None:
            raise ValueError("needs unit or zero_point, not both")
        if self.limits is not None:
            self._limits_fit(self.limits)
        return self

    def _limits_fit(self, limits: Limits) -> None:
        if self.mag_sums is not None:
            raise ValueError("limits: a sum of columns has none")
        if self.uncertainty is None and self.constant_error is None:
            raise ValueError("limits become errors of missing fluxes, and the photometry states no errors")
        if limits.no_error and self.uncertainty is None:
            raise ValueError("limits: no_error needs a column of errors")
        if clash := set(limits.code) & set(self.missing):
            raise ValueError(f"limits: {clash.pop():g} cannot mean both a limit and `missing`")

    def _plain_sums(self) -> None:
        if not self.mag_sums:
            raise ValueError("mag_sums needs at least one band")
        if self.bands is not None:
            raise ValueError("mag_sums names its bands itself; omit bands")
        if self.uncertainty is not None:
            raise ValueError("the error of a sum is not known from a column; mag_sums takes a constant_error or none")
        if self.system == "asinh":
            raise ValueError("asinh magnitudes do not add up; mag_sums needs AB or Vega")


class Position(Statement):
    """Where the objects are.

    Parameters
    ----------
    ra, dec : str
        Columns of the longitude and latitude.
    unit : str
        ``deg``, ``rad``, or ``hourangle`` (then ``ra`` is in hours and ``dec`` in degrees; sexagesimal text too).
    frame : str
        ``icrs``, ``fk5`` (J2000), ``fk4`` (B1950) or ``galactic``; converted to ICRS.
    epoch : float
        Julian year of the positions; for information.
    optional : bool
        A file without the columns is taken; positions are missing then.
    """

    ra: str = "ra"
    dec: str = "dec"
    unit: Literal["deg", "rad", "hourangle"] = "deg"
    frame: Literal["icrs", "fk5", "fk4", "galactic"] = "icrs"
    epoch: float | None = None
    optional: bool = False


class Label(Statement):
    """A column with a meaning of its own, not of a band.

    Parameters
    ----------
    column : str
        Name.
    codes : mapping, optional
        Meaning of its values; others are missing.
    missing : tuple of float
        Further values that mean "none".
    optional : bool
        A file without the column is taken; the values are missing then.
    """

    column: str
    codes: dict[str, str | float] | None = None
    missing: Annotated[Sentinels, BeforeValidator(listed, json_schema_input_type=float | Sentinels)] = ()
    optional: bool = False


def _label(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


def _bands(value: Any) -> Any:
    """Accept ``[u, g]`` and ``{u: SLOAN/SDSS.u}`` for the full form."""
    if isinstance(value, (list, tuple)):
        return {band: {} for band in value}
    if isinstance(value, dict):
        return {b: {"filter": f} if isinstance(f, str) else ({} if f is None else f) for b, f in value.items()}
    return value


Labelled = Annotated[Label, BeforeValidator(_label, json_schema_input_type=str | Label)]
Bands = Annotated[
    dict[Band, BandFacts],
    BeforeValidator(_bands, json_schema_input_type=tuple[Band, ...] | dict[Band, str | BandFacts]),
]
