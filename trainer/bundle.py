"""Parts of tensors in TensorFlow's checkpoint format, so that nobody needs a whole table to write or to read one.

Several processes, or one process several times, write parts to files of their own. `merge` makes one checkpoint of
them. Whoever reads it asks for any part of a tensor, however it was divided when it was written.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Part:
    """A part of a tensor: a range along each of its axes.

    Args:
        name: the tensor's name in the checkpoint.
        shape: the shape of the whole tensor.
        start: where the part begins along each axis. A scalar has no axes, so `shape` and `start` are empty.
        values: the contents of the part.
    """

    name: str
    shape: tuple[int, ...]
    start: tuple[int, ...]
    values: tf.Tensor


def write(prefix: str, parts: Sequence[Part]) -> None:
    """Writes parts to the files whose names begin with a prefix.

    Raises:
        tf.errors.OpError: the storage fails.
    """
    specs = [_spec(part.shape, part.start, tuple(part.values.shape)) for part in parts]
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=[part.name for part in parts],
        shape_and_slices=specs,
        tensors=[part.values for part in parts],
    )


def merge(prefixes: Sequence[str], prefix: str) -> None:
    """Makes one checkpoint of the files of several prefixes, which are gone afterwards.

    Its index, the file PREFIX.index, is written last.

    Raises:
        tf.errors.OpError: the storage fails, or a file is missing.
    """
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=list(prefixes), destination_prefix=prefix, delete_old_dirs=False, allow_missing_files=False
    )


def read(
    prefix: str,
    name: str,
    dtype: tf.DType,
    shape: tuple[int, ...] = (),
    start: tuple[int, ...] = (),
    size: tuple[int, ...] = (),
) -> tf.Tensor:
    """Reads a part of a tensor of a checkpoint.

    Args:
        prefix: the checkpoint.
        name: the tensor's name in it.
        dtype: the tensor's type.
        shape: the shape of the whole tensor.
        start: where the part begins along each axis.
        size: the shape of the part.

    Raises:
        tf.errors.OpError: there is no such tensor, or the file is damaged.
    """
    spec = _spec(shape, start, size)
    (values,) = tf.raw_ops.RestoreV2(prefix=prefix, tensor_names=[name], shape_and_slices=[spec], dtypes=[dtype])
    return values


def _spec(shape: tuple[int, ...], start: tuple[int, ...], size: tuple[int, ...]) -> str:
    """How TensorFlow writes a part: "6 4 0,3:2,2" is [0:3, 2:4] of a [6, 4] tensor; a whole tensor has no text."""
    if shape == size:
        return ""
    ranges = ":".join(f"{first},{length}" for first, length in zip(start, size, strict=True))
    return " ".join([*map(str, shape), ranges])
