"""RowwiseAdagrad against a plain loop, with rows that occur several times in a batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.optimizer import RowwiseAdagrad


def naive(table, batches, rate, power, initial):
    """Row-wise Adagrad, written as loops over the occurrences of rows."""
    table = table.astype(np.float64)
    accumulator = np.full(len(table), initial, np.float64)
    for rows, gradients in batches:
        for row, gradient in zip(rows, gradients, strict=True):
            accumulator[row] += np.mean(gradient.astype(np.float64) ** 2)
        for row, gradient in zip(rows, gradients, strict=True):
            table[row] -= rate * gradient / (accumulator[row] + 1e-10) ** power
    return table, accumulator


@pytest.mark.parametrize(("power", "initial"), [(0.5, 0.0), (0.5, 0.1), (0.45, 0.0)])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_updates_equal_those_of_the_loop(jit_compile, power, initial):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(10, 3)).astype(np.float32)
    batches = [(rng.integers(0, 6, 8), rng.normal(size=(8, 3)).astype(np.float32)) for _ in range(4)]
    variable = keras.Variable(table)
    optimizer = RowwiseAdagrad(0.3, power, initial)
    optimizer.build([variable])

    @tf.function(jit_compile=jit_compile)
    def step(rows, gradients):
        optimizer.apply_gradients([(tf.IndexedSlices(gradients, rows), variable)])

    for rows, gradients in batches:
        step(tf.constant(rows), tf.constant(gradients))
    expected, accumulator = naive(table, batches, 0.3, power, initial)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(optimizer.accumulators[0].numpy(), accumulator, rtol=1e-5)
    np.testing.assert_array_equal(variable.numpy()[6:], table[6:])


def test_the_squares_of_two_occurrences_are_added():
    """One row has the gradients 1 and 2. The accumulator is 1 + 4, and both are applied with the same rate."""
    variable = keras.Variable(np.zeros((2, 1), np.float32))
    optimizer = RowwiseAdagrad(1.0, power=0.5)
    optimizer.apply_gradients([(tf.IndexedSlices(tf.constant([[1.0], [2.0]]), tf.constant([0, 0])), variable)])
    np.testing.assert_allclose(variable.numpy(), [[-3 / np.sqrt(5)], [0]], rtol=1e-6)


def test_a_dense_gradient_is_one_occurrence_of_each_row():
    variable = keras.Variable(np.zeros((2, 2), np.float32))
    RowwiseAdagrad(1.0, power=0.5).apply_gradients([(tf.constant([[3.0, 4.0], [0.0, 0.0]]), variable)])
    np.testing.assert_allclose(variable.numpy(), [[-3 / np.sqrt(12.5), -4 / np.sqrt(12.5)], [0, 0]], rtol=1e-6)


def test_parts_are_applied_one_after_the_other_and_count_as_one_step():
    variables = [[keras.Variable(np.zeros((3, 1), np.float32)) for _ in range(2)] for _ in range(2)]
    parts = [
        [tf.IndexedSlices(tf.constant([[gradient]]), tf.constant([row])) for row in (0, 1)] for gradient in (1.0, 2.0)
    ]
    in_turn, reference = RowwiseAdagrad(0.1), RowwiseAdagrad(0.1)
    in_turn.apply_in_turn(parts, variables[0])
    for part in parts:
        reference.apply_gradients(zip(part, variables[1], strict=True))
    for a, b in zip(*variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert (int(in_turn.iterations), int(reference.iterations)) == (1, 2)


def test_the_state_is_one_number_a_row():
    optimizer = RowwiseAdagrad()
    optimizer.build([keras.Variable(np.zeros((1000, 64), np.float32))])
    assert [tuple(accumulator.shape) for accumulator in optimizer.accumulators] == [(1000,)]


def test_the_schedule_falls_linearly():
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 4, end_learning_rate=0.0)
    optimizer = RowwiseAdagrad(schedule)
    variable = keras.Variable(np.zeros((1, 1), np.float32))
    rates = []
    for _ in range(5):
        rates.append(float(optimizer.learning_rate))
        optimizer.apply_gradients([(tf.IndexedSlices(tf.constant([[1.0]]), tf.constant([0])), variable)])
    assert rates == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])


def test_config_round_trip():
    optimizer = RowwiseAdagrad(0.5, power=0.4, initial_accumulator=0.25, epsilon=1e-6)
    copy = RowwiseAdagrad.from_config(optimizer.get_config())
    assert copy.get_config() == optimizer.get_config()
