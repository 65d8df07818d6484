"""Values that survey maps are written in: column templates, terms of sums, units, conditions, sentinels."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from ..errors import ChunkError, ExpressionError, did_you_mean
from ..expression import Expression
from ..units import parse_unit

PLACEHOLDERS = ("band", "BAND", "name", "index")
#: Magnitude systems; ``asinh`` needs the softening of each band (Lupton, Gunn & Szalay 1999).
System = Literal["AB", "asinh", "Vega"]
KindName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", max_length=40)]
Sentinels = tuple[float, ...]


def _template(text: str) -> str:
    for name in re.findall(r"\{([^{}]*)\}", text):
        if name not in PLACEHOLDERS:
            raise ValueError(f"unknown placeholder {{{name}}} in {text!r}{did_you_mean(name, PLACEHOLDERS)}")
    return text


def _flux_unit(text: str) -> str:
    try:
        parse_unit(text).to(parse_unit("nJy"))
    except (ChunkError, ValueError):
        raise ValueError(
            f"{text!r} is no unit of flux density (nJy, uJy, Jy, nanomaggy, maggy); counts need a zero_point instead"
        ) from None
    return text


def _condition(text: str) -> str:
    try:
        Expression.parse(text)
    except ExpressionError as error:
        raise ValueError(str(error)) from None
    return text


def listed(value: Any) -> Any:
    """One value for a list of one."""
    return (value,) if isinstance(value, (str, int, float)) else value


def signed(term: str) -> tuple[float, str]:
    """Sign and column of a term of a sum: ``-rmi`` is taken away."""
    return (-1.0, term[1:]) if term.startswith("-") else (1.0, term)


Template = Annotated[str, StringConstraints(min_length=1), BeforeValidator(_template)]
Term = Annotated[str, StringConstraints(pattern=r"^-?[^-\s].*$")]
Sum = Annotated[
    tuple[Term, ...], BeforeValidator(listed, json_schema_input_type=str | tuple[str, ...]), Field(min_length=1)
]
FluxUnit = Annotated[str, BeforeValidator(_flux_unit)]
Condition = Annotated[str, BeforeValidator(_condition)]
Names = Annotated[
    tuple[str, ...], BeforeValidator(listed, json_schema_input_type=str | tuple[str, ...]), Field(min_length=1)
]
