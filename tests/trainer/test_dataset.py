"""Reading a dataset: an epoch has every block exactly once, and a damaged dataset is refused."""

import collections
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from trainer.dataset import epoch_batches, open_dataset
from trainer.errors import UserError


@pytest.fixture
def copy(dataset_dir, tmp_path):
    """A copy of the dataset, which a test may damage."""
    return shutil.copytree(dataset_dir, tmp_path / "dataset")


def raw_blocks(dataset):
    """Counts the blocks (tokens, left, right) in the shards, and their sets of negative samples."""
    blocks, negatives = [], []
    compression = {"gzip": "GZIP", "none": ""}[dataset.manifest.compression]
    fields = [(field.name, field.dtype, field.shape) for field in dataset.manifest.fields]
    for shard in dataset.manifest.shards:
        for record in tf.data.TFRecordDataset(f"{dataset.directory}/{shard.name}", compression):
            features = tf.train.Example.FromString(record.numpy()).features.feature
            arrays = {
                name: np.frombuffer(features[name].bytes_list.value[0], dtype).reshape(-1, *shape)
                for name, dtype, shape in fields
            }
            rows = zip(arrays["tokens"], arrays["left"], arrays["right"], strict=True)
            blocks += [tuple(map(bytes, row)) for row in rows]
            negatives += [bytes(row) for row in arrays["negatives"]]
    return collections.Counter(blocks), collections.Counter(negatives)


def read_epoch(dataset, batch_size, **kwargs):
    return [
        {name: value.numpy() for name, value in batch.items()}
        for batch in epoch_batches(dataset, batch_size, **{"seed": 1, "epoch": 0, **kwargs})
    ]


def same(a, b):
    return len(a) == len(b) and all(np.array_equal(x[name], y[name]) for x, y in zip(a, b, strict=True) for name in x)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_an_epoch_is_every_block_once(dataset_dir, batch_size):
    dataset = open_dataset(str(dataset_dir))
    blocks, negatives = raw_blocks(dataset)
    batches = read_epoch(dataset, batch_size)
    assert len(batches) == dataset.steps_per_epoch(batch_size)
    assert {len(batch["tokens"]) for batch in batches} == {batch_size}

    seen, seen_negatives = collections.Counter(), collections.Counter()
    for batch in batches:
        for row in range(batch_size):
            if batch["tokens"][row].any():
                seen[tuple(bytes(batch[name][row]) for name in ("tokens", "left", "right"))] += 1
                seen_negatives[bytes(batch["negatives"][row])] += 1
            else:
                assert not batch["left"][row].any() and not batch["right"][row].any()
    assert seen == blocks
    assert seen_negatives == negatives
    assert sum(blocks.values()) == dataset.num_examples


def test_only_the_last_batch_is_filled_up(dataset_dir):
    dataset = open_dataset(str(dataset_dir))
    batches = read_epoch(dataset, 64)
    full = np.concatenate([batch["tokens"].any(axis=1) for batch in batches])
    assert full[: dataset.num_examples].all() and not full[dataset.num_examples :].any()


def test_the_order_depends_on_seed_and_epoch_alone(dataset_dir):
    dataset = open_dataset(str(dataset_dir))
    first = read_epoch(dataset, 8)
    assert same(first, read_epoch(dataset, 8))
    assert not same(first, read_epoch(dataset, 8, epoch=1))
    assert not same(first, read_epoch(dataset, 8, seed=2))


def test_skipping_steps_does_not_change_the_later_batches(dataset_dir):
    dataset = open_dataset(str(dataset_dir))
    whole = read_epoch(dataset, 8, epoch=2)
    assert same(whole[5:], read_epoch(dataset, 8, epoch=2, skip_steps=5))


def test_blocks_have_other_negative_samples_in_each_epoch(dataset_dir):
    dataset = open_dataset(str(dataset_dir))

    def pairs(epoch):
        return {
            (bytes(batch["tokens"][row]), bytes(batch["negatives"][row]))
            for batch in read_epoch(dataset, 64, epoch=epoch)
            for row in range(64)
        }

    first, second = pairs(0), pairs(1)
    assert len(first & second) < 0.1 * len(first)


def test_an_epoch_is_every_pair_once_in_another_order_each_time(pairs_dir):
    dataset = open_dataset(str(pairs_dir))
    assert dataset.default_batch_size == 2048
    epochs = [read_epoch(dataset, 100, epoch=epoch) for epoch in (0, 1, 1)]
    assert same(epochs[1], epochs[2]) and not same(epochs[0], epochs[1])
    assert same(epochs[1][3:], read_epoch(dataset, 100, epoch=1, skip_steps=3))

    def pairs(batches):
        rows = np.concatenate([np.column_stack([batch["target"], batch["context"]]) for batch in batches])
        assert len(rows) == 100 * len(batches)
        assert not rows[dataset.num_examples :].any() and rows[: dataset.num_examples].all()
        return sorted(map(tuple, rows[: dataset.num_examples].tolist()))

    assert pairs(epochs[0]) == pairs(epochs[1])
    assert dataset.num_examples == dataset.skip_grams_per_epoch


def test_numbers_come_from_the_manifest(dataset_dir):
    dataset = open_dataset(str(dataset_dir))
    manifest = json.loads((dataset_dir / "manifest.json").read_text())
    assert dataset.words()[:2] == ["[PAD]", "[UNK]"]
    assert len(dataset.words()) == dataset.vocab_size == manifest["vocab_size"]
    batches = read_epoch(dataset, 64)
    skip_grams = sum(int(batch["left"].sum()) + int(batch["right"].sum()) for batch in batches)
    assert skip_grams == dataset.skip_grams_per_epoch == manifest["num_skip_grams"]


def test_a_directory_without_manifest_is_refused(copy):
    (copy / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"--data .*dataset holds no manifest\.json"):
        open_dataset(str(copy))


def test_a_missing_directory_is_refused(tmp_path):
    with pytest.raises(UserError, match="--data .*nowhere"):
        open_dataset(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 99}', "{}"])
def test_another_manifest_is_refused(copy, text):
    (copy / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json"):
        open_dataset(str(copy))


@pytest.mark.parametrize("name", ["vocabulary.tsv", "transform_fn/saved_model.pb"])
def test_a_missing_part_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        open_dataset(str(copy))


def test_a_missing_shard_is_named(copy):
    shard = sorted((copy / "skipgrams").iterdir())[1]
    shard.unlink()
    with pytest.raises(UserError, match=f"{shard.name} is missing"):
        open_dataset(str(copy))


def test_a_shard_of_another_size_is_named(copy):
    shard = sorted((copy / "skipgrams").iterdir())[1]
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"{shard.name} has [0-9]+ bytes instead of [0-9]+"):
        open_dataset(str(copy))
