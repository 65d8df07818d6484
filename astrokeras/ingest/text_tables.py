"""Text tables: CSV, TSV and relatives, ECSV, SExtractor's ASCII_HEAD; streamed by byte ranges of whole rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NoReturn

import pyarrow as pa
from pyarrow import csv

from ..errors import IngestError
from ..packing import READ_ERRORS, open_packed
from ..surveys.columns import Native
from .arrow import native
from .tablefile import Cut, TableFile, TableOptions
from .text_layout import BLANKS, is_remark, lay_out

_SAMPLE = 2**20
#: What stands for "no value" in a column of numbers; in a column of text it is a text.
NULLS = ["", "nan", "NaN", "NAN", "null", "NULL", "Null", "None", "N/A", "n/a", "NA", "#N/A", "--", "INDEF"]
_ECSV_TYPES = {"string": pa.string(), "bool": pa.bool_(), "float32": pa.float32(), "float64": pa.float64()}


class TextTable(TableFile):
    """A text table with a header line. Lines that begin with ``#`` are remarks."""

    kind = "text"

    def __init__(self, path: str, options: TableOptions):
        with open_packed(path) as stream:
            head = stream.read(_SAMPLE)
            complete = not stream.read(1)
        if b"\r" in head and b"\n" not in head:
            raise IngestError(f"{path}: lines end with a lone carriage return; convert the line ends")
        # Only whole lines tell how the table is written.
        head = head if complete else head[: head.rfind(b"\n") + 1]
        self.layout = lay_out(path, head, options)
        super().__init__(path, self.layout.names)
        self._types = self._sampled(head)

    def cuts(self, max_rows: int) -> Iterator[Cut]:
        """Find the byte ranges of ``max_rows`` rows each, in one pass over the file."""
        try:
            with open_packed(self.path) as stream:
                yield from self._cuts(stream, max_rows)
        except READ_ERRORS as error:
            raise IngestError(f"{self.path}: cannot be read to its end (damaged or truncated?): {error}") from None

    def _cuts(self, stream: BinaryIO, max_rows: int) -> Iterator[Cut]:
        begin, start, row, is_row = self.layout.skip, 0, 0, True
        for end, is_row in _ends(stream, begin):
            row += is_row is True
            if row - start == max_rows:
                yield Cut(start, row, (begin, end))
                start, begin = row, end
        if is_row is None:
            raise IngestError(
                f"{self.path}: the file ends within quotes, in a row from {row + 1} on; is one not closed?"
            )
        if row > start:
            yield Cut(start, row, (begin, end))
        elif not row:
            yield Cut(0, 0, (begin, begin))

    def read(self, names: Sequence[str], cut: Cut) -> dict[str, Native]:
        """Read columns of some rows."""
        begin, end = cut.place
        with open_packed(self.path) as stream:
            stream.seek(begin)
            data = stream.read(end - begin)
        data = self._clean(data)
        table = self._parsed(data, names, cut)
        if len(table) != cut.stop - cut.start:
            raise IngestError(f"{self.what}: rows {cut.start} to {cut.stop} hold {len(table)}; a quote is not closed?")
        out = {}
        for name in names:
            unit = self.layout.units.get(name.partition("[")[0], "")
            out[name] = Native(native(table[name], f"{self.what}, column {name!r}"), unit)
        return out

    def _clean(self, data: bytes) -> bytes:
        """Take remarks out, and make runs of blanks one blank."""
        if b"#" in data:
            data = re.sub(rb"(?m)^[ \t]*#.*(?:\n|\Z)", b"", data)
        if self.layout.delimiter == BLANKS:
            data = re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", re.sub(rb"[ \t]+", b" ", data))
        return data

    def _sampled(self, head: bytes) -> dict[str, pa.DataType]:
        """Types told from the beginning of the file, so that all parts of it agree."""
        stated = self.layout.types
        if stated:
            return {n: _ECSV_TYPES.get(t, pa.int64() if "int" in t else pa.string()) for n, t in stated.items()}
        data = self._clean(head[self.layout.skip :])
        if not data.strip():
            return {}
        try:
            table = self._convert(data, self.names, {})
        except pa.ArrowInvalid:
            # The reader of the rows says what is wrong, and where.
            return {}
        return {f.name: f.type for f in table.schema if f.type in (pa.int64(), pa.float64(), pa.string())}

    def _parsed(self, data: bytes, names: Sequence[str], cut: Cut) -> pa.Table:
        for name in names:
            if self.layout.types.get(name) == "array":
                raise IngestError(f"{self.what}, column {name!r}: arrays in ECSV are not read")
        types = {n: t for n, t in self._types.items() if n in names}
        if not data.strip():
            return pa.table({n: pa.array([], types.get(n, pa.float64())) for n in names})
        try:
            return self._convert(data, names, types)
        except pa.ArrowInvalid as error:
            wide = {n: pa.float64() if t == pa.int64() else t for n, t in types.items()}
            if wide == types or "conversion" not in str(error):
                self._explain(error, cut)
        try:
            return self._convert(data, names, wide)
        except pa.ArrowInvalid as error:
            self._explain(error, cut)

    def _convert(self, data: bytes, names: Sequence[str], types: dict[str, pa.DataType]) -> pa.Table:
        layout = self.layout
        return csv.read_csv(
            pa.BufferReader(data),
            # One block: types are then inferred from all of it.
            csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=list(layout.names)),
            csv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=b'"' in data),
            csv.ConvertOptions(
                include_columns=list(names), column_types=types, null_values=NULLS, decimal_point=layout.decimal
            ),
        )

    def _explain(self, error: pa.ArrowInvalid, cut: Cut) -> NoReturn:
        """Say in which row of the table, counted from 1, and in which column."""
        text = str(error)
        row = re.search(r"Row #(\d+)", text)
        column = re.search(r"column #(\d+)", text)
        where = f", row {cut.start + int(row[1])}" if row else f", rows {cut.start + 1} to {cut.stop}"
        if column and int(column[1]) < len(self.names):
            where += f", column {self.names[int(column[1])]!r}"
        counts = re.search(r"Expected (\d+) columns, got (\d+)(?:: (.*))?", text, re.DOTALL)
        if counts:
            shown = f": {counts[3][:60]!r}" if counts[3] else ""
            message = f"has {counts[2]} value{'' if counts[2] == '1' else 's'} for {counts[1]} columns{shown}"
        else:
            value = re.search(r"conversion error to (\w+): invalid value '(.*)'", text, re.DOTALL)
            message = f"{value[2][:60]!r} is no {value[1]}" if value else text
        raise IngestError(f"{self.path}{where}: {message}") from None


def _ends(stream: BinaryIO, begin: int) -> Iterator[tuple[int, bool | None]]:
    """End of every line, and whether a row ends there: not after a remark (False), nor within quotes (None)."""
    stream.seek(begin)
    end, quoted = begin, False
    for line in stream:
        end += len(line)
        if not quoted and is_remark(line):
            yield end, False
            continue
        if line.count(b'"') % 2:
            quoted = not quoted
        yield end, None if quoted else True
