"""The vocabulary: counted exactly, ordered totally, and carried in the transform graph that TFT writes.

The graph's tokeniser counts the words of each text block; the analyzer below adds the counts up and writes the
graph's one asset, vocabulary.tsv: a line `token<TAB>count` for each id from 0.
"""

import functools
import os
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import FIRST_WORD_ID, IDS, RESERVED_TOKENS, TEXT, UNK_ID, VOCABULARY_FILE
from pipeline.dataset.vocabulary import vocabulary_lines
from pipeline.errors import UserError
from pipeline.progress import Progress
from pipeline.text.files import TextRange, read_range
from pipeline.text.tokenizer import tokenize

# Distinct words are merged in this many parts, so that no worker need hold them all.
_NUM_PARTS = 256
_MAX_WORDS_HELD = 1_000_000

_TEXT_COLUMN = TensorAdapterConfig(
    pa.schema([(TEXT, pa.large_list(pa.large_binary()))]),
    {
        TEXT: schema_pb2.TensorRepresentation(
            dense_tensor=schema_pb2.TensorRepresentation.DenseTensor(column_name=TEXT, shape=schema_pb2.FixedShape())
        )
    },
)


class AnalyzeText(beam.PTransform):
    """TextRanges -> the path of a transform graph, one str: a SavedModel from lines [N] to ragged ids [N, words].

    Args:
        config: the pipeline's settings.
        temp_dir: a directory that all workers share.
    """

    def __init__(self, config: PipelineConfig, temp_dir: str):
        super().__init__()
        self._config = config
        self._temp_dir = temp_dir

    def expand(self, ranges):
        batches = (
            ranges
            | "SpreadRanges" >> beam.Reshuffle()  # TextRange
            | "ReadText" >> beam.ParDo(_ReadBatches())  # pa.RecordBatch
        )
        with tft_beam.Context(temp_dir=self._temp_dir):
            transform_fn, _ = (batches, _TEXT_COLUMN) | tft_beam.AnalyzeDataset(
                functools.partial(_preprocessing_fn, config=self._config)
            )
        return transform_fn  # str


def _preprocessing_fn(inputs: dict[str, tf.Tensor], config: PipelineConfig) -> dict[str, tf.RaggedTensor]:
    """What TFT traces: lines to ids, by way of the analyzer."""
    tokens = tokenize(inputs[TEXT], config.tokenizer)
    words, _, counts = tf.unique_with_counts(tokens.flat_values, out_idx=tf.int64)
    (vocabulary_file,) = tft.experimental.ptransform_analyzer(
        [words, counts],
        _CountWords(config.vocab_size, config.min_count),
        output_dtypes=[tf.string],
        output_shapes=[[]],
        output_asset_default_values=[b"".join(vocabulary_lines([], 0))],
    )

    def lookup(words, path):
        index = tf.lookup.TextFileIndex
        rows = tf.lookup.TextFileInitializer(path, tf.string, 0, tf.int64, index.LINE_NUMBER, delimiter="\t")
        table = tf.lookup.StaticHashTable(rows, default_value=UNK_ID)
        # A word of the text that reads as [PAD] is not padding.
        return tf.maximum(table.lookup(words), UNK_ID), table.size()

    return {IDS: tft.apply_vocabulary(tokens, vocabulary_file, lookup_fn=lookup)}


class _ReadBatches(beam.DoFn):
    """TextRange -> RecordBatches with the lines of a text block each."""

    def __init__(self):
        self._milliseconds = Metrics.counter("pipeline", "vocabulary_worker_ms")

    def setup(self):
        self._progress = Progress("vocabulary: %d MB of text counted by this worker")

    def process(self, text_range: TextRange) -> Iterator[pa.RecordBatch]:
        start = time.perf_counter()
        for block in read_range(text_range):
            lines = pa.array(block.lines, pa.large_binary())
            rows = pa.LargeListArray.from_arrays(np.arange(len(lines) + 1), lines)
            yield pa.RecordBatch.from_arrays([rows], [TEXT])
            self._progress.add(lines.nbytes / 1e6)
        # The steps that the runner fuses with this one run between the yields, and are counted in.
        self._milliseconds.inc(round(1000 * (time.perf_counter() - start)))


