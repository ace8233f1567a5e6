"""The vocabulary of a dataset: the format of its file, and the transform graph that looks words up."""

import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from pipeline.dataset.layout import IDS, RESERVED_TOKENS, TEXT, VOCABULARY_FILE


class Vocabulary:
    """A transform graph, loaded: the ids of text and the count of each id."""

    def __init__(self, transform_fn_dir: str):
        self._graph = tf.saved_model.load(transform_fn_dir)
        with tf.io.gfile.GFile(os.path.join(transform_fn_dir, "assets", VOCABULARY_FILE), "rb") as file:
            self.counts = np.array([int(line.rsplit(b"\t", 1)[1]) for line in file], np.int64)  # [V]

    def ids(self, lines: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all words of n lines, [T] int64, and the number of words in each line, [n] int64."""
        ids = self._graph.transform_fn({TEXT: tf.constant(lines, tf.string)})[IDS]
        return ids.flat_values.numpy(), ids.row_lengths().numpy()


def vocabulary_lines(words: list[tuple[int, bytes]], num_unknown: int) -> Iterator[bytes]:
    """The lines of the vocabulary file: [PAD] counts 0, [UNK] all words out of the vocabulary."""
    pad, unknown = (token.encode() for token in RESERVED_TOKENS)
    yield b"%b\t0\n" % pad
    yield b"%b\t%d\n" % (unknown, num_unknown)
    for count, word in words:
        yield b"%b\t%d\n" % (word, count)
