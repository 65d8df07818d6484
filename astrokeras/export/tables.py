"""FITS and Parquet products."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ChunkError, OutputError
from ..fields import Field
from ..stage import Output, Product
from .atomic import replacing
from .preflight import check_fields
from .records import Layout, merge, stream_records, write_records

if TYPE_CHECKING:
    from astropy.table import QTable

#: Rows of a Parquet row group, at most.
_ROW_GROUP = 1 << 17


class Fits(Output):
    """FITS binary table, written in a stream: memory does not grow with the number of rows.

    Units, UCDs and descriptions are TUNIT, TUCD and TCOMM; missing integers have a TNULL; facts about a column, such as
    the grid of a PDF, are keywords (``z_pdf z_min``); provenance is HISTORY. FITS holds ASCII text only, and knows no
    missing text but the empty one.

    Parameters
    ----------
    path : str
        The file, usually ``*.fits``.
    columns : tuple of str, optional
        Columns and patterns (``z_*``, ``ids``, ``positions``, ``flags``); default: all but image stamps.
    where : str, optional
        Rows to write.
    """

    name: ClassVar[str] = "fits"

    def reads(self, available: tuple[Field, ...]) -> tuple[Field, ...]:
        """Fields to write, checked.

        Raises
        ------
        ChunkError
            If a column is unknown, or cannot be written in FITS.
        """
        from .fits_header import fits_unit

        fields = super().reads(available)
        check_fields(fields, self.name)
        for field in fields:
            if not (field.name.isascii() and field.name.isprintable()) or len(field.name) > 68:
                raise ChunkError(f"fits: column {field.name!r} needs a name of up to 68 printable ASCII characters")
            try:
                fits_unit(field.unit)
            except ValueError as error:
                raise ChunkError(
                    f"fits: column {field.name!r} has unit {field.unit!r}, unknown to FITS: {error}"
                ) from None
        return fields

    def write(self, chunk: QTable, fields: tuple[Field, ...], piece: Path) -> dict[str, Any]:
        """Write the rows of a partition as they will lie in the table.

        Raises
        ------
        OutputError
            If a text is not ASCII.
        """
        with replacing(piece, sync=False) as stream:
            layout = write_records(chunk, fields, stream, null_bits=False)
            for cell in layout.cells:
                if cell.kind == "utf16":
                    raise OutputError(_not_ascii(cell.name, np.asarray(chunk[cell.name]).astype(str)))
        return {"rows": len(chunk), "layout": layout.facts()}

    def close(self, pieces: list[tuple[Path, dict[str, Any]]], product: Product) -> None:
        """Put the pieces together.

        Raises
        ------
        OutputError
            If the file cannot be written, or the pieces do not fit each other.
        """
        from .fits_header import BLOCK, headers

        layouts = [Layout.of_facts(facts["layout"], null_bits=False) for _, facts in pieces]
        rows = [facts["rows"] for _, facts in pieces]
        layout = merge(zip(layouts, rows, strict=True), product)
        record = layout.dtype.itemsize
        head = headers(product.path.stem, product.fields, layout.cells, record, sum(rows), product.provenance)
        records = stream_records(zip((path for path, _ in pieces), layouts, rows, strict=True), layout)
        with replacing(product.path) as stream:
            stream.write(head)
            for block in records:
                stream.write(block)
            stream.write(bytes(-(sum(rows) * record) % BLOCK))


def _not_ascii(name: str, texts: np.ndarray) -> str:
    row = next(i for i, text in enumerate(texts.tolist()) if not text.isascii())
    return (
        f"fits: column {name!r} holds {str(texts[row])!r} (row {row} of the partition), and FITS tables hold ASCII "
        "only; write a votable or parquet, or leave the column out"
    )


class Parquet(Output):
    """Parquet file, one row group or more per partition.

    Missing integers and booleans are nulls, missing floats NaN. Cells are lists of fixed size, those of several
    dimensions flat in the order of C with their ``shape`` in the column's metadata, where ``unit``, ``ucd``,
    ``description`` and facts such as the grid of a PDF are, too. Astropy reads units and descriptions; the metadata of
    the table hold the provenance and a VOTable header (the VOParquet convention).

    Parameters
    ----------
    path : str
        The file, usually ``*.parquet``.
    columns : tuple of str, optional
        Columns and patterns (``z_*``, ``ids``, ``positions``, ``flags``); default: all but image stamps.
    where : str, optional
        Rows to write.
    """

    name: ClassVar[str] = "parquet"

    def reads(self, available: tuple[Field, ...]) -> tuple[Field, ...]:
        """Fields to write, checked.

        Raises
        ------
        ChunkError
            If a column is unknown, or cannot be written.
        """
        fields = super().reads(available)
        check_fields(fields, self.name)
        return fields

    def write(self, chunk: QTable, fields: tuple[Field, ...], piece: Path) -> dict[str, Any]:
        """Write the rows of a partition as an Arrow file."""
        from .parquet import write_batch

        with replacing(piece, sync=False) as stream:
            found = write_batch(chunk, fields, stream)
        return {"rows": len(chunk), "found": found}

    def close(self, pieces: list[tuple[Path, dict[str, Any]]], product: Product) -> None:
        """Put the pieces together.

        Raises
        ------
        OutputError
            If the file cannot be written, or the pieces do not fit each other.
        """
        import pyarrow as pa
        from pyarrow import parquet

        from .header import document
        from .parquet import cells_of, merge_found, schema

        try:
            found = merge_found([(facts["found"], facts["rows"]) for _, facts in pieces], product.fields)
        except ValueError as error:
            raise OutputError(f"{product.path}: {error}") from None
        rows = sum(facts["rows"] for _, facts in pieces)
        text = document(product.path.stem, product.fields, cells_of(product.fields, found), rows, product.provenance)
        layout = schema(product.fields, found, product.provenance, text)
        with replacing(product.path) as stream, parquet.ParquetWriter(stream, layout, compression="zstd") as writer:
            for path, facts in pieces:
                if not facts["rows"]:
                    continue
                with pa.memory_map(str(path)) as source:
                    table = pa.ipc.open_file(source).read_all()
                    writer.write_table(table.cast(layout), row_group_size=_ROW_GROUP)
