"""python -m trainer.neighbors --vectors MODEL/vectors.bin WORD...

Prints the nearest neighbours of each word, or of a sum of words such as `king - man + woman`.
"""

import difflib
import sys
from collections.abc import Sequence

import numpy as np

from trainer import limits, word2vec_format
from trainer.console import Parser, importing, run
from trainer.errors import UserError
from trainer.files import needs_tensorflow

_WORDS_FOR_HINTS = 20_000  # the most frequent words, in which a similar spelling is looked for


def queries(terms: Sequence[str]) -> list[list[tuple[int, str]]]:
    """Turns the command's words into queries. A query is a list of words, each with the sign 1 or -1.

    >>> queries(["king", "queen"])
    [[(1, 'king')], [(1, 'queen')]]
    >>> queries(["king", "-", "man", "+", "woman"])
    [[(1, 'king'), (-1, 'man'), (1, 'woman')]]

    Raises:
        UserError: words and signs do not alternate.
    """
    if not {"+", "-"} & set(terms):
        return [[(1, term)] for term in terms]
    words, signs = terms[::2], ["+", *terms[1::2]]
    if len(words) != len(signs) or {"+", "-"} & set(words) or set(signs) - {"+", "-"}:
        raise UserError(
            f"{' '.join(terms)!r} is not a sum of words: expected words with + or - between them, "
            "such as 'king - man + woman'"
        )
    return [[(1 if sign == "+" else -1, word) for sign, word in zip(signs, words, strict=True)]]


def neighbors(vectors: word2vec_format.WordVectors, query: list[tuple[int, str]], k: int) -> list[tuple[str, float]]:
    """Finds the words nearest to a sum.

    Args:
        vectors: the word vectors.
        query: the words of the sum, each with the sign 1 or -1. Their vectors are scaled to length 1 before they are
            added.
        k: how many words to find.

    Returns:
        k words and their cosines with the sum. The words of the sum are left out.

    Raises:
        UserError: a word is not in the vocabulary.
    """
    rows = []
    for _, word in query:
        if word not in vectors.index:
            close = difflib.get_close_matches(word.lower(), vectors.words[:_WORDS_FOR_HINTS], 1)
            hint = f": did you mean {close[0]}?" if close else ""
            raise UserError(f"{word!r} is not among the {len(vectors.words):,} words of the vocabulary{hint}")
        rows.append(vectors.index[word])
    signs = np.array([sign for sign, _ in query], np.float32)
    return vectors.nearest(signs @ vectors.unit_vectors[rows], k, exclude=rows)


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    parser = Parser(
        prog="python -m trainer.neighbors",
        description="Prints the words whose vectors are nearest to that of a word, with their cosines.",
    )
    parser.add_argument(
        "--vectors",
        required=True,
        metavar="FILE",
        help="the word vectors, in word2vec's binary format or, if the name ends in .txt, in its text format",
    )
    parser.add_argument("--top", type=int, default=10, metavar="K", help="how many neighbours to print (default: 10)")
    parser.add_argument(
        "words",
        nargs="+",
        metavar="WORD",
        help="a word whose neighbours to print; or one sum of words, such as: king - man + woman",
    )
    args = parser.parse_args(argv)
    if args.top < 1:
        raise UserError(f"--top {args.top}: expected 1 or more")
    asked = queries(args.words)
    if needs_tensorflow(args.vectors):
        limits.check_addresses("TensorFlow, which reads remote files,")
        with importing():
            import tensorflow  # noqa: F401  `load` needs it; imported here, it prints nothing
    vectors = word2vec_format.load(args.vectors)
    answers = [neighbors(vectors, query, args.top) for query in asked]
    for query, answer in zip(asked, answers, strict=True):
        title = " ".join(("+ " if sign > 0 else "- ") + word for sign, word in query).removeprefix("+ ")
        print(title)
        for word, cosine in answer:
            print(f"  {cosine:.3f}  {word}")


def command() -> int:
    """Runs the command with the arguments of this process, and returns the exit code."""
    return run(main, sys.argv[1:], "python -m trainer.neighbors")


if __name__ == "__main__":
    sys.exit(command())
