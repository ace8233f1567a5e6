"""The commands of the benchmark: what each of them runs, and the table that it makes of the results.

Each function takes the command's flags and an empty directory. It returns the figures of the table, and the figures of
every single run.
"""

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks.processes import call, run_pipeline, run_trainer
from tests.benchmarks.report import Figure, Target, ratio
from trainer.errors import UserError
from trainer.manifest import Manifest, parse_manifest

_FLOAT32_BYTES = 4
_MOST_CPU_PROCESSES = 8  # unless the user says otherwise
_SCORES = {"wordsim353": "WordSim-353", "simlex999": "SimLex-999", "analogies": "analogies"}


def compare(args: argparse.Namespace, directory: Path) -> tuple[list[Figure], list[dict]]:
    """Runs gensim and this project in turn on the same tokenised file, one round for each seed."""
    tokens = directory / "corpus.tok"
    tokenised, _ = call("parts", "tokenize_file", source=args.corpus, output=str(tokens))
    if not tokenised["words"]:
        raise UserError(f"--corpus {args.corpus} holds no words")
    rounds = []
    for number, seed in enumerate(args.seeds, start=1):
        folder = directory / str(number)
        folder.mkdir()
        both = {"gensim": _gensim(args, tokens, folder, seed), "ours": _ours(args, tokens, folder, seed)}
        for name, figures in both.items():
            figures["scores"], _ = call("peers", "score", vectors=figures.pop("vectors"))
            _say(
                f"round {number}, {name}: {figures['words_per_second']:,.0f} words/s, {figures['seconds']:.1f} s in all"
            )
        shutil.rmtree(folder)
        rounds.append({"seed": seed, **both})
    return comparison(rounds), rounds


def _gensim(args: argparse.Namespace, tokens: Path, folder: Path, seed: int) -> dict:
    vectors = str(folder / "gensim.bin")
    flags = {"epochs": args.epochs, "workers": args.workers, "seed": seed}
    figures, process = call("peers", "train", corpus=str(tokens), output=vectors, **flags)
    return {**process, **figures, "vectors": vectors}


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


def comparison(rounds: Sequence[dict]) -> list[Figure]:
    """The table of compare: targets 1 (training), 2 (text to vectors) and 4 (quality)."""

    def both(value: Callable[[dict], float]) -> dict[str, list[float]]:
        return {side: [value(figures[side]) for figures in rounds] for side in ("gensim", "ours")}

    rates, seconds = both(lambda r: r["words_per_second"]), both(lambda r: r["seconds"])
    scores = {name: both(lambda r, name=name: r["scores"][name]) for name in [*_SCORES, "mean"]}
    gains = {
        name: [ours - gensim for gensim, ours in zip(score["gensim"], score["ours"], strict=True)]
        for name, score in scores.items()
    }
    faster = ratio("training", ">=", 2.0, rates["ours"], rates["gensim"])
    sooner = ratio("text_to_vectors", "<=", 0.55, seconds["ours"], seconds["gensim"])
    better = Target("mean_score_gain", ">=", 0.01, statistics.fmean(gains["mean"]), gains["mean"], "+.3f")
    # The scores of one seed scatter by more than the target allows, so each test set counts by its mean over the seeds.
    lowest = min(statistics.fmean(gains[name]) for name in _SCORES)
    lowest_by_seed = [min(gain) for gain in zip(*(gains[name] for name in _SCORES), strict=True)]
    no_worse = Target("lowest_score_gain", ">=", -0.01, lowest, lowest_by_seed, "+.3f")
    mean = statistics.fmean
    return [
        Figure("words", both(lambda r: r["words"])),
        Figure("vocabulary", both(lambda r: r["vocab_size"])),
        Figure("training, words/s", rates, target=faster),
        Figure("text to vectors, s", seconds, ".1f", sooner),
        Figure("peak memory, MB", both(lambda r: r["peak_bytes"] / 1e6)),
        *(Figure(f"{title}, mean", scores[name], ".3f", middle=mean) for name, title in _SCORES.items()),
        Figure("all three, mean; gain", scores["mean"], ".3f", better, mean),
        Figure("lowest gain of the three", {}, target=no_worse),
    ]


