"""Publish alone: from finished shards in a partial folder to the complete dataset."""

import json
import os
from collections import Counter
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow as tf
from apache_beam.testing.util import assert_that, equal_to

from pipeline.config import PipelineConfig
from pipeline.dataset.manifest import HoldoutFile, Shard
from pipeline.dataset.read import read_manifest
from pipeline.errors import UserError, user_message
from pipeline.examples.shards import WrittenShard
from pipeline.job import publish as module
from pipeline.job.publish import Publish, current_state
from pipeline.text.inputs import FoundFile
from tests.pipeline.helpers import contents, write_files

SHARDS = ["skipgrams/skipgrams-00000-of-00002.tfrecord", "skipgrams/skipgrams-00001-of-00002.tfrecord"]
GRAPH = {"saved_model.pb": b"graph", "assets/vocabulary.tsv": b"[PAD]\t0\n[UNK]\t2\nb\t4\na\t2\n"}
PUBLISHED = {
    "manifest.json", "vocabulary.tsv", "transform_fn/saved_model.pb", "transform_fn/assets/vocabulary.tsv", *SHARDS
}  # fmt: skip


def written(number, data, skip_grams, examples=1):
    counts = Counter(lines_read=2, words_read=4, words_oov=1, tokens_kept=3, skip_grams=skip_grams)
    return WrittenShard(Shard(SHARDS[number], len(data), 1, examples, skip_grams), counts)


def publish(output, shards, files, found=(), patterns=("x",), before=None):
    """Runs Publish on shards whose files are given by name."""
    config = PipelineConfig(input=tuple(patterns), output=str(output), num_shards=2, window_size=1)
    partial = write_files(output / ".partial-test", {**files, **{f"graph/{name}": GRAPH[name] for name in GRAPH}})
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        graph = pipeline | "Graph" >> beam.Create([str(partial / "graph")])
        files = pipeline | "Files" >> beam.Create(found)
        step = Publish(config, graph, files, str(partial), str(partial / "graph"), before)
        path = pipeline | "Shards" >> beam.Create(shards) | step
        assert_that(path, equal_to([str(output / "manifest.json")]))


def test_everything_is_moved_into_place_and_described(tmp_path):
    """Of a dataset that was there before, and of runs that died, nothing is left."""
    old = ("skipgrams/old", "transform_fn/old", "holdout/old", ".partial-x/a")
    write_files(tmp_path, {"manifest.json": b"old"} | dict.fromkeys(old, b""))

    publish(tmp_path, [written(1, b"two", 6), written(0, b"one!", 4)], {SHARDS[0]: b"one!", SHARDS[1]: b"two"})

    found, manifest = contents(tmp_path), read_manifest(str(tmp_path))
    assert set(found) == PUBLISHED
    assert (found[SHARDS[0]], found[SHARDS[1]]) == (b"one!", b"two")
    assert found["vocabulary.tsv"] == found["transform_fn/assets/vocabulary.tsv"] == GRAPH["assets/vocabulary.tsv"]
    assert [shard.name for shard in manifest.shards] == SHARDS
    assert (manifest.vocab_size, manifest.num_lines, manifest.num_words, manifest.num_tokens) == (4, 4, 8, 6)
    assert manifest.num_skip_grams == 10
    assert manifest.counters == {"words_oov": 2}
    assert manifest.holdout == () and not (tmp_path / "holdout").exists()


def test_held_out_lines_are_moved_and_counted_apart(tmp_path):
    held_out = HoldoutFile("holdout/holdout-00000-of-00002.tfrecord", 5, 1, 1, 3)
    shards = [written(0, b"one!", 4)._replace(holdout=held_out), written(1, b"two", 6)]
    shards[0].counts.update(holdout_lines=1, holdout_words=3)
    write_files(tmp_path, {"holdout/holdout-00003-of-00004.tfrecord": b"old"})

    publish(tmp_path, shards, {SHARDS[0]: b"one!", SHARDS[1]: b"two", held_out.name: b"lines"})

    found, manifest = contents(tmp_path), read_manifest(str(tmp_path))
    assert set(found) == PUBLISHED | {held_out.name} and found[held_out.name] == b"lines"
    assert manifest.holdout == (held_out,)
    assert manifest.num_lines == 3  # of four
    assert manifest.counters == {"words_oov": 2, "holdout_lines": 1, "holdout_words": 3}


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


