"""The card of a model: what it takes, what it gives, what it was trained on, how good it is. Needs no Keras."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, JsonValue, StringConstraints, ValidationError, model_validator

from .. import dates
from ..errors import ModelError, did_you_mean
from ..fields import FACTS, Band, Field, by_name, flux_field

CARD = "card.json"
#: A card is text that people read; anything larger is none.
MAX_CARD_BYTES = 4 << 20

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Version = Annotated[str, StringConstraints(pattern=r"^\d{1,6}\.\d{1,6}\.\d{1,6}$")]


def created() -> str:
    """Return today's date (UTC, ISO), or that of SOURCE_DATE_EPOCH."""
    return dates.now().date().isoformat()


def versions() -> dict[str, str]:
    """Versions of astrokeras and of the packages that decide what a training gives, without importing them."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    found = {"backend": backend}
    for package in ("astrokeras", "keras", backend, "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


class Part(BaseModel):
    """Base of the parts of a card: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), ser_json_inf_nan="constants")


class Grid(Part):
    """A uniform redshift grid: ``n`` nodes from ``z_min`` to ``z_max``, both included."""

    z_min: float
    z_max: float
    n: int

    @model_validator(mode="after")
    def _rises(self) -> Grid:
        if not (np.isfinite(self.z_min) and np.isfinite(self.z_max) and self.z_min < self.z_max and self.n >= 2):
            raise ValueError(f"z_min must be below z_max and n at least 2, got {self.z_min}, {self.z_max}, {self.n}")
        return self

    def nodes(self) -> np.ndarray:
        """Nodes, float64 ``(n,)``."""
        return np.linspace(self.z_min, self.z_max, self.n)


class Metric(Part):
    """A score with its number of rows, its definition and, if known, its standard error."""

    name: str
    value: float
    n: int
    definition: str = ""
    error: float | None = None


class Training(Part):
    """Where a model comes from.

    Parameters
    ----------
    data, source : str, dict
        Digest of the training rows; where they came from.
    where : str
        Selection; empty for none.
    count, counts : int, dict
        Rows used to fit; rows of each part of the split.
    split : dict
        The rule of the split: fractions, group, seed.
    seed, threads : int
        The result changes with both.
    versions : dict
        See `versions`.
    recipe : dict
        The ``train:`` block, plain JSON.
    """

    data: str = ""
    source: dict[str, JsonValue] = {}
    where: str = ""
    count: int = 0
    counts: dict[str, int] = {}
    split: dict[str, JsonValue] = {}
    seed: int = 0
    threads: int = 0
    versions: dict[str, str] = {}
    recipe: dict[str, JsonValue] = {}


class Card(Part):
    """Everything about a model but its weights.

    Parameters
    ----------
    format : int
        Version of this format.
    name, version : str
        ``boss-photoz``, ``1.0.0``.
    task : str
        What `astrokeras.models.tensors.decode` makes of the outputs: ``photoz``.
    description, licence, created : str
        For people; the date is ISO and obeys SOURCE_DATE_EPOCH.
    bands : tuple of str
        Order of the bands in the tensors.
    inputs : tuple of Field
        Columns of the chunk: ``flux_{band}`` (with filter, photometry and dereddened where known), ``flux_err_{band}``,
        and any further scalars.
    outputs : tuple of Field
        Outputs of the graph.
    may_miss : tuple of str
        Bands that an object, or a whole catalog, may lack.
    min_bands : int
        An object with fewer observed bands gets no result, and ``Flag.NO_DATA``.
    grid : Grid, optional
        Redshift grid of the output ``z_pdf``.
    domain : dict
        Input column to the range that the training rows cover; outside it, ``Flag.OUT_OF_DOMAIN``.
    training : Training
        Data, split, recipe, versions.
    metrics : tuple of Metric
        Scores.
    digest : str
        sha256 of the architecture and the weights; set when the model is saved.
    """

    format: Literal[1] = 1
    name: Name
    version: Version
    task: Literal["photoz"]
    description: str = ""
    licence: str = ""
    created: str = ""
    bands: tuple[Band, ...]
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    may_miss: tuple[Band, ...] = ()
    min_bands: int = 1
    grid: Grid | None = None
    domain: dict[str, tuple[float, float]] = {}
    training: Training = Training()
    metrics: tuple[Metric, ...] = ()
    digest: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        known = by_name(self.inputs)
        for band in self.bands:
            for column in (f"flux_{band}", f"flux_err_{band}"):
                if column not in known:
                    raise ValueError(f"inputs lack {column!r} for band {band!r}")
        if len(set(self.bands)) < len(self.bands) or len(known) < len(self.inputs):
            raise ValueError("a band or an input occurs twice")
        for band in self.may_miss:
            if band not in self.bands:
                raise ValueError(f"may_miss: no band {band!r}{did_you_mean(band, self.bands)}")
        for column in self.domain:
            if column not in known:
                raise ValueError(f"domain: no input {column!r}{did_you_mean(column, known)}")
        if not 1 <= self.min_bands <= len(self.bands):
            raise ValueError(f"min_bands must be 1 to {len(self.bands)}, got {self.min_bands}")
        if self.task == "photoz" and self.grid is None:
            raise ValueError("a photoz model needs a grid")
        return self

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the inputs that are no flux and no flux error, in the order of the tensor ``extra``."""
        fluxes = {f"{kind}_{band}" for kind in ("flux", "flux_err") for band in self.bands}
        return tuple(f.name for f in self.inputs if f.name not in fluxes)

    @property
    def tensors(self) -> dict[str, int]:
        """Names of the graph's inputs and the width of each."""
        widths = dict.fromkeys(("flux", "flux_err", "observed"), len(self.bands))
        return widths | ({"extra": len(self.extras)} if self.extras else {})

    def source_inputs(self) -> tuple[Field, ...]:
        """Fields for `Stage.reads`: bands that may be missing are optional; the facts are left to `tensors.match`."""
        loose = {f"{kind}_{band}" for kind in ("flux", "flux_err") for band in self.may_miss}
        bare = dict.fromkeys(FACTS)
        return tuple(f.model_copy(update={**bare, "optional": f.name in loose}) for f in self.inputs)


def photometry_inputs(
    bands: Iterable[str], fields: Iterable[Field] = (), extras: Iterable[str] = ()
) -> tuple[Field, ...]:
    """Inputs of a card for the given bands, with the facts that ``fields`` (of the training source) state.

    Parameters
    ----------
    bands, extras : iterable of str
        Bands, and names of further scalar columns.
    fields : iterable of Field
        What the training source offers.

    Raises
    ------
    ModelError
        If an extra is not among the fields.
    """
    known = by_name(fields)
    bands, extras = tuple(bands), tuple(extras)
    inputs = []
    for band in bands:
        source = known.get(f"flux_{band}")
        inputs.append(flux_field(band, **(source.facts if source else {})))
    inputs += [flux_field(band, "err") for band in bands]
    for name in extras:
        if name not in known:
            raise ModelError(f"extra input {name!r} is no column{did_you_mean(name, known)}")
        inputs.append(known[name].model_copy(update={"optional": False}))
    return tuple(inputs)


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
