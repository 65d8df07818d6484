"""The plan of a run: partitions of the source, and the chain of stages cut into segments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import AstrokerasError, Problem, SpecError, did_you_mean
from .expression import Expression
from .fields import Field, by_name
from .spec import Bound, Pipeline, field_names
from .stage import Output, Partition
from .targets import check_targets
from .trainable import Trainable
from .walk import check_pipeline, needed

MAX_ROWS = 262_144
MAX_BYTES = 64 * 2**20
#: Rows of a partition at least, however wide they are: a part has costs of its own.
MIN_ROWS = 16


@dataclass(frozen=True)
class Segment:
    """Stages that one task takes a partition through without a stop.

    Attributes
    ----------
    stages : tuple of int
        Positions in the pipeline.
    keeps : tuple of str
        Columns of the source, and of its own stages, that something needs after it.
    trains : int or None
        Position of the stage which is fitted when all partitions got here.
    """

    stages: tuple[int, ...]
    keeps: tuple[str, ...]
    trains: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes
    ----------
    bounds : tuple of Bound
        The pipeline for each field of the fan-out (one without).
    partitions : tuple of tuple of Partition
        Of each field.
    segments : tuple of Segment
        In order.
    fields : tuple of Field
        All fields available to outputs.
    notes : tuple of str
        What a user should know before the run.
    failed : dict
        Fields of the fan-out whose files cannot be used, and why.
    """

    pipeline: Pipeline
    bounds: tuple[Bound, ...]
    partitions: tuple[tuple[Partition, ...], ...]
    segments: tuple[Segment, ...]
    fields: tuple[Field, ...]
    notes: tuple[str, ...]
    failed: dict[str | None, SpecError]


def make_plan(
    pipeline: Pipeline,
    start: str | None = None,
    stop: str | None = None,
    only: Iterable[str] = (),
    keep_going: bool = False,
) -> Plan:
    """Plan a run.

    Parameters
    ----------
    start, stop : str, optional
        Stage ids of ``--from`` and ``--to``.
    only : iterable of str
        Fields of the fan-out to run; all if empty.
    keep_going : bool
        Note a field whose files cannot be used, and go on with the others.

    Raises
    ------
    SpecError
        With all problems found.
    """
    fields, notes = check_pipeline(pipeline)
    bounds = tuple(pipeline.for_field(name) for name in _chosen(pipeline, tuple(only)))
    rows = partition_rows(pipeline, [*fields, *(f for stage in pipeline.stages for f in stage.writes())])
    failed: dict[str | None, SpecError] = {}
    partitions = tuple(_partitions(pipeline, bound, rows, failed) for bound in bounds)
    if failed and not (keep_going and pipeline.fields):
        raise SpecError(problem for error in failed.values() for problem in error.problems)
    check_targets(pipeline, bounds, partitions)
    return Plan(pipeline, bounds, partitions, segments(pipeline, fields, start, stop), fields, notes, failed)


def _partitions(
    pipeline: Pipeline, bound: Bound, rows: int, failed: dict[str | None, SpecError]
) -> tuple[Partition, ...]:
    try:
        return tuple(bound.source.partitions(rows))
    except AstrokerasError as error:
        failed[bound.field] = SpecError([pipeline.problem(("source",), str(error))])
        return ()


def _chosen(pipeline: Pipeline, only: tuple[str, ...]) -> tuple[str | None, ...]:
    names = field_names(pipeline) if pipeline.fields else (None,)
    if only and not pipeline.fields:
        raise SpecError([Problem("--field", 1, 1, f"the pipeline has no `fields`, so there is no {only[0]!r}")])
    for name in only:
        if name not in names:
            near = did_you_mean(name, [n for n in names if n])
            raise SpecError([pipeline.problem(("fields",), f"no field {name!r}{near}")])
    return tuple(n for n in names if not only or n in only)


def partition_rows(pipeline: Pipeline, fields: Iterable[Field]) -> int:
    """Rows of a partition: as the file says, or 64 MB of the widest row and at most 262 144.

    It does not depend on which columns are asked for, so that a new output finds the old parts.
    """
    if pipeline.partition is not None:
        return pipeline.partition.rows
    width = sum(field.nbytes for field in by_name(fields).values())
    return max(MIN_ROWS, min(MAX_ROWS, MAX_BYTES // max(width, 1)))


def segments(pipeline: Pipeline, fields: tuple[Field, ...], start: str | None, stop: str | None) -> tuple[Segment, ...]:
    """Cut the stages before a training, before ``start``, and after a ``checkpoint`` or ``stop``."""
    ids = pipeline.stage_ids()
    for option, name in (("--from", start), ("--to", stop)):
        if name is not None and name not in ids:
            raise SpecError([Problem(option, 1, 1, f"no stage {name!r}{did_you_mean(name, ids)}")])
    count = ids.index(stop) + 1 if stop else len(ids)
    cut: list[Segment] = []
    current: list[int] = []
    for i, stage in enumerate(pipeline.stages[:count]):
        trains = isinstance(stage, Trainable) and stage.trains
        if trains or (ids[i] == start and current):
            cut.append(_segment(pipeline, fields, current, i if trains else None))
            current = []
        current.append(i)
        if stage.checkpoint:
            cut.append(_segment(pipeline, fields, current, None))
            current = []
    if current or not cut:
        cut.append(_segment(pipeline, fields, current, None))
    return tuple(cut)


def _segment(pipeline: Pipeline, fields: tuple[Field, ...], stages: list[int], trains: int | None) -> Segment:
    # Columns that anything needs later.
    later = set()
    for stage in pipeline.stages[(stages[-1] + 1 if stages else 0) :]:
        later |= {f.name for f in needed(stage)}
    for output in pipeline.outputs:
        later |= _wanted(output, fields)
    if pipeline.split is not None:
        later |= {name for name in (pipeline.split.group, pipeline.split.by) if name}
    known = {f.name for f in pipeline.source.fields()} | {f.name for i in stages for f in pipeline.stages[i].writes()}
    return Segment(tuple(stages), tuple(sorted(later & known)), trains)


def _wanted(output: Output, fields: tuple[Field, ...]) -> set[str]:
    named = Expression.parse(output.where).names if output.where else frozenset()
    return named | {f.name for f in output.reads(fields)}
