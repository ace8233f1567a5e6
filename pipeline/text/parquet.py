"""Parquet files: which rows are read in one go, and their text. Needs no Beam.

A Parquet file consists of row groups, whose rows can be read without those of other groups. How many rows a group has
was up to the program that wrote the file: one row, or all rows of the file. So a range, which is what one worker reads
in one go, is one of these:

* Row groups that follow each other, and together have about as much text as a text block.
* A row group.
* A part of a row group that has much more text. Its worker also decodes the rows before the part, which takes little
  time beside what is done with the text.

The ranges of a file depend on nothing but the file.
"""

import math
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import pyarrow as pa
from pyarrow import parquet

from pipeline.config import TEXT_BLOCK_BYTES
from pipeline.errors import UserError
from pipeline.text.columns import check_lists, column_text, holds_lists, named
from pipeline.text.sources import Table

MAGIC = b"PAR1"  # a Parquet file begins and ends with it

_TEXT_OF_PART = 8 * TEXT_BLOCK_BYTES  # about as much text is in a part of a row group, or more
_MOST_PARTS = 8  # of a row group
_TEXT_OF_BATCH = 4 * TEXT_BLOCK_BYTES  # about as much text is decoded at once
_MOST_ROWS_OF_BATCH = 1 << 16
_BYTES_OF_ITEM = 8  # a short item of a list, with its space; files may hold it in a dictionary and take less
_BUFFER_BYTES = 1 << 20
_ROW_GROUPS_OF_SAMPLE = 16  # the most row groups of a file that a sample is taken from


class Rows(NamedTuple):
    """Rows that one worker reads in one go."""

    first: int  # the number of the first row group
    last: int  # the number of the row group behind the last
    part: int = 0  # which part of the row group
    parts: int = 1  # how many parts it is read in; more than 1 only if there is one row group


class TableFile:
    """A Parquet file, of which one column is read.

    Args:
        path: of the file, for messages.
        raw: the file's bytes; it must stay open.
        table: how to read it.

    Raises:
        UserError: there is no such column, or it holds neither strings nor lists of tokens.
    """

    def __init__(self, path: str, raw: BinaryIO, table: Table) -> None:
        self._file = parquet.ParquetFile(raw, buffer_size=_BUFFER_BYTES)
        self._column = table.column
        self.num_rows: int = self._file.metadata.num_rows
        self.share_done = 0.0  # of the rows of the last call of `text`, those that were given, from 0 to 1
        paths = [self._file.schema.column(number).path for number in range(self._file.metadata.num_columns)]
        # A list, and a struct, is stored as columns of its parts.
        self._stored = [number for number, path in enumerate(paths) if f"{path}.".startswith(f"{table.column}.")]
        if self.num_rows:
            _check(path, self._file.schema_arrow, table)

    @property
    def num_row_groups(self) -> int:
        """How many row groups there are."""
        return int(self._file.num_row_groups)

    def ranges(self) -> Iterator[Rows]:
        """All rows of the file, in the order in which they are there."""
        first, size = 0, 0
        for group, group_size in enumerate(map(self._text_bytes, range(self.num_row_groups))):
            if size and size + group_size > TEXT_BLOCK_BYTES:
                yield Rows(first, group)
                first, size = group, 0
            size += group_size
            if (parts := min(group_size // _TEXT_OF_PART, _MOST_PARTS)) > 1:
                yield from (Rows(group, group + 1, part, parts) for part in range(parts))
                first, size = group + 1, 0
        if size:
            yield Rows(first, self.num_row_groups)

    def numbers(self, rows: Rows) -> range:
        """The numbers that the rows of a range have among all rows of its row groups, from 0."""
        num_rows = sum(self._file.metadata.row_group(group).num_rows for group in range(rows.first, rows.last))
        return range(num_rows * rows.part // rows.parts, num_rows * (rows.part + 1) // rows.parts)

    def text(self, rows: Rows | None, counts: Counter[str]) -> Iterator[bytes]:
        """The text of rows, in pieces of whole lines.

        Args:
            rows: which; None stands for all.
            counts: what was left out or mended is added to it, by counter name.
        """
        rows = rows or Rows(0, self.num_row_groups)
        numbers, passed = self.numbers(rows), 0
        for batch in self._batches(range(rows.first, rows.last)):
            if passed + len(batch) > numbers.start:
                wanted = batch[max(numbers.start - passed, 0) : numbers.stop - passed]
                self.share_done = min(1.0, (passed + len(batch) - numbers.start) / max(1, len(numbers)))
                yield column_text(wanted, counts)
            passed += len(batch)
            if passed >= numbers.stop:
                return

    def sample(self, num_rows: int) -> tuple[bytes, int]:
        """The text of about so many rows, from the beginnings of row groups at equal distances; and their number."""
        rows_of = [self._file.metadata.row_group(group).num_rows for group in range(self.num_row_groups)]
        groups = [group for group, rows in enumerate(rows_of) if rows]
        share = min(1.0, num_rows / max(1, self.num_rows))
        num_groups = max(min(_ROW_GROUPS_OF_SAMPLE, len(groups)), math.ceil(share * len(groups)))
        groups = [groups[number * len(groups) // num_groups] for number in range(num_groups)]
        to_take = num_rows / max(1, sum(rows_of[group] for group in groups))  # of each group's rows
        text, taken = b"", 0
        for group in groups:
            wanted = min(math.ceil(to_take * rows_of[group]), rows_of[group])
            taken += wanted
            for batch in self._batches([group]):
                text += column_text(batch[:wanted], Counter())
                wanted -= min(wanted, len(batch))
                if not wanted:
                    break
        return text, taken

    def _batches(self, groups: range | list[int]) -> Iterator[pa.Array]:
        """The column's values in row groups, in arrays of bounded size."""
        num_rows = sum(self._file.metadata.row_group(group).num_rows for group in groups)
        size = sum(map(self._text_bytes, groups))
        batch_rows = max(1, min(num_rows * _TEXT_OF_BATCH // max(1, size), _MOST_ROWS_OF_BATCH))
        for batch in self._file.iter_batches(batch_rows, list(groups), [self._column], use_threads=False):
            yield batch.column(self._column)

    def _text_bytes(self, group: int) -> int:
        """About how much text a row group has in the column; 0 only if it has no rows."""
        described = self._file.metadata.row_group(group)
        size = int(described.num_rows)
        for column in map(described.column, self._stored if size else ()):
            size = max(size, column.total_uncompressed_size, _BYTES_OF_ITEM * column.num_values)
        return size


def _check(path: str, schema: pa.Schema, table: Table) -> None:
    """Raises UserError unless the column is there, and holds strings or lists of tokens."""
    number = schema.get_field_index(table.column)
    if number < 0:
        raise UserError(f"--column {table.column}: --input {path} has {named(schema.names)}: expected one of these")
    kind = schema.field(number).type
    lists = holds_lists(kind)
    if lists is None:
        raise UserError(
            f"--column {table.column}: --input {path} has values of type {str(kind)[:100]} there: expected strings, or "
            "lists of strings or of whole numbers"
        )
    check_lists(path, table, lists)
