"""Starts processes one after the other, and measures their time and memory."""

import contextlib
import dataclasses
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from trainer import task
from trainer.config import TrainerConfig
from trainer.errors import UserError

_ROOT = Path(__file__).parent.parent.parent
_SECONDS_BETWEEN_LOOKS = 0.2


@dataclasses.dataclass(frozen=True)
class Ended:
    """A process that has ended: its exit status, what it printed, what it wrote to stderr, and figures."""

    code: int
    output: str
    errors: str
    figures: dict


def execute(command: Sequence[str], folder: Path, largest: int = 0) -> Ended:
    """Runs a command to its end.

    Args:
        command: the program and its arguments.
        folder: the working directory.
        largest: of how many processes to measure the memory one by one. They are those that use the most of it, among
            the process that is started and all that it starts. With 0, this is not measured.

    Returns:
        What became of it, with two figures. `seconds` is the time from its start to its end. `peak_bytes` is the
        largest resident set that it, or one of the processes that it started, ever had. Linux includes the resident set
        of the process that calls this function, so that one should be small. If `largest` is given,
        `peak_bytes_of_each` lists the largest resident set of each of so many processes. It is looked up five times a
        second, so memory that a process takes just before it ends may be missed, and `seconds` may be a fifth of a
        second too long.
    """
    with (
        tempfile.TemporaryFile("w+", errors="replace") as output,
        tempfile.TemporaryFile("w+", errors="replace") as errors,
    ):
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        try:
            peaks: dict[int, int] = {}
            ended, status, usage = os.wait4(process.pid, os.WNOHANG if largest else 0)
            while not ended:
                _look(process.pid, peaks)
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        figures = {"seconds": seconds, "peak_bytes": peak_bytes}
        if largest:
            figures["peak_bytes_of_each"] = sorted(peaks.values(), reverse=True)[:largest]
        output.seek(0)
        errors.seek(0)
        return Ended(process.returncode, output.read(), errors.read(), figures)


def run(module: str, *args: str | Path, largest: int = 0) -> tuple[str, dict]:
    """Runs `python -m module args`.

    Args:
        module: the module.
        args: its arguments.
        largest: as in `execute`.

    Returns:
        What it printed, and the figures of `execute`.

    Raises:
        UserError: the process failed. The message has the last lines that it wrote to stderr.
    """
    ended = execute([sys.executable, "-m", module, *map(str, args)], _ROOT, largest)
    if ended.code:
        last_lines = "\n".join(ended.errors.strip().splitlines()[-20:])
        raise UserError(f"python -m {module} ended with {ended.code}: {last_lines}")
    return ended.output, ended.figures


def _look(pid: int, peaks: dict[int, int]) -> None:
    """Brings the largest resident sets, by id, of a process and of all that it started up to date."""
    with contextlib.suppress(psutil.Error, OSError):  # one of them has ended meanwhile
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            peaks[each.pid] = max(peaks.get(each.pid, 0), _resident_bytes(each))


def _resident_bytes(process: psutil.Process) -> int:
    """The largest resident set that a process ever had; where the system does not tell that, the present one."""
    if sys.platform == "linux":
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return process.memory_info().rss


def call(module: str, function: str, **arguments) -> tuple[dict | list, dict]:
    """Calls a function of a module of this package in a new process. Returns its result and the figures of `run`."""
    output, process = run(f"tests.benchmarks.{module}", function, json.dumps(arguments))
    return json.loads(output.splitlines()[-1]), process


def run_pipeline(text: str | Path, data: Path, *flags: str, more: str = "") -> dict:
    """Runs our pipeline as a user does.

    Args:
        text: the value of --input.
        data: the value of --output.
        flags: further flags.
        more: further flags, in one string.

    Returns:
        The figures of `run`, and from the manifest words, vocab_size (without [PAD] and [UNK]), skip_grams and
        bytes_per_skip_gram.
    """
    _, process = run("pipeline", "--input", text, "--output", data, *flags, *shlex.split(more))
    manifest = json.loads((data / "manifest.json").read_text())
    return {
        **process,
        "words": manifest["num_words"],
        "vocab_size": manifest["vocab_size"] - 2,  # [PAD] and [UNK]
        "skip_grams": manifest["num_skip_grams"],
        "bytes_per_skip_gram": sum(shard["bytes"] for shard in manifest["shards"]) / manifest["num_skip_grams"],
    }


def run_trainer(data: Path, model: Path, *flags: str, more: str = "", largest: int = 0) -> dict:
    """Runs our trainer as a user does, but without the report, as no other program writes one.

    Returns:
        The figures of `run` and the contents of metrics.json.
    """
    paths = ["--data", data, "--output", model]
    _, process = run("trainer.task", *paths, "--no_report", *flags, *shlex.split(more), largest=largest)
    return {**process, **json.loads((model / "metrics.json").read_text())}


def config_of(flags: str) -> TrainerConfig:
    """The trainer's settings with further flags, in one string, where the dataset and the output do not matter.

    Raises:
        UserError: a flag is unknown, or its value is not allowed.
    """
    return task.parse(["--data=-", "--output=-", *shlex.split(flags)])


def say(line: str) -> None:
    """Tells how far the benchmark is."""
    print(line, file=sys.stderr, flush=True)
