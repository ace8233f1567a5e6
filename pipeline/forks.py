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
from collections.abc import Iterator, Mapping

from pipeline import worker

_server: int | None = None  # the process id of the fork server
_requests = -1  # the file descriptor that it reads from, at this end
_lock = threading.Lock()


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
    sys.stdout.flush()
    _server = os.fork()
    if not _server:
        try:
            os.close(_requests)
            _serve(reader)
        finally:
            os._exit(1)
    os.close(reader)
    try:
        yield
    finally:
        server, _server = _server, None
        os.close(_requests)
        os.waitpid(server, 0)


def start_worker(environment: Mapping[str, str]) -> None:
    """Starts a worker process.

    Args:
        environment: the environment variables by which Beam tells a worker whom to connect to.
    """
    line = json.dumps(dict(environment)).encode() + b"\n"
    with _lock:
        while line:
            line = line[os.write(_requests, line) :]


def _serve(reader: int) -> None:
    """Runs the fork server, until the other end of the pipe is closed, also by the end of that process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the launcher ends them
    workers = []
    with open(reader, "rb", 0) as requests:
        for line in requests:
            child = os.fork()
            if not child:
                try:
                    _work(json.loads(line))
                finally:
                    os._exit(1)
            workers.append(child)
    for child in workers:
        os.kill(child, signal.SIGKILL)  # it has done its work, or there is nobody left to do it for
    for child in workers:
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
