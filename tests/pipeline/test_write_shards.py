"""WriteShards alone: from ranges to finished shards, with a vocabulary that stands in for the vocabulary file."""

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.testing.util import assert_that, equal_to

from pipeline.config import PipelineConfig
from pipeline.examples import records, shards
from pipeline.examples.formats import format_of
from pipeline.text.files import TextRange
from tests.pipeline.helpers import contents, flatten, write_files

# With three shards, the names of the files assign three.txt and two.txt to the first shard, and one.txt to the second.
FILES = {"one.txt": b"4 5\n", "three.txt": b"2 3 4\n", "two.txt": b"5 6\n1 4\n"}
SHARDS = [f"skipgrams/skipgrams-0000{number}-of-00003.tfrecord" for number in range(3)]


class NumberVocabulary:
    """Stands in for Vocabulary: each word of the text is its own id."""

    counts = np.array([0, 1, 2, 1, 2, 2, 1])

    def __init__(self, path, tokenizer):
        assert (path, tokenizer) == ("vocabulary.tsv", PipelineConfig.tokenizer)

    def ids(self, lines):
        words = [line.split() for line in lines]
        return np.array(flatten(words), np.int64), np.array([len(line) for line in words])


@pytest.fixture(autouse=True)
def number_vocabulary(monkeypatch):
    monkeypatch.setattr(shards, "Vocabulary", NumberVocabulary)


def write(folder, expected, **settings):
    """Runs WriteShards on FILES.

    Args:
        folder: where to write.
        expected: of each shard the name, the numbers of records and of examples, and some counts: words read, unknown
            words, words after subsampling, skip-grams.
        **settings: of the pipeline.

    Returns:
        The examples of each shard, as arrays by field name.
    """
    config = PipelineConfig(
        input=("x",), output="y",
        **{"num_shards": 3, "subsample": 0, "window_size": 1, "block_targets": 2, "block_negatives": 3, **settings},
    )  # fmt: skip
    write_files(folder, FILES)
    ranges = [TextRange(str(folder / name), name, 0, 1 << 20) for name in reversed(FILES)]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        vocabulary = pipeline | "Vocabulary" >> beam.Create(["vocabulary.tsv"])
        write = shards.WriteShards(config, vocabulary, str(folder / "out"))
        written = pipeline | "Ranges" >> beam.Create(ranges) | write
        assert_that(written | beam.Map(numbers), equal_to(expected))
        assert_that(written | beam.Map(size_on_disk, folder / "out"), equal_to([0] * 3), label="Sizes")
    example_format = format_of(config)
    return [read_shard(folder / "out" / name, example_format, example_format.fields(config)) for name in SHARDS]


def numbers(written):
    counts = [written.counts[name] for name in ("words_read", "words_oov", "tokens_kept", "skip_grams")]
    assert written.shard.skip_grams == written.counts["skip_grams"]
    return written.shard.name, written.shard.records, written.shard.examples, counts


def size_on_disk(written, folder):
    """How much larger the file is than the shard says."""
    return (folder / written.shard.name).stat().st_size - written.shard.bytes


def read_shard(path, example_format, fields):
    arrays = {field.name: [] for field in fields}
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        for name, array in records.decode(record, example_format, fields)._asdict().items():
            arrays[name] += array.tolist()
    return arrays


def test_a_shard_holds_the_examples_of_its_ranges_in_order(tmp_path):
    """The shard without a range is written too. In two.txt, 1 is unknown, and so 4 is alone in its line."""
    first, second, third = write(
        tmp_path, [(SHARDS[0], 1, 3, [7, 1, 6, 6]), (SHARDS[1], 1, 1, [2, 0, 2, 2]), (SHARDS[2], 0, 0, [0, 0, 0, 0])]
    )

    assert first["tokens"] == [[0, 2, 3, 4], [3, 4, 0, 0], [0, 5, 6, 0]]
    assert first["left"] == [[0, 1], [1, 0], [0, 1]]
    assert first["right"] == [[1, 1], [0, 0], [1, 0]]
    assert [len(row) for row in first["negatives"]] == [3, 3, 3]
    assert second["tokens"] == [[0, 4, 5, 0]]
    assert third["tokens"] == []
    assert sorted(contents(tmp_path / "out")) == SHARDS  # no file keeps its temporary name


def test_each_pass_adds_all_examples_with_new_draws(tmp_path):
    """Words are counted as read only once."""
    first, _, _ = write(
        tmp_path, [(SHARDS[0], 1, 6, [7, 2, 12, 12]), (SHARDS[1], 1, 2, [2, 0, 4, 4]), (SHARDS[2], 0, 0, [0, 0, 0, 0])],
        passes=2,
    )  # fmt: skip

    assert first["tokens"][:3] == first["tokens"][3:]
    assert first["negatives"][:3] != first["negatives"][3:]


def test_pairs_are_written_if_they_are_asked_for(tmp_path):
    _, second, _ = write(
        tmp_path, [(SHARDS[0], 1, 6, [7, 1, 6, 6]), (SHARDS[1], 1, 2, [2, 0, 2, 2]), (SHARDS[2], 0, 0, [0, 0, 0, 0])],
        example_format="pairs", num_negatives=2,
    )  # fmt: skip

    assert second["target"] == [4, 5]
    assert [row[0] for row in second["context"]] == [5, 4]


def test_the_ranges_of_a_file_go_to_consecutive_shards():
    """Golden: the shard of a range is part of what a seed and a corpus determine."""
    ranges = [TextRange("", "one.txt", start << 20, None) for start in range(4)]

    assert [shards.shard_of(text_range, 3) for text_range in ranges] == [1, 2, 0, 1]
    assert [shards.shard_of(TextRange("", name, 0, None), 3) for name in ("three.txt", "two.txt")] == [0, 0]
