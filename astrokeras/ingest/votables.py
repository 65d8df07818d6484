"""VOTables in every serialisation, by astropy. A service's error message is an error, whatever rows come with it."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import IngestError
from ..surveys.columns import Native
from .tablefile import Cut, TableFile, TableOptions, even_cuts

_log = logging.getLogger(__name__)


class VOTableFile(TableFile):
    """A table of a VOTable, held in memory with its document: the format has no way to read a part of it."""

    kind = "VOTable"

    def __init__(self, path: str, options: TableOptions):
        self.document = document = parsed(path)
        self.truncated = refuse_service_error(path, document)
        self._table = chosen_table(path, document, options.table)
        names = [f.name or f.ID for f in self._table.fields]
        super().__init__(path, names, f"table {self._table.name or self._table.ID or ''}".strip())
        self._ids = dict(zip(names, (f.ID for f in self._table.fields), strict=True))
        self._units = {n: unit_of(f) for n, f in zip(names, self._table.fields, strict=True)}
        self.rows = len(self._table.array)

    def cuts(self, max_rows: int) -> Iterator[Cut]:
        """Cut the rows evenly."""
        yield from even_cuts(self.rows, max_rows)

    def read(self, names: Sequence[str], cut: Cut) -> dict[str, Native]:
        """Take columns of some rows."""
        return {name: self._native(name, cut) for name in names}

    def _native(self, name: str, cut: Cut) -> Native:
        array = self._table.array[self._ids[name]][cut.start : cut.stop]
        stated = self._units[name]
        if array.dtype.kind == "O":
            array = self._objects(array, name)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        mask, data = np.ma.getmaskarray(array), np.ma.getdata(array)
        if not np.any(mask):
            return Native(data, stated)
        if data.dtype.kind == "f":
            return Native(np.where(mask, np.asarray(np.nan, data.dtype), data), stated)
        return Native(np.ma.MaskedArray(data, mask), stated)

    def _objects(self, array: Any, name: str) -> np.ma.MaskedArray:
        mask = np.ma.getmaskarray(array)
        values = ["" if gone else value for gone, value in zip(mask, np.ma.getdata(array), strict=True)]
        if any(isinstance(v, np.ndarray) for v in values):
            raise IngestError(f"{self.what}, column {name!r}: cells of variable length are not read")
        return np.ma.MaskedArray(np.array([v.decode() if isinstance(v, bytes) else str(v) for v in values], str), mask)


def parsed(path: str, text: bytes | None = None) -> Any:
    """Parse a VOTable, or the text of one.

    Raises
    ------
    IngestError
        If it is none.
    """
    from astropy.io.votable import parse
    from astropy.io.votable.exceptions import VOWarning

    try:
        with warnings.catch_warnings():
            # Files of archives break the standard in many harmless ways.
            warnings.simplefilter("ignore")
            return parse(path if text is None else io.BytesIO(text), verify="ignore", filename=path)
    except (VOWarning, ValueError, OSError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise IngestError(f"{path}: is no readable VOTable: {str(error)[:300] or type(error).__name__}") from None


def unit_of(field: Any) -> str:
    """Unit of a FIELD as text, empty for none."""
    if field.unit is None:
        return ""
    return field.unit.to_string() if hasattr(field.unit, "to_string") else str(field.unit)


def refuse_service_error(path: str, document: Any) -> bool:
    """Whether the service that wrote a VOTable cut the result short (QUERY_STATUS is OVERFLOW).

    DALI: INFO QUERY_STATUS tells whether the service could answer; older ones, and cone searches, have an INFO or a
    PARAM named ERROR.

    Raises
    ------
    IngestError
        If the service says that it failed.
    """
    truncated = False
    for info in _statements(document):
        # The value of a PARAM may be an array, which has no truth value.
        name, value = (info.name or "").upper(), ("" if info.value is None else str(info.value)).upper()
        if name == "ERROR" or (name == "QUERY_STATUS" and value == "ERROR"):
            content = getattr(info, "content", None)
            message = " ".join(str(content or (info.value if name == "ERROR" else "") or "no reason given").split())
            raise IngestError(f"{path}: the service answered with an error: {message}")
        truncated |= name == "QUERY_STATUS" and value == "OVERFLOW"
    if truncated:
        _log.warning("%s: the service cut the result short (QUERY_STATUS is OVERFLOW)", path)
    return truncated


def _statements(document: Any) -> list[Any]:
    """INFO and PARAM elements of the document and of its resources."""
    holders = [document, *document.resources]
    return [statement for holder in holders for statement in (*holder.infos, *holder.params)]


def chosen_table(path: str, document: Any, wanted: int | str | None) -> Any:
    """Table of a number, name or ID, or the only one.

    Raises
    ------
    IngestError
        If there is none, or several.
    """
    tables = list(document.iter_tables())
    have = ", ".join(f"{i} {t.name or t.ID or '(no name)'}" for i, t in enumerate(tables))
    if not tables:
        raise IngestError(f"{path}: the VOTable has no table")
    if wanted is None:
        if len(tables) > 1:
            raise IngestError(f"{path}: has several tables; name one with `table:` ({have})")
        return tables[0]
    same = [t for i, t in enumerate(tables) if wanted in (i, t.name, t.ID)]
    if len(same) != 1:
        raise IngestError(f"{path}: has {'no' if not same else 'more than one'} table {wanted!r}; tables: {have}")
    return same[0]
