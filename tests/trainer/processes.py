"""Trainer processes that train together: they are started, watched, disturbed and waited for, always with a limit."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests import forked
from tests.conftest import ROOT
from trainer import training, word2vec_format
from trainer.launcher import free_ports
from trainer.layout import STATE_ACCUMULATORS, STATE_TABLES
from trainer.state import open_state
from trainer.task import parse

LIMIT = 150  # seconds that a run takes at most, on a busy machine


def tf_configs(number: int, *, has_chief: bool = False) -> list[str]:
    """Values of TF_CONFIG for so many processes on this machine."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(number)]
    cluster = {"chief": addresses[:1], "worker": addresses[1:]} if has_chief else {"worker": addresses}
    tasks = [(job, index) for job in cluster for index in range(len(cluster[job]))]
    return [json.dumps({"cluster": cluster, "task": {"type": job, "index": index}}) for job, index in tasks]


NEWS = re.compile(r"\d\d:\d\d:\d\d ")  # begins a line of news


class Run:
    """A process of the trainer and those that it starts, with what they write.

    Args:
        folder: a folder for what they write.
        flags: the flags.
        tf_config: the value of TF_CONFIG; empty for none.
    """

    def __init__(self, folder: Path, flags: Sequence[object], tf_config: str = "") -> None:
        self._marker = uuid.uuid4().hex
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "RUN_OF_TEST": self._marker}
        for name in ("TF_CONFIG", "AIP_MODEL_DIR", "AIP_CHECKPOINT_DIR", "AIP_TENSORBOARD_LOG_DIR"):
            environment.pop(name, None)
        if tf_config:
            environment["TF_CONFIG"] = tf_config
        self._stdout, self._stderr = folder / f"{self._marker}.out", folder / f"{self._marker}.err"
        command = ("-m", "trainer.task", *map(str, flags))
        self.popen: subprocess.Popen[bytes] | forked.Process
        with open(self._stdout, "wb") as stdout, open(self._stderr, "wb") as stderr:
            if tf_config:
                files = {"stdout": stdout.fileno(), "stderr": stderr.fileno()}
                self.popen = forked.server("trainer").start(*command, env=environment, **files)
            else:  # it is small, as those that it starts import TensorFlow
                self.popen = subprocess.Popen(
                    [sys.executable, *command],
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                )

    @property
    def stdout(self) -> str:
        return self._stdout.read_text()

    @property
    def stderr(self) -> str:
        """What is on standard error besides the news."""
        return "".join(line for line in self._lines() if not NEWS.match(line))

    @property
    def news(self) -> str:
        """The news, without the time of the day."""
        return "".join(NEWS.sub("", line) for line in self._lines() if NEWS.match(line))

    def _lines(self) -> list[str]:
        return self._stderr.read_text().splitlines(keepends=True)

    def members(self) -> list[int]:
        """The ids of the processes of a launcher, by rank."""
        found = {}
        for pid in self.left():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                if "trainer.member" in process.cmdline():
                    task = json.loads(process.environ()["TF_CONFIG"])["task"]
                    found[task["index"]] = pid
        return [found[rank] for rank in sorted(found)]

    def left(self) -> list[int]:
        """The ids of all processes of this run that have not ended."""
        pids = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.pid == self.popen.pid or process.environ().get("RUN_OF_TEST") == self._marker:
                    pids.append(process.pid)
        return pids

    def wait(self, seconds: float = LIMIT) -> int:
        """Waits until the process has ended, and then a little until no other of the run is left."""
        try:
            code = self.popen.wait(seconds)
        except (subprocess.TimeoutExpired, TimeoutError):
            raise AssertionError(f"it hangs: {self.stdout}\n{self.stderr}") from None
        deadline = time.monotonic() + 5
        while left := self.left():
            assert time.monotonic() < deadline, f"still running: {[psutil.Process(pid).cmdline() for pid in left]}"
            time.sleep(0.05)
        return code

    def ends(self, code: int, seconds: float = LIMIT) -> str:
        """Waits until it has ended with an exit code that is not 0. Returns the one line that it has to say."""
        assert self.wait(seconds) == code, f"{self.stdout}\n{self.stderr}"
        assert self.stderr.count("\n") == 1, self.stderr
        assert self.stderr.startswith("python -m trainer.task: "), self.stderr
        return self.stderr.removeprefix("python -m trainer.task: ").rstrip("\n")

    def succeeds(self, seconds: float = LIMIT) -> str:
        """Waits until it has ended well, with news alone on standard error. Returns what it has printed."""
        assert self.wait(seconds) == 0, f"{self.stdout}\n{self.stderr}"
        assert self.stderr == ""
        return self.stdout

    def waits_for(self, moment: Callable[[], object], seconds: float = LIMIT) -> None:
        """Waits for a moment of the run."""
        deadline = time.monotonic() + seconds
        while not moment():
            assert self.popen.poll() is None, f"it ended before the moment: {self.stdout}\n{self.stderr}"
            assert time.monotonic() < deadline, f"the moment never came: {self.stdout}\n{self.stderr}"
            time.sleep(0.02)

    def kill(self) -> None:
        """Ends all that is left."""
        while left := self.left():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired, TimeoutError):
                self.popen.wait(0.1)


