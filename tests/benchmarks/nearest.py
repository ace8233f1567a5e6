"""How long it takes to read word vectors and to find nearest words, beside other ways of doing it.

    python -m tests.benchmarks.nearest --words 1000000

It makes up random vectors. It finds the 10 nearest words of single queries and of many at once, by this project, by a
full sort of the cosines, and by gensim. Then it writes 100,000 of the vectors in each format, and reads them with this
project and with gensim. All ways take turns, and a quotient compares two of them within a round.
"""

import argparse
import gzip
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from trainer import word2vec_format
from trainer.console import Parser, run
from trainer.errors import UserError
from trainer.word2vec_format import WordVectors

_NEAREST = 10
_QUERIES = 100
_WORDS_IN_FILES = 100_000


def in_turn(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """The seconds that each way takes in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def lines(seconds: Mapping[str, Sequence[float]], per: int = 1) -> list[str]:
    """A line for each way: the median in ms, the lowest and highest, and how many times the first one's it is."""
    first = next(iter(seconds.values()))
    rows = []
    for name, values in seconds.items():
        ms = [1000 * value / per for value in values]
        times = [value / own for value, own in zip(values, first, strict=True)]
        rows.append(
            f"  {name:<28} {statistics.median(ms):9.1f} ms ({min(ms):.1f} to {max(ms):.1f}), "
            f"{statistics.median(times):.2f} times ({min(times):.2f} to {max(times):.2f})"
        )
    return rows


def full_sort(vectors: WordVectors, query: np.ndarray) -> list[tuple[str, float]]:
    """The nearest words, found by sorting all cosines."""
    cosines = vectors.unit_vectors @ (query / np.linalg.norm(query))
    return [(vectors.words[row], float(cosines[row])) for row in np.argsort(-cosines, kind="stable")[:_NEAREST]]


def measure(num_words: int, embedding_dim: int, rounds: int, folder: Path) -> None:
    """Prints all figures."""
    from gensim.models import KeyedVectors

    rng = np.random.default_rng(0)
    words = [f"word{row}" for row in range(num_words)]
    values = rng.normal(size=(num_words, embedding_dim)).astype(np.float32)
    ours, theirs = WordVectors(words, values), KeyedVectors(embedding_dim)
    theirs.add_vectors(words, values)
    queries = values[rng.integers(num_words, size=_QUERIES)]
    none = [[]] * _QUERIES
    ours.nearest(queries[0], _NEAREST)  # scales the vectors to length 1, once
    theirs.most_similar([queries[0]], topn=_NEAREST)

    print(f"one query, {num_words:,} x {embedding_dim}, {_NEAREST} words")
    one = in_turn(
        {
            "this project": lambda: ours.nearest(queries[0], _NEAREST),
            "a full sort": lambda: full_sort(ours, queries[0]),
            "gensim": lambda: theirs.most_similar([queries[0]], topn=_NEAREST),
        },
        rounds,
    )
    print("\n".join(lines(one)))
    print(f"each of {_QUERIES} queries")
    many = in_turn(
        {
            "together": lambda: list(ours.nearest_of_each(queries, _NEAREST, none)),
            "one by one": lambda: [ours.nearest(query, _NEAREST) for query in queries],
        },
        max(1, rounds // 3),
    )
    print("\n".join(lines(many, _QUERIES)))

    words, values = words[:_WORDS_IN_FILES], values[:_WORDS_IN_FILES]
    text, binary = folder / "v.txt", folder / "v.bin"
    word2vec_format.write_text(str(text), words, values)
    word2vec_format.write_binary(str(binary), words, values)
    glove, compressed = folder / "glove.txt", folder / "v.txt.gz"
    glove.write_bytes(text.read_bytes().partition(b"\n")[2])
    compressed.write_bytes(gzip.compress(text.read_bytes(), 6))
    formats = {
        "binary": (binary, True),
        "text": (text, False),
        "GloVe's": (glove, False),
        "text in .gz": (compressed, False),
    }
    for name, (path, is_binary) in formats.items():
        print(f"reading {len(words):,} x {embedding_dim}, {name}, {path.stat().st_size / 1e6:.0f} MB")

        def by_gensim(path: Path = path, is_binary: bool = is_binary) -> object:
            return KeyedVectors.load_word2vec_format(str(path), binary=is_binary, no_header="glove" in path.name)

        read = {"this project": lambda path=path: word2vec_format.load(str(path)), "gensim": by_gensim}
        print("\n".join(lines(in_turn(read, max(1, rounds // 3)))))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The flags."""
    parser = Parser(prog="python -m tests.benchmarks.nearest", description=__doc__.splitlines()[0])
    parser.add_argument("--words", type=int, default=1_000_000, metavar="N", help="how many words (default: 1,000,000)")
    parser.add_argument(
        "--embedding_dim", type=int, default=128, metavar="D", help="numbers in a vector (default: 128)"
    )
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="how often each way is taken (default: 9)")
    args = parser.parse_args(argv)
    for name, least in (("words", 2 * _NEAREST), ("embedding_dim", 1), ("rounds", 1)):
        if (value := getattr(args, name)) < least:
            raise UserError(f"--{name} {value}: expected {least} or more")
    return args


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    args = parse(argv)
    with tempfile.TemporaryDirectory() as folder:
        measure(args.words, args.embedding_dim, args.rounds, Path(folder))


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:], "python -m tests.benchmarks.nearest"))
