"""A stream of bytes -> text blocks: lines that TensorFlow's string operations can handle. Pure Python.

A text block is about TEXT_BLOCK_BYTES of whole lines. It is the unit in which text is read and random streams are
named. A block may hold the lines of several small files; no line holds bytes of two files. A line longer than
MAX_LINE_BYTES is cut into several, so memory is bounded however long a line is.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline.config import MAX_LINE_BYTES, TEXT_BLOCK_BYTES

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHITE_SPACE = (b" ", b"\t", b"\v", b"\f")  # a long line is cut behind one of these


class TextBlock(NamedTuple):
    """Lines that are read, counted and turned into skip-grams together. Name and offset identify the block."""

    name: str  # the path of the file, or of the first of several, relative to the input root
    offset: int  # of the first byte in the file or in several, one behind the other, after decompression
    lines: list[bytes]  # valid UTF-8 without NUL; white space may be left at the ends
    counts: Counter[str]  # what was found and mended, by counter name


def text_blocks(name: str, offset: int, files: Iterable[Iterable[bytes]]) -> Iterator[TextBlock]:
    """Gathers the bytes of one file or of several into text blocks.

    Args:
        name: the path of the first file, relative to the input root.
        offset: of the first byte in the first file; if it is not 0, the file is read from there.
        files: the bytes of each file, in pieces of any size.
    """
    lines: list[bytes] = []
    counts: Counter[str] = Counter()
    size = 0
    begins_file = offset == 0
    for chunks in files:
        for arrived, end in _lines(chunks):
            arrived_size = sum(map(len, arrived)) + len(arrived) * len(end.newline)
            whole = size + arrived_size < TEXT_BLOCK_BYTES  # if not, the block may end at any of these lines
            if begins_file and arrived[0].startswith(_BYTE_ORDER_MARK):
                counts["byte_order_marks"] += 1
                arrived[0] = arrived[0].removeprefix(_BYTE_ORDER_MARK)
                size += len(_BYTE_ORDER_MARK)
                arrived_size -= len(_BYTE_ORDER_MARK)
            begins_file = False
            for some in [arrived] if whole else ([line] for line in arrived):
                lines += some
                size += arrived_size if whole else len(some[0]) + len(end.newline)
                counts[end.counter] += len(some)
                if size >= TEXT_BLOCK_BYTES:
                    yield _mended(name, offset, lines, counts)
                    offset += size
                    lines, counts, size = [], Counter(), 0
        begins_file = True
    if lines:
        yield _mended(name, offset, lines, counts)


class _End(NamedTuple):
    """How a line ended."""

    newline: bytes
    counter: str


_NEWLINE = _End(b"\n", "lines_terminated")
_END_OF_FILE = _End(b"", "lines_unterminated")
_CUT = _End(b"", "lines_cut")


def _lines(chunks: Iterable[bytes]) -> Iterator[tuple[list[bytes], _End]]:
    """Splits a stream into lines of at most MAX_LINE_BYTES. Yields lines in groups that all ended in the same way."""
    rest = b""
    for chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n")
        if complete and max(map(len, complete)) <= MAX_LINE_BYTES:
            yield complete, _NEWLINE
        else:
            for line in complete:
                *cut, line = _cut(line)
                if cut:
                    yield cut, _CUT
                yield [line], _NEWLINE
        *cut, rest = _cut(rest)
        if cut:
            yield cut, _CUT
    if rest:
        yield [rest], _END_OF_FILE


def _cut(line: bytes) -> list[bytes]:
    """Cuts a line into pieces of at most MAX_LINE_BYTES.

    A piece ends behind white space. Where a single word is too long for a piece, it ends between two characters. A cut
    depends only on the bytes before it, so the cuts are the same whatever chunks the line arrived in.
    """
    pieces = []
    while len(line) > MAX_LINE_BYTES:
        end = max(line.rfind(space, 0, MAX_LINE_BYTES) for space in _WHITE_SPACE) + 1
        if not end:
            end = MAX_LINE_BYTES
            while line[end] & 0xC0 == 0x80 and end > MAX_LINE_BYTES - 4:  # inside a character of several bytes
                end -= 1
        pieces.append(line[:end])
        line = line[end:]
    return [*pieces, line]


def _mended(name: str, offset: int, lines: list[bytes], counts: Counter[str]) -> TextBlock:
    """A text block of the lines, made valid UTF-8 without NUL. What was mended is counted."""
    counts["lines_read"] = counts.pop("lines_terminated", 0) + counts["lines_unterminated"]
    text = b"\n".join(lines)
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
