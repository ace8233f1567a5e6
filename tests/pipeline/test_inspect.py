"""`python -m pipeline.inspect` prints examples of both formats in words."""

import dataclasses
import hashlib
import re
import shutil
import subprocess
import sys

import pytest
import tensorflow as tf

from pipeline.dataset.manifest import manifest_text, parse_manifest
from pipeline.examples import records
from pipeline.inspect import main
from tests.contract.damages import FOREIGN, VOCABULARIES
from tests.contract.make import FOLDER
from tests.pipeline.helpers import ROOT, environment, run_here, write_files

SENTENCE = b"The wide road shimmered in the hot sun\n"
FLAGS = ["--min_count=1", "--subsample=0", "--window_size=2", "--no_shrink_windows", "--num_shards=1"]


@pytest.fixture(scope="module", params=["blocks", "pairs"])
def dataset(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("inspect")
    write_files(directory, {"a.txt": SENTENCE})
    flags = [*FLAGS, f"--example_format={request.param}"]
    run_here("--input", directory / "a.txt", "--output", directory / "dataset", *flags)
    return request.param, directory / "dataset"


def test_examples_are_told_in_words(dataset, capsys):
    example_format, directory = dataset
    assert main([str(directory), "--examples", "26"]) == 0

    captured = capsys.readouterr()
    assert captured.err == ""
    header, _, *lines = captured.out.splitlines()
    assert header == f"26 skip-grams in {1 if example_format == 'blocks' else 26} {example_format}, 9 ids"
    if example_format == "blocks":
        # Ties are in descending order: the, wide, sun, shimmered, road, in, hot.
        assert lines[0] == "targets    : [2 3 6 5 7 2 8 4]"
        assert lines[3:6] == ["  the: _ wide road", "  wide: the _ road shimmered", "  road: the wide _ shimmered in"]
    else:
        assert lines[:2] == ["target_index    : 2", "target_word     : the"]
        assert lines[2].startswith("context_indices : [3 ") and lines[3].startswith("context_words   : ['wide', ")
        assert lines[4] == "label           : [1 0 0 0 0 0]"
        assert sum(line.startswith("target_index") for line in lines) == 26


@pytest.mark.parametrize(
    ("args", "message"),
    [(["nowhere"], "nowhere is not a complete dataset"), ([".", "--examples", "0"], "--examples 0"), ([], "DATASET")],
)
def test_a_mistake_is_one_line_and_exit_code_2(args, message, capsys):
    assert main(args) == 2

    told = capsys.readouterr().err
    assert told.startswith("python -m pipeline.inspect: ") and told.count("\n") == 1
    assert message in told


# Damaged datasets


@pytest.fixture(params=["blocks", "pairs"])
def copy(request, tmp_path):
    """A copy of a golden dataset, to be damaged."""
    return shutil.copytree(FOLDER / request.param, tmp_path / "dataset")


def told(directory, capsys):
    """What the command says of a damaged dataset: one line that names it."""
    code = main([str(directory), "--examples", "1000000"])
    captured = capsys.readouterr()
    assert code in (1, 2) and captured.err.count("\n") == 1
    assert captured.err.startswith(f"python -m pipeline.inspect: {directory}")
    return captured.err


def first_shard(directory):
    """The path of the first shard that has records, the manifest, and the number of that shard."""
    manifest = parse_manifest((directory / "manifest.json").read_bytes(), "manifest.json")
    number = next(number for number, shard in enumerate(manifest.shards) if shard.records)
    return directory / manifest.shards[number].name, manifest, number


def rewrite(directory, change):
    """Writes the first shard anew, with the examples that `change` makes of the arrays by field."""
    path, manifest, number = first_shard(directory)
    (examples,) = records.read(str(directory), manifest.shards[number], manifest)
    arrays = {name: array.copy() for name, array in examples._asdict().items()}
    change(arrays, manifest)
    options = tf.io.TFRecordOptions(compression_type={"gzip": "GZIP", "none": ""}[manifest.compression])
    with tf.io.TFRecordWriter(str(path), options) as writer:
        writer.write(records.encode(type(examples)(**arrays)))
    set_bytes(directory)


def set_bytes(directory):
    """Makes the manifest state the size that the first shard has, so that nothing else tells the damage."""
    path, manifest, number = first_shard(directory)
    shards = list(manifest.shards)
    shards[number] = dataclasses.replace(shards[number], bytes=path.stat().st_size)
    (directory / "manifest.json").write_text(manifest_text(dataclasses.replace(manifest, shards=tuple(shards))))


def large_id(arrays, manifest):
    list(arrays.values())[-1][0, 0] = manifest.vocab_size


def negative_id(arrays, manifest):
    list(arrays.values())[-1][0, 0] = -1


def fewer_examples(arrays, manifest):
    for name, array in arrays.items():
        arrays[name] = array[:-1]


def replaced(content):
    def change(directory):
        path, *_ = first_shard(directory)
        path.write_bytes(content(path.read_bytes()))

    return change


def with_right_bytes(content):
    def change(directory):
        replaced(content)(directory)
        set_bytes(directory)

    return change


def a_directory(directory):
    path, *_ = first_shard(directory)
    path.unlink()
    path.mkdir()


SHARDS = {
    "missing": (lambda directory: first_shard(directory)[0].unlink(), " is missing"),
    "a directory": (a_directory, r" has [\d,]+ bytes instead of "),
    "empty": (replaced(lambda data: b""), " has 0 bytes instead of "),
    "cut": (replaced(lambda data: data[:-1]), r" has [\d,]+ bytes instead of "),
    "empty and so in the manifest": (with_right_bytes(lambda data: b""), " has 0 records instead of 1"),
    "cut and so in the manifest": (with_right_bytes(lambda data: data[:-99]), r", record 1 cannot be read \(.*\)"),
    "a bit flipped": (
        replaced(lambda data: data[:90] + bytes([data[90] ^ 8]) + data[91:]), r", record 1 cannot be read \(.*\)"),
    "foreign": (with_right_bytes(lambda data: b"hello, world" * 9), r", record 1 cannot be read \(.*\)"),
    "an id beyond the vocabulary": (
        lambda directory: rewrite(directory, large_id), r", record 1 holds \d+ in \w+: expected an id of the voc"),
    "a negative id": (lambda directory: rewrite(directory, negative_id), r", record 1 holds -1 in \w+: expected an id"),
    "fewer examples": (lambda directory: rewrite(directory, fewer_examples), r" has \d+ examples instead of \d+"),
}  # fmt: skip


@pytest.mark.parametrize("damage", SHARDS)
def test_a_damaged_shard_is_named(copy, capsys, damage):
    change, message = SHARDS[damage]
    path, *_ = first_shard(copy)
    change(copy)

    assert re.search(re.escape(path.name) + message, told(copy, capsys))


@pytest.mark.parametrize("damage", VOCABULARIES)
def test_a_damaged_vocabulary_is_named(copy, capsys, damage):
    change, _ = VOCABULARIES[damage]
    path = copy / "vocabulary.tsv"
    path.write_bytes(change(path.read_bytes()))

    assert "is damaged: " in (message := told(copy, capsys)) and "vocabulary.tsv" in message


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_manifest_is_named(tmp_path, capsys, kind):
    text, _ = FOREIGN[kind]
    (tmp_path / "manifest.json").write_bytes(text if isinstance(text, bytes) else text.encode())

    assert "manifest.json" in told(tmp_path, capsys)


@pytest.mark.parametrize("name", ["vocabulary.tsv", "manifest.json"])
def test_a_missing_file_is_named(copy, capsys, name):
    (copy / name).unlink()

    assert name in told(copy, capsys)


def test_a_line_of_a_vocabulary_without_a_digest_is_checked(tmp_path, capsys):
    """The manifests of versions 2 and 3 hold no digest of the vocabulary."""
    copy = shutil.copytree(FOLDER / "blocks", tmp_path / "dataset")
    shutil.copy(FOLDER / "blocks.version3.json", copy / "manifest.json")
    lines = (copy / "vocabulary.tsv").read_bytes().splitlines()
    for line in (b"fox 8", b"\t8", b"f\xfcx\t8", b"fox\t-8"):
        (copy / "vocabulary.tsv").write_bytes(b"\n".join([*lines[:3], line, *lines[4:], b""]))

        assert "line 4 of vocabulary.tsv is b'" in told(copy, capsys)


# Paths


@pytest.mark.parametrize("name", ["ü", "語", "a b", "it's", '"', "[v2]", "*", "{a,b}", "new\nline"])
def test_a_path_may_have_any_characters(tmp_path, capsys, name):
    copy = shutil.copytree(FOLDER / "blocks", tmp_path / name / name)
    assert main([str(copy)]) == 0
    assert capsys.readouterr().out.startswith("270 skip-grams in 8 blocks, 20 ids\n\ntargets    : ")

    shard = next(copy.glob("skipgrams/*"))
    shard.unlink()
    assert main([str(copy), "--examples", "99"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and f"{shard.name} is missing" in captured.err


def test_a_path_that_is_not_utf_8_is_refused(capsys):
    assert main(["\udcff"]) == 2
    assert "'\\udcff' is not UTF-8: expected a path in this encoding" in capsys.readouterr().err


def test_the_command_in_a_locale_that_has_ascii_alone(tmp_path):
    """Letters that it does not have are escaped, also where Python does not use UTF-8 of its own accord."""
    copy = shutil.copytree(FOLDER / "blocks", tmp_path / "ü [v2]")
    text = (copy / "vocabulary.tsv").read_bytes().replace(b"fox\t", "füchslein\t".encode())
    (copy / "vocabulary.tsv").write_bytes(text)
    manifest = parse_manifest((copy / "manifest.json").read_bytes(), "manifest.json")
    sha256 = hashlib.sha256(text).hexdigest()
    (copy / "manifest.json").write_text(manifest_text(dataclasses.replace(manifest, vocabulary_sha256=sha256)))

    done = subprocess.run(
        [sys.executable, "-m", "pipeline.inspect", copy, "--examples", "1"], capture_output=True, text=True, cwd=ROOT,
        env=environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"), timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert "  f\\xfcchslein: the quick brown _ jumps over lazy\n" in done.stdout
