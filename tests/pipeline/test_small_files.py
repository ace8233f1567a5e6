"""Small files are read in groups. No line is lost, and a group is as good as one file with the same text."""

import gzip
import itertools
import re
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.config import PipelineConfig
from pipeline.errors import UserError
from pipeline.job import runner
from pipeline.plan.estimate import estimate
from pipeline.plan.sample import read_pieces, text_files
from pipeline.text import contents, files, lines
from pipeline.text.encoding import wide_encoding
from pipeline.text.files import TextRange
from tests.pipeline import reference
from tests.pipeline.helpers import (
    ANY_BYTES,
    deterministic,
    flatten,
    random_text,
    read_manifest,
    shard_contents,
    write_files,
)

NAMES = ["a.txt", "b.gz", "c.txt", "d.bz2", "e.txt"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("small")


@deterministic
@given(
    texts=st.lists(ANY_BYTES, min_size=2, max_size=5),
    block_bytes=st.integers(1, 90),
    line_bytes=st.integers(8, 30),
    chunk_bytes=st.integers(16, 80),
)
def test_a_group_holds_the_lines_of_each_file_once_in_order(folder, texts, block_bytes, line_bytes, chunk_bytes):
    """A block ends once it is large enough, wherever files end. Its offset counts the bytes of all files before it."""
    assume(not any(map(wide_encoding, texts)))
    write_files(folder, dict(zip(NAMES, texts, strict=False)))
    paths = [str(folder / name) for name, _ in zip(NAMES, texts, strict=False)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "TEXT_BLOCK_BYTES", block_bytes)
        patch.setattr(lines, "MAX_LINE_BYTES", line_bytes)
        patch.setattr(contents, "_CHUNK_BYTES", chunk_bytes)
        blocks = list(files.read_range(TextRange(paths[0], "a.txt", 0, block_bytes, tuple(paths[1:]))))

    # The naive reader puts each line of each file into a block of its own.
    sizes = reference.Sizes(text_block_bytes=1, max_line_bytes=line_bytes)
    each = [reference.text_blocks("x.gz", text, sizes) for text in texts]
    assert flatten([block.lines for block in blocks]) == flatten([block.lines for block in flatten(each)])
    counted = sum((block.counts for block in blocks), Counter())
    assert +counted == sum((block.counts for block in flatten(each)), Counter())
    begins = [0, *itertools.accumulate(map(len, texts))]  # of each file, then of each line in all of the bytes
    expected = []
    for start in [begin + block.offset for begin, of_file in zip(begins, each, strict=False) for block in of_file]:
        if not expected or start - expected[-1] >= block_bytes:
            expected.append(start)
    assert [block.offset for block in blocks] == expected
    assert {block.name for block in blocks} <= {"a.txt"}


@deterministic
@given(
    sizes=st.dictionaries(st.integers(0, 999), st.integers(0, 12), min_size=1, max_size=60),
    seed=st.randoms(use_true_random=False),
)
def test_groups_depend_on_names_and_sizes_alone(sizes, seed):
    found = [(f"/c/{number:03}.txt", size) for number, size in sizes.items()]
    shuffled = seed.sample(found, len(found))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "TEXT_BLOCK_BYTES", 100)
        groups, same = (list(files.group_ranges(some, "/c/")) for some in (found, shuffled))

    assert groups == same
    paths = [[group.path, *group.more] for group in groups]
    assert flatten(paths) == sorted(path for path, size in found if size)  # each file once
    totals = [sum(dict(found)[path] for path in group) for group in paths]
    assert all(total <= 100 for total in totals)
    assert all(total > 100 - 12 for total in totals[:-1])


@pytest.mark.parametrize("name", ["a.txt", "a.gz"])
def test_a_group_of_one_file_is_that_file_alone(name):
    assert list(files.group_ranges([(f"/c/{name}", 9)], "/c/")) == list(files.file_ranges(f"/c/{name}", 9, "/c/"))


