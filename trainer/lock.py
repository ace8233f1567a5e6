"""A lock on an output directory, so that two runs never write to it at the same time.

On file systems, it is a lock that the system releases when the process ends, however it ends. Object stores have no
locks. There, it is a lease: an object that its owner renews, and that another run may take over once it is old.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from trainer.errors import UserError
from trainer.interrupt import cleaning_up

LOCK_FILE = ".lock"  # in the directory; it names the owner, and is there only as long as a run writes

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}  # the file system has none
_LONGEST_COMMAND = 100  # characters of the owner's command in a message
_held: set[int] = set()  # the file descriptors of this process's locks


@contextlib.contextmanager
def locked(directory: str, flag: str) -> Iterator[None]:
    """Keeps other runs from writing to a directory during the block.

    On an object store, another run can take the directory over after this one has failed to renew its lease for two
    minutes, for example because the machine was suspended. This run notices that at the end of the block.

    Args:
        directory: the directory, which exists.
        flag: the flag that names it, for messages.

    Raises:
        UserError: another run has the directory, or it cannot be written to. The message says who has it, since when.
    """
    if "://" in directory:
        with Lease(directory, flag).held():
            yield
        return
    try:
        descriptor = _acquire(directory, flag)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise UserError(
                f"{flag} {directory} cannot be written to ({error.strerror}): "
                "expected a directory that can be written to, with space left"
            ) from error
        with Lease(directory, flag).held():
            yield
        return
    path = os.path.join(directory, LOCK_FILE)
    _held.add(descriptor)
    try:
        with cleaning_up(lambda: _remove(path)):
            yield
    finally:
        _remove(path)  # while it is locked, so that nobody else's file is removed
        _held.discard(descriptor)
        os.close(descriptor)


class Lease:
    """A lease on a directory of an object store.

    Args:
        directory: the directory.
        flag: the flag that names it, for messages.
        renew_seconds: the time between two renewals.
        expiry_seconds: how old a lease must be until another run may take it over.
        settle_seconds: after this time the lease is read back, to see whether another run has written one, too.
    """

    def __init__(
        self,
        directory: str,
        flag: str,
        *,
        renew_seconds: float = 30.0,
        expiry_seconds: float = 120.0,
        settle_seconds: float = 2.0,
    ) -> None:
        self._directory = directory
        self._flag = flag
        self._path = f"{directory.rstrip('/')}/{LOCK_FILE}"
        self._renew_seconds = renew_seconds
        self._expiry_seconds = expiry_seconds
        self._settle_seconds = settle_seconds
        self._owner = {**_this_run(), "token": uuid.uuid4().hex}
        self._ended = threading.Event()
        self._lost: dict[str, Any] | None = None  # who has taken the lease over

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds the lease during the block.

        Raises:
            UserError: another run has the lease, or has taken it over during the block.
        """
        holder = self._read()
        if holder and time.time() - holder.get("renewed", 0) < self._expiry_seconds:
            raise UserError(_in_use(self._flag, self._directory, holder))
        self._write()
        time.sleep(self._settle_seconds)
        holder = self._read()
        if not self._is_mine(holder):  # of two runs that start at the same time, the one that wrote last goes on
            raise UserError(_in_use(self._flag, self._directory, holder))
        renewals = threading.Thread(target=self._renew_until_the_end, name="lease", daemon=True)
        renewals.start()
        try:
            with cleaning_up(self._release):
                yield
        finally:
            self._ended.set()
            renewals.join(timeout=self._renew_seconds)
            self._release()
        if self._lost is not None:
            raise UserError(
                f"{self._flag} {self._directory} was taken over by {_owner_text(self._lost)}, as this run could not "
                f"renew {self._path} for {self._expiry_seconds:g} s: expected one run at a time; start again"
            )

    def _renew_until_the_end(self) -> None:
        while not self._ended.wait(self._renew_seconds):
            with contextlib.suppress(Exception):  # the store may be out of reach for a while
                holder = self._read()
                if not self._is_mine(holder):
                    self._lost = holder
                    return
                self._write()

    def _is_mine(self, holder: dict[str, Any]) -> bool:
        return holder.get("token") == self._owner["token"]

    def _read(self) -> dict[str, Any]:
        """The owner of the lease; empty if there is none."""
        from tensorflow import errors  # takes seconds, and is only needed here
        from tensorflow.io import gfile

        for _ in range(3):  # on a file system, one may see half of what another run is writing
            try:
                with gfile.GFile(self._path, "r") as file:
                    text = file.read()
            except errors.NotFoundError:  # there is none, or its owner has just removed it
                break
            if owner := _parsed(text):
                return owner
            time.sleep(0.1)
        return {}

    def _write(self) -> None:
        from tensorflow.io import gfile

        with gfile.GFile(self._path, "w") as file:
            file.write(json.dumps({**self._owner, "renewed": time.time()}))

    def _release(self) -> None:
        from tensorflow.io import gfile

        with contextlib.suppress(Exception):  # it gets old by itself
            if self._is_mine(self._read()):
                gfile.remove(self._path)


def _acquire(directory: str, flag: str) -> int:
    """Locks the file in the directory and writes into it who this run is. Returns the open file's descriptor."""
    path = os.path.join(directory, LOCK_FILE)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json.dumps(_this_run()).encode())
                return descriptor
        except BlockingIOError:
            message = _in_use(flag, directory, _owner_in(path))
            os.close(descriptor)
            raise UserError(message) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner has removed the file since it was opened here


def _is_at(path: str, descriptor: int) -> bool:
    """Whether an open file is still the one at the path."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):  # the whole directory may be gone
        os.remove(path)


def _forget_locks() -> None:
    """In a process that was forked without a new program: its copies of the descriptors do not keep the locks."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_locks)


def _this_run() -> dict[str, Any]:
    """What others are told about this run, as JSON values; `since` is in seconds since 1970."""
    program = " ".join([os.path.basename(sys.orig_argv[0]), *sys.orig_argv[1:]])
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time(), "command": program}


def _parsed(text: str) -> dict[str, Any]:
    """The owner that a lock file names; empty if the file does not make sense."""
    try:
        owner = json.loads(text)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _owner_in(path: str) -> dict[str, Any]:
    """The owner that a locked file names. Between locking and writing, there is none for a moment."""
    for _ in range(10):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            if owner := _parsed(file.read()):
                return owner
        time.sleep(0.01)
    return {}


def _in_use(flag: str, directory: str, owner: dict[str, Any]) -> str:
    return (
        f"{flag} {directory} is in use by {_owner_text(owner)}: expected one run at a time; wait for it, or name "
        "another directory"
    )


def _owner_text(owner: dict[str, Any]) -> str:
    try:
        since = f"{datetime.fromtimestamp(owner['since'], UTC):%Y-%m-%d %H:%M} UTC"
        command = str(owner["command"])
        if len(command) > _LONGEST_COMMAND:
            command = command[:_LONGEST_COMMAND] + "..."
        return f"process {owner['pid']} on host {owner['host']}, since {since} ({command})"
    except (KeyError, TypeError, ValueError, OverflowError):
        return "another run"
