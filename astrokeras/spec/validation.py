"""From nodes to parameters: validates a pydantic model strictly and words every error as a sentence at its place.

A number is only taken for a number and ``true``/``false`` for a switch; a parameter typed as text or path receives the
text as written. `model_validate_json` in strict mode gives these rules, and takes lists for tuples and sets.
"""

from __future__ import annotations

import json
import re
import typing
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import AstrokerasError, ExpressionError, Problem, did_you_mean
from .nodes import Mapping, Node, Place, Scalar, Sequence, child, is_null, resolve

_Model = TypeVar("_Model", bound=BaseModel)
_Path = tuple[str | int, ...]

_TEXT_ERRORS = frozenset({"string_type", "path_type", "literal_error", "enum"})
_CHOICES = frozenset({"literal_error", "enum", "none_required"})
_NAMED = {"nan": float("nan"), "inf": float("inf"), "+inf": float("inf"), "-inf": float("-inf")}
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")

_WANTED = {
    "string_type": "text",
    "path_type": "a path",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "decimal": "a number",
    "finite": "a finite number",
    "none": "nothing",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen": "a list",
    "dict": "a mapping {name: value}",
    "mapping": "a mapping {name: value}",
    "model": "a mapping {name: value}",
    "dataclass": "a mapping {name: value}",
    "date": "a date such as 2026-01-31",
    "datetime": "a date and time such as 2026-01-31T12:30:45",
}
_LIMITS = {
    "greater_than": ("gt", "a value greater than {}"),
    "greater_than_equal": ("ge", "a value of at least {}"),
    "less_than": ("lt", "a value less than {}"),
    "less_than_equal": ("le", "a value of at most {}"),
    "multiple_of": ("multiple_of", "a multiple of {}"),
    "too_short": ("min_length", "at least {} entries"),
    "too_long": ("max_length", "at most {} entries"),
    "string_too_short": ("min_length", "at least {} characters"),
    "string_too_long": ("max_length", "at most {} characters"),
    "string_pattern_mismatch": ("pattern", "text like the pattern {}"),
    "literal_error": ("expected", "{}"),
    "enum": ("expected", "{}"),
    "union_tag_invalid": ("expected_tags", "one of {}"),
}


def validate(
    model: type[_Model], node: Node, problems: list[Problem], label: str, place: Place | None = None
) -> _Model | None:
    """Return an instance of a model, or None and problems.

    Parameters
    ----------
    model : type
        A pydantic model which forbids extra keys.
    node : Node
        A mapping of its parameters; nothing at all stands for an empty mapping.
    problems : list of Problem
        Gets one entry per error.
    label : str
        How messages call it, such as the name of a stage.
    place : Place, optional
        Where a missing parameter is reported; by default the place of the node.
    """
    place = place or node.place
    if is_null(node):
        node = Mapping(place)
    if not isinstance(node, Mapping):
        problems.append(node.place.problem(f"{label}: needs a mapping {{name: value}}, got {_shown(node)}"))
        return None
    repaired: dict[_Path, Any] = {}
    while True:
        try:
            return model.model_validate_json(json.dumps(_data(node, repaired)), strict=True)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        except ExpressionError as error:
            return _without_where(model, node, problems, label, place, error)
        except AstrokerasError as error:
            problems.append(place.problem(f"{label}: {error}"))
            return None
        new = _repairs(errors, node, repaired)
        if not new:
            break
        repaired |= new
    problems += _Wording(model, node, label, place).problems(errors)
    return None


def _without_where(
    model: type[BaseModel], node: Mapping, problems: list[Problem], label: str, place: Place, error: ExpressionError
) -> None:
    """Report a wrong ``where``, then whatever else is wrong: our own errors end a validation at once."""
    where = node.values.get("where")
    problems.append((where.place if where else place).problem(f"{label}: {error}"))
    if where is not None:
        rest = {key: value for key, value in node.values.items() if key != "where"}
        validate(model, Mapping(node.place, rest, node.keys), problems, label, place)


def _data(node: Node, repaired: dict[_Path, Any], path: _Path = ()) -> Any:
    if path in repaired:
        return repaired[path]
    if isinstance(node, Mapping):
        return {key: _data(value, repaired, (*path, key)) for key, value in node.values.items()}
    if isinstance(node, Sequence):
        return [_data(item, repaired, (*path, i)) for i, item in enumerate(node.items)]
    return resolve(node)


def _repairs(errors: list[Any], node: Node, done: dict[_Path, Any]) -> dict[_Path, Any]:
    """Other readings of plain scalars that had the wrong type: ``1e6`` as an integer, ``1`` or ``no`` as text."""
    new: dict[_Path, Any] = {}
    settled = {_locate(node, error)[0] for error in errors if _fits(error)} | set(done)
    for error in errors:
        path, found, _ = _locate(node, error)
        if path not in settled and isinstance(found, Scalar) and not found.quoted and not is_null(found):
            new.update(_reading(error["type"], found, path, new))
    return new


def _reading(kind: str, found: Scalar, path: _Path, new: dict[_Path, Any]) -> dict[_Path, Any]:
    value = resolve(found)
    if kind.startswith("int") and isinstance(value, float) and value.is_integer():
        return {path: int(value)}
    if kind.startswith("float") and found.text.lower() in _NAMED:
        return {path: _NAMED[found.text.lower()]}
    # In a union, a number comes before text.
    if kind in _TEXT_ERRORS and not isinstance(value, str) and path not in new:
        return {path: found.text}
    return {}


def _fits(error: Any) -> bool:
    """Whether a value had the right type and was refused for what it is."""
    return not error["type"].endswith(("_type", "_parsing")) and error["type"] not in _CHOICES


