"""VOTable products: streamed, valid, complete in what they say about themselves."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..fields import Field
from ..stage import Output, Product
from .atomic import replacing
from .preflight import check_fields
from .records import Layout, merge, stream_records, write_records

if TYPE_CHECKING:
    from astropy.table import QTable

# Bytes that become one line of base64; a multiple of three, so that no line needs padding but the last.
_LINE = 3 << 17


class VOTable(Output):
    """VOTable 1.4 with its data in BINARY2, written in a stream: memory does not grow with the number of rows.

    Missing values are null bits in the data; missing integers have a value of their own besides, which the field
    announces. Cells of fixed shape, such as a PDF on a grid, are arrays of fixed length; facts about them (the grid)
    are PARAMs in a GROUP that refers to the column. Provenance goes into INFO elements, the names of the IVOA note
    "Data Origin in the VO" where it has one.

    Parameters
    ----------
    path : str
        The file, usually ``*.vot``.
    columns : tuple of str, optional
        Columns and patterns (``z_*``, ``ids``, ``positions``, ``flags``); default: all but image stamps.
    where : str, optional
        Rows to write.
    """

    name: ClassVar[str] = "votable"

    def reads(self, available: tuple[Field, ...]) -> tuple[Field, ...]:
        """Fields to write; every one is checked (type, cell shape, unit, UCD).

        Raises
        ------
        ChunkError
            If a column is unknown, or cannot be written in a VOTable.
        """
        fields = super().reads(available)
        check_fields(fields, self.name)
        return fields

    def write(self, chunk: QTable, fields: tuple[Field, ...], piece: Path) -> dict[str, Any]:
        """Write the rows of a partition as BINARY2 records."""
        with replacing(piece, sync=False) as stream:
            layout = write_records(chunk, fields, stream, null_bits=True)
        return {"rows": len(chunk), "layout": layout.facts()}

    def close(self, pieces: list[tuple[Path, dict[str, Any]]], product: Product) -> None:
        """Put the pieces together.

        Raises
        ------
        OutputError
            If the file cannot be written, or the pieces do not fit each other.
        """
        from .header import document, frame

        layouts = [Layout.of_facts(facts["layout"], null_bits=True) for _, facts in pieces]
        rows = [facts["rows"] for _, facts in pieces]
        layout = merge(zip(layouts, rows, strict=True), product)
        text = document(product.path.stem, product.fields, layout.cells, sum(rows), product.provenance)
        head, tail = frame(text)
        records = stream_records(zip((path for path, _ in pieces), layouts, rows, strict=True), layout)
        with replacing(product.path) as stream:
            stream.write(head)
            for line in base64_lines(records):
                stream.write(line)
            stream.write(tail)


def base64_lines(blocks: Iterable[memoryview]) -> Iterator[bytes]:
    """Base64 of the concatenated blocks, in long lines. What does not fill a line is carried over to the next block."""
    carry = bytearray()
    for block in blocks:
        start = 0
        if carry:
            start = min(_LINE - len(carry), len(block))
            carry += block[:start]
            if len(carry) < _LINE:
                continue
            yield binascii.b2a_base64(carry)
            carry.clear()
        while len(block) - start >= _LINE:
            yield binascii.b2a_base64(block[start : start + _LINE])
            start += _LINE
        carry += block[start:]
    if carry:
        yield binascii.b2a_base64(carry)
