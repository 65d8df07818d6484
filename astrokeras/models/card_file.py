"""Reading and writing of ``card.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import ModelError, did_you_mean
from .card import Card

CARD = "card.json"
#: A card is text that people read; anything larger is none.
MAX_CARD_BYTES = 4 << 20


def read_card(path: str | Path) -> Card:
    """Read ``card.json``, given the file or the directory of the model.

    Raises
    ------
    ModelError
        If it is missing, too large, no JSON, or breaks the format; names the file and the key.
    """
    path = Path(path)
    path = path / CARD if path.is_dir() else path
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise ModelError(f"{path}: a card of {path.stat().st_size} bytes; at most {MAX_CARD_BYTES} are allowed")
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; a model is a directory with model.keras and {CARD}") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelError(f"{path}: is no JSON ({error})") from None
    if not isinstance(data, dict):
        raise ModelError(f"{path}: holds a {type(data).__name__}, a card is an object")
    if data.get("format", 1) != 1:
        raise ModelError(f"{path}: format {data['format']!r}; this astrokeras reads format 1")
    try:
        return Card.model_validate(data)
    except ValidationError as error:
        raise ModelError(_explain(path, error)) from None


def _explain(path: Path, error: ValidationError) -> str:
    """One sentence for the first problem, and how many more there are."""
    problems = error.errors(include_url=False)
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key" + (did_you_mean(key, Card.model_fields) if len(first["loc"]) == 1 else "")
    elif first["type"] != "missing" and key:
        message += f" (found {str(first['input'])[:80]!r})"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{path}: {key + ': ' if key else ''}{message}{more}"


def card_text(card: Card) -> str:
    """Return the JSON text of a card; defaults are left out, so that it stays readable."""
    data: dict[str, Any] = {"format": card.format} | card.model_dump(mode="json", exclude_defaults=True)
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def write_card(card: Card, path: str | Path) -> None:
    """Write a card to a file.

    Raises
    ------
    ModelError
        If it cannot be written.
    """
    try:
        Path(path).write_text(card_text(card), encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror})") from None
