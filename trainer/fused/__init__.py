"""The training step on a CPU as one compiled function: step.c, block.h, and this module, which calls it.

It does what SkipGram.step does on blocks, with the same formulas. But it works on one block at a time, whose numbers
stay in the processor's cache; it asks for rows of the tables before it needs them; and it updates rows in place.

Let T be the target embeddings, C the context embeddings, s the logistic function, and w the window size. Each target i
of a block is compared with its context words, at most w words before or after it, and with the block's N negative
samples. For each such word r:

    x(i, r)  = T[i] . C[r]                                   the logit
    weight   = context_weights[distance - 1]                 if r is a context word
    weight   = (sum of the weights of i's context) K / N     if r is a negative sample; 0 if it is also a context word
    g(i, r)  = -weight s(-x) or weight s(x)                  the loss of a context word or a negative sample, by x
    dT[i]    = sum over r of g(i, r) C[r]                    the gradient of one occurrence of a target
    dC[r]    = sum over i of g(i, r) T[i]                    the gradient of one occurrence of another word

All gradients of a batch come from the same tables. A batch has two parts, whose gradients are applied in turn by
row-wise Adagrad (trainer.optimizer): first a[row] += the mean square of d, for all occurrences in the part; then
table[row] -= rate (a[row] + epsilon)^-power d, for each of them.

Several threads share the blocks of a batch, and then its rows. A row belongs to one of 32 groups, and one thread
updates a group in the order of the blocks. The result therefore does not depend on the number of threads.

setup.py compiles the function, if there is a C compiler, for several kinds of vector instructions: AVX-512, AVX2, and
what every processor has. The best kind that the processor has is chosen when the function is called.
"""

import contextlib
import ctypes
import os
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer import limits

INSTRUCTIONS = ("best", "plain", "avx2", "avx512")  # the best that the processor has; the others as in step.h
NOT_COMPILED = "it has not been compiled: install a C compiler, such as gcc, and then the project again"
_TOO_LITTLE_MEMORY, _NO_SUCH_INSTRUCTIONS = 1, 2
Batches = dict[str, tf.Tensor]


class Sums(NamedTuple):
    """What the steps add to the metrics."""

    loss: float
    num_skip_grams: float  # those that the loss covers


class FusedStep:
    """Trains on batches of blocks.

    Args:
        context_weights: how much a skip-gram counts if its words are at distance 1, 2.. w.
        num_negatives: K, negative samples for each skip-gram.
        power, epsilon: those of RowwiseAdagrad.
        num_threads: how many threads work; 0 for as many as this process has cores.
        instructions: the kind of vector instructions, one of INSTRUCTIONS.
    """

    def __init__(
        self,
        context_weights: tuple[float, ...],
        num_negatives: int,
        power: float,
        epsilon: float,
        num_threads: int = 0,
        instructions: str = "best",
    ) -> None:
        self._context_weights = np.array(context_weights, np.float32)
        self._num_negatives = num_negatives
        self._power = power
        self._epsilon = epsilon
        self._num_threads = num_threads or limits.num_cores()
        self._instructions = INSTRUCTIONS.index(instructions)
        self._places: list[int] = []  # where the tables were at the last call

    def __call__(
        self, tables: list[tf.Variable], accumulators: list[tf.Variable], batches: Batches, rates: tf.Tensor
    ) -> Sums:
        """Trains on n batches of B blocks, one after the other.

        The tables and accumulators change in place, and with them every tensor that was read from them without a copy.

        Args:
            tables: [of the targets, of the contexts], each [V, D] float32, on the CPU.
            accumulators: the state of the optimizer for each table, [V] float32.
            batches: the fields of trainer.formats. The leading dimension of each is n B, batch behind batch.
            rates: the learning rate of each step, [n] float32.

        Raises:
            MemoryError: there is too little memory, or there are too many threads; nothing has been changed then.
            ValueError: the processor does not have these instructions.
        """
        fields = {name: np.asarray(memoryview(value)) for name, value in batches.items()}
        step_rates = np.asarray(memoryview(rates))
        num_steps = len(step_rates)
        batch_size, num_negatives = len(fields["tokens"]) // num_steps, fields["negatives"].shape[1]
        pinned = [_read_in_place(variable) for variable in (*tables, *accumulators)]
        addresses = [values.ctypes.data for values in pinned]
        training = _Training(
            instructions=self._instructions,
            num_steps=num_steps,
            batch_size=batch_size,
            num_parts=min(2, batch_size),
            num_threads=self._num_threads,
            num_targets=fields["left"].shape[1],
            window_size=len(self._context_weights),
            num_tokens=fields["tokens"].shape[1],
            num_negatives=num_negatives,
            embedding_dim=pinned[0].shape[1],
            tables=(ctypes.c_void_p * 2)(*addresses[:2]),
            accumulators=(ctypes.c_void_p * 2)(*addresses[2:]),
            context_weights=self._context_weights.ctypes.data,
            rates=step_rates.ctypes.data,
            negative_weight=self._num_negatives / num_negatives,
            power=self._power,
            epsilon=self._epsilon,
            **{name: value.ctypes.data for name, value in fields.items()},
        )
        library = _load()
        assert library is not None, "it has not been compiled"
        if addresses != self._places:
            self._places = addresses
            for values in pinned[:2]:
                library.use_large_pages(ctypes.c_void_p(values.ctypes.data), ctypes.c_int64(values.nbytes))
        result = library.train_steps(ctypes.byref(training))
        if result == _TOO_LITTLE_MEMORY:
            raise MemoryError("there is too little memory for the gradients of a batch, or there are too many threads")
        if result == _NO_SUCH_INSTRUCTIONS:
            raise ValueError(f"the processor has no {INSTRUCTIONS[self._instructions]}")
        return Sums(training.loss, training.num_skip_grams)


def is_compiled() -> bool:
    """Whether the function has been compiled and can be loaded."""
    return _load() is not None


def is_fast() -> bool:
    """Whether it has been compiled, and the processor has AVX-512 or AVX2, with which it is faster than TensorFlow."""
    library = _load()
    return library is not None and bool(library.is_fast())


class _Training(ctypes.Structure):
    """The struct Training of step.h."""

    _fields_ = [
        ("instructions", ctypes.c_int64),
        *((name, ctypes.c_int64) for name in ("num_steps", "batch_size", "num_parts", "num_threads", "num_targets")),
        *((name, ctypes.c_int64) for name in ("window_size", "num_tokens", "num_negatives", "embedding_dim")),
        ("tables", ctypes.c_void_p * 2),
        ("accumulators", ctypes.c_void_p * 2),
        *((name, ctypes.c_void_p) for name in ("tokens", "left", "right", "negatives", "context_weights", "rates")),
        *((name, ctypes.c_float) for name in ("negative_weight", "power", "epsilon")),
        *((name, ctypes.c_double) for name in ("loss", "num_skip_grams")),
    ]


@cache
def _load() -> ctypes.CDLL | None:
    """The compiled functions of step.c; None if there are none."""
    for suffix in EXTENSION_SUFFIXES:
        with contextlib.suppress(OSError):  # there is none for this version of Python, or it is for another machine
            return ctypes.CDLL(os.path.join(os.path.dirname(__file__), f"compiled{suffix}"))
    return None


def _read_in_place(variable: tf.Variable) -> np.ndarray:
    """The numbers of a variable on the CPU, not a copy of them.

    TensorFlow copies a variable when it is read if some of its rows have been read or written by themselves. The first
    operation here ends that.
    """
    tf.raw_ops.DisableCopyOnRead(resource=variable.handle)
    return np.asarray(memoryview(variable.read_value()))
