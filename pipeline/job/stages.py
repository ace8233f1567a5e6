"""The stages of a job, how fast they go, and how long they still take. Pure Python.

The numbers come from a board of pipeline.progress. A stage has begun when something of it is done, and a stage ends
when the next one has begun.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from pipeline import progress
from pipeline.config import PipelineConfig

_SECONDS_OF_RATE = 30.0  # the rate is that of so many last seconds
_LEAST_SECONDS_OF_RATE = 1.0
_LEAST_BAR, _MOST_BAR = 6, 40  # characters


class Stage(NamedTuple):
    """A walk through the input."""

    title: str  # its name on the board
    afterwards: str  # what happens once all of the input is read
    walks: int = 1  # how often it goes through the input


def stages_of(config: PipelineConfig) -> list[Stage]:
    """The stages of a job, in their order."""
    rounds = [progress.phrases_round(number + 1, config.phrases) for number in range(config.phrases)]
    return [
        *(Stage(title, "scoring pairs") for title in rounds),
        Stage(progress.COUNTING, "adding up counts"),
        Stage(progress.EXAMPLES, "completing the dataset", config.passes),
    ]


class View(NamedTuple):
    """How far a stage is."""

    stage: Stage
    done: int  # bytes of the input
    total: int  # bytes in all; 0 if unknown
    seconds: float  # since it began
    rate: float  # bytes in a second; 0 if unknown

    @property
    def percent(self) -> int | None:
        """From 0 to 100, rounded down, so that 100 stands for all; None if unknown."""
        return 100 * self.done // self.total if self.total else None

    @property
    def seconds_left(self) -> float | None:
        """Until all of the input is read; None if unknown."""
        return (self.total - self.done) / self.rate if self.rate and 0 < self.done < self.total else None

    @property
    def is_read(self) -> bool:
        """Whether all of the input is read."""
        return 0 < self.total <= self.done


class Tracker:
    """Follows the stages of a job.

    Args:
        stages: in their order.
        input_bytes: the size of the input; 0 if unknown.
        now: the time at which the job starts, in seconds.
    """

    def __init__(self, stages: Sequence[Stage], input_bytes: int, now: float) -> None:
        self._stages = list(stages)
        self._input_bytes = input_bytes
        self._current = -1  # the number of the stage that has begun last
        self._began = now
        self._now = now
        self._samples: deque[tuple[float, int]] = deque()  # (time, bytes done) of the current stage

    def update(self, amounts: Sequence[int], now: float) -> View | None:
        """Takes in how much is done.

        Args:
            amounts: by stage, in bytes.
            now: the time in seconds.

        Returns:
            The stage that has ended since the last call, if there is one.
        """
        ended = None
        newest = max((number for number, amount in enumerate(amounts) if amount), default=-1)
        self._now = now
        if newest > self._current:
            if self._current >= 0:
                self._take(amounts[self._current])
                ended = self.view()
                self._began = now
            self._current = newest
            self._samples.clear()
        if self._current >= 0:
            self._take(amounts[self._current])
        return ended

    def _take(self, amount: int) -> None:
        # A bundle that was done twice, because a worker was lost, counts twice.
        total = self._total()
        self._samples.append((self._now, min(amount, total) if total else amount))
        while self._now - self._samples[0][0] > _SECONDS_OF_RATE:
            self._samples.popleft()

    def _total(self) -> int:
        return self._input_bytes * self._stages[self._current].walks

    def view(self) -> View | None:
        """How far the current stage is, with the rate of the last seconds; None before the first has begun."""
        if self._current < 0:
            return None
        (first, before), (last, done) = self._samples[0], self._samples[-1]
        rate = (done - before) / (last - first) if last - first >= _LEAST_SECONDS_OF_RATE else 0.0
        return View(self._stages[self._current], done, self._total(), self._now - self._began, rate)


# As text


def log_line(view: View) -> str:
    """How far a stage is, as a line of a log."""
    head = [view.stage.title, *([] if view.percent is None else [f"{view.percent} %"]), _amounts(view)]
    return ", ".join([" ".join(head), *_rate(view), *_left(view)])


def ended_line(view: View) -> str:
    """What is told of a stage that has ended."""
    return f"{view.stage.title}: {_size(view.done, view.done)} in {clock(view.seconds)}"


def bar_line(view: View, width: int) -> tuple[str, int, str]:
    """What a line of a terminal tells of a stage.

    Args:
        view: how far it is.
        width: how many characters the line may have.

    Returns:
        The text before the bar, the width of the bar, and the text behind it. If the line is narrow, the less important
        texts are left out. There is no bar, and its width is 0, if the line is too narrow or no share is known.
    """
    title, rate, left = view.stage.title, _rate(view), _left(view)
    percent = [] if view.percent is None else [f"{view.percent:3} %"]
    for texts in (
        [*percent, _amounts(view), *rate, clock(view.seconds), *left],
        [*percent, _amounts(view), *rate, *left],
        [*percent, _amounts(view), *left],
        [*percent, *left],
    ):
        behind = "  ".join(["", *texts])
        room = width - len(title) - len(behind) - 1
        if percent and room >= _LEAST_BAR:
            return f"{title} ", min(room, _MOST_BAR), behind[1:]
        if not percent and room >= 0:
            break
    texts = texts if room >= 0 else percent
    return "  ".join([title, *texts])[:width], 0, ""


def clock(seconds: float) -> str:
    """A time as minutes and seconds, with hours before them if there are any."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _left(view: View) -> list[str]:
    if view.is_read:
        return [view.stage.afterwards]
    return [] if view.seconds_left is None else [f"{clock(view.seconds_left)} left"]


def _rate(view: View) -> list[str]:
    return [f"{view.rate / 1e6:,.1f} MB/s"] if view.rate and not view.is_read else []


def _amounts(view: View) -> str:
    total = _size(view.total, view.total)
    return f"{_size(view.done, view.total).split()[0]} of {total}" if view.total else _size(view.done, view.done)


def _size(num_bytes: int, like: int) -> str:
    """A number of bytes, with the unit and the digits that suit the number `like`."""
    if like < 1e3:
        return f"{num_bytes} bytes"
    unit, name = (1e3, "kB") if like < 1e6 else (1e6, "MB")
    return f"{num_bytes / unit:,.{1 if like < 100 * unit else 0}f} {name}"
