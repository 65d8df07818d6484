"""The walk: follows the fields from the source through the stages to the outputs, and finds what does not fit."""

from __future__ import annotations

from .errors import AstrokerasError, ChunkError, ExpressionError, Problem, SpecError, did_you_mean
from .expression import Expression
from .fields import FLAGS, FOLD, OBJECT_ID, Field, by_name
from .spec import Bound, Pipeline
from .stage import Output, Stage
from .trainable import Trainable

FIELD = Field(
    name="field", kind="str", description="Field of the survey, as named in the pipeline", ucd="meta.id;obs.field"
)
SPLIT = Field(
    name="split", kind="str", description="Part of the split: train, validate, calibrate, test or none", ucd="meta.code"
)


def check_pipeline(pipeline: Pipeline) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    """Walk the fields of a pipeline; opens nothing but models.

    Returns
    -------
    fields : tuple of Field
        Those available to outputs.
    notes : tuple of str
        What is no mistake, but good to know: a band that is masked, a filter that nobody states.

    Raises
    ------
    SpecError
        With all problems found.
    """
    walk = _Walk(pipeline)
    fields = walk.through(Bound(None, pipeline.source, pipeline.stages, pipeline.outputs))
    if walk.problems:
        raise SpecError(walk.problems)
    return fields, tuple(walk.notes)


def needed(stage: Stage) -> tuple[Field, ...]:
    """Fields that a stage needs to run and, if it is to be trained, to fit."""
    extra = stage.training_fields() if isinstance(stage, Trainable) and stage.trains else ()
    return (*stage.needs(), *extra)


class _Walk:
    """Follows the fields through a pipeline and collects problems."""

    def __init__(self, pipeline: Pipeline):
        self.pipeline = pipeline
        self.problems: list[Problem] = []
        self.notes: list[str] = []

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
                if self.pipeline.split.folds:
                    have["fold"], writers["fold"] = FOLD, "the training"
            self._stage(i, stage, have, writers)
        self._split(bound)
        for j, output in enumerate(bound.outputs):
            self._output(j, output, have)
        return tuple(have.values())

    def _note(self, i: int, notes: tuple[str, ...]) -> None:
        self.notes += [f"{self.pipeline.stage_ids()[i]}: {note}" for note in notes]

    def _add(self, address: tuple, message: str) -> None:
        self.problems.append(self.pipeline.problem(address, message))

    def _stage(self, i: int, stage: Stage, have: dict[str, Field], writers: dict[str, str]) -> None:
        from .units import converts

        try:
            reads, writes = needed(stage), stage.writes()
            self._note(i, stage.accepts(tuple(have.values())))
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
                cure = "; `suffix` gives other names" if hasattr(stage, "suffix") else ""
                self._add(("stages", i), f"{name} writes {field.name!r}, which {other} has written already{cure}")
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
        if split.folds and "fold" in known:
            self._add(("split", "folds"), "the source has a column 'fold' already; `folds` writes one")
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
