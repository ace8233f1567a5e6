"""Real processes that train together make the model of one, and end in an orderly way. See tests/integration, too."""

import json
import re
import shutil
import signal

import numpy as np
import pytest

from tests.contract.make import FOLDER
from tests.trainer.holdout import hold_out
from tests.trainer.processes import (
    assert_same_model,
    checkpoints,
    leftovers,
    running,
    tf_configs,
    trained_alone,
)
from trainer.cluster import RESUME

BLOCKS = ("--embedding_dim", 7, "--precision", "float32", "--seed", 3)
PAIRS = ("--preset", "tutorial", "--embedding_dim", 5, "--epochs", 3, "--batch_size", 32, "--precision", "float32")
UNTIL_WORSE = ("--epochs", 50, "--patience", 2)  # held-out lines of random words get worse soon
LONG = (*BLOCKS, "--epochs", 10)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The output of two processes that the trainer has started, and what it has printed."""
    folder = tmp_path_factory.mktemp("two")
    rng = np.random.default_rng(0)
    hold_out(FOLDER / "blocks", folder / "dataset", [[rng.integers(1, 20, size=5).tolist() for _ in range(20)]])
    flags = ("--data", folder / "dataset", "--output", folder / "model", *BLOCKS, *UNTIL_WORSE, "--devices", 2)
    with running(folder, (flags, "")) as (run,):
        printed = run.succeeds()
        return folder / "model", run.news + printed


def test_two_processes_make_the_model_of_one(two, tmp_path):
    """They stop after the same epoch, and keep the vectors of the same one."""
    metrics = trained_alone(two[0].parent / "dataset", tmp_path / "model", *BLOCKS, *UNTIL_WORSE)

    assert_same_model(two[0], tmp_path / "model", 2)
    assert metrics["best_epoch"] + 2 == len(metrics["holdout_loss"]) < 50


def test_the_chief_alone_prints_and_nothing_is_left(two):
    output, printed = two
    kinds = r"training|exporting|epoch \d+( of)?|[\d,]+ words/s,|loss per|loss of|hit rate|.*: vectors\.bin|report: .*"
    num_epochs = printed.count("holdout_loss")
    found = [re.match(kinds, line)[0].lstrip("0123456789,") for line in printed.splitlines()]
    assert list(dict.fromkeys(found)) == [  # on a busy machine, an epoch has several lines
        "training", *(f"epoch {n}" for n in range(1, num_epochs + 1)), f"epoch {num_epochs - 2} of", "exporting",
        " words/s,", "loss per", "loss of", "hit rate", f"{output}: vectors.bin",
        f"report: {output}/report.html",
    ]  # fmt: skip
    assert "on 2 x CPU" in printed
    assert not leftovers(output) and not (output / "checkpoints").exists()


def test_a_model_that_is_there_stays(two, tmp_path):
    """The chief finds it, and the others end with it."""
    output = shutil.copytree(two[0], tmp_path / "model")
    flags = ("--data", FOLDER / "blocks", "--output", output, *BLOCKS, "--epochs", 3, "--devices", 2)

    with running(tmp_path, (flags, "")) as (run,):
        line = run.ends(2)

    assert line.startswith(f"--output {output} already holds a model: name another directory, or add --overwrite")
    assert run.stdout == ""
    assert sorted(path.name for path in output.iterdir()) == sorted(path.name for path in two[0].iterdir())
    assert (output / "metrics.json").read_bytes() == (two[0] / "metrics.json").read_bytes()


def test_three_processes_that_tf_config_lists_make_the_model_of_one(tmp_path):
    """One starts when another has waited for it. 5 dimensions are 1, 2 and 2."""
    flags = ("--data", FOLDER / "pairs", "--output", tmp_path / "model", *PAIRS)
    chief, *workers = [(flags, tf_config) for tf_config in tf_configs(3, has_chief=True)]

    with running(tmp_path, *workers) as runs:
        runs[0].waits_for(lambda: listens(workers[0][1]))
        with running(tmp_path, chief) as (first,):
            first.succeeds()
            assert [run.succeeds() for run in runs] == ["", ""]

    assert "on 3 x CPU" in first.news and not any(run.news for run in runs)
    trained_alone(FOLDER / "pairs", tmp_path / "alone", *PAIRS)
    assert_same_model(tmp_path / "model", tmp_path / "alone", 3)


def listens(tf_config):
    """Whether the process of a TF_CONFIG waits for the others."""
    with open("/proc/net/tcp6") as six, open("/proc/net/tcp") as four:
        listening = {line.split()[1].split(":")[1] for line in [*six, *four] if line.split()[3] == "0A"}
    return f"{port_of(tf_config):04X}" in listening


def port_of(tf_config):
    value = json.loads(tf_config)
    return int(value["cluster"][value["task"]["type"]][value["task"]["index"]].rpartition(":")[2])


def test_sigterm_ends_all_in_one_line_and_one_process_goes_on(tmp_path):
    output = tmp_path / "model"
    flags = ("--data", FOLDER / "blocks", "--output", output, *LONG)

    with running(tmp_path, ((*flags, "--devices", 2), "")) as (run,):
        run.waits_for(lambda: checkpoints(output))
        run.popen.send_signal(signal.SIGTERM)
        line = run.ends(143, 10)

    assert line == f"interrupted by SIGTERM; {RESUME}"
    assert not leftovers(output)
    metrics = trained_alone(FOLDER / "blocks", output, *LONG, "--resume")
    assert len(metrics["loss"]) == 10
    trained_alone(FOLDER / "blocks", tmp_path / "unbroken", *LONG)
    assert_same_model(output, tmp_path / "unbroken", 1)


WRONG = [
    ("{", (), "the environment variable TF_CONFIG is '{': expected a JSON object such as"),
    (tf_configs(2)[1].replace('"index": 1', '"index": 2'), (), "says that this is worker 2"),
    (tf_configs(8)[0], (), "--devices 1 makes 8 processes, but the vectors have --embedding_dim 7 numbers"),
    (tf_configs(2)[0], ("--devices", 4), "--devices 4 makes 8 processes"),
    ("", ("--devices", 8), "--devices 8 makes 8 processes"),
    ("", ("--devices", 0), "--devices '0': expected a whole number from 1 to 1024, or all"),
]


@pytest.mark.parametrize("tf_config, flags, message", WRONG, ids=[message for _, _, message in WRONG])
def test_a_mistake_is_told_before_anything_is_started(tf_config, flags, message, tmp_path):
    flags = ("--data", FOLDER / "blocks", "--output", tmp_path / "model", *BLOCKS, *flags)

    with running(tmp_path, (flags, tf_config)) as (run,):
        line = run.ends(2)

    assert message in line
    assert run.stdout == ""
    assert not (tmp_path / "model").exists()
