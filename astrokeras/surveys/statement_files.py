"""Files of statements (survey maps, layouts of images): YAML read once, every mistake named by line and column."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from ..errors import SurveyError, did_you_mean

MAX_BYTES = 1_000_000
Model = TypeVar("Model", bound=BaseModel)


def find_file(name: str, shipped: Path, what: str) -> Path:
    """Return the file of a name among the ``shipped``, or of a path (with a ``/`` or ending in ``.yaml``).

    Parameters
    ----------
    what : str
        What is looked for, for messages: ``survey``.

    Raises
    ------
    SurveyError
        If there is none; suggests a near name.
    """
    path = Path(name).expanduser()
    if "/" in name or path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise SurveyError(f"{name}: no such file")
        return path
    known = [path.stem for path in shipped.glob("*.yaml")]
    if name not in known:
        raise SurveyError(f"no {what} named {name!r}{did_you_mean(name, known)}")
    return shipped / f"{name}.yaml"


def load_file(path: Path, model: type[Model], what: str) -> Model:
    """Read a file as ``model``.

    Parameters
    ----------
    what : str
        What the file should be, for messages: ``a survey map``.

    Raises
    ------
    SurveyError
        If it is wrong; names file, line and column of every mistake.
    """
    stat = path.stat()
    return _load(path, model, what, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _load(path: Path, model: type[Model], what: str, mtime: int, size: int) -> Model:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if size > MAX_BYTES:
        raise SurveyError(f"{path}: {size} bytes are too many for {what}; at most {MAX_BYTES}")
    try:
        tree = YAML(typ="rt", pure=True).load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise SurveyError(f"{path}: is no UTF-8 text: {error}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SurveyError(f"{path}:{mark.line + 1}:{mark.column + 1}: {error.problem or error.context}") from None
    except YAMLError as error:
        raise SurveyError(f"{path}: is no YAML: {error}") from None
    if not isinstance(tree, dict):
        raise SurveyError(f"{path}:1:1: {what} is a mapping of keys, found {type(tree).__name__}")
    try:
        return model.model_validate(_plain(tree, path, set()))
    except ValidationError as error:
        raise SurveyError("\n".join(_problems(path, model, tree, error))) from None


def _plain(node: Any, path: Path, seen: set[int]) -> Any:
    """Python's own types for those of ruamel; a key is always text. Aliases are refused: they can explode."""
    if isinstance(node, (dict, list)):
        if id(node) in seen:
            raise SurveyError(f"{path}:{node.lc.line + 1}:{node.lc.col + 1}: YAML anchors and aliases are not allowed")
        seen.add(id(node))
    if isinstance(node, dict):
        return {str(key): _plain(value, path, seen) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(item, path, seen) for item in node]
    return next((kind(node) for kind in (bool, int, float, str) if isinstance(node, kind)), node)


def _problems(path: Path, model: type[BaseModel], tree: Any, error: ValidationError) -> Iterable[str]:
    for problem in error.errors(include_url=False):
        line, column = _place(tree, problem["loc"])
        where = ".".join(str(key) for key in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"unknown key{did_you_mean(str(problem['loc'][-1]), _allowed(model, problem['loc'][:-1]))}"
        yield f"{path}:{line}:{column}: {f'{where}: ' if where else ''}{message}"


def _place(tree: Any, loc: tuple[int | str, ...]) -> tuple[int, int]:
    """Line and column (from 1) of the deepest key of ``loc`` that the file has."""
    node, line, column = tree, 0, 0
    for key in loc:
        try:
            line, column = node.lc.key(key) if isinstance(node, dict) else node.lc.item(key)
            node = node[key]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line + 1, column + 1


def _allowed(model: type[BaseModel], loc: tuple[int | str, ...]) -> Iterable[str]:
    """Keys that the models at a place know; names of bands and kinds of photometry lead no deeper."""
    models: list[type[BaseModel]] = [model]
    for step in loc:
        fields = [m.model_fields[step] for m in models if step in m.model_fields]
        models = [m for field in fields for m in _models_in(field.annotation)] or models
    return {name for m in models for name in m.model_fields}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inside in get_args(annotation) for model in _models_in(inside)]
