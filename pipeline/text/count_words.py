"""Counts the words of the text and writes the vocabulary file.

The vocabulary file, vocabulary.tsv, has a line `token<TAB>count` for each id from 0. Counts are exact, and the order of
the words is total, so ids never depend on chance. `tft.vocabulary` counts words too, but it passes every word of every
text block through Beam as an element of its own. Here the words of a bundle (the elements that Beam gives to a worker
together) are added up first, and travel as a few large elements.
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
from pipeline.progress import Progress
from pipeline.text import holdout
from pipeline.text.files import TextRange, read_range
from pipeline.text.tokenizer import separated

# A part is the distinct words whose hash leaves the same remainder. Parts are merged one by one, so that no worker must
# hold all distinct words of the text.
_NUM_PARTS = 256
_MAX_WORDS_HELD = 1_000_000  # distinct words that a worker adds up before it passes them on

# Words that may be in the vocabulary, as (count, word), and the number of occurrences of all other words.
_Candidates = tuple[list[tuple[int, bytes]], int]
# Words that newlines join, and the count of each, [U] int64.
_PartCounts = tuple[bytes, np.ndarray]


class CountWords(beam.PTransform):
    """TextRanges -> the path of the vocabulary file, one str.

    Args:
        config: the pipeline's settings.
        directory: a directory that all workers share. The vocabulary file is written to it.
    """

    def __init__(self, config: PipelineConfig, directory: str) -> None:
        super().__init__()
        self._config = config
        self._directory = directory

    def expand(self, ranges: beam.PCollection[TextRange]) -> beam.PCollection[str]:
        vocab_size, min_count = self._config.vocab_size, self._config.min_count
        return (
            ranges
            | "SpreadRanges" >> beam.Reshuffle()  # TextRange
            | "AddUpBundle" >> beam.ParDo(_AddUpBundle(self._config))  # (part, (words joined, counts))
            | "ByPart" >> beam.GroupByKey()  # (part, [(words joined, counts)])
            | "FilterPart" >> beam.Map(_filter_part, vocab_size, min_count)  # ([(count, word)], dropped)
            | "AllParts" >> beam.CombineGlobally(_MostFrequent(vocab_size))  # ([(count, word)], dropped)
            | "Write" >> beam.Map(_write_vocabulary, self._config, self._directory)  # path
        )


class _AddUpBundle(beam.DoFn):
    """Counts the words of a bundle of TextRanges, then passes the counts on in parts."""

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config
        self._milliseconds = Metrics.counter("pipeline", "vocabulary_worker_ms")

    def setup(self) -> None:
        self._progress = Progress("vocabulary: %d MB of text counted by this worker")

    def start_bundle(self) -> None:
        self._counts: dict[bytes, int] = {}

    def process(self, text_range: TextRange) -> Iterator[tuple[int, _PartCounts]]:
        start = time.perf_counter()
        for block in read_range(text_range):
            counts = self._counts
            lines, _ = holdout.split(block, self._config)
            words = b"\n".join(separated(lines, self._config.tokenizer)).split()
            # Those of the block are counted first, because a small table of words is faster than a large one.
            for word, count in Counter(words).items():
                counts[word] = counts.get(word, 0) + count
            if len(counts) > _MAX_WORDS_HELD:
                self._counts = {}
                yield from _parts(counts)
            self._progress.add(sum(map(len, block.lines)) / 1e6)
        self._milliseconds.inc(round(1000 * (time.perf_counter() - start)))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for part in _parts(self._counts):
            yield WindowedValue(part, MIN_TIMESTAMP, [GlobalWindow()])


def _parts(counts: dict[bytes, int]) -> Iterator[tuple[int, _PartCounts]]:
    """Divides word counts into parts, and leaves out parts without words."""
    parts: list[list[bytes]] = [[] for _ in range(_NUM_PARTS)]
    for word in counts:
        parts[zlib.crc32(word) % _NUM_PARTS].append(word)
    for part, words in enumerate(parts):
        if words:  # words hold no white space, so newlines can join them
            yield part, (b"\n".join(words), np.array([counts[word] for word in words], np.int64))


def _filter_part(grouped: tuple[int, Iterable[_PartCounts]], vocab_size: int, min_count: int) -> _Candidates:
    """Adds up a part, and keeps only the words that may be in the vocabulary."""
    counts: Counter[bytes] = Counter()
    for words, number in grouped[1]:
        for word, count in zip(words.split(b"\n"), number.tolist(), strict=True):
            counts[word] += count
    reserved = [token.encode() for token in RESERVED_TOKENS]
    kept = [(count, word) for word, count in counts.items() if count >= min_count and word not in reserved]
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


def _write_vocabulary(found: _Candidates, config: PipelineConfig, directory: str) -> str:
    """Writes the vocabulary file and returns its path."""
    kept, dropped = found
    words = sorted(kept, reverse=True)  # by falling count, then by falling token, as Keras's TextVectorization does
    num_words = sum(count for count, _ in words) + dropped
    if not num_words and config.holdout:
        raise UserError(
            f"--holdout {config.holdout:g} leaves no word of --input to train on: expected a lower share, or a text "
            "with more lines"
        )
    if not num_words:
        raise UserError("--input holds no words: every line is empty or punctuation alone")
    if not words:
        raise UserError(
            f"--min_count {config.min_count} leaves no word: none of the {num_words:,} words of --input occurs so "
            "often; expected a lower number"
        )
    path = os.path.join(directory, VOCABULARY_FILE)
    tf.io.gfile.makedirs(directory)
    with tf.io.gfile.GFile(path, "wb") as file:
        for line in vocabulary_lines(words, num_words - sum(count for count, _ in words)):
            file.write(line)
    return path
