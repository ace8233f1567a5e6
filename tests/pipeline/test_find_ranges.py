"""FindRanges alone: from file patterns to the ranges of the files that match."""

import apache_beam as beam
from apache_beam.testing.util import assert_that, equal_to

from pipeline.text import files
from pipeline.text.files import TextRange
from tests.pipeline.helpers import write_files


def assert_found(patterns, expected):
    """Runs FindRanges, and compares the names and starts of the ranges."""
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        ranges = pipeline | files.FindRanges(tuple(map(str, patterns)))
        assert_that(ranges | beam.Map(lambda item: (item.name, item.start)), equal_to(expected))


def test_a_range_says_where_it_is_and_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TEXT_BLOCK_BYTES", 10)
    write_files(tmp_path, {"a.txt": b"x" * 15, "sub/b.gz": b"y"})
    plain, compressed = str(tmp_path / "a.txt"), str(tmp_path / "sub" / "b.gz")

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        ranges = pipeline | files.FindRanges((plain, compressed))
        assert_that(
            ranges,
            equal_to([
                TextRange(plain, "a.txt", 0, 10),
                TextRange(plain, "a.txt", 10, 20),
                TextRange(compressed, "sub/b.gz", 0, None),
            ]),
        )  # fmt: skip


def test_find_ranges_lists_each_range_of_each_file(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TEXT_BLOCK_BYTES", 10)
    write_files(tmp_path, {"a.txt": b"x" * 25, "d/b.txt": b"y", "d/c.gz": b"z" * 99, "d/empty.txt": b""})

    assert_found(
        [tmp_path / "*.txt", tmp_path / "d/*"],
        [("a.txt", 0), ("a.txt", 10), ("a.txt", 20), ("d/b.txt", 0), ("d/c.gz", 0)],
    )


def test_a_file_that_several_patterns_match_is_read_once(tmp_path):
    write_files(tmp_path, {"a.txt": b"x", "b.txt": b"y"})

    assert_found(
        [tmp_path / "*.txt", tmp_path / "a.txt", tmp_path / "?.txt", tmp_path / "*"], [("a.txt", 0), ("b.txt", 0)]
    )


def test_a_file_that_is_spelled_in_several_ways_is_read_once(tmp_path, monkeypatch):
    write_files(tmp_path, {"c/a.txt": b"x"})
    monkeypatch.chdir(tmp_path)

    assert_found(["c/a.txt", "./c/*.txt", tmp_path / "c/a.txt", "c/../c/a.txt"], [("a.txt", 0)])


def test_a_file_with_brackets_in_its_name_may_be_named(tmp_path):
    write_files(tmp_path, {"a[1].txt": b"x", "a1.txt": b"y"})

    assert_found([tmp_path / "a[1].txt"], [("a[1].txt", 0)])
