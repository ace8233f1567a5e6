"""Word vectors in word2vec's file formats: reading, writing, and looking words up. GloVe's files are read, too."""

import collections
import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from trainer.errors import UserError
from trainer.files import open_file, read_file
from trainer.word2vec_parser import parse

_NUMBERS_AT_ONCE = 1 << 17
_PRODUCTS_AT_ONCE = 16 << 20  # numbers, which take 64 MB
_ROWS_AT_ONCE = 1 << 14
_THREADS = min(8, os.cpu_count() or 1)  # threads that format numbers; the caller writes the results


class ExportError(UserError):
    """An exported file or number would not be the same when it is read back."""


class WordVectors:
    """Words and their vectors, the most frequent first.

    Args:
        words: n words.
        vectors: [n, D] float32, the vector of each word.
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray) -> None:
        self.words = list(words)
        self.vectors = vectors

    @functools.cached_property
    def index(self) -> dict[str, int]:
        """The row of each word."""
        return {word: row for row, word in enumerate(self.words)}

    @functools.cached_property
    def unit_vectors(self) -> np.ndarray:
        """The vectors scaled to length 1, [n, D]. A zero vector stays as it is."""
        # The squares are added up in float64, because those of large or small numbers are beyond float32.
        norms = np.sqrt(np.einsum("nd,nd->n", self.vectors, self.vectors, dtype=np.float64))[:, np.newaxis]
        unit = np.empty_like(self.vectors)
        np.divide(self.vectors, np.where(norms > 0, norms, 1), out=unit, casting="same_kind")
        return unit

    def nearest(self, query: np.ndarray, k: int, exclude: Sequence[int] = ()) -> list[tuple[str, float]]:
        """Finds the words whose vectors have the largest cosine with a query vector.

        Args:
            query: [D], a vector of any length.
            k: how many words to find.
            exclude: rows of words that must not be found.

        Returns:
            k words, or all words if there are fewer, each with its cosine. The nearest word comes first, and of words
            that are equally near the one of the lower row.
        """
        (found,) = self.nearest_of_each(query[np.newaxis], k, [exclude])
        return found

    def nearest_of_each(
        self, queries: np.ndarray, k: int, exclude: Sequence[Sequence[int]]
    ) -> Iterator[list[tuple[str, float]]]:
        """Finds the nearest words of several query vectors. A block of them takes one product of matrices.

        Args:
            queries: [Q, D], vectors of any length.
            k: how many words to find for each.
            exclude: the rows of words that must not be found, for each query.

        Yields:
            What `nearest` returns, for one query after the other.
        """
        unit = WordVectors([], np.asarray(queries, np.float32)).unit_vectors
        step = max(1, _PRODUCTS_AT_ONCE // max(1, len(self.words)))
        for start in range(0, len(unit), step):
            block = slice(start, start + step)
            products = unit[block] @ self.unit_vectors.T
            for query, cosines, rows in zip(unit[block], products, exclude[block], strict=True):
                yield self._nearest(query, cosines, k, rows)

    def _nearest(
        self, query: np.ndarray, cosines: np.ndarray, k: int, exclude: Sequence[int]
    ) -> list[tuple[str, float]]:
        """The nearest words of a query of length 1.

        How a product of matrices is rounded depends on its size and on the place of a row. So the cosines [n] only
        tell which words may be among the nearest, and those of these are computed anew.
        """
        cosines[list(exclude)] = -np.inf
        k = min(k, len(cosines) - len(set(exclude)))
        if k <= 0:
            return []
        least = np.partition(cosines, -k)[-k] - 4 * len(query) * np.finfo(np.float32).eps
        rows = np.flatnonzero(cosines >= least)
        exact = np.concatenate(
            [
                np.einsum("nd,d->n", self.unit_vectors[some], query, dtype=np.float64)
                for some in np.array_split(rows, -(-len(rows) // _ROWS_AT_ONCE))
            ]
        )
        best = np.argsort(-exact, kind="stable")[:k]
        return [(self.words[rows[place]], float(exact[place])) for place in best]


def load(path: str) -> WordVectors:
    """Reads word vectors in word2vec's or GloVe's format. `from trainer import load_vectors` imports this function.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/vectors.bin"
    ...     write_binary(path, ["king", "queen", "apple"], np.array([[3, 4], [4, 3], [-2, 0]], np.float32))
    ...     vectors = load(path)
    >>> vectors.words
    ['king', 'queen', 'apple']
    >>> row = vectors.index["king"]
    >>> vectors.vectors[row]
    array([3., 4.], dtype=float32)
    >>> [(word, round(cosine, 2)) for word, cosine in vectors.nearest(vectors.vectors[row], k=2, exclude=[row])]
    [('queen', 0.96), ('apple', -0.6)]

    Args:
        path: a local file, or a path such as gs://, which TensorFlow opens. A name in .bin stands for word2vec's binary
            format, whose rows may end with a newline. A name in .txt or .vec stands for its text format, or for that of
            GloVe, which lacks the first line. With another name, the contents tell the format. The file may be
            compressed by gzip, with or without .gz behind its name.

    Raises:
        UserError: the file cannot be read, or is not as its first line and its format say. That is so, too, if a number
            is not finite, or if a word is empty, not UTF-8 or there twice. The message names the row or the line.
    """
    data = read_file(path, "word vectors in word2vec's or GloVe's format")
    return WordVectors(*parse(path, data))


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
    """Makes the pieces of word2vec's binary format.

    The file begins with the line `n D`. Each word follows with a space, D little-endian float32 and a newline.

    Args:
        words: n words.
        vectors: [n, D] float32.
    """
    yield first_line(*vectors.shape)
    yield from binary_rows(words, vectors)


def text_pieces(words: Sequence[str], vectors: np.ndarray) -> Iterator[tuple[bytes, bytes]]:
    """Makes the pieces of word2vec's text format, and those of the Embedding Projector's table.

    The text begins with the line `n D`. Each word follows on a line with its D numbers, separated by spaces. The table
    has the same numbers, separated by tabs and without words. Numbers have 9 digits, which are enough to give the same
    float32 when they are read back. Numbers below float32's normal range, 1.2e-38, are written as 0.

    Args:
        words: n words.
        vectors: [n, D] float32.

    Returns:
        Pairs (piece of the text, piece of the table).

    Raises:
        ExportError: a number would not be the same when it is read back.
    """
    yield first_line(*vectors.shape), b""
    yield from text_rows(words, vectors)


def first_line(num_words: int, embedding_dim: int) -> bytes:
    """The line `n D`, with which both formats begin."""
    return b"%d %d\n" % (num_words, embedding_dim)


def binary_rows(words: Sequence[str], vectors: np.ndarray) -> Iterator[bytes]:
    """The pieces of `binary_pieces` without the first line, for some of the words and their vectors."""
    for chunk in _chunks(vectors):
        rows = np.ascontiguousarray(vectors[chunk], "<f4")
        yield b"".join(
            b"%b %b\n" % (word.encode(), row.tobytes()) for word, row in zip(words[chunk], rows, strict=True)
        )


def text_rows(words: Sequence[str], vectors: np.ndarray) -> Iterator[tuple[bytes, bytes]]:
    """The pieces of `text_pieces` without the first line, for some of the words and their vectors.

    Raises:
        ExportError: a number would not be the same when it is read back.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = (pool.submit(_format, words[chunk], vectors[chunk]) for chunk in _chunks(vectors))
        pending = collections.deque(itertools.islice(futures, 2 * _THREADS))  # all pieces would fill the memory
        while pending:
            oldest = pending.popleft()
            pending.extend(itertools.islice(futures, 1))
            yield oldest.result()


