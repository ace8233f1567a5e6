"""The command `compare`, which runs this project and its peers in turn, and the table that it makes of the results.

The peers are gensim and, if the user has it, pWord2Vec.
"""

import argparse
import os
import shutil
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks import pword2vec
from tests.benchmarks.processes import call, run_pipeline, run_trainer, say
from tests.benchmarks.report import Figure, Target, ratio
from trainer.errors import UserError

# The same as the defaults of this project. The names are those of gensim's parameters.
SETTINGS = {"vector_size": 128, "window": 5, "min_count": 5, "negative": 5, "sample": 1e-3}
_TITLES = {"gensim": "gensim", "pword2vec": "pWord2Vec", "ours": "this project"}
_SCORES = {"wordsim353": "WordSim-353", "simlex999": "SimLex-999", "analogies": "analogies"}
_MANY_WORDS = 5_000_000  # the time of a shorter text is mostly start-up


def compare(args: argparse.Namespace, directory: Path) -> tuple[list[Figure], list[dict]]:
    """Runs gensim, pWord2Vec if it is given, and this project in turn on the same tokenised files.

    There is a round for each seed. It goes through the corpus, and then through its beginning if --first_words asks for
    that.
    """
    programs = {"gensim": _gensim, "ours": _ours}
    if args.pword2vec:
        programs = {"gensim": _gensim, "pword2vec": _pword2vec, "ours": _ours}
    texts = _tokenised(args, directory)
    rounds = []
    for number, seed in enumerate(args.seeds, start=1):
        for corpus, tokens in texts.items():
            folder = directory / "round"
            folder.mkdir()
            sides = {side: program(args, tokens, folder, seed) for side, program in programs.items()}
            for side, figures in sides.items():
                figures["scores"], _ = call("peers", "score", vectors=figures.pop("vectors"))
                say(
                    f"round {number}, {corpus}, {_TITLES[side]}: {figures['words_per_second']:,.0f} words/s, "
                    f"{figures['seconds']:.1f} s in all"
                )
            shutil.rmtree(folder)
            rounds.append({"seed": seed, "corpus": corpus, **sides})
    return [figure for corpus in texts for figure in comparison(rounds, corpus)], rounds


def _tokenised(args: argparse.Namespace, directory: Path) -> dict[str, Path]:
    """The tokenised corpora, by what the table calls them."""
    name, tokens = os.path.basename(args.corpus), directory / "corpus.tok"
    words = call("parts", "tokenize_file", source=args.corpus, output=str(tokens))[0]["words"]
    if not words:
        raise UserError(f"--corpus {args.corpus} holds no words")
    if not args.first_words:
        return {name: tokens}
    if args.first_words >= words:
        raise UserError(
            f"--first_words {args.first_words}: expected fewer than --corpus {args.corpus} has, which is {words:,}"
        )
    beginning = directory / "beginning.tok"
    cut(tokens, beginning, args.first_words)
    return {name: tokens, f"the first {args.first_words:,} words of {name}": beginning}


def cut(source: Path, output: Path, words: int) -> None:
    """Writes the first words of a text.

    Args:
        source: the text, with single spaces between words and no empty line.
        output: the file to write to.
        words: how many words to write. The last line may be a part of one.
    """
    with open(source, "rb") as text, open(output, "wb") as file:
        for line in text:
            line = line.split()[:words]
            file.write(b" ".join(line) + b"\n")
            words -= len(line)
            if not words:
                return


def _gensim(args: argparse.Namespace, tokens: Path, folder: Path, seed: int) -> dict:
    vectors = str(folder / "gensim.bin")
    flags = {"epochs": args.epochs, "workers": args.workers, "seed": seed, "settings": SETTINGS}
    figures, process = call("peers", "train", corpus=str(tokens), output=vectors, **flags)
    return {**process, **figures, "vectors": vectors}


def _pword2vec(args: argparse.Namespace, tokens: Path, folder: Path, seed: int) -> dict:
    return pword2vec.train(args.pword2vec, tokens, folder / "pword2vec.bin", args.epochs, args.workers, SETTINGS)


