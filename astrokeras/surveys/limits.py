"""The language of upper limits: which rows of a survey say "observed, not detected", and how deep was looked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ..fields import Band
from .skymap import SkyMap
from .statement import Statement
from .vocabulary import Sentinels, Template, listed

Quantity = Literal["mag", "flux", "ivar"]


class Depth(Statement):
    """How deep a survey looked; one of ``column``, ``bands`` and ``map``, or none: the value of the row is the limit.

    Short form of constants: ``{u: 27.8, g: 29.0, nsigma: 1}``.

    Parameters
    ----------
    nsigma : float
        The limit is this many standard errors of a flux.
    column : str, optional
        Template of the columns of limits.
    bands : mapping, optional
        One limit for each band.
    map : SkyMap, optional
        Limits on the sky.
    quantity : str, optional
        What the numbers are: ``mag``, ``flux`` (in the unit of the fluxes) or ``ivar``. By default those of a column
        are what the photometry is, and others magnitudes: in the system of the photometry, or AB beside fluxes.
    optional : bool
        A file without the columns is taken; undetected objects are missing then.
    """

    nsigma: float = Field(gt=0)
    column: Template | None = None
    bands: dict[Band, float] | None = None
    map: SkyMap | None = None
    quantity: Quantity | None = None
    optional: bool = False

    @property
    def own(self) -> bool:
        """Whether the value of a row is its limit."""
        return self.column is None and self.bands is None and self.map is None

    @model_validator(mode="after")
    def _one_origin(self) -> Depth:
        if sum(x is not None for x in (self.column, self.bands, self.map)) > 1:
            raise ValueError("needs one of column, bands and map")
        if self.own and self.quantity is not None:
            raise ValueError("quantity belongs to a column, bands or a map, not to the row's own value")
        return self


def short_depth(value: Any) -> Any:
    """Constants of bands beside ``nsigma`` for the full form."""
    if not isinstance(value, dict):
        return value
    constants = {k: v for k, v in value.items() if k not in Depth.model_fields and isinstance(v, (int, float))}
    if not constants or "bands" in value:
        return value
    return {k: v for k, v in value.items() if k not in constants} | {"bands": constants}


Depths = Annotated[Depth, BeforeValidator(short_depth)]


class Limits(Statement):
    """Which rows were observed and not detected. Their flux is missing, and their error is the 1-sigma depth.

    Rows that are not observed have neither. Where the depth is not known, a row counts as not observed.

    Parameters
    ----------
    code : tuple of float
        Values of the flux or magnitude that mean "not detected", such as 99.
    flag : str, optional
        Template of columns that say so: anything but 0, or one of ``flag_values``.
    flag_values : tuple
        What the flag says of a limit.
    no_error : bool
        A value without an error is a limit.
    no_value : bool
        A missing value where the depth is known is a limit.
    depth : Depth, optional
        How deep it was looked; a source may state it instead (``depth:``).
    """

    code: Annotated[Sentinels, BeforeValidator(listed, json_schema_input_type=float | Sentinels)] = ()
    flag: Template | None = None
    flag_values: Annotated[
        tuple[str | int, ...], BeforeValidator(listed, json_schema_input_type=str | int | tuple[str | int, ...])
    ] = ()
    no_error: bool = False
    no_value: bool = False
    depth: Depths | None = None

    @model_validator(mode="after")
    def _told_apart(self) -> Limits:
        if not (self.code or self.flag or self.no_error or self.no_value):
            raise ValueError("say which rows are limits: code, flag, no_error or no_value")
        if self.flag_values and self.flag is None:
            raise ValueError("flag_values belong to a flag")
        if self.depth is not None and self.depth.own and (self.code or self.no_value):
            raise ValueError("depth: a row without a value of its own needs a column, bands or a map")
        return self
