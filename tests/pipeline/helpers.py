"""What several tests of the pipeline share: small corpora, runs, and readers that know only the dataset's format."""

import bz2
import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import settings

ROOT = Path(__file__).parents[2]

# The same examples on every run; no deadline, since machines differ.
deterministic = settings(derandomize=True, deadline=None, database=None, max_examples=200)


def environment(**variables: str) -> dict[str, str]:
    """The environment of a program that is to find the packages of this checkout, and Keras 3."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    env.pop("TF_USE_LEGACY_KERAS", None)  # TensorFlow Transform sets it in the process of the tests
    return env


def command(*args, **variables: str) -> subprocess.CompletedProcess:
    """`python -m pipeline` with `args`, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, args)],
        capture_output=True,
        text=True,
        env=environment(**variables),
        timeout=300,
    )


def python(script: str, *args, **variables: str) -> str:
    """What a fresh Python prints for a script."""
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
    compress = {".gz": lambda data: gzip.compress(data, mtime=0), ".bz2": bz2.compress}
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(compress.get(path.suffix, bytes)(data))
    return directory


def random_text(seed: int, num_bytes: int, num_words: int = 300, longest_line: int = 40) -> bytes:
    """Lines of 0 to `longest_line` words, which occur about as often as Zipf says."""
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


def read_vocabulary(dataset: Path) -> list[tuple[bytes, int]]:
    """(token, count) by id."""
    rows = (line.split(b"\t") for line in (dataset / "vocabulary.tsv").read_bytes().splitlines())
    return [(token, int(count)) for token, count in rows]


def read_records(dataset: Path) -> list[list[list[dict[str, list[int]]]]]:
    """All examples, as a reader sees them who knows nothing but the manifest: by shard, then by record."""
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
    """A list with one level of nesting less."""
    return [item for items in nested for item in items]


def read_off(example: dict[str, list[int]], window_size: int) -> list[tuple[int, int]]:
    """The skip-grams (target, context) of a block, read off as its definition says."""
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
