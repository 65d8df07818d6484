"""Zero points of images, from the table that a run of the stage ``calibrate`` wrote."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..errors import IngestError
from ..flags import Flag
from .file_states import state

if TYPE_CHECKING:
    from ..images.reader import ImageFile
    from .tablefile import TableFile

_NAMES = ("path", "hdu", "band")
_VALUES = ("zero_point_fit", "zero_point_err")
#: Rows read at once.
_ROWS = 100_000


@dataclass(frozen=True, eq=False)
class _ZeroPoints:
    """Rows of a table.

    Attributes
    ----------
    rows : dict
        Numbers of rows by the name of the file, without its folder, HDU and band.
    columns : dict of str to ndarray
        Columns of the table.
    """

    rows: dict[tuple[str, str, str], list[int]]
    columns: dict[str, np.ndarray]


def calibrated(image: ImageFile, table: str) -> ImageFile:
    """Image with the zero point that a table gives it.

    Parameters
    ----------
    image : ImageFile
        The image; its row is that of the same file name, HDU and band. Of several, that of the same path counts.
    table : str
        File with the columns ``path``, ``hdu``, ``band``, ``zero_point_fit`` and ``zero_point_err``; a row with
        ``flags`` is not used.

    Raises
    ------
    IngestError
        If the table cannot be read, or has no zero point for the image.
    """
    path = os.path.expanduser(table)
    found = _read(state(path))
    what = f"{image.path}, HDU {image.hdu}, band {image.band!r}"
    row = _row(found, image, path, what)
    value, error = (float(found.columns[name][row]) for name in _VALUES)
    flags = int(found.columns["flags"][row])
    if flags or not np.isfinite([value, error]).all():
        why = str(found.columns["problem_calibrate"][row]) or (
            f"its row is flagged {Flag(flags).name}" if flags else f"zero_point_fit is {value}, its error {error}"
        )
        raise IngestError(f"{path}: gives no zero point for {what}: {why}")
    return image.with_zero_point(value)


def _row(found: _ZeroPoints, image: ImageFile, path: str, what: str) -> int:
    name = os.path.basename(image.path)
    rows = found.rows.get((name, image.hdu, image.band), [])
    same = [row for row in rows if os.path.realpath(found.columns["path"][row]) == os.path.realpath(image.path)]
    rows = same or rows
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise IngestError(f"{path}: has {len(rows)} rows for {what}; one is needed")
    others = [f"HDU {hdu}, band {band!r}" for file, hdu, band in found.rows if file == name]
    instead = f"of this file it has {'; '.join(others[:3])}" if others else "it has no file of this name"
    raise IngestError(f"{path}: has no row for {what}; {instead}")


@lru_cache(maxsize=4)
def _read(table: tuple[str, int, int]) -> _ZeroPoints:
    from .formats import open_table

    file = open_table(table[0])
    if lacks := [name for name in (*_NAMES, *_VALUES) if name not in file.names]:
        raise IngestError(
            f"{file.what}: is no table of zero points: lacks the column {lacks[0]!r}; write one with the source "
            "`exposures` and the stage `calibrate`"
        )
    extra = [name for name in ("flags", "problem_calibrate") if name in file.names]
    columns = _columns(file, [*_NAMES, *_VALUES, *extra])
    n = len(columns["path"])
    columns = {"flags": np.zeros(n, int), "problem_calibrate": np.full(n, "")} | columns
    rows: dict[tuple[str, str, str], list[int]] = {}
    for row, (path, hdu, band) in enumerate(zip(*(columns[name].tolist() for name in _NAMES), strict=True)):
        rows.setdefault((os.path.basename(path), hdu, band), []).append(row)
    return _ZeroPoints(rows, columns)


def _columns(file: TableFile, names: list[str]) -> dict[str, np.ndarray]:
    parts = [file.read(names, cut) for cut in file.cuts(_ROWS)]
    out = {}
    for name in names:
        if (unit := parts[0][name].unit) not in ("", "mag"):
            raise IngestError(f"{file.what}: column {name!r} has the unit {unit}; a zero point is in mag")
        values = np.ma.concatenate([np.ma.asarray(part[name].data) for part in parts])
        try:
            out[name] = _plain(name, values)
        except (ValueError, TypeError):
            kind = "text" if values.dtype.kind in "OSU" else values.dtype
            raise IngestError(f"{file.what}: column {name!r} holds {kind}, numbers are needed") from None
    return out


def _plain(name: str, values: np.ma.MaskedArray) -> np.ndarray:
    """Numbers or text, NaN, 0 or nothing where a value is missing."""
    if name in _VALUES:
        return np.ma.filled(values.astype(float), np.nan)
    if name == "flags":
        return np.ma.filled(values.astype(int), 0)
    missing = np.ma.getmaskarray(values)
    texts = (v.decode() if isinstance(v, bytes) else str(v).strip() for v in np.ma.getdata(values))
    return np.array(["" if gone else text for gone, text in zip(missing, texts, strict=True)], dtype=str)
