"""Tells how a run goes: news as lines of the log, and on a terminal a line below them that shows what happens now.

News go to the logger "trainer". A command has them written to standard error. In other programs nothing is printed,
unless they configure logging or ask for it.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from trainer.console import ERASE_LINE, is_terminal

logger = logging.getLogger("trainer")
logger.addHandler(logging.NullHandler())  # without any handler, Python itself would print the warnings

_LEAST_BAR, _MOST_BAR = 6, 40  # the width of a bar


@contextlib.contextmanager
def written_to(stream: TextIO | None, quiet: bool) -> Iterator[None]:
    """Has news written to a stream during the block, each behind the time of the day.

    This concerns the whole process, so only a command may use it.

    Args:
        stream: a terminal or a file. A terminal also has the line that shows what happens now. None writes nothing.
        quiet: whether to write warnings alone.
    """
    global _line
    if stream is None:
        with silenced():
            yield
        return
    has_line = is_terminal(stream)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(f"{ERASE_LINE if has_line else ''}%(asctime)s %(message)s", "%H:%M:%S"))
    _line = _Line(stream) if has_line and not quiet else None
    try:
        with _handling(handler, logging.WARNING if quiet else logging.INFO):
            yield
    finally:
        if _line:
            _line.erase()
        _line = None


@contextlib.contextmanager
def printed() -> Iterator[None]:
    """Has news printed during the block, unless the program that calls it has configured logging to show them."""
    if logger.isEnabledFor(logging.INFO):
        yield
    else:
        with _handling(logging.StreamHandler(sys.stdout), logging.INFO):
            yield


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Has no news during the block. Of several processes that train together, only the chief has some."""
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def are_shown() -> bool:
    """Whether somebody reads the news."""
    return not logger.disabled and logger.isEnabledFor(logging.INFO)


def has_line() -> bool:
    """Whether there is a line that shows what happens now."""
    return _line is not None and not logger.disabled


def show(title: str, share: float | None = None, details: Sequence[str] = ()) -> None:
    """Shows what happens now, if there is such a line. It stays until something else is shown or told.

    Args:
        title: what happens, such as "exporting".
        share: how much of it is done, 0 to 1, which a bar shows; None if that is unknown.
        details: texts behind the bar, the most important last. A narrow terminal shows only the last of them.
    """
    if _line is not None and not logger.disabled:
        _line.show(title, share, details)


def fit(title: str, share: float | None, details: Sequence[str], width: int) -> tuple[str, int, str]:
    """What fits in a line.

    Args:
        title: see `show`.
        share: see `show`.
        details: see `show`.
        width: how many characters the line may have.

    Returns:
        The text before the bar, the width of the bar, and the text behind it. The width is 0 if there is no bar.
    """
    percent = [] if share is None else [f"{share:4.0%}"]
    for number in range(len(details) + 1):
        behind = "  ".join([*percent, *details[number:]])
        room = width - len(title) - len(behind) - 2
        if share is not None and room >= _LEAST_BAR:
            return f"{title} ", min(room, _MOST_BAR), f" {behind}"
        if share is None and room >= 0:
            break
    else:
        behind = "".join(percent)
    return f"{title}  {behind}".rstrip()[:width], 0, ""


class _Line:
    """The line of a terminal in which the cursor is.

    Lines of the log begin with `ERASE_LINE`, so they take its place, and it is drawn anew below them. The cursor is
    never hidden, so a process that is killed leaves nothing behind but the line.

    Args:
        stream: the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_drawn = False

    def show(self, title: str, share: float | None, details: Sequence[str]) -> None:
        """Draws the line."""
        self._is_drawn = True
        # The last column stays free, because some terminals begin a new line behind it.
        before, bar, behind = fit(title, share, details, self._columns() - 1)
        with contextlib.suppress(OSError):  # the terminal may be gone
            if bar:
                self._draw_bar(before, share or 0.0, bar, behind)
            else:
                self._stream.write(ERASE_LINE + before)
                self._stream.flush()

    def _draw_bar(self, before: str, share: float, width: int, behind: str) -> None:
        from rich.console import Console  # takes a tenth of a second, and is only needed here
        from rich.control import Control
        from rich.progress_bar import ProgressBar
        from rich.segment import ControlType
        from rich.text import Text

        columns = len(before) + width + len(behind) + 1
        console = Console(file=self._stream, force_terminal=True, highlight=False, width=columns)
        with console:  # all of it is written at once
            console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
            for each in (Text(before), ProgressBar(1.0, share, width), Text(behind)):
                console.print(each, end="", no_wrap=True, overflow="crop", crop=True)

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def erase(self) -> None:
        """Removes the line."""
        if self._is_drawn:
            with contextlib.suppress(OSError):
                self._stream.write(ERASE_LINE)
                self._stream.flush()


_line: _Line | None = None


@contextlib.contextmanager
def _handling(handler: logging.Handler, level: int) -> Iterator[None]:
    """Has a handler for news during the block."""
    before = (logger.level, logger.propagate)
    logger.setLevel(level)
    logger.propagate = False  # the handlers of the program would tell them twice
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
