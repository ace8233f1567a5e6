"""Parses and checks the contents of vector files: word2vec's two formats, and that of GloVe.

In word2vec's formats, the first line says how many words there are and how many numbers each has. fastText's .vec files
are in the text format. GloVe's files are like these without the first line.
"""

import re
import reprlib
from collections.abc import Iterator

import numpy as np

from trainer.errors import UserError
from trainer.files import Contents

_HEADER = re.compile(rb"\s*(\d{1,18})\s+(\d{1,18})\s*", re.ASCII)  # how many words, and the length of their vectors
_WHITE_SPACE = re.compile(rb"[\t-\r]")  # all ASCII white space but the space
_LONGEST_HEADER = 64  # bytes
_LEAST_NUMBERS = 2  # of a vector in GloVe's format, whose first line could be a header that is damaged otherwise
_TEXT_ENDINGS = (".txt", ".vec")
_LONGEST_LINE = 4 << 20  # bytes
_BYTES_AT_ONCE = 1 << 20
_BLOCK_BYTES = 64 << 20


def parse(path: str, data: Contents) -> tuple[list[str], np.ndarray]:
    """Parses the contents of a vector file.

    Args:
        path: where the file is. If it ends in .txt or .vec, or in these and .gz, the file is text. If it ends in .bin,
            the file is in the binary format. Otherwise, the contents decide.
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
    """How many numbers each vector has, by the first line; the arguments and errors are those of `parse`."""
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
    name = path.removesuffix(".gz")
    is_named_binary, is_named_text = name.endswith(".bin"), name.endswith(_TEXT_ENDINGS)
    if is_named_binary or not (is_named_text or _looks_like_text(data)):
        return _BinaryParser(path, data, "as a name in .bin says" if is_named_binary else "as its contents look")
    ending = next((each for each in _TEXT_ENDINGS if name.endswith(each)), "")
    return _TextParser(path, data, f"as a name in {ending} says" if ending else "as its contents look")


def _looks_like_text(data: Contents) -> bool:
    """Whether a row of text begins the file or follows the header."""
    header = _header(data)
    numbers = _numbers_in_line(data, header.end() if header else 0)
    return numbers == int(header[2]) if header else numbers >= _LEAST_NUMBERS


def _header(data: Contents) -> re.Match[bytes] | None:
    """The first line, if it is one of word2vec's formats."""
    return _HEADER.fullmatch(data[: data.find(b"\n", 0, _LONGEST_HEADER) + 1])


def _numbers_in_line(data: Contents, start: int) -> int:
    """How many numbers follow the word of a line; 0 if it has something else or is too long."""
    end = data.find(b"\n", start, start + _LONGEST_LINE)
    _, _, text = data[start : max(start, end)].rstrip().partition(b" ")
    try:
        return len(np.array(text.split(), np.float64))
    except ValueError:
        return 0


class _Parser:
    """Parses the contents of a file in one of the formats.

    Args:
        path: where the file is, for messages.
        data: its contents.
        reason: why it should be in this format, for messages.
    """

    kind: str  # the format
    row: str  # what messages call a row
    first_row: int  # the number that messages give to the first row
    bytes_per_number: int  # at least
    or_else = ""  # what else than a header may be the first line, for messages

    def __init__(self, path: str, data: Contents, reason: str) -> None:
        self.path = path
        self.data = data
        self.reason = reason
        header = _header(data)
        self.num_words, self.dim = map(int, header.groups()) if header else self.count_without_header()
        self.position = start = header.end() if header else 0
        if not self.num_words or not self.dim:
            first_line = data[: data.find(b"\n", 0, _LONGEST_HEADER) + 1 or _LONGEST_HEADER]
            raise self.error(
                f"the first line is {_show(first_line.strip())}",
                "two whole numbers above 0, which are how many words there are and how many numbers each has"
                + self.or_else,
            )
        self.promise = f"{self.num_words:,} words with {self.dim:,} numbers each, as the first line says"
        least = self.num_words * (self.dim * self.bytes_per_number + 2) - 1  # words of one letter, a space behind each
        if len(data) - start < least:
            found = f"{len(data) - start:,} bytes follow the first line"
            if not header:
                found = f"{self.num_words:,} lines in {len(data):,} bytes, of which the first has {self.dim:,} numbers"
            raise self.error(found, f"at least {least:,} bytes for {self.promise}")

    def count_without_header(self) -> tuple[int, int]:
        """How many words there are and how many numbers each has, if no header says it; 0 if the format needs one."""
        return 0, 0

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
        return UserError(f"{self.path} is damaged or not in {self.kind}, {self.reason}: {found}: expected {expected}")

    def error_in(self, row: int, found: str, expected: str) -> UserError:
        """An error about a row, which is counted from 0."""
        return self.error(f"in {self.row} {row + self.first_row:,}, {found}", expected)


class _BinaryParser(_Parser):
    kind = "word2vec's binary format"
    row = "row"
    first_row = 1
    bytes_per_number = 4

    def __init__(self, path: str, data: Contents, reason: str) -> None:
        super().__init__(path, data, reason)
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
    kind = "word2vec's text format"
    row = "line"
    first_row = 2
    bytes_per_number = 2
    or_else = "; or a word and its numbers, as in GloVe's files"

    def count_without_header(self) -> tuple[int, int]:
        """Takes the file for one of GloVe's, if its first line is a word and numbers."""
        dim = _numbers_in_line(self.data, 0)
        if dim < _LEAST_NUMBERS:
            return 0, 0
        self.kind, self.first_row = "GloVe's format", 1
        pieces = (self.data[start : start + _BYTES_AT_ONCE] for start in range(0, len(self.data), _BYTES_AT_ONCE))
        num_lines = sum(piece.count(b"\n") for piece in pieces)
        end = self.data[-_BYTES_AT_ONCE:]
        return num_lines - end[len(end.rstrip()) :].count(b"\n") + 1, dim

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