def pipeline(args: argparse.Namespace, directory: Path) -> tuple[list[Figure], list[dict]]:
    """Runs the pipeline alone, with one pass, on the text repeated several times."""

    def once(times, *flags):
        # Each word is `times` times as frequent, and so is min_count. The vocabulary therefore stays the same.
        flags = [f"--min_count={args.min_count * times}", *flags]
        figures = run_pipeline(texts[times], directory / "data", *flags, more=args.pipeline_flags)
        shutil.rmtree(directory / "data")
        return figures

    sizes = sorted(set(args.times))
    texts = {times: directory / f"{times}.txt" for times in sizes}
    for times, path in texts.items():
        _repeat(args.corpus, path, times)
    runs = []
    for number in range(1, args.runs + 1):
        for times in sizes:
            runs.append({"run": number, "times": times, **once(times, f"--seed={number}")})
            _say(f"run {number}, {times} times the text: {runs[-1]['words']:,} words in {runs[-1]['seconds']:.1f} s")
    plain = once(sizes[0], "--compression=none")
    return growth(runs, plain), [*runs, {"times": sizes[0], "compression": "none", **plain}]


def growth(runs: Sequence[dict], plain: dict) -> list[Figure]:
    """The table of pipeline: targets 3 (speed, and how time and memory grow) and 6 (bytes on disk).

    Args:
        runs: the figures of runs with the default settings, equally many for each text.
        plain: the figures of a run with --compression none.
    """

    def by_text(value: Callable[[dict], float]) -> dict[str, list[float]]:
        return {f"{n} x": [value(r) for r in runs if r["times"] == n] for n in sorted({r["times"] for r in runs})}

    words, seconds = by_text(lambda r: r["words"]), by_text(lambda r: r["seconds"])
    rates = by_text(lambda r: r["words"] / r["seconds"])
    memory = by_text(lambda r: r["peak_bytes"] / 1e6)
    size = by_text(lambda r: r["bytes_per_skip_gram"])
    columns = list(words)
    # The start-up would hide growth in the time per word, so this takes the time of the words that a longer text adds.
    added = {
        column: [
            1e9 * (s - s_before) / (w - w_before)
            for s, s_before, w, w_before in zip(
                seconds[column], seconds[before], words[column], words[before], strict=True
            )
        ]
        for before, column in zip(columns, columns[1:], strict=False)
    }
    slowest = min(rates.values(), key=statistics.median)
    sizes = [figure for figures in size.values() for figure in figures]
    linear = ratio("time_linear", "<=", 1.1, added[columns[-1]], added[columns[1]]) if len(columns) > 2 else None
    flat = ratio("memory_flat", "<=", 1.1, memory[columns[-1]], memory[columns[0]]) if len(columns) > 1 else None
    plain_size = plain["bytes_per_skip_gram"]
    return [
        Figure("words", words),
        Figure("vocabulary", by_text(lambda r: r["vocab_size"])),
        Figure("seconds, with start-up", seconds, ".1f"),
        Figure(
            "words/s; the lowest",
            rates,
            target=Target("pipeline", ">=", 500_000, statistics.median(slowest), slowest, ",.0f"),
        ),
        Figure("ns per word", by_text(lambda r: 1e9 * r["seconds"] / r["words"])),
        Figure("ns per word added; last to first", added, target=linear),
        Figure("peak memory, MB; last to first", memory, target=flat),
        Figure("bytes of memory per word", by_text(lambda r: r["peak_bytes"] / r["words"]), ".1f"),
        Figure(
            "bytes per skip-gram; the most",
            size,
            ".2f",
            Target("bytes_per_skip_gram", "<=", 2.6, max(sizes), sizes),
        ),
        Figure(
            "the same, --compression none",
            {columns[0]: [plain_size]},
            ".2f",
            Target("bytes_per_skip_gram_uncompressed", "<=", 3.4, plain_size, [plain_size]),
        ),
    ]


def step(args: argparse.Namespace, directory: Path) -> tuple[list[Figure], list[dict]]:
    """Times the training step with tables of two sizes. This is the first half of target 5."""
    small, large = args.vocab_sizes
    if not 3 < small <= large:
        raise UserError(f"--vocab_sizes {small} {large}: expected two numbers above 3, the smaller first")
    text, data = directory / "zipf.txt", directory / "data"
    call("parts", "write_zipf_text", output=str(text), num_distinct=small - 2, num_words=args.words)  # [PAD], [UNK]
    run_pipeline(text, data, "--tokenizer=whitespace", "--min_count=1", more=args.pipeline_flags)
    runs, process = call("parts", "time_steps", data=str(data), small=small, large=large, runs=args.runs)
    times = {name: [1e3 * figures[name] for figures in runs] for name in runs[0]}
    columns = [f"{size:,} words" for size in (small, large)]
    figures = [
        Figure(
            "step, ms; the same rows",
            dict(zip(columns, (times["small"], times["large"]), strict=True)),
            ".3f",
            ratio("step", "<=", 1.15, times["large"], times["small"]),
        ),
        Figure(
            "step, ms; rows far apart",
            {columns[1]: times["large_spread"]},
            ".3f",
            ratio("step_spread", "<=", 1.15, times["large_spread"], times["small"]),
        ),
    ]
    return figures, [{"seconds_per_step": runs, "process": process}]


