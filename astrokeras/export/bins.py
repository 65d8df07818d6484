"""Parameters of an evaluation: which samples are scored, and how their errors are found."""

from __future__ import annotations

from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, PositiveInt, model_validator
from pydantic import Field as Parameter

from ..fields import Band


class Bins(BaseModel):
    """Bins of a quantity.

    Parameters
    ----------
    edges : tuple of float, optional
        Increasing edges.
    n : int, optional
        Instead: this many bins with as many objects each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    edges: tuple[float, ...] | None = None
    n: PositiveInt | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.edges is None) == (self.n is None):
            raise ValueError("give either edges or n")
        if self.edges is not None and (
            len(self.edges) < 2 or not np.all(np.isfinite(self.edges) & (np.diff(self.edges, prepend=-np.inf) > 0))
        ):
            raise ValueError(f"edges must be two or more finite, increasing numbers, not {list(self.edges)}")
        return self


class MagnitudeBins(Bins):
    """Bins of magnitude.

    Parameters
    ----------
    band : str, optional
        Band whose flux gives the AB magnitude.
    column : str, optional
        Instead: a column.
    """

    band: Band | None = None
    column: str | None = None

    @model_validator(mode="after")
    def _band_or_column(self) -> Self:
        if (self.band is None) == (self.column is None):
            raise ValueError("give either band or column")
        return self

    @property
    def reads(self) -> str:
        """Name of the column that is read."""
        return self.column or f"flux_{self.band}"

    def values(self, column: np.ndarray) -> np.ndarray:
        """Magnitudes; NaN where there is none (no flux, or not a positive one)."""
        from ..units import njy_to_ab

        column = np.ma.filled(np.ma.asanyarray(column, dtype=float), np.nan)
        return njy_to_ab(column) if self.band else column


def _list_of_edges(value: Any) -> Any:
    return {"edges": value} if isinstance(value, list | tuple) else value


class EvaluationBins(BaseModel):
    """Samples scored besides the whole one.

    Parameters
    ----------
    magnitude : MagnitudeBins, optional
        ``{band: r, n: 5}`` or ``{band: r, edges: [16, 18, 20, 22]}``.
    redshift : Bins, optional
        Of the true redshift; a list is taken for the edges. A cut in the truth makes a bias of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    magnitude: MagnitudeBins | None = None
    redshift: Annotated[Bins | None, BeforeValidator(_list_of_edges)] = None


class Bootstrap(BaseModel):
    """Errors by resampling objects.

    Parameters
    ----------
    n : int
        Resamples.
    seed : int
        Of their random numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Parameter(200, ge=2)
    seed: int = Parameter(0, ge=0)
