"""Proper motion of a match to a common epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Parameter

from ..errors import did_you_mean
from ..fields import Field

if TYPE_CHECKING:
    import numpy as np

Year = Annotated[float, Parameter(ge=1800, le=2200)]


class Motion(BaseModel):
    """Proper motion to a common epoch.

    Parameters
    ----------
    epoch : float or str
        Julian year of the positions of the rows; or, where these state the proper motions, their column of times (MJD):
        ``time``, if their survey map states one.
    catalog_epoch : float or str
        Julian year of the positions of the catalog; or, where it states the proper motions, its column of times.
    of : str
        Who states proper motions: ``catalog`` (its positions are taken to ``epoch``) or ``rows`` (theirs are taken to
        ``catalog_epoch``).
    pm_ra, pm_dec : str
        Columns of them, in a unit that converts to mas/yr; ``pm_ra`` with the cosine of the declination, as Gaia has
        it. An object without a proper motion, or without a time, is taken to be at rest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: Year | str
    catalog_epoch: Year | str
    of: Literal["catalog", "rows"] = "catalog"
    pm_ra: str = "pm_ra"
    pm_dec: str = "pm_dec"

    @model_validator(mode="after")
    def _moves_to_a_year(self) -> Motion:
        key, other = ("catalog_epoch", "rows") if self.of == "rows" else ("epoch", "catalog")
        if isinstance(getattr(self, key), str):
            raise ValueError(f"{key} must be a year: positions of the {other} are taken there, from the times of each")
        return self

    @property
    def time(self) -> str | None:
        """Column of times of the side that states proper motions, if they have one each."""
        own = self.epoch if self.of == "rows" else self.catalog_epoch
        return own if isinstance(own, str) else None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns needed of the side that states proper motions."""
        return (self.pm_ra, self.pm_dec, *((self.time,) if self.time is not None else ()))

    def years(self, time: np.ndarray | None) -> float | np.ndarray:
        """Julian years that objects move, of their times (MJD) if they have one each."""
        start, end = (self.epoch, self.catalog_epoch) if self.of == "rows" else (self.catalog_epoch, self.epoch)
        # J2000.0 is MJD 51544.5; the scales differ by a minute, and proper motions do not care.
        return end - (start if time is None else 2000.0 + (time - 51544.5) / 365.25)


def faults(motion: Motion, have: Mapping[str, Field]) -> dict[str, str]:
    """What is wrong with the columns of a catalog that states proper motions, by key."""
    from ..units import converts

    found = {}
    for key in ("pm_ra", "pm_dec"):
        name = getattr(motion, key)
        if name not in have:
            found[key] = f"the catalog has no {name!r}{did_you_mean(name, have)}; name it in its `keep`"
        elif not converts(have[name].unit, "mas/yr"):
            unit = have[name].unit or "no unit"
            found[key] = f"{name!r} of the catalog has {unit}; say `keep: {{{name}: {{unit: mas/yr}}}}`"
    if motion.time is not None and motion.time not in have:
        found["catalog_epoch"] = (
            f"the catalog has no {motion.time!r}{did_you_mean(motion.time, have)}; its survey map states no `time`"
        )
    elif motion.time is not None and have[motion.time].unit != "d":
        found["catalog_epoch"] = (
            f"{motion.time!r} of the catalog is no MJD in days; state it as `time` of its survey map"
        )
    return found
