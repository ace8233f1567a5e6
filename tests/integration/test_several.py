"""Several trainer processes on a larger dataset: all ways to train, killed at all moments, and resumed with others."""

import itertools
import json
import os
import shutil
import signal
import time

import pytest

from tests.contract.make import FOLDER
from tests.trainer.processes import (
    assert_same_model,
    checkpoints,
    leftovers,
    running,
    tf_configs,
    trained_alone,
)
from trainer.cluster import RESUME

MINUTE = 75  # seconds within which a process ends that has lost another, on a busy machine
FLAGS = ("--embedding_dim", 10, "--batch_size", 8, "--epochs", 3, "--seed", 5, "--precision", "float32")
KINDS = [
    ("blocks", "negative_sampling", "rowwise_adagrad", 0.2), ("blocks", "negative_sampling", "adam", 0.01),
    ("pairs", "negative_sampling", "rowwise_adagrad", 0.2), ("pairs", "negative_sampling", "adam", 0.01),
    ("pairs", "softmax", "rowwise_adagrad", 0.2), ("pairs", "softmax", "adam", 0.01),
]  # fmt: skip


def flags(dataset, output, *more):
    return ("--data", dataset, "--output", output, *FLAGS, *more)


@pytest.fixture(scope="module")
def alone(dataset_dir, tmp_path_factory):
    """The model that one process makes without a break."""
    output = tmp_path_factory.mktemp("alone") / "model"
    trained_alone(dataset_dir, output, *FLAGS)
    return output


@pytest.mark.parametrize("dataset, loss, optimizer, rate", KINDS)
@pytest.mark.parametrize("dimension, size", [(7, 2), (5, 3)])
def test_every_way_to_train(dataset, loss, optimizer, rate, dimension, size, tmp_path):
    how = (
        "--embedding_dim", dimension, "--loss", loss, "--optimizer", optimizer, "--learning_rate", rate,
        "--precision", "float32", "--epochs", 2, "--batch_size", 4,
    )  # fmt: skip
    trained_alone(FOLDER / dataset, tmp_path / "alone", *how)

    several = ("--data", FOLDER / dataset, "--output", tmp_path / "model", *how, "--devices", size)
    with running(tmp_path, (several, "")) as (run,):
        run.succeeds()

    assert_same_model(tmp_path / "model", tmp_path / "alone", size)


def test_machines_with_two_devices_each(dataset_dir, alone, tmp_path):
    """The launchers of two machines start two processes each."""
    configs = tf_configs(2)
    several = flags(dataset_dir, tmp_path / "model", "--devices", 2)

    with running(tmp_path, *((several, tf_config) for tf_config in configs)) as (first, second):
        assert "on 4 x CPU" in first.succeeds()
        assert second.succeeds() == ""

    assert_same_model(tmp_path / "model", alone, 4)


# Resuming


@pytest.fixture(scope="module")
def interrupted(dataset_dir, tmp_path_factory):
    """The output of two processes that were killed after some checkpoints."""
    folder = tmp_path_factory.mktemp("interrupted")
    several = flags(dataset_dir, folder / "model", "--devices", 2, "--checkpoint_minutes", 0)
    with running(folder, (several, "")) as (run,):
        run.waits_for(lambda: any(int(name.removeprefix("ckpt-")) > 5 for name in checkpoints(folder / "model")))
        run.kill()
    assert not (folder / "model" / "metrics.json").exists()
    return folder / "model"


@pytest.mark.parametrize("size", [1, 2, 3])
def test_another_number_of_processes_goes_on(size, interrupted, alone, dataset_dir, tmp_path):
    output = shutil.copytree(interrupted, tmp_path / "model")
    assert json.loads((output / "checkpoints" / "settings.json").read_text())["run"]

    with running(tmp_path, (flags(dataset_dir, output, "--devices", size, "--resume"), "")) as (run,):
        assert "going on from epoch " in run.succeeds()

    assert_same_model(output, alone, size)