def table_rows(vectors: np.ndarray) -> Iterator[bytes]:
    """The pieces of the table of `text_pieces` alone, for some of the vectors.

    Raises:
        ExportError: a number would not be the same when it is read back.
    """
    return (_table(_format_numbers(vectors[chunk])) for chunk in _chunks(vectors))


def _format(words: Sequence[str], vectors: np.ndarray) -> tuple[bytes, bytes]:
    rows = _format_numbers(vectors)
    lines = b"".join(b"%b %b\n" % (word.encode(), row) for word, row in zip(words, rows, strict=True))
    return lines, _table(rows)


def _format_numbers(vectors: np.ndarray) -> list[bytes]:
    """The numbers of each vector, with spaces between them."""
    import tensorflow as tf  # formats numbers ten times as fast as Python; reading a local file does not need it

    if np.isnan(vectors).any():  # 9 digits give all other numbers back
        raise ExportError(
            "a vector holds a number, such as NaN, that would not be the same when it is read back: "
            "train with a lower --learning_rate"
        )
    numbers = tf.strings.as_string(vectors, precision=9, shortest=True)
    return list(tf.strings.reduce_join(numbers, axis=1, separator=" ").numpy())


def _table(rows: list[bytes]) -> bytes:
    return b"\n".join([*rows, b""]).replace(b" ", b"\t")


def _chunks(vectors: np.ndarray) -> Iterator[slice]:
    step = max(1, _NUMBERS_AT_ONCE // vectors.shape[1])
    return (slice(start, start + step) for start in range(0, len(vectors), step))
