"""A corpus, and the dataset that the real pipeline makes of it in a process of its own: no test here imports Beam."""

import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import forked

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_SET_ONEDNN_FPMATH_MODE", "STRICT")  # products are compared with float64's, AMX or not

# A shell that starts the tests in the background makes them ignore Ctrl-C, and so would the programs that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = forked.ROOT
TOPICS = {
    "animals": "cat dog horse cow sheep goat pig hen duck goose".split(),
    "colours": "red blue green yellow black white brown purple orange grey".split(),
    "numbers": "one two three four five six seven eight nine ten".split(),
    "family": "mother father sister brother aunt uncle cousin niece nephew grandmother".split(),
}
# The report is left out, as it takes as long as the rest of such a small run.
TRAINER_FLAGS = ("--embedding_dim", "16", "--batch_size", "8", "--epochs", "3", "--seed", "5", "--no_report")
COMMON = "the a of and in to is was it that".split()


def pytest_configure(config: pytest.Config) -> None:
    """Starts the servers that fork programs, if this process is going to start others that run tests side by side."""
    if getattr(config.option, "numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ.update(forked.variables())


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names tests by the parameter where its value is bytes.

    The bytes of a serialised map can differ from process to process, and processes that run tests side by side must
    agree on the names.
    """
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="module", autouse=True)
def logging_is_on_again() -> Iterator[None]:
    """The pipeline's command turns logging off once it has failed, which tests of the next module must not see."""
    excepthook = threading.excepthook
    yield
    logging.disable(logging.NOTSET)
    threading.excepthook = excepthook


def topical_text(num_lines: int, seed: int = 0) -> str:
    """Lines of 4 to 12 words about one topic each, with common words between, and now and then a rare one."""
    rng = np.random.default_rng(seed)
    topics = list(TOPICS.values())
    lines = []
    for _ in range(num_lines):
        topic = topics[rng.integers(len(topics))]
        words = [str(rng.choice(topic if rng.random() < 0.6 else COMMON)) for _ in range(rng.integers(4, 13))]
        if rng.random() < 0.02:
            words.append(f"rare{rng.integers(10_000)}")
        lines.append(" ".join(words).capitalize() + ".")
    return "\n".join(lines) + "\n"


def run_module(
    module: str, *args: object, check: bool = True, is_new: bool = False, **kwargs
) -> subprocess.CompletedProcess:
    """Runs `python -m module args` in the checkout; fails with its output if it fails and `check` is set.

    Args:
        module: the program. Those of the two packages are forked from a process that has imported them, see `forked`.
        args: its arguments.
        check: whether it must succeed.
        is_new: whether to start a new process nevertheless.
        kwargs: env, for example.
    """
    if forked.package_of(module) and not is_new:
        result = forked.run(module, *args, **kwargs)
    else:
        command = [sys.executable, "-m", module, *map(str, args)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, **kwargs)
    if check and result.returncode:
        raise AssertionError(f"{module} {args} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}")
    return result


@contextlib.contextmanager
def made_once(folder: Path) -> Iterator[bool]:
    """Whether the caller is to fill a new folder. The processes that run tests side by side wait here for the first."""
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not folder.exists()


def make_dataset(factory: pytest.TempPathFactory, name: str, num_files: int, num_lines: int, *flags: str) -> Path:
    """The dataset of some topical files, made once for all processes of a test run."""
    root = factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / name
    with made_once(folder) as is_first:
        if is_first:
            text = folder / "text"
            text.mkdir(parents=True)
            for number in range(num_files):
                (text / f"{number}.txt").write_text(topical_text(num_lines, seed=number))
            run_module("pipeline", "--input", text / "*.txt", "--output", folder / "dataset", *flags)
    return folder / "dataset"


@pytest.fixture(scope="session")
def model_dir(dataset_dir, tmp_path_factory) -> Path:
    """What an uninterrupted run of the trainer's command makes of `dataset_dir`."""
    with made_once(dataset_dir.parent / "model") as is_first:
        if is_first:
            output = dataset_dir.parent / "model"
            run_module("trainer.task", "--data", dataset_dir, "--output", output, *TRAINER_FLAGS)
    return dataset_dir.parent / "model"


@pytest.fixture(scope="session")
def pairs_dir(tmp_path_factory) -> Path:
    """A dataset of the tutorial's pairs in 2 shards."""
    flags = ("--preset", "tutorial", "--num_shards", "2", "--subsample", "0.001")
    return make_dataset(tmp_path_factory, "pairs", 2, 400, *flags)


@pytest.fixture(scope="session")
def dataset_dir(tmp_path_factory) -> Path:
    """A dataset of 4,500 topical lines in 3 shards."""
    flags = ("--num_shards", "3", "--subsample", "0.02", "--block_targets", "16", "--block_negatives", "16")
    return make_dataset(tmp_path_factory, "topical", 3, 1500, *flags)
