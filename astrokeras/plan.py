"""The plan: walks the fields from the source to the outputs, and cuts the chain of stages into segments.

`check_pipeline` opens nothing but models; `make_plan` looks at the data files as well (how many rows).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import AstrokerasError, ChunkError, ExpressionError, Problem, SpecError, did_you_mean
from .expression import Expression
from .fields import FLAGS, OBJECT_ID, Field, by_name
from .spec import Bound, Pipeline, field_names
from .stage import Output, Partition, Stage, Trainable
from .targets import check_targets

FIELD = Field(
    name="field", kind="str", description="Field of the survey, as named in the pipeline", ucd="meta.id;obs.field"
)
SPLIT = Field(
    name="split", kind="str", description="Part of the split: train, validate, calibrate, test or none", ucd="meta.code"
)
MAX_ROWS = 262_144
MAX_BYTES = 64 * 2**20


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
    failed : dict
        Fields of the fan-out whose files cannot be used, and why.
    """

    pipeline: Pipeline
    bounds: tuple[Bound, ...]
    partitions: tuple[tuple[Partition, ...], ...]
    segments: tuple[Segment, ...]
    fields: tuple[Field, ...]
    failed: dict[str | None, SpecError]


def check_pipeline(pipeline: Pipeline) -> tuple[Field, ...]:
    """Walk the fields of a pipeline and return those available to outputs.

    Raises
    ------
    SpecError
        With all problems found.
    """
    walk = _Walk(pipeline)
    fields = walk.through(Bound(None, pipeline.source, pipeline.stages, pipeline.outputs))
    if walk.problems:
        raise SpecError(walk.problems)
    return fields


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
    fields = check_pipeline(pipeline)
    bounds = tuple(pipeline.for_field(name) for name in _chosen(pipeline, tuple(only)))
    rows = partition_rows(pipeline, [*fields, *(f for stage in pipeline.stages for f in stage.writes())])
    failed: dict[str | None, SpecError] = {}
    partitions = tuple(_partitions(pipeline, bound, rows, failed) for bound in bounds)
    if failed and not (keep_going and pipeline.fields):
        raise SpecError(problem for error in failed.values() for problem in error.problems)
    check_targets(pipeline, bounds, partitions)
    return Plan(pipeline, bounds, partitions, segments(pipeline, fields, start, stop), fields, failed)


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
    return max(1024, min(MAX_ROWS, MAX_BYTES // max(width, 1)))


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


def needed(stage: Stage) -> tuple[Field, ...]:
    """Fields that a stage needs to run and, if it is to be trained, to fit."""
    extra = stage.training_fields() if isinstance(stage, Trainable) and stage.trains else ()
    return (*stage.needs(), *extra)


class _Walk:
    """Follows the fields through a pipeline and collects problems."""

    def __init__(self, pipeline: Pipeline):
        self.pipeline = pipeline
        self.problems: list[Problem] = []

    def through(self, bound: Bound) -> tuple[Field, ...]:
        try:
            have = by_name([*bound.source.fields(), FLAGS])
        except AstrokerasError as error:
            self._add(("source",), str(error))
            return ()
        if OBJECT_ID.name not in have:
            self._add(("source",), f"{bound.source.name} gives no 'object_id'; every row needs one")
        if self.pipeline.fields is not None:
            have["field"] = FIELD
        writers = dict.fromkeys(have, "the source")
        for i, stage in enumerate(bound.stages):
            if self.pipeline.split is not None and isinstance(stage, Trainable) and stage.trains:
                # Rows are split when they get to a training, not before.
                have["split"], writers["split"] = SPLIT, "the training"
            self._stage(i, stage, have, writers)
        self._split(bound)
        for j, output in enumerate(bound.outputs):
            self._output(j, output, have)
        return tuple(have.values())

    def _add(self, address: tuple, message: str) -> None:
        self.problems.append(self.pipeline.problem(address, message))

    def _stage(self, i: int, stage: Stage, have: dict[str, Field], writers: dict[str, str]) -> None:
        from .units import converts

        try:
            reads, writes = needed(stage), stage.writes()
            stage.accepts(tuple(have.values()))
        except ExpressionError as error:
            return self._add(("stages", i, "where"), str(error))
        except AstrokerasError as error:
            return self._add(("stages", i), f"{stage.name}: {error}")
        if lacking := list(dict.fromkeys(f.name for f in reads if f.name not in have and not f.optional)):
            self._lacking(i, stage, lacking, have)
        for field in (f for f in reads if f.unit and f.name in have):
            found = have[field.name].unit
            if found != field.unit and not converts(found, field.unit):
                message = f"{stage.name} reads {field.name!r} in {field.unit!r}, but it comes in {found or 'no unit'!r}"
                self._add(("stages", i), message)
        if stage.where is not None:
            self._names(("stages", i, "where"), stage.where, have)
        name = self.pipeline.stage_ids()[i]
        for field in writes:
            if field.name in writers and field.name != "flags":
                other = writers[field.name]
                self._add(("stages", i), f"{name} writes {field.name!r}, which {other} has written already")
            writers[field.name] = name
        have |= by_name(f for f in writes if f.name != "flags")
        return None

    def _lacking(self, i: int, stage: Stage, names: list[str], have: dict[str, Field]) -> None:
        # An error of a flux that is not there either says nothing new.
        named = [n for n in names if n.replace("_err_", "_", 1) in have or "_err_" not in n]
        shown = ", ".join([*list(have)[:12], *["..."] * (len(have) > 12)])
        message = f"{stage.name} reads {', '.join(map(repr, named))}, which nothing before it writes (have: {shown})"
        if all("flux_err_" in name for name in named):
            message += "; the photometry of the survey map states no errors: `error`, `ivar`, `snr` or `constant_error`"
        self._add(("stages", i), message)

    def _names(self, address: tuple, where: str, have: dict[str, Field]) -> None:
        try:
            for name in sorted(Expression.parse(where).names - set(have)):
                self._add(address, f"unknown column {name!r}{did_you_mean(name, have)}")
        except ExpressionError as error:
            self._add(address, str(error))

    def _split(self, bound: Bound) -> None:
        split = self.pipeline.split
        if split is None:
            return
        if not any(isinstance(s, Trainable) and s.trains for s in bound.stages):
            self._add(("split",), "nothing is trained here; `split` belongs to a pipeline with a `train:` block")
        known = {f.name for f in bound.source.fields()}
        for key in ("group", "by"):
            name = getattr(split, key)
            if name is not None and name not in known | {"object_id"}:
                self._add(("split", key), f"the source has no column {name!r}{did_you_mean(name, known)}")

    def _output(self, j: int, output: Output, have: dict[str, Field]) -> None:
        try:
            output.reads(tuple(have.values()))
        except ChunkError as error:
            self._add(("outputs", j, "columns"), str(error))
        except AstrokerasError as error:
            self._add(("outputs", j), str(error))
        if output.where is not None:
            self._names(("outputs", j, "where"), output.where, have)
