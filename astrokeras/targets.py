"""Where a run will write: found unusable before any work is done, not after hours of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import SpecError
from .spec import Bound, Pipeline
from .stage import Partition
from .trainable import Trainable

#: What makes a directory a model, which a new one may replace.
CARD = "card.json"


def check_targets(pipeline: Pipeline, bounds: Iterable[Bound], partitions: Iterable[Iterable[Partition]]) -> None:
    """Check the paths of outputs and of ``save``: writable, free or replaceable, and no file that is read.

    Parameters
    ----------
    pipeline : Pipeline
        For the places in its file.
    bounds : iterable of Bound
        The pipeline for each field.
    partitions : iterable of iterable of Partition
        Their files must not be overwritten.

    Raises
    ------
    SpecError
        With all problems found.
    """
    read = {os.path.realpath(path) for cut in partitions for partition in cut for path in partition.files}
    problems = []
    for address, path, is_model in _targets(tuple(bounds)):
        said = _taken(path, is_model, read) or _blocked(path)
        if said:
            problems.append(pipeline.problem(address, f"{path}: {said}"))
    if problems:
        raise SpecError(problems)


def _targets(bounds: tuple[Bound, ...]) -> Iterator[tuple[tuple, Path, bool]]:
    for bound in bounds:
        for i, stage in enumerate(bound.stages):
            if isinstance(stage, Trainable) and stage.trains and stage.save is not None:
                yield ("stages", i, "save"), Path(stage.save), True
        for j, output in enumerate(bound.outputs):
            yield ("outputs", j, "path"), Path(output.path), False


def _taken(path: Path, is_model: bool, read: set[str]) -> str:
    """What is in the way, in words; empty if nothing is."""
    if is_model and os.path.lexists(path) and not (path / CARD).exists():
        return "exists and is no model; it is not replaced"
    if not is_model and path.is_dir():
        return "is a directory; a product needs the name of a file"
    if os.path.realpath(path) in read:
        return "is read by this pipeline; it is not overwritten"
    return ""


def _blocked(path: Path) -> str:
    """Why nothing can be written there, in words; empty if it can."""
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not folder.is_dir():
        return f"cannot be written: {folder} is no directory"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"cannot be written: no permission to write in {folder}"
    return ""
