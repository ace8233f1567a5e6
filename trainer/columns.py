"""Which columns of the embedding tables a process holds, if several processes train together.

Each process holds the columns [start, stop) of every row of both tables, and all processes train on the same batches.
A scalar product of two embeddings is then the sum of what the processes compute from their columns, and so is the
squared norm of a gradient. `add_up` adds up such partial sums over all processes. Nothing else is exchanged, and the
result is that of one process, up to the order in which numbers are added.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import tensorflow as tf

AddUp = Callable[[Sequence[tf.Tensor]], list[tf.Tensor]]
_BLOCK_BYTES = 64 << 20


@dataclass(frozen=True)
class Columns:
    """The columns of one process.

    Args:
        dimension: D, the number of columns of the whole tables.
        start: the first column of this process.
        stop: the column behind its last one.
        add_up: gets the partial sums of this process, float32 tensors, and returns the sums over all processes. All
            processes must call it in the same order, with tensors of the same shapes.
    """

    dimension: int
    start: int
    stop: int
    add_up: AddUp = list

    @classmethod
    def whole(cls, dimension: int) -> "Columns":
        """All columns, for a process that trains alone."""
        return cls(dimension, 0, dimension)

    @classmethod
    def share(cls, dimension: int, rank: int, size: int, add_up: AddUp) -> "Columns":
        """The columns of the process with the number `rank` of `size` processes. They differ by one column at most."""
        return cls(dimension, dimension * rank // size, dimension * (rank + 1) // size, add_up)

    @property
    def width(self) -> int:
        """The number of columns."""
        return self.stop - self.start

    @property
    def is_whole(self) -> bool:
        """Whether these are all columns."""
        return self.width == self.dimension


def row_blocks(num_rows: int, dimension: int) -> Iterator[slice]:
    """The ranges of rows in which a float32 table [num_rows, dimension] is made, saved and exported.

    A block takes 64 MB at most, so that none of these needs a second table. The number of its rows is a multiple of 4,
    unless it is the last. The ranges do not depend on the number of processes.
    """
    step = max(4, _BLOCK_BYTES // (4 * dimension) // 4 * 4)
    return (slice(start, min(start + step, num_rows)) for start in range(0, num_rows, step))
