"""Training that leads nowhere: it is told, and nothing that was there is replaced."""

import dataclasses
import shutil
import types

import numpy as np
import pytest
import tensorflow as tf

from tests.contract.make import FOLDER
from trainer import building, limits, preflight, training
from trainer.batches import epoch_batches
from trainer.config import TrainerConfig
from trainer.dataset import open_dataset
from trainer.divergence import Diverged, StopOnDivergence, untrained_loss
from trainer.errors import UserError
from trainer.group import Group
from trainer.task import parse


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("loss, initialization", [("negative_sampling", "word2vec"), ("softmax", "word2vec")])
def test_the_untrained_loss_is_that_of_a_model_whose_logits_are_0(loss, initialization, pairs_dir):
    dataset = open_dataset(str(pairs_dir))
    config = TrainerConfig(str(pairs_dir), "unused", embedding_dim=4, batch_size=64, loss=loss)
    model, _ = training.build_model(config, dataset)

    found, _ = model.gradients(next(iter(epoch_batches(dataset, 64, seed=1, epoch=0))))

    expected = untrained_loss(loss, dataset.manifest.num_negatives)
    assert float(found.loss / found.num_skip_grams) == pytest.approx(expected, rel=1e-6)


def looks_at(losses, steps_between, skip_grams=100, batch_size=0):
    """Lets the callback look at a mean loss after every few steps. Returns the callback."""
    config = TrainerConfig("data", "output", learning_rate=3.0, epochs=1, batch_size=batch_size)
    callback = StopOnDivergence(config, types.SimpleNamespace(num_negatives=5))
    metric = types.SimpleNamespace(total=0.0, count=0.0)
    callback.set_model(types.SimpleNamespace(loss_per_skip_gram=metric))
    callback.on_epoch_begin(0)
    for number, loss in enumerate(losses):
        callback.on_train_batch_begin(number * steps_between)
        metric.total += skip_grams * loss
        metric.count += skip_grams
        callback.on_train_batch_end((number + 1) * steps_between - 1, {"steps": steps_between})
    return callback


LIMIT = 2 * 6 * np.log(2)


@pytest.mark.parametrize(
    "losses, where",
    [
        ([4.0, float("nan")], "nan per skip-gram at epoch 1, step 32"),
        ([float("inf")], "inf per skip-gram at epoch 1, step 16"),
        ([LIMIT + 0.1] * 7, r"8\.42 per skip-gram at epoch 1, step 112"),
    ],
    ids=["not a number", "infinite", "too high for 100 steps"],
)
def test_a_loss_that_is_of_no_use_ends_the_run(losses, where):
    with pytest.raises(Diverged, match=f"--learning_rate 3: the training has diverged.* {where}, .*a lower rate"):
        looks_at(losses, 16)


@pytest.mark.parametrize(
    "losses", [[LIMIT + 9] * 6 + [4.0], [LIMIT - 0.1] * 100, [LIMIT + 9, 4.0] * 50], ids=["at first", "high", "peaks"]
)
def test_a_loss_that_comes_down_again_does_not(losses):
    looks_at(losses, 16).on_epoch_end(0)


def test_a_loss_that_is_too_high_at_the_end_is_told_even_after_few_steps():
    callback = looks_at([4.0, LIMIT + 1], 1, batch_size=2000)

    with pytest.raises(
        Diverged, match=r"9\.32 per .* at the end, .* a lower rate, or a smaller --batch_size than 2,000"
    ):
        callback.on_epoch_end(0)


def test_the_loss_of_a_few_skip_grams_ends_no_run():
    """The last batch of an epoch may hold a single pair, and a good model may find this one unlikely."""
    looks_at([4.0, LIMIT + 1], 1, skip_grams=99).on_epoch_end(0)
    with pytest.raises(Diverged, match="nan"):
        looks_at([4.0, float("nan")], 1, skip_grams=1)


def test_an_epoch_that_goes_on_after_an_interruption_is_looked_at_from_there():
    """Its metric is restored after the epoch begins, and counts all of the epoch."""
    callback = looks_at([], 16)
    metric = callback.model.loss_per_skip_gram
    metric.total, metric.count = 1e6, 1e3
    callback.on_train_batch_begin(0)
    metric.total, metric.count = 1e6 + 4000, 2e3
    callback.on_train_batch_end(15, {"steps": 16})
    callback.on_epoch_end(0)


