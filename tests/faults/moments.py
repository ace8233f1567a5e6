"""Moments of a run, at which something can be done to it. Each says of an Attempt whether it has come."""

import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.fault import Attempt

Moment = Callable[[Attempt], bool]


def loaded(library: str) -> Moment:
    """A library whose path holds this text is in the memory of the process."""

    def has_come(attempt: Attempt) -> bool:
        try:
            return library in Path(f"/proc/{attempt.pid}/maps").read_text()
        except OSError:
            return False

    return has_come


def after(moment: Moment, seconds: float) -> Moment:
    """So many seconds after another moment."""
    since = []

    def has_come(attempt: Attempt) -> bool:
        if not since or since[0][0] is not attempt:
            if not moment(attempt):
                return False
            since[:] = [(attempt, time.monotonic())]
        return time.monotonic() - since[0][1] >= seconds

    return has_come


def started(attempt: Attempt) -> bool:
    return True


def says(text: str) -> Moment:
    """The text is on standard output or standard error."""

    def has_come(attempt: Attempt) -> bool:
        return any(text in file.read_text() for file in (attempt.stdout, attempt.stderr) if file.exists())

    return has_come


def appears(pattern: str) -> Moment:
    """A file or folder is in the output."""

    def has_come(attempt: Attempt) -> bool:
        try:
            return next(attempt.output.glob(pattern), None) is not None
        except OSError:  # it is being removed
            return False

    return has_come
