"""python -m trainer.neighbors --vectors MODEL/vectors.bin WORD...

Prints the nearest neighbours of each word, or of a sum such as `king - man + woman`.
"""

import difflib
import sys
from collections.abc import Sequence

from trainer import word2vec_format
from trainer.console import Parser, run
from trainer.errors import UserError


def queries(terms: Sequence[str]) -> list[list[tuple[int, str]]]:
    """What is asked for: for each query its words, each with a sign.

    >>> queries(["king", "queen"])
    [[(1, 'king')], [(1, 'queen')]]
    >>> queries(["king", "-", "man", "+", "woman"])
    [[(1, 'king'), (-1, 'man'), (1, 'woman')]]

    Raises:
        UserError: a sign stands where a word should, or the other way round.
    """
    if not {"+", "-"} & set(terms):
        return [[(1, term)] for term in terms]
    words, signs = terms[::2], ["+", *terms[1::2]]
    if len(words) != len(signs) or {"+", "-"} & set(words) or set(signs) - {"+", "-"}:
        raise UserError(f"{' '.join(terms)!r} is no sum of words: expected such as 'king - man + woman'")
    return [[(1 if sign == "+" else -1, word) for sign, word in zip(signs, words, strict=True)]]


def neighbors(vectors: word2vec_format.WordVectors, query: list[tuple[int, str]], k: int) -> list[tuple[str, float]]:
    """The k words nearest to a signed sum of unit vectors, without the words of the sum, and their cosines.

    Raises:
        UserError: a word is not in the vocabulary.
    """
    rows = []
    for _, word in query:
        if word not in vectors.index:
            close = difflib.get_close_matches(word.lower(), vectors.words[:20_000], 1)
            hint = f": did you mean {close[0]}?" if close else ""
            raise UserError(f"{word!r} is not among the {len(vectors.words):,} words of the vocabulary{hint}")
        rows.append(vectors.index[word])
    target = sum(sign * vectors.unit_vectors[row] for (sign, _), row in zip(query, rows, strict=True))
    return vectors.nearest(target, k, exclude=rows)


def main(argv: Sequence[str]) -> None:
    """The command."""
    parser = Parser(prog="python -m trainer.neighbors", description="Prints the nearest neighbours of words.")
    parser.add_argument("--vectors", required=True, metavar="FILE", help="word2vec .bin or .txt")
    parser.add_argument("--top", type=int, default=10, metavar="K", help="how many neighbours (default 10)")
    parser.add_argument("words", nargs="+", metavar="WORD", help="words, or a sum: king - man + woman")
    args = parser.parse_args(argv)
    if args.top < 1:
        raise UserError(f"--top {args.top}: expected 1 or more")
    asked = queries(args.words)
    vectors = word2vec_format.load(args.vectors)
    answers = [neighbors(vectors, query, args.top) for query in asked]
    for query, answer in zip(asked, answers, strict=True):
        title = " ".join(("+ " if sign > 0 else "- ") + word for sign, word in query).removeprefix("+ ")
        print(title)
        for word, cosine in answer:
            print(f"  {cosine:.3f}  {word}")


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:], "python -m trainer.neighbors"))
