"""Priors of a field: the ratio of the classes as a table over magnitude and galactic latitude."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Parameter

from .errors import IngestError, did_you_mean
from .probabilities import RATIO_TOLERANCE, change_prior

#: North galactic pole, ICRS degrees.
_POLE = (192.85948, 27.12825)
_EDGES = ("mag_min", "mag_max", "b_min", "b_max")


class PriorBin(BaseModel):
    """One row of a table of class ratios.

    Parameters
    ----------
    mag : tuple of float
        Magnitudes from and to; ``null`` leaves that end open.
    abs_b : tuple of float
        Absolute galactic latitudes from and to, in degrees.
    ratio : dict
        Fraction of each class; they sum to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mag: tuple[float | None, float | None] = (None, None)
    abs_b: tuple[float, float] = (0.0, 90.0)
    ratio: dict[str, Annotated[float, Parameter(ge=0, le=1)]] = Parameter(min_length=2)

    @model_validator(mode="after")
    def _sound(self) -> PriorBin:
        if not self.bright < self.faint:
            raise ValueError(f"mag {list(self.mag)} is empty; the brighter end comes first")
        low, high = self.abs_b
        if not 0 <= low < high <= 90:
            raise ValueError(f"abs_b {[low, high]} is no range within 0 to 90 degrees")
        total = sum(self.ratio.values())
        if not abs(total - 1) <= RATIO_TOLERANCE * (1 + 1e-6):
            raise ValueError(f"the ratio {self.ratio} sums to {total:g}, not to 1")
        return self

    @property
    def bright(self) -> float:
        """Brighter end, minus infinity where open."""
        return -math.inf if self.mag[0] is None else self.mag[0]

    @property
    def faint(self) -> float:
        """Fainter end, infinity where open."""
        return math.inf if self.mag[1] is None else self.mag[1]