TWO_SHARDS = [written(0, b"one!", 4), written(1, b"two", 6)]
TWO_FILES = {SHARDS[0]: b"one!", SHARDS[1]: b"two"}
BEFORE = {"manifest.json": b"{}", "vocabulary.tsv": b"old", SHARDS[0]: b"old", "transform_fn/saved_model.pb": b"old"}


def published(folder):
    """What is in a dataset directory, without the partial folder."""
    return {name: data for name, data in contents(folder).items() if not name.startswith(".partial-")}


def test_files_that_have_changed_leave_the_dataset_as_it_was(tmp_path):
    output = write_files(tmp_path / "dataset", BEFORE)
    text = write_files(tmp_path, {"a.txt": b"a b b\n"}) / "a.txt"
    found = FoundFile(str(text), text.stat().st_size + 1, text.stat().st_mtime)

    with pytest.raises(UserError, match=f"^--input {text} has changed while it was read"):
        publish(output, TWO_SHARDS, TWO_FILES, [found], [str(text)])

    assert published(output) == BEFORE


def test_words_that_were_not_counted_leave_the_dataset_as_it_was(tmp_path):
    """The vocabulary has 8 words in all, and only 4 were read as the examples were made."""
    output = write_files(tmp_path, BEFORE)

    with pytest.raises(UserError, match="^--input x had 8 words when they were counted, and 4 when examples were made"):
        publish(output, TWO_SHARDS[:1], TWO_FILES)

    assert published(output) == BEFORE


def test_a_dataset_that_another_run_has_written_meanwhile_is_left_as_it_is(tmp_path):
    output = write_files(tmp_path, BEFORE)

    with pytest.raises(UserError, match="another run has written a dataset there since this one started"):
        publish(output, TWO_SHARDS, TWO_FILES, before="")

    assert published(output) == BEFORE


def test_a_retry_replaces_the_manifest_of_its_own_earlier_try(tmp_path):
    """A worker may die after it has published everything, and before Beam notes that."""
    old = write_files(tmp_path, BEFORE)
    publish(tmp_path, TWO_SHARDS, TWO_FILES, before=current_state(str(old)))
    first = contents(tmp_path)

    publish(tmp_path, TWO_SHARDS, {}, before="")

    assert contents(tmp_path) == first


@pytest.mark.parametrize("function", ["copy", "GFile"])
def test_a_full_disk_leaves_the_dataset_as_it_was(tmp_path, monkeypatch, function):
    """What takes space is written before the dataset is touched."""
    output = write_files(tmp_path, BEFORE)
    original = getattr(module.gfile, function)

    def fails(*args, **kwargs):
        if function == "copy" or args[1:] == ("w",):
            raise tf.errors.ResourceExhaustedError(None, None, f"{args[0]}; No space left on device")
        return original(*args, **kwargs)

    monkeypatch.setattr(module.gfile, function, fails)
    with pytest.raises(Exception, match="No space left on device") as raised:
        publish(output, TWO_SHARDS, TWO_FILES)

    assert "no space is left on the device" in user_message(raised.value)
    assert published(output) == BEFORE


def test_a_reader_sees_a_whole_manifest_or_none(tmp_path, monkeypatch):
    """A copy and a file that is written take time. In between, a reader must not find half a manifest."""
    seen = []

    def read():
        path = tmp_path / "manifest.json"
        seen.append(json.loads(path.read_text())["num_skip_grams"] if path.exists() else None)

    def slow_copy(source, target, overwrite=False):
        data = Path(source).read_bytes()
        with open(target, "wb") as file:
            for part in (data[: len(data) // 2], data[len(data) // 2 :]):
                file.write(part)
                file.flush()
                read()

    class SlowFile:
        def __init__(self, path):
            self._file = open(path, "w")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

        def write(self, text):
            for part in (text[: len(text) // 2], text[len(text) // 2 :]):
                self._file.write(part)
                self._file.flush()
                read()

    open_file = module.gfile.GFile

    def slow_open(path, mode):
        return SlowFile(path) if mode == "w" else open_file(path, mode)

    def rename(source, target, overwrite=False):
        os.replace(source, target)
        read()

    for name, function in {"copy": slow_copy, "GFile": slow_open, "rename": rename}.items():
        monkeypatch.setattr(module.gfile, name, function)

    publish(tmp_path, TWO_SHARDS, TWO_FILES)

    assert set(seen) == {None, 10}
