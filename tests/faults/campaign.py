"""How faults are brought about, and what must be true afterwards."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from tests import forked
from tests.conftest import ROOT, TRAINER_FLAGS
from tests.faults.fault import Attempt, Fault, Skipped
from tests.faults.injection import REACHED

PIPELINE_FLAGS = (
    "--num_shards", "3", "--subsample", "0.02", "--block_targets", "16", "--block_negatives", "16",
)  # fmt: skip
LOG = os.environ.get("FAULTS_LOG")  # a file that gets a line for each attempt, see `table`
_LOG_LINE = re.compile(r"\d\d:\d\d:\d\d ")  # the pipeline reports its progress on standard error
_TEMPORARY = re.compile(r"^\.partial-|\.lock$|\.tmp|^checkpoints/")
# Files that hold times or names of runs, or whose bytes TensorFlow does not keep the same.
_VARYING = re.compile(r"manifest\.json$|metrics\.json$|^logs/|saved_model/|transform_fn/")
COMPLETE = {"pipeline": "manifest.json", "trainer.task": "metrics.json"}  # what only a complete result has
_SECONDS_TO_END = 5  # after a signal


class Campaign:
    """Brings faults about.

    Args:
        dataset: the fixture dataset_dir.
        model: the fixture model_dir.
        folder: a new folder for results of earlier runs.
    """

    def __init__(self, dataset: Path, model: Path, folder: Path) -> None:
        self._results = {"pipeline": dataset, "trainer.task": model}
        self._folder = folder

    def attempt(self, fault: Fault, folder: Path) -> None:
        """Brings the fault about and checks all that must be true afterwards.

        Raises:
            Skipped: it cannot be brought about here.
            AssertionError: something is not as it must be.
        """
        attempt = self._new_attempt(folder)
        try:
            self._check(fault, attempt)
        except Skipped:
            raise
        except BaseException as error:
            _write_log(fault, repr(error)[:300])
            raise
        _write_log(fault, "too late" if attempt.too_late else "survived")

    def _new_attempt(self, folder: Path) -> Attempt:
        dataset = self._results["pipeline"]
        return Attempt(dataset.parent / "text", dataset, folder, folder / "output")

    def _check(self, fault: Fault, attempt: Attempt) -> None:
        if fault.existing:
            shutil.copytree(self._earlier(fault.program), attempt.output)
        with fault.prepare(attempt):
            before = contents(attempt.output)
            code = self._disturbed_run(fault, attempt)
            if fault.inject and REACHED not in attempt.stdout.read_text():
                assert code == 0, attempt.stderr.read_text()
                raise Skipped("the run has fewer file operations")
            self._check_end(fault, attempt, code)
            after = contents(attempt.output)
            assert not fault.keeps_output or after == before, f"changed: {set(after.items()) ^ set(before.items())}"
            left = [name for name in after if _TEMPORARY.search(name) and not re.search(fault.leaves, name)]
            assert not left, f"left behind: {left}"
            self._check_is_whole(fault.program, attempt)
        if fault.rerun:
            self._check_next_run(fault.program, attempt)

    def _check_next_run(self, program: str, attempt: Attempt) -> None:
        """Runs the program again. It gives what an undisturbed run gives."""
        flags = ["--overwrite"]
        if program == "trainer.task" and (attempt.output / "checkpoints" / "settings.json").exists():
            flags = ["--resume"]
        code = self._run(program, attempt, [*self._flags(program, attempt), *flags])
        assert code == 0, f"the next run failed with {code}: {attempt.stderr.read_text()}"
        self._check_result(program, attempt)

    def _check_end(self, fault: Fault, attempt: Attempt, code: int) -> None:
        stderr = attempt.stderr.read_text()
        told = [line for line in stderr.splitlines() if not _LOG_LINE.match(line)]
        assert "Traceback" not in stderr, stderr
        if code == 0 and (fault.may_finish or fault.code == 0):
            attempt.too_late = bool(fault.code)
            assert not told, stderr
            return
        codes = (1, 2) if fault.code is None else (fault.code,)
        assert code in codes, f"exit code {code}, not {fault.code}: {stderr}"
        if fault.line:
            assert len(told) == 1, stderr
            assert re.search(fault.line, told[0]), told[0]
        else:
            assert not told, stderr

    def _disturbed_run(self, fault: Fault, attempt: Attempt) -> int:
        """Runs the program with the fault. Returns the exit code after no process of the run is left."""
        marker = uuid.uuid4().hex
        arguments = [*self._flags(fault.program, attempt), *fault.flags, *["--overwrite"] * fault.existing]
        with self._started(fault, attempt, arguments, marker) as wait:
            if fault.number is None:
                code = wait(120)
            else:
                code = self._signalled(fault, attempt, wait)
            ended = time.monotonic()
            # SIGKILL leaves the program no chance to end its children, so they have as long again to notice.
            while left := processes_of(attempt.pid, marker):
                assert time.monotonic() - ended < _SECONDS_TO_END, f"still running: {left}"
                time.sleep(0.1)
        return code

    def _signalled(self, fault: Fault, attempt: Attempt, wait: Callable[[float], int]) -> int:
        deadline = time.monotonic() + 120
        while not fault.moment(attempt):
            if not is_running(attempt.pid):
                assert fault.may_finish, f"it ended before the signal: {attempt.stderr.read_text()}"
                return wait(10)
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.001)
        for _ in range(fault.times):
            with contextlib.suppress(ProcessLookupError):
                if fault.number == signal.SIGINT:
                    os.killpg(attempt.pid, signal.SIGINT)
                else:
                    os.kill(attempt.pid, fault.number)
            time.sleep(0.05)
        return wait(_SECONDS_TO_END)

    @contextlib.contextmanager
    def _started(
        self, fault: Fault, attempt: Attempt, arguments: list[str], marker: str
    ) -> Iterator[Callable[[float], int]]:
        """Starts the program. Gives a function that waits for its exit code."""
        if not fault.imports:
            before = ("tests.faults.injection", "install", *fault.inject) if fault.inject else ()
            program = self._start(fault.program, attempt, arguments, limits=fault.limits, before=before)
            attempt.pid = program.pid
            yield program.wait
            return
        assert not fault.inject
        limits = [f"--{name.removeprefix('RLIMIT_').lower()}={soft}:" for name, soft in fault.limits.items()]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "FAULT": marker}
        environment.pop("TF_USE_LEGACY_KERAS", None)
        with open(attempt.stdout, "wb") as stdout, open(attempt.stderr, "wb") as stderr:
            process = subprocess.Popen(
                [*(["prlimit", *limits] if limits else []), sys.executable, "-m", fault.program, *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        attempt.pid = process.pid
        try:
            yield process.wait
        finally:
            for pid in processes_of(process.pid, marker):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(10)

    def _run(self, program: str, attempt: Attempt, arguments: list[str]) -> int:
        return self._start(program, attempt, arguments).wait(120)

    def _start(self, program: str, attempt: Attempt, arguments: list[str], **more: Any) -> forked.Process:
        server = forked.server(forked.package_of(program))
        with open(attempt.stdout, "wb") as stdout, open(attempt.stderr, "wb") as stderr:
            return server.start("-m", program, *arguments, stdout=stdout.fileno(), stderr=stderr.fileno(), **more)

    def _flags(self, program: str, attempt: Attempt) -> list[str]:
        if program == "pipeline":
            return ["--input", f"{attempt.text}/*.txt", "--output", f"{attempt.output}", *PIPELINE_FLAGS]
        return ["--data", f"{attempt.dataset}", "--output", f"{attempt.output}", *TRAINER_FLAGS]

    def _earlier(self, program: str) -> Path:
        """Another result, which is in the output before a run with --overwrite."""
        folder = self._folder / program
        if not folder.exists():
            attempt = self._new_attempt(self._folder)
            attempt.output = folder
            code = self._run(program, attempt, [*self._flags(program, attempt), "--seed", "77"])
            assert code == 0, attempt.stderr.read_text()
        return folder

    def _check_is_whole(self, program: str, attempt: Attempt) -> None:
        """The output is nothing that could be taken for a result, or one that is whole: the new or the earlier one."""
        if (attempt.output / COMPLETE[program]).exists():
            problems = [
                difference(contents(folder), contents(attempt.output), ignored=_TEMPORARY)
                for folder in (self._results[program], self._earlier(program))
            ]
            assert None in problems, f"neither the new result, nor the earlier one: {problems}"

    def _check_result(self, program: str, attempt: Attempt) -> None:
        """The output is what an undisturbed run gives, and nothing else."""
        problem = difference(contents(self._results[program]), contents(attempt.output), ignored=re.compile("$^"))
        assert problem is None, f"unlike the result of an undisturbed run: {problem}"


def difference(expected: dict[str, bytes], found: dict[str, bytes], ignored: re.Pattern) -> str | None:
    """What distinguishes two outputs, by `contents`, besides files that may differ; None if nothing does."""
    names = [
        {name for name in files if not name.startswith("logs/") and not ignored.search(name)}
        for files in (expected, found)
    ]
    if names[0] != names[1]:
        return f"missing: {names[0] - names[1]}, too many: {names[1] - names[0]}"
    return next(
        (name for name in sorted(names[0]) if not _VARYING.search(name) and expected[name] != found[name]), None
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by relative path."""
    if not folder.exists():
        return {}
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def is_running(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def processes_of(session: int, marker: str) -> list[int]:
    """The processes of a session, and those that have the marker in their environment."""
    pids = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if os.getsid(process.pid) == session or process.environ().get("FAULT") == marker:
                pids.append(process.pid)
    return pids


def _write_log(fault: Fault, outcome: str) -> None:
    if LOG:
        with open(LOG, "a") as file:
            row = {"kind": fault.kind, "program": fault.program, "name": fault.name, "outcome": outcome}
            file.write(json.dumps(row) + "\n")


def table(log: str) -> str:
    """The table of a log: class, tried, survived."""
    rows = [json.loads(line) for line in Path(log).read_text().splitlines()]
    lines = ["| class | tried | survived |", "|---|---|---|"]
    for kind in sorted({row["kind"] for row in rows}):
        outcomes = [row["outcome"] for row in rows if row["kind"] == kind and row["outcome"] != "too late"]
        lines.append(f"| {kind} | {len(outcomes)} | {outcomes.count('survived')} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(sys.argv[1]))
