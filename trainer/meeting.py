"""Where the processes that train together meet: whether all have come, and agree on what they are going to do."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from trainer.cluster import RESUME, VARIABLE, Process, ProcessLost, split_address
from trainer.errors import UserError

_SECONDS_BETWEEN_TRIES = 0.1
_SECONDS_TO_ANSWER = 2.0
_BYTES_AT_ONCE = 1 << 16
_LONGEST_LINE = 1 << 20


def meet(process: Process, settings: dict[str, Any], seconds: float) -> None:
    """Waits until all processes have come, and compares what they are going to do.

    Every process listens at its address. Each calls each other one, and both tell their rank and their settings. Once
    all have heard all, the addresses are free again for TensorFlow.

    Args:
        process: this process.
        settings: what all processes must agree on, JSON values by name. Messages show the first that differs.
        seconds: how long to wait.

    Raises:
        UserError: the address of this process is in use, a process takes itself for another one than TF_CONFIG says,
            or it has other settings.
        ProcessLost: a process has not come in time.
    """
    hello = {"rank": process.rank, "settings": {"the addresses": list(process.addresses), **settings}}
    hello = json.loads(json.dumps(hello))  # tuples become lists, as in what the others send
    deadline = time.monotonic() + seconds
    others = {rank for rank in range(process.size) if rank != process.rank}
    heard: set[int] = set()  # who has answered
    with _Listener(process, hello) as listener:
        while not others <= heard & listener.served:
            for rank, answer in _call_all(process, sorted(others - heard), hello, deadline):
                _compare(process, hello, answer, rank)
                heard.add(rank)
            for caller in listener.callers.copy():
                _compare(process, hello, caller)
            if time.monotonic() > deadline:
                missing = sorted(others - heard) or sorted(others - listener.served)
                raise ProcessLost(
                    f"{', '.join(map(process.name, missing))} did not come within {seconds:g} s: expected all "
                    "processes to start at about the same time, at addresses that reach each other, with the same "
                    f"flags and the same {VARIABLE} but for its task; then {RESUME}"
                )
            time.sleep(_SECONDS_BETWEEN_TRIES)


class _Listener:
    """Answers everyone who calls the address of this process, for the time of a `with` block."""

    def __init__(self, process: Process, hello: dict[str, Any]) -> None:
        self._hello = hello
        self._connections: list[socket.socket] = []
        self.callers: list[dict[str, Any]] = []  # what they have told
        self.served: set[int] = set()  # the ranks of those who have got an answer
        _, port = split_address(process.addresses[process.rank])
        dual = socket.has_dualstack_ipv6()
        try:
            self._socket = socket.create_server(
                ("", port), family=socket.AF_INET6 if dual else socket.AF_INET, dualstack_ipv6=dual, backlog=1024
            )
        except OSError as error:
            raise UserError(
                f"{process.name(process.rank)} cannot listen at port {port} ({os.strerror(error.errno or 0)}): "
                f"expected a free port, and one process for each task of {VARIABLE}"
            ) from error

    def __enter__(self) -> "_Listener":
        self._thread = threading.Thread(target=self._answer_all, name="meeting", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, which waits for the next call
        self._thread.join(_SECONDS_TO_ANSWER)
        self._socket.close()
        # TensorFlow's server of another process may have called already. It would wait 20 s before it calls again.
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _answer_all(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # the block has ended
            self._connections.append(connection)
            # A caller may be slow, or none of the processes. The others need not wait for it.
            threading.Thread(target=self._answer, args=(connection,), name="answer", daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError):  # of a caller that is none of us, or has ended
            caller = _receive(connection, {"rank": int, "settings": dict})
            self.callers.append(caller)
            _send(connection, self._hello)
            self.served.add(_receive(connection, {"heard": int})["heard"])


def _call_all(
    process: Process, ranks: Sequence[int], hello: dict[str, Any], deadline: float
) -> list[tuple[int, dict[str, Any]]]:
    """Tells other processes who this one is. Returns the ranks of those that are there already, and what they answer.

    It calls all at the same time, since some addresses may neither take a call nor refuse it.
    """
    answers: dict[int, dict[str, Any]] = {}

    def call(rank: int) -> None:
        host, port = split_address(process.addresses[rank])
        with contextlib.suppress(OSError, ValueError):  # it is not there yet, or something else is
            with socket.create_connection((host.strip("[]"), port), timeout=_SECONDS_TO_ANSWER) as connection:
                if connection.getsockname() == connection.getpeername():
                    return  # nobody listens there, and the system has given this very port to the call
                _send(connection, hello)
                answer = _receive(connection, {"rank": int, "settings": dict})
                _send(connection, {"heard": process.rank})
            answers[rank] = answer

    threads = [threading.Thread(target=call, args=(rank,), name="call", daemon=True) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()) + _SECONDS_BETWEEN_TRIES)  # looking a name up may take longer
    return sorted(answers.copy().items())


def _send(connection: socket.socket, value: dict[str, Any]) -> None:
    connection.sendall(json.dumps(value).encode() + b"\n")


def _receive(connection: socket.socket, fields: dict[str, type]) -> dict[str, Any]:
    """The JSON object on the next line of a connection.

    Args:
        connection: the connection.
        fields: which values the object must have, by name, and of which types.

    Raises:
        OSError: it does not come in time.
        ValueError: there is something else.
    """
    deadline = time.monotonic() + _SECONDS_TO_ANSWER
    line = b""
    while not line.endswith(b"\n"):
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        piece = connection.recv(_BYTES_AT_ONCE)
        line += piece
        if not piece or not line.startswith(b"{") or len(line) > _LONGEST_LINE or time.monotonic() > deadline:
            raise ValueError("no line")
    try:
        value = json.loads(line)
    except RecursionError as error:
        raise ValueError("no object of ours") from error
    if not isinstance(value, dict) or not all(isinstance(value.get(name), kind) for name, kind in fields.items()):
        raise ValueError("no object of ours")
    return value


def _compare(process: Process, mine: dict[str, Any], theirs: dict[str, Any], rank: int | None = None) -> None:
    """Raises UserError if a process is not the one that it should be, or is going to do something else.

    Args:
        process: this process.
        mine: what it says.
        theirs: what the other one says.
        rank: the other one's rank in TF_CONFIG; None if it has called, so that nobody knows its address.
    """
    found = theirs["rank"]
    if found != rank if rank is not None else found == process.rank:
        where = f"the process at {process.addresses[rank]}" if rank is not None else "another process"
        raise UserError(
            f"{where} says that it is process {found} of {process.size}, as does the one at "
            f"{process.addresses[found]}: expected one process for each task of {VARIABLE}, at its address"
            if 0 <= found < process.size
            else f"{where} says that it is process {found}: expected one process for each task of {VARIABLE}"
        )
    for name in {**mine["settings"], **theirs["settings"]}:  # those of another version may have other names
        value, other = mine["settings"].get(name), theirs["settings"].get(name)
        if other != value:
            raise UserError(
                f"process {found} has {name} {other}, but process {process.rank} has {value}: expected the same for "
                "all processes that train together"
            )
