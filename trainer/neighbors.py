"""python -m trainer.neighbors --vectors MODEL WORD...

Prints the nearest neighbours of each word, or of a sum of words such as `king - man + woman`. Without a word, it reads
them from standard input, line by line.
"""

import difflib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from trainer import limits
from trainer.console import EXIT_FAILED, Parser, importing, program, run
from trainer.errors import UserError
from trainer.files import needs_tensorflow

# The functions import NumPy and what needs it, because that takes longer than telling a mistake in the flags.
if TYPE_CHECKING:
    from trainer.word2vec_format import WordVectors

_COMMAND = "python -m trainer.neighbors"
_WORDS_FOR_HINTS = 20_000  # the most frequent words, in which a similar spelling is looked for
_BYTES_AT_ONCE = 1 << 16

Query = list[tuple[int, str]]  # the words of a sum, each with the sign 1 or -1


def queries(terms: Sequence[str]) -> list[Query]:
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


def neighbors(vectors: "WordVectors", query: Query, k: int) -> list[tuple[str, float]]:
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
    (found,) = neighbors_of_each(vectors, [query], k)
    return found


def neighbors_of_each(vectors: "WordVectors", asked: Sequence[Query], k: int) -> Iterator[list[tuple[str, float]]]:
    """Finds the words nearest to several sums; the arguments and what comes for each are those of `neighbors`.

    Raises:
        UserError: a word is not in the vocabulary. This is so before the first sum is looked up.
    """
    import numpy as np

    rows = [_rows(vectors, query) for query in asked]
    sums = np.empty([len(asked), vectors.vectors.shape[1]], np.float32)
    for number, query in enumerate(asked):
        signs = np.array([sign for sign, _ in query], np.float32)
        sums[number] = signs @ vectors.unit_vectors[rows[number]]
    return vectors.nearest_of_each(sums, k, rows)


def _rows(vectors: "WordVectors", query: Query) -> list[int]:
    for _, word in query:
        if word not in vectors.index:
            close = difflib.get_close_matches(word.lower(), vectors.words[:_WORDS_FOR_HINTS], 1)
            hint = f": did you mean {close[0]}?" if close else ""
            raise UserError(f"{word!r} is not among the {len(vectors.words):,} words of the vocabulary{hint}")
    return [vectors.index[word] for _, word in query]


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    parser = Parser(
        prog=_COMMAND,
        description="Prints the words whose vectors are nearest to that of a word, with their cosines.",
    )
    parser.add_argument(
        "--vectors",
        required=True,
        metavar="PATH",
        help="a model directory, or a file with word vectors in word2vec's binary or text format, or in GloVe's, which "
        "gzip may have compressed",
    )
    parser.add_argument("--top", type=int, default=10, metavar="K", help="how many neighbours to print (default: 10)")
    parser.add_argument(
        "--json",
        action="store_true",
        help='print a line of JSON for each word or sum: {"query": "king", "neighbors": [{"word": "queen", "cosine": '
        "0.7}, ...]}",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="a word whose neighbours to print; or one sum of words, such as: king - man + woman; if there is none, "
        "they are read from standard input, which may have several words or one sum on each line",
    )
    args = parser.parse_args(argv)
    if args.top < 1:
        raise UserError(f"--top {args.top}: expected 1 or more")
    asked = queries(args.words)
    if needs_tensorflow(args.vectors):
        limits.check_addresses("TensorFlow, which reads remote files,")
        with importing():
            import tensorflow  # noqa: F401  `load` needs it; imported here, it prints nothing
    if args.json:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # as JSON has to be
    from trainer.model_files import load_vectors_of

    vectors = load_vectors_of(args.vectors)
    if args.words:
        _print_all(asked, neighbors_of_each(vectors, asked, args.top), args.json)
    elif not _answer_input(vectors, args.top, args.json):
        raise SystemExit(EXIT_FAILED)


def _answer_input(vectors: "WordVectors", k: int, as_json: bool) -> bool:
    """Answers the lines of standard input, each as soon as it comes. Returns whether all of them have an answer.

    Lines that have come together are answered together, as one product of matrices is faster than many.
    """
    if sys.stdin.isatty():
        print("a word or a sum of words on each line; Ctrl-D ends", file=sys.stderr)
    has_answered_all = True
    for lines in _lines_as_they_come():
        asked: list[Query] = []
        for line in lines:
            terms = [term.decode(errors="replace") for term in line.split()]  # at ASCII white space, as no word has it
            is_sum = not {"+", "-"}.isdisjoint(terms)
            for some in [terms] if is_sum else [[term] for term in terms]:
                try:
                    (query,) = queries(some)
                    _rows(vectors, query)
                    asked.append(query)
                except UserError as error:
                    has_answered_all = False
                    print(f"{program(_COMMAND)}: {error}", file=sys.stderr, flush=True)
        _print_all(asked, neighbors_of_each(vectors, asked, k), as_json)
        sys.stdout.flush()
    return has_answered_all


def _lines_as_they_come() -> Iterator[list[bytes]]:
    """The lines of standard input, in lists of those that were there at the same time."""
    rest = b""
    while data := os.read(sys.stdin.fileno(), _BYTES_AT_ONCE):
        *lines, rest = (rest + data).split(b"\n")
        yield lines
    yield [rest]


def _print_all(asked: Iterable[Query], answers: Iterable[list[tuple[str, float]]], as_json: bool) -> None:
    for query, answer in zip(asked, answers, strict=True):
        title = " ".join(("+ " if sign > 0 else "- ") + word for sign, word in query).removeprefix("+ ")
        if as_json:
            found = [{"word": word, "cosine": round(cosine, 6)} for word, cosine in answer]
            print(json.dumps({"query": title, "neighbors": found}, ensure_ascii=False))
            continue
        print(title)
        for word, cosine in answer:
            print(f"  {cosine:.3f}  {word}")


def command() -> int:
    """Runs the command with the arguments of this process, and returns the exit code."""
    return run(main, sys.argv[1:], _COMMAND)


if __name__ == "__main__":
    sys.exit(command())
