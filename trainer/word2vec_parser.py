"""Parses and checks the contents of vector files in word2vec's two formats."""

import re
import reprlib
from collections.abc import Iterator

import numpy as np

from trainer.errors import UserError
from trainer.files import Contents

_HEADER = re.compile(rb"\s*(\d{1,18})\s+(\d{1,18})\s*", re.ASCII)  # how many words, and the length of their vectors
_WHITE_SPACE = re.compile(rb"[\t-\r]")  # all ASCII white space but the space
_LONGEST_HEADER = 64  # bytes
_BLOCK_BYTES = 64 << 20


def parse(path: str, data: bytes) -> tuple[list[str], np.ndarray]:
    """Parses the contents of a vector file.

    Args:
        path: where the file is, for messages. If it ends in .txt, the file is in the text format, else in the binary
            format.
        data: its contents.

    Returns:
        n words, and their vectors, [n, D] float32.

    Raises:
        UserError: the file is not as its first line and its format say, or a number or a word cannot be right. The
            message names the row or the line.
    """
    parser = _parser(path, data)
    ((words, vectors),) = parser.blocks(parser.num_words)
    return words, vectors


def dimension(path: str, data: Contents) -> int:
    """How many numbers each vector has, as the first line says; the arguments and errors are those of `parse`."""
    return _parser(path, data).dim


