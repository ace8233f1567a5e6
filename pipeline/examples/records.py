"""Skip-gram examples <-> tf.train.Example records.

A record holds k examples. Each feature of the record is one field of all k examples, stored as one bytes value: a
little-endian array in C order. The manifest gives each field's dtype and the shape it has in one example, and k
follows from the length of the value. Many examples in a record make reading and writing cheap.
"""

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow.io import gfile

from pipeline.config import TARGETS_PER_RECORD, PipelineConfig
from pipeline.dataset.manifest import Field, HoldoutFile, Manifest, Shard
from pipeline.errors import UserError, user_message
from pipeline.examples.formats import Examples, Format, format_of, named

_Parsed = TypeVar("_Parsed")
_COMPRESSION_TYPES = {"gzip": "GZIP", "none": ""}  # TensorFlow's names, by --compression


def encode(examples: Examples) -> bytes:
    """The record that holds all of `examples`."""

    def feature(array: np.ndarray) -> tf.train.Feature:
        little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[little_endian.tobytes()]))

    features = {name: feature(array) for name, array in examples._asdict().items()}
    # A proto map has no order of its own; deterministic serialisation sorts it, so equal examples are equal bytes.
    record: bytes = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)
    return record


def decode(record: bytes, example_format: Format, fields: Sequence[Field]) -> Examples:
    """The examples of a record.

    Args:
        record: a serialised tf.train.Example.
        example_format: the format of the examples.
        fields: the arrays of one example, as the manifest describes them.

    Raises:
        UserError: the record does not hold whole examples of these fields. The message says what is wrong with it.
    """
    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        raise UserError("is not a tf.train.Example") from None
    arrays = {field.name: _array(features[field.name].bytes_list.value, field) for field in fields}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{length:,} of {name}" for name, length in lengths.items())
        raise UserError(f"holds {counts}: expected as many of each field")
    return example_format.examples(**arrays)


def _array(values: Sequence[bytes], field: Field) -> np.ndarray:
    """A field of all examples of a record, [k, *shape]."""
    if len(values) != 1:
        raise UserError(f"holds {len(values)} byte strings for the field {field.name}: expected one")
    dtype = np.dtype(field.dtype).newbyteorder("<")
    size = dtype.itemsize * math.prod(field.shape)
    if len(values[0]) % size:
        raise UserError(f"holds {len(values[0]):,} bytes of {field.name}: expected a multiple of an example's {size:,}")
    return np.frombuffer(values[0], dtype).reshape([-1, *field.shape])


def read(directory: str, shard: Shard, manifest: Manifest) -> Iterator[Examples]:
    """Reads a shard, one record at a time.

    Args:
        directory: the directory of the dataset.
        shard: the shard.
        manifest: the manifest of the dataset.

    Yields:
        The examples of each record.

    Raises:
        UserError: the shard is not as the manifest says: its size, its numbers of records and examples, the arrays, or
            the range of the numbers in them. The message names the shard and the record.
    """
    example_format = named(manifest.example_format)

    def parse(record: bytes) -> Examples:
        examples = decode(record, example_format, manifest.fields)
        _check_numbers(examples, manifest)
        return examples

    num_examples = 0
    for examples in read_file(directory, shard, manifest.compression, parse):
        num_examples += len(examples[0])
        yield examples
    if num_examples != shard.examples:
        raise damage(directory, f"{shard.name} has {num_examples:,} examples instead of {shard.examples:,}")


def damage(directory: str, text: str) -> UserError:
    """An error about a file of a dataset that is not as the manifest says."""
    return UserError(f"{directory} is damaged: {text}; copy the dataset again, or run the pipeline again")


