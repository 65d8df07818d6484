"""Headers of a FITS binary table whose rows are written by others."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from astropy import units as u
from astropy.io import fits

from ..errors import OutputError
from ..fields import Field
from .facts import column_facts, description, flatten
from .records import Cell

_LETTERS = {"f4": "E", "f8": "D", "i2": "I", "i4": "J", "i8": "K", "bool": "L", "ascii": "A"}
#: Bytes of a FITS block; headers and data fill whole ones.
BLOCK = 2880


def headers(
    name: str, fields: tuple[Field, ...], cells: tuple[Cell, ...], record: int, rows: int, provenance: Mapping[str, Any]
) -> bytes:
    """Primary header and header of the table, each padded to whole blocks.

    Parameters
    ----------
    name : str
        EXTNAME.
    fields, cells : tuple
        Columns, and how their values are stored.
    record, rows : int
        Bytes of a row, and number of rows.
    provenance : mapping
        Becomes HISTORY; its ``date`` becomes DATE.
    """
    primary = fits.PrimaryHDU().header
    table = fits.Header(
        [
            ("XTENSION", "BINTABLE", "binary table extension"),
            ("BITPIX", 8, "array data type"),
            ("NAXIS", 2, "number of array dimensions"),
            ("NAXIS1", record, "bytes per row"),
            ("NAXIS2", rows, "number of rows"),
            ("PCOUNT", 0, "number of group parameters"),
            ("GCOUNT", 1, "number of groups"),
            ("TFIELDS", len(fields), "number of columns"),
        ]
    )
    for header in (primary, table):
        if provenance.get("date"):
            header["DATE"] = (str(provenance["date"]), "UTC")
    for i, (field, cell) in enumerate(zip(fields, cells, strict=True), 1):
        _add_column(table, i, field, cell)
    table["EXTNAME"] = _ascii(name)
    if {"ra", "dec"} & {f.name for f in fields}:
        table["RADESYS"] = ("ICRS", "frame of ra, dec")
    _add_facts(table, fields)
    for key, text in flatten(provenance):
        table.add_history(_ascii(f"{key} = {text}"))
    return b"".join(header.tostring().encode("ascii") for header in (primary, table))


def _add_column(header: fits.Header, i: int, field: Field, cell: Cell) -> None:
    count = 1
    for n in cell.shape:
        count *= n
    header[f"TTYPE{i}"] = field.name
    header[f"TFORM{i}"] = f"{count}{_LETTERS[cell.kind]}"
    if len(cell.shape) > 1:
        # FITS counts the fastest axis first, numpy last.
        header[f"TDIM{i}"] = f"({','.join(str(n) for n in reversed(cell.shape))})"
    if field.unit:
        header[f"TUNIT{i}"] = fits_unit(field.unit)
    if field.null is not None or (cell.masked and cell.null is not None):
        if cell.clash and cell.masked and field.null is None:
            raise OutputError(
                f"column {field.name!r} has missing values and the value {cell.null}; give its field a null"
            )
        header[f"TNULL{i}"] = cell.null
    for key, text in (("TUCD", field.ucd), ("TCOMM", description(field))):
        if text:
            header[f"{key}{i}"] = _ascii(text)


def _add_facts(header: fits.Header, fields: Iterable[Field]) -> None:
    """Numbers get a keyword of their own (``z_pdf z_min``), texts a COMMENT, which may be long."""
    for field in fields:
        for name, value in column_facts(field).items():
            if isinstance(value, str):
                header.add_comment(_ascii(f"{field.name} {name} = {value}"))
            else:
                header[f"HIERARCH {field.name} {name}"] = value


def fits_unit(unit: str) -> str:
    """Spelling of a unit in the FITS standard.

    Raises
    ------
    ValueError
        If the standard has no such unit.
    """
    # Deprecated units (erg, Angstrom) are still valid.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)
        return u.Unit(unit).to_string("fits")


def _ascii(text: str) -> str:
    """Printable ASCII, which is all that a header may hold."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)
