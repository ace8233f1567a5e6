"""Every line of every file is read exactly once, whatever a file holds and however it is cut."""

import bz2
import gzip
import re
import tracemalloc
from collections import Counter

import apache_beam as beam
import pytest
from apache_beam.io.filesystem import FileMetadata
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.text import files, lines
from tests.pipeline import reference
from tests.pipeline.helpers import deterministic, flatten, write_files

SOUND = ["a", "bc", " ", "é", "好", "😀", "word word"]
PLAIN_TEXT = st.lists(st.sampled_from(["\n", "\n", *SOUND]), max_size=60).map(lambda parts: "".join(parts).encode())
ANY_BYTES = st.lists(
    st.sampled_from([
        b"\n", b"\n", b"\r\n", b"\r", b"\0", b"\xff", b"\xc3", b"\x80\x80\x80\x80\x80", b"\xef\xbb\xbf",
        *(part.encode() for part in SOUND), b"longer than any line may be",
    ]),
    max_size=60,
).map(b"".join)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


def read(path, block_bytes=1 << 20, line_bytes=1 << 16, chunk_bytes=1 << 20, root=""):
    """The text blocks of all ranges of a file, one list a range, read with small constants."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "TEXT_BLOCK_BYTES", block_bytes)
        patch.setattr(lines, "TEXT_BLOCK_BYTES", block_bytes)
        patch.setattr(lines, "MAX_LINE_BYTES", line_bytes)
        patch.setattr(files, "_CHUNK_BYTES", chunk_bytes)
        ranges = files.file_ranges(str(path), path.stat().st_size, root)
        return [list(files.read_range(text_range)) for text_range in ranges]


def lines_of(ranges):
    return [line for block in flatten(ranges) for line in block.lines]


def counts_of(ranges):
    return sum((block.counts for block in flatten(ranges)), Counter())


@deterministic
@given(data=PLAIN_TEXT, block_bytes=st.integers(1, 70), chunk_bytes=st.integers(16, 80))
def test_the_ranges_of_a_file_hold_each_line_once_in_order(folder, data, block_bytes, chunk_bytes):
    path = folder / "sound.txt"
    path.write_bytes(data)

    ranges = read(path, block_bytes, chunk_bytes=chunk_bytes)

    *lines, rest = data.split(b"\n")
    assert lines_of(ranges) == lines + [rest] * bool(rest)
    assert counts_of(ranges)["lines_read"] == len(lines) + bool(rest)
    assert counts_of(ranges)["lines_unterminated"] == bool(rest)


@deterministic
@given(
    data=ANY_BYTES,
    block_bytes=st.integers(1, 90),
    line_bytes=st.integers(8, 30),
    chunk_bytes=st.integers(16, 80),
)
def test_blocks_and_counters_are_those_of_the_naive_reader(folder, data, block_bytes, line_bytes, chunk_bytes):
    """Damage of every kind is mended and counted; offsets, and so the random streams, are the definition's."""
    path = folder / "any.txt"
    path.write_bytes(data)

    ranges = read(path, block_bytes, line_bytes, chunk_bytes)

    sizes = reference.Sizes(text_block_bytes=block_bytes, max_line_bytes=line_bytes)
    expected = reference.text_blocks("any.txt", data, sizes)
    actual = [(number, block.offset, block.lines) for number, blocks in enumerate(ranges) for block in blocks]
    assert actual == [(block.range_number, block.offset, block.lines) for block in expected]
    assert +counts_of(ranges) == sum((block.counts for block in expected), Counter())


@deterministic
@given(
    data=ANY_BYTES,
    block_bytes=st.integers(1, 90),
    line_bytes=st.integers(8, 30),
    chunk_bytes=st.integers(16, 80),
)
def test_a_compressed_file_holds_the_lines_of_the_plain_one(folder, data, block_bytes, line_bytes, chunk_bytes):
    write_files(folder, {"same.txt": data, "same.txt.gz": data, "same.txt.bz2": data})

    plain, *compressed = (
        read(folder / f"same.txt{suffix}", block_bytes, line_bytes, chunk_bytes) for suffix in ("", ".gz", ".bz2")
    )

    sizes = reference.Sizes(text_block_bytes=block_bytes, max_line_bytes=line_bytes)
    expected = [(block.offset, block.lines) for block in reference.text_blocks("same.gz", data, sizes)]
    for ranges in compressed:
        assert lines_of(ranges) == lines_of(plain)
        assert +counts_of(ranges) == +counts_of(plain)
        assert [(block.offset, block.lines) for block in flatten(ranges)] == expected


