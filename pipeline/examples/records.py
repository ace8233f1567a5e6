"""Skip-gram examples <-> tf.train.Example records.

Each feature of a record is one bytes value: a C-order little-endian array of k examples. The manifest gives the
dtype and shape of each feature, and k follows from the length. Packing is what makes reading and writing cheap.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from pipeline.config import TARGETS_PER_RECORD, PipelineConfig
from pipeline.examples.skipgrams import Blocks, Pairs

Examples = Blocks | Pairs


def example_fields(config: PipelineConfig) -> list[dict]:
    """Name, dtype and shape of each feature of one example, as the manifest states them."""
    if config.example_format == "pairs":
        fields = {"target": ("int32", []), "context": ("int32", [1 + config.num_negatives])}
    else:
        fields = {
            "tokens": ("int32", [config.block_targets + 2 * config.window_size]),
            "left": ("uint8", [config.block_targets]),
            "right": ("uint8", [config.block_targets]),
            "negatives": ("int32", [config.block_negatives]),
        }
    return [{"name": name, "dtype": dtype, "shape": shape} for name, (dtype, shape) in fields.items()]


def encode(examples: Examples) -> bytes:
    """One record with all of `examples`."""

    def feature(array):
        little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[little_endian.tobytes()]))

    features = {name: feature(array) for name, array in examples._asdict().items()}
    # Deterministic: the order of a proto map is otherwise not defined.
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def decode(record: bytes, fields: list[dict]) -> Examples:
    """The examples of a record whose features are described by `fields`."""
    features = tf.train.Example.FromString(record).features.feature
    arrays = {
        field["name"]: np.frombuffer(
            features[field["name"]].bytes_list.value[0], np.dtype(field["dtype"]).newbyteorder("<")
        ).reshape([-1, *field["shape"]])
        for field in fields
    }
    return (Pairs if "target" in arrays else Blocks)(**arrays)


def pack(examples: Iterator[Examples], targets_per_example: int) -> Iterator[Examples]:
    """Regroups examples so that each group but the last fills a record, whatever text they come from."""
    size = max(1, TARGETS_PER_RECORD // targets_per_example)
    waiting = None
    for arrived in examples:
        if waiting is not None:
            arrived = type(arrived)(*map(np.concatenate, zip(waiting, arrived, strict=True)))
        full = len(arrived[0]) // size * size
        for start in range(0, full, size):
            yield type(arrived)(*(array[start : start + size] for array in arrived))
        waiting = type(arrived)(*(array[full:] for array in arrived))
    if waiting is not None and len(waiting[0]):
        yield waiting


def write(path: str, examples: Iterator[Examples], config: PipelineConfig) -> tuple[int, int]:
    """Writes a TFRecord file.

    Args:
        path: of the file.
        examples: of the config's format, in any portions.
        config: the pipeline's settings.

    Returns:
        The numbers of records and of examples.
    """
    targets_per_example = 1 if config.example_format == "pairs" else config.block_targets
    options = tf.io.TFRecordOptions(
        compression_type="GZIP" if config.compression == "gzip" else "",
        compression_level=1,  # twice as fast a pipeline as the default's, for 6 % more bytes
    )
    num_records = num_examples = 0
    with tf.io.TFRecordWriter(path, options) as writer:
        for group in pack(examples, targets_per_example):
            writer.write(encode(group))
            num_records += 1
            num_examples += len(group[0])
    return num_records, num_examples
