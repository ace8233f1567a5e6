"""python -m tests.contract.make: writes the golden datasets anew, after a change of the contract that is meant.

A golden dataset is a small one that is kept in the repository. The pipeline must still write it byte for byte, and the
trainer must still read it. examples.json has its examples as numbers, decoded with TensorFlow's parser alone.
"""

import contextlib
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
FLAGS = {
    "blocks": "--tokenizer simple --min_count 2 --subsample 0.02 --window_size 3 --block_targets 8 --block_negatives 6 "
    "--num_shards 2",
    "pairs": "--preset tutorial --vocab_size 16 --subsample 0.01 --num_negatives 3 --num_shards 1 --compression gzip",
    "holdout": "--tokenizer simple --holdout 0.3 --min_count 1 --subsample 0 --window_size 2 --block_targets 8 "
    "--block_negatives 6 --num_shards 2 --compression gzip",
}
FORMATS = ("blocks", "pairs")  # the datasets that are also there as earlier versions had them

# A dataset with phrases, which a few tests of their own are about.
PHRASES = {
    "phrases": "--phrases 2 --phrase_min_count 2 --phrase_threshold 2 --min_count 1 --subsample 0 --num_shards 1"
}


def make(name: str, folder: Path) -> Path:
    """Runs the real pipeline on corpus.txt below `folder`; returns the dataset."""
    from tests.pipeline.helpers import run_here

    shutil.copy(FOLDER / "corpus.txt", folder)
    with contextlib.chdir(folder):  # the paths are in the manifest
        run_here(*{**FLAGS, **PHRASES}[name].split(), "--input", "corpus.txt", "--output", name)
    return folder / name


def examples(dataset: Path) -> list[dict[str, list[int] | int]]:
    """The examples of a dataset, shard by shard."""
    import tensorflow as tf

    manifest = json.loads((dataset / "manifest.json").read_text())
    found = []
    for shard in manifest["shards"]:
        compression = {"gzip": "GZIP", "none": ""}[manifest["compression"]]
        for record in tf.data.TFRecordDataset(str(dataset / shard["name"]), compression):
            features = tf.train.Example.FromString(record.numpy()).features.feature
            columns = {
                field["name"]: np.frombuffer(
                    features[field["name"]].bytes_list.value[0], np.dtype(field["dtype"]).newbyteorder("<")
                ).reshape([-1, *field["shape"]])
                for field in manifest["fields"]
            }
            rows = zip(*columns.values(), strict=True)
            found += [dict(zip(columns, (value.tolist() for value in row), strict=True)) for row in rows]
    return found


def without_what_is_new(manifest: Any, version: int) -> Any:
    """A golden manifest of today as the manifest of an earlier version must read, in either package."""
    flags = json.loads((FOLDER / f"{manifest.example_format}.version4.json").read_text())["config"]
    config = {name: value for name, value in manifest.config.items() if name in flags}
    counters = {name: count for name, count in manifest.counters.items() if not name.startswith("lines_of_")}
    manifest = dataclasses.replace(manifest, holdout=(), phrases_sha256="", config=config, counters=counters)
    return manifest if version == 4 else dataclasses.replace(manifest, vocabulary_sha256="")


if __name__ == "__main__":
    import tempfile

    for name in {**FLAGS, **PHRASES}:
        with tempfile.TemporaryDirectory() as folder:
            dataset = make(name, Path(folder))
            lines = ",\n ".join(json.dumps(example) for example in examples(dataset))
            (dataset / "examples.json").write_text(f"[{lines}]\n")
            shutil.rmtree(FOLDER / name, ignore_errors=True)
            shutil.copytree(dataset, FOLDER / name)
