"""Delivery: pieces of every product are written by workers, then one process closes the product."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .errors import OutputError
from .executors import Executor, Outcome
from .expression import Expression
from .fields import Field, by_name
from .flags import Flag
from .links import Link
from .plan import Plan
from .progress import LOG, Reporter
from .provenance import identity, product_facts
from .stage import Output, Product, Stage
from .store import Store, digest, receipt, write_json
from .tallies import findings
from .work import Laps, PieceTask, Times, add_times, make_piece

#: Share of objects flagged OUT_OF_DOMAIN above which a product warns; of objects like those trained on it is .01.
MOST_OUT_OF_DOMAIN = 0.1


@dataclass(frozen=True)
class Delivery:
    """What there is to deliver.

    Attributes
    ----------
    stages : sequence of sequence of Stage
        Stages of each field, fitted.
    links : sequence of Link
        Partitions, after all segments.
    digest_of : callable
        Digest of a file.
    again : bool
        Write products again that are up to date.
    """

    plan: Plan
    store: Store
    executor: Executor
    reporter: Reporter
    stages: Sequence[Sequence[Stage]]
    links: Sequence[Link]
    digest_of: Callable[[str], str]
    again: bool = False


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
        _one(delivery, number, path, *mine, settle)
        for number in range(len(delivery.plan.pipeline.outputs))
        for path, mine in _by_path(delivery, number).items()
    ]


def _by_path(delivery: Delivery, number: int) -> dict[str, tuple[list[int], list[Link]]]:
    """For each product of an output: positions of its fields, and their partitions in order."""
    products: dict[str, tuple[list[int], list[Link]]] = {}
    paths = {bound.field: bound.outputs[number].path for bound in delivery.plan.bounds}
    for i, path in enumerate(paths.values()):
        products.setdefault(path, ([], []))[0].append(i)
    for link in delivery.links:
        products[paths[link.field]][1].append(link)
    return products


def available(delivery: Delivery, stages: Sequence[Stage]) -> tuple[Field, ...]:
    """Fields as the fitted stages declare them (the grid of a density is known only now)."""
    fields = by_name(delivery.plan.fields)
    for stage in stages:
        fields |= by_name(f for f in stage.writes() if f.name != "flags")
    return tuple(fields.values())


def _one(
    delivery: Delivery,
    number: int,
    path: str,
    mine: list[int],
    links: list[Link],
    settle: Callable[[Outcome], bool],
) -> dict[str, Any]:
    output = delivery.plan.bounds[mine[0]].outputs[number]
    lost = _lost(delivery, mine, links)
    if lost:
        delivery.reporter.say(f"{path}: not written, {lost}")
        return {"path": path, "state": "incomplete", "lost": lost}
    chains = list({tuple(map(id, delivery.stages[i])): delivery.stages[i] for i in mine}.values())
    fields = _fields(delivery, output, chains)
    tasks = [_task(delivery, output, fields, link, number) for link in links]
    # Outputs do not count, nor do other fields: a product says what leads to it.
    sources = [delivery.plan.bounds[i].source for i in mine]
    facts = product_facts(delivery.plan.pipeline.name, digest([link.digest for link in links]), sources, chains)
    places = {bound.field: i for i, bound in enumerate(delivery.plan.bounds)}
    found = findings(links, [[link.source, *delivery.stages[places[link.field]]] for link in links])
    facts |= {"findings": found} if found else {}
    lasting = {k: v for k, v in facts.items() if k != "date"}
    key = digest([[t.directory.name for t in tasks], lasting, [f.model_dump(mode="json") for f in fields], path])
    done = delivery.store.product(key)
    up_to_date = not delivery.again and _up_to_date(done, Path(path))
    if up_to_date or delivery.again:
        # Of a run that was killed after the product was there, or before it was to be made again.
        _remove(tasks)
    if up_to_date:
        delivery.reporter.say(f"{path}: up to date")
        return {"path": path, "state": "up to date"}
    times: Times = {}
    if not _pieces(delivery, tasks, path, settle, times):
        return {"path": path, "state": "incomplete"}
    laps = Laps()
    product = Product(Path(path), fields, facts, delivery.reporter.quiet)
    made = _close(delivery, output, tasks, product, done)
    laps.end("close")
    add_times(times, laps.facts())
    return made | times


def _fields(delivery: Delivery, output: Output, chains: list[Sequence[Stage]]) -> tuple[Field, ...]:
    """Columns of a product; all fields of the survey that go into it must agree on them."""
    first, *others = (output.reads(available(delivery, stages)) for stages in chains)
    for fields in others:
        odd = [f for f in (*first, *fields) if f not in first or f not in fields]
        if odd:
            raise OutputError(
                f"{output.path}: column {odd[0].name!r} is not the same in all fields that it merges "
                f"({odd[0].meta} and {odd[-1].meta}); write one product per field, with {{field}} in its path, "
                "or leave the column out"
            )
    return first


def _remove(tasks: Sequence[PieceTask]) -> None:
    for task in tasks:
        shutil.rmtree(task.directory, ignore_errors=True)


def _lost(delivery: Delivery, mine: list[int], links: list[Link]) -> str:
    """What of a product failed on the way, in words; empty if nothing."""
    plan = delivery.plan
    fields = [str(plan.bounds[i].field) for i in mine if plan.bounds[i].field in plan.failed]
    if fields:
        return f"field {', '.join(fields)} failed"
    count = sum(len(plan.partitions[i]) for i in mine) - len(links)
    return f"{count} partitions failed" if count else ""


def _task(delivery: Delivery, output: Output, fields: tuple[Field, ...], link: Link, number: int) -> PieceTask:
    named = sorted(Expression.parse(output.where).names) if output.where else []
    repeated = link.repeated.parent.name if link.repeated else None
    facts = [
        identity(output, delivery.digest_of),
        [f.model_dump(mode="json") for f in fields],
        named,
        repeated,
        link.field,
    ]
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
    warnings = _warnings(rows, flags)
    read = sum(receipt(task.link.parts[-1])["rows_read"] for task in tasks)
    counts = {"rows": rows, "rows_left_out_by_where": read - rows, "flags": flags}
    counts |= {"warnings": warnings} if warnings else {}
    product = replace(product, provenance={**product.provenance, **counts})
    output.close([(t.directory / "piece", m["facts"]) for t, m in zip(tasks, made, strict=True)], product)
    state = product.path.stat()
    write_json(done, {"path": str(product.path), "state": [state.st_size, state.st_mtime_ns], **counts})
    _remove(tasks)
    if before and not rows:
        delivery.reporter.say(f"warning: `where` left none of {before} rows for {product.path}")
    delivery.reporter.say(f"{product.path}: {rows} rows" + "".join(f", {n} {name}" for name, n in flags.items()))
    for warning in warnings:
        delivery.reporter.say(f"warning: {product.path}: {warning}")
        LOG.warning("%s: %s", product.path, warning)
    return {"path": str(product.path), "state": "written", "models": product.provenance["models"], **counts}


def _warnings(rows: int, flags: dict[str, int]) -> list[str]:
    """What a product says of itself: too many objects unlike those the model was trained on, or none on an image."""
    said = []
    outside, nowhere = (flags.get(flag.name, 0) for flag in (Flag.OUT_OF_DOMAIN, Flag.NO_IMAGE))
    if outside > MOST_OUT_OF_DOMAIN * rows:
        said.append(
            f"{outside / rows:.0%} of {rows} rows are OUT_OF_DOMAIN, where 1 % is expected: "
            "this field is not like the training set of the model, and what is said of its errors does not hold"
        )
    if rows and nowhere == rows:
        said.append(f"all {rows} rows have NO_IMAGE in a band: do the images cover this part of the sky?")
    return said
