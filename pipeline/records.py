"""Skip-gram blocks <-> tf.train.Example records.

Each feature of a record is one bytes value: a C-order little-endian array of k examples. The manifest gives the
dtype and shape of each feature, and k follows from the length. Packing is what makes reading and writing cheap.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from pipeline.config import TARGETS_PER_RECORD, PipelineConfig
from pipeline.skipgrams import Blocks


def example_fields(config: PipelineConfig) -> list[dict]:
    """Name, dtype and shape of each feature of one example, as the manifest states them."""
    shapes = {
        "tokens": ("int32", config.block_targets + 2 * config.window_size),
        "left": ("uint8", config.block_targets),
        "right": ("uint8", config.block_targets),
        "negatives": ("int32", config.block_negatives),
    }
    return [{"name": name, "dtype": dtype, "shape": [size]} for name, (dtype, size) in shapes.items()]


def encode(blocks: Blocks) -> bytes:
    """One record with all of `blocks`."""

    def feature(array):
        little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[little_endian.tobytes()]))

    features = {name: feature(array) for name, array in blocks._asdict().items()}
    # Deterministic: the order of a proto map is otherwise not defined.
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def decode(record: bytes, fields: list[dict]) -> Blocks:
    """The blocks of a record whose features are described by `fields`."""
    features = tf.train.Example.FromString(record).features.feature
    return Blocks(
        **{
            field["name"]: np.frombuffer(
                features[field["name"]].bytes_list.value[0], np.dtype(field["dtype"]).newbyteorder("<")
            ).reshape([-1, *field["shape"]])
            for field in fields
        }
    )


def pack(blocks: Iterator[Blocks], block_targets: int) -> Iterator[Blocks]:
    """Regroups blocks so that each group but the last fills a record, whatever text they come from."""
    size = max(1, TARGETS_PER_RECORD // block_targets)
    waiting = None
    for arrived in blocks:
        waiting = arrived if waiting is None else Blocks(*map(np.concatenate, zip(waiting, arrived, strict=True)))
        full = len(waiting.tokens) // size * size
        for start in range(0, full, size):
            yield Blocks(*(array[start : start + size] for array in waiting))
        waiting = Blocks(*(array[full:] for array in waiting))
    if waiting is not None and len(waiting.tokens):
        yield waiting
