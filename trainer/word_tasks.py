"""Word similarity and analogies: reads test sets, and scores word vectors on them in the same way as gensim.

Upper and lower case do not matter. Lines with a word that has no vector are left out.
"""

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence

import numpy as np

from trainer import word2vec_format
from trainer.errors import UserError
from trainer.files import read_file

MOST_FREQUENT = 30_000  # how many words are used for analogies, unless the caller says otherwise
_QUESTIONS_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class Score:
    """The result of one test set."""

    path: str  # of the test set
    value: float  # Spearman's rho or accuracy; nan if nothing could be scored
    num_scored: int
    num_unknown: int  # lines left out because a word is not in the vocabulary

    @property
    def name(self) -> str:
        """The name of the test set's file, on one line."""
        return name_of(self.path)

    @property
    def unknown_share(self) -> float:
        """The share of lines that were left out, 0 to 1."""
        return self.num_unknown / max(1, self.num_scored + self.num_unknown)

    def reason(self, num_words: int) -> str:
        """Why the test set has no score, if `num_words` words could be used."""
        if self.num_scored:
            return (
                f"its {self.num_scored:,} scored pairs have ratings or cosines that are all equal: expected different "
                "ones"
            )
        return (
            f"each of its {self.num_unknown:,} lines has a word out of the vocabulary: expected lines of words that "
            f"are among the {num_words:,} that are used"
        )


def name_of(path: str) -> str:
    """The name of a file, on one line."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in os.path.basename(path))


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation, which is Pearson's correlation of the ranks. Equal values share their mean rank.

    It is nan if one of the sequences has fewer than two distinct values.
    """
    ranks_a, ranks_b = (_ranks(np.asarray(values, np.float64)) for values in (a, b))
    if len(a) < 2 or np.ptp(ranks_a) == 0 or np.ptp(ranks_b) == 0:
        return float("nan")
    return float(np.corrcoef(ranks_a, ranks_b)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def read_word_pairs(path: str) -> list[tuple[str, str, float]]:
    """Reads people's ratings of word pairs: first word, second word, rating.

    Args:
        path: a file of lines `word<TAB>word<TAB>rating`. Empty lines and lines that begin with # are skipped.

    Raises:
        UserError: the file cannot be read, holds nothing to score, or has a line of another form.
    """
    pairs = []
    for number, line in _lines(path):
        if line.startswith("#"):
            continue
        try:
            first, second, field = line.split("\t")
            rating = float(field)
            is_right = bool(first.strip() and second.strip() and math.isfinite(rating))
        except ValueError:
            is_right = False
        if not is_right:
            raise UserError(f"{path}, line {number}: expected word<TAB>word<TAB>rating, found {line[:100]!r}")
        pairs.append((first.strip(), second.strip(), rating))
    if not pairs:
        raise UserError(f"{path} holds no word pairs: expected lines of the form word<TAB>word<TAB>rating")
    return pairs


def read_analogies(path: str) -> list[list[str]]:
    """Reads analogies, four words each.

    Args:
        path: a file of lines `a b c d`, as questions-words.txt. Empty lines and section titles, which begin with a
            colon, are skipped.

    Raises:
        UserError: the file cannot be read, holds nothing to score, or has a line of another form.
    """
    found = []
    for number, line in _lines(path):
        if line.startswith(":"):
            continue
        words = line.split()
        if len(words) != 4:
            raise UserError(f"{path}, line {number}: expected four words, found {line[:100]!r}")
        found.append(words)
    if not found:
        raise UserError(f"{path} holds no analogies: expected lines of four words")
    return found


def word_pairs(vectors: word2vec_format.WordVectors, path: str) -> Score:
    """Compares the cosines of word pairs with people's ratings of their similarity, by Spearman's rank correlation.

    Args:
        vectors: the word vectors.
        path: a file, see `read_word_pairs`, which may also raise a UserError.
    """
    rows = rows_by_upper_case(vectors.words)
    ratings: list[float] = []
    cosines: list[float] = []
    num_unknown = 0
    for first, second, rating in read_word_pairs(path):
        a, b = (rows.get(word.upper()) for word in (first, second))
        if a is None or b is None:
            num_unknown += 1
            continue
        ratings.append(rating)
        cosines.append(float(vectors.unit_vectors[a] @ vectors.unit_vectors[b]))
    return Score(path, spearman(ratings, cosines), len(ratings), num_unknown)


def analogies(vectors: word2vec_format.WordVectors, path: str, restrict_vocab: int = MOST_FREQUENT) -> Score:
    """Computes the share of analogies `a is to b as c is to d` that the vectors solve.

    An analogy is solved if, of all words except a, b and c, d has the largest cosine with b - a + c (3CosAdd).

    Args:
        vectors: the word vectors.
        path: a file, see `read_analogies`, which may also raise a UserError.
        restrict_vocab: how many of the most frequent words are used, in questions and as answers.
    """
    known = word2vec_format.WordVectors(vectors.words[:restrict_vocab], vectors.vectors[:restrict_vocab])
    rows = rows_by_upper_case(known.words)
    questions: list[list[int]] = []
    num_unknown = 0
    for words in read_analogies(path):
        question = [rows[word.upper()] for word in words if word.upper() in rows]
        if len(question) == len(words):
            questions.append(question)
        else:
            num_unknown += 1
    num_right = 0
    unit = known.unit_vectors
    for start in range(0, len(questions), _QUESTIONS_AT_ONCE):
        a, b, c, d = np.array(questions[start : start + _QUESTIONS_AT_ONCE]).T
        cosines = (unit[b] - unit[a] + unit[c]) @ unit.T
        for asked in (a, b, c):
            cosines[np.arange(len(a)), asked] = -np.inf
        num_right += int((cosines.argmax(axis=1) == d).sum())
    accuracy = num_right / len(questions) if questions else float("nan")
    return Score(path, accuracy, len(questions), num_unknown)


def rows_by_upper_case(words: Sequence[str]) -> dict[str, int]:
    """The row of each word in upper case. Of several spellings, it is the row of the most frequent one."""
    return {word.upper(): row for row, word in reversed(list(enumerate(words)))}


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """The non-empty lines of a text file in UTF-8, with or without a byte order mark, numbered from 1."""
    text = read_text(path, "a test set in UTF-8")
    yield from ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def read_text(path: str, expected: str) -> str:
    """Reads a text file in UTF-8, with or without a byte order mark.

    Args:
        path: a local file, or a path such as gs://.
        expected: what the file should be, for messages.

    Raises:
        UserError: it cannot be read, or is not in UTF-8.
    """
    data = read_file(path, expected)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = data[error.start : error.end]
        raise UserError(f"{path}, line {line}: expected {expected}, found the bytes {found!r}") from error
