"""A given vocabulary: its words keep their ids, new ones come behind them, and what has changed is told."""

import shutil

import numpy as np
import pytest

from pipeline.config import PipelineConfig
from pipeline.errors import UserError
from pipeline.examples import draws
from pipeline.job import preflight, runner
from pipeline.plan.estimate import estimate
from pipeline.text import given_vocabulary
from tests.contract.make import FOLDER
from tests.pipeline import reference
from tests.pipeline.helpers import random_text, read_manifest, read_records, read_vocabulary, write_files


def config_of(folder, **settings):
    defaults = {"tokenizer": "simple", "min_count": 1, "subsample": 0.01, "window_size": 2, "num_shards": 1}
    return PipelineConfig(input=(str(folder / "*.txt"),), output=str(folder / "dataset"), **{**defaults, **settings})


# Files


@pytest.mark.parametrize(
    "data",
    [
        b"[PAD]\t0\n[UNK]\t7\nb\t5\na\t2\n",  # ours
        b"b 5\na 2\n",  # gensim's
        b"</s> 0\nb 5\na 2\n",  # word2vec.c's
        b"b\na\n",
        b"b\na",
        b"\xef\xbb\xbfb\r\na 2\r\n\r\n",
        b"b\t0\na\t0\n",
    ],
)
def test_a_file_gives_its_words_in_their_order(data):
    assert given_vocabulary.parse(data, "x") == [b"b", b"a"]


def test_words_may_look_like_counts_and_need_not_be_ascii():
    assert given_vocabulary.parse("7\n8 9\nfür 3\n".encode(), "x") == [b"7", b"8", "für".encode()]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", " has no word: expected one on each line"),
        (b"\n \n", " has no word"),
        (b"[PAD]\t0\n[UNK]\t1\n", " has no word"),
        (b"a\nb\na 3\n", ", line 3: 'a' is also the word of line 1"),
        (b"[PAD]\t0\n[UNK]\t1\na\t1\na\t1\n", ", line 4: 'a' is also the word of line 3"),
        (b"a\nNew York\n", ", line 2: 'New York' is not a word"),
        (b"a\nNew York\t3\n", ", line 2: 'New York' is not a word"),
        (b"a 1.5\n", ", line 1: 'a 1.5' is not a word, or a word and its count"),
        (b"a\n\nb\n", ", line 2: '' is not a word"),
        (b"a\n[UNK]\n", r", line 2: \[UNK\] is no word"),
        (b"a\nb\xff\n", ", line 2: expected UTF-8"),
    ],
)
def test_a_file_that_is_no_vocabulary_is_told_in_one_line(data, message):
    with pytest.raises(UserError, match=f"^--vocabulary words.txt{message}") as raised:
        given_vocabulary.parse(data, "words.txt")
    assert "\n" not in str(raised.value)


# Before a job starts


def test_a_vocabulary_that_cannot_be_used_is_told_before_the_job(tmp_path):
    write_files(tmp_path, {"a.txt": b"the fox the dog\n"})
    blocks = str(FOLDER / "blocks")  # 18 words, by the simple tokeniser
    damaged = shutil.copytree(FOLDER / "blocks", tmp_path / "damaged")
    (damaged / "vocabulary.tsv").write_bytes(b"[PAD]\t0\n[UNK]\t7\nb\t5\n")
    for settings, message in [
        ({"vocabulary": "nowhere"}, "--vocabulary nowhere cannot be read .*: expected the directory of a dataset"),
        ({"vocabulary": str(tmp_path)}, f"{tmp_path} is not a complete dataset"),
        ({"vocabulary": str(damaged)}, f"--vocabulary {damaged} is damaged: vocabulary.tsv is not the file"),
        (
            {"vocabulary": blocks, "tokenizer": "whitespace"},
            "was made with --tokenizer simple, and --tokenizer is whitespace: expected the same",
        ),
        (
            {"vocabulary": blocks, "vocab_size": 19},
            "has 18 words: expected a --vocab_size of at least 20 instead of 19, or 0 for no limit",
        ),
        ({"grow_vocabulary": True}, "--grow_vocabulary has no vocabulary to grow: expected --vocabulary with it"),
    ]:
        with pytest.raises(UserError, match=message) as raised:
            preflight.check(config_of(tmp_path, **settings))
        assert "\n" not in str(raised.value)
    preflight.check(config_of(tmp_path, vocabulary=blocks, vocab_size=20))


# The day after

DAY_1 = random_text(1, 6000, num_words=120)
# Some words of the first day are gone, some are new.
DAY_2 = random_text(2, 6000, num_words=200).replace(b"w1 ", b"v1 ") + b"new new new newer newer rare\n" * 3


def run(config):
    preflight.check(config)
    return runner.run(config, [])