def test_one_process_is_followed_by_three(alone, dataset_dir, tmp_path):
    output = tmp_path / "model"
    with running(tmp_path, (flags(dataset_dir, output, "--checkpoint_minutes", 0), "")) as (run,):
        run.waits_for(lambda: checkpoints(output))
        run.kill()

    with running(tmp_path, (flags(dataset_dir, output, "--devices", 3, "--resume"), "")) as (run,):
        assert "going on from epoch " in run.succeeds()

    assert_same_model(output, alone, 3)


def test_several_go_on_from_the_checkpoint_before_a_damaged_one(interrupted, alone, dataset_dir, tmp_path):
    """The columns of one process alone are damaged."""
    output = shutil.copytree(interrupted, tmp_path / "model")
    newest = max(checkpoints(output), key=lambda name: int(name.removeprefix("ckpt-")))
    data = max(output.glob(f"checkpoints/{newest}.data-*"), key=lambda path: path.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 64
    data.write_bytes(content)

    with running(tmp_path, (flags(dataset_dir, output, "--devices", 2, "--resume"), "")) as (run,):
        printed = run.succeeds()

    assert f"checkpoints/{newest} is damaged, so the run goes on from the one before it" in printed
    assert_same_model(output, alone, 2)


def test_a_finished_run_is_not_trained_again(alone, dataset_dir, tmp_path):
    output = shutil.copytree(alone, tmp_path / "model")
    before = (output / "metrics.json").read_bytes()

    with running(tmp_path, (flags(dataset_dir, output, "--devices", 2, "--resume"), "")) as (run,):
        assert "is complete, so there is nothing to resume" in run.succeeds()

    assert (output / "metrics.json").read_bytes() == before
    assert not leftovers(output)


# Ends of the processes that the trainer has started

MANY = ("--epochs", 100_000)


def goes_on(dataset, output, folder, expected):
    """Asserts that the next run, which resumes if there is something to resume, makes the model of an unbroken run."""
    how = "--resume" if (output / "checkpoints").exists() else "--overwrite"
    with running(folder, (flags(dataset, output, "--devices", 2, how), "")) as (run,):
        run.succeeds()
    assert_same_model(output, expected, 2)


@pytest.mark.parametrize("number, name, code", [(signal.SIGINT, "Ctrl-C", 130), (signal.SIGTERM, "SIGTERM", 143)])
def test_a_signal_to_the_launcher(number, name, code, dataset_dir, tmp_path):
    output = tmp_path / "model"
    with running(tmp_path, (flags(dataset_dir, output, "--devices", 2, *MANY), "")) as (run,):
        run.waits_for(lambda: checkpoints(output))
        # A terminal sends Ctrl-C to all processes.
        os.killpg(run.popen.pid, number) if number == signal.SIGINT else run.popen.send_signal(number)
        assert run.ends(code, 8) == f"interrupted by {name}; {RESUME}"
    assert not leftovers(output)


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.6, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 10])
def test_sigterm_at_any_time(seconds, dataset_dir, tmp_path):
    output = tmp_path / "model"
    with running(tmp_path, (flags(dataset_dir, output, "--devices", 2, *MANY), "")) as (run,):
        time.sleep(seconds)
        run.popen.send_signal(signal.SIGTERM)
        assert run.ends(143, 8) == f"interrupted by SIGTERM; {RESUME}"
    assert not leftovers(output)


@pytest.mark.parametrize("rank, seconds", itertools.product([0, 1], [0.2, 1, 2, 3, 3.5, 4, 4.5, 5, 6, 8]))
def test_a_process_that_is_killed_at_any_time_ends_all(rank, seconds, dataset_dir, alone, tmp_path):
    output = tmp_path / "model"
    several = flags(dataset_dir, output, "--devices", 2, "--checkpoint_minutes", 0)
    with running(tmp_path, (several, "")) as (run,):
        run.waits_for(lambda: len(run.members()) == 2)
        time.sleep(seconds)
        os.kill(run.members()[rank], signal.SIGKILL)
        line = run.ends(1, MINUTE)
    assert line.startswith(f"process {rank} of 2 (127.0.0.1:")
    assert "was ended by SIGKILL, which ends all: if nobody has done that, the memory was used up" in line
    goes_on(dataset_dir, output, tmp_path, alone)