def parse_blocks(path: str, data: Contents) -> Iterator[tuple[list[str], np.ndarray]]:
    """Parses the contents in blocks of consecutive rows, whose vectors take up to 64 MB each.

    The arguments and errors are those of `parse`. A word that two blocks hold is an error, too.

    Yields:
        n words, and their vectors, [n, D] float32.
    """
    parser = _parser(path, data)
    return parser.blocks(max(1, _BLOCK_BYTES // (4 * parser.dim)))


def _parser(path: str, data: Contents) -> "_Parser":
    return (_TextParser if path.endswith(".txt") else _BinaryParser)(path, data)


class _Parser:
    """Parses the contents of a file in one of the two formats.

    Args:
        path: where the file is, for messages.
        data: its contents.
    """

    kind: str  # the format, and why the file should be in it
    row: str  # what messages call a row
    first_row: int  # the number that messages give to the first row
    bytes_per_number: int  # at least

    def __init__(self, path: str, data: Contents) -> None:
        self.path = path
        self.data = data
        self.position = self.start = data.find(b"\n", 0, _LONGEST_HEADER) + 1
        header = _HEADER.fullmatch(data[: self.start])
        self.num_words, self.dim = map(int, header.groups()) if header else (0, 0)
        if not self.num_words or not self.dim:
            raise self.error(
                f"the first line is {_show(data[: self.start or _LONGEST_HEADER].strip())}",
                "two whole numbers above 0, which are how many words there are and how many numbers each has",
            )
        self.promise = f"{self.num_words:,} words with {self.dim:,} numbers each, as the first line says"
        least = self.num_words * (self.dim * self.bytes_per_number + 2) - 1  # words of one letter, a space behind each
        if len(data) - self.start < least:
            found = f"{len(data) - self.start:,} bytes follow the first line"
            raise self.error(found, f"at least {least:,} bytes for {self.promise}")

    def blocks(self, rows_at_once: int) -> Iterator[tuple[list[str], np.ndarray]]:
        """The words and vectors, in blocks of so many rows."""
        seen: set[bytes] = set()
        for first in range(0, self.num_words, rows_at_once):
            vectors = np.empty((min(rows_at_once, self.num_words - first), self.dim), np.float32)
            with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, and is told below
                words = self.read_rows(first, vectors)
            if first + len(words) == self.num_words:
                self.check_end()
            yield self.checked(first, words, vectors, seen), vectors
            seen.update(words)

    def checked(self, first: int, words: list[bytes], vectors: np.ndarray, seen: set[bytes]) -> list[str]:
        """The words of a block, if it is right. Its first row has the number `first`; `seen` are earlier words."""
        text = b" ".join(words)
        known = set(words)
        is_right = b"" not in known and len(known) == len(words) and not _WHITE_SPACE.search(text)
        try:
            if is_right and seen.isdisjoint(known) and np.isfinite(vectors).all():
                return text.decode().split(" ")
        except UnicodeDecodeError:
            pass
        raise self.damage(first, words, vectors, seen)

    def read_rows(self, first: int, vectors: np.ndarray) -> list[bytes]:
        """Reads the next rows, the first of which has the number `first`.

        It fills in the vectors, and returns the words. No word holds a space.
        """
        raise NotImplementedError

    def check_end(self) -> None:
        """Raises UserError if the file goes on, after all rows have been read."""
        raise NotImplementedError

    def damage(self, first: int, words: list[bytes], vectors: np.ndarray, seen: set[bytes]) -> UserError:
        """What is wrong with the first row of a block that is damaged."""
        seen = set(seen)
        row = first
        for row, (word, vector) in enumerate(zip(words, vectors, strict=True), first):
            if not word or _WHITE_SPACE.search(word) or word.decode(errors="ignore").encode() != word:
                break
            if word in seen:
                return self.error_in(row, f"the word {_show(word)} is that of an earlier row", "each word once")
            if not np.isfinite(vector).all():
                found = f"the vector of {_show(word)} holds {vector[~np.isfinite(vector)][0]}"
                return self.error_in(row, found, "finite numbers, as training with a lower --learning_rate gives")
            seen.add(word)
        found = f"the word is {reprlib.repr(words[row - first])}"
        return self.error_in(row, found, "one in UTF-8, not empty, without white space")

    def error(self, found: str, expected: str) -> UserError:
        return UserError(f"{self.path} is damaged or not in {self.kind}: {found}: expected {expected}")

    def error_in(self, row: int, found: str, expected: str) -> UserError:
        """An error about a row, which is counted from 0."""
        return self.error(f"in {self.row} {row + self.first_row:,}, {found}", expected)


class _BinaryParser(_Parser):
    kind = "word2vec's binary format, as a name that does not end in .txt says"
    row = "row"
    first_row = 1
    bytes_per_number = 4

    def __init__(self, path: str, data: Contents) -> None:
        super().__init__(path, data)
        self.num_newlines = 0
        self.is_newline_last = False  # whether the last row that has been read ends with one

    def read_rows(self, first: int, vectors: np.ndarray) -> list[bytes]:
        data, dim, position = self.data, self.dim, self.position
        words: list[bytes] = []
        num_newlines = self.num_newlines
        for row in range(len(vectors)):
            end = data.find(b" ", position)
            start, position = position, end + 1 + 4 * dim
            if end < 0 or position > len(data):
                raise self.error_in(first + row, "the file ends", self.promise)
            words.append(data[start:end])
            vectors[row] = np.frombuffer(data, "<f4", dim, end + 1)
            self.is_newline_last = data[position : position + 1] == b"\n"
            if self.is_newline_last:
                num_newlines += 1
                position += 1
        self.num_newlines, self.position = num_newlines, position
        return words

    def check_end(self) -> None:
        if self.position < len(self.data):
            raise self.error_in(self.num_words, "the file goes on", self.promise)
        # The last row may lack its newline.
        but_the_last = (self.num_words - 1, False)
        if self.num_newlines not in (0, self.num_words) and (self.num_newlines, self.is_newline_last) != but_the_last:
            raise self.error(f"{self.num_newlines:,} of the rows end with a newline", "that all rows do, or none")


class _TextParser(_Parser):
    kind = "word2vec's text format, as a name in .txt says"
    row = "line"
    first_row = 2
    bytes_per_number = 2

    def read_rows(self, first: int, vectors: np.ndarray) -> list[bytes]:
        words: list[bytes] = []
        for row in range(len(vectors)):
            end = self.data.find(b"\n", self.position) + 1
            if not end:  # the last number may be cut short
                found = "the file ends" + (" without a newline" if self.position < len(self.data) else "")
                raise self.error_in(first + row, found, self.promise)
            word, _, text = self.data[self.position : end].rstrip().partition(b" ")
            self.position = end
            words.append(word)
            numbers = text.split()
            if len(numbers) != self.dim:
                found = f"{len(numbers):,} numbers follow {_show(word)}"
                raise self.error_in(first + row, found, f"{self.dim:,} numbers")
            try:
                vectors[row] = np.array(numbers, np.float32)
                is_right = b"_" not in text  # Python takes 1_0 for a number
            except ValueError:
                is_right = False
            if not is_right:
                found = f"{_show(text)} follows {_show(word)}"
                raise self.error_in(first + row, found, "numbers with spaces between them")
        return words

    def check_end(self) -> None:
        if self.data[self.position :].strip():
            raise self.error_in(self.num_words, "the file goes on", self.promise)


def _show(text: bytes) -> str:
    return reprlib.repr(text.decode(errors="replace"))
