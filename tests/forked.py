"""Runs a program in a fork of a process that has imported everything already.

A run takes a second instead of ten. As far as the program can tell, Python has just started it, except that Python and
TensorFlow have read some environment variables before. Tests of what happens at the start of a process need a new one.

Each test process starts one server for each package, when it is first needed. For a run, the server forks a keeper,
which forks the program, waits for its end and tells its exit code. Several programs can run at a time.

In a shell, `python -I -S tests/forked.py -m MODULE ...` runs a program, too, if the environment has `variables()`.
"""

import contextlib
import functools
import importlib
import io
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "trainer")
# Python, the C library and TensorFlow read variables that begin so before the program is forked.
_READ_EARLY = ("PYTHON", "LC_", "LANG", "TF_CPP_")
_SECONDS_TO_IMPORT = 120
_LARGEST_MESSAGE = 1 << 20


class Process:
    """A program that was started, with some of the methods of subprocess.Popen."""

    def __init__(self, pid: int, keeper: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._keeper = keeper

    def poll(self) -> int | None:
        """The exit code, minus the signal that ended it, or None if it has not ended."""
        with contextlib.suppress(TimeoutError, BlockingIOError):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits until it has ended.

        Raises:
            TimeoutError: it still runs after so many seconds.
        """
        if self.returncode is None:
            if not select.select([self._keeper], [], [], timeout)[0]:
                raise TimeoutError(f"the program still runs after {timeout} s")
            self.returncode = int(_received(self._keeper))
            self._keeper.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Server:
    """The server of a package, which has imported what the programs of the package import.

    Args:
        package: pipeline or trainer. The server of the trainer has not imported Beam.
    """

    def __init__(self, package: str) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = _environment(os.environ)
        self._early = _read_early(environment)
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.forked", "serve", package, str(theirs.fileno())],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=2,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C in the terminal is for the tests
        )
        theirs.close()

    @functools.cached_property
    def socket(self) -> socket.socket:
        """Where requests are sent, as soon as everything is imported."""
        self._socket.settimeout(_SECONDS_TO_IMPORT)
        assert _received(self._socket) == b"ready"
        self._socket.setblocking(True)
        return self._socket

    def start(
        self,
        *args: object,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | str = ROOT,
        **more: Any,
    ) -> Process:
        """Starts a program as the leader of a session of its own.

        Args:
            args: -m and a module, or -c and a script, and then the arguments, as Python takes them.
            stdin, stdout, stderr: file descriptors; by default, that of the null device.
            env: the environment; by default, that of the tests. What the imports have set is added.
            cwd: the folder in which the program starts.
            more: as for `_become`.
        """
        env = _environment(os.environ if env is None else env)
        changed = {name for name, _ in _read_early(env) ^ self._early}
        assert not changed, f"{changed} would have no effect, because a fork is too late for them: start a new process"
        request = {"args": [*map(str, args)], "env": env, "cwd": str(cwd), **more}
        with open(os.devnull, "r+b", buffering=0) as null:
            given = [null.fileno() if number is None else number for number in (stdin, stdout, stderr)]
            return _start(self.socket, request, given)

    def run(
        self, *args: object, input: str = "", timeout: float = 300, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end, as subprocess.run does.

        Args:
            args: as for `start`.
            input: its standard input.
            timeout: after so many seconds, it is killed.
            more: as for `start`.

        Raises:
            subprocess.TimeoutExpired: it was killed.
        """
        with contextlib.ExitStack() as files:
            stdin, stdout, stderr = (files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
            stdin.write(input)
            stdin.seek(0)
            process = self.start(*args, stdin=stdin.fileno(), stdout=stdout.fileno(), stderr=stderr.fileno(), **more)
            try:
                process.wait(timeout)
            except BaseException as error:
                process.kill()
                process.wait(10)
                if isinstance(error, TimeoutError):
                    raise subprocess.TimeoutExpired(args, timeout, _text(stdout), _text(stderr)) from None
                raise
            return subprocess.CompletedProcess(args, process.returncode, _text(stdout), _text(stderr))

    def close(self) -> None:
        """Ends the server."""
        self._socket.close()
        self._popen.wait(timeout=30)


@functools.cache
def server(package: str) -> Server:
    """The server of a package for this test process. It ends with the test process."""
    return Server(package)


def run(module: str, *args: object, **more: Any) -> subprocess.CompletedProcess[str]:
    """Runs `python -m module args` in a fork, see Server.run."""
    return server(package_of(module)).run("-m", module, *args, **more)


def package_of(module: str) -> str:
    """The package of a module; "" if it has no server."""
    package = module.split(".")[0]
    return package if package in PACKAGES else ""


def variables() -> tuple[dict[str, str], list[int]]:
    """What lets this file start programs as a script: variables for its environment, and file descriptors to pass."""
    numbers = {package: server(package).socket.fileno() for package in PACKAGES}
    return {f"FORKED_{package}": str(number) for package, number in numbers.items()}, [*numbers.values()]


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment for programs of this checkout, without what TensorFlow Transform sets in that of the tests."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **given, "PYTHONPATH": str(ROOT)}
    environment.pop("TF_USE_LEGACY_KERAS", None)
    return environment


def _read_early(environment: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(name, value) for name, value in environment.items() if name.startswith(_READ_EARLY)}


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _received(connection: socket.socket) -> bytes:
    message = connection.recv(100)
    if not message:
        raise EOFError("the process that forks programs has ended")
    return message


def _start(server: socket.socket, request: Mapping[str, Any], descriptors: Sequence[int]) -> Process:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        socket.send_fds(server, [json.dumps(request).encode()], [theirs.fileno(), *descriptors])
    return Process(int(_received(ours)), ours)


# The server


def serve(package: str, number: int) -> None:
    """Starts programs until the other end of the socket is closed. Returns in the processes of programs, too.

    Args:
        package: pipeline or trainer.
        number: the file descriptor of the socket.
    """
    requests = socket.socket(fileno=number)
    before = dict(os.environ)
    _import_all(package)
    added = {name: value for name, value in os.environ.items() if before.get(name) != value}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    requests.send(b"ready")
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, _LARGEST_MESSAGE, 4)
        if not message:
            return
        if not os.fork():
            requests.close()
            request = json.loads(message)
            request["env"] = {**added, **request["env"]}
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _keep(request, *descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _import_all(package: str) -> None:
    if package == "pipeline":
        from pipeline.console import importing

        with importing():
            import pipeline.dataset.read
            import pipeline.forks
            import pipeline.job.runner
            import pipeline.options
            import pipeline.plan.report  # noqa: F401
    else:
        from trainer import devices
        from trainer.config import TrainerConfig
        from trainer.console import importing

        devices.prepare(TrainerConfig.precision)
        with importing():
            import trainer.training  # noqa: F401


def _keep(request: Mapping[str, Any], number: int, *descriptors: int) -> None:
    """Starts a program, waits for it and ends this process. It returns in the process of the program."""
    connection = socket.socket(fileno=number)
    pid = os.fork()
    if not pid:
        connection.close()
        return _become(descriptors, **request)
    for descriptor in descriptors:
        os.close(descriptor)
    with contextlib.suppress(BrokenPipeError):  # the test has ended, and does not care
        connection.send(str(pid).encode())
        connection.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    os._exit(0)


def _become(
    descriptors: Sequence[int],
    args: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    limits: Mapping[str, int] | None = None,
    before: Sequence[Any] = (),
) -> None:
    """Runs a program in this process.

    Args:
        descriptors: its standard input, output and error.
        args: as for Server.start.
        env: its environment.
        cwd: the folder in which it starts.
        limits: soft limits by name, such as RLIMIT_FSIZE.
        before: the name of a module, that of a function in it, and arguments: it is called before the program.
    """
    os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        new = _reopened(getattr(sys, name), number)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    tempfile.tempdir = None  # it is looked up in the environment only once
    if before:
        module, function, *values = before
        getattr(importlib.import_module(module), function)(*values)
    for name, soft in (limits or {}).items():
        _, hard = resource.getrlimit(getattr(resource, name))
        resource.setrlimit(getattr(resource, name), (soft, hard))
    option, program, *arguments = args
    sys.argv = [option, *arguments]
    if option == "-m":
        sys.modules.pop(program, None)
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(program, sys.modules["__main__"].__dict__)


def _reopened(old: io.TextIOWrapper, number: int) -> io.TextIOWrapper:
    """A file of Python for a file descriptor that is another now. The old one may know what is not true any more."""
    is_unbuffered = number > 0 and old.write_through
    binary = open(number, "wb" if number else "rb", 0 if is_unbuffered else -1, closefd=False)
    return io.TextIOWrapper(binary, old.encoding, old.errors, None, old.line_buffering, old.write_through)


def _run_in_shell(args: Sequence[str]) -> int:
    """Runs a program with the standard files of this process."""
    number = os.environ.get(f"FORKED_{package_of(args[1])}" if args[:1] == ["-m"] else "")
    if number is None:
        os.execv(sys.executable, [sys.executable, *args])
    request = {"args": args, "env": _environment(os.environ), "cwd": os.getcwd()}
    return _start(socket.socket(fileno=int(number)), request, (0, 1, 2)).wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(_run_in_shell(sys.argv[1:]))
