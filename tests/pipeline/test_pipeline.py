"""The whole job on Beam makes the dataset that the reference makes, and makes it completely or not at all."""

import contextlib
import hashlib
import logging
import re
import signal
import time
from collections import Counter
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow as tf

from pipeline.__main__ import main
from pipeline.config import PipelineConfig
from pipeline.job import preflight, publish, runner
from pipeline.job.graph import BuildDataset
from tests import forked
from tests.pipeline import reference
from tests.pipeline.helpers import (
    all_counters,
    command,
    contents,
    flatten,
    random_text,
    read_holdout,
    read_manifest,
    read_off,
    read_records,
    read_vocabulary,
    shard_contents,
    write_files,
)

# A file of each kind, with each kind of damage; several text blocks in most, once the constants are small.
FILES = {
    "plain.txt": random_text(1, 9000),
    "sub/crlf.txt": b"\xef\xbb\xbf" + random_text(2, 3000).replace(b"\n", b"\r\n") + b"The End: no newline",
    "sub/damaged.txt": (
        random_text(3, 2500)
        + b"nul\0nul w1 caf\xe9 w2\n\n \n...\n"
        + b"w3 w4 w5 " * 500
        + b"\n"
        + b"x" * 1200
        + b"\nw1 w2\n"
    ),
    "sub/deeper/alone.txt": b"w0\n\nw1\nw2\n" * 100,
    "sub/empty.txt": b"",
    "zipped.txt.bz2": random_text(5, 4000),
    "zipped.txt.gz": random_text(4, 7000) + "Don’t — ÉTÉ w1… w2".encode(),
}
PATTERNS = ("*.txt", "*.gz", "*.bz2", "sub/**")
SMALL = reference.Sizes(
    text_block_bytes=2000,
    max_line_bytes=500,
    max_sentence_tokens=30,
    targets_per_record=40,
    words_per_holdout_record=70,
)
SETTINGS = {
    "min_count": 2, "subsample": 0.01, "window_size": 3, "passes": 2, "block_targets": 8, "block_negatives": 4,
    "num_shards": 3,
}  # fmt: skip
VARIANTS = {
    "two passes": {},
    "many shards": {
        "tokenizer": "whitespace", "shrink_windows": False, "subsample": 0, "vocab_size": 40, "compression": "none",
        "passes": 1, "num_shards": 40, "block_targets": 5, "block_negatives": 3, "seed": 7, "ns_exponent": 1.0,
        "holdout": 0.25,
    },
    "one shard": {
        "tokenizer": "simple", "passes": 3, "num_shards": 1, "block_targets": 64, "min_count": 1, "window_size": 9,
        "holdout": 0.1,
    },
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """Hides the tracebacks that Beam logs, since tests make jobs fail on purpose."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@contextlib.contextmanager
def small_constants():
    """Makes the constants small for pipelines that run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.text.lines.TEXT_BLOCK_BYTES", SMALL.text_block_bytes)
        patch.setattr("pipeline.text.files.TEXT_BLOCK_BYTES", SMALL.text_block_bytes)
        patch.setattr("pipeline.examples.shards.TEXT_BLOCK_BYTES", SMALL.text_block_bytes)
        patch.setattr("pipeline.text.lines.MAX_LINE_BYTES", SMALL.max_line_bytes)
        patch.setattr("pipeline.examples.skipgrams.MAX_SENTENCE_TOKENS", SMALL.max_sentence_tokens)
        patch.setattr("pipeline.examples.records.TARGETS_PER_RECORD", SMALL.targets_per_record)
        patch.setattr("pipeline.examples.holdout.WORDS_PER_HOLDOUT_RECORD", SMALL.words_per_holdout_record)
        yield


def config_of(corpus: Path, output: Path, patterns=PATTERNS, **settings) -> PipelineConfig:
    patterns = tuple(str(corpus / pattern) for pattern in patterns)
    return PipelineConfig(input=patterns, output=str(output), **{**SETTINGS, **settings})


def run(config: PipelineConfig, *beam_flags: str) -> Path:
    """Runs a pipeline in this process; returns the dataset."""
    preflight.check(config)
    with preflight.reserved_output(config):
        runner.run(config, list(beam_flags))
    return Path(config.output)


def run_on_text(folder: Path, text: bytes, **settings) -> Path:
    """Runs a pipeline on one file; returns the dataset."""
    write_files(folder, {"text.txt": text})
    return run(config_of(folder, folder / "dataset", ["text.txt"], **settings))


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_loadable(dataset: Path):
    """Checks that all that the manifest promises can be read."""
    described = read_manifest(dataset)
    examples = flatten(flatten(read_records(dataset)))
    assert sum(len(read_off(example, described["window_size"])) for example in examples) == described["num_skip_grams"]
    assert len(read_vocabulary(dataset)) == described["vocab_size"]
    assert tf.saved_model.load(str(dataset / "transform_fn")).transform_fn({"text": tf.constant(["w1"])})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("corpus"), FILES)


