"""Shows on standard error how far a job is: as a bar on a terminal, and as a line now and then in a log."""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

from pipeline import progress
from pipeline.config import PipelineConfig
from pipeline.console import ERASE_LINE, is_terminal
from pipeline.interrupt import asking_children
from pipeline.job.stages import Tracker, bar_line, ended_line, log_line, stages_of

_SECONDS_BETWEEN_BARS = 0.2
_SECONDS_BETWEEN_LOOKS = 1.0  # if there is no bar
_SECONDS_BETWEEN_LINES = 10.0

logger = logging.getLogger("pipeline")


@contextlib.contextmanager
def showing_progress(config: PipelineConfig, input_bytes: int) -> Iterator[None]:
    """Shows the stages of a job while the block runs it. Without a board there is nothing to show.

    What is shown begins once a worker has done something, so nothing is shown of workers on other machines.

    Args:
        config: the settings of the job.
        input_bytes: the size of the input; 0 if unknown.
    """
    board = progress.board()
    if board is None:
        yield
        return
    tracker = Tracker(stages_of(config), input_bytes, time.monotonic())
    shows = _Bar(tracker) if is_terminal() else _Lines(tracker)
    ended = threading.Event()

    def show() -> None:
        while not ended.wait(shows.seconds_between):
            shows.update(board.amounts(), time.monotonic())

    thread = threading.Thread(target=show, name="progress", daemon=True)
    thread.start()
    try:
        with asking_children(shows.interrupt):
            yield
            ended.set()
            thread.join()
            shows.update(board.amounts(), time.monotonic())
            shows.complete()
    finally:
        ended.set()
        thread.join()
        shows.close()


class _Lines:
    """Logs a line at most once in ten seconds.

    Args:
        tracker: follows the stages.
    """

    seconds_between = _SECONDS_BETWEEN_LOOKS

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._next = time.monotonic() + _SECONDS_BETWEEN_LINES

    def update(self, amounts: list[int], now: float) -> None:
        self._tracker.update(amounts, now)
        view = self._tracker.view()
        if view and now >= self._next:
            self._next = now + _SECONDS_BETWEEN_LINES
            logger.info("%s", log_line(view))

    def complete(self) -> None:
        pass

    def close(self) -> None:
        pass

    def interrupt(self) -> None:
        pass


class _Bar:
    """Draws a bar on a terminal, and logs a line for each stage that has ended.

    The bar is the line in which the cursor is. The lines of the log, which begin with `ERASE_LINE`, take its place, and
    it is drawn anew below them. The cursor is never hidden, so nothing is left behind if the process is killed.
    """

    seconds_between = _SECONDS_BETWEEN_BARS

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._draw: Callable[[], None] | None = None
        # Standard error is hidden when the process is interrupted.
        self._terminal = os.dup(2)

    def update(self, amounts: list[int], now: float) -> None:
        ended = self._tracker.update(amounts, now)
        if ended:
            logger.info("%s", ended_line(ended))
        if self._tracker.view():
            if self._draw is None:
                self._draw = _drawing(self._tracker)
            self._draw()

    def complete(self) -> None:
        if view := self._tracker.view():
            logger.info("%s", ended_line(view))

    def close(self) -> None:
        if self._draw:
            self._write(ERASE_LINE)
        os.close(self._terminal)

    def interrupt(self) -> None:
        """Puts a line in the place of the bar. The interrupted command ends this line."""
        if self._draw and (view := self._tracker.view()):
            self._write(f"{ERASE_LINE}{log_line(view)}")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone
            os.write(self._terminal, text.encode())


def _drawing(tracker: Tracker) -> Callable[[], None]:
    """A function that draws the bar of the current stage."""
    from rich.console import Console  # takes a tenth of a second, and is only needed here
    from rich.control import Control
    from rich.progress_bar import ProgressBar
    from rich.segment import ControlType
    from rich.text import Text

    console = Console(stderr=True, force_terminal=True, highlight=False)
    erase = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))

    def draw() -> None:
        view = tracker.view()
        assert view is not None
        console.width = _columns()
        # The last column stays free, because some terminals begin a new line behind it.
        before, width, behind = bar_line(view, console.width - 1)
        line = [Text(before), *([ProgressBar(view.total, view.done, width)] if width else []), Text(behind)]
        with contextlib.suppress(OSError), console:  # all of it is written at once
            console.control(erase)
            for each in line:
                console.print(each, end="", no_wrap=True, overflow="crop", crop=True)

    return draw


def _columns() -> int:
    """The width of the terminal. The variable COLUMNS may be that of another window, so it does not count."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
