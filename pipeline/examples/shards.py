"""Ranges of the text -> shards: TFRecord files of skip-gram examples.

The words that this module uses:

* A range is the unit of parallel work: about a megabyte of a plain file, the whole of a compressed one, or a group of
  small files. See pipeline.text.files.
* A shard is one of the dataset's TFRecord files. There are --num_shards of them, each written by one worker.
* A pass is one walk through the whole text. Each pass makes new random draws, and a shard holds the examples of its
  ranges from all passes, one pass after the other.

Each range is assigned to a shard, and the shard's worker reads the text itself. So only ranges travel between workers,
which are a few bytes each. The worker goes through its ranges in a fixed order, so a shard has the same bytes whoever
writes it. A shard is written under a temporary name, and renamed once it is complete.
"""

import contextlib
import os
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import tensorflow as tf
from apache_beam.metrics import Metrics

from pipeline.config import TEXT_BLOCK_BYTES, PipelineConfig
from pipeline.dataset.layout import holdout_name, shard_name
from pipeline.dataset.manifest import HoldoutFile, Shard
from pipeline.examples import records
from pipeline.examples.formats import Examples
from pipeline.examples.holdout import HoldoutWriter
from pipeline.examples.skipgrams import Distributions, skip_gram_examples
from pipeline.progress import EXAMPLES, Progress
from pipeline.text import holdout
from pipeline.text.files import TextRange, read_range
from pipeline.text.line_lengths import counts_of_lengths
from pipeline.text.look_up import Vocabulary


class WrittenShard(NamedTuple):
    """A finished shard, and what was counted while it was written."""

    shard: Shard
    counts: Counter[str]  # by counter name
    holdout: HoldoutFile | None = None  # the file of lines that are held out of it; None without --holdout


class WriteShards(beam.PTransform):
    """TextRanges -> WrittenShards, config.num_shards of them.

    Args:
        config: the pipeline's settings.
        vocabulary_file: the path of the vocabulary file, a PCollection of one str.
        directory: where to write; the shards' names are relative to it.
    """

    def __init__(self, config: PipelineConfig, vocabulary_file: beam.PCollection[str], directory: str) -> None:
        super().__init__()
        self._config = config
        self._vocabulary_file = vocabulary_file
        self._directory = directory

    def expand(self, ranges: beam.PCollection[TextRange]) -> beam.PCollection[WrittenShard]:
        num_shards = self._config.num_shards
        # A shard is written even if no range is assigned to it.
        every_shard = ranges.pipeline | "EveryShard" >> beam.Create([(i, None) for i in range(num_shards)])
        assigned = ranges | "Assign" >> beam.Map(lambda item: (shard_of(item, num_shards), item))  # (shard, TextRange)
        return (
            (every_shard, assigned)
            | "Gather" >> beam.CoGroupByKey()  # (shard, ([None], [TextRange]))
            | "Write"
            >> beam.ParDo(_WriteShard(self._config, self._directory), beam.pvalue.AsSingleton(self._vocabulary_file))
        )  # WrittenShard


def shard_of(text_range: TextRange, num_shards: int) -> int:
    """The number of the shard that a range is assigned to.

    A file's ranges go to consecutive shards, and the file's name decides which shard is the first.
    """
    return (zlib.crc32(text_range.name.encode()) + text_range.start // TEXT_BLOCK_BYTES) % num_shards


class _WriteShard(beam.DoFn):
    """(shard, ([None], [TextRange])) -> WrittenShard."""

    def __init__(self, config: PipelineConfig, directory: str) -> None:
        self._config = config
        self._directory = directory
        self._loaded: tuple[Vocabulary, Distributions] | None = None

    def setup(self) -> None:
        self._progress = Progress(EXAMPLES)

    def process(
        self, element: tuple[int, tuple[Iterable[None], Iterable[TextRange]]], vocabulary_file: str
    ) -> Iterator[WrittenShard]:
        start = time.perf_counter()
        if self._loaded is None:
            vocabulary = Vocabulary(vocabulary_file, self._config.tokenizer)
            self._loaded = vocabulary, Distributions.of(vocabulary.counts, self._config)
        number, (_, ranges) = element
        place = number, self._config.num_shards, self._config.compression
        name, holdout_path = shard_name(*place), os.path.join(self._directory, holdout_name(*place))
        path = os.path.join(self._directory, name)

        counts: Counter[str] = Counter()
        with contextlib.ExitStack() as files:
            temporary = files.enter_context(_renamed(path))
            held_out = None
            if self._config.holdout:
                holdout_temporary = files.enter_context(_renamed(holdout_path))
                held_out = files.enter_context(HoldoutWriter(holdout_temporary, self._config.compression))
            examples = _examples(sorted(ranges), *self._loaded, self._config, held_out, counts, self._progress)
            num_records, num_examples = records.write(temporary, examples, self._config)
        holdout_file = None
        if held_out:
            size = tf.io.gfile.stat(holdout_path).length
            holdout_file = HoldoutFile(holdout_name(*place), size, held_out.records, held_out.lines, held_out.words)
            counts.update(holdout_lines=held_out.lines, holdout_words=held_out.words)

        for counter, value in counts.items():
            Metrics.counter("pipeline", counter).inc(value)
        Metrics.counter("pipeline", "examples_worker_ms").inc(round(1000 * (time.perf_counter() - start)))
        size = tf.io.gfile.stat(path).length
        shard = Shard(name, size, num_records, num_examples, counts["skip_grams"])
        yield WrittenShard(shard, counts, holdout_file)


@contextlib.contextmanager
def _renamed(path: str) -> Iterator[str]:
    """The temporary name of a file that the block writes. The file is renamed to `path` if the block ends well."""
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    tf.io.gfile.makedirs(os.path.dirname(path))
    yield temporary
    tf.io.gfile.rename(temporary, path, overwrite=True)


def _examples(
    ranges: Sequence[TextRange],
    vocabulary: Vocabulary,
    distributions: Distributions,
    config: PipelineConfig,
    held_out: HoldoutWriter | None,
    counts: Counter[str],
    progress: Progress,
) -> Iterator[Examples]:
    """The examples of the ranges, pass by pass. Writes the held-out lines, and adds what it counts to `counts`."""
    for pass_number in range(config.passes):
        for text_range in ranges:
            for text in read_range(text_range, progress.add):
                lines, others = holdout.split(text, config)
                ids, lengths = vocabulary.ids(lines)
                if pass_number == 0:
                    if held_out:
                        held_out.add(*vocabulary.ids(others))
                    counts.update(text.counts)
                    counts.update(counts_of_lengths(lengths))
                    counts["words_read"] += len(ids)
                stream_key = (pass_number, text.name, text.offset)
                examples, drawn = skip_gram_examples(ids, lengths, distributions, config, stream_key)
                counts.update(drawn)
                yield examples
