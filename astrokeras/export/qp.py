"""Densities for qp and RAIL, and back: ensembles of the package qp (``qp-prob``), and its files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import model_validator

from ..errors import ChunkError, OutputError, did_you_mean
from ..fields import FLAGS, OBJECT_ID, Field, by_name, select
from ..flags import Flag
from ..stage import Output, Product
from .atomic import replacing

if TYPE_CHECKING:
    import qp
    from astropy.table import QTable, Table

#: Names under which RAIL looks for point estimates, and ours.
POINTS = {"zmode": "z_mode", "zmedian": "z_phot", "zbest": "z_best"}
#: Names of an identifier in the ancillary table of an ensemble.
IDENTIFIERS = ("object_id", "id", "objectId")


class Qp(Output):
    """File of the package qp (HDF5), which RAIL and ``qp.read`` read: densities on their grid, and columns beside them.

    The densities are a qp.interp. The other columns are its ancillary table, with ``zmode``, ``zmedian`` and ``zbest``
    besides, the names that RAIL looks for. Densities that are missing stay NaN, of which qp warns: ``where`` leaves
    them out. Needs the extra ``qp``.

    Parameters
    ----------
    path : str
        The file, ``*.hdf5``.
    pdf : str
        Column with the densities.
    columns : tuple of str, optional
        Columns of the ancillary table, by name or pattern; default: all that have one value per row.
    where : str, optional
        Rows to write.
    """

    name: ClassVar[str] = "qp"

    pdf: str = "z_pdf"

    @model_validator(mode="after")
    def _readable(self) -> Qp:
        if not self.path.endswith(".hdf5"):
            raise ValueError(f"the path must end in .hdf5, by which qp knows the format; got {self.path!r}")
        return self

    def reads(self, available: tuple[Field, ...]) -> tuple[Field, ...]:
        """Fields to write: the densities first.

        Raises
        ------
        ChunkError
            If qp is not installed, a column is unknown or the densities are no column of densities.
        """
        if find_spec("qp") is None:
            raise ChunkError("qp: the package qp-prob is not installed; pip install 'astrokeras[qp]'")
        have = by_name(available)
        if self.pdf not in have:
            raise ChunkError(f"qp: no column {self.pdf!r}{did_you_mean(self.pdf, have)}")
        if len(have[self.pdf].shape) != 1:
            raise ChunkError(f"qp: column {self.pdf!r} has cells of shape {have[self.pdf].shape}, not one PDF per row")
        others = have.values() if self.columns is None else select(self.columns, available, "qp.columns")
        wide = [f.name for f in others if f.shape and f.name != self.pdf]
        if wide and self.columns is not None:
            raise ChunkError(f"qp: column {wide[0]!r} has several values per row; beside the densities is room for one")
        return (have[self.pdf], *(f for f in others if not f.shape and f.name != self.pdf))

    def write(self, chunk: QTable, fields: tuple[Field, ...], piece: Path) -> dict[str, Any]:
        """Write the columns of a partition; text as UTF-8."""
        arrays = {field.name: _plain(chunk[field.name], field) for field in fields}
        with replacing(piece, sync=False) as stream:
            np.savez(stream, **arrays)
        return {"rows": len(chunk), "widths": {n: a.dtype.itemsize for n, a in arrays.items() if a.dtype.kind == "S"}}

    def close(self, pieces: list[tuple[Path, dict[str, Any]]], product: Product) -> None:
        """Put the pieces together, one after the other.

        Raises
        ------
        OutputError
            If the densities do not say their grid, there are no rows, or the file cannot be written.
        """
        from .facts import flatten

        filled = [(path, facts) for path, facts in pieces if facts["rows"]]
        total = sum(facts["rows"] for _, facts in filled)
        if not total:
            raise OutputError(f"{product.path}: no rows to write, and qp has no ensembles without rows")
        grid = _nodes(product.fields[0].meta, product.fields[0].shape[0], f"{product.path}: column {self.pdf!r}")
        widths: dict[str, int] = {}
        for _, facts in filled:
            widths |= {name: max(width, widths.get(name, 1)) for name, width in facts["widths"].items()}
        with replacing(product.path) as stream:
            file, start = None, 0
            for path, facts in filled:
                part = _part(path, grid, self.pdf, widths)
                if file is None:
                    groups, file = part.initializeHdf5Write(stream.name, total)
                part.writeHdf5Chunk(groups, start, start + facts["rows"])
                start += facts["rows"]
            file.attrs.update({f"astrokeras.{name}": text for name, text in flatten(product.provenance)})
            part.finalizeHdf5Write(file)


def _part(path: Path, grid: np.ndarray, pdf: str, widths: dict[str, int]) -> qp.Ensemble:
    with np.load(path, allow_pickle=False) as piece:
        columns = {name: piece[name] for name in piece.files}
    for name, width in widths.items():
        columns[name] = columns[name].astype(f"S{width}")
    return _ensemble(grid, columns.pop(pdf), columns)


def _plain(column: Any, field: Field) -> np.ndarray:
    """Array that HDF5 takes; text as UTF-8."""
    from ..chunk import values

    array = _filled(values(column, field.unit, f"column {field.name!r}"), -1 if field.null is None else field.null)
    return np.char.encode(array.astype(str), "utf-8") if array.dtype.kind in "UOT" else array


def _filled(array: Any, null: int = -1) -> np.ndarray:
    """Array without a mask: NaN for missing floats, the null for integers, False, or an empty text."""
    array = np.ma.asanyarray(array)
    return array.filled({"f": np.nan, "i": null, "b": False}.get(array.dtype.kind, ""))


def _ensemble(grid: np.ndarray, pdf: np.ndarray, columns: dict[str, np.ndarray]) -> qp.Ensemble:
    import qp

    more = {theirs: columns[ours] for theirs, ours in POINTS.items() if ours in columns and theirs not in columns}
    # NaN is said by flags; qp would warn of every part again.
    return qp.Ensemble(qp.interp, data={"xvals": grid, "yvals": pdf, "warn": False}, ancil={**columns, **more})


def _nodes(meta: Any, n: int, what: str) -> np.ndarray:
    low, high = (meta.get(key) for key in ("z_min", "z_max"))
    if not isinstance(low, float | int) or not isinstance(high, float | int) or not low < high:
        raise OutputError(f"{what} does not say its grid (z_min, z_max)")
    return np.linspace(low, high, n)


def to_qp(table: Table, pdf: str = "z_pdf", z_min: float | None = None, z_max: float | None = None) -> qp.Ensemble:
    """Ensemble of the densities of a table, with its other columns beside them.

    Parameters
    ----------
    table : Table or QTable
        As `PhotoZ` returns it.
    pdf : str
        Column with the densities, ``(rows, n_grid)``.
    z_min, z_max : float, optional
        First and last node of their uniform grid; by default as the column says (``info.meta``). Files keep the grid
        in their own ways (a PARAM in VOTables), which a table read from them by astropy does not know.

    Returns
    -------
    qp.Ensemble
        A qp.interp; its ``ancil`` holds the columns with one number or text per row, and ``zmode``,
        ``zmedian`` and ``zbest``.

    Raises
    ------
    ChunkError
        If there is no such column, it holds no densities, or does not say its grid.
    """
    if pdf not in table.colnames:
        raise ChunkError(f"no column {pdf!r}{did_you_mean(pdf, table.colnames)}")
    densities = _filled(np.ma.asanyarray(table[pdf], dtype=float))
    if densities.ndim != 2:
        raise ChunkError(f"column {pdf!r} has cells of shape {densities.shape[1:]}, not one PDF per row")
    said = dict(table[pdf].info.meta or {})
    said |= {key: value for key, value in (("z_min", z_min), ("z_max", z_max)) if value is not None}
    try:
        grid = _nodes(said, densities.shape[1], f"column {pdf!r}")
    except OutputError as error:
        raise ChunkError(f"{error}; give z_min and z_max") from None
    columns = {}
    for name in table.colnames:
        array = _filled(getattr(table[name], "value", table[name]))
        if name != pdf and array.ndim == 1 and array.dtype.kind in "bifSU":
            columns[name] = array
    return _ensemble(grid, densities, columns)


def from_qp(
    ensemble: qp.Ensemble, z_min: float | None = None, z_max: float | None = None, n_grid: int | None = None
) -> QTable:
    """Columns of an ensemble of any kind, as `PhotoZ` would have written them.

    Parameters
    ----------
    ensemble : qp.Ensemble
        One density per object.
    z_min, z_max : float, optional
        First and last node of the uniform grid; by default those of the ensemble, if it is a qp.interp on such a grid.
    n_grid : int, optional
        Nodes; by default those of the ensemble, else 301.

    Returns
    -------
    QTable
        ``object_id`` (if the ensemble knows one, else numbers from 0), ``z_phot``, ``z_mode``, ``z_best``, ``z_lo``,
        ``z_hi``, ``z_risk``, ``z_odds``, ``z_pdf`` (normalised on the grid, what lies outside is lost) and ``flags``,
        with NO_DATA where there is no density on the grid.

    Raises
    ------
    ChunkError
        If the grid is not known, or a density is negative.
    """
    from astropy.table import QTable

    from ..chunk import as_column
    from ..models.card import Grid
    from ..models.redshift_columns import density_columns, redshift_fields

    grid = _grid_of(ensemble, z_min, z_max, n_grid)
    pdf = np.atleast_2d(ensemble.pdf(grid))
    if np.any(pdf < 0):
        row = int(np.argmax(np.any(pdf < 0, axis=1)))
        raise ChunkError(f"the density of row {row} is negative; from_qp takes densities")
    total = np.trapezoid(pdf, grid, axis=1)
    good = np.isfinite(total) & (total > 0)
    pdf = np.where(good[:, None], pdf / np.where(good, total, 1)[:, None], np.nan)
    fields = redshift_fields(Grid(z_min=float(grid[0]), z_max=float(grid[-1]), n=len(grid)))
    columns = density_columns(pdf, grid, {field.name for field in fields})
    ancil = ensemble.ancil or {}
    ids = next((np.asarray(ancil[name]) for name in IDENTIFIERS if name in ancil), np.arange(len(pdf)))
    out = QTable({OBJECT_ID.name: as_column(ids, OBJECT_ID)})
    for field in fields:
        out[field.name] = as_column(np.asarray(columns[field.name], np.float32), field)
    out[FLAGS.name] = as_column(np.where(good, 0, int(Flag.NO_DATA)).astype(np.int32), FLAGS)
    return out


def _grid_of(ensemble: qp.Ensemble, z_min: float | None, z_max: float | None, n_grid: int | None) -> np.ndarray:
    own = np.asarray(getattr(ensemble.gen_obj, "xvals", []), float)
    uniform = own.ndim == 1 and len(own) > 1 and np.allclose(np.diff(own), np.ptp(own) / (len(own) - 1), rtol=1e-4)
    low, high = (
        end if given is None else given for given, end in zip((z_min, z_max), _ends(own, uniform), strict=True)
    )
    if low is None or high is None or not low < high:
        raise ChunkError(
            f"an ensemble of kind {ensemble.gen_class.name!r} has no uniform grid of its own; give z_min and z_max"
        )
    return np.linspace(low, high, n_grid or (len(own) if uniform else 301))


def _ends(own: np.ndarray, uniform: bool) -> tuple[float | None, float | None]:
    return (float(own[0]), float(own[-1])) if uniform else (None, None)
