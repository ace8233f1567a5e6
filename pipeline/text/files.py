"""Files -> ranges -> text blocks. Every line is read exactly once, and memory is bounded for any size of file or line.

A range is what one worker reads in one go. It is of one of these kinds:

* A piece of a plain file. There is one for every TEXT_BLOCK_BYTES, and it owns the lines that begin in it.
* All of a compressed file, because such a file can only be read from its beginning.
* A group of small files, plain or compressed, one after the other. A range for each would take long: a text block costs
  about 3 ms, however small it is. Which files form a group depends on nothing but their names and sizes.
* Rows of a Parquet file (see pipeline.text.parquet).

A text block is a group of lines that are processed together (see pipeline.text.lines). A piece of a plain file is
one text block, or several if its last line is long. A compressed file, a group or the rows of a table are cut into text
blocks as they are read.

The offset of a text block names its random stream, together with the name. It counts bytes of text from the offset of
the range, which is

* that of the range's first byte, if the file is text or JSON lines, whose text is never longer than they are,
* n * 2**40 in the n-th range of a Parquet file, from 0,
* 0 in a group.
"""

import itertools
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NamedTuple

import apache_beam as beam

from pipeline.config import TEXT_BLOCK_BYTES
from pipeline.errors import UserError
from pipeline.text import json_lines, parquet
from pipeline.text.compressed import DAMAGE, NAMES, extension, is_compressed
from pipeline.text.contents import chunks_of, open_file, opened_files, owned_lines, unreadable
from pipeline.text.inputs import FoundFile, as_pattern, input_root
from pipeline.text.lines import TextBlock, text_blocks
from pipeline.text.sources import Source, Table

# Small files are divided into this many parts, by a hash of their names, and a group holds files of one part. So a
# worker need not hold all names.
_NUM_PARTS = 16
_RANGE_OFFSETS = 1 << 40  # between the offsets of two ranges of a Parquet file; no range has as much text
_AS_TEXT = Source()
_NOT_TEXT = {".zip", ".7z", ".lz4", ".snappy", ".tar", ".tgz", ".parquet", ".avro", ".orc", ".tfrecord"}


class TextRange(NamedTuple):
    """A piece of a file, or all of it. Small files may follow it.

    The n-th range of a Parquet file, from 0, has n * TEXT_BLOCK_BYTES as `start`, as if it were a plain file. So shards
    get alike numbers of its ranges.
    """

    path: str
    name: str  # the path relative to the input root; it is part of the names of random streams
    start: int  # byte offset
    stop: int | None  # byte offset; None for all of a file that is compressed or a small Parquet file
    more: tuple[str, ...] = ()  # the paths of the other files of a group of small files
    table: Table | None = None  # how to read rows; None for text
    rows: parquet.Rows | None = None  # of a Parquet file; None for all
    size: int = 0  # the bytes of the files that it stands for, for progress; those of all ranges add up to the input's


def is_small(size: int) -> bool:
    """Whether a file of that size, in bytes, is read in a group with others."""
    return size < TEXT_BLOCK_BYTES // 8


def file_ranges(path: str, size: int, root: str, source: Source = _AS_TEXT) -> Iterator[TextRange]:
    """The ranges of a file that is in no group.

    Args:
        path: of the file.
        size: of the file, in bytes.
        root: the input root, which all paths begin with.
        source: how --input is read.

    Raises:
        UserError: by its name the file is not text, or it is a table that cannot be read.
    """
    name, table = path.removeprefix(root), source.table(path)
    if table and table.format == "parquet":
        if size:
            yield from _parquet_ranges(path, size, name, table)
    elif extension(path) in _NOT_TEXT:
        raise UserError(f"--input {path}: expected plain text, {NAMES}, not {extension(path)}")
    elif is_compressed(path):
        yield TextRange(path, name, 0, None, table=table, size=size)
    else:
        for start in range(0, size, TEXT_BLOCK_BYTES):
            stop = start + TEXT_BLOCK_BYTES
            yield TextRange(path, name, start, stop, table=table, size=min(stop, size) - start)


