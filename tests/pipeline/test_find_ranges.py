"""FindFiles and MakeRanges: from file patterns to the ranges of the files that match."""

import os

import apache_beam as beam
from apache_beam.testing.util import assert_that, equal_to

from pipeline.text import files
from pipeline.text.files import MakeRanges, TextRange
from pipeline.text.inputs import FindFiles
from tests.pipeline.helpers import write_files


def assert_ranges(patterns, expected):
    """Runs both transforms, and compares the ranges."""
    patterns = tuple(map(str, patterns))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        assert_that(pipeline | FindFiles(patterns) | MakeRanges(patterns), equal_to(expected))


def assert_found(patterns, expected):
    """Runs FindFiles, and compares the paths and sizes of the files."""
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        found = pipeline | FindFiles(map(str, patterns))
        assert_that(found | beam.Map(lambda file: (file.path, file.size)), equal_to(expected))


def test_a_range_says_where_it_is_and_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TEXT_BLOCK_BYTES", 10)
    write_files(tmp_path, {"a.txt": b"x" * 25, "d/b.txt": b"y", "d/c.gz": b"z" * 99, "d/empty.txt": b""})
    a, b, c = (str(tmp_path / name) for name in ("a.txt", "d/b.txt", "d/c.gz"))

    assert_ranges(
        [tmp_path / "*.txt", tmp_path / "d/*"],
        [
            TextRange(a, "a.txt", 0, 10, size=10),
            TextRange(a, "a.txt", 10, 20, size=10),
            TextRange(a, "a.txt", 20, 30, size=5),
            TextRange(b, "d/b.txt", 0, 10, size=1),
            TextRange(c, "d/c.gz", 0, None, size=os.stat(c).st_size),
        ],
    )


def test_small_files_share_a_range_and_large_ones_do_not(tmp_path, monkeypatch):
    """A file is small if it has less than an eighth of a text block."""
    monkeypatch.setattr(files, "TEXT_BLOCK_BYTES", 80)
    monkeypatch.setattr(files, "_NUM_PARTS", 1)
    sizes = {"a.txt": 9, "b.txt": 9, "c.txt": 10, "d.txt": 0, "e.txt": 9}
    write_files(tmp_path, {name: b"x" * size for name, size in sizes.items()})

    a, b, c, e = (str(tmp_path / f"{name}.txt") for name in "abce")
    assert_ranges(
        [tmp_path / "*"],
        [
            TextRange(a, "a.txt", 0, 80, (b, e), size=27),
            TextRange(c, "c.txt", 0, 80, size=10),
        ],
    )


def test_a_file_that_several_patterns_match_is_found_once(tmp_path):
    write_files(tmp_path, {"a.txt": b"x", "b.txt": b"yy"})

    assert_found(
        [tmp_path / "*.txt", tmp_path / "a.txt", tmp_path / "?.txt", tmp_path / "*"],
        [(str(tmp_path / "a.txt"), 1), (str(tmp_path / "b.txt"), 2)],
    )


def test_a_file_that_is_spelled_in_several_ways_is_found_once(tmp_path, monkeypatch):
    write_files(tmp_path, {"c/a.txt": b"x"})
    monkeypatch.chdir(tmp_path)

    assert_found(["c/a.txt", "./c/*.txt", tmp_path / "c/a.txt", "c/../c/a.txt"], [(str(tmp_path / "c" / "a.txt"), 1)])


def test_a_file_with_brackets_in_its_name_may_be_named(tmp_path):
    write_files(tmp_path, {"a[1].txt": b"x", "a1.txt": b"y"})

    assert_found([tmp_path / "a[1].txt"], [(str(tmp_path / "a[1].txt"), 1)])
