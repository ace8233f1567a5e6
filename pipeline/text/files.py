"""Files -> ranges -> text blocks. Every line is read exactly once, and memory is bounded for any size of file or line.

A range is what one worker reads in one go. It is of one of these kinds:

* A piece of a plain file. There is one for every TEXT_BLOCK_BYTES, and it owns the lines that begin in it.
* All of a compressed file, because such a file can only be read from its beginning.
* A group of small files, plain or compressed, one after the other. A range for each would take long: a text block costs
  about 3 ms, however small it is. Which files form a group depends on nothing but their names and sizes.

A text block is a group of lines that are processed together (see pipeline.text.lines). A piece of a plain file is
one text block, or several if its last line is long. A compressed file or a group is cut into text blocks as it is read.
"""

import bz2
import contextlib
import gzip
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BufferedIOBase, BytesIO
from typing import BinaryIO, NamedTuple

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipeline import worker  # noqa: F401 - it prepares each worker, and each worker loads this module
from pipeline.config import TEXT_BLOCK_BYTES
from pipeline.errors import UserError
from pipeline.text.encoding import HEAD_BYTES, check_encoding
from pipeline.text.inputs import FoundFile, as_pattern, input_root
from pipeline.text.lines import TextBlock, text_blocks

_CHUNK_BYTES = 1 << 20
_READS_AT_ONCE = 16  # an object store takes its time for each read, whatever the size
# Small files are divided into this many parts, by a hash of their names, and a group holds files of one part. So a
# worker need not hold all names.
_NUM_PARTS = 16
_DECOMPRESSORS: dict[str, Callable[[BinaryIO], BufferedIOBase]] = {".gz": gzip.open, ".bz2": bz2.open}
_NOT_TEXT = {".zst", ".xz", ".zip", ".7z", ".lz4", ".snappy", ".tar", ".tgz", ".parquet", ".avro", ".tfrecord"}
_MAGIC = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\x28\xb5\x2f\xfd": ".zst", b"\xfd7zXZ": ".xz", b"PK\x03\x04": ".zip"}


class TextRange(NamedTuple):
    """A piece of a file: the bytes from `start` to `stop`, or all of a compressed file. Small files may follow it."""

    path: str
    name: str  # the path relative to the input root; it is part of the names of random streams
    start: int  # byte offset
    stop: int | None  # byte offset; None for a compressed file
    more: tuple[str, ...] = ()  # the paths of the other files of a group of small files


def is_compressed(path: str) -> bool:
    """Whether a file is compressed by its name, and so can only be read from its beginning."""
    return _extension(path) in _DECOMPRESSORS


def is_small(size: int) -> bool:
    """Whether a file of that size, in bytes, is read in a group with others."""
    return size < TEXT_BLOCK_BYTES // 8


def file_ranges(path: str, size: int, root: str) -> Iterator[TextRange]:
    """The ranges of a file that is in no group.

    Args:
        path: of the file.
        size: of the file, in bytes.
        root: the input root, which all paths begin with.

    Raises:
        UserError: by its name the file is not text.
    """
    name, extension = path.removeprefix(root), _extension(path)
    if extension in _NOT_TEXT:
        raise UserError(f"--input {path}: expected plain text, .gz or .bz2, not {extension}")
    if is_compressed(path):
        yield TextRange(path, name, 0, None)
        return
    for start in range(0, size, TEXT_BLOCK_BYTES):
        yield TextRange(path, name, start, start + TEXT_BLOCK_BYTES)


def group_ranges(files: Iterable[tuple[str, int]], root: str) -> Iterator[TextRange]:
    """Ranges of small files, in groups of about TEXT_BLOCK_BYTES. The groups are the same in whatever order they come.

    Args:
        files: the path and the size in bytes of each file.
        root: the input root, which all paths begin with.

    Raises:
        UserError: by its name a file is not text.
    """
    group: list[TextRange] = []
    total = 0
    for path, size in sorted(files):
        if group and total + size > TEXT_BLOCK_BYTES:
            yield _grouped(group)
            group, total = [], 0
        group += file_ranges(path, size, root)  # none if the file is empty
        total += size
    if group:
        yield _grouped(group)


def _grouped(ranges: list[TextRange]) -> TextRange:
    return ranges[0]._replace(more=tuple(item.path for item in ranges[1:]))


def read_range(text_range: TextRange) -> Iterator[TextBlock]:
    """The text blocks of a range. There is one, unless a file is compressed or a line is long.

    Raises:
        UserError: a file cannot be read, is not UTF-8, or is compressed and damaged.
    """
    path, name, start, stop, more = text_range
    if more:
        yield from text_blocks(name, 0, _small_files([path, *more]))
    elif stop is None:
        with _open(path) as raw:
            yield from text_blocks(name, 0, [_whole_file(path, raw)])
    else:
        with _open(path) as raw:
            offset, chunks = _owned_lines(path, raw, start, stop)
            yield from text_blocks(name, offset, [chunks])