def _parquet_ranges(path: str, size: int, name: str, table: Table) -> Iterator[TextRange]:
    with open_file(path) as raw:
        file = parquet.TableFile(path, raw, table)
        ranges = list(file.ranges())
        num_rows = [len(file.numbers(rows)) for rows in ranges]
    # How many bytes of the file are done when each range begins. The last number is that of the end.
    done = [size * rows // max(1, sum(num_rows)) for rows in itertools.accumulate(num_rows, initial=0)]
    for number, rows in enumerate(ranges):
        start, num_bytes = number * TEXT_BLOCK_BYTES, done[number + 1] - done[number]
        yield TextRange(path, name, start, start + TEXT_BLOCK_BYTES, table=table, rows=rows, size=num_bytes)


def group_ranges(files: Iterable[tuple[str, int]], root: str, source: Source = _AS_TEXT) -> Iterator[TextRange]:
    """Ranges of small files, in groups of about TEXT_BLOCK_BYTES. The groups are the same in whatever order they come.

    Args:
        files: the path and the size in bytes of each file.
        root: the input root, which all paths begin with.
        source: how --input is read.

    Raises:
        UserError: by its name a file is not text.
    """
    tables: dict[Table | None, list[tuple[str, int]]] = {}  # all files of a group are read in the same way
    for path, size in sorted(files):
        tables.setdefault(source.table(path), []).append((path, size))
    for table, of_table in tables.items():
        group: list[TextRange] = []
        total = 0
        for path, size in of_table:
            if group and total + size > TEXT_BLOCK_BYTES:
                yield _grouped(group)
                group, total = [], 0
            if size and table and table.format == "parquet":  # its row groups are seen when it is read
                group.append(TextRange(path, path.removeprefix(root), 0, None, table=table, size=size))
            else:
                group += file_ranges(path, size, root, source)
            total += size
        if group:
            yield _grouped(group)


def _grouped(ranges: list[TextRange]) -> TextRange:
    more = tuple(item.path for item in ranges[1:])
    return ranges[0]._replace(more=more, size=sum(item.size for item in ranges))


def read_range(text_range: TextRange, when_done: Callable[[int], object] = lambda size: None) -> Iterator[TextBlock]:
    """The text blocks of a range. There is one, unless a file is compressed, a table or a line is long.

    Args:
        text_range: the range.
        when_done: is called when the caller asks for what follows a block, maybe several blocks later. Its argument is
            how many more bytes of the files are done; all of them add up to `text_range.size`.

    Raises:
        UserError: a file cannot be read, is not UTF-8, is compressed and damaged, or lacks the column.
    """
    counts: Counter[str] = Counter()  # what was counted in rows since the last block
    before = 0
    for block, done in _blocks(text_range, counts):
        block.counts.update(counts)
        counts.clear()
        yield block
        if done > before:
            when_done(done - before)
            before = done
    if before < text_range.size:
        when_done(text_range.size - before)


def _blocks(text_range: TextRange, counts: Counter[str]) -> Iterator[tuple[TextBlock, int]]:
    """The blocks of a range, each with the number of bytes that were read by then; 0 where it is not known."""
    path, name, start, stop, more, table, rows, size = text_range
    if more:
        for block in text_blocks(name, 0, _small_files([path, *more], table, counts)):
            yield block, 0
        return
    with open_file(path) as raw:
        offset, done = start, _nothing
        if table and table.format == "parquet":
            file = parquet.TableFile(path, raw, table)
            offset = start // TEXT_BLOCK_BYTES * _RANGE_OFFSETS
            chunks = file.text(rows, counts)
            done = lambda: int(size * file.share_done)  # noqa: E731
        elif stop is None:
            chunks = _whole_file(path, raw, table, counts)
            done = lambda: size if raw.closed else min(raw.tell(), size)  # noqa: E731
        else:
            offset, chunks = owned_lines(path, raw, start, stop)
            if table:
                chunks = json_lines.rows_text(path, chunks, table, counts)
        for block in text_blocks(name, offset, [chunks]):
            yield block, done()


def _nothing() -> int:
    return 0


def check_table(path: str, table: Table) -> None:
    """Raises UserError if a table cannot be read, or its first rows show that the column is not as expected."""
    with open_file(path) as raw:
        if table.format == "parquet":
            parquet.TableFile(path, raw, table)
        else:
            json_lines.check_rows(path, next(chunks_of(path, raw), b""), table)


def _small_files(paths: list[str], table: Table | None, counts: Counter[str]) -> Iterator[Iterator[bytes]]:
    """The text of each small file, in chunks."""
    for path, raw in opened_files(paths):
        yield _whole_file(path, raw, table, counts)


def _whole_file(path: str, raw: BinaryIO, table: Table | None, counts: Counter[str]) -> Iterator[bytes]:
    """The text of a file in chunks."""
    if table is None:
        return chunks_of(path, raw)
    if table.format == "jsonl":
        return json_lines.rows_text(path, chunks_of(path, raw), table, counts)
    return _small_table(path, raw, table, counts)


def _small_table(path: str, raw: BinaryIO, table: Table, counts: Counter[str]) -> Iterator[bytes]:
    try:
        yield from parquet.TableFile(path, raw, table).text(None, counts)
    except DAMAGE as error:
        raise unreadable(path, error) from error


class MakeRanges(beam.PTransform):
    """FoundFiles -> TextRanges.

    Args:
        patterns: --input's, as the user spells them.
        source: how the files are read.
    """

    def __init__(self, patterns: Iterable[str], source: Source = _AS_TEXT) -> None:
        super().__init__()
        self._root = input_root(map(as_pattern, patterns))
        self._source = source

    def expand(self, files: beam.PCollection[FoundFile]) -> beam.PCollection[TextRange]:
        if self._source.column:
            files = (
                files
                | "LeaveOut" >> beam.Filter(_is_data, self._root, self._source)
                | "SpreadFiles" >> beam.Reshuffle()  # one worker would take long to read the metadata of all tables
            )
        divided = files | "LargeFiles" >> beam.FlatMap(_large_file_ranges, self._root, self._source)  # TextRange
        grouped = (
            files
            | "SmallFiles" >> beam.FlatMap(_small_file_part, self._root)  # (part, (path, bytes))
            | "ByPart" >> beam.GroupByKey()  # (part, [(path, bytes)])
            | "Groups" >> beam.FlatMap(_part_ranges, self._root, self._source)  # TextRange
        )
        return (divided, grouped) | "All" >> beam.Flatten()  # TextRange


def _is_data(file: FoundFile, root: str, source: Source) -> bool:
    return not source.leaves_out(file.path.removeprefix(root))


def _large_file_ranges(file: FoundFile, root: str, source: Source) -> Iterable[TextRange]:
    return () if is_small(file.size) else file_ranges(file.path, file.size, root, source)


def _small_file_part(file: FoundFile, root: str) -> Iterator[tuple[int, tuple[str, int]]]:
    if is_small(file.size):
        yield zlib.crc32(file.path.removeprefix(root).encode()) % _NUM_PARTS, (file.path, file.size)


def _part_ranges(part: tuple[int, Iterable[tuple[str, int]]], root: str, source: Source) -> Iterator[TextRange]:
    return group_ranges(part[1], root, source)
