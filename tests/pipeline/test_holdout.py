"""Held-out lines: which lines they are, and the files that they are written to."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from pipeline import inspect
from pipeline.config import PipelineConfig
from pipeline.dataset.manifest import HoldoutFile
from pipeline.dataset.read import read_manifest
from pipeline.errors import UserError
from pipeline.examples import holdout as files
from pipeline.job import preflight
from pipeline.text import count_words, holdout
from pipeline.text.lines import TextBlock
from tests.contract.make import FOLDER
from tests.pipeline.helpers import deterministic, flatten

LINES = [b"line %d" % number for number in range(4000)]


def held_out(share, name="a.txt", offset=0, **settings):
    config = PipelineConfig(input=("x",), output="y", holdout=share, **settings)
    kept, others = holdout.split(TextBlock(name, offset, LINES, Counter()), config)
    assert sorted(kept + others) == sorted(LINES)  # each line is in one of the two
    assert kept == [line for line in LINES if line in set(kept)]  # in the order of the text
    return set(others)


def test_the_share_of_the_lines_is_held_out():
    assert held_out(0.0) == set()
    assert len(held_out(0.2)) == pytest.approx(800, abs=100)  # four standard deviations
    assert held_out(1e-9) == set()


def test_a_larger_share_holds_out_the_same_lines_and_more():
    assert held_out(0.05) < held_out(0.1) < held_out(0.9)


def test_the_lines_depend_on_seed_and_place_alone():
    assert held_out(0.1) == held_out(0.1, min_count=1, num_shards=3, passes=2)
    others = [held_out(0.1, seed=2), held_out(0.1, name="b.txt"), held_out(0.1, offset=1 << 20)]
    for lines in others:
        assert len(lines & held_out(0.1)) < 0.3 * len(lines)  # a tenth by chance


def test_a_share_that_leaves_no_word_is_one_line(tmp_path):
    config = PipelineConfig(input=("x",), output="y", holdout=0.9)
    with pytest.raises(UserError, match="^--holdout 0.9 leaves no word of --input to train on: expected a lower share"):
        count_words._write_vocabulary(([], 0), config, str(tmp_path))


def test_a_share_of_all_lines_is_refused_before_a_job_starts():
    with pytest.raises(UserError, match="^--holdout 1 leaves no line to train on: expected a share below 1$"):
        preflight.check(PipelineConfig(input=("x",), output="y", holdout=1))


# Files


def write(path, groups, compression="none"):
    """Writes groups of lines, which are lists of ids; returns the file as the manifest describes it."""
    with files.HoldoutWriter(str(path), compression) as writer:
        for lines in groups:
            writer.add(np.array(flatten(lines), np.int64), np.array([len(line) for line in lines], np.int64))
    return HoldoutFile(path.name, path.stat().st_size, writer.records, writer.lines, writer.words)


def records_of(path):
    """The number of words in each line, by record, read with TensorFlow's parser alone."""
    records = [tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]
    return [np.frombuffer(r.features.feature["lengths"].bytes_list.value[0], "<i4").tolist() for r in records]


def expected_records(lengths, limit):
    """Lines go to a record until it holds `limit` words."""
    records, words = [], limit
    for length in filter(None, lengths):
        if words >= limit:
            records.append([])
            words = 0
        records[-1].append(length)
        words += length
    return records


@deterministic
@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6))
def test_records_are_filled_line_by_line_in_whatever_groups_they_come(tmp_path_factory, groups):
    path = tmp_path_factory.mktemp("holdout") / "file"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "WORDS_PER_HOLDOUT_RECORD", 8)
        file = write(path, [[[7] * length for length in group] for group in groups])
    assert records_of(path) == expected_records(flatten(groups), 8)
    assert (file.lines, file.words) == (sum(map(bool, flatten(groups))), sum(flatten(groups)))


@pytest.fixture
def manifest():
    return read_manifest(str(FOLDER / "holdout"))  # its files are compressed


def test_what_is_written_is_read_again(tmp_path, manifest):
    lines = [[1, 2, 3], [5], [4, 4]]
    file = write(tmp_path / "file", [lines[:1], [[]], lines[1:]], "gzip")
    assert [line.tolist() for line in files.read(str(tmp_path), file, manifest)] == lines
    empty = write(tmp_path / "empty", [], "gzip")
    assert (empty.records, empty.lines, empty.words) == (0, 0, 0)
    assert list(files.read(str(tmp_path), empty, manifest)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bytes": 1}, "has .* bytes instead of 1"),
        ({"records": 2}, "has 1 records instead of 2"),
        ({"lines": 3}, "has 2 lines instead of 3"),
        ({"words": 5}, "has 4 words instead of 5"),
        ({"name": "other"}, "other is missing"),
    ],
)
def test_a_file_that_is_not_as_the_manifest_says_is_told(tmp_path, manifest, change, message):
    file = write(tmp_path / "file", [[[1, 2, 3], [5]]], "gzip")
    with pytest.raises(UserError, match=f"^{tmp_path} is damaged: .*{message}"):
        list(files.read(str(tmp_path), HoldoutFile(**{**vars(file), **change}), manifest))


@pytest.mark.parametrize(
    ("ids", "lengths", "message"),
    [
        ([1, 99], [2], "holds 99 in ids: expected numbers from 1 to"),
        ([0], [1], "holds 0 in ids"),
        ([1, 2], [3], "holds 2 ids of lines of 3 words"),
        ([1], [1, 0], "holds 0 in lengths"),
    ],
)
def test_a_damaged_record_is_told(tmp_path, manifest, ids, lengths, message):
    path = tmp_path / "file"
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        writer.write(files.encode(np.array(ids), np.array(lengths)))
    file = HoldoutFile("file", path.stat().st_size, 1, len(lengths), len(ids))
    with pytest.raises(UserError, match=f"is damaged: file, record 1 {message}"):
        list(files.read(str(tmp_path), file, manifest))


def test_inspect_shows_held_out_lines(capsys, manifest):
    assert inspect.main([str(FOLDER / "holdout"), "--examples", "1"]) == 0
    *_, header, _, line = capsys.readouterr().out.partition("\n\ntext ")[0].splitlines()
    lines, words = (sum(getattr(file, name) for file in manifest.holdout) for name in ("lines", "words"))
    assert lines and header == f"{lines} lines with {words} words are held out"
    corpus = [" ".join(line.lower().split()) for line in (FOLDER / "corpus.txt").read_text().splitlines()]
    assert len(line.split()) in map(len, map(str.split, corpus))
