"""Whole runs of `python -m trainer.task`: the same from the same seed, interrupted or not; what they leave behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import ROOT, run_module
from trainer import word2vec_format

FLAGS = ("--embedding_dim", "16", "--batch_size", "8", "--epochs", "3", "--seed", "5")


def task(dataset, output, *flags, check=True):
    return run_module("trainer.task", "--data", dataset, "--output", output, *FLAGS, *flags, check=check)


@pytest.fixture(scope="module")
def unbroken(dataset_dir, tmp_path_factory):
    """A run that was left alone."""
    output = tmp_path_factory.mktemp("unbroken") / "model"
    task(dataset_dir, output)
    return output


def metrics_of(output):
    return json.loads((output / "metrics.json").read_text())


def test_metrics_say_what_happened(unbroken, dataset_dir):
    metrics = metrics_of(unbroken)
    manifest = json.loads((dataset_dir / "manifest.json").read_text())
    assert len(metrics["loss"]) == 3
    # At first every logit is 0: ln 2 for the skip-gram and for each of 5 negative samples.
    assert metrics["loss"][0] < 6 * np.log(2)
    assert metrics["loss"] == sorted(metrics["loss"], reverse=True)
    ratio = metrics["words_per_second"] / metrics["skip_grams_per_second"]
    assert ratio == pytest.approx(manifest["num_words"] / manifest["num_skip_grams"])
    assert metrics["train_seconds"] > 0
    assert 0 <= metrics["input_wait_fraction"] < 1
    assert metrics["config"]["embedding_dim"] == 16
    examples = sum(shard["examples"] for shard in manifest["shards"])
    assert metrics["steps_per_epoch"] == -(-examples // 8)


def test_a_finished_model_directory_holds_no_checkpoints_or_temporary_files(unbroken):
    assert sorted(os.listdir(unbroken)) == [
        "logs", "metadata.tsv", "metrics.json", "saved_model", "vectors.bin", "vectors.tsv", "vectors.txt"
    ]  # fmt: skip


def test_tensorboard_has_the_curves(unbroken):
    scalars = {}
    (events,) = (unbroken / "logs").iterdir()
    for event in tf.compat.v1.train.summary_iterator(str(events)):
        for value in event.summary.value:
            scalars.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    assert set(scalars) == {
        "loss", "learning_rate", "words_per_second", "skip_grams_per_second", "input_wait_fraction"
    }  # fmt: skip
    last_step = 3 * metrics_of(unbroken)["steps_per_epoch"]
    assert scalars["learning_rate"][-1] == (last_step, 0.0)
    assert scalars["loss"][0][1] > scalars["loss"][-1][1]


def test_the_same_seed_gives_the_same_bytes(unbroken, dataset_dir, tmp_path):
    task(dataset_dir, tmp_path / "again")
    assert (tmp_path / "again" / "vectors.bin").read_bytes() == (unbroken / "vectors.bin").read_bytes()
    assert metrics_of(tmp_path / "again")["loss"] == metrics_of(unbroken)["loss"]


def test_another_seed_gives_others(unbroken, dataset_dir, tmp_path):
    task(dataset_dir, tmp_path / "other", "--seed", "6")
    assert (tmp_path / "other" / "vectors.bin").read_bytes() != (unbroken / "vectors.bin").read_bytes()


def kill_in_the_middle(dataset, output, num_checkpoints):
    """Starts a run that saves a checkpoint as often as it can, and kills it after so many."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer.task", "--data", str(dataset), "--output", str(output), *FLAGS,
         "--checkpoint_minutes", "0"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not any((output / f"checkpoints/ckpt-{num_checkpoints + n}.index").exists() for n in range(3)):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (output / "metrics.json").exists()


@pytest.fixture(scope="module")
def killed(dataset_dir, tmp_path_factory):
    """A run killed in the middle of its second epoch."""
    output = tmp_path_factory.mktemp("killed") / "model"
    kill_in_the_middle(dataset_dir, output, num_checkpoints=24)
    return output


def test_a_killed_run_goes_on_to_the_same_embeddings(killed, unbroken, dataset_dir, tmp_path):
    output = shutil.copytree(killed, tmp_path / "model")
    result = task(dataset_dir, output, "--resume")
    assert "going on from epoch 2, step" in result.stdout
    assert (output / "vectors.bin").read_bytes() == (unbroken / "vectors.bin").read_bytes()
    assert metrics_of(output)["loss"] == metrics_of(unbroken)["loss"]


