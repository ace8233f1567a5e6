"""Runs a program in a fork of a process that has imported everything already.

A run takes a second instead of ten. As far as the program can tell, Python has just started it, except that Python and
TensorFlow have read some environment variables before. Tests of what happens at the start of a process need a new one.

There is one server for each package. For a run, it forks a keeper, which forks the program, waits for its end and tells
its exit code. Several programs can run at a time. Test processes that run side by side have the same servers.

Scripts call the program that `python_in` writes in place of Python.
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
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import types
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "trainer")
_ADDRESS = "FORKED_"  # so begin the variables with the addresses of servers
# Python, the C library and TensorFlow read variables that begin so before the program is forked.
_READ_EARLY = ("PYTHON", "LC_", "LANG", "TF_CPP_")
_MOST_WAITING = 64
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
        address: where the server of another process is. By default, a new one is started; it ends with this process.
    """

    def __init__(self, package: str, address: str = "") -> None:
        self.address = address or f"forked-{uuid.uuid4().hex}"
        environment = _environment(os.environ)
        self._early = _read_early(environment)
        if address:
            return
        with _socket() as listener:
            listener.bind(f"\0{self.address}")
            listener.listen(_MOST_WAITING)  # also before everything is imported
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.forked", "serve", package, str(listener.fileno())],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,  # as long as it is open, tests are running
                stdout=2,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # Ctrl-C in the terminal is for the tests
            )

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
            return _start(self.address, request, given)

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


@functools.cache
def server(package: str) -> Server:
    """The server of a package: that of the environment, or one that ends with this process."""
    return Server(package, os.environ.get(f"{_ADDRESS}{package}", ""))


def variables(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """The environment variables by which other processes find the servers."""
    return {f"{_ADDRESS}{package}": server(package).address for package in packages}


def run(module: str, *args: object, **more: Any) -> subprocess.CompletedProcess[str]:
    """Runs `python -m module args` in a fork, see Server.run."""
    return server(package_of(module)).run("-m", module, *args, **more)


def package_of(module: str) -> str:
    """The package of a module; "" if it has no server."""
    package = module.split(".")[0]
    return package if package in PACKAGES else ""


def python_in(folder: Path, packages: Sequence[str] = PACKAGES) -> tuple[Path, dict[str, str]]:
    """Writes a program `python` into a folder, which forks the programs of some packages and starts all others.

    Returns:
        Its path, and the environment that it needs.
    """
    python = folder / "python"
    command = " ".join(map(shlex.quote, (sys.executable, "-I", "-S", __file__)))
    python.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    python.chmod(0o755)
    return python, {**_environment(os.environ), **variables(packages)}


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment for programs of this checkout, without what TensorFlow Transform sets in that of the tests."""
    own = {name: value for name, value in given.items() if not name.startswith((_ADDRESS, "TF_USE_LEGACY_KERAS"))}
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **own, "PYTHONPATH": str(ROOT)}


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


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _start(address: str, request: Mapping[str, Any], descriptors: Sequence[int]) -> Process:
    keeper = _socket()
    keeper.connect(f"\0{address}")
    socket.send_fds(keeper, [json.dumps(request).encode()], descriptors)
    return Process(int(_received(keeper)), keeper)


# The server


def serve(package: str, number: int) -> None:
    """Starts programs until standard input ends. It returns in the processes of programs, too.

    Args:
        package: pipeline or trainer.
        number: the file descriptor of the socket that listens for requests.
    """
    listener = socket.socket(fileno=number)
    before = dict(os.environ)
    _import_all(package)
    added = {name: value for name, value in os.environ.items() if before.get(name) != value}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return _keep(connection, added)
        connection.close()


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


def _keep(connection: socket.socket, added: Mapping[str, str]) -> None:
    """Starts a program, waits for it and ends this process. It returns in the process of the program.

    Args:
        connection: brings the request, and gets the id and the exit code of the process.
        added: variables that the imports have set.
    """
    message, descriptors, _, _ = socket.recv_fds(connection, _LARGEST_MESSAGE, 3)
    request = json.loads(message)
    pid = os.fork()
    if not pid:
        connection.close()
        request["env"] = {**added, **request["env"]}
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
    package = package_of(args[1]) if args[:1] == ["-m"] else ""
    address = os.environ.get(f"{_ADDRESS}{package}")
    if address is None:
        os.execv(sys.executable, [sys.executable, *args])
    return _start(address, {"args": args, "env": _environment(os.environ), "cwd": os.getcwd()}, (0, 1, 2)).wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(_run_in_shell(sys.argv[1:]))