@deterministic
@given(data=ANY_BYTES, line_bytes=st.integers(8, 30), sizes=st.tuples(*[st.integers(1, 90)] * 2))
def test_lines_do_not_depend_on_the_size_of_a_text_block(folder, data, line_bytes, sizes):
    path = folder / "sizes.txt"
    path.write_bytes(data)

    one, other = (read(path, size, line_bytes) for size in sizes)

    assert lines_of(one) == lines_of(other)
    assert +counts_of(one) == +counts_of(other)


def read_bytes(tmp_path, data, **constants):
    path = tmp_path / "x.txt"
    path.write_bytes(data)
    ranges = read(path, **constants)
    return lines_of(ranges), +counts_of(ranges)


@pytest.mark.parametrize(
    ("data", "lines", "counters"),
    [
        (b"", [], {}),
        (b"\n", [b""], {"lines_read": 1, "lines_empty": 1}),
        (b"a b\nc", [b"a b", b"c"], {"lines_read": 2, "lines_unterminated": 1}),
        (b"a\r\nb\r\n\r\n", [b"a\r", b"b\r", b"\r"], {"lines_read": 3, "lines_crlf": 3, "lines_empty": 1}),
        (b"\xef\xbb\xbfa\nb\n", [b"a", b"b"], {"lines_read": 2, "byte_order_marks": 1}),
        (b"a\n\xef\xbb\xbfb\n", [b"a", "\ufeffb".encode()], {"lines_read": 2}),
        (b"\xef\xbb\xbf", [b""], {"lines_read": 1, "byte_order_marks": 1, "lines_empty": 1, "lines_unterminated": 1}),
        (b"a\0b\n\0\nc\n", [b"a b", b" ", b"c"], {"lines_read": 3, "lines_with_nul": 2, "lines_empty": 1}),
        (b"caf\xe9\nok\n", ["caf\ufffd".encode(), b"ok"], {"lines_read": 2, "lines_invalid_utf8": 1}),
        (
            b"\xff\0\r\n",
            ["\ufffd \r".encode()],
            {"lines_read": 1, "lines_crlf": 1, "lines_with_nul": 1, "lines_invalid_utf8": 1},
        ),
    ],
    ids=[
        "empty file",
        "empty line",
        "no last newline",
        "crlf",
        "bom",
        "bom in the middle",
        "bom alone",
        "nul",
        "latin-1",
        "all at once",
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 3, 1 << 20])
def test_damage_is_mended_and_counted(tmp_path, data, lines, counters, block_bytes):
    assert read_bytes(tmp_path, data, block_bytes=block_bytes) == (lines, counters)


def test_a_long_line_goes_on_behind_a_space(tmp_path):
    data = b"one two three four five\nsix\n"

    assert read_bytes(tmp_path, data, line_bytes=10) == (
        [b"one two ", b"three ", b"four five", b"six"],
        {"lines_read": 2, "lines_cut": 2},
    )


