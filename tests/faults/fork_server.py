"""A process that has imported a program already and runs it again and again, each time in a fork of its own.

So a run takes a second instead of ten. As far as the program can tell, it was just started.
"""

import contextlib
import json
import os
import resource
import select
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
REACHED = "at the call: "  # what injection.py prints


class ForkServer:
    """A fork server, and the one program that it runs at a time.

    Args:
        program: "pipeline" or "trainer.task".
    """

    def __init__(self, program: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment.pop("TF_USE_LEGACY_KERAS", None)  # TensorFlow Transform sets it in the process of the tests
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.fork_server", program],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._answer(120) == "ready"

    def start(self, args: list[str], stdout: Path, stderr: Path, limits: dict[str, int], inject: tuple | None) -> int:
        """Starts the program as the leader of a session of its own. Returns its pid.

        Args:
            args: its arguments.
            stdout, stderr: the files for its output.
            limits: soft limits by name, such as RLIMIT_FSIZE.
            inject: the arguments of injection.install, or None.
        """
        request = {"args": args, "stdout": str(stdout), "stderr": str(stderr), "limits": limits, "inject": inject}
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        return int(self._answer(30))

    def wait(self, timeout: float) -> int:
        """Waits until the program has ended. Returns its exit code, or minus the signal that ended it."""
        return int(self._answer(timeout))

    def close(self) -> None:
        """Ends the server."""
        self._server.stdin.close()
        self._server.wait(timeout=30)

    def _answer(self, timeout: float) -> str:
        """The next line of the server. The pipe is read byte by byte, so that nothing waits in a buffer."""
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([self._server.stdout], [], [], timeout)[0]:
                raise TimeoutError(f"no answer after {timeout} s")
            byte = os.read(self._server.stdout.fileno(), 1)
            if not byte:
                raise EOFError("the fork server has ended")
            line += byte
        return line.decode().strip()


def serve(program: str) -> None:
    """Answers requests until standard input ends. In a fork, it runs the program and exits."""
    answers = os.dup(1)
    os.dup2(2, 1)
    command = _imported(program)
    os.write(answers, b"ready\n")
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            os.close(answers)
            _become(program, json.loads(line))
            sys.exit(command())
        os.write(answers, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _imported(program: str):
    if program == "pipeline":
        from pipeline.__main__ import command
        from pipeline.console import importing

        with importing():
            import pipeline.job.runner
            import pipeline.plan.report  # noqa: F401
    else:
        from trainer import devices
        from trainer.config import TrainerConfig
        from trainer.console import importing
        from trainer.task import command

        devices.prepare(TrainerConfig.precision)
        with importing():
            import trainer.training  # noqa: F401
    return command


def _become(program: str, request: dict) -> None:
    os.setsid()
    for number, path in enumerate((os.devnull, request["stdout"], request["stderr"])):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv = [program, *request["args"]]
    if request["inject"]:
        from tests.faults import injection

        injection.install(*request["inject"])
    for name, soft in request["limits"].items():
        _, hard = resource.getrlimit(getattr(resource, name))
        resource.setrlimit(getattr(resource, name), (soft, hard))


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        serve(sys.argv[1])
