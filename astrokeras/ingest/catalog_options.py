"""Settings of the source ``catalog``: files and their use, native columns to carry along."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from ..fields import Kind

SplitName = Literal["train", "validate", "calibrate", "test"]


class File(BaseModel):
    """A file, or a pattern such as ``photo-*.fits``, and the use of its rows in training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    split: SplitName | None = None


class Kept(BaseModel):
    """A native column to carry along.

    Parameters
    ----------
    column : str, optional
        Its name in the file; by default the same.
    kind, unit, description, ucd : str
        What it is; the file is not asked.
    shape : tuple of int
        Shape of its cells.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str | None = None
    kind: Kind = "f8"
    unit: str = ""
    description: str = ""
    ucd: str = ""
    shape: tuple[int, ...] = ()
