"""python -m pipeline.inspect DATASET

Prints the first examples of a dataset in words and the first held-out lines, or answers questions about its vocabulary,
its words and its skip-grams. Both example formats are understood.
"""

import argparse
import dataclasses
import io
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipeline import interrupt
from pipeline.console import EXIT_FAILED, EXIT_USAGE, Parser, importing, program
from pipeline.errors import UserError, user_message

if TYPE_CHECKING:
    from pipeline.inspection.opened import OpenDataset

_COMMAND = "python -m pipeline.inspect"
_EXAMPLES = 3

# The name of an answer in JSON, the answer, and what makes a text of it, in parts.
_Answer = tuple[str, Any, Callable[[Any], Iterable[str]]]


def main(argv: Sequence[str]) -> int:
    """Runs the command and returns the exit code.

    It is 2 for a mistake that is found before examples are read, and 1 if they cannot be read.
    """
    code = EXIT_USAGE
    try:
        args = _parse(argv)
        with importing():
            import tensorflow  # noqa: F401  takes seconds, so the flags are checked first

            from pipeline.inspection.opened import open_dataset
        dataset = open_dataset(args.dataset)
        if args.skip_grams is not None:
            dataset.id_of(args.skip_grams)  # it raises UserError
        code = EXIT_FAILED
        answers = _answers(dataset, args)
        if args.json:
            sys.stdout.write(json.dumps({name: _plain(answer) for name, answer, _ in answers}, indent=1) + "\n")
        else:
            for part in itertools.chain.from_iterable(_parts(answers)):
                sys.stdout.write(part)
        sys.stdout.flush()
    except BrokenPipeError:  # what reads the output, such as head, has stopped reading
        sys.stderr.close()
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        sys.stderr.write(f"{program(_COMMAND)}: {message}\n")
        return code
    return 0


def _answers(dataset: "OpenDataset", args: argparse.Namespace) -> Iterator[_Answer]:
    """The answers to the questions that the flags ask. Each is found when it is asked for."""
    from pipeline.inspection import examples, occurrences, overview, report, word_facts

    has_question = args.vocabulary or args.word or args.coverage or args.skip_grams is not None
    if args.vocabulary:
        yield "vocabulary", word_facts.head(dataset, args.vocabulary), report.vocabulary
    if args.word:
        yield "words", word_facts.facts(dataset, args.word), report.words
    if args.coverage:
        yield "coverage", word_facts.coverage(dataset), report.coverage
    if args.skip_grams is not None:
        yield "skip_grams", occurrences.find(dataset, args.skip_grams, args.limit), report.skip_grams
    if args.examples or not has_question:
        number, what = args.examples or _EXAMPLES, overview.of(dataset)
        descriptions = itertools.islice(examples.descriptions(dataset), number)
        yield "examples", descriptions, lambda texts: report.examples(texts, what)
        if dataset.manifest.holdout:
            lines = itertools.islice(examples.held_out_lines(dataset), number)
            yield "held_out", lines, lambda texts: report.held_out(texts, what)
        if not has_question:
            yield "overview", what, report.overview


def _parts(answers: Iterable[_Answer]) -> Iterator[Iterable[str]]:
    """The answers as text, with an empty line between two of them."""
    for number, (_, answer, text) in enumerate(answers):
        yield ["\n"] if number else []
        yield text(answer)


def _plain(answer: Any) -> Any:
    """An answer as JSON has it."""
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        return dataclasses.asdict(answer)
    return [_plain(item) for item in answer] if isinstance(answer, Iterable) and not isinstance(answer, str) else answer


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog=_COMMAND,
        description="Prints the first examples of a dataset in words, or answers questions about it.",
    )
    parser.add_argument("dataset", metavar="DATASET", help="the pipeline's output")
    parser.add_argument(
        "--examples",
        type=int,
        metavar="N",
        help=f"print so many examples, and held-out lines if there are any; by default {_EXAMPLES}, if nothing else is "
        "asked",
    )
    parser.add_argument(
        "--vocabulary", type=int, metavar="N", help="print the first N lines of the vocabulary, with shares of the text"
    )
    parser.add_argument(
        "--word",
        nargs="+",
        action="extend",
        default=[],
        metavar="WORD",
        help="tell how frequent words are, and how often subsampling keeps them and negative samples are drawn of them",
    )
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="tell how much of the text the most frequent words make up, for vocabularies of several sizes",
    )
    parser.add_argument(
        "--skip_grams",
        metavar="WORD",
        help="read all shards, and tell in which the word is, and how often as a target, as a context word and as a "
        "negative sample",
    )
    parser.add_argument(
        "--limit",
        type=int,
        default=_EXAMPLES,
        metavar="N",
        help=f"print so many of the places that --skip_grams finds, with the words around (default: {_EXAMPLES})",
    )
    parser.add_argument("--json", action="store_true", help="print the answers as one JSON object")
    args = parser.parse_args(argv)
    for name, lowest in (("examples", 1), ("vocabulary", 1), ("limit", 0)):
        value = getattr(args, name)
        if value is not None and value < lowest:
            raise UserError(f"--{name} {value}: expected {lowest} or more")
    args.dataset = _in_utf8(args.dataset, "as TensorFlow has it")
    args.word = [_in_utf8(word, "as the vocabulary has it", "--word ") for word in args.word]
    if args.skip_grams is not None:
        args.skip_grams = _in_utf8(args.skip_grams, "as the vocabulary has it", "--skip_grams ")
    return args


def _in_utf8(argument: str, why: str, flag: str = "") -> str:
    """An argument whose bytes are UTF-8, though the locale may have another encoding."""
    try:
        return os.fsencode(argument).decode()
    except UnicodeDecodeError as error:
        what = "text" if flag else "a path"
        raise UserError(f"{flag}{argument!r} is not UTF-8: expected {what} in this encoding, {why}") from error


def command() -> int:
    """Runs the command with the arguments of this process, and returns the exit code."""
    interrupt.install(program(_COMMAND))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the terminal may not have all characters
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(command())
