"""Starts one training process for each device of this machine, and waits for them."""

import contextlib
import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer import cluster, devices
from trainer.cluster import RESUME, Process, ProcessLost
from trainer.config import TrainerConfig
from trainer.errors import UserError
from trainer.interrupt import asking_children
from trainer.settings import settings_of

_ROOT = Path(__file__).parents[1]
_GPU_FILE = re.compile(r"nvidia\d+")
_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_TO_FOLLOW = 10.0  # so long the others have to notice that a process has ended, and to say why they end
_SECONDS_TO_LISTEN = 1.0  # to what a process has written that has ended
_SECONDS_TO_CLEAN_UP = 2.0
# The exit codes of processes that a signal has ended. The trainer catches two of the signals and has codes for them.
_SIGNALS = {-number: number.name for number in signal.Signals} | {130: "SIGINT", 143: "SIGTERM"}
_LONGEST_MESSAGE = 1 << 16  # characters of a process's standard error that are kept


@dataclasses.dataclass
class _Child:
    """A process that was started here."""

    process: Process
    popen: subprocess.Popen[str]
    said: str = ""  # the end of its standard error
    listener: threading.Thread | None = None  # it keeps `said`

    @property
    def name(self) -> str:
        return self.process.name(self.process.rank)


def processes_to_start(config: TrainerConfig, environment: Mapping[str, str]) -> tuple[Process, ...]:
    """The processes that this machine has to run, one for each device; empty if this process does all of the work.

    Args:
        config: the settings.
        environment: the environment variables. TF_CONFIG may list several machines.

    Raises:
        UserError: the machine has not so many devices, or there are more than dimensions.
    """
    machine = cluster.process_of(environment)
    gpus = _gpus(environment)
    num_devices = max(1, len(gpus)) if config.devices == "all" else int(config.devices)
    if gpus and num_devices > len(gpus):
        gpus_here = f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''}"
        raise UserError(
            f"--devices {num_devices}: this machine has {gpus_here} for this program: expected at most as many, or all"
        )
    num_processes = num_devices * (machine.size if machine else 1)
    if num_processes > config.embedding_dim:
        raise UserError(
            f"--devices {config.devices} makes {num_processes} processes, but the vectors have --embedding_dim "
            f"{config.embedding_dim} numbers, which they divide among each other: expected at most as many"
        )
    if num_devices == 1:
        return ()
    if machine:
        return machine.divided(num_devices)
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(num_devices))
    return tuple(Process(rank, addresses) for rank in range(num_devices))


def launch(config: TrainerConfig, processes: Sequence[Process], *, news: int | None, quiet: bool = False) -> None:
    """Starts processes that train together, and waits until they have finished.

    Args:
        config: the settings.
        processes: the processes of this machine.
        news: the file descriptor that the chief writes news to, such as 2 for standard error. None has nothing printed.
        quiet: whether the chief writes warnings alone.

    Raises:
        UserError: the processes have ended because of a mistake that the user can correct.
        ProcessLost: one has ended for another reason. The others have ended, too.
    """
    children: list[_Child] = []
    try:
        with asking_children(lambda: _ask_to_end(children)):
            for number, process in enumerate(processes):
                children.append(_start(config, process, number, len(processes), news, quiet))
            _wait(children)
    finally:
        _ask_to_end(children)
        for child in children:
            if child.popen.poll() is None:
                child.popen.kill()
            child.popen.wait()


