"""python -m trainer.evaluate --vectors MODEL/vectors.bin --word_pairs FILE... --analogies FILE

Scores word vectors on word similarity and analogies, in the same way as gensim. Upper and lower case do not matter.
Lines with a word that has no vector are left out, and their share is printed.
"""

import dataclasses
import math
import os
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from trainer import limits, word2vec_format
from trainer.console import Parser, importing, run
from trainer.errors import UserError

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
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in os.path.basename(self.path))

    @property
    def unknown_share(self) -> float:
        """The share of lines that were left out, 0 to 1."""
        return self.num_unknown / max(1, self.num_scored + self.num_unknown)


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


def word_pairs(vectors: word2vec_format.WordVectors, path: str) -> Score:
    """Compares the cosines of word pairs with people's ratings of their similarity, by Spearman's rank correlation.

    Args:
        vectors: the word vectors.
        path: a file of lines `word<TAB>word<TAB>rating`. Empty lines and lines that begin with # are skipped.

    Raises:
        UserError: the file cannot be read, holds nothing to score, or has a line of another form.
    """
    rows = _rows_by_upper_case(vectors.words)
    ratings: list[float] = []
    cosines: list[float] = []
    num_unknown = 0
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
        a, b = (rows.get(word.strip().upper()) for word in (first, second))
        if a is None or b is None:
            num_unknown += 1
            continue
        ratings.append(rating)
        cosines.append(float(vectors.unit_vectors[a] @ vectors.unit_vectors[b]))
    if not ratings and not num_unknown:
        raise UserError(f"{path} holds no word pairs: expected lines of the form word<TAB>word<TAB>rating")
    return Score(path, spearman(ratings, cosines), len(ratings), num_unknown)


def analogies(vectors: word2vec_format.WordVectors, path: str, restrict_vocab: int = 30_000) -> Score:
    """Computes the share of analogies `a is to b as c is to d` that the vectors solve.

    An analogy is solved if, of all words except a, b and c, d has the largest cosine with b - a + c (3CosAdd).

    Args:
        vectors: the word vectors.
        path: a file of lines `a b c d`, as questions-words.txt. Empty lines and section titles, which begin with a
            colon, are skipped.
        restrict_vocab: how many of the most frequent words are used, in questions and as answers.

    Raises:
        UserError: the file cannot be read, holds nothing to score, or has a line of another form.
    """
    known = word2vec_format.WordVectors(vectors.words[:restrict_vocab], vectors.vectors[:restrict_vocab])
    rows = _rows_by_upper_case(known.words)
    questions: list[list[int]] = []
    num_unknown = 0
    for number, line in _lines(path):
        if line.startswith(":"):
            continue
        words = line.split()
        if len(words) != 4:
            raise UserError(f"{path}, line {number}: expected four words, found {line[:100]!r}")
        question = [rows[word.upper()] for word in words if word.upper() in rows]
        if len(question) == len(words):
            questions.append(question)
        else:
            num_unknown += 1
    if not questions and not num_unknown:
        raise UserError(f"{path} holds no analogies: expected lines of four words")
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


def _rows_by_upper_case(words: Sequence[str]) -> dict[str, int]:
    """The row of each word in upper case. Of several spellings, it is the row of the most frequent one."""
    return {word.upper(): row for row, word in reversed(list(enumerate(words)))}


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """The non-empty lines of a text file in UTF-8, with or without a byte order mark, numbered from 1."""
    expected = "a test set in UTF-8"
    data = word2vec_format.read_file(path, expected)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = data[error.start : error.end]
        raise UserError(f"{path}, line {line}: expected {expected}, found the bytes {found!r}") from error
    yield from ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _reason(score: Score, num_words: int) -> str:
    """Why a test set has no score, if `num_words` words could be used."""
    if score.num_scored:
        return (
            f"its {score.num_scored:,} scored pairs have ratings or cosines that are all equal: expected different ones"
        )
    return (
        f"each of its {score.num_unknown:,} lines has a word out of the vocabulary: expected lines of words that are "
        f"among the {num_words:,} that are used"
    )


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    parser = Parser(
        prog="python -m trainer.evaluate",
        description="Scores word vectors on word similarity and analogies. A higher score is better; 1 is the best.",
    )
    parser.add_argument(
        "--vectors",
        required=True,
        metavar="FILE",
        help="the word vectors, in word2vec's binary format or, if the name ends in .txt, in its text format",
    )
    parser.add_argument(
        "--word_pairs",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="files with people's ratings of the similarity of two words; a line is word<TAB>word<TAB>rating",
    )
    parser.add_argument(
        "--analogies",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="files of analogies such as questions-words.txt; a line is four words, or a title after a colon",
    )
    parser.add_argument(
        "--restrict_vocab",
        type=int,
        default=30_000,
        metavar="N",
        help="use only the N most frequent words for analogies, in questions and as answers (default: 30000)",
    )
    args = parser.parse_args(argv)
    if not args.word_pairs and not args.analogies:
        raise UserError("nothing to score: give --word_pairs FILE, --analogies FILE, or both")
    if args.restrict_vocab < 1:
        raise UserError(f"--restrict_vocab {args.restrict_vocab}: expected 1 or more")
    files = [args.vectors, *args.word_pairs, *args.analogies]
    if any(map(word2vec_format.needs_tensorflow, files)):
        limits.check_addresses("TensorFlow, which reads remote files,")
        with importing():
            import tensorflow  # noqa: F401  reading the files needs it; imported here, it prints nothing
    vectors = word2vec_format.load(args.vectors)
    scores = [("spearman", len(vectors.words), word_pairs(vectors, path)) for path in args.word_pairs]
    num_used = min(args.restrict_vocab, len(vectors.words))
    scores += [("accuracy", num_used, analogies(vectors, path, args.restrict_vocab)) for path in args.analogies]
    reasons = []
    for measure, num_words, score in scores:
        if math.isnan(score.value):
            reasons.append(f"{score.path} has no score, since {_reason(score, num_words)}")
            continue
        print(
            f"{score.name:<24} {measure} {score.value:.3f}  ({score.num_scored:,} scored, "
            f"{score.unknown_share:.1%} out of vocabulary)"
        )
    if reasons:
        raise UserError("; ".join(reasons))


def command() -> int:
    """Runs the command with the arguments of this process, and returns the exit code."""
    return run(main, sys.argv[1:], "python -m trainer.evaluate")


if __name__ == "__main__":
    sys.exit(command())
