"""Held-out lines are read as they were written; a damaged file is told in one line."""

import json

import numpy as np
import pytest

from tests.contract.make import FOLDER
from tests.trainer.holdout import hold_out, record
from trainer.dataset import open_dataset
from trainer.errors import UserError
from trainer.holdout import read_holdout

FILES = [[[2, 3, 4], [5], [1, 6], [7, 8, 9, 10], [2, 2]], [], [[11, 12], [13, 1, 14]]]
LINES = [line for lines in FILES for line in lines]


def read(dataset, *args):
    items, lengths = read_holdout(open_dataset(str(dataset)), *args)
    ends = np.cumsum(lengths)
    return [items[end - n : end].tolist() for end, n in zip(ends, lengths, strict=True)]


@pytest.mark.parametrize("name", ["blocks", "pairs"])  # pairs are compressed
def test_lines_are_those_that_were_written(tmp_path, name):
    dataset = hold_out(FOLDER / name, tmp_path / "dataset", FILES)

    assert read(dataset) == read(dataset, 7) == read(dataset, 8) == LINES


def test_a_sample_is_chosen_by_the_seed(tmp_path):
    dataset = hold_out(FOLDER / "blocks", tmp_path / "dataset", FILES)

    samples = [read(dataset, 3, seed) for seed in range(20)]

    assert all(len(sample) == 3 and [line for line in LINES if line in sample] == sample for sample in samples)
    assert samples[4] == read(dataset, 3, 4)
    assert {str(line) for sample in samples for line in sample} == set(map(str, LINES))


def test_a_dataset_without_held_out_lines_has_none():
    assert read(FOLDER / "blocks") == []


IDS = {"ids": np.array([2, 3, 4], "<i4").tobytes(), "lengths": np.array([2, 1], "<i4").tobytes()}
DAMAGES = [
    (b"no example", "Could not parse example"),
    (record({"ids": IDS["ids"]}), "lengths"),
    (record({**IDS, "ids": IDS["ids"][:-1]}), "buffer size must be a multiple of element size"),
    (record({**IDS, "ids": np.array([2, 3], "<i4").tobytes()}), "the lengths of its lines do not add up to its words"),
    (record({**IDS, "lengths": np.array([4, -1], "<i4").tobytes()}), "the lengths of its lines do not add up"),
    (record({**IDS, "ids": np.array([2, 3, 0], "<i4").tobytes()}), "it holds an id that is not in the vocabulary"),
    (record({**IDS, "ids": np.array([2, 3, 20], "<i4").tobytes()}), "it holds an id that is not in the vocabulary"),
    (record({**IDS, "lengths": np.array([3], "<i4").tobytes()}), "expected 2 lines with 3 words, as the manifest says"),
]


@pytest.mark.parametrize("content, message", DAMAGES)
def test_damage_is_told(tmp_path, content, message):
    import tensorflow as tf

    dataset = hold_out(FOLDER / "blocks", tmp_path / "dataset", [[[2, 3], [4]]])
    path = dataset / "holdout/holdout-00000-of-00001.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as file:
        file.write(content)
    manifest = json.loads((dataset / "manifest.json").read_text())
    manifest["holdout"][0]["bytes"] = path.stat().st_size
    (dataset / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(UserError, match=rf"{path} is damaged.*{message}") as raised:
        read(dataset)
    assert "\n" not in str(raised.value)