def check_head(path: str) -> None:
    """Raises UserError if a plain file does not begin as text in UTF-8 does."""
    with _open(path) as raw:
        _check_plain(path, raw.read(HEAD_BYTES))


def _extension(path: str) -> str:
    return os.path.splitext(path)[1].lower()


@contextlib.contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    """Opens a file as it is, compressed or not. An error while it is open becomes a UserError that names the file."""
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as raw:
            yield raw
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: Exception) -> UserError:
    what = "is damaged or not compressed as its name says" if is_compressed(path) else "cannot be read"
    return UserError(f"{path} {what}: {error}")


def _small_files(paths: list[str]) -> Iterator[Iterator[bytes]]:
    """The text of each small file, in chunks."""
    contents: Iterator[bytes] = map(_contents, paths)
    if "://" in paths[0]:
        with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
            contents = pool.map(_contents, paths)
    for path, data in zip(paths, contents, strict=True):
        yield _whole_file(path, BytesIO(data))


def _contents(path: str) -> bytes:
    with _open(path) as raw:
        return raw.read()


def _whole_file(path: str, raw: BinaryIO) -> Iterator[bytes]:
    """The text of a file in chunks, after decompression."""
    try:
        with _DECOMPRESSORS[_extension(path)](raw) if is_compressed(path) else raw as stream:
            chunk = stream.read(_CHUNK_BYTES)
            check_encoding(path, chunk) if is_compressed(path) else _check_plain(path, chunk)
            while chunk:
                yield chunk
                chunk = stream.read(_CHUNK_BYTES)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _unreadable(path, error) from error


def _check_plain(path: str, head: bytes) -> None:
    """Raises UserError if the first bytes of a plain file tell that it is compressed or not UTF-8."""
    for magic, extension in _MAGIC.items():
        if head.startswith(magic):
            raise UserError(
                f"{path} cannot be read: it begins as {extension} files do: expected plain text, or .gz or .bz2 in its "
                "name"
            )
    check_encoding(path, head)


def _owned_lines(path: str, stream: BinaryIO, start: int, stop: int) -> tuple[int, Iterator[bytes]]:
    """The lines that begin in [start, stop).

    A line begins behind each newline. Both ends of a range follow this rule, so neighbouring ranges share no line and
    miss none.

    Returns:
        The offset of the first of these lines, and chunks of bytes from there to the end of the last one.
    """
    first = max(start - 1, 0)
    stream.seek(first)
    data = stream.read(stop - 1 - first)  # behind each newline in here, a line of this range begins
    if start == 0:
        _check_plain(path, data)
    skipped = data.find(b"\n") + 1 if start else 0
    if start and not skipped:
        return start, iter(())  # the range lies within one line of an earlier range

    def chunks() -> Iterator[bytes]:
        yield data[skipped:]
        while chunk := stream.read(_CHUNK_BYTES >> 4):
            end = chunk.find(b"\n") + 1
            yield chunk[:end] if end else chunk
            if end:
                return

    return first + skipped, chunks()


class MakeRanges(beam.PTransform):
    """FoundFiles -> TextRanges.

    Args:
        patterns: --input's, as the user spells them.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        super().__init__()
        self._root = input_root(map(as_pattern, patterns))

    def expand(self, files: beam.PCollection[FoundFile]) -> beam.PCollection[TextRange]:
        divided = files | "LargeFiles" >> beam.FlatMap(_large_file_ranges, self._root)  # TextRange
        grouped = (
            files
            | "SmallFiles" >> beam.FlatMap(_small_file_part, self._root)  # (part, (path, bytes))
            | "ByPart" >> beam.GroupByKey()  # (part, [(path, bytes)])
            | "Groups" >> beam.FlatMap(_part_ranges, self._root)  # TextRange
        )
        return (divided, grouped) | "All" >> beam.Flatten()  # TextRange


def _large_file_ranges(file: FoundFile, root: str) -> Iterable[TextRange]:
    return () if is_small(file.size) else file_ranges(file.path, file.size, root)


def _small_file_part(file: FoundFile, root: str) -> Iterator[tuple[int, tuple[str, int]]]:
    if is_small(file.size):
        yield zlib.crc32(file.path.removeprefix(root).encode()) % _NUM_PARTS, (file.path, file.size)


def _part_ranges(part: tuple[int, Iterable[tuple[str, int]]], root: str) -> Iterator[TextRange]:
    return group_ranges(part[1], root)
