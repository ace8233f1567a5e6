"""A terminal for programs, and what can be seen on it in the end."""

import contextlib
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from tests.forked import ROOT

_PARTS = re.compile(r"\x1b\[([\d;?]*)([A-Za-z])|[\s\S]")


class Terminal:
    """A pseudo-terminal. It is a context manager.

    Args:
        columns: its width.

    Attributes:
        slave: the file descriptor for a program.
        written: all that was written to it.
    """

    def __init__(self, columns: int = 100) -> None:
        self._columns = columns
        self._master, self.slave = os.openpty()
        self.resize(columns)
        self.written = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def resize(self, columns: int) -> None:
        """Changes the width."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            os.close(self.slave)
        self._thread.join(10)
        os.close(self._master)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(self._master, 1 << 16):
                self.written += data

    def screens(self) -> Iterator[list[str]]:
        """What was to be seen before each time a line was erased, and in the end."""
        rows, column = [""], 0
        for part in _PARTS.finditer(self.written.decode()):
            text, (arguments, kind) = part.group(), part.groups()
            if kind == "K" and arguments == "2":
                yield rows.copy()
                rows[-1] = ""
            elif kind:
                assert kind == "m", f"{text!r} does more than to give text a colour"
            elif text == "\r":
                column = 0
            elif text == "\n":
                rows.append("")
            else:
                if column == self._columns:
                    rows.append("")
                    column = 0
                rows[-1] = rows[-1][:column].ljust(column) + text + rows[-1][column + 1 :]
                column += 1
        yield rows

    def screen(self) -> list[str]:
        """What is to be seen in the end."""
        *_, last = self.screens()
        return last


def matches(lines: Sequence[str], *patterns: str) -> bool:
    """Whether there is a line for each pattern, which matches all of it, and no other line."""
    return len(lines) == len(patterns) and all(map(re.fullmatch, patterns, lines))


def run_script(
    script: str, *args: str, terminal: Terminal | None = None, signal_at: str = "", env: Mapping[str, str]
) -> tuple[int, str, str | None]:
    """Runs a Python script in the checkout.

    Args:
        script: the script.
        args: its arguments.
        terminal: its standard error; a pipe if it is None.
        signal_at: a pattern; as soon as the terminal has shown it, the script is interrupted by Ctrl-C.
        env: the environment, to which the type of the terminal is added unless it has one.

    Returns:
        The exit code, standard output, and standard error unless that is a terminal.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", script, *args], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=terminal.slave if terminal else subprocess.PIPE,
        env={"TERM": "xterm-256color", **env},
    )  # fmt: skip
    if signal_at:
        assert terminal
        while not re.search(signal_at.encode(), terminal.written):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err
