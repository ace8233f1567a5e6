"""Which processes a machine starts, with which flags, and what the launcher makes of their ends."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from trainer import launcher
from trainer.cluster import RESUME, VARIABLE, Process, ProcessLost
from trainer.config import TrainerConfig
from trainer.errors import UserError
from trainer.launcher import processes_to_start
from trainer.settings import settings_of
from trainer.task import parse


def config(**values):
    return TrainerConfig("d", "o", **values)


def tf_config(index, *addresses):
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
GPUS = {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}
MACHINES = ("a:2000", "b:3000")


@pytest.mark.parametrize("environment", [NO_GPU, {"CUDA_VISIBLE_DEVICES": "-1"}, {"CUDA_VISIBLE_DEVICES": "3"}, GPUS])
@pytest.mark.parametrize("devices", ["1", "01"])
def test_one_device_needs_no_other_process(devices, environment):
    assert processes_to_start(config(devices=devices), environment) == ()
    assert processes_to_start(config(devices=devices), {**environment, VARIABLE: tf_config(1, *MACHINES)}) == ()


@pytest.mark.parametrize("devices, environment, number", [
    ("2", NO_GPU, 2), ("3", NO_GPU, 3), ("16", NO_GPU, 16), ("all", NO_GPU, 0), ("all", GPUS, 4), ("2", GPUS, 2),
    ("4", GPUS, 4), ("all", {"CUDA_VISIBLE_DEVICES": "5"}, 0),
    ("all", {"CUDA_VISIBLE_DEVICES": " GPU-1f , GPU-2a,"}, 2),
    ("all", {"CUDA_VISIBLE_DEVICES": "-1"}, 0), ("2", {"CUDA_VISIBLE_DEVICES": "-1"}, 2),
])  # fmt: skip
def test_a_process_for_each_device(devices, environment, number):
    processes = processes_to_start(config(devices=devices), environment)

    assert [process.rank for process in processes] == list(range(number))
    assert len({process.addresses for process in processes}) == min(1, number)
    for process in processes[:1]:
        assert len({*process.addresses}) == process.size == number
        assert all(address.startswith("127.0.0.1:") for address in process.addresses)


@pytest.mark.parametrize("index", [0, 1])
def test_machines_with_several_devices(index):
    environment = {**GPUS, VARIABLE: tf_config(index, *MACHINES)}

    processes = processes_to_start(config(devices="2"), environment)

    addresses = ("a:2000", "a:2001", "b:3000", "b:3001")
    assert processes == (Process(2 * index, addresses), Process(2 * index + 1, addresses))
    assert len(processes_to_start(config(devices="all"), environment)) == 4


@pytest.mark.parametrize("devices, environment, message", [
    ("5", GPUS, "--devices 5: this machine has 4 GPUs for this program: expected at most as many, or all"),
    ("2", {"CUDA_VISIBLE_DEVICES": "1"}, "--devices 2: this machine has 1 GPU for this program"),
    ("8", NO_GPU, "--devices 8 makes 8 processes, but the vectors have --embedding_dim 7 numbers, which they divide "
     "among each other: expected at most as many"),
    ("4", {**NO_GPU, VARIABLE: tf_config(0, *MACHINES)}, "--devices 4 makes 8 processes"),
    ("1", {**NO_GPU, VARIABLE: tf_config(0, *(f"h{n}:1" for n in range(8)))}, "makes 8 processes"),
    ("all", {**GPUS, VARIABLE: tf_config(0, *MACHINES)}, "--devices all makes 8 processes"),
    ("2", {**NO_GPU, VARIABLE: tf_config(0, "a:65535", "b:1")}, "--devices 2: TF_CONFIG has the address a:65535"),
    ("1", {**NO_GPU, VARIABLE: "{"}, "the environment variable TF_CONFIG is '{'"),
])  # fmt: skip
def test_what_cannot_be_is_told(devices, environment, message):
    with pytest.raises(UserError) as error:
        processes_to_start(config(devices=devices, embedding_dim=7), environment)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_gpus_are_found_without_the_variable(monkeypatch):
    monkeypatch.setattr(os.path, "isdir", lambda path: True)
    monkeypatch.setattr(os, "listdir", lambda path: ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null", "nvidia"])

    assert len(processes_to_start(config(devices="all"), {})) == 2


# Flags

TEXTS = ["/d d", "gs://bucket/-x", "-o", "--data", "ü", "a=b", "x\ny", "*"]


def others(setting):
    """Values of a setting other than the default."""
    if setting.kind is bool:
        return [not setting.default]
    if setting.choices:
        return [choice for choice in setting.choices if choice != setting.default]
    if setting.kind in (int, float):
        low, high = setting.kind(setting.low), setting.kind(setting.high)
        return [low, high, *([low + (high - low) / 3, 1 / 3 if low < 1 / 3 else high] if setting.kind is float else [])]
    if setting.name == "exports":
        return ["all", "vectors.txt,saved_model"]
    return TEXTS


CONFIGS = [
    dataclasses.replace(TrainerConfig("/d", "/o"), **{setting.name: value})
    for setting in settings_of(TrainerConfig)
    if setting.name != "devices"
    for value in others(setting)
]


@pytest.mark.parametrize("each", CONFIGS, ids=lambda each: repr(
    [getattr(each, field.name) for field in dataclasses.fields(each) if getattr(each, field.name) != field.default]
))  # fmt: skip
def test_a_process_gets_the_settings_of_the_launcher(each, monkeypatch):
    monkeypatch.setenv("AIP_MODEL_DIR", "gs://other/model")
    monkeypatch.setenv("AIP_CHECKPOINT_DIR", "gs://other/checkpoints")
    monkeypatch.setenv("AIP_TENSORBOARD_LOG_DIR", "gs://other/logs")
    flags = launcher._flags(dataclasses.replace(each, devices="4"))

    assert parse(flags) == dataclasses.replace(each, devices="1")
    assert not any(flag.startswith("--devices") for flag in flags)


@pytest.mark.parametrize("preset", ["tutorial", "word2vec"])
def test_a_preset_reaches_a_process_as_the_settings_that_it_stands_for(preset):
    whole = parse(["--data", "d", "--output", "o", "--preset", preset, "--devices", "2", "--epochs", "9"])

    assert parse(launcher._flags(whole)) == dataclasses.replace(whole, devices="1")


# The ends of the processes


SCRIPTS = {
    "ends well": "",
    "is killed": "os.kill(os.getpid(), 9)",
    "makes a mistake": "print('python -m trainer.task: --seed 3: expected another', file=sys.stderr); sys.exit(2)",
    "fails": "print('python -m trainer.task: the disk is full', file=sys.stderr); sys.exit(1)",
    "has lost another": "print('python -m trainer.task: process 1 has ended, which ends all: look at what it has "
    "written; go on', file=sys.stderr); sys.exit(1)",
    "is interrupted": "print('python -m trainer.task: interrupted by SIGTERM; go on', file=sys.stderr); sys.exit(143)",
    "has a bug": "raise RuntimeError('a bug')",
    "ends without a word": "sys.exit(3)",
    "talks much": "[print('x' * 100_000, file=sys.stderr) for _ in range(100)]; print('python -m trainer.task: the "
    "disk is full', file=sys.stderr); sys.exit(1)",
    "writes bytes": "sys.stderr.buffer.write(b'\\xff\\xfe\\n' + b'python -m trainer.task: \\xffx\\n'); sys.exit(1)",
    "runs on": "time.sleep(60)",
    "runs on whatever comes": "signal.signal(15, signal.SIG_IGN); time.sleep(60)",
}
NAMES = [f"process {rank} of 3 (h:{rank + 1})" for rank in range(3)]


@pytest.fixture
def launched(monkeypatch):
    """Launches processes that run scripts instead of the trainer. Gives a function, which also says what was raised."""
    monkeypatch.setattr(launcher, "_SECONDS_TO_FOLLOW", 0.5)
    real, children = subprocess.Popen, []

    def run(*kinds, seconds=20):
        def start(command, **kwargs):
            assert command[1:3] == ["-m", "trainer.member"]
            assert command[3] == str(os.getpid())
            kind = kinds[json.loads(kwargs["env"][VARIABLE])["task"]["index"]]
            script = f"import os, signal, sys, time\n{'time.sleep(0.2)' if kind == 'has lost another' else ''}\n"
            children.append(real([sys.executable, "-c", script + SCRIPTS[kind]], **kwargs))
            return children[-1]

        monkeypatch.setattr(subprocess, "Popen", start)
        processes = [
            Process(rank, tuple(f"h:{number + 1}" for number in range(len(kinds)))) for rank in range(len(kinds))
        ]
        began = time.monotonic()
        try:
            launcher.launch(config(devices=str(len(kinds))), processes, news=None)
            return None
        except Exception as error:
            return error
        finally:
            assert time.monotonic() - began < seconds
            assert all(child.poll() is not None for child in children), "a process is left"
            children.clear()

    return run


def test_all_end_well(launched):
    assert launched("ends well", "ends well", "ends well") is None


LOST = [
    (("is killed", "runs on", "runs on"), f"{NAMES[0]} was ended by SIGKILL, which ends all"),
    (("runs on", "is killed", "runs on whatever comes"), f"{NAMES[1]} was ended by SIGKILL, which ends all"),
    (("has lost another", "has lost another", "is killed"), f"{NAMES[2]} was ended by SIGKILL, which ends all"),
    (("has lost another", "is interrupted", "has lost another"), f"{NAMES[1]} was ended by SIGTERM, which ends all"),
    (("has lost another", "fails", "has lost another"), "the disk is full"),
    (("fails", "has lost another", "runs on"), "the disk is full"),
    (("ends well", "ends without a word", "ends well"), f"{NAMES[1]} has ended with the exit code 3; {RESUME}"),
    (("has lost another", "has lost another", "has a bug"), f"{NAMES[2]} has ended with the exit code 1; {RESUME}"),
    (("talks much", "runs on", "runs on"), "the disk is full"),
    (("runs on", "writes bytes", "runs on"), "\\xffx"),
    (("has lost another", "has lost another", "has lost another"), "process 1 has ended, which ends all"),
]


@pytest.mark.parametrize("kinds, message", LOST, ids=[", ".join(kinds) for kinds, _ in LOST])
def test_a_process_that_fails_ends_all_and_is_told(kinds, message, launched):
    error = launched(*kinds)

    assert isinstance(error, ProcessLost), repr(error)
    assert str(error).startswith(message)
    assert "\n" not in str(error)


@pytest.mark.parametrize("kinds", [
    ("makes a mistake", "runs on", "runs on"), ("has lost another", "makes a mistake", "has lost another"),
    ("makes a mistake", "makes a mistake", "makes a mistake"),
])  # fmt: skip
def test_a_mistake_is_told_as_that_of_the_launcher(kinds, launched):
    error = launched(*kinds)

    assert type(error) is UserError
    assert str(error) == "--seed 3: expected another"


def test_what_a_bug_has_written_is_shown(launched, capfd):
    assert "exit code 1" in str(launched("has a bug", "runs on", "runs on"))

    assert "RuntimeError: a bug" in capfd.readouterr().err


def test_each_process_has_its_gpu_and_its_task(monkeypatch, launched):
    environments = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-5,6")
    real = launcher._start

    def start(*args):
        child = real(*args)
        environments.append(open(f"/proc/{child.popen.pid}/environ").read().split("\0"))
        return child

    monkeypatch.setattr(launcher, "_start", start)

    assert "exit code 3" in str(launched("runs on", "runs on", "ends without a word"))

    for number, gpu in enumerate(("4", "GPU-5", "6")):
        assert f"CUDA_VISIBLE_DEVICES={gpu}" in environments[number]
        (text,) = [each for each in environments[number] if each.startswith("TF_CONFIG=")]
        assert json.loads(text.removeprefix("TF_CONFIG="))["task"] == {"type": "worker", "index": number}


def test_a_member_ends_with_its_launcher(tmp_path):
    """The launcher may be killed, so that it cannot end anyone."""
    script = (
        "import subprocess, sys, os, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time\\nfrom trainer import member, task\\n"
        "task.command = lambda _: time.sleep(60)\\nmember.main(' + str(os.getpid()) + ', -1)'])\n"
        "print(child.pid, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        time.sleep(1)  # it imports
        os.kill(child, 0)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{child}") and "Z" not in open(f"/proc/{child}/stat").read().split(")")[1][:3]:
        assert time.monotonic() < deadline, "it runs on"
        time.sleep(0.02)
