"""The class ratio of a field, as a parameter of a stage."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from ..fields import DEC, RA, Band, Field, flux_field
from ..priors import ClassPrior, PriorBin, galactic_latitude
from ..units import njy_to_ab

if TYPE_CHECKING:
    from astropy.table import QTable


@lru_cache(maxsize=8)
def _read(path: str, interpolate: Literal["linear", "none"]) -> ClassPrior:
    return ClassPrior.read(path, interpolate)


class FieldPrior(BaseModel):
    """Ratio of the classes in the field, as a table over magnitude and galactic latitude.

    Probabilities p that refer to the ratio r of the training set become ``p r'/r`` (Saerens et al. 2002), normalised.
    An object without a magnitude or a position keeps its p, and is flagged NO_PRIOR.

    Parameters
    ----------
    band : str
        Band of the AB magnitude; an observed flux that is not positive counts as the faintest.
    table : tuple of PriorBin, optional
        Rows of the table.
    path : str, optional
        File with the table (ECSV and others): columns ``mag_min``, ``mag_max`` (empty for an open end), ``b_min``,
        ``b_max`` (may be absent), and one per class.
    interpolate : str
        ``linear`` between the centers of neighbouring bins, or ``none``; see `astrokeras.priors.ClassPrior`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    band: Band
    table: tuple[PriorBin, ...] = ()
    path: str | None = None
    interpolate: Literal["linear", "none"] = "linear"

    @model_validator(mode="after")
    def _one_table(self) -> Self:
        if bool(self.table) == (self.path is not None):
            raise ValueError("a prior needs either `table` or `path`")
        if self.table:
            ClassPrior(table=self.table, interpolate=self.interpolate)
        return self

    def read(self) -> ClassPrior:
        """Return the table.

        Raises
        ------
        IngestError
            If the file cannot be read or its table has gaps.
        """
        if self.path is not None:
            return _read(self.path, self.interpolate)
        return ClassPrior(table=self.table, interpolate=self.interpolate)

    def needs(self) -> tuple[Field, ...]:
        """Fields that it needs."""
        return (flux_field(self.band), *((RA, DEC) if self.read().depends_on_latitude else ()))

    def described(self) -> str:
        """How a column says it."""
        place = " and galactic latitude" if self.read().depends_on_latitude else ""
        return f"class ratio over magnitude {self.band}{place}"

    def apply(self, probability: np.ndarray, train: dict[str, float], chunk: QTable) -> tuple[np.ndarray, np.ndarray]:
        """Change probabilities; see `astrokeras.priors.ClassPrior.apply`."""
        flux = np.asarray(chunk[f"flux_{self.band}"].value, float)
        # Beyond any table's last edge.
        magnitude = np.where(flux > 0, njy_to_ab(np.where(flux > 0, flux, 1.0)), np.where(np.isnan(flux), np.nan, 99.0))
        latitude = np.zeros(len(chunk))
        if self.read().depends_on_latitude:
            latitude = np.abs(galactic_latitude(chunk["ra"].value, chunk["dec"].value))
        return self.read().apply(probability, train, magnitude, latitude)
