"""RowwiseAdagrad: Adagrad with one number of state per row of an embedding table."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from trainer.columns import Columns


def learning_rate_of(optimizer: keras.optimizers.Optimizer) -> Callable[[], float]:
    """A function that returns the current learning rate. As a graph, a schedule takes a tenth of the time."""
    graph = tf.function(lambda: tf.convert_to_tensor(optimizer.learning_rate))
    return lambda: float(graph())


class RowwiseAdagrad(keras.optimizers.Optimizer):
    """Adagrad (Duchi et al. 2011) with one accumulator per row: the sum over steps of the mean square of its gradients.

    A step reads and writes only the rows that it uses. If a row occurs several times in a batch, the squares of all its
    occurrences are added first, and then every occurrence is applied with the same rate. Keras's own optimizers treat
    duplicates one after the other (Adagrad) or touch the whole table (Adam, momentum).

    Args:
        learning_rate: a number or a schedule.
        power: a row's rate is learning_rate / accumulator ** power. Adagrad has 0.5. With a little less, frequent rows
            keep a higher rate, which improves word similarity and analogies.
        initial_accumulator: the value of the accumulators before the first step.
        epsilon: is added to the accumulator, so that a row without a gradient stays as it is.
        columns: the columns of the tables that this process holds, if several train together; None for all.
        name: as for every Keras optimizer.
        **kwargs: as for every Keras optimizer.
    """

    is_rowwise = True  # accepts the gradients of rows with duplicates

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.2,
        power: float = 0.4,
        initial_accumulator: float = 0.0,
        epsilon: float = 1e-10,
        columns: Columns | None = None,
        name: str = "rowwise_adagrad",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.power = power
        self.initial_accumulator = initial_accumulator
        self.epsilon = epsilon
        self._columns = columns
        # XLA updates the rows in place, several times as fast as TensorFlow's own scatter on a CPU.
        self._update_rows = tf.function(_update_rows, jit_compile=True)
        self._mean_squares = tf.function(_mean_squares, jit_compile=True)
        self._apply = tf.function(_apply, jit_compile=True)

    def build(self, variables: Sequence[keras.Variable]) -> None:
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

    def advance(self, num_steps: tf.Tensor) -> tf.Tensor:
        """Counts steps that are done elsewhere.

        Args:
            num_steps: n, [] int32.

        Returns:
            The learning rates of these steps, [n] float32.
        """
        schedule, first = self._learning_rate, tf.identity(self.iterations.value)
        self.iterations.assign_add(tf.cast(num_steps, self.iterations.dtype))
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            return tf.fill([num_steps], tf.cast(self.learning_rate, tf.float32))
        return tf.map_fn(
            lambda step: tf.cast(schedule(step), tf.float32),
            first + tf.cast(tf.range(num_steps), first.dtype),
            fn_output_signature=tf.float32,
        )

    def update_step(
        self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Applies the gradient of one table. A dense gradient is one occurrence of each row."""
        if not isinstance(gradient, tf.IndexedSlices):
            gradient = tf.IndexedSlices(gradient, tf.range(tf.shape(gradient)[0]))
        accumulator = self.accumulators[self._get_variable_index(variable)]
        rate = tf.cast(learning_rate, gradient.values.dtype)
        self._update_rows(
            variable, accumulator.value, gradient.indices, gradient.values, rate, self.power, self.epsilon
        )

    def apply_in_turn(
        self, gradients: Sequence[Sequence[tf.IndexedSlices]], variables: Sequence[keras.Variable]
    ) -> None:
        """Applies the gradients of the parts of a batch one part after the other. All parts count as one step.

        The updates of one table do not wait for those of another.

        Args:
            gradients: for each part, the gradient of each variable.
            variables: the variables to update.
        """
        self.build(variables)
        learning_rate = self.learning_rate
        if self._columns is None or self._columns.is_whole:
            for part in gradients:
                for gradient, variable in zip(part, variables, strict=True):
                    self.update_step(gradient, variable.value, learning_rate)
        else:
            self._apply_columns(gradients, variables, learning_rate, self._columns)
        self.iterations.assign_add(1)

    def _apply_columns(
        self,
        gradients: Sequence[Sequence[tf.IndexedSlices]],
        variables: Sequence[keras.Variable],
        learning_rate: tf.Tensor,
        columns: Columns,
    ) -> None:
        """The same, where this process holds some columns. The mean squares are sums over all processes."""
        parts = [each for part in gradients for each in zip(part, variables, self.accumulators, strict=True)]
        squares = columns.add_up([self._mean_squares(part.values, columns.dimension) for part, _, _ in parts])
        for (part, variable, accumulator), mean_squares in zip(parts, squares, strict=True):
            rate = tf.cast(learning_rate, part.values.dtype)
            self._apply(
                variable.value,
                accumulator.value,
                part.indices,
                part.values,
                mean_squares,
                rate,
                self.power,
                self.epsilon,
            )

    def get_config(self) -> dict[str, Any]:
        """The arguments, for from_config, of an optimizer of all columns."""
        return {
            **super().get_config(),
            "power": self.power,
            "initial_accumulator": self.initial_accumulator,
            "epsilon": self.epsilon,
        }


def _update_rows(
    variable: tf.Variable,
    accumulator: tf.Variable,
    rows: tf.Tensor,
    gradients: tf.Tensor,
    learning_rate: tf.Tensor,
    power: float,
    epsilon: float,
) -> None:
    """Applies row-wise Adagrad to the rows [N] of a table, with their gradients [N, D]."""
    mean_squares = _mean_squares(gradients, gradients.shape[-1])
    _apply(variable, accumulator, rows, gradients, mean_squares, learning_rate, power, epsilon)


def _mean_squares(gradients: tf.Tensor, dimension: int) -> tf.Tensor:
    """What the columns [N, d] of gradients contribute to the means [N] of the squares of all D columns."""
    # The mean is a product with a constant, as XLA's own mean over the last axis is not vectorized on a CPU.
    return tf.linalg.matvec(tf.square(gradients), tf.fill([gradients.shape[-1]], 1.0 / dimension))


def _apply(
    variable: tf.Variable,
    accumulator: tf.Variable,
    rows: tf.Tensor,
    gradients: tf.Tensor,
    mean_squares: tf.Tensor,
    learning_rate: tf.Tensor,
    power: float,
    epsilon: float,
) -> None:
    """Updates rows [N] of a table, as _update_rows does, with the means [N] of the squares of their gradients."""
    accumulator.scatter_add(tf.IndexedSlices(mean_squares, rows))
    rates = learning_rate * (tf.gather(accumulator, rows) + epsilon) ** -power
    variable.scatter_sub(tf.IndexedSlices(gradients * rates[:, tf.newaxis], rows))
