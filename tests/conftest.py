"""A corpus, and the dataset that the real pipeline makes of it in a process of its own: no test here imports Beam."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_SET_ONEDNN_FPMATH_MODE", "STRICT")  # products are compared with float64's, AMX or not

ROOT = Path(__file__).parent.parent
TOPICS = {
    "animals": "cat dog horse cow sheep goat pig hen duck goose".split(),
    "colours": "red blue green yellow black white brown purple orange grey".split(),
    "numbers": "one two three four five six seven eight nine ten".split(),
    "family": "mother father sister brother aunt uncle cousin niece nephew grandmother".split(),
}
COMMON = "the a of and in to is was it that".split()


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


def run_module(module: str, *args: str, check: bool = True, **kwargs) -> subprocess.CompletedProcess:
    """Runs `python -m module args` in the checkout; fails with its output if it fails and `check` is set."""
    result = subprocess.run(
        [sys.executable, "-m", module, *map(str, args)], cwd=ROOT, capture_output=True, text=True, timeout=300, **kwargs
    )
    if check and result.returncode:
        raise AssertionError(f"{module} {args} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}")
    return result


@pytest.fixture(scope="session")
def pairs_dir(tmp_path_factory) -> Path:
    """A dataset of the tutorial's pairs in 2 shards."""
    directory = tmp_path_factory.mktemp("pairs")
    for number in range(2):
        (directory / f"{number}.txt").write_text(topical_text(400, seed=number))
    run_module(
        "pipeline", "--preset", "tutorial", "--input", directory / "*.txt", "--output", directory / "dataset",
        "--num_shards", "2", "--subsample", "0.001",
    )  # fmt: skip
    return directory / "dataset"


@pytest.fixture(scope="session")
def dataset_dir(tmp_path_factory) -> Path:
    """A dataset of 4,500 topical lines in 3 shards."""
    directory = tmp_path_factory.mktemp("dataset")
    (directory / "text").mkdir()
    for number in range(3):
        (directory / "text" / f"{number}.txt").write_text(topical_text(1500, seed=number))
    run_module(
        "pipeline", "--input", directory / "text" / "*.txt", "--output", directory / "dataset",
        "--num_shards", "3", "--subsample", "0.02", "--block_targets", "16", "--block_negatives", "16",
    )  # fmt: skip
    return directory / "dataset"