def test_a_worker_that_sigterm_ends_is_named(dataset_dir, tmp_path):
    output = tmp_path / "model"
    with running(tmp_path, (flags(dataset_dir, output, "--devices", 2, *MANY), "")) as (run,):
        run.waits_for(lambda: checkpoints(output))
        os.kill(run.members()[1], signal.SIGTERM)
        assert "was ended by SIGTERM, which ends all: the same command with --resume" in run.ends(1, MINUTE)
    assert not leftovers(output)


@pytest.mark.parametrize("seconds", [0.5, 2, 4, 6, 9])
def test_no_process_outlives_its_launcher(seconds, dataset_dir, alone, tmp_path):
    output = tmp_path / "model"
    several = flags(dataset_dir, output, "--devices", 2, "--checkpoint_minutes", 0)
    with running(tmp_path, (several, "")) as (run,):
        time.sleep(seconds)
        run.popen.send_signal(signal.SIGKILL)
        assert run.wait(10) == -signal.SIGKILL
        assert run.stderr == ""
    goes_on(dataset_dir, output, tmp_path, alone)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_hangs_ends_all(rank, dataset_dir, tmp_path):
    output = tmp_path / "model"
    with running(tmp_path, (flags(dataset_dir, output, "--devices", 2, *MANY), "")) as (run,):
        run.waits_for(lambda: checkpoints(output))
        os.kill(run.members()[rank], signal.SIGSTOP)
        assert RESUME in run.ends(1, MINUTE)


# Processes that the user has started, each on a machine of its own


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
@pytest.mark.parametrize("rank, size", [(0, 2), (1, 2), (2, 3)])
def test_the_end_of_one_ends_the_others_within_a_minute(number, rank, size, dataset_dir, tmp_path):
    output = tmp_path / "model"
    several = flags(dataset_dir, output, *MANY)
    with running(tmp_path, *((several, tf_config) for tf_config in tf_configs(size))) as runs:
        runs[0].waits_for(lambda: checkpoints(output))
        runs[rank].popen.send_signal(number)
        for run in runs:
            if run is not runs[rank]:
                line = run.ends(1, MINUTE)
                assert "has ended or cannot be reached any more, which ends all" in line
                assert RESUME in line
        if number == signal.SIGSTOP:
            runs[rank].popen.send_signal(signal.SIGCONT)
            runs[rank].ends(1, MINUTE)
        elif number == signal.SIGTERM:
            assert runs[rank].ends(143, 8) == f"interrupted by SIGTERM; {RESUME}"
    if number != signal.SIGKILL or rank:
        assert not leftovers(output)


@pytest.mark.parametrize("other, message", [
    (lambda folder: ("--data", FOLDER / "pairs"), "a dataset with the fingerprint "),
    (lambda folder: ("--seed", 7), "--seed "),
    (lambda folder: ("--resume",), "--resume "),
    (lambda folder: ("--output", folder / "other"), "is not the same directory for all processes"),
    (lambda folder: ("--checkpoint_dir", folder / "other"), "is not the same directory for all processes"),
], ids=["data", "seed", "resume", "output", "checkpoint_dir"])  # fmt: skip
def test_processes_that_do_not_agree_all_tell_it(other, message, tmp_path):
    same = ("--data", FOLDER / "blocks", "--output", tmp_path / "model", *FLAGS)
    one, two = tf_configs(2)
    with running(tmp_path, (same, one), ((*same, *other(tmp_path)), two)) as runs:
        for run in runs:
            assert message in run.ends(2)
            assert run.stdout == ""
    assert not (tmp_path / "model" / "metrics.json").exists()


def test_one_that_never_comes_is_named(dataset_dir, tmp_path):
    start = time.monotonic()
    several = flags(dataset_dir, tmp_path / "model", "--wait_minutes", 0.1)
    with running(tmp_path, (several, tf_configs(2)[0])) as (run,):
        line = run.ends(1)
    assert line.startswith("process 1 of 2 (127.0.0.1:") and "did not come within 6 s" in line
    assert time.monotonic() - start < 60


