"""The format of the phrases file.

A phrase is a pair of words that stand together so often that they count as one word. Phrases are learnt in rounds, and
the text is joined in the same rounds, so the words of a later round may be phrases themselves. The phrases file,
phrases.tsv, has a line `first second<TAB>round<TAB>count<TAB>score` for each phrase.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# The first line. No pair of words equals [NONE], and 0 is the round of all pairs that are no phrases. TensorFlow cannot
# make a table of an empty file, and there may be no phrases.
_NO_PHRASE = b"[NONE]\t0\t0\t0\n"


@dataclass(frozen=True)
class Phrase:
    """A line of the phrases file."""

    round: int  # from 1
    pair: bytes  # the two words, with a space between them
    count: int  # how often the text of this round has the joined words
    score: float


def phrase_lines(phrases: Iterable[Phrase]) -> Iterator[bytes]:
    """The lines of the phrases file: by round, then by falling score, then by pair."""
    yield _NO_PHRASE
    for each in sorted(phrases, key=lambda phrase: (phrase.round, -phrase.score, phrase.pair)):
        yield b"%b\t%d\t%d\t%b\n" % (each.pair, each.round, each.count, repr(each.score).encode())


def parse_phrases(content: bytes) -> list[Phrase]:
    """The phrases of a phrases file."""
    rows = (line.split(b"\t") for line in content.split(b"\n")[1:-1])
    return [Phrase(int(number), pair, int(count), float(score)) for pair, number, count, score in rows]
