"""Blocks of the rows of a table, so that a table can be filled, saved and exported without a second one.

`variable[rows]` and `variable[rows].assign(values)` would copy the whole variable each time.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

BLOCK_BYTES = 64 << 20
_TABLE_RANK = 2


def row_blocks(num_rows: int, dimension: int, block_bytes: int = 0) -> Iterator[slice]:
    """The ranges of the blocks of a float32 table [num_rows, dimension].

    A block takes `block_bytes` at most, by default 64 MB, but has 4 rows at least. The number of its rows is a multiple
    of 4, unless it is the last. If several processes have a part of the columns each, `dimension` counts those of all,
    so that the blocks are the same for any number of processes.
    """
    step = max(4, (block_bytes or BLOCK_BYTES) // (4 * dimension) // 4 * 4)
    return (slice(start, min(start + step, num_rows)) for start in range(0, num_rows, step))


def is_table(variable: tf.Variable) -> bool:
    """Whether a variable has rows and columns. Others have one number for each row, or one number."""
    return len(variable.shape) == _TABLE_RANK


def read_rows(variable: tf.Variable, rows: slice) -> tf.Tensor:
    """The rows of a block: [n, columns] of a table, [n] of a variable with one number for each row."""
    return tf.gather(variable, tf.range(rows.start, rows.stop))


def write_rows(variable: tf.Variable, rows: slice, values: tf.Tensor) -> None:
    """Replaces the rows of a block by others, [n, columns]."""
    tf.raw_ops.ResourceStridedSliceAssign(
        ref=variable.handle, begin=[rows.start], end=[rows.stop], strides=[1], value=values
    )


def replace_rows(variable: tf.Variable, ids: np.ndarray, values: np.ndarray) -> None:
    """Replaces rows by others.

    Args:
        variable: a table, or a variable with one number for each row.
        ids: n different rows.
        values: [n, columns] or [n], the new contents of each.
    """
    tf.raw_ops.ResourceScatterUpdate(resource=variable.handle, indices=ids.astype(np.int64), updates=values)
