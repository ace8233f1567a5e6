"""The tests of runners share this: Beam's Go programs, a corpus, and the comparison with the local runner."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf

from tests.conftest import ROOT
from tests.pipeline.helpers import (
    command,
    contents,
    random_text,
    read_manifest,
    read_vocabulary,
    shard_contents,
    write_files,
)

PATTERNS = ("*.txt", "*.gz", "sub/*")
FLAGS = (
    "--num_shards=3",
    "--seed=11",
    "--passes=2",
    "--min_count=2",
    "--phrases=2",
    "--phrase_min_count=1",
    "--holdout=0.05",
)
NO_WORDS = "--input holds no words: every line is empty or punctuation alone"


def beam_program(name: str) -> Path:
    """Returns the path of one of Beam's Go programs, and builds the program if it is not there yet."""
    script = [ROOT / "deploy" / "local" / "beam_program.sh", name]
    if not list((ROOT / "build" / "beam").glob(f"{name}-*")) and not shutil.which("go"):
        pytest.skip(f"go is not there, and Beam's {name} is built with it")
    return Path(subprocess.run(script, check=True, stdout=subprocess.PIPE, text=True, timeout=900).stdout.strip())


def free_port() -> int:
    """Returns a port that no program listens at."""
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        return sock.getsockname()[1]


def write_corpus(directory: Path) -> Path:
    """Writes plain and compressed files, which make five text blocks of full size."""
    files = {
        "big.txt": random_text(6, 2_200_000, num_words=5000),
        "big.txt.gz": random_text(7, 1_100_000, num_words=5000),
        "sub/small.txt": "Don’t — ÉTÉ w1… w2\n".encode() * 50,
    }
    return write_files(directory, files)


def make_locally(corpus: Path, dataset: Path) -> Path:
    """Makes the expected dataset of a corpus, with the local runner in the checkout."""
    done = command(*job(corpus, dataset))
    assert done.returncode == 0, done.stderr
    return dataset


def job(corpus: Path, dataset: Path, *beam_flags) -> list:
    """Returns the arguments of a run on that corpus."""
    return ["--input", *(corpus / pattern for pattern in PATTERNS), "--output", dataset, *FLAGS, *beam_flags]


def assert_same_dataset(dataset: Path, expected: Path):
    """Asserts that two datasets are equal in every byte, except for the output's name and for names in the graph."""
    described, also = read_manifest(dataset), read_manifest(expected)
    assert described["num_skip_grams"] > 1_000_000
    assert described.pop("config") == {**also.pop("config"), "output": str(dataset)}
    assert described == also
    assert shard_contents(dataset) == shard_contents(expected)
    assert read_vocabulary(dataset) == read_vocabulary(expected)
    graph = {"saved_model.pb", "fingerprint.pb"}
    one, other = (
        {n: data for n, data in contents(d).items() if Path(n).name not in graph} for d in (dataset, expected)
    )
    assert one.keys() == other.keys()
    assert {name for name in one if one[name] != other[name]} == {"manifest.json"}
    assert graph_ids(dataset) == graph_ids(expected)


def graph_ids(dataset: Path) -> dict[str, list[list[int]]]:
    """Returns the ids that the transform graph gives to words of the vocabulary and to others."""
    words = [token.decode() for token, _ in read_vocabulary(dataset)]
    lines = [*words, " ".join(words[2:]).upper(), "no such, W1—w2 don’t ÉTÉ", ""]
    outputs = tf.saved_model.load(str(dataset / "transform_fn")).transform_fn({"text": tf.constant(lines)})
    return {name: value.to_list() for name, value in outputs.items()}
