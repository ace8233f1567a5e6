"""Files -> text blocks: every line exactly once, in bounded memory whatever the size of a file or of a line.

A plain file is cut into byte ranges of TEXT_BLOCK_BYTES; a range owns the lines that begin in it. A compressed file
cannot be entered in the middle: it is one range, and is cut into blocks of that size as it is read.
"""

import bz2
import gzip
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipeline.config import MAX_LINE_BYTES, TEXT_BLOCK_BYTES
from pipeline.errors import UserError

_CHUNK_BYTES = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DECOMPRESSORS = {".gz": gzip.open, ".bz2": bz2.open}


class TextRange(NamedTuple):
    """A part of a file."""

    path: str
    name: str  # path relative to the input root: what random streams are keyed by
    start: int  # byte offset
    stop: int | None  # byte offset, or None: to the end of a compressed file


class TextBlock(NamedTuple):
    """Lines that are read, counted and turned into skip-grams together."""

    name: str
    offset: int  # of its first byte, after decompression; with `name` this identifies the block
    lines: list[bytes]  # valid UTF-8 without NUL; white space at the ends may be left
    counts: Counter  # what was found and mended, by counter name


def input_root(patterns: Iterable[str]) -> str:
    """The longest directory, with a slash at its end, that is fixed in all patterns; '' if there is none."""
    fixed = [re.split(r"[*?\[{]", pattern, maxsplit=1)[0] for pattern in patterns]
    common = os.path.commonprefix(fixed)
    return common[: common.rfind("/") + 1]


def check_inputs(patterns: Iterable[str]) -> None:
    """Raises UserError unless every pattern matches a file."""
    for pattern in patterns:
        if os.path.isdir(pattern):
            raise UserError(f"--input {pattern} is a directory: expected files, such as '{pattern.rstrip('/')}/*'")
        try:
            found = FileSystems.match([pattern], limits=[1])[0].metadata_list
        except Exception as error:
            raise UserError(f"--input {pattern} cannot be read: {error}") from error
        if not found:
            raise UserError(f"--input {pattern} matches no file")


def file_ranges(path: str, size: int, root: str) -> Iterator[TextRange]:
    """The ranges of a file of `size` bytes."""
    name = path.removeprefix(root)
    if os.path.splitext(path)[1] in _DECOMPRESSORS:
        yield TextRange(path, name, 0, None)
        return
    for start in range(0, size, TEXT_BLOCK_BYTES):
        yield TextRange(path, name, start, start + TEXT_BLOCK_BYTES)


def read_range(text_range: TextRange) -> Iterator[TextBlock]:
    """The text blocks of a range: one, unless the file is compressed or a line is long.

    Raises:
        UserError: a compressed file is damaged.
    """
    path = text_range.path
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as raw:
        try:
            if text_range.stop is None:
                with _DECOMPRESSORS[os.path.splitext(path)[1]](raw) as stream:
                    yield from _text_blocks(text_range.name, 0, _chunks(stream))
            else:
                offset, chunks = _owned_lines(raw, text_range.start, text_range.stop)
                yield from _text_blocks(text_range.name, offset, chunks)
        except (EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
            if text_range.stop is None:
                raise UserError(f"{path} is damaged or not compressed as its name says: {error}") from error
            raise


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


def _text_blocks(name: str, offset: int, chunks: Iterator[bytes]) -> Iterator[TextBlock]:
    """Gathers a stream of bytes into blocks of whole lines."""
    lines, size, counts = [], 0, Counter()
    for line, end in _lines(chunks):
        lines.append(line)
        size += len(line) + len(end.newline)
        counts[end.counter] += 1
        if size >= TEXT_BLOCK_BYTES:
            yield _mended(name, offset, lines, counts)
            offset += size
            lines, size, counts = [], 0, Counter()
    if lines:
        yield _mended(name, offset, lines, counts)


class _End(NamedTuple):
    """How a line ended."""

    newline: bytes
    counter: str


_NEWLINE = _End(b"\n", "lines_terminated")
_END_OF_FILE = _End(b"", "lines_unterminated")
_CUT = _End(b"", "lines_cut")


def _lines(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, _End]]:
    """Splits a stream into lines of at most MAX_LINE_BYTES and says how each ended."""
    rest = b""
    for chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            *cut, line = _cut(line)
            yield from ((piece, _CUT) for piece in cut)
            yield line, _NEWLINE
        *cut, rest = _cut(rest)
        yield from ((piece, _CUT) for piece in cut)
    if rest:
        yield rest, _END_OF_FILE


def _cut(line: bytes) -> list[bytes]:
    """Pieces of at most MAX_LINE_BYTES, cut behind a space or, in a word longer than that, between two characters.

    Cuts depend only on the bytes before them, so they are the same however the line arrived.
    """
    pieces = []
    while len(line) > MAX_LINE_BYTES:
        end = line.rfind(b" ", 0, MAX_LINE_BYTES) + 1
        if not end:
            end = MAX_LINE_BYTES
            while line[end] & 0xC0 == 0x80 and end > MAX_LINE_BYTES - 4:  # inside a UTF-8 sequence
                end -= 1
        pieces.append(line[:end])
        line = line[end:]
    return [*pieces, line]


def _mended(name: str, offset: int, lines: list[bytes], counts: Counter) -> TextBlock:
    """A text block whose lines are fit for TensorFlow's string operations; what was mended is counted."""
    counts["lines_read"] = counts.pop("lines_terminated", 0) + counts["lines_unterminated"]
    text = b"\n".join(lines)
    if offset == 0 and text.startswith(_BYTE_ORDER_MARK):
        counts["byte_order_marks"] = 1
        lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
    if b"\r" in text:
        counts["lines_crlf"] = sum(line.endswith(b"\r") for line in lines)
    if b"\0" in text:
        counts["lines_with_nul"] = sum(b"\0" in line for line in lines)
        lines = [line.replace(b"\0", b" ") for line in lines]
    try:
        text.decode()
    except UnicodeDecodeError:
        decoded = [line.decode(errors="replace").encode() for line in lines]
        counts["lines_invalid_utf8"] = sum(a != b for a, b in zip(lines, decoded, strict=True))
        lines = decoded
    counts["lines_empty"] = sum(not line or line.isspace() for line in lines)
    return TextBlock(name, offset, lines, counts)


class FindRanges(beam.PTransform):
    """File patterns -> TextRanges of the files they match, each file once."""

    def __init__(self, patterns: tuple[str, ...]):
        super().__init__()
        # One spelling for each local file, so that no file is read twice.
        self._patterns = [pattern if "://" in pattern else os.path.abspath(pattern) for pattern in patterns]
        self._root = input_root(self._patterns)

    def expand(self, pipeline):
        return (
            pipeline
            | "Patterns" >> beam.Create(self._patterns)  # str
            | "Match" >> fileio.MatchAll()  # FileMetadata
            | "PathAndSize" >> beam.Map(lambda file: (file.path, file.size_in_bytes))
            | "EachFileOnce" >> beam.Distinct()  # (path, bytes): a file may match two patterns
            | "Ranges" >> beam.FlatMap(lambda file, root: file_ranges(*file, root), self._root)  # TextRange
        )
