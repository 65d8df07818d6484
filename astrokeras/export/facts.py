"""Facts that travel with a product: provenance as named texts, and what a column's meta data say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..fields import Field
from ..flags import Flag


def flatten(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Provenance as pairs of name and text, in its order.

    A mapping gives one pair per item (``models.photoz``), a list of mappings one per item, named by its ``stage``,
    ``id`` or ``name`` (``stages.photoz``); deeper values are JSON. None is left out.
    """
    return [pair for key, value in provenance.items() if value is not None for pair in _pairs(key, value)]


def _pairs(key: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [(f"{key}.{name}", _text(item)) for name, item in value.items() if item is not None]
    if not isinstance(value, list | tuple):
        return [(key, _text(value))]
    if any(isinstance(item, Mapping) for item in value):
        return [(f"{key}.{_label(item, i)}", _text(item)) for i, item in enumerate(value)]
    return [(key, ", ".join(_text(item) for item in value))]


def _label(item: Any, index: int) -> str:
    if isinstance(item, Mapping):
        return str(item.get("stage") or item.get("id") or item.get("name") or index)
    return str(index)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def description(field: Field) -> str:
    """What a column is, for people: its description, with the filter and the kind of photometry of a flux."""
    text = field.description.strip() or field.name.replace("_", " ")
    stated = [
        f"{what} {value}" for what, value in (("filter", field.filter), ("photometry", field.photometry)) if value
    ]
    return f"{text} ({', '.join(stated)})" if stated else text


def column_facts(field: Field) -> dict[str, str | float]:
    """What is known of a column beyond name, unit and UCD.

    Filter, photometry, dereddened, and its ``meta``; of ``flags`` the bits and their names.
    """
    bits = {flag.name: flag.value for flag in Flag} if field.name == "flags" else {}
    return field.facts | dict(field.meta) | bits


def by_facts(fields: Iterable[Field]) -> list[tuple[dict[str, str | float], list[Field]]]:
    """Fields that share the same facts, grouped; those without are left out."""
    groups: list[tuple[dict[str, str | float], list[Field]]] = []
    for field in fields:
        facts = column_facts(field)
        if not facts:
            continue
        same = [members for known, members in groups if known == facts]
        if same:
            same[0].append(field)
        else:
            groups.append((facts, [field]))
    return groups