def test_a_word_longer_than_a_line_may_be_is_cut_between_characters(tmp_path):
    """A line may have 10 bytes; é has two, 好 has three, 😀 has four."""
    for character in "é好😀":
        word = character * 50

        lines, counters = read_bytes(tmp_path, word.encode(), line_bytes=10)

        assert b"".join(lines).decode() == word
        assert {len(line.decode()) for line in lines[:-1]} == {10 // len(character.encode())}
        assert "lines_invalid_utf8" not in counters


@pytest.mark.parametrize("newline", [b"", b"\n", b"\nnext line\n"])
def test_a_line_longer_than_several_ranges_belongs_to_the_one_it_begins_in(tmp_path, newline):
    long_line = b"word " * 40
    path = tmp_path / "x.txt"
    path.write_bytes(b"first\n" + long_line + newline)

    ranges = read(path, block_bytes=16, line_bytes=32)

    lines = lines_of(ranges)
    assert lines[0] == b"first"
    assert b"".join(lines[1:]) == long_line + newline.strip(b"\n")
    assert len(flatten(ranges[0])) > 1
    holding_lines = [number for number, blocks in enumerate(ranges) if blocks]
    assert holding_lines == ([0, (6 + 200 + 1) // 16] if b"next" in newline else [0])


def test_blocks_have_offsets_of_their_own(tmp_path):
    """With the name, the offset is what a random stream is keyed by."""
    data = b"".join(b"line %d\n" % i for i in range(200)) + b"x" * 500 + b"\ny\n"
    write_files(tmp_path, {"a.txt": data, "a.txt.gz": data})

    for name in ("a.txt", "a.txt.gz"):
        blocks = flatten(read(tmp_path / name, block_bytes=64, line_bytes=100))

        offsets = [block.offset for block in blocks]
        assert len(blocks) > 10
        assert offsets == sorted(set(offsets))
        assert all(data[block.offset :].startswith(block.lines[0]) for block in blocks)


@pytest.mark.parametrize("suffix", [".txt", ".gz", ".bz2"])
def test_memory_is_bounded_whatever_the_length_of_a_line(tmp_path, suffix):
    """A file of one line of 32 MB without a space, in 1 MB blocks."""
    write_files(tmp_path, {f"x{suffix}": b"x" * (32 << 20)})
    path = tmp_path / f"x{suffix}"
    length = 0
    tracemalloc.start()
    try:
        for text_range in files.file_ranges(str(path), path.stat().st_size, ""):
            for block in files.read_range(text_range):
                length += sum(map(len, block.lines))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert length == 32 << 20
    assert peak < 10 << 20


TEXT = b"".join(b"the %d-th of many lines\n" % i for i in range(2000))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("truncated.gz", gzip.compress(TEXT)[:-100]),
        ("fake.gz", TEXT),
        ("garbled.gz", gzip.compress(TEXT)[:300] + b"????" + gzip.compress(TEXT)[304:]),
        ("wrong-checksum.gz", gzip.compress(TEXT)[:-8] + b"????" + gzip.compress(TEXT)[-4:]),
        ("truncated.bz2", bz2.compress(TEXT)[:-100]),
        ("fake.bz2", TEXT),
        ("garbled.bz2", bz2.compress(TEXT)[:300] + b"????" + bz2.compress(TEXT)[304:]),
    ],
)
def test_a_damaged_compressed_file_is_named(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    (text_range,) = files.file_ranges(str(path), len(data), "")

    with pytest.raises(UserError, match=re.escape(str(path))):
        list(files.read_range(text_range))


def test_a_compressed_file_of_several_members_is_read_to_its_end(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n"))
    (tmp_path / "x.bz2").write_bytes(bz2.compress(b"a\nb") + bz2.compress(b"c\nd\n"))

    for name in ("x.gz", "x.bz2"):
        assert lines_of(read(tmp_path / name)) == [b"a", b"bc", b"d"]


def test_file_ranges_cover_a_plain_file_and_leave_a_compressed_one_whole():
    mib = 1 << 20

    assert list(files.file_ranges("/c/a.txt", 2 * mib + 1, "/c/")) == [
        ("/c/a.txt", "a.txt", 0, mib),
        ("/c/a.txt", "a.txt", mib, 2 * mib),
        ("/c/a.txt", "a.txt", 2 * mib, 3 * mib),
    ]
    assert list(files.file_ranges("/c/d/a.gz", 2 * mib + 1, "/c/")) == [("/c/d/a.gz", "d/a.gz", 0, None)]
    assert list(files.file_ranges("/c/a.txt", 0, "/c/")) == []


@pytest.mark.parametrize(
    ("patterns", "root"),
    [
        (["/data/corpus/*.txt"], "/data/corpus/"),
        (["/data/corpus/a.txt"], "/data/corpus/"),
        (["/data/a/*.txt", "/data/b/*.txt"], "/data/"),
        (["/data/a.txt", "/data/ab/*.txt"], "/data/"),
        (["/data/a*/b/*.txt", "/data/a/b/c.txt"], "/data/"),
        (["/data/[ab]/x"], "/data/"),
        (["/data/x?/y"], "/data/"),
        (["gs://bucket/x*", "gs://bucket/y/z"], "gs://bucket/"),
        (["a.txt"], ""),
        (["*.txt"], ""),
    ],
)
def test_input_root_is_the_directory_that_all_patterns_share(patterns, root):
    assert files.input_root(patterns) == root


def assert_found(patterns, expected):
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        ranges = pipeline | files.FindRanges(tuple(map(str, patterns)))
        assert_that(ranges | beam.Map(lambda item: (item.name, item.start)), equal_to(expected))


def test_find_ranges_lists_each_range_of_each_file(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TEXT_BLOCK_BYTES", 10)
    monkeypatch.setattr(lines, "TEXT_BLOCK_BYTES", 10)
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


@pytest.mark.parametrize("names", [("missing", "present"), ("present", "missing")])
def test_every_pattern_must_match_a_file(tmp_path, names):
    write_files(tmp_path, {"present.txt": b"x"})

    with pytest.raises(UserError, match=r"--input .*missing\*.txt matches no file"):
        files.check_inputs([str(tmp_path / f"{name}*.txt") for name in names])


def test_a_directory_as_input_is_refused_with_advice(tmp_path):
    with pytest.raises(UserError) as raised:
        files.check_inputs([f"{tmp_path}/"])

    assert str(raised.value) == f"--input {tmp_path}/ is a directory: expected files, such as '{tmp_path}/*'"


def test_inputs_that_are_there_pass_the_check(tmp_path):
    write_files(tmp_path, {"a.txt": b"", "b.gz": b""})

    assert files.check_inputs([str(tmp_path / "a.txt"), str(tmp_path / "*")]) is None


@pytest.mark.parametrize("name", ["a.zst", "b.ZIP", "c.parquet"])
def test_a_file_that_is_no_text_by_its_name_is_refused(name):
    with pytest.raises(UserError, match=rf"--input /x/{name}: expected plain text, \.gz or \.bz2"):
        list(files.file_ranges(f"/x/{name}", 100, "/x/"))


def test_a_long_line_of_tabs_is_cut_between_words(monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 20)
    words = [f"item{i}" for i in range(30)]

    pieces = lines._cut("\t".join(words).encode())

    assert max(map(len, pieces)) <= 20
    assert [word.decode() for piece in pieces for word in piece.split()] == words


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path, **kwargs):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(files.FileSystems, "open", refuse)
    with pytest.raises(UserError, match=r"/x/a\.txt cannot be read: .*Permission denied"):
        list(files.read_range(files.TextRange("/x/a.txt", "a.txt", 0, 100)))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_compressed_file_under_another_name_is_no_text(tmp_path, pack):
    (tmp_path / "a.txt").write_bytes(pack(b"hello world\n"))

    with pytest.raises(UserError, match=r"a\.txt cannot be read: it begins as \.(gz|bz2) files do"):
        list(files.read_range(files.TextRange(str(tmp_path / "a.txt"), "a.txt", 0, 100)))


def test_capital_letters_in_an_extension_do_not_matter(tmp_path):
    (tmp_path / "a.GZ").write_bytes(gzip.compress(b"hello world\n"))

    (text_range,) = files.file_ranges(str(tmp_path / "a.GZ"), 99, str(tmp_path))
    (block,) = files.read_range(text_range)

    assert block.lines == [b"hello world"]


def test_a_file_with_brackets_in_its_name_may_be_named(tmp_path):
    write_files(tmp_path, {"a[1].txt": b"x", "a1.txt": b"y"})
    path = str(tmp_path / "a[1].txt")

    assert files.check_inputs([path]) is None
    assert_found([path], [("a[1].txt", 0)])


def test_a_file_name_that_is_not_utf8_is_told(tmp_path):
    with pytest.raises(UserError, match=r"--input '/x/\\udcff.txt': expected a file name in UTF-8"):
        files._path_and_size(FileMetadata("/x/\udcff.txt", 1))
