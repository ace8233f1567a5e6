"""Every line of every file is read exactly once, however the files are cut into ranges and text blocks."""

import bz2
import gzip
import lzma
import re
import tracemalloc
from collections import Counter

import pytest
import zstandard
from apache_beam.io.filesystem import FileMetadata
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.text import contents, files, inputs, lines
from pipeline.text.encoding import wide_encoding
from pipeline.text.files import TextRange
from tests.pipeline import reference
from tests.pipeline.helpers import ANY_BYTES, SOUND_TEXT, deterministic, flatten, write_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


def read(path, block_bytes=1 << 20, line_bytes=1 << 16, chunk_bytes=1 << 20, root=""):
    """The text blocks of each range of a file, read with small constants."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "TEXT_BLOCK_BYTES", block_bytes)
        patch.setattr(lines, "TEXT_BLOCK_BYTES", block_bytes)
        patch.setattr(lines, "MAX_LINE_BYTES", line_bytes)
        patch.setattr(contents, "_CHUNK_BYTES", chunk_bytes)
        ranges = files.file_ranges(str(path), path.stat().st_size, root)
        return [list(files.read_range(text_range)) for text_range in ranges]


def lines_of(ranges):
    return [line for block in flatten(ranges) for line in block.lines]


def counts_of(ranges):
    return sum((block.counts for block in flatten(ranges)), Counter())


@deterministic
@given(data=SOUND_TEXT, block_bytes=st.integers(1, 70), chunk_bytes=st.integers(16, 80))
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
    """So are the offsets of blocks, which name random streams. Damage of every kind is mended and counted."""
    assume(not wide_encoding(data))
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
    assume(not wide_encoding(data))
    suffixes = ("", ".gz", ".bz2", ".xz", ".zst")
    write_files(folder, {f"same.txt{suffix}": data for suffix in suffixes})

    plain, *compressed = (
        read(folder / f"same.txt{suffix}", block_bytes, line_bytes, chunk_bytes) for suffix in suffixes
    )

    sizes = reference.Sizes(text_block_bytes=block_bytes, max_line_bytes=line_bytes)
    expected = [(block.offset, block.lines) for block in reference.text_blocks("same.gz", data, sizes)]
    for ranges in compressed:
        assert lines_of(ranges) == lines_of(plain)
        assert +counts_of(ranges) == +counts_of(plain)
        assert [(block.offset, block.lines) for block in flatten(ranges)] == expected


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
    """Name and offset of a block are part of the names of its random streams."""
    data = b"".join(b"line %d\n" % i for i in range(200)) + b"x" * 500 + b"\ny\n"
    write_files(tmp_path, {"a.txt": data, "a.txt.gz": data})

    for name in ("a.txt", "a.txt.gz"):
        blocks = flatten(read(tmp_path / name, block_bytes=64, line_bytes=100))

        offsets = [block.offset for block in blocks]
        assert len(blocks) > 10
        assert offsets == sorted(set(offsets))
        assert all(data[block.offset :].startswith(block.lines[0]) for block in blocks)


@pytest.mark.parametrize("suffix", [".txt", ".gz", ".bz2", ".xz", ".zst"])
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
    assert peak < (20 if suffix == ".xz" else 10) << 20  # the dictionary of xz has 8 MiB


TEXT = b"".join(b"the %d-th of many lines\n" % i for i in range(2000))
CHECKED = zstandard.ZstdCompressor(write_checksum=True).compress(TEXT)  # as the command zstd does


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
        ("truncated.xz", lzma.compress(TEXT)[:-100]),
        ("fake.xz", TEXT),
        ("garbled.xz", lzma.compress(TEXT)[:300] + b"????" + lzma.compress(TEXT)[304:]),
        ("truncated.zst", zstandard.compress(TEXT)[:-100]),
        ("truncated-behind-a-frame.zst", zstandard.compress(TEXT) + zstandard.compress(TEXT)[:-5]),
        ("fake.zst", TEXT),
        ("garbled.zst", CHECKED[:60] + b"????" + CHECKED[64:]),
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
    (tmp_path / "x.xz").write_bytes(lzma.compress(b"a\nb") + lzma.compress(b"c\nd\n"))
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"  # a frame without data, as parallel compressors write it
    (tmp_path / "x.zst").write_bytes(zstandard.compress(b"a\nb") + skippable + zstandard.compress(b"c\nd\n"))

    for name in ("x.gz", "x.bz2", "x.xz", "x.zst"):
        assert lines_of(read(tmp_path / name)) == [b"a", b"bc", b"d"]


def test_file_ranges_cover_a_plain_file_and_leave_a_compressed_one_whole():
    mib = 1 << 20

    assert list(files.file_ranges("/c/a.txt", 2 * mib + 1, "/c/")) == [
        TextRange("/c/a.txt", "a.txt", 0, mib, size=mib),
        TextRange("/c/a.txt", "a.txt", mib, 2 * mib, size=mib),
        TextRange("/c/a.txt", "a.txt", 2 * mib, 3 * mib, size=1),
    ]
    compressed = TextRange("/c/d/a.gz", "d/a.gz", 0, None, size=2 * mib + 1)
    assert list(files.file_ranges("/c/d/a.gz", 2 * mib + 1, "/c/")) == [compressed]
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
    assert inputs.input_root(patterns) == root


@pytest.mark.parametrize("names", [("missing", "present"), ("present", "missing")])
def test_every_pattern_must_match_a_file(tmp_path, names):
    write_files(tmp_path, {"present.txt": b"x"})

    with pytest.raises(UserError, match=r"--input .*missing\*.txt matches no file"):
        inputs.check_inputs([str(tmp_path / f"{name}*.txt") for name in names])


def test_a_directory_as_input_is_refused_with_advice(tmp_path):
    with pytest.raises(UserError) as raised:
        inputs.check_inputs([f"{tmp_path}/"])

    assert str(raised.value) == f"--input {tmp_path}/ is a directory: expected files, such as '{tmp_path}/*'"


def test_inputs_that_are_there_pass_the_check(tmp_path):
    write_files(tmp_path, {"a.txt": b"", "b.gz": b""})

    assert inputs.check_inputs([str(tmp_path / "a.txt"), str(tmp_path / "*")]) is None


@pytest.mark.parametrize("name", ["a.lz4", "b.ZIP", "c.avro"])
def test_a_file_that_is_no_text_by_its_name_is_refused(name):
    with pytest.raises(UserError, match=rf"--input /x/{name}: expected plain text, \.gz, \.bz2, \.xz or \.zst, not"):
        list(files.file_ranges(f"/x/{name}", 100, "/x/"))


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path, **kwargs):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(contents.FileSystems, "open", refuse)
    with pytest.raises(UserError, match=r"/x/a\.txt cannot be read: .*Permission denied"):
        list(files.read_range(TextRange("/x/a.txt", "a.txt", 0, 100)))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_a_compressed_file_under_another_name_is_no_text(tmp_path, pack):
    (tmp_path / "a.txt").write_bytes(pack(b"hello world\n"))

    with pytest.raises(UserError, match=r"a\.txt cannot be read: it begins as \.(gz|bz2|xz|zst) files do"):
        list(files.read_range(TextRange(str(tmp_path / "a.txt"), "a.txt", 0, 100)))


def test_capital_letters_in_an_extension_do_not_matter(tmp_path):
    (tmp_path / "a.GZ").write_bytes(gzip.compress(b"hello world\n"))

    (text_range,) = files.file_ranges(str(tmp_path / "a.GZ"), 99, str(tmp_path))
    (block,) = files.read_range(text_range)

    assert block.lines == [b"hello world"]


def test_a_file_name_that_is_not_utf8_is_told(tmp_path):
    with pytest.raises(UserError, match=r"--input '/x/\\udcff.txt': expected a file name in UTF-8"):
        inputs._found_file(FileMetadata("/x/\udcff.txt", 1))


def test_a_file_with_brackets_in_its_name_passes_the_check(tmp_path):
    write_files(tmp_path, {"a[1].txt": b"x"})

    assert inputs.check_inputs([str(tmp_path / "a[1].txt")]) is None
