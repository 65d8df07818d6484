"""Values given beside the file: ``--set stages.photoz.batch=512``.

An address names a section, then a part (by its name, a stage also by its ``id``, an output also by its number), then
its parameters. The value is YAML and replaces whatever was there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..errors import Problem, did_you_mean
from .nodes import Mapping, Node, Place, Scalar, Sequence, is_null, parse_yaml

# A plain value of YAML cannot start with a brace; on a command line `{data}/x.fits` is meant as text.
_STARTS_WITH_NAME = re.compile(r"\{[A-Za-z_]\w*\}")


class _AddressError(ValueError):
    """An address that leads nowhere; the text says where it could lead."""


@dataclass(frozen=True)
class _Change:
    """What to put in, and the place of the last name of the address."""

    value: Node
    place: Place


def apply(root: Mapping, sets: Iterable[str], sections: Iterable[str], problems: list[Problem]) -> Mapping:
    """Return the tree of a pipeline file with values replaced.

    Parameters
    ----------
    root : Mapping
        The file.
    sets : iterable of str
        ``address=value``, later ones win.
    sections : iterable of str
        Allowed first names of an address.
    problems : list of Problem
        Gets what is wrong; its file is the argument itself.
    """
    for text in sets:
        start = Place(f"--set {text}", 1, 1)
        address, equals, _ = text.partition("=")
        if not equals or not address.strip():
            problems.append(start.problem("needs the form address=value, such as stages.photoz.batch=512"))
            continue
        value = _value(text, len(address) + 1, problems)
        if value is None:
            continue
        try:
            last = Place(start.file, 1, address.rfind(".") + 2)
            root = _section(root, address.strip().split("."), _Change(value, last), tuple(sections))
        except _AddressError as error:
            problems.append(start.problem(str(error)))
    return root


def _value(text: str, offset: int, problems: list[Problem]) -> Node | None:
    if _STARTS_WITH_NAME.match(text, offset):
        return Scalar(text[offset:], Place(f"--set {text}", 1, offset + 1), quoted=True)
    if not text[offset:].strip():
        return Scalar("", Place(f"--set {text}", 1, offset + 1))
    # Padded, so that the columns are those of the argument.
    # Blanks in front keep the columns right; before several lines they would change what is indented below what.
    blanks = "" if "\n" in text else " " * offset
    return parse_yaml(blanks + text[offset:], f"--set {text}", problems)


def _section(root: Mapping, keys: list[str], change: _Change, sections: tuple[str, ...]) -> Mapping:
    head = keys[0]
    if head not in sections:
        raise _AddressError(f"no section '{head}'{did_you_mean(head, sections)}")
    old = root.values.get(head, Mapping(change.place))
    if len(keys) == 1:
        return root.with_value(head, change.value, change.place)
    if head in ("stages", "outputs"):
        return root.with_value(head, _in_list(old, head, keys[1:], change))
    if head == "source":
        return root.with_value(head, _in_part(old, keys[1:], change))
    return root.with_value(head, _below(old, keys[1:], change, head))


def _in_list(section: Node, head: str, keys: list[str], change: _Change) -> Node:
    items = section.items if isinstance(section, Sequence) else ()
    index = _index(items, head, keys[0])
    name = _name(items[index])
    item = items[index]
    if not isinstance(item, Mapping):
        item = Mapping(item.place, {name: Scalar("", item.place)}, {name: item.place})
    inside = _below(item.values[name], keys[1:], change, f"{head}.{keys[0]}")
    new = item.with_value(name, inside, None if keys[1:] else change.place)
    return Sequence((*items[:index], new, *items[index + 1 :]), section.place)


def _index(items: tuple[Node, ...], head: str, key: str) -> int:
    """Index of the part that a name, an id or (for outputs) a number stands for."""
    labels = [_id(item) if head == "stages" else _name(item) for item in items]
    if head == "outputs" and key.isdecimal() and int(key) < len(items) and _name(items[int(key)]):
        return int(key)
    found = [i for i, label in enumerate(labels) if label == key and label]
    if not found and head == "stages":
        found = [i for i, item in enumerate(items) if _name(item) == key]
    if len(found) == 1:
        return found[0]
    if not found:
        raise _AddressError(f"no {head[:-1]} '{key}' in the file{did_you_mean(key, filter(None, labels))}")
    exact = " or ".join(f"{head}.{i if head == 'outputs' else labels[i]}" for i in found)
    raise _AddressError(f"{len(found)} {head} are named '{key}': say {exact}")


def _name(item: Node) -> str:
    """Name of an entry of ``stages`` or ``outputs``; empty if it has none."""
    if isinstance(item, Mapping):
        return next(iter(item.values)) if len(item.values) == 1 else ""
    return item.text if isinstance(item, Scalar) else ""


def _id(item: Node) -> str:
    inside = item.values.get(_name(item)) if isinstance(item, Mapping) else None
    given = inside.values.get("id") if isinstance(inside, Mapping) else None
    return given.text if isinstance(given, Scalar) and not is_null(given) else _name(item)


def _in_part(section: Node, keys: list[str], change: _Change) -> Node:
    name = _name(section)
    if keys[0] != name:
        whole = f"replace it whole: --set 'source={{{keys[0]}: {{...}}}}'"
        raise _AddressError(f"the source in the file is '{name}', not '{keys[0]}'; {whole}")
    if not isinstance(section, Mapping):
        section = Mapping(section.place, {name: Scalar("", section.place)}, {name: section.place})
    inside = _below(section.values[name], keys[1:], change, f"source.{name}")
    return section.with_value(name, inside, None if keys[1:] else change.place)


def _below(node: Node, keys: list[str], change: _Change, label: str) -> Node:
    """Replace what lies at ``keys`` below a node; absent mappings are made."""
    if not keys:
        return change.value
    if is_null(node):
        node = Mapping(change.place)
    key, rest = keys[0], keys[1:]
    if isinstance(node, Mapping):
        if not key:
            raise _AddressError(f"a name is missing after '{label}.'")
        child = node.values.get(key, Mapping(change.place))
        return node.with_value(key, _below(child, rest, change, f"{label}.{key}"), None if rest else change.place)
    if isinstance(node, Sequence):
        if not key.isdecimal() or int(key) >= len(node.items):
            raise _AddressError(f"'{label}' is a list of {len(node.items)}: '{key}' must be a number from 0")
        index = int(key)
        new = _below(node.items[index], rest, change, f"{label}.{key}")
        return replace(node, items=(*node.items[:index], new, *node.items[index + 1 :]))
    raise _AddressError(f"'{label}' is a value in the file; nothing below it can be set")
