"""Where in magnitude-color space the training rows of a model lie, and where those of a field. Needs no Keras."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ..errors import ModelError
from ..fields import Band
from ..units import njy_to_ab
from .card import Part

COVERAGE = "coverage.json"
#: Size of the cells, in mag.
MAGNITUDE_STEP, COLOR_STEP = 0.5, 0.25
MAX_BYTES = 64 << 20


class Plane(Part):
    """Counts of objects in cells of one magnitude and one color, first band minus second; AB.

    Parameters
    ----------
    bands : tuple of str
        Two neighbouring bands; the magnitude is that of the second.
    rows : int
        Objects with positive fluxes in both.
    cells : tuple of (int, int, int)
        Number of the cell in magnitude and in color, and objects in it: cell (i, j) begins at i `MAGNITUDE_STEP` and
        j `COLOR_STEP`. Cells without objects are left out.
    """

    bands: tuple[Band, Band]
    rows: int = 0
    cells: tuple[tuple[int, int, int], ...] = ()

    def counts(self) -> dict[tuple[int, int], int]:
        """Objects by cell."""
        return {(i, j): n for i, j, n in self.cells}

    def __add__(self, other: Plane) -> Plane:
        total = self.counts()
        for cell, n in other.counts().items():
            total[cell] = total.get(cell, 0) + n
        cells = tuple((i, j, n) for (i, j), n in sorted(total.items()))
        return Plane(bands=self.bands, rows=self.rows + other.rows, cells=cells)


class Coverage(Part):
    """Planes of all neighbouring bands."""

    planes: tuple[Plane, ...]

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(planes=tuple(a + b for a, b in zip(self.planes, other.planes, strict=True)))


def pairs(bands: Sequence[str]) -> list[tuple[str, str]]:
    """Neighbouring bands."""
    return list(pairwise(bands))


def count(fluxes: Mapping[str, np.ndarray], planes: Sequence[tuple[str, str]]) -> Coverage:
    """Count objects in the cells of planes.

    Parameters
    ----------
    fluxes : mapping of ndarray
        nJy by band; an object with a flux that is missing or not positive has no place in the planes of that band.
    planes : sequence of (str, str)
        Bands of each.
    """
    magnitudes = {band: njy_to_ab(fluxes[band]) for band in {b for pair in planes for b in pair}}
    return Coverage(planes=tuple(_plane(magnitudes, pair) for pair in planes))


def _plane(magnitudes: Mapping[str, np.ndarray], pair: tuple[str, str]) -> Plane:
    magnitude, color = magnitudes[pair[1]], magnitudes[pair[0]] - magnitudes[pair[1]]
    placed = np.isfinite(magnitude) & np.isfinite(color)
    cells = np.stack([np.floor(magnitude[placed] / MAGNITUDE_STEP), np.floor(color[placed] / COLOR_STEP)], axis=1)
    found, counts = np.unique(cells.astype(int).reshape(-1, 2), axis=0, return_counts=True)
    listed = tuple((*map(int, cell), int(n)) for cell, n in zip(found, counts, strict=True))
    return Plane(bands=pair, rows=int(placed.sum()), cells=listed)


def write_coverage(coverage: Coverage, directory: Path) -> None:
    """Write the coverage of training rows beside their model."""
    (directory / COVERAGE).write_text(coverage.model_dump_json() + "\n", encoding="utf-8")


def read_coverage(directory: Path) -> Coverage:
    """Read what lies beside a model.

    Raises
    ------
    ModelError
        If the model has none, or it cannot be read.
    """
    path = Path(directory) / COVERAGE
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path}: {path.stat().st_size} bytes; at most {MAX_BYTES} are allowed")
        return Coverage.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; the model was made without it, train it again") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ModelError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def compare(training: Coverage, target: Coverage) -> list[dict[str, Any]]:
    """Training against target rows, plane by plane.

    Returns
    -------
    list of dict
        ``magnitude`` (band), ``color`` (bands), ``training`` and ``target`` (rows placed), ``outside``: share of the
        target rows in cells without any training row; ``expected_outside``: the same for rows drawn like the training
        rows, by the share of cells' only inhabitants among them (Good 1953, Biometrika 40, 237); ``cells``: lower edge
        in magnitude, in color, training rows, target rows.
    """
    report = []
    for known, found in zip(training.planes, target.planes, strict=True):
        have, seen = known.counts(), found.counts()
        lost = sum(n for cell, n in seen.items() if cell not in have)
        alone = sum(n == 1 for n in have.values())
        edges = [
            [cell[0] * MAGNITUDE_STEP, cell[1] * COLOR_STEP, have.get(cell, 0), seen.get(cell, 0)]
            for cell in sorted({*have, *seen})
        ]
        report.append(
            {
                "magnitude": known.bands[1],
                "color": list(known.bands),
                "training": known.rows,
                "target": found.rows,
                "outside": lost / found.rows if found.rows else None,
                "expected_outside": alone / known.rows if known.rows else None,
                "cells": edges,
            }
        )
    return report
