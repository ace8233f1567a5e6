"""The embedding tables of a trained model: looking through them, giving them away block by block, freeing them."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from trainer import devices
from trainer.columns import Columns
from trainer.model import SkipGram
from trainer.optimizer import RowwiseAdagrad
from trainer.row_blocks import is_table, read_rows, row_blocks


def is_finite(model: SkipGram) -> bool:
    """Whether all numbers are finite in the columns that this process holds of both tables."""
    return all(
        bool(tf.reduce_all(tf.math.is_finite(read_rows(table.value, rows))))
        for table in model.trainable_variables
        for rows in row_blocks(model.vocab_size, model.embedding_dim)
    )


def contexts(model: SkipGram) -> Iterator[np.ndarray]:
    """The context embeddings, block by block; the arguments and what comes are those of `give_away`.

    The model stays as it is. If several processes train together, all must take all blocks.
    """
    return _blocks(model, model.context_embeddings.value)


def accumulators(model: SkipGram) -> list[Iterator[np.ndarray]]:
    """What row-wise Adagrad has added up for the rows of each table, block by block, [n] float32.

    All processes that train together have the same. Another optimizer has none.
    """
    if not isinstance(model.optimizer, RowwiseAdagrad):
        return []
    return [_vector_blocks(variable.value) for variable in model.optimizer.accumulators]


def give_away(model: SkipGram) -> Iterator[np.ndarray]:
    """The target embeddings, block by block. The model cannot be used any more.

    All other tables are freed at the first block, and the target embeddings after the last. If several processes train
    together, all must call this and take all blocks. Each gets the whole rows.

    Args:
        model: the model, whose optimizer is built.

    Yields:
        The rows of the blocks of trainer.row_blocks.row_blocks, [n, D] float32.
    """
    target, *others = [variable.value for variable in [*model.trainable_variables, *model.optimizer.variables]]
    _free(others)
    yield from _blocks(model, target)
    _free([target])


def _blocks(model: SkipGram, table: tf.Variable) -> Iterator[np.ndarray]:
    """The whole rows of one of the tables, block by block."""
    collector = Collector(model.columns)
    for rows in row_blocks(model.vocab_size, model.columns.dimension):
        yield collector.whole_rows(read_rows(table, rows))


def _vector_blocks(vector: tf.Variable) -> Iterator[np.ndarray]:
    return (read_rows(vector, rows).numpy() for rows in row_blocks(vector.shape[0], 1))


class Collector:
    """Puts together what the processes that train together have. All must call its methods in the same order.

    Args:
        columns: the columns of this process.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._add_up = tf.function(columns.add_up)

    def total(self, partial: tf.Tensor) -> np.ndarray:
        """The sum of what the processes give, such as products of their columns."""
        if not self._columns.is_whole:
            (partial,) = self._add_up([partial])
        return partial.numpy()

    def whole_rows(self, rows: tf.Tensor) -> np.ndarray:
        """Rows with the columns of all processes, [n, D], of which this process gives its own."""
        columns = self._columns
        if columns.is_whole:
            return rows.numpy()
        # A number plus zeros is the same number, so the sum of the processes' columns puts them side by side.
        return self.total(tf.pad(rows, [[0, 0], [columns.start, columns.dimension - columns.stop]]))


def _free(variables: list[tf.Variable]) -> None:
    """Frees the memory of tables. Graphs and checkpoints refer to them, so deleting the variables would not."""
    for variable in variables:
        if is_table(variable):
            empty = tf.zeros([0, variable.shape[1]], variable.dtype)
            tf.raw_ops.AssignVariableOp(resource=variable.handle, value=empty)
    devices.give_back_memory()
