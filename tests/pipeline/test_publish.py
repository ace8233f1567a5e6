"""Publish alone: from finished shards in a partial folder to the complete dataset."""

from collections import Counter

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from pipeline.config import PipelineConfig
from pipeline.dataset.manifest import Shard
from pipeline.dataset.read import read_manifest
from pipeline.errors import UserError
from pipeline.examples.shards import WrittenShard
from pipeline.job.publish import Publish
from tests.pipeline.helpers import contents, write_files

SHARDS = ["skipgrams/skipgrams-00000-of-00002.tfrecord", "skipgrams/skipgrams-00001-of-00002.tfrecord"]
GRAPH = {"saved_model.pb": b"graph", "assets/vocabulary.tsv": b"[PAD]\t0\n[UNK]\t1\nb\t2\na\t1\n"}
PUBLISHED = {
    "manifest.json", "vocabulary.tsv", "transform_fn/saved_model.pb", "transform_fn/assets/vocabulary.tsv", *SHARDS
}  # fmt: skip


def written(number, data, skip_grams, examples=1):
    counts = Counter(lines_read=2, words_read=4, words_oov=1, tokens_kept=3, skip_grams=skip_grams)
    return WrittenShard(Shard(SHARDS[number], len(data), 1, examples, skip_grams), counts)


def publish(output, shards, files):
    """Runs Publish on shards whose files are given by name."""
    config = PipelineConfig(input=("x",), output=str(output), num_shards=2, window_size=1)
    partial = write_files(output / ".partial-test", {**files, **{f"graph/{name}": GRAPH[name] for name in GRAPH}})
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        graph = pipeline | "Graph" >> beam.Create([str(partial / "graph")])
        path = pipeline | "Shards" >> beam.Create(shards) | Publish(config, graph, str(partial))
        assert_that(path, equal_to([str(output / "manifest.json")]))


def test_everything_is_moved_into_place_and_described(tmp_path):
    """Of a dataset that was there before, and of runs that died, nothing is left."""
    write_files(tmp_path, {"manifest.json": b"old", "skipgrams/old": b"", "transform_fn/old": b"", ".partial-x/a": b""})

    publish(tmp_path, [written(1, b"two", 6), written(0, b"one!", 4)], {SHARDS[0]: b"one!", SHARDS[1]: b"two"})

    found, manifest = contents(tmp_path), read_manifest(str(tmp_path))
    assert set(found) == PUBLISHED
    assert (found[SHARDS[0]], found[SHARDS[1]]) == (b"one!", b"two")
    assert found["vocabulary.tsv"] == found["transform_fn/assets/vocabulary.tsv"] == GRAPH["assets/vocabulary.tsv"]
    assert [shard.name for shard in manifest.shards] == SHARDS
    assert (manifest.vocab_size, manifest.num_lines, manifest.num_words, manifest.num_tokens) == (4, 4, 8, 6)
    assert manifest.num_skip_grams == 10
    assert manifest.counters == {"words_oov": 2}


@pytest.mark.parametrize("data", [None, b"tw"], ids=["missing", "cut off"])
def test_a_shard_that_is_not_as_it_was_written_leaves_the_dataset_as_it_was(tmp_path, data):
    before = {"manifest.json": b"old", "vocabulary.tsv": b"old"}
    write_files(tmp_path, before)
    files = {SHARDS[0]: b"one!"} | ({} if data is None else {SHARDS[1]: data})

    with pytest.raises(UserError, match=f"{SHARDS[1]} is gone again"):
        publish(tmp_path, [written(0, b"one!", 4), written(1, b"two", 6)], files)

    assert {name: data for name, data in contents(tmp_path).items() if not name.startswith(".partial-")} == before


def test_shards_that_an_earlier_try_has_moved_are_left_where_they_are(tmp_path):
    write_files(tmp_path, {SHARDS[0]: b"one!"})

    publish(tmp_path, [written(0, b"one!", 4), written(1, b"two", 6)], {SHARDS[1]: b"two"})

    assert set(contents(tmp_path)) == PUBLISHED


def test_shards_without_skip_grams_are_not_published(tmp_path):
    with pytest.raises(UserError, match="--input gives no skip-gram"):
        publish(tmp_path, [written(0, b"", 0), written(1, b"", 0)], {SHARDS[0]: b"", SHARDS[1]: b""})

    assert not (tmp_path / "manifest.json").exists()
