"""The format of the vocabulary file."""

from collections.abc import Iterator

from pipeline.dataset.layout import RESERVED_TOKENS


def vocabulary_lines(words: list[tuple[int, bytes]], num_unknown: int) -> Iterator[bytes]:
    """The lines of the vocabulary file: [PAD] counts 0, [UNK] all words out of the vocabulary."""
    pad, unknown = (token.encode() for token in RESERVED_TOKENS)
    yield b"%b\t0\n" % pad
    yield b"%b\t%d\n" % (unknown, num_unknown)
    for count, word in words:
        yield b"%b\t%d\n" % (word, count)
