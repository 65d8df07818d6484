"""The report page of products that exist already, without the pipeline that made them."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import dates
from ..chunk import evaluate
from ..errors import OutputError, did_you_mean
from ..expression import Expression
from ..fields import Field, by_name
from ..flags import Flag
from ..stage import Product
from .product_file import ProductFile
from .report import Report

if TYPE_CHECKING:
    from astropy.table import QTable


def report_products(report: Report, paths: Sequence[str]) -> int:
    """Write a report page about products, and return the number of rows it is about.

    Products are read in chunks; memory does not grow with their rows.

    Parameters
    ----------
    report : Report
        What to show, and where the page goes.
    paths : sequence of str
        VOTables, Parquet or FITS files with the same columns; their rows are put together.

    Raises
    ------
    IngestError
        If a product cannot be read.
    OutputError
        If their columns differ, or the page cannot be written.
    """
    if os.path.realpath(report.path) in map(os.path.realpath, paths):
        raise OutputError(f"{report.path}: is a product to be shown; it is not overwritten")
    products = [ProductFile(path) for path in paths]
    fields = _same_columns(report, products)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        pieces = []
        for product in products:
            for chunk in _chosen(report, product, fields, counts):
                piece = Path(folder) / str(len(pieces))
                pieces.append((piece, report.write(chunk, fields, piece)))
        report.close(pieces, Product(Path(report.path), fields, _provenance(products, counts)))
    return counts["rows"]


def _chosen(report: Report, product: ProductFile, fields: Sequence[Field], counts: Counter[str]) -> Iterator[QTable]:
    """Rows of a product that the page is about, some at a time; adds to ``counts``."""
    known = by_name(product.fields)
    named = sorted(Expression.parse(report.where).names) if report.where else []
    for name in named:
        if name not in known:
            raise OutputError(f"{product.path}: `where`: no column {name!r}{did_you_mean(name, known)}")
    flags = ["flags"] if "flags" in known else []
    for chunk in product.chunks([*(field.name for field in fields), *named, *flags]):
        before = len(chunk)
        if report.where:
            chunk = chunk[evaluate(report.where, dict(chunk.items()), before)]
        counts.update(rows=len(chunk), rows_left_out_by_where=before - len(chunk), **_flags(chunk))
        yield chunk


def _same_columns(report: Report, products: Sequence[ProductFile]) -> tuple[Field, ...]:
    """Columns that the page shows, which all products have in common."""
    first, *others = ([*report.reads(product.fields)] for product in products)
    for product, fields in zip(products[1:], others, strict=True):
        mine, theirs = (by_name(some) for some in (first, fields))
        odd = sorted(n for n in mine.keys() | theirs.keys() if _column(mine, n) != _column(theirs, n))
        if odd:
            said, other = (_column(some, odd[0]) for some in (theirs, mine))
            raise OutputError(f"{product.path}: {said}; in {products[0].path} {other}; a page has one set of columns")
    return tuple(first)


def _column(columns: Mapping[str, Field], name: str) -> str:
    """What a column is, in words."""
    if name not in columns:
        return f"there is no column {name!r}"
    field = columns[name]
    grid = [f"{key} {field.meta[key]}" for key in ("z_min", "z_max") if key in field.meta]
    unit = field.unit or "none"
    return ", ".join([f"column {name!r} has type {field.kind}, unit {unit!r}, cells of shape {field.shape}", *grid])


def _flags(chunk: QTable) -> dict[str, int]:
    """Rows by flag."""
    if "flags" not in chunk.colnames:
        return {}
    bits = np.asarray(np.ma.filled(np.asanyarray(chunk["flags"]), 0))
    return {f"flags.{flag.name}": int(np.count_nonzero(bits & flag)) for flag in Flag if np.any(bits & flag)}


def _provenance(products: Sequence[ProductFile], counts: Counter[str]) -> dict[str, Any]:
    """Facts of the page; what products say of themselves stands under their names."""
    names = [Path(product.path).name for product in products]
    if len(set(names)) < len(names):
        names = [product.path for product in products]
    told = {
        name: {k: v for k, v in product.provenance.items() if not k.startswith(("flags.", "rows"))}
        for name, product in zip(names, products, strict=True)
    }
    warnings = [f"{name}: {facts.pop('warnings')}" for name, facts in told.items() if "warnings" in facts]
    return {
        "pipeline": " and ".join(dict.fromkeys(product.title for product in products)),
        "date": dates.now().strftime("%Y-%m-%dT%H:%M:%S"),
        "astrokeras_version": version("astrokeras"),
        **{name: counts[name] for name in ("rows", "rows_left_out_by_where")},
        "flags": {flag.name: counts[f"flags.{flag.name}"] for flag in Flag if counts[f"flags.{flag.name}"]},
        **({"warnings": warnings} if warnings else {}),
        **told,
    }