def _locate(node: Node, error: Any) -> tuple[_Path, Node | None, list[tuple[_Path, Any]]]:
    """Follow the location of an error of pydantic.

    Returns
    -------
    path : tuple
        Path in the nodes.
    found : Node or None
        The node there; None where a key is missing.
    unions : list of (path, tag)
        Unions on the way, and what pydantic calls the branch it took.
    """
    path: _Path = ()
    unions: list[tuple[_Path, Any]] = []
    for step in error["loc"]:
        below = child(node, step)
        if below is not None:
            path, node = (*path, step), below
        elif error["type"] == "missing" and step == error["loc"][-1]:
            return (*path, step), None, unions
        else:
            unions.append((path, step))
    return path, node, unions


def _shown(node: Node | None) -> str:
    """What was found, for a message."""
    if node is None or is_null(node):
        return f"'{node.text}'" if isinstance(node, Scalar) and node.text else "nothing"
    if isinstance(node, Scalar):
        text = node.text if len(node.text) <= 40 else node.text[:37] + "..."
        return repr(text) if isinstance(resolve(node), str) else text
    if isinstance(node, Sequence):
        return f"a list of {len(node.items)}"
    keys = ", ".join(node.values)
    return f"a mapping {{{keys if len(keys) <= 40 else keys[:37] + '...'}}}"


class _Wording:
    """Words the errors of one model."""

    def __init__(self, model: type[BaseModel], node: Mapping, label: str, place: Place):
        self.model, self.node, self.label, self.place = model, node, label, place

    def problems(self, errors: list[Any], level: int = 0) -> list[Problem]:
        """One problem per error; the branches of a union count as one. ``level`` unions are settled."""
        alone: list[Any] = []
        shared: dict[_Path, list[Any]] = {}
        for error in errors:
            unions = _locate(self.node, error)[2]
            (alone if len(unions) <= level else shared.setdefault(unions[level][0], [])).append(error)
        found = [self.one(error) for error in alone]
        return found + [p for union, group in shared.items() for p in self.union(union, group, level)]

    def union(self, union: _Path, errors: list[Any], level: int) -> list[Problem]:
        """Problems of a value that fits no branch of a union."""
        branches: dict[Any, list[Any]] = {}
        for error in errors:
            path, _, unions = _locate(self.node, error)
            if path != union:
                branches.setdefault(unions[level][1], []).append(error)
        if branches:
            # The branch that got furthest is the one that was meant.
            return self.problems(min(branches.values(), key=len), level + 1)
        fitting = [e for e in errors if _fits(e)]
        if fitting or len(errors) == 1:
            return [self.one((fitting or errors)[0])]
        wanted = " or ".join(dict.fromkeys(self.wanted(e) for e in errors))
        return [self.at(union, f"needs {wanted}, got {_shown(_locate(self.node, errors[0])[1])}")]

    def one(self, error: Any) -> Problem:
        path, found, _ = _locate(self.node, error)
        if error["type"] == "extra_forbidden":
            near = did_you_mean(str(path[-1]), self.allowed(error["loc"]))
            return self.at(path, f"unknown parameter{near}", key=True)
        if error["type"] == "missing":
            return self.at(path, "is required")
        if error["type"] in ("value_error", "assertion_error"):
            return self.at(path, str(error["ctx"]["error"]))
        hint = ""
        if isinstance(found, Scalar) and not found.quoted and _LEADING_ZERO.fullmatch(found.text):
            hint = f"; a leading zero means octal to some: write {int(found.text)}"
        elif error["type"] in _CHOICES and isinstance(found, Scalar):
            hint = did_you_mean(found.text, re.findall(r"'([^']*)'", error["ctx"]["expected"]))
            hint = hint if hint.startswith(";") else ""
        elif isinstance(found, Mapping) and len(found.values) == 1 and all(map(is_null, found.values.values())):
            hint = f'; a name in braces needs quotes: "{{{next(iter(found.values))}}}"'
        return self.at(path, f"needs {self.wanted(error)}, got {_shown(found)}{hint}")

    def wanted(self, error: Any) -> str:
        kind = error["type"]
        if kind in _LIMITS:
            key, text = _LIMITS[kind]
            value = error.get("ctx", {}).get(key, "")
            return text.format(int(value) if isinstance(value, float) and value.is_integer() else value)
        word = _WANTED.get(kind) or _WANTED.get(kind.split("_")[0])
        return word or f"something else ({error['msg'][:1].lower()}{error['msg'][1:]})"

    def at(self, path: _Path, message: str, key: bool = False) -> Problem:
        """Problem at a node or, where it is missing, at what should hold it."""
        node: Node = self.node
        place = self.place
        for step in path:
            if isinstance(node, Mapping):
                if step not in node.values:
                    break
                place = node.keys[step]
                node = node.values[step]
            else:
                node = node.items[step]
                place = node.place
            if isinstance(node, Scalar) and not key and node.text:
                place = node.place
        dotted = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
        return place.problem(f"{self.label}{dotted}: {message}")

    def allowed(self, loc: tuple[Any, ...]) -> set[str]:
        """Names that the model at the parent of a location knows."""
        models = [self.model]
        for step in loc[:-1]:
            fields = [m.model_fields[step] for m in models if step in m.model_fields]
            if fields:
                models = [m for f in fields for m in models_in(f.annotation)]
            else:
                models = [m for m in models if m.__name__ == step] or models
        return {f.alias or name for m in models for name, f in m.model_fields.items()}


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Models that occur in a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inside in typing.get_args(annotation) for model in models_in(inside)]
