"""How far the stages of a job are: workers add up the bytes that they have done, and the command shows the sums.

The numbers are in a board: a piece of memory that this process shares with its copies, the worker processes of
`pipeline.forks`. Each worker has a row of its own, so there is no lock between processes. Workers on other machines
have no board, and log how far they are instead.
"""

import contextlib
import logging
import mmap
import threading
import time
from collections.abc import Iterator, Sequence

COUNTING = "counting words"
EXAMPLES = "writing examples"

_SECONDS_BETWEEN = 10
_ROWS = 1024  # if there are more workers, two of them share a row, and some numbers may be lost
_NUMBER_BYTES = 8

logger = logging.getLogger("pipeline")


def phrases_round(number: int, num_rounds: int) -> str:
    """The name of the stage that learns the phrases of a round, from 1."""
    return f"learning phrases, round {number} of {num_rounds}" if num_rounds > 1 else "learning phrases"


class Board:
    """Numbers of bytes by worker and by stage.

    Args:
        stages: the names of the stages, in their order.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        self.stages = tuple(stages)
        memory = mmap.mmap(-1, _ROWS * len(self.stages) * _NUMBER_BYTES)  # filled with zeros
        self._numbers = memoryview(memory).cast("q")
        self._row = 0
        self._lock = threading.Lock()  # the workers of one process are its threads

    def be_worker(self, number: int) -> None:
        """Gives this process a row. The command's own process is number 0."""
        self._row = number % _ROWS

    def add(self, stage: str, num_bytes: int) -> None:
        """Adds to what this worker has done in a stage."""
        place = self._row * len(self.stages) + self.stages.index(stage)
        with self._lock:
            self._numbers[place] += num_bytes

    def amounts(self) -> list[int]:
        """What all workers together have done, by stage."""
        return [sum(self._numbers[column :: len(self.stages)]) for column in range(len(self.stages))]


_board: Board | None = None


def board() -> Board | None:
    """The board that this process shares, if there is one."""
    return _board


@contextlib.contextmanager
def shared_board(stages: Sequence[str]) -> Iterator[None]:
    """Has a board during the block. Processes that are forked in the block share it.

    Args:
        stages: the names of the stages, in their order.
    """
    global _board
    _board = Board(stages)
    try:
        yield
    finally:
        _board = None


class Progress:
    """Adds up the bytes of the input that a worker has done in a stage.

    Where there is no board with this stage, it logs the sum, at most once in ten seconds.

    Args:
        stage: the name of the stage.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._board = _board if _board is not None and stage in _board.stages else None
        self._amount = 0
        self._next = time.monotonic() + _SECONDS_BETWEEN

    def add(self, num_bytes: int) -> None:
        """Adds to the sum."""
        if self._board is not None:
            self._board.add(self._stage, num_bytes)
            return
        self._amount += num_bytes
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS_BETWEEN
            logger.info("%s: %d MB done by this worker", self._stage, self._amount // 1_000_000)
