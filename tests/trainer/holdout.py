"""Writes held-out lines into a dataset, as the pipeline does. It is independent of both packages."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.manifest import HoldoutFile


def hold_out(dataset: Path, folder: Path, files: Sequence[Sequence[list[int]]], lines_per_record: int = 3) -> Path:
    """Copies a dataset to a folder, and adds files of held-out lines, which are lists of ids."""
    shutil.copytree(dataset, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "holdout").mkdir()
    manifest["holdout"] = [
        write(folder, f"holdout/holdout-{number:05d}-of-{len(files):05d}.tfrecord", lines, manifest, lines_per_record)
        for number, lines in enumerate(files)
    ]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def write(folder: Path, name: str, lines: Sequence[list[int]], manifest: dict, lines_per_record: int) -> dict:
    """Writes a file of held-out lines. Returns what the manifest says about it."""
    is_compressed = manifest["compression"] == "gzip"
    name += ".gz" * is_compressed
    starts = range(0, len(lines), lines_per_record)
    with tf.io.TFRecordWriter(str(folder / name), "GZIP" if is_compressed else "") as file:
        for start in starts:
            some = lines[start : start + lines_per_record]
            arrays = {"ids": [word for line in some for word in line], "lengths": [len(line) for line in some]}
            file.write(record({key: np.array(values, "<i4").tobytes() for key, values in arrays.items()}))
    words = sum(map(len, lines))
    return dataclasses.asdict(HoldoutFile(name, (folder / name).stat().st_size, len(starts), len(lines), words))


def record(features: dict[str, bytes]) -> bytes:
    """A tf.train.Example with features of bytes."""
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in features.items()
            }
        )
    ).SerializeToString(deterministic=True)