def _ours(args: argparse.Namespace, tokens: Path, folder: Path, seed: int) -> dict:
    data, model = folder / "data", folder / "model"
    pipe = run_pipeline(tokens, data, "--tokenizer=whitespace", f"--seed={seed}", more=args.pipeline_flags)
    train = run_trainer(data, model, f"--epochs={args.epochs}", f"--seed={seed}", more=args.trainer_flags)
    return {
        "seconds": pipe["seconds"] + train["seconds"],
        "peak_bytes": max(pipe["peak_bytes"], train["peak_bytes"]),
        "words_per_second": train["words_per_second"],
        "words": pipe["words"],
        "vocab_size": pipe["vocab_size"],
        "pipeline": pipe,
        "trainer": train,
        "vectors": str(model / "vectors.bin"),
    }


def comparison(rounds: Sequence[dict], corpus: str) -> list[Figure]:
    """The part of compare's table that is about one corpus.

    The figures of speed and quality come first, with a column for each program. What this project has in comparison
    with each peer follows, round by round, beside its target.

    Args:
        rounds: the rounds of all corpora.
        corpus: what the table calls the corpus.
    """
    rounds = [figures for figures in rounds if figures["corpus"] == corpus]
    sides = [side for side in _TITLES if side in rounds[0]]

    def each(value: Callable[[dict], float]) -> dict[str, list[float]]:
        return {side: [value(figures[side]) for figures in rounds] for side in sides}

    def line(name: str, values: dict[str, list[float]], form: str = ",.0f", middle=statistics.median) -> Figure:
        return Figure(name, {_TITLES[side]: runs for side, runs in values.items()}, form, None, middle, corpus)

    words = each(lambda r: r["words"])
    rates, seconds = each(lambda r: r["words_per_second"]), each(lambda r: r["seconds"])
    scores = {name: each(lambda r, name=name: r["scores"][name]) for name in [*_SCORES, "mean"]}
    compared = []
    for peer in sides[:-1]:
        targets = _targets(peer, min(words["ours"]) >= _MANY_WORDS, rates, seconds, scores)
        compared += [Figure(name, {}, target=target, corpus=corpus) for name, target in targets.items()]
    return [
        line("words", words),
        line("vocabulary", each(lambda r: r["vocab_size"])),
        line("training, words/s", rates),
        line("text to vectors, s", seconds, ".1f"),
        line("peak memory, MB", each(lambda r: r["peak_bytes"] / 1e6)),
        *(line(f"{title}, mean", scores[name], ".3f", statistics.fmean) for name, title in _SCORES.items()),
        line("all three, mean", scores["mean"], ".3f", statistics.fmean),
        *compared,
    ]


def _targets(peer: str, is_long: bool, rates: dict, seconds: dict, scores: dict[str, dict]) -> dict[str, Target]:
    """What this project has in comparison with a peer, by its line in the table.

    Args:
        peer: gensim or pword2vec.
        is_long: whether the corpus has many words.
        rates, seconds: the figures of each program.
        scores: the scores of each program, by test set.
    """
    title = _TITLES[peer]
    gains = {
        name: [ours - theirs for theirs, ours in zip(score[peer], score["ours"], strict=True)]
        for name, score in scores.items()
    }

    def gain(name: str, least: float | None) -> Target:
        # The scores of one seed scatter by more than the targets allow, so they count by their mean over the seeds.
        return Target(f"{name}_gain/{peer}", ">=", least, statistics.fmean(gains[name]), gains[name], "+.3f")

    fastest, longest = (5.0, 0.35 if is_long else 0.6) if peer == "gensim" else (1.5, 1.0 if is_long else None)
    targets = {
        f"training, times {title}'s words/s": ratio(f"training/{peer}", ">=", fastest, rates["ours"], rates[peer]),
        f"text to vectors, times {title}'s s": ratio(
            f"text_to_vectors/{peer}", "<=", longest, seconds["ours"], seconds[peer]
        ),
        f"all three, more than {title}": gain("mean", 0.01 if peer == "gensim" else None),
    }
    if peer == "pword2vec":
        return {**targets, f"SimLex-999, more than {title}": gain("simlex999", -0.005)}
    lowest = min(_SCORES, key=lambda name: statistics.fmean(gains[name]))
    by_seed = [min(gain) for gain in zip(*(gains[name] for name in _SCORES), strict=True)]
    no_worse = Target(f"lowest_gain/{peer}", ">=", -0.01, statistics.fmean(gains[lowest]), by_seed, "+.3f")
    return {**targets, f"the lowest of the three, more than {title}": no_worse}
