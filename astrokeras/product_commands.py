"""Commands about products that exist already: ``report``."""

from __future__ import annotations

from argparse import Namespace

from rich.console import Console

from . import registry
from .field_commands import pairs
from .part_help import made

OUT = Console(soft_wrap=True, highlight=False, markup=False)


def report(options: Namespace) -> int:
    """Write the page about products."""
    from .export.report_products import report_products

    given = {name: getattr(options, name) for name in ("title", "stamps", "where", "sample", "gallery", "all_rows")}
    page = made(
        registry.lookup("outputs", "report"),
        path=options.out,
        truth=dict(pairs(options.truth, "--truth", "ESTIMATE=COLUMN")),
        images=tuple(options.images),
        **given,
    )
    rows = report_products(page, options.products)
    OUT.print(f"{options.out}: {rows} rows of {len(options.products)} product(s)")
    return 0
