"""What each command does; one function per command, of the parsed options."""

from __future__ import annotations

import inspect
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from . import registry
from .errors import ModelError
from .spec import load

if TYPE_CHECKING:
    from .plan import Plan
    from .store import Store

OUT = Console(soft_wrap=True, highlight=False)


def check(options: Namespace) -> int:
    """Check a pipeline file."""
    from .plan import check_pipeline

    pipeline = load(options.pipeline, options.sets)
    fields = check_pipeline(pipeline)
    OUT.print(f"{options.pipeline}: fine ({len(pipeline.stages)} stages, {len(fields)} columns)", markup=False)
    return 0


def _planned(options: Namespace) -> tuple[Plan, Store]:
    from .plan import make_plan
    from .store import Store

    pipeline = load(options.pipeline, options.sets)
    start, stop, keep_going = (getattr(options, name, None) for name in ("start", "stop", "keep_going"))
    plan = make_plan(pipeline, start, stop, options.only, bool(keep_going))
    return plan, Store(Path(options.work) / pipeline.name)


def plan(options: Namespace) -> int:
    """Show what a run would do."""
    made, store = _planned(options)
    pipeline = made.pipeline
    OUT.print(f"{pipeline.name}: {len(made.bounds)} field(s), {sum(map(len, made.partitions))} partition(s)")
    table = Table("partition", "rows", "files", box=None)
    for bound, partitions in zip(made.bounds, made.partitions, strict=True):
        for partition in partitions[:20]:
            rows = "?" if partition.rows is None else str(partition.rows)
            name = f"{bound.field}/{partition.key}" if bound.field else partition.key
            table.add_row(name, rows, ", ".join(partition.files))
        if len(partitions) > 20:
            table.add_row(f"... {len(partitions) - 20} more", "", "")
    OUT.print(table)
    for number, segment in enumerate(made.segments):
        names = " → ".join(pipeline.stage_ids()[i] for i in segment.stages) or "read"
        then = "" if segment.trains is None else f", then train {pipeline.stage_ids()[segment.trains]}"
        OUT.print(f"segment {number + 1}: {names}{then}", markup=False)
    width = sum(f.nbytes for f in made.fields)
    OUT.print(f"columns: {', '.join(f.name for f in made.fields)} ({width} bytes per row)", markup=False)
    for output in pipeline.outputs:
        columns = ", ".join(f.name for f in output.reads(made.fields))
        OUT.print(f"output {output.name} → {output.path}: {columns}", markup=False)
    _done(store)
    return 0


def _done(store: Store) -> None:
    from .store import receipt

    parts = [p for p in (store.root / "parts").glob("[!.]*") if receipt(p)]
    OUT.print(f"stored: {len(parts)} finished part(s) in {store.root}", markup=False)


def run(options: Namespace) -> int:
    """Run a pipeline."""
    from .executors import executor
    from .progress import Reporter
    from .runner import Run
    from .spec import load_site

    made, store = _planned(options)
    site = load_site(options.site) if options.site else None
    kind = (site.executor, site.workers, site.threads_per_worker) if site else ("serial", 1, 1)
    reporter = Reporter(options.quiet)
    with executor(*kind) as workers:
        work = Run(made, store, workers, reporter, options.keep_going, options.start, options.stop)
        work()
    for failure in work.failures:
        reporter.say(f"failed: {failure}")
    return 1 if work.failures else 0


def status(options: Namespace) -> int:
    """Show the products and the last run of a pipeline."""
    from .store import Store, receipt

    pipeline = load(options.pipeline, options.sets)
    store = Store(Path(options.work) / pipeline.name)
    records = [receipt(path.parent, path.name) for path in sorted((store.root / "runs").glob("*.json"))]
    runs = [record for record in records if record]
    if not runs:
        OUT.print(f"{pipeline.name}: never run in {options.work}", markup=False)
        return 0
    last = runs[-1]
    state = last.get("error") or ("failed in part" if last["failures"] else "finished")
    OUT.print(f"{pipeline.name}: last run {last['started']}, {last['seconds']} s: {state}", markup=False)
    for segment in last["segments"]:
        OUT.print(f"  {segment['stages']}: {segment['partitions']} partitions, {segment['rows']} rows", markup=False)
    for path in sorted((store.root / "products").glob("*.json")):
        made = receipt(path.parent, path.name)
        if made is None:
            continue
        there = "" if Path(made["path"]).exists() else " (gone)"
        OUT.print(f"  {made['path']}: {made['rows']} rows{there}", markup=False)
    _done(store)
    return 0


def stages(options: Namespace) -> int:
    """List parts, or show one."""
    kinds = ("sources", "stages", "outputs")
    if options.name:
        kind = next((k for k in kinds if options.name in registry.names(k)), "stages")
        _show_part(registry.lookup(kind, options.name))
        return 0
    for kind in kinds:
        table = Table(kind, "", box=None)
        for name in registry.names(kind):
            table.add_row(name, _summary(registry.lookup(kind, name)))
        OUT.print(table)
    return 0


def _summary(part: type) -> str:
    return (inspect.getdoc(part) or "").split("\n", 1)[0]


def _show_part(part: Any) -> None:
    OUT.print(f"{part.name} (version {part.version})\n\n{inspect.getdoc(part)}\n", markup=False)
    table = Table("parameter", "type", "default", box=None)
    for name, field in part.model_fields.items():
        kind = field.annotation.__name__ if isinstance(field.annotation, type) else str(field.annotation)
        default = "required" if field.is_required() else repr(field.get_default(call_default_factory=True))
        table.add_row(name, kind.replace("typing.", ""), default)
    OUT.print(table)


def models(options: Namespace) -> int:
    """List, show or verify models."""
    from .models.card import read_card
    from .models.library import find

    if options.action == "list":
        return _list_models()
    directory = find(options.model)
    if options.action == "show":
        OUT.print_json(read_card(directory).model_dump_json())
        return 0
    from .models.bundle import verify

    report = verify(directory)
    verdict = "fine" if report.ok else "DIFFERS"
    OUT.print(
        f"{report.card.name}@{report.card.version}: {verdict}; {report.rows} golden rows, largest difference "
        f"{report.max_difference:.3g}, digest {report.card.digest}",
        markup=False,
    )
    return 0 if report.ok else 1


def _list_models() -> int:
    """Print a line per model; one that cannot be read hides no other."""
    from .models.card import read_card
    from .models.library import listing

    status = 0
    for path in listing():
        try:
            card = read_card(path)
        except ModelError as error:
            print(f"astrokeras: {error}", file=sys.stderr)
            status = 1
            continue
        OUT.print(f"{card.name}@{card.version}  {card.task}  {card.description or '-'}  {path}", markup=False)
    return status


def catalogs(options: Namespace) -> int:
    """List or show survey maps."""
    from . import surveys

    if options.action == "list":
        for name in surveys.names():
            OUT.print(f"{name}  {surveys.load(name).description}", markup=False)
        return 0
    OUT.print(surveys.find(options.survey).read_text(), markup=False, end="")
    return 0


def json_schema(options: Namespace) -> int:
    """Print the JSON schema."""
    from .spec.jsonschema import schema

    print(json.dumps(schema(), indent=2))
    return 0
