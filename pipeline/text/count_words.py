"""Counts the words of the text and makes the transform graph.

The transform graph is a TensorFlow SavedModel that turns lines of text into ids. It holds the tokeniser, the table that
looks words up, and one asset file: vocabulary.tsv, with a line `token<TAB>count` for each id from 0.

TensorFlow Transform (TFT) makes the graph. It passes each text block to an analyzer, which is a part of the Beam graph.
The analyzer here counts the words of all blocks and writes the vocabulary file, which TFT then builds into the graph.
Counts are exact, and the order of the words is total, so ids never depend on chance.
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
from pipeline.dataset.layout import FIRST_WORD_ID, IDS, RESERVED_TOKENS, TEXT, VOCABULARY_FILE
from pipeline.dataset.vocabulary import vocabulary_lines
from pipeline.errors import UserError
from pipeline.progress import Progress
from pipeline.text.files import TextRange, read_range
from pipeline.text.look_up import look_up, vocabulary_table
from pipeline.text.tokenizer import separated, tokenize

# A part is the distinct words whose hash leaves the same remainder. Parts are merged one by one, so that no worker must
# hold all distinct words of the text.
_NUM_PARTS = 256
_MAX_WORDS_HELD = 1_000_000  # distinct words that a worker adds up before it passes them on

# Words that may be in the vocabulary, as (count, word), and the number of occurrences of all other words.
_Candidates = tuple[list[tuple[int, bytes]], int]
# Words that newlines join, and the count of each, [U] int64.
_PartCounts = tuple[bytes, np.ndarray]

_TEXT_COLUMN = TensorAdapterConfig(
    pa.schema([(TEXT, pa.large_list(pa.large_binary()))]),
    {
        TEXT: schema_pb2.TensorRepresentation(
            dense_tensor=schema_pb2.TensorRepresentation.DenseTensor(column_name=TEXT, shape=schema_pb2.FixedShape())
        )
    },
)


class AnalyzeText(beam.PTransform):
    """TextRanges -> the path of the transform graph, one str. The graph turns lines [N] into ragged ids [N, words].

    Args:
        config: the pipeline's settings.
        temp_dir: a directory that all workers share. The graph and the vocabulary file are written to it.
    """

    def __init__(self, config: PipelineConfig, temp_dir: str) -> None:
        super().__init__()
        self._config = config
        self._temp_dir = temp_dir

    def expand(self, ranges: beam.PCollection[TextRange]) -> beam.PCollection[str]:
        batches = (
            ranges
            | "SpreadRanges" >> beam.Reshuffle()  # TextRange
            | "ReadText" >> beam.ParDo(_ReadBatches())  # pa.RecordBatch
        )
        with tft_beam.Context(temp_dir=self._temp_dir):
            transform_fn, _ = (batches, _TEXT_COLUMN) | tft_beam.AnalyzeDataset(
                functools.partial(_lines_to_ids, config=self._config)
            )
        return transform_fn  # str


def _lines_to_ids(inputs: dict[str, tf.Tensor], config: PipelineConfig) -> dict[str, tf.RaggedTensor]:
    """TFT's preprocessing function. TFT traces it once; the traced operations are the transform graph."""
    tokens = tokenize(inputs[TEXT], config.tokenizer)
    (vocabulary_file,) = tft.experimental.ptransform_analyzer(
        [inputs[TEXT]],
        _CountWords(config),
        output_dtypes=[tf.string],
        output_shapes=[[]],
        output_asset_default_values=[b"".join(vocabulary_lines([], 0))],
    )

    def look_up_in(words: tf.RaggedTensor, path: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        table = vocabulary_table(path)
        return look_up(words, table), table.size()

    return {IDS: tft.apply_vocabulary(tokens, vocabulary_file, lookup_fn=look_up_in)}


class _ReadBatches(beam.DoFn):
    """TextRange -> RecordBatches. Each holds one text, the lines of one text block with newlines between them."""

    def __init__(self) -> None:
        self._milliseconds = Metrics.counter("pipeline", "vocabulary_worker_ms")

    def setup(self) -> None:
        self._progress = Progress("vocabulary: %d MB of text counted by this worker")

    def process(self, text_range: TextRange) -> Iterator[pa.RecordBatch]:
        start = time.perf_counter()
        for block in read_range(text_range):
            text = pa.array([b"\n".join(block.lines)], pa.large_binary())
            yield pa.RecordBatch.from_arrays([pa.LargeListArray.from_arrays([0, 1], text)], [TEXT])
            self._progress.add(text.nbytes / 1e6)
        # The runner fuses this step with the next ones, which run at each yield. So their time is included.
        self._milliseconds.inc(round(1000 * (time.perf_counter() - start)))


class _CountWords(tft_beam.experimental.PTransformAnalyzer):
    """The text of each text block, an array of one bytes -> the path of the vocabulary file.

    `tft.vocabulary` does the same, but passes every word of every block through Beam as an element of its own. Here the
    words of a bundle (the elements that Beam gives to a worker together) are added up first, and travel as a few large
    elements.
    """

    def __init__(self, config: PipelineConfig) -> None:
        super().__init__()
        self._tokenizer = config.tokenizer
        self._vocab_size = config.vocab_size
        self._min_count = config.min_count

    def expand(self, blocks: beam.PCollection[tuple[np.ndarray]]) -> beam.PCollection[np.ndarray]:
        return (
            blocks
            | "AddUpBundle" >> beam.ParDo(_AddUpBundle(self._tokenizer))  # (part, (words joined, counts))
            | "ByPart" >> beam.GroupByKey()  # (part, [(words joined, counts)])
            | "FilterPart" >> beam.Map(_filter_part, self._vocab_size, self._min_count)  # ([(count, word)], dropped)
            | "AllParts" >> beam.CombineGlobally(_MostFrequent(self._vocab_size))  # ([(count, word)], dropped)
            | "Write" >> beam.Map(_write_vocabulary, self._min_count, self.base_temp_dir)  # path
        )


class _AddUpBundle(beam.DoFn):
    """Counts the words of a bundle, then passes the counts on in parts."""

    def __init__(self, tokenizer: str) -> None:
        self._tokenizer = tokenizer

    def start_bundle(self) -> None:
        self._counts: dict[bytes, int] = {}

    def process(self, block: tuple[np.ndarray]) -> Iterable[tuple[int, _PartCounts]]:
        counts = self._counts
        (text,) = block[0].tolist()
        # Those of the block are counted first, because a small table of words is faster than a large one.
        words = b"\n".join(separated(text.split(b"\n"), self._tokenizer)).split()
        for word, count in Counter(words).items():
            counts[word] = counts.get(word, 0) + count
        if len(counts) > _MAX_WORDS_HELD:
            self._counts = {}
            return _parts(counts)
        return ()

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


def _write_vocabulary(found: _Candidates, min_count: int, directory: str) -> np.ndarray:
    """Writes the vocabulary file and returns its path, as the array that TFT expects."""
    kept, dropped = found
    words = sorted(kept, reverse=True)  # by falling count, then by falling token, as Keras's TextVectorization does
    num_words = sum(count for count, _ in words) + dropped
    if not num_words:
        raise UserError("--input holds no words: every line is empty or punctuation alone")
    if not words:
        raise UserError(
            f"--min_count {min_count} leaves no word: none of the {num_words:,} words of --input occurs so often; "
            "expected a lower number"
        )
    path = os.path.join(directory, VOCABULARY_FILE)
    tf.io.gfile.makedirs(directory)
    with tf.io.gfile.GFile(path, "wb") as file:
        for line in vocabulary_lines(words, num_words - sum(count for count, _ in words)):
            file.write(line)
    return np.array(path)