def read_file(
    directory: str, file: Shard | HoldoutFile, compression: str, parse: Callable[[bytes], _Parsed]
) -> Iterator[_Parsed]:
    """Reads a TFRecord file of a dataset, one record at a time.

    Args:
        directory: the directory of the dataset.
        file: the file, as the manifest describes it.
        compression: none or gzip.
        parse: turns a record into what it holds. It raises UserError if the record is wrong.

    Raises:
        UserError: the size, the number of records or a record is wrong. The message names the file and the record.
    """
    path, number = os.path.join(directory, file.name), 0
    try:
        size = gfile.stat(path).length
        if size != file.bytes:
            raise damage(directory, f"{file.name} has {size:,} bytes instead of {file.bytes:,}")
        compression_type = _COMPRESSION_TYPES[compression]
        for number, record in enumerate(tf.data.TFRecordDataset(path, compression_type).as_numpy_iterator(), 1):
            try:
                parsed = parse(record)
            except UserError as error:
                raise damage(directory, f"{file.name}, record {number:,} {error}") from None
            yield parsed
    except tf.errors.NotFoundError as error:
        raise damage(directory, f"{file.name} is missing") from error
    except tf.errors.OpError as error:
        if user_message(error):  # the storage fails, and the file may be as it should be
            raise
        reason = re.sub(r"^\{\{.*?\}\} | \[Op:.*", "", error.message.partition("\n")[0])
        raise damage(directory, f"{file.name}, record {number + 1:,} cannot be read ({reason})") from error
    if number != file.records:
        raise damage(directory, f"{file.name} has {number:,} records instead of {file.records:,}")


def _check_numbers(examples: Examples, manifest: Manifest) -> None:
    """Raises UserError if an id is not in the vocabulary, or a context is beyond the window."""
    for name, array in examples._asdict().items():
        is_id = array.dtype.itemsize > 1
        highest = manifest.vocab_size - 1 if is_id else manifest.window_size
        wrong = array[(array < 0) | (array > highest)]
        if wrong.size:
            what = "an id of the vocabulary" if is_id else "a number of words within the window"
            raise UserError(f"holds {wrong[0]} in {name}: expected {what}, from 0 to {highest:,}")


def pack(examples: Iterator[Examples], targets_per_example: int) -> Iterator[Examples]:
    """Regroups examples so that each group fills a record, whatever text blocks they come from.

    Args:
        examples: all examples of a shard, in groups of any size.
        targets_per_example: how many target words an example holds.

    Yields:
        The same examples in the same order, in groups of TARGETS_PER_RECORD targets. The last group may be smaller.
    """
    size = max(1, TARGETS_PER_RECORD // targets_per_example)
    waiting: Examples | None = None
    for arrived in examples:
        if waiting is not None:
            arrived = type(arrived)._make(map(np.concatenate, zip(waiting, arrived, strict=True)))
        full = len(arrived[0]) // size * size
        for start in range(0, full, size):
            yield type(arrived)._make(array[start : start + size] for array in arrived)
        waiting = type(arrived)._make(array[full:] for array in arrived)
    if waiting is not None and len(waiting[0]):
        yield waiting


def tfrecord_options(compression: str) -> tf.io.TFRecordOptions:
    """How TensorFlow writes a file that is compressed like that, `none` or `gzip`."""
    return tf.io.TFRecordOptions(
        compression_type=_COMPRESSION_TYPES[compression],
        compression_level=1,  # the pipeline is twice as fast as at the default level, for 6 % more bytes
    )


def write(path: str, examples: Iterator[Examples], config: PipelineConfig) -> tuple[int, int]:
    """Writes a TFRecord file.

    Args:
        path: the file to write.
        examples: examples of the config's format, in groups of any size.
        config: the pipeline's settings.

    Returns:
        The numbers of records and of examples.
    """
    num_records = num_examples = 0
    with tf.io.TFRecordWriter(path, tfrecord_options(config.compression)) as writer:
        for group in pack(examples, format_of(config).targets_per_example(config)):
            writer.write(encode(group))
            num_records += 1
            num_examples += len(group[0])
    return num_records, num_examples
