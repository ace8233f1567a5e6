"""Files -> text blocks: every line exactly once, in bounded memory whatever the size of a file or of a line.

A plain file is cut into byte ranges of TEXT_BLOCK_BYTES; a range owns the lines that begin in it. A compressed file
cannot be entered in the middle: it is one range, and is cut into blocks of that size as it is read.
"""

import bz2
import glob
import gzip
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystem import CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from pipeline import worker  # noqa: F401 - every worker loads this module, and so that one
from pipeline.config import TEXT_BLOCK_BYTES
from pipeline.errors import UserError
from pipeline.text.lines import TextBlock, text_blocks

_CHUNK_BYTES = 1 << 20
_DECOMPRESSORS = {".gz": gzip.open, ".bz2": bz2.open}
_NOT_TEXT = {".zst", ".xz", ".zip", ".7z", ".lz4", ".snappy", ".tar", ".tgz", ".parquet", ".avro", ".tfrecord"}
_MAGIC = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\x28\xb5\x2f\xfd": ".zst", b"\xfd7zXZ": ".xz", b"PK\x03\x04": ".zip"}


class TextRange(NamedTuple):
    """A part of a file."""

    path: str
    name: str  # path relative to the input root: what random streams are keyed by
    start: int  # byte offset
    stop: int | None  # byte offset, or None: to the end of a compressed file


def input_root(patterns: Iterable[str]) -> str:
    """The longest directory, with a slash at its end, that is fixed in all patterns; '' if there is none."""
    fixed = [re.split(r"[*?\[{]", pattern, maxsplit=1)[0] for pattern in patterns]
    common = os.path.commonprefix(fixed)
    return common[: common.rfind("/") + 1]


def as_pattern(path: str) -> str:
    """One spelling for each local file, so that none is read twice; a name with brackets may be that of a file."""
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
    """Whether a file's name says that it must be read from its beginning."""
    return _extension(path) in _DECOMPRESSORS


def file_ranges(path: str, size: int, root: str) -> Iterator[TextRange]:
    """The ranges of a file of `size` bytes.

    Raises:
        UserError: the file's name says that it is no text.
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
    """The text blocks of a range: one, unless the file is compressed or a line is long.

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


def _chunks(stream) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _owned_lines(stream, start: int, stop: int) -> tuple[int, Iterator[bytes]]:
    """The offset of the first line that begins in [start, stop), and chunks that reach from it to the end of the last.

    Both ends follow one rule, so that neighbouring ranges fit: a line begins behind each newline.
    """
    first = max(start - 1, 0)
    stream.seek(first)
    data = stream.read(stop - 1 - first)  # newlines in here begin lines of this range
    for magic, extension in _MAGIC.items() if start == 0 else ():
        if data.startswith(magic):
            raise ValueError(f"it begins as {extension} files do: expected plain text, or .gz or .bz2 in its name")
    skipped = data.find(b"\n") + 1 if start else 0
    if start and not skipped:
        return start, iter(())  # the range lies within one line of an earlier range

    def chunks():
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
    """File patterns -> TextRanges of the files they match, each file once."""

    def __init__(self, patterns: tuple[str, ...]):
        super().__init__()
        self._patterns = [as_pattern(pattern) for pattern in patterns]
        self._root = input_root(self._patterns)

    def expand(self, pipeline):
        return (
            pipeline
            | "Patterns" >> beam.Create(self._patterns)  # str
            | "Match" >> fileio.MatchAll()  # FileMetadata
            | "PathAndSize" >> beam.Map(_path_and_size)  # (path, bytes)
            | "EachFileOnce" >> beam.Distinct()  # a file may match two patterns
            | "Ranges" >> beam.FlatMap(lambda file, root: file_ranges(*file, root), self._root)  # TextRange
        )
