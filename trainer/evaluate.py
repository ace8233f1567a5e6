"""python -m trainer.evaluate MODEL... --holdout DATASET --sessions FILE --word_pairs FILE... --analogies FILE

Tells how good models are: on sessions that they were not trained on (the next-item task), on word similarity and on
analogies. Several models are compared with the first.
"""

import dataclasses
import json
import math
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer import limits
from trainer.comparison import CONTEXT, Comparison, Material, Model, Result, compare, places_by_count, text_sessions
from trainer.console import Parser, importing, run
from trainer.dataset_layout import FIRST_WORD_ID
from trainer.errors import UserError
from trainer.files import needs_tensorflow, open_file
from trainer.model_files import load_model
from trainer.word_tasks import MOST_FREQUENT, Score, analogies, word_pairs

if TYPE_CHECKING:
    from trainer.dataset import Dataset

_MAX_SESSIONS = 20_000
_LARGEST_K = 1000


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    args = _parser().parse_args(argv)
    names = [*args.models, *args.vectors]
    _check(args, names)
    files = [*names, *args.word_pairs, *args.analogies, *args.sessions, *args.json]
    if args.holdout or any(map(needs_tensorflow, files)):
        limits.check_addresses("TensorFlow, which reads remote files,")
        with importing():
            import tensorflow  # noqa: F401  reading the files needs it; imported here, it prints nothing
    models = [load_model(name) for name in names]
    report: dict[str, Any] = {"models": names}
    reasons: list[str] = []
    for model in models:
        _score_words(model, len(models) > 1, args, report, reasons)
    for material in _materials(args):
        comparison = compare(models, material, args.k, args.next, args.history, args.repeats)
        _print(material, comparison, args)
        report.setdefault("next_item", []).append({"sessions_of": material.name, **dataclasses.asdict(comparison)})
    for path in args.json:
        _write_json(path, report)
    if reasons:
        raise UserError("; ".join(reasons))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m trainer.evaluate",
        description="Tells how good models are, and compares them. A higher score is better; 1 is the best.",
    )
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="a model directory, or a file with word vectors in word2vec's or GloVe's formats, which gzip may have "
        "compressed; further models are compared with the first",
    )
    parser.add_argument("--vectors", nargs="+", action="extend", default=[], metavar="FILE", help="the same as MODEL")
    next_item = parser.add_argument_group("the next-item task")
    next_item.add_argument(
        "--holdout",
        nargs="+",
        action="extend",
        default=[],
        metavar="DATASET",
        help="datasets that the pipeline made with --holdout; their held-out lines are the sessions",
    )
    next_item.add_argument(
        "--sessions",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="text files with a session on each line, and white space between its items",
    )
    next_item.add_argument(
        "--k",
        type=_places,
        default=(10, 20),
        metavar="K,K",
        help="how many items are shown to a customer (default: 10,20)",
    )
    next_item.add_argument(
        "--next",
        type=int,
        default=1,
        metavar="N",
        help="how many of the last items of a session are the right answers (default: 1)",
    )
    next_item.add_argument(
        "--history",
        type=int,
        default=0,
        metavar="N",
        help="use only the last N items before them; 0 uses all (default: 0)",
    )
    next_item.add_argument(
        "--repeats",
        action="store_true",
        help="also rank the items that the session has had already, which are left out otherwise",
    )
    next_item.add_argument(
        "--max_sessions",
        type=int,
        default=_MAX_SESSIONS,
        metavar="N",
        help="take N sessions at most, a random choice that is always the same; 0 takes all "
        f"(default: {_MAX_SESSIONS})",
    )
    words = parser.add_argument_group("words")
    words.add_argument(
        "--word_pairs",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="files with people's ratings of the similarity of two words; a line is word<TAB>word<TAB>rating",
    )
    words.add_argument(
        "--analogies",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="files of analogies such as questions-words.txt; a line is four words, or a title after a colon",
    )
    words.add_argument(
        "--restrict_vocab",
        type=int,
        default=MOST_FREQUENT,
        metavar="N",
        help="use only the N most frequent words for analogies, in questions and as answers "
        f"(default: {MOST_FREQUENT})",
    )
    parser.add_argument(
        "--json", nargs=1, action="extend", default=[], metavar="FILE", help="also write all scores to a JSON file"
    )
    return parser


def _places(text: str) -> tuple[int, ...]:
    """The values of --k, which have commas between them.

    Raises:
        UserError: one of them is no whole number, or too small or too large.
    """
    if re.fullmatch(r"[0-9]+(,[0-9]+)*", text, re.ASCII):
        places = tuple(dict.fromkeys(map(int, text.split(","))))
        if all(1 <= place <= _LARGEST_K for place in places):
            return places
    raise UserError(f"--k {text}: expected whole numbers from 1 to {_LARGEST_K} with commas between them, as in 10,20")


