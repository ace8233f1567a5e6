"""Counts words and pairs of neighbouring words. Pure Python and NumPy.

An entry is a word, or a pair of words with a space between them. What is counted as one is whatever reads the same
when it is joined: the pair `new york`, and the word `new_york` if the text has it. gensim's Phrases counts like that.

A part is the entries whose joined form has a hash that leaves the same remainder. Parts are added up one by one, so
that no worker must hold all entries of the text.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from pipeline.text.phrase_scores import Totals

NUM_PARTS = 1024  # four times as many as of words, since there are many more pairs
_LEVEL = 1  # of compression: the fastest
_BREAK = b"\0"  # stands between lines; no word reads like that, because text has no NUL

# Entries that newlines join, and the count of each, [U] int64.
PartCounts = tuple[bytes, np.ndarray]
# The same, both compressed. There are nearly as many bytes of pairs as of text, and some runners hold all in memory.
PackedCounts = tuple[bytes, bytes]


class PairCounter:
    """Counts the words and pairs of lines until they are taken out."""

    def __init__(self) -> None:
        self._words: dict[bytes, int] = {}
        self._pairs: dict[tuple[bytes, bytes], int] = {}

    def __len__(self) -> int:
        return len(self._words) + len(self._pairs)

    def add(self, lines: Sequence[bytes]) -> None:
        """Counts the words of lines, between which there is white space, and the pairs of neighbours in a line."""
        words = (b" %b " % _BREAK).join(lines).split()
        # Those of the lines are counted first, because a small table is faster than a large one.
        for word, count in Counter(words).items():
            self._words[word] = self._words.get(word, 0) + count
        for pair, count in Counter(zip(words, words[1:], strict=False)).items():
            self._pairs[pair] = self._pairs.get(pair, 0) + count

    def take(self) -> Iterator[tuple[int, PackedCounts]]:
        """Takes all counts out, as (part, its counts). Parts without entries are left out."""
        words, pairs = self._words, self._pairs
        self._words, self._pairs = {}, {}
        words.pop(_BREAK, None)
        entries: list[list[bytes]] = [[] for _ in range(NUM_PARTS)]
        counts: list[list[int]] = [[] for _ in range(NUM_PARTS)]
        for word, count in words.items():
            part = part_of(word)
            entries[part].append(word)
            counts[part].append(count)
        for (first, second), count in pairs.items():
            if first != _BREAK and second != _BREAK:
                part = part_of(b"%b_%b" % (first, second))
                entries[part].append(b"%b %b" % (first, second))
                counts[part].append(count)
        for part, of_part in enumerate(entries):
            if of_part:
                numbers = np.array(counts[part], np.int64).tobytes()
                yield part, (zlib.compress(b"\n".join(of_part), _LEVEL), zlib.compress(numbers, _LEVEL))


def part_of(joined: bytes) -> int:
    """The part of an entry, by its joined form."""
    return zlib.crc32(joined) % NUM_PARTS


def add_up(counts: Iterable[PackedCounts], min_count: int) -> tuple[Totals, PartCounts, PartCounts]:
    """Adds up a part.

    Args:
        counts: the part's counts, from all bundles.
        min_count: pairs that are rarer are left out, because they are no phrases.

    Returns:
        What the part adds to the totals, its words, and those of its pairs that may be phrases. The count of a word or
        a pair is that of its joined form.
    """
    entries: dict[bytes, int] = {}
    for some, packed in counts:
        numbers = np.frombuffer(zlib.decompress(packed), np.int64).tolist()
        for entry, count in zip(zlib.decompress(some).split(b"\n"), numbers, strict=True):
            entries[entry] = entries.get(entry, 0) + count
    joined: dict[bytes, int] = {}
    for entry, count in entries.items():
        form = entry.replace(b" ", b"_")
        joined[form] = joined.get(form, 0) + count
    words = [entry for entry in entries if b" " not in entry]
    pairs = [entry for entry in entries if b" " in entry and joined[entry.replace(b" ", b"_")] >= min_count]
    totals = Totals(len(joined), sum(entries[word] for word in words))
    return totals, _part_counts(words, joined), _part_counts(pairs, joined)


def _part_counts(entries: Sequence[bytes], joined: Mapping[bytes, int]) -> PartCounts:
    return b"\n".join(entries), np.array([joined[entry.replace(b" ", b"_")] for entry in entries], np.int64)
