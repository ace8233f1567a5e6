"""Learns phrases from the text and writes the phrases file.

A round counts all words and all pairs of neighbours exactly, in the way of pipeline.text.count_words: the entries of a
bundle are added up first, and travel in parts. Then a pair needs the counts of its two words, which are in other parts.
It travels to the group of parts that has the first word, and from there to the one of the second. Only pairs that are
frequent enough do. The phrases of the round must fit into the memory of a worker, because every worker looks them up.
"""

import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import PHRASES_FILE
from pipeline.dataset.phrases import Phrase, parse_phrases, phrase_lines
from pipeline.progress import Progress, phrases_round
from pipeline.text import holdout
from pipeline.text.files import TextRange, read_range
from pipeline.text.phrase_counts import PackedCounts, PairCounter, PartCounts, add_up, part_of
from pipeline.text.phrase_scores import Totals, phrase_score
from pipeline.text.phrases import Phrases
from pipeline.text.tokenizer import separated

_MAX_ENTRIES_HELD = 1_000_000  # distinct words and pairs that a worker adds up before it passes them on
_NUM_GROUPS = 64  # groups of parts, in which pairs meet their words; it divides the number of parts

# Pairs that newlines join. Each has its count and the counts of its words as far as they are known, [P, 1..3] int64.
_Pairs = tuple[bytes, np.ndarray]


class LearnPhrases(beam.PTransform):
    """TextRanges -> the path of the phrases file, one str.

    Args:
        config: the pipeline's settings, with one round of phrases at least.
        directory: a directory that all workers share. The phrases file is written to it.
    """

    def __init__(self, config: PipelineConfig, directory: str) -> None:
        super().__init__()
        self._config = config
        self._directory = directory

    def expand(self, ranges: beam.PCollection[TextRange]) -> beam.PCollection[str]:
        spread = ranges | "SpreadRanges" >> beam.Reshuffle()  # TextRange
        path = None
        for number in range(1, self._config.phrases + 1):
            name = PHRASES_FILE if number == self._config.phrases else f"round-{number}.tsv"
            learn = _LearnRound(self._config, number, path, os.path.join(self._directory, name))
            path = spread | f"Round{number}" >> learn  # str
        return path


class _LearnRound(beam.PTransform):
    """TextRanges -> the path of a phrases file with the phrases of this round and of those before, one str.

    Args:
        config: the pipeline's settings.
        number: the round.
        before: the path of the phrases file of the round before, a PCollection of one str; None in the first round.
        path: where to write the phrases file.
    """

    def __init__(self, config: PipelineConfig, number: int, before: beam.PCollection[str] | None, path: str) -> None:
        super().__init__()
        self._config = config
        self._number = number
        self._before = [] if before is None else [beam.pvalue.AsSingleton(before)]
        self._path = path

    def expand(self, ranges: beam.PCollection[TextRange]) -> beam.PCollection[str]:
        config, number = self._config, self._number
        parts = (
            ranges
            | "AddUpBundle" >> beam.ParDo(_AddUpBundle(config, number), *self._before)  # (part, packed counts)
            | "ByPart" >> beam.GroupByKey()  # (part, [packed counts])
            | "AddUpPart" >> beam.FlatMap(_add_up_part, config.phrase_min_count).with_outputs()
        )
        totals = parts.totals | "Totals" >> beam.CombineGlobally(_sum)  # Totals
        return (
            parts.pairs  # (pairs, counts)
            | "FirstWords" >> _AddWordCounts(parts.words, 0)  # (pairs, counts)
            | "SecondWords" >> _AddWordCounts(parts.words, 1)  # (pairs, counts)
            | "Score" >> beam.Map(_score, beam.pvalue.AsSingleton(totals), config, number)  # [Phrase]
            | "AllPhrases" >> beam.combiners.ToList()  # [[Phrase]]
            | "Write" >> beam.Map(_write, self._path, *self._before)  # path
        )


