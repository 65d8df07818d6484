"""Contract tests, public: every stage of astrokeras runs them, and a plug-in should."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
from astropy.table import QTable

from .chunk import canonical, project
from .fields import by_name
from .stage import Stage

__all__ = ["check_stage"]


def check_stage(stage: Stage, table: Any, rtol: float = 1e-5) -> None:
    """Check that a stage keeps its contract; raises AssertionError with a sentence where it does not.

    Zero, one and many rows; the whole equals its parts; a permutation of rows permutes the result; equal results in
    nJy, uJy and Jy; the input is left unchanged; what is declared is delivered; a row of NaN is flagged or missing and
    leaves its neighbours alone; pickle and JSON give an equal stage.

    Parameters
    ----------
    stage : Stage
        What to check.
    table : Table
        At least four good rows with all columns of ``stage.reads()``.
    rtol : float
        Relative tolerance between results that should be equal (batches and threads change the last bits of a network).
    """
    table = canonical(table)
    _expect(len(table) >= 4, "the table needs at least four rows")
    columns = project(table, stage.reads(), stage.name)
    whole = stage(columns)
    declared = by_name(stage.writes())
    _expect(set(declared) <= set(whole.colnames), f"declared {sorted(declared)}, delivered {whole.colnames}")
    _expect(_round_trips(stage), "pickle or JSON do not give an equal stage")
    _rows(stage, columns, whole, rtol)
    _units(stage, columns, whole, rtol)
    _unchanged(stage, columns)
    _nan_row(stage, columns, whole, rtol)


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _round_trips(stage: Stage) -> bool:
    again = pickle.loads(pickle.dumps(stage))
    return again == stage and type(stage).model_validate_json(stage.model_dump_json()) == stage


def _same(stage: Stage, found: QTable, expected: QTable, rtol: float, what: str) -> None:
    for name, field in by_name(stage.writes()).items():
        a, b = (np.asarray(getattr(t[name], "value", t[name])) for t in (found, expected))
        _expect(a.shape == b.shape, f"{what}: column {name!r} has shape {a.shape}, not {b.shape}")
        _expect(a.shape[1:] == field.shape, f"{what}: cells of {name!r} have shape {a.shape[1:]}, not {field.shape}")
        close = np.allclose(a, b, rtol=rtol, atol=rtol, equal_nan=True) if a.dtype.kind == "f" else np.array_equal(a, b)
        _expect(close, f"{what}: column {name!r} differs")


def _rows(stage: Stage, columns: QTable, whole: QTable, rtol: float) -> None:
    n = len(columns)
    for k in (0, 1):
        _same(stage, stage(columns[:k]), whole[:k], rtol, f"{k} rows")
    cut = n // 3
    for part in (slice(0, cut), slice(cut, n)):
        _same(stage, stage(columns[part]), whole[part], rtol, "whole and parts")
    order = np.random.default_rng(0).permutation(n)
    _same(stage, stage(columns[order]), whole[order], rtol, "permuted rows")


def _units(stage: Stage, columns: QTable, whole: QTable, rtol: float) -> None:
    for unit in ("uJy", "Jy"):
        other = columns.copy()
        for field in stage.reads():
            if field.unit == "nJy" and field.name in other.colnames:
                other[field.name] = other[field.name].astype(np.float64).to(unit)
                # Which bands a stamp has is no matter of units.
                other[field.name].info.meta = columns[field.name].info.meta
        _same(stage, stage(other), whole, rtol, f"fluxes in {unit}")


def _unchanged(stage: Stage, columns: QTable) -> None:
    before = columns.copy()
    stage(columns)
    _expect(columns.colnames == before.colnames, "the stage changed the columns of its input")
    for name in columns.colnames:
        a, b = (np.asarray(getattr(t[name], "value", t[name])) for t in (columns, before))
        _expect(a.tobytes() == b.tobytes(), f"the stage changed column {name!r} of its input")


def _nan_row(stage: Stage, columns: QTable, whole: QTable, rtol: float) -> None:
    floats = [n for n in columns.colnames if np.asarray(columns[n]).dtype.kind == "f"]
    if not floats:
        return
    spoilt = columns.copy()
    for name in floats:
        spoilt[name][1] = np.nan
    result = stage(spoilt)
    others = np.arange(len(columns)) != 1
    _same(stage, result[others], whole[others], rtol, "neighbours of a row of NaN")
    written = by_name(stage.writes())
    flagged = "flags" in written and int(result["flags"][1]) != 0
    missing = [n for n in written if np.asarray(result[n]).dtype.kind == "f"]
    said = flagged or all(np.isnan(np.asarray(getattr(result[n], "value", result[n]))[1]).all() for n in missing)
    _expect(said, "a row of NaN is neither flagged nor missing in the result")
