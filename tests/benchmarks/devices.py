"""The command `devices`, which trains on several numbers of devices, and the table that it makes of the results."""

import argparse
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks.processes import call, run_pipeline, run_trainer, say
from tests.benchmarks.report import Figure
from trainer.errors import UserError
from trainer.manifest import Manifest, parse_manifest

_FLOAT32_BYTES = 4
_MOST_CPU_PROCESSES = 8  # unless the user says otherwise


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
            say(f"run {number}, {count} of {max(args.devices)}: {train['words_per_second']:,.0f} words/s")
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
