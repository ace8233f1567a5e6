"""Files of held-out lines: TFRecord files of token ids. Each shard has one if --holdout is given.

A record is a tf.train.Example with two features, each one bytes value of little-endian int32: `ids` are the words of
all lines of the record, one line after the other, and `lengths` the number of words in each line. The id of an unknown
word is 1. Every line has a word, since lines without words are left out.
"""

from collections.abc import Iterator
from types import TracebackType

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from pipeline.config import WORDS_PER_HOLDOUT_RECORD
from pipeline.dataset.layout import UNK_ID
from pipeline.dataset.manifest import HoldoutFile, Manifest
from pipeline.errors import UserError
from pipeline.examples.records import damage, read_file, tfrecord_options


class HoldoutWriter:
    """Writes a file of held-out lines. It is a context manager, and the file is complete once the block ends.

    Args:
        path: the file to write.
        compression: none or gzip.

    Attributes:
        records, lines, words: how many of each were written.
    """

    def __init__(self, path: str, compression: str) -> None:
        self._writer = tf.io.TFRecordWriter(path, tfrecord_options(compression))
        self._ids, self._lengths = np.zeros(0, np.int64), np.zeros(0, np.int64)  # of the record that is not full yet
        self.records = self.lines = self.words = 0

    def __enter__(self) -> "HoldoutWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None and len(self._lengths):
            self._write(self._ids, self._lengths)
        self._writer.close()

    def add(self, ids: np.ndarray, lengths: np.ndarray) -> None:
        """Adds lines.

        Args:
            ids: [T] the words of all lines, one line after the other.
            lengths: [n] the number of words in each line, T in all.
        """
        self._ids = np.concatenate([self._ids, ids])
        self._lengths = np.concatenate([self._lengths, lengths[lengths > 0]])
        for num_lines, num_words in _full_records(self._lengths):
            self._write(self._ids[:num_words], self._lengths[:num_lines])
            self._ids, self._lengths = self._ids[num_words:], self._lengths[num_lines:]

    def _write(self, ids: np.ndarray, lengths: np.ndarray) -> None:
        self._writer.write(encode(ids, lengths))
        self.records += 1
        self.lines += len(lengths)
        self.words += len(ids)


def _full_records(lengths: np.ndarray) -> Iterator[tuple[int, int]]:
    """The numbers of lines and words of each record that is full: its last line is the first to reach the limit.

    Args:
        lengths: [n] the number of words in each line that waits.
    """
    ends = np.cumsum(lengths)
    lines = words = 0
    while True:
        last = int(np.searchsorted(ends, words + WORDS_PER_HOLDOUT_RECORD))
        if last == len(ends):
            return
        yield last + 1 - lines, int(ends[last]) - words
        lines, words = last + 1, int(ends[last])


def encode(ids: np.ndarray, lengths: np.ndarray) -> bytes:
    """The record of lines: the ids [T] of all words, and the number of words in each line [n]."""

    def feature(array: np.ndarray) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[array.astype("<i4").tobytes()]))

    features = tf.train.Features(feature={"ids": feature(ids), "lengths": feature(lengths)})
    record: bytes = tf.train.Example(features=features).SerializeToString(deterministic=True)
    return record


def read(directory: str, file: HoldoutFile, manifest: Manifest) -> Iterator[np.ndarray]:
    """Reads a file of held-out lines, one record at a time.

    Args:
        directory: the directory of the dataset.
        file: the file.
        manifest: the manifest of the dataset.

    Yields:
        The ids of each line, [words] int32.

    Raises:
        UserError: the file is not as the manifest says. The message names the file and the record.
    """
    num_lines = num_words = 0
    for lines in read_file(directory, file, manifest.compression, lambda record: _decode(record, manifest.vocab_size)):
        num_lines += len(lines)
        num_words += sum(map(len, lines))
        yield from lines
    for name, found, expected in (("lines", num_lines, file.lines), ("words", num_words, file.words)):
        if found != expected:
            raise damage(directory, f"{file.name} has {found:,} {name} instead of {expected:,}")


def _decode(record: bytes, vocab_size: int) -> list[np.ndarray]:
    """The ids of each line of a record. Raises UserError if the record does not hold whole lines of ids."""
    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        raise UserError("is not a tf.train.Example") from None
    arrays = []
    for name, low, high in (("ids", UNK_ID, vocab_size - 1), ("lengths", 1, 2**31 - 1)):
        values = features[name].bytes_list.value
        if len(values) != 1 or len(values[0]) % 4:
            raise UserError(f"holds no array of int32 in the field {name}: expected one")
        arrays.append(np.frombuffer(values[0], "<i4"))
        wrong = arrays[-1][(arrays[-1] < low) | (arrays[-1] > high)]
        if wrong.size:
            raise UserError(f"holds {wrong[0]} in {name}: expected numbers from {low} to {high:,}")
    ids, lengths = arrays
    if lengths.sum(dtype=np.int64) != len(ids):
        raise UserError(f"holds {len(ids):,} ids of lines of {lengths.sum(dtype=np.int64):,} words: expected as many")
    return np.split(ids, np.cumsum(lengths)[:-1])
