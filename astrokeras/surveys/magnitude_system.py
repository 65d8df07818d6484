"""Colors that tell Vega magnitudes from AB magnitudes: a map that names the wrong system is wrong by up to 3 mag.

The Rayleigh-Jeans tails of all stars but the coolest have the colors of Vega, so that near-infrared colors of stars in
Vega magnitudes are near 0, and those in AB magnitudes near the difference of the two zero points. Half way lies the
bound. Zero points are those of 2MASS in Blanton & Roweis (2007) and of WISE in Jarrett et al. (2011); what is usual in
Vega magnitudes are round numbers: of field stars J - Ks of 0.7 and H - Ks of 0.1 (Covey et al. 2007, their locus spans
0.3 to 0.9, and 0.0 to 0.25), W1 - W2 of 0.0, and of galaxies without a bright quasar W1 - W2 of 0.2 (Wright et al.
2010, their figure 12).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..fields import Field, by_name

if TYPE_CHECKING:
    from astropy.table import QTable

#: AB magnitude of a source of Vega magnitude 0.
VEGA_TO_AB = {"J": 0.91, "H": 1.39, "Ks": 1.85, "W1": 2.699, "W2": 3.339}
_NAMES = {"j": "J", "h": "H", "k": "Ks", "ks": "Ks", "w1": "W1", "w2": "W2"}
_INSTRUMENTS = r"(?:WISE/WISE|2MASS/2MASS|UKIRT/UKIDSS|UKIRT/WFCAM|Paranal/VISTA)\.(\w+)"
#: Signal-to-noise ratio in both bands, number of objects, and width of the bins from which a median is told.
MIN_SNR, MIN_OBJECTS, BIN = 10.0, 50, 0.05


@dataclass(frozen=True)
class Test:
    """A color and what it is for a population.

    Attributes
    ----------
    blue, red : str
        Bands.
    vega : float
        Typical color in Vega magnitudes.
    stars : bool
        Whether it is one of stars only.
    """

    blue: str
    red: str
    vega: float
    stars: bool

    @property
    def name(self) -> str:
        """Of the color."""
        return f"{self.blue}-{self.red}"

    @property
    def shift(self) -> float:
        """From the color in Vega magnitudes to that in AB magnitudes."""
        return VEGA_TO_AB[self.blue] - VEGA_TO_AB[self.red]


TESTS = (
    Test("W1", "W2", 0.0, stars=True),
    Test("W1", "W2", 0.2, stars=False),
    Test("J", "Ks", 0.7, stars=True),
    Test("H", "Ks", 0.1, stars=True),
)


def tally(chunk: QTable, fields: Iterable[Field]) -> dict[str, float]:
    """Histograms of the colors that tell systems apart, of objects well measured in both bands.

    Parameters
    ----------
    chunk : QTable
        Canonical columns; those that are not there are not looked at.
    fields : iterable of Field
        What they are.
    """
    known = by_name(fields)
    bands = _bands(chunk.colnames, known)
    if not any({t.blue, t.red} <= set(bands) for t in TESTS):
        return {}
    rows, stars = _population(chunk)
    out: dict[str, float] = {}
    for test in TESTS:
        if test.stars != stars or not {test.blue, test.red} <= set(bands):
            continue
        color = _colors(chunk, bands[test.blue], bands[test.red])
        bins, counts = np.unique(np.floor(color[rows & np.isfinite(color)] / BIN), return_counts=True)
        sample = "stars" if stars else "objects"
        out |= {f"{sample} {test.name} {int(k)}": float(n) for k, n in zip(bins, counts, strict=True)}
    return out


def _bands(names: Iterable[str], known: Mapping[str, Field]) -> dict[str, str]:
    """Bands by what they are: by their filter, or by their name if that is not known."""
    out = {}
    for band in (m[1] for n in names if (m := re.fullmatch(r"flux_([A-Za-z][A-Za-z0-9]*)", n))):
        field = known.get(f"flux_{band}")
        found = re.fullmatch(_INSTRUMENTS, field.filter) if field is not None and field.filter else None
        told = found[1] if found else (None if field is not None and field.filter else band)
        if told is not None and told.lower() in _NAMES and f"flux_err_{band}" in names:
            out[_NAMES[told.lower()]] = band
    return out


def _population(chunk: QTable) -> tuple[np.ndarray, bool]:
    """Rows to look at, and whether they are stars: by their class, else point-like ones, else all."""
    if "class_true" in chunk.colnames:
        classes = np.char.upper(np.asarray(chunk["class_true"]).astype(str))
        if np.any(classes != ""):
            return classes == "STAR", True
    if "extendedness" in chunk.colnames and np.any(np.asarray(chunk["extendedness"]) == 0):
        return np.asarray(chunk["extendedness"]) == 0, True
    return np.ones(len(chunk), bool), False


def _colors(chunk: QTable, blue: str, red: str) -> np.ndarray:
    flux, error = (
        [np.asarray(getattr(chunk[name], "value", chunk[name]), float) for name in (f"{what}_{blue}", f"{what}_{red}")]
        for what in ("flux", "flux_err")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        good = (flux[0] > MIN_SNR * error[0]) & (flux[1] > MIN_SNR * error[1])
        return np.where(good, -2.5 * np.log10(flux[0] / flux[1]), np.nan)


def judge(total: Mapping[str, float]) -> tuple[str, ...]:
    """Warnings where the median of a color is that of the other magnitude system."""
    out = []
    for test in TESTS:
        sample = "stars" if test.stars else "objects"
        start = f"{sample} {test.name} "
        counts = {int(key[len(start) :]): n for key, n in total.items() if key.startswith(start)}
        if sum(counts.values()) < MIN_OBJECTS:
            continue
        median = _median(counts)
        expected = test.vega + test.shift
        if median > expected - test.shift / 2:
            what = "as if Vega magnitudes had been taken for AB ones (state `system: Vega` and `vega_to_ab`)"
        elif median < expected + test.shift / 2:
            what = "as if AB magnitudes had been taken for Vega ones (state `system: AB`)"
        else:
            continue
        unless = "" if test.stars else ", unless most of them are quasars"
        color = f"{test.blue} - {test.red} of {int(sum(counts.values()))} {sample}"
        out.append(
            f"warning: the median {color} is {median:.2f} mag AB, where about {expected:.2f} is usual, {what}{unless}"
        )
    return tuple(out)


def _median(counts: Mapping[int, float]) -> float:
    """Middle of the bin in which the median lies."""
    bins = sorted(counts)
    sums = np.cumsum([counts[k] for k in bins])
    return (bins[int(np.searchsorted(sums, sums[-1] / 2))] + 0.5) * BIN
