"""A dataset that changes while it is trained on, or whose damage shows only then."""

import shutil

import pytest
import tensorflow as tf

from tests.conftest import TRAINER_FLAGS
from tests.contract.make import FOLDER
from tests.trainer.test_damage import SHARDS, field, number, write_records
from trainer import checkpoints, training
from trainer.errors import UserError
from trainer.task import parse


def arguments(data, output, *flags):
    return parse(["--data", str(data), "--output", str(output), *TRAINER_FLAGS, "--checkpoint_minutes", "0", *flags])


def replaced_by_the_pipeline(data, other):
    """What a run of the pipeline does with --overwrite."""
    (data / "manifest.json").unlink()
    shutil.rmtree(data)
    shutil.copytree(other, data)


CHANGES = {
    "another dataset": (lambda data: replaced_by_the_pipeline(data, FOLDER / "blocks"), "is another one now|is gone"),
    "being replaced": (lambda data: (data / "manifest.json").unlink(), "a file of it is gone"),
    "another vocabulary": (
        lambda data: (data / "vocabulary.tsv").write_bytes((data / "vocabulary.tsv").read_bytes()[::-1]),
        "vocabulary.tsv has been changed",
    ),
    "another shard": (
        lambda data: shutil.copy(*sorted((data / "skipgrams").iterdir())[:2]),
        "skipgrams/skipgrams-00001-of-00003.tfrecord has been changed",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_dataset_that_is_replaced_ends_the_run_before_the_next_checkpoint(change, dataset_dir, tmp_path, monkeypatch):
    data = shutil.copytree(dataset_dir, tmp_path / "dataset")
    make, told = CHANGES[change]
    saved = []
    save = checkpoints.Checkpoints.save

    def save_and_change(self, position):
        save(self, position)
        saved.append(position.step)
        if len(saved) == 2:
            make(data)

    monkeypatch.setattr(checkpoints.Checkpoints, "save", save_and_change)

    with pytest.raises(UserError, match=f"--data {data} was replaced while it was trained on: .*({told})"):
        training.train(arguments(data, tmp_path / "model"))

    assert len(saved) == 2
    assert not (tmp_path / "model" / "vectors.bin").exists()


def test_a_dataset_that_is_replaced_during_the_export_leaves_the_older_model(
    dataset_dir, model_dir, tmp_path, monkeypatch
):
    data = shutil.copytree(dataset_dir, tmp_path / "dataset")
    output = shutil.copytree(model_dir, tmp_path / "model")
    from trainer import export

    write = export._write_all

    def write_and_replace(*args):
        write(*args)
        replaced_by_the_pipeline(data, FOLDER / "blocks")

    monkeypatch.setattr(export, "_write_all", write_and_replace)

    with pytest.raises(UserError, match="was replaced while it was trained on"):
        training.train(arguments(data, output, "--overwrite", "--epochs", "1", "--seed", "9"))

    for name in ("vectors.bin", "metadata.tsv", "metrics.json"):
        assert (output / name).read_bytes() == (model_dir / name).read_bytes()
    assert not list(output.glob("*.tmp"))


def cut_off(data):
    for file in (data / "transform_fn").glob("*.pb"):
        file.write_bytes(b"x" * file.stat().st_size)


@pytest.mark.parametrize("vanish", [
    shutil.rmtree, lambda data: shutil.rmtree(data / "transform_fn"), lambda data: (data / "vocabulary.tsv").unlink(),
    cut_off,
], ids=["dataset", "graph", "vocabulary", "damaged graph"])  # fmt: skip
def test_a_dataset_that_vanishes_while_its_words_are_exported_is_told(vanish, tmp_path, monkeypatch):
    from trainer import export

    data = shutil.copytree(FOLDER / "blocks", tmp_path / "dataset")
    write = export._write_all
    monkeypatch.setattr(export, "_write_all", lambda *args: (vanish(data), write(*args)))

    with pytest.raises(UserError, match=f"^--data {data} (was replaced while|is damaged: transform_fn)"):
        training.train(arguments(data, tmp_path / "model", "--epochs", "1", "--batch_size", "1"))

    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["checkpoints", "logs"]


@pytest.mark.parametrize("damage", [cut_off, lambda data: shutil.rmtree(data / "transform_fn" / "variables")],
                         ids=["graph", "variables"])  # fmt: skip
def test_a_damaged_graph_is_told_before_the_training(damage, dataset_dir, tmp_path):
    data = shutil.copytree(dataset_dir, tmp_path / "dataset")
    damage(data)

    with pytest.raises(UserError, match=f"^--data {data} is damaged: transform_fn cannot be loaded"):
        training.train(arguments(data, tmp_path / "model"))

    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name, optimizer", [("blocks", "rowwise_adagrad"), ("blocks", "adam"), ("pairs", "adam")])
def test_an_id_out_of_range_is_told_with_its_shard_whatever_the_optimizer(name, optimizer, tmp_path):
    data = shutil.copytree(FOLDER / name, tmp_path / "dataset")
    compression = "GZIP" if name == "pairs" else ""
    (record,) = tf.data.TFRecordDataset(str(data / SHARDS[name]), compression).as_numpy_iterator()
    write_records(data, name, field({"blocks": "tokens", "pairs": "context"}[name], number("<i4", 5, 70_000))(record))

    with pytest.raises(UserError, match=rf"^--data .*{SHARDS[name]}, record 1: id 70,000 is not below the vocab_size"):
        training.train(arguments(data, tmp_path / "model", "--optimizer", optimizer, "--batch_size", "2"))

    assert not (tmp_path / "model" / "vectors.bin").exists()