class _CountWords(tft_beam.experimental.PTransformAnalyzer):
    """(words [U], counts [U]) of each text block -> the path of the vocabulary file.

    The counts are exact. `tft.vocabulary` would do, but passes every word of every block through Python and Beam one
    by one: here a bundle's words are added up first, and travel as a few large elements.
    """

    def __init__(self, vocab_size: int, min_count: int):
        super().__init__()
        self._vocab_size = vocab_size
        self._min_count = min_count

    def expand(self, blocks):
        return (
            blocks
            | "AddUpBundle" >> beam.ParDo(_AddUpBundle())  # (part, (words joined, counts))
            | "ByPart" >> beam.GroupByKey()  # (part, [(words joined, counts)])
            | "FilterPart" >> beam.Map(_filter_part, self._vocab_size, self._min_count)  # ([(count, word)], dropped)
            | "OnePlace" >> beam.CombineGlobally(_MostFrequent(self._vocab_size))  # the same, of all parts
            | "Write" >> beam.Map(_write_vocabulary, self._min_count, self.base_temp_dir)  # path
        )


class _AddUpBundle(beam.DoFn):
    """Adds up word counts over a bundle, then sends them on in parts."""

    def start_bundle(self):
        self._counts = {}

    def process(self, block) -> Iterable:
        counts = self._counts
        for word, count in zip(block[0].tolist(), block[1].tolist(), strict=True):
            counts[word] = counts.get(word, 0) + count
        if len(counts) > _MAX_WORDS_HELD:
            self._counts = {}
            return _parts(counts)
        return ()

    def finish_bundle(self):
        for part in _parts(self._counts):
            yield WindowedValue(part, MIN_TIMESTAMP, [GlobalWindow()])


def _parts(counts: dict[bytes, int]) -> Iterator[tuple[int, tuple[bytes, np.ndarray]]]:
    parts = [[] for _ in range(_NUM_PARTS)]
    for word in counts:
        parts[zlib.crc32(word) % _NUM_PARTS].append(word)
    for part, words in enumerate(parts):
        if words:  # words have no white space, so a newline may join them
            yield part, (b"\n".join(words), np.array([counts[word] for word in words], np.int64))


def _filter_part(grouped: tuple[int, Iterable], vocab_size: int, min_count: int) -> tuple[list[tuple[int, bytes]], int]:
    """The words of a part that may be in the vocabulary, and the number of occurrences of those that cannot."""
    counts = Counter()
    for words, number in grouped[1]:
        for word, count in zip(words.split(b"\n"), number.tolist(), strict=True):
            counts[word] += count
    reserved = [token.encode() for token in RESERVED_TOKENS]
    kept = [(count, word) for word, count in counts.items() if count >= min_count and word not in reserved]
    return _cut(kept, counts.total() - sum(count for count, _ in kept), vocab_size)


class _MostFrequent(beam.CombineFn):
    """Puts parts together, and holds no more than some twice the words that the vocabulary may have."""

    def __init__(self, vocab_size: int):
        self._vocab_size = vocab_size

    def create_accumulator(self):
        return [], 0

    def add_input(self, accumulator, part):
        kept, dropped = accumulator
        kept += part[0]
        dropped += part[1]
        return _cut(kept, dropped, self._vocab_size) if len(kept) > 2 * self._vocab_size else (kept, dropped)

    def merge_accumulators(self, accumulators):
        return functools.reduce(self.add_input, accumulators, self.create_accumulator())

    def extract_output(self, accumulator):
        return _cut(*accumulator, self._vocab_size)


def _cut(kept: list[tuple[int, bytes]], dropped: int, vocab_size: int) -> tuple[list[tuple[int, bytes]], int]:
    """Drops all words that are not frequent enough for a vocabulary of that size; 0: none."""
    if not vocab_size:
        return kept, dropped
    kept.sort(reverse=True)
    limit = vocab_size - FIRST_WORD_ID
    return kept[:limit], dropped + sum(count for count, _ in kept[limit:])


def _write_vocabulary(found: tuple[list, int], min_count: int, directory: str) -> np.ndarray:
    """Writes the vocabulary file and returns its path."""
    kept, dropped = found
    words = sorted(kept, reverse=True)  # by count, then by token: Keras's order
    num_words = sum(count for count, _ in words) + dropped
    if not num_words:
        raise UserError("--input holds no words: every line is empty or punctuation alone")
    if not words:
        raise UserError(
            f"--min_count {min_count} leaves no word: none of the {num_words:,} words of --input is so frequent"
        )
    path = os.path.join(directory, VOCABULARY_FILE)
    tf.io.gfile.makedirs(directory)
    with tf.io.gfile.GFile(path, "wb") as file:
        for line in vocabulary_lines(words, num_words - sum(count for count, _ in words)):
            file.write(line)
    return np.array(path)
