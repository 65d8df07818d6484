"""What each command does; one function per command, of the parsed options."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from . import registry
from .errors import ModelError
from .field_commands import inject, simulate
from .part_help import first_line, show_part
from .product_commands import report
from .spec import load

if TYPE_CHECKING:
    from .models.card import Card
    from .plan import Plan
    from .store import Store

#: Commands that live elsewhere.
__all__ = ["inject", "report", "simulate"]

# Types and paths hold square brackets, which are no markup.
OUT = Console(soft_wrap=True, highlight=False, markup=False)


def check(options: Namespace) -> int:
    """Check a pipeline file."""
    from .walk import check_pipeline

    pipeline = load(options.pipeline, options.sets)
    fields, notes = check_pipeline(pipeline)
    for note in notes:
        OUT.print(f"note: {note}")
    OUT.print(f"{options.pipeline}: fine ({len(pipeline.stages)} stages, {len(fields)} columns)")
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
    from .runner import Run

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
    folds = pipeline.split.folds if pipeline.split else None
    models = f" ({folds} models without a fold each, and one of all rows)" if folds else ""
    for number, segment in enumerate(made.segments):
        names = " → ".join(pipeline.stage_ids()[i] for i in segment.stages) or "read"
        then = "" if segment.trains is None else f", then train {pipeline.stage_ids()[segment.trains]}{models}"
        done = f" ({Run(made, store, start=options.start).count_done()} partition(s) done)" if not number else ""
        OUT.print(f"segment {number + 1}: {names}{done}{then}")
    width = sum(f.nbytes for f in made.fields)
    OUT.print(f"columns: {', '.join(f.name for f in made.fields)} ({width} bytes per row)")
    for output in pipeline.outputs:
        columns = ", ".join(f.name for f in output.reads(made.fields))
        OUT.print(f"output {output.name} → {output.path}: {columns}")
    for note in made.notes:
        OUT.print(f"note: {note}")
    return 0


def _done(store: Store) -> None:
    from .store import receipt

    parts, trained = ([p for p in (store.root / kind).glob("[!.]*") if receipt(p)] for kind in ("parts", "models"))
    models = f", {len(trained)} trained model(s)" if trained else ""
    OUT.print(f"stored: {len(parts)} finished part(s){models} in {store.root}")


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
        OUT.print(f"{pipeline.name}: never run in {options.work}")
        return 0
    last = runs[-1]
    state = last.get("error") or ("failed in part" if last["failures"] else "finished")
    OUT.print(f"{pipeline.name}: last run {last['started']}, {last['seconds']} s: {state}")
    for segment in last["segments"]:
        OUT.print(f"  {segment['stages']}: {segment['partitions']} partitions, {segment['rows']} rows")
    for training in last.get("training", ()):
        rows = ", ".join(f"{count} {name}" for name, count in training["rows"].items())
        folds = f"; {len(training['folds'])} folds" if training.get("folds") else ""
        OUT.print(f"  train {training['stage']}: {rows}{folds}")
    for made in _products(store):
        there = "" if Path(made["path"]).exists() else " (gone)"
        OUT.print(f"  {made['path']}: {made['rows']} rows{there}")
    _done(store)
    return 0


def _products(store: Store) -> list[dict[str, Any]]:
    """Receipts of the products, the newest of each path."""
    from .store import receipt

    paths = sorted((store.root / "products").glob("*.json"), key=lambda p: p.stat().st_mtime_ns)
    made = [receipt(path.parent, path.name) for path in paths]
    return list({m["path"]: m for m in made if m}.values())


def stages(options: Namespace) -> int:
    """List parts, or show one."""
    kinds = ("sources", "stages", "outputs")
    if options.name:
        kind = next((k for k in kinds if options.name in registry.names(k)), "stages")
        show_part(registry.lookup(kind, options.name), OUT)
        return 0
    for kind in kinds:
        table = Table(kind, "", box=None)
        for name in registry.names(kind):
            table.add_row(name, first_line(registry.lookup(kind, name)))
        OUT.print(table)
    return 0


def models(options: Namespace) -> int:
    """List, show, verify or draw models."""
    from .models.card_file import read_card
    from .models.library import find

    if options.action == "list":
        return _list_models()
    directory = find(options.model)
    if options.action == "show":
        card = read_card(directory)
        return _show_card(card, directory) if not options.json else OUT.print_json(card.model_dump_json()) or 0
    if options.action == "plot":
        from .export.training_plots import training_plots

        for path in training_plots(directory, options.out, options.format):
            OUT.print(str(path))
        return 0
    from .models.bundle import verify

    report = verify(directory)
    verdict = "fine" if report.ok else "DIFFERS"
    OUT.print(
        f"{report.card.name}@{report.card.version}: {verdict}; {report.rows} golden rows, largest difference "
        f"{report.max_difference:.3g}, digest {report.card.digest}",
    )
    return 0 if report.ok else 1


def _show_card(card: Card, directory: Path) -> int:
    from .models.diagnostics import read_diagnostics, told
    from .models.summary import summary

    found = read_diagnostics(directory)
    for name, text in [*summary(card), *(told(found, directory) if found is not None else ())]:
        OUT.print(f"{name:15}{text}")
    return 0


def _list_models() -> int:
    """Print a line per model; one that cannot be read hides no other."""
    from .models.card_file import read_card
    from .models.library import VARIABLE, listing
    from .models.library import shelves as shelves_searched

    status = 0
    found = listing()
    if not found:
        shelves = " and ".join(map(str, shelves_searched()))
        print(f"no models in {shelves}; ${VARIABLE} names further directories", file=sys.stderr)
    for path in found:
        try:
            card = read_card(path)
        except ModelError as error:
            print(f"astrokeras: {error}", file=sys.stderr)
            status = 1
            continue
        OUT.print(f"{card.name}@{card.version}  {card.task}  {card.description or '-'}  {path}")
    return status


def catalogs(options: Namespace) -> int:
    """List or show survey maps, or guess which fits a file."""
    from . import surveys

    if options.action == "guess":
        return _guess(options.file, options.hdu)
    if options.action == "list":
        for name in surveys.names():
            OUT.print(f"{name}  {surveys.load(name).description}")
        return 0
    OUT.print(surveys.find(options.survey).read_text(), markup=False, end="")
    return 0


def _guess(path: str, hdu: str | None) -> int:
    """Print the maps that fit a file, and the columns that tell."""
    from . import surveys
    from .ingest.formats import open_table
    from .ingest.tablefile import TableOptions

    columns = open_table(path, TableOptions(hdu=int(hdu) if hdu is not None and hdu.isdecimal() else hdu)).names
    found = surveys.guess(columns)
    for one in found:
        OUT.print(f"{one.name}: {'fits' if one.fits else 'fits in part'}: {one.reason}")
        OUT.print(f"  found    {', '.join(one.matched)}")
        if one.further:
            OUT.print(f"  further  {', '.join(one.further)}")
    if not found:
        OUT.print(
            f"{path}: no survey map fits its {len(columns)} columns ({', '.join(columns[:12])}"
            f"{', ...' if len(columns) > 12 else ''}); a map of your own takes a few lines, under `survey:`"
        )
    return 0 if found else 1


def send(options: Namespace) -> int:
    """Send a table to other programs over SAMP."""
    from .export.samp import send as send_table

    for program in send_table(options.file, options.to, options.name):
        OUT.print(f"{options.file}: loaded by {program}")
    return 0


def json_schema(options: Namespace) -> int:
    """Print the JSON schema."""
    from .spec.jsonschema import schema

    print(json.dumps(schema(), indent=2))
    return 0
