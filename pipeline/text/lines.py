"""A stream of bytes -> blocks of lines that are fit for TensorFlow, in bounded memory however long a line is."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline.config import MAX_LINE_BYTES, TEXT_BLOCK_BYTES

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHITE_SPACE = (b" ", b"\t", b"\v", b"\f")  # where a line may be cut


class TextBlock(NamedTuple):
    """Lines that are read, counted and turned into skip-grams together."""

    name: str
    offset: int  # of its first byte, after decompression; with `name` this identifies the block
    lines: list[bytes]  # valid UTF-8 without NUL; white space at the ends may be left
    counts: Counter  # what was found and mended, by counter name


def text_blocks(name: str, offset: int, chunks: Iterator[bytes]) -> Iterator[TextBlock]:
    """Gathers a stream of bytes into blocks of whole lines."""
    lines, size, counts = [], 0, Counter()
    for arrived, end in _lines(chunks):
        arrived_size = sum(map(len, arrived)) + len(arrived) * len(end.newline)
        whole = size + arrived_size < TEXT_BLOCK_BYTES  # else the block may end at any of these lines
        for some in [arrived] if whole else ([line] for line in arrived):
            lines += some
            size += arrived_size if whole else len(some[0]) + len(end.newline)
            counts[end.counter] += len(some)
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


def _lines(chunks: Iterable[bytes]) -> Iterator[tuple[list[bytes], _End]]:
    """Splits a stream into lines of at most MAX_LINE_BYTES; says of some lines at a time how they ended."""
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
    """Pieces of at most MAX_LINE_BYTES, cut behind white space or, in a word longer than that, between two characters.

    Cuts depend only on the bytes before them, so they are the same however the line arrived.
    """
    pieces = []
    while len(line) > MAX_LINE_BYTES:
        end = max(line.rfind(space, 0, MAX_LINE_BYTES) for space in _WHITE_SPACE) + 1
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