def test_a_file_that_is_no_text_by_its_name_is_refused_in_a_group():
    with pytest.raises(UserError, match=r"--input /c/b\.zip: expected plain text"):
        list(files.group_ranges([("/c/a.txt", 9), ("/c/b.zip", 9)], "/c/"))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("b.gz", gzip.compress(b"text" * 100, mtime=0)[:-9], r"b\.gz is damaged or not compressed as its name says"),
        ("b.bz2", b"text", r"b\.bz2 is damaged or not compressed as its name says"),
        ("b.txt", gzip.compress(b"text", mtime=0), r"b\.txt cannot be read: it begins as \.gz files do"),
        ("b.txt", None, r"b\.txt cannot be read: .*No such file"),
    ],
)
def test_an_error_names_the_file_and_not_the_group(tmp_path, name, data, message):
    write_files(tmp_path, {"a.txt": b"a\n", "c.txt": b"c\n"})
    if data is not None:
        (tmp_path / name).write_bytes(data)
    first, damaged, last = (str(tmp_path / each) for each in ("a.txt", name, "c.txt"))

    with pytest.raises(UserError, match=f"^{re.escape(str(tmp_path))}/{message}"):
        list(files.read_range(TextRange(first, "a.txt", 0, 99, (damaged, last))))


def test_files_of_an_object_store_are_read_at_once_and_in_order(monkeypatch):
    paths = [f"gs://bucket/{number}.txt" for number in range(50)]
    monkeypatch.setattr(contents, "_contents", lambda path: path.encode())

    (block,) = files.read_range(TextRange(paths[0], "0.txt", 0, 99, tuple(paths[1:])))

    assert block.lines == [path.encode() for path in paths]


# Jobs and plans

TEXTS = [random_text(seed, 150) for seed in range(300)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    named = {f"{number // 100}/{number:03}.txt": text for number, text in enumerate(TEXTS)}
    return write_files(tmp_path_factory.mktemp("corpus"), named)


def config_of(corpus, output):
    return PipelineConfig(input=(f"{corpus}/**",), output=str(output), min_count=1, num_shards=2)


def test_a_group_makes_the_bytes_of_one_file_with_the_same_text(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_NUM_PARTS", 1)
    runner.run(config_of(corpus, tmp_path / "many"), [])
    (corpus_of_one := tmp_path / "text").mkdir()
    write_files(corpus_of_one, {"0/000.txt": b"".join(TEXTS)})
    runner.run(PipelineConfig(**{**vars(config_of(corpus, tmp_path / "one")), "input": (f"{corpus_of_one}/**",)}), [])

    assert shard_contents(tmp_path / "many") == shard_contents(tmp_path / "one")
    assert (tmp_path / "many" / "vocabulary.tsv").read_bytes() == (tmp_path / "one" / "vocabulary.tsv").read_bytes()


def test_many_files_make_few_text_blocks(corpus, tmp_path, monkeypatch):
    """A text block takes time and space however small it is, so 300 of them would be told here."""
    read = []
    monkeypatch.setattr(files, "text_blocks", lambda *args: read.append(args[0]) or lines.text_blocks(*args))

    runner.run(config_of(corpus, tmp_path / "dataset"), [])

    manifest = read_manifest(tmp_path / "dataset")
    assert manifest["num_lines"] == sum(text.count(b"\n") for text in TEXTS)
    assert manifest["num_words"] == sum(len(text.split()) for text in TEXTS)
    assert len(read) <= 2 * 16  # 16 groups, which are read once for the vocabulary and once for the examples
    assert sum(shard["bytes"] for shard in manifest["shards"]) < 3 * manifest["num_skip_grams"]


def test_a_piece_of_a_sample_holds_many_small_files(corpus):
    found = text_files([f"{corpus}/**"])
    assert list(found.values()) == list(map(len, TEXTS))

    pieces = list(read_pieces(found, 1.0, 0.3))

    assert len(pieces) <= sum(found.values()) / (1 << 14) + 1
    assert Counter(line for piece in pieces for line in piece.lines) == Counter(b"".join(TEXTS).splitlines())


def test_a_plan_of_small_files_is_what_a_run_makes(corpus, tmp_path):
    config = config_of(corpus, tmp_path / "dataset")

    planned = estimate(config, 1.0)

    assert planned.lines == sum(text.count(b"\n") for text in TEXTS)
    assert planned.words == sum(len(text.split()) for text in TEXTS)
    assert planned.vocab_size == 2 + len({word for text in TEXTS for word in text.split()})
