"""The survey maps that come with astrokeras, and those in files of a user."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ..errors import SurveyError, did_you_mean
from ..resources import catalogs_dir
from .survey import SurveyMap

MAX_BYTES = 1_000_000


def names() -> tuple[str, ...]:
    """Names of the maps that come with astrokeras."""
    return tuple(sorted(path.stem for path in catalogs_dir().glob("*.yaml")))


def find(survey: str) -> Path:
    """Return the file of a survey: of a name, or of a path (with a ``/`` or ending in ``.yaml``).

    Raises
    ------
    SurveyError
        If there is none; suggests a near name.
    """
    path = Path(survey).expanduser()
    if "/" in survey or path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise SurveyError(f"{survey}: no such file")
        return path
    if survey not in names():
        raise SurveyError(f"no survey named {survey!r}{did_you_mean(survey, names())}")
    return catalogs_dir() / f"{survey}.yaml"


def load(survey: str) -> SurveyMap:
    """Load a survey map by name or path.

    Raises
    ------
    SurveyError
        If there is none, or it is wrong; names file, line and column of every mistake.
    """
    path = find(survey)
    stat = path.stat()
    return _load(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=32)
def _load(path: Path, mtime: int, size: int) -> SurveyMap:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if size > MAX_BYTES:
        raise SurveyError(f"{path}: {size} bytes are too many for a survey map; at most {MAX_BYTES}")
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
        raise SurveyError(f"{path}:1:1: a survey map is a mapping of keys, found {type(tree).__name__}")
    try:
        return SurveyMap.model_validate(_plain(tree, path, set()))
    except ValidationError as error:
        raise SurveyError("\n".join(_problems(path, tree, error))) from None


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


def _problems(path: Path, tree: Any, error: ValidationError) -> Iterable[str]:
    for problem in error.errors(include_url=False):
        line, column = _place(tree, problem["loc"])
        where = ".".join(str(key) for key in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"unknown key{did_you_mean(str(problem['loc'][-1]), _allowed(problem['loc'][:-1]))}"
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


def _allowed(loc: tuple[int | str, ...]) -> Iterable[str]:
    """Keys that the models at a place know; names of bands and kinds of photometry lead no deeper."""
    models: list[type[BaseModel]] = [SurveyMap]
    for step in loc:
        fields = [m.model_fields[step] for m in models if step in m.model_fields]
        models = [m for field in fields for m in _models_in(field.annotation)] or models
    return {name for m in models for name in m.model_fields}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inside in get_args(annotation) for model in _models_in(inside)]
