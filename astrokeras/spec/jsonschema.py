"""JSON schema (draft 2020-12) of the pipeline file, for completion and checks in editors.

It is assembled from the classes in the registry. It allows a little more than `reader.load`: a name in braces can stand
for any value, and numbers may stand where text is wanted.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from .. import registry
from ..errors import AstrokerasError
from .reader import FORMAT
from .settings import FieldTable, PartitionSize, Split
from .validation import models_in

_Schema = dict[str, Any]

_PLACEHOLDER = {"$ref": "#/$defs/placeholder"}
_TEXT = ["string", "number", "boolean"]
_ONE_KEY = {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": False}


def schema() -> _Schema:
    """Return the JSON schema of a pipeline file, with all parts that are installed."""
    defs: _Schema = {
        "placeholder": {
            "type": "string",
            "pattern": r"^\$?\{[^{}]+\}$",
            "description": "A variable, or a variable of the environment.",
        }
    }
    parts = {kind: _choice(kind, defs) for kind in ("sources", "stages", "outputs")}
    text = {"type": _TEXT}
    table = _embed(FieldTable, "FieldTable", defs)
    fan_out = [
        {"type": "array", "items": text, "minItems": 1},
        {**_ONE_KEY, "properties": {"glob": {"type": "string"}}},
        {**_ONE_KEY, "properties": {"table": table}},
        _PLACEHOLDER,
    ]
    properties = {
        "astrokeras": {"const": FORMAT, "description": "Version of the format of this file."},
        "name": {"type": _TEXT, "description": "Name of the pipeline and of its work folder."},
        "vars": {"type": "object", "description": 'Variables, used as "{name}"; "${NAME}" is of the environment.'},
        "fields": {"anyOf": fan_out, "description": "Fan-out: the pipeline runs once per {field}."},
        "source": {**parts["sources"], "description": "Where rows come from."},
        "split": _embed(Split, "Split", defs),
        "partition": _embed(PartitionSize, "PartitionSize", defs),
        "stages": {"type": "array", "items": parts["stages"], "description": "What is done, in order."},
        "outputs": {"type": "array", "items": parts["outputs"], "description": "What is written."},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "astrokeras pipeline",
        "type": "object",
        "required": ["astrokeras", "source"],
        "additionalProperties": False,
        "properties": properties,
        "$defs": defs,
    }


def _choice(kind: str, defs: _Schema) -> _Schema:
    """Schema of one part: its name alone, or a mapping of its name to its parameters."""
    properties = {name: _part(kind, name, defs) for name in registry.names(kind)}
    return {"anyOf": [{**_ONE_KEY, "properties": properties}, {"enum": sorted(properties)}]}


def _part(kind: str, name: str, defs: _Schema) -> _Schema:
    try:
        model = registry.lookup(kind, name)
        reference = _embed(model, f"{kind}.{name}", defs)
    except (AstrokerasError, ImportError, AttributeError, PydanticInvalidForJsonSchema) as error:
        # One broken plug-in must not take completion away from all others.
        return {"description": f"No schema: {error}"}
    summary = _summary(model)
    return {"anyOf": [reference, {"type": "null"}, _PLACEHOLDER], "description": summary}


def _embed(model: type[BaseModel], key: str, defs: _Schema) -> _Schema:
    """Add the schema of a model to the definitions, under ``key``, and return a reference to it."""
    made = model.model_json_schema(ref_template=f"#/$defs/{key}.{{model}}")
    inner = {f"{key}.{name}": value for name, value in made.pop("$defs", {}).items()}
    classes = {f"{key}.{m.__name__}": m for m in _reachable(model)} | {key: model}
    for name, value in {**inner, key: made}.items():
        defs[name] = _described(_widened(value), classes.get(name))
    return {"$ref": f"#/$defs/{key}"}


def _reachable(model: type[BaseModel]) -> set[type[BaseModel]]:
    found: set[type[BaseModel]] = set()
    new = {model}
    while new:
        found |= new
        new = {inner for m in new for f in m.model_fields.values() for inner in models_in(f.annotation)} - found
    return found


def _widened(value: Any) -> Any:
    """Allow names in braces for every parameter and entry, and for text whatever reads as text."""
    if isinstance(value, list):
        return [_widened(item) for item in value]
    if not isinstance(value, dict):
        return value
    literal = ("default", "enum", "const", "examples")
    out = {key: item if key in literal else _widened(item) for key, item in value.items()}
    if out.get("type") == "string":
        out["type"] = _TEXT
    if isinstance(value.get("properties"), dict):
        out["properties"] = {key: _or_placeholder(_widened(item)) for key, item in value["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(out.get(key), dict):
            out[key] = _or_placeholder(out[key])
    return out


def _or_placeholder(value: _Schema) -> _Schema:
    outer = {key: value[key] for key in ("description", "default") if key in value}
    inner = {key: item for key, item in value.items() if key not in (*outer, "title")}
    if not inner:
        return value
    options = inner["anyOf"] if set(inner) == {"anyOf"} else [inner]
    return {**outer, "anyOf": [*options, _PLACEHOLDER]}


def _described(value: _Schema, model: type[BaseModel] | None) -> _Schema:
    """Put the words of the docstring beside the parameters."""
    if model is None:
        return value
    said: dict[str, str] = {}
    for base in reversed(model.__mro__):
        said |= parameters(inspect.cleandoc(base.__dict__.get("__doc__") or ""))
    for name, entry in value.get("properties", {}).items():
        if name in said:
            entry.setdefault("description", said[name])
    return {**value, "description": _summary(model)}


def _summary(model: type) -> str:
    return " ".join((inspect.getdoc(model) or "").split("\n\n")[0].split())


def parameters(doc: str) -> dict[str, str]:
    """Descriptions in the section ``Parameters`` (or ``Attributes``) of a numpydoc text.

    Parameters
    ----------
    doc : str
        A docstring without indentation.
    """
    found: dict[str, str] = {}
    for section in re.finditer(r"^(?:Parameters|Attributes)\n-+\n((?:(?!^\S.*\n-+$).*\n?)*)", doc, re.MULTILINE):
        for names, text in re.findall(r"^(\S[^:\n]*?) *(?::.*)?\n((?:[ \t]+.*(?:\n|$)|\n)+)", section[1], re.MULTILINE):
            found |= {name.strip("* "): " ".join(text.split()) for name in names.split(",")}
    return found