def _start(config: TrainerConfig, process: Process, number: int, of: int, news: int | None, quiet: bool) -> _Child:
    """Starts the process of one device."""
    environment = {
        **devices.environment_of_child(of),
        cluster.VARIABLE: process.tf_config(),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")])),
    }
    if gpus := _gpus(os.environ):
        environment["CUDA_VISIBLE_DEVICES"] = gpus[number]
    # Standard error of the child is a pipe, so news have a file descriptor of their own.
    copy = os.dup(news) if news is not None and process.rank == 0 else -1
    flags = [*_flags(config), *(["--quiet"] if quiet else [])]
    try:
        popen = subprocess.Popen(
            [sys.executable, "-m", "trainer.member", str(os.getpid()), str(copy), *flags],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if copy < 0 else None,
            stderr=subprocess.PIPE,
            pass_fds=() if copy < 0 else (copy,),
            text=True,
            errors="backslashreplace",
        )
    finally:
        if copy >= 0:
            os.close(copy)
    child = _Child(process, popen)
    child.listener = threading.Thread(target=_listen, args=(child,), name="listener", daemon=True)
    child.listener.start()
    return child


def _flags(config: TrainerConfig) -> list[str]:
    """The flags that give the settings to one process.

    All that have a value are there, also with their defaults, so that no variable of the environment gives another.
    """
    settings = {setting: getattr(config, setting.name) for setting in settings_of(config) if setting.name != "devices"}
    switches = [each.flag for each, value in settings.items() if each.kind is bool and value != each.default]
    return switches + [f"{each.flag}={value}" for each, value in settings.items() if each.kind is not bool]


def _listen(child: _Child) -> None:
    """Keeps the end of what a process writes to standard error."""
    assert child.popen.stderr is not None
    for line in child.popen.stderr:
        child.said = (child.said + line)[-_LONGEST_MESSAGE:]


def _wait(children: Sequence[_Child]) -> None:
    """Waits until all have ended.

    Raises:
        UserError, ProcessLost: as launch does.
    """
    while _running(children) and not any(child.popen.returncode for child in children):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    if not any(child.popen.returncode for child in children):
        return
    deadline = time.monotonic() + _SECONDS_TO_FOLLOW
    while _running(children) and not any(map(_knows_why, children)) and time.monotonic() < deadline:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    for child in children:
        if name := _SIGNALS.get(child.popen.returncode):
            reason = "if nobody has done that, the memory was used up; " if name == "SIGKILL" else ""
            raise ProcessLost(f"{child.name} was ended by {name}, which ends all: {reason}{RESUME}")
    failed = [child for child in children if child.popen.returncode]
    # The first to fail knows why. Those that have only lost another process do not.
    first = min(failed, key=lambda child: (cluster.LOST in child.said, failed.index(child)))
    _tell(first)


def _running(children: Sequence[_Child]) -> list[_Child]:
    """The processes that have not ended. It looks at all, so that the exit codes of the others are known."""
    return [child for child in children if child.popen.poll() is None]


def _knows_why(child: _Child) -> bool:
    """Whether a process has failed for a reason of its own, rather than because it has lost another one."""
    code = child.popen.returncode
    return code in _SIGNALS or (bool(code) and bool(child.said) and cluster.LOST not in child.said)


def _tell(child: _Child) -> None:
    """Raises the error that a process has ended with."""
    if child.listener:
        child.listener.join(_SECONDS_TO_LISTEN)
    *_, last = child.said.strip().splitlines() or [""]
    program, found, message = last.partition("trainer.task: ")
    if not found:
        sys.stderr.write(child.said)
        raise ProcessLost(f"{child.name} has ended with the exit code {child.popen.returncode}; {RESUME}")
    raise (UserError if child.popen.returncode == 2 else ProcessLost)(message)


def _ask_to_end(children: Sequence[_Child]) -> None:
    """Asks the processes to end and waits for that, so that the chief removes its temporary files and its lock."""
    for child in children:
        with contextlib.suppress(OSError):
            child.popen.terminate()
    deadline = time.monotonic() + _SECONDS_TO_CLEAN_UP
    while _running(children) and time.monotonic() < deadline:
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs that this program may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    names = os.listdir("/dev") if os.path.isdir("/dev") else []
    return [str(number) for number in range(len([name for name in names if _GPU_FILE.fullmatch(name)]))]


def free_ports(number: int) -> list[int]:
    """Ports of this machine that nobody uses."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
