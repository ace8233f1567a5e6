"""Reading a dataset: an epoch has every block exactly once, and a damaged dataset is refused."""

import collections
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.contract.make import FOLDER
from trainer.batches import epoch_batches
from trainer.dataset import open_dataset
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


def test_several_epochs_are_each_of_them_in_turn(dataset_dir):
    dataset = open_dataset(str(dataset_dir))
    first, second = (read_epoch(dataset, 8, epoch=epoch) for epoch in (1, 2))
    assert same(first[5:] + second, read_epoch(dataset, 8, epoch=1, skip_steps=5, num_epochs=2))


def test_batches_are_not_tuned_as_an_iterator_could_then_take_a_minute_to_end(dataset_dir):
    batches = epoch_batches(open_dataset(str(dataset_dir)), 8, seed=1, epoch=0)
    assert batches.options().autotune.enabled is False


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
    assert dataset.default_batch_size(on_gpu=False) == 2048
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
    shard = max((copy / "skipgrams").iterdir(), key=lambda path: path.stat().st_size)
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"{shard.name} has [0-9]+ bytes instead of [0-9]+"):
        open_dataset(str(copy))


@pytest.mark.parametrize(
    ("content", "words", "damage"),
    [
        (None, 9, "is incomplete: holdout/a.tfrecord is missing"),
        (b"x" * 98, 9, "is damaged: holdout/a.tfrecord has 98 bytes instead of 99"),
        (b"x" * 99, 25, "is damaged: holdout/a.tfrecord has 99 bytes, which cannot hold the 25 words of manifest.json"),
        (b"x" * 99, 9, None),
    ],
)
def test_a_file_of_held_out_lines_is_checked_as_shards_are(copy, content, words, damage):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["holdout"] = [{"name": "holdout/a.tfrecord", "bytes": 99, "records": 1, "lines": 2, "words": words}]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (copy / "holdout").mkdir(exist_ok=True)
    if content is not None:
        (copy / "holdout/a.tfrecord").write_bytes(content)
    if damage is None:
        dataset = open_dataset(str(copy))
        (copy / "holdout/a.tfrecord").unlink()
        with pytest.raises(UserError, match="was replaced while it was trained on"):
            dataset.check_unchanged()
    else:
        with pytest.raises(UserError, match=damage):
            open_dataset(str(copy))


# Changes while the dataset is in use


def touch(path):
    """Gives a file the same contents again, as a second copy of the dataset does."""
    path.write_bytes(path.read_bytes())


CHANGES = {
    "the manifest is gone, as the pipeline removes it first": (
        lambda copy: (copy / "manifest.json").unlink(), "a file of it is gone",
    ),
    "the manifest is another": (
        lambda copy: shutil.copy(FOLDER / "blocks/manifest.json", copy / "manifest.json"), "manifest.json is another",
    ),
    "the manifest is half written": (
        lambda copy: (copy / "manifest.json").write_bytes(b'{"version":'), "manifest.json is another one",
    ),
    "a shard is gone": (lambda copy: next((copy / "skipgrams").iterdir()).unlink(), "a file of it is gone"),
    "a shard is another": (
        lambda copy: touch(copy / "skipgrams/skipgrams-00001-of-00003.tfrecord"),
        "skipgrams/skipgrams-00001-of-00003.tfrecord has been changed",
    ),
    "the vocabulary is another": (lambda copy: touch(copy / "vocabulary.tsv"), "vocabulary.tsv has been changed"),
    "the graph is another": (
        lambda copy: touch(copy / "transform_fn/saved_model.pb"), "transform_fn/saved_model.pb has been changed",
    ),
    "the graph's vocabulary is another": (
        lambda copy: touch(copy / "transform_fn/assets/vocabulary.tsv"), "assets/vocabulary.tsv has been changed",
    ),
    "the directory is gone": (shutil.rmtree, "a file of it is gone"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_while_the_dataset_is_in_use_is_one_line(copy, change):
    dataset = open_dataset(str(copy))
    words = dataset.words()
    dataset.check_unchanged()
    make_change, message = CHANGES[change]
    make_change(copy)
    expected = rf"^--data .*dataset was replaced while it was trained on: .*{message}.*; train again .* --overwrite$"
    with pytest.raises(UserError, match=expected):
        dataset.check_unchanged()
    assert dataset.words() == words


def test_a_manifest_in_another_layout_is_the_same_dataset(copy):
    dataset = open_dataset(str(copy))
    values = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(dict(reversed(values.items()))))
    dataset.check_unchanged()


def test_a_link_to_a_shard_is_followed(copy, tmp_path):
    """Whoever makes links in a dataset decides where they lead. Only names in the manifest must stay inside."""
    shard = copy / "skipgrams/skipgrams-00001-of-00003.tfrecord"
    shard.rename(tmp_path / "elsewhere")
    shard.symlink_to(tmp_path / "elsewhere")
    dataset = open_dataset(str(copy))
    assert len(read_epoch(dataset, 64)) == dataset.steps_per_epoch(64)


@pytest.mark.parametrize("shape", [2**30, 2**31 - 1])
def test_examples_that_the_shards_cannot_hold_are_refused(copy, shape):
    """Otherwise the shape in the manifest would decide how much memory the first batch takes."""
    values = json.loads((copy / "manifest.json").read_text())
    values["fields"][3]["shape"] = [shape]
    (copy / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match="has [0-9]+ bytes, which cannot hold the [0-9]+ examples of manifest.json"):
        open_dataset(str(copy))


@pytest.mark.parametrize("added", [1, -1, -40])
def test_another_number_of_examples_than_the_manifest_says_is_an_error(copy, added):
    """More or fewer examples, whether or not they end within a batch."""
    values = json.loads((copy / "manifest.json").read_text())
    max(values["shards"], key=lambda shard: shard["examples"])["examples"] += added
    (copy / "manifest.json").write_text(json.dumps(values))
    dataset = open_dataset(str(copy))
    for batch_size in (7, dataset.num_examples):
        with pytest.raises(tf.errors.OpError):
            read_epoch(dataset, batch_size)
