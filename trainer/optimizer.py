"""RowwiseAdagrad: Adagrad with one number of state per row of an embedding table."""

import keras
import tensorflow as tf


class RowwiseAdagrad(keras.optimizers.Optimizer):
    """Adagrad (Duchi et al. 2011) with one accumulator per row: the sum over steps of the mean square of its gradients.

    Only the rows that a step uses are read or written. Where a row occurs several times in a batch, the squares of all
    its occurrences are added first, then every occurrence is applied with the same rate; Keras's own optimizers treat
    duplicates one after the other (Adagrad) or touch the whole table (Adam, momentum).

    Args:
        learning_rate: a number or a schedule.
        initial_accumulator: what the accumulators start with.
        epsilon: added to the accumulator, so that a row without gradient stays as it is.
        **kwargs: as for every Keras optimizer.
    """

    is_rowwise = True  # takes gradients of rows as they come, duplicates and all

    def __init__(
        self,
        learning_rate=0.2,
        initial_accumulator: float = 0.0,
        epsilon: float = 1e-10,
        name="rowwise_adagrad",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.initial_accumulator = initial_accumulator
        self.epsilon = epsilon

    def build(self, variables):
        """Makes an accumulator [rows] for each variable [rows, columns]."""
        if self.built:
            return
        super().build(variables)
        self.accumulators = [
            self.add_variable(
                shape=(variable.shape[0],),
                initializer=keras.initializers.Constant(self.initial_accumulator),
                name="accumulator",
            )
            for variable in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        """Applies one table's gradient, tf.IndexedSlices or dense."""
        if not isinstance(gradient, tf.IndexedSlices):
            gradient = tf.IndexedSlices(gradient, tf.range(tf.shape(gradient)[0]))
        rows, values = gradient.indices, gradient.values
        accumulator = self.accumulators[self._get_variable_index(variable)].value
        accumulator.scatter_add(tf.IndexedSlices(tf.reduce_mean(tf.square(values), axis=-1), rows))
        rate = tf.cast(learning_rate, values.dtype) * tf.math.rsqrt(tf.gather(accumulator, rows) + self.epsilon)
        variable.scatter_sub(tf.IndexedSlices(values * rate[:, tf.newaxis], rows))

    def get_config(self):
        """The arguments, for keras.optimizers.serialize."""
        return {
            **super().get_config(),
            "initial_accumulator": self.initial_accumulator,
            "epsilon": self.epsilon,
        }
