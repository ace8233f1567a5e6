"""Counts the words of the text and writes the vocabulary file.

The vocabulary file, vocabulary.tsv, has a line `token<TAB>count` for each id from 0. Counts are exact, and the order of
the words is total, so ids never depend on chance. `tft.vocabulary` counts words too, but it passes every word of every
text block through Beam as an element of its own. Here the words of a bundle (the elements that Beam gives to a worker
together) are added up first, and travel as a few large elements.

If a vocabulary is given, its words come first, in their order. Other words follow if it is to grow, and are counted
together if not.
"""

import functools
import os
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import FIRST_WORD_ID, RESERVED_TOKENS, VOCABULARY_FILE
from pipeline.dataset.vocabulary import vocabulary_lines
from pipeline.errors import UserError
from pipeline.progress import COUNTING, Progress
from pipeline.text import holdout
from pipeline.text.files import TextRange, read_range
from pipeline.text.given_vocabulary import absolute, copied, copy_given
from pipeline.text.phrases import Phrases
from pipeline.text.tokenizer import separated

# A part is the distinct words whose hash leaves the same remainder. Parts are merged one by one, so that no worker must
# hold all distinct words of the text.
_NUM_PARTS = 256
_MAX_WORDS_HELD = 1_000_000  # distinct words that a worker adds up before it passes them on
_OTHERS = b""  # stands for all words that are not in a given vocabulary which does not grow

# Words that may be in the vocabulary, as (count, word), and the number of occurrences of all other words.
_Candidates = tuple[list[tuple[int, bytes]], int]
# Words that newlines join, and the count of each, [U] int64.
_PartCounts = tuple[bytes, np.ndarray]


class CountWords(beam.PTransform):
    """TextRanges -> the path of the vocabulary file, one str.

    Args:
        config: the pipeline's settings.
        directory: a directory that all workers share. The vocabulary file is written to it.
        phrases: the path of the phrases file in it, a PCollection of one str; None if no words are joined.
    """

    def __init__(self, config: PipelineConfig, directory: str, phrases: beam.PCollection[str] | None = None) -> None:
        super().__init__()
        self._config = config
        self._directory = directory
        self._phrases = None if phrases is None else beam.pvalue.AsSingleton(phrases)

    def expand(self, ranges: beam.PCollection[TextRange]) -> beam.PCollection[str]:
        vocab_size, min_count = self._config.vocab_size, self._config.min_count
        given_file, given_counts = None, None
        if self._config.vocabulary:
            given_file = beam.pvalue.AsSingleton(
                ranges.pipeline
                | "GivenVocabulary" >> beam.Create([absolute(self._config.vocabulary)])  # path
                | "CopyGiven" >> beam.Map(copy_given, self._config, self._directory)  # path of the copy
            )
        parts = (
            ranges
            | "SpreadRanges" >> beam.Reshuffle()  # TextRange
            | "AddUpBundle"
            >> beam.ParDo(_AddUpBundle(self._config), given_file, self._phrases)  # (part, (words joined, counts))
            | "ByPart" >> beam.GroupByKey()  # (part, [(words joined, counts)])
        )
        if self._config.vocabulary:
            given, parts = parts | "Divide" >> beam.Partition(lambda part, _: int(part[0] < _NUM_PARTS), 2)
            given_counts = beam.pvalue.AsIter(given | "AddUpGiven" >> beam.Map(_add_up))  # Counter
        return (
            parts
            | "FilterPart" >> beam.Map(_filter_part, vocab_size, min_count)  # ([(count, word)], dropped)
            | "AllParts" >> beam.CombineGlobally(_MostFrequent(vocab_size))  # ([(count, word)], dropped)
            | "Write" >> beam.Map(_write_vocabulary, self._config, self._directory, given_file, given_counts)  # path
        )


class _AddUpBundle(beam.DoFn):
    """Counts the words of a bundle of TextRanges, then passes the counts on in parts."""

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config
        self._milliseconds = Metrics.counter("pipeline", "vocabulary_worker_ms")
        self._phrases: Phrases | None = None

    def setup(self) -> None:
        self._progress = Progress(COUNTING)

        self._given: frozenset[bytes] = frozenset()

    def start_bundle(self) -> None:
        self._counts: dict[bytes, int] = {}

    def process(
        self, text_range: TextRange, given_file: str | None, phrases_file: str | None
    ) -> Iterator[tuple[int, _PartCounts]]:
        start = time.perf_counter()
        if self._phrases is None:
            self._phrases = Phrases.load(phrases_file) if phrases_file else Phrases()
        if given_file and not self._given:
            self._given = frozenset(copied(given_file))
        for block in read_range(text_range, self._progress.add):
            counts = self._counts
            lines, _ = holdout.split(block, self._config)
            words = b"\n".join(self._phrases.join(separated(lines, self._config.tokenizer))).split()
            # Those of the block are counted first, because a small table of words is faster than a large one.
            found = Counter(words)
            if self._given and not self._config.grow_vocabulary:
                # A difference of sets would go through all of the vocabulary for each block.
                others = [word for word in found if word not in self._given]
                found[_OTHERS] = sum(map(found.pop, others))
            for word, count in found.items():
                counts[word] = counts.get(word, 0) + count
            if len(counts) > _MAX_WORDS_HELD:
                self._counts = {}
                yield from _parts(counts, self._given)
        self._milliseconds.inc(round(1000 * (time.perf_counter() - start)))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for part in _parts(self._counts, self._given):
            yield WindowedValue(part, MIN_TIMESTAMP, [GlobalWindow()])


