"""A stream of bytes becomes text blocks: no line is lost, and what TensorFlow cannot handle is mended and counted."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text import lines as text_lines
from pipeline.text.lines import TextBlock
from tests.pipeline import reference
from tests.pipeline.helpers import ANY_BYTES, deterministic


def read(data: bytes, block_bytes=1 << 20, line_bytes=1 << 16, chunk_bytes=1 << 20) -> list[TextBlock]:
    """The text blocks of a stream that arrives in chunks, with small constants."""
    chunks = (data[start : start + chunk_bytes] for start in range(0, len(data), chunk_bytes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "TEXT_BLOCK_BYTES", block_bytes)
        patch.setattr(text_lines, "MAX_LINE_BYTES", line_bytes)
        return list(text_lines.text_blocks("stream.gz", 0, [chunks]))


def lines_of(blocks: list[TextBlock]) -> list[bytes]:
    return [line for block in blocks for line in block.lines]


def counts_of(blocks: list[TextBlock]) -> Counter:
    return +sum((block.counts for block in blocks), Counter())


@deterministic
@given(
    data=ANY_BYTES,
    block_bytes=st.integers(1, 90),
    line_bytes=st.integers(8, 30),
    chunk_bytes=st.integers(1, 80),
)
def test_blocks_are_those_of_the_naive_reader_however_the_stream_arrives(data, block_bytes, line_bytes, chunk_bytes):
    blocks = read(data, block_bytes, line_bytes, chunk_bytes)

    sizes = reference.Sizes(text_block_bytes=block_bytes, max_line_bytes=line_bytes)
    expected = reference.text_blocks("stream.gz", data, sizes)
    assert [(block.offset, block.lines) for block in blocks] == [(block.offset, block.lines) for block in expected]
    assert counts_of(blocks) == sum((block.counts for block in expected), Counter())


@deterministic
@given(data=ANY_BYTES, line_bytes=st.integers(8, 30), sizes=st.tuples(*[st.integers(1, 90)] * 2))
def test_lines_do_not_depend_on_the_size_of_a_text_block(data, line_bytes, sizes):
    one, other = (read(data, size, line_bytes) for size in sizes)

    assert lines_of(one) == lines_of(other)
    assert counts_of(one) == counts_of(other)


@pytest.mark.parametrize(
    ("data", "lines", "counters"),
    [
        (b"", [], {}),
        (b"\n", [b""], {"lines_read": 1, "lines_empty": 1}),
        (b"a b\nc", [b"a b", b"c"], {"lines_read": 2, "lines_unterminated": 1}),
        (b"a\r\nb\r\n\r\n", [b"a\r", b"b\r", b"\r"], {"lines_read": 3, "lines_crlf": 3, "lines_empty": 1}),
        (b"\xef\xbb\xbfa\nb\n", [b"a", b"b"], {"lines_read": 2, "byte_order_marks": 1}),
        (b"a\n\xef\xbb\xbfb\n", [b"a", "\ufeffb".encode()], {"lines_read": 2}),
        (b"\xef\xbb\xbf", [b""], {"lines_read": 1, "byte_order_marks": 1, "lines_empty": 1, "lines_unterminated": 1}),
        (b"a\0b\n\0\nc\n", [b"a b", b" ", b"c"], {"lines_read": 3, "lines_with_nul": 2, "lines_empty": 1}),
        (b"caf\xe9\nok\n", ["caf\ufffd".encode(), b"ok"], {"lines_read": 2, "lines_invalid_utf8": 1}),
        (
            b"\xff\0\r\n",
            ["\ufffd \r".encode()],
            {"lines_read": 1, "lines_crlf": 1, "lines_with_nul": 1, "lines_invalid_utf8": 1},
        ),
    ],
    ids=[
        "empty file",
        "empty line",
        "no last newline",
        "crlf",
        "bom",
        "bom in the middle",
        "bom alone",
        "nul",
        "latin-1",
        "all at once",
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 3, 1 << 20])
def test_damage_is_mended_and_counted(data, lines, counters, block_bytes):
    blocks = read(data, block_bytes=block_bytes)

    assert (lines_of(blocks), counts_of(blocks)) == (lines, counters)


def test_a_long_line_goes_on_behind_a_space():
    blocks = read(b"one two three four five\nsix\n", line_bytes=10)

    assert lines_of(blocks) == [b"one two ", b"three ", b"four five", b"six"]
    assert counts_of(blocks) == {"lines_read": 2, "lines_cut": 2}


def test_a_long_line_of_tabs_is_cut_between_words():
    words = [f"item{i}" for i in range(30)]

    pieces = lines_of(read("\t".join(words).encode(), line_bytes=20))

    assert max(map(len, pieces)) <= 20
    assert [word.decode() for piece in pieces for word in piece.split()] == words


def test_a_word_longer_than_a_line_may_be_is_cut_between_characters():
    """A line may have 10 bytes; é has two, 好 has three, 😀 has four."""
    for character in "é好😀":
        word = character * 50

        blocks = read(word.encode(), line_bytes=10)

        assert b"".join(lines_of(blocks)).decode() == word
        assert {len(line.decode()) for line in lines_of(blocks)[:-1]} == {10 // len(character.encode())}
        assert "lines_invalid_utf8" not in counts_of(blocks)
