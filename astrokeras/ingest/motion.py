"""Proper motion of a match to a common epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Parameter

from ..errors import did_you_mean
from ..fields import Field

Year = Annotated[float, Parameter(ge=1800, le=2200)]


class Motion(BaseModel):
    """Proper motion to a common epoch.

    Parameters
    ----------
    epoch : float
        Julian year of the positions of the rows.
    catalog_epoch : float
        Julian year of the positions of the catalog.
    of : str
        Who states proper motions: ``catalog`` (its positions are taken to ``epoch``) or ``rows`` (theirs are taken to
        ``catalog_epoch``).
    pm_ra, pm_dec : str
        Columns of them, in a unit that converts to mas/yr; ``pm_ra`` with the cosine of the declination, as Gaia has
        it. An object without a proper motion is taken to be at rest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: Year
    catalog_epoch: Year
    of: Literal["catalog", "rows"] = "catalog"
    pm_ra: str = "pm_ra"
    pm_dec: str = "pm_dec"


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
    return found
