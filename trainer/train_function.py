"""The function with which Keras trains: it runs several steps at once, and measures how long they wait for input."""

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

Batch = dict[str, tf.Tensor]
Sums = Any  # the sums that a step returns, a NamedTuple of tensors
Run = Callable[[tf.data.Iterator, tf.Tensor], tuple[Sums, tf.Tensor]]


def run_on_cpu(step: Callable[[Batch], Sums], no_sums: Sums) -> Run:
    """Makes a function that takes batches from an iterator, and trains on one after the other.

    Args:
        step: trains on a batch.
        no_sums: what `step` would return for no batch, which is zeros.

    Returns:
        A function of an iterator and a number of steps, [] int32. It returns the sums over all steps, and how many
        seconds they waited for input, [] float64.
    """

    @tf.function
    def run(iterator: tf.data.Iterator, num_steps: tf.Tensor) -> tuple[Sums, tf.Tensor]:
        sums, waited = no_sums, tf.constant(0.0, tf.float64)
        for _ in tf.range(num_steps):
            start = tf.timestamp()
            batch = iterator.get_next()
            waited += tf.timestamp() - start
            sums = tf.nest.map_structure(tf.add, sums, step(batch))
        return sums, waited

    return run


def run_outside(steps: Callable[[Batch, tf.Tensor], Sums], advance: Callable[[tf.Tensor], tf.Tensor]) -> Run:
    """As run_on_cpu, for steps that are no operations of TensorFlow. They get all batches of a call together.

    Args:
        steps: trains on n batches, whose fields have a leading dimension n, with the learning rates [n] float32.
        advance: counts n steps, [] int32, and returns their learning rates, [n] float32.
    """

    @tf.function
    def take(iterator: tf.data.Iterator, num_steps: tf.Tensor) -> tuple[Batch, tf.Tensor, tf.Tensor]:
        batches = {
            name: tf.TensorArray(field.dtype, num_steps, element_shape=field.shape)
            for name, field in iterator.element_spec.items()
        }
        waited = tf.constant(0.0, tf.float64)
        for i in tf.range(num_steps):
            start = tf.timestamp()
            batch = iterator.get_next()
            waited += tf.timestamp() - start
            batches = {name: array.write(i, batch[name]) for name, array in batches.items()}
        return {name: array.stack() for name, array in batches.items()}, advance(num_steps), waited

    def run(iterator: tf.data.Iterator, num_steps: tf.Tensor) -> tuple[Sums, tf.Tensor]:
        batches, rates, waited = take(iterator, num_steps)
        return steps(batches, rates), waited

    return run


def run_on_gpu(step: Callable[[Batch], Sums], no_sums: Sums, gpu: str) -> Run:
    """As run_on_cpu, but each batch but the first travels to the GPU while the step before it is running.

    Args:
        step: trains on a batch that is on the GPU.
        no_sums: what `step` would return for no batch, which is zeros.
        gpu: the device.
    """

    @tf.function
    def run(iterator: tf.data.Iterator, num_steps: tf.Tensor) -> tuple[Sums, tf.Tensor]:
        sums, waited = no_sums, tf.constant(0.0, tf.float64)
        start = tf.timestamp()
        batch = to_device(iterator.get_next(), gpu)
        waited += tf.timestamp() - start
        for _ in tf.range(num_steps - 1):
            start = tf.timestamp()
            following = to_device(iterator.get_next(), gpu)
            waited += tf.timestamp() - start
            sums = tf.nest.map_structure(tf.add, sums, step(from_device(batch)))
            batch = following
        return tf.nest.map_structure(tf.add, sums, step(from_device(batch))), waited

    return run


def to_device(batch: Batch, device: str) -> Batch:
    """Copies a batch to a device. Ids are called uint32 there, as TensorFlow leaves int32 in the memory of the CPU."""
    numbers = {k: tf.bitcast(v, tf.uint32) if v.dtype == tf.int32 else v for k, v in batch.items()}
    with tf.device(device):
        return {name: tf.identity(value) for name, value in numbers.items()}


def from_device(batch: Batch) -> Batch:
    """Gives the ids of such a batch the type int32 again, where they are."""
    return {k: tf.bitcast(v, tf.int32) if v.dtype == tf.uint32 else v for k, v in batch.items()}


def steps_of_calls(num_steps: int, steps_per_call: int) -> Iterator[int]:
    """How many steps each call takes, epoch after epoch, if an epoch has `num_steps`."""
    while True:
        for start in range(0, num_steps, steps_per_call):
            yield min(steps_per_call, num_steps - start)