@pytest.fixture(scope="module")
def datasets(corpus, tmp_path_factory):
    """The variants' datasets, made with small constants."""
    folder = tmp_path_factory.mktemp("variants")
    with small_constants():
        return {
            name: run(config_of(corpus, folder / name.replace(" ", "-"), **settings))
            for name, settings in VARIANTS.items()
        }


@pytest.fixture(scope="module")
def references():
    """The reference's datasets of the variants."""
    return {
        name: reference.dataset(FILES, config_of(Path("x"), Path("y"), **settings), SMALL)
        for name, settings in VARIANTS.items()
    }


def assert_records_equal(actual, expected):
    assert [len(shard) for shard in actual] == [len(shard) for shard in expected]
    for number, (shard, expected_shard) in enumerate(zip(actual, expected, strict=True)):
        for record, (examples, expected_examples) in enumerate(zip(shard, expected_shard, strict=True)):
            assert examples == expected_examples, f"shard {number}, record {record}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_dataset_is_the_references_record_for_record(datasets, references, variant):
    """All fields of all blocks are equal, in order. The corpus has something to do for each stage."""
    expected = references[variant]

    assert read_vocabulary(datasets[variant]) == expected.vocabulary
    assert_records_equal(read_records(datasets[variant]), expected.records)
    rare = (
        "lines_cut", "lines_crlf", "lines_with_nul", "lines_invalid_utf8", "byte_order_marks", "lines_empty",
        "lines_unterminated", "tokens_dropped_alone", "sentences_split",
    )  # fmt: skip
    assert all(expected.counts[counter] for counter in rare)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_manifest_counts_what_the_reference_counts(datasets, references, variant):
    described, expected = read_manifest(datasets[variant]), references[variant]

    assert +Counter(all_counters(described)) == +expected.counts
    assert described["num_lines"] == expected.counts["lines_read"]
    assert described["num_words"] == expected.counts["words_read"]
    assert described["num_tokens"] == expected.counts["tokens_kept"]
    assert described["num_skip_grams"] == expected.counts["skip_grams"]
    assert described["vocab_size"] == len(expected.vocabulary)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_word_of_every_pass_is_accounted_for(datasets, variant):
    described = read_manifest(datasets[variant])
    counters = all_counters(described)

    dropped = counters["words_oov"] + counters["words_dropped_subsampling"]
    assert described["passes"] * counters["words_read"] == dropped + counters["tokens_kept"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_manifest_lists_every_shard_with_what_is_in_it(datasets, variant):
    dataset = datasets[variant]
    described = read_manifest(dataset)

    num_shards = described["config"]["num_shards"]
    suffix = {"gzip": ".gz", "none": ""}[described["compression"]]
    names = [f"skipgrams/skipgrams-{i:05d}-of-{num_shards:05d}.tfrecord{suffix}" for i in range(num_shards)]
    assert [shard["name"] for shard in described["shards"]] == names == sorted(shard_contents(dataset))
    for shard, records in zip(described["shards"], read_records(dataset), strict=True):
        skip_grams = [pair for block in flatten(records) for pair in read_off(block, described["window_size"])]
        assert shard == {
            "name": shard["name"], "bytes": (dataset / shard["name"]).stat().st_size, "records": len(records),
            "examples": len(flatten(records)), "skip_grams": len(skip_grams),
        }  # fmt: skip
    holdout = ["holdout"] if described["holdout"] else []
    assert entries(dataset) == [*holdout, "manifest.json", "skipgrams", "transform_fn", "vocabulary.tsv"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_held_out_lines_are_the_references(datasets, references, variant):
    dataset = datasets[variant]
    described = read_manifest(dataset)

    num_shards = described["config"]["num_shards"] if described["config"]["holdout"] else 0
    suffix = {"gzip": ".gz", "none": ""}[described["compression"]]
    names = [f"holdout/holdout-{i:05d}-of-{num_shards:05d}.tfrecord{suffix}" for i in range(num_shards)]
    assert [file["name"] for file in described["holdout"]] == names
    assert sorted(path.name for path in dataset.glob("holdout/*")) == [Path(name).name for name in names]
    found = read_holdout(dataset)
    assert found == references[variant].holdout
    for file, records in zip(described["holdout"], found, strict=True):
        lines = flatten(records)
        assert file == {
            "name": file["name"], "bytes": (dataset / file["name"]).stat().st_size, "records": len(records),
            "lines": len(lines), "words": len(flatten(lines)),
        }  # fmt: skip


def test_more_shards_than_ranges_give_empty_ones_that_can_be_read(datasets):
    described = read_manifest(datasets["many shards"])

    empty = [shard for shard in described["shards"] if not shard["examples"]]
    assert len(described["shards"]) == 40
    assert 0 < len(empty) < 40
    for shard in empty:
        assert list(tf.data.TFRecordDataset(str(datasets["many shards"] / shard["name"]))) == []
        assert (shard["records"], shard["skip_grams"]) == (0, 0)


def test_skip_grams_hold_neither_padding_nor_unknown_words(datasets):
    for dataset in datasets.values():
        window_size = read_manifest(dataset)["window_size"]
        for block in flatten(flatten(read_records(dataset))):
            assert min(map(min, read_off(block, window_size))) >= 2
            assert min(block["negatives"]) >= 2


def test_beams_counters_are_the_manifests(corpus, tmp_path):
    config = config_of(corpus, tmp_path)
    pipeline = beam.Pipeline(options=preflight.pipeline_options([], config))
    _ = pipeline | BuildDataset(config)
    with small_constants():
        result = pipeline.run()
        result.wait_until_finish()

    counters = {
        counter.key.metric.name: counter.result
        for counter in result.metrics().query()["counters"]
        if counter.key.metric.namespace == "pipeline"
    }
    times = {name: counters.pop(name) for name in list(counters) if name.endswith("_worker_ms")}
    assert counters == all_counters(read_manifest(tmp_path))
    assert counters["skip_grams"] > 0
    assert set(times) == {"vocabulary_worker_ms", "examples_worker_ms"}
    assert min(times.values()) > 0


def test_the_tutorials_sentence_makes_26_skip_grams(tmp_path):
    dataset = run_on_text(
        tmp_path, b"The wide road shimmered in the hot sun.\n", min_count=1, subsample=0, window_size=2,
        shrink_windows=False, passes=1, num_shards=1,
    )  # fmt: skip

    words = [token.decode() for token, _ in read_vocabulary(dataset)]
    ((block,),) = flatten(read_records(dataset))
    assert words == "[PAD] [UNK] the wide sun shimmered road in hot".split()
    assert [words[i] for i in block["tokens"][2:-2]] == "the wide road shimmered in the hot sun".split()
    assert block["left"] == [0, 1, 2, 2, 2, 2, 2, 2]
    assert block["right"] == [2, 2, 2, 2, 2, 2, 1, 0]
    described = read_manifest(dataset)
    assert described["shards"][0].pop("bytes") > 0
    vocabulary = (dataset / "vocabulary.tsv").read_bytes()
    assert vocabulary == (dataset / "transform_fn" / "assets" / "vocabulary.tsv").read_bytes()
    assert described.pop("counters") == {
        "lines_empty": 0, "lines_of_8_to_15_words": 1, "sentences_split": 0, "tokens_dropped_alone": 0, "words_oov": 0,
        "words_dropped_subsampling": 0,
    }  # fmt: skip
    assert described == {
        "version": 5,
        "example_format": "blocks",
        "fields": [
            {"name": "tokens", "dtype": "int32", "shape": [12]},
            {"name": "left", "dtype": "uint8", "shape": [8]},
            {"name": "right", "dtype": "uint8", "shape": [8]},
            {"name": "negatives", "dtype": "int32", "shape": [4]},
        ],
        "compression": "none",
        "window_size": 2,
        "context_weights": [1.0, 1.0],
        "num_negatives": 5,
        "vocab_size": 9,
        "vocabulary_sha256": hashlib.sha256(vocabulary).hexdigest(),
        "phrases_sha256": "",
        "num_lines": 1,
        "num_words": 8,
        "num_tokens": 8,
        "num_skip_grams": 26,
        "passes": 1,
        "config": described["config"]
        | {
            "input": [str(tmp_path / "text.txt")], "output": str(dataset), "overwrite": False, "tokenizer": "words",
            "vocab_size": 0, "min_count": 1, "oov": "drop", "sequence_length": 0, "subsampling": "counts",
            "negatives": "unigram", "subsample": 0, "shrink_windows": False, "ns_exponent": 0.75, "block_targets": 8,
            "block_negatives": 4, "num_shards": 1, "seed": 1,
        },
        "shards": [
            {"name": "skipgrams/skipgrams-00000-of-00001.tfrecord", "records": 1, "examples": 1, "skip_grams": 26}
        ],
        "holdout": [],
    }  # fmt: skip


# Determinism

BIG_FILES = {
    "big.txt": random_text(6, 2_200_000, num_words=5000),
    "big.txt.gz": random_text(7, 1_100_000, num_words=5000),
}
BIG_FLAGS = ["--num_shards=3", "--seed=11", "--block_targets=64", "--block_negatives=32"]
BIG_SETTINGS = {"num_shards": 3, "seed": 11, "block_targets": 64, "block_negatives": 32}


@pytest.fixture(scope="module")
def big_corpus(tmp_path_factory):
    """Five text blocks of full size."""
    return write_files(tmp_path_factory.mktemp("big"), BIG_FILES)


def big_config(big_corpus, output):
    return PipelineConfig(input=(str(big_corpus / "*"),), output=str(output), **BIG_SETTINGS)


@pytest.fixture(scope="module")
def by_one_worker(big_corpus, tmp_path_factory):
    return run(big_config(big_corpus, tmp_path_factory.mktemp("one-worker")))


def test_text_blocks_of_full_size_give_the_references_records(by_one_worker, big_corpus):
    expected = reference.dataset(BIG_FILES, big_config(big_corpus, "x"))

    assert read_vocabulary(by_one_worker) == expected.vocabulary
    assert_records_equal(read_records(by_one_worker), expected.records)


def assert_same_dataset(one: Path, other: Path):
    """Checks that all but the transform graph and the output's name is equal, byte by byte."""
    described, also = read_manifest(one), read_manifest(other)
    for one_of_them in (described, also):
        del one_of_them["config"]["output"]
    assert shard_contents(one) == shard_contents(other)
    assert read_vocabulary(one) == read_vocabulary(other)
    assert described == also


def test_two_threads_make_the_same_bytes(by_one_worker, big_corpus, tmp_path):
    config = big_config(big_corpus, tmp_path)

    run(config, "--direct_num_workers=2", "--direct_running_mode=multi_threading")

    assert_same_dataset(by_one_worker, tmp_path)


def test_two_processes_make_the_same_bytes(by_one_worker, big_corpus, tmp_path):
    done = command(
        "--input", big_corpus / "*", "--output", tmp_path, *BIG_FLAGS, "--direct_num_workers=2"
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    logged = re.findall(r"^\d\d:\d\d:\d\d (\w+)", done.stderr, re.MULTILINE)  # without what TensorFlow greets with
    assert set(logged) <= {"reading", "counting", "writing"}
    assert_same_dataset(by_one_worker, tmp_path)


def test_a_corpus_may_move(datasets, tmp_path, monkeypatch):
    """Random streams are named by paths relative to the input root, so other folders and patterns change nothing."""
    write_files(tmp_path / "moved", FILES)
    monkeypatch.chdir(tmp_path)
    with small_constants():
        moved = run(config_of(Path("moved"), tmp_path / "dataset", reversed(PATTERNS)))

    assert shard_contents(moved) == shard_contents(datasets["two passes"])


def test_another_seed_draws_otherwise(datasets, corpus, tmp_path):
    """Subsampling keeps other words, and windows and negatives are others."""
    with small_constants():
        other = run(config_of(corpus, tmp_path, seed=2))

    assert read_vocabulary(other) == read_vocabulary(datasets["two passes"])
    for shard, also in zip(read_records(other), read_records(datasets["two passes"]), strict=True):
        for field in ("tokens", "left", "right", "negatives"):
            assert [block[field] for block in flatten(shard)] != [block[field] for block in flatten(also)]


def test_each_pass_has_draws_of_its_own(tmp_path):
    text = random_text(8, 5000)
    (once,) = read_records(run_on_text(tmp_path / "1", text, passes=1, num_shards=1))
    (twice,) = read_records(run_on_text(tmp_path / "2", text, passes=2, num_shards=1))

    first, second = flatten(twice)[: len(flatten(once))], flatten(twice)[len(flatten(once)) :]
    assert first == flatten(once)
    assert abs(len(first) - len(second)) < len(first) / 4
    for field in ("tokens", "left", "right", "negatives"):
        assert [block[field] for block in first] != [block[field] for block in second]


# Failures, and what they leave

RARE = ["--min_count", "1000"]
FAILURES = {
    "empty file": ({"a.txt": b""}, [], "--input holds no words"),
    "blank lines": ({"a.txt": b"\n \n ... \n"}, [], "--input holds no words"),
    "all words rare": ({"a.txt": random_text(1, 500)}, RARE, "--min_count 1000 .*none of the .* words of --input"),
    "one-word lines": ({"a.txt": b"hello\nworld\n" * 20}, [], "--input gives no skip-gram: .* 40 "),
    "fake gz": ({"a.txt": b"a b\n" * 9, "b.gz": b"not compressed\n"}, [], "{folder}/b.gz is damaged or not compressed"),
}


@pytest.mark.parametrize(
    ("case", "replaces"),
    [*((case, False) for case in FAILURES), ("all words rare", True), ("one-word lines", True)],
)
def test_a_corpus_that_is_of_no_use_is_told_and_leaves_nothing_new(case, replaces, tmp_path, capsys):
    files, flags, message = FAILURES[case]
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    output = tmp_path / "dataset"
    before = {}
    if replaces:
        before = {"manifest.json": b"{}", "vocabulary.tsv": b"", "skipgrams/skipgrams-00000-of-00001.tfrecord": b"old"}
        write_files(output, before)
        flags = [*flags, "--overwrite"]

    code = main(["--input", f"{tmp_path}/*.*", "--output", str(output), *flags])

    assert code == 1
    assert re.fullmatch(
        "python -m pipeline: " + message.format(folder=tmp_path) + ".*\n", capsys.readouterr().err.splitlines(True)[-1]
    )
    assert contents(output) == before
    assert not list(output.glob(".*"))


def test_a_failed_job_ends_with_exit_code_1_and_no_traceback(tmp_path):
    write_files(tmp_path, {"a.txt": random_text(1, 500)})
    (tmp_path / "tmp").mkdir()

    done = command("--input", tmp_path / "a.txt", "--output", tmp_path / "dataset", *RARE, TMPDIR=str(tmp_path / "tmp"))

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "while running" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("python -m pipeline: --min_count 1000")
    assert done.stdout == ""
    assert entries(tmp_path / "dataset") == []
    # TensorFlow's autograph may leave the byte code of what it generated.
    assert set(entries(tmp_path / "tmp")) <= {"__pycache__"}


def test_an_error_that_no_user_made_is_not_hidden(tmp_path, monkeypatch):
    """It keeps its traceback, and the output is left empty."""
    write_files(tmp_path, {"a.txt": random_text(1, 500)})
    monkeypatch.setattr("pipeline.examples.records.encode", lambda blocks: 1 / 0)

    with pytest.raises(Exception, match="division by zero"):
        main(["--input", str(tmp_path / "a.txt"), "--output", str(tmp_path / "dataset")])

    assert entries(tmp_path / "dataset") == []


@pytest.fixture(scope="module")
def killed(big_corpus, tmp_path_factory):
    """Two runs that are killed once they have finished a shard.

    Returns the new directory of the one, the dataset that the other was to replace, and that dataset's files.
    """
    folder = tmp_path_factory.mktemp("killed")
    run_on_text(folder / "old", random_text(9, 2000))
    old = contents(folder / "old" / "dataset")
    runs = {
        output: forked.server("pipeline").start(
            "-m", "pipeline", "--input", big_corpus / "*", "--output", output, "--overwrite", "--num_shards=16",
            "--passes=5",
        )
        for output in (folder / "new", folder / "old" / "dataset")
    }  # fmt: skip
    try:
        waiting = dict(runs)
        deadline = time.monotonic() + 120
        while waiting and time.monotonic() < deadline:
            for output, process in list(waiting.items()):
                if process.poll() is not None or list(output.glob(".partial-*/skipgrams/*.tfrecord")):
                    process.kill()
                    del waiting[output]
            time.sleep(0.02)
    finally:
        for process in runs.values():
            process.kill()
            process.wait()
    assert [process.returncode for process in runs.values()] == [-signal.SIGKILL] * 2
    for output in runs:
        assert list(output.glob(".partial-*/skipgrams/*.tfrecord")), "killed too early"
    return folder / "new", folder / "old" / "dataset", old


def test_a_killed_run_leaves_no_dataset_and_the_next_one_cleans_up(killed):
    output, _, _ = killed
    assert [entry for entry in entries(output) if not entry.startswith((".partial-", ".lock"))] == []

    write_files(output.parent, {"text.txt": random_text(10, 2000)})
    run(config_of(output.parent, output, ["text.txt"]))

    assert entries(output) == ["manifest.json", "skipgrams", "transform_fn", "vocabulary.tsv"]
    assert_loadable(output)


def test_a_killed_run_leaves_the_dataset_that_it_was_to_replace(killed):
    _, output, old = killed
    left = {name: data for name, data in contents(output).items() if not name.startswith((".partial-", ".lock"))}
    assert left == old
    assert_loadable(output)

    text = random_text(11, 2000)
    run_on_text(output.parent, text, overwrite=True)

    assert entries(output) == ["manifest.json", "skipgrams", "transform_fn", "vocabulary.tsv"]
    assert_loadable(output)
    assert read_manifest(output)["num_lines"] == text.count(b"\n")


@pytest.mark.parametrize("point", ["skipgrams-00001-of-00003.tfrecord", "manifest.json"])
def test_a_run_that_dies_while_it_publishes_leaves_no_manifest_and_the_next_one_mends_it(point, tmp_path, monkeypatch):
    """It dies just before a file gets its final name, and cleans nothing up, as if it had been killed."""
    run_on_text(tmp_path, random_text(9, 2000))

    def dies_at(function):
        def wrapper(source, target, *args, **kwargs):
            if Path(target).name == point and ".partial-" not in str(target):
                raise RuntimeError("died")
            return function(source, target, *args, **kwargs)

        return wrapper

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.job.runner.remove_folders", lambda *folders: None)
        for name in ("copy", "rename"):
            patch.setattr(publish.gfile, name, dies_at(getattr(publish.gfile, name)))
        with pytest.raises(Exception, match="died"):
            run_on_text(tmp_path, random_text(12, 3000), overwrite=True)
    assert not (tmp_path / "dataset" / "manifest.json").exists()
    assert list((tmp_path / "dataset").glob(".partial-*"))

    text = random_text(13, 2500)
    dataset = run_on_text(tmp_path, text)

    assert entries(dataset) == ["manifest.json", "skipgrams", "transform_fn", "vocabulary.tsv"]
    assert_loadable(dataset)
    assert read_manifest(dataset)["num_lines"] == text.count(b"\n")


def test_a_shard_that_is_gone_again_is_told_and_the_dataset_before_stays(tmp_path, monkeypatch):
    """This happens if another run to the same output ends first, and cleans up."""
    dataset = run_on_text(tmp_path, random_text(9, 2000))
    before = contents(dataset)
    walk = publish.gfile.walk

    def walk_after_clean_up(directory):
        for shard in dataset.glob(".partial-*/skipgrams/skipgrams-00001-*"):
            shard.unlink()
        return walk(directory)

    with monkeypatch.context() as patch:
        patch.setattr(publish.gfile, "walk", walk_after_clean_up)
        with pytest.raises(
            Exception, match="skipgrams-00001-of-00003.tfrecord is gone again: expected one run at a time"
        ):
            run_on_text(tmp_path, random_text(12, 3000), overwrite=True)

    assert contents(dataset) == before


@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_a_mistake_that_a_worker_finds_is_told_in_one_line(mode, tmp_path):
    """No traceback is shown. TensorFlow may log some lines as a worker's process starts."""
    write_files(tmp_path, {"text.txt": b"a b c\n"})

    done = command(
        "--input", tmp_path / "text.txt", "--output", tmp_path / "dataset",
        "--direct_num_workers=2", f"--direct_running_mode={mode}",
    )  # fmt: skip

    *news, mistake = done.stderr.splitlines()
    assert news[0].endswith(f"reading {tmp_path}/text.txt")
    assert "Traceback" not in done.stderr and "UserError" not in done.stderr
    assert mistake.startswith("python -m pipeline: --min_count 5 leaves no word: none of the 3 words")
    assert done.returncode == 1
    assert entries(tmp_path / "dataset") == []


def test_a_run_that_fails_leaves_what_another_is_writing(tmp_path):
    """Both write below the same output. Only a run that succeeds cleans up after others."""
    write_files(tmp_path, {"dataset/.partial-other/skipgrams/half": b"written"})

    with pytest.raises(Exception, match="leaves no word"):
        run_on_text(tmp_path, b"a b c\n", min_count=5)
    assert contents(tmp_path / "dataset") == {".partial-other/skipgrams/half": b"written"}

    run_on_text(tmp_path, random_text(12, 3000))
    assert entries(tmp_path / "dataset") == ["manifest.json", "skipgrams", "transform_fn", "vocabulary.tsv"]


def test_overwriting_replaces_every_file(tmp_path):
    """No shard of the old dataset stays behind, and the new dataset is the one that a fresh run writes."""
    text = random_text(14, 2000)
    run_on_text(tmp_path, random_text(15, 3000), num_shards=7, compression="none")

    dataset = run_on_text(tmp_path, text, overwrite=True)
    fresh = run_on_text(tmp_path / "fresh", text)

    assert shard_contents(dataset) == shard_contents(fresh)
    assert set(contents(dataset)) == set(contents(fresh))
    assert read_vocabulary(dataset) == read_vocabulary(fresh)
    assert_loadable(dataset)


# The summary


def test_the_summary_gives_the_numbers_of_the_manifest(corpus, tmp_path):
    config = config_of(corpus, tmp_path)
    with small_constants():
        text = runner.run(config, [])

    described = read_manifest(tmp_path)
    lines = dict(re.split(" +", line, maxsplit=1) for line in text.splitlines())
    assert lines["lines"] == f"{described['num_lines']:,}"
    assert lines["words"] == f"{described['num_words']:,}"
    assert lines["tokens"] == f"kept {described['num_tokens']:,} in 2 passes"
    assert lines["skip-grams"].startswith(f"{described['num_skip_grams']:,}, ")
    assert lines["shards"].startswith("3, ")
    assert lines["dataset"] == str(tmp_path)
    assert re.search(r"\d+ lines_invalid_utf8", lines["survived"].replace(",", ""))


@pytest.mark.parametrize("passes", [1, 3])
def test_the_summary_says_how_much_of_the_text_is_known(tmp_path, passes):
    """9 of 10 words are known, whatever the number of passes."""
    write_files(tmp_path, {"a.txt": b"a b c a b c a b c x\n"})
    config = config_of(tmp_path, tmp_path / "dataset", ["a.txt"], passes=passes, subsample=0)

    assert "3 words, 90.0% of the text\n" in runner.run(config, [])


def test_worker_threads_send_whole_elements_only(tmp_path, monkeypatch):
    """Beam's own default would cut an element in two now and then, and the receiver would take all memory."""
    from apache_beam.runners.worker import data_plane

    streams = []
    create = data_plane.ClosableOutputStream.create

    def create_and_note(*args):
        streams.append(type(create(*args)))
        return create(*args)

    monkeypatch.setattr(data_plane.ClosableOutputStream, "create", create_and_note)
    write_files(tmp_path, {"text.txt": random_text(9, 500)})
    flags = ["--direct_num_workers=2", "--direct_running_mode=multi_threading", "--min_count", "1"]

    assert main(["--input", str(tmp_path / "text.txt"), "--output", str(tmp_path / "dataset"), *flags]) == 0

    assert data_plane.SizeBasedBufferingClosableOutputStream in streams
    assert data_plane.TimeBasedBufferingClosableOutputStream not in streams
