"""Parses and checks the contents of vector files in word2vec's two formats."""

import io
import re
import reprlib

import numpy as np

from trainer.errors import UserError

_HEADER = re.compile(rb"\s*(\d{1,18})\s+(\d{1,18})\s*", re.ASCII)  # how many words, and the length of their vectors
_WHITE_SPACE = re.compile(rb"[\t-\r]")  # all ASCII white space but the space
_LONGEST_HEADER = 64  # bytes


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
    parser = _TextParser if path.endswith(".txt") else _BinaryParser
    return parser(path, data).parse()


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

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.data = data
        self.start = data.find(b"\n", 0, _LONGEST_HEADER) + 1
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
        self.vectors = np.empty((self.num_words, self.dim), np.float32)

    def parse(self) -> tuple[list[str], np.ndarray]:
        with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, and is told below
            words = self.read_rows()
        text = b" ".join(words)
        is_right = b"" not in words and len(set(words)) == len(words) and not _WHITE_SPACE.search(text)
        try:
            if is_right and np.isfinite(self.vectors).all():
                return text.decode().split(" "), self.vectors
        except UnicodeDecodeError:
            pass
        raise self.damage(words)

    def read_rows(self) -> list[bytes]:
        """Fills in the vectors, and returns the words. No word holds a space."""
        raise NotImplementedError

    def damage(self, words: list[bytes]) -> UserError:
        """What is wrong with the first row that is damaged."""
        seen: set[bytes] = set()
        for row, (word, vector) in enumerate(zip(words, self.vectors, strict=True)):
            if not word or _WHITE_SPACE.search(word) or word.decode(errors="ignore").encode() != word:
                break
            if word in seen:
                return self.error_in(row, f"the word {_show(word)} is that of an earlier row", "each word once")
            if not np.isfinite(vector).all():
                found = f"the vector of {_show(word)} holds {vector[~np.isfinite(vector)][0]}"
                return self.error_in(row, found, "finite numbers, as training with a lower --learning_rate gives")
            seen.add(word)
        return self.error_in(row, f"the word is {reprlib.repr(word)}", "one in UTF-8, not empty, without white space")

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

    def read_rows(self) -> list[bytes]:
        data, vectors, dim, position = self.data, self.vectors, self.dim, self.start
        words: list[bytes] = []
        num_newlines = following = 0
        for row in range(self.num_words):
            end = data.find(b" ", position)
            following = end + 1 + 4 * dim
            if end < 0 or following > len(data):
                raise self.error_in(row, "the file ends", self.promise)
            words.append(data[position:end])
            vectors[row] = np.frombuffer(data, "<f4", dim, end + 1)
            position = following
            if data.startswith(b"\n", position):
                num_newlines += 1
                position += 1
        if position < len(data):
            raise self.error_in(self.num_words, "the file goes on", self.promise)
        # The last row may lack its newline.
        if num_newlines not in (0, self.num_words) and (num_newlines, position) != (self.num_words - 1, following):
            raise self.error(f"{num_newlines:,} of the rows end with a newline", "that all rows do, or none")
        return words


class _TextParser(_Parser):
    kind = "word2vec's text format, as a name in .txt says"
    row = "line"
    first_row = 2
    bytes_per_number = 2

    def read_rows(self) -> list[bytes]:
        words: list[bytes] = []
        lines = io.BytesIO(self.data)
        lines.seek(self.start)
        for row in range(self.num_words):
            line = lines.readline()
            if not line.endswith(b"\n"):  # the last number may be cut short
                found = "the file ends" + (" without a newline" if line else "")
                raise self.error_in(row, found, self.promise)
            word, _, text = line.rstrip().partition(b" ")
            words.append(word)
            numbers = text.split()
            if len(numbers) != self.dim:
                raise self.error_in(row, f"{len(numbers):,} numbers follow {_show(word)}", f"{self.dim:,} numbers")
            try:
                self.vectors[row] = np.array(numbers, np.float32)
                is_right = b"_" not in text  # Python takes 1_0 for a number
            except ValueError:
                is_right = False
            if not is_right:
                raise self.error_in(row, f"{_show(text)} follows {_show(word)}", "numbers with spaces between them")
        if lines.read().strip():
            raise self.error_in(self.num_words, "the file goes on", self.promise)
        return words


def _show(text: bytes) -> str:
    return reprlib.repr(text.decode(errors="replace"))
