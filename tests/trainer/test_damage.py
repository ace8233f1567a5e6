"""Damaged shards: training on them fails whatever is damaged, and `damage_in` says in one line what it is."""

import functools
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.make import FOLDER
from trainer.batches import epoch_batches
from trainer.damage import damage_in
from trainer.dataset import open_dataset

SHARDS = {
    "blocks": "skipgrams/skipgrams-00001-of-00002.tfrecord",
    "pairs": "skipgrams/skipgrams-00000-of-00001.tfrecord.gz",
}
OPTIONS = {"blocks": tf.io.TFRecordOptions(), "pairs": tf.io.TFRecordOptions(compression_type="GZIP")}


@pytest.fixture(scope="module")
def originals():
    """The only record of each golden dataset."""
    found = {}
    for name, shard in SHARDS.items():
        compression = OPTIONS[name].compression_type
        (found[name],) = tf.data.TFRecordDataset(str(FOLDER / name / shard), compression).as_numpy_iterator()
    return found


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Copies of the golden datasets, which a test may damage again and again."""
    found = {name: shutil.copytree(FOLDER / name, tmp_path_factory.mktemp(name) / "dataset") for name in SHARDS}
    for copy in found.values():
        epoch_of(str(copy))
    return found


def write_records(copy, name, records):
    """Writes a shard and its size in the manifest; the number of its records stays as it was."""
    with tf.io.TFRecordWriter(str(copy / SHARDS[name]), OPTIONS[name]) as writer:
        for record in records:
            writer.write(record)
    values = json.loads((FOLDER / name / "manifest.json").read_text())
    (shard,) = (shard for shard in values["shards"] if shard["name"] == SHARDS[name])
    shard["bytes"] = (copy / SHARDS[name]).stat().st_size
    (copy / "manifest.json").write_text(json.dumps(values))


def told(dataset):
    """What `damage_in` says, which must be one line, without the names of TensorFlow's operations."""
    damage = damage_in(dataset)
    assert damage is None or not any(noise in damage for noise in ("\n", "{{", "[Op:"))
    return damage


@functools.cache
def epoch_of(directory):
    """An epoch of a golden dataset's copy, which reads the files anew each time."""
    return epoch_batches(open_dataset(directory), 4, seed=1, epoch=0)


def fails(dataset):
    """Whether an epoch cannot be read."""
    try:
        for _ in epoch_of(dataset.directory):
            pass
    except (tf.errors.OpError, UnicodeDecodeError):  # TensorFlow's message may hold the bytes of a record
        return True
    return False


def field(name, change):
    """Changes the bytes of a field in a record."""

    def changed(record):
        example = tf.train.Example.FromString(record)
        values = example.features.feature[name].bytes_list.value
        values[:] = change(values[0])
        return [example.SerializeToString(deterministic=True)]

    return changed


def number(dtype, index, value):
    """Sets one number of a field."""

    def changed(content):
        numbers = np.frombuffer(content, dtype).copy()
        numbers[index] = value
        return [numbers.tobytes()]

    return changed


def ints(_):
    return [tf.train.Example(
        features=tf.train.Features(feature={"target": tf.train.Feature(int64_list=tf.train.Int64List(value=[3]))})
    ).SerializeToString()]  # fmt: skip


