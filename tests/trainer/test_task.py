"""Flags of the trainer's commands: each nonsense value is one clear line and exit code 2."""

import dataclasses
import importlib
import sys

import pytest

from tests.conftest import run_module
from trainer import console
from trainer.config import TrainerConfig
from trainer.errors import UserError
from trainer.task import parse

PATHS = ["--data", "d", "--output", "o"]
NONSENSE = [
    ("--embedding_dim", "0"), ("--embedding_dim", "-3"), ("--embedding_dim", "many"), ("--embedding_dim", "1e9"),
    ("--epochs", "0"), ("--epochs", "1.5"), ("--batch_size", "-1"), ("--batch_size", "x"),
    ("--learning_rate", "0"), ("--learning_rate", "nan"), ("--learning_rate", "inf"), ("--learning_rate", "fast"),
    ("--seed", "-1"), ("--seed", "x"), ("--checkpoint_minutes", "-1"), ("--checkpoint_minutes", "nan"),
    ("--data", ""), ("--output", ""), ("--loss", "mse"), ("--optimizer", "sgd"), ("--decay", "cosine"),
    ("--initialization", "zeros"),
    ("--precision", "float16"),
    ("--step", "compiled"),
    ("--devices", "0"), ("--devices", "-1"), ("--devices", "1025"), ("--devices", "two"), ("--devices", ""),
    ("--devices", "2.0"),
    ("--wait_minutes", "0"), ("--wait_minutes", "-1"), ("--wait_minutes", "1e4"), ("--wait_minutes", "soon"),
    ("--checkpoint_dir", "o"), ("--checkpoint_dir", "o/ckpt"), ("--log_dir", "./o/"), ("--log_dir", "o/checkpoints"),
    ("--exports", ""), ("--exports", "vectors.bin,vectors.npy"), ("--exports", "vectors.bin, vectors.txt"),
    ("--projector_words", "-1"), ("--projector_words", "1000001"), ("--projector_words", "all"),
    ("--preset", "notebook"),
    ("--patience_score", "loss"), ("--patience", "-1"), ("--patience", "1.5"), ("--patience", "long"),
]  # fmt: skip


@pytest.mark.parametrize("flag, value", NONSENSE)
def test_nonsense_is_named(flag, value):
    with pytest.raises(UserError) as error:
        parse([*PATHS, flag, value])
    assert flag in str(error.value)
    assert value.split("e")[0] in str(error.value)
    assert "\n" not in str(error.value)


def test_every_flag_with_a_value_has_a_nonsense_value():
    without_value = {"overwrite", "resume", "state", "report"} | {
        "word_pairs",
        "analogies",
        "init",
    }  # or with one that may be any path
    names = {field.name for field in dataclasses.fields(TrainerConfig)} - without_value
    assert {flag.removeprefix("--") for flag, _ in NONSENSE} == names | {"preset"}


@pytest.mark.parametrize("devices", ["1", "2", "10", "999", "1000", "1019", "1024", "007", "all"])
def test_a_number_of_devices_is_accepted(devices):
    assert parse([*PATHS, "--devices", devices]).devices == devices


@pytest.mark.parametrize(
    "flags", [["--checkpoint_dir", "o/checkpoints"], ["--log_dir", "o/logs"], ["--log_dir", "other"]]
)
def test_directories_beside_the_output_and_the_default_ones_are_accepted(flags):
    assert getattr(parse([*PATHS, *flags]), flags[0].removeprefix("--")) == flags[1]


AIP = {
    "AIP_MODEL_DIR": "gs://b/model/",
    "AIP_CHECKPOINT_DIR": "gs://b/checkpoints/",
    "AIP_TENSORBOARD_LOG_DIR": "gs://b/logs/",
}


def test_directories_come_from_the_environment_where_no_flag_gives_them(monkeypatch):
    for name, value in AIP.items():
        monkeypatch.setenv(name, value)

    config = parse(["--data", "d"])
    assert (config.output, config.checkpoint_dir, config.log_dir) == tuple(AIP.values())
    config = parse(["--data", "d", "--output", "o", "--log_dir", "l"])
    assert (config.output, config.checkpoint_dir, config.log_dir) == ("o", "gs://b/checkpoints/", "l")
    monkeypatch.setenv("AIP_MODEL_DIR", "")
    with pytest.raises(UserError, match="--output"):
        parse(["--data", "d"])


def test_defaults_are_the_configs():
    assert parse(PATHS) == TrainerConfig(data="d", output="o")


def test_a_preset_sets_what_is_not_given():
    config = parse([*PATHS, "--preset", "tutorial", "--epochs", "3"])
    assert config == TrainerConfig(
        "d", "o", epochs=3, batch_size=1024, initialization="keras", loss="softmax", optimizer="adam",
        learning_rate=0.001, decay="none",
    )  # fmt: skip
    assert parse([*PATHS, "--preset", "word2vec"]) == parse(PATHS)


def test_flags_reach_the_config():
    config = parse([*PATHS, "--embedding_dim", "50", "--epochs", "2", "--learning_rate", "0.1", "--resume"])
    assert config == TrainerConfig("d", "o", embedding_dim=50, epochs=2, learning_rate=0.1, resume=True)


@pytest.mark.parametrize("argv", [[], ["--data", "d"], [*PATHS, "--epoch", "3"], [*PATHS, "stray"]])
def test_missing_abbreviated_and_stray_arguments_are_refused(argv):
    with pytest.raises(UserError):
        parse(argv)


def test_overwrite_and_resume_contradict_each_other():
    with pytest.raises(UserError, match="--overwrite and --resume"):
        parse([*PATHS, "--overwrite", "--resume"])


@pytest.mark.parametrize("module, args, message", [
    ("trainer.task", ["--data", "nowhere", "--output", "{tmp}/m"], "--data nowhere"),
    ("trainer.task", ["--data", "d", "--output", "o", "--epochs", "0"], "--epochs 0"),
    ("trainer.task", ["--data", "d", "--output", "o", "--colour", "red"], "--colour"),
    ("trainer.neighbors", ["--vectors", "nowhere.bin", "word"], "nowhere.bin"),
    ("trainer.neighbors", ["--vectors", "setup.py", "word"], "setup.py"),
    ("trainer.neighbors", ["--vectors", "x.bin", "word", "--top", "0"], "--top 0"),
    ("trainer.neighbors", ["--vectors", "x.bin", "king", "-", "+", "man"], "king - + man"),
    ("trainer.evaluate", ["--vectors", "nowhere.bin", "--analogies", "x"], "nowhere.bin"),
    ("trainer.evaluate", ["--vectors", "x.bin"], "--word_pairs"),
])  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(module, args, message, tmp_path):
    args = [arg.format(tmp=tmp_path) for arg in args]
    imports = "nowhere" in args[1]  # its imports must not print anything, either
    result = run_module(module, *args, check=False, is_new=imports)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1, result.stderr
    assert message in result.stderr


def test_packages_that_tensorflow_does_not_need_are_hidden_while_it_is_imported(monkeypatch):
    monkeypatch.setattr(console, "_NOT_IMPORTED", ("colorsys", "json"))
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with console.importing():
        importlib.import_module("json")  # the program has imported it already
        with pytest.raises(ImportError):
            importlib.import_module("colorsys")
    importlib.import_module("colorsys")
