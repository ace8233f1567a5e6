"""The words of a model with their vectors, from whichever of its files has them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trainer import word2vec_parser
from trainer.dataset_layout import FIRST_WORD_ID, VOCABULARY_FILE, vocabulary_counts, vocabulary_tokens
from trainer.errors import UserError
from trainer.files import exists, mapped, read_file
from trainer.layout import SAVED_MODEL, STATE_FILE, STATE_FOLDER, VECTORS_BINARY, VECTORS_TEXT
from trainer.state import TARGETS, array_header, open_state

_EXPECTED = "the vectors of a model"
_BYTES_AT_ONCE = 32 << 20


@dataclass(frozen=True)
class Words:
    """Words and their vectors.

    Args:
        source: the file or folder in the model directory that they are from.
        words: n words.
        vectors: [n, D] float32. It may be mapped from a file, so only some of the rows should be used at once.
        counts: [n] int64, how often each word occurs in the text; None if the model does not say.
    """

    source: str
    words: Sequence[str]
    vectors: np.ndarray
    counts: np.ndarray | None = None

    def unit_vectors(self, rows: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Some of the vectors, scaled to length 1, [m, D] float32. A zero vector stays as it is."""
        some = np.asarray(self.vectors[rows], np.float64)
        norms = np.linalg.norm(some, axis=1, keepdims=True)
        unit: np.ndarray = (some / np.where(norms > 0, norms, 1)).astype(np.float32)
        return unit

    def nearest(self, rows: Sequence[int], k: int) -> list[list[tuple[int, float]]]:
        """Finds the nearest words of some words, going through the table once, in blocks.

        Args:
            rows: the rows of the words.
            k: how many words to find for each.

        Returns:
            For each of the rows, up to k other rows and their cosines, the nearest first.
        """
        if not rows:
            return []
        queries = self.unit_vectors(list(rows))
        found_rows, found = np.zeros([len(rows), 0], np.int64), np.zeros([len(rows), 0], np.float32)
        for block in self._blocks():
            cosines = queries @ self.unit_vectors(block).T
            for number, row in enumerate(rows):
                if block.start <= row < block.stop:
                    cosines[number, row - block.start] = -np.inf  # a word is not its own neighbour
            ids = np.broadcast_to(np.arange(block.start, block.stop), cosines.shape)
            found_rows, found = np.concatenate([found_rows, ids], 1), np.concatenate([found, cosines], 1)
            best = np.argsort(-found, axis=1, kind="stable")[:, :k]
            found_rows, found = np.take_along_axis(found_rows, best, 1), np.take_along_axis(found, best, 1)
        return [
            [(int(row), float(cosine)) for row, cosine in zip(*pair, strict=True) if cosine > -np.inf]
            for pair in zip(found_rows, found, strict=True)
        ]

    def _blocks(self) -> Iterator[slice]:
        step = max(1, _BYTES_AT_ONCE // (8 * self.vectors.shape[1]))
        for start in range(0, len(self.words), step):
            yield slice(start, min(start + step, len(self.words)))


def open_words(model: str) -> Words:
    """Opens the vectors of a model: those of its state, or else of vectors.bin, vectors.txt or the SavedModel.

    Args:
        model: the model directory.

    Raises:
        UserError: there are none, or those that are there are damaged.
    """
    sources = {
        os.path.join(STATE_FOLDER, STATE_FILE): _from_state,
        VECTORS_BINARY: _from_file,
        VECTORS_TEXT: _from_file,
        os.path.join(SAVED_MODEL, "saved_model.pb"): _from_saved_model,
    }
    there = [(name, read) for name, read in sources.items() if exists(os.path.join(model, name))]
    for number, (name, read) in enumerate(there, 1):
        try:
            return read(model, name)
        except UserError:
            if number == len(there):
                raise
    raise UserError(
        f"{model} has no vectors: expected {STATE_FOLDER}, {VECTORS_BINARY}, {VECTORS_TEXT} or {SAVED_MODEL}"
    )


def _from_state(model: str, name: str) -> Words:
    state = open_state(model, "MODEL")
    shape = (state.vocab_size, state.embedding_dim)
    with mapped(os.path.join(state.directory, TARGETS), _EXPECTED) as data:
        offset = len(array_header(shape))
        table = np.frombuffer(data, "<f4", offset=offset).reshape(shape)
    return Words(STATE_FOLDER, state.words()[FIRST_WORD_ID:], table[FIRST_WORD_ID:], state.counts()[FIRST_WORD_ID:])


def _from_file(model: str, name: str) -> Words:
    path = os.path.join(model, name)
    with mapped(path, _EXPECTED) as data:
        return Words(name, *word2vec_parser.parse(path, data))


def _from_saved_model(model: str, name: str) -> Words:
    import tensorflow as tf  # the other files need it only if they are remote

    folder = os.path.join(model, SAVED_MODEL)
    vocabulary = read_file(os.path.join(folder, "assets", VOCABULARY_FILE), "the vocabulary of a model")
    try:
        with tf.device("CPU:0"):
            reader = tf.train.load_checkpoint(os.path.join(folder, "variables", "variables"))
            table = reader.get_tensor("vectors/.ATTRIBUTES/VARIABLE_VALUE")
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        reason, *_ = str(error).splitlines() or [""]
        raise UserError(f"{folder} cannot be read ({reason}): expected the SavedModel of a model") from error
    words = [token.decode() for token in vocabulary_tokens(vocabulary)][FIRST_WORD_ID:]
    counts = np.fromiter(vocabulary_counts(vocabulary), np.int64)[FIRST_WORD_ID:]
    return Words(SAVED_MODEL, words, table[FIRST_WORD_ID:], counts)
