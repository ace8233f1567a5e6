"""Starts processes one after the other, and measures their time and memory."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trainer.errors import UserError

_ROOT = Path(__file__).parent.parent.parent


def run(module: str, *args: str | Path) -> tuple[str, dict]:
    """Runs `python -m module args`.

    Returns:
        What it printed, and two figures. `seconds` is the time from its start to its end. `peak_bytes` is the largest
        resident set that it, or one of the processes that it started, ever had. Linux includes the resident set of the
        process that calls this function, so that one should be small.

    Raises:
        UserError: the process failed. The message has the last lines that it wrote to stderr.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-m", module, *map(str, args)]
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=_ROOT, stdout=output, stderr=errors)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            last_lines = "\n".join(errors.read().strip().splitlines()[-20:])
            raise UserError(f"python -m {module} ended with {process.returncode}: {last_lines}")
        output.seek(0)
        peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return output.read(), {"seconds": seconds, "peak_bytes": peak_bytes}


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


def run_trainer(data: Path, model: Path, *flags: str, more: str = "") -> dict:
    """Runs our trainer as a user does. Returns the figures of `run` and the contents of metrics.json."""
    _, process = run("trainer.task", "--data", data, "--output", model, *flags, *shlex.split(more))
    return {**process, **json.loads((model / "metrics.json").read_text())}
