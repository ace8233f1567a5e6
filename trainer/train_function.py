"""The function with which Keras trains: it runs several steps at once, and measures how long they wait for input."""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import tensorflow as tf

Batch = dict[str, tf.Tensor]
Sums = Any  # the sums that a step returns, a NamedTuple of tensors
Run = Callable[[tf.data.Iterator, tf.Tensor], tuple[Sums, tf.Tensor]]

_CALLS_AHEAD = 2  # for so many calls, batches are read while the steps before them run


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
    """As run_on_cpu, for steps that are no operations of TensorFlow. The iterator gives all batches of a call together.

    Args:
        steps: trains on n batches, one behind the other in each field, with the learning rates [n] float32.
        advance: counts n steps, [] int32, and returns their learning rates, [n] float32.
    """
    advance = tf.function(advance, autograph=False)

    def run(iterator: tf.data.Iterator, num_steps: tf.Tensor) -> tuple[Sums, tf.Tensor]:
        start = time.perf_counter()
        batches = next(iterator)
        waited = time.perf_counter() - start
        return steps(batches, advance(num_steps)), tf.constant(waited, tf.float64)

    return run


def batches_of_calls(batches: tf.data.Dataset, num_steps: int, steps_per_call: int) -> tf.data.Dataset:
    """Puts the batches of each call one behind the other, if an epoch has `num_steps` of them."""
    ((batch_size, *_), *_) = {tuple(spec.shape) for spec in tf.nest.flatten(batches.element_spec)}
    steps = islice(steps_of_calls(num_steps, steps_per_call), -(-num_steps // steps_per_call))
    return batches.rebatch([batch_size * n for n in steps]).prefetch(_CALLS_AHEAD)


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
