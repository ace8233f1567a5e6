"""The commands that measure this project alone on one device: what each of them runs, and the table of its results.

Each function takes the command's flags and an empty directory. It returns the figures of the table, and the figures of
every single run.
"""

import argparse
import os
import shutil
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks.processes import call, run_pipeline, run_trainer, say
from tests.benchmarks.report import Figure, Target, ratio
from trainer.errors import UserError


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
            say(f"run {number}, {times} times the text: {runs[-1]['words']:,} words in {runs[-1]['seconds']:.1f} s")
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
    settings = {"small": small, "large": large, "runs": args.runs, "trainer_flags": args.trainer_flags}
    runs, process = call("parts", "time_steps", data=str(data), **settings)
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
        say(f"run {number}: {stream['batches_per_second']:,.0f} batches/s alone, {steps:,.0f} steps/s in training")
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
