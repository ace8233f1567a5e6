"""python -m trainer.evaluate --vectors MODEL/vectors.bin --word_pairs FILE... --analogies FILE

Scores word vectors as gensim's evaluators do: words are compared without regard to case, and what is out of the
vocabulary is left out and counted.
"""

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from trainer import word2vec_format
from trainer.console import Parser, run
from trainer.errors import UserError

_QUESTIONS_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class Score:
    """The result of one test set."""

    name: str
    value: float  # Spearman's rho or accuracy; nan if nothing could be scored
    num_scored: int
    num_unknown: int  # left out, as a word is out of the vocabulary

    @property
    def unknown_share(self) -> float:
        """The share that was left out, 0 to 1."""
        return self.num_unknown / max(1, self.num_scored + self.num_unknown)


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank."""
    ranks = [_ranks(np.asarray(values, np.float64)) for values in (a, b)]
    if len(a) < 2 or any(np.ptp(rank) == 0 for rank in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def word_pairs(vectors: word2vec_format.WordVectors, path: str) -> Score:
    """Spearman's rho between people's ratings and cosines.

    Args:
        vectors: what is scored.
        path: lines `word<TAB>word<TAB>rating`; empty lines and lines that begin with # do not count.

    Raises:
        UserError: the file cannot be read, or has no such lines.
    """
    index = _case_blind(vectors.words)
    ratings, cosines, num_unknown = [], [], 0
    for number, line in _lines(path):
        if line.startswith("#"):
            continue
        try:
            first, second, rating = line.split("\t")
            rating = float(rating)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: expected word<TAB>word<TAB>rating, found {line!r}") from error
        rows = [index.get(word.strip().upper()) for word in (first, second)]
        if None in rows:
            num_unknown += 1
            continue
        ratings.append(rating)
        cosines.append(float(vectors.unit_vectors[rows[0]] @ vectors.unit_vectors[rows[1]]))
    return Score(os.path.basename(path), spearman(ratings, cosines), len(ratings), num_unknown)


def analogies(vectors: word2vec_format.WordVectors, path: str, restrict_vocab: int = 30_000) -> Score:
    """The share of analogies `a is to b as c is to d` where d has the largest cosine with b - a + c (3CosAdd).

    Args:
        vectors: what is scored.
        path: the questions-words format: lines `a b c d`, and section titles that begin with a colon.
        restrict_vocab: only that many of the most frequent words are known, in questions and as answers.

    Raises:
        UserError: the file cannot be read, or has other lines.
    """
    known = word2vec_format.WordVectors(vectors.words[:restrict_vocab], vectors.vectors[:restrict_vocab])
    index = _case_blind(known.words)
    questions, num_unknown = [], 0
    for number, line in _lines(path):
        if line.startswith(":"):
            continue
        words = line.split()
        if len(words) != 4:
            raise UserError(f"{path}, line {number}: expected four words, found {line!r}")
        rows = [index.get(word.upper()) for word in words]
        if None in rows:
            num_unknown += 1
        else:
            questions.append(rows)
    num_right = 0
    unit = known.unit_vectors
    for start in range(0, len(questions), _QUESTIONS_AT_ONCE):
        a, b, c, d = np.array(questions[start : start + _QUESTIONS_AT_ONCE]).T
        cosines = (unit[b] - unit[a] + unit[c]) @ unit.T
        for asked in (a, b, c):
            cosines[np.arange(len(a)), asked] = -np.inf
        num_right += int((cosines.argmax(axis=1) == d).sum())
    accuracy = num_right / len(questions) if questions else float("nan")
    return Score(os.path.basename(path), accuracy, len(questions), num_unknown)


def _case_blind(words: Sequence[str]) -> dict[str, int]:
    """The row of each word in upper case, the most frequent spelling's."""
    return {word.upper(): row for row, word in reversed(list(enumerate(words)))}


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """The non-empty lines of a text file, numbered from 1."""
    try:
        with word2vec_format.open_file(path, "rb") as file:
            lines = file.read().decode().splitlines()
    except Exception as error:  # of open, of TensorFlow for a path such as gs://, or of decoding
        raise UserError(f"{path} cannot be read: {error}") from error
    yield from ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def main(argv: Sequence[str]) -> None:
    """The command."""
    parser = Parser(prog="python -m trainer.evaluate", description="Scores word vectors.")
    parser.add_argument("--vectors", required=True, metavar="FILE", help="word2vec .bin or .txt")
    parser.add_argument("--word_pairs", nargs="+", default=[], metavar="FILE", help="word<TAB>word<TAB>rating a line")
    parser.add_argument("--analogies", metavar="FILE", help="four words a line, titles after a colon")
    parser.add_argument(
        "--restrict_vocab",
        type=int,
        default=30_000,
        metavar="N",
        help="analogies: only the N most frequent words are known (default 30000)",
    )
    args = parser.parse_args(argv)
    if not args.word_pairs and not args.analogies:
        raise UserError("nothing to score: give --word_pairs FILE, --analogies FILE, or both")
    if args.restrict_vocab < 1:
        raise UserError(f"--restrict_vocab {args.restrict_vocab}: expected 1 or more")
    vectors = word2vec_format.load(args.vectors)
    scores = [("spearman", word_pairs(vectors, path)) for path in args.word_pairs]
    if args.analogies:
        scores.append(("accuracy", analogies(vectors, args.analogies, args.restrict_vocab)))
    for measure, score in scores:
        print(
            f"{score.name:<24} {measure} {score.value:.3f}  ({score.num_scored:,} scored, "
            f"{score.unknown_share:.1%} out of vocabulary)"
        )


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:], "python -m trainer.evaluate"))
