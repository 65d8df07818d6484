"""Sections of a pipeline file that are not parts (``fields``, ``split``, ``partition``), and the site file."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, PositiveInt, model_validator
from pydantic import Field as Parameter

Fraction = Annotated[float, Parameter(ge=0, lt=1)]


def field_name(name: str) -> str:
    """Return a name of a field if it can be part of a path.

    Raises
    ------
    ValueError
        If it cannot.
    """
    if not name.strip():
        raise ValueError("a name of a field is empty")
    bad = [c for c in name if c in "/\\" or unicodedata.category(c).startswith("C")]
    if bad or name in (".", ".."):
        raise ValueError(f"{name!r} cannot name a field: it becomes part of a path")
    return name


class Settings(BaseModel):
    """A section: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldTable(Settings):
    """Table of the names of fields.

    Parameters
    ----------
    path : str
        Text with one name per line, or CSV, TSV or ECSV.
    column : str, optional
        Column of the names; needed for a table of several columns.
    """

    path: str
    column: str | None = None


class Fields(Settings):
    """Fan-out: the pipeline runs once for each field. Exactly one of the three.

    Parameters
    ----------
    names : tuple of str, optional
        The names; in a file simply a list.
    glob : str, optional
        Pattern of folders or files; ``{field}`` is the name of the folder, or of the file without what follows the last
        wildcard.
    table : FieldTable, optional
        File with the names.
    """

    names: Annotated[tuple[Annotated[str, AfterValidator(field_name)], ...], Parameter(min_length=1)] | None = None
    glob: str | None = None
    table: FieldTable | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [key for key in ("names", "glob", "table") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError("needs a list of names, or one of 'glob' and 'table'")
        twice = [n for i, n in enumerate(self.names or ()) if n in self.names[:i]]
        if twice:
            raise ValueError(f"field {twice[0]!r} is listed twice")
        return self


class Split(Settings):
    """How objects are divided; what remains is for training.

    Parameters
    ----------
    test, validate, calibrate : float
        Fractions in [0, 1); together less than 1.
    group : str, optional
        Column: rows with the same value stay on one side.
    by : str, optional
        Column that says to which part a row belongs (``train``, ``validate``, ``calibrate``, ``test``).
    folds : int, optional
        Divide all but the test rows into this many folds, and predict each with a model that was trained on the others.
    seed : int
        Of the division.
    """

    test: Fraction = 0.0
    validate_: Fraction = Parameter(0.0, alias="validate")
    calibrate: Fraction = 0.0
    group: str | None = None
    by: str | None = None
    folds: Annotated[int, Parameter(ge=2)] | None = None
    seed: Annotated[int, Parameter(ge=0)] = 0

    @property
    def fractions(self) -> dict[str, float]:
        """Fractions of ``test``, ``validate`` and ``calibrate``."""
        return {"test": self.test, "validate": self.validate_, "calibrate": self.calibrate}

    @model_validator(mode="after")
    def _sum(self) -> Self:
        total = sum(self.fractions.values())
        if total >= 1:
            raise ValueError(f"test + validate + calibrate = {total:g} leaves nothing for training; needs less than 1")
        if self.folds is not None and self.by is not None:
            raise ValueError("give either 'folds' or 'by': a column that divides the rows leaves nothing to divide")
        return self


class PartitionSize(Settings):
    """Size of the units of work; part of the digests, because batches never cross partitions.

    Parameters
    ----------
    rows : int
        Most rows in one.
    """

    rows: PositiveInt


class Site(Settings):
    """Where and how to run. Nothing here can change a result.

    Parameters
    ----------
    executor : str
        ``serial`` or ``processes``.
    workers : int
        Number of processes.
    threads_per_worker : int
        Threads of each.
    """

    executor: Literal["serial", "processes"] = "serial"
    workers: PositiveInt = 1
    threads_per_worker: PositiveInt = 1