def input_stream(args: argparse.Namespace, directory: Path) -> tuple[list[Figure], list[dict]]:
    """Times the trainer's input alone, and the whole training. This is the second half of target 5."""
    data, model = directory / "data", directory / "model"
    run_pipeline(args.corpus, data, more=args.pipeline_flags)
    runs = []
    for number in range(1, args.runs + 1):
        train = run_trainer(data, model, f"--epochs={args.epochs}", f"--seed={number}", more=args.trainer_flags)
        shutil.rmtree(model)
        batch_size = train["config"]["batch_size"]
        stream, _ = call("parts", "read_epoch", data=str(data), batch_size=batch_size, seed=number)
        steps = train["steps_per_epoch"] * train["skip_grams_per_second"] / train["skip_grams_per_epoch"]
        runs.append({"run": number, "steps_per_second": steps, "trainer": train, "stream": stream})
        _say(f"run {number}: {stream['batches_per_second']:,.0f} batches/s alone, {steps:,.0f} steps/s in training")
    alone, training = [r["stream"]["batches_per_second"] for r in runs], [r["steps_per_second"] for r in runs]
    waiting = [100 * r["trainer"]["input_wait_fraction"] for r in runs]
    idle = Target("input_wait_percent", "<=", 2, statistics.median(waiting), waiting)
    figures = [
        Figure(
            "batches/s", {"input alone": alone, "training": training}, target=ratio("input", ">=", 10, alone, training)
        ),
        Figure("waiting for input, %", {"training": waiting}, ".2f", idle),
    ]
    return figures, runs


def gpus() -> list[str]:
    """The names of the GPUs that TensorFlow can use. If there are none, all programs are told to use the CPU."""
    names, _ = call("parts", "gpu_names")
    if not names:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    return names


def device_numbers(asked: Sequence[int] | None, num_gpus: int, cores: int) -> list[int]:
    """On how many devices `devices` trains: the numbers that were asked for, or 1, 2, 4 and so on up to all.

    Args:
        asked: the numbers that were asked for, if any.
        num_gpus: how many GPUs there are. If there are none, every device is a process on the CPU.
        cores: the cores of the CPU.

    Raises:
        UserError: there are not so many GPUs.
    """
    if asked and num_gpus and max(asked) > num_gpus:
        raise UserError(
            f"--devices {max(asked)}: TensorFlow finds {num_gpus} GPU{'s' if num_gpus > 1 else ''} on this machine: "
            "expected at most as many"
        )
    available = num_gpus or min(cores, _MOST_CPU_PROCESSES)
    powers = [1 << power for power in range(available.bit_length())]
    return sorted({*(asked or [*powers, available])})


def reduced_bytes(manifest: Manifest, batch_size: int, optimizer: str) -> int:
    """How many bytes each of the processes that train together gives to the sums over all of them, in one step.

    A batch has B examples. Each has S targets, and each target is compared with R words: in a block, these are its
    S + 2w tokens and N negative samples; in a pair, S is 1 and R is 1 + K. What is added up are float32 numbers, of 4
    bytes each:

        4 x B x S x R       for the products of targets and words, whose sums are the logits
        4 x B x (S + R)     for the mean square of each gradient of a row, with --optimizer rowwise_adagrad only

    A row that occurs several times in a batch has as many gradients. Over a network, a ring of n processes sends
    2 (n - 1) / n times as many bytes from each of them.

    Args:
        manifest: the manifest of the dataset.
        batch_size: B.
        optimizer: the trainer's --optimizer.
    """
    targets, words = _sizes(manifest)
    numbers = targets * words + (targets + words if optimizer == "rowwise_adagrad" else 0)
    return _FLOAT32_BYTES * batch_size * numbers


