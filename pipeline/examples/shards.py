"""TextRanges -> TFRecord shards, each written under a temporary name and renamed.

Ranges are dealt out to shards, not examples: what is shuffled stays tiny, and a shard is the same bytes whoever
writes it, since one worker writes it from its ranges in order.
"""

import dataclasses
import logging
import os
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator

import apache_beam as beam
import tensorflow as tf
from apache_beam.metrics import Metrics

from pipeline.config import TEXT_BLOCK_BYTES, PipelineConfig
from pipeline.dataset.layout import shard_name
from pipeline.dataset.vocabulary import Vocabulary
from pipeline.examples import records
from pipeline.examples.skipgrams import Distributions, skip_gram_examples
from pipeline.progress import Progress
from pipeline.text.files import TextRange, read_range

logger = logging.getLogger("pipeline")


@dataclasses.dataclass(frozen=True)
class Shard:
    """A finished shard; the fields are the manifest's."""

    name: str  # relative to the dataset directory
    bytes: int
    records: int
    examples: int
    skip_grams: int
    counts: Counter  # of all that went into it, by counter name


class WriteShards(beam.PTransform):
    """TextRanges -> Shards, config.num_shards of them.

    Args:
        config: the pipeline's settings.
        transform_fn: the path of the transform graph, a PCollection of one str.
        directory: where to write; the shards' names are relative to it.
    """

    def __init__(self, config: PipelineConfig, transform_fn: beam.PCollection, directory: str):
        super().__init__()
        self._config = config
        self._transform_fn = transform_fn
        self._directory = directory

    def expand(self, ranges):
        num_shards = self._config.num_shards
        every_shard = ranges.pipeline | "EveryShard" >> beam.Create([(i, None) for i in range(num_shards)])
        dealt = ranges | "Deal" >> beam.Map(lambda item: (shard_of(item, num_shards), item))  # (shard, TextRange)
        return (
            (every_shard, dealt)
            | "Gather" >> beam.CoGroupByKey()  # (shard, ([None], [TextRange]))
            | "Write"
            >> beam.ParDo(_WriteShard(self._config, self._directory), beam.pvalue.AsSingleton(self._transform_fn))
        )  # Shard


def shard_of(text_range: TextRange, num_shards: int) -> int:
    """The shard of a range: a file's ranges go round all shards, beginning anywhere."""
    return (zlib.crc32(text_range.name.encode()) + text_range.start // TEXT_BLOCK_BYTES) % num_shards


class _WriteShard(beam.DoFn):
    """(shard, ([None], [TextRange])) -> Shard."""

    def __init__(self, config: PipelineConfig, directory: str):
        self._config = config
        self._directory = directory
        self._vocabulary = None

    def process(self, element, transform_fn_dir: str) -> Iterator[Shard]:
        start = time.perf_counter()
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(transform_fn_dir)
            self._distributions = Distributions.of(self._vocabulary.counts, self._config)
        number, (_, ranges) = element
        name = shard_name(number, self._config.num_shards, self._config.compression)
        final = os.path.join(self._directory, name)
        temporary = f"{final}.{uuid.uuid4().hex}.tmp"
        tf.io.gfile.makedirs(os.path.dirname(final))

        counts = Counter()
        examples = self._examples(sorted(ranges), f"shard {number + 1} of {self._config.num_shards}", counts)
        num_records, num_examples = records.write(temporary, examples, self._config)
        tf.io.gfile.rename(temporary, final, overwrite=True)

        if num_examples:
            logger.info("shard %d of %d: %d skip-grams", number + 1, self._config.num_shards, counts["skip_grams"])
        counts["examples_worker_ms"] = round(1000 * (time.perf_counter() - start))
        for counter, value in counts.items():
            Metrics.counter("pipeline", counter).inc(value)
        del counts["examples_worker_ms"]
        yield Shard(name, tf.io.gfile.stat(final).length, num_records, num_examples, counts["skip_grams"], counts)

    def _examples(self, ranges: list[TextRange], title: str, counts: Counter) -> Iterator[records.Examples]:
        """The examples of the ranges, pass by pass; adds to `counts`."""
        progress = Progress(title + ": %d MB of text done")
        for pass_number in range(self._config.passes):
            for text_range in ranges:
                for text in read_range(text_range):
                    ids, lengths = self._vocabulary.ids(text.lines)
                    if pass_number == 0:
                        counts.update(text.counts)
                        counts["words_read"] += len(ids)
                    examples, drawn = skip_gram_examples(
                        ids, lengths, self._distributions, self._config, (pass_number, text.name, text.offset)
                    )
                    counts.update(drawn)
                    yield examples
                    progress.add(TEXT_BLOCK_BYTES / 1e6)
