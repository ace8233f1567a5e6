"""Starts Beam's worker processes on this machine as copies of this process, by fork.

A copy needs no import of TensorFlow and Beam, which takes seconds, and shares their memory with this process. But a
process can only be copied safely as long as it has no threads of TensorFlow or gRPC. So this process copies itself
once, before it checks or runs anything. The copy, the fork server, waits for requests, and copies itself for each
worker.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from pipeline import progress, worker

_SECONDS_BETWEEN_CALLS = 0.2

_server: int | None = None  # the process id of the fork server
_requests = -1  # the file descriptor that it reads from, at this end
_lock = threading.Lock()
_when_lost: list[Callable[[], None]] = []  # what to call when a worker has ended too early


def is_ready() -> bool:
    """Whether `start_worker` can be called."""
    return _server is not None


@contextlib.contextmanager
def serving() -> Iterator[None]:
    """Has a fork server during the block. At the end, the server and its workers are gone.

    The process must have imported all that workers need, and must not have used TensorFlow or gRPC yet.
    """
    global _server, _requests
    reader, _requests = os.pipe()
    losses, told = os.pipe()
    sys.stdout.flush()
    _server = os.fork()
    if not _server:
        try:
            os.close(_requests)
            os.close(losses)
            _serve(reader, told)
        finally:
            os._exit(1)
    os.close(reader)
    os.close(told)
    threading.Thread(target=_watch, args=(losses,), name="losses", daemon=True).start()
    try:
        yield
    finally:
        server, _server = _server, None
        os.close(_requests)
        os.waitpid(server, 0)
        _when_lost.clear()


def _watch(losses: int) -> None:
    """Calls what is to be called when a worker, or the fork server, has ended too early.

    Beam itself notices only the end of a worker that has connected to it.
    """
    with open(losses, "rb", 0) as pipe:
        pipe.read(1)
    while _server is not None:  # again and again, as Beam may give a worker more work until it knows
        for call in list(_when_lost):
            call()
        time.sleep(_SECONDS_BETWEEN_CALLS)


def start_worker(environment: Mapping[str, str], when_lost: Callable[[], None]) -> None:
    """Starts a worker process.

    Args:
        environment: the environment variables by which Beam tells a worker whom to connect to.
        when_lost: is called when a worker has ended too early, maybe several times, in another thread.
    """
    _when_lost.append(when_lost)
    line = json.dumps(dict(environment)).encode() + b"\n"
    with _lock:
        while line:
            line = line[os.write(_requests, line) :]


def _serve(reader: int, told: int) -> None:
    """Runs the fork server, until the other end of the pipe is closed, also by the end of that process.

    Args:
        reader: the pipe with the requests.
        told: the pipe to write to when a worker has ended too early.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the launcher ends them
    workers: set[int] = set()

    def tell(*_: object) -> None:
        with contextlib.suppress(ChildProcessError):  # there are no workers any more
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                workers.discard(ended[0])
                if ended[1]:
                    os.write(told, b"x")

    signal.signal(signal.SIGCHLD, tell)
    with open(reader, "rb", 0) as requests:
        for number, line in enumerate(requests, start=1):
            child = os.fork()
            if not child:
                try:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    os.close(told)
                    if board := progress.board():
                        board.be_worker(number)
                    _work(json.loads(line))
                finally:
                    os._exit(1)
            workers.add(child)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in workers:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)  # it has done its work, or there is nobody left to do it for
            os.waitpid(child, 0)
    os._exit(0)


def _work(environment: Mapping[str, str]) -> None:
    """Runs a worker process. It logs to the same standard error as the launcher, and shows nothing else there."""
    from apache_beam.runners.worker import sdk_worker_main

    os.environ.update(environment)
    log = os.fdopen(os.dup(2), "w")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(log)
            handler.addFilter(_is_worth_showing)
    worker.stay_with(os.getppid())
    sdk_worker_main.main(sys.argv)
    os._exit(0)


def _is_worth_showing(record: logging.LogRecord) -> bool:
    """Whether the launcher would show a line of the log. Beam changes the level of all loggers in a worker."""
    return record.levelno >= logging.WARNING or record.name == "pipeline"