def test_an_interrupted_run_is_not_started_over_by_accident(killed, dataset_dir):
    result = task(dataset_dir, killed, check=False)
    assert result.returncode == 2
    assert "--resume" in result.stderr and "--overwrite" in result.stderr
    assert list(killed.glob("checkpoints/ckpt-*.index"))


@pytest.mark.parametrize("flag, value", [("--seed", "7"), ("--learning_rate", "0.5"), ("--epochs", "9")])
def test_other_flags_cannot_go_on(killed, dataset_dir, flag, value):
    result = task(dataset_dir, killed, "--resume", flag, value, check=False)
    assert result.returncode == 2
    assert flag in result.stderr and value in result.stderr
    assert list(killed.glob("checkpoints/ckpt-*.index"))


def test_resume_without_a_checkpoint_starts_from_the_beginning(unbroken, dataset_dir, tmp_path):
    result = task(dataset_dir, tmp_path / "model", "--resume")
    assert "starting from the beginning" in result.stdout
    assert (tmp_path / "model" / "vectors.bin").read_bytes() == (unbroken / "vectors.bin").read_bytes()


def test_a_model_is_replaced_only_on_demand(unbroken, dataset_dir, tmp_path):
    output = shutil.copytree(unbroken, tmp_path / "model")
    for flags in ((), ("--resume",)):
        result = task(dataset_dir, output, "--seed", "8", *flags, check=False)
        assert result.returncode == 2 and "--overwrite" in result.stderr
        assert (output / "vectors.bin").read_bytes() == (unbroken / "vectors.bin").read_bytes()
    task(dataset_dir, output, "--seed", "8", "--overwrite")
    assert (output / "vectors.bin").read_bytes() != (unbroken / "vectors.bin").read_bytes()
    assert sorted(os.listdir(output)) == sorted(os.listdir(unbroken))


def test_a_model_that_is_being_replaced_stays_until_the_new_one_is_there(unbroken, dataset_dir, tmp_path):
    output = shutil.copytree(unbroken, tmp_path / "model")
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer.task", "--data", str(dataset_dir), "--output", str(output), *FLAGS,
         "--overwrite", "--epochs", "1000"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(output.glob("checkpoints/ckpt-*.index")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert (output / "vectors.bin").read_bytes() == (unbroken / "vectors.bin").read_bytes()
    assert metrics_of(output) == metrics_of(unbroken)


def test_the_tutorials_preset_learns_from_pairs(pairs_dir, tmp_path):
    flags = ("--preset", "tutorial", "--embedding_dim", "16", "--batch_size", "64", "--epochs", "4")
    output = tmp_path / "model"
    result = run_module("trainer.task", "--data", pairs_dir, "--output", output, *flags)
    metrics = metrics_of(output)
    assert metrics["loss"][0] == pytest.approx(np.log(5), rel=0.05)  # of 1 context word among 4 negative samples
    assert metrics["loss"] == sorted(metrics["loss"], reverse=True)
    assert metrics["accuracy"] == sorted(metrics["accuracy"]) and metrics["accuracy"][-1] > 0.3
    assert "accuracy by epoch" in result.stdout
    assert metrics["config"]["optimizer"] == "adam"


def test_softmax_wants_pairs(dataset_dir, tmp_path):
    result = task(dataset_dir, tmp_path / "model", "--loss", "softmax", check=False)
    assert result.returncode == 2 and "--loss softmax" in result.stderr
    assert not (tmp_path / "model").exists()


def test_words_of_a_topic_are_neighbours(unbroken):
    vectors = word2vec_format.load(str(unbroken / "vectors.bin"))
    from tests.conftest import TOPICS

    for words in TOPICS.values():
        for word in words:
            query = vectors.unit_vectors[vectors.index[word]]
            near = {neighbour for neighbour, _ in vectors.nearest(query, 5, exclude=[vectors.index[word]])}
            assert len(near & set(words)) >= 4, (word, near)


def test_a_foreign_directory_is_refused(dataset_dir, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    result = task(dataset_dir, tmp_path, "--overwrite", check=False)
    assert result.returncode == 2 and "thesis.tex" in result.stderr
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
