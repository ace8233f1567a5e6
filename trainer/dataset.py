"""A dataset directory -> batches of skip-gram blocks. All that the trainer knows of the pipeline is in the manifest."""

import dataclasses
import json
import os

import numpy as np
import tensorflow as tf
from tensorflow.io import gfile

from trainer.errors import UserError

SUPPORTED_VERSION = 2
FIRST_WORD_ID = 2  # 0 is [PAD], 1 is [UNK]

_FIELDS = {"blocks": ["tokens", "left", "right", "negatives"], "pairs": ["target", "context"]}
_READERS = 16  # shards that are read in turn
_SHUFFLED_TARGETS = 2_000_000  # in whole records; 20 MB of blocks, 48 MB of pairs
_DECODED_RECORDS = 16  # at once, which costs a third of one by one; 256 blocks, 65,536 pairs or so
_TARGETS_PER_BATCH = 2_048


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset that was found complete."""

    directory: str
    manifest: dict

    @property
    def vocab_size(self) -> int:
        """V, [PAD] and [UNK] included."""
        return self.manifest["vocab_size"]

    @property
    def example_format(self) -> str:
        """`blocks` or `pairs`."""
        return self.manifest["example_format"]

    @property
    def targets_per_example(self) -> int:
        """S of a block, 1 of a pair."""
        return next((field["shape"][0] for field in self.manifest["fields"] if field["name"] == "left"), 1)

    @property
    def default_batch_size(self) -> int:
        """How many examples make a batch, unless told otherwise."""
        return max(1, _TARGETS_PER_BATCH // self.targets_per_example)

    @property
    def context_weights(self) -> tuple[float, ...]:
        """What a skip-gram of a block counts, by the distance of its words, 1..w; of pairs, none."""
        return tuple(self.manifest.get("context_weights", ()))

    @property
    def num_negatives(self) -> int:
        """Negative samples per skip-gram."""
        return self.manifest["num_negatives"]

    @property
    def num_examples(self) -> int:
        """Blocks or pairs in all shards."""
        return sum(shard["examples"] for shard in self.manifest["shards"])

    @property
    def words_per_epoch(self) -> int:
        """Corpus words, before subsampling, that one epoch goes through."""
        return self.manifest["num_words"] * self.manifest["passes"]

    @property
    def skip_grams_per_epoch(self) -> int:
        """Skip-grams in all shards."""
        return self.manifest["num_skip_grams"]

    @property
    def transform_fn(self) -> str:
        """The SavedModel that turns text into ids."""
        return os.path.join(self.directory, "transform_fn")

    def steps_per_epoch(self, batch_size: int) -> int:
        """Batches in an epoch; the last is filled up with empty examples."""
        return -(-self.num_examples // batch_size)

    def words(self) -> list[str]:
        """The token of each id."""
        with gfile.GFile(os.path.join(self.directory, "vocabulary.tsv"), "rb") as file:
            return [line.rsplit(b"\t", 1)[0].decode() for line in file]


def open_dataset(directory: str) -> Dataset:
    """Reads the manifest and checks that all it names is there.

    Raises:
        UserError: the directory is no complete dataset of a version that this trainer knows.
    """
    path = os.path.join(directory, "manifest.json")
    try:
        with gfile.GFile(path) as file:
            manifest = json.load(file)
    except tf.errors.NotFoundError as error:
        raise UserError(
            f"--data {directory} holds no manifest.json: expected the --output of a pipeline run that has ended well"
        ) from error
    except (tf.errors.OpError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    version = manifest.get("version") if isinstance(manifest, dict) else None
    if version != SUPPORTED_VERSION:
        raise UserError(f"{path} has version {version}: this trainer reads version {SUPPORTED_VERSION}")
    if [field["name"] for field in manifest["fields"]] != _FIELDS.get(manifest["example_format"]):
        raise UserError(
            f"{path} has example_format {manifest['example_format']!r}: this trainer reads blocks and pairs"
        )
    for name in ("vocabulary.tsv", "transform_fn/saved_model.pb"):
        if not gfile.exists(os.path.join(directory, name)):
            raise UserError(f"--data {directory} is incomplete: {name} is missing")
    for shard in manifest["shards"]:
        try:
            length = gfile.stat(os.path.join(directory, shard["name"])).length
        except tf.errors.NotFoundError as error:
            raise UserError(f"--data {directory} is incomplete: {shard['name']} is missing") from error
        if length != shard["bytes"]:
            raise UserError(
                f"--data {directory} is damaged: {shard['name']} has {length} bytes instead of {shard['bytes']}"
            )
    return Dataset(directory, manifest)


def epoch_batches(dataset: Dataset, batch_size: int, seed: int, epoch: int, skip_steps: int = 0) -> tf.data.Dataset:
    """The batches of one epoch, in an order that is a function of (seed, epoch).

    Records are shuffled. Of each 16, blocks get one another's negative samples: the two are independent, so that
    a new pairing is a new draw. Pairs keep theirs, which are none of them their context word, and are permuted one by
    one; else a batch would be the same run of text in every epoch. Blocks are such runs, and gain nothing by it.

    Args:
        dataset: where to read.
        batch_size: B, examples in a batch.
        seed, epoch: name the order.
        skip_steps: leave out that many batches at the beginning, to go on where a run was interrupted.

    Returns:
        steps_per_epoch - skip_steps batches of {tokens: [B, S + 2w] int32, left, right: [B, S] uint8,
        negatives: [B, N] int32} or {target: [B] int32, context: [B, 1 + K] int32}. The last is filled up with zeros.
    """
    order_seed, shuffle_seed, permute_seed = np.random.SeedSequence([seed, epoch]).generate_state(3).tolist()
    manifest = dataset.manifest
    names = [shard["name"] for shard in manifest["shards"] if shard["records"]]
    np.random.default_rng(order_seed).shuffle(names)
    fields = {field["name"]: field for field in manifest["fields"]}

    def decode(index, records):
        features = tf.io.parse_example(records, {name: tf.io.FixedLenFeature([], tf.string) for name in fields})
        examples = {
            name: tf.reshape(
                tf.io.decode_raw(tf.strings.reduce_join(features[name]), field["dtype"]), [-1, *field["shape"]]
            )
            for name, field in fields.items()
        }
        moved = ["negatives"] if dataset.example_format == "blocks" else list(fields)
        rows = tf.range(tf.shape(examples[moved[0]])[0])
        stream = tf.stack([tf.constant(permute_seed % 2**31, tf.int64), index])
        order = tf.random.experimental.stateless_shuffle(rows, stream)
        return {**examples, **{name: tf.gather(examples[name], order) for name in moved}}

    targets_per_record = max(
        shard["examples"] * dataset.targets_per_example / shard["records"]
        for shard in manifest["shards"]
        if shard["records"]
    )
    records = (
        tf.data.Dataset.from_tensor_slices([os.path.join(dataset.directory, name) for name in names])
        .interleave(
            lambda path: tf.data.TFRecordDataset(path, manifest["compression"].upper().replace("NONE", "")),
            cycle_length=min(_READERS, len(names)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .shuffle(max(1, int(_SHUFFLED_TARGETS / targets_per_record)), seed=shuffle_seed % 2**31)
    )
    empty = {name: tf.zeros([batch_size, *field["shape"]], field["dtype"]) for name, field in fields.items()}
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
