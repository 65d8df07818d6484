"""Parts of a few lines each, which the tests of the pipeline file register under names of their own."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from astrokeras import registry
from astrokeras.errors import ExpressionError, SurveyError, did_you_mean

BUILTIN = {
    "sources": {"stars": "tiny_parts:Stars"},
    "stages": {"colors": "tiny_parts:Colors", "photoz": "tiny_parts:PhotoZ"},
    "outputs": {"votable": "tiny_parts:VOTable", "fits": "tiny_parts:Fits"},
}


def install(monkeypatch, **kinds):
    """Register these parts, and no others, for one test; ``kinds`` replaces those of a kind."""
    monkeypatch.setattr(registry, "BUILTIN", {**BUILTIN, **kinds})
    # Plug-ins that happen to be installed would show in messages.
    monkeypatch.setattr(registry, "entry_points", lambda group: ())
    for cached in (registry.names, registry.lookup):
        cached.cache_clear()
        monkeypatch.setattr(registry, cached.__name__, lru_cache(cached.__wrapped__))


Band = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$")]


class Part(BaseModel):
    """Parameters as the parts of astrokeras have them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]


class Piece(Part):
    """One of several files."""

    path: str
    split: Literal["train", "test"] | None = None


class Stars(Part):
    """Stars of a file.

    Parameters
    ----------
    files : str or tuple of str or Piece
        Where they are.
    where : str, optional
        Which of them.
    center : str
        Sexagesimal position.
    observed : str
        Date.
    rows : int
        How many.
    depth : float
        Limit in magnitudes.
    """

    name = "stars"

    files: str | tuple[str | Piece, ...]
    where: str | None = None
    center: str = "00:00:00"
    observed: str = "2000-01-01"
    rows: int = Field(10, ge=1)
    depth: float = 20.0
    sentinels: tuple[float, ...] = ()
    photometry: dict[str, str] = {}
    clean: bool = True
    survey: str | dict[str, str] = "sdss"
    folder: Path = Path(".")

    @field_validator("survey")
    @classmethod
    def _exists(cls, survey: str | dict[str, str]) -> str | dict[str, str]:
        if survey not in ("sdss", "des") and not isinstance(survey, dict):
            raise SurveyError(f"no survey named {survey!r}{did_you_mean(survey, ['sdss', 'des'])}")
        return survey

    @field_validator("where")
    @classmethod
    def _parses(cls, text: str | None) -> str | None:
        if text is not None and text.count("(") != text.count(")"):
            raise ExpressionError(f"where: unbalanced parentheses in {text!r}")
        return text


class Colors(Part):
    """Differences of magnitudes."""

    name = "colors"

    id: str | None = None
    where: str | None = None
    checkpoint: bool = False
    bands: tuple[Band, ...] = ()
    system: Literal["AB", "Vega"] = "AB"


class Network(BaseModel):
    """Shape of a network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: tuple[int, ...] = (64, 64)
    activation: str = "gelu"


class Recipe(BaseModel):
    """How to train.

    Parameters
    ----------
    target : str
        Column to learn.
    epochs : int
        Passes over the data.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str
    epochs: Annotated[int, Field(ge=1)] = 10
    rate: Annotated[float, Field(gt=0)] = 1e-3
    network: Network | Literal["small", "large"] = "small"

    @field_validator("target")
    @classmethod
    def _is_truth(cls, target: str) -> str:
        if not target.endswith(("_spec", "_true")):
            raise ValueError(f"needs a column of truth, got {target!r}")
        return target


class PhotoZ(Part):
    """Redshifts."""

    name = "photoz"

    id: str | None = None
    where: str | None = None
    checkpoint: bool = False
    model: str | None = None
    train: Recipe | None = None
    save: str | None = None
    batch: int = 4096
    grid: Annotated[int, Field(ge=2)] | Literal["auto"] = "auto"


class VOTable(Part):
    """A VOTable."""

    name = "votable"

    path: str
    columns: tuple[str, ...] | None = None
    where: str | None = None


class Fits(VOTable):
    """A FITS table."""

    name = "fits"
