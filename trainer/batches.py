"""The shards of a dataset -> batches of examples, in an order that depends on the seed and the epoch alone."""

import os
from functools import partial

import numpy as np
import tensorflow as tf

from trainer.dataset import Dataset
from trainer.formats import bytes_of, limit_of

_READERS = 16  # shards that are read at the same time; records are taken from them in turn
_SHUFFLED_TARGETS = 2_000_000  # the size of the shuffle buffer, which is 20 MB for blocks and 48 MB for pairs
_PREFETCHED_TARGETS = 131_072  # are decoded ahead of the training; they take some 4 MB
_DECODED_RECORDS = 16  # decoded together (about 256 blocks or 65,536 pairs), at a third of the cost of one by one


@tf.autograph.experimental.do_not_convert  # it would take 0.2 s to look for control flow, and there is none
def epoch_batches(
    dataset: Dataset,
    batch_size: int,
    seed: int,
    epoch: int,
    skip_steps: int = 0,
    many_cores: bool = False,
    num_epochs: int = 1,
) -> tf.data.Dataset:
    """The batches of one epoch, or of several in a row. Their order depends on the seed and the epoch alone.

    Records are shuffled. Within every 16 records, the fields that the format names (its permuted_fields) are permuted
    together: blocks exchange their negative samples, and pairs are permuted as a whole.

    Args:
        dataset: the dataset to read.
        batch_size: B, examples in a batch.
        seed: the seed of the order.
        epoch: the number of the first epoch; each has another order.
        skip_steps: how many batches to leave out at the beginning, to go on where a run was interrupted.
        many_cores: whether to decode on several cores. A GPU may train faster than one core decodes; on a CPU, the
            training itself needs the cores.
        num_epochs: the number of epochs.

    Returns:
        num_epochs * steps_per_epoch - skip_steps batches, each a dict as in trainer.formats. The last of each epoch is
        filled up with zeros. The iterator fails if the shards do not hold what the manifest says: with other numbers of
        records or examples, an id that is not in the vocabulary, or a context beyond the window. It raises
        tf.errors.OpError then, or UnicodeDecodeError where TensorFlow's message holds bytes of a record. trainer.damage
        says what is wrong.
    """
    manifest, example_format = dataset.manifest, dataset.example_format
    shards = [shard for shard in manifest.shards if shard.records]
    paths = tf.constant([os.path.join(dataset.directory, shard.name) for shard in shards])
    num_records = tf.constant([shard.records for shard in shards], tf.int64)
    fields = {field.name: field for field in manifest.fields}
    steps = dataset.steps_per_epoch(batch_size)
    permuted = example_format.permuted_fields
    sizes = np.array([[bytes_of(field)] for field in fields.values()], np.int32)
    limits = np.array([limit_of(field, manifest) for field in fields.values()], np.int64)
    targets_per_record = max(shard.examples * example_format.targets_per_example / shard.records for shard in shards)
    missing = steps * batch_size - dataset.num_examples

    def read(path: tf.Tensor, num_records: tf.Tensor) -> tf.data.Dataset:
        records = tf.data.TFRecordDataset(path, "GZIP" if manifest.compression == "gzip" else "")
        return records.apply(tf.data.experimental.assert_cardinality(num_records))

    def decode(permute_seed: tf.Tensor, index: tf.Tensor, records: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.io.parse_example(records, {name: tf.io.FixedLenFeature([], tf.string) for name in fields})
        lengths = tf.stack([tf.strings.length(features[name]) for name in fields])  # [fields, records]
        largest, examples = [], {}
        for name, field in fields.items():
            values = tf.io.decode_raw(tf.strings.reduce_join(features[name]), field.dtype)
            examples[name] = tf.reshape(values, [-1, *field.shape])
            unsigned = tf.bitcast(values, tf.uint32) if field.dtype == "int32" else values  # negative ids become large
            largest.append(tf.cast(tf.reduce_max(unsigned), tf.int64))
        is_right = tf.reduce_all(lengths == lengths[0] // sizes[0] * sizes) & tf.reduce_all(tf.stack(largest) < limits)
        tf.raw_ops.Assert(condition=is_right, data=["a record is not as the manifest says"])
        rows = tf.range(tf.shape(examples[permuted[0]])[0])
        order = tf.random.experimental.stateless_shuffle(rows, tf.stack([permute_seed, index]))
        return {**examples, **{name: tf.gather(examples[name], order) for name in permuted}}

    def zeros(num_examples: int) -> dict[str, tf.Tensor]:
        return {name: tf.zeros([num_examples, *field.shape], field.dtype) for name, field in fields.items()}

    def count(
        state: tuple[tf.Tensor, dict[str, tf.Tensor]], group: dict[str, tf.Tensor]
    ) -> tuple[tuple[tf.Tensor, dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
        """Gives each group when the next one has come, so that none is given that has too many after it."""
        seen, before = state
        seen += tf.shape(group[permuted[0]], tf.int64)[0]
        tf.raw_ops.Assert(condition=seen <= steps * batch_size, data=["there are too many examples"])
        return (seen, group), before

    def batches_of(order: tf.Tensor, shuffle_seed: tf.Tensor, permute_seed: tf.Tensor) -> tf.data.Dataset:
        """The batches of one epoch, whose shards come in the given order."""
        return (
            tf.data.Dataset.from_tensor_slices((tf.gather(paths, order), tf.gather(num_records, order)))
            .interleave(read, cycle_length=min(_READERS, len(shards)), num_parallel_calls=min(_READERS, len(shards)))
            .shuffle(max(1, int(_SHUFFLED_TARGETS / targets_per_record)), seed=shuffle_seed)
            .batch(_DECODED_RECORDS)
            .enumerate()
            .map(partial(decode, permute_seed), num_parallel_calls=tf.data.AUTOTUNE if many_cores else None)
            .concatenate(tf.data.Dataset.from_tensors(zeros(missing)))
            .concatenate(tf.data.Dataset.from_tensors(zeros(0)))
            .scan((tf.constant(0, tf.int64), zeros(0)), count)
            .rebatch(batch_size, drop_remainder=True)
            .apply(tf.data.experimental.assert_cardinality(steps))
        )

    options = tf.data.Options()
    options.deterministic = True
    # To end an iterator, TensorFlow would wait until autotuning looks at it again, which is up to a minute.
    options.autotune.enabled = False
    return (
        tf.data.Dataset.from_tensor_slices(_orders(seed, range(epoch, epoch + num_epochs), len(shards)))
        .flat_map(batches_of)
        .skip(skip_steps)
        .prefetch(-(-_PREFETCHED_TARGETS // (batch_size * example_format.targets_per_example)))
        .with_options(options)
    )


def _orders(seed: int, epochs: range, num_shards: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each epoch the order of the shards [epochs, shards], and the seeds of the records' orders [epochs], twice."""
    seeds = np.array([np.random.SeedSequence([seed, epoch]).generate_state(3) for epoch in epochs], np.int64)
    orders = np.array([np.random.default_rng(int(order_seed)).permutation(num_shards) for order_seed in seeds[:, 0]])
    return orders, *(seeds[:, 1:] % 2**31).T
