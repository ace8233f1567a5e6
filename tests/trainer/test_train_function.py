"""Several steps in one call: every batch once and in order, on a CPU and by the way that batches take to a GPU."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from tests import forked
from trainer.train_function import from_device, run_on_cpu, run_on_gpu, steps_of_calls, to_device


class Sums(NamedTuple):
    ids: tf.Tensor
    examples: tf.Tensor


NO_SUMS = Sums(tf.constant(0.0, tf.float64), tf.constant(0.0, tf.float64))


def batches(number):
    """Batches of the ids 1, 2.. and of small numbers."""
    values = np.arange(1, 3 * number + 1, dtype=np.int32).reshape(number, 3)
    return values, tf.data.Dataset.from_tensor_slices({"tokens": values, "left": values.astype(np.uint8)})


RUNS = {"CPU": run_on_cpu, "the way to a GPU": lambda step, no_sums: run_on_gpu(step, no_sums, "/device:CPU:0")}


@pytest.mark.parametrize("num_steps", [1, 2, 5])
@pytest.mark.parametrize("run", RUNS)
def test_every_batch_is_trained_on_once_and_in_order(run, num_steps):
    values, dataset = batches(num_steps)
    seen = tf.Variable(tf.zeros([0, 3], tf.int32), shape=[None, 3])

    def step(batch):
        seen.assign(tf.concat([seen, batch["tokens"][tf.newaxis]], axis=0))
        assert batch["tokens"].dtype == tf.int32
        assert batch["left"].dtype == tf.uint8
        return Sums(tf.reduce_sum(tf.cast(batch["tokens"], tf.float64)), tf.constant(3.0, tf.float64))

    sums, waited = RUNS[run](step, NO_SUMS)(iter(dataset), tf.constant(num_steps))

    assert np.array_equal(seen.numpy(), values)
    assert (float(sums.ids), float(sums.examples)) == (values.sum(), values.size)
    assert 0 <= float(waited) < 60


@pytest.mark.parametrize("run", RUNS)
def test_no_batch_is_taken_that_belongs_to_the_next_call(run):
    values, dataset = batches(5)
    iterator = iter(dataset)
    function = RUNS[run](lambda batch: Sums(tf.cast(batch["tokens"][0], tf.float64), NO_SUMS.examples), NO_SUMS)

    found = [float(function(iterator, tf.constant(number))[0].ids) for number in (2, 1, 2)]

    assert found == [values[:2, 0].sum(), values[2, 0], values[3:, 0].sum()]


def test_what_travels_is_no_wider_than_what_the_shards_hold():
    batch = {"tokens": tf.constant([0, 5, 2**31 - 1]), "left": tf.constant([0, 255], tf.uint8)}

    there = to_device(batch, "/device:CPU:0")

    assert {name: value.dtype for name, value in there.items()} == {"tokens": tf.uint32, "left": tf.uint8}
    for name, value in from_device(there).items():
        assert value.dtype == batch[name].dtype
        assert np.array_equal(value, batch[name])


def test_a_batch_goes_to_the_device_that_is_named():
    script = """
import tensorflow as tf
from trainer.train_function import to_device
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
there = to_device({"tokens": tf.constant([1, 2]), "left": tf.constant([1], tf.uint8)}, "/device:CPU:1")
print(*{value.device[-5:] for value in there.values()})
"""
    done = forked.server("trainer").run("-c", script)

    assert done.stdout == "CPU:1\n", done.stderr


@pytest.mark.parametrize(
    ("num_steps", "steps_per_call", "expected"),
    [(1, 16, [1, 1]), (16, 16, [16, 16]), (17, 16, [16, 1, 16, 1]), (5, 2, [2, 2, 1, 2, 2, 1]), (3, 1, [1] * 6)],
)
def test_the_calls_of_an_epoch_take_all_steps_and_those_of_the_next_one_begin_anew(num_steps, steps_per_call, expected):
    assert list(itertools.islice(steps_of_calls(num_steps, steps_per_call), len(expected))) == expected
