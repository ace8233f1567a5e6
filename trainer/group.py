"""The processes that train together, once they have met: what they add up, tell each other and decide.

They are connected by TensorFlow's MultiWorkerMirroredStrategy. Its servers notice within seconds if a process has ended
or hangs, and end all sums that wait for it with an error.
"""

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from trainer import interrupt
from trainer.cluster import LOST, RESUME, VARIABLE, Process, ProcessLost
from trainer.columns import Columns
from trainer.console import program
from trainer.errors import UserError
from trainer.meeting import meet

_SECONDS_TO_CONNECT = 60.0
_SMALLEST_WIDTH = 1 << 10  # bytes of a text that is exchanged
_TASK = re.compile(r"/job:worker/(?:replica:0/)?task:(\d+)")
# What TensorFlow writes in errors of sums that wait for a process in vain.
_LOST = re.compile(
    r"Collective ops is aborted|stopped sending heartbeats|Connection reset by peer|failed to connect to all"
)


class Group:
    """The group of a process that trains alone. All methods are those of a `Cluster`, and cost nothing."""

    rank = 0
    size = 1

    @property
    def is_chief(self) -> bool:
        """Whether this process prints, logs and exports."""
        return self.rank == 0

    def columns(self, dimension: int) -> Columns:
        """The columns of tables [V, dimension] that this process holds."""
        return Columns.whole(dimension)

    def exchange(self, text: str) -> list[str]:
        """Tells all processes a text. Returns the texts of all, by rank. Every process must call it."""
        return [text]

    def told_by_chief(self, text: str = "") -> str:
        """Returns the chief's text. Every process must call it; what others than the chief give does not matter."""
        return self.exchange(text if self.is_chief else "")[0]

    def agree(self, is_right: bool) -> bool:
        """Whether something is right in all processes. Every process must call it."""
        is_agreed = all(self.exchange("1" if is_right else ""))
        if not is_agreed:
            with contextlib.suppress(tf.errors.OpError):  # so that nobody ends because of that before all know it
                self.wait()
        return is_agreed

    def wait(self) -> None:
        """Waits until all processes call it."""
        self.exchange("")

    def part(self) -> None:
        """Waits until all processes call it, and then until none needs this one any more."""
        self.wait()
        with contextlib.suppress(tf.errors.OpError):  # another one has left already
            self.wait()

    def has_lost(self, error: BaseException) -> bool:
        """Whether an error tells of a lost process."""
        return False

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Turns the error that tells of a lost process into one that says which, for the time of a `with` block.

        Raises:
            ProcessLost: another process has ended, or hangs.
        """
        yield


class Cluster(Group):
    """A group of several processes.

    Args:
        process: this process.

    Raises:
        UserError: TensorFlow has done something already in this process.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self.rank, self.size = process.rank, process.size
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": list(process.addresses)}),
            task_type="worker",
            task_id=process.rank,
            num_accelerators={"GPU": min(1, len(tf.config.get_visible_devices("GPU")))},
        )
        try:
            self._strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
        except RuntimeError as error:
            raise UserError(
                "this program has used TensorFlow before it called train, but TensorFlow has to know from the start "
                f"that several processes train together ({VARIABLE}): call train first"
            ) from error
        self._add_up_now = tf.function(self.add_up)

    def columns(self, dimension: int) -> Columns:
        return Columns.share(dimension, self.rank, self.size, self.add_up)

    def add_up(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Adds up float32 tensors over all processes, in one exchange. See trainer.columns."""
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
        total = self._strategy.run(_sum_over_processes, args=(flat,))
        pieces = tf.split(total, [tf.size(tensor) for tensor in tensors])
        return [tf.reshape(piece, tf.shape(tensor)) for piece, tensor in zip(pieces, tensors, strict=True)]

    def exchange(self, text: str) -> list[str]:
        content = text.encode()
        lengths = self._all_of(tf.one_hot(self.rank, self.size) * len(content))
        if not max(lengths):
            return [""] * self.size
        # TensorFlow makes a graph for each width, so there are few of them.
        width = max(_SMALLEST_WIDTH, 1 << (int(max(lengths)) - 1).bit_length())
        rows = [list(content.ljust(width, b"\0")) if rank == self.rank else [0] * width for rank in range(self.size)]
        numbers = self._all_of(tf.constant(rows, tf.float32))
        return [bytes(map(int, row[: int(n)])).decode() for row, n in zip(numbers, lengths, strict=True)]

    def _all_of(self, numbers: tf.Tensor) -> Any:
        (total,) = self._add_up_now([numbers])
        return total.numpy()

    def has_lost(self, error: BaseException) -> bool:
        return isinstance(error, tf.errors.OpError) and bool(_LOST.search(error.message or ""))

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            if not self.has_lost(error):
                raise
            ranks = sorted({int(found) for found in _TASK.findall(error.message)} - {self.rank})
            # If the error names no process, it was the chief, whose server watches over the others.
            ranks = ranks or ([0] if self.rank else [])
            names = [self._process.name(rank) for rank in ranks if rank < self.size]
            raise ProcessLost(
                f"{' and '.join(names) or 'another process'} has ended or cannot be reached any more, {LOST}; {RESUME}"
            ) from error


def _sum_over_processes(tensor: tf.Tensor) -> tf.Tensor:
    # The identity gives the tensor a device, without which TensorFlow would not know where to put the sum.
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(tensor))


def join(process: Process | None, settings: dict[str, Any], seconds: float) -> Group:
    """Meets the other processes, and connects this one with them. It must come before anything else of TensorFlow.

    Args:
        process: this process, or None if it trains alone.
        settings: what all processes must agree on, JSON values by name.
        seconds: how long to wait for the others.

    Raises:
        UserError: the processes do not agree, see trainer.meeting.meet.
        ProcessLost: a process has not come in time.
    """
    if process is None:
        return Group()
    meet(process, settings, seconds)
    with _ending_after(_SECONDS_TO_CONNECT, process), interrupt.keeping_handlers():
        group = Cluster(process)
        with group.watching():
            group.wait()
    return group


@contextlib.contextmanager
def _ending_after(seconds: float, process: Process) -> Iterator[None]:
    """Ends this process if the block takes longer, which happens if another process ends just then.

    TensorFlow would wait without end, and cannot be interrupted.
    """

    def end() -> None:
        line = (
            f"{program('python -m trainer.task')}: the connection between the {process.size} processes did not come "
            f"about within {seconds:g} s, as one of them has ended: look at what it has written; {RESUME}\n"
        )
        with contextlib.suppress(OSError):
            os.write(2, line.encode())
        sys.stdout.flush()
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