def _parts(counts: dict[bytes, int], given: frozenset[bytes] = frozenset()) -> Iterator[tuple[int, _PartCounts]]:
    """Divides word counts into parts, and leaves out parts without words. Given words have parts of their own."""
    parts: list[list[bytes]] = [[] for _ in range(2 * _NUM_PARTS)]
    for word in counts:
        parts[zlib.crc32(word) % _NUM_PARTS + (_NUM_PARTS if word in given else 0)].append(word)
    for part, words in enumerate(parts):
        if words:  # words hold no white space, so newlines can join them
            yield part, (b"\n".join(words), np.array([counts[word] for word in words], np.int64))


def _add_up(grouped: tuple[int, Iterable[_PartCounts]]) -> Counter[bytes]:
    """The counts of the words of a part."""
    counts: Counter[bytes] = Counter()
    for words, number in grouped[1]:
        for word, count in zip(words.split(b"\n"), number.tolist(), strict=True):
            counts[word] += count
    return counts


def _filter_part(grouped: tuple[int, Iterable[_PartCounts]], vocab_size: int, min_count: int) -> _Candidates:
    """Adds up a part, and keeps only the words that may be in the vocabulary."""
    counts = _add_up(grouped)
    no_words = [_OTHERS, *(token.encode() for token in RESERVED_TOKENS)]
    kept = [(count, word) for word, count in counts.items() if count >= min_count and word not in no_words]
    return _limit(kept, counts.total() - sum(count for count, _ in kept), vocab_size)


class _MostFrequent(beam.CombineFn):
    """Puts parts together. Between two parts it holds at most twice as many words as the vocabulary may have."""

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size

    def create_accumulator(self) -> _Candidates:
        return [], 0

    def add_input(self, accumulator: _Candidates, part: _Candidates) -> _Candidates:
        kept, dropped = accumulator
        kept += part[0]
        dropped += part[1]
        return _limit(kept, dropped, self._vocab_size) if len(kept) > 2 * self._vocab_size else (kept, dropped)

    def merge_accumulators(self, accumulators: Iterable[_Candidates]) -> _Candidates:
        return functools.reduce(self.add_input, accumulators, self.create_accumulator())

    def extract_output(self, accumulator: _Candidates) -> _Candidates:
        return _limit(*accumulator, self._vocab_size)


def _limit(kept: list[tuple[int, bytes]], dropped: int, vocab_size: int) -> _Candidates:
    """Drops the words that are not frequent enough for a vocabulary of that size; 0 stands for no limit."""
    if not vocab_size:
        return kept, dropped
    kept.sort(reverse=True)
    limit = vocab_size - FIRST_WORD_ID
    return kept[:limit], dropped + sum(count for count, _ in kept[limit:])


def _write_vocabulary(
    found: _Candidates,
    config: PipelineConfig,
    directory: str,
    given_file: str | None = None,
    given_counts: Iterable[Counter[bytes]] | None = None,
) -> str:
    """Writes the vocabulary file and returns its path.

    Args:
        found: the words that are not given.
        config: the pipeline's settings.
        directory: where to write the file.
        given_file: the path of the copy of the given vocabulary, if there is one.
        given_counts: the counts of its words that occur, in several parts.
    """
    new, dropped = found
    words: list[tuple[int, bytes]] = []
    if given_file:
        counts = {word: count for part in given_counts or () for word, count in part.items()}
        words = [(counts.get(word, 0), word) for word in copied(given_file)]
        new, dropped = _limit(new, dropped, config.vocab_size and config.vocab_size - len(words))
    words += sorted(new, reverse=True)  # by falling count, then by falling token, as Keras's TextVectorization does
    num_known = sum(count for count, _ in words)
    _check_found(num_known, num_known + dropped, config)
    path = os.path.join(directory, VOCABULARY_FILE)
    tf.io.gfile.makedirs(directory)
    with tf.io.gfile.GFile(path, "wb") as file:
        for line in vocabulary_lines(words, dropped):
            file.write(line)
    return path


def _check_found(num_known: int, num_words: int, config: PipelineConfig) -> None:
    """Raises UserError if the text has no words, or none of the vocabulary's. The arguments count occurrences."""
    if not num_words and config.holdout:
        raise UserError(
            f"--holdout {config.holdout:g} leaves no word of --input to train on: expected a lower share, or a text "
            "with more lines"
        )
    if not num_words:
        raise UserError("--input holds no words: every line is empty or punctuation alone")
    if not num_known and config.vocabulary:
        raise UserError(
            f"--vocabulary {config.vocabulary} has none of the {num_words:,} words of --input: expected one that "
            f"suits the text and --tokenizer {config.tokenizer}"
        )
    if not num_known:
        raise UserError(
            f"--min_count {config.min_count} leaves no word: none of the {num_words:,} words of --input occurs so "
            "often; expected a lower number"
        )
