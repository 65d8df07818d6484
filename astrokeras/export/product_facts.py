"""What products of astrokeras say about themselves, read back: provenance, and facts of their columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..ingest.tablefile import TableFile

Provenance = dict[str, str]
#: By column, and by name of the fact.
ColumnFacts = dict[str, dict[str, Any]]

#: Metadata of Parquet files that are for other readers.
_FOREIGN = re.compile(r"table::len::.*|table_meta_yaml|IVOA\..*|ARROW:schema|pandas")
_HISTORY = re.compile(r"([A-Za-z][\w.@-]*) = (.*)", re.DOTALL)
#: Characters of a HISTORY card.
_CARD = 72


def facts_of_product(table: TableFile) -> tuple[Provenance, ColumnFacts]:
    """Provenance, and facts of the columns (the grid of a density, the shape of cells), as far as a table states them.

    Parameters
    ----------
    table : TableFile
        Of any format; a text file states nothing.
    """
    if table.kind == "Parquet":
        return _parquet(table.schema)
    if table.kind == "VOTable":
        return _votable(table.document)
    if table.kind == "FITS":
        return _fits(table.hdu.header, table.names)
    return {}, {}


def _parquet(schema: Any) -> tuple[Provenance, ColumnFacts]:
    told = {k.decode(): v.decode("utf-8", "replace") for k, v in (schema.metadata or {}).items()}
    provenance = {name: text for name, text in told.items() if not _FOREIGN.fullmatch(name)}
    columns = {}
    for field in schema:
        known = {k.decode(): v.decode("utf-8", "replace") for k, v in (field.metadata or {}).items()}
        columns[field.name] = {name: _value(text) for name, text in known.items()}
    return provenance, columns


def _value(text: str) -> Any:
    """A number, where the text is one."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text


def _votable(document: Any) -> tuple[Provenance, ColumnFacts]:
    resource = document.resources[0]
    provenance = {info.name: str(info.value) for info in (*document.infos, *resource.infos) if info.name}
    if "request_date" in provenance:
        provenance["date"] = provenance.pop("request_date")
    columns: ColumnFacts = {}
    table = next(document.iter_tables())
    names = {field.ID: field.name for field in table.fields}
    for group in table.groups:
        facts = {entry.name: entry.value for entry in group.entries if hasattr(entry, "value")}
        for entry in group.entries:
            if getattr(entry, "ref", None) in names and not hasattr(entry, "value"):
                columns.setdefault(names[entry.ref], {}).update({k: _plain(v) for k, v in facts.items()})
    return provenance, columns


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _fits(header: Mapping[str, Any], names: tuple[str, ...]) -> tuple[Provenance, ColumnFacts]:
    provenance = dict(_said(header))
    if "DATE" in header:
        provenance.setdefault("date", str(header["DATE"]))
    columns: ColumnFacts = {}
    # Keywords are in capitals, whatever was written.
    known = {name.upper(): name for name in names}
    for key in header:
        column, _, fact = str(key).partition(" ")
        if fact and column.upper() in known:
            columns.setdefault(known[column.upper()], {})[fact.lower()] = header[key]
    return provenance, columns


def _said(header: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Entries of HISTORY, ``name = text``; a long one goes on in the next cards."""
    entries: list[str] = []
    for card in header.get("HISTORY", ()):
        if entries and not _HISTORY.fullmatch(str(card)):
            # Blanks at the end of a card are lost.
            entries[-1] += " " * (-len(entries[-1]) % _CARD) + str(card)
        else:
            entries.append(str(card))
    for entry in entries:
        found = _HISTORY.fullmatch(entry)
        if found:
            yield found[1], found[2]
