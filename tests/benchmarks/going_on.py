"""How good a model is that goes on with new text, beside one that is trained again on all of it.

    python -m tests.benchmarks.going_on --corpus english.txt

The lines of the corpus are shuffled and divided: the first part, by default 80 %, and the rest. For each seed it
trains a model on the first part, lets it go on with the rest (the pipeline's `--vocabulary --grow_vocabulary`, the
trainer's `--init`), and trains another on all of the text. It prints the seconds of each, the scores on WordSim-353,
SimLex-999 and analogies, which come with gensim, and how many of a word's 10 nearest words are still among them.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.benchmarks.processes import run_pipeline, run_trainer, say
from trainer import word2vec_format, word_tasks
from trainer.console import Parser, run
from trainer.errors import UserError

_WORDS_COMPARED = 2000  # the most frequent ones, whose neighbours are compared
_NEIGHBOURS = 10


def divided(corpus: Path, share: float, folder: Path, keeps_order: bool) -> dict[str, Path]:
    """Divides the lines of a text into a first part and the rest, each of which is written to a file.

    Args:
        corpus: the text.
        share: how much of the lines the first part has.
        folder: where to write the files.
        keeps_order: whether the lines stay in their order; if not, they are shuffled first.

    Returns:
        By "first", "rest" and "all", the paths of the files.
    """
    lines = corpus.read_bytes().splitlines(keepends=True)
    if not keeps_order:
        random.Random(0).shuffle(lines)
    middle = int(len(lines) * share)
    paths = {}
    for name, part in (("first", lines[:middle]), ("rest", lines[middle:]), ("all", lines)):
        paths[name] = folder / f"{name}.txt"
        paths[name].write_bytes(b"".join(part))
    return paths


def scores(model: Path) -> dict[str, float]:
    """The scores of a model's vectors, and their mean."""
    from gensim.test.utils import datapath

    vectors = word2vec_format.load(str(model / "vectors.bin"))
    found = {
        "wordsim353": word_tasks.word_pairs(vectors, datapath("wordsim353.tsv")).value,
        "simlex999": word_tasks.word_pairs(vectors, datapath("simlex999.txt")).value,
        "analogies": word_tasks.analogies(vectors, datapath("questions-words.txt")).value,
    }
    return {**found, "mean": statistics.fmean(found.values())}


def kept_neighbours(before: Path, after: Path) -> float:
    """The share of the nearest words of a frequent word that a model still has, among the words that both have."""
    models = [word2vec_format.load(str(model / "vectors.bin")) for model in (before, after)]
    words = [word for word in models[0].words if word in models[1].index]
    nearest = []
    for model in models:
        unit = model.unit_vectors[[model.index[word] for word in words]]
        cosines = unit[:_WORDS_COMPARED] @ unit.T
        np.fill_diagonal(cosines, -np.inf)
        nearest.append(np.argpartition(-cosines, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS])
    return statistics.fmean(
        len({*one} & {*other}) / _NEIGHBOURS for one, other in zip(*(each.tolist() for each in nearest), strict=True)
    )


def measure(args: argparse.Namespace, texts: dict[str, Path], folder: Path, seed: int) -> dict[str, dict]:
    """Trains the three models of a seed. Returns by name what is known of each."""
    results: dict[str, dict] = {}

    def made(name: str, text: str, pipeline_flags: Sequence[str], trainer_flags: Sequence[str]) -> None:
        data, model = folder / f"{name}-{seed}.data", folder / f"{name}-{seed}"
        pipe = run_pipeline(texts[text], data, f"--seed={seed}", *pipeline_flags)
        train = run_trainer(data, model, f"--seed={seed}", "--exports=vectors.bin", *trainer_flags)
        results[name] = {
            "pipeline_seconds": pipe["seconds"],
            "trainer_seconds": train["seconds"],
            "train_seconds": train["train_seconds"],
            "words": pipe["words"],
            "init": train.get("init", {}),
            **scores(model),
        }
        say(f"seed {seed}, {name}: {json.dumps(results[name])}")

    first = folder / f"first-{seed}"
    given = [f"--vocabulary={first}.data", "--grow_vocabulary", f"--passes={args.passes}"]
    rate = f"--learning_rate={args.learning_rate}"
    made("first", "first", [], [])
    made("goes on", "rest", given, [f"--init={first}", f"--epochs={args.epochs}", rate])
    made("again", "all", [], [])
    for name in ("goes on", "again"):
        results[name]["kept_neighbours"] = kept_neighbours(first, folder / f"{name}-{seed}")
    return results


def table(rounds: Sequence[dict[str, dict]]) -> str:
    """The means of the rounds, a line for each model."""
    names = ("pipeline_seconds", "train_seconds", "wordsim353", "simlex999", "analogies", "mean", "kept_neighbours")
    lines = [f"{'':<8}" + "".join(f"{name:>18}" for name in names)]
    for model in rounds[0]:
        means = [statistics.fmean(each[model].get(name, float("nan")) for each in rounds) for name in names]
        lines.append(f"{model:<8}" + "".join(f"{mean:>18.3f}" for mean in means))
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """The command."""
    parser = Parser(
        prog="python -m tests.benchmarks.going_on",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--corpus", required=True, metavar="FILE", help="UTF-8 text, one sentence a line")
    add("--share", type=float, default=0.8, metavar="S", help="how much of the lines the first part has (0.8)")
    add("--keep_order", action="store_true", help="do not shuffle the lines")
    add("--passes", type=int, default=5, metavar="N", help="--passes of the pipeline for the rest (5)")
    add("--epochs", type=int, default=1, metavar="N", help="--epochs of the trainer for the rest (1)")
    add("--learning_rate", type=float, default=0.05, metavar="R", help="the rate for the rest (0.05)")
    add("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="N", help="run all once with each of these seeds")
    add("--output", default="going_on.json", metavar="FILE", help="the JSON file to write all figures to")
    args = parser.parse_args(argv)
    if not 0 < args.share < 1:
        raise UserError(f"--share {args.share}: expected a number between 0 and 1")
    with tempfile.TemporaryDirectory() as folder:
        texts = divided(Path(args.corpus), args.share, Path(folder), args.keep_order)
        rounds = [measure(args, texts, Path(folder), seed) for seed in args.seeds]
    Path(args.output).write_text(json.dumps({"settings": vars(args), "rounds": rounds}, indent=1) + "\n")
    print(table(rounds))


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:], "python -m tests.benchmarks.going_on"))