@pytest.mark.parametrize("rate", ["1000", "100"])
def test_a_model_that_is_there_is_not_replaced_by_one_that_has_diverged(rate, dataset_dir, model_dir, tmp_path):
    output = shutil.copytree(model_dir, tmp_path / "model")
    shutil.rmtree(output / "logs")
    before = files_of(output)
    flags = ("--overwrite", "--embedding_dim", "8", "--batch_size", "8", "--epochs", "1", "--learning_rate", rate)

    with pytest.raises(Diverged, match=f"^--learning_rate {rate}: "):
        training.train(parse(["--data", str(dataset_dir), "--output", str(output), *flags]))

    shutil.rmtree(output / "logs")
    assert files_of(output) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("table", [0, 1])
def test_vectors_that_are_no_numbers_are_never_exported(value, table, dataset_dir):
    config = TrainerConfig(str(dataset_dir), "unused", embedding_dim=4, batch_size=64)
    model, _ = training.build_model(config, open_dataset(str(dataset_dir)))
    training._check_finite(config, model, Group())
    variable = model.trainable_variables[table].value
    variable.assign(tf.tensor_scatter_nd_update(variable, [[3, 1]], [value]))

    with pytest.raises(Diverged, match="--learning_rate 0.2: the vectors hold NaN or infinity, so nothing is exported"):
        training._check_finite(config, model, Group())


# Small datasets


@pytest.mark.parametrize("asked", [0, 1_000_000])
def test_a_dataset_smaller_than_a_batch_is_divided_into_several(asked, tmp_path, capsys):
    dataset = open_dataset(str(FOLDER / "blocks"))
    config = TrainerConfig(str(FOLDER / "blocks"), str(tmp_path / "model"), embedding_dim=8, batch_size=asked)
    target_vectors = []

    def export(dataset, pieces, *others):
        target_vectors.append(np.concatenate(list(pieces)))
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "export", export)
        metrics = training.train(config, verbose=True)

    assert metrics["steps_per_epoch"] >= min(16, dataset.num_examples)
    model, _ = training.build_model(dataclasses.replace(config, batch_size=1), dataset)  # as it starts
    moved = np.abs(target_vectors[0] - model.target_embeddings.numpy()).max(axis=1)
    assert (moved[2:] > 0).all()
    told = capsys.readouterr().out
    assert ("--batch_size 1,000,000 is more than the dataset has" in told) == bool(asked)
    assert "steps, which teach the vectors little" in told


def test_a_short_run_that_recovers_from_its_first_steps_is_not_stopped(pairs_dir, tmp_path, monkeypatch):
    """Its mean loss is far too high because of them, but the loss of its last steps is not."""
    monkeypatch.setattr(training, "export", lambda *args, **kwargs: [])
    config = TrainerConfig(str(pairs_dir), str(tmp_path / "model"), embedding_dim=8, epochs=1, learning_rate=1.0)

    metrics = training.train(config)

    num_negatives = open_dataset(config.data).manifest.num_negatives
    assert metrics["loss"][0] > 2 * untrained_loss(config.loss, num_negatives)


def test_a_batch_that_fits_is_taken_as_it_is(dataset_dir):
    dataset = open_dataset(str(dataset_dir))
    for asked in (1, 8, dataset.num_examples):
        config = TrainerConfig(str(dataset_dir), "unused", batch_size=asked)
        assert building.batch_size(config, dataset) == asked


# Memory


def test_tables_that_cannot_fit_are_told_before_anything_is_written(dataset_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "available_bytes", lambda: (700_000_000, "cgroup"))
    config = TrainerConfig(str(dataset_dir), str(tmp_path / "model"), embedding_dim=65536, optimizer="adam")

    with pytest.raises(UserError, match=r"--embedding_dim 65536 with \d+ words needs about 0\.7 GB of memory, but"):
        training.train(config)

    assert not (tmp_path / "model").exists()
    preflight.check_memory(TrainerConfig(str(dataset_dir), "unused"), 1000)
