"""A dataset directory -> batches of examples. The manifest tells the trainer all that it needs to know about them."""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf
from tensorflow.io import gfile

from trainer.dataset_layout import MANIFEST_FILE, TRANSFORM_FOLDER, VOCABULARY_FILE
from trainer.errors import UserError
from trainer.formats import ExampleFormat, format_of
from trainer.manifest import Manifest, parse_manifest

_READERS = 16  # shards that are open at the same time; records are taken from them in turn
_SHUFFLED_TARGETS = 2_000_000  # the size of the shuffle buffer, which is 20 MB for blocks and 48 MB for pairs
_DECODED_RECORDS = 16  # decoded together (about 256 blocks or 65,536 pairs), at a third of the cost of one by one
_TARGETS_PER_BATCH = 2_048
_BYTES_AT_ONCE = 1 << 20
_REPAIR = "copy the dataset again, or run the pipeline again"


@dataclass(frozen=True)
class Dataset:
    """A complete dataset. `open_dataset` makes it."""

    directory: str
    manifest: Manifest
    fingerprint: str  # a hash of the manifest, by which a run recognizes its dataset

    @property
    def vocab_size(self) -> int:
        """V, [PAD] and [UNK] included."""
        return self.manifest.vocab_size

    @cached_property
    def example_format(self) -> ExampleFormat:
        """The format of the examples: blocks or pairs, with their sizes and weights."""
        return format_of(self.manifest)

    @property
    def default_batch_size(self) -> int:
        """How many examples a batch has unless the user says otherwise."""
        return max(1, _TARGETS_PER_BATCH // self.example_format.targets_per_example)

    @property
    def num_examples(self) -> int:
        """The number of examples (blocks or pairs) in all shards."""
        return sum(shard.examples for shard in self.manifest.shards)

    @property
    def words_per_epoch(self) -> int:
        """The number of corpus words, before subsampling, that one epoch goes through."""
        return self.manifest.num_words * self.manifest.passes

    @property
    def skip_grams_per_epoch(self) -> int:
        """The number of skip-grams in all shards."""
        return self.manifest.num_skip_grams

    @property
    def transform_fn(self) -> str:
        """The path of the SavedModel that turns text into ids."""
        return os.path.join(self.directory, TRANSFORM_FOLDER)

    @property
    def vocabulary_file(self) -> str:
        """The path of the vocabulary: a line `token<TAB>count` for each id."""
        return os.path.join(self.directory, VOCABULARY_FILE)

    def steps_per_epoch(self, batch_size: int) -> int:
        """The number of batches in an epoch. The last is filled up with empty examples."""
        return -(-self.num_examples // batch_size)

    def words(self) -> list[str]:
        """The token of each id, [V]."""
        with gfile.GFile(self.vocabulary_file, "rb") as file:
            return [line.rsplit(b"\t", 1)[0].decode() for line in file]


def open_dataset(directory: str) -> Dataset:
    """Reads the manifest and checks that all files it names exist and have the right size.

    Raises:
        UserError: the directory is not a complete dataset of a version that this trainer reads.
    """
    path = os.path.join(directory, MANIFEST_FILE)
    try:
        with gfile.GFile(path, "rb") as file:
            text = file.read()
    except tf.errors.NotFoundError as error:
        raise UserError(
            f"--data {directory} holds no {MANIFEST_FILE}: expected the --output of a pipeline run that has finished"
        ) from error
    except tf.errors.OpError as error:
        raise UserError(f"{path} cannot be read ({error.message}): expected a file that this user may read") from error
    manifest = parse_manifest(text, path)
    canonical = json.dumps(json.loads(text), sort_keys=True).encode()
    dataset = Dataset(directory, manifest, hashlib.sha256(canonical).hexdigest()[:16])
    for name in (VOCABULARY_FILE, f"{TRANSFORM_FOLDER}/saved_model.pb"):
        if not gfile.exists(os.path.join(directory, name)):
            raise UserError(f"--data {directory} is incomplete: {name} is missing; {_REPAIR}")
    num_lines = _count_lines(dataset.vocabulary_file)
    if num_lines != manifest.vocab_size:
        raise UserError(
            f"--data {directory} is damaged: {VOCABULARY_FILE} has {num_lines} lines, but the vocab_size of "
            f"{MANIFEST_FILE} is {manifest.vocab_size}; {_REPAIR}"
        )
    for shard in manifest.shards:
        try:
            length = gfile.stat(os.path.join(directory, shard.name)).length
        except tf.errors.NotFoundError as error:
            raise UserError(f"--data {directory} is incomplete: {shard.name} is missing; {_REPAIR}") from error
        if length != shard.bytes:
            raise UserError(
                f"--data {directory} is damaged: {shard.name} has {length} bytes instead of {shard.bytes}; {_REPAIR}"
            )
    return dataset


def _count_lines(path: str) -> int:
    lines = 0
    with gfile.GFile(path, "rb") as file:
        while piece := file.read(_BYTES_AT_ONCE):
            lines += piece.count(b"\n")
    return lines


def epoch_batches(dataset: Dataset, batch_size: int, seed: int, epoch: int, skip_steps: int = 0) -> tf.data.Dataset:
    """The batches of one epoch. Their order depends on the seed and the epoch alone.

    Records are shuffled. Within every 16 records, the fields that the format names (its permuted_fields) are permuted
    together: blocks exchange their negative samples, and pairs are permuted as a whole.

    Args:
        dataset: the dataset to read.
        batch_size: B, examples in a batch.
        seed: the seed of the order.
        epoch: the number of the epoch; each has another order.
        skip_steps: how many batches to leave out at the beginning, to go on where a run was interrupted.

    Returns:
        steps_per_epoch - skip_steps batches, each a dict as in trainer.formats. The last is filled up with zeros.
    """
    order_seed, shuffle_seed, permute_seed = np.random.SeedSequence([seed, epoch]).generate_state(3).tolist()
    manifest, example_format = dataset.manifest, dataset.example_format
    shards = [shard for shard in manifest.shards if shard.records]
    names = [shard.name for shard in shards]
    np.random.default_rng(order_seed).shuffle(names)
    fields = {field.name: field for field in manifest.fields}

    def decode(index: tf.Tensor, records: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.io.parse_example(records, {name: tf.io.FixedLenFeature([], tf.string) for name in fields})
        examples = {
            name: tf.reshape(tf.io.decode_raw(tf.strings.reduce_join(features[name]), field.dtype), [-1, *field.shape])
            for name, field in fields.items()
        }
        permuted = example_format.permuted_fields
        rows = tf.range(tf.shape(examples[permuted[0]])[0])
        stream = tf.stack([tf.constant(permute_seed % 2**31, tf.int64), index])
        order = tf.random.experimental.stateless_shuffle(rows, stream)
        return {**examples, **{name: tf.gather(examples[name], order) for name in permuted}}

    targets_per_record = max(shard.examples * example_format.targets_per_example / shard.records for shard in shards)
    records = (
        tf.data.Dataset.from_tensor_slices([os.path.join(dataset.directory, name) for name in names])
        .interleave(
            lambda path: tf.data.TFRecordDataset(path, "GZIP" if manifest.compression == "gzip" else ""),
            cycle_length=min(_READERS, len(names)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .shuffle(max(1, int(_SHUFFLED_TARGETS / targets_per_record)), seed=shuffle_seed % 2**31)
    )
    empty = {name: tf.zeros([batch_size, *field.shape], field.dtype) for name, field in fields.items()}
    batches = (
        records.batch(_DECODED_RECORDS)
        .enumerate()
        .map(decode)
        .concatenate(tf.data.Dataset.from_tensors(empty))
        .rebatch(batch_size, drop_remainder=True)
        .take(dataset.steps_per_epoch(batch_size))
        .skip(skip_steps)
        .prefetch(tf.data.AUTOTUNE)
    )
    options = tf.data.Options()
    options.deterministic = True
    return batches.with_options(options)
