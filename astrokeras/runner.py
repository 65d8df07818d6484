"""The runner: takes a plan through its segments and outputs, and leaves a record."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from . import barrier
from .errors import AstrokerasError, RunError
from .executors import Executor, Outcome, Serial
from .fields import FLAGS, OBJECT_ID, by_name
from .file_digests import FileDigests
from .links import Link
from .outputs import Delivery, deliver
from .plan import Plan, Segment, needed
from .progress import LOG, Reporter, logging_to
from .provenance import identity, machine, parameters, versions
from .stage import Source, Stage
from .store import Store, digest, receipt, write_json
from .work import PartTask, Times, add_times, make_part

#: Raised when stored parts of an older layout can no longer be read.
FORMAT = 1


@dataclass
class Run:
    """One run of a plan.

    Parameters
    ----------
    plan : Plan
        What to do.
    store : Store
        The work directory.
    executor : Executor
        Who does it.
    reporter : Reporter
        Whom to tell.
    keep_going : bool
        Go on with other partitions when one fails.
    start : str, optional
        Id of the stage from which on everything is done again.
    stop : str, optional
        Id of the stage after which to stop; nothing is written to outputs.
    """

    plan: Plan
    store: Store
    executor: Executor = field(default_factory=Serial)
    reporter: Reporter = field(default_factory=Reporter)
    keep_going: bool = False
    start: str | None = None
    stop: str | None = None
    failures: list[AstrokerasError] = field(default_factory=list, init=False)
    record: dict[str, Any] = field(default_factory=dict, init=False)

    def __call__(self) -> dict[str, Any]:
        """Run, and return the record.

        Raises
        ------
        AstrokerasError
            The first failure, unless ``keep_going``.
        """
        self.store.prepare()
        self.failures += self.plan.failed.values()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self.files = FileDigests(self.store.root / "files.json")
        self.record = {
            "pipeline": self.plan.pipeline.name,
            "pipeline_digest": self.plan.pipeline.digest,
            "started": stamp,
            "versions": versions(),
            "machine": machine(),
            "stages": [identity(s, self.files) | {"parameters": parameters(s)} for s in self.plan.pipeline.stages],
            "segments": [],
            "products": [],
        }
        clock = time.perf_counter()
        with logging_to(self.store.log(stamp)):
            try:
                self._go()
            except BaseException as error:
                LOG.error("%s", error)
                self.record["error"] = str(error)
                raise
            finally:
                self.files.save()
                self.record["failures"] = [str(f) for f in self.failures]
                self.record["seconds"] = round(time.perf_counter() - clock, 3)
                write_json(self.store.run(stamp), self.record)
        return self.record

    def _go(self) -> None:
        stages = [list(bound.stages) for bound in self.plan.bounds]
        links = self._first_links()
        LOG.info("%d partitions of %d fields", len(links), len(self.plan.bounds))
        for number, segment in enumerate(self.plan.segments):
            if segment.stages or not number:
                links = self._segment(number, segment, links, stages)
                if not number:
                    links = self._identities(links)
            if segment.trains is not None:
                links = self._train(segment.trains, links, stages)
        if self.stop is None:
            delivery = Delivery(self.plan, self.store, self.executor, self.reporter, stages, links)
            self.record["products"] = deliver(delivery, self._settle)

    def _first_links(self) -> list[Link]:
        links = []
        for bound, partitions in zip(self.plan.bounds, self.plan.partitions, strict=True):
            rows = source_identity(bound.source, self.files)
            for partition in partitions:
                payload = {k: v for k, v in partition.payload.items() if v not in partition.files}
                contents = [self.files(path) for path in partition.files]
                key = digest([FORMAT, rows, partition.key, payload, contents])
                links.append(Link(bound.source, partition, bound.field, len(links), key))
        return links

    def _segment(self, number: int, segment: Segment, links: list[Link], stages: list[list[Stage]]) -> list[Link]:
        tasks, moved = [], []
        forced = self.start is not None and self._starts(segment)
        for link in links:
            task, key = self._task(segment, link, stages)
            moved.append(link.with_part(task.directory, key))
            if forced:
                shutil.rmtree(task.directory, ignore_errors=True)
            if not _finished(task):
                tasks.append(task)
        names = " → ".join(self._name(i) for i in segment.stages) or "read"
        done = len(links) - len(tasks)
        self.reporter.say(f"{names}: {len(links)} partitions" + (f", {done} already done" if done else ""))
        times, failed = self._map(names, tasks)
        kept = [new for link, new in zip(links, moved, strict=True) if link.number not in failed]
        self._count(number, names, kept, len(tasks), times)
        return kept

    def _starts(self, segment: Segment) -> bool:
        """Whether a segment comes at or after the stage of ``--from``."""
        first = self.plan.pipeline.stage_ids().index(self.start)
        return bool(segment.stages) and segment.stages[0] >= first

    def _task(self, segment: Segment, link: Link, stages: list[list[Stage]]) -> tuple[PartTask, str]:
        chain = stages[self._bound(link)]
        mine = [chain[i] for i in segment.stages]
        key = digest([link.digest, [identity(stage, self.files) for stage in mine]])
        written = by_name(f for stage in mine for f in stage.writes())
        read = {f.name for stage in mine for f in needed(stage)} - set(written)
        # Only the first part keeps columns of the source; later ones find them there.
        passed = set() if link.parts else set(segment.keeps)
        columns = ["object_id", "flags", *sorted((read | passed) & link.columns() - {"object_id", "flags"})]
        available = by_name([*self.plan.fields, OBJECT_ID, FLAGS])
        stored = {n: available[n] for n in columns if n in passed}
        stored |= {n: f for n, f in written.items() if len(f.shape) < 2 or n in segment.keeps}
        places = [(self._place(i), chain[i]) for i in segment.stages]
        return PartTask(link, places, tuple(columns), tuple(stored.values()), self.store.part(key)), key

    def _bound(self, link: Link) -> int:
        return next(i for i, bound in enumerate(self.plan.bounds) if bound.field == link.field)

    def _name(self, i: int) -> str:
        return self.plan.pipeline.stage_ids()[i]

    def _place(self, i: int) -> str:
        problem = self.plan.pipeline.problem(("stages", i), "")
        return f"{problem.file}:{problem.line}:{problem.column}"

    def _map(self, title: str, tasks: Sequence[PartTask]) -> tuple[Times, set[int]]:
        """Run tasks; return seconds by phase and the numbers of partitions that failed."""
        times: Times = {}
        failed: set[int] = set()
        if not tasks:
            return times, failed
        with self.reporter.step(title, len(tasks)) as step:
            for outcome in self.executor.map(make_part, tasks):
                if not self._settle(outcome):
                    failed.add(outcome.item.link.number)
                    continue
                add_times(times, outcome.result)
                step.advance()
        return times, failed

    def _settle(self, outcome: Outcome) -> bool:
        """Whether a task went well; a failure is raised, or kept for the end."""
        if outcome.error is None:
            return True
        LOG.error("%s", outcome.error)
        if not self.keep_going:
            raise outcome.error
        self.failures.append(outcome.error)
        return False

    def _count(self, number: int, names: str, links: list[Link], made: int, times: Times) -> None:
        receipts = [receipt(link.parts[-1]) for link in links]
        rows, read = (sum(r[k] for r in receipts) for k in ("rows", "rows_read"))
        facts = {"stages": names, "partitions": len(links), "made": made, "rows": rows, **times}
        self.record["segments"].append(facts)
        LOG.info("%s: %d partitions (%d made), %d rows", names, len(links), made, rows)
        if number:
            return
        self.record["rows_read"], self.record["rows_selected"] = read, rows
        if read > rows:
            self.reporter.say(f"where: {rows} of {read} rows selected")
        if read and not rows:
            place = self.plan.pipeline.problem(("source", "where"), "")
            raise RunError(f"{place.file}:{place.line}:{place.column}: `where` left none of {read} rows")
        if not read and links:
            self.reporter.say("warning: the source has no rows")

    def _identities(self, links: list[Link]) -> list[Link]:
        path, count = barrier.find_repeated(self.store, links)
        self.record["repeated_ids"] = count
        if not count:
            return links
        self.reporter.say(f"warning: {count} object ids occur more than once; flagged DUPLICATE_ID and kept")
        return [replace(link, repeated=path) for link in links]

    def _train(self, i: int, links: list[Link], stages: list[list[Stage]]) -> list[Link]:
        """Fit a stage, pooled over the fields unless what it saves is named after the field."""
        pooled = not self.plan.pipeline.per_field(("stages", i))
        groups = [range(len(stages))] if pooled else [[b] for b in range(len(stages))]
        moved: list[Link] = []
        for group in groups:
            members = [link for link in links if self._bound(link) in group]
            if not members:
                continue
            fitted = self._fit(i, stages[group[0]][i], members)
            moved += fitted.links
            for b in group:
                stages[b][i] = fitted.stage
        return sorted(moved, key=lambda link: link.number)

    def _fit(self, i: int, stage: Any, links: list[Link]) -> barrier.Fitted:
        recipe = stage.train
        total = getattr(recipe, "members", 1) * getattr(recipe, "epochs", 1)
        with self.reporter.step(f"train {self._name(i)}", total) as step:
            try:
                fitted = barrier.train(self.store, stage, links, self.plan.pipeline.split, self.files, step.advance)
            except AstrokerasError as error:
                raise RunError(f"{self._place(i)}: {self._name(i)}: {error}") from error
        said = ", ".join(f"{n} {name}" for name, n in fitted.counts.items())
        self.reporter.say(f"train {self._name(i)}: {said}")
        self.record.setdefault("training", []).append({"stage": self._name(i), "rows": fitted.counts})
        return fitted


def source_identity(source: Source, files: FileDigests) -> dict[str, Any]:
    """What of a source decides its rows; the files themselves count by content, partition by partition."""
    facts = identity(source, files)
    facts["parameters"] = {k: v for k, v in facts["parameters"].items() if k != "files"}
    return facts


def _finished(task: PartTask) -> bool:
    """Whether the part is there with all columns that its stages write."""
    done = receipt(task.directory)
    if done is None:
        return False
    have = {f["name"] for f in done["fields"]}
    written = {f.name for _, stage in task.stages for f in stage.writes()}
    if {f.name for f in task.stored} & written <= have:
        return True
    shutil.rmtree(task.directory)
    return False