@contextlib.contextmanager
def running(folder: Path, *arguments: tuple[Sequence[object], str]) -> Iterator[list[Run]]:
    """Processes with flags and a value of TF_CONFIG each. Those that are left at the end of the block are killed."""
    runs: list[Run] = []
    try:
        for flags, tf_config in arguments:
            runs.append(Run(folder, flags, tf_config))
        yield runs
    finally:
        for run in runs:
            run.kill()


def checkpoints(output: Path) -> list[str]:
    """The checkpoints of a run that are complete."""
    return sorted(path.stem for path in output.glob("checkpoints/ckpt-*.index") if "_" not in path.stem)


def trained_alone(dataset: Path, output: Path, *flags: object) -> dict[str, Any]:
    """Trains in this process. Returns the metrics."""
    return training.train(parse(["--data", str(dataset), "--output", str(output), *map(str, flags)]))


def assert_same_model(output: Path, expected: Path, num_processes: int) -> None:
    """Asserts that several processes have made the model that one has made, up to the order of additions."""
    metrics, also = (json.loads((folder / "metrics.json").read_text()) for folder in (output, expected))
    for name in ("loss", "accuracy", "holdout_loss"):
        assert metrics.get(name, []) == pytest.approx(also.get(name, []), rel=1e-6)
    for name in ("hit_rate_at_10", "best_epoch"):
        assert metrics.get(name) == also.get(name)
    for name in ("dataset", "exports", "steps_per_epoch", "skip_grams_per_epoch", "vocab_size", "versions"):
        assert metrics[name] == also[name]
    assert len(metrics["processes"]) == num_processes
    assert all(rates["words_per_second"] > 0 for rates in metrics["processes"])
    one, other = (word2vec_format.load(str(folder / "vectors.bin")) for folder in (output, expected))
    assert one.words == other.words
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-5, rtol=1e-5)
    kept, also_kept = (open_state(str(folder), "--init") for folder in (output, expected))
    assert kept.has_accumulators == also_kept.has_accumulators
    for name in (*STATE_TABLES, *(STATE_ACCUMULATORS if kept.has_accumulators else ())):
        np.testing.assert_allclose(kept.read(name), also_kept.read(name), atol=1e-5, rtol=1e-5)
    assert sorted(path.name for path in output.iterdir()) == sorted(path.name for path in expected.iterdir())


def leftovers(output: Path) -> list[str]:
    """What a run that has ended should have removed from the output: its lock, and what it had half written."""
    return sorted(
        str(path.relative_to(output)) for path in output.rglob("*") if path.name == ".lock" or ".tmp" in path.name
    )
