"""Names in braces: ``${ENV}``, ``{var}``, ``{here}``, and ``{field}``, which is expanded once per field.

``{{`` and ``}}`` are literal braces. A name that stands alone keeps the type of its value, so that a variable can
hold a number or a list. No other language of templates: a value stays on the line that an error names.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from collections.abc import Mapping as Dict
from dataclasses import dataclass, replace

from ..errors import Problem, did_you_mean
from .nodes import Mapping, Node, Place, Scalar, Sequence

#: Names that stay for later: `finish` expands ``{field}``, a part that reads one file per band expands ``{band}``.
LATER = ("field", "band", "BAND", "name", "index")
#: Names that no variable may have.
RESERVED = (*LATER, "here")

_TOKEN = re.compile(r"\$\{(?P<env>[^{}]*)\}|\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Names:
    """What the names in a file stand for.

    Attributes
    ----------
    values : mapping of str to Node
        Variables, ``here`` included.
    env : mapping of str to str
        The environment.
    later : collection of str
        Names that are left as they are.
    """

    values: Dict[str, Node]
    env: Dict[str, str]
    later: Collection[str] = LATER


def escape(text: str) -> str:
    """Text whose braces are literal."""
    return text.replace("{", "{{").replace("}", "}}")


def variables(node: Node | None, here: str, env: Dict[str, str], problems: list[Problem]) -> Names:
    """Return the names defined by the section ``vars``; a variable may use those above it.

    Parameters
    ----------
    node : Node or None
        The section.
    here : str
        Folder of the file.
    env : mapping
        The environment.
    problems : list of Problem
        Gets what is wrong.
    """
    place = node.place if node else Place("", 1, 1)
    known: dict[str, Node] = {"here": Scalar(escape(here), place, quoted=True)}
    if node is None:
        return Names(known, env)
    if not isinstance(node, Mapping):
        problems.append(place.problem("vars: needs a mapping {name: value}"))
        return Names(known, env)
    for name, value in node.values.items():
        if name in RESERVED or not _NAME.fullmatch(name):
            why = "has a meaning of its own" if name in RESERVED else "is no name (letters, digits and _)"
            problems.append(node.keys[name].problem(f"vars: '{name}' {why}"))
        else:
            known[name] = expand(value, Names(dict(known), env), problems)
    return Names(known, env)


def expand(node: Node, names: Names, problems: list[Problem]) -> Node:
    """Replace every name but the later ones; escapes of braces stay for `finish`.

    Parameters
    ----------
    node : Node
        Any part of the file.
    names : Names
        What they stand for.
    problems : list of Problem
        Gets unknown names and unset variables, each at its line.
    """
    if isinstance(node, Sequence):
        return replace(node, items=tuple(expand(item, names, problems) for item in node.items))
    if isinstance(node, Mapping):
        return replace(node, values={key: expand(value, names, problems) for key, value in node.values.items()})
    if "{" not in node.text and "}" not in node.text:
        return node
    tokens = list(_TOKEN.finditer(node.text))
    if len(tokens) == 1 and tokens[0][0] == node.text:
        return _alone(tokens[0], node, names, problems)
    text = _TOKEN.sub(lambda token: _inside(token, node, names, problems), node.text)
    return replace(node, text=text, quoted=True)


def _alone(token: re.Match[str], node: Scalar, names: Names, problems: list[Problem]) -> Node:
    value = _value(token, node, names, problems)
    # A value from the environment gets its type from the parameter, like a plain value in the file.
    return replace(value, place=node.place) if value is not None else node


def _inside(token: re.Match[str], node: Scalar, names: Names, problems: list[Problem]) -> str:
    value = _value(token, node, names, problems)
    if value is None:
        return token[0]
    if not isinstance(value, Scalar):
        what = "list" if isinstance(value, Sequence) else "mapping"
        problems.append(node.place.problem(f"'{token[0]}' is a {what}, which can only stand alone"))
        return token[0]
    return value.text


def _value(token: re.Match[str], node: Scalar, names: Names, problems: list[Problem]) -> Node | None:
    """Node that a token stands for; None if the token stays as it is."""
    name, variable = token["name"], token["env"]
    if variable is not None and variable in names.env:
        return Scalar(escape(names.env[variable]), node.place)
    if name in names.values:
        return names.values[name]
    wrong = None
    if variable is not None:
        wrong = f"environment variable '{variable}' is not set"
    elif token[0] in ("{", "}"):
        wrong = f"a lone '{token[0]}'; write '{token[0] * 2}' for the character itself"
    elif name is not None and name not in names.later:
        wrong = _unknown(name, names)
    if wrong:
        problems.append(node.place.problem(wrong))
    return None


def _unknown(name: str, names: Names) -> str:
    if name == "field":
        return "'{field}' has no meaning here; only source, stages and outputs of a pipeline with 'fields:' have fields"
    hint = did_you_mean(name, {*names.values, *names.later})
    return f"no variable '{{{name}}}'{hint or ' (write {{ and }} for the characters themselves)'}"


def holds_field(node: Node) -> bool:
    """Whether ``{field}`` occurs in a node."""
    if isinstance(node, Sequence):
        return any(holds_field(item) for item in node.items)
    if isinstance(node, Mapping):
        return any(holds_field(value) for value in node.values.values())
    return any(token["name"] == "field" for token in _TOKEN.finditer(node.text))


def finish(node: Node, field: str | None) -> Node:
    """Expand ``{field}`` and take the escapes off the braces; ``{band}`` stays.

    Parameters
    ----------
    node : Node
        From `expand`.
    field : str or None
        Name of the field; None where there is no fan-out.
    """
    if isinstance(node, Sequence):
        return replace(node, items=tuple(finish(item, field) for item in node.items))
    if isinstance(node, Mapping):
        return replace(node, values={key: finish(value, field) for key, value in node.values.items()})
    if node.text == "{field}" and field is not None:
        return replace(node, text=field, quoted=False)
    meaning = {"{{": "{", "}}": "}"} | ({"{field}": field} if field is not None else {})
    return replace(node, text=_TOKEN.sub(lambda token: meaning.get(token[0], token[0]), node.text))
