"""Delivery: pieces of every product are written by workers, then one process closes the product."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .executors import Executor, Outcome
from .expression import Expression
from .fields import Field, by_name
from .links import Link
from .plan import Plan
from .progress import Reporter
from .provenance import identity, model_facts, product_facts
from .stage import Output, Product, Stage
from .store import Store, digest, receipt, write_json
from .work import Laps, PieceTask, Times, add_times, make_piece


@dataclass(frozen=True)
class Delivery:
    """What there is to deliver.

    Attributes
    ----------
    stages : sequence of sequence of Stage
        Stages of each field, fitted.
    links : sequence of Link
        Partitions, after all segments.
    """

    plan: Plan
    store: Store
    executor: Executor
    reporter: Reporter
    stages: Sequence[Sequence[Stage]]
    links: Sequence[Link]


def deliver(delivery: Delivery, settle: Callable[[Outcome], bool]) -> list[dict[str, Any]]:
    """Write all products that are not up to date.

    Parameters
    ----------
    settle : callable
        Told of each outcome; False means that the partition failed and its products are left unwritten.

    Returns
    -------
    list of dict
        Path, rows and state of each product.
    """
    return [
        _one(delivery, number, path, links, settle)
        for number in range(len(delivery.plan.pipeline.outputs))
        for path, links in _by_path(delivery, number).items()
    ]


def _by_path(delivery: Delivery, number: int) -> dict[str, list[Link]]:
    """Partitions of each product of an output, in order."""
    paths = {bound.field: bound.outputs[number].path for bound in delivery.plan.bounds}
    expected: dict[str, list[Link]] = {path: [] for path in paths.values()}
    for link in delivery.links:
        expected[paths[link.field]].append(link)
    return expected


def available(delivery: Delivery, stages: Sequence[Stage]) -> tuple[Field, ...]:
    """Fields as the fitted stages declare them (the grid of a density is known only now)."""
    fields = by_name(delivery.plan.fields)
    for stage in stages:
        fields |= by_name(f for f in stage.writes() if f.name != "flags")
    return tuple(fields.values())


def _one(
    delivery: Delivery, number: int, path: str, links: list[Link], settle: Callable[[Outcome], bool]
) -> dict[str, Any]:
    b = next(i for i, bound in enumerate(delivery.plan.bounds) if bound.outputs[number].path == path)
    output, stages = delivery.plan.bounds[b].outputs[number], delivery.stages[b]
    fields = output.reads(available(delivery, stages))
    lost = _lost(delivery, number, path, links)
    if lost:
        delivery.reporter.say(f"{path}: not written, {lost}")
        return {"path": path, "state": "incomplete", "lost": lost}
    tasks = [_task(delivery, output, fields, link, number) for link in links]
    facts = product_facts(delivery.plan.pipeline.name, _digest_of_run(delivery), stages, {})
    lasting = {k: v for k, v in facts.items() if k != "date"}
    key = digest([[t.directory.name for t in tasks], lasting, [f.model_dump(mode="json") for f in fields], path])
    done = delivery.store.product(key)
    if _up_to_date(done, Path(path)):
        delivery.reporter.say(f"{path}: up to date")
        return {"path": path, "state": "up to date"}
    times: Times = {}
    if not _pieces(delivery, tasks, path, settle, times):
        return {"path": path, "state": "incomplete"}
    laps = Laps()
    made = _close(delivery, output, tasks, Product(Path(path), fields, facts), done)
    laps.end("close")
    add_times(times, laps.facts())
    return made | times


def _lost(delivery: Delivery, number: int, path: str, links: list[Link]) -> str:
    """What of a product failed on the way, in words; empty if nothing."""
    plan = delivery.plan
    mine = [i for i, bound in enumerate(plan.bounds) if bound.outputs[number].path == path]
    fields = [str(plan.bounds[i].field) for i in mine if plan.bounds[i].field in plan.failed]
    if fields:
        return f"field {', '.join(fields)} failed"
    count = sum(len(plan.partitions[i]) for i in mine) - len(links)
    return f"{count} partitions failed" if count else ""


def _digest_of_run(delivery: Delivery) -> str:
    """Digest of the stages and rows that lead to the products; outputs do not count."""
    return digest([link.digest for link in delivery.links])


def _task(delivery: Delivery, output: Output, fields: tuple[Field, ...], link: Link, number: int) -> PieceTask:
    named = sorted(Expression.parse(output.where).names) if output.where else []
    repeated = link.repeated.parent.name if link.repeated else None
    facts = [identity(output, str), [f.model_dump(mode="json") for f in fields], named, repeated, link.field]
    problem = delivery.plan.pipeline.problem(("outputs", number), "")
    place = f"{problem.file}:{problem.line}:{problem.column}"
    return PieceTask(link, output, fields, delivery.store.piece(digest([link.digest, facts])), place)


def _up_to_date(done: Path, path: Path) -> bool:
    made = receipt_of_product(done)
    if made is None or not path.exists():
        return False
    state = path.stat()
    return [state.st_size, state.st_mtime_ns] == made["state"]


def receipt_of_product(done: Path) -> dict[str, Any] | None:
    """Receipt of a product, or None."""
    return receipt(done.parent, done.name)


def _pieces(
    delivery: Delivery, tasks: Sequence[PieceTask], path: str, settle: Callable[[Outcome], bool], times: Times
) -> bool:
    waiting = [task for task in tasks if receipt(task.directory) is None]
    good = True
    with delivery.reporter.step(f"write {path}", len(waiting)) as step:
        for outcome in delivery.executor.map(make_piece, waiting):
            if settle(outcome):
                add_times(times, outcome.result)
            else:
                good = False
            step.advance()
    return good


def _close(
    delivery: Delivery, output: Output, tasks: Sequence[PieceTask], product: Product, done: Path
) -> dict[str, Any]:
    made = [receipt(task.directory) for task in tasks]
    flags: dict[str, int] = {}
    for facts in made:
        for name, count in facts["flags"].items():
            flags[name] = flags.get(name, 0) + count
    rows, before = (sum(m[k] for m in made) for k in ("rows", "rows_before"))
    counts = {"rows": rows, "rows_left_out_by_where": before - rows, "flags": flags}
    product = Product(product.path, product.fields, {**product.provenance, **counts})
    output.close([(t.directory / "piece", m["facts"]) for t, m in zip(tasks, made, strict=True)], product)
    state = product.path.stat()
    write_json(done, {"path": str(product.path), "state": [state.st_size, state.st_mtime_ns], **counts})
    for task in tasks:
        shutil.rmtree(task.directory, ignore_errors=True)
    if before and not rows:
        delivery.reporter.say(f"warning: `where` left none of {before} rows for {product.path}")
    delivery.reporter.say(f"{product.path}: {rows} rows" + "".join(f", {n} {name}" for name, n in flags.items()))
    return {"path": str(product.path), "state": "written", "models": model_facts(product_stages(delivery)), **counts}


def product_stages(delivery: Delivery) -> tuple[Stage, ...]:
    """All stages of all fields."""
    return tuple(stage for chain in delivery.stages for stage in chain)
