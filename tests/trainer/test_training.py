"""Whole runs of `python -m trainer.task`: what they write, and that an interrupted run ends like an model_dir one."""

import gc
import json
import os
import shutil
import time

import numpy as np
import pytest
import tensorflow as tf

from tests import forked
from tests.conftest import TOPICS, TRAINER_FLAGS, run_module
from trainer import word2vec_format
from trainer.config import TrainerConfig
from trainer.errors import UserError
from trainer.task import parse
from trainer.training import train


def task(dataset, output, *flags, **kwargs):
    return run_module("trainer.task", "--data", dataset, "--output", output, *TRAINER_FLAGS, *flags, **kwargs)


def start(dataset, output, *flags):
    args = ("--data", dataset, "--output", output, *TRAINER_FLAGS, *flags)
    return forked.server("trainer").start("-m", "trainer.task", *args)


def refusal(dataset, output, *flags):
    """The message by which a run is refused, in this process, before anything is trained."""
    with pytest.raises(UserError) as raised:
        train(parse(["--data", str(dataset), "--output", str(output), *TRAINER_FLAGS, *flags]))
    return str(raised.value)


def metrics_of(output):
    return json.loads((output / "metrics.json").read_text())


def test_metrics_describe_the_run(model_dir, dataset_dir):
    metrics = metrics_of(model_dir)
    manifest = json.loads((dataset_dir / "manifest.json").read_text())
    assert len(metrics["loss"]) == 3
    # At first every logit is 0, so the loss is ln 2 for the context word and for each of 5 negative samples.
    assert metrics["loss"][0] < 6 * np.log(2)
    assert metrics["loss"] == sorted(metrics["loss"], reverse=True)
    ratio = metrics["words_per_second"] / metrics["skip_grams_per_second"]
    assert ratio == pytest.approx(manifest["num_words"] / manifest["num_skip_grams"])
    assert metrics["train_seconds"] > 0
    assert 0 <= metrics["input_wait_fraction"] < 1
    assert metrics["config"]["embedding_dim"] == 16
    examples = sum(shard["examples"] for shard in manifest["shards"])
    assert metrics["steps_per_epoch"] == -(-examples // 8)


def test_a_finished_model_directory_holds_no_checkpoints_or_temporary_files(model_dir):
    assert sorted(os.listdir(model_dir)) == [
        "logs", "metadata.tsv", "metrics.json", "saved_model", "state", "vectors.bin", "vectors.tsv", "vectors.txt"
    ]  # fmt: skip


def test_tensorboard_has_the_curves(model_dir):
    scalars = {}
    (events,) = (model_dir / "logs").glob("*tfevents*")
    for event in tf.compat.v1.train.summary_iterator(str(events)):
        for value in event.summary.value:
            scalars.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    assert set(scalars) == {
        "loss", "learning_rate", "words_per_second", "skip_grams_per_second", "input_wait_fraction"
    }  # fmt: skip
    last_step = 3 * metrics_of(model_dir)["steps_per_epoch"]
    assert scalars["learning_rate"][-1] == (last_step, pytest.approx(0.0, abs=1e-6))
    assert scalars["loss"][0][1] > scalars["loss"][-1][1]


def test_the_same_seed_gives_the_same_bytes_also_with_nothing_to_resume(model_dir, dataset_dir, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    result = task(dataset_dir, tmp_path / "again", "--resume", is_new=True)  # has other hashes of its strings
    assert "starting from the beginning" in result.stderr
    assert not list((tmp_path / "temporary").glob("*.py"))  # TensorFlow has written some
    assert (tmp_path / "again" / "vectors.bin").read_bytes() == (model_dir / "vectors.bin").read_bytes()
    assert metrics_of(tmp_path / "again")["loss"] == metrics_of(model_dir)["loss"]


def kill_in_the_middle(dataset, output, num_checkpoints):
    """Starts a run that saves a checkpoint as often as it can, and kills it after so many checkpoints."""
    process = start(dataset, output, "--checkpoint_minutes", "0")
    deadline = time.monotonic() + 120
    while not any((output / f"checkpoints/ckpt-{num_checkpoints + n}.index").exists() for n in range(3)):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not (output / "metrics.json").exists()


@pytest.fixture(scope="module")
def killed(dataset_dir, tmp_path_factory):
    """A run that was killed in the middle of its second epoch."""
    output = tmp_path_factory.mktemp("killed") / "model"
    kill_in_the_middle(dataset_dir, output, num_checkpoints=45)  # an epoch has 35 calls of 8 steps
    return output


def test_a_killed_run_that_goes_on_gives_the_same_embeddings(killed, model_dir, dataset_dir, tmp_path):
    output = shutil.copytree(killed, tmp_path / "model")
    result = task(dataset_dir, output, "--resume")
    assert "going on from epoch 2, step" in result.stderr
    assert (output / "vectors.bin").read_bytes() == (model_dir / "vectors.bin").read_bytes()
    assert metrics_of(output)["loss"] == metrics_of(model_dir)["loss"]


def test_an_interrupted_run_is_not_started_over_by_accident(killed, dataset_dir):
    message = refusal(dataset_dir, killed)
    assert "--resume" in message and "--overwrite" in message
    assert list(killed.glob("checkpoints/ckpt-*.index"))


@pytest.mark.parametrize("flag, value", [("--seed", "7"), ("--learning_rate", "0.5"), ("--epochs", "9")])
def test_other_flags_cannot_go_on(killed, dataset_dir, flag, value):
    message = refusal(dataset_dir, killed, "--resume", flag, value)
    assert flag in message and value in message
    assert list(killed.glob("checkpoints/ckpt-*.index"))


def test_a_model_is_replaced_only_on_demand(model_dir, dataset_dir, tmp_path):
    output = shutil.copytree(model_dir, tmp_path / "model")
    for flags in ((), ("--resume",)):
        assert "--overwrite" in refusal(dataset_dir, output, "--seed", "8", *flags)
        assert (output / "vectors.bin").read_bytes() == (model_dir / "vectors.bin").read_bytes()
    task(dataset_dir, output, "--seed", "8", "--overwrite")
    # Another seed gives other vectors.
    assert (output / "vectors.bin").read_bytes() != (model_dir / "vectors.bin").read_bytes()
    assert sorted(os.listdir(output)) == sorted(os.listdir(model_dir))


def test_a_model_that_is_being_replaced_stays_until_the_new_one_is_there(model_dir, dataset_dir, tmp_path):
    output = shutil.copytree(model_dir, tmp_path / "model")
    process = start(dataset_dir, output, "--overwrite", "--epochs", "1000")
    deadline = time.monotonic() + 120
    while not list(output.glob("checkpoints/ckpt-*.index")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert (output / "vectors.bin").read_bytes() == (model_dir / "vectors.bin").read_bytes()
    assert metrics_of(output) == metrics_of(model_dir)


def test_train_prints_nothing_and_returns_what_metrics_json_holds(dataset_dir, tmp_path, capfd):
    collector = (gc.isenabled(), gc.get_freeze_count())
    config = TrainerConfig(str(dataset_dir), str(tmp_path / "model"), embedding_dim=8, epochs=1, resume=True)
    metrics = train(config)
    assert capfd.readouterr() == ("", "")
    was_enabled, num_frozen = collector
    assert gc.isenabled() == was_enabled
    assert gc.get_freeze_count() <= num_frozen  # frozen objects may have been freed, but none was added
    assert json.loads(json.dumps(metrics)) == metrics_of(tmp_path / "model")


def test_the_tutorials_preset_learns_from_pairs(pairs_dir, tmp_path):
    flags = ("--preset", "tutorial", "--embedding_dim", "16", "--batch_size", "64", "--epochs", "4")
    output = tmp_path / "model"
    result = run_module("trainer.task", "--data", pairs_dir, "--output", output, *flags)
    metrics = metrics_of(output)
    assert metrics["loss"][0] == pytest.approx(
        np.log(5), rel=0.05
    )  # the softmax of a context word and 4 negative samples
    assert metrics["loss"] == sorted(metrics["loss"], reverse=True)
    assert metrics["accuracy"] == sorted(metrics["accuracy"]) and metrics["accuracy"][-1] > 0.3
    assert "accuracy by epoch" in result.stdout
    assert metrics["config"]["optimizer"] == "adam"


def test_softmax_wants_pairs(dataset_dir, tmp_path):
    assert "--loss softmax" in refusal(dataset_dir, tmp_path / "model", "--loss", "softmax")
    assert not (tmp_path / "model").exists()


def test_words_of_a_topic_are_neighbours(model_dir):
    vectors = word2vec_format.load(str(model_dir / "vectors.bin"))
    for words in TOPICS.values():
        for word in words:
            query = vectors.unit_vectors[vectors.index[word]]
            near = {neighbour for neighbour, _ in vectors.nearest(query, 5, exclude=[vectors.index[word]])}
            assert len(near & set(words)) >= 4, (word, near)


def test_a_foreign_directory_is_refused(dataset_dir, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "thesis.tex" in refusal(dataset_dir, tmp_path, "--overwrite")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