def _check(args: Any, names: list[str]) -> None:
    """Raises UserError if a flag has a wrong value, or there is nothing to do."""
    if not names:
        raise UserError("no model is given: expected MODEL, a model directory or a file with word vectors")
    if len(set(names)) < len(names):
        raise UserError(f"{' '.join(names)}: expected each model once")
    if not (args.word_pairs or args.analogies or args.holdout or args.sessions):
        raise UserError(
            "nothing to score: give --holdout DATASET, --sessions FILE, --word_pairs FILE, --analogies FILE, or several"
        )
    for flag, value, low in (
        ("--restrict_vocab", args.restrict_vocab, 1),
        ("--next", args.next, 1),
        ("--history", args.history, 0),
        ("--max_sessions", args.max_sessions, 0),
    ):
        if value < low:
            raise UserError(f"{flag} {value}: expected {low} or more")


def _materials(args: Any) -> list[Material]:
    """The sessions that the flags name, which are read when their turn comes."""
    found = [text_sessions(path, args.max_sessions) for path in args.sessions]
    if args.holdout:
        from trainer.dataset import open_dataset

        found += [_held_out(open_dataset(path, "--holdout"), args.max_sessions) for path in args.holdout]
    return found


def _held_out(dataset: "Dataset", max_sessions: int) -> Material:
    """The held-out lines of a dataset."""
    from trainer.holdout import read_holdout

    if not any(file.lines for file in dataset.manifest.holdout):
        raise UserError(
            f"--holdout {dataset.directory} has no held-out lines: expected a dataset that the pipeline made with "
            "--holdout"
        )
    sessions = read_holdout(dataset, max_sessions)
    places = places_by_count(dataset.counts(), FIRST_WORD_ID)
    return Material(dataset.directory, dataset.words(), sessions, places, FIRST_WORD_ID - 1)


def _score_words(model: Model, is_one_of_several: bool, args: Any, report: dict[str, Any], reasons: list[str]) -> None:
    """Scores a model on word similarity and analogies, and prints the scores."""
    num_used = min(args.restrict_vocab, len(model.vectors.words))
    scores: list[tuple[str, str, int, Score]] = [
        ("word_pairs", "spearman", len(model.vectors.words), word_pairs(model.vectors, path))
        for path in args.word_pairs
    ]
    scores += [
        ("analogies", "accuracy", num_used, analogies(model.vectors, path, args.restrict_vocab))
        for path in args.analogies
    ]
    for task, measure, num_words, score in scores:
        if math.isnan(score.value):
            reasons.append(f"{score.path} has no score, since {score.reason(num_words)}")
            continue
        print(
            f"{score.name:<24} {measure} {score.value:.3f}  ({score.num_scored:,} scored, "
            f"{score.unknown_share:.1%} out of vocabulary)" + (f"  {model.name}" if is_one_of_several else "")
        )
        report.setdefault(task, []).append(
            {
                "model": model.name,
                "path": score.path,
                measure: score.value,
                "num_scored": score.num_scored,
                "num_unknown": score.num_unknown,
            }
        )


def _print(material: Material, comparison: Comparison, args: Any) -> None:
    """Prints the results as a table."""
    print(
        f"{material.name}: {comparison.questions:,} questions of {comparison.sessions:,} sessions, "
        f"{comparison.unknown_share:.1%} of whose items no model knows; in brackets: 95 % intervals"
    )
    shown = [name for name in ("hit_rate", "recall", "mrr", "ndcg") if name != "recall" or args.next > 1]
    lines = [*comparison.results, *comparison.differences]
    width = max(len(_title(each)) for each in lines)
    print(f"{'':<{width}}  {'k':>4}  " + "  ".join(f"{name:<26}" for name in shown).rstrip())
    for each in lines:
        sign = "+" if each.than else ""
        cells = [
            f"{estimate.value:{sign}.4f} ({estimate.low:{sign}.4f} to {estimate.high:{sign}.4f})"
            for estimate in (each.metrics[name] for name in shown)
        ]
        print(f"{_title(each):<{width}}  {each.k:>4}  " + "  ".join(f"{cell:<26}" for cell in cells).rstrip())
    without = sorted({each.model for each in lines if each.model} - {e.model for e in lines if e.score == CONTEXT})
    if without:
        print(f"without context vectors, and so without target-context scores: {', '.join(without)}")


def _title(result: Result) -> str:
    """What a line of the table is about."""
    if result.than:
        return f"{result.model} - {result.than}, {result.score}"
    return f"{result.model}, {result.score}" if result.model else result.score


def _write_json(path: str, report: dict[str, Any]) -> None:
    text = json.dumps(report, indent=2) + "\n"
    try:
        with open_file(path, "w") as file:
            file.write(text)
    except OSError as error:
        raise UserError(f"--json {path} cannot be written ({error.strerror}): expected a file in a folder") from error


def command() -> int:
    """Runs the command with the arguments of this process, and returns the exit code."""
    return run(main, sys.argv[1:], "python -m trainer.evaluate")


if __name__ == "__main__":
    sys.exit(command())
