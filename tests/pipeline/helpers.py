"""What several tests of the pipeline share: small corpora, ways to run programs, and readers of datasets."""

import bz2
import gzip
import json
import lzma
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import zstandard
from hypothesis import settings
from hypothesis import strategies as st

from tests.conftest import run_module

ROOT = Path(__file__).parents[2]

# Hypothesis makes the same examples on every run. There is no deadline, since machines differ.
deterministic = settings(derandomize=True, deadline=None, database=None, max_examples=200)

# Text for Hypothesis: lines without damage, and bytes of every kind that a file may hold.
_SOUND = ["a", "bc", " ", "é", "好", "😀", "word word"]
SOUND_TEXT = st.lists(st.sampled_from(["\n", "\n", *_SOUND]), max_size=60).map(lambda parts: "".join(parts).encode())
ANY_BYTES = st.lists(
    st.sampled_from([
        b"\n", b"\n", b"\r\n", b"\r", b"\0", b"\xff", b"\xc3", b"\x80\x80\x80\x80\x80", b"\xef\xbb\xbf",
        *(part.encode() for part in _SOUND), b"longer than any line may be",
    ]),
    max_size=60,
).map(b"".join)  # fmt: skip


def environment(**variables: str) -> dict[str, str]:
    """The environment for a program that uses the packages of this checkout and Keras 3."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    env.pop("TF_USE_LEGACY_KERAS", None)  # TensorFlow Transform sets it in the process of the tests
    return env


def command(*args, is_new: bool = False, **variables: str) -> subprocess.CompletedProcess:
    """Runs `python -m pipeline` with `args` to its end.

    Args:
        args: the arguments.
        is_new: whether in a new process, and not one that is forked: its imports may print something, for example.
        variables: environment variables to set.
    """
    return run_module("pipeline", *args, check=False, is_new=is_new, env=environment(**variables))


def run_here(*args) -> str:
    """Runs what `python -m pipeline` runs, in this process, which has imported Beam already; returns the summary."""
    from pipeline import options
    from pipeline.job import preflight, runner

    arguments = options.parse([*map(str, args)])
    preflight.check(arguments.config, arguments.beam_flags)
    return runner.run(arguments.config, arguments.beam_flags)


def python(script: str, *args, **variables: str) -> str:
    """What a script prints in a Python process of its own."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, args)],
        capture_output=True,
        text=True,
        env=environment(**variables),
        timeout=300,
        check=True,
    ).stdout


def write_files(directory: Path, files: dict[str, bytes]) -> Path:
    """Writes files by name, compressed as their names say."""
    compress = {
        ".gz": lambda data: gzip.compress(data, mtime=0),
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
        ".zst": zstandard.compress,
    }
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(compress.get(path.suffix, bytes)(data))
    return directory


def random_text(seed: int, num_bytes: int, num_words: int = 300, longest_line: int = 40) -> bytes:
    """Lines of 0 to `longest_line` words, whose frequencies follow Zipf's law roughly."""
    rng = random.Random(seed)
    words = [f"w{i:x}" for i in range(num_words)]
    weights = [1 / (i + 2) for i in range(num_words)]
    lines, size = [], 0
    while size < num_bytes:
        lines.append(" ".join(rng.choices(words, weights, k=rng.randint(0, longest_line))).encode() + b"\n")
        size += len(lines[-1])
    return b"".join(lines)


def read_manifest(dataset: Path) -> dict:
    """The manifest of a dataset."""
    return json.loads((dataset / "manifest.json").read_text())


def all_counters(manifest: dict) -> dict[str, int]:
    """Everything that was counted, by counter name: four counts stand at the top of the manifest under other names."""
    names = {"lines_read": "num_lines", "words_read": "num_words", "tokens_kept": "num_tokens"}
    names["skip_grams"] = "num_skip_grams"
    return {**manifest["counters"], **{counter: manifest[name] for counter, name in names.items()}}


def read_vocabulary(dataset: Path) -> list[tuple[bytes, int]]:
    """(token, count) by id."""
    rows = (line.split(b"\t") for line in (dataset / "vocabulary.tsv").read_bytes().splitlines())
    return [(token, int(count)) for token, count in rows]


def read_records(dataset: Path) -> list[list[list[dict[str, list[int]]]]]:
    """All examples by shard, then by record. The reader knows nothing but the manifest."""
    import tensorflow as tf

    manifest = read_manifest(dataset)
    shards = []
    for shard in manifest["shards"]:
        path = dataset / shard["name"]
        compression = {"gzip": "GZIP", "none": ""}[manifest["compression"]]
        records = list(tf.data.TFRecordDataset(str(path), compression).as_numpy_iterator())
        assert len(records) == shard["records"]
        shards.append([_examples(record, manifest["fields"]) for record in records])
    return shards


def read_holdout(dataset: Path) -> list[list[list[list[int]]]]:
    """The ids of all held-out lines by file, then by record. The reader knows nothing but the manifest."""
    import tensorflow as tf

    manifest = read_manifest(dataset)
    compression = {"gzip": "GZIP", "none": ""}[manifest["compression"]]
    files = []
    for file in manifest["holdout"]:
        files.append([])
        for record in tf.data.TFRecordDataset(str(dataset / file["name"]), compression).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            assert set(features) == {"ids", "lengths"}
            ids, lengths = (
                np.frombuffer(features[name].bytes_list.value[0], "<i4").tolist() for name in ("ids", "lengths")
            )
            assert len(ids) == sum(lengths) and min(lengths) > 0
            files[-1].append([[ids.pop(0) for _ in range(length)] for length in lengths])
    return files


def _examples(record: bytes, fields: list[dict]) -> list[dict[str, list[int]]]:
    import tensorflow as tf

    features = tf.train.Example.FromString(record).features.feature
    assert set(features) == {field["name"] for field in fields}
    columns = {}
    for field in fields:
        (value,) = features[field["name"]].bytes_list.value
        dtype = np.dtype(field["dtype"]).newbyteorder("<")
        columns[field["name"]] = np.frombuffer(value, dtype).reshape([-1, *field["shape"]]).tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def flatten(nested: list[list]) -> list:
    """The items of all lists in one list."""
    return [item for items in nested for item in items]


def read_off(example: dict[str, list[int]], window_size: int) -> list[tuple[int, int]]:
    """The skip-grams (target, context) of a block, straight from its definition."""
    pairs = []
    for i, (left, right) in enumerate(zip(example["left"], example["right"], strict=True)):
        for d in range(-left, right + 1):
            if d != 0:
                pairs.append((example["tokens"][window_size + i], example["tokens"][window_size + i + d]))
    return pairs


def contents(dataset: Path) -> dict[str, bytes]:
    """Every file below a directory, by relative path."""
    return {str(path.relative_to(dataset)): path.read_bytes() for path in dataset.rglob("*") if path.is_file()}


def shard_contents(dataset: Path) -> dict[str, bytes]:
    """The bytes of every shard, by name."""
    return {name: data for name, data in contents(dataset).items() if name.startswith("skipgrams")}
