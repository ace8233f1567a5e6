"""RowwiseAdagrad: Adagrad with one number of state per row of an embedding table."""

from collections.abc import Sequence

import keras
import tensorflow as tf


class RowwiseAdagrad(keras.optimizers.Optimizer):
    """Adagrad (Duchi et al. 2011) with one accumulator per row: the sum over steps of the mean square of its gradients.

    Only the rows that a step uses are read or written. Where a row occurs several times in a batch, the squares of all
    its occurrences are added first, then every occurrence is applied with the same rate; Keras's own optimizers treat
    duplicates one after the other (Adagrad) or touch the whole table (Adam, momentum).

    Args:
        learning_rate: a number or a schedule.
        power: a row's rate is learning_rate / accumulator ** power. At 0.5 that is Adagrad; a little less leaves
            frequent rows a higher rate, which word similarity and analogies gain by.
        initial_accumulator: what the accumulators start with.
        epsilon: added to the accumulator, so that a row without gradient stays as it is.
        **kwargs: as for every Keras optimizer.
    """

    is_rowwise = True  # takes gradients of rows as they come, duplicates and all

    def __init__(
        self,
        learning_rate=0.2,
        power: float = 0.4,
        initial_accumulator: float = 0.0,
        epsilon: float = 1e-10,
        name="rowwise_adagrad",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.power = power
        self.initial_accumulator = initial_accumulator
        self.epsilon = epsilon
        # XLA's scatter is in place, and several times as fast as TensorFlow's on a CPU.
        self._update_rows = tf.function(_update_rows, jit_compile=True)

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
        accumulator = self.accumulators[self._get_variable_index(variable)]
        rate = tf.cast(learning_rate, gradient.values.dtype)
        self._update_rows(
            variable, accumulator.value, gradient.indices, gradient.values, rate, self.power, self.epsilon
        )

    def apply_in_turn(self, gradients: Sequence[Sequence[tf.IndexedSlices]], variables: Sequence[keras.Variable]):
        """As apply_gradients, for gradients of several parts of a batch, one part after the other but as one step.

        Different tables do not wait for each other.

        Args:
            gradients: for each part, that of each variable.
            variables: what to update.
        """
        self.build(variables)
        learning_rate = self.learning_rate
        for part in gradients:
            for gradient, variable in zip(part, variables, strict=True):
                self.update_step(gradient, variable.value, learning_rate)
        self.iterations.assign_add(1)

    def get_config(self):
        """The arguments, for keras.optimizers.serialize."""
        return {
            **super().get_config(),
            "power": self.power,
            "initial_accumulator": self.initial_accumulator,
            "epsilon": self.epsilon,
        }


def _update_rows(variable, accumulator, rows, gradients, learning_rate, power, epsilon):
    """Row-wise Adagrad on the rows [N] of a table, with gradients [N, D]."""
    # A product with a constant: XLA's mean over the last axis is not vectorized on a CPU.
    dimension = gradients.shape[-1]
    mean_squares = tf.linalg.matvec(tf.square(gradients), tf.fill([dimension], 1.0 / dimension))
    accumulator.scatter_add(tf.IndexedSlices(mean_squares, rows))
    rates = learning_rate * (tf.gather(accumulator, rows) + epsilon) ** -power
    variable.scatter_sub(tf.IndexedSlices(gradients * rates[:, tf.newaxis], rows))