class ClassPrior(BaseModel):
    """Ratio of the classes over magnitude and galactic latitude.

    Parameters
    ----------
    table : tuple of PriorBin
        A grid of bins: every range of magnitude with every range of latitude, once, without a gap, for all magnitudes
        (leave the ends of the first and the last range open) and for \\|b\\| from 0 to 90 degrees.
    interpolate : str
        ``linear``: between the centers of neighbouring bins, of magnitude and of latitude, ratios change linearly; in
        the outer halves of the first and last bins, and in bins with an open end, they are constant. ``none``: constant
        in each bin, whose fainter and higher edges belong to the next.

    Examples
    --------
    >>> prior = ClassPrior(table=[{"mag": [None, 18], "ratio": {"GALAXY": 0.2, "STAR": 0.8}},
    ...                           {"mag": [18, 22], "ratio": {"GALAXY": 0.5, "STAR": 0.5}},
    ...                           {"mag": [22, None], "ratio": {"GALAXY": 0.9, "STAR": 0.1}}])
    >>> prior.ratios([17.0, 21.0], [60.0, 60.0], ("GALAXY", "STAR")).round(2).tolist()
    [[0.2, 0.8], [0.7, 0.3]]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: tuple[PriorBin, ...] = Parameter(min_length=1)
    interpolate: Literal["linear", "none"] = "linear"

    @model_validator(mode="after")
    def _complete(self) -> ClassPrior:
        names = set(self.table[0].ratio)
        for row in self.table[1:]:
            if set(row.ratio) != names:
                raise ValueError(f"all rows give the same classes, got {sorted(row.ratio)} and {sorted(names)}")
        magnitudes, latitudes = self._edges()
        _covers("magnitude", magnitudes, (-math.inf, math.inf))
        _covers("|b|", latitudes, (0.0, 90.0))
        places = [(row.bright, row.abs_b) for row in self.table]
        for bright, faint in magnitudes:
            for latitude in latitudes:
                if places.count((bright, latitude)) != 1:
                    found = "no row" if (bright, latitude) not in places else "more than one row"
                    raise ValueError(f"{found} for magnitude {bright:g} to {faint:g}, |b| {list(latitude)}")
        return self

    def _edges(self) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        return sorted({(row.bright, row.faint) for row in self.table}), sorted({row.abs_b for row in self.table})

    @classmethod
    def read(cls, path: str | Path, interpolate: Literal["linear", "none"] = "linear") -> ClassPrior:
        """Prior from a table file (ECSV, or any other that astropy knows).

        Columns ``mag_min``, ``mag_max`` (empty for an open end), ``b_min``, ``b_max`` (both may be left out), and one
        per class.

        Raises
        ------
        IngestError
            If it cannot be read, or breaks the rules of the class.
        """
        from astropy.table import Table

        try:
            table = Table.read(path)
        except (OSError, ValueError) as error:
            raise IngestError(f"{path}: cannot be read as a table of class ratios ({error})") from None
        lacking = [name for name in ("mag_min", "mag_max") if name not in table.colnames]
        if lacking:
            raise IngestError(f"{path}: no column {lacking[0]!r}{did_you_mean(lacking[0], table.colnames)}")
        try:
            return cls(table=[_row(row) for row in table], interpolate=interpolate)
        except ValueError as error:
            raise IngestError(f"{path}: {_first(error)}") from None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, sorted."""
        return tuple(sorted(self.table[0].ratio))

    @property
    def depends_on_latitude(self) -> bool:
        """Whether the table has more than one range of latitude."""
        return len(self._edges()[1]) > 1

    def check_classes(self, classes: Iterable[str]) -> None:
        """Compare with the classes of a model.

        Raises
        ------
        ValueError
            If they are not the same.
        """
        classes = tuple(classes)
        for name in self.classes:
            if name not in classes:
                raise ValueError(f"prior: the model has no class {name!r}{did_you_mean(name, classes)}")
        lacking = sorted(set(classes) - set(self.classes))
        if lacking:
            raise ValueError(f"prior: no ratio for {', '.join(lacking)} of the model")

    def ratios(self, magnitude: np.ndarray, abs_b: np.ndarray, classes: Iterable[str]) -> np.ndarray:
        """Class ratio at each object.

        Parameters
        ----------
        magnitude, abs_b : array-like, shape (rows,)
            Magnitude, and absolute galactic latitude in degrees. The latitude does not count, and may be missing,
            where the table has only one range of it.
        classes : iterable of str
            Order of the columns; the classes of the table.

        Returns
        -------
        ndarray, shape (rows, classes)
            Rows of sum 1; NaN where the magnitude or the latitude is not finite.
        """
        magnitudes, latitudes = self._edges()
        classes = tuple(classes)
        self.check_classes(classes)
        grid = np.empty((len(magnitudes), len(latitudes), len(classes)))
        for row in self.table:
            place = magnitudes.index((row.bright, row.faint)), latitudes.index(row.abs_b)
            grid[place] = [row.ratio[name] for name in classes]
        grid /= grid.sum(axis=-1, keepdims=True)
        low_m, low_b = np.asarray(magnitude, float), np.asarray(abs_b, float)
        low_b = np.zeros_like(low_b) if len(latitudes) == 1 else low_b
        known = np.isfinite(low_m) & np.isfinite(low_b)
        weight_m = self._weights(np.where(known, low_m, 0.0), magnitudes)
        weight_b = self._weights(np.where(known, low_b, 0.0), latitudes)
        out = np.einsum("nm,nb,mbk->nk", weight_m, weight_b, grid)
        return np.where(known[:, None], out, np.nan)

    def _weights(self, x: np.ndarray, edges: list[tuple[float, float]]) -> np.ndarray:
        """Share of each bin at each place, ``(rows, bins)``."""
        lower = np.array([low for low, _ in edges])
        bins = len(edges)
        place = np.clip(np.searchsorted(lower, x, side="right") - 1, 0, bins - 1)
        if self.interpolate == "none" or bins == 1:
            return np.eye(bins)[place]
        # The center of a bin with an open end is its inner edge: beyond it nothing changes.
        centers = [high if np.isinf(low) else low if np.isinf(high) else (low + high) / 2 for low, high in edges]
        return np.stack([np.interp(x, centers, unit) for unit in np.eye(bins)], axis=1)

    def apply(
        self, probability: np.ndarray, train: Mapping[str, float], magnitude: np.ndarray, abs_b: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Change probabilities to this prior; see `astrokeras.probabilities.change_prior`.

        Parameters
        ----------
        probability : ndarray, shape (rows, classes)
            Given the training set's ratio, classes in the order of ``train``.
        train : mapping of str to float
            The training set's ratio.
        magnitude, abs_b : array-like, shape (rows,)
            See `ratios`.

        Returns
        -------
        probability : ndarray, shape (rows, classes)
        applied : ndarray of bool, shape (rows,)
            False where magnitude or latitude is not finite: there the probabilities are those that came.
        """
        new = self.ratios(magnitude, abs_b, tuple(train))
        applied = np.isfinite(new).all(axis=1)
        changed = change_prior(probability, np.array(list(train.values())), new)
        return np.where(applied[:, None], changed, probability), applied


def _covers(name: str, edges: list[tuple[float, float]], whole: tuple[float, float]) -> None:
    """Raise unless the ranges, in order, follow each other from one end to the other."""
    reached = whole[0]
    for low, high in edges:
        if low > reached:
            raise ValueError(f"no row covers {name} {reached:g} to {low:g}")
        if low < reached:
            raise ValueError(f"ranges of {name} overlap at {low:g} to {min(reached, high):g}")
        reached = high
    if reached < whole[1]:
        raise ValueError(f"no row covers {name} {reached:g} to {whole[1]:g}")


def _row(row: Any) -> dict[str, Any]:
    """A row of a file in the form of `PriorBin`."""
    values = {name: _number(row[name]) for name in row.colnames}
    low_b, high_b = values.get("b_min"), values.get("b_max")
    return {
        "mag": (values["mag_min"], values["mag_max"]),
        "abs_b": (0.0 if low_b is None else low_b, 90.0 if high_b is None else high_b),
        "ratio": {name: value for name, value in values.items() if name not in _EDGES},
    }


def _number(value: Any) -> Any:
    """A float, or None where the file has nothing or infinity; anything else as it is, for pydantic to refuse."""
    if np.ma.is_masked(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return number if math.isfinite(number) else None


def _first(error: ValueError) -> str:
    """First problem of a validation, in words."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors(include_url=False)[0]
    where = f"row {problem['loc'][1] + 1}: " if len(problem["loc"]) > 1 else ""
    return where + problem["msg"].removeprefix("Value error, ")


def galactic_latitude(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Galactic latitude in degrees of ICRS positions in degrees (the pole is that of ESA 1997, Hipparcos)."""
    pole_ra, pole_dec = np.radians(_POLE)
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    sine = np.sin(dec) * np.sin(pole_dec) + np.cos(dec) * np.cos(pole_dec) * np.cos(ra - pole_ra)
    return np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0)))
