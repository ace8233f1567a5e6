"""What the vocabulary tells: its first words, facts about a word, and how much of the text frequent words cover.

A share is a share of the words of the text, those out of the vocabulary included. Held-out lines do not count.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from pipeline.dataset.layout import FIRST_WORD_ID, UNK_ID
from pipeline.examples.skipgrams import Distributions
from pipeline.inspection.opened import OpenDataset

_SIZES = tuple(10**power for power in range(1, 10))  # of vocabularies
_SHARES = (0.5, 0.8, 0.9, 0.95, 0.99)
_MIN_COUNTS = tuple(factor * 10**power for power in range(9) for factor in (1, 2, 5))
_MOST_MIN_COUNTS = 8


@dataclass(frozen=True)
class Row:
    """A line of the vocabulary."""

    id: int
    word: str
    count: int
    share: float  # of the text
    cumulative_share: float  # of this word and those before it; that of [UNK] is left out


@dataclass(frozen=True)
class WordFacts:
    """What is known of a word. A word that is not in the vocabulary has no numbers, but words like it."""

    word: str
    id: int | None
    like: tuple[str, ...] = ()  # known words that are spelled alike
    count: int = 0
    share: float = 0.0  # of the text
    rank: int = 0  # 1 for the most frequent word; 0 for [PAD] and [UNK], which have none
    keep_probability: float = 0.0  # that an occurrence stays in the text at subsampling
    target_probability: float = 0.0  # that an occurrence that stays is a target
    negative_probability: float = 0.0  # that a draw of a negative sample gives this word


@dataclass(frozen=True)
class Cover:
    """Some words of the vocabulary, and the share of the text that they make up."""

    words: int
    share: float
    min_count: int  # the count of the rarest of them


@dataclass(frozen=True)
class Coverage:
    """How much of the text the most frequent words cover."""

    text_words: int  # in all
    vocabulary_words: int
    unknown_share: float  # of the text, words that are not in the vocabulary
    by_size: tuple[Cover, ...]  # of the 10, 100, .. most frequent words, and of all
    by_share: tuple[Cover, ...]  # of as many words as cover half of the text, 80 %, ..; without those out of reach
    by_min_count: tuple[Cover, ...]  # of the words that a higher --min_count would leave


def head(dataset: OpenDataset, number: int) -> list[Row]:
    """The first lines of the vocabulary, in the order of their ids."""
    counts, total = dataset.counts[:number], _text_words(dataset)
    known = np.cumsum(np.where(np.arange(len(counts)) >= FIRST_WORD_ID, counts, 0))
    columns = zip(dataset.words, counts.tolist(), known.tolist(), strict=False)
    return [Row(i, word, count, count / total, so_far / total) for i, (word, count, so_far) in enumerate(columns)]


def facts(dataset: OpenDataset, words: list[str]) -> list[WordFacts]:
    """Facts about words, in their order."""
    config, counts = dataset.config(), dataset.counts
    keep, is_target, noise = Distributions.of(counts, config)
    negative = np.diff(noise.cdf, prepend=0.0)
    ids = dict(zip(dataset.words, itertools.count(), strict=False))
    found = []
    for word in words:
        i = ids.get(word)
        if i is None:
            found.append(WordFacts(word, None, dataset.like(word)))
            continue
        # The lower id comes first where two words are as frequent.
        others = counts[FIRST_WORD_ID:]
        before = np.count_nonzero(others > counts[i]) + np.count_nonzero(counts[FIRST_WORD_ID:i] == counts[i])
        found.append(
            WordFacts(
                word,
                i,
                count=int(counts[i]),
                share=int(counts[i]) / _text_words(dataset),
                rank=1 + int(before) if i >= FIRST_WORD_ID else 0,
                keep_probability=float(keep[i]),
                target_probability=1.0 if is_target is None else float(is_target[i]),
                negative_probability=float(negative[i]),
            )
        )
    return found


def coverage(dataset: OpenDataset) -> Coverage:
    """How much of the text the most frequent words cover."""
    counts, total = np.sort(dataset.counts[FIRST_WORD_ID:])[::-1], _text_words(dataset)
    known = np.cumsum(counts)

    def cover(size: int) -> Cover:
        return Cover(size, int(known[size - 1]) / total if size else 0.0, int(counts[size - 1]) if size else 0)

    sizes = [*(size for size in _SIZES if size < len(counts)), len(counts)]
    enough = [int(np.searchsorted(known, share * total)) + 1 for share in _SHARES]
    lowest = int(counts[-1])
    higher = [m for m in _MIN_COUNTS if lowest < m <= counts[0]][:_MOST_MIN_COUNTS]
    return Coverage(
        text_words=total,
        vocabulary_words=len(counts),
        unknown_share=unknown_share(dataset),
        by_size=tuple(map(cover, sizes)),
        by_share=tuple(cover(size) for size in dict.fromkeys(enough) if size <= len(counts)),
        by_min_count=tuple(
            Cover(each.words, each.share, m) for m in higher for each in [cover(int(np.count_nonzero(counts >= m)))]
        ),
    )


def unknown_share(dataset: OpenDataset) -> float:
    """Which share of the text are words that are not in the vocabulary."""
    return int(dataset.counts[UNK_ID]) / _text_words(dataset)


def _text_words(dataset: OpenDataset) -> int:
    return max(1, int(dataset.counts.sum()))
