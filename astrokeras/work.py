"""What a worker does with one partition: module-level functions of small items, so that any executor can run them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable

from .chunk import evaluate
from .errors import AstrokerasError, RunError
from .expression import Expression
from .fields import FLAGS, OBJECT_ID, Field, by_name
from .flags import Flag
from .links import Link, load
from .stage import Output, Stage
from .store import making, receipt, write_json, write_part


@dataclass(frozen=True)
class PartTask:
    """Take a partition through a segment.

    Attributes
    ----------
    link : Link
        Where the rows are.
    stages : sequence of (str, Stage)
        Where each stands in the pipeline file (for messages), and the stage.
    columns : tuple of str
        Columns to read.
    stored : tuple of Field
        Columns to store.
    directory : Path
        Where the part goes.
    """

    link: Link
    stages: Sequence[tuple[str, Stage]]
    columns: tuple[str, ...]
    stored: tuple[Field, ...]
    directory: Path


@dataclass(frozen=True)
class PieceTask:
    """Write the rows of a partition for an output."""

    link: Link
    output: Output
    fields: tuple[Field, ...]
    directory: Path
    place: str


#: Seconds by clock (``seconds``, ``cpu_seconds``) and phase.
Times = dict[str, dict[str, float]]


def add_times(total: Times, result: Mapping[str, Any]) -> None:
    """Add the seconds in the result of a task to a total."""
    for clock in ("seconds", "cpu_seconds"):
        sums = total.setdefault(clock, {})
        for phase, seconds in result[clock].items():
            sums[phase] = sums.get(phase, 0.0) + seconds


class Laps:
    """Seconds of the phases of a task: of the clock, and of the processor (all threads of this process)."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self._last = time.perf_counter(), time.process_time()

    def end(self, phase: str) -> None:
        """A phase ends, and the next one begins."""
        now = time.perf_counter(), time.process_time()
        self.seconds[phase], self.cpu_seconds[phase] = (b - a for a, b in zip(self._last, now, strict=True))
        self._last = now

    def facts(self) -> Times:
        """Seconds by phase, for the record of a run."""
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}


def make_part(task: PartTask) -> dict[str, Any]:
    """Read, run the stages, store; return rows and seconds."""
    laps = Laps()
    with Told("reading", task.link):
        chunk = load(task.link, task.columns)
    before = receipt(task.link.parts[-1]) if task.link.parts else None
    read = before["rows_read"] if before else int(chunk.meta.get("rows_read", len(chunk)))
    tallies = list(before["tallies"]) if before else [task.link.source.tally(chunk)]
    laps.end("read")
    for place, stage in task.stages:
        with Told(f"{place}: {stage.id or stage.name}", task.link, chunk):
            tallies.append(stage.tallied(chunk))
            chunk = stage(chunk)
    laps.end("stages")
    with Told("storing", task.link):
        # A part that lacks a column, or is to be done again, would win over the new one.
        shutil.rmtree(task.directory, ignore_errors=True)
        made = write_part(task.directory, chunk, _present(chunk, task.stored), {"rows_read": read, "tallies": tallies})
    laps.end("store")
    return {"rows": made["rows"], "rows_read": read, **laps.facts()}


def _present(chunk: QTable, stored: tuple[Field, ...]) -> tuple[Field, ...]:
    fields = by_name([OBJECT_ID, *stored, FLAGS])
    return tuple(f for f in fields.values() if f.name in chunk.colnames)


def make_piece(task: PieceTask) -> dict[str, Any]:
    """Load, select, write the rows of one partition for an output; return its facts."""
    names = [f.name for f in task.fields]
    where = task.output.where
    extra = [n for n in (*(Expression.parse(where).names if where else ()), "flags") if n not in names]
    laps = Laps()
    with Told(f"{task.place}: {task.output.name}", task.link):
        chunk = load(task.link, [*names, *extra], final=True)
        total = len(chunk)
        if where:
            chunk = chunk[evaluate(where, dict(chunk.items()), total)]
        bits = np.asarray(chunk["flags"])
        flags = {flag.name: int(np.count_nonzero(bits & flag)) for flag in Flag if np.any(bits & flag)}
        with making(task.directory) as new:
            chunk.keep_columns(names)
            facts = task.output.write(chunk, task.fields, new / "piece")
            done = {"rows": len(chunk), "rows_before": total, "flags": flags, "facts": facts}
            write_json(new / "receipt.json", done)
    laps.end("pieces")
    return done | laps.facts()


class Told:
    """Adds to an error what was being done, on which partition, and the first objects. The one broad except."""

    def __init__(self, doing: str, link: Link | None = None, chunk: QTable | None = None):
        self.doing, self.link, self.chunk = doing, link, chunk

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, RunError):
            return
        objects = ""
        if self.chunk is not None and "object_id" in self.chunk.colnames:
            objects = f", first objects {', '.join(str(i) for i in self.chunk['object_id'][:3])}"
        # An error of ours is a sentence; of any other kind, its type says more than its text.
        text = str(error) if isinstance(error, AstrokerasError) else f"{kind.__name__}: {error}"
        where = f" (partition {self.link.name()}{objects})" if self.link else ""
        raise RunError(f"{self.doing}{where}: {text}") from error
