"""The runner: takes a plan through its segments and outputs, and leaves a record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from . import barrier
from .chains import Chain
from .errors import AstrokerasError, RunError
from .executors import Executor, Outcome, Serial
from .fields import FLAGS, OBJECT_ID, by_name
from .file_digests import FileDigests
from .links import Link
from .outputs import Delivery, deliver
from .plan import Plan, Segment
from .progress import LOG, Reporter, logging_to
from .provenance import opened_record, source_identity
from .stage import Stage
from .store import Store, digest, receipt, write_json
from .tallies import gathered
from .work import PartTask, Times, Told, add_times, make_part

#: Raised when stored parts of an older layout can no longer be read.
FORMAT = 2


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

    def __post_init__(self) -> None:
        self._places = {bound.field: i for i, bound in enumerate(self.plan.bounds)}
        self.files = FileDigests(self.store.root / "files.json")

    def count_done(self) -> int:
        """Number of partitions whose way through the first segment is stored."""
        links = self._first_links()
        tasks, _ = self._tasks(self.plan.segments[0], links, [list(bound.stages) for bound in self.plan.bounds])
        return len(links) - len(tasks)

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
        self.record = opened_record(self.plan, stamp, self.files)
        # What is there when this process gets no further chance to write.
        write_json(self.store.run(stamp), self.record)
        clock = time.perf_counter()
        with logging_to(self.store.log(stamp)):
            try:
                self._go()
                del self.record["error"]
            except KeyboardInterrupt:
                self.record["error"] = "interrupted"
                raise
            except BaseException as error:
                LOG.error("%s", error)
                self.record["error"] = str(error) or type(error).__name__
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
        for note in self.plan.notes:
            self.reporter.say(f"note: {note}")
            LOG.info("note: %s", note)
        for number, segment in enumerate(self.plan.segments):
            if segment.stages or not number:
                links = self._segment(segment, links, stages)
                if not number:
                    links = self._identities(links)
            if segment.trains is not None:
                links = self._train(segment.trains, links, stages)
        if self.stop is None:
            delivery = Delivery(
                self.plan, self.store, self.executor, self.reporter, stages, links, self.files, self.start is not None
            )
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

    def _tasks(
        self, segment: Segment, links: list[Link], stages: list[list[Stage]]
    ) -> tuple[list[PartTask], list[Link]]:
        """Tasks of the partitions that are not done, and the links behind the segment."""
        forced = bool(segment.stages) and self._again(segment.stages[0])
        known = by_name([*self.plan.fields, OBJECT_ID, FLAGS])
        chains: dict[tuple[int, ...], Chain] = {}
        tasks, moved = [], []
        for link in links:
            mine = [stages[self._bound(link)][i] for i in segment.stages]
            # Fields share their stages, unless these name the field.
            chain = chains.get(tuple(map(id, mine)))
            if chain is None:
                placed = zip(map(self._place, segment.stages), mine, strict=True)
                chain = chains[tuple(map(id, mine))] = Chain.of(placed, segment.keeps, self.files)
            task, behind = chain.task(link, self.store, known, forced)
            tasks += [task] if task else []
            moved.append(behind)
        return tasks, moved

    def _segment(self, segment: Segment, links: list[Link], stages: list[list[Stage]]) -> list[Link]:
        tasks, moved = self._tasks(segment, links, stages)
        # The source works in the first segment, and may be what takes the time.
        first = [self.plan.bounds[0].source.name] if segment is self.plan.segments[0] else []
        names = " → ".join([*first, *(self._name(i) for i in segment.stages)])
        done = len(links) - len(tasks)
        self.reporter.say(f"{names}: {len(links)} partitions" + (f", {done} already done" if done else ""))
        times, failed = self._map(names, tasks)
        kept = [link for link in moved if link.number not in failed]
        self._count(names, kept, len(tasks), times)
        self._judge({i + 1 for i in segment.stages} | ({0} if first else set()), kept, stages)
        return kept

    def _judge(self, places: set[int], links: list[Link], stages: list[list[Stage]]) -> None:
        """Say what the source (place 0) and the stages of a segment have counted; what cannot be right is an error."""
        chains = [[self.plan.bounds[0].source, *stages[self._bound(link)]] for link in links]
        for place, part, total, members in gathered(links, chains):
            if place not in places:
                continue
            fields = {link.field for link in members} if len(self.plan.bounds) > 1 else set()
            name = self._name(place - 1) if place else "source"
            name += f" ({fields.pop()})" if len(fields) == 1 else ""
            if facts := part.findings(total):
                self.record.setdefault("findings", []).append({"stage": name, **facts})
            try:
                with Told(f"{self._place(place - 1)}: {name}" if place else name):
                    said = part.judge(total)
            except RunError as error:
                said = ()
                self._settle(Outcome(None, error=error))
            for line in said:
                self.reporter.say(f"{name}: {line}")
                LOG.info("%s: %s", name, line)

    def _again(self, i: int) -> bool:
        """Whether a stage is done again, because it is that of ``--from`` or comes after it."""
        return self.start is not None and i >= self.plan.pipeline.stage_ids().index(self.start)

    def _bound(self, link: Link) -> int:
        return self._places[link.field]

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

    def _count(self, names: str, links: list[Link], made: int, times: Times) -> None:
        receipts = [receipt(link.parts[-1]) for link in links]
        rows, read = (sum(r[k] for r in receipts) for k in ("rows", "rows_read"))
        facts = {"stages": names, "partitions": len(links), "made": made, "rows": rows, **times}
        self.record["segments"].append(facts)
        LOG.info("%s: %d partitions (%d made), %d rows", names, len(links), made, rows)
        if len(self.record["segments"]) > 1:
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
            try:
                fitted = self._fit(i, stages, members, group)
            except RunError as error:
                self._settle(Outcome(None, error=error))
                continue
            moved += fitted.links
            for b in group:
                stages[b][i] = fitted.stage
        return sorted(moved, key=lambda link: link.number)

    def _fit(self, i: int, stages: list[list[Stage]], links: list[Link], group: Sequence[int]) -> barrier.Fitted:
        plan, stage = self.plan, stages[group[0]][i]
        recipe = stage.train
        place = f"{self._place(i)}: {self._name(i)}"
        lost = sum(len(plan.partitions[b]) for b in group) - len(links)
        if lost or any(plan.bounds[b].field in plan.failed for b in group):
            raise RunError(f"{place}: not trained, some of its rows failed")
        models = 1 + ((plan.pipeline.split and plan.pipeline.split.folds) or 0)
        total = getattr(recipe, "steps", 1) * models
        with self.reporter.step(f"train {self._name(i)}", total) as step, Told(place):
            fitted = barrier.train(
                self.store, stage, links, plan.pipeline.split, self.files, step.advance, self._again(i),
                lambda link: stages[self._bound(link)][:i],
            )  # fmt: skip
        said = ", ".join(f"{n} {name}" for name, n in fitted.counts.items())
        if fitted.folds:
            said += f"; {len(fitted.folds)} folds of {min(fitted.folds)} to {max(fitted.folds)} rows"
        self.reporter.say(f"train {self._name(i)}: {said}")
        if not fitted.counts.get("validate") and getattr(recipe, "method", "keras") == "keras":
            self.reporter.say("warning: no rows to validate on: nothing stops training early, the card has no scores")
        notes = fitted.stage.training_notes()
        for note in notes:
            self.reporter.say(f"warning: {self._name(i)}: {note}")
        for line in fitted.stage.training_table():
            self.reporter.say(line)
        told = {"rows": fitted.counts, "folds": list(fitted.folds), "notes": list(notes)}
        self.record.setdefault("training", []).append({"stage": self._name(i), **told})
        return fitted
