"""Finds out what is wrong with a dataset, after training on it has failed."""

import os
import re

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from trainer.dataset import REPAIR, Dataset
from trainer.errors import UserError
from trainer.formats import bytes_of, limit_of
from trainer.manifest import Manifest, Shard

_OPERATION = re.compile(r"\{\{.*?\}\}|\[Op:.*", re.DOTALL)  # what TensorFlow adds about the operation that failed


def damage_in(dataset: Dataset) -> str | None:
    """Reads all shards, one by one, and says in one line what is wrong with the first that is damaged.

    Args:
        dataset: the dataset that was trained on.

    Returns:
        A sentence that names the shard and the record, or None if all shards are as the manifest says. If the dataset
        has been replaced or a file of it is gone, the sentence says so.
    """
    try:
        dataset.check_unchanged()
    except UserError as error:
        return str(error)
    for shard in dataset.manifest.shards:
        if damage := _damage_in_shard(dataset, shard):
            return f"--data {dataset.directory} is damaged: {shard.name}{damage}; {REPAIR}"
    return None


def _damage_in_shard(dataset: Dataset, shard: Shard) -> str | None:
    """What is wrong with a shard, to be put behind its name, or None."""
    manifest, number = dataset.manifest, 0
    compression = "GZIP" if manifest.compression == "gzip" else ""
    num_examples = num_skip_grams = 0
    path = os.path.join(dataset.directory, shard.name)
    try:
        for number, record in enumerate(tf.data.TFRecordDataset(path, compression).as_numpy_iterator(), 1):
            examples = _examples(record, manifest)
            if isinstance(examples, str):
                return f", record {number}{examples}"
            columns = list(examples.values())
            num_examples += len(columns[0])
            is_blocks = manifest.example_format == "blocks"
            num_skip_grams += (
                sum(int(examples[side].sum()) for side in ("left", "right")) if is_blocks else len(columns[0])
            )
    except tf.errors.OpError as error:
        reason = _OPERATION.sub("", error.message or "").partition("\n")[0].strip() or type(error).__name__
        return f", record {number + 1} cannot be read ({reason})"
    found = {"records": number, "examples": num_examples, "skip_grams": num_skip_grams}
    for name, value in found.items():
        if value != getattr(shard, name):
            return f" has {value:,} {name} instead of {getattr(shard, name):,}"
    return None


def _examples(record: bytes, manifest: Manifest) -> dict[str, np.ndarray] | str:
    """The examples of a record by field, or what is wrong with the record, to be put behind its number."""
    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return " is not a tf.train.Example"
    examples: dict[str, np.ndarray] = {}
    for field in manifest.fields:
        if field.name not in features or len(features[field.name].bytes_list.value) != 1:
            return f" has no byte string for the field {field.name}"
        (content,) = features[field.name].bytes_list.value
        if len(content) % bytes_of(field):
            return f": {field.name} has {len(content):,} bytes, which is no multiple of an example's {bytes_of(field)}"
        values = np.frombuffer(content, np.dtype(field.dtype).newbyteorder("<")).reshape([-1, *field.shape])
        others = next(iter(examples.values()), values)
        if len(values) != len(others):
            return f": {field.name} is of {len(values):,} examples, but {manifest.fields[0].name} of {len(others):,}"
        limit, largest = limit_of(field, manifest), int(values.max(initial=0))
        if largest >= limit and field.dtype == "int32":
            return f": id {largest:,} is not below the vocab_size {limit:,}"
        if largest >= limit:
            return f": {field.name} is {largest}, which is beyond the window_size {manifest.window_size}"
        if values.min(initial=0) < 0:
            return f": id {int(values.min()):,} is below 0"
        examples[field.name] = values
    return examples