def test_sigterm_while_others_have_not_come(dataset_dir, tmp_path):
    with running(tmp_path, (flags(dataset_dir, tmp_path / "model"), tf_configs(2)[0])) as (run,):
        time.sleep(10)
        run.popen.send_signal(signal.SIGTERM)
        assert run.ends(143, 8) == f"interrupted by SIGTERM; {RESUME}"


def test_the_same_task_twice(dataset_dir, tmp_path):
    several = flags(dataset_dir, tmp_path / "model", "--wait_minutes", 0.3)
    first, _ = tf_configs(2)
    with running(tmp_path, (several, first), (several, first)) as runs:
        codes = sorted(run.wait() for run in runs)
        lines = sorted(run.stderr for run in runs)
    assert codes == [1, 2]
    assert "cannot listen at port" in lines[0] and "did not come within 18 s" in lines[1]


# Mistakes


def shard_of(data):
    """The last shard of a dataset."""
    return data / json.loads((data / "manifest.json").read_text())["shards"][-1]["name"]


@pytest.mark.parametrize("damage, message", [
    (lambda data: shard_of(data).write_bytes(b"x"), "is damaged: "),
    (lambda data: (data / "manifest.json").unlink(), "--data "),
    (lambda data: shutil.rmtree(data / "transform_fn"), "--data "),
], ids=["a shard", "no manifest", "no graph"])  # fmt: skip
def test_a_damaged_dataset_is_told_once(damage, message, tmp_path):
    data = shutil.copytree(FOLDER / "blocks", tmp_path / "data")
    damage(data)
    with running(tmp_path, (flags(data, tmp_path / "model", "--devices", 2), "")) as (run,):
        line = run.ends(2)
    assert message in line and str(data) in line
    assert not (tmp_path / "model" / "metrics.json").exists()


def test_a_shard_that_is_damaged_inside_is_told_once(tmp_path):
    """All processes find it while they train."""
    data = shutil.copytree(FOLDER / "blocks", tmp_path / "data")
    shard = shard_of(data)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 64
    shard.write_bytes(content)
    with running(tmp_path, (flags(data, tmp_path / "model", "--devices", 2), "")) as (run,):
        line = run.ends(2, MINUTE + 60)
    assert shard.name in line


def test_divergence_is_told_once(tmp_path):
    several = (*flags(FOLDER / "blocks", tmp_path / "model", "--devices", 2, "--learning_rate", 1000), "--epochs", 50)
    with running(tmp_path, (several, "")) as (run,):
        line = run.ends(2, MINUTE + 60)
    assert "--learning_rate 1000" in line
    assert not (tmp_path / "model" / "metrics.json").exists() and not leftovers(tmp_path / "model")


def test_a_model_is_replaced_with_overwrite(alone, dataset_dir, tmp_path):
    output = shutil.copytree(alone, tmp_path / "model")
    run_before = json.loads((output / "metrics.json").read_text())["run"]

    with running(tmp_path, (flags(dataset_dir, output, "--devices", 2, "--overwrite"), "")) as (run,):
        run.succeeds()

    assert json.loads((output / "metrics.json").read_text())["run"] != run_before
    assert_same_model(output, alone, 2)


def test_two_runs_do_not_write_to_one_output(dataset_dir, tmp_path):
    output = tmp_path / "model"
    several = flags(dataset_dir, output, "--devices", 2, *MANY)
    with running(tmp_path, (several, "")) as (first,):
        first.waits_for(lambda: checkpoints(output))
        with running(tmp_path, (several, "")) as (second,):
            assert f"--output {output} is in use" in second.ends(2)
        assert first.popen.poll() is None
        assert checkpoints(output)


@pytest.mark.parametrize("place", ["checkpoint_dir", "log_dir"])
def test_other_directories(place, dataset_dir, alone, tmp_path):
    several = flags(dataset_dir, tmp_path / "model", "--devices", 2, f"--{place}", tmp_path / "other")
    with running(tmp_path, (several, "")) as (run,):
        run.succeeds()
    if place == "log_dir":
        assert list((tmp_path / "other").rglob("*tfevents*"))
        (tmp_path / "model" / "logs").mkdir()
    else:
        assert [*(tmp_path / "other").iterdir()] == []
    assert_same_model(tmp_path / "model", alone, 2)