class _AddUpBundle(beam.DoFn):
    """Counts the words and pairs of a bundle of TextRanges, then passes the counts on in parts."""

    def __init__(self, config: PipelineConfig, number: int) -> None:
        self._config = config
        self._stage = phrases_round(number, config.phrases)
        self._milliseconds = Metrics.counter("pipeline", "phrases_worker_ms")
        self._phrases: Phrases | None = None

    def setup(self) -> None:
        self._progress = Progress(self._stage)

    def start_bundle(self) -> None:
        self._counter = PairCounter()

    def process(self, text_range: TextRange, before: str = "") -> Iterator[tuple[int, PackedCounts]]:
        start = time.perf_counter()
        if self._phrases is None:
            self._phrases = Phrases.load(before) if before else Phrases()
        for block in read_range(text_range, self._progress.add):
            lines, _ = holdout.split(block, self._config)
            self._counter.add(self._phrases.join(separated(lines, self._config.tokenizer)))
            if len(self._counter) > _MAX_ENTRIES_HELD:
                yield from self._counter.take()
        self._milliseconds.inc(round(1000 * (time.perf_counter() - start)))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for part in self._counter.take():
            yield WindowedValue(part, MIN_TIMESTAMP, [GlobalWindow()])


def _add_up_part(grouped: tuple[int, Iterable[PackedCounts]], min_count: int) -> Iterator[object]:
    """Adds up a part. Its words are tagged with the group of the part, and its pairs are those that may be phrases."""
    part, counts = grouped
    totals, words, pairs = add_up(counts, min_count)
    yield beam.pvalue.TaggedOutput("totals", totals)
    if words[0]:
        yield beam.pvalue.TaggedOutput("words", (part % _NUM_GROUPS, words))
    if pairs[0]:
        yield beam.pvalue.TaggedOutput("pairs", (pairs[0], pairs[1][:, np.newaxis]))


def _sum(totals: Iterable[Totals]) -> Totals:
    return Totals(*map(sum, zip(*totals, (0, 0), strict=True)))


class _AddWordCounts(beam.PTransform):
    """Pairs with counts -> the same with one more column: the counts of one of their words.

    Args:
        words: the counts of all words by group, a PCollection of (group, (words joined, counts)).
        position: which word of each pair it is, 0 or 1.
    """

    def __init__(self, words: beam.PCollection[tuple[int, PartCounts]], position: int) -> None:
        super().__init__()
        self._words = words
        self._position = position

    def expand(self, pairs: beam.PCollection[_Pairs]) -> beam.PCollection[_Pairs]:
        by_group = pairs | "ByWord" >> beam.FlatMap(_by_group, self._position)  # (group, (pairs, counts))
        return (
            {"pairs": by_group, "words": self._words}
            | "Meet" >> beam.CoGroupByKey()  # (group, {name: [(entries, counts)]})
            | "Add" >> beam.FlatMap(_with_word_counts, self._position)  # (pairs, counts)
        )


def _by_group(pairs: _Pairs, position: int) -> Iterator[tuple[int, _Pairs]]:
    """Divides pairs by the group of one of their words."""
    names, counts = pairs[0].split(b"\n"), pairs[1]
    groups = np.array([part_of(name.split(b" ")[position]) % _NUM_GROUPS for name in names])
    for group in np.unique(groups).tolist():
        rows = np.flatnonzero(groups == group)
        yield group, (b"\n".join(names[row] for row in rows.tolist()), counts[rows])


def _with_word_counts(grouped: tuple[int, Mapping[str, Iterable[PartCounts]]], position: int) -> Iterator[_Pairs]:
    """Adds a column of counts to the pairs of a group."""
    pairs = list(grouped[1]["pairs"])
    if not pairs:
        return
    names = [name for some, _ in pairs for name in some.split(b"\n")]
    words = [name.split(b" ")[position] for name in names]
    needed, count_of = set(words), {}
    for some, counts in grouped[1]["words"]:
        for word, count in zip(some.split(b"\n"), counts.tolist(), strict=True):
            if word in needed:
                count_of[word] = count
    column = np.array([count_of[word] for word in words], np.int64)
    yield b"\n".join(names), np.column_stack((*(np.concatenate([counts for _, counts in pairs]).T), column))


def _score(pairs: _Pairs, totals: Totals, config: PipelineConfig, number: int) -> list[Phrase]:
    """Those of the pairs that are phrases of a round."""
    found = []
    for name, (count, first, second) in zip(pairs[0].split(b"\n"), pairs[1].tolist(), strict=True):
        score = phrase_score(config.phrase_scoring, first, second, count, totals, config.phrase_min_count)
        if score > config.phrase_threshold:
            found.append(Phrase(number, name, count, score))
    return found


def _write(found: Iterable[Iterable[Phrase]], path: str, before: str = "") -> str:
    """Writes the phrases file and returns its path."""
    phrases = list(itertools.chain.from_iterable(found))
    if before:
        with tf.io.gfile.GFile(before, "rb") as file:
            phrases += parse_phrases(file.read())
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "wb") as file:
        for line in phrase_lines(phrases):
            file.write(line)
    return path
