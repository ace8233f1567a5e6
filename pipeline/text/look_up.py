"""Looks words up in the vocabulary file: words -> ids."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipeline.dataset.layout import UNK_ID
from pipeline.text.phrases import Phrases
from pipeline.text.tokenizer import separated


def vocabulary_table(path: tf.Tensor | str) -> tf.lookup.StaticHashTable:
    """The table that a vocabulary file describes. It gives each word the number of its line."""
    index = tf.lookup.TextFileIndex
    rows = tf.lookup.TextFileInitializer(path, tf.string, 0, tf.int64, index.LINE_NUMBER, delimiter="\t")
    return tf.lookup.StaticHashTable(rows, default_value=UNK_ID)


def look_up(words: tf.Tensor, table: tf.lookup.StaticHashTable) -> tf.Tensor:
    """The ids of words. The text may hold the word [PAD], which is not padding, so no id is below that of [UNK]."""
    return tf.maximum(table.lookup(words), UNK_ID)


class Vocabulary:
    """A vocabulary: the ids of text, and the count of each id.

    The ids are those that the transform graph gives, but they come faster (see pipeline.text.tokenizer).

    Args:
        path: the vocabulary file. If there is a phrases file beside it, words are joined to its phrases.
        tokenizer: how lines are split into words.
    """

    def __init__(self, path: str, tokenizer: str) -> None:
        self._tokenizer = tokenizer
        self._phrases = Phrases.beside(path)
        self._table = vocabulary_table(path)
        with tf.io.gfile.GFile(path, "rb") as file:
            rows = file.read().splitlines()
        self.counts = np.array([int(row.rsplit(b"\t", 1)[1]) for row in rows], np.int64)  # [V]

    def ids(self, lines: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all words of n lines, [T] int64, and the number of words in each line, [n] int64."""
        joined = self._phrases.join(separated(lines, self._tokenizer))
        words = tf.strings.split(tf.constant(joined, tf.string))
        return look_up(words.flat_values, self._table).numpy(), words.row_lengths().numpy()
