"""Files -> ranges -> text blocks. Every line is read exactly once, and memory is bounded for any size of file or line.

A range is a piece of a file that one worker reads. A plain file has a range for every TEXT_BLOCK_BYTES, and a range
owns the lines that begin in it. A compressed file can only be read from its beginning, so all of it is one range.

A text block is a group of lines that are processed together (see pipeline.text.lines). A range of a plain file is
one text block, or several if its last line is long. A compressed file is cut into text blocks as it is read.
"""

import bz2
import glob
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedIOBase
from typing import BinaryIO, NamedTuple

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystem import CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from pipeline import worker  # noqa: F401 - it prepares each worker, and each worker loads this module
from pipeline.config import TEXT_BLOCK_BYTES
from pipeline.errors import UserError
from pipeline.text.lines import TextBlock, text_blocks

_CHUNK_BYTES = 1 << 20
_DECOMPRESSORS: dict[str, Callable[[BinaryIO], BufferedIOBase]] = {".gz": gzip.open, ".bz2": bz2.open}
_NOT_TEXT = {".zst", ".xz", ".zip", ".7z", ".lz4", ".snappy", ".tar", ".tgz", ".parquet", ".avro", ".tfrecord"}
_MAGIC = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\x28\xb5\x2f\xfd": ".zst", b"\xfd7zXZ": ".xz", b"PK\x03\x04": ".zip"}


class TextRange(NamedTuple):
    """A piece of a file: the bytes from `start` to `stop`, or all of a compressed file."""

    path: str
    name: str  # the path relative to the input root; it is part of the names of random streams
    start: int  # byte offset
    stop: int | None  # byte offset; None for a compressed file


def input_root(patterns: Iterable[str]) -> str:
    """The longest directory, with a slash at its end, that all patterns begin with; '' if there is none."""
    fixed = [re.split(r"[*?\[{]", pattern, maxsplit=1)[0] for pattern in patterns]
    common = os.path.commonprefix(fixed)
    return common[: common.rfind("/") + 1]


def as_pattern(path: str) -> str:
    """The pattern that matches what the user means by `path`.

    Each local file gets one spelling, so that no file is read twice. Brackets stand for themselves in the name of a
    file that is there, else for a choice of characters.
    """
    if "://" in path:
        return path
    return os.path.abspath(glob.escape(path) if os.path.isfile(path) else path)


def check_inputs(patterns: Iterable[str]) -> None:
    """Raises UserError unless every pattern matches a file."""
    for pattern in patterns:
        if os.path.isdir(pattern):
            raise UserError(f"--input {pattern} is a directory: expected files, such as '{pattern.rstrip('/')}/*'")
        try:
            found = FileSystems.match([as_pattern(pattern)], limits=[1])[0].metadata_list
        except Exception as error:
            raise UserError(f"--input {pattern} cannot be read: {error}") from error
        if not found:
            raise UserError(f"--input {pattern} matches no file")


def is_compressed(path: str) -> bool:
    """Whether a file is compressed by its name, and so can only be read from its beginning."""
    return _extension(path) in _DECOMPRESSORS


def file_ranges(path: str, size: int, root: str) -> Iterator[TextRange]:
    """The ranges of a file.

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


def read_range(text_range: TextRange) -> Iterator[TextBlock]:
    """The text blocks of a range. There is one, unless the file is compressed or a line is long.

    Raises:
        UserError: the file cannot be read, or a compressed one is damaged.
    """
    path = text_range.path
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as raw:
            if text_range.stop is None:
                with _DECOMPRESSORS[_extension(path)](raw) as stream:
                    yield from text_blocks(text_range.name, 0, _chunks(stream))
            else:
                offset, chunks = _owned_lines(raw, text_range.start, text_range.stop)
                yield from text_blocks(text_range.name, offset, chunks)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        if text_range.stop is None:
            raise UserError(f"{path} is damaged or not compressed as its name says: {error}") from error
        raise UserError(f"{path} cannot be read: {error}") from error


def _extension(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _chunks(stream: BufferedIOBase) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _owned_lines(stream: BinaryIO, start: int, stop: int) -> tuple[int, Iterator[bytes]]:
    """The lines that begin in [start, stop).

    A line begins behind each newline. Both ends of a range follow this rule, so neighbouring ranges share no line and
    miss none.

    Returns:
        The offset of the first of these lines, and chunks of bytes from there to the end of the last one.
    """
    first = max(start - 1, 0)
    stream.seek(first)
    data = stream.read(stop - 1 - first)  # behind each newline in here, a line of this range begins
    for magic, extension in _MAGIC.items() if start == 0 else ():
        if data.startswith(magic):
            raise ValueError(f"it begins as {extension} files do: expected plain text, or .gz or .bz2 in its name")
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


def _path_and_size(file: FileMetadata) -> tuple[str, int]:
    try:
        file.path.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"--input {file.path!a}: expected a file name in UTF-8") from error
    return file.path, file.size_in_bytes


class FindRanges(beam.PTransform):
    """Finds the ranges of all files that match one of the patterns. A file that matches several is taken once."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        super().__init__()
        self._patterns = [as_pattern(pattern) for pattern in patterns]
        self._root = input_root(self._patterns)

    def expand(self, start: beam.pvalue.PBegin) -> beam.PCollection[TextRange]:
        return (
            start
            | "Patterns" >> beam.Create(self._patterns)  # str
            | "Match" >> fileio.MatchAll()  # FileMetadata
            | "PathAndSize" >> beam.Map(_path_and_size)  # (path, bytes)
            | "EachFileOnce" >> beam.Distinct()  # a file may match two patterns
            | "Ranges" >> beam.FlatMap(lambda file, root: file_ranges(file[0], file[1], root), self._root)  # TextRange
        )
