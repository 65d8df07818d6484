"""What a part is, for a terminal: its docstring and its parameters."""

from __future__ import annotations

import inspect
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.table import Table

from .errors import AstrokerasError


def first_line(part: type) -> str:
    """First line of the docstring."""
    return _text(part).split("\n", 1)[0]


def show_part(part: Any, console: Console) -> None:
    """Print the docstring and the parameters of a part, of what it has them from, and of what these name."""
    console.print(f"{part.name} (version {part.version})\n\n{_text(part)}\n")
    console.print(_parameters(part))
    inner = _inner(part)
    told = set(inner)
    for model in (part, *inner):
        if model is not part:
            console.print(f"\n{model.__name__}: {_text(model)}\n")
            console.print(_parameters(model))
        for base in bases(model):
            if base not in told:
                console.print(f"\n{base.__name__}: {_text(base)}")
                told.add(base)


def bases(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Models with parameters that one inherits, but for the kinds of parts and what stands above them."""
    from .stage import Output, Source, Stage
    from .trainable import Trainable

    contracts = {base for kind in (Source, Stage, Output) for base in kind.__mro__} | {Trainable}
    found = [base for base in model.__mro__[1:] if issubclass(base, BaseModel) and base not in contracts]
    return [
        base
        for base in found
        if base.__module__.startswith("astrokeras.") and any(name in base.model_fields for name in base.__annotations__)
    ]


def _text(part: type) -> str:
    """The docstring; a terminal has no use for the marks of code."""
    return (inspect.getdoc(part) or "").replace("``", "")


def _parameters(model: type[BaseModel]) -> Table:
    table = Table("parameter", "type", "default", box=None)
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))
        table.add_row(name, _type_name(field.annotation), default)
    return table


def _shown(default: Any) -> str:
    """Default of a parameter; one with parameters of its own is shown below."""
    return f"{type(default).__name__}()" if isinstance(default, BaseModel) else repr(default)


def _inner(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Models that the parameters name, at any depth: the recipe of a training, a survey map."""
    return list(dict.fromkeys(m for f in model.model_fields.values() for m in _models_in(f.annotation)))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation, *_inner(annotation)]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _type_name(annotation: Any) -> str:
    """Name a type as a reader writes it, without the constraints."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(inner[0])
    if origin is Literal:
        return " | ".join(map(repr, inner))
    if origin in (Union, UnionType):
        return " | ".join(map(_type_name, inner))
    if inner:
        return f"{origin.__name__}[{', '.join(map(_type_name, inner))}]"
    return {type(None): "None", Ellipsis: "..."}.get(annotation) or getattr(annotation, "__name__", str(annotation))


def made(part: type[BaseModel], **parameters: Any) -> Any:
    """Make a part of options of a command.

    Raises
    ------
    AstrokerasError
        If a value is not allowed; names the parameter.
    """
    try:
        return part(**parameters)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        text = first["msg"].removeprefix("Value error, ")
        raise AstrokerasError(f"{where}: {text}" if where else text) from None