def _sizes(manifest: Manifest) -> tuple[int, int]:
    """The number S of targets in an example, and the number R of words that each of them is compared with."""
    shapes = {field.name: field.shape for field in manifest.fields}
    if manifest.example_format == "blocks":
        return shapes["left"][0], shapes["tokens"][0] + shapes["negatives"][0]
    return 1, shapes["context"][0]


def devices(args: argparse.Namespace, directory: Path) -> tuple[list[Figure], list[dict]]:
    """Trains on the numbers of devices in args.devices in turn, on a text or on made-up words."""
    text, data, model = args.corpus or directory / "zipf.txt", directory / "data", directory / "model"
    flags = []
    if not args.corpus:
        words = {"num_distinct": args.vocab_size - 2, "num_words": args.words}  # [PAD], [UNK]
        call("parts", "write_zipf_text", output=str(text), **words)
        flags = ["--tokenizer=whitespace", "--min_count=1"]
    run_pipeline(text, data, *flags, more=args.pipeline_flags)
    manifest = parse_manifest((data / "manifest.json").read_text(), str(data / "manifest.json"))
    runs = []
    for number in range(1, args.runs + 1):
        for count in args.devices:
            flags = [f"--{name}={getattr(args, name)}" for name in ("epochs", "embedding_dim")]
            flags += [f"--seed={number}", f"--devices={count}"]
            train = run_trainer(data, model, *flags, more=args.trainer_flags, largest=count)
            shutil.rmtree(model)
            batch_size, optimizer = train["config"]["batch_size"], train["config"]["optimizer"]
            figures = {
                "targets_per_step": batch_size * _sizes(manifest)[0],
                "reduced_bytes_per_step": reduced_bytes(manifest, batch_size, optimizer) if count > 1 else 0,
            }
            runs.append({"run": number, "devices": count, **figures, "trainer": train})
            _say(f"run {number}, {count} of {max(args.devices)}: {train['words_per_second']:,.0f} words/s")
    return scaling(runs, "GPU" if args.gpus else "CPU process"), runs


def scaling(runs: Sequence[dict], device: str) -> list[Figure]:
    """The table of devices.

    Args:
        runs: the figures of runs, equally many for each number of devices.
        device: what the table calls a device.
    """
    titles = {n: f"{n} x {device}" for n in sorted({run["devices"] for run in runs})}

    def by_devices(value: Callable[[dict], float]) -> dict[str, list[float]]:
        return {title: [value(run) for run in runs if run["devices"] == n] for n, title in titles.items()}

    def steps(run: dict) -> float:
        train = run["trainer"]
        return train["steps_per_epoch"] * train["skip_grams_per_second"] / train["skip_grams_per_epoch"]

    rates = by_devices(lambda run: run["trainer"]["words_per_second"])
    first = next(iter(rates))
    gains = {title: [a / b for a, b in zip(rates[title], rates[first], strict=True)] for title in rates}
    return [
        Figure("words/s", rates),
        Figure(f"times the words/s of {first}", gains, ".2f"),
        Figure("skip-grams/s", by_devices(lambda run: run["trainer"]["skip_grams_per_second"])),
        Figure("steps/s", by_devices(steps), ".1f"),
        Figure("targets in a step", by_devices(lambda run: run["targets_per_step"])),
        Figure("bytes added up in a step", by_devices(lambda run: run["reduced_bytes_per_step"])),
        Figure(
            "MB added up in a second", by_devices(lambda run: run["reduced_bytes_per_step"] * steps(run) / 1e6), ".1f"
        ),
        Figure(
            "waiting for input, %; the longest",
            by_devices(lambda run: 100 * max(each["input_wait_fraction"] for each in run["trainer"]["processes"])),
            ".2f",
        ),
        Figure(
            "peak memory, MB; the largest process",
            by_devices(lambda run: max(run["trainer"]["peak_bytes_of_each"]) / 1e6),
        ),
        Figure(
            "peak memory, MB; all processes", by_devices(lambda run: sum(run["trainer"]["peak_bytes_of_each"]) / 1e6)
        ),
        Figure("loss after the last epoch", by_devices(lambda run: run["trainer"]["loss"][-1]), ".4f"),
    ]


def _repeat(source: str, path: Path, times: int) -> None:
    """Writes a text `times` times, each time with a newline at its end."""
    with open(source, "rb") as text:
        text.seek(-1, os.SEEK_END)
        end = b"" if text.read() == b"\n" else b"\n"
        with open(path, "wb") as file:
            for _ in range(times):
                text.seek(0)
                shutil.copyfileobj(text, file, 1 << 20)
                file.write(end)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
