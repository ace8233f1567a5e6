"""Ends a command in an orderly way when Ctrl-C (the signal SIGINT) or SIGTERM interrupts it.

A thread waits for the signals, because Python calls a signal's handler only between two instructions of the main
thread, and a call of TensorFlow can take minutes. The thread ends the process by os._exit. An exception would pass
through the code of others, which may swallow it, above all while modules are imported.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import Any

_SECONDS_TO_END = 4.0  # after them the process ends, whatever still hangs
_SECONDS_TO_STOP = 0.3  # so long the main thread has to reach its next instruction
_SECONDS_TO_FLUSH = 0.3  # what the command has printed
_SECONDS_BETWEEN_LOOKS = 0.01
_ACTION_BYTES = 512  # what a system notes of a signal's handler takes fewer
_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}

_line = {"program": "", "advice": ""}  # what the command says when it is interrupted
_functions: list[Callable[[], None]] = []  # what is called then, the newest last
_requests: list[Callable[[], None]] = []  # what is called before child processes are killed
_listener: threading.Thread | None = None
_main_stopped = threading.Event()
_psutil: ModuleType | None = None  # as soon as it is imported; until then, there are no child processes


def install(program: str, advice: str = "") -> None:
    """From now on, SIGINT and SIGTERM end this process in an orderly way.

    The process kills its child processes and theirs, writes the line "<program>: interrupted by Ctrl-C; <advice>" to
    standard error, calls the functions of `cleaning_up`, and ends with exit code 130 (SIGINT) or 143 (SIGTERM). It ends
    after 4 seconds even if something hangs, and a second signal ends it at once. A signal that the process was started
    to ignore stays ignored. A second call replaces the line.

    This concerns the whole process, so only a command may call it. Outside the main thread, it does nothing.

    Args:
        program: the name of the command.
        advice: what the user can do then; it may be empty.
    """
    global _listener, _psutil
    if threading.current_thread() is not threading.main_thread():
        return
    _line.update(program=program, advice=advice)
    if _listener is not None:
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)  # each signal writes its number there as it comes
    try:
        stderr = os.dup(2)  # standard error is hidden during imports
    except OSError:  # it is closed
        stderr = os.open(os.devnull, os.O_WRONLY)
    _listener = threading.Thread(target=_listen, args=(reader, stderr), name="interrupt", daemon=True)
    _listener.start()
    for number in _NAMES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop_main_thread)
    os.register_at_fork(after_in_child=_uninstall)
    # Not in the thread, which would wait for it without end if the signal stops the main thread in an import of it.
    import psutil

    _psutil = psutil


@contextlib.contextmanager
def keeping_handlers() -> Iterator[None]:
    """Keeps what happens at SIGINT and SIGTERM as it is, though a library puts its own handlers in place in the block.

    A thread puts the old ones back all the time. Python could do that only between two instructions of the main thread.
    """
    library = ctypes.CDLL(None)
    actions = {number: ctypes.create_string_buffer(_ACTION_BYTES) for number in _NAMES}
    for number, action in actions.items():
        library.sigaction(int(number), None, action)
    ended = threading.Event()

    def put_back() -> None:
        is_last = False
        while not is_last:
            is_last = ended.wait(_SECONDS_BETWEEN_LOOKS)
            for number, action in actions.items():
                library.sigaction(int(number), action, None)

    thread = threading.Thread(target=put_back, name="handlers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def cleaning_up(function: Callable[[], None]) -> Iterator[None]:
    """Calls a function if the process is interrupted during the block. Otherwise the block has no effect.

    The function runs in a thread of its own, in the midst of anything, and has less than 4 seconds. The main thread has
    stopped then, but others may still run. So the function should be small and must not wait for a lock. If it raises
    an exception, it is called again, three times in all.

    Args:
        function: for example, removes a folder or cancels a job.
    """
    _functions.append(function)
    try:
        yield
    finally:
        _functions.remove(function)


@contextlib.contextmanager
def asking_children(function: Callable[[], None]) -> Iterator[None]:
    """Calls a function before the child processes are killed, if the process is interrupted during the block.

    Args:
        function: asks them to end in an orderly way, and waits for that: 2 seconds at most, as it shares the 4 seconds
            of `cleaning_up`.
    """
    _requests.append(function)
    try:
        yield
    finally:
        _requests.remove(function)


def _stop_main_thread(number: int, frame: FrameType | None) -> None:
    """The handler of the signals. The main thread goes no further, while another ends the process."""
    _main_stopped.set()
    threading.Event().wait()


def _uninstall() -> None:
    """In a process that was forked without a new program: a signal ends it, and nothing else."""
    signal.set_wakeup_fd(-1)
    for number in _NAMES:
        if signal.getsignal(number) is _stop_main_thread:
            signal.signal(number, signal.SIG_DFL)


def _listen(reader: int, stderr: int) -> None:
    """Waits for a signal, and for the end that the signal brings about."""
    while (number := os.read(reader, 1)[0]) not in _NAMES:
        pass
    code = 128 + number  # as shells write it of a process that a signal ended
    threading.Thread(target=_end, args=(number, stderr, code), name="interrupted", daemon=True).start()
    select.select([reader], [], [], _SECONDS_TO_END)  # until the time is over, or a second signal comes
    os._exit(code)


def _end(number: int, stderr: int, code: int) -> None:
    """Ends the process. Each part is tried, whatever becomes of those before."""
    _main_stopped.wait(_SECONDS_TO_STOP)
    _hide_stderr()  # what other threads have to say about children that are gone is of no use
    for request in reversed(_requests.copy()):
        _try(request)
    _kill_children()
    advice = f"; {_line['advice']}" if _line["advice"] else ""
    line = f"{_line['program']}: interrupted by {_NAMES[signal.Signals(number)]}{advice}\n"
    with contextlib.suppress(OSError):
        new_line = "\n" if os.isatty(stderr) else ""  # a terminal shows ^C, and often half a line of progress
        os.write(stderr, (new_line + line).encode(errors="backslashreplace"))
    for function in reversed(_functions.copy()):
        _try(function)
    _kill_children()  # those that were just being started
    # In a thread of its own, because the main thread may have stopped in the midst of writing, and then holds the lock.
    flushing = threading.Thread(target=_flush, daemon=True)
    flushing.start()
    flushing.join(_SECONDS_TO_FLUSH)
    os._exit(code)


def _flush() -> None:
    with contextlib.suppress(Exception):
        sys.stdout.flush()


def _try(function: Callable[[], None]) -> None:
    """Calls a function, and again if it fails: another thread may have written to the folder that it removes."""
    for _ in range(3):
        with contextlib.suppress(Exception):
            return function()
        time.sleep(0.05)


def _hide_stderr() -> None:
    with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def _kill_children() -> None:
    """Kills all child processes and theirs, and waits until they are gone, or for a second."""
    if _psutil is None:
        return
    children: dict[int, Any] = {}
    with contextlib.suppress(_psutil.Error, OSError):
        # They stop first: a process that is killed while it starts another would leave an orphan, which nobody finds.
        while new := [child for child in _psutil.Process().children(recursive=True) if child.pid not in children]:
            for child in new:
                children[child.pid] = child
                with contextlib.suppress(_psutil.Error):
                    child.suspend()
    for child in children.values():
        with contextlib.suppress(_psutil.Error):
            child.kill()
    deadline = time.monotonic() + 1
    while any(_is_running(child, _psutil) for child in children.values()) and time.monotonic() < deadline:
        time.sleep(0.01)


def _is_running(process: Any, psutil: ModuleType) -> bool:
    """Whether a process has not ended. A zombie has ended, but nobody has asked for its exit code yet."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
