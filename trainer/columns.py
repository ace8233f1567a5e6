"""Which columns of the embedding tables a process holds, if several processes train together.

Each process holds the columns [start, stop) of every row of both tables, and all processes train on the same batches.
A scalar product of two embeddings is then the sum of what the processes compute from their columns, and so is the
squared norm of a gradient. `add_up` adds up such partial sums over all processes. Nothing else is exchanged, and the
result is that of one process, up to the order in which numbers are added.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

AddUp = Callable[[Sequence[tf.Tensor]], list[tf.Tensor]]


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
