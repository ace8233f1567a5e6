"""Checkpoints that are damaged, half removed or half written: the run goes on from the last one that is sound."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import TRAINER_FLAGS
from tests.contract.make import FOLDER
from trainer import checkpoints as module
from trainer import training
from trainer.checkpoints import Checkpoints, Position
from trainer.config import TrainerConfig
from trainer.dataset import open_dataset
from trainer.errors import UserError
from trainer.group import Group
from trainer.task import parse

SETTINGS = {"--seed": 1}


@pytest.fixture(scope="module")
def model():
    config = TrainerConfig(str(FOLDER / "blocks"), "unused", embedding_dim=4, batch_size=2)
    return training.build_model(config, open_dataset(config.data))[0]


def checkpoints_in(folder, model):
    return Checkpoints(model, str(folder), Group())


def fill(model, value):
    for variable in model.trainable_variables:
        variable.assign(tf.fill(variable.shape, value))


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    """Three checkpoints, in which all numbers of the tables are 1, 2 and 3. Two of them are kept."""
    folder = tmp_path_factory.mktemp("saved")
    checkpoints = checkpoints_in(folder / "checkpoints", model)
    checkpoints.start(SETTINGS)
    for step in (1, 2, 3):
        fill(model, float(step))
        checkpoints.save(Position(step=step))
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model") / "checkpoints"


def restore(model, folder):
    """Restores from the checkpoints in a folder; returns the step and the number that all tables hold."""
    fill(model, 0.0)
    position, _ = checkpoints_in(folder, model).restore(SETTINGS)
    (value,) = {float(number) for variable in model.trainable_variables for number in np.unique(variable.numpy())}
    return position.step, value


def test_two_checkpoints_are_kept_and_the_last_is_restored(model, folder):
    assert sorted(path.name for path in folder.glob("*.index")) == ["ckpt-2.index", "ckpt-3.index"]
    assert restore(model, folder) == (3, 3.0)


def data_of(folder, number):
    return folder / f"ckpt-{number}.data-00000-of-00001"


def flip(path, share):
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 0x40
    path.write_bytes(content)


DAMAGES = {
    "no data": lambda folder: data_of(folder, 3).unlink(),
    "data cut off": lambda folder: data_of(folder, 3).write_bytes(data_of(folder, 3).read_bytes()[:-9]),
    "empty data": lambda folder: data_of(folder, 3).write_bytes(b""),
    "a bit of a table": lambda folder: flip(data_of(folder, 3), 0.5),
    "empty index": lambda folder: (folder / "ckpt-3.index").write_bytes(b""),
    "index cut off": lambda folder: (folder / "ckpt-3.index").write_bytes((folder / "ckpt-3.index").read_bytes()[:40]),
    "a bit of the index": lambda folder: flip(folder / "ckpt-3.index", 0.1),
    "index of something else": lambda folder: (folder / "ckpt-3.index").write_bytes(b"x" * 500),
    "data of the one before": lambda folder: shutil.copy(data_of(folder, 2), data_of(folder, 3)),
    "a folder for data": lambda folder: (data_of(folder, 3).unlink(), data_of(folder, 3).mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_is_restored(damage, model, folder, caplog):
    DAMAGES[damage](folder)

    assert restore(model, folder) == (2, 2.0)
    assert caplog.messages == ["checkpoints/ckpt-3 is damaged, so the run goes on from the one before it"]


@pytest.mark.parametrize("name", ["checkpoint", "ckpt-9.data-00000-of-00001", "ckpt-9_temp", "ckpt-x.index", "junk"])
def test_files_that_belong_to_no_complete_checkpoint_do_no_harm(name, model, folder):
    (folder / name).write_bytes(b"junk")

    assert restore(model, folder) == (3, 3.0)


def test_checkpoints_that_are_all_damaged_are_told(model, folder):
    for number in (2, 3):
        flip(data_of(folder, number), 0.5)

    with pytest.raises(UserError, match="--resume: all 2 checkpoints .* are damaged: expected --overwrite"):
        restore(model, folder)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"{}", b'{"run": 1, "settings": []}', b"\xff"])
def test_settings_that_are_damaged_are_told(content, model, folder):
    (folder / "settings.json").unlink()
    if content is not None:
        (folder / "settings.json").write_bytes(content)

    with pytest.raises(UserError, match="--resume: checkpoints/settings.json is damaged or missing"):
        restore(model, folder)


def test_a_run_that_dies_while_it_saves_goes_on_from_the_checkpoint_before(model, folder, monkeypatch):
    """It dies at every step of saving that changes a file: writing, and removing the oldest."""
    checkpoints = checkpoints_in(folder, model)

    def dies(*args):
        raise RuntimeError("died")

    for name in ("remove", "rmtree"):
        monkeypatch.setattr(module.gfile, name, dies)
    fill(model, 4.0)
    with pytest.raises(RuntimeError, match="died"):
        checkpoints.save(Position(step=4))
    assert restore(model, folder) == (4, 4.0)

    def half(prefixes, prefix):
        data_of(folder, 5).write_bytes(b"half")
        raise RuntimeError("died")

    monkeypatch.setattr(module.bundle, "merge", half)
    with pytest.raises(RuntimeError, match="died"):
        checkpoints.save(Position(step=5))
    assert restore(model, folder) == (4, 4.0)
    flip(data_of(folder, 4), 0.5)
    assert restore(model, folder) == (3, 3.0)


# Whole runs


def arguments(data, output, *flags):
    return parse(["--data", str(data), "--output", str(output), *TRAINER_FLAGS, *flags])


@pytest.fixture(scope="module")
def interrupted(dataset_dir, tmp_path_factory):
    """A run that died in its export, with a folder that it was writing to."""
    output = tmp_path_factory.mktemp("interrupted") / "model"

    def dies(*args, **kwargs):
        raise RuntimeError("died")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "export", dies)
        with pytest.raises(RuntimeError, match="died"):
            training.train(arguments(dataset_dir, output))
    (output / "0a1b2c3d.tmp").mkdir()
    (output / "0a1b2c3d.tmp" / "vectors.bin").write_bytes(b"half")
    return output


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(interrupted, model_dir, dataset_dir, tmp_path, capsys):
    """The model is the one of a run without interruption, and what was half written is gone."""
    output = shutil.copytree(interrupted, tmp_path / "model")
    newest = max(output.glob("checkpoints/*.index"), key=lambda path: int(path.stem.removeprefix("ckpt-")))
    flip(newest.with_name(newest.stem + ".data-00000-of-00001"), 0.5)

    metrics = training.train(arguments(dataset_dir, output, "--resume"), verbose=True)

    assert f"checkpoints/{newest.stem} is damaged" in capsys.readouterr().out
    assert (output / "vectors.bin").read_bytes() == (model_dir / "vectors.bin").read_bytes()
    assert metrics["loss"] == json.loads((model_dir / "metrics.json").read_text())["loss"]
    assert sorted(path.name for path in output.iterdir()) == sorted(path.name for path in model_dir.iterdir())


def test_checkpoints_within_an_epoch_have_steps_left(dataset_dir, tmp_path, monkeypatch):
    """A run could not go on with an epoch that is over. The steps do not divide into calls of 8 evenly."""
    saved = []
    monkeypatch.setattr(Checkpoints, "save", lambda _, position: saved.append((position.epoch, position.step)))

    config = arguments(dataset_dir, tmp_path / "model", "--checkpoint_minutes", "0")
    steps = training.train(config)["steps_per_epoch"]

    assert steps % 8
    within = range(8, steps, 8)
    assert saved == [each for n in range(3) for each in (*((n, step) for step in within), (n + 1, 0))]


@pytest.fixture
def half_removed(model_dir, interrupted, tmp_path):
    """A complete model, whose run was killed while it removed its checkpoints."""
    output = shutil.copytree(model_dir, tmp_path / "model")
    shutil.copytree(interrupted / "checkpoints", output / "checkpoints")
    next(output.glob("checkpoints/*.index")).unlink()
    settings = json.loads((output / "checkpoints/settings.json").read_text())
    settings["run"] = json.loads((output / "metrics.json").read_text())["run"]
    (output / "checkpoints/settings.json").write_text(json.dumps(settings))
    return output


@pytest.mark.parametrize("leftover", [True, False], ids=["with checkpoints", "without"])
def test_a_complete_model_is_not_trained_again(leftover, half_removed, model_dir, dataset_dir, monkeypatch, capsys):
    if not leftover:
        shutil.rmtree(half_removed / "checkpoints")
    monkeypatch.setattr(training, "build_model", None)  # training would fail

    metrics = training.train(arguments(dataset_dir, half_removed, "--resume"), verbose=True)

    assert metrics == json.loads((model_dir / "metrics.json").read_text())
    assert "is complete, so there is nothing to resume" in capsys.readouterr().out
    assert not (half_removed / "checkpoints").exists()
    assert (half_removed / "vectors.bin").read_bytes() == (model_dir / "vectors.bin").read_bytes()


def test_a_complete_model_is_not_taken_for_an_interrupted_run(half_removed, dataset_dir):
    with pytest.raises(UserError, match="already holds a model"):
        training.train(arguments(dataset_dir, half_removed))
    with pytest.raises(UserError, match="holds a model that is complete, with --epochs 3, not 4: name another"):
        training.train(arguments(dataset_dir, half_removed, "--resume", "--epochs", "4"))


def test_a_complete_model_of_an_earlier_version_had_the_defaults_of_newer_flags(model_dir, dataset_dir, tmp_path):
    output = shutil.copytree(model_dir, tmp_path / "model")
    metrics = json.loads((output / "metrics.json").read_text())
    del metrics["config"]["init"], metrics["config"]["patience"]
    (output / "metrics.json").write_text(json.dumps(metrics))

    assert training.train(arguments(dataset_dir, output, "--resume")) == metrics
    with pytest.raises(UserError, match="with --patience 0, not 3"):
        training.train(arguments(dataset_dir, output, "--resume", "--patience", "3"))


@pytest.mark.parametrize("content", ["{", '{"config": 1}'])
def test_a_model_whose_metrics_are_damaged_is_not_taken_for_another(content, model_dir, dataset_dir, tmp_path):
    output = shutil.copytree(model_dir, tmp_path / "model")
    (output / "metrics.json").write_text(content)

    with pytest.raises(UserError, match="holds a model whose metrics.json is damaged"):
        training.train(arguments(dataset_dir, output, "--resume"))

    assert (output / "vectors.bin").read_bytes() == (model_dir / "vectors.bin").read_bytes()


def test_a_run_that_was_to_replace_a_model_can_go_on(model_dir, interrupted, dataset_dir, tmp_path):
    output = shutil.copytree(model_dir, tmp_path / "model")
    shutil.copytree(interrupted / "checkpoints", output / "checkpoints")

    with pytest.raises(UserError, match="holds a run that was interrupted"):
        training.train(arguments(dataset_dir, output))
    metrics = training.train(arguments(dataset_dir, output, "--resume"))

    assert metrics["run"] == json.loads((interrupted / "checkpoints/settings.json").read_text())["run"]


def test_the_settings_are_removed_last(model, folder, monkeypatch):
    """They tell whether a model that has metrics is complete, see trainer.preflight.check_output."""
    order = []
    remove, rmtree = module.gfile.remove, module.gfile.rmtree
    monkeypatch.setattr(module.gfile, "remove", lambda path: (order.append(path), remove(path)))

    def rmtree_with_settings_alone(path):
        if path.endswith("checkpoints"):
            order.append([entry.name for entry in folder.iterdir()])
        rmtree(path)

    monkeypatch.setattr(module.gfile, "rmtree", rmtree_with_settings_alone)

    checkpoints_in(folder, model).remove()

    assert order[-2].endswith("settings.json")
    assert order[-1] == []
    assert not folder.exists()
