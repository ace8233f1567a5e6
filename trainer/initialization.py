"""The random numbers with which an embedding table starts."""

import numpy as np
import tensorflow as tf

from trainer.columns import Columns
from trainer.row_blocks import row_blocks, write_rows

_PHILOX = 1  # TensorFlow's number for this algorithm, which Keras uses on CPUs and GPUs
_BYTES_OF_A_DRAW = 4 << 20  # are drawn at once
_NUMBERS_OF_A_DRAW = 4  # its counter goes up by 1 for so many numbers, so blocks begin at multiples of them


def fill(table: tf.Variable, limit: float, seed: int, columns: Columns) -> None:
    """Draws the numbers of a table uniformly from -limit to limit.

    They are those of keras.initializers.RandomUniform, which would take the memory of three tables to draw them.
    """
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=tf.constant([seed, 0], tf.int32))
    first = counter.numpy()
    for rows in row_blocks(table.shape[0], columns.dimension, _BYTES_OF_A_DRAW):
        drawn = tf.raw_ops.StatelessRandomUniformV2(
            shape=[rows.stop - rows.start, columns.dimension],
            key=key,
            counter=first + np.array([rows.start * columns.dimension // _NUMBERS_OF_A_DRAW, 0], np.uint64),
            alg=_PHILOX,
        )
        write_rows(table, rows, drawn[:, columns.start : columns.stop] * (2 * limit) - limit)
