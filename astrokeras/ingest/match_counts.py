"""How many matches there are, how many of them are accidents, and what that says of a match."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Directions in which positions are shifted to count chance matches.
DIRECTIONS = 8
#: A match with more accidents among its matches deserves a warning.
MANY_FALSE = 0.1
#: Where this part of random places has a match, the estimate of false ones fails.
CROWDED = 0.3


@dataclass(frozen=True)
class FalseMatches:
    """How many matches are accidents, from positions shifted off the objects.

    A chance match that lies nearer than a true one is not counted.

    Attributes
    ----------
    rows, matched, ambiguous : int
        Rows with a position, those of them with a match, and those with several objects within the radius.
    chance, chance_err : float
        Fraction of the shifted positions with a match, and its standard error over rows (sky clustering not counted),
        at least that of one match found.
    rate, rate_err : float
        Fraction of the matches that are expected to be false, ``chance * (rows - matched) / (1 - chance) / matched``,
        and its standard error, from that of ``chance`` and the Poisson scatter of the number of false matches; NaN
        without matches, or where every shifted position has one.
    """

    rows: int
    matched: int
    ambiguous: int
    chance: float
    chance_err: float
    rate: float
    rate_err: float

    @classmethod
    def of(cls, total: Mapping[str, float]) -> FalseMatches:
        """From the sums of `tally`."""
        n, matched = int(total["rows"]), int(total["matched"])
        chance = total["chance"] / n if n else math.nan
        spread = max(total["chance_squared"] - n * chance**2, 0.0) / (n - 1) if n > 1 else math.nan
        # Nothing found is no proof that there is nothing: the error is that of one find at least.
        error = max(math.sqrt(spread / n), 1 / (DIRECTIONS * n)) if n else math.nan
        rate = rate_err = math.nan
        if matched and chance < 1:
            # Rows without a true counterpart are matched with probability `chance`: matched = true + chance (n - true).
            rate = chance * (n - matched) / (1 - chance) / matched
            rate_err = math.hypot((n - matched) / matched / (1 - chance) ** 2 * error, math.sqrt(rate / matched))
        return cls(n, matched, int(total["ambiguous"]), chance, error, rate, rate_err)


def tally(ra: np.ndarray, dec: np.ndarray, separation: np.ndarray, several: np.ndarray, chance: np.ndarray) -> dict:
    """Counts that add up over partitions.

    Parameters
    ----------
    ra, dec : array, shape (n,)
        Positions of the rows in deg; NaN where unknown.
    separation : array, shape (n,)
        Distance of the match; NaN without one.
    several : array of bool, shape (n,)
        Whether there were several.
    chance : array, shape (n,)
        Fraction of the shifted positions with a match; NaN without a position.
    """
    known = np.isfinite(chance)
    matched = np.isfinite(separation)
    out = {
        "rows": float(np.count_nonzero(known)),
        "matched": float(np.count_nonzero(matched)),
        "ambiguous": float(np.count_nonzero(several)),
        "chance": float(np.sum(chance[known])),
        "chance_squared": float(np.sum(chance[known] ** 2)),
    }
    if matched.any():
        out["max_separation"] = float(np.max(separation[matched]))
    return out | extent(ra[known], dec[known])


def extent(ra: np.ndarray, dec: np.ndarray) -> dict[str, float]:
    """Limits of positions in deg, twice in right ascension: as it is, and from -180 to 180; nothing of no positions."""
    out: dict[str, float] = {}
    for name, values in (("ra", ra % 360), ("west", (ra + 180) % 360 - 180), ("dec", dec)):
        out |= {f"min_{name}": float(values.min()), f"max_{name}": float(values.max())} if len(values) else {}
    return out


def footprint(limits: Mapping[str, float]) -> str:
    """Limits on the sky in words, across right ascension 0 where that is narrower."""
    if "min_ra" not in limits:
        return "nowhere"
    across = limits["max_west"] - limits["min_west"] < limits["max_ra"] - limits["min_ra"]
    low, high = (limits[f"{end}_{'west' if across else 'ra'}"] % 360 for end in ("min", "max"))
    return f"RA {low:.4f} to {high:.4f}, Dec {limits['min_dec']:+.4f} to {limits['max_dec']:+.4f} deg"


def facts(total: Mapping[str, float], offset: float) -> dict[str, Any]:
    """Counts for a record, JSON values: None is "not known"."""
    counts = FalseMatches.of(total)
    estimates = {
        "chance": counts.chance,
        "chance_err": counts.chance_err,
        "false_match_rate": counts.rate,
        "false_match_rate_err": counts.rate_err,
    }
    return {
        "rows": counts.rows,
        "matched": counts.matched,
        "ambiguous": counts.ambiguous,
        **{name: float(f"{x:.4g}") if math.isfinite(x) else None for name, x in estimates.items()},
        "offset_arcmin": offset,
    }


def verdict(total: Mapping[str, float], radius: float, offset: float) -> tuple[str, ...]:
    """What a user should know of a match that found something."""
    counts = FalseMatches.of(total)
    share = 100 * counts.matched / counts.rows
    out = [
        f"{counts.matched} of {counts.rows} rows matched within {radius:g} arcsec ({share:.1f} %), {counts.ambiguous} "
        f"ambiguous; {_percent(counts.rate, counts.rate_err)} of the matches are false, "
        f"by positions shifted by {offset:g} arcmin"
    ]
    if counts.chance >= CROWDED:
        out.append(
            f"warning: {100 * counts.chance:.0f} % of random places have a match: the radius is too large for this "
            "catalog, and nearly everything matches whatever it is"
        )
    elif counts.rate >= MANY_FALSE:
        out.append("warning: many of the matches are accidents; a smaller `radius` has fewer")
    if counts.matched == counts.rows >= 10 and total["max_separation"] < 1e-6:
        out.append("warning: every row matches at distance 0: the catalog holds the very positions of the rows")
    return tuple(out)


def _percent(rate: float, error: float) -> str:
    return f"{100 * rate:.2g} +- {100 * error:.1g} %" if math.isfinite(rate + error) else "an unknown part"
