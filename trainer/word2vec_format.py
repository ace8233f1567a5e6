"""Word vectors in word2vec's file formats: reading, writing, and looking words up."""

import collections
import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from trainer.console import importing
from trainer.errors import UserError

_NUMBERS_AT_ONCE = 1 << 17
_THREADS = min(8, os.cpu_count() or 1)  # that format numbers; one writes what they make


class ExportError(Exception):
    """What was written could not be read back as it should."""


class WordVectors:
    """Words and their vectors, the most frequent first.

    Args:
        words: n words.
        vectors: [n, D] float32.
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray):
        self.words = list(words)
        self.vectors = vectors

    @functools.cached_property
    def index(self) -> dict[str, int]:
        """The row of each word."""
        return {word: row for row, word in enumerate(self.words)}

    @functools.cached_property
    def unit_vectors(self) -> np.ndarray:
        """The vectors scaled to length 1, [n, D]; a zero vector stays as it is."""
        norms = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        return self.vectors / np.where(norms > 0, norms, 1)

    def nearest(self, query: np.ndarray, k: int, exclude: Sequence[int] = ()) -> list[tuple[str, float]]:
        """The k words whose vectors have the largest cosine with `query` [D], and those cosines; without `exclude`."""
        norm = np.linalg.norm(query)
        cosines = self.unit_vectors @ (query / norm if norm > 0 else query)
        cosines[list(exclude)] = -np.inf
        best = np.argsort(-cosines, kind="stable")[: min(k, len(cosines) - len(set(exclude)))]
        return [(self.words[row], float(cosines[row])) for row in best]


def load(path: str) -> WordVectors:
    """Reads a word2vec file: text if its name ends in .txt, else binary.

    Raises:
        UserError: the file is not there, or is not of that format.
    """
    try:
        with open_file(path, "rb") as file:
            data = file.read()
    except Exception as error:  # of open, or of TensorFlow for a path such as gs://
        raise UserError(f"{path} cannot be read: expected word vectors in word2vec's .bin or .txt format") from error
    try:
        header, _, body = data.partition(b"\n")
        num_words, dim = map(int, header.split())
        words, vectors = (_parse_text if path.endswith(".txt") else _parse_binary)(body, num_words, dim)
    except (ValueError, IndexError) as error:
        raise UserError(
            f"{path} is not in word2vec's {'text' if path.endswith('.txt') else 'binary'} format"
        ) from error
    return WordVectors([word.decode(errors="replace") for word in words], vectors)


def write_binary(path: str, words: Sequence[str], vectors: np.ndarray) -> None:
    """Writes word2vec's binary format."""
    with open_file(path, "wb") as file:
        for piece in binary_pieces(words, vectors):
            file.write(piece)


def write_text(path: str, words: Sequence[str], vectors: np.ndarray) -> None:
    """Writes word2vec's text format."""
    with open_file(path, "wb") as file:
        for piece, _ in text_pieces(words, vectors):
            file.write(piece)


def binary_pieces(words: Sequence[str], vectors: np.ndarray) -> Iterator[bytes]:
    """word2vec's binary format: `n D`, then for each word the word, a space and D little-endian float32."""
    yield b"%d %d\n" % vectors.shape
    for chunk in _chunks(vectors):
        rows = np.ascontiguousarray(vectors[chunk], "<f4")
        yield b"".join(
            b"%b %b\n" % (word.encode(), row.tobytes()) for word, row in zip(words[chunk], rows, strict=True)
        )


def text_pieces(words: Sequence[str], vectors: np.ndarray) -> Iterator[tuple[bytes, bytes]]:
    """word2vec's text format: `n D`, then a line for each word, numbers separated by spaces.

    With each piece comes its share of the Embedding Projector's table: the same numbers separated by tabs, no words.
    Numbers have the 9 digits that give the same float32 when read back; those below its normal range, 1.2e-38, are 0.

    Raises:
        ExportError: a number is not the same when read back.
    """
    yield b"%d %d\n" % vectors.shape, b""
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = (pool.submit(_format, words[chunk], vectors[chunk]) for chunk in _chunks(vectors))
        pending = collections.deque(itertools.islice(futures, 2 * _THREADS))  # all at once would fill the memory
        while pending:
            oldest = pending.popleft()
            pending.extend(itertools.islice(futures, 1))
            yield oldest.result()


def _format(words: Sequence[str], vectors: np.ndarray) -> tuple[bytes, bytes]:
    import tensorflow as tf  # formats ten times as fast as Python; imported here as reading does without

    numbers = tf.strings.as_string(vectors, precision=9, shortest=True)
    read = tf.strings.to_number(numbers).numpy()
    if not np.all((read == vectors) | (np.abs(vectors) < 2e-38)):
        raise ExportError("a vector holds a number that is not the same when read back")
    rows = tf.strings.reduce_join(numbers, axis=1, separator=" ").numpy()
    lines = b"".join(b"%b %b\n" % (word.encode(), row) for word, row in zip(words, rows, strict=True))
    return lines, b"\n".join([*rows, b""]).replace(b" ", b"\t")


def _chunks(vectors: np.ndarray) -> Iterator[slice]:
    step = max(1, _NUMBERS_AT_ONCE // vectors.shape[1])
    return (slice(start, start + step) for start in range(0, len(vectors), step))


def open_file(path: str, mode: str):
    """Opens a file of this machine, or by TensorFlow one of a path such as gs://."""
    if "://" not in path:
        return open(path, mode)
    with importing():
        from tensorflow.io import gfile  # takes seconds, and is only needed here
    return gfile.GFile(path, mode)


def _parse_binary(body: bytes, num_words: int, dim: int) -> tuple[list[bytes], np.ndarray]:
    vectors = np.empty((num_words, dim), np.float32)
    words, position = [], 0
    for row in range(num_words):
        end = body.index(b" ", position)
        words.append(body[position:end].lstrip(b"\n"))  # some writers end a vector with a newline, some do not
        vectors[row] = np.frombuffer(body, "<f4", dim, end + 1)
        position = end + 1 + 4 * dim
    return words, vectors


def _parse_text(body: bytes, num_words: int, dim: int) -> tuple[list[bytes], np.ndarray]:
    vectors = np.empty((num_words, dim), np.float32)
    words = []
    lines = body.split(b"\n")
    for row in range(num_words):
        word, _, numbers = lines[row].rstrip().partition(b" ")
        words.append(word)
        vectors[row] = np.array(numbers.split(b" "), np.float32)
    return words, vectors
