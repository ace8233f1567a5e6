"""Joins phrases: words that stand together become one word, with `_` between them.

The rule is that of gensim's Phrases. In each round, a line is read from the left. If two neighbours are a phrase of
this round, they are joined, and reading goes on behind them. So phrases never overlap. A word that has a `_` of its own
is a word as others.

`join_phrases` defines this in TensorFlow operations for the transform graph, and `Phrases` does the same faster.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat

import numpy as np
import tensorflow as tf

from pipeline.dataset.layout import PHRASES_FILE
from pipeline.dataset.phrases import Phrase, parse_phrases

_JOINT = b"_"
_SPACE, _NEWLINE, _UNDERSCORE = b" \n_"


def phrase_table(path: tf.Tensor | str) -> tf.lookup.StaticHashTable:
    """The table that a phrases file describes. It gives each pair its round, and 0 to pairs that are no phrases."""
    rows = tf.lookup.TextFileInitializer(path, tf.string, 0, tf.int64, 1, delimiter="\t")
    return tf.lookup.StaticHashTable(rows, default_value=0)


def join_phrases(
    words: tf.RaggedTensor, rounds_of: Callable[[tf.Tensor], tf.Tensor], num_rounds: int
) -> tf.RaggedTensor:
    """Joins the phrases in lines of words.

    Args:
        words: [N, words] string.
        rounds_of: looks pairs [P] up, and gives their rounds [P] as the table of `phrase_table` does.
        num_rounds: the rounds in which the phrases were learnt.

    Returns:
        [N, words] string, with fewer words.
    """
    for number in range(1, num_rounds + 1):
        flat, lines = words.flat_values, words.value_rowids()
        found = rounds_of(tf.strings.join([flat[:-1], flat[1:]], " "))
        pairs = tf.where((found == number) & (lines[:-1] == lines[1:]))[:, 0]  # [P], the places of their first words
        # Of neighbouring pairs, which overlap, every other one is joined, beginning with the first.
        begins = tf.concat([tf.ones_like(pairs[:1]), tf.cast(pairs[1:] - pairs[:-1] > 1, tf.int64)], 0) > 0
        first_of_group = tf.gather(pairs[begins], tf.cumsum(tf.cast(begins, tf.int64)) - 1)
        joined = pairs[(pairs - first_of_group) % 2 == 0][:, tf.newaxis]  # [J, 1]
        seconds = joined + 1
        phrases = tf.strings.join([tf.gather_nd(flat, joined), tf.gather_nd(flat, seconds)], _JOINT.decode())
        flat = tf.tensor_scatter_nd_update(flat, joined, phrases)
        every, none = tf.ones_like(lines, tf.bool), tf.zeros_like(joined[:, 0], tf.bool)
        stays = tf.tensor_scatter_nd_update(every, seconds, none)
        words = tf.RaggedTensor.from_value_rowids(flat[stays], lines[stays], words.nrows(), validate=False)
    return words


class Phrases:
    """Joins phrases in lines.

    Args:
        phrases: the phrases of all rounds.
    """

    def __init__(self, phrases: Iterable[Phrase] = ()) -> None:
        pairs_by_round: dict[int, list[bytes]] = {}
        for phrase in phrases:
            pairs_by_round.setdefault(phrase.round, []).append(phrase.pair)
        self._rounds = [_Round(pairs_by_round[number]) for number in sorted(pairs_by_round)]

    @classmethod
    def load(cls, path: str) -> "Phrases":
        """The phrases of a phrases file."""
        with tf.io.gfile.GFile(path, "rb") as file:
            return cls(parse_phrases(file.read()))

    @classmethod
    def beside(cls, vocabulary_file: str) -> "Phrases":
        """The phrases of the phrases file in the same directory as a vocabulary file; none if there is no such file."""
        path = os.path.join(os.path.dirname(vocabulary_file), PHRASES_FILE)
        return cls.load(path) if tf.io.gfile.exists(path) else cls()

    def join(self, lines: Sequence[bytes]) -> list[bytes]:
        """Joins the phrases in lines, as `separated` of pipeline.text.tokenizer gives them."""
        if not self._rounds:
            return list(lines)
        # With one space between two words, a space becomes a `_` where words are joined, and nothing else changes.
        done = [b" ".join(line.split()) for line in lines]
        places = [place for place, line in enumerate(done) if line]
        text = bytearray(b"\n".join(done[place] for place in places))
        for each in self._rounds:
            each.join(text)
        for place, line in zip(places, bytes(text).split(b"\n") if text else (), strict=True):
            done[place] = line
        return done


class _Round:
    """The phrases of one round, as numbers: each word of a phrase has a number from 1."""

    def __init__(self, pairs: Sequence[bytes]) -> None:
        split = [pair.split(b" ") for pair in pairs]
        self._numbers = {word: number for number, word in enumerate(sorted(set(chain.from_iterable(split))), start=1)}
        numbered = [[self._numbers[word] for word in pair] for pair in split]
        self._codes = np.sort(self._code(*np.array(numbered, np.int64).T))

    def _code(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """One number for each pair of words."""
        return first * (len(self._numbers) + 1) + second

    def join(self, text: bytearray) -> None:
        """Joins the phrases in a text. Single spaces or newlines separate its words."""
        words = bytes(text).split()
        numbers = np.fromiter(map(self._numbers.get, words, repeat(0)), np.int64, len(words))
        characters = np.frombuffer(text, np.uint8)
        gaps = np.flatnonzero((characters == _SPACE) | (characters == _NEWLINE))  # behind each word but the last
        maybe = np.flatnonzero((numbers[:-1] > 0) & (numbers[1:] > 0) & (characters[gaps] == _SPACE))
        codes = self._code(numbers[maybe], numbers[maybe + 1])
        places = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        pairs = maybe[self._codes[places] == codes]
        characters[gaps[_every_other(pairs)]] = _UNDERSCORE


def _every_other(pairs: np.ndarray) -> np.ndarray:
    """Of neighbouring numbers every other one, beginning with the first: of 3 4 5 7 these are 3 5 7.

    Args:
        pairs: [P] rising whole numbers.
    """
    begins = np.flatnonzero(np.diff(pairs, prepend=-2) > 1)
    first_of_group = np.repeat(pairs[begins], np.diff(begins, append=len(pairs)))
    return pairs[(pairs - first_of_group) % 2 == 0]
