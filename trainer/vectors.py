"""Word vectors in word2vec's file formats: reading, writing, and looking words up."""

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from trainer.errors import UserError

_ROWS_AT_ONCE = 8192


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
        with _open(path, "rb") as file:
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
    """Writes word2vec's binary format: `n D`, then for each word the word, a space and D little-endian float32."""
    with _open(path, "wb") as file:
        file.write(b"%d %d\n" % vectors.shape)
        rows = np.ascontiguousarray(vectors, "<f4")
        for start in range(0, len(words), _ROWS_AT_ONCE):
            chunk = slice(start, start + _ROWS_AT_ONCE)
            file.write(
                b"".join(
                    b"%b %b\n" % (word.encode(), row.tobytes())
                    for word, row in zip(words[chunk], rows[chunk], strict=True)
                )
            )


def write_text(path: str, words: Sequence[str], vectors: np.ndarray) -> None:
    """Writes word2vec's text format: `n D`, then a line for each word, numbers separated by spaces."""
    with _open(path, "wb") as file:
        file.write(b"%d %d\n" % vectors.shape)
        for word, row in zip(words, format_rows(vectors), strict=True):
            file.write(b"%b %b\n" % (word.encode(), row))


def format_rows(vectors: np.ndarray) -> Iterator[bytes]:
    """Each row's numbers separated by spaces, with the 9 digits that give the same float32 when read back.

    Only numbers below float32's normal range, 1.2e-38, become 0.
    """
    import tensorflow as tf  # formats ten times as fast as Python; imported here as reading does without

    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        numbers = tf.strings.as_string(vectors[start : start + _ROWS_AT_ONCE], precision=9, shortest=True)
        yield from tf.strings.reduce_join(numbers, axis=1, separator=" ").numpy()


def _open(path: str, mode: str):
    if "://" not in path:
        return open(path, mode)
    from tensorflow.io import gfile  # takes seconds to import, and is only needed here

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