@pytest.fixture(scope="module")
def day_1(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nightly")
    write_files(folder, {"a.txt": DAY_1})
    run(config_of(folder, min_count=2))
    return folder


def given_words(dataset):
    return [word for word, _ in read_vocabulary(dataset)[2:]]


def test_the_next_days_dataset_keeps_the_ids_and_appends_new_words(day_1, tmp_path):
    """It replaces the dataset whose vocabulary it takes. Compared with the reference, record for record."""
    folder = shutil.copytree(day_1, tmp_path / "copy")
    before = given_words(folder / "dataset")
    write_files(folder, {"a.txt": DAY_2})
    config = config_of(
        folder, min_count=4, vocabulary=str(folder / "dataset"), grow_vocabulary=True, overwrite=True, holdout=0.1,
        vocab_size=len(before) + 2 + 8,
    )  # fmt: skip

    summary = run(config)

    rows = read_vocabulary(folder / "dataset")
    expected = reference.dataset({"a.txt": DAY_2}, config, given=before)
    assert rows == expected.vocabulary
    assert read_records(folder / "dataset") == expected.records
    assert given_words(folder / "dataset")[: len(before)] == before
    new = rows[2 + len(before) :]
    assert len(new) == 8 and {b"v1", b"new"} < {word for word, _ in new} and min(count for _, count in new) >= 4
    assert [(count, word) for word, count in new] == sorted(((n, word) for word, n in new), reverse=True)
    gone = sum(count == 0 for _, count in rows[2 : 2 + len(before)])
    counters = read_manifest(folder / "dataset")["counters"]
    assert gone > 0
    assert {name: counters[name] for name in counters if "vocabulary" in name or name == "words_new"} == {
        "vocabulary_given": len(before), "vocabulary_gone": gone, "vocabulary_new": 8,
        "words_new": sum(count for _, count in new),
    }  # fmt: skip
    unknown = rows[1][1] + counters["words_new"]
    total = sum(count for _, count in rows)
    (drift,) = (line for line in summary.splitlines() if line.startswith("drift "))
    assert drift == (
        f"drift       {unknown / total:.1%} of the text is not in the given vocabulary; {gone} of its {len(before)} "
        f"words are gone, 8 words are new and {counters['words_new'] / total:.1%} of the text"
    )


def test_a_file_gives_the_ids_and_the_text_the_counts(tmp_path):
    """Without --grow_vocabulary. The words are counted where they are, and all others as [UNK]."""
    write_files(tmp_path, {"a.txt": b"a b c [UNK] a\na b d [PAD] b\n"})
    (tmp_path / "words").write_bytes(b"gone 7\nb 1\na 99\n")
    config = config_of(
        tmp_path, vocabulary=str(tmp_path / "words"), tokenizer="whitespace", subsample=0, min_count=100, ns_exponent=-1
    )

    run(config)

    assert read_vocabulary(tmp_path / "dataset") == [(b"[PAD]", 0), (b"[UNK]", 4), (b"gone", 0), (b"b", 3), (b"a", 3)]
    (((block,),),) = read_records(tmp_path / "dataset")
    assert set(block["negatives"]) == {3, 4}  # no negative sample is a word that the text does not have
    assert block["tokens"][2:8] == [4, 3, 4, 4, 3, 3]


def test_a_vocabulary_without_a_word_of_the_text_is_told(tmp_path):
    write_files(tmp_path, {"a.txt": b"a b c\n"})
    (tmp_path / "words").write_bytes(b"A\nB\n")

    with pytest.raises(Exception, match="words has none of the 3 words of --input: expected one that suits the text"):
        run(config_of(tmp_path, vocabulary=str(tmp_path / "words")))


@pytest.mark.parametrize("grow", [False, True])
def test_a_plan_from_the_whole_text_knows_the_vocabulary(day_1, tmp_path, grow):
    write_files(tmp_path, {"a.txt": DAY_2})
    config = config_of(tmp_path, min_count=4, vocabulary=str(day_1 / "dataset"), grow_vocabulary=grow)

    planned = estimate(config, 1.0)

    expected = reference.dataset({"a.txt": DAY_2}, config, given=given_words(day_1 / "dataset"))
    assert planned.vocab_size == len(expected.vocabulary)
    assert planned.words - planned.words_known == expected.vocabulary[1][1]


# Draws


@pytest.mark.parametrize("first_id", [1, 2])
def test_words_that_never_occur_change_no_other_words_draws(first_id):
    counts, more = np.array([0, 50, 900, 100, 7]), np.array([0, 50, 900, 0, 100, 0, 7])
    there = more > 0
    there[0] = True
    for threshold in (0, 0.01):
        keep = draws.keep_probabilities(more, threshold, first_id)
        assert keep[there].tolist() == draws.keep_probabilities(counts, threshold, first_id).tolist()
    for exponent in (-1.5, 0, 0.75, 1):
        weights = np.diff(draws.noise_cdf(more, exponent, first_id), prepend=0)
        assert weights[there] == pytest.approx(np.diff(draws.noise_cdf(counts, exponent, first_id), prepend=0))
        assert not weights[~there].any()
