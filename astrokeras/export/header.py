"""The part of a VOTable around its data, made by astropy's writer: fields, coordinate systems, provenance, PARAMs."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

from astropy.io.votable import tree
from astropy.io.votable.dataorigin import DATAORIGIN_INFO, DATAORIGIN_QUERY_INFO, add_data_origin_info

from ..errors import OutputError
from ..fields import Field
from ..flags import DESCRIPTIONS, Flag
from .facts import by_facts, description, flatten
from .preflight import vounit
from .records import Cell

_DATATYPES = {
    "f4": "float",
    "f8": "double",
    "i2": "short",
    "i4": "int",
    "i8": "long",
    "bool": "boolean",
    "ascii": "char",
    "utf16": "unicodeChar",
}
# What astropy's elements ask of the file they are in.
_CONFIG = {"version": "1.4", **{f"version_1_{minor}_or_later": True for minor in (1, 2, 3, 4)}}
#: Where the PhotDM model has a place for a fact of a flux.
_UTYPES = {"filter": "photDM:PhotometryFilter.identifier"}
_UCDS = {
    "filter": "meta.ref.url;instr.filter",
    "z_min": "src.redshift.phot;stat.min",
    "z_max": "src.redshift.phot;stat.max",
}


def document(
    name: str, fields: tuple[Field, ...], cells: tuple[Cell, ...], rows: int, provenance: Mapping[str, Any]
) -> bytes:
    """A VOTable 1.4 that says everything about a table but its data.

    Only columns and coordinate systems have an ID: they are referred to. astropy makes one of every name, and a file in
    which two groups state a ``filter``, or a column is called like the table, would not be valid.

    Parameters
    ----------
    name : str
        Name of the table.
    fields : tuple of Field
        Columns.
    cells : tuple of Cell
        How their values are stored.
    rows : int
        Number of rows.
    provenance : mapping
        Becomes INFO elements; ``date`` and what the DataOrigin note names (``creator``, ``citation``, ...) under the
        names of that note.
    """
    votable = tree.VOTableFile(version="1.4")
    resource = tree.Resource(name=name, type="results")
    votable.resources.append(resource)
    table = tree.TableElement(votable, name=name)
    table.description = str(provenance.get("description") or f"{name}: {len(fields)} columns written by astrokeras")
    table.ID = None
    resource.tables.append(table)
    _add_infos(votable, resource, provenance)
    systems = _add_systems(resource, fields)
    ids = _ids(fields)
    for field, cell in zip(fields, cells, strict=True):
        table.fields.append(_field(votable, field, cell, ids[field.name], systems.get(field.name)))
    _add_groups(votable, table, fields, ids)
    text = io.BytesIO()
    votable.to_xml(text)
    return re.sub(rb"<TABLE\b", b'<TABLE nrows="%d"' % rows, text.getvalue(), count=1)


def frame(text: bytes) -> tuple[bytes, bytes]:
    """Cut a `document` where the base64 of its BINARY2 data belongs."""
    end = text.rindex(b"</TABLE>")
    end = text.rindex(b"\n", 0, end) + 1
    return (
        text[:end] + b'   <DATA>\n    <BINARY2>\n     <STREAM encoding="base64">\n',
        b"     </STREAM>\n    </BINARY2>\n   </DATA>\n" + text[end:],
    )


def _ids(fields: tuple[Field, ...]) -> dict[str, str]:
    """XML identifiers: the name where it is one, else the place."""
    return {
        f.name: f.name if re.fullmatch(r"[A-Za-z_][\w.-]*", f.name, re.ASCII) else f"column.{i}"
        for i, f in enumerate(fields, 1)
    }


def _field(votable: tree.VOTableFile, field: Field, cell: Cell, identifier: str, system: str | None) -> tree.Field:
    # VOTable counts the fastest axis first, numpy last.
    size = "x".join(str(n) for n in reversed(cell.shape)) or None
    made = tree.Field(
        votable,
        ID=identifier,
        name=field.name,
        datatype=_DATATYPES[cell.kind],
        arraysize=size,
        unit=vounit(field.unit, f"column {field.name!r}") if field.unit else None,
        ucd=field.ucd or None,
        ref=system,
    )
    made.description = description(field)
    null = _stated_null(field, cell)
    if null is not None:
        made.values.null = null
    return made


def _stated_null(field: Field, cell: Cell) -> int | None:
    """Integer to announce as the null: needed by readers that know no null bits, and for elements of arrays."""
    if field.null is not None:
        return field.null
    if not cell.masked or cell.null is None:
        return None
    if cell.clash and cell.shape:
        raise OutputError(
            f"column {field.name!r} has missing elements and the value {cell.null}; give its field a null"
        )
    return None if cell.clash else cell.null


def _add_infos(votable: tree.VOTableFile, resource: tree.Resource, provenance: Mapping[str, Any]) -> None:
    version = provenance.get("astrokeras_version")
    origin = {"server_software": f"astrokeras {version}" if version else "astrokeras"}
    origin |= {"request_date": provenance["date"]} if provenance.get("date") else {}
    origin |= {k: v for k, v in provenance.items() if k in (*DATAORIGIN_QUERY_INFO, *DATAORIGIN_INFO) and v}
    for name, value in origin.items():
        for one in value if isinstance(value, list | tuple) else (value,):
            add_data_origin_info(votable if name in DATAORIGIN_QUERY_INFO else resource, name, str(one))
    for name, text in flatten(
        {k: v for k, v in provenance.items() if k not in origin and k not in ("date", "description")}
    ):
        resource.infos.append(tree.Info(name=name, value=text))
    for info in (*votable.infos, *resource.infos):
        info.ID = None


def _add_systems(resource: tree.Resource, fields: tuple[Field, ...]) -> dict[str, str]:
    """COOSYS and TIMESYS elements; which column refers to which."""
    refs: dict[str, str] = {}
    places = [f for f in fields if f.name in ("ra", "dec") or f.ucd.startswith("pos.eq.")]
    for epoch in dict.fromkeys(f.meta.get("epoch") for f in places):
        identifier = "icrs" if epoch is None else f"icrs_{re.sub(r'[^A-Za-z0-9.]', '_', str(epoch))}"
        system = tree.CooSys(ID=identifier, system="ICRS", epoch=None if epoch is None else str(epoch), config=_CONFIG)
        resource.coordinate_systems.append(system)
        refs |= {f.name: identifier for f in places if f.meta.get("epoch") == epoch}
    times = [f for f in fields if f.ucd.startswith("time.") and "timescale" in f.meta]
    keys = ("timescale", "timeorigin", "refposition")
    for n, facts in enumerate(dict.fromkeys(tuple(f.meta.get(k) for k in keys) for f in times)):
        scale, origin, place = facts
        identifier = "time" if n == 0 else f"time_{n + 1}"
        resource.time_systems.append(
            tree.TimeSys(
                ID=identifier,
                timescale=str(scale),
                # Times are MJD unless a column says otherwise.
                timeorigin=2400000.5 if origin is None else origin,
                refposition=str(place or "UNKNOWN"),
                config=_CONFIG,
            )
        )
        refs |= {f.name: identifier for f in times if tuple(f.meta.get(k) for k in keys) == facts}
    return refs


def _add_groups(
    votable: tree.VOTableFile, table: tree.TableElement, fields: tuple[Field, ...], ids: dict[str, str]
) -> None:
    for facts, members in by_facts(fields):
        group = tree.Group(table, name=f"{members[0].name}_facts")
        group.description = f"What holds for {', '.join(f.name for f in members)}"
        group.entries.extend(tree.FieldRef(table, ref=ids[f.name]) for f in members)
        group.entries.extend(_param(votable, name, value) for name, value in facts.items())
        table.groups.append(group)


def _param(votable: tree.VOTableFile, name: str, value: str | float) -> tree.Param:
    more: dict[str, Any] = {"ucd": _UCDS.get(name), "utype": _UTYPES.get(name), "value": value}
    if isinstance(value, str):
        more |= {"datatype": "char" if value.isascii() else "unicodeChar", "arraysize": "*"}
    else:
        more["datatype"] = "long" if isinstance(value, int) else "double"
    made = tree.Param(votable, name=name, **more)
    made.ID = None
    if name in Flag.__members__:
        made.description = DESCRIPTIONS[Flag[name]]
    return made