# What is damaged -> (the dataset, the change of a record into a list of records, what is said behind the shard's name).
DAMAGES = {
    "an id too large": ("blocks", field("tokens", number("<i4", 20, 70_000)),
                        ", record 1: id 70,000 is not below the vocab_size 20"),
    "an id just too large": ("blocks", field("negatives", number("<i4", -1, 20)),
                             ", record 1: id 20 is not below the vocab_size 20"),
    "a negative id": ("blocks", field("negatives", number("<i4", 0, -1)), ", record 1: id -1 is below 0"),
    "the smallest id": ("pairs", field("target", number("<i4", 7, -(2**31))), ", record 1: id -2,147,483,648 is below"),
    "an id of a pair too large": ("pairs", field("context", number("<i4", 9, 16)),
                                  ", record 1: id 16 is not below the vocab_size 16"),
    "a context beyond the window": ("blocks", field("left", number("u1", 5, 4)),
                                    ", record 1: left is 4, which is beyond the window_size 3"),
    "half an example": ("blocks", field("tokens", lambda content: [content[:-4]]),
                        ", record 1: tokens has 444 bytes, which is no multiple of an example's 56"),
    "a field with an example too few": ("blocks", field("right", lambda content: [content[:-8]]),
                                        ", record 1: right is of 7 examples, but tokens of 8"),
    "an empty field": ("pairs", field("context", lambda _: [b""]), ", record 1: context is of 0 examples, but target"),
    "a missing field": ("pairs", field("target", lambda _: []), ", record 1 has no byte string for the field target"),
    "a field twice": ("pairs", field("target", lambda content: [content, content]),
                      ", record 1 has no byte string for the field target"),
    "numbers in place of bytes": ("pairs", ints, ", record 1 has no byte string for the field target"),
    "an empty record": ("pairs", lambda _: [b""], ", record 1 has no byte string for the field target"),
    "a record of something else": ("blocks", lambda _: [b"\xff else" * 999], ", record 1 is not a tf.train.Example"),
    "a record too many": ("blocks", lambda record: [record, record], " has 2 records instead of 1"),
    "a record too few": ("pairs", lambda _: [], " has 0 records instead of 1"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_one_line_that_names_the_shard(originals, copies, damage):
    name, change, message = DAMAGES[damage]
    write_records(copies[name], name, change(originals[name]))
    dataset = open_dataset(str(copies[name]))
    assert fails(dataset)
    said = told(dataset)
    assert said.startswith(f"--data {copies[name]} is damaged: {SHARDS[name]}{message}"), said
    assert said.endswith("; copy the dataset again, or run the pipeline again")


@pytest.mark.parametrize("name", SHARDS)
def test_what_is_as_the_manifest_says_is_no_damage(originals, copies, name):
    write_records(copies[name], name, [originals[name]])
    dataset = open_dataset(str(copies[name]))
    assert not fails(dataset)
    assert told(dataset) is None


def test_other_skip_grams_than_the_manifest_says_are_told(originals, copies):
    write_records(
        copies["blocks"], "blocks", field("left", lambda content: [b"\1" * len(content)])(originals["blocks"])
    )
    said = told(open_dataset(str(copies["blocks"])))
    assert "00001-of-00002.tfrecord has " in said and "skip_grams instead of 270" in said


def test_a_replaced_dataset_is_told_as_such(originals, copies):
    write_records(copies["blocks"], "blocks", [originals["blocks"]])
    dataset = open_dataset(str(copies["blocks"]))
    (copies["blocks"] / SHARDS["blocks"]).unlink()
    assert "was replaced while it was trained on: a file of it is gone" in told(dataset)


def examples_of(dataset):
    """The examples as in examples.json, but for the negatives of blocks, which an epoch exchanges."""
    fields = dataset.manifest.fields
    batches = epoch_of(dataset.directory).as_numpy_iterator()
    rows = [{f.name: batch[f.name][i].tolist() for f in fields} for batch in batches for i in range(4)]
    return sorted(str({**row, "negatives": 0}) for row in rows[: dataset.num_examples])


@settings(derandomize=True, database=None, deadline=None, max_examples=25)
@given(name=st.sampled_from(sorted(SHARDS)), data=st.data())
def test_any_change_of_a_file_is_told_or_harmless(copies, name, data):
    """A bit of the header of a gzip file may change nothing."""
    original = (FOLDER / name / SHARDS[name]).read_bytes()
    start = data.draw(st.integers(0, len(original) - 1))
    if data.draw(st.booleans()):
        piece = bytes([original[start] ^ 1 << data.draw(st.integers(0, 7))])
    else:
        piece = data.draw(st.binary(min_size=1, max_size=len(original) - start))
    (copies[name] / SHARDS[name]).write_bytes(original[:start] + piece + original[start + len(piece) :])
    shutil.copy(FOLDER / name / "manifest.json", copies[name])
    dataset = open_dataset(str(copies[name]))
    if not told(dataset):
        golden = json.loads((FOLDER / name / "examples.json").read_text())
        assert examples_of(dataset) == sorted(str({**example, "negatives": 0}) for example in golden)


@settings(derandomize=True, database=None, deadline=None, max_examples=25)
@given(name=st.sampled_from(sorted(SHARDS)), data=st.data())
def test_any_record_is_told_if_and_only_if_it_cannot_be_read(originals, copies, name, data):
    """The checks of an epoch and of `damage_in` agree, but that an epoch does not count skip-grams."""
    record = originals[name]
    start = data.draw(st.integers(0, len(record) - 1))
    stop = data.draw(st.integers(start, min(len(record), start + 9)))
    record = record[:start] + data.draw(st.binary(max_size=9)) + record[stop:]
    write_records(copies[name], name, [record])
    dataset = open_dataset(str(copies[name]))
    said = told(dataset)
    if fails(dataset):
        assert said
    else:
        assert said is None or "skip_grams instead of" in said
